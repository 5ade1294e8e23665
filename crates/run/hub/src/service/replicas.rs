//! Edge cases of a service, played again on an instance.
//!
//! ```text
//!   Capture ─▶ player: journals ─▶ capsule, requests ─▶ CaseCaptured
//!   TryCase ─▶ [the replica begins anew, under conditions] ─▶ ready ─▶ player: Play ─▶ evidence of its instance ─▶ CaseTried
//! ```
//!
//! The *player* is an agent of its own: what it does is not counted among what ordinary threads do, and a play that takes it down
//! takes nobody along.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use cohort_agent::protocol::{self as agent, CaptureOrder, PlayOrder, ThreadTaken, ToAgent};
use cohort_conditions::Order;
use cohort_handoff::AgentId;
use cohort_host::InstanceReader;
use cohort_model::{
    CaseId, CasePlan, CaseRequest, CaseThread, Condition, ConditionKind, ExceptionSeen, Exit,
    Grown, InstanceId, InstanceSample, KnownCase, Played, Policy, Recipe, ServiceCommand,
    ServicePlan, ServiceSeen, Share, SuiteKind, Symptom, SymptomKind, ThreadId,
};

use super::fuzz::Round;
use super::keep::PLAY;
use super::masked::masked;
use super::shell::Hub;
use super::{Driver, ServiceSetup, begin, symptoms};
use crate::kept::Kept;

/// Where capsules lie, in the campaign's directory.
pub(crate) const CAPSULES: &str = "capsules";
/// Most requests of one capsule.
const REQUESTS_MAX: u32 = 400;
/// What the instance of a play wrote and how it ended is waited for so long: nothing was odd ...
const CALM_WAIT: Duration = Duration::from_millis(40);
/// ... something was, and its log may yet tell more.
const ODD_WAIT: Duration = Duration::from_millis(450);
/// ... a connection broke off, and it is not known yet that its server ended: the kernel may be writing down what was left of it.
const END_WAIT: Duration = Duration::from_millis(1_500);
/// A play may take so long, microseconds.
const PLAY_US_MAX: u64 = 45_000_000;
/// Lines in which it is looked for the reason of a server's end.
const LAST_WORDS: usize = 600;
/// The end of an ordinary server is read so long after it, when the calls that this broke were told.
const CRASH_WAIT: Duration = Duration::from_millis(10);

/// Conditions that are applied to a running instance, or to the play.
const BY_SHARE: [ConditionKind; 4] = [
    ConditionKind::CpuLimit,
    ConditionKind::MemoryLimit,
    ConditionKind::NetworkRate,
    ConditionKind::Copies,
];

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
    /// Ordinary servers that ended unasked, until that is read.
    crashes: Vec<(Instant, InstanceId, Symptom)>,
}

/// One play.
struct Try {
    case: CaseId,
    capsule: u32,
    instance: InstanceId,
    recipe: Recipe,
    keep: Vec<u32>,
    without: Vec<(u32, String)>,
    copies: u32,
    rounds: u32,
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
    /// The second record of the log.
    pub(crate) fn plan(&self) -> ServicePlan {
        let cases = self.setup.cases.filter(|_| self.setup.tries_cases());
        let cases = cases.map(|cases| CasePlan {
            share: cases.share,
            after_us: cases.after_us,
            seed: self.setup.scenario.seed,
            able: self.able(),
            coverage: 0,
            instrument: false,
            variables: Vec::new(),
            first_case: self.first_case(),
            known: Kept::open(&self.setup.project, SuiteKind::Service).known_of_server(PLAY),
            only: None,
        });
        begin::plan(&self.setup, &self.prepared, self.ground.limits_cpu(), cases)
    }

    /// The player reads what earlier campaigns kept, under the numbers of the plan.
    pub(crate) fn recall_cases(&self, player: AgentId, known: &[KnownCase]) {
        let store = self.setup.project.cases();
        for (capsule, known) in (0..).zip(known) {
            let kept = store.directory(known.case).join(PLAY);
            let file = self.capsule_file(capsule);
            // What is not there is told as a capsule that cannot be read.
            let _ = std::fs::copy(kept, &file);
            self.agents
                .tell(player.0, ToAgent::Capsule { capsule, file });
        }
    }

    fn first_case(&self) -> u32 {
        let next = self.setup.project.cases().next_id();
        next.map_or(1, |case| case.0)
    }

