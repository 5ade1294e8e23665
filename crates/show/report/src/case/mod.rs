//! Edge cases, as people see them.
//!
//! ```text
//!                     +-> text       one page, in a terminal
//! Case -> Dossier ----+-> markdown   to paste into an issue
//!   |                 +-> json       for programs
//!   +-> verdict       one sentence: summary, JUnit, plain lines
//!   +-> news          what is new of it, while it is tried
//!   +-> page          pictures (HTML, no script, nothing fetched)
//! ```
//!
//! Promise: every face says the same of a case, since all take their words from [`words`] and
//! [`verdict`].

mod chart;
mod curl;
mod dossier;
mod json;
mod listing;
mod markdown;
mod news;
mod numbers;
mod order;
mod page;
mod table;
mod text;
pub mod verdict;
pub mod words;
mod wrap;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use curl::curl;
pub use dossier::{Dossier, Excerpt, kin};
pub use listing::Listing;
pub use news::closings;
pub(crate) use news::{News, Scene};
pub use numbers::{degree, interval, moment, once_in, percent};
pub use order::most_telling_first;
pub use page::{article, page};
pub(crate) use table::in_short;
