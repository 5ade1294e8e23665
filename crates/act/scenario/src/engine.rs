//! The life of a machine on its own stack: make the engine, evaluate the script, then do what it was born for.

use std::rc::Rc;

use rquickjs::context::intrinsic;
use rquickjs::function::Args;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::promise::PromiseState;
use rquickjs::{Context, Ctx, Function, Module, Object, Promise, Runtime, Value};

use crate::api::{self, Here, globals};
use crate::birth::Role;
use crate::call::{Call, Ended, Reply};
use crate::commonjs::WHOLE;
use crate::core::{Core, Ending, Phase, failure};
use crate::jslib;
use crate::note::{Failure, FailureKind, Note};
use crate::sources::resolve;
use crate::turns;

/// Bytes of a machine's stack, and how many of them JavaScript may use: memory only as far as it is touched.
pub(crate) const STACK_BYTES: usize = 1 << 20;
const SCRIPT_STACK_BYTES: usize = STACK_BYTES - (256 << 10);

/// Jobs that are run for an iteration that was ended, so that none of it is left for the next.
const LEFTOVERS: usize = 100_000;

type Intrinsics = (
    intrinsic::Date,
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::Proxy,
    intrinsic::MapSet,
    intrinsic::TypedArrays,
    intrinsic::Promise,
    intrinsic::WeakRef,
);

/// Runs a machine from birth to end.
pub(crate) fn live(core: &Rc<Core>) -> Ended {
    let Ok((runtime, context)) = engine(core) else {
        return Ended::Failed(Failure {
            kind: FailureKind::Memory,
            message: crate::core::memory_message(core),
            at: String::new(),
            stack: String::new(),
        });
    };
    let ended = context.with(|ctx| {
        let ended = match begin(core, &ctx) {
            Ok(script) => work(core, &ctx, &script),
            Err(failure) => stopped(core).unwrap_or(Ended::Failed(failure)),
        };
        core.clear();
        // Not kept alive by a cycle through a function of ours.
        let _ = ctx.remove_userdata::<Here>();
        ended
    });
    drop(context);
    drop(runtime);
    ended
}

fn stopped(core: &Core) -> Option<Ended> {
    match &*core.ending.borrow() {
        Some(Ending::Terminated | Ending::Diverged(_)) => Some(Ended::Terminated),
        _ => None,
    }
}

fn engine(core: &Rc<Core>) -> rquickjs::Result<(Runtime, Context)> {
    let runtime = Runtime::new()?;
    runtime.set_memory_limit(core.birth.memory_limit_bytes);
    runtime.set_max_stack_size(SCRIPT_STACK_BYTES);
    runtime.set_loader(Names, Modules(core.clone()));
    let asked = core.clone();
    runtime.set_interrupt_handler(Some(Box::new(move || asked.poll())));
    let context = Context::custom::<Intrinsics>(&runtime)?;
    Ok((runtime, context))
}

/// Names of modules, by the name of the one that imports.
pub(crate) struct Names;

impl Resolver for Names {
    fn resolve<'js>(
        &mut self,
        _: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        resolve(base, name)
            .map_err(|reason| rquickjs::Error::new_resolving_message(base, name, reason))
    }
}

struct Modules(Rc<Core>);

impl Loader for Modules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js>> {
        if let Some(module) = api::declare(ctx, name) {
            return module;
        }
        let Some(bytecode) = self.0.script.bytecode(name) else {
            return Err(rquickjs::Error::new_loading_message(
                name,
                "it is not part of the script",
            ));
        };
        #[expect(
            unsafe_code,
            reason = "the bytes were written by this very process, in `compile`"
        )]
        let module = unsafe { Module::load(ctx.clone(), bytecode) };
        module
    }
}

/// The script's exports, once it has been evaluated.
struct Evaluated<'js> {
    exports: Object<'js>,
}

