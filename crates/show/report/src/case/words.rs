//! Conditions, parts, symptoms and rates in words. Every face takes them from here.
//!
//! A condition has three forms: a *setting*, as it stands in a table (`0.25 CPU`); a *clause*, as it
//! follows "fails" (`below 0.6 CPU`); and a *contrast*, what it is compared with (`without that limit`).

use cohort_model::{CasePart, Condition, ConditionKind, Noise, Rate, Recipe, SymptomKind, TestId};

use super::numbers::{between, degree, moment};
use crate::words;

/// The name of a test, printable.
pub type Names<'a> = &'a dyn Fn(TestId) -> String;

/// Variables that only seed something, and what they seed.
const SEEDS: [(&str, &str); 2] = [
    ("PYTHONHASHSEED", "hash seed"),
    ("PROPTEST_RNG_SEED", "proptest seed"),
];

/// What a kind of condition is called.
#[must_use]
pub fn kind(kind: ConditionKind) -> &'static str {
    match kind {
        ConditionKind::CpuLimit => "CPU limit",
        ConditionKind::Cpus => "number of CPUs",
        ConditionKind::MemoryLimit => "memory limit",
        ConditionKind::DiskRate => "disk rate",
        ConditionKind::DiskDelay => "disk delay",
        ConditionKind::NetworkDelay => "network delay",
        ConditionKind::NetworkRate => "network rate",
        ConditionKind::NetworkLoss => "network loss",
        ConditionKind::Noise => "busy neighbours",
        ConditionKind::Copies => "copies at once",
        ConditionKind::Seed => "random seed",
        ConditionKind::DirectoryOrder => "order of directories",
        ConditionKind::Schedule => "pauses of threads",
        ConditionKind::TimeZone => "time zone",
        ConditionKind::Locale => "locale",
        ConditionKind::Clock => "clock",
        ConditionKind::OpenFiles => "open files",
        ConditionKind::Variable => "environment",
    }
}

fn doing(noise: Noise) -> &'static str {
    match noise {
        Noise::Cpu => "computing",
        Noise::Memory => "memory-moving",
        Noise::Disk => "disk-writing",
    }
}

fn cpus(count: u32) -> String {
    words::counted(u64::from(count), "CPU")
}

fn percent_of(share: f64) -> String {
    format!("{} %", words::decimal(share * 100.0))
}

fn variable(name: &str, value: Option<&str>) -> String {
    let seed = SEEDS.iter().find(|(known, _)| *known == name);
    match (seed, value) {
        (Some((_, seed)), Some(value)) => format!("{seed} {}", words::printable(value)),
        (_, Some(value)) => words::printable(&format!("{name}={value}")),
        (_, None) => format!("{} not set", words::printable(name)),
    }
}

fn is_seed(name: &str) -> bool {
    SEEDS.iter().any(|(known, _)| *known == name)
}

/// A condition as it stands in a table: `0.25 CPU`, `10 ms more a disk call`, `4 copies at once`.
#[must_use]
pub fn setting(condition: &Condition) -> String {
    let kind = condition.kind();
    match condition {
        Condition::CpuLimit { cores } => degree(kind, *cores),
        Condition::Cpus { count } => format!("on {} only", cpus(*count)),
        Condition::MemoryLimit { bytes } => format!("{} of memory", degree(kind, *bytes as f64)),
        Condition::DiskRate { bytes_s } => format!("disk at {}", degree(kind, *bytes_s as f64)),
        Condition::DiskDelay { us } => format!("{} more a disk call", degree(kind, *us as f64)),
        Condition::NetworkDelay { us } => format!("{} more a message", degree(kind, *us as f64)),
        Condition::NetworkRate { bits_s } => {
            format!("network at {}", degree(kind, *bits_s as f64))
        }
        Condition::NetworkLoss { share } => format!("{} of messages lost", percent_of(*share)),
        Condition::Noise { noise, tasks } => {
            let neighbours = words::counted(u64::from(*tasks), "neighbour");
            neighbours.replacen(' ', &format!(" {} ", doing(*noise)), 1)
        }
        Condition::Copies { count } => format!("{count} copies at once"),
        Condition::Seed { seed } => format!("random seed {seed}"),
        Condition::DirectoryOrder { seed } => format!("directories in order {seed}"),
        Condition::Schedule { seed } => format!("threads paused at random ({seed})"),
        Condition::TimeZone { name } => format!("time zone {}", words::printable(name)),
        Condition::Locale { name } => format!("locale {}", words::printable(name)),
        Condition::Clock { unix_s } => format!("clock at {}", moment(*unix_s)),
        Condition::OpenFiles { count } => {
            format!("{} at most", words::counted(*count, "open file"))
        }
        Condition::Variable { name, value } => variable(name, value.as_deref()),
    }
}

