//! Fuzzer: recorded requests of a service, changed by their structure. Pure: what is changed next follows from the seed and from
//! what came of the changes before.
//!
//! ```text
//!   examples --> Fuzzer::add --> sites of each request (fields, query, path, headers, parts, raw bytes)
//!                                  |  each way in an order of the seed; then half by what was new about its answers
//!   Fuzzer::draw --> Trial: the request as it is to be sent --> sent within its iteration --> Fuzzer::learn
//! ```
//!
//! Promise: the same examples, seed and answers give the same requests.

mod bandit;
mod bytes;
mod change;
mod edit;
mod fuzzer;
mod hints;
mod json;
mod random;
mod request;
mod sites;
mod text;

pub use bytes::Bytes;
pub use edit::Edit;
pub use fuzzer::{Answer, Fuzzer, Trial};
pub use hints::{Hint, Hints};
pub use request::Request;
pub use sites::{Site, sites};
