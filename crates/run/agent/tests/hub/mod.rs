//! A hub for tests: agents as processes of their own, the hand-off's coordinator, and what agents said.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "a part of each test binary and example, which use different parts of it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cohort_agent::journal;
use cohort_agent::protocol::*;
use cohort_handoff::{
    AgentId, Coordinator, Event, Order, Place, Settings, Standing, ToHub, ToSide,
};
use cohort_model::{At, InstanceId, ThreadId};
use cohort_scenario::{Birth, Bundle, Script, Tail};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;

/// Longest time anything in a test may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

struct Link {
    writer: Writer<OwnedWriteHalf>,
    child: Child,
    journals: PathBuf,
    alive: bool,
}

#[derive(Default)]
struct Parcel {
    part: Option<Tail>,
    frozen: Option<(Tail, Luggage)>,
    /// Journals of dead agents, with the number of their answers.
    files: Vec<(PathBuf, u64)>,
}

/// What one thread is to the hub.
struct Known {
    coordinator: Coordinator,
    how: How,
    parcel: Parcel,
    place: Option<Place>,
}

/// What agents said, kept for the test.
#[derive(Default)]
pub struct Heard {
    pub odd: Vec<OddCall>,
    pub captured: Vec<Captured>,
    pub played: Vec<Played>,
    pub pauses_us: Vec<u64>,
    pub hand_offs: u64,
    pub aborted: Vec<cohort_handoff::Abort>,
    pub diverged: Vec<String>,
    pub ended: BTreeMap<ThreadId, EndWhy>,
    pub over: BTreeSet<ThreadId>,
    pub iterations: BTreeMap<ThreadId, u64>,
    pub failed: BTreeMap<ThreadId, u64>,
    pub idle: BTreeSet<ThreadId>,
    pub begun: BTreeMap<ThreadId, u64>,
    pub unmovable: Vec<String>,
    pub stranded: BTreeSet<ThreadId>,
    pub lines: Vec<String>,
    pub broken: Vec<BrokenCall>,
    pub checks: BTreeMap<String, (u64, u64)>,
    pub metrics: BTreeMap<String, MetricValue>,
    pub windows: Vec<Window>,
    pub slow: Vec<SlowCall>,
    pub dropped_iterations: u64,
    pub one_shots: Vec<OneShotAnswer>,
    pub costs: BTreeMap<AgentId, Vec<OwnCost>>,
    pub reports: u32,
    pub finished: BTreeSet<AgentId>,
    pub gone: BTreeSet<AgentId>,
    pub load_failed: Vec<String>,
    pub aborts: Vec<String>,
}

pub struct Hub {
    pub directory: tempfile::TempDir,
    pub load: Load,
    agents: BTreeMap<AgentId, Link>,
    threads: BTreeMap<ThreadId, Known>,
    addresses: BTreeMap<InstanceId, Option<Address>>,
    events: mpsc::UnboundedReceiver<(AgentId, Option<FromAgent>)>,
    sender: mpsc::UnboundedSender<(AgentId, Option<FromAgent>)>,
    pub heard: Heard,
    pub agent_command: fn() -> Command,
    /// Hand-offs may wait for the end of an iteration.
    pub gently: bool,
}

/// The test binary as an agent: it runs the test `agent_process` alone.
pub fn this_test_as_agent() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "agent_process",
        "--exact",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env("COHORT_TEST_AGENT", "1");
    command
}

/// Whether this process is to be an agent.
pub fn is_agent() -> bool {
    std::env::var_os("COHORT_TEST_AGENT").is_some()
}

