//! `k6/execution`: who, where and when the script runs.

use std::rc::Rc;

use rquickjs::function::Params;
use rquickjs::{Ctx, IntoJs, Object, Persistent, Result, Value};

use super::{Builtin, absent, arg, getters, methods};
use crate::core::{Core, Ending, text};
use crate::note::Note;

pub(super) struct Execution;

impl Builtin for Execution {
    const EXPORTS: &'static [&'static str] = &["scenario", "instance", "test", "vu"];

    fn make<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let object = Object::new(ctx.clone())?;
        object.set("scenario", scenario(core, ctx)?)?;
        object.set("instance", instance(core, ctx)?)?;
        let test = Object::new(ctx.clone())?;
        methods(core, &test, &[("abort", abort)])?;
        getters(core, &test, &[("options", options)])?;
        object.set("test", test)?;
        object.set("vu", vu(core, ctx)?)?;
        Ok(object)
    }
}

/// Numbers are JavaScript's: exact below 2^53.
fn count<'js>(params: &Params<'_, 'js>, value: u64) -> Result<Value<'js>> {
    (value as f64).into_js(params.ctx())
}

fn scenario<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    getters(
        core,
        &object,
        &[
            ("name", |core, params| {
                core.birth.scenario.name.as_str().into_js(params.ctx())
            }),
            ("executor", |core, params| {
                core.birth.scenario.executor.as_str().into_js(params.ctx())
            }),
            ("startTime", |core, params| {
                (core.birth.scenario.start_unix_us as f64 / 1_000.0)
                    .floor()
                    .into_js(params.ctx())
            }),
            ("progress", |core, params| {
                (f64::from(core.permit.borrow().progress_permille) / 1_000.0).into_js(params.ctx())
            }),
            ("iterationInInstance", |core, params| {
                count(params, core.permit.borrow().in_instance)
            }),
            ("iterationInTest", |core, params| {
                count(params, core.permit.borrow().in_scenario)
            }),
        ],
    )?;
    Ok(object)
}

fn instance<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    getters(
        core,
        &object,
        &[
            ("iterationsCompleted", |core, params| {
                count(params, core.permit.borrow().around.iterations_completed)
            }),
            ("iterationsInterrupted", |core, params| {
                count(params, core.permit.borrow().around.iterations_interrupted)
            }),
            ("vusActive", |core, params| {
                count(params, core.permit.borrow().around.vus_active)
            }),
            ("vusInitialized", |core, params| {
                count(params, core.permit.borrow().around.vus_initialized)
            }),
            ("currentTestRunDuration", |core, params| {
                (core.permit.borrow().around.test_run_us as f64 / 1_000.0).into_js(params.ctx())
            }),
        ],
    )?;
    Ok(object)
}

fn vu<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    getters(
        core,
        &object,
        &[
            ("idInInstance", |core, params| {
                count(params, core.birth.vu_in_instance)
            }),
            ("idInTest", |core, params| count(params, core.birth.vu)),
            ("iterationInInstance", |core, params| {
                count(params, core.permit.borrow().in_vu)
            }),
            ("iterationInScenario", |core, params| {
                count(params, core.permit.borrow().in_vu)
            }),
            ("tags", tags),
        ],
    )?;
    let metrics = Object::new(ctx.clone())?;
    getters(core, &metrics, &[("tags", tags)])?;
    metrics.set("metadata", Object::new(ctx.clone())?)?;
    object.set("metrics", metrics)?;
    Ok(object)
}

/// The object whose properties tag all that the virtual user does from now on.
fn tags<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let known = core.vu_tags.borrow().clone();
    if let Some(known) = known {
        return Ok(known.restore(ctx)?.into_value());
    }
    let object = Object::new(ctx.clone())?;
    core.vu_tags
        .replace(Some(Persistent::save(ctx, object.clone())));
    Ok(object.into_value())
}

fn abort<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let reason = arg(params, 0);
    let message = if absent(&reason) {
        "test aborted".into()
    } else {
        text(&reason)?
    };
    core.note(Note::Abort {
        message: message.clone(),
    });
    Err(core.end(params.ctx(), Ending::Aborted(message)))
}

fn options<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let options = core
        .birth
        .options
        .as_ref()
        .unwrap_or(&core.script.bundle().options);
    params.ctx().json_parse(options.as_str())
}
