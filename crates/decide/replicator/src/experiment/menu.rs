//! Everything that can be varied here, at sensible degrees.

use std::collections::BTreeSet;

use cohort_model::{CasePart, Condition, ConditionKind, Noise, Usage};

use super::prior::Prior;
use super::recipes::{NEW_EACH_RUN, TELLING_SEEDS};

/// How conditions act, and so which of them get in each other's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// Things happen later, or in another order.
    Timing,
    /// Something is short: it may fail otherwise before it fails as looked for.
    Scarce,
    /// The world looks different; how fast it turns stays the same.
    World,
}

/// Of which family a condition is.
pub(super) fn family(kind: ConditionKind) -> Family {
    use ConditionKind as Kind;
    match kind {
        Kind::MemoryLimit | Kind::OpenFiles => Family::Scarce,
        Kind::Seed
        | Kind::DirectoryOrder
        | Kind::TimeZone
        | Kind::Locale
        | Kind::Clock
        | Kind::Variable => Family::World,
        Kind::CpuLimit
        | Kind::Cpus
        | Kind::DiskRate
        | Kind::DiskDelay
        | Kind::NetworkDelay
        | Kind::NetworkRate
        | Kind::NetworkLoss
        | Kind::Noise
        | Kind::Copies
        | Kind::Schedule => Family::Timing,
    }
}

/// It slows everything down, so that what needs two things to be fast may not happen any more.
pub(super) fn slows(condition: &Condition) -> bool {
    matches!(
        condition.kind(),
        ConditionKind::CpuLimit
            | ConditionKind::DiskRate
            | ConditionKind::DiskDelay
            | ConditionKind::NetworkDelay
            | ConditionKind::NetworkRate
            | ConditionKind::NetworkLoss
    )
}

/// It makes a run dear, or takes the whole machine: one of these in a run is enough.
pub(super) fn is_heavy(kind: ConditionKind) -> bool {
    matches!(
        kind,
        ConditionKind::CpuLimit | ConditionKind::Noise | ConditionKind::Copies
    )
}

/// Together they take seconds where each takes a fraction of one: a run that is stepped through, and what keeps the
/// CPUs from it.
pub(super) fn crowd(one: &Condition, other: &Condition) -> bool {
    let scheduled = |one: &Condition| one.kind() == ConditionKind::Schedule;
    let busy = |one: &Condition| match one {
        Condition::Copies { count } => *count > 2,
        other => is_heavy(other.kind()),
    };
    scheduled(one) && busy(other) || busy(one) && scheduled(other)
}

/// A place in time at which programs go wrong.
struct Moment {
    /// Seconds since 1970 (UTC).
    unix_s: u64,
    /// It is to be passed in the middle of the run; else the run begins with it.
    passed: bool,
    /// Where it is told best, and which zone is worth a try beside it.
    zone: Option<&'static str>,
}

const fn noon(unix_s: u64, zone: &'static str) -> Moment {
    Moment {
        unix_s,
        passed: false,
        zone: Some(zone),
    }
}

const fn passed(unix_s: u64, zone: Option<&'static str>) -> Moment {
    Moment {
        unix_s,
        passed: true,
        zone,
    }
}

/// The last day of a month before a shorter one, a midnight at the end of a month, a leap day, a new year after a day that is in its first week already, the clock
/// going forward in New York, a day of the week-year before, the clock going back in the European Union, the
/// beginning of a leap day, the last day of a summer month, another end of a month. Zones: odd offsets (Kolkata,
/// Kathmandu), the day shifted back and ahead (Pago Pago, Kiritimati), summer time, one of half an hour (Lord Howe).
const MOMENTS: [Moment; 10] = [
    noon(1_801_396_800, "Asia/Kolkata"),
    passed(1_793_491_200, None),
    noon(1_835_438_400, "Pacific/Pago_Pago"),
    passed(1_893_456_000, None),
    passed(1_805_007_600, Some("America/New_York")),
    noon(1_798_804_800, "Asia/Kathmandu"),
    passed(1_824_944_400, Some("Europe/Berlin")),
    passed(1_835_395_200, None),
    noon(1_819_713_600, "Australia/Lord_Howe"),
    passed(1_801_440_000, Some("Pacific/Kiritimati")),
];

/// Turkish has two letters i, German writes a comma in numbers, C knows ASCII only.
const LOCALES: [&str; 3] = ["C", "tr_TR.UTF-8", "de_DE.UTF-8"];

