//! Degrees of conditions, shares and moments as a person reads them.

use cohort_model::{ConditionKind, Rate};

use crate::words;

/// Between two degrees the simplest number is looked for with at most so many significant digits.
const DIGITS_MAX: i32 = 3;

/// A degree in the unit of its condition: `0.25 CPU`, `128 MiB`, `10 ms`.
#[must_use]
pub fn degree(kind: ConditionKind, value: f64) -> String {
    let whole = value.round().max(0.0) as u64;
    match kind {
        ConditionKind::CpuLimit => {
            let noun = if value > 1.0 { "CPUs" } else { "CPU" };
            format!("{} {noun}", words::decimal(value))
        }
        ConditionKind::Cpus => words::counted(whole, "CPU"),
        ConditionKind::MemoryLimit => size(value),
        ConditionKind::DiskRate => format!("{}/s", size(value)),
        ConditionKind::DiskDelay | ConditionKind::NetworkDelay => time(value),
        ConditionKind::NetworkRate => bits(value),
        ConditionKind::NetworkLoss => format!("{} %", words::decimal(value * 100.0)),
        ConditionKind::Noise => words::counted(whole, "neighbour"),
        ConditionKind::Copies => match whole {
            1 => "1 copy".to_owned(),
            copies => format!("{} copies", words::number(copies)),
        },
        ConditionKind::OpenFiles => words::counted(whole, "open file"),
        ConditionKind::Clock => moment(whole),
        ConditionKind::Seed
        | ConditionKind::DirectoryOrder
        | ConditionKind::Schedule
        | ConditionKind::TimeZone
        | ConditionKind::Locale
        | ConditionKind::Variable => words::decimal(value),
    }
}

/// The simplest degree between one that passes and one that fails.
#[must_use]
pub(super) fn between(kind: ConditionKind, passes: f64, fails: f64) -> String {
    let unit = match kind {
        ConditionKind::MemoryLimit | ConditionKind::DiskRate => binary_unit(passes.max(fails)).0,
        ConditionKind::NetworkLoss => 0.01,
        ConditionKind::DiskDelay | ConditionKind::NetworkDelay => {
            if passes.max(fails) >= 1_000_000.0 {
                1e6
            } else {
                1e3
            }
        }
        ConditionKind::NetworkRate => decimal_unit(passes.max(fails)).0,
        _ => 1.0,
    };
    let (low, high) = (passes.min(fails) / unit, passes.max(fails) / unit);
    degree(kind, simplest(low, high) * unit)
}

/// The number with the fewest digits from `low` to `high`, near the middle of those.
fn simplest(low: f64, high: f64) -> f64 {
    let middle = f64::midpoint(low, high);
    if !(middle.is_finite() && high > 0.0) {
        return middle;
    }
    let magnitude = high.log10().floor() as i32;
    for digits in 0..DIGITS_MAX {
        let step = 10_f64.powi(magnitude - digits);
        for step in [step * 5.0, step * 2.0, step] {
            let near = (middle / step).round() * step;
            if near >= low && near <= high && near > 0.0 {
                return near;
            }
        }
    }
    middle
}

fn binary_unit(value: f64) -> (f64, &'static str) {
    const UNITS: [(f64, &str); 4] = [
        (1_073_741_824.0, "GiB"),
        (1_048_576.0, "MiB"),
        (1_024.0, "KiB"),
        (1.0, "B"),
    ];
    let fits = UNITS.iter().find(|(size, _)| value >= *size);
    fits.copied().unwrap_or((1.0, "B"))
}

fn decimal_unit(value: f64) -> (f64, &'static str) {
    const UNITS: [(f64, &str); 4] = [
        (1e9, "Gbit/s"),
        (1e6, "Mbit/s"),
        (1e3, "kbit/s"),
        (1.0, "bit/s"),
    ];
    let fits = UNITS.iter().find(|(size, _)| value >= *size);
    fits.copied().unwrap_or((1.0, "bit/s"))
}

fn figure(value: f64) -> String {
    match value {
        tens if tens >= 10.0 => format!("{tens:.0}"),
        _ => words::decimal((value * 100.0).round() / 100.0),
    }
}

fn size(value: f64) -> String {
    let (unit, name) = binary_unit(value);
    format!("{} {name}", figure(value / unit))
}

fn bits(value: f64) -> String {
    let (unit, name) = decimal_unit(value);
    format!("{} {name}", figure(value / unit))
}

fn time(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", figure(us / 1e6)),
        us if us >= 1e3 => format!("{} ms", figure(us / 1e3)),
        us => format!("{us:.0} us"),
    }
}

