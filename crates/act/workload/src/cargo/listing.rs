//! Asks a test program which tests it has.
//!
//! ```text
//! --list --format terse    all lines `name: test`        -> a list; again with filters, with --ignored
//!                          nothing, and it uses libtest  -> an empty list
//! anything else            -> no list: the program runs whole
//! ```
//!
//! A harness that ignores its arguments runs its tests when it is asked for a list, so it is stopped
//! at its first line that is none of a list, or at the time limit, and never asked a second time. One
//! that lists all its tests as ignored ones may only not know that option, so it runs whole too.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::arguments::{Harness, Ignored};
use super::recorder::Called;
use crate::Stop;

/// Longest that a program may take over its list.
pub(super) const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at a program that closed its output but has not ended.
const POLL: Duration = Duration::from_millis(2);
/// Longest piece of a strange line that is shown.
const SHOWN_CHARS: usize = 60;

/// What a program said of its tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// These, in the program's order.
    Tests(Vec<Entry>),
    /// It cannot say; why not, to be read after the program's name.
    Whole(String),
}

/// One listed test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Marked `#[ignore]`.
    pub(super) marked: bool,
}

impl Entry {
    /// Arguments that run this test alone.
    pub(super) fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--exact".into(), "--nocapture".into()];
        if self.marked {
            args.push("--ignored".into());
        }
        if self.name.starts_with('-') {
            args.push("--".into());
        }
        args.push(OsString::from(&self.name));
        args
    }
}

/// Lists the tests of `program` that `harness` selects. `program` carries only what stands before the
/// harness's own arguments.
pub(super) fn list(program: &Called, harness: &Harness, asking: &Asking<'_>) -> Listed {
    if let Some(option) = &harness.unknown {
        return Listed::Whole(format!(
            "is given `{option}`, which only its own harness understands"
        ));
    }
    match lists(program, harness, asking) {
        Ok(tests) => Listed::Tests(tests),
        Err(why) => Listed::Whole(why),
    }
}

/// How a program is asked.
pub(super) struct Asking<'a> {
    /// It does not use libtest, so it may do anything.
    pub(super) own_harness: bool,
    /// Longest that it may take.
    pub(super) limit: Duration,
    pub(super) stop: &'a Stop,
}

fn lists(program: &Called, harness: &Harness, asking: &Asking<'_>) -> Result<Vec<Entry>, String> {
    let terse = ["--list", "--format", "terse"].map(OsString::from);
    if asking.own_harness {
        // First without filters, which would make a list empty: then nothing at all is no list.
        let all = ask(program, &terse, asking)?;
        if all.is_empty() {
            return Err("prints no list".to_owned());
        }
        let only_ignored = [&terse[..], &["--ignored".into()]].concat();
        if ask(program, &only_ignored, asking)? == all {
            return Err("prints the same list for `--ignored`".to_owned());
        }
    }
    let selected = [&harness.selection[..], &terse].concat();
    let all = ask(program, &selected, asking)?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let only_ignored = [&selected[..], &["--ignored".into()]].concat();
    let marked: BTreeSet<String> = ask(program, &only_ignored, asking)?.into_iter().collect();
    let mut seen = BTreeSet::new();
    let mut tests = Vec::new();
    for name in all {
        if !seen.insert(name.clone()) {
            return Err(format!("lists `{name}` twice"));
        }
        let marked = marked.contains(&name);
        if marked || harness.ignored != Ignored::Only {
            tests.push(Entry { name, marked });
        }
    }
    Ok(tests)
}