/// A condition as it follows "fails": `below 0.6 CPU`, `when 4 copies run at once`. `threshold`: a
/// degree at which it still passes, and one at which it fails.
#[must_use]
pub fn clause(condition: &Condition, threshold: Option<(f64, f64)>) -> String {
    match threshold.filter(|(passes, fails)| passes != fails) {
        Some(ends) => clause_beyond(condition, ends),
        None => clause_at(condition),
    }
    .unwrap_or_else(|| format!("with {}", setting(condition)))
}

fn clause_at(condition: &Condition) -> Option<String> {
    let kind = condition.kind();
    Some(match condition {
        Condition::Cpus { count } => format!("when bound to {}", cpus(*count)),
        Condition::DiskRate { bytes_s } => {
            let rate = degree(kind, *bytes_s as f64);
            format!("when the disk gives only {rate}")
        }
        Condition::DiskDelay { us } => {
            format!("when a disk call takes {} longer", degree(kind, *us as f64))
        }
        Condition::NetworkDelay { us } => {
            format!("when a message takes {} longer", degree(kind, *us as f64))
        }
        Condition::NetworkRate { bits_s } => {
            let rate = degree(kind, *bits_s as f64);
            format!("when the network carries only {rate}")
        }
        Condition::NetworkLoss { share } => {
            format!("when {} of messages are lost", percent_of(*share))
        }
        Condition::Noise { .. } => format!("beside {}", setting(condition)),
        Condition::Copies { count } => format!("when {count} copies of it run at once"),
        Condition::DirectoryOrder { .. } => "when directories are listed in another order".into(),
        Condition::Schedule { .. } => "when its threads are paused at random".into(),
        Condition::TimeZone { .. } | Condition::Locale { .. } => {
            format!("in {}", setting(condition))
        }
        Condition::Clock { unix_s } => format!("when the clock shows {}", moment(*unix_s)),
        Condition::OpenFiles { count } => format!("when only {count} files may be open"),
        Condition::Variable { name, value: None } => {
            format!("without `{}`", words::printable(name))
        }
        Condition::Variable { name, value } if !is_seed(name) => {
            format!("with `{}`", variable(name, value.as_deref()))
        }
        _ => return None,
    })
}

fn clause_beyond(condition: &Condition, (passes, fails): (f64, f64)) -> Option<String> {
    let kind = condition.kind();
    let rises = fails > passes;
    let edge = between(kind, passes, fails);
    let (more, or_so) = if rises {
        ("more", "or more")
    } else {
        ("less", "or fewer")
    };
    // Of what is counted, the last that fails is the edge.
    let count = fails.round().max(0.0) as u64;
    let so_many = match (rises, count) {
        (false, 0 | 1) => count.to_string(),
        _ => format!("{count} {or_so}"),
    };
    Some(match condition {
        Condition::CpuLimit { .. } if !rises => format!("below {edge}"),
        Condition::MemoryLimit { .. } if !rises => format!("below {edge} of memory"),
        Condition::CpuLimit { .. } => format!("above {edge}"),
        Condition::MemoryLimit { .. } => format!("above {edge} of memory"),
        Condition::Cpus { .. } => match count {
            1 if !rises => "when bound to 1 CPU".to_owned(),
            _ => format!("when bound to {count} CPUs {or_so}"),
        },
        Condition::DiskRate { .. } => format!("when the disk gives {more} than {edge}"),
        Condition::DiskDelay { .. } => {
            format!("when a disk call takes {more} than {edge} longer")
        }
        Condition::NetworkDelay { .. } => {
            format!("when a message takes {more} than {edge} longer")
        }
        Condition::NetworkRate { .. } => {
            format!("when the network carries {more} than {edge}")
        }
        Condition::NetworkLoss { .. } => {
            format!("when {more} than {edge} of messages are lost")
        }
        Condition::Noise { noise, .. } => {
            let noun = if so_many == "1" {
                "neighbour"
            } else {
                "neighbours"
            };
            format!("beside {so_many} {} {noun}", doing(*noise))
        }
        Condition::Copies { .. } => format!("when {so_many} copies of it run at once"),
        Condition::OpenFiles { .. } if rises => format!("when {so_many} files may be open"),
        Condition::OpenFiles { .. } => {
            let least = passes.round().max(0.0) as u64;
            format!("when fewer than {least} files may be open")
        }
        Condition::Clock { .. } => {
            let side = if rises { "later" } else { "earlier" };
            format!("when the clock shows {} or {side}", moment(count))
        }
        _ => return clause_at(condition),
    })
}

