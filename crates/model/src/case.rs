//! Edge cases: what was odd, how it was tried again, and what that told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{At, CaseId, TestId, ThreadId};

/// What kind of odd behaviour it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SymptomKind {
    /// A test reported failure, and no more is known of it.
    Failure,
    /// An assertion did not hold.
    Assertion,
    /// An exception or panic that nobody caught.
    Exception,
    /// A signal ended it.
    Signal,
    /// It ended itself (`abort`, a failed runtime check).
    Abort,
    /// A sanitizer reported.
    Sanitizer,
    /// It ran past its time limit.
    Timeout,
    /// It stood still: no CPU, no IO.
    Hang,
    /// It needed more memory than there was.
    OutOfMemory,
    /// Memory, descriptors or threads grow without levelling off.
    Leak,
    /// A server answered with an error of its own.
    ErrorAnswer,
    /// An answer was not what the scenario expects (a failed `check`).
    WrongAnswer,
    /// Far slower than its peers or its past.
    Slow,
}

/// A place in a program, as a backtrace tells it.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Frame {
    /// Function; empty when not told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub function: String,
    /// File; empty when not told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// Line, from 1; 0 when not told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub line: u32,
    /// It is the code under test, not a library's or a test runner's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_none_us(us: &u64) -> bool {
    *us == 0
}

impl Frame {
    /// What [`Frame::shown`] gives, read back; `own` is taken for granted.
    #[must_use]
    pub(crate) fn read(shown: &str) -> Frame {
        let (function, place) = match shown.rsplit_once(" (") {
            Some((function, place)) => (function, place.trim_end_matches(')')),
            None => ("", shown),
        };
        let (file, line) = match place.rsplit_once(':') {
            Some((file, line)) => (file, line.parse().unwrap_or(0)),
            None => (place, 0),
        };
        Frame {
            function: function.to_owned(),
            file: file.to_owned(),
            line,
            own: true,
        }
    }

    /// `function (file:line)`, as much of it as is told.
    #[must_use]
    pub fn shown(&self) -> String {
        let place = match (self.file.as_str(), self.line) {
            ("", _) => String::new(),
            (file, 0) => file.to_owned(),
            (file, line) => format!("{file}:{line}"),
        };
        match (self.function.as_str(), place.as_str()) {
            ("", place) => place.to_owned(),
            (function, "") => function.to_owned(),
            (function, place) => format!("{function} ({place})"),
        }
    }
}

/// What odd behaviour looked like: all that the question "is this the same bug?" rests on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Symptom {
    /// What kind.
    pub kind: SymptomKind,
    /// Language or source, and class: `rust panic`, `python ValueError`, `SIGSEGV`, `exit code 3`,
    /// `AddressSanitizer heap-use-after-free`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// What it said, as it was said; cut to a bounded length.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Innermost first; empty when there is no backtrace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<Frame>,
}

/// What a case is about.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A test of the plan.
    Test(TestId),
    /// A service: the endpoint (`POST /orders`), or empty when it is about the whole server.
    Service(String),
}

/// What neighbours do to an instance.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// Compute all the time.
    Cpu,
    /// Move memory all the time.
    Memory,
    /// Write files and force them to the disk.
    Disk,
}

