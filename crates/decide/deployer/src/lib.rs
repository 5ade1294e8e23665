//! Helper Service Deployer: which helper looks at which instance, and for how long. Pure.
//!
//! ```text
//!  findings --> suspicions \
//!                           wanted -- compared with what runs --> deploy, withdraw
//!  offers, budget, past ---/                    ^
//!                                 cost, latency, ends
//! ```
//!
//! It promises that what helpers are expected to use, or are measured to, never exceeds their budget when one
//! is deployed; that an instance has one helper at a time, unless those that meet are said to get along; and that
//! whatever was deployed is withdrawn or has ended by itself when its reason is gone.

mod cost;
mod deployer;
mod past;
mod terms;
mod wanted;

pub use deployer::Deployer;
pub use terms::{Cost, Order};
