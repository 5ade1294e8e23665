//! From the arguments of `http.get(url, params)` and its kin to a plan.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rquickjs::{Ctx, Object, Result, Value};
use url::Url;

use super::body::{Body, compress};
use super::fetch::Plan;
use super::{absent, http, jar, throw};
use crate::core::{Core, Phase, add_tags, text};
use crate::http::{Request, ResponseType, TIMEOUT_US};

/// Makes a plan of a method, a URL, a body and parameters.
pub(super) fn plan<'js>(
    core: &Rc<Core>,
    method: &str,
    url: &Value<'js>,
    body: &Value<'js>,
    params: &Value<'js>,
) -> Result<Plan> {
    let ctx = url.ctx();
    if core.phase.get() == Phase::Init {
        return Err(throw(
            ctx,
            "requests cannot be made in the init context (outside of functions): move it into setup() or the default function",
        ));
    }
    let (address, name) = address(url)?;
    let parsed = parse(core, &address);
    let mut plan = Plan {
        request: Request {
            method: method.into(),
            url: String::new(),
            headers: Vec::with_capacity(4),
            body: Vec::new(),
            timeout_us: TIMEOUT_US,
            response_type: if core.settings.discards_bodies {
                ResponseType::None
            } else {
                ResponseType::Text
            },
            expected: core.expected.borrow().clone(),
            named: name.is_some(),
            name: name.unwrap_or_default(),
            group: core.group.borrow().clone(),
            tags: core.own_tags(ctx)?,
        },
        url: parsed,
        jar: Some(core.jar.borrow().clone()),
        cookies: Vec::new(),
        cookie_line: String::new(),
        redirects: core.settings.redirects,
        throws: core.settings.throws,
    };
    if let Some(agent) = &core.settings.user_agent {
        plan.request
            .headers
            .push(("User-Agent".into(), agent.clone()));
    }
    take_url(&mut plan, &address);
    let body = Body::of(core, body)?;
    plan.request.body = body.bytes;
    if let Some(params) = params.as_object() {
        take_params(core, &mut plan, params)?;
    }
    if let Some(content_type) = body.content_type {
        add_header(&mut plan.request, "Content-Type", content_type, false);
    }
    Ok(plan)
}

/// URL as text, and its name when the script gave one with `` http.url`...` ``.
fn address(url: &Value<'_>) -> Result<(String, Option<String>)> {
    if let Some(object) = url.as_object()
        && let Some(name) = object.get::<_, Option<String>>(http::URL_NAME)?
    {
        return Ok((object.get("url")?, Some(name)));
    }
    if absent(url) {
        return Err(throw(url.ctx(), "the URL of a request is missing"));
    }
    Ok((text(url)?, None))
}

fn parse(core: &Core, address: &str) -> std::result::Result<Url, String> {
    let whole = if address.starts_with('/') && !core.birth.base_url.is_empty() {
        Url::parse(&format!(
            "{}{address}",
            core.birth.base_url.trim_end_matches('/')
        ))
    } else {
        Url::parse(address)
    };
    let url = whole.map_err(|error| format!("invalid URL '{address}': {error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        scheme => Err(format!(
            "invalid URL '{address}': the scheme '{scheme}' is not http or https"
        )),
    }
}

/// Moves user and password into a header, and drops the fragment.
fn take_url(plan: &mut Plan, address: &str) {
    let Ok(url) = &mut plan.url else {
        plan.request.url = address.into();
        if !plan.request.named {
            plan.request.name = address.into();
        }
        return;
    };
    let mut shown = None;
    if !url.username().is_empty() || url.password().is_some() {
        let pair = format!(
            "{}:{}",
            percent(url.username()),
            percent(url.password().unwrap_or_default())
        );
        plan.request.headers.push((
            "Authorization".into(),
            format!("Basic {}", STANDARD.encode(pair)),
        ));
        // Both fail only for URLs without a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        shown = Some(url.to_string());
    }
    url.set_fragment(None);
    plan.request.url = url.as_str().into();
    if !plan.request.named {
        plan.request.name = shown.unwrap_or_else(|| address.into());
    }
}

fn percent(text: &str) -> String {
    let query = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn add_header(request: &mut Request, name: &str, value: String, replaces: bool) {
    match request
        .headers
        .iter_mut()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
    {
        Some(header) if replaces => *header = (name.into(), value),
        Some(_) => {}
        None => request.headers.push((name.into(), value)),
    }
}

fn take_params<'js>(core: &Rc<Core>, plan: &mut Plan, params: &Object<'js>) -> Result<()> {
    for property in params.props::<String, Value<'js>>() {
        let (name, value) = property?;
        if name == "responseCallback" {
            plan.request.expected = http::expected(&value)?;
            continue;
        }
        if name == "jar" {
            plan.jar = jar::of_param(core, &value)?;
            continue;
        }
        if !absent(&value) {
            take_param(plan, &name, &value)?;
        }
    }
    Ok(())
}

