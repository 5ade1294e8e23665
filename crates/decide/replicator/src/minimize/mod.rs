//! Minimization: what can be left out, so that it still fails.
//!
//! ```text
//!   full list -> search -> check ------> done
//!                 ^          | it fails, but far less often than the full list:
//!                 +----------+ what was taken for "still fails" were other failures
//! ```
//!
//! The *search* looks for the needed items one after the other: the shortest beginning of the list that
//! still fails ends with an item that is needed; it is kept, and the search goes on before it. That is a
//! binary search for each needed item (as QuickXplain and dichotomic extraction of minimal unsatisfiable
//! subsets do it: Junker 2004, Hemery et al. 2006), so one item of a thousand takes about ten tries. Where
//! many items are needed, the steps get smaller as their density is learned (as in probabilistic delta
//! debugging: Wang et al. 2021). The *check* leaves out each item that is left by itself, until none can be:
//! the result is 1-minimal in the sense of Zeller & Hildebrandt (2002), whatever the structure.
//!
//! Every "still fails" and "does not fail any more" is a sequential test ([`Judge`]), so flaky cases take more
//! runs, but the same steps. Several runs can be under way at once: further runs of the same list where
//! one alone cannot decide, else other lists that are likely to be asked for.
//!
//! Promise: what is called smallest was seen to fail; what is called minimal was seen to stop failing
//! whichever of its items was left out, each time with an error of at most [`judge::STRICT_ERROR`].

pub mod json;
pub mod judge;
mod search;
pub mod text;
mod tree;

pub use judge::{Count, Judge, Verdict};
pub use search::{Candidate, Minimizer, Smallest};
pub use tree::{Branch, TreeMinimizer};
