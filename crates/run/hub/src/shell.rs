//! The loop.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use cohort_host::init::{Ended, FromInit};
use cohort_model::{
    At, Budget, CampaignEnd, CampaignStart, CaseId, Ending, FORMAT, InstanceId, KillReason,
    Observation, Plan, Record, SampleBatch, SuiteKind, TestResult, ThreadEnd, ThreadId, Verdict,
};
use cohort_orchestrator::Orchestrator;
use cohort_store::{Campaign, Stream};
use cohort_telemetry::{Collector, HostReader, Settings};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

use crate::closing::Closed;
use crate::discover::{Discovered, Instances, Runner};
use crate::event::{Event, Events};
use crate::ground::{Ground, TASKS_MAX};
use crate::instance::Instance;
use crate::keeper::Keeper;
use crate::ledger::Ledger;
use crate::located::Located;
use crate::python::{COLLECTOR, WORKER_THREAD};
use crate::threads::{self, Thread, unjudged};
use crate::{Error, Face, Outcome, Setup, Show};

/// Why a campaign ended that its user stopped.
const STOPPED: &str = "stopped by the user";
/// Between readings of the host.
const HOST_INTERVAL: Duration = Duration::from_millis(50);
/// Between looks of the faces at the time.
pub(crate) const FACE_INTERVAL: Duration = Duration::from_millis(100);

/// Everything the loop works on.
pub(crate) struct Hub {
    pub(crate) ground: Ground,
    pub(crate) runner: Runner,
    pub(crate) instances: Instances,
    /// Made before they were asked for.
    pub(crate) spares: Instances,
    pub(crate) threads: HashMap<ThreadId, Thread>,
    pub(crate) seen: Vec<Observation>,
    pub(crate) collector: Option<Collector>,
    /// Instances that are being removed.
    pub(crate) closing: Vec<JoinHandle<Vec<String>>>,
    pub(crate) ledger: Ledger,
    pub(crate) campaign: Campaign,
    /// Of the tests, by their place in the plan.
    pub(crate) names: std::sync::Arc<Vec<String>>,
    pub(crate) suite: SuiteKind,
    /// Failed tries whose output was kept, by case.
    pub(crate) kept_attempts: BTreeMap<CaseId, Vec<ThreadId>>,
    pub(crate) keeper: Keeper,
    pub(crate) located: Located,
    epoch: Instant,
    start: At,
    pub(crate) show: Show,
    pub(crate) broken: Option<String>,
    pub(crate) stopped: Option<String>,
}

/// No test is run for its result.
fn is_for_cases(plan: &Plan) -> bool {
    let cases = plan.cases.as_ref();
    cases.is_some_and(|cases| cases.only.is_some())
}

