//! Recorded requests, changed, on an instance that no thread comes to.
//!
//! ```text
//!   Fuzz ─▶ [its server begins anew] ─▶ ready ─▶ player: Fuzz ─▶ FuzzFound, once it is known how the server took it ─▶ ... ─▶ Fuzzed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cohort_agent::protocol::{self as agent, FuzzOrder, ToAgent};
use cohort_model::{
    CaseThread, ExceptionSeen, FuzzPlan, FuzzRound, InstanceId, ServiceSeen, Symptom, SymptomKind,
};

use super::replicas::CAPSULES;
use super::shell::Hub;
use super::symptoms;

/// What a server wrote about an answer from 500 on is waited for so long ...
const WROTE_WAIT: Duration = Duration::from_millis(120);
/// ... and its end, after a connection that broke off, so long.
const ENDED_WAIT: Duration = Duration::from_millis(1_500);
/// An end or an exception belongs to what was found at most so long before or after it.
const TOGETHER: Duration = Duration::from_millis(1_500);
/// How long an answer is waited for, microseconds.
const PATIENCE_US: u64 = 5_000_000;

/// Why there is no further round.
const NEVER_AGAIN: &str = "its server did not come up again after what was sent to it, also with nothing of what it had kept; look at its last lines, and have what it keeps outside of {scratch} removed as it starts";

/// What is found of one kind is told so often: one may not show it again.
const OF_KIND_MAX: u32 = 2;

/// How a campaign changes recorded requests.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceFuzz {
    /// How long in all, microseconds.
    pub time_us: u64,
    /// A description of the API (OpenAPI 3, JSON), as text.
    pub openapi: Option<String>,
}

impl ServiceFuzz {
    pub(crate) fn plan(&self, seed: u64) -> FuzzPlan {
        FuzzPlan {
            time_us: self.time_us,
            seed,
        }
    }
}

/// What is known of it.
#[derive(Default)]
pub(crate) struct Fuzzing {
    round: Option<Round>,
    /// The last round, when its server ended with it.
    last: Option<(u32, InstanceId)>,
    found: BTreeMap<u32, PathBuf>,
    /// Capsules with changed requests.
    kept: BTreeSet<u32>,
    next: u32,
    /// How often each kind was told: endpoint, class, place in the program.
    told: BTreeMap<(String, String, String), u32>,
    /// What was found, until it is known how the server took it.
    waiting: Vec<(Instant, agent::FuzzFound)>,
    /// Several that were under way as a server ended, until it is known which it was.
    suspects: Vec<(agent::FuzzFound, Symptom, Option<Symptom>)>,
    ends: Vec<(Instant, InstanceId, Symptom)>,
    exceptions: Vec<(Instant, InstanceId, ExceptionSeen)>,
}

/// One round.
pub(crate) struct Round {
    pub(crate) fuzz: u32,
    pub(crate) instance: InstanceId,
    pub(crate) capsules: Vec<u32>,
    pub(crate) seed: u64,
    pub(crate) for_us: u64,
    pub(crate) lanes: u32,
    begun: Instant,
    /// The player has it.
    is_under_way: bool,
}

impl Round {
    pub(crate) fn new(
        (fuzz, instance): (u32, InstanceId),
        capsules: Vec<u32>,
        (seed, for_us, lanes): (u64, u64, u32),
    ) -> Self {
        Self {
            fuzz,
            instance,
            capsules,
            seed,
            for_us,
            lanes,
            begun: Instant::now(),
            is_under_way: false,
        }
    }
}

impl Hub {
    /// Begins a round, once its instance answers.
    pub(crate) fn begin_fuzz(&mut self, round: Round, fresh: bool) {
        let instance = round.instance;
        self.fuzzing.round = Some(round);
        if fresh {
            self.without_conditions(instance);
            self.begin_replica_anew(instance);
        } else {
            self.fuzz_waiting(instance);
        }
    }

    /// An instance answers: the round that waits for it begins.
    pub(crate) fn fuzz_waiting(&mut self, instance: InstanceId) {
        let Some(player) = self.replicas.player else {
            return;
        };
        let data = self.prepared.exports("setup");
        let data = data.then(|| self.once.data(Some(instance)));
        let place = self.places.get(&instance);
        let address = place.and_then(|place| place.address(self.setup.sut.tls));
        let waits = |round: &&mut Round| round.instance == instance && !round.is_under_way;
        let (Some(round), Some(address)) = (self.fuzzing.round.as_mut().filter(waits), address)
        else {
            return;
        };
        round.is_under_way = true;
        let openapi = self
            .setup
            .fuzz
            .as_ref()
            .and_then(|fuzz| fuzz.openapi.clone());
        let order = FuzzOrder {
            fuzz: round.fuzz,
            capsules: round.capsules.clone(),
            instance,
            address,
            data,
            seed: round.seed,
            openapi,
            directory: self.campaign.path().join(CAPSULES),
            lanes: round.lanes,
            for_us: round.for_us,
            patience_us: PATIENCE_US,
        };
        self.agents.tell(player.0, ToAgent::Fuzz(Box::new(order)));
    }

