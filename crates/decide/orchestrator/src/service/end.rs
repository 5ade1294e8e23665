//! The end: every instance is closed, then the campaign is finished.

use cohort_model::{At, ServiceCommand, ServiceReason};

use super::state::Phase;
use super::{Conductor, ServiceStep};

/// An instance that is to be closed is waited for so long, microseconds.
const CLOSE_US_MAX: u64 = 30_000_000;

/// That the campaign ends.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    since: At,
    reason: ServiceReason,
    /// The closing was ordered.
    ordered: bool,
}

impl Conductor {
    /// The campaign ends; `why` when that was not planned.
    pub(super) fn stop(&mut self, since: At, why: Option<String>) {
        let reason = match why {
            Some(why) => ServiceReason::Failed { why },
            None => ServiceReason::Stopping,
        };
        self.stopping.get_or_insert(Stop {
            since,
            reason,
            ordered: false,
        });
    }

    /// The scenario is over, and so is what comes right after it.
    pub(super) fn wind_down(&mut self, at: At) {
        if !self.linger(at) {
            self.stop(at, None);
        }
    }

    /// The user wants it to end; who says so twice does not want to wait.
    pub(super) fn interrupt(&mut self, at: At) {
        let again = self.stopping.is_some();
        self.stop(at, None);
        if again && let Some(stop) = &mut self.stopping {
            stop.since = At(at.0.saturating_sub(CLOSE_US_MAX));
        }
    }

    /// Ends the campaign when it is to end, or when no instance is left.
    pub(super) fn settle(&mut self, at: At, step: &mut ServiceStep) {
        if self.lingers() {
            if !self.concluded {
                self.concluded = true;
                self.analyzer.end();
                self.conclude(at, step);
                self.take_up_findings(at, step);
                self.withdraw_all(step);
            }
            self.close_ordinary(step);
            self.end_lingering(at);
        } else if self.stopping.is_none()
            && !self.places.values().any(super::state::Place::is_alive)
        {
            let why = self.why_none();
            self.stop(at, Some(why));
        }
        if self.stopping.as_ref().is_some_and(|stop| !stop.ordered) {
            // What was seen since the last look is not to be lost.
            if !self.concluded {
                self.analyzer.end();
                self.conclude(at, step);
            }
            self.end_cases(at, "The campaign ended before more was tried.");
            self.withdraw_all(step);
            self.close_replicas(step);
        }
        let Some(stop) = &mut self.stopping else {
            return;
        };
        let (reason, since) = (stop.reason.clone(), stop.since);
        if !stop.ordered {
            stop.ordered = true;
            for (&instance, place) in &mut self.places {
                let next = match place.phase {
                    Phase::Closed | Phase::Closing => continue,
                    Phase::Failed => Phase::Closed,
                    Phase::Opening | Phase::Ready | Phase::Down => Phase::Closing,
                };
                place.phase = next;
                step.decide(ServiceCommand::Close { instance }, reason.clone(), None);
            }
            for change in self.abandon_trials() {
                step.changes.push(change);
            }
        }
        let closing = self
            .places
            .values()
            .any(|place| place.phase == Phase::Closing)
            || self.cases.as_ref().is_some_and(super::Cases::has_replicas);
        if !closing || at.since(since) >= CLOSE_US_MAX {
            self.finished = true;
            step.decide(ServiceCommand::Finish, reason, None);
        }
    }

    /// Why no instance is left, in words.
    fn why_none(&self) -> String {
        if self.places.is_empty() {
            return "no instance was asked for: give at least one".to_owned();
        }
        let count = self.places.len();
        let first = self
            .places
            .iter()
            .find(|(_, place)| !place.failure.is_empty());
        let (id, cause) = first.map_or(("none".to_owned(), ""), |(id, place)| {
            (id.to_string(), place.failure.as_str())
        });
        format!("none of {count} instances is left; {id}: {cause}")
    }
}
