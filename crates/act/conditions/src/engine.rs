//! The engine: starts what an order names, looks after it until the program has ended, and kills
//! what is left.
//!
//! ```text
//!   noise -> before, one after the other -> beside and the copies, held until all are there
//!         -> one loop: what ended, what stopped for its tracer, what is due -> the end
//! ```
//!
//! Copies share everything that the one program would have had: directory, environment, `TMPDIR`; but each
//! has a seed of its own, where there is one. That is what they are for: to show what goes wrong when the
//! same work is done several times at once.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;

use crate::error::{Error, refused};
use crate::evidence;
use crate::noise;
use crate::order::{self, Order, Report};
use crate::output::Output;
use crate::plan::Plan;
use crate::remains;
use crate::spawn::{Child, Program, Settings, Streams, null, pipe};
use crate::stuck::Watch;
use crate::times::Runs;
use crate::trace::{Filter, Tracer};
use crate::under::{End, awaited};

/// After so many events in a row it is looked whether this process was told to end.
const EVENTS_MAX: u32 = 64;

/// So long processes of Python may take to write their own stacks.
const TELL_MAX: Duration = Duration::from_secs(1);
const TELL_LOOK: Duration = Duration::from_millis(1);

/// What this process was started with, and programs should find.
#[derive(Debug)]
pub(crate) struct Ambient {
    /// Signals that were blocked.
    pub(crate) mask: SigSet,
    /// How late timers may be, nanoseconds.
    pub(crate) timer_slack_ns: u64,
}

/// How a run ended.
enum Outcome {
    /// This copy decided, by ending so.
    Ended(usize, End),
    /// This process was told to end.
    Told(i32),
    /// Nothing of it can go on.
    Stuck,
    /// It does not bear a tracer; why not.
    Refused(String),
}

/// What happened.
enum Event {
    Ended(i32, End),
    Told(i32),
    Stuck,
    Refused(String),
}

/// One of the copies.
struct Copy {
    child: Child,
    ended: bool,
    pipes: Option<(OwnedFd, OwnedFd)>,
}

/// One attempt at an order.
struct Run<'a> {
    order: &'a Order,
    plan: &'a Plan,
    settings: Settings,
    tracer: Option<Tracer>,
    report: Report,
    /// The program's processes.
    programs: Vec<i32>,
    /// What is printed is read here first.
    kept: bool,
    /// It is ended once nothing of it can go on.
    watch: Option<Watch>,
}

/// Runs a program under an order; gives how it ended.
///
/// # Errors
/// When the program could not be started, or the system refused what is always needed.
pub(crate) fn run(order: &Order, program: &[OsString], ambient: &Ambient) -> Result<End, Error> {
    let mut runs = Runs::of(order)?;
    loop {
        if let Some(end) = run_once(&mut runs, program, ambient)? {
            return Ok(end);
        }
    }
}

/// Runs a program once; gives how it ended, or none when there is another run.
fn run_once(
    runs: &mut Runs<'_>,
    program: &[OsString],
    ambient: &Ambient,
) -> Result<Option<End>, Error> {
    let order = &*runs.order();
    let mut plan = Plan::of(order);
    loop {
        let mut run = Run::new(order, &plan, ambient);
        run.kept |= runs.are_several();
        let (outcome, outputs) = run.whole(program);
        if let Ok(Outcome::Told(_) | Outcome::Stuck) = &outcome {
            run.look_at_all();
        }
        let left = remains::kill();
        if let Ok(Outcome::Refused(why)) = &outcome {
            let why = why.clone();
            plan.without_tracer(order, &why);
            continue;
        }
        if left > 0 {
            let remark = format!("{left} processes of another user could not be killed");
            run.report.remarks.push(remark);
        }
        let (copy, end) = match outcome? {
            Outcome::Ended(copy, end) => (copy, end),
            Outcome::Told(signal) => (0, End::Killed(signal)),
            Outcome::Stuck => {
                run.report.stuck = true;
                (0, End::Killed(libc::SIGTERM))
            }
            Outcome::Refused(_) => unreachable!("tried again above"),
        };
        if end.is_success() && left == 0 && runs.another()? {
            // Those who read are threads, and none may be there when the next run is forked.
            for (output, errors) in outputs {
                let _ = (output.kept(), errors.kept());
            }
            return Ok(None);
        }
        print(outputs, copy);
        run.write_evidence();
        run.write_report();
        return Ok(Some(end));
    }
}

