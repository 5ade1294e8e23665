//! Bugs as they are in real suites: tries cost what they cost there, and time is short.
//!
//! Rates and run times are of the order of those in `xtask/peers`, on a host that others use too: a race goes
//! from 1 % to 4 %, a traced run takes far longer than a plain one, tracing alone provokes what is slow, a flake fails
//! half of the time, and a host is busy now and then. Two lanes, each try its start and its batch.

use std::collections::BTreeSet;

use cohort_model::ConditionKind as Kind;
use cohort_model::{
    At, Case, Condition, ConditionKind, Frame, Recipe, Subject, Symptom, SymptomKind, TestId,
    ThreadId, Usage,
};
use cohort_replicator::{Hunt, Limits, Outcome, Replicator, Room, Settings, Sighting, Try};

use crate::bugs::{copies, unlucky};
use crate::world::Dice;

/// A run of a short test in Rust and one of pytest: seconds, and how often it works on files.
const RUST: (f64, f64) = (0.002, 12.0);
const PYTHON: (f64, f64) = (0.2, 900.0);
/// What it takes to begin a try, and to begin a run that is traced or limited, seconds.
const TRY_S: f64 = 0.006;
const UNDER_S: f64 = 0.004;
/// What a hang costs, seconds.
const HANG_S: f64 = 1.0;
/// Tries at once.
const LANES: usize = 2;

/// What is right to name.
pub(crate) type Right = &'static [ConditionKind];

const BUSY: Right = &[
    Kind::Schedule,
    Kind::CpuLimit,
    Kind::Cpus,
    Kind::Noise,
    Kind::Copies,
];
const LATE: Right = &[
    Kind::Schedule,
    Kind::CpuLimit,
    Kind::Cpus,
    Kind::Noise,
    Kind::Copies,
    Kind::DiskDelay,
    Kind::DiskRate,
];

/// One bug.
#[derive(Clone)]
pub(crate) struct Real {
    pub(crate) name: &'static str,
    kind: SymptomKind,
    says: &'static str,
    /// A plain run, seconds, and how often it works on files.
    wall_s: f64,
    calls: f64,
    /// One run of it fails with this probability, at this time.
    fails: fn(&Recipe, f64) -> f64,
    /// Nothing: nothing may be named.
    pub(crate) right: Right,
}

fn has(recipe: &Recipe, kind: ConditionKind) -> bool {
    recipe.conditions.iter().any(|one| one.kind() == kind)
}

fn delay(recipe: &Recipe, disk: bool) -> f64 {
    let each = recipe.conditions.iter().map(|one| match one {
        Condition::DiskDelay { us } if disk => *us as f64 / 1e6,
        Condition::NetworkDelay { us } if !disk => *us as f64 / 1e6,
        _ => 0.0,
    });
    each.sum()
}

fn cores(recipe: &Recipe) -> f64 {
    let limit = recipe.conditions.iter().find_map(|one| match one {
        Condition::CpuLimit { cores } => Some(*cores),
        _ => None,
    });
    limit.unwrap_or(1.0)
}

fn is_traced(recipe: &Recipe) -> bool {
    let traced = [
        Kind::Schedule,
        Kind::DiskDelay,
        Kind::DiskRate,
        Kind::NetworkDelay,
        Kind::NetworkRate,
        Kind::NetworkLoss,
    ];
    traced.iter().any(|kind| has(recipe, *kind))
}

fn busy(recipe: &Recipe) -> bool {
    has(recipe, Kind::Noise) || copies(recipe) > 3.0 || cores(recipe) < 0.15
}

fn race(recipe: &Recipe, base: f64, scheduled: f64) -> f64 {
    match (has(recipe, Kind::Schedule), busy(recipe)) {
        (true, _) => scheduled,
        (false, true) => 1.5 * base,
        (false, false) => base,
    }
}

fn weak_race(recipe: &Recipe, _: f64) -> f64 {
    race(recipe, 0.01, 0.04)
}

fn race_of_a_tenth(recipe: &Recipe, _: f64) -> f64 {
    race(recipe, 0.008, 0.12)
}

fn strong_race(recipe: &Recipe, _: f64) -> f64 {
    race(recipe, 0.003, 0.6)
}

fn slow_race(recipe: &Recipe, _: f64) -> f64 {
    race(recipe, 0.02, 0.35)
}

fn starts_late(recipe: &Recipe, _: f64) -> f64 {
    match (
        has(recipe, Kind::Schedule),
        busy(recipe),
        delay(recipe, true),
    ) {
        (true, _, _) => 0.6,
        (_, true, _) => 0.25,
        (_, _, late) if late > 0.004 => 0.9,
        _ => 0.01,
    }
}

