//! Conditions and shares in words, for remarks.

use cohort_model::{Condition, ConditionKind, Noise};

/// How a remark on another condition that does the same begins.
pub(super) fn alternative(condition: &Condition) -> String {
    format!("It fails as well under {} alone:", words(condition))
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    if share < 0.01 {
        format!("{:.2} %", share * 100.0)
    } else {
        format!("{:.1} %", share * 100.0)
    }
}

/// A kind of condition in words.
pub(super) fn kind_words(kind: ConditionKind) -> &'static str {
    use ConditionKind as Kind;
    match kind {
        Kind::CpuLimit => "less CPU",
        Kind::Cpus => "fewer CPUs",
        Kind::MemoryLimit => "less memory",
        Kind::DiskRate => "a slow disk",
        Kind::DiskDelay => "a late disk",
        Kind::NetworkDelay => "a late network",
        Kind::NetworkRate => "a slow network",
        Kind::NetworkLoss => "a network with losses",
        Kind::Noise => "busy neighbours",
        Kind::Copies => "copies at once",
        Kind::Seed => "seeded randomness",
        Kind::DirectoryOrder => "other orders of directories",
        Kind::Schedule => "disturbed scheduling",
        Kind::TimeZone => "other time zones",
        Kind::Locale => "other locales",
        Kind::Clock => "other times",
        Kind::OpenFiles => "fewer open files",
        Kind::Variable => "variables not set",
    }
}

/// A condition in words.
pub(super) fn words(condition: &Condition) -> String {
    let ms = |us: &u64| *us as f64 / 1000.0;
    match condition {
        Condition::CpuLimit { cores } => format!("a limit of {cores} cores"),
        Condition::Cpus { count: 1 } => "a single CPU".to_owned(),
        Condition::Cpus { count } => format!("{count} CPUs"),
        Condition::MemoryLimit { bytes } => {
            format!("a memory limit of {:.0} MB", *bytes as f64 / 1e6)
        }
        Condition::DiskRate { bytes_s } => {
            format!("a disk of {:.1} MB/s", *bytes_s as f64 / 1e6)
        }
        Condition::DiskDelay { us } => format!("a disk that is {} ms late", ms(us)),
        Condition::NetworkDelay { us } => format!("a network that is {} ms late", ms(us)),
        Condition::NetworkRate { bits_s } => {
            format!("a network of {:.1} Mbit/s", *bits_s as f64 / 1e6)
        }
        Condition::NetworkLoss { share } => format!("a network that loses {}", percent(*share)),
        Condition::Noise { noise, tasks } => {
            let what = match noise {
                Noise::Cpu => "compute",
                Noise::Memory => "move memory",
                Noise::Disk => "write to the disk",
            };
            format!("{tasks} neighbours that {what}")
        }
        Condition::Copies { count } => format!("{count} copies at once"),
        Condition::Seed { .. } => "seeded randomness".to_owned(),
        Condition::DirectoryOrder { .. } => "another order of directories".to_owned(),
        Condition::Schedule { .. } => "disturbed scheduling".to_owned(),
        Condition::TimeZone { name } => format!("the time zone {name}"),
        Condition::Locale { name } => format!("the locale {name}"),
        Condition::Clock { unix_s } => format!("a clock that begins at {unix_s} s"),
        Condition::OpenFiles { count } => format!("at most {count} open files"),
        Condition::Variable { name, value: None } => format!("{name} not set"),
        Condition::Variable {
            name,
            value: Some(value),
        } => format!("{name}={value}"),
    }
}
