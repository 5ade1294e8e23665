//! A host with test instances, simulated: the orchestrator's commands are carried out in virtual
//! time on tests whose needs are made up, so that a policy can be tried, and every rule of the
//! orchestrator checked, thousands of times a minute.
//!
//! CPU is shared equally among the threads that want it (processor sharing); memory is a step at
//! half of a test's CPU time; a thread beyond its limit is held.

mod host;
mod needs;
pub mod service;

pub use host::{Host, Outcome, run};
pub use needs::{Needs, Random, case_plan, plan};
