//! Every developer task, one module each. `cargo xtask` without arguments lists them.

mod bench;
mod check;
mod error;
mod floors;
mod licences;
mod links;
mod metadata;
mod run;
mod test;
mod vm;

use std::process::ExitCode;

use error::Error;

const USAGE: &str = "\
usage: cargo xtask TASK

  check [--no-tests]           everything CI does: format, clippy, floors, licences, links, schema, tests
  test [ARGS FOR CARGO TEST]   installs what only tests need, then cargo test --workspace, and without ARGS
                               the tests of control groups once more, as test-vm
  test-vm                      the tests of control groups in a virtual machine with version 2 only
  bench suite [--json] [--rows A,B] [--runs N] [--list] [--cohort FILE]
                               side by side with cargo-nextest and pytest-xdist
  bench fuzz [--json] [--rows A,B] [--runs N] [--list] [--cohort FILE]
                               how soon a crash is found from recorded traffic, beside radamsa
  bench service [--json] [--rows A,B] [--runs N] [--list] [--cohort FILE] [--minutes N] [--data DIR]
                               campaigns of a service: beside Locust and Goose, and what they find
  bench helpers [--json] [--rows A,B] [--list] [--cohort FILE]
                               what helpers name, how soon they are there, and what they cost
  bench cases [--json] [--rows A,B] [--runs N] [--list] [--cohort FILE] [--budget TIME] [--bugs A,B]
                               small bugs with known causes: beside plain rerunning and stress-ng
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        ["check"] => check::check(check::Tests::Run),
        ["check", "--no-tests"] => check::check(check::Tests::LeaveOut),
        ["test", rest @ ..] => test::test(rest),
        ["test-vm"] => test::test_vm(),
        ["bench", "suite", rest @ ..] => bench::suite(rest),
        ["bench", "service", rest @ ..] => bench::service(rest),
        ["bench", "fuzz", rest @ ..] => bench::fuzz(rest),
        ["bench", "helpers", rest @ ..] => bench::helpers(rest),
        ["bench", "cases", rest @ ..] => bench::cases(rest),
        other => Err(Error::Usage(other.join(" "))),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            eprintln!("  because: {cause}");
            source = cause.source();
        }
        if matches!(error, Error::Usage(_)) {
            eprint!("\n{USAGE}");
        }
        ExitCode::from(2)
    })
}
