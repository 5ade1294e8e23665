//! What a script has begun and not waited for: timers and requests sent with `asyncRequest`. They get their turn when the
//! script itself has nothing left to do.

use std::rc::Rc;

use rquickjs::function::Args;
use rquickjs::{Ctx, Function, IntoJs, Persistent, Value};

use crate::api::fetch::{self, Plan};
use crate::call::Call;
use crate::core::Core;

#[derive(Default)]
pub(crate) struct Turns {
    timers: Vec<Timer>,
    timers_made: u32,
    sends: Vec<Send>,
}

struct Timer {
    id: u32,
    due_us: u64,
    every_us: Option<u64>,
    callback: Persistent<Function<'static>>,
    args: Vec<Persistent<Value<'static>>>,
}

struct Send {
    plan: Plan,
    resolve: Persistent<Function<'static>>,
    reject: Persistent<Function<'static>>,
}

impl Turns {
    pub(crate) fn add_timer<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        (callback, args): (Function<'js>, Vec<Value<'js>>),
        due_us: u64,
        every_us: Option<u64>,
    ) -> u32 {
        self.timers_made += 1;
        self.timers.push(Timer {
            id: self.timers_made,
            due_us,
            every_us,
            callback: Persistent::save(ctx, callback),
            args: args
                .into_iter()
                .map(|arg| Persistent::save(ctx, arg))
                .collect(),
        });
        self.timers_made
    }

    pub(crate) fn remove_timer(&mut self, id: u32) {
        self.timers.retain(|timer| timer.id != id);
    }

    pub(crate) fn add_send<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        plan: Plan,
        resolve: Function<'js>,
        reject: Function<'js>,
    ) {
        self.sends.push(Send {
            plan,
            resolve: Persistent::save(ctx, resolve),
            reject: Persistent::save(ctx, reject),
        });
    }
}

/// Does what comes next: sends the requests that were begun, all at once, or lets the next timer ring. False when there is
/// nothing to wait for.
pub(crate) fn take<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> rquickjs::Result<bool> {
    let sends = std::mem::take(&mut core.turns.borrow_mut().sends);
    if !sends.is_empty() {
        settle(core, ctx, sends)?;
        return Ok(true);
    }
    let next = {
        let turns = core.turns.borrow();
        (0..turns.timers.len()).min_by_key(|&at| (turns.timers[at].due_us, turns.timers[at].id))
    };
    let Some(at) = next else { return Ok(false) };
    let due_us = core.turns.borrow().timers[at].due_us;
    if let Some(us) = due_us.checked_sub(core.now_us.get()).filter(|us| *us > 0) {
        core.ask(ctx, Call::Sleep { us })?;
    }
    ring(core, ctx, at)?;
    Ok(true)
}

fn settle<'js>(core: &Rc<Core>, ctx: &Ctx<'js>, sends: Vec<Send>) -> rquickjs::Result<()> {
    let (plans, promises): (Vec<_>, Vec<_>) = sends
        .into_iter()
        .map(|send| (send.plan, (send.resolve, send.reject)))
        .unzip();
    let results = fetch::exchange(core, ctx, plans)?;
    for (result, (resolve, reject)) in results.into_iter().zip(promises) {
        let settled = result.response(core, ctx);
        match settled {
            Ok(response) => resolve.restore(ctx)?.call::<_, ()>((response,))?,
            Err(_) if core.ending.borrow().is_some() => return Err(crate::core::unwind(ctx)),
            Err(_) => reject.restore(ctx)?.call::<_, ()>((ctx.catch(),))?,
        }
    }
    Ok(())
}

fn ring<'js>(core: &Rc<Core>, ctx: &Ctx<'js>, at: usize) -> rquickjs::Result<()> {
    let (callback, args) = {
        let mut turns = core.turns.borrow_mut();
        let timer = &mut turns.timers[at];
        match timer.every_us {
            Some(every_us) => {
                timer.due_us += every_us.max(1_000);
                (timer.callback.clone(), timer.args.clone())
            }
            None => {
                let timer = turns.timers.remove(at);
                (timer.callback, timer.args)
            }
        }
    };
    let mut values = Args::new(ctx.clone(), args.len());
    for arg in args {
        values.push_arg(arg.restore(ctx)?.into_js(ctx)?)?;
    }
    callback.restore(ctx)?.call_arg::<Value<'js>>(values)?;
    Ok(())
}