impl<'a> Run<'a> {
    fn new(order: &'a Order, plan: &'a Plan, ambient: &Ambient) -> Run<'a> {
        let filter = plan.traced.is_any().then(|| Filter::of(&plan.traced));
        Run {
            order,
            plan,
            tracer: filter.is_some().then(|| Tracer::new(&plan.traced)),
            settings: Settings {
                cpus: cpus(plan.cpus),
                open_files: plan.open_files,
                address_space: plan.address_space,
                traced: filter,
                mask: Some(ambient.mask),
                timer_slack_ns: ambient.timer_slack_ns,
            },
            report: Report::default(),
            programs: Vec::new(),
            kept: plan.copies > 1,
            watch: (order.limit_us)
                .map(|limit| Watch::new(Duration::from_micros(limit), Instant::now())),
        }
    }

    /// From the first neighbour to the end that counts; also what the copies print, when it is kept.
    fn whole(&mut self, program: &[OsString]) -> (Result<Outcome, Error>, Vec<(Output, Output)>) {
        let mut copies = match self.prepared(program) {
            Ok(Ok(copies)) => copies,
            Ok(Err(outcome)) => return (Ok(outcome), Vec::new()),
            Err(error) => return (Err(error), Vec::new()),
        };
        // Threads only now: all that is forked here is there.
        let outputs = (copies.iter_mut())
            .filter_map(|copy| copy.pipes.take())
            .map(|(output, errors)| (Output::of(output), Output::of(errors)))
            .collect();
        (self.until_decided(&mut copies), outputs)
    }

    /// Starts everything; the program's copies run when this returns, unless it ended before.
    fn prepared(&mut self, program: &[OsString]) -> Result<Result<Vec<Copy>, Outcome>, Error> {
        noise::start(&self.plan.noise)?;
        let null = null()?;
        let nowhere = Streams {
            input: Some(null.as_raw_fd()),
            output: Some(null.as_raw_fd()),
            errors: Some(null.as_raw_fd()),
        };
        for command in &self.order.before {
            let Some(child) = self.spawn_other(command, nowhere)? else {
                continue;
            };
            child.release();
            if let Some(outcome) = self.until_ended(child.pid) {
                return Ok(Err(outcome));
            }
        }
        let mut beside = Vec::new();
        for command in &self.order.beside {
            beside.extend(self.spawn_other(command, nowhere)?);
        }
        let copies = self.spawn_copies(program, nowhere)?;
        for child in beside.iter().chain(copies.iter().map(|copy| &copy.child)) {
            child.release();
        }
        Ok(Ok(copies))
    }

    fn spawn_copies(&mut self, program: &[OsString], nowhere: Streams) -> Result<Vec<Copy>, Error> {
        let (name, arguments) = program
            .split_first()
            .map_or((OsStr::new(""), [].as_slice()), |(name, rest)| {
                (name.as_os_str(), rest)
            });
        let mut copies = Vec::new();
        for number in 0..self.plan.copies {
            let variables = self.plan.variables_of(number);
            let program = Program::new(name, arguments, None, &variables)?;
            let mut streams = Streams::default();
            let mut kept = None;
            let mut pipes = None;
            if self.kept {
                let ((output, to_output), (errors, to_errors)) = (pipe()?, pipe()?);
                // What can be read from the caller goes to one of them.
                streams.input = (number > 0).then_some(nowhere.input).flatten();
                streams.output = Some(to_output.as_raw_fd());
                streams.errors = Some(to_errors.as_raw_fd());
                kept = Some((to_output, to_errors));
                pipes = Some((output, errors));
            }
            let child = self.spawn(&program, streams)?;
            drop(kept);
            self.programs.push(child.pid);
            copies.push(Copy {
                child,
                ended: false,
                pipes,
            });
        }
        Ok(copies)
    }

    /// One of before and beside; none when it cannot be started, which is noted.
    fn spawn_other(
        &mut self,
        command: &order::Command,
        streams: Streams,
    ) -> Result<Option<Child>, Error> {
        let mut changes = self.plan.variables.clone();
        let own = command.environment.iter();
        changes.extend(own.map(|(name, value)| (name.clone(), value.clone())));
        let arguments: Vec<OsString> = command.arguments.iter().map(OsString::from).collect();
        let name = OsStr::new(&command.program);
        match Program::new(name, &arguments, command.directory.as_deref(), &changes) {
            Ok(program) => self.spawn(&program, streams).map(Some),
            Err(error) => {
                let source = std::error::Error::source(&error);
                let because = source.map_or_else(String::new, |source| format!(": {source}"));
                let remark = format!("failed to {error}{because}");
                self.report.remarks.push(remark);
                Ok(None)
            }
        }
    }

    fn spawn(&mut self, program: &Program, streams: Streams) -> Result<Child, Error> {
        let child = program.spawn(&self.settings, streams)?;
        if let Some(tracer) = &mut self.tracer {
            tracer
                .adopt(child.pid)
                .map_err(refused("trace a program"))?;
        }
        Ok(child)
    }

    /// Until one process has ended; gives an outcome when something else ended the run.
    fn until_ended(&mut self, awaited: i32) -> Option<Outcome> {
        loop {
            match self.event() {
                Event::Ended(pid, _) if pid == awaited => return None,
                Event::Ended(..) => {}
                Event::Told(signal) => return Some(Outcome::Told(signal)),
                Event::Stuck => return Some(Outcome::Stuck),
                Event::Refused(why) => return Some(Outcome::Refused(why)),
            }
        }
    }

    /// Until a copy has failed, or all have ended.
    fn until_decided(&mut self, copies: &mut [Copy]) -> Result<Outcome, Error> {
        let mut first = None;
        loop {
            let (pid, end) = match self.event() {
                Event::Ended(pid, end) => (pid, end),
                Event::Told(signal) => return Ok(Outcome::Told(signal)),
                Event::Stuck => return Ok(Outcome::Stuck),
                Event::Refused(why) => return Ok(Outcome::Refused(why)),
            };
            let found = (copies.iter_mut().enumerate()).find(|(_, copy)| copy.child.pid == pid);
            let Some((number, copy)) = found else {
                continue;
            };
            if let Some(error) = copy.child.failure() {
                return Err(error);
            }
            copy.ended = true;
            if number == 0 {
                first = Some(end);
            }
            if !end.is_success() {
                if self.plan.copies > 1 {
                    self.report.failed_copy = u32::try_from(number).ok();
                }
                return Ok(Outcome::Ended(number, end));
            }
            if copies.iter().all(|copy| copy.ended) {
                return Ok(Outcome::Ended(0, first.unwrap_or(end)));
            }
        }
    }

    /// What happens next; the tracer is served meanwhile.
    fn event(&mut self) -> Event {
        let mut events = 0;
        loop {
            if let Some((pid, end)) = (self.tracer.as_mut()).and_then(Tracer::next_end) {
                return Event::Ended(pid, end);
            }
            let waited = remains::waited();
            if let Some((pid, status)) = waited {
                if let Some(end) = End::of(status) {
                    if let Some(tracer) = &mut self.tracer {
                        tracer.ended(pid);
                    }
                    return Event::Ended(pid, end);
                }
                if let Some(tracer) = &mut self.tracer {
                    tracer.stopped(pid, status);
                }
            }
            let mut timeout = None;
            let mut is_eager = waited.is_some();
            if let Some(tracer) = &mut self.tracer {
                if let Some(why) = tracer.refused() {
                    return Event::Refused(why);
                }
                let now = Instant::now();
                tracer.tick(now);
                is_eager |= tracer.is_eager(now);
                timeout = tracer
                    .deadline()
                    .map(|due| due.saturating_duration_since(now));
            }
            events += 1;
            if is_eager && events < EVENTS_MAX {
                continue;
            }
            events = 0;
            if let Some(watch) = &mut self.watch {
                let now = Instant::now();
                if watch.is_stuck(now) {
                    return Event::Stuck;
                }
                let next = watch.next().saturating_duration_since(now);
                timeout = Some(timeout.map_or(next, |one| one.min(next)));
            }
            if is_eager {
                timeout = Some(Duration::ZERO);
            }
            match signal(timeout) {
                None | Some(libc::SIGCHLD) => {}
                Some(told) => return Event::Told(told),
            }
        }
    }

    /// It took too long: what is traced is looked at before it is killed.
    fn look_at_all(&mut self) {
        let Some(tracer) = &mut self.tracer else {
            return;
        };
        tracer.look_at_all();
        let until = Instant::now() + TELL_MAX;
        while tracer.let_tell() && Instant::now() < until {
            match remains::waited() {
                Some((pid, status)) if End::of(status).is_some() => tracer.ended(pid),
                Some((pid, status)) => tracer.stopped(pid, status),
                None => std::thread::sleep(TELL_LOOK),
            }
        }
    }

    fn write_evidence(&mut self) {
        let (Some(tracer), Some(path)) = (&self.tracer, &self.order.evidence) else {
            return;
        };
        let snapshots = tracer.snapshots(&self.programs);
        if snapshots.is_empty() {
            return;
        }
        let (text, remark) = evidence::read(&snapshots);
        self.report.remarks.extend(remark);
        if let Err(error) = std::fs::write(path, text) {
            let remark = format!("its stacks could not be written: {error}");
            self.report.remarks.push(remark);
        }
    }

    fn write_report(&mut self) {
        if let Some(tracer) = &mut self.tracer {
            self.report.done = tracer.done();
            self.report.remarks.extend(tracer.remarks());
        }
        self.report.missing.clone_from(&self.plan.missing);
        let Some(path) = &self.order.report else {
            return;
        };
        let written = serde_json::to_vec(&self.report)
            .map_err(io::Error::from)
            .and_then(|text| std::fs::write(path, text));
        if let Err(error) = written {
            let path = path.display();
            let _ = writeln!(
                io::stderr(),
                "cohort under: failed to write the report {path}: {error}"
            );
        }
    }
}

