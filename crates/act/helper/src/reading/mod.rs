//! From what a helper printed to what it tells.

mod calls;
mod compare;
mod cycle;
mod dumps;
mod flames;
mod growth;
mod kept;
mod lines;
mod locks;
mod pprof;
mod profile;
mod samples;
mod stacks;
mod switches;
mod symbols;

use cohort_model::HelperTold;

use crate::Reads;

pub use compare::compared;
pub use flames::{difference, flames};
pub use pprof::{Taken, Weight, pprof};
pub use profile::Profile;

/// What was printed is not what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A debugger that could not look.
    #[error("it shows no stacks")]
    NoStacks,
    /// A line that makes no sense.
    #[error("line {line} of its output is {found:?}; expected {expected}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What it says, cut.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// Things told at most.
const TOLD_MAX: usize = 20;

/// Reads the output of a helper. `program` is the file name of what it looked at.
///
/// # Errors
/// When it is not in the form that its manifest names.
pub fn read(reads: Reads, output: &str, program: &str) -> Result<Found, Error> {
    let mut found = match reads {
        Reads::Gdb => Found::told(stacks::read(output, program)?),
        Reads::Perf => profiled(Profile::of_perf(output), program),
        Reads::Growth => stays(growth::read(output, program)),
        Reads::Locks => stays(locks::read(output, program)),
        Reads::Grown => stays(growth::read_folded(output, program)?),
        Reads::Stays => stays(growth::read_lasting(output, program)?),
        Reads::Dumps => stays(dumps::read(output, program)?),
        Reads::Kept => stays(kept::read(output, program)),
        Reads::Folded => profiled(Profile::of_folded(output)?, program),
        Reads::Switches => stays(switches::read(output, program)),
        Reads::Calls => stays(calls::read(output)?),
        Reads::Waited => waited(Profile::of_folded(output)?, program),
        Reads::Json => Found::told(lines::json(output)?),
        Reads::Lines => Found::told(lines::plain(output)),
    };
    found.told.truncate(TOLD_MAX);
    Ok(found)
}

/// What a helper found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Sentences, the most telling first.
    pub told: Vec<HelperTold>,
    /// Stacks, of which flame graphs are made.
    pub profile: Option<Profile>,
}

impl Found {
    fn told(told: Vec<HelperTold>) -> Self {
        Self {
            told,
            profile: None,
        }
    }
}

fn profiled(profile: Profile, program: &str) -> Found {
    let told = profile.told(program);
    stays((profile, told))
}

fn waited(profile: Profile, program: &str) -> Found {
    let profile = profile.within(program);
    let told = profile.told_of_waits(program);
    stays((profile, told))
}

fn stays((profile, told): (Profile, Vec<HelperTold>)) -> Found {
    Found {
        told,
        profile: Some(profile),
    }
}
