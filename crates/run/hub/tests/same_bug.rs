//! "Is this the same bug?" on programs that really fail: each bug runs several times, with other values,
//! ports, processes, temporary directories and places of the source, with and without backtraces.
//!
//! No two bugs may be merged; of the pairs of runs of one bug at most 5 % may be split.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cohort_model::{SuiteKind, Symptom, SymptomKind, Verdict};
use cohort_replicator::sameness::{Fingerprint, Groups, same};
use cohort_symptom::Ended;

/// Runs of each bug.
const RUNS: u64 = 4;
/// Share of pairs of one bug that may be told apart.
const SPLIT_MAX: f64 = 0.05;

/// A way to fail: what it is called here, what is run for it, and whether OTHER is set. Two entries of
/// one name are one bug that two programs reach.
type Bug = (&'static str, &'static str, bool);

const fn bug(name: &'static str) -> Bug {
    (name, name, false)
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/same_bug")
        .join(name)
}

fn symptom(suite: SuiteKind, test: &str, output: &Output) -> Symptom {
    use std::os::unix::process::ExitStatusExt;
    let signal = output.status.signal();
    let ended = Ended {
        suite,
        test,
        verdict: if signal.is_some() {
            Verdict::Crashed
        } else {
            Verdict::Failed
        },
        exit_code: output.status.code(),
        signal,
        stdout: &output.stdout,
        stderr: &output.stderr,
        ..Ended::default()
    };
    assert!(!output.status.success(), "{test} did not fail");
    cohort_symptom::read(&ended).expect("each failure has a symptom")
}

/// Says what was merged and what was split, and fails when it was too much.
fn judge(what: &str, seen: &BTreeMap<&str, Vec<Symptom>>) {
    let all: Vec<(&str, &Symptom)> = seen
        .iter()
        .flat_map(|(bug, runs)| runs.iter().map(|run| (*bug, run)))
        .collect();
    let (mut merged, mut split, mut prints) = (Vec::new(), Vec::new(), 0);
    let (mut alike, mut different) = (0, 0);
    for (index, (bug, one)) in all.iter().enumerate() {
        for (other_bug, other) in &all[index + 1..] {
            let answer = same(one, other);
            assert_eq!(answer, same(other, one));
            if bug == other_bug {
                alike += 1;
                prints += usize::from(Fingerprint::of(one) == Fingerprint::of(other));
                if !answer {
                    split.push(format!("{bug}:\n  {one:?}\n  {other:?}"));
                }
            } else {
                different += 1;
                if answer || Fingerprint::of(one) == Fingerprint::of(other) {
                    merged.push(format!("{bug} and {other_bug}:\n  {one:?}\n  {other:?}"));
                }
            }
        }
    }
    let mut groups = Groups::default();
    for (_, symptom) in &all {
        groups.add(symptom);
    }
    println!(
        "| {what} | {} bugs | {} runs | {} groups | {} of {different} pairs merged | {} of {alike} pairs split | \
         {prints} with equal fingerprints |",
        seen.len(),
        all.len(),
        groups.len(),
        merged.len(),
        split.len(),
    );
    let first = |all: &[String]| all.iter().take(6).cloned().collect::<Vec<_>>().join("\n");
    for line in &split {
        println!("split: {line}");
    }
    assert!(merged.is_empty(), "{}", first(&merged));
    let share = split.len() as f64 / f64::from(alike.max(1));
    assert!(share <= SPLIT_MAX, "{}", first(&split));
}

/// Runs every bug [`RUNS`] times; `command` is told the bug's program, a directory of its own and the run.
fn run(
    bugs: &[Bug],
    suite: SuiteKind,
    command: impl Fn(&str, &Path, u64) -> Command,
) -> BTreeMap<&'static str, Vec<Symptom>> {
    let mut seen: BTreeMap<&'static str, Vec<Symptom>> = BTreeMap::new();
    for (name, program, other) in bugs {
        for run in 0..RUNS {
            let scratch = tempfile::tempdir().expect("a directory");
            // Of different lengths, odd and even.
            let seed = 7 + run * 977 + run.pow(6);
            let mut command = command(program, scratch.path(), run);
            command
                .env("SEED", seed.to_string())
                .env("TMPDIR", scratch.path());
            if *other {
                command.env("OTHER", "1");
            }
            let output = command.output().expect("it runs");
            let test = if suite == SuiteKind::Cargo {
                format!("tests::{program}")
            } else {
                (*program).to_owned()
            };
            seen.entry(name)
                .or_default()
                .push(symptom(suite, &test, &output));
        }
    }
    seen
}

#[test]
fn rust_programs() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("bugs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let built = Command::new(rustc)
        .args(["--test", "--edition", "2024", "-C", "debuginfo=1", "-o"])
        .args([&program, &source("bugs.rs")])
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let bugs = [
        bug("lost_update"),
        ("first assert", "two_asserts", true),
        ("second assert", "two_asserts", false),
        bug("float_off"),
        bug("out_of_bounds"),
        bug("unwrap_none"),
        bug("missing_file"),
        bug("port_taken"),
        ("popped empty", "popped_empty", false),
        ("popped empty", "popped_empty_elsewhere", false),
        bug("worker_dies"),
        bug("poisoned"),
        bug("sender_gone"),
        bug("overflow"),
        bug("borrowed_twice"),
        bug("cut_letter"),
        ("helper, no user", "helper_fails", true),
        ("helper, closed", "helper_fails", false),
        ("error, no route", "returns_error", true),
        ("error, closed", "returns_error", false),
        bug("exits"),
        bug("aborts"),
        bug("overflows_its_stack"),
        bug("does_not_panic"),
    ];
    let seen = run(&bugs, SuiteKind::Cargo, |test, _, run| {
        let mut command = Command::new(&program);
        command.args(["--exact", &format!("tests::{test}"), "--nocapture"]);
        command.env("RUST_BACKTRACE", if run % 2 == 0 { "0" } else { "1" });
        command
    });
    judge("Rust", &seen);
}

