//! The real program on a real cargo suite: in a terminal, interrupted while it builds, asked for output.

mod common;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use common::{Suite, wait_until};

const MANIFEST: &str = "[package]\nname = 'sample'\nversion = '0.1.0'\nedition = '2024'\n";
const LIB: &str = "\
    #[test] fn says() { println!(\"a passed test said this\"); }\n\
    #[test] fn adds() { assert_eq!(1 + 1, 2); }\n\
    #[test] fn reads() -> Result<(), String> { Err(\"nothing to read\".into()) }\n";

fn sample() -> Suite {
    let suite = Suite::empty();
    suite.write("Cargo.toml", MANIFEST);
    std::fs::create_dir(suite.root().join("src")).unwrap();
    suite.write("src/lib.rs", LIB);
    suite
}

/// Runs it in a terminal that calls itself `term`: the exit code, and all that was written there.
fn in_a_terminal(suite: &Suite, term: Option<&str>, words: &[&str]) -> (Option<i32>, String) {
    let size = nix::pty::Winsize {
        ws_row: 24,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = nix::pty::openpty(Some(&size), None).unwrap();
    let other = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command
        .args(words)
        .current_dir(suite.root())
        .env_remove("CI")
        .env_remove("NO_COLOR")
        .env_remove("TERM")
        .envs(term.map(|term| ("TERM", term)))
        .stdin(other(&terminal.slave))
        .stdout(other(&terminal.slave))
        .stderr(Stdio::from(terminal.slave));
    let mut child = command.spawn().unwrap();
    // What the command holds of the terminal goes with it, so that reading comes to an end.
    drop(command);
    let mut screen = Vec::new();
    // The end of a terminal is an error (EIO).
    let _ = File::from(terminal.master).read_to_end(&mut screen);
    let screen = String::from_utf8_lossy(&screen).into_owned();
    (child.wait().unwrap().code(), screen)
}

#[test]
fn in_a_terminal_it_shows_its_progress_and_the_verdict() {
    let suite = sample();
    let words = ["run", "--", "cargo", "test", "--offline"];
    let (code, screen) = in_a_terminal(&suite, Some("xterm-256color"), &words);
    assert_eq!(code, Some(1), "{screen}");
    for wanted in ["3 tests: 1 failed, 2 passed", "nothing to read", "\u{1b}["] {
        assert!(screen.contains(wanted), "no {wanted:?} in {screen}");
    }
}

#[test]
fn an_alias_of_the_users_is_run() {
    let suite = sample();
    std::fs::create_dir(suite.root().join(".cargo")).unwrap();
    suite.write(".cargo/config.toml", "alias.tt = 'test --offline --lib'\n");
    let ended = suite.run(&["--", "cargo", "tt", "--message-format=short", "adds"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(suite.verdicts().len(), 1, "{ended:?}");
    assert_eq!(suite.verdicts()["sample adds"], "passed");
}

#[test]
fn in_a_terminal_without_a_cursor_it_writes_lines() {
    let suite = Suite::new(&["a", "b"], "sleep 0.3; test $1 = b");
    for term in [Some("dumb"), None] {
        let (code, screen) = in_a_terminal(&suite, term, &["run"]);
        assert_eq!(code, Some(1), "{screen}");
        assert!(screen.contains("2 tests in 1 group"), "{screen}");
        assert!(!screen.contains('\u{1b}'), "{screen:?}");
    }
}

#[test]
fn output_that_is_asked_for_is_shown() {
    let suite = sample();
    for (words, shown) in [
        (&["--lib", "says"][..], false),
        (&["--lib", "says", "--", "--nocapture"], true),
        (&["--lib", "says", "--", "--show-output"], true),
    ] {
        let command = ["run", "--", "cargo", "test", "--offline"];
        let ended = suite.cohort(&[&command[..], words].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let said = ended.stdout.contains("a passed test said this");
        assert_eq!(said, shown, "{words:?} {ended:?}");
    }
}

#[test]
fn interrupted_while_it_builds_it_ends_all_it_started() {
    let suite = sample();
    let build = "fn main() {\n\
        std::fs::write(\"pid\", std::process::id().to_string()).unwrap();\n\
        loop { std::thread::sleep(std::time::Duration::from_secs(1)); }\n}\n";
    suite.write("build.rs", build);
    let run = suite.start(&["run", "--", "cargo", "test", "--offline"]);
    wait_until("the build", || !suite.read("pid").is_empty());
    run.signal(15);
    let ended = run.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let stat = format!("/proc/{}/stat", suite.read("pid"));
    wait_until("the build script to be gone", || {
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
    suite.assert_nothing_left(&ended);
    assert!(!suite.root().join(".cohort").exists(), "no campaign began");
}

#[test]
fn what_does_not_build_is_said_once_and_leaves_nothing() {
    let suite = sample();
    suite.write("src/lib.rs", "fn f( {}\n");
    let ended = suite.cohort(&["run", "--", "cargo", "test", "--offline"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("unclosed delimiter"), "{ended:?}");
    assert_eq!(
        ended.stderr.matches("does not build").count(),
        1,
        "{ended:?}"
    );
    suite.assert_nothing_left(&ended);
    assert!(!suite.root().join(".cohort").exists(), "no campaign began");
}

#[test]
fn below_the_root_of_a_project_it_is_the_same_project() {
    let suite = sample();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command.args(["-C", "src", "run"]);
    let ended = suite.spawn(command).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(suite.root().join(".cohort/campaigns/1").is_dir());
    assert!(!suite.root().join("src/.cohort").exists());
    let shown = suite.cohort(&["show"]);
    assert!(shown.stdout.contains("nothing to read"), "{shown:?}");
    suite.assert_replays();
}