/// Runs a discovered campaign to its end.
pub(crate) async fn conduct(
    discovered: Discovered,
    faces: impl FnOnce(&Campaign, Show) -> Vec<Box<dyn Face>>,
) -> Result<Outcome, Error> {
    let Discovered {
        setup,
        plan,
        budget,
        host,
        notes,
        show,
        prepared,
        ground,
        runner,
        instances,
        events,
        mut happened,
    } = discovered;
    let (campaign, first_id, start) = match &setup.resume {
        Some((campaign, past)) => (campaign.clone(), past.next_id, past.last),
        None => (setup.project.create_campaign()?, 0, At(0)),
    };
    let log = campaign.log_writer()?;
    let (found, spares) = instances
        .into_iter()
        .partition(|(instance, _)| *instance == COLLECTOR);
    let seed = match &runner {
        Runner::Python(python) => python.seed(),
        Runner::Processes(_) => None,
    };
    let mut hub = Hub {
        ledger: Ledger::new(log, faces(&campaign, show)),
        ground,
        runner,
        instances: found,
        spares,
        threads: HashMap::new(),
        seen: vec![Observation::Tick],
        collector: None,
        closing: Vec::new(),
        campaign,
        names: std::sync::Arc::new(plan.tests.iter().map(|test| test.name.clone()).collect()),
        suite: setup.suite.kind(),
        kept_attempts: BTreeMap::new(),
        keeper: Keeper::new(&setup, seed),
        located: Located::new(&setup.root),
        epoch: Instant::now(),
        start,
        show,
        broken: None,
        stopped: None,
    };
    let started = hub.start_record(&setup, budget, prepared);
    hub.ledger.add(Record::Started(started));
    hub.ledger.add(Record::Planned(plan.clone()));
    cohort_host::process::run_first();
    hub.collector = Some(hub.start_collector(setup.hz, &host.cpus, &events)?);
    let mut orchestrator = Orchestrator::new(budget, setup.policy, plan.clone(), first_id);
    let ran = hub.run(&mut orchestrator, &mut happened).await;
    if let Err(error) = ran {
        hub.broken.get_or_insert(cohort_host::chain(&error));
    }
    let stop = hub.why_stopped(&orchestrator, &plan);
    let closed = match &hub.broken {
        // Where no test was run for its result there is nothing to report to pytest.
        None if is_for_cases(&plan) => Closed::default(),
        None => hub.close_session(&plan, stop, &mut happened).await,
        Some(_) => Closed::default(),
    };
    let history = setup.project.history();
    if let Err(error) = history.add(
        setup.suite.kind(),
        &plan,
        &hub.new_results(&plan),
        &hub.ledger.ends,
    ) {
        hub.broken.get_or_insert(cohort_host::chain(&error));
    }
    let mut notes = notes;
    notes.extend(hub.keep_cases().await);
    hub.finish(&orchestrator, notes, closed).await
}

impl Hub {
    fn start_record(&self, setup: &Setup, budget: Budget, prepared: Duration) -> CampaignStart {
        CampaignStart {
            format: FORMAT,
            campaign: self.campaign.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            suite: setup.suite.kind(),
            command: setup.suite.command(),
            directory: setup
                .root
                .strip_prefix(setup.project.root())
                .map_or_else(|_| String::new(), |path| path.display().to_string()),
            unix_s: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            preparing_us: prepared.as_micros() as u64,
            budget,
            policy: setup.policy,
            isolation: setup.isolation,
            missing: self.ground.missing.clone(),
            strict: setup.strict,
        }
    }

    /// Why tests are left that the suite's own runner would have run.
    fn why_stopped(&mut self, orchestrator: &Orchestrator, plan: &Plan) -> Option<String> {
        if orchestrator.unconcluded() == 0 && self.stopped.as_deref() == Some(STOPPED) {
            // All results were there: only reproducing was stopped.
            self.stopped = None;
        }
        if orchestrator.failures_reached() {
            let failures = match plan.failures_max {
                Some(1) => "the first failure".to_owned(),
                most => format!("{} failures", most.unwrap_or_default()),
            };
            let why = format!("stopped after {failures}, as the suite's own arguments ask");
            self.stopped.get_or_insert(why);
            return None;
        }
        let lost =
            || (orchestrator.unconcluded() > 0).then(|| "not all tests could be run".to_owned());
        self.stopped.clone().or_else(lost)
    }

    fn start_collector(&self, hz: f64, cpus: &[u32], events: &Events) -> Result<Collector, Error> {
        let settings = Settings {
            instance_interval: Duration::from_secs_f64(1.0 / hz),
            host_interval: HOST_INTERVAL.min(Duration::from_secs_f64(1.0 / hz)),
            epoch: self.epoch,
            start: self.start,
        };
        let root = std::path::Path::new("/");
        let host = HostReader::new(root, self.ground.reader(), cpus, &self.ground.scratch);
        let events = events.clone();
        let ring = Box::new(move |batch| events.try_send(Event::Samples(Box::new(batch))).is_ok());
        Ok(Collector::start(settings, host, ring)?)
    }

    /// From now on an instance is sampled; `pid` is its first process, where there are no groups.
    pub(crate) fn watch(&self, id: InstanceId, pid: Option<i32>) {
        let Some(instance) = self.instances.get(&id) else {
            return;
        };
        let reader = self.ground.instance_reader(instance, pid);
        if let (Some(collector), Some(reader)) = (&self.collector, reader) {
            collector.watch(id, reader, instance.scratch.clone());
        }
    }

