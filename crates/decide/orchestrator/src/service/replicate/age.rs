//! How long a server has run before something is played on it.
//!
//! ```text
//!   seen on a server that has run for a while ─▶ played on the one that is kept ready, which is as old: fails
//!                                                played on servers that have just begun:                passes, twice
//!                                            ─▶ from now on on servers that have run for as long
//! ```
//!
//! A server that has just been started is taken for the original as long as it shows the case. Where it does not, what has run for
//! as long as the original had is tried: caches, pools and what expires are of an age. When that does not show it either, age is
//! not what it takes.

use cohort_model::{At, Case, CaseId, InstanceId};

use super::Cases;
use super::attempt::Play;

/// A server that has run for less is young, whatever showed the case, microseconds.
const OLD_US: u64 = 4_000_000;
/// The original, or what showed the case, had run for so many times as long as what did not.
const TIMES: u64 = 3;
/// Plays on young servers that pass one after the other until older ones are tried.
const YOUNG_MIN: u32 = 2;
/// The same where nothing has shown the case yet.
const YOUNG_UNSEEN: u32 = 6;
/// Plays on old servers that pass until it is given up.
const OLD_MAX: u32 = 4;
/// A server has run for nearly as long as the original had, tenths; it is played on again, which makes it older, so often at most.
const NEARLY: u64 = 6;
const NEARLY_MAX: u32 = 4;
/// When a server has begun is known so well, microseconds.
const MARGIN_US: u64 = 1_000_000;
/// Servers are not kept waiting for longer, microseconds.
const NEEDED_US_MAX: u64 = 40_000_000;

/// What is known of the age that a case needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Age {
    /// The youngest server that showed it, by how long that had run.
    shown_us: Option<u64>,
    /// The oldest of those that did not since one showed it.
    passed_us: u64,
    /// Plays that passed on young servers since one showed it.
    young: u32,
    /// Plays that passed on servers that were old enough.
    old: u32,
    /// Plays that showed it on servers that were old enough.
    again: u32,
    /// Servers are to have run for so long.
    needed_us: Option<u64>,
    /// Plays that passed on servers that were nearly old enough, while nothing has shown the case.
    nearly: u32,
    /// One that was as old as the original did not show it.
    unseen_on_old: bool,
    /// It is known not to matter.
    settled: bool,
}

impl Age {
    /// A play showed the case, or passed. False: it says nothing, since its server was young.
    fn played(&mut self, age_us: u64, shown: bool, original_us: u64) -> bool {
        if shown {
            self.shown_us = Some(self.shown_us.map_or(age_us, |had| had.min(age_us)));
            self.again += u32::from(self.needed_us.is_some());
            if age_us < OLD_US {
                self.needed_us = None;
                self.settled = true;
            }
            return true;
        }
        if self.settled {
            return true;
        }
        if let Some(needed_us) = self.needed_us {
            let is_old = age_us >= needed_us;
            self.old += u32::from(is_old);
            if is_old && self.again == 0 && self.old >= OLD_MAX {
                self.needed_us = None;
                self.settled = true;
            }
            return is_old;
        }
        if self.shown_us.is_none() && original_us >= OLD_US {
            if age_us >= original_us {
                self.unseen_on_old = true;
            } else if age_us >= NEARLY * original_us / 10 {
                self.nearly += 1;
                return self.nearly > NEARLY_MAX;
            }
        }
        let seen_us = self.shown_us.unwrap_or(original_us);
        let unknown = self.shown_us.is_none() && self.unseen_on_old;
        if seen_us < OLD_US || seen_us < TIMES * age_us || unknown {
            return true;
        }
        self.young += 1;
        self.passed_us = self.passed_us.max(age_us);
        let enough = if self.shown_us.is_some() {
            YOUNG_MIN
        } else {
            YOUNG_UNSEEN
        };
        if self.young >= enough {
            self.needed_us = Some((seen_us + MARGIN_US).min(NEEDED_US_MAX));
        }
        self.shown_us.is_none()
    }
}

impl Cases {
    /// Whether a case can be played on an instance now.
    pub(super) fn suits(&self, at: At, case: CaseId, instance: InstanceId) -> bool {
        let age = self.ages.get(&case);
        let needed = age.and_then(|age| age.needed_us);
        needed.is_none_or(|needed_us| self.age_us(at, instance) >= needed_us)
    }