/// What runs without a condition are called: `0 of 50 without that limit`.
#[must_use]
pub fn contrast(condition: &Condition) -> &'static str {
    match condition {
        Condition::CpuLimit { .. }
        | Condition::MemoryLimit { .. }
        | Condition::DiskRate { .. }
        | Condition::NetworkRate { .. }
        | Condition::OpenFiles { .. } => "without that limit",
        Condition::Cpus { .. } => "on all CPUs",
        Condition::DiskDelay { .. } | Condition::NetworkDelay { .. } => "without that delay",
        Condition::NetworkLoss { .. } => "without loss",
        Condition::Noise { .. } => "without neighbours",
        Condition::Copies { .. } => "alone",
        Condition::Seed { .. } => "with others",
        Condition::DirectoryOrder { .. } => "in the usual order",
        Condition::Schedule { .. } => "undisturbed",
        Condition::TimeZone { .. } | Condition::Locale { .. } => "in the usual one",
        Condition::Clock { .. } => "at the right time",
        Condition::Variable { name, value } => match value {
            Some(_) if is_seed(name) => "with others",
            Some(_) => "without it",
            None => "with it",
        },
    }
}

/// A part of a case: `` `a::b` before it ``, `request 3`.
#[must_use]
pub fn part(part: &CasePart, names: Names<'_>) -> String {
    match part {
        CasePart::Before(test) => format!("{} before it", quoted(&names(*test))),
        CasePart::Beside(test) => format!("{} beside it", quoted(&names(*test))),
        CasePart::Request(place) => format!("request {}", place + 1),
        CasePart::Piece(place, path) => {
            let (name, of) = match (path.strip_prefix('?'), path.strip_prefix('&')) {
                _ if path.is_empty() => return format!("no field of request {}", place + 1),
                (Some(name), _) => (name, "query"),
                (_, Some(name)) => (name, "form"),
                _ => (path.as_str(), "body"),
            };
            format!("{} of the {of} of request {}", quoted(name), place + 1)
        }
        CasePart::Variable(name) => format!("{} in the environment", quoted(name)),
    }
}

