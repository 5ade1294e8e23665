//! `cargo test`, one process per test.
//!
//! ```text
//! cargo test, with a runner that only records   (recorder)  -> every program cargo would run, and how
//! each program --list                           (listing)   -> its tests, or none to be had
//! PROGRAM --exact --nocapture NAME              one test
//! PROGRAM <arguments as cargo gave them>        a program that cannot list, or rustdoc --test: whole
//! ```
//!
//! Which programs there are, and each one's arguments, environment and working directory, are what
//! cargo itself said. Doc tests run by rustdoc directly, so they take no lock of cargo's.

mod anew;
mod arguments;
mod build;
mod judge;
mod listing;
mod passing_on;
mod recorder;
mod settings;
mod unlistable;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use cargo_platform::Cfg;
use cohort_model::{GroupId, Plan, TestCase, TestId};

use self::anew::{Anew, Made, Origin};
use self::arguments::{Arguments, Harness, Ignored};
use self::build::{Target, Targets};
use self::listing::{Asking, Entry, Listed};
use self::recorder::{Call, Called, Recorder};
use self::settings::Settings;
use self::unlistable::Unlistable;
use crate::environment::{self, Variables};
use crate::{Discovered, Discovery, Error, Exit, Judged, Launch, Progress};

/// Name of the variable that says which rustdoc cargo runs.
const RUSTDOC: &str = "RUSTDOC";

/// A cargo suite.
#[derive(Clone, Debug)]
pub struct Cargo {
    root: PathBuf,
    command: Vec<String>,
    arguments: Arguments,
    env: BTreeMap<String, String>,
}

/// A program that cargo would run.
#[derive(Debug)]
struct Program {
    /// `package`, `package::test`, `package::bin/name`, `package::doc`, ...
    label: String,
    /// How to start it; its arguments are those before the harness's own.
    start: Called,
    /// The harness's arguments as cargo gave them.
    given: Vec<OsString>,
    /// The test binary itself, behind whatever runs it.
    binary: PathBuf,
    /// What it was built from, where cargo told.
    target: Option<Target>,
    kind: Kind,
}

/// What a program does when it is asked for its tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It lists them.
    Libtest,
    /// Anything.
    OwnHarness,
    /// It would have to build them first.
    Doc,
}

impl Cargo {
    /// Reads `command`, which begins with `cargo` (or a path to it), before which `env` may set
    /// variables.
    ///
    /// # Errors
    /// When it is not `cargo test` or an alias of it, or has an option that makes no sense under Cohort.
    pub(crate) fn new(
        root: PathBuf,
        command: &[String],
        env: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let (set, cargo) = environment::split_env(command);
        let set = set.iter().filter_map(|word| word.split_once('='));
        let mut env = env.clone();
        env.extend(set.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let cargo = arguments::in_full(cargo, |alias, configs| {
            let env = environment::with(&env);
            Settings::read(&root, &env, configs).alias(alias, &env)
        });
        Ok(Cargo {
            root,
            command: command.to_vec(),
            arguments: Arguments::parse(&cargo)?,
            env,
        })
    }

    /// The command as given.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        self.command.clone()
    }

    /// Builds the test programs and lists their tests.
    ///
    /// # Errors
    /// When cargo cannot be started or the suite does not build.
    pub fn discover(&mut self, discovery: &mut Discovery<'_>) -> Result<Discovered, Error> {
        (discovery.progress)(Progress::Building);
        let env = environment::with(&self.env);
        let settings = Settings::read(&self.root, &env, &self.arguments.configs());
        let recorder = Recorder::prepare(&[discovery.scratch, discovery.home])?;
        let targets = build::run(self, &settings, &env, (&recorder, discovery.stop))?;
        let context = Context {
            targets: &targets,
            settings: &settings,
            env: &env,
        };
        let programs = programs(recorder.calls()?, &context);
        let harness = |program: &Program| Harness::parse(program.given.iter().map(|word| &**word));
        let harnesses = programs
            .iter()
            .map(harness)
            .collect::<Result<Vec<_>, Error>>()?;
        let listed = list_all(&programs, &harnesses, discovery);
        if discovery.stop.is_stopped() {
            return Err(Error::Stopped);
        }
        let variable = programs.iter().filter_map(threads_of).min();
        let mut found = plan((programs, Anew::new(self)), &harnesses, listed);
        let own = Harness::parse(self.arguments.harness.iter().map(OsStr::new))?;
        found.plan.threads_max = own.threads_max.or(variable);
        found.show = own.show;
        Ok(found)
    }
}

