//! Any suite that one command can list and another can run, one test at a time.
//!
//! The list command prints a name a line, or, if it prints any NUL, names ended by NUL (so that a name
//! may hold a newline). The run command gets the name as `COHORT_TEST` in its environment, and each
//! `{test}` in it, or else its end, stands for that variable, whatever quotes are around it:
//!
//! ```text
//! run {test}             run "$COHORT_TEST"
//! run "^{test}$"         run "^${COHORT_TEST}$"
//! run 'made-{test}'      run 'made-'"${COHORT_TEST}"''
//! ```
//!
//! So a name is never read as shell code. (A shell that the command itself starts reads what it is
//! given, and a here-document keeps quotes: there, say `sh -c 'run "$COHORT_TEST"'`.) Exit code 0 is passed, 77 skipped (the convention
//! of automake's test harness), anything else failed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use cohort_model::{GroupId, Plan, TestCase, TestId, Verdict};

use crate::discovery::{Started, Written};
use crate::{Discovered, Discovery, Error, Exit, Judged, Launch, Progress, Show, environment};

/// Exit code of a test that decided not to run (GNU Automake manual, "Scripts-based Testsuites").
const SKIPPED: i32 = 77;
/// Stands for the test's name in the run command.
const PLACE: &str = "{test}";
/// Holds the test's name in the environment of the run command.
const NAME_VARIABLE: &str = "COHORT_TEST";
/// Most names that one error message lists.
const NAMED_MAX: usize = 5;

/// A suite made of two shell commands.
#[derive(Clone, Debug)]
pub struct Exec {
    root: PathBuf,
    list: String,
    run: String,
    env: BTreeMap<String, String>,
}

impl Exec {
    pub(crate) fn new(
        root: PathBuf,
        list: String,
        run: String,
        env: BTreeMap<String, String>,
    ) -> Self {
        Exec {
            root,
            list,
            run,
            env,
        }
    }

    /// The command that runs one test.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        vec!["sh".to_owned(), "-c".to_owned(), self.run.clone()]
    }

    /// Runs the list command.
    ///
    /// # Errors
    /// When it fails, prints a name twice, or prints one that is not UTF-8.
    pub fn discover(&mut self, discovery: &mut Discovery<'_>) -> Result<Discovered, Error> {
        (discovery.progress)(Progress::Listing { done: 0, of: 1 });
        let mut env = environment::with(&self.env);
        let mut command = Command::new("sh");
        command
            .args(["-c", &self.list])
            .current_dir(&self.root)
            .env_clear()
            .envs(&env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let written = discovery
            .stop
            .spawn(&mut command)
            .and_then(Started::output)
            .map_err(|source| Error::Start {
                program: "sh".to_owned(),
                source,
            });
        if discovery.stop.is_stopped() {
            return Err(Error::Stopped);
        }
        let Written { output, cut } = written?;
        if !output.status.success() {
            return Err(self.list_failed(&output));
        }
        let names = self.parse(&output.stdout)?;
        (discovery.progress)(Progress::Listing { done: 1, of: 1 });
        env.remove(OsStr::new(NAME_VARIABLE));
        let tests = names.iter().map(|name| TestCase {
            name: name.clone(),
            group: GroupId(0),
            ignored: false,
            lock: None,
            whole: false,
            broken: None,
        });
        let plan = Plan {
            groups: vec!["exec".to_owned()],
            tests: tests.collect(),
            ..Plan::default()
        };
        let launches = Launches {
            root: self.root.clone(),
            run: with_name(&self.run),
            env: env.into_iter().collect(),
            names,
        };
        Ok(Discovered {
            plan,
            launches: crate::Launches::Exec(launches),
            show: Show::Failed,
            notes: cut.then(|| self.list_cut()).into_iter().collect(),
        })
    }

    fn list_cut(&self) -> String {
        format!(
            "the list command `{}` left something running that holds its output open; what that prints \
             is not waited for",
            self.list
        )
    }

    fn list_failed(&self, output: &Output) -> Error {
        let how = match (output.status.code(), output.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        let said = last_line(&output.stderr).or_else(|| last_line(&output.stdout));
        let said = said.map(|line| format!(": {line}")).unwrap_or_default();
        Error::List {
            command: self.list.clone(),
            how,
            said,
        }
    }

    fn parse(&self, printed: &[u8]) -> Result<Vec<String>, Error> {
        let end = if printed.contains(&0) { 0 } else { b'\n' };
        let mut names = Vec::new();
        let mut seen = BTreeSet::new();
        let mut twice = BTreeSet::new();
        for name in printed.split(|byte| *byte == end) {
            let name = if end == 0 {
                name
            } else {
                name.strip_suffix(b"\r").unwrap_or(name)
            };
            let name = str::from_utf8(name).map_err(|_| Error::ListText {
                command: self.list.clone(),
                name: name.escape_ascii().to_string(),
            })?;
            if name.trim().is_empty() {
                continue;
            }
            if seen.insert(name) {
                names.push(name.to_owned());
            } else {
                twice.insert(name);
            }
        }
        if twice.is_empty() {
            return Ok(names);
        }
        let named: Vec<&str> = twice.into_iter().take(NAMED_MAX).collect();
        Err(Error::Duplicates {
            command: self.list.clone(),
            names: named.join(", "),
        })
    }
}

/// How to run each test of an exec suite.
#[derive(Debug)]
pub struct Launches {
    root: PathBuf,
    /// With the variable of the name in every place of it.
    run: String,
    env: Vec<(OsString, OsString)>,
    names: Vec<String>,
}

impl Launches {
    pub(crate) fn launch(&self, test: TestId) -> Launch {
        self.launch_named(self.names[test.index()].as_ref())
    }

    /// The file of data that the test is.
    pub(crate) fn input(&self, test: TestId) -> Option<PathBuf> {
        crate::input::file(&self.root, &self.names[test.index()])
    }

    /// Another file in the place of the test.
    pub(crate) fn launch_on(&self, file: &Path) -> Launch {
        self.launch_named(file.as_os_str())
    }

    fn launch_named(&self, name: &OsStr) -> Launch {
        let own = [(NAME_VARIABLE.into(), name.into())];
        let env: Arc<[_]> = self.env.iter().cloned().chain(own).collect();
        Launch {
            program: "sh".into(),
            args: vec!["-c".into(), self.run.clone().into()],
            env,
            cwd: self.root.clone(),
        }
    }

    #[expect(
        clippy::unused_self,
        reason = "the same shape as every other suite's launches"
    )]
    pub(crate) fn judge(&self, _test: TestId, exit: &Exit<'_>) -> Judged {
        let verdict = match (exit.signal, exit.code) {
            (Some(_), _) => Verdict::Crashed,
            (None, Some(0)) => return Judged::new(Verdict::Passed, None),
            (None, Some(SKIPPED)) => Verdict::Skipped,
            (None, _) => Verdict::Failed,
        };
        let message = last_line(exit.stderr).or_else(|| last_line(exit.stdout));
        Judged::new(verdict, message)
    }
}

