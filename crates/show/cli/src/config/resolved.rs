//! What a campaign is run with: checked, complete, in base units. A flag wins over the file, the file
//! over the default, and nothing may exceed what this host has.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use cohort_model::{Budget, Isolation, Policy, ServiceFindingKind};
use toml::Spanned;

use super::raw::{Raw, RawScan, RawSuite, Size, Time};
use super::{Error, File, Place, helper, units};
use crate::arguments::{Namespace, RunFlags};

const CORES: RangeInclusive<f64> = 0.1..=4096.0;
const MEMORY_BYTES: RangeInclusive<u64> = 16 << 20..=1 << 50;
const INSTANCES: RangeInclusive<u32> = 1..=4096;
const TIMEOUT_US: RangeInclusive<u64> = 1_000_000..=30 * 86_400_000_000;
const HZ: RangeInclusive<f64> = 0.1..=100.0;

const INSTANCES_DEFAULT: u32 = 64;
const TIMEOUT_DEFAULT_US: u64 = 3_600_000_000;
const STALL_DEFAULT_US: u64 = 600_000_000;
const HZ_DEFAULT: f64 = 10.0;
const SHARE: RangeInclusive<f64> = 0.0..=1.0;
const SHARE_DEFAULT: f64 = 0.25;
/// Of the CPU, for helpers.
const HELPERS_SHARE_DEFAULT: f64 = 0.1;
const AFTER_US: RangeInclusive<u64> = 0..=30 * 86_400_000_000;
const AFTER_DEFAULT_US: u64 = 60_000_000;
/// Of one execution of a harness.
const INPUT_TIME_DEFAULT_US: u64 = 5_000_000;
const INPUT_MEMORY_DEFAULT: u64 = 2 << 30;
const STRESS_DEFAULT_US: u64 = 300_000_000;
const STRESS_BELOW_DEFAULT: f64 = 0.001;
const STRESS_CONFIDENCE_DEFAULT: f64 = 0.95;

/// What this process may use of this host, headroom taken off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Means {
    /// Cores.
    pub(crate) cores: f64,
    /// Bytes.
    pub(crate) memory: u64,
    /// Whether a thread that reaches its memory limit can be held.
    pub(crate) holds_memory: bool,
}

/// Which suite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suite {
    /// Its command: the one given, else that of the file; empty when it is to be recognized.
    pub(crate) command: Vec<String>,
    /// Whether the command was given on the command line, so that it wins over `list` and `run`.
    pub(crate) given: bool,
    /// Shell command that lists the tests.
    pub(crate) list: Option<String>,
    /// Shell command that runs one.
    pub(crate) run: Option<String>,
    /// Environment of both.
    pub(crate) env: BTreeMap<String, String>,
}

/// How recorded requests of a service are changed, or what a harness is given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fuzz {
    /// What `[fuzz]` says of a harness.
    pub(crate) harness: cohort_harness::Config,
    /// Time of one execution of a harness, microseconds.
    pub(crate) input_us: u64,
    /// Memory of one, bytes.
    pub(crate) input_memory: u64,
    /// What is random follows from it.
    pub(crate) seed: u64,
    /// How long in all, microseconds.
    pub(crate) time_us: u64,
    /// A description of the API, as it was written.
    pub(crate) openapi: Option<PathBuf>,
}

/// What helpers may use, and what a campaign says of when they come.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HelperRules {
    /// Share of the CPU that they may use together, 0 to 1.
    pub(crate) share: f64,
    /// By suspicion, names of those that come then, and no others.
    pub(crate) on: BTreeMap<ServiceFindingKind, Vec<String>>,
}

/// How edge cases are tried again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EdgeCases {
    /// Share of the cores' time while other tests wait, 0 to 1.
    pub(crate) share: f64,
    /// How long it may go on after the last test, microseconds; for stress how long it takes at most.
    pub(crate) after_us: u64,
    /// Tests that are stressed, and nothing else is run.
    pub(crate) stress: Option<Stress>,
}

/// Tests that are to be tried although they have not failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stress {
    /// A name, or a part of names.
    pub(crate) test: String,
    /// Failure rate that would be too much, 0 to 1.
    pub(crate) rate: f64,
    /// Probability of being wrong about it, 0 to 1.
    pub(crate) doubt: f64,
}

