//! What the user's arguments to `cargo test` mean here: cargo's own before `--`, the harness's after.

use std::ffi::{OsStr, OsString};

use crate::{Error, Show};

/// Options of cargo itself that are followed by a value and may stand before the subcommand.
const VALUED: [&str; 4] = ["--color", "--config", "-C", "-Z"];

/// Most aliases that are followed from one to the next: those that go round in a circle have no end.
const ALIASES_MAX: usize = 8;

/// A `cargo test` command, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    /// `cargo` and what stands before its subcommand (`+nightly`, `--locked`).
    pub(super) cargo: Vec<String>,
    /// Between the subcommand and `--`.
    pub(super) build: Vec<String>,
    /// After `--`.
    pub(super) harness: Vec<String>,
}

impl Arguments {
    /// Takes `command` apart and refuses what cannot work.
    pub(super) fn parse(command: &[String]) -> Result<Self, Error> {
        let wrong = |hint| Error::CargoSubcommand {
            command: shell_words::join(command),
            hint,
        };
        let at = subcommand(command);
        match command.get(at).map(String::as_str) {
            Some(word) if is_test(word) => {}
            Some("nextest") => {
                return Err(wrong(
                    " (it runs each test in a process of its own, as nextest does; \
                     filters are those of `cargo test`)",
                ));
            }
            Some("bench") => return Err(wrong(" (benchmarks are not run as tests)")),
            _ => return Err(wrong("")),
        }
        let (cargo, rest) = command.split_at(at);
        let rest = &rest[1..];
        let split = rest
            .iter()
            .position(|word| word == "--")
            .unwrap_or(rest.len());
        let arguments = Arguments {
            cargo: cargo.to_vec(),
            build: without_message_format(&rest[..split])?,
            harness: rest[split..].iter().skip(1).cloned().collect(),
        };
        arguments
            .build
            .iter()
            .try_for_each(|word| refuse_build_option(word))?;
        Harness::parse(arguments.harness.iter().map(OsStr::new))?;
        Ok(arguments)
    }

    /// The values of `--target`.
    pub(super) fn targets(&self) -> Vec<String> {
        values(self.build.iter(), "--target")
    }

    /// The values of `--config`.
    pub(super) fn configs(&self) -> Vec<String> {
        values(self.cargo.iter().chain(&self.build), "--config")
    }
}

/// Where the subcommand stands, or would.
fn subcommand(command: &[String]) -> usize {
    let mut at = 1;
    while command
        .get(at)
        .is_some_and(|word| word.starts_with(['+', '-']))
    {
        at += if VALUED.contains(&command[at].as_str()) {
            2
        } else {
            1
        };
    }
    at
}

/// `command` with an alias of `test`, or an alias of that, in full. `alias` is asked what the user's word
/// stands for, given the values of `--config` before it.
pub(super) fn in_full(
    command: &[String],
    alias: impl Fn(&str, &[String]) -> Option<Vec<String>>,
) -> Vec<String> {
    let mut words = command.to_vec();
    for _ in 0..=ALIASES_MAX {
        let at = subcommand(&words);
        let Some(word) = words.get(at) else { break };
        if is_test(word) {
            return words;
        }
        let configs = values(words[..at].iter(), "--config");
        let Some(meant) = alias(word, &configs) else {
            break;
        };
        words.splice(at..=at, meant);
    }
    command.to_vec()
}

/// The subcommand, or the alias that cargo itself brings.
fn is_test(word: &str) -> bool {
    matches!(word, "test" | "t")
}

/// How cargo words its messages is left out, since they are asked for in a form that can be read; that
/// the user's own program reads them is refused.
fn without_message_format(build: &[String]) -> Result<Vec<String>, Error> {
    const OPTION: &str = "--message-format";
    if values(build.iter(), OPTION)
        .iter()
        .any(|format| format.contains("json"))
    {
        return Err(Error::Option {
            option: OPTION.to_owned(),
            instead: "Cohort reads cargo's messages itself; results come from `--events` and `--junit`",
        });
    }
    let mut kept = Vec::new();
    let mut words = build.iter();
    while let Some(word) = words.next() {
        if word == OPTION {
            words.next();
        } else if !word.starts_with("--message-format=") {
            kept.push(word.clone());
        }
    }
    Ok(kept)
}

