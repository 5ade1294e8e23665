//! What a machine consists of beside its JavaScript heap: shared by the functions the script calls, and by the machine.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use corosensei::Yielder;
use rquickjs::{Ctx, Error, Exception, Object, Persistent, Value, qjs};

use crate::birth::Birth;
use crate::call::{Call, Permit, Reply};
use crate::exchange::Exchange;
use crate::http::Expected;
use crate::jar::Jar;
use crate::note::{Failure, FailureKind, Level, MetricKind, Note};
use crate::options::Settings;
use crate::rng::Rng;
use crate::script::Script;
use crate::turns::Turns;

/// Real time a machine computes before it gives way, in microseconds.
const SLICE_US: u128 = 2_000;

/// Why JavaScript is being unwound, past every `catch`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    /// The iteration ends.
    Interrupted(String),
    /// `exec.test.abort()`: the iteration ends.
    Aborted(String),
    /// The machine ends.
    Terminated,
    /// The machine ends: the journal is not its own.
    Diverged(String),
}

/// When the script runs: some of k6's functions may be called in one of the two only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Init,
    Running,
}

/// An answer as it reaches the machine's stack: the outcomes of requests are shared with the journal.
pub(crate) struct Fed {
    pub(crate) at_us: u64,
    /// `Responses` is empty here.
    pub(crate) reply: Reply,
    pub(crate) exchanges: Vec<Rc<Exchange>>,
}

pub(crate) struct Core {
    pub(crate) script: Script,
    pub(crate) birth: Birth,
    pub(crate) settings: Settings,
    yielder: Cell<*const Yielder<Fed, Call>>,
    /// Time of the last answer that the journal keeps, in microseconds since 1970.
    pub(crate) now_us: Cell<u64>,
    pub(crate) born_us: Cell<u64>,
    pub(crate) phase: Cell<Phase>,
    pub(crate) ending: RefCell<Option<Ending>>,
    pub(crate) rng: RefCell<Rng>,
    pub(crate) notes: RefCell<Vec<Note>>,
    /// Path of the groups that are open.
    pub(crate) group: RefCell<String>,
    pub(crate) permit: RefCell<Permit>,
    /// What `setup()` returned where the thread is, as JSON.
    pub(crate) data: RefCell<Option<String>>,
    pub(crate) jar: RefCell<Rc<RefCell<Jar>>>,
    pub(crate) expected: RefCell<Expected>,
    pub(crate) metrics: RefCell<BTreeMap<String, (MetricKind, bool)>>,
    pub(crate) turns: RefCell<Turns>,
    /// Bytes of response bodies the script can still see.
    pub(crate) held_bytes: Rc<Cell<usize>>,
    /// `exec.vu.metrics.tags`, once the script has asked for it.
    pub(crate) vu_tags: RefCell<Option<Persistent<Object<'static>>>>,
    /// How often the engine has looked for an interrupt: the same for the same script, birth and journal.
    pub(crate) polls: Cell<u64>,
    /// The poll at which the journal says an interrupt came.
    pub(crate) stop_at: Cell<Option<u64>>,
    pub(crate) replaying: Cell<bool>,
    slice: Cell<Instant>,
    computing: Cell<Instant>,
}

impl Core {
    pub(crate) fn new(script: &Script, birth: Birth) -> Self {
        let settings = Settings::of(birth.options.as_deref().unwrap_or(&script.bundle().options));
        Self {
            script: script.clone(),
            settings,
            yielder: Cell::new(std::ptr::null()),
            now_us: Cell::new(0),
            born_us: Cell::new(0),
            phase: Cell::new(Phase::Init),
            ending: RefCell::new(None),
            rng: RefCell::new(Rng::for_vu(birth.seed, birth.vu)),
            notes: RefCell::new(Vec::new()),
            group: RefCell::new(String::new()),
            permit: RefCell::new(Permit::default()),
            data: RefCell::new(birth.setup_data.clone()),
            jar: RefCell::default(),
            expected: RefCell::new(Expected::default()),
            metrics: RefCell::default(),
            turns: RefCell::default(),
            held_bytes: Rc::default(),
            vu_tags: RefCell::new(None),
            polls: Cell::new(0),
            stop_at: Cell::new(None),
            replaying: Cell::new(false),
            slice: Cell::new(Instant::now()),
            computing: Cell::new(Instant::now()),
            birth,
        }
    }