/// Parts that matter, as they follow "fails": `` whenever `a` runs before it ``.
#[must_use]
pub fn parts_clause(parts: &[CasePart], always: bool, names: Names<'_>) -> String {
    let tests = |pick: fn(&CasePart) -> Option<TestId>| -> Vec<String> {
        let picked = parts.iter().filter_map(pick);
        picked.map(|test| quoted(&names(test))).collect()
    };
    let before = tests(|part| match part {
        CasePart::Before(test) => Some(*test),
        _ => None,
    });
    let beside = tests(|part| match part {
        CasePart::Beside(test) => Some(*test),
        _ => None,
    });
    let requests = parts.iter().filter(|it| matches!(it, CasePart::Request(_)));
    let requests = requests.count() as u64;
    let when = if always { "whenever" } else { "when" };
    let mut clauses = Vec::new();
    // What ran last is the likeliest to matter.
    if let [.., last] = before.as_slice()
        && before.len() > SERIES_NAMED
    {
        let others = words::number(before.len() as u64);
        clauses.push(format!("{when} {others} others run before it, {last} last"));
    } else if !before.is_empty() {
        let verb = if before.len() == 1 { "runs" } else { "run" };
        clauses.push(format!("{when} {} {verb} before it", series(&before)));
    }
    if !beside.is_empty() {
        let verb = if beside.len() == 1 { "runs" } else { "run" };
        clauses.push(format!("while {} {verb} beside it", series(&beside)));
    }
    if requests > 0 {
        let verb = if requests == 1 { "is" } else { "are" };
        let noun = words::counted(requests, "request");
        clauses.push(format!("{when} {noun} {verb} sent"));
    }
    let rest = parts.iter().filter_map(|part| match part {
        CasePart::Variable(name) => Some(format!("with {} in the environment", quoted(name))),
        CasePart::Piece(place, path) => {
            let body = format!("in the body of request {}", place + 1);
            Some(format!("with {} {body}", quoted(path)))
        }
        _ => None,
    });
    clauses.extend(rest);
    series(&clauses)
}

/// Conditions of one recipe that are named; of more than one beyond that the rest is counted.
const CONDITIONS_NAMED: usize = 3;
/// Variables that are not set are named one by one up to so many.
const VARIABLES_NAMED: usize = 2;

/// What is set otherwise, and nothing of what is kept: `0.25 CPU + 4 copies at once`; `as it was` when
/// nothing is.
#[must_use]
pub fn conditions(recipe: &Recipe) -> String {
    let is_unset = |one: &&Condition| matches!(one, Condition::Variable { value: None, .. });
    let unset = recipe.conditions.iter().filter(is_unset).count();
    let counted = unset > VARIABLES_NAMED;
    let named = recipe.conditions.iter();
    let named = named.filter(|one| !counted || !is_unset(one));
    let mut settings: Vec<String> = named.map(setting).collect();
    if counted {
        settings.push(format!("{unset} variables not set"));
    }
    if settings.is_empty() {
        return "as it was".to_owned();
    }
    if settings.len() > CONDITIONS_NAMED + 1 {
        let named = settings[..CONDITIONS_NAMED].join(" + ");
        return format!("{named} + {} more", settings.len() - CONDITIONS_NAMED);
    }
    settings.join(" + ")
}

/// How the symptom of a test or a server is told by a verb.
#[must_use]
pub fn verb(kind: Option<SymptomKind>) -> &'static str {
    match kind {
        None
        | Some(
            SymptomKind::Failure
            | SymptomKind::Assertion
            | SymptomKind::Exception
            | SymptomKind::Sanitizer,
        ) => "fails",
        Some(SymptomKind::Signal) => "crashes",
        Some(SymptomKind::Abort) => "aborts",
        Some(SymptomKind::Timeout) => "times out",
        Some(SymptomKind::Hang) => "hangs",
        Some(SymptomKind::OutOfMemory) => "runs out of memory",
        Some(SymptomKind::Leak) => "leaks",
        Some(SymptomKind::ErrorAnswer) => "answers with an error",
        Some(SymptomKind::WrongAnswer) => "answers wrongly",
        Some(SymptomKind::Slow) => "is slow",
    }
}

/// `41 of 50`.
#[must_use]
pub fn share(rate: &Rate) -> String {
    let (failed, runs) = (u64::from(rate.failed), u64::from(rate.runs));
    format!("{} of {}", words::number(failed), words::number(runs))
}

/// So many names are a list that is read.
const SERIES_NAMED: usize = 4;

/// `a`, `a and b`, `a, b and c`, `a, b, c and 4 more`.
#[must_use]
pub fn series(items: &[String]) -> String {
    const NAMED: usize = SERIES_NAMED;
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] if items.len() <= NAMED => format!("{} and {last}", most.join(", ")),
        _ => {
            let named = items[..NAMED - 1].join(", ");
            format!("{named} and {} more", items.len() + 1 - NAMED)
        }
    }
}

/// A name as it stands in a sentence.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("`{}`", words::printable(name))
}
