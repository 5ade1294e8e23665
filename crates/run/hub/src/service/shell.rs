//! The loop of a service's campaign.
//!
//! ```text
//!   opening --all instances answer or failed--> setup --> running --schedule is done--> teardown --> closing
//!      |                                          |          |                                          |
//!      +------------ stopped, or nothing answers -+----------+------------------------------------------+--> over
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cohort_agent::protocol::{Load, OneShot, ToAgent};
use cohort_handoff::AgentId;
use cohort_model::{
    At, CampaignEnd, Ending, InstanceId, Record, ServiceDecision, ServiceSeen, ThreadId,
};
use cohort_orchestrator::service::Conductor;
use cohort_otlp::Receiver as OtlpReceiver;
use cohort_scenario::Role;
use cohort_service::Instances;
use cohort_store::Campaign;
use cohort_telemetry::Collector;
use cohort_telemetry::calls::Tracepoint;
use tokio::sync::mpsc::Receiver;
use tokio::time::MissedTickBehavior;

use super::ServiceSetup;
use super::agents::Agents;
use super::begin::{self, Prepared};
use super::event::{Event, Events};
use super::examples::Examples;
use super::fuzz::Fuzzing;
use super::helpers::Out;
use super::keep::Keeping;
use super::metrics::Measured;
use super::once::Once;
use super::place::Place;
use super::plan::Timetable;
use super::replicas::Replicas;
use super::script_log::ScriptLog;
use super::tally::Tally;
use super::threads::{Came, Threads};
use crate::ledger::Ledger;
use crate::shell::FACE_INTERVAL;
use crate::{Error, Outcome};

/// Length of a window of what is called. Windows end at whole seconds of the campaign's clock, when agents
/// end theirs and instances are read.
const WINDOW: Duration = Duration::from_secs(1);
/// For what agents have to say of a window they are waited for so long after its end.
const WINDOW_WAIT: Duration = Duration::from_millis(250);
/// What is not urgent waits so long for more of its kind, so that the log has fewer and larger steps.
const PATIENCE: Duration = Duration::from_millis(100);
/// Between looks at the schedule.
const SCHEDULE_INTERVAL: Duration = Duration::from_millis(20);
/// An exit is told when the calls that it broke had so long to be reported.
const EVIDENCE_WAIT: Duration = Duration::from_millis(150);
/// What was not answered between hub and agents is said again after this.
const REPEAT: Duration = Duration::from_millis(500);
/// How long threads may take over their end when the user stops the campaign, microseconds.
const STOP_GRACE_US: u64 = 1_000_000;
/// How long the hub then waits for them.
const STOP_WAIT: Duration = Duration::from_secs(3);
/// And for what agents have still to say.
const REPORT_WAIT: Duration = Duration::from_secs(2);

/// Where the campaign is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Instances are started.
    Opening,
    /// `setup()` runs.
    SettingUp,
    /// Threads run.
    Running,
    /// `teardown()` runs.
    TearingDown,
    /// Agents say what they have not said yet.
    Counting,
    /// `handleSummary()` runs.
    SummingUp,
    /// Instances are closed.
    Closing,
}

/// Everything the loop works on.
pub(crate) struct Hub {
    pub(crate) setup: ServiceSetup,
    pub(crate) prepared: Prepared,
    pub(crate) campaign: Campaign,
    pub(crate) ledger: Ledger,
    pub(crate) epoch: Instant,
    pub(crate) events: Events,
    pub(crate) ground: Instances,
    pub(crate) places: BTreeMap<InstanceId, Place>,
    pub(crate) agents: Agents,
    /// Which agent drives the threads of which instances: those whose number leaves this rest.
    pub(crate) slots: Vec<AgentId>,
    pub(crate) load: Load,
    pub(crate) threads: Threads,
    pub(crate) tally: Tally,
    pub(crate) measured: Measured,
    pub(crate) timetable: Timetable,
    pub(crate) collector: Option<Collector>,
    pub(crate) otlp: Option<OtlpReceiver>,
    pub(crate) seen: Vec<ServiceSeen>,
    pub(crate) urgent: bool,
    pub(crate) phase: Phase,
    /// The functions that run once.
    pub(crate) once: Once,
    /// Exits that wait for evidence.
    pub(crate) exits: Vec<(Instant, ServiceSeen)>,
    pub(crate) stopping: Option<Instant>,
    /// Agents whose last report is awaited.
    pub(crate) reports_due: BTreeSet<u32>,
    pub(crate) stopped: Option<String>,
    pub(crate) broken: Option<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) said: String,
    pub(crate) script_log: ScriptLog,
    pub(crate) window_began: Instant,
    pub(crate) stepped: Instant,
    pub(crate) tracepoint: Option<Tracepoint>,
    /// CPUs that this process may run on.
    pub(crate) cpus: Vec<u32>,
    /// What could not be removed of instances, in words.
    pub(crate) left: Vec<String>,
    pub(crate) agent_deaths: u32,
    pub(crate) player_deaths: u32,
    /// Edge cases that are tried again.
    pub(crate) replicas: Replicas,
    pub(crate) keeping: Keeping,
    /// What endpoints were asked.
    pub(crate) asked: super::scan::Asked,
    /// Examples of what is asked.
    pub(crate) examples: Examples,
    /// Recorded requests, changed.
    pub(crate) fuzzing: Fuzzing,
    /// Helpers that are out.
    pub(crate) out: Out,
    /// Instances whose server was just started: they are read anew.
    pub(crate) to_watch: Vec<InstanceId>,
}