fn begin<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Evaluated<'js>, Failure> {
    let wrong = |error: rquickjs::Error| failure(core, ctx, &error);
    if ctx.store_userdata(Here(core.clone())).is_err() {
        return Err(wrong(rquickjs::Error::Unknown));
    }
    globals::install(core, ctx).map_err(wrong)?;
    import(core, ctx, globals::PRELUDE)?;
    let bundle = core.script.bundle();
    let html = jslib::html().module();
    if bundle.modules.contains_key(&html) {
        import(core, ctx, &html)?;
    }
    let mut exports = import(core, ctx, &bundle.entry)?;
    if bundle.commonjs.contains_key(&bundle.entry) {
        exports = exports.get(WHOLE).map_err(wrong)?;
    }
    core.phase.set(Phase::Running);
    Ok(Evaluated { exports })
}

fn import<'js>(core: &Rc<Core>, ctx: &Ctx<'js>, name: &str) -> Result<Object<'js>, Failure> {
    let promise = Module::import(ctx, name).map_err(|error| failure(core, ctx, &error))?;
    settle(core, ctx, promise.into_value())?
        .into_object()
        .ok_or_else(|| Failure {
            kind: FailureKind::Exception,
            message: format!("'{name}' is no module"),
            at: String::new(),
            stack: String::new(),
        })
}

fn parsed<'js>(ctx: &Ctx<'js>, json: Option<&str>) -> rquickjs::Result<Value<'js>> {
    match json {
        Some(json) => ctx.json_parse(json),
        None => Ok(Value::new_undefined(ctx.clone())),
    }
}

fn work<'js>(core: &Rc<Core>, ctx: &Ctx<'js>, script: &Evaluated<'js>) -> Ended {
    let (name, argument) = match &core.birth.role {
        Role::Iterations => (core.birth.scenario.exec.as_str(), &core.birth.setup_data),
        Role::Setup => ("setup", &None),
        Role::Teardown => ("teardown", &core.birth.setup_data),
        Role::Summary { data } => ("handleSummary", &Some(data.clone())),
    };
    if core.script.loading() {
        return loaded(core, ctx, script);
    }
    let found = script
        .exports
        .get::<_, Value<'js>>(name)
        .and_then(|value| Ok((value, parsed(ctx, argument.as_deref())?)));
    let (function, argument) = match found {
        Ok((value, argument)) => (value.into_function(), argument),
        Err(error) => return Ended::Failed(failure(core, ctx, &error)),
    };
    let Some(function) = function else {
        return Ended::Failed(Failure {
            kind: FailureKind::Exception,
            message: format!("the script exports no function '{name}'"),
            at: String::new(),
            stack: String::new(),
        });
    };
    match core.birth.role {
        Role::Iterations => iterate(core, ctx, &function, argument),
        _ => once(core, ctx, &function, &argument),
    }
}

/// What a script exports, for `Script::load`: `{"options": ..., "exports": [...]}`.
fn loaded<'js>(core: &Rc<Core>, ctx: &Ctx<'js>, script: &Evaluated<'js>) -> Ended {
    let found = (|| {
        let found = Object::new(ctx.clone())?;
        let options: Value<'js> = script.exports.get("options")?;
        found.set(
            "options",
            if options.is_undefined() {
                Object::new(ctx.clone())?.into_value()
            } else {
                options
            },
        )?;
        let mut names = Vec::new();
        for property in script.exports.props::<String, Value<'js>>() {
            let (name, value) = property?;
            if value.is_function() {
                names.push(name);
            }
        }
        found.set("exports", names)?;
        ctx.json_stringify(found)?
            .map(|json| json.to_string())
            .transpose()
    })();
    match found {
        Ok(json) => Ended::Returned(json),
        Err(error) => Ended::Failed(failure(core, ctx, &error)),
    }
}

fn once<'js>(
    core: &Rc<Core>,
    ctx: &Ctx<'js>,
    function: &Function<'js>,
    argument: &Value<'js>,
) -> Ended {
    let returned = run(core, ctx, function, argument).and_then(|value| {
        let json = ctx
            .json_stringify(value)
            .and_then(|json| json.map(|json| json.to_string()).transpose());
        json.map_err(|error| failure(core, ctx, &error))
    });
    match returned {
        Ok(json) => Ended::Returned(json),
        Err(failure) => stopped(core).unwrap_or(Ended::Failed(failure)),
    }
}

