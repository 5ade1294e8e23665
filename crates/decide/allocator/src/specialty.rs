//! What an instance is for, by what its thread is expected or seen to do.

use cohort_model::{Estimate, FindingKind, Specialty};

/// A test that uses less of a core than this is waiting.
const WAITING_CORES_MAX: f64 = 0.3;
/// A test that uses more of a core than this is computing.
const CPU_CORES_MIN: f64 = 0.7;
/// A test that needs more than this part of the whole memory is heavy.
const HEAVY_PART: f64 = 1.0 / 8.0;

/// The specialty that fits a test. `informed` says whether the estimate rests on anything at all;
/// `timing_sensitive` whether it once failed in a crowd and passed alone.
#[must_use]
pub fn specialty_for(
    estimate: &Estimate,
    informed: bool,
    timing_sensitive: bool,
    memory_budget: u64,
) -> Specialty {
    if timing_sensitive {
        Specialty::Quiet
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

/// The specialty that a finding asks for; `None` when it asks for none. Quiet instances stay so.
#[must_use]
pub fn specialty_found(now: Specialty, kind: FindingKind) -> Option<Specialty> {
    let wanted = match kind {
        FindingKind::CpuSaturation => Specialty::Cpu,
        FindingKind::Waiting => Specialty::Waiting,
        FindingKind::MemoryPressure | FindingKind::MemoryLeak => Specialty::Memory,
        FindingKind::Stall | FindingKind::FailureBurst | FindingKind::Slow => return None,
    };
    let keeps = now == wanted || now == Specialty::Quiet || now == Specialty::Memory;
    (!keeps).then_some(wanted)
}

/// Share of CPU under contention (100 is equal). Those that seldom want CPU get it when they do:
/// it costs the others little, and what waits on a timer is what fails in a crowd.
#[must_use]
pub fn allotment_weight(specialty: Specialty) -> u32 {
    match specialty {
        Specialty::General | Specialty::Cpu | Specialty::Memory => 100,
        Specialty::Waiting => 300,
        Specialty::Quiet => 1000,
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
        for (estimate, informed, sensitive, specialty) in [
            (estimate(0.05, 1e6), true, false, Specialty::Waiting),
            (estimate(0.95, 1e6), true, false, Specialty::Cpu),
            (estimate(0.5, 1e6), true, false, Specialty::General),
            (estimate(0.05, 5e8), true, false, Specialty::Memory),
            (estimate(0.05, 5e8), false, false, Specialty::General),
            (estimate(0.95, 5e8), true, true, Specialty::Quiet),
        ] {
            assert_eq!(
                specialty_for(&estimate, informed, sensitive, gib),
                specialty
            );
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
            (Specialty::General, Kind::Slow, None),
        ] {
            assert_eq!(specialty_found(now, kind), then);
        }
    }
}