/// A moment of the clock in UTC: `2024-02-29 23:59:58 UTC`. By Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>), for 1970 and later.
#[must_use]
pub fn moment(unix_s: u64) -> String {
    let days = unix_s / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (unix_s / 3_600 % 24, unix_s / 60 % 60, unix_s % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// A share of all runs: `0 %`, `0.04 %`, `4.2 %`, `82 %`. What is not all is never called 100 %.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{} %", percent_bare(share))
}

fn percent_bare(share: f64) -> String {
    let percent = (share * 100.0).clamp(0.0, 100.0);
    if percent == 0.0 || percent == 100.0 {
        return format!("{percent:.0}");
    }
    let text = match percent {
        ones if ones >= 99.0 => format!("{:.1}", (ones * 10.0).floor() / 10.0),
        ones if ones >= 9.95 => format!("{ones:.0}"),
        tenths if tenths >= 0.095 => format!("{tenths:.1}"),
        hundredths if hundredths >= 0.0095 => format!("{hundredths:.2}"),
        _ => "below 0.01".to_owned(),
    };
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// The interval of a rate: `69 to 91 %`.
#[must_use]
pub fn interval(rate: &Rate) -> String {
    format!("{} to {}", percent_bare(rate.low), percent(rate.high))
}

/// How rare something is whose rate is below `high`: `once in 130`, never said rarer than it is.
#[must_use]
pub fn once_in(high: f64) -> Option<String> {
    let times = (1.0 / high).floor();
    if !(times.is_finite() && times >= 2.0) {
        return None;
    }
    // Two digits are as much as such a bound deserves; the rest is cut.
    let magnitude = 10_f64.powi((times.log10().floor() as i32 - 1).max(0));
    let times = (times / magnitude).floor() * magnitude;
    Some(format!("once in {}", words::number(times as u64)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn degrees_have_their_units() {
        use ConditionKind as Kind;
        let cases = [
            (Kind::CpuLimit, 0.25, "0.25 CPU"),
            (Kind::CpuLimit, 1.5, "1.5 CPUs"),
            (Kind::Cpus, 1.0, "1 CPU"),
            (Kind::MemoryLimit, 134_217_728.0, "128 MiB"),
            (Kind::MemoryLimit, 1.5 * 1_073_741_824.0, "1.5 GiB"),
            (Kind::DiskRate, 1_048_576.0, "1 MiB/s"),
            (Kind::DiskDelay, 10_000.0, "10 ms"),
            (Kind::DiskDelay, 1_500_000.0, "1.5 s"),
            (Kind::NetworkDelay, 250.0, "250 us"),
            (Kind::NetworkRate, 2_500_000.0, "2.5 Mbit/s"),
            (Kind::NetworkLoss, 0.05, "5 %"),
            (Kind::Copies, 4.0, "4 copies"),
            (Kind::Noise, 1.0, "1 neighbour"),
            (Kind::OpenFiles, 32.0, "32 open files"),
            (Kind::Clock, 1_709_251_198.0, "2024-02-29 23:59:58 UTC"),
        ];
        for (kind, value, words) in cases {
            assert_eq!(degree(kind, value), words);
        }
    }

    #[test]
    fn an_edge_is_the_simplest_number_between() {
        use ConditionKind as Kind;
        let cases = [
            (Kind::CpuLimit, 0.65, 0.55, "0.6 CPU"),
            (Kind::CpuLimit, 0.8, 0.4, "0.5 CPU"),
            (Kind::CpuLimit, 0.634, 0.621, "0.63 CPU"),
            (Kind::MemoryLimit, 215e6, 180e6, "200 MiB"),
            (Kind::DiskDelay, 4_000.0, 7_000.0, "5 ms"),
            (Kind::NetworkLoss, 0.013, 0.034, "2 %"),
            (Kind::NetworkRate, 1_400_000.0, 800_000.0, "1 Mbit/s"),
        ];
        for (kind, passes, fails, words) in cases {
            assert_eq!(
                between(kind, passes, fails),
                words,
                "{kind:?} {passes} {fails}"
            );
        }
    }

    #[test]
    fn moments_are_civil() {
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(moment(1_735_689_599), "2024-12-31 23:59:59 UTC");
    }

    #[test]
    fn shares_are_never_rounded_up_to_all() {
        let cases = [
            (0.0, "0 %"),
            (0.000_05, "below 0.01 %"),
            (0.0004, "0.04 %"),
            (0.004, "0.4 %"),
            (0.042, "4.2 %"),
            (0.8234, "82 %"),
            (0.9996, "99.9 %"),
            (1.0, "100 %"),
        ];
        for (share, words) in cases {
            assert_eq!(percent(share), words);
        }
        let rate = Rate {
            runs: 50,
            failed: 41,
            low: 0.686,
            high: 0.914,
        };
        assert_eq!(interval(&rate), "69 to 91 %");
    }

    #[test]
    fn rarity_is_cut() {
        assert_eq!(once_in(0.0075).as_deref(), Some("once in 130"));
        assert_eq!(once_in(0.2).as_deref(), Some("once in 5"));
        assert_eq!(once_in(0.000_23).as_deref(), Some("once in 4,300"));
        assert_eq!(once_in(0.7), None);
        assert_eq!(once_in(0.0), None);
    }

    proptest! {
        #[test]
        fn the_simplest_lies_between(a in 0.0..1e6_f64, b in 0.0..1e6_f64) {
            let (low, high) = (a.min(b), a.max(b));
            let found = simplest(low, high);
            prop_assert!(found >= low && found <= high, "{low} {found} {high}");
        }
    }
}