/// All that a campaign is run with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resolved {
    /// Which suite.
    pub(crate) suite: Suite,
    /// What it may use.
    pub(crate) budget: Budget,
    /// How it decides.
    pub(crate) policy: Policy,
    /// Private namespaces.
    pub(crate) isolation: Isolation,
    /// How edge cases are tried again; none: they are not.
    pub(crate) cases: Option<EdgeCases>,
    /// Helpers; none: they are not deployed.
    pub(crate) helpers: Option<HelperRules>,
    /// How weaknesses are looked for; none: they are not.
    pub(crate) scan: Option<RawScan>,
    /// How recorded requests are changed; none: they are not.
    pub(crate) fuzz: Option<Fuzz>,
    /// A load-sensitive test fails the campaign.
    pub(crate) strict: bool,
    /// Samples a second.
    pub(crate) hz: f64,
    /// Where the JUnit report goes.
    pub(crate) junit: Option<PathBuf>,
    /// Where the event stream goes.
    pub(crate) events: Option<PathBuf>,
    /// What was cut down to this host, one sentence each.
    pub(crate) notes: Vec<String>,
}

/// Joins what was written, what was typed and what there is.
///
/// # Errors
/// With the place and the allowed range, when a value makes no sense.
pub(crate) fn resolve(
    file: Option<&File>,
    flags: &RunFlags,
    means: &Means,
) -> Result<Resolved, Error> {
    let nothing = Raw::default();
    let raw = file.map_or(&nothing, |file| &file.raw);
    let sources = Sources {
        file,
        raw,
        flags,
        means,
    };
    let mut budget = budget(&sources)?;
    let notes = cut(&mut budget, means);
    let hz = sources.setting("telemetry.hz", "", None).take(
        raw.telemetry.hz.as_ref(),
        |hz| *hz,
        &HZ,
        ToString::to_string,
    )?;
    let in_root = |path: &PathBuf| file.map_or_else(|| path.clone(), |file| file.root().join(path));
    Ok(Resolved {
        suite: suite(&sources)?,
        budget,
        policy: flags.policy.or(raw.policy.kind).unwrap_or_default(),
        isolation: isolation(raw, flags),
        cases: cases(&sources)?,
        helpers: helpers(&sources)?,
        scan: Some(&raw.helpers.scan).filter(|it| it.enabled).cloned(),
        fuzz: fuzz(&sources)?,
        strict: flags.strict || raw.policy.strict.unwrap_or(false),
        hz: hz.unwrap_or(HZ_DEFAULT),
        junit: flags
            .faces
            .junit
            .clone()
            .or_else(|| raw.report.junit.as_ref().map(in_root)),
        events: flags
            .faces
            .events
            .clone()
            .or_else(|| raw.report.events.as_ref().map(in_root)),
        notes,
    })
}

/// All that a setting may come from.
struct Sources<'a> {
    file: Option<&'a File>,
    raw: &'a Raw,
    flags: &'a RunFlags,
    means: &'a Means,
}

impl<'a> Sources<'a> {
    fn setting<T>(
        &self,
        key: &'static str,
        flag_name: &'static str,
        flag: Option<T>,
    ) -> Setting<'a, T> {
        Setting {
            key,
            flag,
            flag_name,
            file: self.file,
        }
    }
}

fn suite(sources: &Sources<'_>) -> Result<Suite, Error> {
    let Sources {
        raw: Raw { suite: written, .. },
        flags,
        ..
    } = sources;
    if let Some(file) = sources.file {
        not_empty(file, written)?;
        let half = |value: &Spanned<String>, given, absent| {
            Err(Error::Half {
                place: file.place(value),
                given,
                absent,
            })
        };
        match (&written.list, &written.run) {
            (Some(list), None) => return half(list, "list", "run"),
            (None, Some(run)) => return half(run, "run", "list"),
            _ => {}
        }
    }
    let given = !flags.command.is_empty();
    let from_file = || {
        written
            .command
            .as_ref()
            .map(|words| words.get_ref().0.clone())
            .unwrap_or_default()
    };
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|text| text.get_ref().clone());
    Ok(Suite {
        command: if given {
            flags.command.clone()
        } else {
            from_file()
        },
        given,
        list: text(&written.list),
        run: text(&written.run),
        env: written.env.clone(),
    })
}