    /// What can be varied on this host.
    fn able(&self) -> BTreeSet<ConditionKind> {
        let able = cohort_conditions::able().into_iter();
        let able = able.filter(|(kind, answer)| answer.is_ok() && !BY_SHARE.contains(kind));
        let ground = &self.ground;
        let grouped = [
            (ground.limits_cpu(), ConditionKind::CpuLimit),
            (ground.limits_memory(), ConditionKind::MemoryLimit),
            (ground.isolates_network(), ConditionKind::NetworkRate),
            (true, ConditionKind::Copies),
        ];
        let grouped = grouped.into_iter().filter(|(can, _)| *can);
        able.map(|(kind, _)| kind)
            .chain(grouped.map(|(_, kind)| kind))
            .collect()
    }

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
                keep,
                without,
                fresh,
                copies,
                rounds,
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
                    keep,
                    without,
                    copies,
                    rounds,
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

    pub(crate) fn capsule_file(&self, capsule: u32) -> PathBuf {
        let directory = self.campaign.path().join(CAPSULES);
        directory.join(format!("capsule-{capsule}"))
    }

    /// The agent that plays is told which recordings to put together.
    fn capture(&mut self, capsule: u32, instance: InstanceId, threads: &[CaseThread]) {
        let data = self.once.data(Some(instance));
        let taken = threads.iter().filter_map(|wanted| {
            Some(ThreadTaken {
                thread: wanted.thread,
                journal: self.journal_of(wanted.thread)?,
                iteration: wanted.iteration,
                last: wanted.last,
                data: data.clone(),
            })
        });
        let order = CaptureOrder {
            capsule,
            threads: taken.collect(),
            file: self.capsule_file(capsule),
            requests_max: REQUESTS_MAX,
        };
        let Some(player) = self.replicas.player else {
            return;
        };
        self.agents
            .tell(player.0, ToAgent::Capture(Box::new(order)));
    }

    /// The journal of a thread, which may have ended.
    fn journal_of(&self, thread: ThreadId) -> Option<PathBuf> {
        let name = cohort_agent::journal::file_name(thread);
        let own = self.threads.agent_of(thread);
        let agents = own.map(|agent| agent.0).into_iter();
        let mut files = agents
            .chain((0..self.agents.started()).rev())
            .map(|agent| self.agents.journals(agent).join(&name));
        files.find(|file| file.exists())
    }

    pub(crate) fn captured(&mut self, captured: agent::Captured) {
        let (requests, failed) = match captured.requests {
            Ok(requests) => {
                // What is played has them; what is told has not.
                let requests = requests.into_iter();
                let requests = requests.map(|one| masked(one, &mut BTreeSet::new()));
                (requests.collect::<Vec<_>>(), String::new())
            }
            Err(why) => (Vec::new(), why),
        };
        if failed.is_empty() {
            if !self.fuzzing.made(captured.capsule) {
                self.note_examples(&requests);
            }
            self.replicas
                .capsules
                .insert(captured.capsule, requests.clone());
        }
        self.tell(ServiceSeen::CaseCaptured {
            capsule: captured.capsule,
            requests,
            failed,
            remarks: captured.remarks,
        });
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
            .is_some_and(super::place::Place::is_ready);
        if is_ours && (fresh || other) {
            self.begin_anew(&mut one, wanted);
            self.replicas.plays.insert(number, one);
        } else if is_ready {
            self.replicas.plays.insert(number, one);
            self.play(number);
        } else {
            self.replicas.plays.insert(number, one);
        }
    }

    /// The server of a replica is stopped, what it left is removed, and it is started under the conditions of a play.
    fn begin_anew(&mut self, one: &mut Try, conditions: Vec<Condition>) {
        let id = one.instance;
        self.set_down(id);
        let Some(instance) = self.ground.get(id).cloned() else {
            return;
        };
        let prefix = match self.prefix(id, &conditions) {
            Ok(prefix) => prefix,
            Err(_) => {
                one.missing.extend(conditions.iter().map(Condition::kind));
                Vec::new()
            }
        };
        self.ground.set_prefix(id, prefix);
        self.replicas.under.insert(id, conditions);
        let share = self
            .replicas
            .shares
            .get(&id)
            .map(|share| limited(*share, &one.recipe));
        let scratch = instance.scratch().to_owned();
        tokio::spawn(async move {
            // What fails here shows as an instance that does not get ready.
            let _ = instance.stop().await;
            let _ = tokio::task::spawn_blocking(move || empty(&scratch)).await;
            if let Some(share) = share {
                let _ = instance.set(share).await;
            }
            let _ = instance.start().await;
        });
    }

