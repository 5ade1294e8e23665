//! How much CPU is free: what the campaign was measured to use, corrected for what that measurement
//! cannot know yet (threads that have just started, threads that have just ended).

use std::collections::VecDeque;

use cohort_model::{At, HostSample};

/// Length of the window over which use is measured, microseconds: two to three host samples.
const WINDOW_US: u64 = 120_000;
/// With more than this share of time in which something waited for CPU, there is no room at all.
const PRESSURE_MAX: f64 = 0.6;

/// Threads that run whatever is measured: one a core, at least one.
#[must_use]
pub fn lanes_always(cores: f64) -> u32 {
    cores.round().max(1.0) as u32
}

/// CPU that is free for more threads.
#[derive(Clone, Debug)]
pub struct CpuRoom {
    cores: f64,
    samples: VecDeque<(At, HostSample)>,
    ended: Vec<(At, f64)>,
}

impl CpuRoom {
    /// For a budget of `cores`.
    #[must_use]
    pub fn new(cores: f64) -> Self {
        Self {
            cores,
            samples: VecDeque::new(),
            ended: Vec::new(),
        }
    }

    /// Takes a reading of the host in. Readings that are not newer than the last are ignored.
    pub fn observe(&mut self, at: At, host: HostSample) {
        if self.samples.back().is_some_and(|&(last, _)| last >= at) {
            return;
        }
        self.samples.push_back((at, host));
        while self.samples.len() > 2 && at.since(self.samples[1].0) >= WINDOW_US {
            self.samples.pop_front();
        }
        let start = self.window_start();
        self.ended.retain(|&(end, _)| end > start);
    }

    /// A thread that used `cores` ended: what the window still shows of it is free.
    pub fn thread_ended(&mut self, at: At, cores: f64) {
        self.ended.push((at, cores.clamp(0.0, self.cores)));
    }

    /// When the present window began; a thread that started later is not in the measurement yet.
    #[must_use]
    pub fn window_start(&self) -> At {
        self.samples.front().map_or(At(0), |&(at, _)| at)
    }

    /// Cores that are free, when `young` cores are expected of threads that the window does not show.
    /// Zero under CPU pressure. `None` before there is a window.
    #[must_use]
    pub fn free_cores(&self, young: f64) -> Option<f64> {
        let (&(from, first), &(to, last)) = (self.samples.front()?, self.samples.back()?);
        let window_us = to.since(from);
        if window_us == 0 {
            return None;
        }
        let share = |new: u64, old: u64| new.saturating_sub(old) as f64 / window_us as f64;
        let ours = share(last.campaign_cpu_us, first.campaign_cpu_us);
        let all = share(last.busy_us, first.busy_us);
        if share(last.cpu_pressure_us, first.cpu_pressure_us) > PRESSURE_MAX {
            return Some(0.0);
        }
        // An end takes out the part of the window in which the thread still ran.
        let gone: f64 = self
            .ended
            .iter()
            .map(|&(end, cores)| cores * end.since(from).min(window_us) as f64 / window_us as f64)
            .sum();
        let others = (all - ours).max(0.0);
        let used = (ours - gone).max(0.0) + young;
        Some((self.cores - others - used).clamp(0.0, self.cores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(busy_us: u64, campaign_cpu_us: u64, cpu_pressure_us: u64) -> HostSample {
        HostSample {
            busy_us,
            campaign_cpu_us,
            cpu_pressure_us,
            ..HostSample::default()
        }
    }

    fn room(samples: &[(u64, HostSample)]) -> CpuRoom {
        let mut room = CpuRoom::new(2.0);
        for &(at, host) in samples {
            room.observe(At(at), host);
        }
        room
    }

    #[test]
    fn nothing_is_known_before_two_samples() {
        assert_eq!(room(&[]).free_cores(0.0), None);
        assert_eq!(room(&[(50_000, sample(0, 0, 0))]).free_cores(0.0), None);
    }

    #[test]
    fn what_is_used_by_us_by_others_and_by_the_young_is_not_free() {
        let room = room(&[(0, sample(0, 0, 0)), (100_000, sample(80_000, 50_000, 0))]);
        let free = room.free_cores(0.5).unwrap();
        assert!((free - (2.0 - 0.5 - 0.3 - 0.5)).abs() < 1e-9, "{free}");
    }

    #[test]
    fn an_ended_thread_gives_back_what_the_window_shows_of_it() {
        let mut room = room(&[(0, sample(0, 0, 0)), (100_000, sample(200_000, 200_000, 0))]);
        assert_eq!(room.free_cores(0.0), Some(0.0));
        room.thread_ended(At(110_000), 1.0);
        assert_eq!(room.free_cores(0.0), Some(1.0));
        for at in 2..6 {
            room.observe(At(at * 100_000), sample(at * 200_000, at * 200_000, 0));
        }
        assert_eq!(room.free_cores(0.0), Some(0.0));
    }

    #[test]
    fn under_pressure_there_is_no_room() {
        let room = room(&[(0, sample(0, 0, 0)), (100_000, sample(0, 0, 80_000))]);
        assert_eq!(room.free_cores(0.0), Some(0.0));
    }
}
