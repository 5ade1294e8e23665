//! `k6/http`: the functions that send.

use std::rc::Rc;

use rquickjs::function::Params;
use rquickjs::{Array, Ctx, Object, Result, Value};

use super::fetch::{self, Plan};
use super::{Builtin, absent, arg, body, jar, methods, request, throw, undefined};
use crate::core::{Core, text};
use crate::http::Expected;

/// Property by which the objects of `` http.url`...` `` are known.
pub(super) const URL_NAME: &str = "__name";
const EXPECTED_MARK: &str = "__expected";

pub(super) struct Http;

impl Builtin for Http {
    const EXPORTS: &'static [&'static str] = &[
        "get",
        "head",
        "post",
        "put",
        "patch",
        "del",
        "options",
        "request",
        "asyncRequest",
        "batch",
        "url",
        "file",
        "cookieJar",
        "CookieJar",
        "expectedStatuses",
        "setResponseCallback",
    ];

    fn make<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let object = Object::new(ctx.clone())?;
        methods(
            core,
            &object,
            &[
                ("get", |core, params| bare(core, params, "GET")),
                ("head", |core, params| bare(core, params, "HEAD")),
                ("post", |core, params| with_body(core, params, "POST")),
                ("put", |core, params| with_body(core, params, "PUT")),
                ("patch", |core, params| with_body(core, params, "PATCH")),
                ("del", |core, params| with_body(core, params, "DELETE")),
                ("options", |core, params| with_body(core, params, "OPTIONS")),
                ("request", request),
                ("asyncRequest", async_request),
                ("batch", batch),
                ("url", url),
                ("file", body::file),
                ("cookieJar", jar::current),
                ("expectedStatuses", expected_statuses),
                ("setResponseCallback", set_response_callback),
            ],
        )?;
        object.set("CookieJar", jar::constructor(core, ctx)?)?;
        Ok(object)
    }
}

fn send<'js>(core: &Rc<Core>, ctx: &Ctx<'js>, plan: Plan) -> Result<Value<'js>> {
    let mut done = fetch::exchange(core, ctx, vec![plan])?;
    match done.pop() {
        Some(done) => done.response(core, ctx),
        None => undefined(ctx),
    }
}

fn bare<'js>(core: &Rc<Core>, params: &Params<'_, 'js>, method: &str) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let plan = request::plan(
        core,
        method,
        &arg(params, 0),
        &undefined(ctx)?,
        &arg(params, 1),
    )?;
    send(core, ctx, plan)
}

fn with_body<'js>(core: &Rc<Core>, params: &Params<'_, 'js>, method: &str) -> Result<Value<'js>> {
    let plan = request::plan(
        core,
        method,
        &arg(params, 0),
        &arg(params, 1),
        &arg(params, 2),
    )?;
    send(core, params.ctx(), plan)
}

fn plan_of<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Plan> {
    let method = text(&arg(params, 0))?.to_ascii_uppercase();
    request::plan(
        core,
        &method,
        &arg(params, 1),
        &arg(params, 2),
        &arg(params, 3),
    )
}

fn request<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    send(core, params.ctx(), plan_of(core, params)?)
}

fn async_request<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let plan = plan_of(core, params)?;
    let (promise, resolve, reject) = ctx.promise()?;
    core.turns.borrow_mut().add_send(ctx, plan, resolve, reject);
    Ok(promise.into_value())
}

/// `batch([...])` or `batch({name: ...})`: each a URL, `[method, url, body, params]` or `{method, url, body, params}`.
fn batch<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let requests = arg(params, 0);
    let Some(requests) = requests.as_object() else {
        return Err(throw(
            ctx,
            "http.batch() wants an array or an object of requests",
        ));
    };
    let (mut keys, mut plans) = (Vec::new(), Vec::new());
    for property in requests.props::<String, Value<'js>>() {
        let (key, wanted) = property?;
        keys.push(key);
        plans.push(plan_in_batch(core, &wanted)?);
    }
    let done = fetch::exchange(core, ctx, plans)?;
    let into: Object<'js> = if requests.is_array() {
        Array::new(ctx.clone())?.into_object()
    } else {
        Object::new(ctx.clone())?
    };
    for (at, (key, done)) in keys.into_iter().zip(done).enumerate() {
        let response = done.response(core, ctx)?;
        match into.as_array() {
            Some(array) => array.set(at, response)?,
            None => into.set(key, response)?,
        }
    }
    Ok(into.into_value())
}