/// Refuses keys that are to hold a command and hold none.
fn not_empty(file: &File, written: &RawSuite) -> Result<(), Error> {
    let is_blank = |text: &String| text.trim().is_empty();
    if let Some(words) = &written.command
        && words.get_ref().0.first().is_none_or(is_blank)
    {
        let place = file.place(words);
        return Err(Error::Empty {
            place,
            key: "command",
        });
    }
    for (key, text) in [("list", &written.list), ("run", &written.run)] {
        if let Some(text) = text
            && is_blank(text.get_ref())
        {
            let place = file.place(text);
            return Err(Error::Empty { place, key });
        }
    }
    Ok(())
}

fn budget(sources: &Sources<'_>) -> Result<Budget, Error> {
    let Sources {
        raw: Raw {
            budget: written, ..
        },
        flags,
        means,
        ..
    } = sources;
    let cores = sources.setting("budget.cpus", "--cpus", flags.cpus).take(
        written.cpus.as_ref(),
        |cores| *cores,
        &CORES,
        ToString::to_string,
    )?;
    let memory = sources
        .setting("budget.memory", "--memory", flags.memory)
        .take(
            written.memory.as_ref(),
            |Size(size)| *size,
            &MEMORY_BYTES,
            |size| units::write_bytes(*size),
        )?;
    let instances = sources
        .setting("budget.instances", "--instances", flags.instances)
        .take(
            written.instances.as_ref(),
            |count| *count,
            &INSTANCES,
            ToString::to_string,
        )?;
    let time = |setting: Setting<'_, u64>, value: &Option<Spanned<Time>>| {
        setting.take(
            value.as_ref(),
            |Time(us)| *us,
            &TIMEOUT_US,
            |us| units::write_time(*us),
        )
    };
    let timeout = sources.setting("budget.timeout", "--timeout", flags.timeout);
    let stall = sources.setting("budget.stall", "--stall", flags.stall);
    Ok(Budget {
        cores: cores.unwrap_or(means.cores),
        memory: memory.unwrap_or(means.memory),
        instances: instances.unwrap_or(INSTANCES_DEFAULT),
        timeout_us: time(timeout, &written.timeout)?.unwrap_or(TIMEOUT_DEFAULT_US),
        stall_us: time(stall, &written.stall)?.unwrap_or(STALL_DEFAULT_US),
        holds_memory: means.holds_memory,
    })
}

/// What `--stress` and the flags beside it ask for.
fn stress(flags: &RunFlags) -> Option<(Stress, u64)> {
    let test = flags.stress.clone()?;
    let confidence = flags.confidence.unwrap_or(STRESS_CONFIDENCE_DEFAULT);
    let stress = Stress {
        test,
        rate: flags.below.unwrap_or(STRESS_BELOW_DEFAULT),
        doubt: 1.0 - confidence,
    };
    Some((stress, flags.stress_for.unwrap_or(STRESS_DEFAULT_US)))
}

/// Recorded requests are changed when a time is given for it.
fn fuzz(sources: &Sources<'_>) -> Result<Option<Fuzz>, Error> {
    let written = &sources.raw.fuzz;
    let time = sources.setting("fuzz.time", "--fuzz", sources.flags.fuzz);
    let time_us = time.take(
        written.time.as_ref(),
        |Time(us)| *us,
        &AFTER_US,
        |us| units::write_time(*us),
    )?;
    let input = sources.setting("fuzz.input_timeout", "", None);
    let input_us = input.take(
        written.input_timeout.as_ref(),
        |Time(us)| *us,
        &TIMEOUT_US,
        |us| units::write_time(*us),
    )?;
    let memory = sources.setting("fuzz.input_memory", "", None);
    let input_memory = memory.take(
        written.input_memory.as_ref(),
        |Size(bytes)| *bytes,
        &MEMORY_BYTES,
        |bytes| units::write_bytes(*bytes),
    )?;
    let harness = cohort_harness::Config {
        harness: written
            .harness
            .as_ref()
            .map(|words| words.get_ref().0.clone())
            .unwrap_or_default(),
        build: written.build.clone(),
        seeds: written.seeds.clone(),
        dictionary: written.dictionary.clone(),
        env: sources.raw.suite.env.clone(),
    };
    Ok(time_us.filter(|us| *us > 0).map(|time_us| Fuzz {
        time_us,
        harness,
        seed: sources.flags.seed.unwrap_or(1),
        input_us: input_us.unwrap_or(INPUT_TIME_DEFAULT_US),
        input_memory: input_memory.unwrap_or(INPUT_MEMORY_DEFAULT),
        openapi: written.openapi.clone(),
    }))
}

