//! How long a server has run before something is played on it.
//!
//! ```text
//!   seen on a server that has run for a while ─▶ played on the one that is kept ready, which is about as old: fails
//!                                                played on servers that have just begun: passes, twice
//!                                            ─▶ from now on on servers that have run for 8 s, 16 s, ... as long as the original had
//! ```
//!
//! A server that has just been started is taken for the original as long as it shows the case. Where it does not, what has run for
//! longer is tried: caches, pools and what expires are of an age. To play on a server that passes costs nothing, so that it is played
//! on again and again as it ages. When one that has run for as long as the original had does not show it either, age is not what it
//! takes.
//!
//! Promise: a server that is to grow old is not started anew for the sake of a condition, which would make it young.

use cohort_model::{At, Case, CaseId, InstanceId, Stage};

use super::Cases;
use super::attempt::Play;

/// A server that has run for less is young, whatever showed the case, microseconds.
const OLD_US: u64 = 3_000_000;
/// The first age at which one is played on again as it grows old, microseconds.
const FIRST_US: u64 = 8_000_000;
/// The original, or what showed the case, had run for so many times as long as what did not.
const TIMES: u64 = 3;
/// Plays on young servers that pass one after the other until older ones are tried.
const YOUNG_MIN: u32 = 2;
/// The same where nothing has shown the case yet.
const YOUNG_UNSEEN: u32 = 6;
/// Plays on old servers that pass until it is given up.
const OLD_MAX: u32 = 4;
/// The same where nothing has shown the case yet: what takes chance, too, is not given up soon, and to play on costs no start.
const OLD_UNSEEN_MAX: u32 = 40;
/// A server has run for nearly as long as the original had, tenths; it is played on again, which makes it older, so often at most.
const NEARLY: u64 = 6;
const NEARLY_MAX: u32 = 4;
/// One that will be as old as the original so soon is waited for, microseconds.
const WAIT_US_MAX: u64 = 4_000_000;
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
    /// The same on one that was as old as the original.
    unseen_on_old: u32,
    /// It is known not to matter.
    settled: bool,
}

impl Age {
    /// Of a case that an earlier campaign kept: it showed on servers that had run for so long.
    pub(super) fn of_kept(age_us: u64) -> Self {
        Self {
            shown_us: Some(age_us),
            needed_us: Some(age_us.min(NEEDED_US_MAX)),
            ..Self::default()
        }
    }

    /// A play showed the case, or passed. False: it says nothing, since its server was young.
    fn played(&mut self, age_us: u64, shown: bool, original_us: u64) -> bool {
        if shown {
            self.showed(age_us);
            return true;
        }
        if self.settled {
            return true;
        }
        if let Some(needed_us) = self.needed_us {
            return self.passed_on_old(age_us, needed_us, original_us);
        }
        if self.shown_us.is_none() && original_us >= OLD_US {
            if age_us >= original_us {
                self.unseen_on_old += 1;
            } else if age_us >= original_us / 10 * NEARLY {
                self.nearly += 1;
                return self.nearly > NEARLY_MAX;
            }
        }
        let seen_us = self.shown_us.unwrap_or(original_us);
        let unknown = self.shown_us.is_none() && self.unseen_on_old > 0;
        if seen_us < OLD_US || seen_us < age_us.saturating_mul(TIMES) || unknown {
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
            self.needed_us = Some(FIRST_US.min(self.top_us(original_us)));
        }
        self.shown_us.is_none()
    }

    fn showed(&mut self, age_us: u64) {
        self.shown_us = Some(self.shown_us.map_or(age_us, |had| had.min(age_us)));
        let Some(needed_us) = self.needed_us else {
            if age_us < OLD_US {
                self.settled = true;
            }
            return;
        };
        if age_us < OLD_US {
            self.needed_us = None;
            self.settled = true;
        } else if self.again == 0 && age_us < 2 * needed_us {
            self.needed_us = Some(age_us);
        }
        self.again += 1;
    }

    /// How old servers are at most made for it, microseconds.
    fn top_us(&self, original_us: u64) -> u64 {
        let seen_us = self.shown_us.unwrap_or(original_us);
        seen_us.saturating_add(MARGIN_US).min(NEEDED_US_MAX)
    }

