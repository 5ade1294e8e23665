//! Simulated bugs: how often a run fails under a recipe. Each kind has parameters of its own that are drawn,
//! so that what was tuned on some is measured on others.

use cohort_model::ConditionKind as Kind;
use cohort_model::{CasePart, Condition, ConditionKind, Noise, Recipe, SymptomKind, TestId};

/// Failure rate of one copy.
type Fails = fn(&Drawn, &Recipe) -> f64;

/// What is drawn for one bug.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawn {
    /// Failure rate of a plain run.
    pub(crate) base: f64,
    /// How strongly the right condition acts, 0 to 1.
    pub(crate) strength: f64,
    /// Where its threshold lies, 0 to 1.
    pub(crate) place: f64,
}

/// What is right to say in the end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Truth {
    /// One of these conditions.
    Kinds(&'static [ConditionKind]),
    /// What ran before or beside.
    Parts,
    /// Either.
    KindsOrParts(&'static [ConditionKind]),
    /// It always fails.
    Always,
    /// Nothing: it just happens.
    Nothing,
}

/// One simulated bug.
#[derive(Clone, Debug)]
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    pub(crate) kind: SymptomKind,
    pub(crate) message: &'static str,
    /// Run time and CPU time of a plain run, seconds.
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    /// Probability that one copy fails.
    pub(crate) fails: Fails,
    pub(crate) truth: Truth,
    /// The degree at which it begins to fail.
    pub(crate) threshold: Option<fn(&Drawn) -> f64>,
    /// What ran before and beside the original: how many.
    pub(crate) company: (u32, u32),
}

/// Cores of the simulated host.
pub(crate) const CORES: f64 = 2.0;
/// Memory of a plain run, bytes.
pub(crate) const PEAK: u64 = 80 << 20;

fn find<T>(recipe: &Recipe, of: impl Fn(&Condition) -> Option<T>) -> Option<T> {
    recipe.conditions.iter().find_map(of)
}

fn has(recipe: &Recipe, kind: ConditionKind) -> bool {
    recipe.conditions.iter().any(|one| one.kind() == kind)
}

pub(crate) fn copies(recipe: &Recipe) -> f64 {
    find(recipe, |one| match one {
        Condition::Copies { count } => Some(f64::from(*count)),
        _ => None,
    })
    .unwrap_or(1.0)
}

fn busy(recipe: &Recipe) -> f64 {
    find(recipe, |one| match one {
        Condition::Noise {
            noise: Noise::Cpu,
            tasks,
        } => Some(f64::from(*tasks)),
        _ => None,
    })
    .unwrap_or(0.0)
}

/// Cores that a single thread of it gets on average.
pub(crate) fn cores(recipe: &Recipe) -> f64 {
    let limit = find(recipe, |one| match one {
        Condition::CpuLimit { cores } => Some(*cores),
        _ => None,
    })
    .unwrap_or(CORES);
    let cpus = if has(recipe, ConditionKind::Cpus) {
        1.0
    } else {
        CORES
    };
    let wanted = busy(recipe) + copies(recipe);
    (cpus / wanted)
        .min(1.0)
        .min(limit / copies(recipe).min(2.0))
}

fn delay(recipe: &Recipe, disk: bool) -> f64 {
    find(recipe, |one| match one {
        Condition::DiskDelay { us } if disk => Some(*us as f64),
        Condition::NetworkDelay { us } if !disk => Some(*us as f64),
        _ => None,
    })
    .unwrap_or(0.0)
}

/// Rises from 0 to 1 where `x` passes `at`, over about a factor of 1.5.
fn rises(x: f64, at: f64) -> f64 {
    1.0 / (1.0 + (at / x.max(1e-9)).powf(8.0))
}

fn between(at: f64, low: f64, high: f64) -> f64 {
    low * (high / low).powf(at)
}

fn either(one: f64, other: f64) -> f64 {
    1.0 - (1.0 - one) * (1.0 - other)
}

/// Whether what follows from this seed is in the unlucky share.
pub(crate) fn unlucky(seed: u64, share: f64) -> bool {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^= z >> 29;
    (z >> 11) as f64 / ((1u64 << 53) as f64) < share
}

/// A race of two threads that needs both to run.
fn race(drawn: &Drawn, recipe: &Recipe, low: f64, high: f64) -> f64 {
    let slow = cores(recipe).clamp(0.1, 1.0);
    let mut p = drawn.base * (1.0 + busy(recipe) / 2.0) * slow.sqrt();
    if has(recipe, ConditionKind::Schedule) {
        p = either(p, between(drawn.strength, low, high) * slow.powf(0.3));
    }
    if has(recipe, ConditionKind::Cpus) {
        p *= 0.4;
    }
    p.min(1.0)
}