/// The fixed policy is the plain baseline: it deploys none unless it is asked to.
fn helpers(sources: &Sources<'_>) -> Result<Option<HelperRules>, Error> {
    let written = &sources.raw.helpers;
    let share = sources.setting("helpers.share", "", None).take(
        written.share.as_ref(),
        |share| *share,
        &SHARE,
        ToString::to_string,
    )?;
    let policy = sources.flags.policy.or(sources.raw.policy.kind);
    let usual = policy.unwrap_or_default() == Policy::Adaptive;
    let enabled = written.enabled.unwrap_or(usual);
    let mut on = BTreeMap::new();
    if let Some(file) = sources.file.filter(|_| !written.on.is_empty()) {
        let known = helper::load(file.root())?;
        let known: Vec<String> = known.into_iter().map(|it| it.manifest.name).collect();
        for (kind, listed) in &written.on {
            if let Some(other) = listed.iter().find(|it| !known.contains(it.get_ref())) {
                let (place, name) = (file.place(other), other.get_ref());
                let known = known.join(", ");
                let what = format!("`{name}` is no helper; there are {known}, and helpers/*.toml");
                return Err(Error::Wrong { place, what });
            }
            let listed = listed.iter().map(|it| it.get_ref().clone());
            on.insert(*kind, listed.collect());
        }
    }
    let share = share.unwrap_or(HELPERS_SHARE_DEFAULT);
    Ok(enabled.then_some(HelperRules { share, on }))
}

/// The fixed policy is the plain baseline: it tries nothing again unless it is asked to.
fn cases(sources: &Sources<'_>) -> Result<Option<EdgeCases>, Error> {
    let written = &sources.raw.edge_cases;
    let share = sources.setting("edge_cases.share", "", None).take(
        written.share.as_ref(),
        |share| *share,
        &SHARE,
        ToString::to_string,
    )?;
    let after = sources.setting(
        "edge_cases.after",
        "--reproduce-for",
        sources.flags.reproduce_for,
    );
    let after_us = after.take(
        written.after.as_ref(),
        |Time(us)| *us,
        &AFTER_US,
        |us| units::write_time(*us),
    )?;
    let policy = sources.flags.policy.or(sources.raw.policy.kind);
    let usual = policy.unwrap_or_default() == Policy::Adaptive;
    if let Some((stress, after_us)) = stress(sources.flags) {
        return Ok(Some(EdgeCases {
            share: share.unwrap_or(SHARE_DEFAULT),
            after_us,
            stress: Some(stress),
        }));
    }
    let asked = sources.flags.reproduce_for.is_some();
    let enabled = asked || written.enabled.unwrap_or(usual) && !sources.flags.no_reproduce;
    Ok(enabled.then_some(EdgeCases {
        share: share.unwrap_or(SHARE_DEFAULT),
        after_us: after_us.unwrap_or(AFTER_DEFAULT_US),
        stress: None,
    }))
}

/// Cuts `budget` down to what there is, and says so.
fn cut(budget: &mut Budget, means: &Means) -> Vec<String> {
    let mut notes = Vec::new();
    if budget.cores > means.cores {
        notes.push(format!(
            "{} cores are asked for; this process may use {}",
            budget.cores, means.cores
        ));
        budget.cores = means.cores;
    }
    if budget.memory > means.memory {
        let (asked, there) = (units::write_bytes(budget.memory), means.memory >> 20);
        notes.push(format!(
            "{asked} of memory are asked for; {there}MiB can be had"
        ));
        budget.memory = means.memory;
    }
    notes
}