/// Runs `program` with `args` and reads the names it lists.
fn ask(program: &Called, args: &[OsString], asking: &Asking<'_>) -> Result<Vec<String>, String> {
    let limit = asking.limit;
    let deadline = Instant::now() + limit;
    let mut command = Command::new(&program.program);
    command
        .args(&program.args)
        .args(args)
        .env_clear()
        .envs(&program.env)
        .current_dir(&program.cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut started = asking
        .stop
        .spawn(&mut command)
        .map_err(|error| format!("cannot be started to list its tests ({error})"))?;
    let stdout = started.child.stdout.take().expect("stdout was just piped");
    let (answer, answered) = mpsc::sync_channel(1);
    // Not joined: something that the program left behind may hold its output open for ever.
    std::thread::spawn(move || answer.send(names(stdout)));
    let read = answered
        .recv_timeout(limit)
        .unwrap_or_else(|_| Err(too_long(limit)));
    let in_time = read.is_err() || has_ended(started.group, deadline);
    // The whole group: a harness that ran its tests may have started anything. The child is not yet
    // reaped, so the group is still its own.
    let _ = killpg(started.group, Signal::SIGKILL);
    let status = started
        .child
        .wait()
        .map_err(|error| format!("cannot be waited for ({error})"))?;
    match read {
        Ok(_) if !in_time => Err(too_long(limit)),
        Ok(_) if !status.success() => Err(format!("fails when asked for its tests ({status})")),
        read => read,
    }
}

/// Waits until `child` has ended, without reaping it; false at the deadline.
fn has_ended(child: Pid, deadline: Instant) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(WaitStatus::StillAlive) = waitid(Id::Pid(child), flags) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

fn too_long(limit: Duration) -> String {
    format!("has not listed its tests within {} s", limit.as_secs())
}

/// The names in `output`, or its first line that is no name.
fn names(output: impl Read) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|error| format!("prints no list ({error})"))?;
        let name = line
            .strip_suffix(": test")
            .or_else(|| line.strip_suffix(": benchmark"));
        match name {
            Some(name) => names.push(name.to_owned()),
            None if line.is_empty() => {}
            None => {
                let shown: String = line.chars().take(SHOWN_CHARS).collect();
                return Err(format!("prints no list (but `{shown}`)"));
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell script as a program. Another process writes it, so that none of this one's can hold it
    /// open.
    fn program(script: &str) -> (tempfile::TempDir, Called) {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        let write = "printf '#!/bin/sh\n%s\n' \"$1\" > \"$0\" && chmod +x \"$0\"";
        let status = Command::new("sh")
            .args(["-c", write])
            .arg(&program)
            .arg(script)
            .status();
        assert!(status.unwrap().success());
        let env = std::env::vars_os().collect();
        let cwd = directory.path().to_owned();
        (
            directory,
            Called {
                program,
                args: Vec::new(),
                env,
                cwd,
            },
        )
    }

    /// Asks a program that does, or does not, bring a harness of its own.
    fn asked(script: &str, harness: &Harness, own_harness: bool) -> Listed {
        let (_directory, program) = program(script);
        let asking = Asking {
            own_harness,
            limit: LIMIT,
            stop: &Stop::default(),
        };
        list(&program, harness, &asking)
    }

    fn listed(script: &str, harness: &Harness) -> Listed {
        asked(script, harness, false)
    }

    fn tests(of: &[(&str, bool)]) -> Listed {
        let entry = |(name, marked): &(&str, bool)| Entry {
            name: (*name).to_owned(),
            marked: *marked,
        };
        Listed::Tests(of.iter().map(entry).collect())
    }

    fn filtered(word: &str) -> Harness {
        Harness {
            selection: vec![word.into()],
            ..Harness::default()
        }
    }

    const LISTING: &str = r#"case "$*" in
        none*) ;;
        *--ignored*) echo 'b c: test' ;;
        *) echo 'a: test'; echo 'b c: test'; echo 'ü$: benchmark' ;;
    esac"#;

    #[test]
    fn a_list_is_read_with_its_ignored_tests() {
        let all = listed(LISTING, &Harness::default());
        assert_eq!(all, tests(&[("a", false), ("b c", true), ("ü$", false)]));
        let only = Harness {
            ignored: Ignored::Only,
            ..Harness::default()
        };
        assert_eq!(listed(LISTING, &only), tests(&[("b c", true)]));
    }

    #[test]
    fn an_empty_list_is_told_from_a_harness_that_ignores_its_arguments() {
        assert_eq!(listed(LISTING, &filtered("none")), tests(&[]));
        assert_eq!(asked(LISTING, &filtered("none"), true), tests(&[]));
        assert_eq!(listed("true", &Harness::default()), tests(&[]));
        let silent = Listed::Whole("prints no list".to_owned());
        assert_eq!(asked("true", &filtered("x"), true), silent);
    }

    #[test]
    fn a_harness_that_does_not_know_ignored_tests_runs_whole() {
        let same = "echo 'a: test'; echo 'b: test'";
        let why = Listed::Whole("prints the same list for `--ignored`".to_owned());
        assert_eq!(asked(same, &Harness::default(), true), why);
        assert_eq!(asked(same, &filtered("a"), true), why);
        let all_ignored = tests(&[("a", true), ("b", true)]);
        assert_eq!(listed(same, &Harness::default()), all_ignored);
        // That a filter leaves only ignored ones says nothing.
        let one = tests(&[("b c", true)]);
        let filters = r#"case "$*" in *--ignored*|b*) echo 'b c: test' ;; *) echo 'a: test'; echo 'b c: test' ;; esac"#;
        assert_eq!(asked(filters, &filtered("b"), true), one);
    }

    #[test]
    fn who_prints_no_list_is_asked_once() {
        let (directory, program) = program("echo \"$*\" >> asked");
        let asking = Asking {
            own_harness: true,
            limit: LIMIT,
            stop: &Stop::default(),
        };
        list(&program, &filtered("x"), &asking);
        let asked = std::fs::read_to_string(directory.path().join("asked")).unwrap();
        assert_eq!(asked, "--list --format terse\n");
    }

    #[test]
    fn what_is_no_list_runs_whole() {
        let whole = |script| match listed(script, &Harness::default()) {
            Listed::Whole(why) => why,
            Listed::Tests(tests) => panic!("{tests:?}"),
        };
        assert_eq!(
            whole("echo running; exec sleep 1000"),
            "prints no list (but `running`)"
        );
        assert!(whole("echo 'a: test'; exit 3").contains("exit status: 3"));
        assert_eq!(whole("echo 'a: test'; echo 'a: test'"), "lists `a` twice");
        let unknown = Harness {
            unknown: Some("--mine".to_owned()),
            ..Harness::default()
        };
        assert!(matches!(listed(LISTING, &unknown), Listed::Whole(why) if why.contains("--mine")));
    }

    #[test]
    fn a_program_that_hangs_is_stopped_with_all_it_started() {
        let short = Duration::from_millis(300);
        for hangs in ["wait", "exec >&-; wait"] {
            let (directory, program) = program(&format!("sleep 1000 & echo $! > pid; {hangs}"));
            let why = Listed::Whole("has not listed its tests within 0 s".to_owned());
            let asking = Asking {
                own_harness: true,
                limit: short,
                stop: &Stop::default(),
            };
            assert_eq!(list(&program, &Harness::default(), &asking), why);
            let pid = std::fs::read_to_string(directory.path().join("pid")).unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            let stat = format!("/proc/{}/stat", pid.trim());
            let runs = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
            while runs() {
                assert!(Instant::now() < deadline, "{} still runs", pid.trim());
                std::thread::sleep(POLL);
            }
        }
    }
}
