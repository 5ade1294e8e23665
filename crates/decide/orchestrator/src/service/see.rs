//! What was seen, taken in. Reports may be late, doubled or about what is gone: those are passed over.

use cohort_model::{At, Exit, InstanceId, LoadWindow, SampleBatch, ServiceSeen, ThreadId};

use super::state::{Calls, Phase, Stage, Thread};
use super::{Conductor, Scenario};

/// An instance that crashed is given threads again so long after it answers, microseconds; twice as
/// long for each crash shortly after another.
const PROBATION_US: u64 = 1_000_000;
/// A crash so long ago is forgotten, microseconds.
const CRASH_FORGOTTEN_US: u64 = 60_000_000;
/// A thread whose hand-over failed is left alone so long, microseconds; twice as long each time.
const HAND_OVER_PAUSE_US: u64 = 5_000_000;
/// Iterations are remembered so long, microseconds.
const ITERATED_KEPT_US: u64 = 30_000_000;

/// Threads that ended are remembered so far: findings at the end of a scenario are about what they did.
const GONE_MAX: usize = 256;

impl Conductor {
    pub(super) fn see(&mut self, at: At, seen: &ServiceSeen) {
        match seen {
            ServiceSeen::EndpointNamed { endpoint, name } => {
                self.endpoints.insert(*endpoint, name.clone());
            }
            ServiceSeen::InstanceReady { instance, took_us } => {
                self.see_ready(at, *instance, *took_us);
            }
            ServiceSeen::InstanceExited {
                instance,
                exit,
                again,
                ..
            } => self.see_exited(at, *instance, exit, *again),
            ServiceSeen::InstanceFailed { instance, reason } => {
                self.see_failed(*instance, reason.clone());
            }
            ServiceSeen::ShareSet { instance, share } => {
                self.ledger.in_force(*instance, *share);
                if let Some(place) = self.places.get_mut(instance) {
                    place.share_changed = at;
                }
            }
            ServiceSeen::Sampled(batch) => self.see_samples(at, batch),
            ServiceSeen::Loaded { windows } => self.see_load(windows),
            ServiceSeen::ThreadsCalled { threads } => self.see_calls(threads),
            ServiceSeen::ThreadsWanted { threads } => self.see_wanted(threads),
            ServiceSeen::ThreadPlaced { thread, instance } => self.arrived(at, *thread, *instance),
            ServiceSeen::HandedOver { thread, target, .. } => self.arrived(at, *thread, *target),
            ServiceSeen::HandOverFailed { thread, source, .. } => {
                self.see_hand_over_failed(at, *thread, *source);
            }
            ServiceSeen::ThreadsEnded { threads } => self.see_ended(threads),
            ServiceSeen::Iterated { iterations, .. } => {
                self.iterated.push_back((at, *iterations));
                let old = |&(then, _): &(At, u64)| at.since(then) > ITERATED_KEPT_US;
                while self.iterated.front().is_some_and(old) {
                    self.iterated.pop_front();
                }
            }
            ServiceSeen::ScheduleDone => {
                if !self.survey.begin() {
                    self.wind_down(at);
                }
            }
            ServiceSeen::Interrupted => {
                self.survey.end();
                self.end_cases(at, "The campaign was stopped before more was tried.");
                self.interrupt(at);
            }
            ServiceSeen::Excepted { .. }
            | ServiceSeen::OddCalls { .. }
            | ServiceSeen::CrashRead { .. }
            | ServiceSeen::CaseCaptured { .. }
            | ServiceSeen::Fuzzed { .. }
            | ServiceSeen::FuzzFound { .. }
            | ServiceSeen::CaseTried { .. }
            | ServiceSeen::HelperStarted { .. }
            | ServiceSeen::HelperUsed { .. }
            | ServiceSeen::HelperEnded { .. }
            | ServiceSeen::Tick => {}
        }
    }

    fn see_ready(&mut self, at: At, instance: InstanceId, took_us: u64) {
        let Some(place) = self.places.get_mut(&instance) else {
            return;
        };
        if !matches!(place.phase, Phase::Opening | Phase::Down) {
            return;
        }
        place.phase = Phase::Ready;
        place.ready_since = at;
        if place.crashes > 0 {
            let probation_us = PROBATION_US << (place.crashes - 1).min(5);
            place.accepts_from = at.plus_us(probation_us);
        }
        self.first_ready.get_or_insert((at, took_us));
    }

    fn see_exited(&mut self, at: At, instance: InstanceId, exit: &Exit, again: bool) {
        self.spoil(instance);
        let Some(place) = self.places.get_mut(&instance) else {
            return;
        };
        match place.phase {
            Phase::Closed | Phase::Failed => {}
            Phase::Closing => {
                if !again {
                    place.phase = Phase::Closed;
                    self.ledger.close(instance);
                }
            }
            Phase::Opening | Phase::Ready | Phase::Down if again => {
                if *exit != Exit::Asked {
                    if at.since(place.crashed) > CRASH_FORGOTTEN_US {
                        place.crashes = 0;
                    }
                    place.crashes += 1;
                    place.crashed = at;
                }
                place.phase = Phase::Down;
                place.meter.clear();
                place.load.clear();
            }
            Phase::Opening | Phase::Ready | Phase::Down => {
                self.see_failed(instance, ended_words(exit));
            }
        }
    }

