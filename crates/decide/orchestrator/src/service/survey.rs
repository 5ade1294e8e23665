//! Weaknesses are looked for once, when the scenario is over and before anything is closed.
//!
//! ```text
//!   ScheduleDone ─▶ what was seen is concluded ─▶ Deploy on an instance that answers ─▶ HelperEnded ─▶ findings ─▶ the campaign winds down
//! ```
//!
//! By then all endpoints are known, and one of the instances has done ordinary work. Nothing is asked of the server meanwhile but by the
//! helper, so what its requests provoke is hidden from the analyzer and from edge cases.

use std::path::PathBuf;

use cohort_model::{
    At, HelperEnding, HelperPlan, HelperTold, HelperWithdrawal, InstanceId, ServiceCommand,
    ServiceFinding, ServiceFindingKind, ServiceReason, ServiceSeen,
};

use super::{Conductor, ServiceStep};

/// Its deployment has this number; those on suspicion are numbered from zero.
const DEPLOYMENT: u32 = 1 << 20;
/// Findings of weaknesses are numbered from here on; those of the analyzer from zero.
const FIRST: u32 = 1 << 20;
/// What the helper has beyond the time that it looks, microseconds.
const GRACE_US: u64 = 20_000_000;
/// How sure a weakness is that was seen.
const CONFIDENCE: f64 = 0.9;

/// Whether weaknesses are looked for.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    /// Name of the helper, and how long it looks; none: nothing is looked for.
    helper: Option<(String, u64)>,
    state: State,
    found: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The scenario is not over.
    Later,
    /// It is.
    Due,
    Out {
        instance: InstanceId,
        since: At,
    },
    Over,
}

impl Survey {
    pub(super) fn new(plan: Option<&HelperPlan>) -> Self {
        let offers = plan.into_iter().flat_map(|plan| &plan.offers);
        let mut able = offers.filter(|it| it.detects.contains(&ServiceFindingKind::Weakness));
        Self {
            helper: able.next().map(|it| (it.name.clone(), it.looks_us)),
            state: State::Later,
            found: 0,
        }
    }

    /// The scenario is over. False where there is nothing to be waited for.
    pub(super) fn begin(&mut self) -> bool {
        let begins = self.helper.is_some() && self.state == State::Later;
        if begins {
            self.state = State::Due;
        }
        begins
    }

    pub(super) fn end(&mut self) {
        self.state = State::Over;
    }

    pub(super) fn is_on(&self) -> bool {
        matches!(self.state, State::Due | State::Out { .. })
    }

    /// Whether it provoked this, rather than the scenario.
    pub(super) fn hides(&self, seen: &ServiceSeen) -> bool {
        self.is_on()
            && matches!(
                seen,
                ServiceSeen::Excepted { .. }
                    | ServiceSeen::CrashRead { .. }
                    | ServiceSeen::Loaded { .. }
            )
    }
}

impl Conductor {
    /// Sends the helper out when it is due, and ends what takes too long.
    pub(super) fn survey(&mut self, at: At, step: &mut ServiceStep) {
        let Some((helper, looks_us)) = self.survey.helper.clone() else {
            return;
        };
        match self.survey.state {
            State::Due => {
                if !self.concluded {
                    self.concluded = true;
                    self.analyzer.end();
                    self.conclude(at, step);
                    self.take_up_findings(at, step);
                    self.withdraw_all(step);
                }
                let first = self.ready().map(|(id, _)| id).next();
                let Some(instance) = first else {
                    self.survey.end();
                    return self.wind_down(at);
                };
                self.survey.state = State::Out {
                    instance,
                    since: at,
                };
                let command = ServiceCommand::Deploy {
                    deployment: DEPLOYMENT,
                    helper,
                    instance,
                    reference: None,
                };
                step.decide(command, ServiceReason::Survey, None);
            }
            State::Out { since, .. } if at.since(since) > looks_us + GRACE_US => {
                let command = ServiceCommand::Withdraw {
                    deployment: DEPLOYMENT,
                };
                let why = ServiceReason::Helper(HelperWithdrawal::Overdue);
                step.decide(command, why, None);
                self.survey.end();
                self.wind_down(at);
            }
            State::Out { .. } | State::Later | State::Over => {}
        }
    }

    /// What it found becomes findings, and the campaign goes on to its end.
    pub(super) fn see_for_survey(&mut self, at: At, seen: &ServiceSeen, step: &mut ServiceStep) {
        let ServiceSeen::HelperEnded {
            deployment: DEPLOYMENT,
            ending,
            told,
            artifacts,
        } = seen
        else {
            return;
        };
        let State::Out { instance, .. } = self.survey.state else {
            return;
        };
        if *ending == HelperEnding::Done {
            for weakness in told {
                let finding = self.weakness(at, instance, weakness, artifacts);
                step.findings.push(finding);
            }
        }
        self.survey.end();
        self.wind_down(at);
    }

    fn weakness(
        &mut self,
        at: At,
        instance: InstanceId,
        told: &HelperTold,
        artifacts: &[PathBuf],
    ) -> ServiceFinding {
        let number = FIRST + self.survey.found;
        self.survey.found += 1;
        let place = told.place.as_deref().unwrap_or_default();
        let endpoint = self.endpoints.iter().find(|(_, name)| *name == place);
        ServiceFinding {
            number,
            kind: ServiceFindingKind::Weakness,
            instances: vec![instance],
            endpoint: endpoint.map(|(id, _)| *id),
            at,
            since: at,
            ended: false,
            withdrawn: false,
            confidence: CONFIDENCE,
            sentence: told.sentence.clone(),
            evidence: Vec::new(),
            excerpts: Vec::new(),
            told: Vec::new(),
            artifacts: artifacts.to_vec(),
        }
    }
}
