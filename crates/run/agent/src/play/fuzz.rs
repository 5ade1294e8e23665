//! Recorded iterations, played with one of their requests changed.
//!
//! ```text
//!   capsules ──> examples: each request of an iteration, with those before it that it needs
//!   suspects of the round before, one at a time ──> lanes: draw, play the iteration with it, learn ──> Fuzzed
//!                                                     └── odd: a capsule with the change in it ──> FuzzFound
//! ```
//!
//! The script is re-executed, so a changed request carries the session that this server gave, and names what this server made.
//! Where a server ends, each request under way may be why: the next round sends each of them again alone first.
//!
//! Promise: an example that is answered oddly as it was recorded is never changed: nothing would follow from its answers.

mod described;
mod example;
mod play;
mod played;
mod tell;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use cohort_fuzzer::{Answer, Edit, Fuzzer, Hints};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::edits::plain;
use super::take::Take;
use crate::agent::Agent;
use crate::http::Connections;
use crate::protocol::{Address, FromAgent, FuzzOrder, Fuzzed, Oddity, TransportError};
use example::Example;
use played::{Played, is_broken, timed_out};

/// An answer that breaks off is looked into so often for whether the server is still there.
const PROBES: u32 = 3;
const PROBE_EVERY: Duration = Duration::from_millis(40);
/// Requests that are sent again alone after their server ended.
const SUSPECTS_MAX: usize = 16;
/// One trial in so many is followed by the rest of its iteration, which may meet what it left.
const REST_EVERY: u64 = 4;

/// What is known from round to round.
#[derive(Debug, Default)]
pub(crate) struct Fuzzing {
    fuzzer: Option<Fuzzer>,
    /// By the numbers of the fuzzer's examples.
    examples: Vec<Example>,
    /// Capsules of which the examples were taken.
    read: BTreeSet<u32>,
    suspects: VecDeque<(usize, Vec<Edit>)>,
    /// Why no request is an example, as far as that is known.
    unusable: String,
    told: BTreeMap<(String, Oddity, String), u32>,
    found: u32,
    running: Option<oneshot::Sender<()>>,
}

/// Begins a round.
pub(crate) fn begin(agent: &Rc<Agent>, order: FuzzOrder) {
    let (end, ended) = oneshot::channel();
    agent.plays.borrow_mut().fuzzing.running = Some(end);
    let agent = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        let round = Rc::new(Round {
            agent: Rc::clone(&agent),
            fuzzed: RefCell::default(),
            begun: Instant::now(),
            down: Cell::new(false),
            broken: RefCell::default(),
            order,
        });
        tokio::select! {
            () = round.run() => {}
            _ = ended => {}
        }
        agent.post(FromAgent::Fuzzed(Box::new(round.over())));
    });
}

/// Ends a round that is under way.
pub(crate) fn end(agent: &Agent) {
    // Dropped, it ends.
    agent.plays.borrow_mut().fuzzing.running = None;
}

/// One round.
struct Round {
    agent: Rc<Agent>,
    order: FuzzOrder,
    fuzzed: RefCell<Fuzzed>,
    begun: Instant,
    down: Cell<bool>,
    /// Trials that were under way as the server ended.
    broken: RefCell<Vec<(usize, Vec<Edit>)>>,
}

impl Round {
    async fn run(self: &Rc<Self>) {
        self.agent
            .routes
            .borrow_mut()
            .add_instance(&self.order.address);
        self.read_capsules().await;
        if self.examples().is_empty() {
            let plays = self.agent.plays.borrow();
            let mut fuzzed = self.fuzzed.borrow_mut();
            fuzzed.unusable.clone_from(&plays.fuzzing.unusable);
            if fuzzed.unusable.is_empty() {
                fuzzed.unusable = "the recorded requests hold nothing that can be changed: no query, no value in a path, no body and no header of their own".to_owned();
            }
            return;
        }
        self.send_suspects().await;
        let mut lanes = JoinSet::new();
        for _ in 0..self.order.lanes.max(1) {
            let round = Rc::clone(self);
            lanes.spawn_local(async move { round.lane().await });
        }
        while lanes.join_next().await.is_some() {}
        self.judge_broken();
    }

