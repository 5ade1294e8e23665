//! What everything in one agent shares: the script, the client, the threads, and what goes to the hub.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;

use cohort_handoff::{Side, ToHub};
use cohort_model::{At, InstanceId, ThreadId};
use cohort_scenario::{Around, Holes, Script};
use tokio::sync::Notify;

use crate::call::To;
use crate::clock::Clock;
use crate::endpoint::of_request;
use crate::http::{Client, Failure, Routes, Target};
use crate::mailbox::{Mailbox, Order};
use crate::odd::OddBook;
use crate::pace::Pace;
use crate::permits::Permits;
use crate::play::Plays;
use crate::protocol::{Address, EndWhy, Epoch, Freight, FromAgent, Load, SideReport};
use crate::telemetry::{Metrics, Standing, Telemetry};

/// What everything in one agent shares. One operating-system thread; no borrow is held over an await.
pub(crate) struct Agent {
    pub(crate) clock: Clock,
    pub(crate) script: Option<Script>,
    holes: Holes,
    pub(crate) client: Client,
    pub(crate) journals: PathBuf,
    pub(crate) journal_bytes_max: u64,
    pub(crate) compute_us_max: u64,
    /// What goes odd is told at once, and journals serve to play iterations again.
    pub(crate) cases: bool,
    pub(crate) remembers: bool,
    pub(crate) odd: RefCell<OddBook>,
    pub(crate) plays: RefCell<Plays>,
    pub(crate) pace: Option<Pace>,
    /// Number of this agent, and how many there are.
    pub(crate) place: (u32, u32),
    pub(crate) routes: RefCell<Routes>,
    pub(crate) permits: RefCell<Permits>,
    /// A new arrival may be due earlier than those before.
    pub(crate) arrivals: Notify,
    pub(crate) telemetry: RefCell<Telemetry>,
    pub(crate) counts: RefCell<Around>,
    instances: RefCell<BTreeMap<InstanceId, Option<Rc<Address>>>>,
    /// What `setup()` returned at each instance, where that is known.
    pub(crate) set_up: RefCell<BTreeMap<InstanceId, Option<String>>>,
    threads: RefCell<BTreeMap<ThreadId, Entry>>,
    outbox: RefCell<VecDeque<FromAgent>>,
    posted: Notify,
}

/// A thread of this agent.
enum Entry {
    /// It has a task: it runs, is frozen, or is a copy.
    Here(Rc<Handle>),
    /// It is not here; what is kept are the leases it must never run under.
    Away(Side),
}

/// What others see of a thread that is here.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) thread: ThreadId,
    pub(crate) mailbox: Mailbox,
    pub(crate) instance: Cell<InstanceId>,
    pub(crate) running: Cell<bool>,
    /// The iteration that it began last, from 0.
    pub(crate) iteration: Cell<u64>,
    /// Since when it waits for an answer.
    pub(crate) calling_since: Cell<Option<At>>,
    pub(crate) journal_bytes: Cell<u64>,
}

impl Handle {
    pub(crate) fn new(thread: ThreadId) -> Handle {
        Handle {
            thread,
            mailbox: Mailbox::default(),
            instance: Cell::new(InstanceId(0)),
            running: Cell::new(false),
            iteration: Cell::new(0),
            calling_since: Cell::new(None),
            journal_bytes: Cell::new(0),
        }
    }
}

impl Agent {
    /// Loads what the hub sent.
    ///
    /// # Errors
    ///
    /// When the script or a setting makes no sense, in words.
    pub(crate) fn load(load: Load) -> Result<Agent, String> {
        let script = match load.bundle {
            Some(bundle) => Some(Script::from_bundle(bundle).map_err(|error| error.to_string())?),
            None => None,
        };
        let holes = script.as_ref().map(Script::holes).unwrap_or_default();
        let routes = Routes::new(&load.http.base_urls, &load.http.hosts_allowed)?;
        let mut telemetry = Telemetry::default();
        telemetry.metrics = Metrics::new(load.submetrics);
        let limit = load.http.requests_per_s;
        Ok(Agent {
            clock: Clock::new(load.start_monotonic_ns, load.start_wall_ms),
            script,
            holes,
            pace: limit.map(|limit| Pace::new(limit, load.agents)),
            client: Client::new(load.http),
            journals: load.journal_directory,
            journal_bytes_max: load.journal_bytes_max,
            compute_us_max: load.compute_us_max,
            cases: load.cases,
            remembers: load.remembers,
            odd: RefCell::default(),
            plays: RefCell::default(),
            place: (load.agent, load.agents.max(1)),
            routes: RefCell::new(routes),
            permits: RefCell::default(),
            arrivals: Notify::new(),
            telemetry: RefCell::new(telemetry),
            counts: RefCell::default(),
            instances: RefCell::default(),
            set_up: RefCell::default(),
            threads: RefCell::default(),
            outbox: RefCell::default(),
            posted: Notify::new(),
        })
    }

