//! Scheduling disturbance: which thread is paused when, for how long, and which runs in slow motion.
//!
//! In most runs threads run one at a time, as `serial` has it; in the others, and where that does not reach, this is
//! done to a thread:
//!
//! - *held at its birth*, so that those that usually follow each other overlap;
//! - made to *meet* others: held after the so many-th system call of its life, where others that come
//!   there soon go on with it. Threads that do the same work mostly start it after the same number of
//!   calls (those that set a thread up), so that they then do it at the same time, to the instruction;
//! - *interrupted* at random times, more often when it is young: tests begin their races early;
//! - *watched*: stopped at the beginnings and ends of its next system calls, some of which it is held
//!   at. Races between processes, and those over files, have their windows there;
//! - made to *take turns* sooner, where an interpreter has its threads take turns (`CPython`, every 5 ms): one
//!   that waits asks for its turn after microseconds, which it may as well;
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

use super::paces::Profile;
pub(crate) use super::paces::{Birth, Pace, Turn};
use crate::random::Random;

/// Of a program's time it may be disturbed for so much.
const SHARE: f64 = 0.12;
/// And for so much at first, microseconds: a short test would not be disturbed otherwise. With twice as much,
/// races failed no more often in the same time.
const CREDIT_FIRST_US: f64 = 50_000.0;
/// What was not used is not kept beyond this, microseconds.
const CREDIT_MAX_US: f64 = 100_000.0;
/// Threads do not run one at a time for less than this, microseconds.
const PHASE_MIN_US: f64 = 500.0;
/// Nor for less than this when they are no longer young, microseconds.
const PHASE_AGAIN_US: f64 = 4_000.0;
/// So long it counts for as much as it would on an idle host.
const FIRST: Duration = Duration::from_millis(300);
/// Shortest pause, microseconds: what stopping and going on takes anyway.
const PAUSE_MIN_US: f64 = 30.0;
/// What a stop costs that is not a pause, microseconds.
const STOP_US: f64 = 12.0;

