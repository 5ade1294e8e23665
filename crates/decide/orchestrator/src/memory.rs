//! When memory runs short: raise, take back, wait, and only then kill.

use cohort_allocator::is_preferred;
use cohort_model::{At, Command, InstanceId, KillReason, Reason, Specialty, ThreadId};

use crate::{Orchestrator, Step};

/// Without cgroups nothing is held: below this part of the budget left on the host, the youngest
/// thread has to go.
const AVAILABLE_PART_MIN: f64 = 0.05;

impl Orchestrator {
    pub(crate) fn relieve_memory(&mut self, step: &mut Step) {
        if !self.budget.holds_memory {
            self.relieve_host(step);
            return;
        }
        let held: Vec<InstanceId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.held && lane.thread.is_some())
            .map(|(&instance, _)| instance)
            .collect();
        let Some(&first) = held.first() else {
            return;
        };
        for &instance in &held {
            if !self.raise(instance, step) {
                self.take_back(instance, step);
                self.raise(instance, step);
            }
        }
        let stuck: Vec<InstanceId> = held
            .into_iter()
            .filter(|instance| self.lanes[instance].held)
            .collect();
        let others_run = self
            .threads
            .values()
            .any(|run| !stuck.contains(&run.place) || run.killed.is_some());
        if stuck.is_empty() || others_run {
            return;
        }
        // Nobody can go on: the one that lost least by it gives way to the rest.
        if let Some(thread) = self.youngest() {
            let alone = self.promises.of(first) == self.promises.budget();
            let had = self
                .lanes
                .get(&first)
                .map_or(0, |lane| lane.allotment.memory);
            if let Some(run) = self.threads.get_mut(&thread) {
                run.had_all = alone;
            }
            let reason = Reason::MemoryExhausted { had };
            self.kill(thread, KillReason::Memory, reason, step);
        }
    }

    /// Gives a held instance more, when there is more.
    fn raise(&mut self, instance: InstanceId, step: &mut Step) -> bool {
        let Some(raised) = self.promises.raise(instance) else {
            return false;
        };
        let had = self.promises.of(instance);
        let memory = self.promises.promise(instance, raised);
        let specialty = match self.lanes[&instance].specialty {
            preferred if is_preferred(preferred) => preferred,
            _ => Specialty::Memory,
        };
        let reason = Reason::MemoryHeld { had };
        self.set(instance, (specialty, Some(memory)), (reason, step));
        if let Some(lane) = self.lanes.get_mut(&instance) {
            lane.held = false;
        }
        true
    }

    /// Takes back what others were promised and do not use.
    fn take_back(&mut self, held: InstanceId, step: &mut Step) {
        self.release_idle(step);
        let others: Vec<InstanceId> = self
            .lanes
            .iter()
            .filter(|(instance, lane)| **instance != held && !lane.held && lane.thread.is_some())
            .map(|(&instance, _)| instance)
            .collect();
        for instance in others {
            let Some(used) = self.analyzer.memory_anon(instance) else {
                continue;
            };
            if let Some(less) = self.promises.shrink(instance, used) {
                let memory = self.promises.promise(instance, less);
                let reason = Reason::MemoryHeld {
                    had: self.promises.of(held),
                };
                let specialty = self.lanes[&instance].specialty;
                self.set(instance, (specialty, Some(memory)), (reason, step));
            }
        }
    }

    /// Closes instances that run nothing, and frees what they were promised.
    pub(crate) fn release_idle(&mut self, step: &mut Step) {
        let idle: Vec<InstanceId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.thread.is_none() && lane.residue == 0)
            .map(|(&instance, _)| instance)
            .collect();
        for instance in idle {
            self.lanes.remove(&instance);
            self.promises.release(instance);
            self.analyzer.instance_closed(instance);
            self.queue.leave(instance);
            step.decide(Command::CloseInstance { instance }, Reason::Idle);
        }
    }

    /// Without cgroups nothing is held: who holds more than all there is must go, and when the host
    /// itself runs short, the one that loses least by it.
    fn relieve_host(&mut self, step: &mut Step) {
        if self.threads.values().any(|run| run.killed.is_some()) {
            return;
        }
        let over = self.threads.iter().find_map(|(&thread, run)| {
            let held = self.analyzer.memory_anon(run.place)?;
            (held > self.budget.memory).then_some((thread, held))
        });
        if let Some((thread, had)) = over {
            if let Some(run) = self.threads.get_mut(&thread) {
                run.had_all = true;
            }
            let reason = Reason::MemoryExhausted { had };
            self.kill(thread, KillReason::Memory, reason, step);
            return;
        }
        let least = (self.budget.memory as f64 * AVAILABLE_PART_MIN) as u64;
        let short = self.host.memory_available > 0 && self.host.memory_available < least;
        if short
            && self.threads.len() > 1
            && let Some(thread) = self.youngest()
        {
            let reason = Reason::MemoryExhausted {
                had: self.host.memory_available,
            };
            self.kill(thread, KillReason::Memory, reason, step);
        }
    }

    /// The thread that was started last: it loses least when it is killed.
    fn youngest(&self) -> Option<ThreadId> {
        self.threads
            .iter()
            .max_by_key(|(thread, run)| (run.started, **thread))
            .map(|(&thread, _)| thread)
    }

    /// Moves a running thread's processes to an instance for computing, which is opened when there
    /// is none free.
    pub(crate) fn hand_over(&mut self, at: At, thread: ThreadId, reason: Reason, step: &mut Step) {
        let Some(run) = self.threads.get(&thread) else {
            return;
        };
        let (source, need) = (run.place, run.expected.memory.p90);
        if run.source.is_some() || run.killed.is_some() || run.yielded {
            return;
        }
        let free = self
            .lanes
            .iter()
            .find(|(_, lane)| lane.thread.is_none() && lane.specialty == Specialty::Cpu)
            .map(|(&instance, _)| instance);
        let Some(memory) = self.promises.offer(need) else {
            return;
        };
        let target = match free {
            Some(instance) => {
                let memory = self.promises.promise(instance, memory);
                let to = (Specialty::Cpu, Some(memory));
                self.set(instance, to, (reason.clone(), step));
                instance
            }
            None if (self.lanes.len() as u32) < self.instances_max => {
                self.open(at, Specialty::Cpu, memory, (&reason, step))
            }
            None => return,
        };
        if let Some(lane) = self.lanes.get_mut(&target) {
            lane.thread = Some(thread);
        }
        let command = Command::HandOverThread {
            thread,
            source,
            target,
        };
        step.decide(command, reason);
    }
}