fn plan_in_batch<'js>(core: &Rc<Core>, wanted: &Value<'js>) -> Result<Plan> {
    let ctx = wanted.ctx();
    let nothing = undefined(ctx)?;
    let is_url = |object: &Object<'js>| object.contains_key(URL_NAME);
    if let Some(array) = wanted.as_array() {
        let at = |at: usize| array.get::<Value<'js>>(at);
        let method = text(&at(0)?)?.to_ascii_uppercase();
        return request::plan(core, &method, &at(1)?, &at(2)?, &at(3)?);
    }
    match wanted.as_object() {
        Some(object) if !is_url(object)? => {
            let of = |name: &str| object.get::<_, Value<'js>>(name);
            let method = of("method")?;
            let method = if absent(&method) {
                "GET".into()
            } else {
                text(&method)?.to_ascii_uppercase()
            };
            request::plan(core, &method, &of("url")?, &of("body")?, &of("params")?)
        }
        _ => request::plan(core, "GET", wanted, &nothing, &nothing),
    }
}

/// The tag of `` http.url`http://host/${id}` ``: the URL is filled in, its name is not.
fn url<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let parts = arg(params, 0);
    let Some(parts) = parts.as_array() else {
        return Err(throw(
            ctx,
            "http.url is the tag of a template: http.url`http://host/${id}`",
        ));
    };
    let (mut url, mut name) = (String::new(), String::new());
    for (at, part) in parts.iter::<Value<'js>>().enumerate() {
        let part = text(&part?)?;
        if at > 0 {
            url.push_str(&text(&arg(params, at))?);
            name.push_str("${}");
        }
        url.push_str(&part);
        name.push_str(&part);
    }
    let object = Object::new(ctx.clone())?;
    object.set("url", url)?;
    object.set("name", name.clone())?;
    object.prop(URL_NAME, name)?;
    methods(
        _core,
        &object,
        &[("toString", |_, params| {
            params
                .this()
                .as_object()
                .map_or_else(|| undefined(params.ctx()), |this| this.get("url"))
        })],
    )?;
    Ok(object.into_value())
}

/// `http.expectedStatuses(200, {min: 300, max: 399})`
fn expected_statuses<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let bad = || throw(ctx, "http.expectedStatuses() wants numbers and {min, max}");
    let flat = Array::new(ctx.clone())?;
    for at in 0..params.len() {
        let value = arg(params, at);
        let (low, high) = match (value.as_number(), value.as_object()) {
            (Some(status), _) => (status, status),
            (None, Some(range)) => {
                let end = |name: &str| {
                    range
                        .get::<_, Value<'js>>(name)
                        .ok()
                        .and_then(|value| value.as_number())
                        .ok_or_else(bad)
                };
                (end("min")?, end("max")?)
            }
            _ => return Err(bad()),
        };
        flat.set(2 * at, low)?;
        flat.set(2 * at + 1, high)?;
    }
    if flat.is_empty() {
        return Err(bad());
    }
    let object = Object::new(ctx.clone())?;
    object.prop(EXPECTED_MARK, flat)?;
    Ok(object.into_value())
}

/// Reads what `expectedStatuses()` made, or `null`.
pub(super) fn expected(value: &Value<'_>) -> Result<Expected> {
    if absent(value) {
        return Ok(Expected::Unjudged);
    }
    let flat = value.as_object().and_then(|object| {
        object
            .get::<_, Option<Vec<f64>>>(EXPECTED_MARK)
            .ok()
            .flatten()
    });
    let Some(flat) = flat else {
        return Err(throw(
            value.ctx(),
            "a responseCallback is null or what http.expectedStatuses() returns",
        ));
    };
    let ranges = flat
        .chunks(2)
        .map(|range| (range[0] as u16, range[range.len() - 1] as u16))
        .collect();
    Ok(Expected::Statuses(ranges))
}

fn set_response_callback<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    core.expected.replace(expected(&arg(params, 0))?);
    undefined(params.ctx())
}