impl Hub {
    pub(crate) fn now(&self) -> At {
        begin::at(self.epoch)
    }

    /// Runs until the orchestrator says that it is over.
    pub(crate) async fn run(&mut self, happened: &mut Receiver<Event>) -> Result<(), Error> {
        let plan = self.plan();
        if let (Some(player), Some(cases)) = (self.replicas.player, &plan.cases) {
            self.recall_cases(player, &cases.known);
        }
        self.ledger.add(Record::ServicePlanned(plan.clone()));
        let mut conductor = Conductor::new(plan);
        let mut faces = interval(FACE_INTERVAL);
        let mut schedule = interval(SCHEDULE_INTERVAL);
        let mut repeat = interval(REPEAT);
        self.seen.push(ServiceSeen::Tick);
        self.urgent = true;
        while !conductor.is_finished() {
            if self.urgent || (!self.seen.is_empty() && self.stepped.elapsed() >= PATIENCE) {
                self.step(&mut conductor).await?;
                continue;
            }
            tokio::select! {
                event = happened.recv() => {
                    self.happen(event.unwrap_or(Event::Stop));
                    while let Ok(event) = happened.try_recv() {
                        self.happen(event);
                    }
                    for id in std::mem::take(&mut self.to_watch) {
                        self.watch(id).await;
                    }
                }
                _ = schedule.tick() => self.beat(),
                _ = repeat.tick() => {
                    let came = self.threads.timeout();
                    self.came(came);
                }
                _ = faces.tick() => self.ledger.tick(),
            }
        }
        Ok(())
    }

    async fn step(&mut self, conductor: &mut Conductor) -> Result<(), Error> {
        let at = self.now();
        self.urgent = false;
        self.stepped = Instant::now();
        let mut seen = self.tally.take_names();
        seen.append(&mut self.seen);
        let step = conductor.step(at, &seen);
        self.ledger.add(Record::ServiceSeen { at, seen });
        let told = step.cases.clone();
        let decisions = step.decisions.clone();
        let empty = step.findings.is_empty()
            && step.areas.is_empty()
            && step.changes.is_empty()
            && step.cases.is_empty();
        if !empty || !decisions.is_empty() {
            self.ledger.add(Record::ServiceDecided {
                at,
                cases: step.cases,
                findings: step.findings,
                areas: step.areas,
                changes: step.changes,
                decisions: step.decisions,
            });
        }
        if let Err(error) = self.ledger.flush()
            && self.broken.is_none()
        {
            self.broken = Some(cohort_host::chain(&error));
            self.tell(ServiceSeen::Interrupted);
        }
        for ServiceDecision { command, .. } in decisions {
            self.carry_out(command).await;
        }
        self.note_cases(&told);
        Ok(())
    }

    /// Something the orchestrator should know at once.
    pub(crate) fn tell(&mut self, seen: ServiceSeen) {
        self.seen.push(seen);
        self.urgent = true;
    }

    /// What is due by the clock.
    fn beat(&mut self) {
        let now = Instant::now();
        self.end_windows(now);
        self.tell_exits(now);
        self.follow_plays(now);
        self.look_whether_open();
        if self.phase == Phase::Running {
            self.follow_schedule();
        }
        if let Some(since) = self.stopping
            && (self.threads.len() == 0 || since.elapsed() >= STOP_WAIT)
        {
            match self.phase {
                Phase::Closing => {}
                // Who wants it to end wants what `setup()` made to be gone too.
                Phase::TearingDown if since.elapsed() < STOP_WAIT => {}
                Phase::Counting if since.elapsed() < STOP_WAIT + REPORT_WAIT => {}
                Phase::Counting => self.close_interrupted(),
                _ => self.count(),
            }
        }
    }