    /// From now on calls are made through this; it must outlive the last one.
    pub(crate) fn enter(&self, yielder: &Yielder<Fed, Call>) {
        self.yielder.set(yielder);
        self.began_computing();
    }

    fn began_computing(&self) {
        let now = Instant::now();
        self.slice.set(now);
        self.computing.set(now);
    }

    /// Hands a call out and waits for what it is answered.
    fn suspend(&self, call: Call) -> Fed {
        let yielder = self.yielder.get();
        assert!(
            !yielder.is_null(),
            "a call is made on the machine's own stack only"
        );
        #[expect(
            unsafe_code,
            reason = "set by `enter` to what lives as long as the stack this runs on"
        )]
        let fed = unsafe { &*yielder }.suspend(call);
        fed
    }

    /// Makes a call for the script; the reply fits it.
    pub(crate) fn ask(&self, ctx: &Ctx<'_>, call: Call) -> rquickjs::Result<()> {
        self.ask_http(ctx, call).map(drop)
    }

    /// Makes a call for the script and returns what came of each request.
    pub(crate) fn ask_http(
        &self,
        ctx: &Ctx<'_>,
        call: Call,
    ) -> rquickjs::Result<Vec<Rc<Exchange>>> {
        if self.ending.borrow().is_some() {
            return Err(unwind(ctx));
        }
        let fed = self.call(call);
        if self.ending.borrow().is_some() {
            Err(unwind(ctx))
        } else {
            Ok(fed.exchanges)
        }
    }

    /// Makes a call from outside the script. Look at `ending` afterwards.
    pub(crate) fn call(&self, call: Call) -> Fed {
        let fed = self.suspend(call);
        self.hear(&fed);
        fed
    }

    /// Takes note of an answer.
    pub(crate) fn hear(&self, fed: &Fed) {
        self.began_computing();
        self.now_us.set(fed.at_us);
        self.heed(&fed.reply);
    }

    fn heed(&self, reply: &Reply) {
        let ending = match reply {
            Reply::Interrupt { reason } => Ending::Interrupted(reason.clone()),
            Reply::Terminate => Ending::Terminated,
            _ => return,
        };
        self.ending.replace(Some(ending));
    }

    /// The engine's question, every ten thousand steps or so, whether to stop the script.
    pub(crate) fn poll(&self) -> bool {
        self.polls.set(self.polls.get() + 1);
        if self.ending.borrow().is_some() {
            return true;
        }
        let due = if self.replaying.get() {
            self.stop_at.get() == Some(self.polls.get())
        } else {
            self.slice.get().elapsed().as_micros() >= SLICE_US
        };
        if !due {
            return false;
        }
        let computed_us =
            u64::try_from(self.computing.get().elapsed().as_micros()).unwrap_or(u64::MAX);
        let answer = self.suspend(Call::Pause { computed_us });
        self.slice.set(Instant::now());
        self.heed(&answer.reply);
        let stop = self.ending.borrow().is_some();
        if stop {
            self.now_us.set(answer.at_us);
        }
        stop
    }

    /// Ends the iteration or the machine from within a function of the script.
    pub(crate) fn end(&self, ctx: &Ctx<'_>, ending: Ending) -> Error {
        self.ending.replace(Some(ending));
        unwind(ctx)
    }

    pub(crate) fn note(&self, note: Note) {
        self.notes.borrow_mut().push(note);
    }

    pub(crate) fn log(&self, level: Level, message: impl Into<String>) {
        self.note(Note::Log {
            level,
            message: message.into(),
        });
    }

    /// Lets go of everything that lives in the JavaScript heap.
    pub(crate) fn clear(&self) {
        self.vu_tags.take();
        self.turns.take();
    }

    /// Tags of the machine itself, to which a sample's own are added.
    pub(crate) fn own_tags<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Vec<(String, String)>> {
        let mut tags: Vec<_> = self
            .birth
            .tags
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let vu_tags = self.vu_tags.borrow().clone();
        if let Some(vu_tags) = vu_tags {
            add_tags(&mut tags, &vu_tags.restore(ctx)?)?;
        }
        Ok(tags)
    }
}

/// Adds an object's properties as tags; those that are there already are replaced.
pub(crate) fn add_tags<'js>(
    tags: &mut Vec<(String, String)>,
    object: &Object<'js>,
) -> rquickjs::Result<()> {
    for property in object.props::<String, Value<'js>>() {
        let (name, value) = property?;
        if value.is_undefined() || value.is_null() {
            continue;
        }
        let value = text(&value)?;
        match tags.iter_mut().find(|(known, _)| *known == name) {
            Some(tag) => tag.1 = value,
            None => tags.push((name, value)),
        }
    }
    Ok(())
}

