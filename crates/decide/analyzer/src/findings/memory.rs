//! Memory pressure and memory leaks.

use crate::findings::{Judgement, confidence, confidence_of_chance, measured};
use crate::growth::Growth;
use crate::leak::{self, Rule};
use crate::windows::Window;

/// Anonymous memory as a share of the limit: begins, ends.
const FULL: (f64, f64) = (0.9, 0.85);
/// Share of the time in which some task waited for memory: begins, ends.
const RECLAIMING: (f64, f64) = (0.1, 0.05);
/// Growth below this is not worth a word, bytes and share of the level it grew from.
const RISE_MIN: (f64, f64) = (16.0 * 1_048_576.0, 0.05);

/// `limit` of zero or `u64::MAX`: none. `window`: when there is one.
pub(crate) fn pressure(anon: u64, limit: u64, window: Option<&Window>) -> Judgement {
    let share = if limit == 0 || limit == u64::MAX {
        0.0
    } else {
        anon as f64 / limit as f64
    };
    let reclaiming = window.map_or(0.0, |w| w.memory_pressure);
    let (full, slow) = (share >= FULL.0, reclaiming > RECLAIMING.0);
    if full || slow {
        let by_share = if full {
            confidence(share, FULL.0, 1.0)
        } else {
            0.0
        };
        let by_time = if slow {
            confidence(reclaiming, RECLAIMING.0, 0.5)
        } else {
            0.0
        };
        return Judgement::Begins(
            by_share.max(by_time),
            vec![
                measured("anonymous memory", anon as f64, "bytes"),
                measured("limit", limit as f64, "bytes"),
                measured("waited for memory", reclaiming, "share of time"),
            ],
        );
    }
    if share < FULL.1 && reclaiming < RECLAIMING.1 {
        Judgement::Ends
    } else {
        Judgement::Stays
    }
}

/// Whether a leak is possible at all: cheap, so that judging is rare.
pub(crate) fn worth_judging(growth: &Growth) -> bool {
    let (rise, from) = growth.rise();
    rise >= RISE_MIN.0 && rise >= RISE_MIN.1 * from
}

pub(crate) fn leak(growth: &Growth, rule: Rule) -> Judgement {
    let (values, step_s) = growth.settled();
    let verdict = leak::judge(values, rule);
    if !verdict.is_leak() {
        return Judgement::Ends;
    }
    let clear = confidence(verdict.score, 0.0, 1.0);
    Judgement::Begins(
        clear.min(confidence_of_chance(verdict.p_value)),
        vec![
            measured(
                "growth",
                verdict.slope_per_sample / step_s.max(1e-6),
                "bytes/s",
            ),
            measured("grown by", growth.rise().0, "bytes"),
            measured("trend by chance", verdict.p_value, "probability"),
            measured(
                "finished growth fits worse by",
                verdict.shape_ratio,
                "times",
            ),
            measured("over", growth.seconds(), "s"),
        ],
    )
}

#[cfg(test)]
mod tests {
    use cohort_model::At;

    use super::*;

    #[test]
    fn full_or_reclaiming() {
        assert!(matches!(pressure(95, 100, None), Judgement::Begins(..)));
        assert_eq!(pressure(87, 100, None), Judgement::Stays);
        assert_eq!(pressure(50, 100, None), Judgement::Ends);
        assert_eq!(pressure(50, 0, None), Judgement::Ends);
        assert_eq!(pressure(50, u64::MAX, None), Judgement::Ends);
    }

    #[test]
    fn steady_growth_is_a_leak_with_its_rate() {
        let mut growth = Growth::new();
        for n in 0..200u64 {
            growth.push(
                At(n * 100_000),
                (50 << 20) + n * (1 << 20) + (n * 7919 % 100_000),
            );
        }
        assert!(worth_judging(&growth));
        let Judgement::Begins(sure, evidence) = leak(&growth, Rule::Shape) else {
            panic!("no leak found")
        };
        assert!(sure > 0.8, "{sure}");
        let rate = evidence[0].value / f64::from(10 << 20);
        assert!((0.9..1.1).contains(&rate), "{rate} of 10 MiB/s");
    }
}
