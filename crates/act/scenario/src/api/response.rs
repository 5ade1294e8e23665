//! `Response`: what a request returns. Nothing of it is made before the script looks.

use std::rc::Rc;

use rquickjs::class::{JsClass, Readable, Trace, Tracer};
use rquickjs::function::{Constructor, Params};
use rquickjs::object::Property;
use rquickjs::{
    Array, ArrayBuffer, Class, Ctx, Function, IntoJs, JsLifetime, Object, Result, Value,
};

use super::globals::PRELUDE;
use super::{absent, arg, body, getters, here, methods, select, throw};
use crate::core::{Core, Ending, text};
use crate::exchange::{Hold, part};
use crate::http::{Request, Response, ResponseType, Timings};
use crate::jar::Cookie;
use crate::note;

/// Where a response comes from.
pub(super) enum Content {
    Came(Hold),
    Nothing { code: u16, message: String },
}

/// Behind the script's object.
pub(super) struct Answered {
    content: Content,
    request: Request,
}

#[expect(unsafe_code, reason = "holds nothing with the lifetime of the engine")]
unsafe impl JsLifetime<'_> for Answered {
    type Changed<'to> = Answered;
}

impl<'js> Trace<'js> for Answered {
    fn trace(&self, _tracer: Tracer<'_, 'js>) {}
}

impl<'js> JsClass<'js> for Answered {
    const NAME: &'static str = "Response";
    type Mutable = Readable;

    fn constructor(_ctx: &Ctx<'js>) -> Result<Option<Constructor<'js>>> {
        Ok(None)
    }

    fn prototype(ctx: &Ctx<'js>) -> Result<Option<Object<'js>>> {
        let core = here(ctx)?;
        let object = Object::new(ctx.clone())?;
        getters(
            &core,
            &object,
            &[
                ("status", |core, params| {
                    number(core, params, |response| response.status)
                }),
                ("status_text", status_text),
                ("url", |_, params| {
                    this(params)?
                        .borrow()
                        .request
                        .url
                        .as_str()
                        .into_js(params.ctx())
                }),
                ("error", |_, params| {
                    this(params)?.borrow().error().1.into_js(params.ctx())
                }),
                ("error_code", |_, params| {
                    this(params)?.borrow().error().0.into_js(params.ctx())
                }),
                ("body", body_of),
                ("headers", headers),
                ("cookies", cookies),
                ("timings", timings),
                ("request", request),
                ("proto", |core, params| {
                    seen(core, params, part::REST, |response| response.proto.clone())
                }),
                ("remote_ip", |core, params| {
                    seen(core, params, part::REST, |response| {
                        response.remote_ip.clone()
                    })
                }),
                ("remote_port", |core, params| {
                    seen(core, params, part::REST, |response| response.remote_port)
                }),
            ],
        )?;
        methods(
            &core,
            &object,
            &[
                ("json", json),
                ("toJSON", to_json),
                ("html", |_, params| read_page(params, "pageOf")),
                ("submitForm", |_, params| read_page(params, "submitForm")),
                ("clickLink", |_, params| read_page(params, "clickLink")),
            ],
        )?;
        Ok(Some(object))
    }
}

pub(super) fn make<'js>(
    _core: &Rc<Core>,
    ctx: &Ctx<'js>,
    content: Content,
    request: Request,
) -> Result<Value<'js>> {
    Ok(Class::instance(ctx.clone(), Answered { content, request })?
        .into_inner()
        .into_value())
}

/// Which request `value` answers, when it is a response.
pub(super) fn answered(value: &Value<'_>) -> Option<note::Answered> {
    let class = Class::<Answered>::from_value(value).ok()?;
    let this = class.borrow();
    let request = &this.request;
    let status = match &this.content {
        Content::Nothing { .. } => 0,
        Content::Came(hold) => hold.peek().as_ref().map_or(0, |response| response.status),
    };
    Some(note::Answered {
        method: request.method.clone(),
        url: request.url.clone(),
        name: request.named.then(|| request.name.clone()),
        status,
    })
}

/// What reads pages is in a module of its own, which is there when the script names one of these methods.
fn read_page<'js>(params: &Params<'_, 'js>, how: &str) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let hidden: Object<'js> = ctx.globals().get(PRELUDE)?;
    let Some(read) = hidden.get::<_, Option<Function<'js>>>(how)? else {
        return Err(throw(
            ctx,
            "pages are read where the script says so: call response.html(), submitForm() or clickLink() by that name, or import 'k6/html'",
        ));
    };
    read.call((params.this(), arg(params, 0)))
}

fn this<'js>(params: &Params<'_, 'js>) -> Result<Class<'js, Answered>> {
    let this = params.this();
    Class::from_value(&this).map_err(|_| throw(params.ctx(), "this is no Response"))
}

