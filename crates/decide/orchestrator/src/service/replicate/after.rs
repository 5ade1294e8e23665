//! What is still to be tried when the scenario is over.

use cohort_model::{At, ServiceCommand, ServiceReason};

use super::super::state::Phase;
use super::super::{Conductor, ServiceStep};
use super::fuzz::Fuzzing;

impl Conductor {
    /// The scenario is over: the ordinary instances go, and what is worth it is still tried, also what is concluded only now.
    /// False when nothing is tried any more.
    pub(in super::super) fn linger(&mut self, at: At) -> bool {
        let Some(cases) = &mut self.cases else {
            return false;
        };
        if cases.over || cases.plan.after_us == 0 {
            return false;
        }
        cases.done.get_or_insert(at);
        true
    }

    /// Whether it is still tried what is worth it, after the scenario.
    pub(in super::super) fn lingers(&self) -> bool {
        self.cases
            .as_ref()
            .is_some_and(|cases| cases.done.is_some() && !cases.over)
    }

    /// Ends it when nothing is worth trying any more, or when its time is used up.
    pub(in super::super) fn end_lingering(&mut self, at: At) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        let Some(done) = cases.done else {
            return;
        };
        let fuzz_us = cases.fuzzing.as_ref().map_or(0, Fuzzing::after_us);
        let after_us = cases.plan.after_us + fuzz_us;
        let why = if at.since(done) >= after_us {
            let seconds = after_us as f64 / 1e6;
            format!("The time for reproducing, {seconds:.0} s after the scenario, was used up.")
        } else if cases.open_failures > 2 {
            "No instance could be opened to try it again.".to_owned()
        } else if cases.is_done() || (cases.only_known() && cases.fuzz_is_done()) {
            String::new()
        } else {
            return;
        };
        self.end_cases(at, &why);
        self.stop(at, None);
    }

    /// Nothing more is tried.
    pub(in super::super) fn end_cases(&mut self, at: At, why: &str) {
        if let Some(cases) = &mut self.cases
            && !cases.over
        {
            cases.over = true;
            cases.end_cuts();
            if !why.is_empty() {
                cases.replicator.finish(at, why);
            }
        }
    }

    /// Closes the ordinary instances while others go on.
    pub(in super::super) fn close_ordinary(&mut self, step: &mut ServiceStep) {
        for (&instance, place) in &mut self.places {
            let next = match place.phase {
                Phase::Closed | Phase::Closing => continue,
                Phase::Failed => Phase::Closed,
                Phase::Opening | Phase::Ready | Phase::Down => Phase::Closing,
            };
            place.phase = next;
            let command = ServiceCommand::Close { instance };
            step.decide(command, ServiceReason::Stopping, None);
        }
    }

    /// Closes what cases were tried on.
    pub(in super::super) fn close_replicas(&mut self, step: &mut ServiceStep) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        for (&instance, replica) in &mut cases.replicas {
            if !replica.closing {
                replica.closing = true;
                let command = ServiceCommand::Close { instance };
                step.decide(command, ServiceReason::Stopping, None);
            }
        }
    }
}