fn too_late(recipe: &Recipe, _: f64) -> f64 {
    match (cores(recipe) < 0.25, busy(recipe)) {
        (true, _) => 0.5,
        (_, true) => 0.6,
        _ => 0.011,
    }
}

/// Many calls: whatever traces them makes it late.
fn traced_is_late(recipe: &Recipe, _: f64) -> f64 {
    match (
        delay(recipe, true) > 1e-4 || has(recipe, Kind::DiskRate),
        is_traced(recipe),
    ) {
        (true, _) => 0.7,
        (_, true) => 0.25,
        _ => 0.005,
    }
}

fn seeds(recipe: &Recipe, share: f64) -> f64 {
    let seed = recipe.conditions.iter().find_map(|one| match one {
        Condition::Seed { seed } => Some(*seed),
        _ => None,
    });
    seed.map_or(share, |seed| f64::from(u8::from(unlucky(seed, share))))
}

fn seldom_seed(recipe: &Recipe, _: f64) -> f64 {
    seeds(recipe, 0.008)
}

fn slow_seed(recipe: &Recipe, _: f64) -> f64 {
    seeds(recipe, 0.033)
}

fn listed(recipe: &Recipe, _: f64) -> f64 {
    let order = recipe.conditions.iter().find_map(|one| match one {
        Condition::DirectoryOrder { seed } => Some(*seed),
        _ => None,
    });
    match order {
        Some(order) if order < 4 => f64::from(u8::from(order == 2)),
        Some(order) => f64::from(u8::from(unlucky(order, 0.025))),
        None => 0.025,
    }
}

fn month_end(recipe: &Recipe, _: f64) -> f64 {
    let at =
        |one: &Condition| matches!(one, Condition::Clock { unix_s } if *unix_s == 1_801_396_800);
    f64::from(u8::from(recipe.conditions.iter().any(at)))
}

fn zone(recipe: &Recipe, _: f64) -> f64 {
    let ahead = |one: &Condition| matches!(one, Condition::TimeZone { name } if name.starts_with("Asia") || name == "Pacific/Kiritimati");
    f64::from(u8::from(recipe.conditions.iter().any(ahead)))
}

fn shared_file(recipe: &Recipe, _: f64) -> f64 {
    let others = copies(recipe) - 1.0;
    if others > 0.0 { 0.004 * others } else { 0.002 }
}

fn port(recipe: &Recipe, _: f64) -> f64 {
    0.009 + 0.03 * (copies(recipe) - 1.0)
}

fn half(_: &Recipe, _: f64) -> f64 {
    0.5
}

fn one_in_twenty(_: &Recipe, _: f64) -> f64 {
    0.05
}

/// For a second of each seven the host is busy.
fn busy_host(_: &Recipe, at_s: f64) -> f64 {
    if at_s % 7.0 < 1.0 { 0.5 } else { 0.01 }
}

