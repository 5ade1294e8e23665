//! How much CPU is free: what the campaign was measured to use over a short window, in which threads
//! that have ended meanwhile count for nothing, and those that began meanwhile as if they had been
//! there all the time.
//!
//! ```text
//!             window            now
//!        |-----------------------|
//!   old  ######################### measured
//!   ended  ########              | measured, and taken out again
//!   young             ############ measured in part, counted in whole
//! ```

use std::collections::VecDeque;

use cohort_model::{At, HostSample};

/// Length of the window over which use is measured, microseconds: two to three host samples.
const WINDOW_US: u64 = 120_000;

/// What other programs use is not free, but no more than this part of the cores is left to them: the
/// scheduler gives us our share when we ask for it.
const OTHERS_PART: f64 = 0.5;

/// Threads that run whatever is measured: one a core, at least one.
#[must_use]
pub fn lanes_always(cores: f64) -> u32 {
    cores.round().max(1.0) as u32
}

/// A thread as the window sees it: when it ran, and how many cores it used meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stay {
    /// When it began.
    pub from: At,
    /// When it ended; none while it runs.
    pub to: Option<At>,
    /// Cores that it was seen using; none when that is not known yet.
    pub seen: Option<f64>,
    /// Cores that it was expected to use.
    pub expected: f64,
}

impl Stay {
    /// Part of the window in which it was there, 0 to 1.
    fn part(&self, from: At, to: At) -> f64 {
        let end = self.to.map_or(to, |end| end.min(to));
        end.since(self.from.max(from)) as f64 / to.since(from).max(1) as f64
    }

    /// Cores that it adds to what is measured in the window.
    fn measured(&self, from: At, to: At) -> f64 {
        self.seen.unwrap_or(0.0) * self.part(from, to)
    }

    /// Cores that it is taken to use now.
    fn load(&self) -> f64 {
        match self.to {
            Some(_) => 0.0,
            None => self.seen.unwrap_or(self.expected),
        }
    }
}

/// Cores that are free; below zero when more is wanted than there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Free {
    /// Beside what is used.
    pub unused: f64,
    /// Beside what is wanted: also what waits for a CPU now will use one.
    pub unwanted: f64,
}

/// CPU that is free for more threads.
#[derive(Clone, Debug)]
pub struct CpuRoom {
    cores: f64,
    samples: VecDeque<(At, HostSample)>,
    ended: Vec<Stay>,
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
        self.ended.retain(|stay| stay.to > Some(start));
    }

    /// A thread ended that ran since `from` and used `cores`: what the window still shows of it is
    /// free.
    pub fn thread_ended(&mut self, from: At, to: At, cores: f64) {
        let cores = cores.clamp(0.0, self.cores);
        self.ended.push(Stay {
            from,
            to: Some(to),
            seen: Some(cores),
            expected: cores,
        });
    }

    /// When the present window began; a thread that started later is young.
    #[must_use]
    pub fn window_start(&self) -> At {
        self.samples.front().map_or(At(0), |&(at, _)| at)
    }

    /// Cores that are free, beside the threads that are `young`. `None` before there is a window.
    #[must_use]
    pub fn free_cores(&self, young: impl Iterator<Item = Stay>) -> Option<Free> {
        let (&(from, first), &(to, last)) = (self.samples.front()?, self.samples.back()?);
        let window_us = to.since(from);
        if window_us == 0 {
            return None;
        }
        let share = |new: u64, old: u64| new.saturating_sub(old) as f64 / window_us as f64;
        let all = share(last.busy_us, first.busy_us);
        let ours = match last.campaign_cpu_us {
            // Without control groups nobody tells ours apart.
            0 => all,
            now => share(now, first.campaign_cpu_us),
        };
        let (mut old, mut load) = (ours, 0.0);
        for stay in young.chain(self.ended.iter().copied()) {
            old -= stay.measured(from, to);
            load += stay.load();
        }
        let others = (all - ours).clamp(0.0, self.cores * OTHERS_PART);
        let used = old.max(0.0) + load;
        let unused = self.cores - others - used;
        // While some task waits, at least one more core is wanted.
        let waiting = share(last.cpu_pressure_us, first.cpu_pressure_us).min(1.0);
        Some(Free {
            unused,
            unwanted: unused - waiting,
        })
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

    fn free(room: &CpuRoom, young: &[Stay]) -> Option<f64> {
        let free = room.free_cores(young.iter().copied());
        free.map(|free| free.unused)
    }

    fn young(from: u64, seen: Option<f64>) -> Stay {
        Stay {
            from: At(from),
            to: None,
            seen,
            expected: 0.5,
        }
    }

    #[test]
    fn nothing_is_known_before_two_samples() {
        assert_eq!(free(&room(&[]), &[]), None);
        assert_eq!(free(&room(&[(50_000, sample(0, 0, 0))]), &[]), None);
    }

    #[test]
    fn what_is_used_by_us_by_others_and_by_the_young_is_not_free() {
        let room = room(&[(0, sample(0, 0, 0)), (100_000, sample(80_000, 50_000, 0))]);
        let left = |young: &[Stay]| free(&room, young).unwrap();
        assert!((left(&[]) - (2.0 - 0.5 - 0.3)).abs() < 1e-9);
        assert!((left(&[young(90_000, None)]) - (2.0 - 0.5 - 0.3 - 0.5)).abs() < 1e-9);
        // Half of what it uses is in the measurement already.
        assert!((left(&[young(50_000, Some(0.4))]) - (2.0 - 0.5 - 0.3 - 0.2)).abs() < 1e-9);
    }

    #[test]
    fn what_nobody_tells_apart_is_ours() {
        let room = room(&[(0, sample(0, 0, 0)), (100_000, sample(200_000, 0, 0))]);
        assert_eq!(free(&room, &[]), Some(0.0));
    }

    #[test]
    fn others_cannot_take_it_all() {
        let room = room(&[(0, sample(0, 0, 0)), (100_000, sample(200_000, 20_000, 0))]);
        assert_eq!(free(&room, &[]), Some(2.0 - 1.0 - 0.2));
    }

    #[test]
    fn an_ended_thread_gives_back_what_the_window_shows_of_it() {
        let mut room = room(&[(0, sample(0, 0, 0)), (100_000, sample(200_000, 200_000, 0))]);
        assert_eq!(free(&room, &[]), Some(0.0));
        assert_eq!(free(&room, &[young(100_000, None)]), Some(-0.5));
        room.thread_ended(At(0), At(110_000), 1.0);
        assert_eq!(free(&room, &[]), Some(1.0));
        for at in 2..6 {
            room.observe(At(at * 100_000), sample(at * 200_000, at * 200_000, 0));
        }
        assert_eq!(free(&room, &[]), Some(0.0));
    }

    #[test]
    fn short_threads_give_back_no_more_than_they_used() {
        let mut room = room(&[(0, sample(0, 0, 0)), (100_000, sample(200_000, 200_000, 0))]);
        for start in 0..10 {
            room.thread_ended(At(start * 10_000), At((start + 1) * 10_000), 1.0);
        }
        let left = free(&room, &[young(100_000, None)]).unwrap();
        assert!((left - 0.5).abs() < 1e-9, "{left}");
    }

    #[test]
    fn what_waits_for_a_cpu_wants_one() {
        let room = room(&[(0, sample(0, 0, 0)), (100_000, sample(0, 0, 80_000))]);
        let free = room.free_cores(std::iter::empty()).unwrap();
        assert!((free.unused - 2.0).abs() < 1e-9 && (free.unwanted - 1.2).abs() < 1e-9);
    }
}
