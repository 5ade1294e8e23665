//! Identities and time. All are small, copyable, and dense from zero within one campaign.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!($letter, "{}"), self.0)
            }
        }

        impl $name {
            /// The id as an index into a dense table.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// One test of the plan: its place in [`crate::Plan::tests`].
    TestId,
    "test-"
);
id!(
    /// Tests that live together (a test binary, a Python module): its place in [`crate::Plan::groups`].
    GroupId,
    "group-"
);
id!(
    /// One isolated copy of the environment of the software under test.
    InstanceId,
    "i"
);
id!(
    /// One execution of one test: an attempt, and a test that is tried again gets a new thread; or one
    /// scenario thread (virtual user) of a service.
    ThreadId,
    "t"
);

id!(
    /// One edge case. Numbers from 1, unique within a project, over campaigns.
    CaseId,
    "EC-"
);

id!(
    /// One endpoint of a service: method and path with its variable parts left out.
    EndpointId,
    "e"
);

/// Microseconds since the campaign started, on a clock that never goes back.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct At(pub u64);

impl At {
    /// Microseconds from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: At) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time `us` microseconds after this one.
    #[must_use]
    pub fn plus_us(self, us: u64) -> At {
        At(self.0 + us)
    }

    /// Seconds since the campaign started.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}
