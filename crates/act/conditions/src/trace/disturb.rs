//! Scheduling disturbance: which thread is paused when, for how long, and which runs in slow motion.
//!
//! What is done to a thread:
//!
//! - *held at its birth*, alone or until others that are born meanwhile may start with it, so that
//!   those that usually follow each other overlap;
//! - *interrupted* at random times, more often when it is young: tests begin their races early;
//! - *watched*: stopped at the beginnings and ends of its next system calls, some of which it is held
//!   at. Races between processes, and those over files, have their windows there;
//! - in *slow motion*: one instruction at a time, about a thousand times slower than the others. A window of
//!   one instruction between a load and a store then is as long as all that another thread does.
//!
//! How long is drawn across orders of magnitude, as it is not known how wide a window is (the analysis
//! behind rr's chaos mode: R. O'Callahan, "Deeper into chaos", 2016). Each run has a *profile* of its own,
//! which leaves some of these out altogether: random subsets find more than everything at once (Groce et al.,
//! "Swarm testing", ISSTA 2012).
//!
//! Promise: the time in which any thread is paused stays below [`SHARE`] of the time that the program
//! runs, and [`CREDIT_FIRST_US`]. A program of one thread, and one that is alone, is not disturbed.

use std::time::{Duration, Instant};

use crate::random::Random;

/// Of a program's time it may be disturbed for so much.
const SHARE: f64 = 0.12;
/// And for so much at first, microseconds: a short test would not be disturbed otherwise.
const CREDIT_FIRST_US: f64 = 40_000.0;
/// What was not used is not kept beyond this, microseconds.
const CREDIT_MAX_US: f64 = 60_000.0;
/// Shortest pause, microseconds: what stopping and going on takes anyway.
const PAUSE_MIN_US: f64 = 30.0;
/// What a stop costs that is not a pause, microseconds.
const STOP_US: f64 = 12.0;

/// What each instruction of slow motion costs, microseconds.
const STEP_US: f64 = 8.0;

/// How a thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As it does.
    Free,
    /// Stopped at so many more beginnings and ends of system calls.
    Watched(u32),
    /// For so many more instructions one at a time.
    Slow(u32),
}

/// What happens to a thread that was just born.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    /// It is held so long.
    pub(crate) hold: Duration,
    /// How it then runs.
    pub(crate) pace: Pace,
    /// When it is interrupted, counted from when it runs.
    pub(crate) interrupts: Vec<Duration>,
}

/// What this run does, and how much.
#[derive(Clone, Copy, Debug)]
struct Profile {
    /// Share of births that are held.
    hold: f64,
    /// Those that are born while others are held start together.
    together: bool,
    /// Longest pause, microseconds.
    pause_max_us: f64,
    /// Share of watched stops at which it is held.
    pause_at_calls: f64,
    /// Share of occasions at which slow motion begins.
    slow: f64,
    /// Longest slow motion, instructions.
    steps_max: f64,
    /// Interrupts of a young thread.
    early: u64,
    /// Latest of those, microseconds.
    early_max_us: f64,
    /// Mean time between interrupts of any thread, microseconds.
    between_us: f64,
}

/// State of the disturbance of one run.
#[derive(Debug)]
pub(crate) struct Disturbance {
    random: Random,
    profile: Profile,
    credit_us: f64,
    counted: Instant,
    /// Threads that are held now, and since when there is one.
    busy: u32,
    busy_since: Instant,
    paused: Duration,
    /// When the next interrupt is due.
    pub(crate) next: Instant,
    /// Until when those that are born now are held, if they start together.
    gathering: Option<Instant>,
}

impl Disturbance {
    pub(crate) fn new(seed: u64, now: Instant) -> Disturbance {
        let mut random = Random::new(seed);
        let profile = Profile::drawn(&mut random);
        let mut this = Disturbance {
            random,
            profile,
            credit_us: CREDIT_FIRST_US,
            counted: now,
            busy: 0,
            busy_since: now,
            paused: Duration::ZERO,
            next: now,
            gathering: None,
        };
        this.draw_next(now);
        this
    }

    /// How long any thread was paused so far.
    pub(crate) fn paused(&self) -> Duration {
        self.paused
    }

    /// What happens to a thread that was just born.
    pub(crate) fn birth(&mut self, now: Instant) -> Birth {
        let profile = self.profile;
        let mut hold = Duration::ZERO;
        if self.random.chance(profile.hold) {
            hold = self.pause(now);
            if profile.together {
                let until = self.gathering.filter(|until| *until > now);
                let until = *self.gathering.insert(until.unwrap_or(now + hold));
                hold = until.saturating_duration_since(now);
            }
        }
        let count = self.random.below(profile.early + 1);
        let mut interrupts: Vec<Duration> = (0..count)
            .map(|_| us(self.random.across(5.0, profile.early_max_us)))
            .collect();
        interrupts.sort_unstable();
        Birth {
            hold,
            pace: self.pace(now),
            interrupts,
        }
    }

    /// How a thread goes on after it was stopped for disturbance.
    pub(crate) fn pace(&mut self, now: Instant) -> Pace {
        if self.left(now) < PAUSE_MIN_US {
            return Pace::Free;
        }
        if self.random.chance(self.profile.slow) {
            return self.slow();
        }
        if self.profile.pause_at_calls > 0.0 {
            return Pace::Watched(small(self.random.across(2.0, 60.0)));
        }
        Pace::Free
    }

