//! When each thread of a ramp runs.
//!
//! As k6's `ramping-vus`: going up from `a` to `b` threads, thread number `k` comes when the straight
//! line has reached `k`; going down, the one that makes it `k` leaves when the line has reached `k`.

use crate::options::Stage;

/// From when until when a thread runs, microseconds after the scenario's start.
pub(crate) type Window = (u64, u64);

/// By thread, its windows, ascending.
pub(crate) fn windows(start: u64, stages: &[Stage], most: u64) -> Vec<Vec<Window>> {
    let mut windows: Vec<Vec<Window>> = vec![Vec::new(); most as usize];
    let mut since = vec![0; most as usize];
    let mut now = start;
    for (at, count) in steps(start, stages) {
        for slot in now..count {
            since[slot as usize] = at;
        }
        for slot in count..now {
            close(&mut windows[slot as usize], since[slot as usize], at);
        }
        now = count;
    }
    let end = stages.iter().map(|stage| stage.duration_us).sum();
    for slot in 0..now {
        close(&mut windows[slot as usize], since[slot as usize], end);
    }
    windows
}

/// Windows that touch are one.
fn close(windows: &mut Vec<Window>, since: u64, until: u64) {
    match windows.last_mut() {
        _ if since >= until => {}
        Some(last) if last.1 == since => last.1 = until,
        _ => windows.push((since, until)),
    }
}

/// When the number of threads becomes what.
pub(crate) fn steps(start: u64, stages: &[Stage]) -> Vec<(u64, u64)> {
    let mut steps = Vec::new();
    let (mut from, mut end) = (start, 0);
    for stage in stages {
        let (target, duration) = (stage.target, stage.duration_us);
        end += duration;
        let difference = target.abs_diff(from);
        let before_end = |left: u64| {
            let part = u128::from(duration) * u128::from(left) / u128::from(difference.max(1));
            end - part as u64
        };
        if duration == 0 && difference > 0 {
            steps.push((end, target));
        } else if target > from {
            steps.extend((from + 1..=target).map(|count| (before_end(target - count), count)));
        } else {
            let down = (target..from).rev();
            steps.extend(down.map(|count| (before_end(count - target), count)));
        }
        from = target;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(seconds: u64, target: u64) -> Stage {
        Stage {
            duration_us: seconds * 1_000_000,
            target,
        }
    }

    #[test]
    fn a_ramp_up_and_down_is_k6s() {
        let steps = steps(0, &[stage(10, 10), stage(5, 10), stage(10, 0)]);
        let up = (1..=10).map(|count| (count * 1_000_000, count));
        let down = (1..=10).map(|gone| ((15 + gone) * 1_000_000, 10 - gone));
        assert_eq!(steps, up.chain(down).collect::<Vec<_>>());
    }

    #[test]
    fn a_stage_of_no_length_jumps() {
        assert_eq!(
            steps(1, &[stage(3, 1), stage(0, 5), stage(2, 5)]),
            [(3_000_000, 5)]
        );
    }

    #[test]
    fn threads_come_back_and_windows_that_touch_are_one() {
        let stages = [stage(2, 2), stage(2, 0), stage(2, 2)];
        let (s, all) = (1_000_000, windows(0, &stages, 2));
        // k6 has the second thread leave one step after the peak: 2 at 2 s, 1 at 3 s, 0 at 4 s.
        assert_eq!(
            all,
            [vec![(s, 4 * s), (5 * s, 6 * s)], vec![(2 * s, 3 * s)]]
        );
    }
}