/// The values of an option, written `--option value` or `--option=value`.
fn values<'a>(words: impl Iterator<Item = &'a String>, option: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut words = words;
    while let Some(word) = words.next() {
        if word == option {
            values.extend(words.next().cloned());
        } else if let Some(value) = word.strip_prefix(option)
            && let Some(value) = value.strip_prefix('=')
        {
            values.push(value.to_owned());
        }
    }
    values
}

fn refuse_build_option(word: &str) -> Result<(), Error> {
    let name = word.split('=').next().unwrap_or(word);
    let instead = match name {
        "--no-run" => {
            "nothing would run; use it with plain `cargo test`, or ask `cohort run --dry-run`"
        }
        "-h" | "--help" => "ask plain `cargo test --help`",
        _ => return Ok(()),
    };
    Err(Error::Option {
        option: name.to_owned(),
        instead,
    })
}

/// Which of the ignored tests are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ignored {
    /// None.
    #[default]
    Skipped,
    /// Only they (`--ignored`).
    Only,
    /// They too (`--include-ignored`).
    Included,
}

/// Arguments of a test binary, as libtest reads them (`rustc --test`, "CLI arguments").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Harness {
    /// What selects tests: names, `--skip`, `--exact`.
    pub(super) selection: Vec<OsString>,
    pub(super) ignored: Ignored,
    pub(super) threads_max: Option<u32>,
    pub(super) show: Show,
    /// An option that libtest does not have: only the harness itself knows what it means.
    pub(super) unknown: Option<String>,
}

impl Harness {
    /// Reads `words` and refuses what would keep Cohort from reading the harness's answers.
    pub(super) fn parse<'a>(words: impl Iterator<Item = &'a OsStr>) -> Result<Self, Error> {
        let mut read = Harness::default();
        let mut words = words;
        while let Some(word) = words.next() {
            let text = word.to_string_lossy();
            let (name, value) = match text.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (&*text, None),
            };
            let mut value_of = || {
                let next = value
                    .clone()
                    .or_else(|| words.next().map(|next| next.to_string_lossy().into_owned()));
                next.ok_or_else(|| Error::Option {
                    option: name.to_owned(),
                    instead: "it needs a value",
                })
            };
            match name {
                "--ignored" => read.ignored = Ignored::Only,
                "--include-ignored" => read.ignored = Ignored::Included,
                "--skip" => {
                    let value = value_of()?;
                    read.selection.extend(["--skip".into(), value.into()]);
                }
                "--exact" => read.selection.push(word.to_owned()),
                "--test-threads" => read.threads_max = Some(threads(&value_of()?)?),
                "--color" => drop(value_of()?),
                "--nocapture" | "--no-capture" => read.show = read.show.max(Show::Live),
                "--show-output" => read.show = read.show.max(Show::All),
                "-q" | "--quiet" | "--test" => {}
                _ if name.starts_with('-') && name.len() > 1 => {
                    refuse_harness_option(name)?;
                    read.unknown.get_or_insert_with(|| name.to_owned());
                }
                _ => read.selection.push(word.to_owned()),
            }
        }
        Ok(read)
    }
}

fn threads(value: &str) -> Result<u32, Error> {
    value
        .parse()
        .ok()
        .filter(|threads| *threads > 0)
        .ok_or_else(|| Error::Option {
            option: format!("--test-threads {value}"),
            instead: "expected a whole number above 0",
        })
}

