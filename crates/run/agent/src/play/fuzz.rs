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

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use cohort_fuzzer::{Answer, Edit, Fuzzer, Hints};
use cohort_model::CaseRequest;
use cohort_scenario::{Cue, Playback};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::capsule::Capsule;
use super::edits::plain;
use super::stage::Stage;
use super::take::{Spot, Take};
use crate::agent::Agent;
use crate::http::Connections;
use crate::protocol::{
    Address, FromAgent, FuzzFound, FuzzOrder, Fuzzed, Oddity, PlayOrder, PlayedAnswers,
    TransportError,
};

/// An answer that breaks off is looked into so often for whether the server is still there.
const PROBES: u32 = 3;
const PROBE_EVERY: Duration = Duration::from_millis(40);
/// Requests that are sent again alone after their server ended.
const SUSPECTS_MAX: usize = 16;
/// Findings of one kind at one endpoint.
const OF_KIND_MAX: u32 = 2;
/// Letters of an answer that tell it from others.
const KIND_CHARS: usize = 40;
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

/// A request that is changed.
#[derive(Clone, Debug)]
struct Example {
    capsule: u32,
    take: Rc<Take>,
    spot: Spot,
    number: u32,
    shown: CaseRequest,
    /// Numbers that are sent for it, and those of the whole iteration.
    keep: Vec<u32>,
    rest: Vec<u32>,
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

/// What one iteration came to.
struct Played {
    /// Of the request that was changed.
    answer: Option<Answer>,
    /// All that was odd.
    odd: Vec<(String, Oddity, String)>,
    sent: u64,
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
        for &capsule in &self.order.capsules {
            let take = {
                let mut plays = self.agent.plays.borrow_mut();
                let order = &self.order;
                plays.fuzzing.fuzzer.get_or_insert_with(|| {
                    let openapi = order.openapi.as_deref().unwrap_or_default();
                    let openapi = serde_json::from_str(openapi).unwrap_or_default();
                    Fuzzer::new(order.seed, Hints::of_openapi(&openapi))
                });
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

    /// The server ended: where only one request was under way it was that one.
    fn judge_broken(&self) {
        let broken = std::mem::take(&mut *self.broken.borrow_mut());
        match broken.as_slice() {
            [] => {}
            [(number, edits)] => self.suspect(*number, edits, false),
            many => {
                let mut plays = self.agent.plays.borrow_mut();
                let suspects = &mut plays.fuzzing.suspects;
                suspects.extend(many.iter().cloned());
                suspects.truncate(SUSPECTS_MAX);
                drop(plays);
                for (number, edits) in many {
                    self.suspect(*number, edits, true);
                }
            }
        }
    }

    /// The server ended with a request.
    fn suspect(&self, number: usize, edits: &[Edit], is_one_of_many: bool) {
        if let Some(example) = self.examples().get(number) {
            let closed = Oddity::Broken(TransportError::Reset);
            let odd = (example.shown.endpoint.clone(), closed, String::new());
            let played = Played {
                answer: None,
                odd: vec![odd],
                sent: 0,
            };
            self.tell_as(example, edits, &played, is_one_of_many);
        }
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

    /// Tells what was odd, with a capsule that plays it again.
    fn tell(&self, example: &Example, edits: &[Edit], played: &Played) {
        self.tell_as(example, edits, played, false);
    }

    fn tell_as(&self, example: &Example, edits: &[Edit], played: &Played, is_suspect: bool) {
        for (endpoint, oddity, said) in &played.odd {
            let file = {
                let mut plays = self.agent.plays.borrow_mut();
                let fuzzing = &mut plays.fuzzing;
                let key = (endpoint.clone(), oddity.clone(), kind(said));
                let told = fuzzing.told.entry(key).or_default();
                *told += 1;
                let often =
                    matches!(oddity, Oddity::Broken(error) if *error != TransportError::Timeout);
                if *told > OF_KIND_MAX && !often {
                    continue;
                }
                fuzzing.found += 1;
                let name = format!("found-{}-{}", self.order.fuzz, fuzzing.found);
                self.order.directory.join(name)
            };
            if self.write(example, edits, &file).is_none() {
                continue;
            }
            self.agent.post(FromAgent::FuzzFound(Box::new(FuzzFound {
                file,
                thread: example.shown.thread,
                iteration: example.shown.iteration,
                instance: self.order.instance,
                endpoint: endpoint.clone(),
                oddity: oddity.clone(),
                said: said.clone(),
                is_suspect,
                edits: edits.iter().map(Edit::to_string).collect(),
            })));
        }
    }

    /// The iteration alone, with what is changed in it.
    fn write(&self, example: &Example, edits: &[Edit], file: &Path) -> Option<()> {
        let own = {
            let plays = self.agent.plays.borrow();
            plays.files.get(&example.capsule).cloned()?
        };
        let mut capsule = Capsule::read(&own).ok()?;
        let (track, scene, call, place) = example.spot;
        let in_vu = example
            .take
            .parts
            .get(track)?
            .recording
            .scenes
            .get(scene)?
            .in_vu;
        let mut only = capsule.tracks.get(track)?.clone();
        only.iteration = Some(in_vu);
        only.last = 1;
        capsule.tracks = vec![only];
        capsule.edits = vec![((0, scene, call, place), edits.to_vec())];
        capsule.write(file).ok()
    }

    async fn play<'t>(
        &self,
        example: &'t Example,
        keep: &[u32],
        edits: &[Edit],
        on: (&mut Machines<'t>, &Rc<Connections>),
    ) -> Played {
        self.play_on((&example.take, example), keep, edits, on)
            .await
    }

    async fn play_on<'t>(
        &self,
        (take, example): (&'t Take, &Example),
        keep: &[u32],
        edits: &[Edit],
        (machines, connections): (&mut Machines<'t>, &Rc<Connections>),
    ) -> Played {
        let (track, scene, ..) = example.spot;
        let recording = &take.parts[track].recording;
        let key = (example.capsule, track);
        let made = machines.remove(&key);
        let made = made.or_else(|| Playback::new(recording, scene, self.order.data.clone()).ok());
        let Some(mut playback) = made else {
            return Played {
                answer: None,
                odd: Vec::new(),
                sent: 0,
            };
        };
        let mut all = BTreeMap::new();
        all.insert(example.number, edits.to_vec());
        let stage = Stage::of_one(&self.agent, self.play_order(keep), all);
        playback.begin(scene);
        stage
            .scene(take, (track, scene), &mut playback, connections)
            .await;
        if matches!(playback.cue(), Cue::Over) && !recording.remembers() {
            machines.insert(key, playback);
        }
        played(example.number, &stage.answers_so_far())
    }

    fn play_order(&self, keep: &[u32]) -> PlayOrder {
        PlayOrder {
            play: 0,
            capsule: 0,
            instance: self.order.instance,
            address: self.order.address.clone(),
            data: self.order.data.clone(),
            keep: keep.to_vec(),
            without: Vec::new(),
            copies: 1,
            rounds: 1,
            grows: false,
            in_time: false,
            patience_us: self.order.patience_us,
            timeout_us: u64::MAX,
        }
    }
}

/// Machines that are ready for another iteration, by capsule and track.
type Machines<'t> = BTreeMap<(u32, usize), Playback<'t>>;

impl Example {
    fn new(capsule: u32, take: &Rc<Take>, spot: Spot, number: u32) -> Self {
        let (track, scene, ..) = spot;
        let of_scene: Vec<u32> = take
            .numbers
            .range((track, scene, 0, 0)..(track, scene + 1, 0, 0))
            .map(|(_, number)| *number)
            .collect();
        let keep = needed(take, &of_scene, number);
        Self {
            capsule,
            take: Rc::clone(take),
            spot,
            number,
            shown: take.requests[number as usize].clone(),
            keep,
            rest: of_scene,
        }
    }

    fn request(&self) -> &cohort_scenario::Request {
        let (track, scene, call, place) = self.spot;
        &self.take.parts[track].recording.scenes[scene].calls[call].requests[place]
    }
}

/// Of the requests of an iteration those without which this one would mean something else: whose answers it uses, and, where one of
/// these changes something, all before it that do.
fn needed(take: &Take, of_scene: &[u32], number: u32) -> Vec<u32> {
    let of = |number: u32| take.requests.get(number as usize);
    let changes = |number: u32| {
        let safe = ["GET", "HEAD", "OPTIONS"];
        of(number).is_some_and(|request| !safe.contains(&request.method.as_str()))
    };
    let mut keep: BTreeSet<u32> = BTreeSet::from([number]);
    let mut open = vec![number];
    while let Some(one) = open.pop() {
        let uses = of(one).into_iter().flat_map(|request| &request.uses);
        let mut needs: Vec<u32> = uses.map(|value| value.request).collect();
        if changes(one) {
            let before = of_scene.iter().copied().filter(|before| *before < one);
            needs.extend(before.filter(|before| changes(*before)));
        }
        for need in needs {
            if of_scene.contains(&need) && keep.insert(need) {
                open.push(need);
            }
        }
    }
    keep.into_iter().collect()
}

/// What answers came to.
fn played(number: u32, answers: &[PlayedAnswers]) -> Played {
    let mut odd = Vec::new();
    let mut sent = 0;
    let mut own = None;
    for of in answers {
        sent += of.took_us.len() as u64;
        for (status, _) in of.statuses.iter().filter(|(status, _)| *status >= 500) {
            odd.push((
                of.endpoint.clone(),
                Oddity::Status(*status),
                of.said.clone(),
            ));
        }
        for (error, _) in &of.errors {
            // What was not sent tells nothing.
            if *error != TransportError::Refused {
                odd.push((of.endpoint.clone(), Oddity::Broken(*error), String::new()));
            }
        }
        if of.request == Some(number) {
            let status = of.statuses.first().map_or(0, |(status, _)| *status);
            let refused = of
                .errors
                .iter()
                .any(|(error, _)| *error == TransportError::Refused);
            own = (!refused).then(|| Answer {
                status,
                said: of.said.clone(),
                took_us: of.took_us.first().copied().unwrap_or_default(),
                ..Answer::default()
            });
        }
    }
    Played {
        answer: own,
        odd: without_echo(odd),
        sent,
    }
}

/// Once an answer breaks off, so do those to what is sent after it: the first one is told.
fn without_echo(mut odd: Vec<(String, Oddity, String)>) -> Vec<(String, Oddity, String)> {
    let mut broken = 0;
    odd.retain(|(_, oddity, _)| {
        broken += u32::from(matches!(oddity, Oddity::Broken(_)));
        broken <= 1 || !matches!(oddity, Oddity::Broken(_))
    });
    odd
}

/// Whether an answer broke off.
fn is_broken(played: &Played) -> bool {
    use TransportError::{Connect, Other, Reset};
    let broke = |oddity: &Oddity| matches!(oddity, Oddity::Broken(Reset | Connect | Other));
    played.odd.iter().any(|(_, oddity, _)| broke(oddity))
}

fn timed_out(played: &Played) -> bool {
    let late = |oddity: &Oddity| matches!(oddity, Oddity::Broken(TransportError::Timeout));
    played.odd.iter().any(|(_, oddity, _)| late(oddity))
}

/// What is said, without what varies.
fn kind(said: &str) -> String {
    let letters = said.chars().filter(char::is_ascii_alphabetic);
    letters.take(KIND_CHARS).collect()
}
