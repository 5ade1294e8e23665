//! What a machine asks for, and what it is answered.
//!
//! A machine is resumed with an [`Answer`] and runs until it needs something: the [`Call`]. Each call takes one kind of
//! [`Reply`]:
//!
//! | call | reply |
//! | --- | --- |
//! | `Iterate` | `Begin` |
//! | `Http` | `Responses`, one for each request, in their order |
//! | `Sleep` | `Woken` |
//! | `Now` | `Now` |
//! | `Pause` | `Resume` |
//! | any of them | `Interrupt`: the iteration ends here; `Terminate`: the machine ends here |
//! | `Ended` | none |

use serde::{Deserialize, Serialize};

use crate::http::{Outcome, Request};
use crate::note::Failure;

/// What a machine waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Call {
    /// The next iteration may begin when there is a permit for it.
    Iterate,
    /// These requests are to be sent, all at once when there are several. Each is exactly one exchange: redirects are
    /// followed by the machine with further calls, cookies are already among the headers.
    Http(Vec<Request>),
    /// Time is to pass.
    Sleep {
        /// For how long, in microseconds.
        us: u64,
    },
    /// The time is wanted (`Date.now()` and its kin); the answer's `at_us` is it.
    Now,
    /// A long computation gives way to other machines. Not recorded: it may be anywhere.
    Pause {
        /// For how long the machine has computed, in microseconds, since it last asked for anything else.
        computed_us: u64,
    },
    /// The machine has ended; it is not to be resumed.
    Ended(Ended),
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ended {
    /// The one function it was to run returned: its result as JSON, `None` for `undefined`.
    Returned(Option<String>),
    /// The script could not be initialized, or the one function it was to run failed.
    Failed(Failure),
    /// It was told to.
    Terminated,
}

/// What a machine is resumed with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The time, in microseconds since 1970; not before the time of the answer before.
    pub at_us: u64,
    /// What was asked for.
    pub reply: Reply,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// The iteration may begin (to `Iterate`).
    Begin(Permit),
    /// What came of each request (to `Http`).
    Responses(Vec<Outcome>),
    /// The time has passed (to `Sleep`).
    Woken,
    /// The time is `at_us` (to `Now`).
    Now,
    /// Go on (to `Pause`, and the first answer to a new machine).
    Resume,
    /// The iteration (or the one function the machine runs) ends here and now; no `catch` of the script sees it.
    Interrupt {
        /// Why, in words for a person: it becomes the failure's message.
        reason: String,
    },
    /// The machine ends here and now.
    Terminate,
    /// What `setup()` returned where the thread is now, as JSON: iterations are given this from now on (to `Iterate`,
    /// which is asked again).
    Data(Option<String>),
}

/// A permit for one iteration, with the numbers `k6/execution` tells about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Permit {
    /// Number of the iteration among those of this virtual user, from 0 (`__ITER`).
    pub in_vu: u64,
    /// Number among those of the scenario over all agents, from 0 (`exec.scenario.iterationInTest`).
    pub in_scenario: u64,
    /// Number among those of the scenario on this agent, from 0 (`exec.scenario.iterationInInstance`).
    pub in_instance: u64,
    /// How much of the scenario has passed, in thousandths (`exec.scenario.progress`).
    pub progress_permille: u16,
    /// What is going on around the machine (`exec.instance`).
    pub around: Around,
}

/// Counts of the agent at the time of a permit (`exec.instance`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Around {
    /// Iterations that were completed.
    pub iterations_completed: u64,
    /// Iterations that were interrupted.
    pub iterations_interrupted: u64,
    /// Virtual users with an iteration under way.
    pub vus_active: u64,
    /// Virtual users that exist.
    pub vus_initialized: u64,
    /// Time since the campaign began, in microseconds.
    pub test_run_us: u64,
}

impl Answer {
    /// An answer at a time.
    pub fn new(at_us: u64, reply: Reply) -> Self {
        Self { at_us, reply }
    }
}

impl Call {
    /// One word for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Iterate => "iterate",
            Self::Http(_) => "http",
            Self::Sleep { .. } => "sleep",
            Self::Now => "now",
            Self::Pause { .. } => "pause",
            Self::Ended(_) => "ended",
        }
    }
}

impl Reply {
    /// One word for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Begin(_) => "begin",
            Self::Data(_) => "data",
            Self::Responses(_) => "responses",
            Self::Woken => "woken",
            Self::Now => "now",
            Self::Resume => "resume",
            Self::Interrupt { .. } => "interrupt",
            Self::Terminate => "terminate",
        }
    }

    /// Whether this kind of reply may answer the call.
    pub fn fits(&self, call: &Call) -> bool {
        match (self, call) {
            (Self::Interrupt { .. } | Self::Terminate, call) => !matches!(call, Call::Ended(_)),
            (Self::Responses(outcomes), Call::Http(requests)) => outcomes.len() == requests.len(),
            (Self::Begin(_) | Self::Data(_), Call::Iterate)
            | (Self::Woken, Call::Sleep { .. })
            | (Self::Now, Call::Now)
            | (Self::Resume, Call::Pause { .. }) => true,
            _ => false,
        }
    }
}