    fn now(&self) -> At {
        self.start.plus_us(self.epoch.elapsed().as_micros() as u64)
    }

    async fn run(
        &mut self,
        orchestrator: &mut Orchestrator,
        happened: &mut Receiver<Event>,
    ) -> Result<(), Error> {
        let mut faces = tokio::time::interval(FACE_INTERVAL);
        faces.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            while !self.seen.is_empty() {
                self.step(orchestrator).await?;
                if orchestrator.is_finished() {
                    return Ok(());
                }
            }
            let event = tokio::select! {
                event = happened.recv() => event.unwrap_or(Event::Stop),
                _ = faces.tick() => {
                    self.ledger.tick();
                    continue;
                }
            };
            self.happen(event).await?;
            // Everything that is there already belongs to the same step.
            while let Ok(event) = happened.try_recv() {
                self.happen(event).await?;
            }
        }
    }

    async fn step(&mut self, orchestrator: &mut Orchestrator) -> Result<(), Error> {
        let at = self.now();
        let observations = std::mem::take(&mut self.seen);
        let step = orchestrator.step(at, &observations);
        self.ledger.add(Record::Seen { at, observations });
        let decisions = step.decisions.clone();
        self.note_cases(&step.cases);
        if !step.decisions.is_empty() || !step.findings.is_empty() || !step.cases.is_empty() {
            self.ledger.add(Record::Decided {
                at,
                cases: step.cases,
                findings: step.findings,
                decisions: step.decisions,
            });
        }
        if let Err(error) = self.ledger.flush()
            && self.broken.is_none()
        {
            self.broken = Some(cohort_host::chain(&error));
            self.seen.push(Observation::Interrupted);
        }
        for decision in &decisions {
            self.carry_out(&decision.command).await?;
        }
        if let Runner::Python(python) = &mut self.runner {
            python.answer().await?;
        }
        Ok(())
    }

    pub(crate) async fn happen(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Init(instance, message) => self.init_said(instance, *message).await?,
            Event::InitGone(instance, why) => self.init_gone(instance, &why),
            Event::Made(instance) => self.made(instance).await?,
            Event::PythonCame(connection, stream) => {
                if let Runner::Python(python) = &mut self.runner {
                    python.connections.insert(connection, stream);
                }
            }
            Event::Python(connection, message) => self.python_said(connection, *message).await?,
            Event::PythonGone(connection) => self.python_gone(connection),
            Event::Hold(instance) => self.look_whether_held(instance),
            Event::Samples(batch) => {
                self.note_memory(&batch);
                self.seen.push(Observation::Sampled(*batch));
            }
            Event::Stop => {
                self.stopped.get_or_insert(STOPPED.to_owned());
                self.seen.push(Observation::Interrupted);
            }
        }
        Ok(())
    }

    /// What instances were seen to hold: the peak of their threads, and who reached its allotment.
    fn note_memory(&mut self, batch: &SampleBatch) {
        let held: HashMap<InstanceId, u64> = batch
            .instances
            .iter()
            .map(|sample| (sample.instance, sample.memory_anon))
            .collect();
        for thread in self.threads.values_mut() {
            if let Some(&bytes) = held.get(&thread.place) {
                thread.memory_seen = thread.memory_seen.max(bytes);
            }
        }
        for sample in &batch.instances {
            let instance = self.instances.get(&sample.instance);
            let reached =
                instance.is_some_and(|instance| sample.memory >= instance.allotment().memory);
            if reached {
                self.look_whether_held(sample.instance);
            }
        }
    }

    fn look_whether_held(&mut self, id: InstanceId) {
        if self.instances.get_mut(&id).is_some_and(Instance::is_held) {
            let inside = self
                .threads
                .values_mut()
                .filter(|thread| thread.place == id);
            inside.for_each(|thread| thread.held = true);
            self.seen.push(Observation::MemoryHeld { instance: id });
        }
    }

    /// Threads whose init supervises them there.
    pub(crate) fn threads_at_home(&self, id: InstanceId) -> Vec<ThreadId> {
        let mut threads: Vec<ThreadId> = self
            .threads
            .iter()
            .filter(|(_, thread)| thread.home == id)
            .map(|(&thread, _)| thread)
            .collect();
        threads.sort_unstable();
        threads
    }

    async fn init_said(&mut self, instance: InstanceId, message: FromInit) -> Result<(), Error> {
        match message {
            FromInit::Ready { .. } => self.ready(instance),
            FromInit::SetupFailed { message } => self.open_failed(instance, &message),
            FromInit::Started { thread, .. } => {
                let thread = ThreadId(thread);
                if self
                    .threads
                    .get(&thread)
                    .is_some_and(|started| started.late || started.is_aside())
                {
                    self.seen.push(Observation::ThreadStarted { thread });
                }
            }
            FromInit::StartFailed { thread, message } if thread != WORKER_THREAD => {
                let mut end = unjudged(ThreadId(thread), Verdict::Failed, message);
                if let Some(thread) = self.threads.remove(&end.thread) {
                    if thread.is_aside() {
                        end.verdict = Verdict::Aborted;
                    }
                    self.read_symptom(&thread, &mut end, (b"", b""), "");
                }
                self.end_thread(instance, end);
            }
            FromInit::Ended(ended) if ended.thread != WORKER_THREAD => {
                self.process_ended(&ended).await?;
            }
            FromInit::Ended(ended) => {
                let exit = (ended.exit_code, ended.signal);
                let words = [ended.stdout, ended.stderr].concat();
                self.worker_process_ended(instance, exit, &words);
            }
            FromInit::StartFailed { message, .. } => self.init_gone(instance, &message),
        }
        Ok(())
    }

    async fn process_ended(&mut self, ended: &Ended) -> Result<(), Error> {
        let Some(thread) = self.threads.remove(&ThreadId(ended.thread)) else {
            return Ok(());
        };
        if thread.attempt.is_some() {
            return self.attempt_ended(thread, ended).await;
        }
        if thread.builds {
            self.build_ended(&thread, ended);
            return Ok(());
        }
        let Runner::Processes(launches) = &self.runner else {
            return Ok(());
        };
        let mut end = threads::end(&thread, ended, launches);
        self.account(&thread, &mut end);
        self.read_symptom(&thread, &mut end, (&ended.stdout, &ended.stderr), "");
        if end.verdict.is_failure() || self.show > Show::Failed {
            let keep = |stream, bytes| self.campaign.keep_output(end.thread, stream, bytes);
            let kept = keep(Stream::Stdout, &ended.stdout).and(keep(Stream::Stderr, &ended.stderr));
            self.note_broken(kept);
        }
        let alone = !self.threads.values().any(|other| other.home == thread.home);
        if let Some(instance) = self.instances.get(&thread.home)
            && alone
        {
            instance.sweep_scratch(self.ground.isolation);
        }
        self.end_thread(thread.place, end);
        Ok(())
    }

    /// Adds what only the instance knows: the memory that all processes of the thread held together,
    /// how long they waited for a CPU, and whether a limit is to blame.
    ///
    /// A failure is one for memory when the kernel killed for memory in its instance meanwhile, or
    /// when it was held at its limit and ran into it (some system calls fail there).
    pub(crate) fn account(&mut self, thread: &Thread, end: &mut ThreadEnd) {
        end.usage.memory_peak = end.usage.memory_peak.max(thread.memory_seen);
        let Some(instance) = self.instances.get_mut(&thread.place) else {
            return;
        };
        let waited_us = instance.cpu_waited_us();
        let waited_us = thread.cpu_waited_us + waited_us.saturating_sub(thread.hits.cpu_waited_us);
        end.usage.cpu_waited_us = waited_us.min(end.usage.wall_us);
        if !end.verdict.is_failure() {
            return;
        }
        match thread.killed {
            None => {}
            Some(KillReason::Disk) => {
                end.message = Some("killed, since it filled the disk".to_owned());
                return;
            }
            Some(_) => return,
        }
        let now = instance.hits();
        let killed = now.oom_kills > thread.hits.oom_kills;
        let hit = thread.held && now.memory > thread.hits.memory;
        if killed || hit {
            end.verdict = Verdict::OutOfMemory;
        } else if now.tasks > thread.hits.tasks {
            let said = end
                .message
                .take()
                .map_or_else(String::new, |said| format!(": {said}"));
            end.message = Some(format!("it reached the limit of {TASKS_MAX} tasks{said}"));
        }
    }

    pub(crate) fn end_thread(&mut self, place: InstanceId, end: ThreadEnd) {
        if end.verdict.is_failure()
            && let Some(collector) = &self.collector
        {
            collector.note_failure(place);
        }
        self.seen.push(Observation::ThreadEnded(end));
    }

    pub(crate) fn note_broken(&mut self, kept: Result<(), cohort_store::Error>) {
        if let Err(error) = kept
            && self.broken.is_none()
        {
            self.broken = Some(cohort_host::chain(&error));
            self.seen.push(Observation::Interrupted);
        }
    }

    /// An init is gone unasked: its threads take the blame, and the instance is lost.
    pub(crate) fn init_gone(&mut self, id: InstanceId, why: &str) {
        if let Some(spare) = self.spares.remove(&id) {
            self.closing.push(spare.close(id));
        }
        let Some(instance) = self.instances.remove(&id) else {
            return;
        };
        if let Some(collector) = &self.collector {
            collector.unwatch(id);
        }
        self.closing.push(instance.close(id));
        for thread in self.threads_at_home(id) {
            let message = format!("the init of its instance ended while it ran ({why})");
            let mut end = unjudged(thread, Verdict::Crashed, message);
            let mut place = id;
            if let Some(thread) = self.threads.remove(&thread) {
                place = thread.place;
                if let Some(attempt) = &thread.attempt {
                    // Where memory is squeezed the kernel may take the init first.
                    end.verdict = attempt.without_init();
                }
                self.read_symptom(&thread, &mut end, (b"", b""), "");
            }
            self.end_thread(place, end);
        }
        if id == COLLECTOR {
            self.broken
                .get_or_insert(format!("pytest's collector is gone ({why})"));
            self.seen.push(Observation::Interrupted);
        } else {
            self.worker_process_ended(id, (None, None), b"");
            self.seen.push(Observation::InstanceLost {
                instance: id,
                reason: why.to_owned(),
            });
        }
    }

    fn new_results(&self, plan: &Plan) -> Vec<TestResult> {
        let old: Vec<_> = plan.concluded.iter().map(|result| result.test).collect();
        let new = |result: &&TestResult| !old.contains(&result.test);
        self.ledger.results.iter().filter(new).cloned().collect()
    }

    async fn finish(
        mut self,
        orchestrator: &Orchestrator,
        notes: Vec<String>,
        closed: Closed,
    ) -> Result<Outcome, Error> {
        drop(self.collector.take());
        let ending = match (&self.broken, orchestrator.unconcluded()) {
            (Some(_), _) => Ending::Broken,
            (None, 0) if closed.stopped => Ending::Interrupted,
            (None, 0) => Ending::Complete,
            (None, _) if self.stopped.is_some() => Ending::Interrupted,
            (None, _) => Ending::Broken,
        };
        let lost = || {
            let why = self.ledger.lost.as_deref().unwrap_or_default();
            // Of a traceback the last line says what it was.
            let why = why.lines().rfind(|line| !line.trim().is_empty());
            let why = why.map_or_else(String::new, |why| format!(": {}", why.trim()));
            format!("instances could not be opened{why}; see `cohort doctor`")
        };
        let message = match ending {
            Ending::Complete => None,
            Ending::Interrupted => self.stopped.clone(),
            Ending::Broken => Some(self.broken.clone().unwrap_or_else(lost)),
        };
        let end = CampaignEnd {
            ending,
            message,
            suite_exit: closed.exit,
        };
        self.ledger.add(Record::Ended(end.clone()));
        // A log that cannot be written has been reported as the reason of the end.
        let _ = self.ledger.flush();
        self.instances.append(&mut self.spares);
        let left = self.ground.clear(self.instances, self.closing).await;
        Ok(Outcome {
            campaign: self.campaign,
            end,
            notes,
            said: closed.said,
            left,
        })
    }
}