/// Orders of directories, those that tell most first: by number from the highest, which is from the last that was made,
/// tells whoever expects an order of age, and mostly of names too, as names mostly grow as files are made.
const ORDERS: [u64; TELLING_SEEDS as usize] = [2, 1, 0, 3];

/// A clock that is to pass a moment begins so much before it at least, seconds.
const LEAD_S_MIN: u64 = 2;

/// Most variables that are taken away one by one.
const VARIABLES_MAX: usize = 6;

/// What a menu is made for.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    /// What can be varied here.
    pub(super) able: &'a BTreeSet<ConditionKind>,
    /// CPU of the host, cores.
    pub(super) cores: f64,
    /// Memory of the host, bytes.
    pub(super) memory: u64,
    /// What the original used.
    pub(super) usage: &'a Usage,
    /// What the original was made of.
    pub(super) parts: &'a [CasePart],
}

/// All conditions that can be set here, each with the prior weight of being one that matters.
pub(super) fn menu(place: &Place<'_>, prior: &Prior) -> Vec<(Condition, f64)> {
    let mut dishes: Vec<Condition> = timing(place);
    dishes.extend(scarce(place, prior));
    dishes.extend(world(place));
    dishes.retain(|condition| place.able.contains(&condition.kind()));
    let degrees = |kind: ConditionKind| dishes.iter().filter(|one| one.kind() == kind).count();
    dishes
        .iter()
        .map(|condition| {
            let kind = condition.kind();
            let share = 1.0 / (degrees(kind) as f64).sqrt();
            (condition.clone(), prior.of(kind) * share)
        })
        .collect()
}

fn timing(place: &Place<'_>) -> Vec<Condition> {
    let cores = (place.cores.ceil() as u32).max(1);
    let mut dishes = vec![Condition::Schedule { seed: NEW_EACH_RUN }];
    dishes.extend([0.1, 0.2, 0.4].map(|cores| Condition::CpuLimit { cores }));
    if cores > 1 {
        dishes.push(Condition::Cpus { count: 1 });
    }
    for us in [1_000, 10_000, 50_000] {
        dishes.push(Condition::DiskDelay { us });
    }
    for us in [1_000, 10_000, 50_000, 200_000] {
        dishes.push(Condition::NetworkDelay { us });
    }
    dishes.push(Condition::DiskRate { bytes_s: 1_000_000 });
    dishes.push(Condition::NetworkRate { bits_s: 1_000_000 });
    dishes.push(Condition::NetworkLoss { share: 0.1 });
    for (noise, tasks) in [
        (Noise::Cpu, 2 * cores),
        (Noise::Memory, cores),
        (Noise::Disk, 2),
    ] {
        dishes.push(Condition::Noise { noise, tasks });
    }
    for count in [2, 4, 8] {
        if u64::from(count) * place.usage.memory_peak <= place.memory {
            dishes.push(Condition::Copies { count });
        }
    }
    dishes
}

/// What a run needs to start at all, whatever it does then: a runtime and the instance around it, bytes.
pub(super) const START_MEMORY: u64 = 48 << 20;
/// Expected failure rate from which on memory is made shorter than a passing run would use; below, most such
/// runs would only be ended for it.
const SHORT_MEMORY: f64 = 0.1;

fn scarce(place: &Place<'_>, prior: &Prior) -> Vec<Condition> {
    let peak = place.usage.memory_peak;
    let mut dishes: Vec<Condition> = [256, 64, 24]
        .map(|count| Condition::OpenFiles { count })
        .into();
    if peak == 0 {
        return dishes;
    }
    let shares: &[f64] = if prior.of(ConditionKind::MemoryLimit) >= SHORT_MEMORY {
        &[1.5, 0.9, 0.7, 0.5]
    } else {
        &[1.5]
    };
    for share in shares {
        let bytes = (peak as f64 * share) as u64;
        if bytes >= START_MEMORY {
            dishes.push(Condition::MemoryLimit { bytes });
        }
    }
    dishes
}

fn world(place: &Place<'_>) -> Vec<Condition> {
    let mut dishes = vec![Condition::Seed { seed: NEW_EACH_RUN }];
    let telling = (0..TELLING_SEEDS).map(|seed| Condition::DirectoryOrder { seed });
    dishes.extend(telling);
    dishes.push(Condition::DirectoryOrder { seed: NEW_EACH_RUN });
    let zones = MOMENTS.iter().filter_map(|moment| moment.zone);
    dishes.extend(zones.map(|name| Condition::TimeZone { name: name.into() }));
    dishes.extend(LOCALES.map(|name| Condition::Locale { name: name.into() }));
    dishes.extend(MOMENTS.iter().map(|moment| clock(moment, place.usage)));
    let variables = place.parts.iter().filter_map(|part| match part {
        CasePart::Variable(name) => Some(Condition::Variable {
            name: name.clone(),
            value: None,
        }),
        _ => None,
    });
    dishes.extend(variables.take(VARIABLES_MAX));
    dishes
}