/// What the user's own settings say of a program.
struct Context<'a> {
    targets: &'a Targets,
    settings: &'a Settings,
    env: &'a Variables,
}

impl Context<'_> {
    /// The runner that the user wants for `called`, built for `triple`.
    fn runner(&self, triple: &str, called: &Called) -> Option<Vec<String>> {
        let cfgs = || cfgs(triple, called);
        self.settings
            .runner(triple, self.env, cfgs)
            .filter(|words| !words.is_empty())
    }
}

/// What holds of a target, from the rustc that stands beside the cargo that made this call.
fn cfgs(triple: &str, called: &Called) -> Vec<Cfg> {
    let output = Command::new(beside_cargo(called, "rustc"))
        .args(["--print", "cfg", "--target", triple])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let lines = text.unwrap_or_default();
    lines.lines().filter_map(|line| line.parse().ok()).collect()
}

/// A program of the toolchain that cargo is of.
fn beside_cargo(called: &Called, name: &str) -> PathBuf {
    let cargo = called.env.get(OsStr::new("CARGO"));
    cargo
        .map(|cargo| Path::new(cargo).with_file_name(name))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| name.into())
}

/// The programs behind `calls`, by label.
fn programs(calls: Vec<Call>, context: &Context<'_>) -> Vec<Program> {
    let mut programs: Vec<Program> = calls
        .into_iter()
        .map(|call| match call {
            Call::Binary(triple, called) => binary(&triple, called, context),
            Call::Doc(called) => doc(called, context),
        })
        .collect();
    programs.sort_by(|a, b| {
        (&a.label, &a.start.args, &a.given).cmp(&(&b.label, &b.start.args, &b.given))
    });
    // The same target built for two triples, or two packages of one name.
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for program in &mut programs {
        let times = times.entry(program.label.clone()).or_default();
        *times += 1;
        if *times > 1 {
            program.label = format!("{}#{times}", program.label);
        }
    }
    programs
}

fn binary(triple: &str, mut called: Called, context: &Context<'_>) -> Program {
    restore_rustdoc(&mut called.env, context.env);
    let binary = called.program.clone();
    let target = context.targets.get(&binary);
    let own_harness = target.is_some_and(|target| target.has_own_harness(&manifest(&called)));
    let label = match target {
        Some(target) => target.label(&package(&called)),
        None => binary
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    };
    let mut given = std::mem::take(&mut called.args);
    // What `cargo test --quiet` adds: it only makes the output harder to read.
    given.retain(|word| word != "--quiet");
    restore_runner(triple, &mut called, context);
    if let Some(runner) = context.runner(triple, &called) {
        called.program = PathBuf::from(&runner[0]);
        called.args = runner[1..]
            .iter()
            .map(OsString::from)
            .chain([binary.clone().into()])
            .collect();
    }
    Program {
        label,
        start: called,
        given,
        target: target.cloned(),
        binary,
        kind: if own_harness {
            Kind::OwnHarness
        } else {
            Kind::Libtest
        },
    }
}

fn manifest(called: &Called) -> PathBuf {
    let directory = called.env.get(OsStr::new("CARGO_MANIFEST_DIR"));
    Path::new(directory.map_or(OsStr::new(""), |directory| directory)).join("Cargo.toml")
}

/// How many threads libtest would use in `program` by the variable for it, which cargo's `[env]` may set.
fn threads_of(program: &Program) -> Option<u32> {
    let value = program.start.env.get(OsStr::new("RUST_TEST_THREADS"))?;
    value.to_str()?.parse().ok().filter(|threads| *threads > 0)
}

/// Undoes, in what cargo passed on, that the recorder stood in for a runner.
fn restore_runner(triple: &str, called: &mut Called, context: &Context<'_>) {
    let name = OsString::from(settings::runner_variable(triple));
    match context.env.get(&name) {
        Some(own) => called.env.insert(name, own.clone()),
        None => called.env.remove(&name),
    };
}

