//! The only way out: what is said to the user on standard error, and printed on standard output.
//!
//! Promise: a reader that went away ends nothing.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::failure::Failure;

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

/// Prints what `write` writes on standard output.
///
/// # Errors
/// When it cannot be written. Who pipes to `head` has seen enough: that is none.
pub(crate) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|source| Failure::File {
            action: "write to",
            path: "standard output".into(),
            source,
        }),
    }
}
