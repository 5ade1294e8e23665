//! The agent's process: one loop that takes what the hub says, and tasks beside it.

use std::cell::RefCell;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use cohort_model::At;
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{Pid, setpgid};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::agent::Agent;
use crate::mailbox::Order;
use crate::one_shot;
use crate::permits::Times;
use crate::play;
use crate::protocol::{
    Error, FromAgent, Hello, Load, OwnCost, Permit, Reader, SideOrder, ToAgent, Writer,
};
use crate::telemetry::Counted;
use crate::thread::Thread;

/// How often iterations and log lines are told.
const SOON: Duration = Duration::from_millis(20);
/// Windows are told so often: when the campaign's clock is at a multiple of it, in every agent, so that
/// what is read of an instance at that moment goes with all calls until then.
const WINDOW: Duration = Duration::from_secs(1);
/// How often the loop's own lateness is looked at.
const LAG: Duration = Duration::from_millis(10);
/// While more messages than this wait for the hub, what is added up goes on being added up.
const UNSENT_MAX: usize = 4_096;
/// Messages that are written at once.
const BATCH: usize = 64;

/// Runs an agent that talks to its hub over the inherited socket `fd`. Returns when it is told to
/// finish, when the hub is gone, or when what comes is no message.
pub fn main_agent(fd: RawFd) -> ExitCode {
    // SAFETY: the hub leaves this descriptor to this process alone; nobody else here knows its number.
    #[expect(unsafe_code, reason = "an inherited descriptor is known by its number")]
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // What is typed at the terminal is for the hub, which ends its agents in order. Whoever leads a
    // group already cannot be meant by it.
    let _ = setpgid(Pid::this(), Pid::this());
    match serve(StdUnixStream::from(socket)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cohort agent: failed to {error}");
            ExitCode::FAILURE
        }
    }
}

/// The same over a socket.
///
/// # Errors
///
/// When the socket fails, or what comes is no message of this protocol.
pub fn serve(socket: StdUnixStream) -> Result<(), Error> {
    socket.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, async {
        let (reader, writer) = UnixStream::from_std(socket)?.into_split();
        converse(Reader::new(reader), Writer::new(writer)).await
    });
    // Tasks that wait for a name to be resolved are not waited for.
    drop(local);
    runtime.shutdown_background();
    result
}

type In = Reader<OwnedReadHalf>;
type Out = Writer<OwnedWriteHalf>;

async fn converse(mut reader: In, mut writer: Out) -> Result<(), Error> {
    writer.send(&Hello::own()).await?;
    let Some(hello) = reader.next::<Hello>().await? else {
        return Ok(());
    };
    hello.check()?;
    let load = loop {
        match reader.next::<ToAgent>().await? {
            Some(ToAgent::Load(load)) => break load,
            Some(ToAgent::Finish) | None => return Ok(()),
            Some(_) => {}
        }
    };
    let Some(agent) = load_agent(*load, &mut writer).await? else {
        return Ok(());
    };
    let agent = Rc::new(agent);
    tokio::task::spawn_local(arrive(Rc::clone(&agent)));
    tokio::task::spawn_local(tell_soon(Rc::clone(&agent)));
    let lag = Rc::new(RefCell::new(Counted::new(2)));
    tokio::task::spawn_local(watch_lag(Rc::clone(&lag)));
    tokio::task::spawn_local(tell_windows(Rc::clone(&agent), Rc::clone(&lag)));
    tokio::select! {
        told = listen(&agent, &mut reader, &lag) => told?,
        written = write(&agent, &mut writer) => return written,
    }
    post_soon(&agent);
    post_window(&agent, &lag);
    finish(&agent, &mut writer).await
}

async fn load_agent(load: Load, writer: &mut Out) -> Result<Option<Agent>, Error> {
    match Agent::load(load) {
        Ok(agent) => {
            writer.send(&FromAgent::Loaded).await?;
            Ok(Some(agent))
        }
        Err(message) => {
            writer.send(&FromAgent::LoadFailed { message }).await?;
            Ok(None)
        }
    }
}

/// Takes what the hub says until it says `Finish` or is gone.
async fn listen(agent: &Rc<Agent>, reader: &mut In, lag: &RefCell<Counted>) -> Result<(), Error> {
    while let Some(message) = reader.next::<ToAgent>().await? {
        match message {
            ToAgent::Finish => return Ok(()),
            ToAgent::Report => {
                post_soon(agent);
                post_window(agent, lag);
                agent.post(FromAgent::Reported);
            }
            message => take(agent, message),
        }
    }
    Ok(())
}

fn take(agent: &Rc<Agent>, message: ToAgent) {
    match message {
        // A second one, or what the caller takes.
        ToAgent::Load(_) | ToAgent::Report | ToAgent::Finish => {}
        ToAgent::Instance { instance, address } => agent.set_instance(instance, address),
        ToAgent::SetUp { instance, data } => {
            agent.set_up.borrow_mut().insert(instance, data);
        }
        ToAgent::Scenario {
            name,
            begins,
            ends,
            iterations,
        } => {
            let times = Times {
                begins,
                ends,
                iterations,
            };
            agent.permits.borrow_mut().set_times(&name, times);
        }
        ToAgent::Permit(permit) => take_permit(agent, permit),
        ToAgent::Stop {
            thread,
            graceful_us,
        } => {
            agent.tell(thread, Order::Stop(graceful_us));
        }
        ToAgent::Side(order) => take_side(agent, order),
        ToAgent::Capture(order) => play::capture(agent, &order),
        ToAgent::Capsule { capsule, file } => play::load(agent, capsule, &file),
        ToAgent::Play(order) => play::begin(agent, *order),
        ToAgent::EndPlay { play } => play::end(agent, play),
        ToAgent::Fuzz(order) => play::begin_fuzz(agent, *order),
        ToAgent::EndFuzz => play::end_fuzz(agent),
        ToAgent::OneShot {
            what,
            instance,
            address,
            birth,
            timeout_us,
        } => {
            let timeout = Duration::from_micros(timeout_us);
            let to = agent.to(instance, address);
            let work = one_shot::run(Rc::clone(agent), what, to, *birth, timeout);
            tokio::task::spawn_local(work);
        }
    }
}

