//! What is written in `cohort.toml`, no more and no less.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use cohort_model::{Policy, ServiceFindingKind};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, SeqAccess, Visitor};
use toml::Spanned;

use super::service::{RawScenario, RawSut};
use super::{Error, Place, units};

/// Name of the file.
const NAME: &str = "cohort.toml";

/// Known keys that are less alike than this are not suggested (Jaro-Winkler similarity).
const ALIKE_MIN: f64 = 0.75;

/// A `cohort.toml` that was read.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) text: String,
    /// What it says.
    pub(crate) raw: Raw,
}

impl File {
    /// The place of a value.
    pub(crate) fn place<T>(&self, value: &Spanned<T>) -> Place {
        Place::in_file(&self.path, &self.text, value.span().start)
    }

    /// The directory it is in: the root of the project.
    pub(crate) fn root(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct Raw {
    pub(crate) suite: RawSuite,
    pub(crate) sut: RawSut,
    pub(crate) scenario: RawScenario,
    pub(crate) budget: RawBudget,
    pub(crate) policy: RawPolicy,
    pub(crate) telemetry: RawTelemetry,
    pub(crate) isolation: RawIsolation,
    pub(crate) report: RawReport,
    pub(crate) edge_cases: RawEdgeCases,
    pub(crate) helpers: RawHelpers,
    pub(crate) fuzz: RawFuzz,
}

/// `[suite]`: what to run when no command is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct RawSuite {
    pub(crate) command: Option<Spanned<Words>>,
    pub(crate) list: Option<Spanned<String>>,
    pub(crate) run: Option<Spanned<String>>,
    pub(crate) env: BTreeMap<String, String>,
}

/// `[budget]`: what a campaign may use.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct RawBudget {
    pub(crate) cpus: Option<Spanned<f64>>,
    pub(crate) memory: Option<Spanned<Size>>,
    pub(crate) instances: Option<Spanned<u32>>,
    pub(crate) timeout: Option<Spanned<Time>>,
    pub(crate) stall: Option<Spanned<Time>>,
}

/// `[policy]`: how it decides.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct RawPolicy {
    pub(crate) kind: Option<Policy>,
    pub(crate) strict: Option<bool>,
}

/// `[telemetry]`: how often it looks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct RawTelemetry {
    pub(crate) hz: Option<Spanned<f64>>,
}

/// `[isolation]`: private namespaces.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct RawIsolation {
    pub(crate) mount: Option<bool>,
    pub(crate) pid: Option<bool>,
    pub(crate) net: Option<bool>,
}

/// `[report]`: files to write, relative to the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct RawReport {
    pub(crate) junit: Option<PathBuf>,
    pub(crate) events: Option<PathBuf>,
}

/// `[edge_cases]`: how what failed is tried again.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct RawEdgeCases {
    pub(crate) enabled: Option<bool>,
    pub(crate) share: Option<Spanned<f64>>,
    pub(crate) after: Option<Spanned<Time>>,
}

/// `[helpers]`: what is deployed on suspicion.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct RawHelpers {
    pub(crate) enabled: Option<bool>,
    pub(crate) share: Option<Spanned<f64>>,
    pub(crate) on: BTreeMap<ServiceFindingKind, Vec<Spanned<String>>>,
    pub(crate) scan: RawScan,
}

/// `helpers.scan`: weaknesses are looked for when the scenario is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table such as { enabled = true, advisories = \"advisories\" }"
)]
pub(crate) struct RawScan {
    pub(crate) enabled: bool,
    pub(crate) listens: Vec<u16>,
    pub(crate) connects: Vec<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) advisories: Option<PathBuf>,
}

/// `[fuzz]`: recorded requests are changed, or a harness is given inputs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct RawFuzz {
    pub(crate) time: Option<Spanned<Time>>,
    pub(crate) openapi: Option<PathBuf>,
    pub(crate) harness: Option<Spanned<Words>>,
    pub(crate) build: Option<String>,
    pub(crate) seeds: Vec<PathBuf>,
    pub(crate) dictionary: Option<PathBuf>,
    pub(crate) input_timeout: Option<Spanned<Time>>,
    pub(crate) input_memory: Option<Spanned<Size>>,
}