    /// A watched thread has stopped at a call: how long it is held, and how it goes on.
    pub(crate) fn at_call(&mut self, now: Instant, watched: u32) -> (Duration, Pace) {
        self.credit_us -= STOP_US;
        if self.left(now) < PAUSE_MIN_US || watched == 0 {
            return (Duration::ZERO, Pace::Free);
        }
        let mut pace = Pace::Watched(watched - 1);
        if self.random.chance(self.profile.slow * 0.15) {
            pace = self.slow();
        }
        if self.random.chance(self.profile.pause_at_calls) {
            return (self.pause(now), pace);
        }
        (Duration::ZERO, pace)
    }

    /// A thread in slow motion has run one instruction.
    pub(crate) fn at_step(&mut self, now: Instant, steps: u32) -> (Duration, Pace) {
        self.credit_us -= STEP_US;
        self.paused += us(STEP_US);
        if steps > 0 && (steps % 16 != 0 || self.left(now) > PAUSE_MIN_US) {
            return (Duration::ZERO, Pace::Slow(steps - 1));
        }
        // Where slow motion ends is as good a place as any for a pause.
        let hold = if self.random.chance(0.3) {
            self.pause(now)
        } else {
            Duration::ZERO
        };
        (hold, Pace::Free)
    }

    /// An interrupted thread: how long it is held, and how it goes on.
    pub(crate) fn at_interrupt(&mut self, now: Instant) -> (Duration, Pace) {
        self.credit_us -= STOP_US;
        let hold = if self.random.chance(0.8) {
            self.pause(now)
        } else {
            Duration::ZERO
        };
        (hold, self.pace(now))
    }

    /// Whether there is anything left to disturb with.
    pub(crate) fn may(&mut self, now: Instant) -> bool {
        self.left(now) >= PAUSE_MIN_US
    }

    /// Draws when the next interrupt is due.
    pub(crate) fn draw_next(&mut self, now: Instant) {
        let between = self.random.exponential(self.profile.between_us).max(100.0);
        self.next = now + us(between);
    }

    /// One of these threads.
    pub(crate) fn pick(&mut self, of: &[i32]) -> Option<i32> {
        self.random.pick(of)
    }

    /// A thread begins to be held.
    pub(crate) fn begins(&mut self, now: Instant) {
        if self.busy == 0 {
            self.busy_since = now;
        }
        self.busy += 1;
    }

    /// A thread no longer is.
    pub(crate) fn ends(&mut self, now: Instant) {
        self.busy = self.busy.saturating_sub(1);
        if self.busy == 0 {
            let took = now.saturating_duration_since(self.busy_since);
            self.paused += took;
            self.credit_us -= took.as_secs_f64() * 1e6;
        }
    }

    /// What may still be used, microseconds.
    fn left(&mut self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.counted);
        self.counted = now;
        self.credit_us = (self.credit_us + SHARE * passed.as_secs_f64() * 1e6).min(CREDIT_MAX_US);
        if self.busy == 0 {
            return self.credit_us;
        }
        let busy = now.saturating_duration_since(self.busy_since);
        self.credit_us - busy.as_secs_f64() * 1e6
    }

    fn pause(&mut self, now: Instant) -> Duration {
        let left = self.left(now);
        if left < PAUSE_MIN_US {
            return Duration::ZERO;
        }
        let pause = (self.random).across(PAUSE_MIN_US, self.profile.pause_max_us);
        us(pause.min(left))
    }

    fn slow(&mut self) -> Pace {
        Pace::Slow(small(self.random.across(8.0, self.profile.steps_max)))
    }
}

impl Profile {
    fn drawn(random: &mut Random) -> Profile {
        let mut of = |values: &[f64]| random.pick(values).unwrap_or_default();
        Profile {
            hold: of(&[0.0, 0.4, 0.8]),
            together: of(&[0.0, 1.0]) > 0.5,
            pause_max_us: of(&[500.0, 3_000.0, 12_000.0, 20_000.0]),
            pause_at_calls: of(&[0.0, 0.05, 0.15, 0.4]),
            slow: of(&[0.0, 0.3, 0.7]),
            steps_max: of(&[100.0, 600.0, 3_000.0]),
            early: if of(&[0.0, 1.0]) > 0.5 { 3 } else { 1 },
            early_max_us: of(&[100.0, 1_000.0, 10_000.0]),
            between_us: of(&[700.0, 2_000.0, 6_000.0]),
        }
    }
}

fn us(microseconds: f64) -> Duration {
    Duration::from_secs_f64(microseconds.max(0.0) / 1e6)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "drawn from a range of small positive numbers"
)]
fn small(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_disturbed_than_was_promised() {
        for seed in 0..200 {
            let begin = Instant::now();
            let mut now = begin;
            let mut disturbance = Disturbance::new(seed, now);
            let end = begin + Duration::from_secs(2);
            while now < end {
                let (hold, _) = disturbance.at_interrupt(now);
                disturbance.begins(now);
                now += hold;
                disturbance.ends(now);
                now += Duration::from_micros(50);
            }
            let paused = disturbance.paused().as_secs_f64();
            let ran = (now - begin).as_secs_f64();
            assert!(paused <= SHARE * ran + 0.041, "{seed}: {paused} of {ran}");
        }
    }

    #[test]
    fn seeds_differ_in_what_they_do() {
        let now = Instant::now();
        let profiles: std::collections::BTreeSet<String> = (0..100)
            .map(|seed| format!("{:?}", Disturbance::new(seed, now).profile))
            .collect();
        assert!(profiles.len() > 80);
    }
}
