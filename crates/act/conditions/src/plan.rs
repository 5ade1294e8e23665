//! What the conditions of an order mean together: which variables, limits, copies and neighbours,
//! and what a tracer has to do. Whatever this host cannot do is found here, before anything runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cohort_model::{Condition, ConditionKind, Noise};

use crate::able;
use crate::order::{Missing, Order};

/// An order, resolved.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// CPUs that may be used.
    pub(crate) cpus: Option<u32>,
    /// Variables that differ; none: not set.
    pub(crate) variables: Vec<(String, Option<String>)>,
    /// Limit of open files.
    pub(crate) open_files: Option<u64>,
    /// Limit of the address space, bytes.
    pub(crate) address_space: Option<u64>,
    /// Neighbours.
    pub(crate) noise: Vec<(Noise, u32)>,
    /// How many run at once, at least 1.
    pub(crate) copies: u32,
    /// What a tracer has to do.
    pub(crate) traced: Traced,
    /// What cannot be done.
    pub(crate) missing: Vec<Missing>,
}

/// What is done to a program by tracing it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Traced {
    /// Disturb when threads run, by this seed.
    pub(crate) schedule: Option<u64>,
    /// CPU in each tenth of a second, cores.
    pub(crate) cores: Option<f64>,
    /// Added to each system call on a file.
    pub(crate) disk_delay: Duration,
    /// Bytes a second of files.
    pub(crate) disk_rate: Option<u64>,
    /// Added to each connection and message.
    pub(crate) network_delay: Duration,
    /// Bits a second that are sent.
    pub(crate) network_rate: Option<u64>,
    /// Share of messages that are lost.
    pub(crate) network_loss: f64,
    /// What is random follows from this.
    pub(crate) seed: Option<u64>,
    /// The order of directories follows from this.
    pub(crate) directory: Option<u64>,
    /// What the clock shows at the start, seconds since 1970.
    pub(crate) clock: Option<u64>,
    /// Where it stands when it comes to its end is looked at; beside this file.
    pub(crate) evidence: Option<PathBuf>,
    /// Only when that is a signal that it does not handle.
    pub(crate) crashes_only: bool,
}

impl Traced {
    /// Whether a tracer is needed at all.
    pub(crate) fn is_any(&self) -> bool {
        *self != Traced::default()
    }
}

impl Plan {
    /// Of an order on this host.
    pub(crate) fn of(order: &Order) -> Plan {
        let mut plan = Plan {
            copies: 1,
            ..Plan::default()
        };
        if order.evidence.is_some() && able::of(&Condition::Schedule { seed: 0 }).is_ok() {
            plan.traced.evidence.clone_from(&order.evidence);
            plan.traced.crashes_only = order.crashes_only;
            // Its own stacks, on stderr (docs.python.org/3/library/faulthandler.html).
            plan.set("PYTHONFAULTHANDLER", "1");
        }
        for condition in &order.conditions {
            let kind = condition.kind();
            if matches!(
                kind,
                ConditionKind::CpuLimit | ConditionKind::MemoryLimit | ConditionKind::DiskRate
            ) && !order.fallback.contains(&kind)
            {
                continue;
            }
            match able::of(condition) {
                Ok(()) => plan.take(condition),
                Err(why) => plan.miss(kind, why),
            }
        }
        plan
    }

    /// Notes that a condition cannot be applied.
    pub(crate) fn miss(&mut self, condition: ConditionKind, why: String) {
        let missing = Missing { condition, why };
        if !self.missing.contains(&missing) {
            self.missing.push(missing);
        }
    }

    /// Gives up what needs a tracer.
    pub(crate) fn without_tracer(&mut self, order: &Order, why: &str) {
        self.traced = Traced::default();
        for condition in &order.conditions {
            let kind = condition.kind();
            if able::needs_tracer(kind)
                && (kind != ConditionKind::CpuLimit || order.fallback.contains(&kind))
                && (kind != ConditionKind::DiskRate || order.fallback.contains(&kind))
            {
                self.miss(kind, why.to_owned());
            }
        }
    }

    /// Variables that differ for one of the copies. Where there is a seed each has its own: the first the one that
    /// was asked for, and the others the next ones.
    pub(crate) fn variables_of(&self, copy: u32) -> Vec<(String, Option<String>)> {
        let mut variables = self.variables.clone();
        if let (Some(seed), true) = (self.traced.seed, copy > 0) {
            let own = seed_variables(seed.wrapping_add(u64::from(copy)));
            for (first, own) in seed_variables(seed).iter().zip(own) {
                // Unless it was set to something else.
                for variable in variables.iter_mut().filter(|variable| *variable == first) {
                    variable.clone_from(&own);
                }
            }
        }
        variables
    }