    fn passed_on_old(&mut self, age_us: u64, needed_us: u64, original_us: u64) -> bool {
        if age_us < needed_us {
            return false;
        }
        let top_us = self.top_us(original_us);
        // What passes on one that is younger than what showed it is a matter of age as long as nothing younger did.
        let is_younger = self.again == 0 || self.shown_us.is_some_and(|shown| age_us < shown);
        if is_younger && age_us < top_us {
            self.passed_us = self.passed_us.max(age_us);
            self.needed_us = Some((2 * age_us).min(top_us));
            return false;
        }
        self.old += 1;
        if self.again == 0 && self.old >= OLD_MAX {
            self.needed_us = None;
            self.settled = true;
        }
        true
    }

    /// Whether one that is as old as the original may yet show it.
    fn is_open(&self) -> bool {
        self.shown_us.is_none() && self.unseen_on_old < OLD_UNSEEN_MAX && self.nearly <= NEARLY_MAX
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

    /// Whether it is known that servers have to have run for a while to show a case.
    pub(super) fn needs_old(&self, case: CaseId) -> bool {
        let age = self.ages.get(&case);
        age.is_some_and(|age| age.needed_us.is_some() && age.again > 0)
    }

    /// Whether it is played on a server that has run for a while, as the original had, before that begins anew.
    pub(super) fn keeps_old(&self, at: At, case: CaseId, instance: InstanceId) -> bool {
        let age = self.ages.get(&case).copied().unwrap_or_default();
        let original_us = self.capsule_of(case).map_or(0, |capsule| capsule.age_us);
        let old_us = self.age_us(at, instance);
        age.is_open() && original_us >= OLD_US && old_us >= NEARLY * original_us / 10
    }

    /// Whether an instance is soon as old as the original of a case was that nothing has shown yet: it is waited for.
    pub(super) fn ripens(&self, at: At, instance: InstanceId) -> bool {
        let open = self
            .replicator
            .cases()
            .filter(|case| case.stage != Stage::Closed && self.tried.contains(&case.case));
        let mut open = open.filter(|case| self.keeps_old(at, case.case, instance));
        open.any(|case| {
            let original_us = self
                .capsule_of(case.case)
                .map_or(0, |capsule| capsule.age_us);
            let left_us = original_us.saturating_sub(self.age_us(at, instance));
            left_us > 0 && left_us <= WAIT_US_MAX
        })
    }

    /// Whether servers are to be kept running for a case that is not done.
    pub(super) fn waits_for_old(&self) -> bool {
        self.ages.values().any(|age| age.needed_us.is_some())
    }

    /// How long the server of an instance has run as the original did.
    pub(super) fn age_us(&self, at: At, instance: InstanceId) -> u64 {
        let replica = self.replicas.get(&instance);
        replica.map_or(u64::MAX, |replica| {
            match replica.ready && !replica.is_under {
                true => at.since(replica.since),
                false => 0,
            }
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
        assert_eq!(age.needed_us, Some(8 * S));
        // As it ages it is played on again and again.
        assert!(!age.played(8 * S, false, 20 * S));
        assert_eq!(age.needed_us, Some(16 * S));
        assert!(age.played(16 * S, true, 20 * S));
        // An old one that passes says something.
        assert!(age.played(17 * S, false, 20 * S));
        assert_eq!((age.again, age.needed_us), (1, Some(16 * S)));
    }

    #[test]
    fn what_takes_as_long_as_the_original_took_is_found_last() {
        let mut age = Age::default();
        assert!(age.played(30 * S, true, 30 * S));
        for young in [0, 0, 8, 16] {
            assert!(!age.played(young * S, false, 30 * S));
        }
        assert_eq!(age.needed_us, Some(31 * S));
        for _ in 0..OLD_MAX {
            assert!(age.played(31 * S, false, 30 * S));
        }
        assert!(age.settled);
    }

    #[test]
    fn a_server_that_is_not_ours_alone_is_as_old_as_any() {
        let mut age = Age::default();
        assert!(age.played(u64::MAX, true, 20 * S));
        assert!(!age.played(0, false, 20 * S));
        assert!(!age.played(0, false, 20 * S));
        assert_eq!(age.needed_us, Some(8 * S));
        assert!(age.played(u64::MAX, false, 20 * S));
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
        assert_eq!(age.needed_us, Some(8 * S));
        assert!(!age.played(8 * S, false, 20 * S));
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
