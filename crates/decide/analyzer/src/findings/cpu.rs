//! CPU saturation and waiting.

use crate::findings::{Judgement, confidence, measured};
use crate::windows::Window;

/// Use per expected core from which on it is saturated, and below which it no longer is.
const SATURATED: (f64, f64) = (0.9, 0.7);
/// Share of time held back, or made to wait for CPU, from which on it is saturated; and the end.
const HELD_BACK: (f64, f64) = (0.5, 0.25);
/// Below this use it is no want of CPU, whatever the pressure says. Cores.
const USE_MIN: f64 = 0.05;
/// Use below which it waits, and above which it no longer does. Cores.
const WAITING: (f64, f64) = (0.1, 0.2);
/// Idle CPU on the host that waiting supposes. Cores.
const IDLE_MIN: f64 = 0.25;

/// `lanes`: cores that the thread is expected to use.
pub(crate) fn saturation(window: &Window, lanes: f64) -> Judgement {
    let per_lane = window.cores / lanes;
    let held_back = window.throttled.max(window.cpu_pressure);
    let full = per_lane >= SATURATED.0;
    let starved = held_back >= HELD_BACK.0 && window.cores >= USE_MIN;
    if full || starved {
        let by_use = confidence(per_lane, SATURATED.0, 1.0);
        let by_pressure = confidence(held_back, HELD_BACK.0, 1.0);
        let sure = match (full, starved) {
            (true, true) => by_use.max(by_pressure),
            (true, false) => by_use,
            _ => by_pressure,
        };
        return Judgement::Begins(
            sure,
            vec![
                measured("cpu used", window.cores, "cores"),
                measured("cpu expected", lanes, "cores"),
                measured("waited for cpu", window.cpu_pressure, "share of time"),
                measured("held back by a limit", window.throttled, "share of time"),
                measured("over", window.span_s, "s"),
            ],
        );
    }
    let ended = per_lane < SATURATED.1 && (held_back < HELD_BACK.1 || window.cores < USE_MIN);
    if ended {
        Judgement::Ends
    } else {
        Judgement::Stays
    }
}

/// `idle_cores`: what nobody on the host used meanwhile.
pub(crate) fn waiting(window: &Window, idle_cores: f64) -> Judgement {
    if window.cores >= WAITING.1 || window.cpu_pressure >= HELD_BACK.0 {
        return Judgement::Ends;
    }
    if window.cores >= WAITING.0 || idle_cores < IDLE_MIN || window.cpu_pressure >= HELD_BACK.1 {
        return Judgement::Stays;
    }
    Judgement::Begins(
        confidence(WAITING.0 - window.cores, 0.0, WAITING.0),
        vec![
            measured("cpu used", window.cores, "cores"),
            measured("idle on the host", idle_cores, "cores"),
            measured("waited for cpu", window.cpu_pressure, "share of time"),
            measured("over", window.span_s, "s"),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(cores: f64, cpu_pressure: f64) -> Window {
        Window {
            span_s: 1.0,
            cores,
            throttled: 0.0,
            cpu_pressure,
            memory_pressure: 0.0,
            moved: 0,
            tasks_changed: false,
        }
    }

    fn begins(judgement: &Judgement) -> bool {
        matches!(judgement, Judgement::Begins(..))
    }

    #[test]
    fn saturated_by_use_or_by_pressure() {
        assert!(begins(&saturation(&window(0.95, 0.0), 1.0)));
        assert!(begins(&saturation(&window(0.4, 0.6), 1.0)));
        assert_eq!(saturation(&window(0.95, 0.0), 2.0), Judgement::Ends);
        assert_eq!(saturation(&window(0.8, 0.0), 1.0), Judgement::Stays);
        assert_eq!(
            saturation(&window(0.01, 0.9), 1.0),
            Judgement::Ends,
            "it hardly wants any"
        );
    }

    #[test]
    fn waiting_supposes_idle_cpu_and_no_pressure() {
        assert!(begins(&waiting(&window(0.01, 0.0), 1.5)));
        assert_eq!(waiting(&window(0.01, 0.0), 0.0), Judgement::Stays);
        assert_eq!(waiting(&window(0.01, 0.9), 1.0), Judgement::Ends);
        assert_eq!(waiting(&window(0.3, 0.0), 1.0), Judgement::Ends);
    }
}