/// One setting that is varied on purpose while a case is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "condition", rename_all = "snake_case")]
pub enum Condition {
    /// At most so much CPU.
    CpuLimit {
        /// Cores, as a limit in each tenth of a second.
        cores: f64,
    },
    /// Only so many CPUs are seen and used.
    Cpus {
        /// How many.
        count: u32,
    },
    /// At most so much memory.
    MemoryLimit {
        /// Bytes.
        bytes: u64,
    },
    /// At most so many bytes in a second to and from storage.
    DiskRate {
        /// Bytes a second.
        bytes_s: u64,
    },
    /// Each system call that works on a file takes longer.
    DiskDelay {
        /// Microseconds.
        us: u64,
    },
    /// Each message that is sent, and each connection that is made, takes longer.
    NetworkDelay {
        /// Microseconds.
        us: u64,
    },
    /// At most so much is sent.
    NetworkRate {
        /// Bits a second.
        bits_s: u64,
    },
    /// Datagrams are lost; what is sent over a connection is late instead, as by a retransmission.
    NetworkLoss {
        /// 0 to 1.
        share: f64,
    },
    /// Others are busy beside it.
    Noise {
        /// With what.
        noise: Noise,
        /// How many of them.
        tasks: u32,
    },
    /// The same work runs so many times at once.
    Copies {
        /// How many, at least 2.
        count: u32,
    },
    /// What the program takes from the system as random follows from this number.
    Seed {
        /// The number.
        seed: u64,
    },
    /// Directories are listed in an order that follows from this number.
    DirectoryOrder {
        /// The number.
        seed: u64,
    },
    /// Threads are paused and preferred at random, as this number has it.
    Schedule {
        /// The number.
        seed: u64,
    },
    /// Another time zone.
    TimeZone {
        /// Of the tz database (`Asia/Kolkata`).
        name: String,
    },
    /// Another locale.
    Locale {
        /// As in `LC_ALL`.
        name: String,
    },
    /// The clock shows another time.
    Clock {
        /// What it shows at the start, seconds since 1970.
        unix_s: u64,
    },
    /// Fewer files may be open.
    OpenFiles {
        /// How many.
        count: u64,
    },
    /// An environment variable has another value, or none.
    Variable {
        /// Its name.
        name: String,
        /// Its value; none: it is not set.
        value: Option<String>,
    },
}

/// A condition without its degree.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the condition of the same name")]
pub enum ConditionKind {
    CpuLimit,
    Cpus,
    MemoryLimit,
    DiskRate,
    DiskDelay,
    NetworkDelay,
    NetworkRate,
    NetworkLoss,
    Noise,
    Copies,
    Seed,
    DirectoryOrder,
    Schedule,
    TimeZone,
    Locale,
    Clock,
    OpenFiles,
    Variable,
}

impl ConditionKind {
    /// Each of them.
    pub const ALL: [ConditionKind; 18] = [
        ConditionKind::CpuLimit,
        ConditionKind::Cpus,
        ConditionKind::MemoryLimit,
        ConditionKind::DiskRate,
        ConditionKind::DiskDelay,
        ConditionKind::NetworkDelay,
        ConditionKind::NetworkRate,
        ConditionKind::NetworkLoss,
        ConditionKind::Noise,
        ConditionKind::Copies,
        ConditionKind::Seed,
        ConditionKind::DirectoryOrder,
        ConditionKind::Schedule,
        ConditionKind::TimeZone,
        ConditionKind::Locale,
        ConditionKind::Clock,
        ConditionKind::OpenFiles,
        ConditionKind::Variable,
    ];
}

