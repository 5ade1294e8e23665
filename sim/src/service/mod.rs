//! A service of several instances under scenario threads, simulated in virtual time: the conductor's
//! commands are carried out, late, on instances whose calls cost CPU and time that are made up.
//!
//! Threads call one after the other (a closed loop); CPU of an instance is shared equally among its
//! calls, up to its share; reports come late, but in order.

mod host;
mod needs;
mod report;

pub use host::{ServiceHost, ServiceOutcome, run_service};
pub use needs::{Crash, Defect, ScenarioNeeds, ServiceNeeds, service_plan};