#[test]
fn python_programs() {
    let bugs = [
        bug("assert_values"),
        ("first assert", "two_asserts", true),
        ("second assert", "two_asserts", false),
        ("first call of a helper", "helper_asserts", true),
        ("second call of a helper", "helper_asserts", false),
        bug("no_price"),
        bug("no_name"),
        ("no number", "no_number", false),
        ("no number", "no_number_elsewhere", false),
        bug("divided"),
        bug("none_returned"),
        bug("no_file"),
        bug("refused"),
        ("gone", "gone", false),
        ("gone", "thread_raised", false),
        bug("chained"),
        bug("too_deep"),
        bug("bad_json"),
        bug("not_unicode"),
        bug("changed"),
        bug("empty"),
        bug("child_failed"),
        bug("too_many_files"),
        bug("exits"),
        bug("out_of_memory"),
        bug("crashed"),
        bug("aborted"),
    ];
    let seen = run(&bugs, SuiteKind::Exec, |name, scratch, _| {
        let place = scratch.join("shop");
        std::fs::create_dir(&place).unwrap();
        let file = place.join("bugs.py");
        std::fs::copy(source("bugs.py"), &file).unwrap();
        let mut command = Command::new("python3");
        command.arg(file).arg(name);
        command
    });
    judge("Python", &seen);
}

/// What is killed at its time limit: where it stood tells bugs apart, if anything told that.
#[test]
fn programs_that_do_not_end() {
    let mut seen: BTreeMap<&str, Vec<Symptom>> = BTreeMap::new();
    for name in ["stuck_on_lock", "stuck_on_answer"] {
        for run in 0..3 {
            let output = Command::new("python3")
                .arg(source("bugs.py"))
                .arg(name)
                .env("SEED", run.to_string())
                .output()
                .unwrap();
            let ended = Ended {
                verdict: Verdict::TimedOut,
                stderr: &output.stderr,
                ..Ended::default()
            };
            seen.entry(name)
                .or_default()
                .push(cohort_symptom::read(&ended).unwrap());
        }
    }
    assert!(
        seen.values()
            .flatten()
            .all(|one| one.kind == SymptomKind::Timeout)
    );
    judge("stuck", &seen);
    let silent = Ended {
        verdict: Verdict::TimedOut,
        ..Ended::default()
    };
    let silent = cohort_symptom::read(&silent).unwrap();
    assert!(same(&silent, &silent) && same(&silent, &seen["stuck_on_lock"][0]));
}

/// A C compiler is needed to build Cohort, sanitizers are not: without them, those bugs are left out.
#[test]
fn c_programs() {
    let folder = tempfile::tempdir().unwrap();
    let build = |name: &str, flags: &[&str]| -> Option<PathBuf> {
        let program = folder.path().join(name);
        let built = Command::new("cc")
            .args(["-g", "-O0", "-pthread", "-w"])
            .args(flags)
            .arg("-o")
            .args([&program, &source("bugs.c")])
            .output()
            .unwrap();
        let works = built.status.success()
            && Command::new(&program)
                .env("SEED", "1")
                .output()
                .is_ok_and(|output| output.status.success());
        if !works {
            println!("skipped: cc cannot build and run a program with {flags:?} here");
        }
        works.then_some(program)
    };
    let all: [(&str, &[&str], &[&str]); 4] = [
        (
            "plain",
            &[],
            &["assert_total", "assert_parts", "freed_twice"],
        ),
        (
            "address",
            &["-fsanitize=address"],
            &["null_walk", "heap_over", "used_freed", "freed_twice"],
        ),
        ("thread", &["-fsanitize=thread"], &["raced"]),
        (
            "undefined",
            &["-fsanitize=undefined", "-fno-sanitize-recover"],
            &["overflowed", "shifted"],
        ),
    ];
    let mut seen: BTreeMap<&str, Vec<Symptom>> = BTreeMap::new();
    for (name, flags, bugs) in all {
        let Some(program) = build(name, flags) else {
            continue;
        };
        let bugs: Vec<Bug> = bugs.iter().map(|name| bug(name)).collect();
        let found = run(&bugs, SuiteKind::Exec, |bug, scratch, _| {
            // Elsewhere in memory and on disk each time.
            let copy = scratch.join("bugs");
            std::fs::copy(&program, &copy).unwrap();
            let mut command = Command::new(copy);
            command.arg(bug);
            command
        });
        for (bug, runs) in found {
            // What two tools say of one bug is not compared.
            let key = if name == "plain" && bug == "freed_twice" {
                "freed twice, plain"
            } else {
                bug
            };
            seen.insert(key, runs);
        }
    }
    judge("C", &seen);
}
