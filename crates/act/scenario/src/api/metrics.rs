//! `k6/metrics`: Counter, Gauge, Rate, Trend.

use std::rc::Rc;

use rquickjs::class::{JsClass, Readable, Trace, Tracer};
use rquickjs::function::{Constructor, Opt, Params};
use rquickjs::{Class, Ctx, IntoJs, JsLifetime, Object, Result, Value};

use super::{Builtin, arg, getters, here, methods, throw};
use crate::core::{Core, Phase, add_tags, text};
use crate::note::{Level, MetricKind, Note, Sample};

pub(super) struct Metrics;

impl Builtin for Metrics {
    const EXPORTS: &'static [&'static str] = &["Counter", "Gauge", "Rate", "Trend"];

    fn make<'js>(_core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let object = Object::new(ctx.clone())?;
        object.set("Counter", constructor(ctx, "Counter", MetricKind::Counter)?)?;
        object.set("Gauge", constructor(ctx, "Gauge", MetricKind::Gauge)?)?;
        object.set("Rate", constructor(ctx, "Rate", MetricKind::Rate)?)?;
        object.set("Trend", constructor(ctx, "Trend", MetricKind::Trend)?)?;
        Ok(object)
    }
}

struct Metric {
    name: String,
    kind: MetricKind,
    is_time: bool,
}

#[expect(unsafe_code, reason = "holds nothing with the lifetime of the engine")]
unsafe impl JsLifetime<'_> for Metric {
    type Changed<'to> = Metric;
}

impl<'js> Trace<'js> for Metric {
    fn trace(&self, _tracer: Tracer<'_, 'js>) {}
}

impl<'js> JsClass<'js> for Metric {
    const NAME: &'static str = "Metric";
    type Mutable = Readable;

    fn constructor(_ctx: &Ctx<'js>) -> Result<Option<Constructor<'js>>> {
        Ok(None)
    }

    fn prototype(ctx: &Ctx<'js>) -> Result<Option<Object<'js>>> {
        let core = here(ctx)?;
        let object = Object::new(ctx.clone())?;
        methods(&core, &object, &[("add", add)])?;
        getters(
            &core,
            &object,
            &[("name", |_, params| {
                this(params)?.borrow().name.as_str().into_js(params.ctx())
            })],
        )?;
        Ok(Some(object))
    }
}

fn constructor<'js>(ctx: &Ctx<'js>, name: &str, kind: MetricKind) -> Result<Constructor<'js>> {
    let make = move |ctx: Ctx<'js>, name: Value<'js>, is_time: Opt<Value<'js>>| {
        let is_time = is_time.0.and_then(|value| value.as_bool()).unwrap_or(false);
        declare(&ctx, &text(&name)?, kind, is_time)
    };
    let constructor = Constructor::new_class::<Metric, _, _>(ctx.clone(), make)?;
    constructor.set_name(name)?;
    Ok(constructor)
}

fn declare<'js>(
    ctx: &Ctx<'js>,
    name: &str,
    kind: MetricKind,
    is_time: bool,
) -> Result<Class<'js, Metric>> {
    let core = here(ctx)?;
    if core.phase.get() != Phase::Init {
        return Err(throw(
            ctx,
            "metrics must be declared in the init context (outside of functions)",
        ));
    }
    let mut letters = name.bytes();
    let well_formed = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.len() <= 128;
    if !well_formed {
        return Err(throw(
            ctx,
            &format!("invalid metric name '{name}': letters, digits and underscores, at most 128"),
        ));
    }
    let known = core
        .metrics
        .borrow_mut()
        .insert(name.into(), (kind, is_time));
    if known.is_some_and(|known| known != (kind, is_time)) {
        return Err(throw(
            ctx,
            &format!("the metric '{name}' already exists, but of another type"),
        ));
    }
    Class::instance(
        ctx.clone(),
        Metric {
            name: name.into(),
            kind,
            is_time,
        },
    )
}

fn this<'js>(params: &Params<'_, 'js>) -> Result<Class<'js, Metric>> {
    Class::from_value(&params.this()).map_err(|_| throw(params.ctx(), "this is no metric"))
}

fn add<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let this = this(params)?;
    let metric = this.borrow();
    if core.phase.get() == Phase::Init {
        return Err(throw(
            ctx,
            "values cannot be added to a metric in the init context (outside of functions)",
        ));
    }
    let given = arg(params, 0);
    let value = match given.as_bool() {
        Some(flag) => f64::from(u8::from(flag)),
        None => given
            .get::<rquickjs::Coerced<f64>>()
            .map_or(f64::NAN, |coerced| coerced.0),
    };
    if !value.is_finite() {
        let message = format!(
            "'{}' is an invalid value for metric '{}', a number or a boolean value is expected",
            text(&given)?,
            metric.name
        );
        if core.settings.throws {
            return Err(throw(ctx, &message));
        }
        core.log(Level::Warn, message);
        return Ok(Value::new_bool(ctx.clone(), false));
    }
    let mut tags = core.own_tags(ctx)?;
    if let Some(extra) = arg(params, 1).as_object() {
        add_tags(&mut tags, extra)?;
    }
    core.note(Note::Sample(Sample {
        metric: metric.name.clone(),
        kind: metric.kind,
        is_time: metric.is_time,
        value: if metric.kind == MetricKind::Rate {
            f64::from(u8::from(value != 0.0))
        } else {
            value
        },
        group: core.group.borrow().clone(),
        tags,
    }));
    Ok(Value::new_bool(ctx.clone(), true))
}
