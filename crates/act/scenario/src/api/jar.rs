//! `http.cookieJar()` and `http.CookieJar`.

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::class::{JsClass, Readable, Trace, Tracer};
use rquickjs::function::{Constructor, Params, This};
use rquickjs::{Array, Class, Ctx, Function, JsLifetime, Object, Result, Value};
use url::Url;

use super::{absent, arg, here, methods, throw, undefined};
use crate::core::{Core, text};
use crate::jar::{Cookie, Jar};

/// Behind the script's object.
pub(super) struct Held(Rc<RefCell<Jar>>);

#[expect(unsafe_code, reason = "holds nothing with the lifetime of the engine")]
unsafe impl JsLifetime<'_> for Held {
    type Changed<'to> = Held;
}

impl<'js> Trace<'js> for Held {
    fn trace(&self, _tracer: Tracer<'_, 'js>) {}
}

impl<'js> JsClass<'js> for Held {
    const NAME: &'static str = "CookieJar";
    type Mutable = Readable;

    fn constructor(_ctx: &Ctx<'js>) -> Result<Option<Constructor<'js>>> {
        Ok(None)
    }

    fn prototype(ctx: &Ctx<'js>) -> Result<Option<Object<'js>>> {
        let core = here(ctx)?;
        let object = Object::new(ctx.clone())?;
        methods(
            &core,
            &object,
            &[
                ("cookiesForURL", cookies_for_url),
                ("set", set),
                ("clear", clear),
                ("delete", delete),
            ],
        )?;
        Ok(Some(object))
    }
}

pub(super) fn constructor<'js>(_core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Constructor<'js>> {
    Constructor::new_class::<Held, _, _>(ctx.clone(), |ctx: Ctx<'js>| {
        Class::instance(ctx, Held(Rc::default()))
    })
}

/// `http.cookieJar()`: the jar of the virtual user.
pub(super) fn current<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let held = Held(core.jar.borrow().clone());
    Ok(Class::instance(params.ctx().clone(), held)?
        .into_inner()
        .into_value())
}

/// The parameter `jar` of a request: a jar, or `null` for none.
pub(super) fn of_param(core: &Core, value: &Value<'_>) -> Result<Option<Rc<RefCell<Jar>>>> {
    if value.is_undefined() {
        return Ok(Some(core.jar.borrow().clone()));
    }
    if value.is_null() {
        return Ok(None);
    }
    match Class::<Held>::from_value(value) {
        Ok(held) => Ok(Some(held.borrow().0.clone())),
        Err(_) => Err(throw(
            value.ctx(),
            "the parameter 'jar' of a request is an http.CookieJar",
        )),
    }
}

fn this(params: &Params<'_, '_>) -> Result<Rc<RefCell<Jar>>> {
    let held = Class::<Held>::from_value(&params.this())
        .map_err(|_| throw(params.ctx(), "this is no CookieJar"))?;
    let jar = held.borrow().0.clone();
    Ok(jar)
}

fn url(params: &Params<'_, '_>) -> Result<Url> {
    let written = text(&arg(params, 0))?;
    Url::parse(&written)
        .map_err(|error| throw(params.ctx(), &format!("invalid URL '{written}': {error}")))
}

fn cookies_for_url<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let object = Object::new(ctx.clone())?;
    let jar = this(params)?;
    let jar = jar.borrow();
    for (name, value) in jar.of(&url(params)?, core.now_us.get()) {
        let values: Array<'js> = match object.get::<_, Option<Array<'js>>>(name)? {
            Some(known) => known,
            None => Array::new(ctx.clone())?,
        };
        values.set(values.len(), value)?;
        object.set(name, values)?;
    }
    Ok(object.into_value())
}

fn set<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let mut cookie = Cookie {
        name: text(&arg(params, 1))?,
        value: text(&arg(params, 2))?,
        ..Cookie::default()
    };
    let options = arg(params, 3);
    if let Some(options) = options.as_object() {
        let of = |name: &str| options.get::<_, Value<'js>>(name);
        let is = |value: &Value<'js>| value.as_bool().unwrap_or(false);
        cookie.secure = is(&of("secure")?);
        cookie.http_only = is(&of("http_only")?);
        cookie.max_age_s = of("max_age")?
            .as_number()
            .filter(|age| *age != 0.0)
            .map(|age| age as i64);
        for (name, field) in [("domain", &mut cookie.domain), ("path", &mut cookie.path)] {
            let value = of(name)?;
            if !absent(&value) {
                *field = text(&value)?.trim_start_matches('.').to_string();
            }
        }
        let expires = of("expires")?;
        if !absent(&expires) {
            let date: Function<'js> = ctx.globals().get::<_, Object<'js>>("Date")?.get("parse")?;
            let ms: f64 = date.call((This(()), text(&expires)?))?;
            if ms.is_nan() {
                return Err(throw(ctx, &format!("'{}' is no date", text(&expires)?)));
            }
            cookie.expires_us = Some((ms.max(0.0) * 1_000.0) as u64);
        }
    }
    this(params)?
        .borrow_mut()
        .set(&url(params)?, cookie, core.now_us.get());
    Ok(Value::new_bool(ctx.clone(), true))
}

fn clear<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    this(params)?.borrow_mut().remove(&url(params)?, None);
    undefined(params.ctx())
}

fn delete<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let name = text(&arg(params, 1))?;
    this(params)?
        .borrow_mut()
        .remove(&url(params)?, Some(&name));
    undefined(params.ctx())
}
