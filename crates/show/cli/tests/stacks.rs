//! Where a program crashed, and where its threads stood when it hung: told by the real program.

mod common;

use std::process::Command;

use common::Suite;

/// Whether stacks can be had; says aloud when not.
fn has_gdb() -> bool {
    let output = Command::new("gdb").arg("--version").output();
    let has = output.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("LEFT OUT: there is no gdb");
    }
    has
}

/// The place of the line with this text.
fn place(file: &str, source: &str, text: &str) -> String {
    let line = source.lines().position(|line| line.contains(text));
    format!("{file}:{}", line.unwrap() + 1)
}

const BANK: &str = r"
use std::sync::{Barrier, Mutex};
type Account = Mutex<i64>;
pub fn give(one: &Account, other: &Account, both: &Barrier) {
    let from = one.lock().unwrap();
    both.wait();
    *other.lock().unwrap() += *from; // gives
}
pub fn take(one: &Account, other: &Account, both: &Barrier) {
    let from = other.lock().unwrap();
    both.wait();
    *one.lock().unwrap() += *from; // takes
}
#[test]
fn settles() {
    let (one, other, both) = (Mutex::new(1), Mutex::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| give(&one, &other, &both));
        scope.spawn(|| take(&one, &other, &both));
    });
}
#[test]
fn adds() {
    assert_eq!(1 + 1, 2);
}
";

#[test]
fn a_deadlock_is_shown_with_both_places() {
    if !has_gdb() {
        return;
    }
    let suite = Suite::empty();
    let manifest = "[package]\nname = 'bank'\nversion = '0.1.0'\nedition = '2024'\n";
    suite.write("Cargo.toml", manifest);
    std::fs::create_dir(suite.root().join("src")).unwrap();
    suite.write("src/lib.rs", BANK);
    let words = ["run", "--timeout", "2s", "--reproduce-for", "60s", "--"];
    let words = [&words[..], &["cargo", "test", "--offline", "--lib"]].concat();
    let ended = suite.cohort(&words);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let shown = suite.cohort(&["show", "EC-1"]).stdout;
    let (gives, takes) = (
        place("src/lib.rs", BANK, "// gives"),
        place("src/lib.rs", BANK, "// takes"),
    );
    for (function, place) in [("bank::give", gives), ("bank::take", takes)] {
        assert!(
            shown.contains(&format!("at {function} ({place})")),
            "{shown}"
        );
    }
    assert!(shown.contains("stacks.txt"), "{shown}");
    let stacks = suite.read(".cohort/cases/EC-1/stacks.txt");
    assert!(stacks.contains("settles"), "{stacks}");
    assert!(!suite.root().join(".cohort/cases/EC-2").exists(), "{shown}");
    suite.assert_nothing_left(&ended);
}

const CRASH: &str = r"
#include <stdlib.h>
static int total(int *prices) { return prices[0]; /* here */ }
int main(void) { return total(0); }
";

#[test]
fn a_crash_is_shown_with_the_line_it_is_at() {
    if !has_gdb() {
        return;
    }
    let suite = Suite::new(&["fine", "crash"], "test $1 = fine || exec ./crash");
    suite.write("crash.c", CRASH);
    let built = Command::new("cc")
        .args(["-g", "-o", "crash", "crash.c"])
        .current_dir(suite.root())
        .status();
    assert!(built.is_ok_and(|status| status.success()));
    let ended = suite.run(&["--reproduce-for", "60s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let shown = suite.cohort(&["show", "EC-1"]).stdout;
    let place = place("crash.c", CRASH, "/* here */");
    assert!(
        shown.contains("at total (") && shown.contains(&place),
        "{shown}"
    );
    assert!(shown.contains("SIGSEGV"), "{shown}");
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}