    fn see_failed(&mut self, instance: InstanceId, reason: String) {
        self.spoil(instance);
        let Some(place) = self.places.get_mut(&instance) else {
            return;
        };
        match place.phase {
            Phase::Closed | Phase::Failed => {}
            Phase::Closing => {
                place.phase = Phase::Closed;
                self.ledger.close(instance);
            }
            Phase::Opening | Phase::Ready | Phase::Down => {
                place.phase = Phase::Failed;
                place.failure = reason;
            }
        }
    }

    fn see_samples(&mut self, at: At, batch: &SampleBatch) {
        for sample in &batch.instances {
            if let Some(place) = self.places.get_mut(&sample.instance) {
                place.meter.add(at, sample);
            }
        }
    }

    fn see_load(&mut self, windows: &[LoadWindow]) {
        for window in windows {
            if let Some(place) = self.places.get_mut(&window.instance) {
                place.load.add(window);
            }
        }
    }

    fn see_calls(&mut self, threads: &[(ThreadId, Vec<(cohort_model::EndpointId, u64)>)]) {
        for (thread, calls) in threads {
            if let Some(thread) = self.threads.get_mut(thread) {
                thread.calls.add(calls);
                self.scenarios[thread.scenario].calls.add(calls);
            }
        }
    }

    fn see_wanted(&mut self, threads: &[(ThreadId, String)]) {
        for (thread, name) in threads {
            let known = self.scenarios.iter().position(|known| known.name == *name);
            let scenario = known.unwrap_or_else(|| {
                self.scenarios.push(Scenario {
                    name: name.clone(),
                    calls: Calls::default(),
                });
                self.scenarios.len() - 1
            });
            self.wanted.push_back((*thread, scenario));
        }
    }

    /// A thread is seen to run on an instance, whatever was ordered.
    fn arrived(&mut self, at: At, id: ThreadId, instance: InstanceId) {
        let Some(thread) = self.threads.get_mut(&id) else {
            return;
        };
        if matches!(thread.stage, Stage::Leaving { .. }) {
            if thread.on != instance {
                // Late news of how it came to where it is leaving from.
                return;
            }
            self.moves.leaving -= 1;
        }
        thread.stage = Stage::Runs;
        thread.since = at;
        thread.failures = 0;
        self.put(id, instance);
    }

    fn see_hand_over_failed(&mut self, at: At, id: ThreadId, source: InstanceId) {
        let Some(thread) = self.threads.get_mut(&id) else {
            return;
        };
        if !matches!(thread.stage, Stage::Leaving { .. }) {
            return;
        }
        self.moves.leaving -= 1;
        thread.stage = Stage::Runs;
        thread.not_before = at.plus_us(HAND_OVER_PAUSE_US << thread.failures.min(4));
        thread.failures += 1;
        self.put(id, source);
    }

    fn see_ended(&mut self, threads: &[ThreadId]) {
        for id in threads {
            if let Some(thread) = self.threads.remove(id) {
                if matches!(thread.stage, Stage::Leaving { .. }) {
                    self.moves.leaving -= 1;
                }
                if let Some(place) = self.places.get_mut(&thread.on) {
                    place.threads.remove(id);
                }
                if self.gone.len() >= GONE_MAX {
                    self.gone.pop_front();
                }
                self.gone.push_back((*id, thread));
            } else {
                self.wanted.retain(|(wanted, _)| wanted != id);
            }
        }
    }

    /// Keeps the books of where a thread is, or is going to be.
    pub(super) fn put(&mut self, id: ThreadId, instance: InstanceId) {
        let Some(thread) = self.threads.get_mut(&id) else {
            return;
        };
        if let Some(place) = self.places.get_mut(&thread.on) {
            place.threads.remove(&id);
        }
        thread.on = instance;
        if let Some(place) = self.places.get_mut(&instance) {
            place.threads.insert(id);
        }
    }

    /// Begins a thread's record.
    pub(super) fn begin_thread(&mut self, at: At, id: ThreadId, scenario: usize, on: InstanceId) {
        let thread = Thread {
            scenario,
            on,
            stage: Stage::Placing,
            since: at,
            not_before: at,
            failures: 0,
            calls: Calls::default(),
        };
        self.threads.insert(id, thread);
        self.put(id, on);
    }
}

/// How a process ended, in words.
fn ended_words(exit: &Exit) -> String {
    match exit {
        Exit::Asked => "it ended as it was asked to, and is not started again".to_owned(),
        Exit::Code { code } => format!("its process ended with code {code}"),
        Exit::Signal { signal } => format!("its process ended by signal {signal}"),
        Exit::OutOfMemory => "its process was killed for memory".to_owned(),
    }
}