    /// Ends the window that is over, once every agent told its part or was waited for.
    fn end_windows(&mut self, now: Instant) {
        let over_us = now.duration_since(self.window_began).as_micros() as u64;
        let span_us = over_us - over_us % WINDOW.as_micros() as u64;
        let end = self.window_began + Duration::from_micros(span_us);
        let at = begin::at_of(self.epoch, end);
        let waited = now.duration_since(end) >= WINDOW_WAIT;
        if span_us == 0 {
            return;
        }
        let player = self.replicas.player.map(|player| player.0);
        let drivers = self.agents.alive().filter(|agent| Some(*agent) != player);
        let told = self.tally.is_told_by(drivers, at);
        if told || waited {
            self.window_began = end;
            self.end_window(at, span_us, told);
        }
    }

    /// What was seen since is told, however short that is.
    fn end_last_window(&mut self) {
        let now = Instant::now();
        let span_us = now.duration_since(self.window_began).as_micros() as u64;
        self.window_began = now;
        self.end_window(begin::at_of(self.epoch, now), span_us, true);
    }

    fn end_window(&mut self, at: At, span_us: u64, told: bool) {
        let places = self.places.keys().copied();
        let instances: Vec<InstanceId> = places.filter(|id| !self.replicas.is_one(*id)).collect();
        let mut windows = self.tally.take(at, span_us, &instances, told);
        for window in &mut windows {
            if let Some(place) = self.places.get_mut(&window.instance) {
                window.system_calls = place.system_calls();
            }
        }
        self.add_spans(&mut windows);
        self.seen.push(ServiceSeen::Loaded { windows });
        if self.phase == Phase::Running {
            let most = self.prepared.threads_max();
            self.timetable.measure_threads(self.threads.len(), most);
        }
        let (iterations, failed) = self.timetable.take_iterated();
        if iterations > 0 {
            self.seen.push(ServiceSeen::Iterated { iterations, failed });
        }
        self.urgent = true;
    }

    fn tell_exits(&mut self, now: Instant) {
        let exits = std::mem::take(&mut self.exits);
        for (since, seen) in exits {
            if now.duration_since(since) >= EVIDENCE_WAIT {
                self.tell_exit(seen);
            } else {
                self.exits.push((since, seen));
            }
        }
    }

    /// All is over: what agents had to say of it they have said.
    fn tell_all_exits(&mut self) {
        for (_, seen) in std::mem::take(&mut self.exits) {
            self.tell_exit(seen);
        }
    }

    /// An instance answers again: that it ended must be told before.
    pub(crate) fn tell_exit_of(&mut self, id: InstanceId) {
        let is_its = |seen: &ServiceSeen| matches!(seen, ServiceSeen::InstanceExited { instance, .. } if *instance == id);
        let exits = std::mem::take(&mut self.exits);
        let (due, waiting): (Vec<_>, Vec<_>) =
            exits.into_iter().partition(|(_, seen)| is_its(seen));
        self.exits = waiting;
        for (_, seen) in due {
            self.tell_exit(seen);
        }
    }

    fn tell_exit(&mut self, mut seen: ServiceSeen) {
        if let ServiceSeen::InstanceExited {
            instance, calls, ..
        } = &mut seen
        {
            *calls = self.tally.take_broken_on(*instance);
        }
        self.tell(seen);
    }

    /// Once every instance answers or failed, the scenario can begin.
    fn look_whether_open(&mut self) {
        let settled = !self.places.is_empty() && self.places.values().all(Place::is_settled);
        if self.phase != Phase::Opening || !settled || self.stopping.is_some() {
            return;
        }
        if !self.places.values().any(Place::is_ready) {
            return;
        }
        if self.prepared.exports("setup") {
            self.set_up_all();
        } else {
            self.begin_schedule();
        }
    }

    pub(crate) fn begin_schedule(&mut self) {
        self.phase = Phase::Running;
        self.timetable.begin(self.now());
        for order in self.timetable.scenarios() {
            self.agents.tell_all(&order);
        }
        self.follow_schedule();
    }

    /// The schedule wants nothing any more, and no thread is left.
    pub(crate) fn schedule_done(&mut self) {
        if self.prepared.exports("teardown") {
            self.tear_down_all();
        } else {
            self.count();
        }
    }

    /// What agents would have said with the next window is asked for: else the last calls were missing in the
    /// totals.
    pub(crate) fn count(&mut self) {
        self.phase = Phase::Counting;
        self.reports_due = self.agents.alive().collect();
        self.agents.tell_all(&ToAgent::Report);
    }

    /// An agent has said everything, or is gone.
    pub(crate) fn reported(&mut self, agent: u32) {
        self.reports_due.remove(&agent);
        if self.phase != Phase::Counting || !self.reports_due.is_empty() {
            return;
        }
        if self.stopping.is_some() {
            self.close_interrupted();
        } else {
            self.sum_up();
        }
    }

