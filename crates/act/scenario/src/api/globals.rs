//! What is there without an import: console, open, __ENV, timers; and what is not left to the engine: time and chance.

use std::rc::Rc;

use rquickjs::function::Params;
use rquickjs::{ArrayBuffer, Ctx, IntoJs, Object, Result, Value};

use super::{Builtin, absent, address, arg, function, html, methods, throw, undefined};
use crate::call::Call;
use crate::commonjs;
use crate::core::{Core, Phase, text};
use crate::note::Level;

/// Name of the module that is evaluated before all others, and of the global it leaves for other modules of ours.
pub(crate) const PRELUDE: &str = "cohort:prelude";
pub(crate) const PRELUDE_SOURCE: &str = include_str!("prelude.js");

pub(super) struct Timers;

const TIMERS: [(&str, super::HostFn); 4] = [
    ("setTimeout", |core, params| timer(core, params, false)),
    ("setInterval", |core, params| timer(core, params, true)),
    ("clearTimeout", clear_timer),
    ("clearInterval", clear_timer),
];

impl Builtin for Timers {
    const EXPORTS: &'static [&'static str] =
        &["setTimeout", "setInterval", "clearTimeout", "clearInterval"];

    fn make<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let object = Object::new(ctx.clone())?;
        methods(core, &object, &TIMERS)?;
        Ok(object)
    }
}

/// Puts everything into the global object.
pub(crate) fn install<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<()> {
    let globals = ctx.globals();
    let console = Object::new(ctx.clone())?;
    methods(
        core,
        &console,
        &[
            ("log", |core, params| say(core, params, Level::Info)),
            ("info", |core, params| say(core, params, Level::Info)),
            ("debug", |core, params| say(core, params, Level::Debug)),
            ("warn", |core, params| say(core, params, Level::Warn)),
            ("error", |core, params| say(core, params, Level::Error)),
        ],
    )?;
    globals.set("console", console)?;
    methods(core, &globals, &TIMERS)?;
    globals.set("open", function(core, ctx, "open", open)?)?;
    let env = Object::new(ctx.clone())?;
    if !core.birth.base_url.is_empty() {
        env.set("BASE_URL", core.birth.base_url.as_str())?;
    }
    for (name, value) in &core.birth.env {
        env.set(name.as_str(), value.as_str())?;
    }
    globals.set("__ENV", env)?;
    globals.set("__VU", core.birth.vu as f64)?;
    globals.set("__ITER", 0)?;
    globals
        .get::<_, Object<'js>>("Math")?
        .set("random", function(core, ctx, "random", random)?)?;
    let hidden = Object::new(ctx.clone())?;
    hidden.set("now", function(core, ctx, "now", now)?)?;
    hidden.set(
        "commonjs",
        function(core, ctx, "commonjs", |core, params| {
            let name = text(&arg(params, 0))?;
            let modules = &core.script.bundle().modules;
            let source = modules.get(&name).map_or("", String::as_str);
            commonjs::function(params.ctx(), &name, source)
        })?,
    )?;
    hidden.set("random", function(core, ctx, "random", random)?)?;
    hidden.set("html", function(core, ctx, "html", html::read)?)?;
    hidden.set("url", function(core, ctx, "url", address::read)?)?;
    globals.prop(PRELUDE, hidden)?;
    Ok(())
}

fn random<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    Ok(Value::new_float(
        params.ctx().clone(),
        core.rng.borrow_mut().unit(),
    ))
}

/// Microseconds since 1970.
fn now<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    core.ask(params.ctx(), Call::Now)?;
    Ok(Value::new_float(
        params.ctx().clone(),
        core.now_us.get() as f64,
    ))
}

fn say<'js>(core: &Rc<Core>, params: &Params<'_, 'js>, level: Level) -> Result<Value<'js>> {
    let mut line = String::new();
    for at in 0..params.len() {
        if at > 0 {
            line.push(' ');
        }
        let value = arg(params, at);
        let plain = !value.is_object() || value.is_error() || value.is_function();
        let json = if plain {
            None
        } else {
            params.ctx().json_stringify(value.clone())?
        };
        match json {
            Some(json) => line.push_str(&json.to_string()?),
            None => line.push_str(&text(&value)?),
        }
    }
    core.log(level, line);
    undefined(params.ctx())
}

/// `open(path)`, `open(path, "b")`
fn open<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    if core.phase.get() != Phase::Init {
        return Err(throw(
            ctx,
            "open() can be called in the init context only (outside of functions)",
        ));
    }
    let (path, mode) = (text(&arg(params, 0))?, arg(params, 1));
    let caller = [0, 1]
        .iter()
        .find_map(|level| ctx.script_or_module_name(*level))
        .and_then(|name| name.to_string().ok());
    let bytes = core
        .script
        .open(caller.as_deref().unwrap_or_default(), &path)
        .map_err(|reason| throw(ctx, &reason))?;
    if !absent(&mode) && text(&mode)? == "b" {
        return Ok(ArrayBuffer::new(ctx.clone(), bytes.to_vec())?.into_value());
    }
    String::from_utf8_lossy(&bytes).into_js(ctx)
}

fn timer<'js>(core: &Rc<Core>, params: &Params<'_, 'js>, again: bool) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let Some(callback) = arg(params, 0).into_function() else {
        return Err(throw(ctx, "a timer wants a function as its first argument"));
    };
    if core.phase.get() == Phase::Init {
        return Err(throw(
            ctx,
            "timers cannot be set in the init context (outside of functions)",
        ));
    }
    let ms = arg(params, 1).get::<rquickjs::Coerced<f64>>()?.0;
    let us = if ms > 0.0 {
        (ms * 1_000.0).min(1e18) as u64
    } else {
        0
    };
    let args = (2..params.len()).map(|at| arg(params, at)).collect();
    let due_us = core.now_us.get().saturating_add(us);
    let id = core
        .turns
        .borrow_mut()
        .add_timer(ctx, (callback, args), due_us, again.then_some(us));
    id.into_js(ctx)
}

fn clear_timer<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    if let Some(id) = arg(params, 0).as_number() {
        core.turns.borrow_mut().remove_timer(id as u32);
    }
    undefined(params.ctx())
}
