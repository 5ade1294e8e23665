//! Behavior Analyzer: from telemetry to windows, from windows to findings, and the cost model that
//! says what a test is expected to need.
//!
//! ```text
//!   samples -> windows (a pure function of two) -> findings (each reported when it begins)
//!   history, ends, running neighbours -> cost model -> estimates (p50, p90)
//!   what is seen of a service -> seconds, spans -> judges -> findings (new, updated, over)
//! ```
//!
//! It decides nothing, and holds no clock, no file and no randomness: the same calls give the same
//! answers.

mod analyzer;
pub mod changepoint;
mod cost;
mod findings;
mod growth;
pub mod history;
mod instance;
pub mod leak;
pub mod service;
mod settings;
mod statistics;
pub mod windows;

pub use analyzer::Analyzer;
pub use cost::CostModel;
pub use settings::Settings;