fn lost_update(drawn: &Drawn, recipe: &Recipe) -> f64 {
    race(drawn, recipe, 0.2, 0.9)
}

fn check_then_act(drawn: &Drawn, recipe: &Recipe) -> f64 {
    race(drawn, recipe, 0.1, 0.6)
}

fn rare_race(drawn: &Drawn, recipe: &Recipe) -> f64 {
    race(drawn, recipe, 0.05, 0.3)
}

/// Fast on both sides or not at all.
fn fast_only(drawn: &Drawn, recipe: &Recipe) -> f64 {
    if cores(recipe) < 0.5 || delay(recipe, true) + delay(recipe, false) > 0.0 {
        return drawn.base * 0.05;
    }
    race(drawn, recipe, 0.2, 0.6)
}

fn missed_wakeup(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let starved = if cores(recipe) < 0.25 { 0.15 } else { 0.0 };
    either(race(drawn, recipe, 0.2, 0.8), starved)
}

fn timeout_place(drawn: &Drawn) -> f64 {
    between(drawn.place, 0.13, 0.6)
}

fn timeout(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let disturbed = if has(recipe, ConditionKind::Schedule) {
        0.85
    } else {
        1.0
    };
    let late = 1.0 / (cores(recipe) * disturbed);
    either(drawn.base, rises(late, 1.0 / timeout_place(drawn)))
}

fn sleeping(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let mut p = either(
        drawn.base,
        rises(1.0 / cores(recipe), 1.0 / between(drawn.place, 0.15, 0.5)),
    );
    if has(recipe, ConditionKind::Schedule) {
        p = either(p, 0.2 + 0.4 * drawn.strength);
    }
    if busy(recipe) > 0.0 {
        p = either(p, 0.1 + 0.3 * drawn.strength);
    }
    p
}

fn after(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let before = recipe.parts.contains(&CasePart::Before(TestId(105)));
    if before { 1.0 } else { drawn.base * 0.01 }
}

fn leaked_child(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let before = recipe.parts.contains(&CasePart::Before(TestId(102)));
    if before {
        between(drawn.strength, 0.1, 0.6)
    } else {
        drawn.base * 0.01
    }
}

fn crowd(drawn: &Drawn, recipe: &Recipe, each: f64) -> f64 {
    let others = copies(recipe) - 1.0;
    let beside = recipe.parts.contains(&CasePart::Beside(TestId(201)));
    let met = 1.0 - (1.0 - each).powf(others);
    either(
        if beside {
            drawn.base
        } else {
            drawn.base * 0.05
        },
        met,
    )
}

fn shared_file(drawn: &Drawn, recipe: &Recipe) -> f64 {
    crowd(drawn, recipe, between(drawn.strength, 0.03, 0.3))
}

fn port(drawn: &Drawn, recipe: &Recipe) -> f64 {
    crowd(drawn, recipe, between(drawn.strength, 0.3, 0.9))
}

fn zone(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let name = find(recipe, |one| match one {
        Condition::TimeZone { name } => Some(name.clone()),
        _ => None,
    });
    let bad = match name.as_deref() {
        Some("Asia/Kolkata" | "Asia/Kathmandu" | "Australia/Lord_Howe") => drawn.place < 0.5,
        Some("Pacific/Kiritimati" | "Pacific/Pago_Pago") => drawn.place >= 0.5,
        _ => false,
    };
    if bad { 1.0 } else { drawn.base }
}

fn clock(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let at = find(recipe, |one| match one {
        Condition::Clock { unix_s } => Some(*unix_s % 86_400),
        _ => None,
    });
    let midnight = at.is_some_and(|second| second > 86_400 - 3600);
    if midnight {
        0.5 + 0.5 * drawn.strength
    } else {
        drawn.base
    }
}

fn seeded(drawn: &Drawn, recipe: &Recipe) -> f64 {
    match find(recipe, |one| match one {
        Condition::Seed { seed } => Some(*seed),
        _ => None,
    }) {
        Some(seed) => f64::from(u8::from(unlucky(seed, drawn.base))),
        None => drawn.base,
    }
}

