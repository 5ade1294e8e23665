//! Localization: where failing and passing runs differ in the code.
//!
//! Every line gets a score from how many failing and passing runs executed it ([`formula`]), to which what the
//! backtrace of the failure tells is added: `(Ochiai + 1/2 * 1/depth) / 1.5` for lines of the function that is
//! `depth`-th among the program's own in the backtrace, from 1 for the innermost. Without a backtrace the
//! score is Ochiai's.
//!
//! Where the runs are of one test, which fails sometimes, they often execute the same lines, but not
//! equally often. There a line's score is the best that any "more than n times" or "at most n times"
//! reaches (predicates over counts, as in statistical debugging: Liblit et al., PLDI 2005), a tenth lower, since
//! it was chosen among many.
//!
//! Where no runs can be recorded the functions of the backtrace are all there is, without those of tests: an
//! assertion tells where a mistake showed, and the functions that it came through where it may be.
//!
//! Promise: nothing is ranked that no failing run has executed, and equal scores have equal ranks.

pub mod formula;
mod guards;
mod rank;
mod spectra;

pub use guards::with_guards;
pub use rank::{Evidence, Ranked, from_backtrace, functions, lines};
pub use spectra::Spectra;
