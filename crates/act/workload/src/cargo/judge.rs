//! What the end of a test program means, read from its exit code and libtest's output.

use cohort_model::{Part, Verdict};

use crate::{Exit, Judged};

/// libtest's exit code for "some test failed" (`library/test/src/lib.rs`, `ERROR_EXIT_CODE`).
const FAILED: i32 = 101;
/// How libtest's last line begins.
const SUM: &str = "test result: ";
/// Longest message, in characters.
const MESSAGE_CHARS_MAX: usize = 400;
/// Most failed parts that a message names.
const NAMED_MAX: usize = 3;

/// Judges a program that ran the one test `name`.
pub(super) fn one(name: &str, exit: &Exit<'_>) -> Judged {
    if exit.code == Some(0) {
        return match ran_nothing(exit.stdout) {
            false => Judged::new(Verdict::Passed, None),
            true => {
                let message = "it is not in its test binary any more: the list of tests changed";
                Judged::new(Verdict::Failed, Some(message.to_owned()))
            }
        };
    }
    let stderr = String::from_utf8_lossy(exit.stderr);
    let why = panic_message(&stderr, name).or_else(|| error_message(&stderr));
    Judged::new(verdict(exit), Some(shorten(&ending(why, exit, &stderr))))
}

/// Judges a program that ran all its tests at once.
pub(super) fn whole(exit: &Exit<'_>) -> Judged {
    let stdout = String::from_utf8_lossy(exit.stdout);
    let parts = parts(&stdout);
    // Who sums up has said what there is, be it nothing.
    let said = (!parts.is_empty() || stdout.lines().any(|line| line.starts_with(SUM)))
        .then(|| parts.clone());
    if exit.code == Some(0) {
        return Judged {
            verdict: Verdict::Passed,
            message: None,
            parts: said,
        };
    }
    let failed: Vec<&str> = parts
        .iter()
        .filter(|part| part.verdict == Verdict::Failed)
        .map(|part| &*part.name)
        .collect();
    let stderr = String::from_utf8_lossy(exit.stderr);
    let why = if failed.is_empty() {
        panic_message(&stderr, "main")
            .or_else(|| last_line(&stderr))
            .or_else(|| last_line(&stdout))
    } else {
        let more = failed.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let named = failed[..failed.len().min(NAMED_MAX)].join(", ");
        Some(format!(
            "{} of {} failed: {named}{more}",
            failed.len(),
            parts.len()
        ))
    };
    Judged {
        verdict: verdict(exit),
        message: Some(shorten(&ending(why, exit, &stderr))),
        parts: said,
    }
}

fn verdict(exit: &Exit<'_>) -> Verdict {
    if exit.signal.is_some() {
        Verdict::Crashed
    } else {
        Verdict::Failed
    }
}

/// Why it failed, with how it ended where that says more than libtest's usual exit code.
fn ending(why: Option<String>, exit: &Exit<'_>, stderr: &str) -> String {
    let end = match (exit.signal, exit.code) {
        (Some(signal), _) => {
            let name = nix::sys::signal::Signal::try_from(signal)
                .map_or("unknown", |known| known.as_str());
            format!("ended by signal {signal} ({name})")
        }
        (None, Some(FAILED)) if why.is_some() => return why.unwrap_or_default(),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "ended in an unknown way".to_owned(),
    };
    match why.or_else(|| last_line(stderr)) {
        Some(why) => format!("{end}: {why}"),
        None => end,
    }
}

/// Whether libtest says that no test matched. The last such line counts: a test may print others.
fn ran_nothing(stdout: &[u8]) -> bool {
    let line = stdout
        .split(|byte| *byte == b'\n')
        .rev()
        .find(|line| line.starts_with(SUM.as_bytes()));
    line.is_some_and(|line| {
        line.starts_with(b"test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured")
    })
}

/// The message of the panic that failed the test `name`: the last one on its own thread, else the last.
///
/// Knows the form since Rust 1.73, `thread 'NAME' (ID) panicked at FILE:LINE:COLUMN:` and the message on
/// the next lines, and the one before, `thread 'NAME' panicked at 'MESSAGE', FILE:LINE:COLUMN`.
fn panic_message(stderr: &str, name: &str) -> Option<String> {
    let own = [format!("thread '{name}' "), "thread 'main' ".to_owned()];
    let mut latest = None;
    let mut lines = stderr.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((thread, at)) = line.split_once(" panicked at ") else {
            continue;
        };
        if !thread.starts_with("thread '") {
            continue;
        }
        let mut message = format!("panicked at {at}");
        while at.ends_with(':') {
            match lines.next_if(|line| !ends_message(line)) {
                Some(line) => message = format!("{message} {}", line.trim()),
                None => break,
            }
        }
        let is_own = own.iter().any(|own| line.starts_with(own));
        if is_own || !matches!(latest, Some((true, _))) {
            latest = Some((is_own, message));
        }
    }
    latest.map(|(_, message)| message)
}

fn ends_message(line: &str) -> bool {
    let starts = ["note: ", "stack backtrace:", "thread '", "Error: "];
    line.trim().is_empty() || starts.iter().any(|start| line.starts_with(start))
}

/// What a test that returned an error printed: `Error: DEBUG`.
fn error_message(stderr: &str) -> Option<String> {
    stderr
        .lines()
        .rev()
        .find(|line| line.starts_with("Error: "))
        .map(str::to_owned)
}

fn last_line(output: &str) -> Option<String> {
    output
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_owned)
}

