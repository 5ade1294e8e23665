//! What a log tells: where an interrupted campaign can go on, and whether deciding it again gives
//! the same decisions.

use std::collections::{BTreeMap, HashMap};

use cohort_model::{
    At, CampaignStart, Case, CaseId, Command, Decision, FORMAT, Plan, Record, ServiceDecision,
    TestId, TestResult,
};
use cohort_orchestrator::Orchestrator;
use cohort_orchestrator::service::Conductor;
use cohort_store::{Error, LogReader};

/// What stands in the log of an earlier campaign.
#[derive(Debug)]
pub struct Past {
    /// How it started.
    pub start: CampaignStart,
    /// The latest plan.
    pub plan: Plan,
    /// Edge cases, as they were told last.
    pub cases: BTreeMap<CaseId, Case>,
    /// Every result that stands, by the tests of that plan.
    pub results: Vec<TestResult>,
    /// No id of an instance or a thread at or above this was used.
    pub next_id: u32,
    /// The time of the last record.
    pub last: At,
    /// Whether it ended complete.
    pub complete: bool,
}

/// Why an old log cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PastError {
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
    /// It does not begin as a campaign's log does.
    #[error(
        "the log of campaign {campaign} holds no plan: it was stopped before it began; start anew with `cohort run`"
    )]
    NoPlan {
        /// Which.
        campaign: String,
    },
    /// Nothing of it could be gone on with.
    #[error(
        "campaign {campaign} is that of a service, of which none is resumed: what its instances held is gone; start anew with `cohort run`"
    )]
    Service {
        /// Which.
        campaign: String,
    },
    /// Another format.
    #[error(
        "the log of campaign {campaign} has format {format}, this cohort reads format {FORMAT}; use the version that wrote it"
    )]
    Format {
        /// Which.
        campaign: String,
        /// Its format.
        format: u32,
    },
}

impl Past {
    /// Reads a log to its last whole record.
    ///
    /// # Errors
    /// The log is damaged, of another format, or without a plan.
    pub fn read(campaign: &str, log: LogReader) -> Result<Self, PastError> {
        let mut start = None;
        let mut plan: Option<Plan> = None;
        let mut results: HashMap<TestId, TestResult> = HashMap::new();
        let mut edge_cases = BTreeMap::new();
        let (mut next_id, mut last, mut complete) = (0, At(0), false);
        for record in log {
            match record? {
                Record::Started(started) => {
                    if started.format != FORMAT {
                        return Err(PastError::Format {
                            campaign: campaign.to_owned(),
                            format: started.format,
                        });
                    }
                    start = Some(started);
                }
                Record::Planned(planned) => {
                    results = planned
                        .concluded
                        .iter()
                        .map(|result| (result.test, result.clone()))
                        .collect();
                    plan = Some(planned);
                    complete = false;
                }
                Record::Seen { at, .. } => last = at,
                Record::Decided {
                    at,
                    decisions,
                    cases,
                    ..
                } => {
                    last = at;
                    edge_cases.extend(cases.into_iter().map(|case| (case.case, case)));
                    for decision in decisions {
                        next_id = next_id.max(id_after(&decision.command));
                        if let Command::Conclude(result) = decision.command {
                            results.insert(result.test, result);
                        }
                    }
                }
                Record::Ended(end) => complete = end.ending == cohort_model::Ending::Complete,
                Record::ServicePlanned(_) => {
                    return Err(PastError::Service {
                        campaign: campaign.to_owned(),
                    });
                }
                Record::ServiceSeen { .. }
                | Record::ServiceDecided { .. }
                | Record::ServiceTotals(_) => {}
            }
        }
        let (Some(start), Some(plan)) = (start, plan) else {
            return Err(PastError::NoPlan {
                campaign: campaign.to_owned(),
            });
        };
        let mut results: Vec<TestResult> = results.into_values().collect();
        results.sort_by_key(|result| result.test);
        Ok(Self {
            start,
            plan,
            cases: edge_cases,
            results,
            next_id,
            last,
            complete,
        })
    }