fn take_side(agent: &Rc<Agent>, order: Box<SideOrder>) {
    let thread = order.thread;
    if agent.is_here(thread) {
        agent.tell(thread, Order::Side(order));
        return;
    }
    let (handle, side) = agent.enter(thread);
    handle.mailbox.put(Order::Side(order));
    tokio::task::spawn_local(Thread::new(Rc::clone(agent), handle, side).live());
}

fn take_permit(agent: &Rc<Agent>, permit: Permit) {
    match permit {
        Permit::Free { thread, until } => {
            agent.tell(thread, Order::Free(until));
        }
        Permit::Count { thread, iterations } => {
            agent.tell(thread, Order::Count(iterations));
        }
        Permit::Pool {
            scenario,
            iterations,
            first,
        } => {
            let mut permits = agent.permits.borrow_mut();
            let woken = permits.add_pool(&scenario, first, iterations);
            drop(permits);
            for thread in woken {
                agent.tell(thread, Order::Look);
            }
        }
        Permit::Timed {
            scenario,
            starts,
            first,
        } => {
            agent
                .permits
                .borrow_mut()
                .add_starts(&scenario, first, &starts);
            agent.arrivals.notify_one();
        }
        Permit::Closed { scenario } => agent.permits.borrow_mut().close(&scenario),
    }
}

/// Begins iterations at their times.
async fn arrive(agent: Rc<Agent>) {
    loop {
        let next = agent.permits.borrow().next_start();
        match next {
            None => agent.arrivals.notified().await,
            Some(at) => {
                tokio::select! {
                    () = sleep_until(agent.clock.instant(at)) => {}
                    () = agent.arrivals.notified() => {}
                }
            }
        }
        let due = agent.permits.borrow_mut().take_due(agent.clock.now());
        for (thread, number) in due {
            agent.tell(thread, Order::Begin(number));
        }
    }
}

async fn tell_soon(agent: Rc<Agent>) {
    let mut due = interval(SOON);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        post_soon(&agent);
    }
}

fn post_soon(agent: &Agent) {
    if agent.unsent() > UNSENT_MAX {
        return;
    }
    for (scenario, count) in agent.permits.borrow_mut().take_dropped() {
        agent.post(FromAgent::DroppedIterations { scenario, count });
    }
    let messages = agent.telemetry.borrow_mut().take_soon();
    for message in messages {
        agent.post(message);
    }
}

async fn tell_windows(agent: Rc<Agent>, lag: Rc<RefCell<Counted>>) {
    let window_us = WINDOW.as_micros() as u64;
    loop {
        let begun = agent.clock.now().0 / window_us;
        sleep_until(agent.clock.instant(At((begun + 1) * window_us))).await;
        if agent.unsent() <= UNSENT_MAX {
            post_window(&agent, &lag);
        }
    }
}

fn post_window(agent: &Agent, lag: &RefCell<Counted>) {
    let now = agent.clock.now();
    let standing = agent.standing(now);
    let messages = agent.telemetry.borrow_mut().take_window(now, &standing);
    for message in messages {
        agent.post(message);
    }
    agent.post(FromAgent::Cost(cost(agent, lag)));
}

/// How late the loop is: a timer that is due is seen as late as a response that has come.
async fn watch_lag(lag: Rc<RefCell<Counted>>) {
    loop {
        // Timers tick in whole milliseconds after the runtime began; what is left of one is no lateness.
        let due = Instant::now() + LAG;
        sleep_until(due).await;
        let late = Instant::now().saturating_duration_since(due);
        lag.borrow_mut().record(late.as_micros() as f64);
    }
}

fn cost(agent: &Agent, lag: &RefCell<Counted>) -> OwnCost {
    let lag = lag.borrow_mut().take();
    let cpu_us = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        let (user, system) = (usage.user_time(), usage.system_time());
        let us = |time: nix::sys::time::TimeVal| {
            time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64
        };
        us(user) + us(system)
    });
    let running = agent.running();
    OwnCost {
        at: agent.clock.now(),
        cpu_us,
        rss: resident_bytes(),
        lag_p99_us: lag.quantile(0.99).unwrap_or(0.0) as u64,
        lag_max_us: lag.max as u64,
        threads: running.len() as u32,
        journal_bytes: running
            .iter()
            .map(|thread| thread.journal_bytes.get())
            .sum(),
        requests: agent.telemetry.borrow().requests,
    }
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * 4_096
}

/// Sends what is queued.
async fn write(agent: &Agent, writer: &mut Out) -> Result<(), Error> {
    loop {
        agent.posted().await;
        send_posted(agent, writer).await?;
    }
}

async fn send_posted(agent: &Agent, writer: &mut Out) -> Result<(), Error> {
    while agent.unsent() > 0 {
        for _ in 0..BATCH {
            match agent.take_posted() {
                Some(message) => writer.add(&message)?,
                None => break,
            }
        }
        writer.flush().await?;
    }
    Ok(())
}

/// The last words. A hub that is gone does not hear them.
async fn finish(agent: &Agent, writer: &mut Out) -> Result<(), Error> {
    agent.post(FromAgent::Finished);
    match send_posted(agent, writer).await {
        Ok(()) | Err(Error::Socket(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