fn shorten(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &message[..end]),
        None => message.to_owned(),
    }
}

/// The tests in libtest's own output: `test NAME ... ok`, `FAILED`, `ignored` or `ignored, WHY`.
fn parts(stdout: &str) -> Vec<Part> {
    stdout.lines().filter_map(part).collect()
}

fn part(line: &str) -> Option<Part> {
    let (name, said) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    // Followed by a time when the harness was asked for it.
    let verdict = match said.split([' ', ',']).next()? {
        "ok" => Verdict::Passed,
        "FAILED" => Verdict::Failed,
        "ignored" => Verdict::Skipped,
        _ => return None,
    };
    Some(Part {
        name: name.to_owned(),
        verdict,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(stderr: &str) -> Judged {
        one(
            "m::t",
            &Exit {
                code: Some(101),
                stderr: stderr.as_bytes(),
                ..Exit::default()
            },
        )
    }

    #[test]
    fn the_panic_of_the_test_is_its_message() {
        let new = "\nthread '<unnamed>' (7) panicked at src/a.rs:1:1:\nother\nstack backtrace:\n  0: x\n\n\
                   thread 'm::t' (8) panicked at src/a.rs:14:21:\nassertion `left == right` failed\n  left: 1\n right: 2\n\
                   note: run with `RUST_BACKTRACE=1`\n\nthread 'w' panicked at src/a.rs:3:1:\nlater\n";
        let message =
            "panicked at src/a.rs:14:21: assertion `left == right` failed left: 1 right: 2";
        assert_eq!(
            failed(new),
            Judged::new(Verdict::Failed, Some(message.to_owned()))
        );
        let old = "thread 'm::t' panicked at 'boom: it', src/a.rs:3:5\nnote: run with\n";
        assert_eq!(
            failed(old).message.as_deref(),
            Some("panicked at 'boom: it', src/a.rs:3:5")
        );
        let elsewhere = "thread 'w' panicked at src/a.rs:3:1:\nboom\nmore\n\nrest";
        assert_eq!(
            failed(elsewhere).message.as_deref(),
            Some("panicked at src/a.rs:3:1: boom more")
        );
    }

    #[test]
    fn without_a_panic_the_best_other_line_counts() {
        assert_eq!(
            failed("log\nError: \"bad\"\n").message.as_deref(),
            Some("Error: \"bad\"")
        );
        assert_eq!(failed("").message.as_deref(), Some("exit code 101"));
        let overflow = Exit {
            signal: Some(6),
            stderr: b"\nthread 't' has overflowed its stack\nfatal\n",
            ..Exit::default()
        };
        let judged = one("t", &overflow);
        assert_eq!(judged.verdict, Verdict::Crashed);
        assert_eq!(
            judged.message.as_deref(),
            Some("ended by signal 6 (SIGABRT): fatal")
        );
        let odd = one(
            "t",
            &Exit {
                code: Some(3),
                ..Exit::default()
            },
        );
        assert_eq!(
            (odd.verdict, odd.message.as_deref()),
            (Verdict::Failed, Some("exit code 3"))
        );
        let long = failed(&format!("Error: {}", "ü".repeat(1000)))
            .message
            .unwrap();
        assert_eq!(long.chars().count(), MESSAGE_CHARS_MAX + 3);
    }

    #[test]
    fn a_test_that_is_gone_did_not_pass() {
        let none = "\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 5 filtered out\n";
        let judge = |stdout: &str| {
            one(
                "t",
                &Exit {
                    code: Some(0),
                    stdout: stdout.as_bytes(),
                    ..Exit::default()
                },
            )
        };
        assert_eq!(judge(none).verdict, Verdict::Failed);
        let nested = format!(
            "running 1 test\n{none}test t ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n"
        );
        assert_eq!(judge(&nested).verdict, Verdict::Passed);
        assert_eq!(judge("a harness of its own").verdict, Verdict::Passed);
    }

    #[test]
    fn nothing_within_is_told_from_nothing_said() {
        let whole = |stdout: &str| {
            whole(&Exit {
                code: Some(0),
                stdout: stdout.as_bytes(),
                ..Exit::default()
            })
        };
        let none = "\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored\n";
        assert_eq!(whole(none).parts, Some(Vec::new()));
        assert_eq!(whole("all fine\n").parts, None);
    }

    #[test]
    fn parts_are_read_from_libtests_output() {
        let stdout = "\nrunning 4 tests\ntest src/lib.rs - f (line 4) - compile ... ok\n\
                      test a ... FAILED\ntest b ... ignored, slow\ntest c - should panic ... ok <0.1s>\n\
                      test result: FAILED. 2 passed\ntest of something ... else\n";
        let judged = whole(&Exit {
            code: Some(101),
            stdout: stdout.as_bytes(),
            ..Exit::default()
        });
        let read: Vec<(&str, Verdict)> = judged
            .parts
            .iter()
            .flatten()
            .map(|part| (&*part.name, part.verdict))
            .collect();
        assert_eq!(
            read,
            [
                ("src/lib.rs - f (line 4) - compile", Verdict::Passed),
                ("a", Verdict::Failed),
                ("b", Verdict::Skipped),
                ("c - should panic", Verdict::Passed),
            ]
        );
        assert_eq!(judged.message.as_deref(), Some("1 of 4 failed: a"));
        let silent = whole(&Exit {
            code: Some(1),
            stderr: b"boom\n",
            ..Exit::default()
        });
        assert_eq!(silent.message.as_deref(), Some("exit code 1: boom"));
    }
}
