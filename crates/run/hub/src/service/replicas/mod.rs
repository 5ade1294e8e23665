//! Edge cases of a service, played again on an instance.
//!
//! ```text
//!   Capture ─▶ player: journals ─▶ capsule, requests ─▶ CaseCaptured
//!   TryCase ─▶ [the replica begins anew, under conditions] ─▶ ready ─▶ player: Play ─▶ evidence of its instance ─▶ CaseTried
//! ```
//!
//! The *player* is an agent of its own: what it does is not counted among what ordinary threads do, and a play that takes it down
//! takes nobody along.

mod capture;
mod plan;
mod seen;
mod start;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use cohort_agent::protocol::{self as agent, PlayOrder, ToAgent};
use cohort_handoff::AgentId;
use cohort_host::InstanceReader;
use cohort_model::{
    CaseId, CaseRequest, Condition, ConditionKind, ExceptionSeen, InstanceId, InstanceSample,
    Played, Policy, Recipe, ServiceCommand, ServiceSeen, Share, Symptom,
};

use crate::service::fuzz::Round;
use crate::service::shell::Hub;
use crate::service::{Driver, ServiceSetup};
use start::conditions_of_start;
use told::{patience, told, used};

/// Where capsules lie, in the campaign's directory.
pub(crate) const CAPSULES: &str = "capsules";
/// A play may take so long, microseconds.
const PLAY_US_MAX: u64 = 45_000_000;
/// The end of an ordinary server is read so long after it, when the calls that this broke were told.
const CRASH_WAIT: Duration = Duration::from_millis(10);

/// What is played again, and on what.
#[derive(Default)]
pub(crate) struct Replicas {
    /// The agent that plays.
    pub(crate) player: Option<AgentId>,
    /// Instances that no thread comes to, with what they may use.
    shares: BTreeMap<InstanceId, Share>,
    plays: BTreeMap<u32, Try>,
    /// What instances were started under.
    under: BTreeMap<InstanceId, Vec<Condition>>,
    /// Requests of the capsules that there are, by number.
    capsules: BTreeMap<u32, Vec<CaseRequest>>,
    /// The capsule of a case.
    of_case: BTreeMap<CaseId, u32>,
    /// What instances use, read when a play is half done and when it is over.
    meters: BTreeMap<InstanceId, InstanceReader>,
    /// When the server of each instance was started last.
    lives: BTreeMap<InstanceId, SystemTime>,
    /// Those whose next crash is looked at while it happens: their last one left no stack.
    witnessed: BTreeSet<InstanceId>,
    /// Those whose server waits for ever.
    hung: BTreeSet<InstanceId>,
    /// Those where that told nothing either.
    mute: BTreeSet<InstanceId>,
    /// The stacks of crashes that were looked at, by case.
    pub(crate) stacks: BTreeMap<CaseId, String>,
    /// Ordinary servers that ended unasked, until that is read.
    crashes: Vec<(Instant, InstanceId, Symptom)>,
}

/// One play.
struct Try {
    case: CaseId,
    capsule: u32,
    instance: InstanceId,
    recipe: Recipe,
    /// The other build that its server is; empty: the ordinary one.
    variant: String,
    keep: Vec<u32>,
    without: Vec<(u32, String)>,
    copies: u32,
    rounds: u32,
    hangs: bool,
    grows: bool,
    /// What its instance used when half of it was done, and at its end.
    used: (Option<InstanceSample>, Option<InstanceSample>),
    in_time: bool,
    patience_us: u64,
    begun: Instant,
    state: State,
    /// How its instance ended meanwhile, and what it wrote.
    ends: Vec<Symptom>,
    exceptions: Vec<ExceptionSeen>,
    missing: Vec<ConditionKind>,
}

enum State {
    /// For its instance.
    Waits,
    Plays,
    Over(Instant, Box<agent::Played>),
}

impl Replicas {
    /// What an instance uses is read by this from now on.
    pub(crate) fn read_by(&mut self, instance: InstanceId, meter: InstanceReader) {
        self.meters.insert(instance, meter);
    }

    /// A server is started.
    pub(crate) fn began(&mut self, instance: InstanceId) {
        self.lives.insert(instance, SystemTime::now());
    }

    pub(crate) fn is_one(&self, instance: InstanceId) -> bool {
        self.shares.contains_key(&instance)
    }

    /// Whether an agent is the one that plays.
    pub(crate) fn is_player(&self, agent: AgentId) -> bool {
        self.player == Some(agent)
    }

