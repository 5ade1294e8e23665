//! Asks a test program which tests it has.
//!
//! ```text
//! --list --format terse    all lines `name: test`  -> a list; again with --ignored
//!                          nothing at all          -> empty list, or a harness that ignores its arguments?
//! --list                   `0 tests, 0 benchmarks` -> libtest, empty
//! without the filters      a list                  -> empty by filter
//! anything else            -> no list: the program runs whole
//! ```
//!
//! A harness that ignores its arguments runs its tests when it is asked for a list, so it is stopped
//! at its first line that is none of a list, or at the time limit.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::arguments::{Harness, Ignored};
use super::recorder::Called;

/// Longest that a program may take over its list.
pub(super) const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at a program that closed its output but has not ended.
const POLL: Duration = Duration::from_millis(2);
/// Longest piece of a strange line that is shown.
const SHOWN_CHARS: usize = 60;
/// What libtest prints last when it has nothing to list.
const NOTHING: &str = "0 tests, 0 benchmarks";

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
        let mut args = vec![
            OsString::from(&self.name),
            "--exact".into(),
            "--nocapture".into(),
        ];
        if self.marked {
            args.push("--ignored".into());
        }
        args
    }
}

/// Lists the tests of `program` that `harness` selects. `program` carries only what stands before the
/// harness's own arguments.
pub(super) fn list(program: &Called, harness: &Harness, limit: Duration) -> Listed {
    if let Some(option) = &harness.unknown {
        return Listed::Whole(format!(
            "is given `{option}`, which only its own harness understands"
        ));
    }
    match lists(program, harness, limit) {
        Ok(tests) => Listed::Tests(tests),
        Err(why) => Listed::Whole(why),
    }
}

fn lists(program: &Called, harness: &Harness, limit: Duration) -> Result<Vec<Entry>, String> {
    let terse = ["--list", "--format", "terse"].map(OsString::from);
    let selected = [&harness.selection[..], &terse].concat();
    let all = ask(program, &selected, limit)?;
    if all.is_empty() {
        return empty(program, harness, limit);
    }
    let only_ignored = [&selected[..], &["--ignored".into()]].concat();
    let marked: BTreeSet<String> = ask(program, &only_ignored, limit)?.into_iter().collect();
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

/// Whether a program that listed nothing has nothing to list.
fn empty(program: &Called, harness: &Harness, limit: Duration) -> Result<Vec<Entry>, String> {
    let plain = [&harness.selection[..], &["--list".into()]].concat();
    if ask(program, &plain, limit).is_err_and(|said| said.contains(NOTHING)) {
        return Ok(Vec::new());
    }
    let unfiltered = ["--list", "--format", "terse"].map(OsString::from);
    if harness.selection.is_empty() || ask(program, &unfiltered, limit)?.is_empty() {
        return Err("prints no list".to_owned());
    }
    Ok(Vec::new())
}

/// Runs `program` with `args` and reads the names it lists.
fn ask(program: &Called, args: &[OsString], limit: Duration) -> Result<Vec<String>, String> {
    let deadline = Instant::now() + limit;
    let mut child = Command::new(&program.program)
        .args(&program.args)
        .args(args)
        .env_clear()
        .envs(&program.env)
        .current_dir(&program.cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot be started to list its tests ({error})"))?;
    let stdout = child.stdout.take().expect("stdout was just piped");
    let (answer, answered) = mpsc::sync_channel(1);
    // Not joined: something that the program left behind may hold its output open for ever.
    std::thread::spawn(move || answer.send(names(stdout)));
    let read = answered
        .recv_timeout(limit)
        .unwrap_or_else(|_| Err(too_long(limit)));
    let in_time = read.is_err() || has_ended(&child, deadline);
    // The whole group: a harness that ran its tests may have started anything. The child is not yet
    // reaped, so the group is still its own.
    let _ = killpg(pid(&child), Signal::SIGKILL);
    let status = child
        .wait()
        .map_err(|error| format!("cannot be waited for ({error})"))?;
    match read {
        Ok(_) if !in_time => Err(too_long(limit)),
        Ok(_) if !status.success() => Err(format!("fails when asked for its tests ({status})")),
        read => read,
    }
}

/// Waits until `child` has ended, without reaping it; false at the deadline.
fn has_ended(child: &Child, deadline: Instant) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(WaitStatus::StillAlive) = waitid(Id::Pid(pid(child)), flags) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
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

    fn listed(script: &str, harness: &Harness, limit: Duration) -> Listed {
        let (_directory, program) = program(script);
        list(&program, harness, limit)
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
        let all = listed(LISTING, &Harness::default(), LIMIT);
        assert_eq!(all, tests(&[("a", false), ("b c", true), ("ü$", false)]));
        let only = Harness {
            ignored: Ignored::Only,
            ..Harness::default()
        };
        assert_eq!(listed(LISTING, &only, LIMIT), tests(&[("b c", true)]));
    }

    #[test]
    fn an_empty_list_is_told_from_a_harness_that_ignores_its_arguments() {
        assert_eq!(listed(LISTING, &filtered("none"), LIMIT), tests(&[]));
        let libtest = r#"[ "$*" = --list ] && echo && echo '0 tests, 0 benchmarks'; true"#;
        assert_eq!(listed(libtest, &Harness::default(), LIMIT), tests(&[]));
        assert_eq!(
            listed("true", &filtered("x"), LIMIT),
            Listed::Whole("prints no list".to_owned())
        );
    }

    #[test]
    fn what_is_no_list_runs_whole() {
        let whole = |script| match listed(script, &Harness::default(), LIMIT) {
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
        assert!(
            matches!(listed(LISTING, &unknown, LIMIT), Listed::Whole(why) if why.contains("--mine"))
        );
    }

    #[test]
    fn a_program_that_hangs_is_stopped_with_all_it_started() {
        let short = Duration::from_millis(300);
        for hangs in ["wait", "exec >&-; wait"] {
            let (directory, program) = program(&format!("sleep 1000 & echo $! > pid; {hangs}"));
            let why = Listed::Whole("has not listed its tests within 0 s".to_owned());
            assert_eq!(list(&program, &Harness::default(), short), why);
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
