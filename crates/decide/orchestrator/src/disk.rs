//! When the disk runs full: who fills it is killed before it takes the campaign down with it.

use cohort_model::{InstanceId, KillReason, Observation, Reason, SampleBatch, ThreadId};

use crate::{Orchestrator, Step};

impl Orchestrator {
    /// Kills the thread whose scratch directory holds the most, when that is more than what is left
    /// of a disk that is nearly full. Warm workers are spared: theirs holds what earlier tests left.
    pub(crate) fn relieve_disk(&mut self, observations: &[Observation], step: &mut Step) {
        let batches = observations.iter().rev();
        let newest = batches.filter_map(|observation| match observation {
            Observation::Sampled(batch) => Some(batch),
            _ => None,
        });
        let Some((batch, left)) = newest
            .filter(|batch| !batch.instances.is_empty())
            .find_map(|batch| Some((batch, batch.host.disk_left?)))
        else {
            return;
        };
        let going = self.threads.values().any(|run| run.killed.is_some());
        if self.plan.sticky || going {
            return;
        }
        if let Some((thread, scratch)) = self.fullest(batch)
            && scratch > left
        {
            let reason = Reason::DiskFull { scratch, left };
            self.kill(thread, KillReason::Disk, reason, step);
        }
    }

    /// The thread with the most in its scratch directory, bytes.
    fn fullest(&self, batch: &SampleBatch) -> Option<(ThreadId, u64)> {
        let thread = |instance: InstanceId| self.lanes.get(&instance)?.thread;
        batch
            .instances
            .iter()
            .filter_map(|sample| Some((thread(sample.instance)?, sample.scratch?)))
            .max_by_key(|&(_, scratch)| scratch)
    }
}
