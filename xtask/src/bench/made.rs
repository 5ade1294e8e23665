//! Made suites: the extremes that no published suite shows. They are generated into the target
//! directory, the same every time.

use std::fmt::Write as _;
use std::path::Path;

use super::contender::Tools;
use super::published::build;
use super::suite::{Character, Language, Suite};
use crate::error::Error;
use crate::run;

/// Steps of the generated loop that take about one second of one core, in an optimized Rust test
/// and in a Python test. The work is fixed, not the time, so a crowded core shows.
const STEPS_A_SECOND_RUST: u64 = 850_000_000;
const STEPS_A_SECOND_PYTHON: u64 = 14_000_000;

/// Memory that one test of the hungry suites holds, bytes.
pub(crate) const HUNGRY_TEST_BYTES: u64 = 256 << 20;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    /// For rows and file names.
    pub name: &'static str,
    /// What it is generated as.
    pub language: Language,
    /// What it is like.
    pub character: Character,
    /// What each test does.
    tests: fn() -> Vec<Work>,
}

/// What one test does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Nothing,
    /// Sleeps, milliseconds.
    Sleep(u64),
    /// Computes, about so many milliseconds of one core.
    Compute(u64),
    /// Holds [`HUNGRY_TEST_BYTES`] for so many milliseconds.
    Hold(u64),
}

/// All of them.
pub(crate) const MADE: [Made; 10] = [
    Made {
        name: "made-rust-waiting",
        language: Language::Rust,
        character: Character::Waiting,
        tests: || {
            (0..200)
                .map(|i| Work::Sleep(spread(i, 200, 1000)))
                .collect()
        },
    },
    Made {
        name: "made-rust-computing",
        language: Language::Rust,
        character: Character::Computing,
        tests: || {
            (0..60)
                .map(|i| Work::Compute(spread(i, 100, 600)))
                .collect()
        },
    },
    Made {
        name: "made-rust-dominant",
        language: Language::Rust,
        character: Character::Dominant,
        tests: || {
            (0..61)
                .map(|i| Work::Compute(if i == 47 { 8000 } else { 100 }))
                .collect()
        },
    },
    Made {
        name: "made-rust-empty",
        language: Language::Rust,
        character: Character::Empty,
        tests: || vec![Work::Nothing; 5000],
    },
    Made {
        name: "made-rust-hungry",
        language: Language::Rust,
        character: Character::Hungry,
        tests: || vec![Work::Hold(700); 12],
    },
    Made {
        name: "made-pytest-waiting",
        language: Language::Pytest,
        character: Character::Waiting,
        tests: || (0..100).map(|i| Work::Sleep(spread(i, 100, 500))).collect(),
    },
    Made {
        name: "made-pytest-computing",
        language: Language::Pytest,
        character: Character::Computing,
        tests: || (0..60).map(|i| Work::Compute(spread(i, 50, 450))).collect(),
    },
    Made {
        name: "made-pytest-dominant",
        language: Language::Pytest,
        character: Character::Dominant,
        tests: || {
            (0..61)
                .map(|i| Work::Compute(if i == 47 { 8000 } else { 100 }))
                .collect()
        },
    },
    Made {
        name: "made-pytest-empty",
        language: Language::Pytest,
        character: Character::Empty,
        tests: || vec![Work::Nothing; 2000],
    },
    Made {
        name: "made-pytest-hungry",
        language: Language::Pytest,
        character: Character::Hungry,
        tests: || vec![Work::Hold(700); 12],
    },
];

/// Eight tests that wait, one for each instance that the collector is to sample.
pub(crate) const SAMPLED: Made = Made {
    name: "made-rust-sampled",
    language: Language::Rust,
    character: Character::Waiting,
    tests: || vec![Work::Sleep(20_000); 8],
};

/// The same spread of values from `low` to `high` every time, in no order.
fn spread(i: u64, low: u64, high: u64) -> u64 {
    low + (i * 37 % 101) * (high - low) / 100
}

