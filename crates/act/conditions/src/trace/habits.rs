//! How threads that run one at a time are chosen, and where they are held: what one run does.
//!
//! Which of these a run does is drawn together: runs in which everything happens at once find little.

use crate::random::Random;

/// Where instructions run one by one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Steps {
    /// Where a thread begins its work.
    Work,
    /// Those of the first thread that begins its work, up to so many; then it falls behind.
    Alone(f64),
    /// So many after each call.
    Anywhere(u32),
}

/// What this run does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    /// Threads are kept level.
    pub(super) level: bool,
    /// Those that were there before the others run until they wait, before others do.
    pub(super) old_first: bool,
    /// Share of turns' ends at which another one of those that could be next is.
    pub(super) switches: f64,
    /// Share of turns' ends in a thread's work at which it falls behind.
    pub(super) falls: f64,
    /// Share of calls on files and sockets at which it does.
    pub(super) falls_at_calls: f64,
    /// Share of threads that do when they are born.
    pub(super) falls_at_birth: f64,
    /// Share of those that do when they have started another one.
    pub(super) falls_as_parent: f64,
    /// Share of those that fall behind which wait longer than others run.
    pub(super) waits: f64,
    /// Longest turn of a young thread, microseconds.
    pub(super) longest_us: f64,
    /// Where instructions run one by one, and how many of them in a turn, about.
    pub(super) steps: Option<Steps>,
    pub(super) steps_a_turn: f64,
}

impl Profile {
    pub(super) fn drawn(random: &mut Random) -> Profile {
        let steps = match random.below(16) {
            0..4 => None,
            4..8 => Some(Steps::Work),
            8..14 => random.pick(&[400.0, 4_000.0]).map(Steps::Alone),
            _ => random.pick(&[60, 150, 400]).map(Steps::Anywhere),
        };
        let mut of = |values: &[f64]| random.pick(values).unwrap_or_default();
        let common = Profile {
            level: true,
            old_first: true,
            switches: of(&[0.5, 0.9]),
            falls: of(&[0.0, 0.0, 0.04]),
            falls_at_calls: of(&[0.0, 0.1, 0.4]),
            falls_at_birth: 0.0,
            falls_as_parent: 0.0,
            waits: 0.0,
            longest_us: of(&[0.5, 2.0, 8.0]),
            steps,
            steps_a_turn: of(&[3.0, 10.0, 30.0]),
        };
        match of(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0]) {
            // Who starts others comes when they are in the midst of their work.
            1.0 => Profile {
                old_first: false,
                falls: of(&[0.04, 0.2]),
                falls_as_parent: of(&[0.5, 1.0]),
                steps: None,
                ..common
            },
            // Somebody is late.
            2.0 => Profile {
                level: of(&[0.0, 1.0]) > 0.5,
                old_first: of(&[0.0, 1.0]) > 0.5,
                falls: of(&[0.0, 0.04]),
                falls_at_birth: of(&[0.3, 0.6]),
                falls_as_parent: of(&[0.0, 0.3]),
                waits: of(&[0.5, 0.9]),
                ..common
            },
            // All do the same at the same time.
            _ => common,
        }
    }
}