/// `rustdoc --test` as cargo would call it, without the recording runner and with the user's own.
fn doc(mut called: Called, context: &Context<'_>) -> Program {
    restore_rustdoc(&mut called.env, context.env);
    let own = context.env.get(OsStr::new(RUSTDOC)).map(PathBuf::from);
    called.program = own
        .or_else(|| context.settings.rustdoc())
        .unwrap_or_else(|| beside_cargo(&called, "rustdoc"));
    let mut kept = Vec::new();
    let mut runner = Vec::new();
    let mut words = std::mem::take(&mut called.args).into_iter();
    while let Some(word) = words.next() {
        if word == "--test-runtool" || word == "--test-runtool-arg" {
            runner.extend(words.next());
        } else if word == "--color" {
            // cargo was told to colour its own words; rustdoc's go where the instance puts them.
            words.next();
        } else if word == "--test-args" {
            let value = words.next().unwrap_or_default();
            if value != "--quiet" {
                kept.extend([word, value]);
            }
        } else {
            kept.push(word);
        }
    }
    // The recording runner was `/bin/sh <dir>/record <triple>`.
    let triple = runner
        .get(2)
        .map(|triple| triple.to_string_lossy().into_owned())
        .unwrap_or_default();
    restore_runner(&triple, &mut called, context);
    let runner = context.runner(&triple, &called).unwrap_or_default();
    for (place, word) in runner.iter().enumerate() {
        let option = if place == 0 {
            "--test-runtool"
        } else {
            "--test-runtool-arg"
        };
        kept.extend([option.into(), word.into()]);
    }
    called.args = kept;
    Program {
        label: format!("{}::doc", package(&called)),
        start: called,
        given: Vec::new(),
        binary: PathBuf::new(),
        target: None,
        kind: Kind::Doc,
    }
}

fn package(called: &Called) -> String {
    let name = called.env.get(OsStr::new("CARGO_PKG_NAME"));
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Undoes, in what cargo passed on, that the recorder stood in for rustdoc.
fn restore_rustdoc(called: &mut Variables, env: &Variables) {
    match env.get(OsStr::new(RUSTDOC)) {
        Some(own) => called.insert(RUSTDOC.into(), own.clone()),
        None => called.remove(OsStr::new(RUSTDOC)),
    };
}

/// Lists all programs, several at once. Doc tests are not listed: rustdoc would have to build them.
fn list_all(
    programs: &[Program],
    harnesses: &[Harness],
    discovery: &mut Discovery<'_>,
) -> Vec<Listed> {
    let mut unlistable = Unlistable::read(discovery.home);
    let mut listed = vec![Listed::Whole(String::new()); programs.len()];
    let mut asked = Vec::new();
    for (at, program) in programs.iter().enumerate() {
        let own = program.kind == Kind::OwnHarness;
        if own && unlistable.contains(&program.binary) {
            listed[at] = Listed::Whole("could not be listed before".to_owned());
        } else if own && discovery.look_only {
            let why = "is only asked for its tests when it is run (harness = false)";
            listed[at] = Listed::Whole(why.to_owned());
        } else if program.kind != Kind::Doc {
            asked.push(at);
        }
    }
    let ask = |at: usize| {
        let program = &programs[at];
        let asking = Asking {
            own_harness: program.kind == Kind::OwnHarness,
            limit: listing::LIMIT,
            stop: discovery.stop,
        };
        listing::list(&program.start, &harnesses[at], &asking)
    };
    let next = AtomicUsize::new(0);
    let (answer, answers) = mpsc::channel();
    let workers = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(asked.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let answer = answer.clone();
            scope.spawn(|| {
                let answer = answer;
                while let Some(&at) = asked.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let _ = answer.send((at, ask(at)));
                }
            });
        }
        drop(answer);
        for (done, (at, list)) in answers.iter().enumerate() {
            let known = harnesses[at].unknown.is_none();
            if matches!(list, Listed::Whole(_)) && known && !discovery.stop.is_stopped() {
                unlistable.add(&programs[at].binary);
            }
            listed[at] = list;
            (discovery.progress)(Progress::Listing {
                done: done + 1,
                of: asked.len(),
            });
        }
    });
    unlistable.write();
    listed
}

