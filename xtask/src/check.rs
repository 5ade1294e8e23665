//! `cargo xtask check`: everything CI does, cheapest first. Every step runs even when an earlier
//! one failed, so that one run shows all that is wrong. That the published schema of the event stream
//! is current is a test of its own (crates/show/report).

use std::process::ExitCode;
use std::time::Instant;

use crate::error::Error;
use crate::metadata::Metadata;
use crate::{floors, licences, links, run, test};

/// Whether the tests are part of this check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tests {
    /// They are.
    Run,
    /// They run apart (`cargo xtask test`).
    LeaveOut,
}

/// What one step said: the breaches, none when all is well.
type Outcome = Result<Vec<String>, Error>;

/// A name and what is done.
type Step = (&'static str, fn() -> Outcome);

/// Runs all steps. Success only if every one of them found nothing.
pub(crate) fn check(tests: Tests) -> Result<ExitCode, Error> {
    let steps: [Step; 5] = [
        ("format", format),
        ("floors", || Ok(floors::breaches(&Metadata::load()?))),
        ("licences", licences),
        ("links", || links::breaches(&run::root())),
        ("clippy", clippy),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        let start = Instant::now();
        let outcome = step();
        let (verdict, lines) = match outcome {
            Ok(breaches) if breaches.is_empty() => ("ok", breaches),
            Ok(breaches) => ("FAILED", breaches),
            Err(error) => ("FAILED", vec![error.to_string()]),
        };
        for line in &lines {
            eprintln!("  {line}");
        }
        eprintln!(
            "check {name}: {verdict} ({:.1} s)",
            start.elapsed().as_secs_f64()
        );
        if verdict != "ok" {
            failed.push(name);
        }
    }
    let tested = match tests {
        Tests::Run => test::test(&[])?,
        Tests::LeaveOut => ExitCode::SUCCESS,
    };
    if failed.is_empty() {
        return Ok(tested);
    }
    eprintln!("check: failed in {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Runs a cargo command that says itself what is wrong.
fn cargo(args: &[&str], advice: &str) -> Outcome {
    let ended_well = run::status(run::cargo().args(args))?.success();
    Ok(if ended_well {
        Vec::new()
    } else {
        vec![advice.to_string()]
    })
}

fn format() -> Outcome {
    cargo(&["fmt", "--all", "--check"], "run `cargo fmt --all`")
}

fn clippy() -> Outcome {
    cargo(
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ],
        "clippy is not content; what it wants is above",
    )
}

fn licences() -> Outcome {
    let found = licences::breaches(&Metadata::load()?, &licences::Lists::load()?);
    if !found.is_empty() || !run::exists("cargo-deny") {
        if found.is_empty() {
            eprintln!(
                "  cargo-deny is not installed: deny.toml was held against cargo metadata; licence \
                 files and advisories were left out (`cargo install cargo-deny`)"
            );
        }
        return Ok(found);
    }
    cargo(
        &[
            "deny",
            "--log-level",
            "error",
            "check",
            "licenses",
            "bans",
            "sources",
        ],
        "cargo-deny is not content; what it found is above",
    )
}
