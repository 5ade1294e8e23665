//! The nouns of Cohort, one word for one thing, and nothing that acts.
//!
//! Every other crate speaks in these. What is here is also what the event log holds and what
//! `--events` prints, so a change here is a change of a published format: bump [`FORMAT`].

mod batch;
mod case;
mod case_plan;
mod finding;
mod fuzz;
mod helper;
mod id;
mod log;
mod sample;
mod service;
mod service_case;
mod step;
mod suite;

pub use batch::Batch;
pub use case::{
    Arm, Case, CasePart, CaseVerdict, Cause, Condition, ConditionKind, Frame, Noise, OnVariant,
    Rate, Recipe, Stage, Subject, Suspect, SuspectFunction, Suspects, Symptom, SymptomKind,
    VARIANT_PLAYS,
};
pub use case_plan::{CasePlan, CaseWork, KnownCase};
pub use finding::{Finding, FindingKind, Measured};
pub use fuzz::{FuzzPlan, FuzzRound};
pub use helper::{HelperEnding, HelperOffer, HelperPlan, HelperTold, HelperWithdrawal};
pub use id::{At, CaseId, EndpointId, GroupId, InstanceId, TestId, ThreadId};
pub use log::{Budget, CampaignEnd, CampaignStart, Ending, Plan, Record};
pub use sample::{Collector, HostSample, InstanceSample, SampleBatch};
pub use service::{
    Area, CallSeen, CaseThread, Change, ChangeVerdict, CheckTotal, EndpointWindow, ExceptionSeen,
    Exit, LoadWindow, MetricTotal, OwnMetric, Purpose, ServiceCommand, ServiceDecision,
    ServiceFinding, ServiceFindingKind, ServicePlan, ServiceReason, ServiceSeen, ServiceTotals,
    Share, SpanWindow, ThresholdTotal,
};
pub use service_case::{CaseRequest, CaseValue, Grown, OddCall, Oddity, Played};
pub use step::{
    Allotment, Command, Decision, Isolation, KillReason, Observation, Policy, Reason, Specialty,
};
pub use suite::{
    Estimate, Part, Quantiles, SuiteKind, TestCase, TestHistory, TestResult, ThreadEnd, Usage,
    Verdict,
};

/// Version of the record format. A log of another version is refused, never guessed at.
pub const FORMAT: u32 = 1;