impl Condition {
    /// Whether a program has to be started under it; others are applied to what runs.
    #[must_use]
    pub fn is_of_start(&self) -> bool {
        !matches!(
            self.kind(),
            ConditionKind::CpuLimit
                | ConditionKind::MemoryLimit
                | ConditionKind::NetworkRate
                | ConditionKind::Copies
        )
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> ConditionKind {
        match self {
            Condition::CpuLimit { .. } => ConditionKind::CpuLimit,
            Condition::Cpus { .. } => ConditionKind::Cpus,
            Condition::MemoryLimit { .. } => ConditionKind::MemoryLimit,
            Condition::DiskRate { .. } => ConditionKind::DiskRate,
            Condition::DiskDelay { .. } => ConditionKind::DiskDelay,
            Condition::NetworkDelay { .. } => ConditionKind::NetworkDelay,
            Condition::NetworkRate { .. } => ConditionKind::NetworkRate,
            Condition::NetworkLoss { .. } => ConditionKind::NetworkLoss,
            Condition::Noise { .. } => ConditionKind::Noise,
            Condition::Copies { .. } => ConditionKind::Copies,
            Condition::Seed { .. } => ConditionKind::Seed,
            Condition::DirectoryOrder { .. } => ConditionKind::DirectoryOrder,
            Condition::Schedule { .. } => ConditionKind::Schedule,
            Condition::TimeZone { .. } => ConditionKind::TimeZone,
            Condition::Locale { .. } => ConditionKind::Locale,
            Condition::Clock { .. } => ConditionKind::Clock,
            Condition::OpenFiles { .. } => ConditionKind::OpenFiles,
            Condition::Variable { .. } => ConditionKind::Variable,
        }
    }

    /// What it draws from, when it draws.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        match self {
            Condition::Seed { seed }
            | Condition::DirectoryOrder { seed }
            | Condition::Schedule { seed } => Some(*seed),
            _ => None,
        }
    }

    /// The same with another seed; itself when it has none.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Condition {
        match self {
            Condition::Seed { .. } => Condition::Seed { seed },
            Condition::DirectoryOrder { .. } => Condition::DirectoryOrder { seed },
            Condition::Schedule { .. } => Condition::Schedule { seed },
            other => other.clone(),
        }
    }
}

/// One thing that a case is made of and that could be left out.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CasePart {
    /// A test that ran before: in the same process where the suite's runner does so, else one after
    /// the other in the same instance.
    Before(TestId),
    /// A test that ran at the same time.
    Beside(TestId),
    /// A request of the recorded threads, by its place in the capsule.
    Request(u32),
    /// A piece of the body of such a request: its place in the capsule, and where in the body.
    Piece(u32, String),
    /// A variable of the environment that is not one of every program's.
    Variable(String),
}

/// How a case is tried: the original's parts that are kept, and what is set otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recipe {
    /// What is kept of the original, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<CasePart>,
    /// What differs from a plain run. At most one of each kind, but for variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What stands in the file that the test reads, in place of what stands there; none: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Which lines it runs is recorded; it may be slower then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub coverage: bool,
    /// Where its threads stand is told when it crashes or takes too long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stacks: bool,
}

/// How often something failed in how many runs, with an interval that holds however often it was
/// looked at meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// Runs.
    pub runs: u32,
    /// Of those, with the same symptom.
    pub failed: u32,
    /// Lower end of the interval, 0 to 1.
    pub low: f64,
    /// Upper end, 0 to 1.
    pub high: f64,
}

/// One recipe that was tried, and how often it failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Arm {
    /// What was run.
    pub recipe: Recipe,
    /// The conditions of the original, which all others are compared with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub control: bool,
    /// How often it failed.
    pub rate: Rate,
}

/// A condition that matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// The condition, at a degree at which it fails; none: a part of the original matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Parts that matter (a test that has to run before).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<CasePart>,
    /// With it, all else held.
    pub with: Rate,
    /// Without it, all else held.
    pub without: Rate,
    /// Between which degrees it begins to fail, in the unit of the condition: one that still passes, one
    /// that fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<(f64, f64)>,
}

/// How far a case is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Seen, and not tried again yet.
    #[default]
    Open,
    /// It is looked for a recipe under which it fails again.
    Reproducing,
    /// It failed again; which condition matters is tried.
    Explaining,
    /// What can be left out is tried.
    Minimizing,
    /// Nothing more is tried in this campaign.
    Closed,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaseVerdict {
    /// Fails whenever it is run.
    Always,
    /// Fails under a condition that is known, and not, or far less, without it.
    Conditional,
    /// Fails now and then, and no condition was found that matters.
    Sometimes,
    /// Did not fail again.
    NotReproduced,
    /// It could not be tried here.
    NotTried,
    /// It was tried on request, and did not fail.
    Unsuspicious,
}

