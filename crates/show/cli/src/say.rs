//! The only way out to standard error.
//!
//! Promise: a reader that went away ends nothing.

use std::fmt::Display;
use std::io::{self, Write};

/// Says a line on standard error. There is nobody left to tell when that fails.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says a line of Cohort's own, on standard error.
pub(crate) fn note(text: impl Display) {
    line(format_args!("cohort: {text}"));
}

/// Passes on what another program wrote to its standard error.
pub(crate) fn pass_on(bytes: &[u8]) {
    let _ = io::stderr().write_all(bytes);
}