    /// Ends a round.
    pub(crate) fn end_fuzz(&mut self, fuzz: u32) {
        let Some(round) = self
            .fuzzing
            .round
            .as_ref()
            .filter(|round| round.fuzz == fuzz)
        else {
            return;
        };
        match (round.is_under_way, self.replicas.player) {
            (true, Some(player)) => self.agents.tell(player.0, ToAgent::EndFuzz),
            _ => self.conclude_fuzz(FuzzRound::default()),
        }
    }

    /// The player says that a round is over.
    pub(crate) fn fuzzed(&mut self, fuzzed: agent::Fuzzed) {
        if self
            .fuzzing
            .round
            .as_ref()
            .is_some_and(|round| round.fuzz == fuzzed.fuzz)
        {
            if fuzzed.trials > 0 && !fuzzed.down {
                self.fuzzing.suspects.clear();
            }
            self.conclude_fuzz(FuzzRound {
                trials: fuzzed.trials,
                requests: fuzzed.requests,
                new: fuzzed.new,
                examples: fuzzed.examples,
                endpoints: fuzzed.endpoints,
                took_us: fuzzed.took_us,
                down: fuzzed.down,
                unusable: fuzzed.unusable,
            });
        }
    }

    fn conclude_fuzz(&mut self, round: FuzzRound) {
        if let Some(ended) = self.fuzzing.round.take() {
            self.fuzzing.last = round.down.then_some((ended.fuzz, ended.instance));
            self.tell(ServiceSeen::Fuzzed {
                fuzz: ended.fuzz,
                instance: ended.instance,
                round,
            });
        }
    }

    /// The player found something.
    pub(crate) fn fuzz_found(&mut self, found: agent::FuzzFound) {
        self.fuzzing.waiting.push((Instant::now(), found));
    }

    /// The player is gone, and the round with it.
    pub(crate) fn fuzz_lost(&mut self) {
        self.conclude_fuzz(FuzzRound {
            down: true,
            ..FuzzRound::default()
        });
    }

    /// The instance of a round does not come up.
    pub(crate) fn fuzz_failed(&mut self, instance: InstanceId) {
        // Which of them it was cannot be looked into any more.
        for (found, symptom, end) in std::mem::take(&mut self.fuzzing.suspects) {
            self.tell_found(found, symptom, end);
        }
        let round = FuzzRound {
            down: true,
            unusable: NEVER_AGAIN.to_owned(),
            ..FuzzRound::default()
        };
        let of = |round: &Round| round.instance == instance;
        let last = self.fuzzing.last.take_if(|(_, of)| *of == instance);
        if self.fuzzing.round.as_ref().is_some_and(of) {
            self.conclude_fuzz(round);
        } else if let Some((fuzz, _)) = last {
            self.tell(ServiceSeen::Fuzzed {
                fuzz,
                instance,
                round,
            });
        }
    }

    /// A replica's server ended.
    pub(crate) fn fuzzed_ended(&mut self, instance: InstanceId, symptom: &Symptom) {
        let end = (Instant::now(), instance, symptom.clone());
        self.fuzzing.ends.push(end);
    }

    /// A replica wrote exceptions.
    pub(crate) fn fuzzed_wrote(&mut self, instance: InstanceId, exceptions: &[ExceptionSeen]) {
        let now = Instant::now();
        let told = exceptions.iter().filter(|one| !one.plain_line);
        self.fuzzing
            .exceptions
            .extend(told.map(|one| (now, instance, one.clone())));
    }

    /// What it found, as a capsule of this number.
    pub(crate) fn keep_found(&mut self, found: u32, capsule: u32) {
        let Some(file) = self.fuzzing.found.get(&found).cloned() else {
            return;
        };
        self.fuzzing.kept.insert(capsule);
        let own = self.capsule_file(capsule);
        // One that is not there is told as a capsule that cannot be read.
        let _ = std::fs::copy(&file, &own);
        if let Some(player) = self.replicas.player {
            let order = ToAgent::Capsule { capsule, file: own };
            self.agents.tell(player.0, order);
        }
    }

