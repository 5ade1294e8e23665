//! From raw readings to windows. A window is a pure function of two readings, so what is shown
//! live equals what a replay gives, and a lost reading costs resolution, never totals.
//! Counters that go backwards, and readings that come late or twice, count as nothing happening.

use std::collections::VecDeque;

use cohort_model::{At, HostSample, InstanceSample};

/// Readings kept of one instance.
const READINGS_MAX: usize = 32;

/// What is kept of one reading: the counters that windows need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// When.
    pub at: At,
    /// CPU used, microseconds.
    pub cpu_us: u64,
    /// Held back by a CPU limit, microseconds.
    pub throttled_us: u64,
    /// Some task waited for CPU, microseconds.
    pub cpu_pressure_us: u64,
    /// Some task waited for memory, microseconds.
    pub memory_pressure_us: u64,
    /// Bytes read, written, received and sent.
    pub moved: u64,
    /// Anonymous memory, bytes.
    pub memory_anon: u64,
    /// Kernel tasks.
    pub tasks: u32,
}

impl Reading {
    /// What is kept of `sample`.
    #[must_use]
    pub fn of(at: At, sample: &InstanceSample) -> Reading {
        let net = [sample.net_received, sample.net_sent].into_iter().flatten();
        let moved = [sample.io_read, sample.io_written].into_iter().chain(net);
        Reading {
            at,
            cpu_us: sample.cpu_us,
            throttled_us: sample.throttled_us,
            cpu_pressure_us: sample.cpu_pressure_us,
            memory_pressure_us: sample.memory_pressure_us,
            moved: moved.fold(0, u64::saturating_add),
            memory_anon: sample.memory_anon,
            tasks: sample.tasks,
        }
    }

    /// Whether the host can tell nothing of the instance: no CPU was ever counted in it, and not
    /// even one task. That is no sign that nothing happens.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.cpu_us == 0 && self.tasks == 0
    }
}

/// What happened between two readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Seconds between them.
    pub span_s: f64,
    /// CPU used, cores.
    pub cores: f64,
    /// Share of the time it was held back by a CPU limit, 0 to 1.
    pub throttled: f64,
    /// Share of the time in which some task waited for CPU, 0 to 1.
    pub cpu_pressure: f64,
    /// Share of the time in which some task waited for memory, 0 to 1.
    pub memory_pressure: f64,
    /// Bytes moved to or from storage and network.
    pub moved: u64,
    /// The number of kernel tasks changed.
    pub tasks_changed: bool,
}

/// The window from `earlier` to `later`; none when no time lies between them.
#[must_use]
pub fn window(earlier: &Reading, later: &Reading) -> Option<Window> {
    let span_us = later.at.since(earlier.at);
    if span_us == 0 {
        return None;
    }
    let per_time = |from: u64, to: u64| to.saturating_sub(from) as f64 / span_us as f64;
    let share = |from: u64, to: u64| per_time(from, to).min(1.0);
    Some(Window {
        span_s: span_us as f64 / 1e6,
        cores: per_time(earlier.cpu_us, later.cpu_us),
        throttled: share(earlier.throttled_us, later.throttled_us),
        cpu_pressure: share(earlier.cpu_pressure_us, later.cpu_pressure_us),
        memory_pressure: share(earlier.memory_pressure_us, later.memory_pressure_us),
        moved: later.moved.saturating_sub(earlier.moved),
        tasks_changed: earlier.tasks != later.tasks,
    })
}

/// The latest readings, oldest first: the newest always, the others at least a spacing apart, so
/// that they reach back far enough however often an instance is read.
#[derive(Clone, Debug)]
pub struct Ring {
    readings: VecDeque<Reading>,
    spacing_us: u64,
}

impl Ring {
    /// A ring that reaches back at least `reach_us` microseconds.
    #[must_use]
    pub fn new(reach_us: u64) -> Ring {
        Ring {
            readings: VecDeque::new(),
            spacing_us: reach_us / (READINGS_MAX as u64 - 2) + 1,
        }
    }

