//! Looks for weaknesses of a server: from outside, by what it listens on, and by what it is built from.
//!
//! ```text
//!             ┌─ replay: the scenario's requests again, with cookies ─▶ headers, cookies, verbose errors
//!   plan.json ┼─ probes: one value of a request made hostile ─────────▶ traversal, injection, redirects
//!             ├─ sockets: what it listens on and is connected to, against what was declared
//!             └─ lock files, against advisories of the user's ────────▶ a JSON object a line for each weakness
//! ```
//!
//! Promises: no connection is ever made but to the address in the plan, so no redirect is followed; requests end when their time is
//! used up, whatever the server does; a weakness is told once, with the first request that shows it, and only when the server's own
//! answer to a harmless request differs.

mod advisory;
mod formats;
mod http;
mod locks;
mod passive;
mod plan;
mod points;
mod probe;
mod scan;
mod signs;
mod sockets;
mod tls;
mod version;
mod weakness;

use std::io::Write;
use std::path::{Path, PathBuf};

pub use plan::{Example, Plan};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A plan that makes no sense.
    #[error("{} is no plan of a scan", path.display())]
    Plan {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// Does what a plan says.
#[must_use]
pub fn look(plan: &Plan) -> Vec<cohort_model::HelperTold> {
    scan::scan(plan).told()
}

/// What the hidden command `scan` is: does what a plan says, and prints a JSON object for each weakness. Gives the exit code.
#[must_use]
pub fn main(plan: &Path) -> i32 {
    let mut said = std::io::stderr();
    match Plan::take(plan) {
        Ok(plan) => {
            let found = scan::scan(&plan).lines();
            let written = std::io::stdout().write_all(found.as_bytes());
            i32::from(written.is_err())
        }
        Err(error) => {
            let mut why: Option<&dyn std::error::Error> = Some(&error);
            while let Some(one) = why {
                // Who reads no more has seen enough.
                let _ = writeln!(said, "{one}");
                why = one.source();
            }
            2
        }
    }
}