impl Answered {
    /// k6's number and words for what went wrong; 0 and nothing when all is well.
    fn error(&self) -> (u16, String) {
        match &self.content {
            Content::Nothing { code, message } => (*code, message.clone()),
            Content::Came(hold) => match &*hold.peek() {
                Ok(response) if response.status >= 400 => (1000 + response.status, String::new()),
                Ok(_) => (0, String::new()),
                Err(error) => (error.code, error.message.clone()),
            },
        }
    }

    /// Looks at parts of the response; `None` when there is none.
    fn look<R>(
        &self,
        core: &Core,
        ctx: &Ctx<'_>,
        parts: u8,
        see: impl FnOnce(&Response) -> R,
    ) -> Result<Option<R>> {
        let Content::Came(hold) = &self.content else {
            return Ok(None);
        };
        match hold.look(parts) {
            Ok(outcome) => Ok(outcome.borrow().as_ref().ok().map(see)),
            Err(_) => {
                let reason = format!(
                    "it looks at a response of {} which it had not looked at",
                    self.request.url
                );
                Err(core.end(ctx, Ending::Diverged(reason)))
            }
        }
    }
}

fn number<'js>(
    core: &Rc<Core>,
    params: &Params<'_, 'js>,
    of: fn(&Response) -> u16,
) -> Result<Value<'js>> {
    seen(core, params, 0, of)
}

/// A part of the response; the default of its type when there is none.
fn seen<'js, T: IntoJs<'js> + Default>(
    core: &Rc<Core>,
    params: &Params<'_, 'js>,
    parts: u8,
    of: impl FnOnce(&Response) -> T,
) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let value = this(params)?.borrow().look(core, ctx, parts, of)?;
    value.unwrap_or_default().into_js(ctx)
}

/// Keeps a value as a property of the object itself, so that it is made only once.
fn keep<'js>(params: &Params<'_, 'js>, name: &str, value: Value<'js>) -> Result<Value<'js>> {
    if let Some(object) = params.this().as_object() {
        object.prop(
            name,
            Property::from(value.clone())
                .enumerable()
                .writable()
                .configurable(),
        )?;
    }
    Ok(value)
}

fn status_text<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    seen(core, params, 0, |response| {
        let reason = http_reason(response.status);
        format!("{} {reason}", response.status)
            .trim_end()
            .to_string()
    })
}

/// The bytes of the body, unpacked; `None` when there is none to see.
fn body_bytes(core: &Core, ctx: &Ctx<'_>, answered: &Answered) -> Result<Option<Vec<u8>>> {
    if answered.request.response_type == ResponseType::None {
        return Ok(None);
    }
    let limit = core.birth.memory_limit_bytes;
    let unpacked = answered.look(core, ctx, part::BODY, |response| {
        let encoding = response
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
        match encoding {
            Some((_, encoding)) if !response.body.is_empty() => {
                body::unpack(&response.body, encoding, limit)
            }
            _ => Ok(response.body.clone()),
        }
    })?;
    unpacked.transpose().map_err(|message| throw(ctx, &message))
}

fn body_of<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let this = this(params)?;
    let answered = this.borrow();
    match body_bytes(core, ctx, &answered)? {
        None => Ok(Value::new_null(ctx.clone())),
        Some(bytes) if answered.request.response_type == ResponseType::Binary => keep(
            params,
            "body",
            ArrayBuffer::new(ctx.clone(), bytes)?.into_value(),
        ),
        Some(bytes) => String::from_utf8_lossy(&bytes).into_js(ctx),
    }
}

/// `json()`, or `json("a.b.0")`
fn json<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let this = this(params)?;
    let answered = this.borrow();
    let Some(bytes) = body_bytes(core, ctx, &answered)? else {
        return Err(throw(
            ctx,
            "the body is null so we can't transform it to JSON - this likely was because of a request error getting the response",
        ));
    };
    let wrong = |reason: &str| {
        let (method, url, status) = (&answered.request.method, &answered.request.url, bytes.len());
        throw(
            ctx,
            &format!("cannot parse the body of {method} {url} ({status} bytes) as JSON: {reason}"),
        )
    };
    let selector = arg(params, 0);
    if !absent(&selector) {
        let whole = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
        let found =
            select::select(&whole, &text(&selector)?).map_err(|reason| throw(ctx, &reason))?;
        return match found {
            Some(found) => ctx.json_parse(found.to_string()),
            None => super::undefined(ctx),
        };
    }
    ctx.json_parse(bytes.clone()).map_err(|error| {
        let (said, _) = crate::core::describe(&ctx.catch());
        if said.contains("out of memory") {
            error
        } else {
            wrong(said.trim_start_matches("SyntaxError: "))
        }
    })
}