    /// The capsule of a case, and its requests.
    pub(crate) fn requests_of(&self, case: CaseId) -> Option<(u32, &[CaseRequest])> {
        let number = self.of_case.get(&case)?;
        Some((*number, self.capsules.get(number)?))
    }

    fn of_instance(&mut self, instance: InstanceId) -> Option<&mut Try> {
        let mut plays = self.plays.values_mut();
        plays.find(|play| play.instance == instance)
    }
}

impl ServiceSetup {
    /// Whether edge cases are tried again: scripts are recorded, programs are not.
    pub(crate) fn tries_cases(&self) -> bool {
        let recorded = matches!(self.scenario.driver, Driver::Script(_));
        self.cases.is_some() && recorded && self.policy == Policy::Adaptive
    }
}

impl Hub {
    /// Carries out what concerns edge cases; gives back what does not.
    pub(crate) async fn carry_out_case(
        &mut self,
        command: ServiceCommand,
    ) -> Option<ServiceCommand> {
        match command {
            ServiceCommand::OpenReplica { instance, share } => {
                self.replicas.shares.insert(instance, share);
                self.open(instance, share).await;
            }
            ServiceCommand::Capture {
                capsule,
                instance,
                threads,
            } => self.capture(capsule, instance, &threads),
            ServiceCommand::TryCase {
                case,
                capsule,
                play,
                instance,
                recipe,
                variant,
                keep,
                without,
                fresh,
                copies,
                rounds,
                hangs,
                grows,
                in_time,
                patience_us,
            } => {
                self.replicas.of_case.insert(case, capsule);
                let one = Try {
                    case,
                    capsule,
                    instance,
                    recipe,
                    variant,
                    keep,
                    without,
                    copies,
                    rounds,
                    hangs,
                    grows,
                    used: (None, None),
                    in_time,
                    patience_us,
                    begun: Instant::now(),
                    state: State::Waits,
                    ends: Vec::new(),
                    exceptions: Vec::new(),
                    missing: Vec::new(),
                };
                self.try_case(play, one, fresh);
            }
            ServiceCommand::EndPlay { play } => self.end_play(play),
            ServiceCommand::Fuzz {
                fuzz,
                instance,
                capsules,
                seed,
                for_us,
                lanes,
                fresh,
            } => {
                let round = Round::new((fuzz, instance), capsules, (seed, for_us, lanes));
                self.begin_fuzz(round, fresh);
            }
            ServiceCommand::EndFuzz { fuzz } => self.end_fuzz(fuzz),
            ServiceCommand::KeepFound { found, capsule } => self.keep_found(found, capsule),
            other => return Some(other),
        }
        None
    }

    fn try_case(&mut self, number: u32, mut one: Try, fresh: bool) {
        let instance = one.instance;
        let is_ours = self.replicas.is_one(instance);
        let wanted = conditions_of_start(&one.recipe);
        let begun_under = self.replicas.under.get(&instance);
        let other = begun_under.map_or(!wanted.is_empty(), |under| *under != wanted);
        let is_ready = self
            .places
            .get(&instance)
            .is_some_and(crate::service::place::Place::is_ready);
        if is_ours && (fresh || other) {
            self.begin_anew(&mut one);
            self.replicas.plays.insert(number, one);
        } else if is_ready {
            self.replicas.plays.insert(number, one);
            self.play(number);
        } else {
            self.replicas.plays.insert(number, one);
        }
    }

    /// What may use how much is for the replica's next play too.
    pub(crate) fn replica_allotted(&mut self, id: InstanceId, share: Share) {
        if let Some(known) = self.replicas.shares.get_mut(&id) {
            *known = share;
        }
    }

    /// An instance answers: what waits for it is played.
    pub(crate) fn play_waiting(&mut self, instance: InstanceId) {
        self.fuzz_waiting(instance);
        let waiting = self
            .replicas
            .plays
            .iter()
            .find(|(_, one)| one.instance == instance && matches!(one.state, State::Waits));
        if let Some((&number, _)) = waiting {
            self.play(number);
        }
    }