    /// Whether a case is played on servers that have run for a while.
    pub(super) fn wants_old(&self, case: CaseId) -> bool {
        let age = self.ages.get(&case);
        age.is_some_and(|age| age.needed_us.is_some())
    }

    /// Whether it is played on a server that has run for a while, as the original had, before that begins anew.
    pub(super) fn keeps_old(&self, at: At, case: CaseId, instance: InstanceId) -> bool {
        let age = self.ages.get(&case).copied().unwrap_or_default();
        let original_us = self.capsule_of(case).map_or(0, |capsule| capsule.age_us);
        let is_open = age.shown_us.is_none() && !age.unseen_on_old && age.nearly <= NEARLY_MAX;
        is_open && original_us >= OLD_US && self.age_us(at, instance) >= NEARLY * original_us / 10
    }

    /// Whether servers are to be kept running for a case that is not done.
    pub(super) fn waits_for_old(&self) -> bool {
        self.ages.values().any(|age| age.needed_us.is_some())
    }

    /// How long the server of an instance has run.
    pub(super) fn age_us(&self, at: At, instance: InstanceId) -> u64 {
        let replica = self.replicas.get(&instance);
        replica.map_or(u64::MAX, |replica| match replica.ready {
            true => at.since(replica.since),
            false => 0,
        })
    }

    /// Takes in what a play says. False: it says nothing, since its server was young.
    pub(super) fn note_age(&mut self, play: &Play, shown: bool) -> bool {
        let capsule = self.capsules.get(play.capsule as usize);
        let original_us = capsule.map_or(0, |capsule| capsule.age_us);
        let age = self.ages.entry(play.case).or_default();
        age.played(play.age_us, shown, original_us)
    }

    /// What a case says of the age that it takes.
    pub(super) fn tell_age(&self, case: &mut Case) {
        let Some(age) = self.ages.get(&case.case) else {
            return;
        };
        if let Some(needed_us) = age.needed_us.filter(|_| age.again > 0) {
            case.age_us = needed_us;
            case.remarks.push(format!(
                "It shows only on a server that has run for a while: {:.0} s were enough, and {} plays on one that had run for {:.0} s at most passed.",
                needed_us as f64 / 1e6,
                age.young,
                age.passed_us as f64 / 1e6
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn what_only_an_old_server_shows_is_played_on_old_ones() {
        let mut age = Age::default();
        assert!(age.played(20 * S, true, 20 * S));
        // What a young one does says nothing.
        assert!(!age.played(0, false, 20 * S));
        assert!(!age.played(0, false, 20 * S));
        assert_eq!(age.needed_us, Some(21 * S));
        assert!(age.played(21 * S, true, 20 * S));
        // An old one that passes says something.
        assert!(age.played(22 * S, false, 20 * S));
        assert_eq!(age.again, 1);
    }

    #[test]
    fn what_a_young_server_shows_needs_no_old_one() {
        let mut age = Age::default();
        assert!(age.played(20 * S, true, 20 * S));
        assert!(age.played(0, true, 20 * S));
        for _ in 0..9 {
            assert!(age.played(0, false, 20 * S));
        }
        assert_eq!(age.needed_us, None);
    }

    #[test]
    fn what_no_server_shows_is_tried_on_old_ones_for_a_while() {
        let mut age = Age::default();
        for _ in 0..YOUNG_UNSEEN {
            assert!(age.played(0, false, 20 * S), "nothing has shown it yet");
        }
        assert_eq!(age.needed_us, Some(21 * S));
        for _ in 0..OLD_MAX {
            assert!(age.played(25 * S, false, 20 * S));
        }
        assert_eq!(age.needed_us, None);
        assert!(age.settled);
        // One that is nearly as old is played on again.
        let mut age = Age::default();
        assert!(!age.played(19 * S, false, 20 * S));
        assert!(age.played(20 * S, true, 20 * S));
        // On an ordinary server that has just begun it was seen itself.
        let mut age = Age::default();
        for _ in 0..9 {
            assert!(age.played(0, false, S));
        }
        assert_eq!(age.needed_us, None);
    }
}
