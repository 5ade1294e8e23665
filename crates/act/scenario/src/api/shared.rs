//! `k6/data`: arrays that all virtual users share. Their elements are kept as JSON outside of every machine's heap; each
//! look at one makes it anew.

use std::rc::Rc;

use rquickjs::function::Params;
use rquickjs::{Array, Ctx, Function, IntoJs, Object, Result, Value};

use super::{Builtin, arg, function, throw, undefined};
use crate::core::{Core, Phase, text};

pub(super) struct Data;

impl Builtin for Data {
    const EXPORTS: &'static [&'static str] = &["SharedArray"];

    fn make<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let object = Object::new(ctx.clone())?;
        let prelude: Object<'js> = ctx.globals().get(super::globals::PRELUDE)?;
        let make: Function<'js> = prelude.get("sharedArray")?;
        let (open, at) = (
            function(core, ctx, "open", open)?,
            function(core, ctx, "at", at)?,
        );
        object.set("SharedArray", make.call::<_, Value<'js>>((open, at))?)?;
        Ok(object)
    }
}

/// `open(name, build)`: the number of elements; builds them when the script is loaded.
fn open<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let name = text(&arg(params, 0))?;
    if core.phase.get() != Phase::Init {
        return Err(throw(
            ctx,
            "a SharedArray must be made in the init context (outside of functions)",
        ));
    }
    if name.is_empty() {
        return Err(throw(
            ctx,
            "a SharedArray wants a name as its first argument",
        ));
    }
    if let Some(count) = core.script.shared_len(&name) {
        return (count as f64).into_js(ctx);
    }
    if !core.script.loading() {
        let message = format!(
            "the SharedArray '{name}' was not there when the script was loaded: its name must not depend on __VU, time or chance"
        );
        return Err(throw(ctx, &message));
    }
    let Some(build) = arg(params, 1).into_function() else {
        return Err(throw(
            ctx,
            "a SharedArray wants a function as its second argument",
        ));
    };
    let built: Value<'js> = build.call(())?;
    let Some(built) = built.as_array() else {
        return Err(throw(ctx, "only arrays can be made into a SharedArray"));
    };
    let elements = elements(ctx, built)?;
    let count = elements.len();
    core.script.add_shared(name, elements);
    (count as f64).into_js(ctx)
}

fn elements<'js>(ctx: &Ctx<'js>, built: &Array<'js>) -> Result<Vec<String>> {
    let json = |element: Result<Value<'js>>| match ctx.json_stringify(element?)? {
        Some(json) => json.to_string(),
        None => Ok("null".into()),
    };
    built.iter::<Value<'js>>().map(json).collect()
}

fn at<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let name = text(&arg(params, 0))?;
    let place = arg(params, 1).as_number().unwrap_or(-1.0);
    match core.script.shared_at(&name, place as usize) {
        Some(json) => ctx.json_parse(json),
        None => undefined(ctx),
    }
}