fn refuse_harness_option(name: &str) -> Result<(), Error> {
    let instead = match name {
        "--list" => "it lists and runs nothing; ask `cohort run --dry-run`",
        "--format" | "--logfile" => "results come from `--junit FILE` and `--events FILE`",
        "-h" | "--help" => "ask the test binary itself: `cargo test -- --help`",
        _ if name.starts_with("-Z") => {
            "unstable options of the test harness change what it prints; leave it out"
        }
        _ => return Ok(()),
    };
    Err(Error::Option {
        option: name.to_owned(),
        instead,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(command: &str) -> Result<Arguments, Error> {
        Arguments::parse(&shell_words::split(command).unwrap())
    }

    fn harness(words: &str) -> Harness {
        let words = shell_words::split(words).unwrap();
        Harness::parse(words.iter().map(OsStr::new)).unwrap()
    }

    #[test]
    fn a_command_is_taken_apart() {
        let read =
            parse("cargo +nightly --config a=1 t -p x --target=t1 --target t2 name -- --skip b c")
                .unwrap();
        assert_eq!(read.cargo, ["cargo", "+nightly", "--config", "a=1"]);
        assert_eq!(
            read.build,
            ["-p", "x", "--target=t1", "--target", "t2", "name"]
        );
        assert_eq!(read.harness, ["--skip", "b", "c"]);
        assert_eq!(read.targets(), ["t1", "t2"]);
        assert_eq!(read.configs(), ["a=1"]);
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (command, named) in [
            ("cargo nextest run", "as nextest does"),
            ("cargo build", "`cargo build` does not run"),
            ("cargo", "`cargo` does not run"),
            ("cargo test --no-run", "`--no-run`"),
            ("cargo test --message-format=json", "`--message-format`"),
            (
                "cargo test --message-format json-render-diagnostics",
                "`--message-format`",
            ),
            ("cargo test -- --list", "--dry-run"),
            ("cargo test -- --format=json", "`--format`"),
            ("cargo test -- --logfile x", "`--logfile`"),
            ("cargo test -- -Zunstable-options", "`-Zunstable-options`"),
            ("cargo test -- --test-threads 0", "above 0"),
            ("cargo test -- --skip", "needs a value"),
        ] {
            let said = parse(command).unwrap_err().to_string();
            assert!(said.contains(named), "{command}: {said}");
        }
    }

    #[test]
    fn how_messages_are_worded_is_left_out() {
        let read = parse("cargo t --message-format short a --message-format=human -p b").unwrap();
        assert_eq!(read.build, ["a", "-p", "b"]);
    }

    #[test]
    fn an_alias_of_test_is_written_in_full() {
        let in_full = |command: &str| {
            let alias = |word: &str, configs: &[String]| match word {
                "tt" => Some(vec!["t".to_owned(), "--workspace".to_owned()]),
                "deep" => Some(vec!["tt".to_owned(), "--lib".to_owned()]),
                "round" => Some(vec!["and".to_owned()]),
                "and" => Some(vec!["round".to_owned()]),
                "nothing" => Some(Vec::new()),
                "lint" => Some(vec!["clippy".to_owned()]),
                "given" => Some([&["test".to_owned()], configs].concat()),
                _ => None,
            };
            in_full(&shell_words::split(command).unwrap(), alias).join(" ")
        };
        for (command, expected) in [
            (
                "cargo +nightly tt -p x",
                "cargo +nightly t --workspace -p x",
            ),
            ("cargo --config a given", "cargo --config a test a"),
            ("cargo t tt", "cargo t tt"),
            ("cargo deep x", "cargo t --workspace --lib x"),
            ("cargo round x", "cargo round x"),
            ("cargo nothing", "cargo nothing"),
            ("cargo lint", "cargo lint"),
            ("cargo nextest run", "cargo nextest run"),
            ("cargo", "cargo"),
        ] {
            assert_eq!(in_full(command), expected);
        }
    }

    #[test]
    fn harness_arguments_are_read_as_libtest_reads_them() {
        let read = harness(
            "a --skip=b --exact --include-ignored --test-threads=3 --show-output -q --color never c",
        );
        assert_eq!(read.selection, ["a", "--skip", "b", "--exact", "c"]);
        assert_eq!(read.ignored, Ignored::Included);
        assert_eq!(
            (read.threads_max, read.show, read.unknown),
            (Some(3), Show::All, None)
        );
        assert_eq!(harness("--nocapture --show-output").show, Show::Live);
        assert_eq!(harness("--bench x").unknown.as_deref(), Some("--bench"));
    }
}
