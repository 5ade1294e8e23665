//! What agents and instances say.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use cohort_agent::protocol::{EndWhy, FromAgent, ThreadCalls, ToAgent};
use cohort_handoff::AgentId;
use cohort_model::{EndpointId, Exit, InstanceId, OddCall, Oddity, ServiceSeen, Share, ThreadId};
use cohort_service::What;

use super::event::Event;
use super::shell::{Hub, Phase};
use super::symptoms;
use super::threads::Journal;

/// Agents that die one after the other before the campaign is given up.
const AGENT_DEATHS_MAX: u32 = 20;

/// Threads that fail to begin, before any did anything, until the scenario is given up.
const FAILURES_MAX: usize = 10;

/// Threads of one agent of which it is told what each called, at most.
const THREADS_TOLD_MAX: usize = 500;

impl Hub {
    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Agent(agent, message) => self.agent_said(AgentId(agent), *message),
            Event::AgentGone(agent, why) => self.agent_gone(AgentId(agent), &why),
            Event::Instance(event) => self.instance_said(&event),
            Event::Closed(instance, left) => self.closed(instance, left),
            Event::ShareSet(instance, share) => self.share_set(instance, share),
            Event::Samples(batch) => self.seen.push(ServiceSeen::Sampled(*batch)),
            Event::Helper(seen) => self.tell(seen),
            Event::Stop => self.stop(),
        }
    }

    pub(crate) fn closed(&mut self, instance: InstanceId, left: Vec<String>) {
        self.left.extend(left);
        self.tell(ServiceSeen::InstanceExited {
            instance,
            exit: Exit::Asked,
            lived_us: 0,
            last_lines: Vec::new(),
            calls: Vec::new(),
            again: false,
        });
    }

    fn share_set(&mut self, instance: InstanceId, share: Share) {
        self.tell(ServiceSeen::ShareSet { instance, share });
    }

    fn agent_said(&mut self, agent: AgentId, message: FromAgent) {
        match message {
            FromAgent::Loaded | FromAgent::Finished => {}
            FromAgent::Reported => self.reported(agent.0),
            FromAgent::LoadFailed { message } => self.break_off(message),
            FromAgent::Side(report) => {
                let came = self.threads.hear(agent, *report);
                self.came(came);
            }
            FromAgent::Iterated(all) => {
                for one in all {
                    self.measured.iterations += u64::from(one.done);
                    self.measured.failed_iterations += u64::from(one.failed);
                    self.timetable.iterated(&one);
                }
            }
            FromAgent::DroppedIterations { scenario, count } => {
                self.measured.dropped_iterations += count;
                self.timetable.dropped(&scenario, count);
            }
            // The orchestrator knows that its instance is down, and moves it.
            FromAgent::Stranded { .. } => {}
            FromAgent::Ended { why, .. } => self.thread_ended(&why),
            FromAgent::Unmovable {
                thread, message, ..
            } => {
                let (came, said) = self.threads.unmovable(thread, &message);
                self.came(came);
                if let Some(said) = said {
                    self.ledger.note(&said);
                }
            }
            FromAgent::Abort { message, .. } => self.abort(message),
            // What is played is not counted.
            FromAgent::Windows(_)
            | FromAgent::ThreadCalls(_)
            | FromAgent::Metrics(_)
            | FromAgent::Checks(_)
            | FromAgent::Broken { .. }
            | FromAgent::Slow(_)
            | FromAgent::Odd(_)
            | FromAgent::Cost(_)
                if self.replicas.is_player(agent) => {}
            FromAgent::Odd(call) => self.odd(*call),
            FromAgent::Captured(captured) => self.captured(*captured),
            FromAgent::Played(played) => self.played(*played),
            FromAgent::PlayedHalf { play } => self.played_half(play),
            FromAgent::FuzzFound(found) => self.fuzz_found(*found),
            FromAgent::Fuzzed(fuzzed) => self.fuzzed(*fuzzed),
            FromAgent::Windows(windows) => self.tally.add(agent.0, &windows),
            FromAgent::ThreadCalls(calls) => self.threads_called(&calls),
            FromAgent::Metrics(deltas) => self.timetable.measure(&deltas),
            FromAgent::Checks(checks) => self.measured.add_checks(&checks),
            FromAgent::Log { lines, dropped } => {
                self.measured.add_log(&lines);
                self.script_log.add(&lines, dropped);
            }
            FromAgent::Broken { calls, more } => {
                self.measured.add_broken(&calls, more);
                self.tally.add_broken(&calls);
            }
            FromAgent::Slow(calls) => {
                self.asked.add(&calls);
                self.tally.add_slow(&calls);
            }
            FromAgent::OneShotDone(answer) => self.once_done(*answer),
            FromAgent::Cost(cost) => self.measured.add_cost(agent.0, cost),
        }
    }

    /// The script ends the campaign: as k6 does, every iteration is cut off.
    pub(crate) fn abort(&mut self, message: String) {
        if self.measured.aborted.is_none() {
            self.measured.aborted = Some(message);
            self.timetable.abort(0);
            for thread in self.threads.ids() {
                self.stop_thread(thread, 0);
            }
        }
    }

    /// Threads of which none can begin are not begun for ever.
    fn thread_ended(&mut self, why: &EndWhy) {
        let EndWhy::Failed { message } = why else {
            return;
        };
        self.timetable.failures.push(message.clone());
        let succeeded = self.measured.iterations > self.measured.failed_iterations;
        if !succeeded && self.timetable.failures.len() >= FAILURES_MAX {
            self.abort(format!("no thread can begin: {message}"));
        }
    }

    /// The scenario cannot begin, and that is its own fault.
    pub(crate) fn give_up(&mut self, why: String) {
        self.measured.aborted.get_or_insert(why);
        self.phase = Phase::Closing;
        self.tell(ServiceSeen::Interrupted);
    }

    /// Nothing can go on.
    pub(crate) fn break_off(&mut self, why: String) {
        if self.broken.is_none() {
            self.broken = Some(why);
            self.phase = Phase::Closing;
            self.tell(ServiceSeen::Interrupted);
        }
    }

    /// Areas are learned from which endpoints the same threads call; some threads tell as much as all.
    fn threads_called(&mut self, calls: &ThreadCalls) {
        let every = calls.threads.len().div_ceil(THREADS_TOLD_MAX).max(1);
        let told = calls.threads.iter().step_by(every);
        let ids: Vec<EndpointId> = calls
            .endpoints
            .iter()
            .map(|name| self.tally.endpoint(name))
            .collect();
        let threads = told.map(|(thread, calls)| {
            let calls = calls
                .iter()
                .filter_map(|(place, count)| Some((*ids.get(*place as usize)?, *count)));
            (*thread, calls.collect())
        });
        let threads: Vec<_> = threads.collect();
        if !threads.is_empty() {
            self.seen.push(ServiceSeen::ThreadsCalled { threads });
        }
    }

    fn agent_gone(&mut self, agent: AgentId, why: &str) {
        let journals = journals(&self.agents.journals(agent.0));
        self.agents.forget(agent.0);
        self.reported(agent.0);
        if self.replicas.is_player(agent) {
            if self.player_deaths < AGENT_DEATHS_MAX {
                self.player_deaths += 1;
                self.player_gone();
            }
            return;
        }
        if self.phase == Phase::Closing {
            return;
        }
        self.agent_deaths += 1;
        let lost = journals.values().filter(|journal| journal.beyond).count();
        let but = match lost {
            0 => String::new(),
            lost => format!(
                "; {lost} of them had too large a journal, and new threads begin in their place"
            ),
        };
        self.ledger.note(&format!(
            "an agent ended unasked ({why}); its threads went on from their journals{but}"
        ));
        if self.agent_deaths > AGENT_DEATHS_MAX {
            self.break_off(format!("agents end one after the other: {why}"));
            return;
        }
        match self.agents.start(&self.load) {
            Ok(next) => {
                for slot in &mut self.slots {
                    if *slot == agent {
                        *slot = AgentId(next);
                    }
                }
                self.inform(AgentId(next));
            }
            Err(error) => return self.break_off(cohort_host::chain(&error)),
        }
        let came = self.threads.died(agent, &journals);
        self.came(came);
        self.set_up_again();
        let running = matches!(
            self.phase,
            Phase::SettingUp | Phase::TearingDown | Phase::SummingUp
        );
        if running {
            self.break_off(format!(
                "an agent ended while setup(), teardown() or handleSummary() ran: {why}"
            ));
        }
    }

    /// Something odd that a thread met.
    fn odd(&mut self, call: cohort_agent::protocol::OddCall) {
        use cohort_agent::protocol::Oddity as Told;
        let endpoint = self.tally.endpoint(&call.endpoint);
        let oddity = match call.oddity {
            Told::Status(status) => Oddity::Status(status),
            Told::Broken(error) => Oddity::Broken(symptoms::broken(error).to_owned()),
            Told::Check(name) => Oddity::Check(name),
        };
        let calls = vec![OddCall {
            at: call.at,
            thread: call.thread,
            iteration: call.iteration,
            instance: call.instance,
            endpoint,
            oddity,
            said: call.said,
        }];
        self.tell(ServiceSeen::OddCalls { calls });
    }

    /// Tells a new agent what the others know.
    pub(crate) fn inform(&self, agent: AgentId) {
        for (id, place) in &self.places {
            let order = ToAgent::Instance {
                instance: *id,
                address: place.address(self.setup.sut.tls),
            };
            self.agents.tell(agent.0, order);
        }
        for order in self.once.set_up_orders() {
            self.agents.tell(agent.0, order);
        }
        for order in self.timetable.scenarios() {
            self.agents.tell(agent.0, order);
        }
    }

    fn instance_said(&mut self, event: &cohort_service::Event) {
        let instance = event.instance;
        if !self.places.contains_key(&instance) {
            // It is being closed, and its end is told when nothing is left of it.
            return;
        }
        let is_replica = self.replicas.is_one(instance);
        if let What::Started { .. } = event.what {
            self.replicas.began(instance);
        }
        let Some(seen) = event.seen() else {
            self.to_watch.push(instance);
            return;
        };
        match event.what {
            What::Ready { address, .. } => {
                self.tell_exit_of(instance);
                self.heard_from(instance, address.ip());
                self.answers(instance, address, seen);
            }
            What::NeverReady { .. } | What::GivenUp { .. } => {
                self.tell_exit_of(instance);
                self.set_down(instance);
                if let Some(place) = self.places.get_mut(&instance) {
                    place.failed();
                }
                self.tell(seen);
                if is_replica {
                    self.replica_failed(instance);
                    self.fuzz_failed(instance);
                }
            }
            What::Exited {
                ref exit,
                ref last_lines,
                ..
            } if is_replica => {
                self.set_down(instance);
                self.replica_ended(instance, exit, last_lines);
                self.tell(seen);
            }
            What::Exceptions(ref exceptions) if is_replica => {
                self.replica_wrote(instance, exceptions);
                self.fuzzed_wrote(instance, exceptions);
            }
            What::Exited {
                ref exit,
                ref last_lines,
                ..
            } => {
                self.server_ended(instance, exit, last_lines);
                self.set_down(instance);
                if *exit == Exit::Asked {
                    self.tell(seen);
                } else {
                    self.exits.push((Instant::now(), seen));
                }
            }
            What::Exceptions(_) => {
                self.seen.push(seen);
                self.urgent |= self.replicas.player.is_some();
            }
            What::Started { .. } => {}
        }
    }
}

/// The journals of a dead agent, by thread.
fn journals(directory: &Path) -> BTreeMap<ThreadId, Journal> {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let read = |file: std::fs::DirEntry| {
        let survey = cohort_agent::journal::survey(&file.path()).ok()?;
        let journal = Journal {
            path: file.path(),
            answers: survey.answers,
            beyond: survey.beyond,
        };
        Some((survey.thread, journal))
    };
    files.filter_map(read).collect()
}
