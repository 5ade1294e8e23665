//! Several runs of one order: until one fails, each as if it were the only one.

mod support;

use std::process::Stdio;

use support::{Under, can, lines, wait_until};

/// An order of so many runs; no further one begins after so many microseconds.
fn times(conditions: &str, (runs, us): (u32, u64), stepped: &str) -> Under {
    Under::new(&format!(
        "{{\"conditions\": [{conditions}], \"times\": {{\"batch\": {{\"runs\": {runs}, \"us\": {us}, \
         \"stepped\": [{stepped}]}}, \"progress\": \"passed\"}}}}"
    ))
}

/// The same with a directory that is emptied.
fn with_scratch(runs: u32) -> Under {
    let under = Under::new(&format!(
        "{{\"times\": {{\"batch\": {{\"runs\": {runs}, \"us\": {LONG}}}, \"progress\": \"passed\", \
         \"scratch\": \"scratch\"}}}}"
    ));
    std::fs::create_dir(under.path("scratch")).expect("a directory");
    under
}

/// Runs that passed before the last one.
fn passed(under: &Under) -> u32 {
    let text = std::fs::read_to_string(under.path("passed")).expect("progress");
    text.trim().parse().expect("a number")
}

const LONG: u64 = 60_000_000;

#[test]
fn it_ends_with_the_first_failure_and_says_what_that_one_said() {
    let under = times("", (10, LONG), "");
    let script = "echo run >> runs; n=$(wc -l < runs); echo \"this is $n\"; [ $n -lt 4 ] || exit 7";
    let output = under.shell(script);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(lines(&output.stdout), ["this is 4"]);
    assert_eq!(passed(&under), 3);
}

#[test]
fn where_all_pass_it_passes() {
    let under = times("", (5, LONG), "");
    let output = under.shell("echo run >> runs; echo said; echo too >&2");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(lines(&output.stdout), ["said"]);
    assert_eq!(lines(&output.stderr), ["too"]);
    assert_eq!(passed(&under), 4);
    let runs = std::fs::read(under.path("runs")).expect("runs");
    assert_eq!(lines(&runs).len(), 5);
}

#[test]
fn no_run_begins_when_the_time_is_over() {
    let under = times("", (1000, 0), "");
    assert!(under.shell("echo run >> runs").status.success());
    assert_eq!(passed(&under), 0);
}

#[test]
fn it_ends_by_the_signal_of_the_run_that_failed() {
    use std::os::unix::process::ExitStatusExt;
    let under = times("", (10, LONG), "");
    let script = "echo run >> runs; [ $(wc -l < runs) -lt 3 ] || kill -SEGV $$";
    let output = under.shell(script);
    assert_eq!(output.status.signal(), Some(11));
    assert_eq!(passed(&under), 2);
}

#[test]
fn each_run_has_the_next_seed() {
    let under = times(
        "{\"condition\": \"seed\", \"seed\": 40}",
        (3, LONG),
        "\"seed\"",
    );
    assert!(
        under
            .shell("echo $PYTHONHASHSEED >> seeds")
            .status
            .success()
    );
    let seeds = std::fs::read(under.path("seeds")).expect("seeds");
    assert_eq!(lines(&seeds), ["41", "42", "43"]);
    let fixed = times("{\"condition\": \"seed\", \"seed\": 40}", (3, LONG), "");
    assert!(
        fixed
            .shell("echo $PYTHONHASHSEED >> seeds")
            .status
            .success()
    );
    let seeds = std::fs::read(fixed.path("seeds")).expect("seeds");
    assert_eq!(lines(&seeds), ["41", "41", "41"]);
}

#[test]
fn nothing_of_a_run_is_left_for_the_next() {
    let under = with_scratch(4);
    // What it leaves running, and what it leaves lying.
    let script = "cd scratch; [ -z \"$(ls -A)\" ] || exit 1; mkdir -p a/b; echo x > a/b/c; echo y > .d; \
                  if [ -s ../pid ]; then kill -0 $(cat ../pid) 2>/dev/null && exit 2; fi; \
                  sleep 1000 & echo $! > ../pid";
    let output = under.shell(script);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(passed(&under), 3);
}

#[test]
fn a_scratch_directory_that_is_gone_ends_it() {
    let under = with_scratch(4);
    assert!(under.shell("rmdir scratch").status.success());
    assert_eq!(passed(&under), 0);
}

#[test]
fn traced_runs_and_copies_are_repeated_too() {
    for conditions in [
        "{\"condition\": \"schedule\", \"seed\": 3}",
        "{\"condition\": \"copies\", \"count\": 3}",
        "{\"condition\": \"disk_delay\", \"us\": 100}",
    ] {
        let kind = conditions.split('"').nth(3).expect("a kind");
        if !can(kind) {
            continue;
        }
        let under = times(conditions, (4, LONG), "\"schedule\"");
        let output = under.shell("echo said; cat order.json > /dev/null");
        assert_eq!(output.status.code(), Some(0), "{kind}: {output:?}");
        assert_eq!(lines(&output.stdout), ["said"], "{kind}");
        assert_eq!(passed(&under), 3, "{kind}");
        assert!(under.report().missing.is_empty(), "{kind}");
    }
}

#[test]
fn who_ends_it_is_told_how_many_passed_and_what_the_last_one_said() {
    let under = times("", (10, LONG), "");
    let script =
        "echo run >> runs; n=$(wc -l < runs); echo \"this is $n\"; [ $n -lt 3 ] || exec sleep 1000";
    let child = under
        .command(&["sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    wait_until("the third run", || {
        let runs = std::fs::read(under.path("runs")).unwrap_or_default();
        lines(&runs).len() == 3
    });
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("told");
    let output = child.wait_with_output().expect("ended");
    assert!(!output.status.success());
    assert_eq!(passed(&under), 2);
}