    /// What is due by the clock.
    pub(crate) fn follow_fuzz(&mut self, now: Instant) {
        let near = |since: &Instant| now.duration_since(*since) < 2 * TOGETHER;
        self.fuzzing.ends.retain(|(since, ..)| near(since));
        self.fuzzing.exceptions.retain(|(since, ..)| near(since));
        for (since, found) in std::mem::take(&mut self.fuzzing.waiting) {
            match self.fuzzing.symptom(now, since, &found) {
                Taken::Waits => self.fuzzing.waiting.push((since, found)),
                Taken::Nothing => {}
                Taken::As(symptom, end) if found.is_suspect => {
                    self.fuzzing.suspects.push((found, symptom, end));
                }
                Taken::As(symptom, end) => {
                    if end.is_some() {
                        self.fuzzing.suspects.clear();
                    }
                    self.tell_found(found, symptom, end);
                }
            }
        }
        let late = |round: &Round| {
            let ready = Duration::from_micros(self.setup.sut.ready_timeout_us);
            !round.is_under_way && now.duration_since(round.begun) > ready
        };
        if let Some(round) = self.fuzzing.round.as_ref().filter(|round| late(round)) {
            self.fuzz_failed(round.instance);
        }
    }

    fn tell_found(&mut self, found: agent::FuzzFound, symptom: Symptom, end: Option<Symptom>) {
        let place = symptom.frames.iter().find(|frame| frame.own);
        let place = place.or(symptom.frames.first());
        let place = place.map_or(String::new(), |frame| frame.function.clone());
        let key = (found.endpoint.clone(), symptom.class.clone(), place);
        let told = self.fuzzing.told.entry(key).or_default();
        *told += 1;
        if *told > OF_KIND_MAX {
            return;
        }
        let number = self.fuzzing.next;
        self.fuzzing.next += 1;
        self.fuzzing.found.insert(number, found.file);
        self.tell(ServiceSeen::FuzzFound {
            found: number,
            thread: CaseThread {
                thread: found.thread,
                iteration: Some(found.iteration),
                last: 1,
            },
            instance: found.instance,
            endpoint: found.endpoint,
            symptom: Box::new(symptom),
            end: end.map(Box::new),
            edits: found.edits,
        });
    }
}

/// How the server took what was found.
enum Taken {
    /// It is not known yet.
    Waits,
    /// It closed the connection, and nothing else.
    Nothing,
    /// Like this, and how its end looked, when it came to that.
    As(Symptom, Option<Symptom>),
}

impl Fuzzing {
    /// Whether a capsule holds changed requests.
    pub(crate) fn made(&self, capsule: u32) -> bool {
        self.kept.contains(&capsule)
    }

    fn symptom(&self, now: Instant, since: Instant, found: &agent::FuzzFound) -> Taken {
        let age = now.duration_since(since);
        let near = |when: &Instant| {
            let (early, late) = (*when.min(&since), *when.max(&since));
            late.duration_since(early) < TOGETHER
        };
        let of = |instance: &InstanceId| *instance == found.instance;
        let mut ends = self.ends.iter();
        let end = ends.find(|(when, instance, _)| of(instance) && near(when));
        let mut wrote = self.exceptions.iter();
        let exception = wrote.find(|(when, instance, _)| of(instance) && near(when));
        match &found.oddity {
            agent::Oddity::Status(status) => match age < WROTE_WAIT {
                true => Taken::Waits,
                false => {
                    let class = status.to_string();
                    let kind = SymptomKind::ErrorAnswer;
                    Taken::As(symptoms::plain(kind, &class, &found.said), None)
                }
            },
            agent::Oddity::Broken(agent::TransportError::Timeout) => {
                Taken::As(symptoms::plain(SymptomKind::Hang, "timed out", ""), None)
            }
            agent::Oddity::Broken(_) => match (end, exception) {
                _ if age < WROTE_WAIT => Taken::Waits,
                // Which of its lines were its last is known late: what it wrote as it ended tells more.
                (Some((.., end)), Some((.., exception))) if end.frames.is_empty() => {
                    Taken::As(exception.symptom(), Some(end.clone()))
                }
                (Some((.., end)), _) => Taken::As(end.clone(), Some(end.clone())),
                (None, Some((.., exception))) => Taken::As(exception.symptom(), None),
                _ if age < ENDED_WAIT => Taken::Waits,
                _ => Taken::Nothing,
            },
            agent::Oddity::Check(_) => Taken::Nothing,
        }
    }
}
