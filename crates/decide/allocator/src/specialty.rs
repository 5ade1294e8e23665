//! What an instance is for, by what its thread is expected or seen to do.

use cohort_model::{Estimate, FindingKind, Specialty};

/// A test that uses less of a core than this is waiting.
const WAITING_CORES_MAX: f64 = 0.3;
/// A test that uses more of a core than this is computing.
const CPU_CORES_MIN: f64 = 0.7;
/// A test that needs more than this part of the whole memory is heavy.
const HEAVY_PART: f64 = 1.0 / 8.0;

/// A test that was seen before and takes more than this part of each core's share of all work is
/// critical.
const CRITICAL_PART: f64 = 0.5;

/// From how many microseconds on a test is critical, when all tests together need `work_us` of CPU.
#[must_use]
pub fn critical_us(work_us: f64, cores: f64) -> f64 {
    work_us / cores.max(1.0) * CRITICAL_PART
}

/// The specialty that fits a test. `informed` says whether the estimate rests on anything at all;
/// `critical` whether the end of the campaign depends on it.
#[must_use]
pub fn specialty_for(
    estimate: &Estimate,
    informed: bool,
    critical: bool,
    memory_budget: u64,
) -> Specialty {
    if critical && estimate.cores.p50 >= WAITING_CORES_MAX {
        Specialty::Critical
    } else if !informed {
        Specialty::General
    } else if estimate.memory.p90 > memory_budget as f64 * HEAVY_PART {
        Specialty::Memory
    } else if estimate.cores.p50 < WAITING_CORES_MAX {
        Specialty::Waiting
    } else if estimate.cores.p50 > CPU_CORES_MIN {
        Specialty::Cpu
    } else {
        Specialty::General
    }
}

/// The specialty that a finding asks for; `None` when it asks for none. Those that nothing may crowd
/// stay so.
#[must_use]
pub fn specialty_found(now: Specialty, kind: FindingKind) -> Option<Specialty> {
    let wanted = match kind {
        FindingKind::CpuSaturation => Specialty::Cpu,
        FindingKind::Waiting => Specialty::Waiting,
        FindingKind::MemoryPressure | FindingKind::MemoryLeak => Specialty::Memory,
        FindingKind::Stall | FindingKind::FailureBurst | FindingKind::Slow => return None,
    };
    let keeps = now == wanted || now == Specialty::Memory || is_preferred(now);
    (!keeps).then_some(wanted)
}

/// Whether instances of that specialty get CPU before all others.
#[must_use]
pub fn is_preferred(specialty: Specialty) -> bool {
    matches!(specialty, Specialty::Quiet | Specialty::Critical)
}

/// Share of CPU under contention (100 is equal). Those that seldom want CPU get it when they do:
/// it costs the others little, and what waits on a timer is what fails in a crowd.
#[must_use]
pub fn allotment_weight(specialty: Specialty) -> u32 {
    match specialty {
        Specialty::General | Specialty::Cpu | Specialty::Memory | Specialty::Reproducing => 100,
        Specialty::Waiting => 300,
        Specialty::Quiet | Specialty::Critical => 1000,
    }
}

#[cfg(test)]
mod tests {
    use cohort_model::Quantiles;

    use super::*;

    fn estimate(cores: f64, memory: f64) -> Estimate {
        let both = |p50| Quantiles { p50, p90: p50 };
        Estimate {
            wall_us: both(1e6),
            cores: both(cores),
            memory: both(memory),
            runs: 1,
        }
    }

    #[test]
    fn tests_go_where_their_kind_goes() {
        let gib = 1u64 << 30;
        for (estimate, informed, critical, specialty) in [
            (estimate(0.05, 1e6), true, false, Specialty::Waiting),
            (estimate(0.95, 1e6), true, false, Specialty::Cpu),
            (estimate(0.5, 1e6), true, false, Specialty::General),
            (estimate(0.05, 5e8), true, false, Specialty::Memory),
            (estimate(0.05, 5e8), false, false, Specialty::General),
            (estimate(0.95, 5e8), true, true, Specialty::Critical),
            (estimate(0.05, 1e6), true, true, Specialty::Waiting),
        ] {
            assert_eq!(specialty_for(&estimate, informed, critical, gib), specialty);
        }
    }

    #[test]
    fn a_finding_changes_what_does_not_fit_and_nothing_else() {
        use FindingKind as Kind;
        for (now, kind, then) in [
            (Specialty::General, Kind::Waiting, Some(Specialty::Waiting)),
            (Specialty::Waiting, Kind::Waiting, None),
            (
                Specialty::Waiting,
                Kind::CpuSaturation,
                Some(Specialty::Cpu),
            ),
            (Specialty::Memory, Kind::CpuSaturation, None),
            (Specialty::Quiet, Kind::CpuSaturation, None),
            (Specialty::Critical, Kind::Waiting, None),
            (Specialty::General, Kind::Slow, None),
        ] {
            assert_eq!(specialty_found(now, kind), then);
        }
    }
}
