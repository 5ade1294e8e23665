//! Everything that can be varied here, at sensible degrees.

use std::collections::BTreeSet;

use cohort_model::{CasePart, Condition, ConditionKind, Noise, Usage};

use super::prior::Prior;
use super::recipes::NEW_EACH_RUN;

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

/// Places in time at which programs go wrong, seconds since 1970 (UTC): a midnight, the end of a month, the
/// end of a year, the beginning of a leap day, the clock going forward and back in New York and in
/// the European Union.
const MOMENTS: [u64; 8] = [
    1_799_798_400,
    1_801_440_000,
    1_830_297_600,
    1_835_395_200,
    1_805_007_600,
    1_806_195_600,
    1_824_944_400,
    1_825_567_200,
];

/// Odd offsets (Kolkata, Kathmandu), the day shifted ahead and back (Kiritimati, Pago Pago), summer time
/// (New York), and one of half an hour (Lord Howe).
const ZONES: [&str; 6] = [
    "Asia/Kolkata",
    "Pacific/Kiritimati",
    "America/New_York",
    "Pacific/Pago_Pago",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
];

/// Turkish has two letters i, German writes a comma in numbers, C knows ASCII only.
const LOCALES: [&str; 3] = ["C", "tr_TR.UTF-8", "de_DE.UTF-8"];

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
    dishes.extend(scarce(place));
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

fn scarce(place: &Place<'_>) -> Vec<Condition> {
    let peak = place.usage.memory_peak;
    let mut dishes: Vec<Condition> = [24, 64, 256]
        .map(|count| Condition::OpenFiles { count })
        .into();
    // Below 8 MB hardly any program starts.
    for share in [0.9, 0.7, 0.5] {
        let bytes = (peak as f64 * share) as u64;
        if bytes >= 8 << 20 {
            dishes.push(Condition::MemoryLimit { bytes });
        }
    }
    dishes
}

fn world(place: &Place<'_>) -> Vec<Condition> {
    let mut dishes = vec![
        Condition::Seed { seed: NEW_EACH_RUN },
        Condition::DirectoryOrder { seed: NEW_EACH_RUN },
    ];
    dishes.extend(ZONES.map(|name| Condition::TimeZone { name: name.into() }));
    dishes.extend(LOCALES.map(|name| Condition::Locale { name: name.into() }));
    // So much before the moment that it is passed in the middle of the run.
    let lead = (place.usage.wall_us / 2_000_000).clamp(1, 3600);
    dishes.extend(MOMENTS.map(|moment| Condition::Clock {
        unix_s: moment - lead,
    }));
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

/// How many times longer a run is expected to take under a condition.
pub(super) fn slowdown(condition: &Condition, usage: &Usage, host_cores: f64) -> f64 {
    let wall = usage.wall_us.max(1) as f64 / 1e6;
    let cpu = usage.cpu_us() as f64 / 1e6;
    let delayed = |us: u64, calls: f64| 1.0 + calls * us as f64 / 1e6 / wall.max(0.05);
    match condition {
        Condition::CpuLimit { cores } => (1.0 + (cpu / cores - cpu).max(0.0) / wall).min(40.0),
        Condition::Cpus { count } => (usage.cores() / f64::from(*count)).max(1.0),
        // How many calls there are is not known before the first run.
        Condition::DiskDelay { us } => delayed(*us, 8.0),
        Condition::NetworkDelay { us } => delayed(*us, 4.0),
        Condition::Copies { count } => {
            (f64::from(*count) * usage.cores() / host_cores.max(0.5)).max(1.0)
        }
        Condition::Noise { .. } => 1.0 + usage.cores().min(1.0),
        Condition::Schedule { .. } => 1.2,
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
        assert_eq!(limits, 3);
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