    fn over(&self) -> Fuzzed {
        let mut fuzzed = std::mem::take(&mut *self.fuzzed.borrow_mut());
        if !self.examples().is_empty() {
            fuzzed.unusable.clear();
        }
        let plays = self.agent.plays.borrow();
        let fuzzer = plays.fuzzing.fuzzer.as_ref();
        fuzzed.fuzz = self.order.fuzz;
        fuzzed.examples = fuzzer.map_or(0, |fuzzer| fuzzer.examples() as u64);
        fuzzed.endpoints = fuzzer.map_or(0, |fuzzer| fuzzer.endpoints() as u64);
        fuzzed.took_us = self.begun.elapsed().as_micros() as u64;
        fuzzed.down = self.down.get();
        fuzzed
    }

    fn examples(&self) -> Vec<Example> {
        self.agent.plays.borrow().fuzzing.examples.clone()
    }

    fn is_over(&self) -> bool {
        self.down.get() || self.begun.elapsed() >= Duration::from_micros(self.order.for_us)
    }

    /// Takes requests of capsules that were not read yet as examples, once each was answered as usual.
    async fn read_capsules(&self) {
        let begins = self.agent.plays.borrow().fuzzing.fuzzer.is_none();
        if begins {
            let openapi = match &self.order.openapi {
                Some(openapi) => Some(openapi.clone()),
                None => self.described().await,
            };
            let openapi = serde_json::from_str(&openapi.unwrap_or_default()).unwrap_or_default();
            let fuzzer = Fuzzer::new(self.order.seed, Hints::of_openapi(&openapi));
            self.agent.plays.borrow_mut().fuzzing.fuzzer = Some(fuzzer);
        }
        for &capsule in &self.order.capsules {
            let take = {
                let mut plays = self.agent.plays.borrow_mut();
                if !plays.fuzzing.read.insert(capsule) {
                    continue;
                }
                plays.takes.get(&capsule).cloned()
            };
            let Some(take) = take else { continue };
            for (&spot, &number) in &take.numbers {
                if self.is_over() {
                    return;
                }
                self.add(Example::new(capsule, &take, spot, number)).await;
            }
        }
    }

    /// One request more that is changed.
    async fn add(&self, example: Example) {
        let request = plain(example.request());
        let endpoint = example.shown.endpoint.clone();
        let wanted = {
            let plays = self.agent.plays.borrow();
            let fuzzer = plays.fuzzing.fuzzer.as_ref();
            fuzzer.is_some_and(|fuzzer| fuzzer.wants(&endpoint, &request))
        };
        if !wanted {
            return;
        }
        let mut machines = BTreeMap::new();
        let connections = Rc::new(Connections::default());
        let played = self
            .play(&example, &example.keep, &[], (&mut machines, &connections))
            .await;
        let usual = match (played.odd.first(), played.answer) {
            (None, Some(answer)) if answer.status > 0 => answer,
            (odd, _) => {
                let how = odd.map_or("it is not sent", |_| "it is answered oddly");
                let name = format!("{} {}", example.shown.method, example.shown.url);
                self.agent.plays.borrow_mut().fuzzing.unusable = format!(
                    "no recorded request is usable; the last one, {name}: {how} when it is played again unchanged"
                );
                return;
            }
        };
        let mut plays = self.agent.plays.borrow_mut();
        let fuzzing = &mut plays.fuzzing;
        let added = fuzzing
            .fuzzer
            .as_mut()
            .and_then(|fuzzer| fuzzer.add(&endpoint, &request, &usual));
        if added.is_some() {
            fuzzing.examples.push(example);
        }
    }