/// Bytes, written with their unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// Microseconds, written with their unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) u64);

/// A command, written as one text or as its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Size, D::Error> {
        input
            .deserialize_any(Measure("a size with its unit, such as \"2GiB\""))
            .and_then(|text| units::bytes(&text).map(Size).map_err(D::Error::custom))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Time, D::Error> {
        input
            .deserialize_any(Measure("a time with its unit, such as \"90s\""))
            .and_then(|text| units::time_us(&text).map(Time).map_err(D::Error::custom))
    }
}

/// Takes numbers as text too, so that the message can say which unit is missing.
struct Measure(&'static str);

impl Visitor<'_> for Measure {
    type Value = String;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Words, D::Error> {
        input.deserialize_any(WordsVisitor).map(Words)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Vec<String>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a command, such as \"cargo test\" or [\"cargo\", \"test\"]")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        shell_words::split(text)
            .map_err(|error| E::custom(format!("{text:?} is no command: {error}")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = items.next_element()? {
            words.push(word);
        }
        Ok(words)
    }
}

/// The nearest `cohort.toml` in `directory` or above it, up to `project`, of whatever kind it is.
pub(crate) fn find(directory: &Path, project: Option<&Path>) -> Option<PathBuf> {
    directory
        .ancestors()
        .take_while(|above| project.is_none_or(|project| above.starts_with(project)))
        .map(|above| above.join(NAME))
        .find(|path| path.symlink_metadata().is_ok())
}

/// Reads `text`, the content of `path`.
///
/// # Errors
/// With the place, when it is not TOML, or has keys or values that make no sense.
pub(crate) fn parse(path: PathBuf, text: String) -> Result<File, Error> {
    let raw = read_toml(&path, &text)?;
    Ok(File { path, text, raw })
}

/// Reads `text`, the content of `path`, into what it is to be.
///
/// # Errors
/// As [`parse`].
pub(super) fn read_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Error> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let place = Place::in_file(path, text, offset);
        explain(place, error.message())
    })
}

/// Serde names the types of this program: what they hold is what helps.
fn in_plain_words(message: &str) -> Option<String> {
    let (found, expected) = message.rsplit_once(", expected ")?;
    let expected = match expected {
        "u32" => "a whole number",
        "u16" | "u64" => "a whole number",
        "f64" => "a number",
        "a map" => "a table",
        "path string" => "the name of a file",
        _ => return None,
    };
    Some(format!("{found}, expected {expected}"))
}

