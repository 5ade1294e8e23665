//! Which scenario threads are to run and iterate when ([`Schedule`]), and whether what they
//! measured holds what was asked of it ([`Metrics`]). Both as k6 has it, from a script's
//! [`Options`]. Pure: told the time, in microseconds.
//!
//! ```text
//!   script's options --> Options --> Schedule::step(now, events) --> orders: Start, Permit, Stop, ...
//!                           |
//!                           +-----> Metrics::add(samples), judge --> thresholds, Summary
//! ```

mod duration;
mod error;
mod fields;
mod metrics;
mod options;
mod schedule;
mod summary;
mod threshold;

pub use error::Error;
pub use metrics::{Added, Contains, MetricKind, Metrics, Verdict};
pub use options::{
    Executor, Options, Overrides, Scenario, Stage, Submetric, ThresholdOption, parse_stages,
};
pub use schedule::{Order, Permit, Phase, Progress, ScenarioId, Schedule, ScheduleEvent, Totals};
pub use summary::{MetricSummary, Summary, ThresholdSummary};
pub use threshold::{Aggregation, Comparison, Expression};