fn plan(
    (programs, anew): (Vec<Program>, Anew),
    harnesses: &[Harness],
    listed: Vec<Listed>,
) -> Discovered {
    let mut plan = Plan::default();
    let mut runs = Vec::new();
    let mut notes = Vec::new();
    for (at, (program, listed)) in programs.iter().zip(listed).enumerate() {
        let group =
            GroupId(u32::try_from(plan.groups.len()).expect("fewer than 2^32 test programs"));
        let case = |name: String| TestCase {
            name,
            group,
            ignored: false,
            lock: None,
            whole: false,
            broken: None,
        };
        match listed {
            Listed::Tests(tests) if tests.is_empty() => continue,
            Listed::Tests(tests) => {
                for entry in tests {
                    let ignored = entry.marked && harnesses[at].ignored == Ignored::Skipped;
                    let name = format!("{} {}", program.label, entry.name);
                    plan.tests.push(TestCase {
                        ignored,
                        ..case(name)
                    });
                    runs.push(Run {
                        program: at,
                        one: Some(entry),
                    });
                }
            }
            Listed::Whole(why) => {
                if program.kind != Kind::Doc {
                    notes.push(format!("{} {why}, so it runs whole", program.label));
                }
                plan.tests.push(TestCase {
                    whole: true,
                    broken: None,
                    ..case(program.label.clone())
                });
                runs.push(Run {
                    program: at,
                    one: None,
                });
            }
        }
        plan.groups.push(program.label.clone());
    }
    let programs = programs.into_iter().map(Started::from).collect();
    let launches = crate::Launches::Cargo(Launches {
        programs,
        runs,
        anew,
    });
    Discovered {
        plan,
        launches,
        show: crate::Show::default(),
        notes,
    }
}

/// How to run each test of a cargo suite.
#[derive(Debug)]
pub struct Launches {
    programs: Vec<Started>,
    /// By test.
    runs: Vec<Run>,
    /// How they would be built anew.
    anew: Anew,
}

#[derive(Debug)]
struct Run {
    program: usize,
    /// Absent: the whole program.
    one: Option<Entry>,
}

/// A [`Program`] whose environment is shared by all its launches.
#[derive(Debug)]
struct Started {
    program: PathBuf,
    args: Vec<OsString>,
    given: Vec<OsString>,
    env: Arc<[(OsString, OsString)]>,
    cwd: PathBuf,
    origin: Origin,
    /// The same, built anew.
    made: Option<Made>,
}

impl From<Program> for Started {
    fn from(program: Program) -> Self {
        let origin = Origin::new(&program);
        let Called {
            program: path,
            args,
            env,
            cwd,
        } = program.start;
        Started {
            program: path,
            args,
            given: program.given,
            env: env.into_iter().collect(),
            cwd,
            origin,
            made: None,
        }
    }
}

impl Launches {
    pub(crate) fn launch(&self, test: TestId) -> Launch {
        let run = &self.runs[test.index()];
        let program = &self.programs[run.program];
        let own = run
            .one
            .as_ref()
            .map_or_else(|| program.given.clone(), Entry::args);
        Launch {
            program: program.program.clone(),
            args: program.args.iter().cloned().chain(own).collect(),
            env: Arc::clone(&program.env),
            cwd: program.cwd.clone(),
        }
    }

    pub(crate) fn judge(&self, test: TestId, exit: &Exit<'_>) -> Judged {
        match &self.runs[test.index()].one {
            Some(entry) => judge::one(&entry.name, exit),
            None => judge::whole(exit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_env_sets_is_set() {
        let command = ["env", "A=1=2", "cargo", "test", "x"].map(str::to_owned);
        let config = [("A", "config"), ("B", "config")];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let cargo = Cargo::new("/".into(), &command, &config.into()).unwrap();
        assert_eq!((&*cargo.env["A"], &*cargo.env["B"]), ("1=2", "config"));
        assert_eq!(cargo.arguments.build, ["x"]);
        assert_eq!(cargo.command(), command, "as it is resumed");
    }
}