/// So much before a moment that it is passed in the middle of the run.
fn clock(moment: &Moment, usage: &Usage) -> Condition {
    let lead = if moment.passed {
        (usage.wall_us / 2_000_000).clamp(LEAD_S_MIN, 3600)
    } else {
        0
    };
    Condition::Clock {
        unix_s: moment.unix_s - lead,
    }
}

/// Cocktails of what costs no more than a plain run, and mostly decides with the first one: each time, each
/// zone, each locale and each telling order of directories once, with what gets along with it.
pub(super) fn cheap(place: &Place<'_>) -> Vec<Vec<Condition>> {
    let variables: Vec<Condition> = world(place)
        .into_iter()
        .filter(|one| one.kind() == ConditionKind::Variable)
        .collect();
    let cocktails = MOMENTS.iter().enumerate().map(|(nth, moment)| {
        let mut cocktail = vec![clock(moment, place.usage)];
        let zone = moment
            .zone
            .map(|name| Condition::TimeZone { name: name.into() });
        cocktail.extend(zone);
        let locale = LOCALES.get(nth);
        cocktail.extend(locale.map(|name| Condition::Locale {
            name: (*name).into(),
        }));
        let order = ORDERS.get(nth);
        cocktail.extend(order.map(|seed| Condition::DirectoryOrder { seed: *seed }));
        cocktail.extend(variables.get(nth).cloned());
        cocktail.push(Condition::Seed { seed: NEW_EACH_RUN });
        cocktail.retain(|one| place.able.contains(&one.kind()));
        cocktail
    });
    let telling = |cocktail: &Vec<Condition>| {
        let seed = |one: &Condition| one.kind() == ConditionKind::Seed;
        !cocktail.iter().all(seed)
    };
    cocktails.filter(telling).collect()
}

/// Of all that may be varied this makes most of the bugs of the benchmark fail that a world does not, and costs little
/// anywhere.
const DISTURBED: Condition = Condition::Schedule { seed: NEW_EACH_RUN };

/// What is tried at first of a test that has not failed, before it is known what a run takes. In another world at the same
/// time, races failed a third as often: a thread that is stopped where it looks at the clock is not where it would be.
pub(super) fn opening(place: &Place<'_>) -> Vec<Condition> {
    let able = place.able.contains(&DISTURBED.kind());
    Vec::from_iter(able.then_some(DISTURBED))
}

/// Calls on files take so much longer in the first tries. Not those on the network: a test that writes a few thousand
/// lines to a socket would take minutes.
const LATE: Condition = Condition::DiskDelay { us: 10_000 };

/// A run that takes longer, what disturbance takes of it included, may make too many calls for all of them to be late, in
/// this run and in all that take it apart; microseconds. A runner that starts slowly makes hundreds before its test begins.
const LATE_WALL_US_MAX: u64 = 120_000;

/// One of the first tries of what has not failed yet.
enum Mix {
    /// Its threads are disturbed.
    Disturbed,
    /// Calls are late, in one of the worlds of [`cheap`].
    Late(usize),
    /// One of these worlds, where not all calls can be late.
    World(usize),
}

/// After the opening (`xtask/peers/arms.toml`, "now"). No copies: what uses a port or a file of its own fails with two
/// of them always, and that would be all that is found.
const MIXES: [Mix; 7] = [
    Mix::Late(0),
    Mix::World(0),
    Mix::Disturbed,
    Mix::Disturbed,
    Mix::Late(2),
    Mix::World(2),
    Mix::Disturbed,
];

/// The first tries of a test that has not failed, after the opening; `slow_start`: a run begins with a runner that
/// starts slowly.
pub(super) fn first(place: &Place<'_>, slow_start: bool) -> Vec<Vec<Condition>> {
    let worlds = cheap(place);
    let able = |one: &Condition| place.able.contains(&one.kind());
    let is_late = able(&LATE) && !slow_start && place.usage.wall_us <= LATE_WALL_US_MAX;
    let world = |nth: usize| worlds.get(nth).into_iter().flatten().cloned();
    let mixes = MIXES.iter().filter_map(|mix| match *mix {
        Mix::Disturbed => able(&DISTURBED).then(|| vec![DISTURBED]),
        Mix::Late(nth) => is_late.then(|| [LATE].into_iter().chain(world(nth)).collect()),
        Mix::World(nth) => (!is_late && nth < worlds.len()).then(|| world(nth).collect()),
    });
    mixes.collect()
}