    /// The results that still stand for the tests of `plan`, found by name.
    #[must_use]
    pub fn results_for(&self, plan: &Plan) -> Vec<TestResult> {
        let ids: HashMap<&str, TestId> = plan
            .tests
            .iter()
            .enumerate()
            .map(|(index, test)| (test.name.as_str(), TestId(index as u32)))
            .collect();
        let mut standing: Vec<TestResult> = self
            .results
            .iter()
            .filter_map(|result| {
                let name = self.plan.tests[result.test.index()].name.as_str();
                let test = *ids.get(name)?;
                Some(TestResult {
                    test,
                    ..result.clone()
                })
            })
            .collect();
        standing.sort_by_key(|result| result.test);
        standing
    }
}

fn id_after(command: &Command) -> u32 {
    match command {
        Command::OpenInstance { instance, .. } => instance.0 + 1,
        Command::StartThread { thread, .. }
        | Command::TryCase { thread, .. }
        | Command::Instrument { thread, .. } => thread.0 + 1,
        _ => 0,
    }
}

/// What deciding a campaign again came to.
#[derive(Debug, Default, PartialEq)]
pub struct Replay {
    /// Steps decided again.
    pub steps: u64,
    /// Decisions compared.
    pub decisions: u64,
    /// The first step that came out differently.
    pub difference: Option<Difference>,
}

/// A step that came out differently.
#[derive(Debug, PartialEq)]
pub struct Difference {
    /// Which step, counted from 1.
    pub step: u64,
    /// When it was.
    pub at: At,
    /// As it was decided then.
    pub then: Vec<String>,
    /// As it is decided now.
    pub now: Vec<String>,
}

/// Decides every step of a log again and compares.
///
/// # Errors
/// The log cannot be read.
pub fn replay(log: LogReader) -> Result<Replay, Error> {
    let mut outcome = Replay::default();
    let mut start: Option<CampaignStart> = None;
    let mut deciding: Option<Orchestrator> = None;
    let mut awaited: Option<(At, Vec<Decision>)> = None;
    let mut conducting: Option<Conductor> = None;
    let mut awaited_of_service: Option<(At, Vec<ServiceDecision>)> = None;
    let mut next_id = 0;
    for record in log {
        let record = record?;
        if !matches!(record, Record::Decided { .. })
            && let Some((at, now)) = awaited.take()
            && !now.is_empty()
            && !matches!(record, Record::Started(_) | Record::Planned(_))
        {
            // Nothing was decided then; an interrupted log may lack its very last decisions.
            outcome.differs(at, &[], &now);
        }
        if !matches!(record, Record::ServiceDecided { .. })
            && let Some((at, now)) = awaited_of_service.take()
            && !now.is_empty()
        {
            outcome.differs(at, &[], &now);
        }
        match record {
            Record::Started(started) => start = Some(started),
            Record::Planned(plan) => {
                deciding = start
                    .as_ref()
                    .map(|start| Orchestrator::new(start.budget, start.policy, plan, next_id));
            }
            Record::Seen { at, observations } => {
                if let Some(orchestrator) = &mut deciding {
                    outcome.steps += 1;
                    awaited = Some((at, orchestrator.step(at, &observations).decisions));
                }
            }
            Record::Decided { at, decisions, .. } => {
                for decision in &decisions {
                    next_id = next_id.max(id_after(&decision.command));
                }
                let now = awaited.take().map_or_else(Vec::new, |(_, now)| now);
                outcome.decisions += decisions.len() as u64;
                if now != decisions {
                    outcome.differs(at, &decisions, &now);
                }
            }
            Record::ServicePlanned(plan) => conducting = Some(Conductor::new(plan)),
            Record::ServiceSeen { at, seen } => {
                if let Some(conductor) = &mut conducting {
                    outcome.steps += 1;
                    awaited_of_service = Some((at, conductor.step(at, &seen).decisions));
                }
            }
            Record::ServiceDecided { at, decisions, .. } => {
                let now = awaited_of_service
                    .take()
                    .map_or_else(Vec::new, |(_, now)| now);
                outcome.decisions += decisions.len() as u64;
                if now != decisions {
                    outcome.differs(at, &decisions, &now);
                }
            }
            Record::Ended(_) | Record::ServiceTotals(_) => {}
        }
        if outcome.difference.is_some() {
            break;
        }
    }
    Ok(outcome)
}

impl Replay {
    fn differs<D: std::fmt::Debug>(&mut self, at: At, then: &[D], now: &[D]) {
        let step = self.steps;
        let told = |decisions: &[D]| decisions.iter().map(|one| format!("{one:?}")).collect();
        self.difference.get_or_insert_with(|| Difference {
            step,
            at,
            then: told(then),
            now: told(now),
        });
    }
}
