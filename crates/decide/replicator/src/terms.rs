//! What goes into the replicator and what comes out.

use std::collections::BTreeSet;

use cohort_model::{
    Batch, CaseId, CasePart, CaseVerdict, ConditionKind, Recipe, Stage, Subject, Symptom, ThreadId,
    Usage,
};

/// How much may be spent on cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Most runs of one case.
    pub runs: u32,
    /// Most run time of one case, the sum over its runs, seconds.
    pub seconds: f64,
    /// Most run time of all cases together, seconds.
    pub seconds_all: f64,
    /// Most cases that are tried at all; those beyond are closed as not tried, each with a remark.
    pub cases: u32,
    /// Failing and passing runs, of each so many, in which the lines that run are recorded at the end
    /// ([`Recipe::coverage`]); 0 where that cannot be had.
    pub coverage: u32,
    /// Failing runs of a crash or a hang in which it is told where its threads stand ([`Recipe::stacks`]);
    /// 0 where that cannot be had.
    pub stacks: u32,
    /// Most runs of one try ([`Try::batch`]); 1: a try is one run.
    pub batch: u32,
    /// No further run of a try begins after this time, microseconds.
    pub batch_us: u64,
    /// Runs of one try share what was drawn when their runner was started (the hash seed of an interpreter),
    /// unless a condition is about its start.
    pub share_start: bool,
}

impl Default for Limits {
    /// For a campaign of minutes: 600 runs and 600 s of run time (5 minutes on 2 instances) a case, 200 cases.
    fn default() -> Self {
        Self {
            runs: 600,
            seconds: 600.0,
            seconds_all: 3600.0,
            cases: 200,
            coverage: 0,
            stacks: 0,
            batch: 1,
            batch_us: 300_000,
            share_start: false,
        }
    }
}

/// What the replicator is told once.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// All that is drawn at random follows from it.
    pub seed: u64,
    /// CPU of this host, cores.
    pub cores: f64,
    /// Memory of this host that a campaign may use, bytes.
    pub memory: u64,
    /// What can be varied here.
    pub able: BTreeSet<ConditionKind>,
    /// The number of the first case that is opened.
    pub first_case: u32,
    /// How much may be spent.
    pub limits: Limits,
}

/// Something odd was seen in the ordinary work.
#[derive(Clone, Debug)]
pub struct Sighting<'a> {
    /// In what.
    pub subject: Subject,
    /// In which execution.
    pub thread: ThreadId,
    /// How it looked.
    pub symptom: &'a Symptom,
    /// What ran before and beside it, or its requests, in their order.
    pub parts: Vec<CasePart>,
    /// What that execution used.
    pub usage: Usage,
    /// More threads than cores ran beside it, or it waited for CPU or memory.
    pub crowded: bool,
    /// Passing runs of the same subject seen so far, history included; 0: never seen passing.
    pub passes: u32,
}

/// A case that an earlier campaign closed.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its number.
    pub case: CaseId,
    /// What it is about.
    pub subject: Subject,
    /// How it looked.
    pub symptom: Symptom,
    /// The smallest recipe that was seen to fail.
    pub smallest: Recipe,
    /// How often that failed then, 0 to 1; 0 when it is not known.
    pub rate: f64,
    /// What had become of it.
    pub verdict: CaseVerdict,
}

/// How sure a hunt for failures shall be: until P(failure rate > `p`) < `alpha`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hunt {
    /// Failure rate that would be too much, 0 to 1.
    pub p: f64,
    /// Probability of being wrong about it, 0 to 1.
    pub alpha: f64,
}

/// What is free for reproducing now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// Cores.
    pub cores: f64,
    /// Memory, bytes.
    pub memory: u64,
    /// What it is started under can be chosen ([`cohort_model::Condition::is_of_start`]); else it has begun already.
    pub start: bool,
}

/// What to run next.
#[derive(Clone, Debug, PartialEq)]
pub struct Try {
    /// For which case.
    pub case: CaseId,
    /// What the case is about.
    pub subject: Subject,
    /// How.
    pub recipe: Recipe,
    /// How far the case is.
    pub stage: Stage,
    /// Cores it is expected to use.
    pub cores: f64,
    /// Memory it is expected to need at most, bytes.
    pub memory: u64,
    /// It is run several times, one after the other; none: once.
    pub batch: Option<Batch>,
}

/// How a try ended. One that neither passed nor shows a symptom (it was killed because the campaign
/// ends, its instance was lost) says nothing and is not counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How it failed.
    pub symptom: Option<Symptom>,
    /// It passed.
    pub passed: bool,
    /// Runs of its batch that passed before this one.
    pub passed_before: u32,
    /// What it used; in a batch, what one run used on the average.
    pub usage: Usage,
    /// Conditions of its recipe that could not be applied.
    pub missing: Vec<ConditionKind>,
}