fn take_param<'js>(plan: &mut Plan, name: &str, value: &Value<'js>) -> Result<()> {
    let ctx = value.ctx();
    match name {
        "headers" => take_headers(&mut plan.request, value),
        "tags" => take_tags(&mut plan.request, value),
        "cookies" => take_cookies(plan, value),
        "timeout" => {
            plan.request.timeout_us = duration_us(ctx, value)?;
            Ok(())
        }
        "redirects" => {
            plan.redirects = value.get::<rquickjs::Coerced<f64>>()?.0.max(0.0) as u32;
            Ok(())
        }
        "throw" => {
            plan.throws = value.get::<rquickjs::Coerced<bool>>()?.0;
            Ok(())
        }
        "auth" => take_auth(plan, &text(value)?, ctx),
        "responseType" => {
            plan.request.response_type = match text(value)?.as_str() {
                "text" => ResponseType::Text,
                "binary" => ResponseType::Binary,
                "none" => ResponseType::None,
                other => {
                    return Err(throw(
                        ctx,
                        &format!(
                            "the responseType '{other}' is unknown: text, binary and none are known"
                        ),
                    ));
                }
            };
            Ok(())
        }
        "compression" => {
            let encoding = compress(ctx, &mut plan.request.body, &text(value)?)?;
            add_header(&mut plan.request, "Content-Encoding", encoding, false);
            Ok(())
        }
        // k6 overlooks what it does not know.
        _ => Ok(()),
    }
}

fn take_headers(request: &mut Request, value: &Value<'_>) -> Result<()> {
    let Some(headers) = value.as_object() else {
        return Ok(());
    };
    for property in headers.props::<String, Value<'_>>() {
        let (name, value) = property?;
        let value = text(&value)?;
        let name_ok = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte));
        if !name_ok
            || value
                .bytes()
                .any(|byte| byte == b'\n' || byte == b'\r' || byte == 0)
        {
            return Err(throw(
                headers.ctx(),
                &format!("'{name}: {value}' cannot be sent as a header"),
            ));
        }
        if !name.eq_ignore_ascii_case("content-length") {
            add_header(request, &name, value, true);
        }
    }
    Ok(())
}

fn take_tags(request: &mut Request, value: &Value<'_>) -> Result<()> {
    let Some(tags) = value.as_object() else {
        return Ok(());
    };
    add_tags(&mut request.tags, tags)?;
    if let Some(at) = request.tags.iter().position(|(name, _)| name == "name") {
        request.name = request.tags.remove(at).1;
        request.named = true;
    }
    Ok(())
}

fn take_cookies(plan: &mut Plan, value: &Value<'_>) -> Result<()> {
    let Some(cookies) = value.as_object() else {
        return Ok(());
    };
    for property in cookies.props::<String, Value<'_>>() {
        let (name, value) = property?;
        let (value, replaces) = match value.as_object() {
            Some(cookie) => (
                text(&cookie.get("value")?)?,
                cookie.get::<_, Option<bool>>("replace")?.unwrap_or(false),
            ),
            None => (text(&value)?, false),
        };
        plan.cookies.push((name, value, replaces));
    }
    Ok(())
}

/// `auth: "basic"` is what user and password in a URL mean anyway.
fn take_auth(plan: &Plan, kind: &str, ctx: &Ctx<'_>) -> Result<()> {
    match kind {
        "basic"
            if plan
                .request
                .headers
                .iter()
                .any(|(name, _)| name == "Authorization") =>
        {
            Ok(())
        }
        "basic" => Err(throw(
            ctx,
            "auth: \"basic\" wants user and password in the URL: http://user:password@host/",
        )),
        other => Err(throw(
            ctx,
            &format!("auth: \"{other}\" is not supported: basic is"),
        )),
    }
}

/// A duration of k6: a number of milliseconds, or text like `1m30s`.
pub(crate) fn duration_us(ctx: &Ctx<'_>, value: &Value<'_>) -> Result<u64> {
    if let Some(ms) = value.as_number() {
        return Ok((ms.max(0.0) * 1_000.0) as u64);
    }
    let written = text(value)?;
    parse_duration_us(&written).ok_or_else(|| {
        throw(
            ctx,
            &format!(
                "'{written}' is no duration: a number of milliseconds, or text like \"1m30s\""
            ),
        )
    })
}

/// Reads `1h2m3.5s`, `250ms`; a bare number is milliseconds.
pub(crate) fn parse_duration_us(written: &str) -> Option<u64> {
    if let Ok(ms) = written.parse::<f64>() {
        return (ms >= 0.0).then_some((ms * 1_000.0) as u64);
    }
    let mut rest = written.trim();
    let mut us = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |at| at + digits);
        us += number
            * match &rest[digits..unit_end] {
                "us" | "µs" => 1.0,
                "ms" => 1e3,
                "s" => 1e6,
                "m" => 6e7,
                "h" => 3.6e9,
                "d" => 8.64e10,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Some(us as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (written, us) in [
            ("1m30s", Some(90_000_000)),
            ("250ms", Some(250_000)),
            ("1500", Some(1_500_000)),
            ("1.5h", Some(5_400_000_000)),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_duration_us(written), us, "{written}");
        }
    }
}
