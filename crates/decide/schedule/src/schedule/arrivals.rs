//! When iterations begin that come at a rate.

use crate::options::{Executor, Stage};

/// Rounding of sums of products of doubles, in iterations.
const SLACK: f64 = 1e-6;

/// The times at which iterations begin, microseconds after the scenario's start, ascending.
#[derive(Clone, Debug)]
pub(crate) enum Arrivals {
    /// Number `k`, from 0, at `k` periods.
    Constant {
        rate: u64,
        unit_us: u64,
        duration_us: u64,
        next: u64,
    },
    /// Number `k`, from 1, when the area under the rate is `k`, as k6 has it.
    Ramping(Ramp),
}

#[derive(Clone, Debug)]
pub(crate) struct Ramp {
    stages: Vec<Stage>,
    unit_us: f64,
    /// The stage that is under way.
    stage: usize,
    stage_begun_us: f64,
    /// Rate at its begin, iterations a microsecond.
    from: f64,
    /// Area before it.
    before: f64,
    next: f64,
}

impl Arrivals {
    pub(crate) fn of(executor: &Executor) -> Option<Arrivals> {
        match executor {
            Executor::ConstantArrivalRate {
                rate,
                unit_us,
                duration_us,
                ..
            } => Some(Arrivals::Constant {
                rate: *rate,
                unit_us: *unit_us,
                duration_us: *duration_us,
                next: 0,
            }),
            Executor::RampingArrivalRate {
                start,
                unit_us,
                stages,
                ..
            } => Some(Arrivals::Ramping(Ramp {
                stages: stages.clone(),
                unit_us: *unit_us as f64,
                stage: 0,
                stage_begun_us: 0.0,
                from: *start as f64 / *unit_us as f64,
                before: 0.0,
                next: 1.0,
            })),
            _ => None,
        }
    }

    /// Takes those that come before `until_us`.
    pub(crate) fn until(&mut self, until_us: u64) -> Vec<u64> {
        let mut taken = Vec::new();
        while let Some(at) = self.peek().filter(|at| *at < until_us) {
            taken.push(at);
            match self {
                Arrivals::Constant { next, .. } => *next += 1,
                Arrivals::Ramping(ramp) => ramp.next += 1.0,
            }
        }
        taken
    }

    fn peek(&mut self) -> Option<u64> {
        match self {
            Arrivals::Constant {
                rate,
                unit_us,
                duration_us,
                next,
            } => {
                let at = u128::from(*next) * u128::from(*unit_us) / u128::from(*rate);
                Some(at as u64).filter(|at| at < duration_us)
            }
            Arrivals::Ramping(ramp) => ramp.peek(),
        }
    }
}

impl Ramp {
    fn peek(&mut self) -> Option<u64> {
        loop {
            let stage = self.stages.get(self.stage)?;
            let (to, length) = (stage.target as f64 / self.unit_us, stage.duration_us as f64);
            let after = self.before + length * (self.from + to) / 2.0;
            if self.next <= after + SLACK {
                let wanted = self.next - self.before;
                let at = time_of(wanted, self.from, to, length).clamp(0.0, length);
                return Some((self.stage_begun_us + at).round() as u64);
            }
            self.before = after;
            self.stage_begun_us += length;
            self.from = to;
            self.stage += 1;
        }
    }
}

/// When the area under a straight line `from` .. `to` over `length` is `area`. The smaller root of
/// the quadratic, in the form that does not cancel when the line is nearly level.
fn time_of(area: f64, from: f64, to: f64, length: f64) -> f64 {
    let slope = if length > 0.0 {
        (to - from) / length
    } else {
        0.0
    };
    let root = (from * from + 2.0 * slope * area).max(0.0).sqrt();
    2.0 * area / (from + root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ramp(start: u64, unit_us: u64, stages: &[(u64, u64)]) -> Arrivals {
        let stage = |(seconds, target): &(u64, u64)| Stage {
            duration_us: seconds * 1_000_000,
            target: *target,
        };
        let executor = Executor::RampingArrivalRate {
            start,
            unit_us,
            stages: stages.iter().map(stage).collect(),
            vus: 1,
            vus_max: 1,
        };
        Arrivals::of(&executor).expect("it has arrivals")
    }

    #[test]
    fn k6s_documented_constant_rate_is_30_a_second() {
        let executor = Executor::ConstantArrivalRate {
            rate: 30,
            unit_us: 1_000_000,
            duration_us: 30_000_000,
            vus: 2,
            vus_max: 50,
        };
        let mut arrivals = Arrivals::of(&executor).expect("it has arrivals");
        let all = arrivals.until(u64::MAX);
        assert_eq!(
            (all.len(), all[0], all[1], all[30]),
            (900, 0, 33_333, 1_000_000)
        );
    }

    #[test]
    fn k6s_documented_ramp_of_rates() {
        // startRate 300 a minute; 1m at 300, 2m to 600, 4m at 600, 2m down to 60.
        let stages = [(60, 300), (120, 600), (240, 600), (120, 60)];
        let all = ramp(300, 60_000_000, &stages).until(u64::MAX);
        assert_eq!(all.len(), 300 + 900 + 2400 + 660);
        // At 5 a second, the first after 200 ms as k6 has it.
        assert_eq!((all[0], all[4]), (200_000, 1_000_000));
    }

    #[test]
    fn a_ramp_from_zero_follows_the_square_root() {
        let all = ramp(0, 1_000_000, &[(10, 10)]).until(u64::MAX);
        assert_eq!(all.len(), 50);
        for (place, at) in all.iter().enumerate() {
            let seconds = (2.0 * (place + 1) as f64).sqrt();
            assert!((*at as f64 - seconds * 1e6).abs() <= 1.0);
        }
    }

    proptest! {
        #[test]
        fn the_area_is_what_arrives(
            start in 0u64..500,
            unit_ms in 100u64..100_000,
            stages in proptest::collection::vec((0u64..60, 0u64..500), 1..6),
            step_ms in 1u64..5_000,
        ) {
            let (mut area, mut from) = (0.0, start as f64);
            for (seconds, target) in &stages {
                area += (from + *target as f64) / 2.0 * *seconds as f64 * 1000.0 / unit_ms as f64;
                from = *target as f64;
            }
            let whole = ramp(start, unit_ms * 1000, &stages).until(u64::MAX);
            prop_assert!((whole.len() as f64 - area).abs() <= 1.0, "{} of {area}", whole.len());
            prop_assert!(whole.is_sorted());
            let mut piecemeal = ramp(start, unit_ms * 1000, &stages);
            let mut parts = Vec::new();
            for step in 1..=400_000 / step_ms {
                parts.extend(piecemeal.until(step * step_ms * 1000));
            }
            parts.extend(piecemeal.until(u64::MAX));
            prop_assert_eq!(parts, whole);
        }
    }
}