    /// The endpoint of a request: as its script names it, else by its path.
    pub(crate) fn endpoint(&self, method: &str, name: Option<&str>, path: &str) -> String {
        of_request(&self.holes, method, name, path)
    }

    /// Queues a message to the hub.
    pub(crate) fn post(&self, message: FromAgent) {
        self.outbox.borrow_mut().push_back(message);
        self.posted.notify_one();
    }

    pub(crate) fn post_side(&self, thread: ThreadId, says: ToHub, with: Freight) {
        self.post(FromAgent::Side(Box::new(SideReport { thread, says, with })));
    }

    pub(crate) fn post_ended(&self, thread: ThreadId, epoch: Epoch, why: EndWhy) {
        self.post(FromAgent::Ended { thread, epoch, why });
    }

    /// Messages that wait to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.outbox.borrow().len()
    }

    /// The next message to the hub.
    pub(crate) fn take_posted(&self) -> Option<FromAgent> {
        self.outbox.borrow_mut().pop_front()
    }

    /// Until there may be one.
    pub(crate) async fn posted(&self) {
        while self.unsent() == 0 {
            self.posted.notified().await;
        }
    }

    /// An instance listens there now, or is down.
    pub(crate) fn set_instance(&self, instance: InstanceId, address: Option<Address>) {
        if let Some(address) = &address {
            self.routes.borrow_mut().add_instance(address);
        }
        self.instances
            .borrow_mut()
            .insert(instance, address.map(Rc::new));
        for entry in self.threads.borrow().values() {
            if let Entry::Here(handle) = entry
                && handle.instance.get() == instance
            {
                handle.mailbox.put(Order::Look);
            }
        }
    }

    /// An instance with its address, of which threads need not know.
    pub(crate) fn to(&self, instance: InstanceId, address: Option<Address>) -> To {
        if let Some(address) = &address {
            self.routes.borrow_mut().add_instance(address);
        }
        To {
            instance,
            address: address.map(Rc::new),
        }
    }

    /// Where an instance listens; `None` while it is down.
    pub(crate) fn address(&self, instance: InstanceId) -> Option<Rc<Address>> {
        self.instances.borrow().get(&instance).cloned().flatten()
    }

    pub(crate) fn resolve(&self, url: &str) -> Result<Target, Failure> {
        self.routes.borrow().resolve(url)
    }

    /// Tells a thread something; false when it is not here.
    pub(crate) fn tell(&self, thread: ThreadId, order: Order) -> bool {
        match self.threads.borrow().get(&thread) {
            Some(Entry::Here(handle)) => {
                handle.mailbox.put(order);
                true
            }
            _ => false,
        }
    }

    /// Whether the thread has a task here.
    pub(crate) fn is_here(&self, thread: ThreadId) -> bool {
        matches!(self.threads.borrow().get(&thread), Some(Entry::Here(_)))
    }

    /// The thread gets a task here. Gives its handle and what was remembered of it.
    pub(crate) fn enter(&self, thread: ThreadId) -> (Rc<Handle>, Side) {
        let handle = Rc::new(Handle::new(thread));
        let here = Entry::Here(Rc::clone(&handle));
        let side = match self.threads.borrow_mut().insert(thread, here) {
            Some(Entry::Away(side)) => side,
            _ => Side::default(),
        };
        (handle, side)
    }

    /// The thread has no task here any more. Gives false when orders came meanwhile: it is to look again.
    pub(crate) fn leave(&self, handle: &Rc<Handle>, side: &Side) -> bool {
        if !handle.mailbox.is_empty() {
            return false;
        }
        self.threads
            .borrow_mut()
            .insert(handle.thread, Entry::Away(*side));
        true
    }

    /// Threads and their calls, by instance.
    pub(crate) fn standing(&self, now: At) -> BTreeMap<InstanceId, Standing> {
        let mut standing: BTreeMap<InstanceId, Standing> = self
            .instances
            .borrow()
            .keys()
            .map(|instance| (*instance, Standing::default()))
            .collect();
        for handle in self.running() {
            let here = standing.entry(handle.instance.get()).or_default();
            here.threads += 1;
            if let Some(since) = handle.calling_since.get() {
                here.in_flight += 1;
                here.oldest_us = here.oldest_us.max(now.since(since));
            }
        }
        standing
    }

    /// Threads that run here.
    pub(crate) fn running(&self) -> Vec<Rc<Handle>> {
        self.threads
            .borrow()
            .values()
            .filter_map(|entry| match entry {
                Entry::Here(handle) if handle.running.get() => Some(Rc::clone(handle)),
                _ => None,
            })
            .collect()
    }
}