fn listing(drawn: &Drawn, recipe: &Recipe) -> f64 {
    match find(recipe, |one| match one {
        Condition::DirectoryOrder { seed } => Some(*seed),
        _ => None,
    }) {
        Some(seed) => f64::from(u8::from(unlucky(seed, between(drawn.strength, 0.2, 0.7)))),
        None => drawn.base,
    }
}

fn files_place(drawn: &Drawn) -> f64 {
    between(drawn.place, 28.0, 220.0)
}

fn files(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let count = find(recipe, |one| match one {
        Condition::OpenFiles { count } => Some(*count as f64),
        _ => None,
    });
    let short = count.is_some_and(|count| count < files_place(drawn));
    if short { 1.0 } else { drawn.base }
}

fn memory_place(drawn: &Drawn) -> f64 {
    PEAK as f64 * (0.55 + 0.3 * drawn.place)
}

fn memory(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let bytes = find(recipe, |one| match one {
        Condition::MemoryLimit { bytes } => Some(*bytes as f64),
        _ => None,
    });
    match bytes {
        Some(bytes) => either(drawn.base, 1.0 - rises(bytes, memory_place(drawn)).powi(2)),
        None => drawn.base,
    }
}

fn disk_place(drawn: &Drawn) -> f64 {
    between(drawn.place, 2_000.0, 30_000.0)
}

fn disk(drawn: &Drawn, recipe: &Recipe) -> f64 {
    either(
        drawn.base,
        rises(delay(recipe, true).max(1.0), disk_place(drawn)),
    )
}

fn network(drawn: &Drawn, recipe: &Recipe) -> f64 {
    either(
        drawn.base,
        rises(delay(recipe, false).max(1.0), disk_place(drawn)),
    )
}

fn unawaited(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let mut p = drawn.base * (1.0 + busy(recipe));
    if has(recipe, ConditionKind::Schedule) {
        p = either(p, between(drawn.strength, 0.1, 0.5));
    }
    if cores(recipe) < 0.3 {
        p = either(p, between(drawn.strength, 0.2, 0.7));
    }
    p.min(1.0)
}

fn locale(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let name = find(recipe, |one| match one {
        Condition::Locale { name } => Some(name.clone()),
        _ => None,
    });
    let bad = match name.as_deref() {
        Some("C") => drawn.place < 0.4,
        Some("tr_TR.UTF-8") => (0.4..0.7).contains(&drawn.place),
        Some("de_DE.UTF-8") => drawn.place >= 0.7,
        _ => false,
    };
    if bad { 1.0 } else { drawn.base }
}

/// Only both together.
fn both(drawn: &Drawn, recipe: &Recipe) -> f64 {
    let disturbed = has(recipe, ConditionKind::Schedule);
    let met = copies(recipe) > 1.0;
    match (disturbed, met) {
        (true, true) => either(drawn.base, 0.2 + 0.5 * drawn.strength),
        _ => drawn.base,
    }
}

fn nothing(drawn: &Drawn, _recipe: &Recipe) -> f64 {
    drawn.base
}

fn always(_drawn: &Drawn, _recipe: &Recipe) -> f64 {
    1.0
}

const fn one(
    name: &'static str,
    kind: SymptomKind,
    message: &'static str,
    fails: Fails,
    truth: Truth,
) -> Bug {
    Bug {
        name,
        kind,
        message,
        wall_s: 0.5,
        cpu_s: 0.3,
        fails,
        truth,
        threshold: None,
        company: (4, 2),
    }
}

/// One that begins at a degree.
const fn at(
    name: &'static str,
    kind: SymptomKind,
    message: &'static str,
    fails: Fails,
    truth: Truth,
    threshold: fn(&Drawn) -> f64,
) -> Bug {
    let mut bug = one(name, kind, message, fails, truth);
    bug.threshold = Some(threshold);
    bug
}