const fn real(
    name: &'static str,
    says: &'static str,
    (wall_s, calls): (f64, f64),
    fails: fn(&Recipe, f64) -> f64,
    right: Right,
) -> Real {
    Real {
        name,
        kind: SymptomKind::Assertion,
        says,
        wall_s,
        calls,
        fails,
        right,
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Real> {
    let (rust, python) = (RUST, PYTHON);
    let mut hangs = real("a race that hangs", "", rust, race_of_a_tenth, BUSY);
    hangs.kind = SymptomKind::Hang;
    let mut bugs = vec![
        real("a race, 1 to 4 %", "left: 1999", rust, weak_race, BUSY),
        real("a race, 0.8 to 12 %", "loads", rust, race_of_a_tenth, BUSY),
        real("a race, 0.3 to 60 %", "left: 1999", rust, strong_race, BUSY),
        hangs,
        real("a slow race", "12000", python, slow_race, BUSY),
        real(
            "starts late",
            "a server that listens",
            rust,
            starts_late,
            LATE,
        ),
        real(
            "starts late, slow",
            "no such file",
            python,
            starts_late,
            LATE,
        ),
        real(
            "too late",
            "a picture in time",
            (0.01, 12.0),
            too_late,
            BUSY,
        ),
        real(
            "traced is late",
            "left == right",
            (0.004, 1200.0),
            traced_is_late,
            LATE,
        ),
    ];
    bugs.extend(worlds());
    bugs.extend(flakes());
    bugs
}

/// Those that follow from what the world looks like, or from others that run.
fn worlds() -> Vec<Real> {
    let (rust, python) = (RUST, PYTHON);
    vec![
        real(
            "a seed of 0.8 %",
            "left == right",
            rust,
            seldom_seed,
            &[Kind::Seed],
        ),
        real("a seed, slow", "server-7", python, slow_seed, &[Kind::Seed]),
        real(
            "order of a directory",
            "newest",
            rust,
            listed,
            &[Kind::DirectoryOrder],
        ),
        real(
            "month end",
            "day is out of range",
            python,
            month_end,
            &[Kind::Clock],
        ),
        real(
            "time zone",
            "2023-11-1",
            python,
            zone,
            &[Kind::TimeZone, Kind::Clock],
        ),
        real(
            "a shared file",
            "exists",
            (0.004, 40.0),
            shared_file,
            &[Kind::Copies],
        ),
        real(
            "a shared file, slow",
            "line 1",
            python,
            shared_file,
            &[Kind::Copies],
        ),
        real("a port", "a port to listen on", rust, port, &[Kind::Copies]),
    ]
}

/// Those without a cause.
fn flakes() -> Vec<Real> {
    let (rust, python) = (RUST, PYTHON);
    vec![
        real("a flake of a half", "flaky", rust, half, &[]),
        real("a flake of a half, slow", "flaky", python, half, &[]),
        real("a flake of 5 %", "flaky", rust, one_in_twenty, &[]),
        real("a flake of 5 %, slow", "flaky", python, one_in_twenty, &[]),
        real("a busy host", "flaky", rust, busy_host, &[]),
        real("a busy host, slow", "flaky", python, busy_host, &[]),
    ]
}

impl Real {
    /// What one run takes, seconds.
    fn run_s(&self, recipe: &Recipe, failed: bool, dice: &mut Dice) -> f64 {
        let mut taken = self.wall_s;
        for one in &recipe.conditions {
            taken += match one {
                Condition::DiskDelay { us } => self.calls * *us as f64 / 1e6,
                Condition::DiskRate { .. } => 0.05 + self.calls * 6e-4,
                Condition::NetworkDelay { us } => 1e-6 * *us as f64,
                // Some runs are stepped through, most are not.
                Condition::Schedule { .. } if dice.share() < 0.5 => 0.3 + 0.5 * self.wall_s,
                Condition::Schedule { .. } => 0.03 + self.wall_s,
                Condition::Noise { .. } => 0.01 + self.wall_s,
                Condition::Copies { count } => self.wall_s * f64::from(*count) / 2.0,
                Condition::CpuLimit { cores } => self.wall_s / cores + 0.03,
                _ => 0.0,
            };
        }
        if !recipe.conditions.is_empty() {
            taken += UNDER_S;
        }
        let taken = taken.min(6.0) * (0.8 + 0.4 * dice.share());
        if failed && self.kind == SymptomKind::Hang {
            taken + HANG_S
        } else {
            taken
        }
    }

    fn symptom(&self) -> Symptom {
        let frame = Frame {
            function: "test_it".into(),
            file: "tests/test_it.py".into(),
            line: 10,
            own: true,
        };
        Symptom {
            kind: self.kind,
            class: "python AssertionError".into(),
            message: self.says.into(),
            frames: vec![frame],
        }
    }

    fn usage(&self, wall_s: f64) -> Usage {
        Usage {
            wall_us: (wall_s * 1e6) as u64,
            user_us: (self.wall_s * 0.7 * 1e6) as u64,
            memory_peak: 30 << 20,
            ..Usage::default()
        }
    }

    /// One try: its end, and what it takes, seconds.
    fn attempt(&self, wanted: &Try, at_s: f64, dice: &mut Dice) -> (Outcome, f64) {
        let (most, us) = match &wanted.batch {
            Some(batch) => (batch.runs, batch.us as f64 / 1e6),
            None => (1, 0.0),
        };
        let (mut taken, mut passes) = (0.0, 0);
        loop {
            let recipe = match &wanted.batch {
                Some(batch) => batch.recipe(&wanted.recipe, passes),
                None => wanted.recipe.clone(),
            };
            let each = (self.fails)(&recipe, at_s + taken);
            let failed = dice.share() < 1.0 - (1.0 - each).powf(copies(&recipe));
            taken += self.run_s(&recipe, failed, dice);
            if failed || passes + 1 >= most || taken > us {
                let outcome = Outcome {
                    symptom: failed.then(|| self.symptom()),
                    passed: !failed,
                    passed_before: passes,
                    usage: self.usage(taken / f64::from(passes + 1)),
                    missing: Vec::new(),
                };
                return (outcome, taken + TRY_S);
            }
            passes += 1;
        }
    }

    /// A campaign of so many seconds: on request, or after a failure in ordinary work.
    pub(crate) fn campaign(&self, seed: u64, seconds: f64, stress: bool) -> (Case, f64) {
        let mut dice = Dice(seed ^ 0x5eed);
        let mut replicator = Replicator::new(settings(seed, seconds));
        let subject = Subject::Test(TestId(0));
        let symptom = self.symptom();
        let case = if stress {
            let hunt = Hunt {
                p: 0.001,
                alpha: 0.05,
            };
            replicator.suspect(At(0), subject, Vec::new(), hunt)
        } else {
            let sighting = Sighting {
                subject,
                thread: ThreadId(0),
                symptom: &symptom,
                parts: Vec::new(),
                usage: self.usage(self.wall_s),
                crowded: false,
                passes: 12,
            };
            replicator.sighted(At(0), &sighting)
        };
        let mut lanes = vec![(0.0_f64, None::<(Try, Outcome)>); LANES];
        let mut named = seconds;
        loop {
            let next = (0..LANES).min_by(|one, other| lanes[*one].0.total_cmp(&lanes[*other].0));
            let lane = next.unwrap_or(0);
            let now = lanes[lane].0;
            let at = At((now * 1e6) as u64);
            if let Some((wanted, outcome)) = lanes[lane].1.take() {
                replicator.ended(at, wanted.case, &wanted.recipe, outcome);
            }
            let shown = replicator.cases().find(|one| one.case == case);
            if named >= seconds && shown.is_some_and(|one| !one.causes.is_empty()) {
                named = now;
            }
            if now >= seconds || replicator.is_settled() {
                break;
            }
            let room = Room {
                cores: LANES as f64,
                memory: 4 << 30,
                start: true,
            };
            match replicator.next(at, room) {
                Some(wanted) => {
                    let (outcome, taken) = self.attempt(&wanted, now, &mut dice);
                    lanes[lane] = (now + taken, Some((wanted, outcome)));
                }
                None => {
                    let others = lanes.iter().filter(|one| one.1.is_some());
                    let soon = others.map(|one| one.0).fold(f64::INFINITY, f64::min);
                    if soon.is_infinite() {
                        break;
                    }
                    lanes[lane].0 = soon.max(now) + 1e-6;
                }
            }
        }
        replicator.finish(At((seconds * 1e6) as u64), "time is over");
        let shown = replicator.cases().find(|one| one.case == case);
        (shown.cloned().expect("the case was opened"), named)
    }
}

fn settings(seed: u64, seconds: f64) -> Settings {
    Settings {
        seed,
        cores: LANES as f64,
        memory: 4 << 30,
        able: BTreeSet::from(ConditionKind::ALL),
        first_case: 1,
        limits: Limits {
            runs: u32::MAX,
            seconds: seconds * LANES as f64,
            seconds_all: seconds * LANES as f64,
            batch: 64,
            ..Limits::default()
        },
    }
}

/// How a kind of bug went, of so many campaigns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Row {
    pub(crate) campaigns: u32,
    pub(crate) reproduced: u32,
    pub(crate) right: u32,
    pub(crate) wrong: u32,
    /// Until it was named, the sum over all, seconds.
    pub(crate) named_s: f64,
    pub(crate) always: u32,
}

/// One campaign, recipe by recipe: kinds, runs, failures.
pub(crate) fn show(bug: &Real, seed: u64, seconds: f64, stress: bool) {
    let (case, named_s) = bug.campaign(seed, seconds, stress);
    println!(
        "\n{} {stress}: {:?}, {named_s:.1} s",
        bug.name, case.verdict
    );
    let mut arms = case.arms.clone();
    arms.sort_by_key(|arm| std::cmp::Reverse(arm.rate.runs));
    for arm in arms.iter().take(12) {
        let (failed, runs) = (arm.rate.failed, arm.rate.runs);
        println!("  {failed:5} of {runs:5} {:?}", arm.recipe.conditions);
    }
    for remark in &case.remarks {
        println!("  {remark}");
    }
}

/// So many campaigns of one bug.
pub(crate) fn measure(bug: &Real, seed: u64, times: u64, seconds: f64, stress: bool) -> Row {
    let mut row = Row::default();
    for time in 0..times {
        let (case, named_s) = bug.campaign(seed + 7_919 * time, seconds, stress);
        row.campaigns += 1;
        row.reproduced += u32::from(case.runs_to_first.is_some());
        row.always += u32::from(case.verdict == Some(cohort_model::CaseVerdict::Always));
        row.named_s += named_s;
        let first = case.causes.first();
        let kind = first
            .and_then(|cause| cause.condition.as_ref())
            .map(Condition::kind);
        match kind {
            Some(kind) if bug.right.contains(&kind) => row.right += 1,
            Some(_) => row.wrong += 1,
            None => row.wrong += u32::from(first.is_some()),
        }
    }
    row
}