/// Serde says ``unknown field `a`, expected one of `b`, `c` ``: the nearest known name is what helps.
fn explain(place: Place, message: &str) -> Error {
    let unknown = message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once("`, expected "));
    let Some((key, known)) = unknown else {
        let what = message.trim().replace('\n', "; ");
        let what = in_plain_words(&what).unwrap_or(what);
        return Error::Wrong { place, what };
    };
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let alike = |name: &&str| strsim::jaro_winkler(&key.to_lowercase(), name);
    let nearest = known
        .iter()
        .copied()
        .max_by(|a, b| alike(a).total_cmp(&alike(b)))
        .filter(|name| alike(name) >= ALIKE_MIN);
    let hint = match nearest {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    Error::UnknownKey {
        place,
        key: key.to_owned(),
        hint,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Raw {
        parse("cohort.toml".into(), text.to_owned())
            .unwrap_or_else(|error| panic!("{error}"))
            .raw
    }

    fn refused(text: &str) -> String {
        match parse("cohort.toml".into(), text.to_owned()) {
            Ok(file) => panic!("{:?}", file.raw),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_key() {
        let raw = read(
            r#"
            [suite]
            command = "cargo test -- 'a b'"
            list = "ls tests"
            run = "tests/{test}"
            env = { A = "b" }
            [budget]
            cpus = 2
            memory = "2GiB"
            instances = 64
            timeout = "1h"
            stall = "10m"
            [policy]
            kind = "static"
            strict = true
            [telemetry]
            hz = 10
            [isolation]
            mount = true
            pid = false
            net = true
            [report]
            junit = "out/junit.xml"
            events = "out/events.jsonl"
            [edge_cases]
            enabled = true
            share = 0.5
            after = "2m"
            "#,
        );
        let command = |suite: RawSuite| suite.command.unwrap().into_inner().0;
        assert_eq!(raw.budget.memory.unwrap().into_inner(), Size(2 << 30));
        assert_eq!(raw.budget.stall.unwrap().into_inner(), Time(600_000_000));
        assert_eq!(raw.policy.kind, Some(Policy::Static));
        assert_eq!(raw.isolation.net, Some(true));
        let after = raw.edge_cases.after.unwrap().into_inner();
        assert_eq!(after, Time(120_000_000));
        assert_eq!(command(raw.suite), ["cargo", "test", "--", "a b"]);
        assert_eq!(
            command(read("suite.command = ['a', 'b c']").suite),
            ["a", "b c"]
        );
        assert!(read("").suite.command.is_none());
    }

    #[test]
    fn an_unknown_key_gets_the_nearest_known_one() {
        assert_eq!(
            refused("[budget]\nmemroy = '2GiB'\n"),
            "cohort.toml:2:1: unknown key `memroy`; did you mean `memory`?"
        );
        assert_eq!(
            refused("[budgets]\ncpus = 1\n"),
            "cohort.toml:1:2: unknown key `budgets`; did you mean `budget`?"
        );
        assert_eq!(
            refused("[isolation]\nmount = true\n  Disk = true"),
            "cohort.toml:3:3: unknown key `Disk`; known here: mount, pid, net"
        );
        assert_eq!(
            refused("[telemetry]\nHz = 1"),
            "cohort.toml:2:1: unknown key `Hz`; did you mean `hz`?"
        );
    }

    #[test]
    fn a_wrong_value_names_its_place() {
        assert_eq!(
            refused("[budget]\nmemory = 512\n"),
            "cohort.toml:2:10: \"512\" has no unit; write for example \"512GiB\""
        );
        assert_eq!(
            refused("[budget]\ntimeout = true\n"),
            "cohort.toml:2:11: invalid type: boolean `true`, expected a time with its unit, such as \"90s\""
        );
        assert_eq!(
            refused("[policy]\nkind = 'fast'"),
            "cohort.toml:2:8: unknown variant `fast`, expected `adaptive` or `static`"
        );
        assert_eq!(
            refused("[suite]\ncommand = 1"),
            "cohort.toml:2:11: invalid type: integer `1`, expected a command, such as \"cargo test\" or [\"cargo\", \"test\"]"
        );
        assert_eq!(
            refused("[suite]\ncommand = \"a 'b\""),
            "cohort.toml:2:11: \"a 'b\" is no command: missing closing quote"
        );
        for (text, expected) in [
            ("suite = 1", "a table"),
            ("suite.env = 1", "a table"),
            ("budget.instances = true", "a whole number"),
            ("budget.instances = -1", "a whole number"),
            ("budget.cpus = 'x'", "a number"),
            ("report.junit = 1", "the name of a file"),
        ] {
            let said = refused(text);
            assert!(said.ends_with(&format!(", expected {expected}")), "{said}");
        }
        assert!(refused("[budget\ncpus = 1").starts_with("cohort.toml:1:8: "));
    }

    #[test]
    fn it_is_found_upward() {
        let root = std::env::temp_dir().join(format!("cohort-config-{}", std::process::id()));
        let deep = root.join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(root.join(NAME), "").unwrap();
        assert_eq!(find(&deep, None), Some(root.join(NAME)));
        assert_eq!(find(&deep, Some(&deep)), None);
        std::fs::write(deep.join(NAME), "").unwrap();
        assert_eq!(find(&deep, Some(&deep)), Some(deep.join(NAME)));
        std::fs::remove_dir_all(&root).unwrap();
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_on_one_line(text in any::<String>(), key in "[a-z\"'`=\\[\\]. \n]{0,20}") {
            for text in [text, format!("[budget]\n{key} = 1")] {
                if let Err(error) = parse("c".into(), text) {
                    prop_assert_eq!(error.to_string().lines().count(), 1);
                }
            }
        }
    }
}