/// `run` with the variable that holds the test's name in every place of it, quoted as each place needs.
fn with_name(run: &str) -> String {
    let mut text = String::with_capacity(run.len());
    let mut has_place = false;
    // What ends each quote, substitution and parenthesis that is open, the innermost last.
    let mut ends: Vec<char> = Vec::new();
    // What is added at the end belongs to the last line.
    let mut rest = run.trim_end();
    while let Some(next) = rest.chars().next() {
        let inside = ends.last().copied();
        if let Some(behind) = rest.strip_prefix(PLACE) {
            text.push_str(match inside {
                Some('\'') => r#"'"${COHORT_TEST}"'"#,
                Some('"') => "${COHORT_TEST}",
                _ => r#""$COHORT_TEST""#,
            });
            has_place = true;
            rest = behind;
            continue;
        }
        let mut taken = next.len_utf8();
        match (next, inside) {
            (_, Some(end)) if next == end => drop(ends.pop()),
            (_, Some('\'')) => {}
            ('\\', _) => taken += rest[taken..].chars().next().map_or(0, char::len_utf8),
            ('"' | '`', _) => ends.push(next),
            ('(', Some('"')) if !text.ends_with('$') => {}
            ('(', _) => ends.push(')'),
            (_, Some('"')) => {}
            ('\'', _) => ends.push(next),
            ('#', _) if begins_word(&text) => taken = rest.find('\n').unwrap_or(rest.len()),
            _ => {}
        }
        text.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    if !has_place {
        text.push_str(r#" "$COHORT_TEST""#);
    }
    text
}

/// Whether what follows `text` outside quotes is the beginning of a word, where `#` begins a comment.
fn begins_word(text: &str) -> bool {
    text.chars()
        .next_back()
        .is_none_or(|last| last.is_whitespace() || ";&|()".contains(last))
}

/// The last line of `output` that is not blank.
fn last_line(output: &[u8]) -> Option<String> {
    let line = output
        .split(|byte| *byte == b'\n')
        .rev()
        .find(|line| !line.trim_ascii().is_empty())?;
    Some(String::from_utf8_lossy(line.trim_ascii()).into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Stop;
    use proptest::prelude::*;

    fn suite(list: &str, run: &str) -> Exec {
        let root = std::env::temp_dir();
        Exec::new(
            root,
            list.to_owned(),
            run.to_owned(),
            BTreeMap::from([("X".to_owned(), "y".to_owned())]),
        )
    }

    fn look(suite: &mut Exec) -> Result<Discovered, Error> {
        suite.discover(&mut Discovery {
            scratch: Path::new("/"),
            home: Path::new("/"),
            stop: &Stop::default(),
            look_only: false,
            progress: &mut |_| (),
        })
    }

    fn execute(launch: &Launch) -> Output {
        Command::new(&launch.program)
            .args(&launch.args)
            .current_dir(&launch.cwd)
            .env_clear()
            .envs(launch.env.iter().cloned())
            .output()
            .unwrap()
    }

    fn printed(launch: &Launch) -> String {
        String::from_utf8(execute(launch).stdout).unwrap()
    }

    fn run(found: &Discovered, test: u32) -> (Judged, String) {
        let output = execute(&found.launches.launch(TestId(test)));
        let exit = Exit {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: &output.stdout,
            stderr: &output.stderr,
        };
        (
            found.launches.judge(TestId(test), &exit),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    #[test]
    fn names_of_any_kind_arrive_as_one_word() {
        let mut suite = suite(
            "printf 'a b\\0it'\"'\"'s \"$HOME\"\\nnew\\0'",
            "printf '%s|' {test} \"$COHORT_TEST\" $X",
        );
        let found = look(&mut suite).unwrap();
        assert_eq!(found.plan.tests.len(), 2);
        let name = &found.plan.tests[1].name;
        assert!(
            name.contains('\'') && name.contains('\n') && name.contains('$'),
            "{name:?}"
        );
        assert_eq!(run(&found, 1).1, format!("{name}|{name}|y|"));
        assert_eq!(run(&found, 0).1, "a b|a b|y|");
    }

    #[test]
    fn a_place_in_quotes_is_the_name_and_nothing_more() {
        let name = "a  b'\"`false`$(exit 9)$HOME\\";
        for (run_command, expected) in [
            ("printf '%s|' {test} {test}", format!("{name}|{name}|")),
            (r#"printf '%s|' "^{test}$" x"#, format!("^{name}$|x|")),
            ("printf '%s|' 'made-{test}!' x", format!("made-{name}!|x|")),
            (
                r#"printf '%s|' "\"{test}\"" \'{test}\'"#,
                format!("\"{name}\"|'{name}'|"),
            ),
            (
                r#"printf '%s|' "it's {test}" '"'{test}"#,
                format!("it's {name}|\"{name}|"),
            ),
            (
                r#"printf '%s|' "$(printf '<%s>' {test} "{test}")""#,
                format!("<{name}><{name}>|"),
            ),
            (
                r#"printf '%s|' "(`printf %s {test}`)" "{test}""#,
                format!("({name})|{name}|"),
            ),
            ("# don't\nprintf '%s|' a#'b' {test}", format!("a#b|{name}|")),
            (r"printf '%s|' \{test}", format!("{{test}}|{name}|")),
            ("printf '%s|' ü", format!("ü|{name}|")),
            ("printf a\nprintf '%s|' b\n", format!("ab|{name}|")),
        ] {
            let launches = Launches {
                root: std::env::temp_dir(),
                run: with_name(run_command),
                env: environment::with(&BTreeMap::new()).into_iter().collect(),
                names: vec![name.to_owned()],
            };
            assert_eq!(
                printed(&launches.launch(TestId(0))),
                expected,
                "{run_command}"
            );
        }
    }

    #[test]
    fn exit_codes_and_last_words() {
        let mut suite = suite(
            "printf 'exit 0\\n\\nexit 77\\necho no >&2; echo; exit 3\\nkill -9 $$\\n'",
            "eval",
        );
        let found = look(&mut suite).unwrap();
        let verdicts: Vec<Verdict> = (0..4).map(|test| run(&found, test).0.verdict).collect();
        assert_eq!(
            verdicts,
            [
                Verdict::Passed,
                Verdict::Skipped,
                Verdict::Failed,
                Verdict::Crashed
            ]
        );
        assert_eq!(run(&found, 2).0.message.as_deref(), Some("no"));
    }

    #[test]
    fn what_a_list_command_leaves_running_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let list = "seq 3; while [ -d \"$PWD\" ]; do sleep 0.1; done &";
        let root = directory.path().to_owned();
        let mut suite = Exec::new(root, list.to_owned(), "true".to_owned(), BTreeMap::new());
        let found = look(&mut suite).unwrap();
        assert_eq!(found.plan.tests.len(), 3);
        assert_eq!(found.notes.len(), 1, "{:?}", found.notes);
        suite.list = "seq 2; sleep 0.2 &".to_owned();
        let found = look(&mut suite).unwrap();
        assert_eq!((found.plan.tests.len(), found.notes.len()), (2, 0));
    }

    #[test]
    fn a_bad_list_is_one_clear_error() {
        let said = |list: &str| look(&mut suite(list, "true")).unwrap_err().to_string();
        assert_eq!(
            said("echo a; echo b; echo a"),
            "the list command `echo a; echo b; echo a` printed these tests more than once: a; each name must be unique"
        );
        assert_eq!(
            said("echo gone >&2; exit 4"),
            "the list command `echo gone >&2; exit 4` failed (exit code 4): gone"
        );
        assert!(said("printf '\\377\\n'").contains("\\xff"));
    }

    proptest! {
        #[test]
        fn what_is_listed_is_what_is_run(names in prop::collection::btree_set("[^\0]*[^\0\\s][^\0]*", 1..4)) {
            let printed = names.iter().map(String::as_str).collect::<Vec<_>>().join("\0") + "\0";
            prop_assert_eq!(suite("", "").parse(printed.as_bytes()).unwrap(), names.iter().cloned().collect::<Vec<_>>());
        }
    }
}