    fn play(&mut self, number: u32) {
        let Some(player) = self.replicas.player else {
            return;
        };
        let Some(one) = self.replicas.plays.get_mut(&number) else {
            return;
        };
        let place = self.places.get(&one.instance);
        let Some(address) = place.and_then(|place| place.address(self.setup.sut.tls)) else {
            return;
        };
        let data = self.prepared.exports("setup");
        let order = PlayOrder {
            play: number,
            capsule: one.capsule,
            instance: one.instance,
            address,
            data: data.then(|| self.once.data(Some(one.instance))),
            keep: one.keep.clone(),
            without: one.without.clone(),
            copies: one.copies,
            rounds: one.rounds,
            hangs: one.hangs,
            grows: one.grows,
            in_time: one.in_time,
            patience_us: one.patience_us,
            timeout_us: PLAY_US_MAX,
        };
        one.state = State::Plays;
        self.agents.tell(player.0, ToAgent::Play(Box::new(order)));
    }

    fn end_play(&mut self, number: u32) {
        let Some(one) = self.replicas.plays.get(&number) else {
            return;
        };
        if matches!(one.state, State::Plays) {
            if let Some(player) = self.replicas.player {
                self.agents
                    .tell(player.0, ToAgent::EndPlay { play: number });
            }
        } else if matches!(one.state, State::Waits) {
            self.conclude_play(number, Some("its instance did not get ready in time"));
        }
    }

    /// The player says that half of the repetitions are done.
    pub(crate) fn played_half(&mut self, play: u32) {
        let Some(one) = self.replicas.plays.get_mut(&play) else {
            return;
        };
        one.used.0 = self
            .replicas
            .meters
            .get_mut(&one.instance)
            .and_then(|meter| used(one.instance, meter));
    }

    /// The player says that a play is over.
    pub(crate) fn played(&mut self, played: agent::Played) {
        if let Some(one) = self.replicas.plays.get_mut(&played.play)
            && one.grows
        {
            one.used.1 = self
                .replicas
                .meters
                .get_mut(&one.instance)
                .and_then(|meter| used(one.instance, meter));
        }
        if let Some(one) = self.replicas.plays.get_mut(&played.play) {
            one.state = State::Over(Instant::now(), Box::new(played));
        }
    }

    /// What is due by the clock.
    pub(crate) fn follow_plays(&mut self, now: Instant) {
        self.follow_fuzz(now);
        let crashes = std::mem::take(&mut self.replicas.crashes);
        for (since, instance, symptom) in crashes {
            if now.duration_since(since) < CRASH_WAIT {
                self.replicas.crashes.push((since, instance, symptom));
                continue;
            }
            self.tell(ServiceSeen::CrashRead {
                instance,
                symptom: Box::new(symptom),
            });
        }
        self.read_logs_of_plays(now);
        let due = |one: &Try| match &one.state {
            State::Over(since, played) => {
                let looked_at = self.replicas.witnessed.contains(&one.instance);
                now.duration_since(*since) >= patience(one, played, looked_at)
            }
            State::Plays => false,
            State::Waits => {
                now.duration_since(one.begun)
                    > Duration::from_micros(self.setup.sut.ready_timeout_us)
            }
        };
        let plays = self.replicas.plays.iter();
        let due: Vec<u32> = plays
            .filter(|(_, one)| due(one))
            .map(|(&number, _)| number)
            .collect();
        for number in due {
            self.conclude_play(number, None);
        }
    }

    fn conclude_play(&mut self, number: u32, void: Option<&str>) {
        let Some(one) = self.replicas.plays.remove(&number) else {
            return;
        };
        let mut played = match &one.state {
            State::Over(_, played) => told(played, &one),
            State::Waits | State::Plays => Played {
                void: void
                    .unwrap_or("its instance did not get ready in time")
                    .to_owned(),
                ..Played::default()
            },
        };
        played.missing.clone_from(&one.missing);
        if played.hung() {
            self.replicas.hung.insert(one.instance);
        }
        self.tell(ServiceSeen::CaseTried {
            play: number,
            case: one.case,
            instance: one.instance,
            played,
        });
    }

    /// The agent that played is gone: another takes its place, and what it played says nothing.
    pub(crate) fn player_gone(&mut self) {
        let plays: Vec<u32> = self.replicas.plays.keys().copied().collect();
        for number in plays {
            self.conclude_play(number, Some("the agent that played it ended"));
        }
        self.replicas.player = None;
        self.fuzz_lost();
        if let Ok(next) = self.agents.start(&self.load) {
            self.replicas.player = Some(AgentId(next));
            self.inform(AgentId(next));
            for &capsule in self.replicas.capsules.keys() {
                let file = self.capsule_file(capsule);
                self.agents.tell(next, ToAgent::Capsule { capsule, file });
            }
        }
    }
}
