//! The one binary.
#![expect(
    dead_code,
    unused_imports,
    reason = "the commands are joined to it next"
)]

mod arguments;
mod config;
mod exit;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let _arguments = arguments::Arguments::parse();
    exit::Exit::Passed.into()
}
