//! Taking in what was seen.

use cohort_model::{At, InstanceId, Observation, SampleBatch, ThreadId};

use crate::{OPEN_FAILURES_MAX, Orchestrator, Step};

/// A held instance whose memory fell below this part of its limit is no longer held.
const HELD_PART: f64 = 0.9;

impl Orchestrator {
    pub(crate) fn see(&mut self, at: At, observation: &Observation, step: &mut Step) {
        match observation {
            Observation::InstanceOpened { instance } => self.instance_opened(*instance),
            Observation::InstanceLost { instance, .. } => self.instance_lost(*instance),
            Observation::ThreadStarted { thread } => self.thread_started(at, *thread),
            Observation::ThreadYielded { thread } => self.thread_yielded(*thread),
            Observation::ThreadEnded(end) => self.thread_ended(at, end, step),
            Observation::ThreadMoved { thread, target } => self.thread_moved(at, *thread, *target),
            Observation::MemoryHeld { instance } => self.memory_held(*instance, step),
            Observation::Sampled(batch) => self.sampled(batch, step),
            Observation::Interrupted => self.interrupt(),
            Observation::Tick => {}
        }
    }

    fn instance_opened(&mut self, instance: InstanceId) {
        if let Some(lane) = self.lanes.get_mut(&instance) {
            lane.opened = true;
        } else {
            self.place_opened(instance);
        }
    }

    fn interrupt(&mut self) {
        self.stopping = true;
        self.interrupted = true;
    }

    fn instance_lost(&mut self, instance: InstanceId) {
        if self.place_lost(instance) {
            return;
        }
        let Some(lane) = self.lanes.remove(&instance) else {
            // It was closed already.
            return;
        };
        self.promises.release(instance);
        self.analyzer.instance_closed(instance);
        self.queue.leave(instance);
        let others = self.lanes.values().filter(|lane| lane.opened).count() as u32;
        if others > 0 && !lane.opened {
            // The host does not hold more than those that are there.
            self.instances_max = self.instances_max.min(others);
            return;
        }
        self.open_failures += 1;
        if self.open_failures >= OPEN_FAILURES_MAX {
            self.interrupt();
        }
    }

    fn thread_started(&mut self, at: At, thread: ThreadId) {
        self.attempt_started(at, thread);
        if let Some(run) = self.threads.get_mut(&thread) {
            if let Some(lane) = self.lanes.get_mut(&run.place)
                && !lane.begun
            {
                lane.begun = true;
                let took_us = at.since(run.started) as f64;
                self.opening_us = Some(self.opening_us.map_or(took_us, |most| most.max(took_us)));
                self.analyzer.instance_warmed(run.place);
            }
            run.started = at;
            self.analyzer
                .thread_started(at, run.place, run.test, &run.expected);
        }
    }

    fn thread_yielded(&mut self, thread: ThreadId) {
        if let Some(run) = self.threads.get_mut(&thread) {
            run.yielded = true;
            if let Some(lane) = self.lanes.get_mut(&run.place)
                && lane.thread == Some(thread)
            {
                lane.yielded = true;
            }
        }
    }

    fn thread_moved(&mut self, at: At, thread: ThreadId, target: InstanceId) {
        let Some(run) = self.threads.get_mut(&thread) else {
            return;
        };
        let source = std::mem::replace(&mut run.place, target);
        run.source = Some(source);
        run.crowd.moved();
        let residue = self.analyzer.memory_anon(source).unwrap_or(0);
        self.analyzer.thread_moved(at, source, target);
        if let Some(lane) = self.lanes.get_mut(&source)
            && lane.thread == Some(thread)
        {
            lane.thread = None;
            lane.residue = residue;
            self.promises.promise(source, residue);
        }
    }

    fn memory_held(&mut self, instance: InstanceId, step: &mut Step) {
        self.place_held(instance, step);
        if let Some(lane) = self.lanes.get_mut(&instance) {
            lane.held = true;
            if let Some(run) = lane.thread.and_then(|thread| self.threads.get_mut(&thread)) {
                run.was_held = true;
            }
        }
    }

    fn sampled(&mut self, batch: &SampleBatch, step: &mut Step) {
        self.host = batch.host;
        self.cpu.observe(batch.at, batch.host);
        self.watch_attempts(batch);
        for sample in &batch.instances {
            if let Some(lane) = self.lanes.get_mut(&sample.instance) {
                let limit = lane.allotment.memory as f64 * HELD_PART;
                lane.held &= sample.memory as f64 >= limit;
            }
        }
        step.findings.extend(self.analyzer.observe(batch));
        for sample in &batch.instances {
            let thread = self
                .lanes
                .get(&sample.instance)
                .and_then(|lane| lane.thread);
            let Some(run) = thread.and_then(|thread| self.threads.get_mut(&thread)) else {
                continue;
            };
            let seconds = if batch.at > run.started && run.place == sample.instance {
                run.crowd.observe(batch.at, sample.cpu_pressure_us)
            } else {
                0.0
            };
            if let Some(cores) = self.analyzer.cores_wanted(sample.instance) {
                self.costs.observe_running(run.group, cores, seconds);
            }
        }
    }
}