/// `--isolate` replaces the whole table.
fn isolation(raw: &Raw, flags: &RunFlags) -> Isolation {
    let written = &raw.isolation;
    let asked = |namespace| flags.isolate.contains(&namespace);
    let mut isolation = if flags.isolate.is_empty() {
        let on = |value: Option<bool>| value.unwrap_or(false);
        Isolation {
            mount: on(written.mount),
            pid: on(written.pid),
            net: on(written.net),
        }
    } else {
        let (mount, pid) = (asked(Namespace::Mount), asked(Namespace::Pid));
        Isolation {
            mount,
            pid,
            net: asked(Namespace::Net),
        }
    };
    if asked(Namespace::None) {
        isolation = Isolation::default();
    }
    // Its own /proc has to be mounted somewhere.
    isolation.mount |= isolation.pid;
    isolation
}

/// One value that has a range, a flag and a key.
struct Setting<'a, T> {
    key: &'static str,
    flag: Option<T>,
    flag_name: &'static str,
    file: Option<&'a File>,
}

impl<T: PartialOrd + Copy + Display> Setting<'_, T> {
    /// The flag, else what is written, if it lies within `range`.
    fn take<R>(
        self,
        written: Option<&Spanned<R>>,
        read: fn(&R) -> T,
        range: &RangeInclusive<T>,
        write: fn(&T) -> String,
    ) -> Result<Option<T>, Error> {
        let given = match (self.flag, written, self.file) {
            (Some(value), _, _) => Some((value, Place::Flag(self.flag_name))),
            (None, Some(value), Some(file)) => Some((read(value.get_ref()), file.place(value))),
            _ => None,
        };
        match given {
            Some((value, place)) if !range.contains(&value) => Err(Error::OutOfRange {
                place,
                key: self.key,
                value: write(&value),
                range: format!("{} to {}", write(range.start()), write(range.end())),
            }),
            given => Ok(given.map(|(value, _)| value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const MEANS: Means = Means {
        cores: 2.0,
        memory: 3 << 30,
        holds_memory: true,
    };

    fn with(text: &str, flags: &RunFlags) -> Result<Resolved, String> {
        let file = parse("/p/cohort.toml".into(), text.to_owned()).map_err(|e| e.to_string())?;
        resolve(Some(&file), flags, &MEANS).map_err(|error| error.to_string())
    }

    fn refused(text: &str) -> String {
        with(text, &RunFlags::default()).expect_err("must be refused")
    }

    #[test]
    fn without_anything_the_host_decides() {
        let resolved = resolve(None, &RunFlags::default(), &MEANS).unwrap();
        let budget = Budget {
            cores: 2.0,
            memory: 3 << 30,
            instances: 64,
            timeout_us: 3_600_000_000,
            stall_us: 600_000_000,
            holds_memory: true,
        };
        assert_eq!(resolved.budget, budget);
        assert_eq!(resolved.policy, Policy::Adaptive);
        assert_eq!(resolved.isolation, Isolation::default());
        assert_eq!((resolved.strict, resolved.hz), (false, 10.0));
        assert_eq!(resolved.suite, Suite::default());
        assert!(resolved.notes.is_empty());
    }

    #[test]
    fn the_file_wins_over_defaults_and_flags_over_the_file() {
        let text = "[budget]\ncpus = 1.5\nmemory = '1GiB'\ntimeout = '5m'\n[suite]\ncommand = 'pytest'\n\
                    [report]\njunit = 'out.xml'\nevents = '/abs'\n[isolation]\nnet = true\n\
                    [policy]\nkind = 'static'\nstrict = true\n[telemetry]\nhz = 20";
        let resolved = with(text, &RunFlags::default()).unwrap();
        assert_eq!(
            (resolved.budget.cores, resolved.budget.memory),
            (1.5, 1 << 30)
        );
        assert_eq!(resolved.budget.timeout_us, 300_000_000);
        assert_eq!(resolved.suite.command, ["pytest"]);
        assert_eq!(resolved.junit, Some("/p/out.xml".into()));
        assert_eq!(resolved.events, Some("/abs".into()));
        assert!(resolved.isolation.net && resolved.strict);
        assert_eq!((resolved.policy, resolved.hz), (Policy::Static, 20.0));
        let flags = RunFlags {
            cpus: Some(0.5),
            timeout: Some(7_000_000),
            policy: Some(Policy::Adaptive),
            isolate: vec![Namespace::Pid],
            command: vec!["cargo".to_owned(), "test".to_owned()],
            ..RunFlags::default()
        };
        let resolved = with(text, &flags).unwrap();
        assert_eq!(
            (resolved.budget.cores, resolved.budget.timeout_us),
            (0.5, 7_000_000)
        );
        assert_eq!(resolved.policy, Policy::Adaptive);
        assert_eq!(
            resolved.isolation,
            Isolation {
                mount: true,
                pid: true,
                net: false
            }
        );
        assert_eq!(resolved.suite.command, ["cargo", "test"]);
        assert!(resolved.suite.given);
    }

    #[test]
    fn absurd_values_name_the_range() {
        assert_eq!(
            refused("[budget]\ncpus = 0"),
            "/p/cohort.toml:2:8: budget.cpus is 0; expected 0.1 to 4096"
        );
        assert_eq!(
            refused("[telemetry]\nhz = 1000"),
            "/p/cohort.toml:2:6: telemetry.hz is 1000; expected 0.1 to 100"
        );
        assert_eq!(
            refused("[budget]\nmemory = '1KiB'"),
            "/p/cohort.toml:2:10: budget.memory is 1KiB; expected 16MiB to 1024TiB"
        );
        assert_eq!(
            refused("[budget]\nstall = '1ms'"),
            "/p/cohort.toml:2:9: budget.stall is 1ms; expected 1s to 30d"
        );
        assert!(refused("[budget]\ncpus = nan").contains("budget.cpus is NaN"));
        assert!(refused("[budget]\ninstances = 0").contains("expected 1 to 4096"));
        let flags = RunFlags {
            cpus: Some(-1.0),
            ..RunFlags::default()
        };
        let error = resolve(None, &flags, &MEANS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--cpus: budget.cpus is -1; expected 0.1 to 4096"
        );
    }

    #[test]
    fn half_a_suite_is_refused() {
        assert_eq!(
            refused("[suite]\nlist = 'ls'"),
            "/p/cohort.toml:2:8: suite.list needs suite.run beside it: one lists the tests, the other runs one"
        );
    }

    #[test]
    fn an_empty_command_is_refused() {
        for (key, value, column) in [
            ("command", "[]", 11),
            ("command", "''", 11),
            ("command", "['']", 11),
            ("list", "''", 8),
            ("run", "' '", 7),
        ] {
            assert_eq!(
                refused(&format!("[suite]\n{key} = {value}")),
                format!(
                    "/p/cohort.toml:2:{column}: suite.{key} is empty; write a command, or leave the key out"
                )
            );
        }
    }

    #[test]
    fn more_than_the_host_has_is_cut_and_said() {
        let resolved = with(
            "[budget]\ncpus = 64\nmemory = '64GiB'",
            &RunFlags::default(),
        )
        .unwrap();
        assert_eq!(
            (resolved.budget.cores, resolved.budget.memory),
            (2.0, 3 << 30)
        );
        assert_eq!(
            resolved.notes,
            [
                "64 cores are asked for; this process may use 2",
                "64GiB of memory are asked for; 3072MiB can be had",
            ]
        );
    }

    #[test]
    fn none_switches_namespaces_off() {
        let flags = RunFlags {
            isolate: vec![Namespace::None],
            ..RunFlags::default()
        };
        let resolved = with("[isolation]\npid = true", &flags).unwrap();
        assert_eq!(resolved.isolation, Isolation::default());
        let resolved = with("[isolation]\npid = true", &RunFlags::default()).unwrap();
        assert!(
            resolved.isolation.mount,
            "a /proc of its own needs a mount table of its own"
        );
    }
}
