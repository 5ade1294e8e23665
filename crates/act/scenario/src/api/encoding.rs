//! `k6/encoding`: base64.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use rquickjs::function::Params;
use rquickjs::{ArrayBuffer, Ctx, IntoJs, Object, Result, Value};

use super::body::bytes_of;
use super::{Builtin, absent, arg, methods, throw};
use crate::core::{Core, text};

pub(super) struct Encoding;

impl Builtin for Encoding {
    const EXPORTS: &'static [&'static str] = &["b64encode", "b64decode"];

    fn make<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let object = Object::new(ctx.clone())?;
        methods(
            core,
            &object,
            &[("b64encode", encode), ("b64decode", decode)],
        )?;
        Ok(object)
    }
}

fn alphabet(ctx: &Ctx<'_>, name: &Value<'_>) -> Result<GeneralPurpose> {
    if absent(name) {
        return Ok(STANDARD);
    }
    match text(name)?.as_str() {
        "std" => Ok(STANDARD),
        "rawstd" => Ok(STANDARD_NO_PAD),
        "url" => Ok(URL_SAFE),
        "rawurl" => Ok(URL_SAFE_NO_PAD),
        other => Err(throw(
            ctx,
            &format!(
                "the base64 encoding '{other}' is unknown: std, rawstd, url and rawurl are known"
            ),
        )),
    }
}

fn encode<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let input = arg(params, 0);
    let Some(bytes) = bytes_of(&input)? else {
        return Err(throw(ctx, "b64encode() wants a string or an ArrayBuffer"));
    };
    alphabet(ctx, &arg(params, 1))?.encode(bytes).into_js(ctx)
}

fn decode<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let input = text(&arg(params, 0))?;
    let decoded = alphabet(ctx, &arg(params, 1))?.decode(input.trim_end_matches(['\n', '\r']));
    let bytes = decoded.map_err(|error| throw(ctx, &format!("b64decode(): {error}")))?;
    let format = arg(params, 2);
    if !absent(&format) && text(&format)? == "s" {
        return String::from_utf8_lossy(&bytes).into_js(ctx);
    }
    Ok(ArrayBuffer::new(ctx.clone(), bytes)?.into_value())
}
