//! How threads run under disturbance, and which of what can be done to them a run does.

use std::time::Duration;

use crate::random::Random;

/// Where threads meet. With glibc a thread of C begins its work after it has set its signal mask, one of
/// Rust after it has told of its second stack for signals, one of Python soon after it has told the one that
/// started it; for others the number of calls is guessed.
const MEETINGS: [(u32, Option<i64>); 12] = [
    (1, Some(libc::SYS_rt_sigprocmask)),
    (2, Some(libc::SYS_sigaltstack)),
    (2, Some(libc::SYS_sigaltstack)),
    (2, Some(libc::SYS_sigaltstack)),
    (1, Some(libc::SYS_futex)),
    (1, Some(libc::SYS_futex)),
    (2, Some(libc::SYS_futex)),
    (1, Some(libc::SYS_munmap)),
    (2, None),
    (4, None),
    (6, None),
    (9, None),
];

/// How a thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As it does.
    Free,
    /// Stopped at so many more beginnings and ends of system calls.
    Watched(u32),
    /// Young; after so many more of the system calls that are counted it meets others, unless it does
    /// not get there within so many calls of any kind.
    ToMeeting(u32, u32),
    /// In the last of those calls.
    NearMeeting,
    /// At the meeting, and how many instructions it is to run one at a time after it.
    Meeting(u32),
    /// For so many more instructions one at a time.
    Slow(u32),
    /// As above, and then held for long enough that an interpreter has others take their turn.
    ToTurn(u32),
}

impl Pace {
    /// Whether it runs one instruction at a time.
    pub(crate) fn is_stepping(self) -> bool {
        matches!(self, Pace::Slow(_) | Pace::ToTurn(_) | Pace::Meeting(_))
    }
}

/// What is done so that others take their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    None,
    /// It is held here.
    Hold(Duration),
    /// It is interrupted after that time.
    Interrupt(Duration),
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
pub(super) struct Profile {
    /// Share of births that are held.
    pub(super) hold: f64,
    /// Where in their lives threads meet: after so many system calls, of all or of those of one
    /// number. None: nowhere.
    pub(super) meet_at: Option<(u32, Option<i64>)>,
    /// How long the first waits for others, microseconds.
    pub(super) meet_us: f64,
    /// Longest pause, microseconds.
    pub(super) pause_max_us: f64,
    /// Share of watched stops at which it is held.
    pub(super) pause_at_calls: f64,
    /// Share of occasions at which slow motion begins.
    pub(super) slow: f64,
    /// Longest slow motion, instructions.
    pub(super) steps_max: f64,
    /// Share of watched stops soon after which others are made to take their turn.
    pub(super) turns: f64,
    /// Share of threads that are held when they have woken another one, or waited for their turn.
    pub(super) turn_holds: f64,
    /// Who waits for a turn asks for it after so long at most, microseconds; 0: as it does.
    pub(super) sooner_us: f64,
    /// Interrupts of a young thread.
    pub(super) early: u64,
    /// Latest of those, microseconds.
    pub(super) early_max_us: f64,
    /// Mean time between interrupts of any thread, microseconds.
    pub(super) between_us: f64,
}

impl Profile {
    pub(super) fn drawn(random: &mut Random) -> Profile {
        // In half of all runs there is no meeting.
        let meeting = random.below(MEETINGS.len() as u64 * 2);
        let mut of = |values: &[f64]| random.pick(values).unwrap_or_default();
        Profile {
            hold: of(&[0.0, 0.4, 0.8]),
            meet_at: MEETINGS.get(usize::try_from(meeting).unwrap_or(0)).copied(),
            meet_us: of(&[300.0, 2_000.0, 8_000.0]),
            pause_max_us: of(&[500.0, 3_000.0, 12_000.0, 20_000.0]),
            pause_at_calls: of(&[0.0, 0.05, 0.15, 0.4]),
            slow: of(&[0.0, 0.3, 0.7]),
            steps_max: of(&[300.0, 1_500.0, 3_000.0, 6_000.0]),
            turns: of(&[0.0, 0.0, 0.1, 0.4]),
            turn_holds: of(&[0.2, 0.6, 0.95]),
            sooner_us: of(&[0.0, 10.0, 100.0, 1_000.0]),
            early: if of(&[0.0, 1.0]) > 0.5 { 3 } else { 1 },
            early_max_us: of(&[100.0, 1_000.0, 10_000.0]),
            between_us: of(&[700.0, 2_000.0, 6_000.0]),
        }
    }
}