    /// What was under way as the server ended before, one after the other.
    async fn send_suspects(&self) {
        while let Some((number, edits)) = self.next_suspect() {
            let Some(example) = self.examples().get(number).cloned() else {
                continue;
            };
            let mut machines = BTreeMap::new();
            let connections = Rc::new(Connections::default());
            let whole = &example.rest;
            let played = self
                .play(&example, whole, &edits, (&mut machines, &connections))
                .await;
            let broke = is_broken(&played);
            if broke && !self.is_there().await {
                self.down.set(true);
                // The others are looked at in the next round.
                self.tell(&example, &edits, &played);
                return;
            }
        }
    }

    fn next_suspect(&self) -> Option<(usize, Vec<Edit>)> {
        let mut plays = self.agent.plays.borrow_mut();
        plays.fuzzing.suspects.pop_front()
    }

    async fn lane(&self) {
        let examples = self.examples();
        let takes: BTreeMap<u32, Rc<Take>> = examples
            .iter()
            .map(|one| (one.capsule, Rc::clone(&one.take)))
            .collect();
        let mut machines = BTreeMap::new();
        let connections = Rc::new(Connections::default());
        while !self.is_over() {
            let trial = {
                let mut plays = self.agent.plays.borrow_mut();
                let fuzzer = plays.fuzzing.fuzzer.as_mut();
                fuzzer.and_then(Fuzzer::draw)
            };
            let Some(trial) = trial else { return };
            let Some(example) = examples.get(trial.example) else {
                return;
            };
            // The recording that machines borrow from lives as long as the lane.
            let Some(take) = takes.get(&example.capsule) else {
                return;
            };
            let keep = match trial.number % REST_EVERY {
                0 => &example.rest,
                _ => &example.keep,
            };
            let played = self
                .play_on(
                    (take, example),
                    keep,
                    &trial.edits,
                    (&mut machines, &connections),
                )
                .await;
            self.note(trial.number, example, trial.edits, played).await;
            tokio::task::yield_now().await;
        }
    }

    /// What came of a trial.
    async fn note(&self, trial: u64, example: &Example, edits: Vec<Edit>, played: Played) {
        let broke = is_broken(&played);
        let down = broke && (self.down.get() || !self.is_there().await);
        if down {
            self.down.set(true);
        }
        let is_new = {
            let mut plays = self.agent.plays.borrow_mut();
            let fuzzer = plays.fuzzing.fuzzer.as_mut();
            match (&played.answer, fuzzer) {
                (Some(answer), Some(fuzzer)) => {
                    let answer = Answer {
                        broke: broke || timed_out(&played),
                        ..answer.clone()
                    };
                    fuzzer.learn(trial, &answer)
                }
                (None, Some(fuzzer)) => {
                    fuzzer.forget(trial);
                    false
                }
                (_, None) => false,
            }
        };
        let mut fuzzed = self.fuzzed.borrow_mut();
        fuzzed.trials += 1;
        fuzzed.requests += played.sent;
        fuzzed.new += u64::from(is_new);
        drop(fuzzed);
        if down {
            // What found nobody listening came too late to be why.
            let reset = |odd: &(String, Oddity, String)| {
                !matches!(odd.1, Oddity::Broken(TransportError::Connect))
            };
            if played.odd.iter().any(reset) {
                let number = self.number_of(example);
                self.broken.borrow_mut().push((number, edits));
            }
        } else if !played.odd.is_empty() {
            self.tell(example, &edits, &played);
        }
    }

    fn number_of(&self, example: &Example) -> usize {
        let plays = self.agent.plays.borrow();
        let mut examples = plays.fuzzing.examples.iter();
        let found =
            examples.position(|one| (one.capsule, one.spot) == (example.capsule, example.spot));
        found.unwrap_or(usize::MAX)
    }

    /// Whether the server takes connections.
    async fn is_there(&self) -> bool {
        let Address { host, port, .. } = &self.order.address;
        for probe in 0..PROBES {
            if probe > 0 {
                tokio::time::sleep(PROBE_EVERY).await;
            }
            if tokio::net::TcpStream::connect((host.as_str(), *port))
                .await
                .is_err()
            {
                return false;
            }
        }
        true
    }
}