/// A value as `String(value)` has it; halves of surrogate pairs become U+FFFD.
pub(crate) fn text(value: &Value<'_>) -> rquickjs::Result<String> {
    let string = match value.as_string() {
        Some(string) => string.clone(),
        None => value.get::<rquickjs::Coerced<rquickjs::String<'_>>>()?.0,
    };
    string.to_string().or_else(|_| {
        let prototype: Object<'_> = string
            .ctx()
            .globals()
            .get::<_, Object<'_>>("String")?
            .get("prototype")?;
        let well_formed: rquickjs::Function<'_> = prototype.get("toWellFormed")?;
        well_formed
            .call::<_, rquickjs::String<'_>>((rquickjs::function::This(string.clone()),))?
            .to_string()
    })
}

/// An exception that no `catch` and no `finally` of the script sees.
pub(crate) fn unwind(ctx: &Ctx<'_>) -> Error {
    let Ok(exception) = Exception::from_message(ctx.clone(), "stopped") else {
        return Error::Exception;
    };
    let value = exception.into_object().into_value();
    #[expect(
        unsafe_code,
        reason = "rquickjs has no safe name for it; the value is an Error that lives here"
    )]
    unsafe {
        qjs::JS_SetUncatchableError(ctx.as_raw().as_ptr(), value.as_raw());
    }
    ctx.throw(value)
}

/// What went wrong, in words: takes the pending exception.
pub(crate) fn failure(core: &Core, ctx: &Ctx<'_>, error: &Error) -> Failure {
    let ending = core.ending.borrow().clone();
    let (kind, message) = match ending {
        Some(Ending::Interrupted(reason)) => (FailureKind::Interrupted, Some(reason)),
        Some(Ending::Aborted(reason)) => (FailureKind::Aborted, Some(reason)),
        Some(Ending::Terminated) => (FailureKind::Interrupted, Some("terminated".into())),
        Some(Ending::Diverged(reason)) => (FailureKind::Interrupted, Some(reason)),
        None => (FailureKind::Exception, None),
    };
    let (thrown, stack) = match error {
        Error::Exception => describe(&ctx.catch()),
        Error::Allocation => ("out of memory".into(), String::new()),
        other => (other.to_string(), String::new()),
    };
    if let Some(message) = message {
        return Failure {
            kind,
            message,
            at: place(&stack),
            stack,
        };
    }
    // When no memory is left for the Error itself, QuickJS throws null.
    let memory = thrown.contains("out of memory") || thrown == "null";
    let (kind, message) = if memory {
        (FailureKind::Memory, memory_message(core))
    } else if thrown.contains("Maximum call stack size exceeded") {
        (
            FailureKind::Stack,
            format!("{thrown}: the script recurses too deeply"),
        )
    } else {
        (kind, thrown)
    };
    Failure {
        kind,
        message,
        at: place(&stack),
        stack,
    }
}

pub(crate) fn memory_message(core: &Core) -> String {
    let limit = core.birth.memory_limit_bytes >> 20;
    format!("out of memory: a scenario thread may use {limit} MiB; keep less in variables")
}

/// A thrown value's message and stack.
pub(crate) fn describe(thrown: &Value<'_>) -> (String, String) {
    let stack = thrown
        .as_exception()
        .and_then(Exception::stack)
        .unwrap_or_default();
    let said = match thrown
        .as_object()
        .filter(|_| !thrown.is_error() && !thrown.is_function())
    {
        Some(object) => object
            .ctx()
            .json_stringify(object.clone())
            .ok()
            .flatten()
            .and_then(|json| json.to_string().ok()),
        None => text(thrown).ok(),
    };
    (
        said.unwrap_or_else(|| "an exception that cannot be shown".into()),
        stack.trim_end().into(),
    )
}

/// `file:line:column` of the innermost frame of a stack that is in a file.
pub(crate) fn place(stack: &str) -> String {
    let of_line = |line: &str| {
        let line = line.trim().strip_prefix("at ")?;
        let place = match line.rsplit_once(" (") {
            Some((_, place)) => place.strip_suffix(')')?,
            None => line,
        };
        let ours =
            place.starts_with("native") || place.starts_with("cohort:") || !place.contains(':');
        (!ours).then(|| place.to_string())
    };
    stack.lines().find_map(of_line).unwrap_or_default()
}