/// `CPython` has others take their turn when they have waited for 5 ms (`sys.setswitchinterval`): pauses
/// a little longer than that have it do so right after the pause, microseconds.
const PYTHON_TURN_US: (f64, f64) = (5_100.0, 7_000.0);
/// In slow motion so large a share of instructions is held at, for at most so long, microseconds.
const STALLS: f64 = 0.004;
const STALL_MAX_US: f64 = 600.0;
/// Who does not come to the meeting within so many calls has no such place in its life.
const CALLS_TO_MEETING_MAX: u32 = 24;
/// Others take their turn so many instructions after a system call, at most.
const TURN_STEPS_MAX: f64 = 4_000.0;
/// In an interpreter whose threads take turns, a thread that has woken another one is held so long,
/// microseconds.
const SHORT_HOLD_US: (f64, f64) = (150.0, 1_500.0);
/// There an interrupt comes so long after the end of a call, at the latest, microseconds.
const TURN_LATEST_US: f64 = 250.0;
/// Who has waited for its turn takes it so much later, microseconds.
const TURN_MEETING_US: (f64, f64) = (1_000.0, 20_000.0);
/// Who has let others take their turn is stopped at so many more ends and beginnings of calls.
const WATCHED_AFTER_TURN: u32 = 20;
/// What each instruction of slow motion costs, microseconds.
const STEP_US: f64 = 8.0;

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
    /// Until when those that come to the meeting are held.
    gathering: Option<Instant>,
    /// How many instructions those then run one at a time.
    meeting_steps: u32,
    /// How many have come.
    met: u32,
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
            meeting_steps: 0,
            met: 0,
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
        }
        let interrupts = self.interrupts();
        let mut pace = self.pace(now);
        if let Some((count, _)) = profile.meet_at
            && self.may(now)
        {
            pace = Pace::ToMeeting(count, CALLS_TO_MEETING_MAX);
        }
        Birth {
            hold,
            pace,
            interrupts,
        }
    }

    /// How a thread goes on that has just started another one, and when it is interrupted.
    pub(crate) fn parent(&mut self, now: Instant, takes_turns: bool) -> (Pace, Vec<Duration>) {
        if takes_turns || self.profile.meet_at.is_some() {
            // It is to start the others as soon as it would.
            return (Pace::Free, Vec::new());
        }
        let interrupts = self.interrupts();
        (self.pace(now), interrupts)
    }

    /// When a young thread is interrupted.
    fn interrupts(&mut self) -> Vec<Duration> {
        let count = self.random.below(self.profile.early + 1);
        let latest = self.profile.early_max_us;
        let mut interrupts: Vec<Duration> = (0..count)
            .map(|_| us(self.random.across(5.0, latest)))
            .collect();
        interrupts.sort_unstable();
        interrupts
    }

    /// A thread on its way to a meeting begins a call of this number.
    pub(crate) fn on_the_way(
        &mut self,
        now: Instant,
        (left, calls): (u32, u32),
        number: i64,
    ) -> Pace {
        self.credit_us -= 2.0 * STOP_US;
        if calls == 0 || self.left(now) < PAUSE_MIN_US {
            return self.pace(now);
        }
        let counts = self.profile.meet_at.and_then(|(_, only)| only);
        match (counts.is_none_or(|only| only == number), left) {
            (false, _) => Pace::ToMeeting(left, calls - 1),
            (true, 0 | 1) => Pace::NearMeeting,
            (true, _) => Pace::ToMeeting(left - 1, calls - 1),
        }
    }

    /// A thread has come to the meeting: how long it waits for others, and how it goes on.
    pub(crate) fn at_meeting(&mut self, now: Instant) -> (Duration, Pace) {
        let left = self.left(now);
        if left < PAUSE_MIN_US {
            return (Duration::ZERO, Pace::Free);
        }
        let until = match self.gathering.filter(|until| *until > now) {
            Some(until) => until,
            None => {
                let wait = self
                    .random
                    .across(self.profile.meet_us / 4.0, self.profile.meet_us);
                // The same for all: whoever is let go of earlier would be done before the others.
                let most = self.profile.steps_max;
                self.meeting_steps = small(self.random.across(most / 3.0, most));
                self.met = 0;
                now + us(wait.min(left))
            }
        };
        self.met += 1;
        self.gathering = Some(until);
        let pace = match self.random.below(8) {
            0 => self.pace(now),
            _ => Pace::Meeting(self.meeting_steps),
        };
        (until.saturating_duration_since(now), pace)
    }

    /// How a thread goes on after it was stopped for disturbance.
    pub(crate) fn pace(&mut self, now: Instant) -> Pace {
        if self.left(now) < PAUSE_MIN_US {
            return Pace::Free;
        }
        if self.random.chance(self.profile.slow) {
            return self.slow();
        }
        self.watched(now)
    }

    /// Watched for a while, if this run does anything at calls.
    fn watched(&mut self, now: Instant) -> Pace {
        let does_any = self.profile.pause_at_calls + self.profile.turns > 0.0;
        if !does_any || self.left(now) < PAUSE_MIN_US {
            return Pace::Free;
        }
        Pace::Watched(small(self.random.across(4.0, 100.0)))
    }

    /// How a thread goes on when its meeting is over: nobody else came, mostly there is no point in
    /// slow motion.
    pub(crate) fn after_meeting(&mut self, now: Instant, steps: u32) -> Pace {
        if self.met > 1 || self.random.chance(0.2) {
            return Pace::Slow(steps);
        }
        self.watched(now)
    }

    /// A watched thread of an interpreter whose threads take turns has stopped at the end of a call: what
    /// is done so that others take theirs.
    pub(crate) fn turn_after(&mut self, now: Instant, has_woken: bool) -> Turn {
        self.credit_us -= STOP_US;
        let left = self.left(now);
        if has_woken && left > SHORT_HOLD_US.1 && self.random.chance(self.profile.turn_holds) {
            // Whoever was just woken gets to where it asks for its turn.
            let (low, high) = SHORT_HOLD_US;
            return Turn::Hold(us(self.random.across(low, high)));
        }
        if left > PYTHON_TURN_US.1 && self.random.chance(self.profile.turns * 0.3) {
            return Turn::Interrupt(us(self.random.across(2.0, TURN_LATEST_US)));
        }
        Turn::None
    }

    /// A thread that has waited for its turn, and is about to take it: how long it is held. Those that
    /// come here soon after each other go on together, but for the first thread, which starts the others.
    pub(crate) fn after_wait(&mut self, now: Instant, is_first: bool) -> Duration {
        self.credit_us -= 2.0 * STOP_US;
        let left = self.left(now);
        if is_first || left < PAUSE_MIN_US || !self.random.chance(self.profile.turn_holds) {
            return Duration::ZERO;
        }
        let until = self.gathering.filter(|until| *until > now);
        let (low, high) = TURN_MEETING_US;
        let wait = us(self.random.across(low, high).min(left));
        let until = *self.gathering.insert(until.unwrap_or(now + wait));
        until.saturating_duration_since(now)
    }

    /// A thread waits for its turn: after what time it is to ask for it, if sooner than by itself.
    pub(crate) fn sooner(&mut self) -> Option<Duration> {
        if self.profile.sooner_us < 1.0 {
            return None;
        }
        Some(us(self.random.across(2.0, self.profile.sooner_us)))
    }

    /// The same while threads run one at a time: its time is not the others'.
    pub(crate) fn at_once(&mut self) -> Duration {
        us(self.random.across(1.0, 20.0))
    }

    /// Such a thread was interrupted: how long it is held, so that others take their turn, and how it
    /// goes on.
    pub(crate) fn at_turn(&mut self, now: Instant) -> (Duration, Pace) {
        self.credit_us -= STOP_US;
        let (low, high) = PYTHON_TURN_US;
        let hold = self.random.across(low, high);
        if self.left(now) < hold {
            return (Duration::ZERO, Pace::Free);
        }
        (us(hold), Pace::Watched(WATCHED_AFTER_TURN))
    }

    /// A watched thread has stopped at a call: how long it is held, and how it goes on.
    pub(crate) fn at_call(&mut self, now: Instant, watched: u32) -> (Duration, Pace) {
        self.credit_us -= STOP_US;
        if self.left(now) < PAUSE_MIN_US || watched == 0 {
            return (Duration::ZERO, Pace::Free);
        }
        let mut pace = Pace::Watched(watched - 1);
        if self.random.chance(self.profile.turns) {
            let steps = self.random.across(2.0, TURN_STEPS_MAX);
            return (Duration::ZERO, Pace::ToTurn(small(steps)));
        }
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
        if steps > 0 && (!steps.is_multiple_of(16) || self.left(now) > PAUSE_MIN_US) {
            // So that of several slow ones now this one is ahead, now that one.
            let hold = if self.random.chance(STALLS) {
                us(self.random.across(PAUSE_MIN_US, STALL_MAX_US))
            } else {
                Duration::ZERO
            };
            return (hold, Pace::Slow(steps - 1));
        }
        // Where slow motion ends is as good a place as any for a pause.
        let hold = if self.random.chance(0.3) {
            self.pause(now)
        } else {
            Duration::ZERO
        };
        (hold, self.watched(now))
    }

    /// A thread on its way to a turn of others has run one instruction.
    pub(crate) fn before_turn(&mut self, now: Instant, steps: u32) -> (Duration, Pace) {
        self.credit_us -= STEP_US;
        self.paused += us(STEP_US);
        if steps > 0 {
            return (Duration::ZERO, Pace::ToTurn(steps - 1));
        }
        let (low, high) = PYTHON_TURN_US;
        let hold = self.random.across(low, high);
        if self.left(now) < hold {
            return (Duration::ZERO, Pace::Free);
        }
        (us(hold), Pace::Watched(WATCHED_AFTER_TURN))
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

    /// Whether threads may run one at a time from now on.
    pub(crate) fn may_begin(&mut self, now: Instant) -> bool {
        self.left(now) >= PHASE_MIN_US
    }

    /// Whether they may again, later in their lives.
    pub(crate) fn may_begin_again(&mut self, now: Instant) -> bool {
        self.left(now) >= PHASE_AGAIN_US
    }

    /// So long one of them ran while others were held, and so long it would have on a host that has nothing else
    /// to do. At first that is what counts: where others are busy a short test would not be disturbed for long.
    pub(crate) fn used(&mut self, time: Duration, at_least: Duration) {
        let counts = match self.paused < FIRST {
            true => time.min(at_least),
            false => time,
        };
        self.paused += time;
        self.credit_us -= counts.as_secs_f64() * 1e6;
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
        let max = self.profile.pause_max_us;
        let mut pause = self.random.across(PAUSE_MIN_US, max);
        if max > PYTHON_TURN_US.1 && self.random.chance(0.3) {
            let (low, high) = PYTHON_TURN_US;
            pause = self.random.across(low, high);
        }
        us(pause.min(left))
    }

    fn slow(&mut self) -> Pace {
        Pace::Slow(small(self.random.across(8.0, self.profile.steps_max)))
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
            let promised = SHARE * ran + CREDIT_FIRST_US / 1e6 + 0.001;
            assert!(paused <= promised, "{seed}: {paused} of {ran}");
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