    /// Adds a reading; false (and nothing added) when it is not later than the newest.
    pub fn push(&mut self, reading: Reading) -> bool {
        if self.newest().is_some_and(|newest| reading.at <= newest.at) {
            return false;
        }
        let length = self.readings.len();
        let newest_is_near = length >= 2
            && self.readings[length - 1]
                .at
                .since(self.readings[length - 2].at)
                < self.spacing_us;
        if newest_is_near {
            self.readings.pop_back();
        } else if length == READINGS_MAX {
            self.readings.pop_front();
        }
        self.readings.push_back(reading);
        true
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.readings.clear();
    }

    /// The newest reading.
    #[must_use]
    pub fn newest(&self) -> Option<&Reading> {
        self.readings.back()
    }

    /// The shortest window up to now that spans at least `us`; none when it does not reach back
    /// that far.
    #[must_use]
    pub fn last(&self, us: u64) -> Option<Window> {
        let newest = self.newest()?;
        let earlier = self
            .readings
            .iter()
            .rev()
            .find(|r| newest.at.since(r.at) >= us)?;
        window(earlier, newest)
    }

    /// Like [`Ring::last`], or all there is when that is less.
    #[must_use]
    pub fn last_or_all(&self, us: u64) -> Option<Window> {
        self.last(us)
            .or_else(|| window(self.readings.front()?, self.newest()?))
    }
}

/// The latest readings of the host, as those of an instance that uses what anyone uses.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    ring: Ring,
    cores: f64,
}

impl Host {
    pub(crate) fn new(reach_us: u64, cores: f64) -> Host {
        Host {
            ring: Ring::new(reach_us),
            cores,
        }
    }

    pub(crate) fn observe(&mut self, at: At, sample: &HostSample) {
        self.ring.push(Reading {
            at,
            cpu_us: sample.busy_us,
            ..Reading::default()
        });
    }

    /// Cores that nobody used over the last `us` microseconds; none before they were seen.
    pub(crate) fn idle_cores(&self, us: u64) -> Option<f64> {
        self.ring
            .last(us)
            .map(|window| (self.cores - window.cores).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: u64, cpu_us: u64) -> Reading {
        Reading {
            at: At(at),
            cpu_us,
            ..Reading::default()
        }
    }

    #[test]
    fn a_window_is_the_difference_of_two_readings() {
        let w = window(&reading(1_000_000, 500_000), &reading(1_500_000, 750_000)).unwrap();
        assert!((w.cores - 0.5).abs() < 1e-9 && (w.span_s - 0.5).abs() < 1e-9);
    }

    #[test]
    fn no_time_no_window_and_no_negative_use() {
        assert_eq!(window(&reading(5, 0), &reading(5, 9)), None);
        assert_eq!(window(&reading(9, 0), &reading(5, 9)), None);
        assert!(window(&reading(5, 9), &reading(9, 0)).unwrap().cores.abs() < 1e-9);
    }

    #[test]
    fn the_ring_reaches_back_at_any_rate() {
        for step_us in [1, 100, 1_000, 10_000, 100_000, 400_000] {
            let mut ring = Ring::new(1_000_000);
            for at in (0..4_000_000 / step_us).map(|n| n * step_us) {
                assert!(ring.push(reading(at, at / 2)));
            }
            assert!(ring.readings.len() <= READINGS_MAX);
            let w = ring.last(1_000_000).unwrap();
            assert!(
                w.span_s >= 1.0 && w.span_s <= 1.5,
                "{step_us}: {}",
                w.span_s
            );
            assert!((w.cores - 0.5).abs() < 1e-3, "{step_us}: {}", w.cores);
        }
    }

    #[test]
    fn late_readings_are_refused() {
        let mut ring = Ring::new(1_000_000);
        assert!(ring.push(reading(10, 0)));
        assert!(!ring.push(reading(10, 5)) && !ring.push(reading(9, 5)));
    }
}
