//! k6's modules, as far as they are supported. What is in a module's table here is what a script may import.

use std::marker::PhantomData;
use std::rc::Rc;

use rquickjs::function::{IntoJsFunc, ParamRequirement, Params};
use rquickjs::module::{Declarations, Exports, ModuleDef};
use rquickjs::object::Accessor;
use rquickjs::{Ctx, Exception, Function, JsLifetime, Module, Object, Result, Value};

use crate::core::Core;

mod address;
pub(crate) mod body;
mod crypto;
mod encoding;
mod execution;
pub(crate) mod fetch;
pub(crate) mod globals;
mod html;
mod http;
mod jar;
mod k6;
mod metrics;
pub(crate) mod request;
mod response;
mod select;
mod shared;

/// The machine, where only the engine's context is at hand.
#[derive(Clone)]
pub(crate) struct Here(pub(crate) Rc<Core>);

#[expect(unsafe_code, reason = "holds nothing with the lifetime of the engine")]
unsafe impl JsLifetime<'_> for Here {
    type Changed<'to> = Here;
}

/// A function of the script's world that is written in Rust.
pub(crate) type HostFn = for<'a, 'js> fn(&Rc<Core>, &Params<'a, 'js>) -> Result<Value<'js>>;

struct Host {
    core: Rc<Core>,
    function: HostFn,
}

impl<'js> IntoJsFunc<'js, Host> for Host {
    fn param_requirements() -> ParamRequirement {
        ParamRequirement::any()
    }

    fn call(&self, params: Params<'_, 'js>) -> Result<Value<'js>> {
        (self.function)(&self.core, &params)
    }
}

pub(crate) fn function<'js>(
    core: &Rc<Core>,
    ctx: &Ctx<'js>,
    name: &str,
    function: HostFn,
) -> Result<Function<'js>> {
    let host = Host {
        core: core.clone(),
        function,
    };
    Function::new(ctx.clone(), host)?.with_name(name)
}

/// Puts functions into an object.
pub(crate) fn methods<'js>(
    core: &Rc<Core>,
    object: &Object<'js>,
    table: &[(&str, HostFn)],
) -> Result<()> {
    for (name, host) in table {
        object.set(*name, function(core, object.ctx(), name, *host)?)?;
    }
    Ok(())
}

/// Puts properties that are computed when they are looked at into an object.
pub(crate) fn getters<'js>(
    core: &Rc<Core>,
    object: &Object<'js>,
    table: &[(&str, HostFn)],
) -> Result<()> {
    for (name, host) in table {
        let host = Host {
            core: core.clone(),
            function: *host,
        };
        object.prop(*name, Accessor::new_get(host).enumerable().configurable())?;
    }
    Ok(())
}

/// The argument at a place; `undefined` when there is none.
pub(crate) fn arg<'js>(params: &Params<'_, 'js>, at: usize) -> Value<'js> {
    params
        .arg(at)
        .unwrap_or_else(|| Value::new_undefined(params.ctx().clone()))
}

pub(crate) fn undefined<'js>(ctx: &Ctx<'js>) -> Result<Value<'js>> {
    Ok(Value::new_undefined(ctx.clone()))
}

pub(crate) fn absent(value: &Value<'_>) -> bool {
    value.is_undefined() || value.is_null()
}

/// Throws an `Error` with this message.
pub(crate) fn throw(ctx: &Ctx<'_>, message: &str) -> rquickjs::Error {
    Exception::throw_message(ctx, message)
}

/// A module of k6.
trait Builtin {
    /// Names that can be imported, beside the default export, which has them as properties.
    const EXPORTS: &'static [&'static str];

    fn make<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>>;
}

struct Of<B>(PhantomData<B>);

impl<B: Builtin> ModuleDef for Of<B> {
    fn declare(declarations: &Declarations<'_>) -> Result<()> {
        declarations.declare("default")?;
        for name in B::EXPORTS {
            declarations.declare(*name)?;
        }
        Ok(())
    }

    fn evaluate<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>) -> Result<()> {
        let core = here(ctx)?;
        let object = B::make(&core, ctx)?;
        for name in B::EXPORTS {
            exports.export(*name, object.get::<_, Value<'js>>(*name)?)?;
        }
        exports.export("default", object)?;
        Ok(())
    }
}

pub(crate) fn here(ctx: &Ctx<'_>) -> Result<Rc<Core>> {
    Ok(ctx
        .userdata::<Here>()
        .ok_or(rquickjs::Error::Unknown)?
        .0
        .clone())
}

/// What can be imported from a module of k6, beside `default`; `None` for a module that is not supported.
pub(crate) fn exports_of(module: &str) -> Option<&'static [&'static str]> {
    Some(match module {
        "k6" => k6::K6::EXPORTS,
        "k6/http" => http::Http::EXPORTS,
        "k6/data" => shared::Data::EXPORTS,
        "k6/metrics" => metrics::Metrics::EXPORTS,
        "k6/encoding" => encoding::Encoding::EXPORTS,
        "k6/crypto" => crypto::Crypto::EXPORTS,
        "k6/execution" => execution::Execution::EXPORTS,
        "k6/timers" => globals::Timers::EXPORTS,
        _ => return None,
    })
}

/// The modules of k6 that are supported.
pub(crate) const MODULES: [&str; 9] = [
    "k6",
    "k6/http",
    "k6/data",
    "k6/metrics",
    "k6/encoding",
    "k6/crypto",
    "k6/execution",
    "k6/timers",
    "k6/html",
];

pub(crate) fn declare<'js>(ctx: &Ctx<'js>, name: &str) -> Option<Result<Module<'js>>> {
    fn of<'js, B: Builtin>(ctx: &Ctx<'js>, name: &str) -> Result<Module<'js>> {
        Module::declare_def::<Of<B>, _>(ctx.clone(), name)
    }
    Some(match name {
        "k6" => of::<k6::K6>(ctx, name),
        "k6/http" => of::<http::Http>(ctx, name),
        "k6/data" => of::<shared::Data>(ctx, name),
        "k6/metrics" => of::<metrics::Metrics>(ctx, name),
        "k6/encoding" => of::<encoding::Encoding>(ctx, name),
        "k6/crypto" => of::<crypto::Crypto>(ctx, name),
        "k6/execution" => of::<execution::Execution>(ctx, name),
        "k6/timers" => of::<globals::Timers>(ctx, name),
        _ => return None,
    })
}