/// All that is known of an edge case. The latest one of a case in the log counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Case {
    /// Which.
    pub case: CaseId,
    /// What it is about.
    pub subject: Subject,
    /// The request of a service that provokes it, as it was sent (`GET /items/13?why=rare`), once it was seen that one does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// It shows on a server that has run for so long, microseconds; 0: on any.
    #[serde(default, skip_serializing_if = "is_none_us")]
    pub age_us: u64,
    /// A call of its endpoint that takes so long is slow, microseconds; 0: that is not what it is about.
    #[serde(default, skip_serializing_if = "is_none_us")]
    pub bound_us: u64,
    /// How it looked at first; none when it was tried on request and has not failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symptom: Option<Symptom>,
    /// Executions of the ordinary work that showed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sightings: Vec<ThreadId>,
    /// When it was first seen in this campaign.
    pub since: At,
    /// It was closed in an earlier campaign, and is back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub returned: bool,
    /// How far it is.
    pub stage: Stage,
    /// What became of it, once it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<CaseVerdict>,
    /// What was tried, the control first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arms: Vec<Arm>,
    /// Runs until it first failed again, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_to_first: Option<u32>,
    /// What matters, the most telling first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// The smallest recipe that was seen to fail with the same symptom, and how often it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest: Option<Arm>,
    /// Nothing more can be left out of that one: each part was seen to matter.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub minimal: bool,
    /// What came of it on other builds of the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<OnVariant>,
    /// What the user should know: why nothing more was tried, what this host cannot do. One sentence
    /// each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// A case on another build of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OnVariant {
    /// Which build.
    pub variant: String,
    /// So often it was played there.
    pub plays: u32,
    /// And so often it failed, as the case does or with a report.
    pub failed: u32,
    /// What a sanitizer reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symptom: Option<Symptom>,
    /// Why it could not be played there; empty: it could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub void: String,
}

impl OnVariant {
    /// Whether anything is known yet.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.failed > 0 || !self.void.is_empty() || self.plays >= VARIANT_PLAYS
    }

    /// In a sentence: `on asan: AddressSanitizer heap-use-after-free at total (cart.c:12), 1 of 1 plays`.
    #[must_use]
    pub fn shown(&self) -> String {
        let Self {
            variant,
            plays,
            failed,
            ..
        } = self;
        if !self.void.is_empty() && *failed == 0 {
            return format!("on {variant}: it could not be played: {}", self.void);
        }
        let plays = format!("{failed} of {plays} plays");
        match &self.symptom {
            Some(symptom) => {
                let own = symptom.frames.iter().find(|frame| frame.own);
                let at = own.map_or_else(String::new, |frame| format!(" at {}", frame.shown()));
                format!("on {variant}: {}{at}, {plays}", symptom.class)
            }
            None if *failed == 0 => format!("on {variant}: it did not fail, {plays}"),
            None => format!("on {variant}: it fails too, and nothing more is said, {plays}"),
        }
    }
}

/// Plays of a case on another build, where none shows anything.
pub const VARIANT_PLAYS: u32 = 3;

/// Where the mistake may be, the most suspicious first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Suspects {
    /// Lines.
    #[serde(default)]
    pub lines: Vec<Suspect>,
    /// Functions, each as suspicious as its most suspicious line.
    #[serde(default)]
    pub functions: Vec<SuspectFunction>,
    /// Only the backtrace tells: which lines ran was not recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_backtrace: bool,
}

/// A function that failing runs execute and passing ones do not, or less.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SuspectFunction {
    /// File, relative to the project.
    pub file: String,
    /// As its language names it.
    pub name: String,
    /// Its first line, from 1.
    pub first: u32,
    /// Its last line.
    pub last: u32,
    /// Its most suspicious line.
    pub line: u32,
    /// Higher is more suspicious; 0 to 1.
    pub score: f64,
}

/// One line or function that failing runs execute and passing ones do not, or less.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Suspect {
    /// File, relative to the project when it is in it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Function, when known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub function: String,
    /// Higher is more suspicious; 0 to 1.
    pub score: f64,
    /// The line itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}
