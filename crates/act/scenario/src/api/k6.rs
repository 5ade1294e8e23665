//! `k6`: check, group, sleep, fail, randomSeed.

use std::rc::Rc;

use rquickjs::function::Params;
use rquickjs::{Ctx, Function, Object, Result, Value};

use super::{Builtin, absent, arg, methods, response, throw, undefined};
use crate::call::Call;
use crate::core::{Core, add_tags, text};
use crate::note::Note;
use crate::rng::Rng;

pub(super) struct K6;

impl Builtin for K6 {
    const EXPORTS: &'static [&'static str] = &["check", "group", "sleep", "fail", "randomSeed"];

    fn make<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let object = Object::new(ctx.clone())?;
        methods(
            core,
            &object,
            &[
                ("check", check),
                ("group", group),
                ("sleep", sleep),
                ("fail", fail),
                ("randomSeed", random_seed),
            ],
        )?;
        Ok(object)
    }
}

fn check<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let (subject, conditions, extra) = (arg(params, 0), arg(params, 1), arg(params, 2));
    let Some(conditions) = conditions.as_object() else {
        return Err(throw(
            ctx,
            "check() wants an object of conditions as its second argument",
        ));
    };
    let mut tags = core.own_tags(ctx)?;
    if let Some(extra) = extra.as_object() {
        add_tags(&mut tags, extra)?;
    }
    let mut all = true;
    for property in conditions.props::<String, Value<'js>>() {
        let (name, condition) = property?;
        let outcome = match condition.as_function() {
            Some(function) => function.call::<_, Value<'js>>((subject.clone(),)),
            None => Ok(condition),
        };
        let passed = outcome.as_ref().is_ok_and(truthy);
        if outcome.is_err() && core.ending.borrow().is_some() {
            return outcome;
        }
        // Taken, since whatever is asked of the engine next would lose it.
        let thrown = outcome.is_err().then(|| ctx.catch());
        all &= passed;
        let of = (!passed).then(|| response::answered(&subject)).flatten();
        core.note(Note::Check {
            name,
            passed,
            group: core.group.borrow().clone(),
            tags: tags.clone(),
            of,
        });
        if let Some(thrown) = thrown {
            return Err(ctx.throw(thrown));
        }
    }
    Ok(Value::new_bool(ctx.clone(), all))
}

fn truthy(value: &Value<'_>) -> bool {
    match value.as_bool() {
        Some(known) => known,
        None => value
            .get::<rquickjs::Coerced<bool>>()
            .is_ok_and(|coerced| coerced.0),
    }
}

fn group<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let name = text(&arg(params, 0))?;
    let Some(function) = arg(params, 1).into_function() else {
        return Err(throw(
            ctx,
            "group() wants a function as its second argument",
        ));
    };
    if name.contains("::") {
        return Err(throw(ctx, "the name of a group may not contain '::'"));
    }
    let outer = core.group.borrow().clone();
    core.group.replace(format!("{outer}::{name}"));
    let began_us = core.now_us.get();
    let outcome = function.call::<_, Value<'js>>(());
    let path = core.group.replace(outer);
    if outcome.as_ref().is_ok_and(Value::is_promise) {
        return Err(throw(
            ctx,
            "group() cannot wait for an async function; await inside a plain group is not possible either",
        ));
    }
    if core.ending.borrow().is_none() {
        core.note(Note::Group {
            path,
            duration_us: core.now_us.get().saturating_sub(began_us),
        });
    }
    outcome
}

fn sleep<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let seconds = arg(params, 0).get::<rquickjs::Coerced<f64>>()?.0;
    if seconds > 0.0 {
        core.ask(
            ctx,
            Call::Sleep {
                us: (seconds * 1e6).min(1e18) as u64,
            },
        )?;
    }
    undefined(ctx)
}

fn fail<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let reason = arg(params, 0);
    let message = if absent(&reason) {
        String::new()
    } else {
        text(&reason)?
    };
    let ctx = params.ctx();
    let error: Function<'js> = ctx.globals().get("Error")?;
    Err(ctx.throw(error.call((message,))?))
}

fn random_seed<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let seed = arg(params, 0).get::<rquickjs::Coerced<f64>>()?.0;
    core.rng.replace(Rng::new(seed as i64 as u64));
    undefined(params.ctx())
}