fn headers<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let object = Object::new(ctx.clone())?;
    let pairs = this(params)?
        .borrow()
        .look(core, ctx, part::HEADERS, |response| {
            let mut pairs: Vec<(String, String)> = Vec::with_capacity(response.headers.len());
            for (name, value) in &response.headers {
                let name = canonical(name);
                match pairs.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = format!("{known}, {value}"),
                    None => pairs.push((name, value.clone())),
                }
            }
            pairs
        })?;
    for (name, value) in pairs.unwrap_or_default() {
        object.set(name, value)?;
    }
    keep(params, "headers", object.into_value())
}

fn cookies<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let object = Object::new(ctx.clone())?;
    let cookies = this(params)?.borrow().look(core, ctx, 0, |response| {
        let set = response
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        set.filter_map(|(_, value)| Cookie::parse(value))
            .collect::<Vec<_>>()
    })?;
    for cookie in cookies.unwrap_or_default() {
        let entry = Object::new(ctx.clone())?;
        entry.set("name", cookie.name.as_str())?;
        entry.set("value", cookie.value)?;
        entry.set("domain", cookie.domain)?;
        entry.set("path", cookie.path)?;
        entry.set("http_only", cookie.http_only)?;
        entry.set("secure", cookie.secure)?;
        entry.set("max_age", cookie.max_age_s.unwrap_or(0) as f64)?;
        entry.set("expires", cookie.expires_us.unwrap_or(0) as f64 / 1_000.0)?;
        let of_name: Option<Array<'js>> = object.get(cookie.name.as_str())?;
        let of_name = match of_name {
            Some(known) => known,
            None => Array::new(ctx.clone())?,
        };
        of_name.set(of_name.len(), entry)?;
        object.set(cookie.name, of_name)?;
    }
    keep(params, "cookies", object.into_value())
}

fn timings<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let this = this(params)?;
    let answered = this.borrow();
    let came = answered.look(core, ctx, part::REST, |response| response.timings)?;
    let failed = match &answered.content {
        Content::Came(hold) => hold.peek().as_ref().err().map(|error| error.timings),
        Content::Nothing { .. } => None,
    };
    let timings: Timings = came.or(failed).unwrap_or_default();
    let object = Object::new(ctx.clone())?;
    for (name, us) in [
        ("blocked", timings.blocked_us),
        ("looking_up", 0),
        ("connecting", timings.connecting_us),
        ("tls_handshaking", timings.tls_us),
        ("sending", timings.sending_us),
        ("waiting", timings.waiting_us),
        ("receiving", timings.receiving_us),
        ("duration", timings.duration_us()),
    ] {
        object.set(name, us as f64 / 1_000.0)?;
    }
    keep(params, "timings", object.into_value())
}

fn request<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let this = this(params)?;
    let sent = &this.borrow().request;
    let object = Object::new(ctx.clone())?;
    object.set("method", sent.method.as_str())?;
    object.set("url", sent.url.as_str())?;
    object.set("body", String::from_utf8_lossy(&sent.body).as_ref())?;
    let (headers, cookies) = (Object::new(ctx.clone())?, Object::new(ctx.clone())?);
    for (name, value) in &sent.headers {
        headers.set(canonical(name), vec![value.as_str()])?;
        for (name, value) in value
            .split("; ")
            .filter_map(|pair| pair.split_once('='))
            .filter(|_| name == "Cookie")
        {
            let cookie = Object::new(ctx.clone())?;
            cookie.set("name", name)?;
            cookie.set("value", value)?;
            cookie.set("replace", false)?;
            cookies.set(name, vec![cookie])?;
        }
    }
    object.set("headers", headers)?;
    object.set("cookies", cookies)?;
    keep(params, "request", object.into_value())
}

/// What `JSON.stringify(response)` shows.
fn to_json<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let object = Object::new(params.ctx().clone())?;
    if let Some(this) = params.this().as_object() {
        for name in [
            "remote_ip",
            "remote_port",
            "url",
            "status",
            "status_text",
            "proto",
            "headers",
            "cookies",
            "body",
            "timings",
            "error",
            "error_code",
            "request",
        ] {
            object.set(name, this.get::<_, Value<'js>>(name)?)?;
        }
    }
    Ok(object.into_value())
}

/// A header's name as Go writes it: `content-type` is `Content-Type`.
fn canonical(name: &str) -> String {
    let mut upper = true;
    name.chars()
        .map(|c| {
            let shown = if upper {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            };
            upper = c == '-';
            shown
        })
        .collect()
}

fn http_reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        423 => "Locked",
        425 => "Too Early",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}
