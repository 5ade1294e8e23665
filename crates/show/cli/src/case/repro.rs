//! `cohort repro`: a case is run again under its conditions, and it is said how often it failed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cohort_hub::service::{ServiceRepeat, ServiceSeat, ServiceSeated};
use cohort_hub::{Cases, Outcome, Repeat, Seat, Seated, Work};
use cohort_model::{Case, CaseVerdict, ConditionKind, Ending, Rate, Recipe, Subject};
use cohort_report::case::words::share;
use cohort_report::{View, case, words};
use console::style;

use super::{Found, Target};
use crate::arguments::{Faces, ReproFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::run::{self, Place};
use crate::say;

/// Runs, when nothing is said of how many.
const RUNS: u32 = 10;
/// Runs go on no longer, when nothing is said of for how long.
const LONGEST: Duration = Duration::from_hours(24);

pub(crate) fn repro(directory: &Path, flags: &ReproFlags, color: bool) -> Result<Exit, Failure> {
    let place = Place::of_campaigns(directory)?;
    let found = match Target::find(&place, directory, &flags.what)? {
        Target::Known(found) => found,
        Target::Foreign(found, differences) => {
            for difference in differences {
                say::note(format_args!("not as where it was seen: {difference}"));
            }
            found
        }
    };
    if let Subject::Service(endpoint) = &found.case.subject {
        return of_service(&place, &found, endpoint, (flags, color));
    }
    let cases = wanted(&found, flags);
    if flags.shell {
        return shell(place, &found, cases, color);
    }
    let faces = Faces {
        progress: flags.progress,
        ..Faces::default()
    };
    let (view, outcome) = run::again(place, &found.suite, cases, (faces, color))?;
    let now = view.edge_cases.get(&found.case.case);
    tell(&found, now)?;
    Ok(exit(now, &outcome))
}

/// Leaves the user in a shell where the case can be run; its exit code is no word on the case.
fn shell(place: Place, found: &Found, cases: Cases, color: bool) -> Result<Exit, Failure> {
    console::set_colors_enabled_stderr(color);
    let id = found.case.case;
    let names = |test| found.name(test).unwrap_or("(unknown test)").to_owned();
    let how = case::verdict::recipe(&recipe(&found.case).0, &names);
    let subject = case::verdict::subject(&found.case, &names);
    let seat = Seat {
        shell: user_shell(),
        ready: Box::new(move |seated: &Seated| {
            let typed = seated.command.iter().map(|word| word.to_string_lossy());
            say::line(format_args!(
                "{id}: {subject} {how}\nin {}, with the scratch directory {} and {}",
                seated.directory.display(),
                seated.scratch.display(),
                limits(&seated.unapplied)
            ));
            say::line(format_args!(
                "{}  {}\n{}   {}\n{}    leaves, and removes all of it",
                style("again").for_stderr().cyan(),
                "runs the test once, as above:",
                "     ",
                words::printable(&shell_words::join(typed)),
                style("exit").for_stderr().cyan(),
            ));
        }),
    };
    run::sit(place, &found.suite, cases, seat)?;
    Ok(Exit::Passed)
}

fn limits(unapplied: &[ConditionKind]) -> String {
    let names: Vec<&str> = unapplied.iter().map(|it| case::words::kind(*it)).collect();
    match names.as_slice() {
        [] => "the limits of its conditions".to_owned(),
        names => format!(
            "without a {}, which cannot be set here",
            names.join(" and a ")
        ),
    }
}

/// The requests of a case are played again, each time against a server that has just begun.
fn of_service(
    place: &Place,
    found: &Found,
    endpoint: &str,
    (flags, color): (&ReproFlags, bool),
) -> Result<Exit, Failure> {
    let id = found.case.case;
    let recording = Recording::of(place, found)?;
    let play = recording.path.clone();
    let (recipe, before) = recipe(&found.case);
    let repeat = ServiceRepeat {
        case: id,
        play,
        subject: endpoint.to_owned(),
        symptom: found.case.symptom.clone(),
        recipe,
        age_us: found.case.age_us,
        bound_us: found.case.bound_us,
        runs: flags.runs.unwrap_or(RUNS),
    };
    if flags.shell {
        return beside_service(place, found, &repeat, color);
    }
    let now = run::again_for_service(place, &repeat)?;
    let rate = before.map_or_else(String::new, |rate| format!(" (before: {})", share(&rate)));
    let how = if now.failed > 0 {
        "failed again in"
    } else {
        "did not fail:"
    };
    say::print(|out| {
        writeln!(
            out,
            "{id} {how} {} of {} runs{rate}: {endpoint}",
            now.failed, now.runs
        )?;
        for note in now.notes.iter().chain(&now.left) {
            writeln!(out, "  {}", words::printable(note))?;
        }
        Ok(())
    })?;
    Ok(match (now.failed, now.stopped) {
        (1.., _) => Exit::Passed,
        (0, true) => Exit::Interrupted,
        (0, false) => Exit::Failed,
    })
}

/// Leaves the user in a shell beside the server, as a case has it; its exit code is no word on the case.
fn beside_service(
    place: &Place,
    found: &Found,
    repeat: &ServiceRepeat,
    color: bool,
) -> Result<Exit, Failure> {
    console::set_colors_enabled_stderr(color);
    let case = found.case.clone();
    let under = Recipe {
        conditions: repeat.recipe.conditions.clone(),
        ..Recipe::default()
    };
    let how = match under.conditions.is_empty() {
        true => String::new(),
        false => format!(" {}", case::verdict::recipe(&under, &|_| String::new())),
    };
    let subject = case::verdict::subject(&case, &|_| String::new());
    let old = match case.age_us {
        0 => String::new(),
        age_us => format!(
            "; it shows once the server has run for {}",
            words::duration(age_us)
        ),
    };
    let id = case.case;
    let seat = ServiceSeat {
        shell: user_shell(),
        case,
        ready: Box::new(move |seated: &ServiceSeated| {
            let pid = seated
                .pid
                .map_or_else(String::new, |pid| format!(", process {pid}"));
            say::line(format_args!(
                "{id}: {subject}{how}{old}\nthe server answers at {} ($BASE){pid}, with {}; what it writes is in {}",
                seated.url,
                limits(&seated.unapplied),
                seated.logs.display()
            ));
            let command = |name: &'static str| style(name).for_stderr().cyan();
            say::line(format_args!(
                "{}  plays the case once, against the server as it is now\n       its requests as curl lines: {}\n{}   leaves, and removes all of it",
                command("again"),
                seated.script.display(),
                command("exit"),
            ));
        }),
    };
    run::sit_beside(place, repeat, seat)?;
    Ok(Exit::Passed)
}

fn user_shell() -> PathBuf {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
    shell.map_or_else(|| "/bin/sh".into(), Into::into)
}

/// What was recorded of a server's case, as a file.
struct Recording {
    path: PathBuf,
    /// It was taken out of a capsule, and goes when this goes.
    passing: bool,
}

impl Recording {
    fn of(place: &Place, found: &Found) -> Result<Self, Failure> {
        let Some(bytes) = &found.play else {
            let directory = place.project.cases().directory(found.case.case);
            let path = directory.join("play");
            let passing = false;
            return match path.exists() {
                true => Ok(Self { path, passing }),
                false => Err(Failure::Misplaced("there is no recording of it")),
            };
        };
        let name = format!("cohort-play-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(bytes));
        let passing = true;
        match written {
            Ok(()) => Ok(Self { path, passing }),
            Err(source) => Err(Failure::File {
                action: "write",
                path,
                source,
            }),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.passing {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The recipe with the least that was seen to fail; as it was at first when none was.
pub(crate) fn recipe(case: &Case) -> (Recipe, Option<Rate>) {
    let control = || case.arms.iter().find(|arm| arm.control);
    match case.smallest.as_ref().or_else(control) {
        Some(arm) => (arm.recipe.clone(), Some(arm.rate)),
        None => (Recipe::default(), None),
    }
}

fn wanted(found: &Found, flags: &ReproFlags) -> Cases {
    let runs = match (flags.runs, flags.time) {
        (Some(runs), _) => runs,
        (None, Some(_)) => u32::MAX,
        (None, None) => RUNS,
    };
    let names = found.names.iter();
    let test = match found.case.subject {
        Subject::Test(test) => found.name(test).unwrap_or_default(),
        Subject::Service(_) => "",
    };
    Cases {
        after: flags.time.map_or(LONGEST, Duration::from_micros),
        work: Work::Repeat(Box::new(Repeat {
            case: found.case.case,
            test: test.to_owned(),
            symptom: found.case.symptom.clone(),
            recipe: Recipe {
                coverage: false,
                stacks: false,
                ..recipe(&found.case).0
            },
            tests: names.map(|(test, name)| (*test, name.clone())).collect(),
            runs,
        })),
        ..Cases::default()
    }
}

/// Says how often it failed, and whether that is as before.
fn tell(found: &Found, now: Option<&Case>) -> Result<(), Failure> {
    let id = found.case.case;
    let names = |test| found.name(test).unwrap_or("(unknown test)").to_owned();
    let subject = case::verdict::subject(&found.case, &names);
    let (recipe, before) = recipe(&found.case);
    let how = case::verdict::recipe(&recipe, &names);
    let rate = now.and_then(|case| case.arms.first()).map(|arm| arm.rate);
    let text = match rate {
        Some(rate) if rate.runs > 0 => format!(
            "{id} {} {} runs{}",
            if rate.failed > 0 {
                "failed again in"
            } else {
                "did not fail:"
            },
            share(&rate),
            compared(&rate, before.as_ref())
        ),
        _ => format!("{id} was not run"),
    };
    let remarks = now.map_or(&[][..], |case| case.remarks.as_slice());
    say::print(|out| {
        writeln!(out, "{text}: {subject} {how}")?;
        for remark in remarks {
            writeln!(out, "  {}", words::printable(remark))?;
        }
        Ok(())
    })
}

/// `, as before (41 of 50)`: whether the intervals of both overlap.
fn compared(now: &Rate, before: Option<&Rate>) -> String {
    let Some(before) = before.filter(|rate| rate.runs > 0) else {
        return String::new();
    };
    let how = if now.high < before.low {
        "less often than before"
    } else if now.low > before.high {
        "more often than before"
    } else {
        "as before"
    };
    format!(", {how} ({})", share(before))
}

fn exit(now: Option<&Case>, outcome: &Outcome) -> Exit {
    let failed = now.is_some_and(|case| case.arms.iter().any(|arm| arm.rate.failed > 0));
    let was_run = now.is_some_and(|case| case.arms.iter().any(|arm| arm.rate.runs > 0));
    match outcome.end.ending {
        _ if failed => Exit::Passed,
        Ending::Broken => Exit::Host,
        Ending::Interrupted if !was_run => Exit::Interrupted,
        _ => Exit::Failed,
    }
}

/// Whether a case failed in a campaign that is for cases alone.
pub(crate) fn any_failed(view: &View) -> bool {
    let harmless = [
        CaseVerdict::NotReproduced,
        CaseVerdict::Unsuspicious,
        CaseVerdict::NotTried,
    ];
    view.edge_cases.values().any(|case| {
        let failed = case.arms.iter().any(|arm| arm.rate.failed > 0);
        failed
            && case
                .verdict
                .is_none_or(|verdict| !harmless.contains(&verdict))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(failed: u32, runs: u32, low: f64, high: f64) -> Rate {
        Rate {
            runs,
            failed,
            low,
            high,
        }
    }

    #[test]
    fn rates_are_compared_by_their_intervals() {
        let before = rate(41, 50, 0.69, 0.91);
        let cases = [
            (rate(9, 10, 0.6, 0.98), ", as before (41 of 50)"),
            (
                rate(2, 100, 0.0, 0.07),
                ", less often than before (41 of 50)",
            ),
            (
                rate(100, 100, 0.96, 1.0),
                ", more often than before (41 of 50)",
            ),
        ];
        for (now, words) in cases {
            assert_eq!(compared(&now, Some(&before)), words);
        }
        assert_eq!(compared(&before, None), "");
    }
}