fn iterate<'js>(
    core: &Rc<Core>,
    ctx: &Ctx<'js>,
    function: &Function<'js>,
    mut argument: Value<'js>,
) -> Ended {
    loop {
        let fed = core.call(Call::Iterate);
        if let Some(ended) = stopped(core) {
            return ended;
        }
        // An interrupt between two iterations interrupts nothing.
        core.ending.take();
        let permit = match fed.reply {
            Reply::Begin(permit) => permit,
            Reply::Data(data) => {
                // Every iteration of a thread is given the same object, as in k6.
                match parsed(ctx, data.as_deref()) {
                    Ok(value) => argument = value,
                    Err(error) => return Ended::Failed(failure(core, ctx, &error)),
                }
                core.data.replace(data);
                continue;
            }
            _ => continue,
        };
        let began_us = core.now_us.get();
        // Fails only when memory does; the script will see that itself.
        let _ = ctx.globals().set("__ITER", permit.in_vu as f64);
        core.permit.replace(permit);
        let outcome = run(core, ctx, function, &argument);
        if let Some(ended) = stopped(core) {
            return ended;
        }
        let duration_us = core.now_us.get().saturating_sub(began_us);
        core.note(Note::Iteration {
            failure: outcome.err(),
            duration_us,
        });
        let cut_off = core.ending.borrow().is_some();
        tidy(core, ctx);
        let left_us = core.settings.iteration_min_us.saturating_sub(duration_us);
        if left_us > 0 && !cut_off {
            core.call(Call::Sleep { us: left_us });
            if let Some(ended) = stopped(core) {
                return ended;
            }
        }
    }
}

/// Leaves nothing of an iteration to the next that k6 would not leave.
fn tidy(core: &Rc<Core>, ctx: &Ctx<'_>) {
    core.turns.take();
    let was_ended = core.ending.borrow().is_some();
    if was_ended {
        let _ = (0..LEFTOVERS).find(|_| !ctx.execute_pending_job());
        core.turns.take();
        core.ending.take();
    }
    core.group.borrow_mut().clear();
    if !core.settings.keeps_cookies {
        core.jar.take();
    }
}

/// Calls a function and waits for all it has begun.
fn run<'js>(
    core: &Rc<Core>,
    ctx: &Ctx<'js>,
    function: &Function<'js>,
    argument: &Value<'js>,
) -> Result<Value<'js>, Failure> {
    let mut args = Args::new(ctx.clone(), 1);
    let outcome = args
        .push_arg(argument.clone())
        .and_then(|()| function.call_arg::<Value<'js>>(args));
    match outcome {
        Ok(value) => settle(core, ctx, value),
        Err(error) => Err(failure(core, ctx, &error)),
    }
}

/// Runs jobs, timers and begun requests until there are none, and returns what a promise was fulfilled with.
fn settle<'js>(core: &Rc<Core>, ctx: &Ctx<'js>, value: Value<'js>) -> Result<Value<'js>, Failure> {
    let promise = Promise::from_value(value.clone()).ok();
    loop {
        if let Some(promise) = promise
            .as_ref()
            .filter(|promise| promise.state() == PromiseState::Rejected)
        {
            let error = promise
                .result::<Value<'js>>()
                .and_then(Result::err)
                .unwrap_or(rquickjs::Error::Exception);
            return Err(failure(core, ctx, &error));
        }
        if core.ending.borrow().is_some() {
            return Err(failure(core, ctx, &rquickjs::Error::Exception));
        }
        if ctx.execute_pending_job() {
            continue;
        }
        match turns::take(core, ctx) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(failure(core, ctx, &error)),
        }
    }
    match promise {
        None => Ok(value),
        Some(promise) => match promise.result::<Value<'js>>() {
            Some(result) => result.map_err(|error| failure(core, ctx, &error)),
            None => Err(Failure {
                kind: FailureKind::NeverSettles,
                message: "it returned a promise that nothing can settle any more: no request, timer or job is left".into(),
                at: String::new(),
                stack: String::new(),
            }),
        },
    }
}