impl Made {
    /// Writes it below the work folder and builds it; quick when it is there already.
    pub(crate) fn prepare(&self, tools: &Tools) -> Result<Suite, Error> {
        let dir = tools.work.join(self.name);
        let tests = (self.tests)();
        match self.language {
            Language::Rust => {
                write(&dir.join("Cargo.toml"), RUST_MANIFEST)?;
                write(&dir.join("src/lib.rs"), "")?;
                write(&dir.join("tests/made.rs"), &rust(&tests))?;
            }
            Language::Pytest => {
                write(&dir.join("pytest.ini"), "[pytest]\n")?;
                write(&dir.join("test_made.py"), &python(&tests))?;
            }
        }
        let suite = Suite {
            name: self.name.into(),
            language: self.language,
            character: self.character,
            dir,
            args: match self.language {
                Language::Rust => vec!["--tests".into()],
                Language::Pytest => Vec::new(),
            },
            tests: tests.len(),
            python_path: String::new(),
        };
        if self.language == Language::Rust {
            build(&suite, tools)?;
        }
        Ok(suite)
    }
}

/// Leaves a file alone that is right already, so that cargo does not build it again.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    if std::fs::read_to_string(path).is_ok_and(|had| had == text) {
        return Ok(());
    }
    run::write(path, text)
}

const RUST_MANIFEST: &str = "[package]\nname = \"made\"\nedition = \"2021\"\n\n[workspace]\n\n\
                             [profile.dev]\nopt-level = 1\n";

const RUST_HEAD: &str = "\
#[allow(dead_code)]
fn compute(steps: u64) {
    let mut state = 1u64;
    for _ in 0..steps {
        state = std::hint::black_box(state.wrapping_mul(6364136223846793005).wrapping_add(1));
    }
    assert_ne!(state, 0);
}
#[allow(dead_code)]
fn sleep(ms: u64) {
    std::thread::sleep(std::time::Duration::from_millis(ms));
}
#[allow(dead_code)]
fn hold(bytes: usize, ms: u64) {
    let held = std::hint::black_box(vec![1u8; bytes]);
    sleep(ms);
    assert_eq!(held[bytes / 2], 1);
}
";

fn rust(tests: &[Work]) -> String {
    let mut text = RUST_HEAD.to_string();
    for (i, work) in tests.iter().enumerate() {
        let body = match work {
            Work::Nothing => String::new(),
            Work::Sleep(ms) => format!("sleep({ms});"),
            Work::Compute(ms) => format!("compute({});", ms * STEPS_A_SECOND_RUST / 1000),
            Work::Hold(ms) => format!("hold({HUNGRY_TEST_BYTES}, {ms});"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "#[test]\nfn t{i:04}() {{ {body} }}");
    }
    text
}

const PYTHON_HEAD: &str = "\
import time


def compute(steps):
    state = 1
    for _ in range(steps):
        state = (state * 3 + 1) & 0xFFFF
    assert state >= 0


def hold(size, seconds):
    held = b'x' * size
    time.sleep(seconds)
    assert held[size // 2] == 120

";

fn python(tests: &[Work]) -> String {
    let mut text = PYTHON_HEAD.to_string();
    for (i, work) in tests.iter().enumerate() {
        let body = match work {
            Work::Nothing => "pass".into(),
            Work::Sleep(ms) => format!("time.sleep({ms} / 1000)"),
            Work::Compute(ms) => format!("compute({})", ms * STEPS_A_SECOND_PYTHON / 1000),
            Work::Hold(ms) => format!("hold({HUNGRY_TEST_BYTES}, {ms} / 1000)"),
        };
        let _ = writeln!(text, "\ndef test_{i:04}():\n    {body}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_text_has_every_test_and_never_changes() {
        for made in MADE {
            let tests = (made.tests)();
            let (text, head) = match made.language {
                Language::Rust => (rust(&tests), "\nfn t"),
                Language::Pytest => (python(&tests), "\ndef test_"),
            };
            assert_eq!(text.matches(head).count(), tests.len(), "{}", made.name);
        }
        assert_eq!((spread(0, 200, 1000), spread(30, 200, 1000)), (200, 1000));
    }
}