/// All kinds of bugs.
pub(crate) const ALL: [Bug; 27] = [
    one(
        "lost update",
        SymptomKind::Assertion,
        "left: 1998, right: 2000",
        lost_update,
        Truth::Kinds(&[Kind::Schedule]),
    ),
    one(
        "check then act",
        SymptomKind::Exception,
        "called `Option::unwrap()` on a `None` value",
        check_then_act,
        Truth::Kinds(&[Kind::Schedule]),
    ),
    one(
        "deadlock",
        SymptomKind::Hang,
        "",
        check_then_act,
        Truth::Kinds(&[Kind::Schedule]),
    ),
    one(
        "lock order",
        SymptomKind::Hang,
        "",
        rare_race,
        Truth::Kinds(&[Kind::Schedule]),
    ),
    one(
        "fast only",
        SymptomKind::Assertion,
        "left: 3, right: 4",
        fast_only,
        Truth::Kinds(&[Kind::Schedule]),
    ),
    one(
        "missed wake-up",
        SymptomKind::Hang,
        "",
        missed_wakeup,
        Truth::Kinds(&[Kind::Schedule]),
    ),
    one(
        "sleep-based wait",
        SymptomKind::Assertion,
        "assert done",
        sleeping,
        Truth::Kinds(&[Kind::CpuLimit, Kind::Schedule, Kind::Noise]),
    ),
    one(
        "order dependence",
        SymptomKind::Assertion,
        "left: 1, right: 0",
        after,
        Truth::Parts,
    ),
    one(
        "leaked child",
        SymptomKind::Exception,
        "ChildProcessError: [Errno 10] No child processes",
        leaked_child,
        Truth::Parts,
    ),
    one(
        "shared temp file",
        SymptomKind::Exception,
        "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/out.json'",
        shared_file,
        Truth::KindsOrParts(&[Kind::Copies]),
    ),
    one(
        "port reuse",
        SymptomKind::Exception,
        "OSError: [Errno 98] Address already in use",
        port,
        Truth::KindsOrParts(&[Kind::Copies]),
    ),
    one(
        "time zone",
        SymptomKind::Assertion,
        "'2024-03-01' != '2024-02-29'",
        zone,
        Truth::Kinds(&[Kind::TimeZone]),
    ),
    one(
        "clock",
        SymptomKind::Assertion,
        "assert 13 == 14",
        clock,
        Truth::Kinds(&[Kind::Clock]),
    ),
    one(
        "hash order",
        SymptomKind::Assertion,
        "['a', 'b'] != ['b', 'a']",
        seeded,
        Truth::Kinds(&[Kind::Seed]),
    ),
    one(
        "float tolerance",
        SymptomKind::Assertion,
        "0.30000000000000004 not almost equal 0.3",
        seeded,
        Truth::Kinds(&[Kind::Seed]),
    ),
    one(
        "random seed",
        SymptomKind::Assertion,
        "assert 17 < 17",
        seeded,
        Truth::Kinds(&[Kind::Seed]),
    ),
    one(
        "directory order",
        SymptomKind::Assertion,
        "['b.txt', 'a.txt'] != ['a.txt', 'b.txt']",
        listing,
        Truth::Kinds(&[Kind::DirectoryOrder]),
    ),
    one(
        "unawaited future",
        SymptomKind::Assertion,
        "assert len(results) == 3",
        unawaited,
        Truth::Kinds(&[Kind::CpuLimit, Kind::Schedule]),
    ),
    one(
        "locale",
        SymptomKind::Assertion,
        "'1.5' != '1,5'",
        locale,
        Truth::Kinds(&[Kind::Locale]),
    ),
    one(
        "both together",
        SymptomKind::Assertion,
        "left: 7, right: 8",
        both,
        Truth::Kinds(&[Kind::Schedule, Kind::Copies]),
    ),
    one(
        "no cause",
        SymptomKind::Assertion,
        "assertion failed",
        nothing,
        Truth::Nothing,
    ),
    one(
        "always",
        SymptomKind::Assertion,
        "left: 2, right: 3",
        always,
        Truth::Always,
    ),
    at(
        "timeout under load",
        SymptomKind::Timeout,
        "timed out waiting for the worker",
        timeout,
        Truth::Kinds(&[Kind::CpuLimit]),
        timeout_place,
    ),
    at(
        "descriptor exhaustion",
        SymptomKind::Exception,
        "OSError: [Errno 24] Too many open files",
        files,
        Truth::Kinds(&[Kind::OpenFiles]),
        files_place,
    ),
    at(
        "memory limit",
        SymptomKind::Exception,
        "MemoryError",
        memory,
        Truth::Kinds(&[Kind::MemoryLimit]),
        memory_place,
    ),
    at(
        "slow disk",
        SymptomKind::Assertion,
        "assert saved",
        disk,
        Truth::Kinds(&[Kind::DiskDelay]),
        disk_place,
    ),
    at(
        "slow network",
        SymptomKind::Exception,
        "ConnectionResetError: [Errno 104] Connection reset by peer",
        network,
        Truth::Kinds(&[Kind::NetworkDelay]),
        disk_place,
    ),
];

pub(crate) fn all() -> Vec<Bug> {
    ALL.to_vec()
}