/// What it takes to start neighbours and to begin tracing, and the shortest run it is compared with, seconds.
const NOISE_START_S: f64 = 0.1;
const TRACE_START_S: f64 = 0.02;
const START_S_MIN: f64 = 0.003;
/// Calls on files that a program is taken to make for each second of CPU, while it starts.
const DISK_CALLS_S: f64 = 400.0;

/// How many times longer a run is expected to take under a condition.
pub(super) fn slowdown(condition: &Condition, usage: &Usage, host_cores: f64) -> f64 {
    let wall = usage.wall_us.max(1) as f64 / 1e6;
    let cpu = usage.cpu_us() as f64 / 1e6;
    let delayed = |us: u64, calls: f64| 1.0 + calls * us as f64 / 1e6 / wall.max(0.05);
    let starts = |seconds: f64| seconds / wall.max(START_S_MIN);
    match condition {
        Condition::CpuLimit { cores } => (1.0 + (cpu / cores - cpu).max(0.0) / wall).min(40.0),
        Condition::Cpus { count } => (usage.cores() / f64::from(*count)).max(1.0),
        // How many calls there are is not known before the first run: what computes longer loads and reads more.
        Condition::DiskDelay { us } => delayed(*us, 8.0 + DISK_CALLS_S * cpu.min(1.0)),
        Condition::NetworkDelay { us } => delayed(*us, 4.0),
        Condition::Copies { count } => {
            (f64::from(*count) * usage.cores() / host_cores.max(0.5)).max(1.0)
        }
        Condition::Noise { .. } => 1.0 + usage.cores().min(1.0) + starts(NOISE_START_S),
        Condition::Schedule { .. } => 1.2 + starts(TRACE_START_S),
        Condition::DiskRate { .. } | Condition::NetworkRate { .. } => 1.2,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cohort_model::{Condition, ConditionKind, Usage};

    use super::{Place, menu, slowdown};
    use crate::experiment::prior::{Clues, Prior};

    fn usage() -> Usage {
        Usage {
            wall_us: 1_000_000,
            user_us: 800_000,
            memory_peak: 100 << 20,
            ..Usage::default()
        }
    }

    fn dishes(able: &[ConditionKind], memory: u64) -> Vec<Condition> {
        let usage = usage();
        let prior = Prior::new(&Clues {
            symptom: None,
            usage: &usage,
            crowded: false,
        });
        let able: BTreeSet<ConditionKind> = able.iter().copied().collect();
        let place = Place {
            able: &able,
            cores: 2.0,
            memory,
            usage: &usage,
            parts: &[],
        };
        let menu = menu(&place, &prior);
        assert!(
            menu.iter()
                .all(|(_, weight)| *weight > 0.0 && *weight < 1.0)
        );
        menu.into_iter().map(|(condition, _)| condition).collect()
    }

    #[test]
    fn only_what_can_be_set_here_is_on_it() {
        assert!(dishes(&[], 1 << 30).is_empty());
        let dishes = dishes(
            &[ConditionKind::MemoryLimit, ConditionKind::Copies],
            450 << 20,
        );
        let copies: Vec<&Condition> = dishes
            .iter()
            .filter(|one| one.kind() == ConditionKind::Copies)
            .collect();
        let fit = [
            Condition::Copies { count: 2 },
            Condition::Copies { count: 4 },
        ];
        assert_eq!(copies, fit.iter().collect::<Vec<_>>(), "eight need 800 MB");
        let limits = dishes.len() - copies.len();
        assert_eq!(limits, 1, "nothing speaks for memory");
    }

    #[test]
    fn less_cpu_takes_longer_and_a_time_zone_does_not() {
        let tenth = slowdown(&Condition::CpuLimit { cores: 0.1 }, &usage(), 2.0);
        assert!(
            (tenth - 8.2).abs() < 1e-9,
            "0.2 s of waiting and 8 s of computing: {tenth}"
        );
        let zone = Condition::TimeZone { name: "UTC".into() };
        assert!((slowdown(&zone, &usage(), 2.0) - 1.0).abs() < 1e-9);
    }
}