/// Prints what the copy that decided has printed.
fn print(outputs: Vec<(Output, Output)>, copy: usize) {
    let Some((output, errors)) = outputs.into_iter().nth(copy) else {
        return;
    };
    // Whoever does not want to read any more need not.
    let _ = output.kept().write(&mut io::stdout().lock());
    let _ = errors.kept().write(&mut io::stderr().lock());
}

/// So many of the CPUs that this process may run on. Which ones follows from its id, so that
/// several at once do not all share the first.
fn cpus(count: Option<u32>) -> Vec<usize> {
    let Some(count) = count.and_then(|count| usize::try_from(count).ok()) else {
        return Vec::new();
    };
    let me = nix::unistd::Pid::from_raw(0);
    let Ok(set) = nix::sched::sched_getaffinity(me) else {
        return Vec::new();
    };
    let mut allowed: Vec<usize> = (0..nix::sched::CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .collect();
    let turn = usize::try_from(std::process::id()).unwrap_or(0) / 2 % allowed.len().max(1);
    allowed.rotate_left(turn);
    allowed.truncate(count.max(1));
    allowed
}

/// The next signal for this process, if one comes in time; none: however long it takes.
#[expect(unsafe_code, reason = "sigtimedwait(2) has no safe wrapper")]
fn signal(timeout: Option<Duration>) -> Option<i32> {
    let set = awaited();
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    let timeout = timeout
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the set and the time live on this stack.
    let signal = unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), timeout) };
    (signal > 0).then_some(signal)
}