    /// From its next start on a replica is under no conditions.
    pub(crate) fn without_conditions(&mut self, id: InstanceId) {
        self.ground.set_prefix(id, Vec::new());
        self.replicas.under.remove(&id);
    }

    /// The server of a replica is started anew, as it was.
    pub(crate) fn begin_replica_anew(&mut self, id: InstanceId) {
        self.set_down(id);
        let Some(instance) = self.ground.get(id).cloned() else {
            return;
        };
        let scratch = instance.scratch().to_owned();
        tokio::spawn(async move {
            // What fails here shows as an instance that does not get ready.
            let _ = instance.stop().await;
            let _ = tokio::task::spawn_blocking(move || empty(&scratch)).await;
            let _ = instance.start().await;
        });
    }

    /// What the server's command is put after.
    fn prefix(&self, id: InstanceId, conditions: &[Condition]) -> std::io::Result<Vec<String>> {
        if conditions.is_empty() {
            return Ok(Vec::new());
        }
        let order = Order {
            conditions: conditions.to_vec(),
            ..Order::default()
        };
        let directory = self.campaign.path().join(CAPSULES);
        let path = directory.join(format!("under-{id}.json"));
        std::fs::write(&path, serde_json::to_vec(&order)?)?;
        let words = [
            self.setup.executable.display().to_string(),
            "under".to_owned(),
            "--order".to_owned(),
            path.display().to_string(),
            "--".to_owned(),
        ];
        Ok(words.into())
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

    /// A replica's server ended.
    pub(crate) fn replica_ended(&mut self, instance: InstanceId, exit: &Exit, lines: &[String]) {
        if *exit == Exit::Asked {
            return;
        }
        let symptom = symptoms::of_end(exit, &self.last_words(instance, lines));
        self.fuzzed_ended(instance, &symptom);
        if let Some(one) = self.replicas.of_instance(instance)
            && !matches!(one.state, State::Waits)
        {
            one.ends.push(symptom);
        }
    }

    /// More of what a server wrote last than is told with its end: a backtrace is long.
    fn last_words(&self, instance: InstanceId, lines: &[String]) -> Vec<String> {
        let began = self.replicas.lives.get(&instance).copied();
        match self.ground.get(instance) {
            Some(instance) => {
                let lines = instance.last_lines(LAST_WORDS).into_iter();
                // What a server wrote before it was started again is no word of this one.
                let own = lines.filter(|line| began.is_none_or(|began| line.at >= began));
                own.map(|line| line.text).collect()
            }
            None => lines.to_vec(),
        }
    }

    /// A replica wrote exceptions.
    pub(crate) fn replica_wrote(&mut self, instance: InstanceId, exceptions: &[ExceptionSeen]) {
        if let Some(one) = self.replicas.of_instance(instance)
            && !matches!(one.state, State::Waits)
        {
            one.exceptions.extend(exceptions.iter().cloned());
        }
    }

    /// A replica does not get ready: nothing can be played on it.
    pub(crate) fn replica_failed(&mut self, instance: InstanceId) {
        let plays = self.replicas.plays.iter();
        let of: Vec<u32> = plays
            .filter(|(_, one)| one.instance == instance)
            .map(|(&number, _)| number)
            .collect();
        for number in of {
            self.conclude_play(number, Some("its instance did not get ready"));
        }
    }

    /// An ordinary server ended unasked: it is read once the calls that this broke were told.
    pub(crate) fn server_ended(&mut self, instance: InstanceId, exit: &Exit, lines: &[String]) {
        if self.replicas.player.is_some() && *exit != Exit::Asked {
            let symptom = symptoms::of_end(exit, &self.last_words(instance, lines));
            self.replicas
                .crashes
                .push((Instant::now(), instance, symptom));
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
        let due = |one: &Try| match &one.state {
            State::Over(since, played) => now.duration_since(*since) >= patience(one, played),
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

/// How long more evidence is waited for: for the end of a server that does not answer any more, and for what it wrote.
fn patience(one: &Try, played: &agent::Played) -> Duration {
    let broke = |answers: &agent::PlayedAnswers| {
        let errors = answers.errors.iter();
        errors
            .into_iter()
            .any(|(error, _)| *error != agent::TransportError::Timeout)
    };
    let failed =
        |answers: &agent::PlayedAnswers| answers.statuses.iter().any(|(status, _)| *status >= 500);
    let broke = played.answers.iter().any(broke);
    let failed = played.answers.iter().any(failed);
    match (
        broke && one.ends.is_empty(),
        failed && one.exceptions.is_empty(),
    ) {
        (true, _) => END_WAIT,
        (false, true) => ODD_WAIT,
        (false, false) => CALM_WAIT,
    }
}

/// What an instance uses now.
fn used(instance: InstanceId, meter: &mut InstanceReader) -> Option<InstanceSample> {
    let mut sample = InstanceSample::empty(instance);
    meter.read(&mut sample).then_some(sample)
}

/// How it grew from half of a play to its end.
fn grown(one: &Try, rounds: u32) -> Option<Grown> {
    let (half, end) = (one.used.0.as_ref()?, one.used.1.as_ref()?);
    let count = |now: u32, then: u32| i64::from(now) - i64::from(then);
    Some(Grown {
        rounds,
        memory: end.memory_anon as i64 - half.memory_anon as i64,
        descriptors: count(end.open_files, half.open_files),
        threads: count(end.tasks, half.tasks),
    })
}

/// What came of a play, with what was seen of its instance.
fn told(played: &agent::Played, one: &Try) -> Played {
    let mut odd: Vec<(String, Symptom)> = Vec::new();
    odd.extend(one.ends.iter().map(|end| (String::new(), end.clone())));
    let exceptions = one
        .exceptions
        .iter()
        .filter(|exception| !exception.plain_line);
    odd.extend(exceptions.map(|exception| (String::new(), exception.symptom())));
    for (name, endpoint, _) in &played.failed_checks {
        odd.push((
            endpoint.clone(),
            symptoms::plain(SymptomKind::WrongAnswer, name, name),
        ));
    }
    for answers in &played.answers {
        for (status, _) in answers.statuses.iter().filter(|(status, _)| *status >= 500) {
            let class = status.to_string();
            let symptom = symptoms::plain(SymptomKind::ErrorAnswer, &class, &answers.said);
            odd.push((answers.endpoint.clone(), symptom));
        }
        for (error, _) in &answers.errors {
            let words = symptoms::broken(*error);
            let kind = match error {
                agent::TransportError::Timeout => SymptomKind::Hang,
                _ => SymptomKind::ErrorAnswer,
            };
            odd.push((answers.endpoint.clone(), symptoms::plain(kind, words, "")));
        }
    }
    let numbered = played
        .answers
        .iter()
        .filter_map(|answers| Some((answers.request?, answers)));
    let mut took = Vec::new();
    let mut slower = Vec::new();
    let mut sent = 0;
    for (number, answers) in numbered {
        let mut sorted = answers.took_us.clone();
        sent += sorted.len() as u64;
        let third = sorted.len() / 3;
        if third >= 3 {
            let median = |part: &[u64]| {
                let mut part = part.to_vec();
                part.sort_unstable();
                part[part.len() / 2] as f64
            };
            let first = median(&answers.took_us[..third]);
            let last = median(&answers.took_us[answers.took_us.len() - third..]);
            slower.push((number, last / first.max(1.0)));
        }
        sorted.sort_unstable();
        if let Some(longest) = sorted.last() {
            took.push((number, sorted[sorted.len() / 2], *longest));
        }
    }
    let strayed = played.strayed.clone().unwrap_or_default();
    let void = match (odd.is_empty(), played.cut) {
        (true, true) => "its time was over before it was".to_owned(),
        (true, false) => strayed,
        (false, _) => String::new(),
    };
    let first = played.first_sent.unwrap_or(played.ended);
    Played {
        first_sent: played.first_sent,
        took_us: played.ended.since(first),
        sent,
        odd,
        took,
        slower,
        grown: grown(one, played.rounds_late).filter(|_| played.rounds_late > 0),
        missing: Vec::new(),
        void,
    }
}

/// Conditions that a server has to be started under.
fn conditions_of_start(recipe: &Recipe) -> Vec<Condition> {
    let conditions = recipe.conditions.iter();
    let of_start = conditions.filter(|condition| condition.is_of_start());
    of_start.cloned().collect()
}

/// What an instance may use under the conditions of a recipe.
fn limited(mut share: Share, recipe: &Recipe) -> Share {
    for condition in &recipe.conditions {
        match *condition {
            Condition::CpuLimit { cores } => share.cores = share.cores.min(cores),
            Condition::MemoryLimit { bytes } => share.memory = share.memory.min(bytes),
            Condition::NetworkRate { bits_s } => share.network = Some(bits_s),
            _ => {}
        }
    }
    share
}

/// Removes what is in a directory.
fn empty(directory: &std::path::Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // What cannot be removed is there for the next server as it would be for any.
        let _ = match is_directory {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
    }
}