    fn close_interrupted(&mut self) {
        self.phase = Phase::Closing;
        self.tell_all_exits();
        self.end_last_window();
        self.tell(ServiceSeen::Interrupted);
    }

    /// The script's own summary, when it has one; then the end.
    pub(crate) fn sum_up(&mut self) {
        if !self.prepared.exports("handleSummary") {
            return self.begin_closing();
        }
        self.phase = Phase::SummingUp;
        let data = self.timetable.summary_data(&self.measured.root_group());
        self.once(
            OneShot::HandleSummary,
            Role::Summary { data },
            (InstanceId(0), None),
        );
    }

    pub(crate) fn begin_closing(&mut self) {
        self.phase = Phase::Closing;
        self.tell_all_exits();
        self.end_last_window();
        self.tell(ServiceSeen::ScheduleDone);
    }

    /// The agent that drives the threads of an instance.
    pub(crate) fn agent_for(&self, instance: InstanceId) -> AgentId {
        self.slots[instance.index() % self.slots.len()]
    }

    /// Carries out what came of a message about threads.
    pub(crate) fn came(&mut self, came: Came) {
        for (agent, order) in came.send {
            self.agents.tell(agent.0, order);
        }
        self.urgent |= !came.seen.is_empty();
        self.seen.extend(came.seen);
        for thread in came.began {
            self.timetable.started(thread);
        }
        let over = came.over;
        for thread in &over {
            self.timetable.ended(*thread);
        }
        if !over.is_empty() {
            self.tell(ServiceSeen::ThreadsEnded { threads: over });
        }
        for thread in came.homeless {
            self.place_again(thread);
        }
    }

    /// The user wants it to end: threads first, so that nothing is cut off in the middle.
    pub(crate) fn stop(&mut self) {
        // In the end only edge cases are left, which nobody has to wait for.
        if self.stopping.is_some() || self.phase == Phase::Closing {
            self.phase = Phase::Closing;
            self.tell(ServiceSeen::Interrupted);
            return;
        }
        self.stopping = Some(Instant::now());
        self.stopped
            .get_or_insert_with(|| "stopped by the user".to_owned());
        // Told to the schedule as well: else it would begin a thread for each that ends.
        self.timetable.abort(STOP_GRACE_US);
        for thread in self.threads.ids() {
            self.stop_thread(thread, STOP_GRACE_US);
        }
    }

    pub(crate) fn stop_thread(&mut self, thread: ThreadId, graceful_us: u64) {
        let order = ToAgent::Stop {
            thread,
            graceful_us,
        };
        if let Some((agent, order)) = self.threads.order(thread, order) {
            self.agents.tell(agent.0, order);
        }
    }

    /// Ends everything, whatever happened.
    pub(crate) async fn finish(mut self) -> Outcome {
        drop(self.collector.take());
        self.keep_cases();
        self.notes.extend(self.script_log.note(&self.setup.root));
        if let more @ 2.. = self.threads.unmovable_count() {
            self.notes.push(format!(
                "the journals of {more} threads grew beyond their limit, so that these stayed with their agents"
            ));
        }
        let ending = match (&self.broken, &self.stopped) {
            (Some(_), _) => Ending::Broken,
            (None, Some(_)) => Ending::Interrupted,
            (None, None) => Ending::Complete,
        };
        if ending == Ending::Complete && self.timetable.began().is_none() {
            self.measured.aborted.get_or_insert_with(|| {
                "the scenario did not begin: no instance got ready".to_owned()
            });
        }
        for failure in std::mem::take(&mut self.timetable.failures) {
            let why = format!("a thread could not begin or go on: {failure}");
            self.measured.aborted.get_or_insert(why);
            self.measured.add_error(&failure);
        }
        let aborted = self.measured.aborted.clone();
        let (metrics, thresholds) = self.timetable.totals();
        let totals = self.measured.totals(metrics, thresholds);
        self.ledger.add(Record::ServiceTotals(totals));
        let end = CampaignEnd {
            ending,
            message: self.broken.clone().or(self.stopped.clone()).or(aborted),
            suite_exit: None,
        };
        self.ledger.add(Record::Ended(end.clone()));
        // A log that cannot be written has been reported as the reason of the end.
        let _ = self.ledger.flush();
        self.agents.end().await;
        let mut left = self.withdraw_all().await;
        left.extend(self.left);
        left.extend(self.ground.close().await);
        Outcome {
            campaign: self.campaign,
            end,
            notes: self.notes,
            said: self.said,
            left,
        }
    }
}

fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