impl Hub {
    pub fn new(script: &str) -> Hub {
        let directory = tempfile::tempdir().unwrap();
        let bundle = (!script.is_empty()).then(|| bundle(&directory, script));
        let (sender, events) = mpsc::unbounded_channel();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Hub {
            load: Load {
                bundle,
                agent: 0,
                agents: 1,
                start_monotonic_ns: cohort_agent::monotonic_ns(),
                start_wall_ms: wall.as_millis() as u64,
                journal_directory: PathBuf::new(),
                journal_bytes_max: 4 << 20,
                seed: 1,
                http: HttpSettings {
                    base_urls: vec!["http://sut.test".to_owned()],
                    ..HttpSettings::default()
                },
                submetrics: Vec::new(),
                cases: false,
                remembers: false,
                compute_us_max: 2_000_000,
            },
            directory,
            agents: BTreeMap::new(),
            threads: BTreeMap::new(),
            addresses: BTreeMap::new(),
            events,
            sender,
            heard: Heard::default(),
            agent_command: this_test_as_agent,
            gently: false,
        }
    }

    pub fn now(&self) -> At {
        At((cohort_agent::monotonic_ns() - self.load.start_monotonic_ns) / 1_000)
    }

    /// Starts an agent and loads it.
    pub async fn agent(&mut self, id: u32) -> AgentId {
        let id = AgentId(id);
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        let child = (self.agent_command)()
            .stdin(OwnedFd::from(theirs))
            .spawn()
            .unwrap();
        ours.set_nonblocking(true).unwrap();
        let (read, write) = UnixStream::from_std(ours).unwrap().into_split();
        let mut writer = Writer::new(write);
        let mut reader = Reader::new(read);
        let hello: Hello = reader.next().await.unwrap().expect("the agent says hello");
        hello.check().unwrap();
        writer.send(&Hello::own()).await.unwrap();
        let journals = self.directory.path().join(format!("{id}"));
        std::fs::create_dir(&journals).unwrap();
        let load = Load {
            journal_directory: journals.clone(),
            agent: id.0,
            agents: 2,
            ..self.load.clone()
        };
        writer.send(&ToAgent::Load(Box::new(load))).await.unwrap();
        match reader.next::<FromAgent>().await.unwrap() {
            Some(FromAgent::Loaded) => {}
            Some(FromAgent::LoadFailed { message }) => self.heard.load_failed.push(message),
            other => panic!("the agent said {other:?}"),
        }
        for (instance, address) in &self.addresses {
            let message = ToAgent::Instance {
                instance: *instance,
                address: address.clone(),
            };
            writer.send(&message).await.unwrap();
        }
        let sender = self.sender.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = reader.next::<FromAgent>().await {
                if sender.send((id, Some(message))).is_err() {
                    return;
                }
            }
            let _ = sender.send((id, None));
        });
        self.agents.insert(
            id,
            Link {
                writer,
                child,
                journals,
                alive: true,
            },
        );
        id
    }

    pub async fn tell(&mut self, agent: AgentId, message: &ToAgent) {
        let link = self.agents.get_mut(&agent).unwrap();
        if link.alive {
            // One that has just died is heard of by its socket.
            let _ = link.writer.send(message).await;
        }
    }

    pub async fn tell_all(&mut self, message: &ToAgent) {
        let ids: Vec<AgentId> = self.agents.keys().copied().collect();
        for id in ids {
            self.tell(id, message).await;
        }
    }

    pub async fn instance(&mut self, instance: u32, address: Option<Address>) {
        let instance = InstanceId(instance);
        self.addresses.insert(instance, address.clone());
        self.tell_all(&ToAgent::Instance { instance, address })
            .await;
    }

    /// Begins a thread.
    /// Where an instance listens.
    pub fn address(&self, instance: u32) -> Option<Address> {
        self.addresses.get(&InstanceId(instance)).cloned().flatten()
    }

    pub async fn begin(&mut self, thread: u32, agent: AgentId, instance: u32, how: How) {
        let thread = ThreadId(thread);
        let known = Known {
            coordinator: Coordinator::new(Settings::default()),
            how,
            parcel: Parcel::default(),
            place: None,
        };
        self.threads.insert(thread, known);
        let place = Place {
            agent,
            instance: InstanceId(instance),
        };
        self.step(thread, Event::Place(place)).await;
    }

    pub async fn begin_script(&mut self, thread: u32, agent: AgentId, instance: u32) {
        let birth = Birth {
            vu: u64::from(thread),
            seed: 7,
            base_url: "http://sut.test".to_owned(),
            ..Birth::default()
        };
        let how = How::Script {
            birth: Box::new(birth),
        };
        self.begin(thread, agent, instance, how).await;
    }

    pub async fn hand_off(&mut self, thread: u32, agent: AgentId, instance: u32) {
        let place = Place {
            agent,
            instance: InstanceId(instance),
        };
        self.step(ThreadId(thread), Event::HandOff(place)).await;
    }

    /// Gives up a hand-off.
    pub async fn cancel(&mut self, thread: u32) {
        self.step(ThreadId(thread), Event::Cancel).await;
    }

    pub fn standing(&self, thread: u32) -> Standing {
        self.threads[&ThreadId(thread)].coordinator.standing()
    }

    /// Iterations of all threads.
    pub fn iterations(&self) -> u64 {
        self.heard.iterations.values().sum()
    }

    pub fn runs_on(&self, thread: u32) -> Option<AgentId> {
        match self.standing(thread) {
            Standing::Runs(agent, ..) => Some(agent),
            _ => None,
        }
    }

    pub async fn permit(&mut self, permit: Permit) {
        match &permit {
            Permit::Free { thread, .. } | Permit::Count { thread, .. } => {
                let agent = self.runs_on(thread.0).expect("permits go to who runs");
                self.tell(agent, &ToAgent::Permit(permit)).await;
            }
            _ => self.tell_all(&ToAgent::Permit(permit)).await,
        }
    }

    pub async fn stop(&mut self, thread: u32, graceful_us: u64) {
        let agent = self.runs_on(thread).expect("who runs can be stopped");
        let message = ToAgent::Stop {
            thread: ThreadId(thread),
            graceful_us,
        };
        self.tell(agent, &message).await;
    }

    /// The file that an agent keeps of a thread.
    pub fn journal_of(&self, agent: AgentId, thread: u32) -> PathBuf {
        self.agents[&agent]
            .journals
            .join(journal::file_name(ThreadId(thread)))
    }

    /// Kills an agent the hard way, and has its threads recovered on another.
    pub async fn kill(&mut self, agent: AgentId, heir: AgentId) {
        let link = self.agents.get_mut(&agent).unwrap();
        link.child.kill().unwrap();
        link.child.wait().unwrap();
        link.alive = false;
        let journals = link.journals.clone();
        // What it said before it died is heard first.
        while !self.heard.gone.contains(&agent) {
            self.pump().await;
        }
        let threads: Vec<ThreadId> = self.threads.keys().copied().collect();
        for thread in threads {
            let path = journals.join(journal::file_name(thread));
            let answers = journal::survey(&path).map_or(0, |survey| survey.answers);
            if answers > 0 {
                let parcel = &mut self.threads.get_mut(&thread).unwrap().parcel;
                parcel.files.push((path, answers));
            }
            let died = Event::Died {
                agent,
                journal: answers,
            };
            self.step(thread, died).await;
            if self.standing(thread.0) == Standing::Homeless {
                let instance = self.threads[&thread]
                    .place
                    .map_or(InstanceId(0), |p| p.instance);
                let place = Place {
                    agent: heir,
                    instance,
                };
                self.step(thread, Event::Place(place)).await;
            }
        }
    }

    async fn step(&mut self, thread: ThreadId, event: Event) {
        let Some(known) = self.threads.get_mut(&thread) else {
            return;
        };
        if let Event::Place(place) = event {
            known.place = Some(place);
        }
        for order in known.coordinator.step(event) {
            self.carry_out(thread, order).await;
        }
    }

    async fn carry_out(&mut self, thread: ThreadId, order: Order) {
        match order {
            Order::Send(agent, says) => {
                let order = self.order(thread, says);
                self.tell(agent, &ToAgent::Side(Box::new(order))).await;
            }
            Order::Runs(agent, _, instance) => {
                let known = self.threads.get_mut(&thread).unwrap();
                known.place = Some(Place { agent, instance });
                known.parcel = Parcel::default();
            }
            Order::Aborted(why) => self.heard.aborted.push(why),
            Order::Ended => {
                self.heard.over.insert(thread);
            }
            Order::Homeless => {}
            Order::Abandoned => panic!("{thread} was abandoned: {:?}", self.heard.diverged),
        }
    }

    fn order(&self, thread: ThreadId, says: ToSide) -> SideOrder {
        let known = &self.threads[&thread];
        let how = Some(known.how.clone());
        match says {
            ToSide::JournalPart { .. } => SideOrder {
                how,
                journal: match &known.parcel.part {
                    Some(tail) => Cargo::Answers(tail.clone()),
                    None => Cargo::Nothing,
                },
                ..SideOrder::bare(thread, says)
            },
            ToSide::Grant { at: 0, .. } => SideOrder::begin(thread, says, known.how.clone()),
            ToSide::Grant { at, .. } => {
                let file = known
                    .parcel
                    .files
                    .iter()
                    .find(|(_, answers)| *answers == at);
                match (&known.parcel.frozen, file) {
                    (Some((tail, luggage)), _) if tail.to.answers == at => SideOrder {
                        how,
                        journal: Cargo::Answers(tail.clone()),
                        luggage: Some(luggage.clone()),
                        ..SideOrder::bare(thread, says)
                    },
                    (_, Some((file, _))) => SideOrder {
                        how,
                        ..SideOrder::recover(thread, says, file.clone())
                    },
                    _ => panic!("a grant of what nobody has: {says:?}"),
                }
            }
            _ => SideOrder {
                gently: self.gently,
                ..SideOrder::bare(thread, says)
            },
        }
    }

    async fn hear_side(&mut self, agent: AgentId, report: SideReport) {
        let SideReport { thread, says, with } = report;
        let Some(known) = self.threads.get_mut(&thread) else {
            return;
        };
        match with {
            Freight::Answers(tail) => known.parcel.part = Some(tail),
            Freight::Frozen(tail, luggage) => known.parcel.frozen = Some((tail, luggage)),
            Freight::Resumed { pause_us, begun } => {
                self.heard.begun.insert(thread, begun);
                if pause_us > 0 {
                    self.heard.pauses_us.push(pause_us);
                    self.heard.hand_offs += 1;
                }
            }
            Freight::Diverged(message) => self.heard.diverged.push(message),
            Freight::Nothing | Freight::Prepared { .. } => {}
        }
        if let ToHub::Resumed { .. } = says {
            self.heard.idle.remove(&thread);
        }
        self.step(thread, Event::Heard(agent, says)).await;
    }

    /// Waits for one message and takes it.
    pub async fn pump(&mut self) {
        let next = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        let Ok(Some((agent, message))) = next else {
            let standing: Vec<_> = self
                .threads
                .keys()
                .map(|thread| self.standing(thread.0))
                .collect();
            panic!(
                "no agent said anything in time: {standing:?} {:?}",
                self.heard.lines
            );
        };
        self.take(agent, message).await;
    }

    /// Takes what is there.
    pub async fn pump_ready(&mut self) {
        while let Ok((agent, message)) = self.events.try_recv() {
            self.take(agent, message).await;
        }
    }

    /// Takes messages until something is so.
    pub async fn until(&mut self, what: &str, so: impl Fn(&Hub) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so(self) {
            assert!(
                Instant::now() < deadline,
                "{what} did not come; log: {:?}",
                self.heard.lines
            );
            self.pump().await;
        }
    }

    /// Takes messages for some time.
    pub async fn pump_for(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while let Ok(Some((agent, message))) =
            tokio::time::timeout_at(end, self.events.recv()).await
        {
            self.take(agent, message).await;
        }
    }

    async fn take(&mut self, agent: AgentId, message: Option<FromAgent>) {
        let heard = &mut self.heard;
        match message {
            None => {
                heard.gone.insert(agent);
            }
            Some(FromAgent::Side(report)) => self.hear_side(agent, *report).await,
            Some(FromAgent::Iterated(all)) => {
                for one in all {
                    *heard.iterations.entry(one.thread).or_default() += u64::from(one.done);
                    *heard.failed.entry(one.thread).or_default() += u64::from(one.failed);
                    if one.idle {
                        heard.idle.insert(one.thread);
                    } else {
                        heard.idle.remove(&one.thread);
                    }
                }
            }
            Some(FromAgent::Ended { thread, why, .. }) => {
                let before = heard.ended.insert(thread, why);
                assert_eq!(before, None, "{thread} ended twice");
            }
            Some(FromAgent::Unmovable { message, .. }) => heard.unmovable.push(message),
            Some(FromAgent::Stranded { thread, .. }) => {
                heard.stranded.insert(thread);
            }
            Some(FromAgent::Log { lines, .. }) => {
                heard.lines.extend(lines.into_iter().map(|line| line.text));
            }
            Some(FromAgent::Odd(call)) => heard.odd.push(*call),
            Some(FromAgent::Captured(captured)) => heard.captured.push(*captured),
            Some(FromAgent::Played(played)) => heard.played.push(*played),
            // Half of a play is only of use to who reads its instance.
            Some(FromAgent::PlayedHalf { .. }) => {}
            Some(FromAgent::FuzzFound(_) | FromAgent::Fuzzed(_)) => {}
            Some(FromAgent::Broken { calls, .. }) => heard.broken.extend(calls),
            Some(FromAgent::Checks(checks)) => {
                for check in checks {
                    let counts = heard.checks.entry(check.name).or_default();
                    counts.0 += check.passes;
                    counts.1 += check.fails;
                }
            }
            Some(FromAgent::Metrics(deltas)) => {
                for delta in deltas {
                    add(&mut heard.metrics, delta);
                }
            }
            Some(FromAgent::Windows(windows)) => heard.windows.extend(windows),
            Some(FromAgent::Slow(slow)) => heard.slow.extend(slow),
            Some(FromAgent::DroppedIterations { count, .. }) => heard.dropped_iterations += count,
            Some(FromAgent::OneShotDone(answer)) => heard.one_shots.push(*answer),
            Some(FromAgent::Cost(cost)) => heard.costs.entry(agent).or_default().push(cost),
            Some(FromAgent::Abort { message, .. }) => heard.aborts.push(message),
            Some(FromAgent::Finished) => {
                heard.finished.insert(agent);
            }
            Some(FromAgent::Reported) => heard.reports += 1,
            Some(FromAgent::Loaded | FromAgent::LoadFailed { .. } | FromAgent::ThreadCalls(_)) => {}
        }
    }

    /// Ends all agents and waits for their processes.
    pub async fn finish(&mut self) {
        self.tell_all(&ToAgent::Finish).await;
        let alive: Vec<AgentId> = self
            .agents
            .iter()
            .filter(|(_, link)| link.alive)
            .map(|(id, _)| *id)
            .collect();
        while !alive.iter().all(|id| self.heard.gone.contains(id)) {
            self.pump().await;
        }
        for id in alive {
            let link = self.agents.get_mut(&id).unwrap();
            assert!(link.child.wait().unwrap().success());
            assert!(self.heard.finished.contains(&id));
        }
    }

    pub fn process(&self, agent: AgentId) -> u32 {
        self.agents[&agent].child.id()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        for link in self.agents.values_mut() {
            let _ = link.child.kill();
            let _ = link.child.wait();
        }
    }
}

fn bundle(directory: &tempfile::TempDir, script: &str) -> Bundle {
    let path = directory.path().join("script.js");
    std::fs::write(&path, script).unwrap();
    let script = Script::load(&path, &BTreeMap::new()).unwrap();
    script.bundle().clone()
}

fn add(metrics: &mut BTreeMap<String, MetricValue>, delta: MetricDelta) {
    match (metrics.get_mut(&delta.name), delta.value) {
        (Some(MetricValue::Sum(sum)), MetricValue::Sum(more)) => *sum += more,
        (
            Some(MetricValue::Share { nonzero, total }),
            MetricValue::Share {
                nonzero: more_nonzero,
                total: more,
            },
        ) => {
            *nonzero += more_nonzero;
            *total += more;
        }
        (Some(MetricValue::Values(all)), MetricValue::Values(more)) => all.merge(&more),
        (_, value) => {
            metrics.insert(delta.name, value);
        }
    }
}