    fn take(&mut self, condition: &Condition) {
        let traced = &mut self.traced;
        match condition {
            Condition::CpuLimit { cores } => traced.cores = Some(*cores),
            Condition::Cpus { count } => self.cpus = Some(*count),
            Condition::MemoryLimit { bytes } => self.address_space = Some(*bytes),
            Condition::DiskRate { bytes_s } => traced.disk_rate = Some(*bytes_s),
            Condition::DiskDelay { us } => traced.disk_delay = Duration::from_micros(*us),
            Condition::NetworkDelay { us } => traced.network_delay = Duration::from_micros(*us),
            Condition::NetworkRate { bits_s } => traced.network_rate = Some(*bits_s),
            Condition::NetworkLoss { share } => traced.network_loss = *share,
            Condition::Noise { noise, tasks } => self.noise.push((*noise, *tasks)),
            Condition::Copies { count } => self.copies = *count,
            Condition::Seed { seed } => {
                self.variables.extend(seed_variables(*seed));
                traced.seed = Some(*seed);
            }
            Condition::DirectoryOrder { seed } => traced.directory = Some(*seed),
            Condition::Schedule { seed } => traced.schedule = Some(*seed),
            Condition::TimeZone { name } => self.set("TZ", name),
            Condition::Locale { name } => {
                self.set("LC_ALL", name);
                self.set("LANG", name);
                self.variables.push(("LANGUAGE".to_owned(), None));
            }
            Condition::Clock { unix_s } => traced.clock = Some(*unix_s),
            Condition::OpenFiles { count } => self.open_files = Some(*count),
            Condition::Variable { name, value } => {
                self.variables.push((name.clone(), value.clone()));
            }
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables
            .push((name.to_owned(), Some(value.to_owned())));
    }
}

/// Variables by which languages and test libraries take a seed. Each name is documented by the one
/// that reads it: `CPython`, perl (perlrun), proptest, `GoogleTest`, bolero, madsim, rapidcheck has no plain
/// number and is left out. Where none is read, the answers to `getrandom` still follow the seed.
fn seed_variables(seed: u64) -> Vec<(String, Option<String>)> {
    // 0 turns CPython's randomization off, and is not one seed among others.
    let python = 1 + seed % u64::from(u32::MAX);
    let google = 1 + seed % 99_999;
    [
        ("PYTHONHASHSEED", python),
        ("PERL_HASH_SEED", python),
        ("PROPTEST_RNG_SEED", seed),
        ("GTEST_RANDOM_SEED", google),
        ("BOLERO_RANDOM_SEED", seed),
        ("MADSIM_TEST_SEED", seed),
    ]
    .map(|(name, value)| (name.to_owned(), Some(value.to_string())))
    .to_vec()
}

/// Whether the C library would find this time zone; why not otherwise. An unknown one silently
/// means UTC, which would be another condition than the one that was asked for.
pub(crate) fn time_zone(name: &str) -> Result<(), String> {
    let directory = std::env::var("TZDIR").unwrap_or_else(|_| "/usr/share/zoneinfo".to_owned());
    let inside = !name.is_empty() && !name.starts_with('/') && !name.contains("..");
    if inside && Path::new(&directory).join(name).is_file() || is_posix_zone(name) {
        return Ok(());
    }
    Err(format!(
        "the time zone {name} is not among those in {directory}; install tzdata, or name one that is there"
    ))
}

/// `UTC-5:30`, as POSIX has it, without rules for summer.
fn is_posix_zone(name: &str) -> bool {
    let rest = name.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    let letters = name.len() - rest.len();
    let offset = rest.trim_start_matches(['+', '-']);
    letters >= 3
        && offset.starts_with(|digit: char| digit.is_ascii_digit())
        && offset
            .chars()
            .all(|digit| digit.is_ascii_digit() || digit == ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_control_groups_apply_is_left_to_them_unless_asked_for() {
        let mut order = Order {
            conditions: vec![Condition::MemoryLimit { bytes: 1 << 30 }],
            ..Order::default()
        };
        assert_eq!(Plan::of(&order).address_space, None);
        order.fallback = vec![ConditionKind::MemoryLimit];
        assert_eq!(Plan::of(&order).address_space, Some(1 << 30));
    }

    #[test]
    fn a_zone_that_is_not_there_is_missing() {
        assert!(time_zone("UTC-5:30").is_ok());
        assert!(time_zone("Middle/Earth").is_err());
        assert!(time_zone("../../../etc/passwd").is_err());
        let order = Order {
            conditions: vec![Condition::TimeZone {
                name: "Middle/Earth".to_owned(),
            }],
            ..Order::default()
        };
        let plan = Plan::of(&order);
        assert_eq!(plan.missing.len(), 1);
        assert!(plan.variables.is_empty());
    }

    #[test]
    fn no_condition_needs_no_tracer() {
        assert!(!Plan::of(&Order::default()).traced.is_any());
    }
}
