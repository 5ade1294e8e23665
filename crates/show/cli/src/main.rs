//! The one binary: what can be typed, and which room answers it.

#![warn(clippy::print_stderr, clippy::print_stdout)]

mod arguments;
mod case;
mod config;
mod doctor;
mod exit;
mod faces;
mod failure;
mod harness;
mod helpers;
mod past;
mod report;
mod run;
mod say;
mod script;
mod service;
mod terminal;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Campaign, Command};
use case::Form;
use exit::Exit;
use failure::Failure;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::Agent) {
        return cohort_hub::service::agent();
    }
    if let Command::Scan { plan } = &arguments.command {
        std::process::exit(cohort_scan::main(plan));
    }
    if let Command::Harness { plan } = &arguments.command {
        std::process::exit(cohort_harness::main(plan));
    }
    if let Command::Under { order, program } = &arguments.command {
        std::process::exit(cohort_conditions::main(order, program));
    }
    match answer(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            say::note(&failure);
            failure.exit().into()
        }
    }
}

fn answer(arguments: Arguments) -> Result<Exit, Failure> {
    let color = faces::color(arguments.color);
    let directory = directory(arguments.directory)?;
    match arguments.command {
        Command::Run(flags) => run::run(&directory, &flags, color),
        Command::Resume { campaign, faces } => run::resume(&directory, &campaign, faces, color),
        Command::Replay { campaign } => past::replay(&directory, &campaign),
        Command::Show {
            what,
            junit,
            markdown,
            json,
        } => show(&directory, what, junit.as_deref(), (markdown, json), color),
        Command::Repro(flags) => case::repro(&directory, &flags, color),
        Command::Script { source } => script::script(&directory, &source),
        Command::Doctor => doctor::doctor(color),
        Command::Helpers => helpers::list(&run::Place::of_campaigns(&directory)?.root, color),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "cohort", &mut script);
            say::print(|out| out.write_all(&script))?;
            Ok(Exit::Passed)
        }
        Command::Schema => {
            say::print(|out| out.write_all(cohort_report::events::schema_text().as_bytes()))?;
            Ok(Exit::Passed)
        }
        Command::Agent
        | Command::Scan { .. }
        | Command::Harness { .. }
        | Command::Under { .. }
        | Command::InstanceInit { .. } => std::process::exit(cohort_host::init::main()),
    }
}

fn show(
    directory: &Path,
    what: Option<String>,
    junit: Option<&Path>,
    (markdown, json): (bool, bool),
    color: bool,
) -> Result<Exit, Failure> {
    let form = match (markdown, json) {
        (true, _) => Form::Markdown,
        (_, true) => Form::Json,
        _ => Form::Terminal,
    };
    let case = what
        .as_deref()
        .filter(|what| case::is_meant(directory, what));
    match case {
        Some(_) if junit.is_some() => Err(Failure::Misplaced("--junit is for a campaign")),
        Some(what) => case::show(directory, what, form, color),
        None if form != Form::Terminal => Err(Failure::Misplaced(
            "--markdown and --json are for an edge case, as in: cohort show EC-1 --json",
        )),
        None => past::show(directory, &Campaign { name: what }, junit, color),
    }
}

fn directory(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let path = given.unwrap_or_else(|| PathBuf::from("."));
    let found = path.canonicalize().and_then(|found| {
        let is_directory = found.is_dir().then_some(found);
        is_directory.ok_or_else(|| std::io::ErrorKind::NotADirectory.into())
    });
    found.map_err(|source| Failure::Directory { path, source })
}
