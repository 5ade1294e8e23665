//! Campaigns of a service, as people see them.
//!
//! ```text
//!                   +-> frame     live, in a terminal
//! records -> ServiceView -> lines     as they come, in CI
//!                   +-> summary   the end, in a terminal
//!                   +-> junit     the end, for CI
//!                   +-> page      the end, with pictures (HTML, no script, nothing fetched)
//! ```

mod chart;
mod frame;
mod fuzz;
mod helpers;
mod junit;
mod lines;
mod page;
mod script;
mod series;
mod summary;
mod view;
mod words;

pub(crate) use chart::{COLORS, escape};
pub use frame::frame;
pub use fuzz::FuzzSum;
pub use junit::junit;
pub use lines::Lines;
pub(crate) use page::STYLE;
pub use page::page;
pub use series::{Point, Series};
pub use summary::ServiceSummary;
pub use view::{ServiceInstance, ServiceView};

#[cfg(test)]
mod scenario;
#[cfg(test)]
mod tests;
