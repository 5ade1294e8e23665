//! What windows are concluded to mean. Each kind is a pure judgement of windows and the thread;
//! [`Active`] sees to it that a finding is reported when it begins, and again only after it ended:
//!
//! ```text
//!   quiet --- begins ---> active (reported once)
//!     ^                     |
//!     +------- ends --------+      the threshold to end is well below the one to begin
//! ```

pub(crate) mod burst;
pub(crate) mod cpu;
pub(crate) mod memory;
pub(crate) mod progress;

use cohort_model::{FindingKind, Measured};

/// Certainty is never claimed.
const CONFIDENCE_MAX: f64 = 0.99;

/// What one judgement says of its kind now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Judgement {
    /// It is so: confidence and evidence.
    Begins(f64, Vec<Measured>),
    /// Between the two thresholds: as before.
    Stays,
    /// It is not so.
    Ends,
}

/// Kinds that hold at present.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Active(u16);

impl Active {
    /// Applies `judgement`; confidence and evidence when a finding of `kind` just began.
    pub(crate) fn apply(
        &mut self,
        kind: FindingKind,
        judgement: Judgement,
    ) -> Option<(f64, Vec<Measured>)> {
        let bit = 1 << kind as u16;
        match judgement {
            Judgement::Begins(confidence, evidence) => {
                let began = self.0 & bit == 0;
                self.0 |= bit;
                began.then_some((confidence, evidence))
            }
            Judgement::Stays => None,
            Judgement::Ends => {
                self.0 &= !bit;
                None
            }
        }
    }

    /// Forgets all kinds but those in `kept`.
    pub(crate) fn keep(&mut self, kept: &[FindingKind]) {
        self.0 &= kept.iter().fold(0, |bits, kind| bits | 1 << *kind as u16);
    }
}

/// One half where `value` is at the `threshold`, up to 0.99 where it is at `sure` or beyond.
pub(crate) fn confidence(value: f64, threshold: f64, sure: f64) -> f64 {
    let share = ((value - threshold) / (sure - threshold)).clamp(0.0, 1.0);
    if share.is_nan() {
        0.5
    } else {
        0.5 + share * (CONFIDENCE_MAX - 0.5)
    }
}

/// Confidence from the probability of seeing this by chance.
pub(crate) fn confidence_of_chance(p_value: f64) -> f64 {
    (1.0 - p_value).clamp(0.0, CONFIDENCE_MAX)
}

/// One number of evidence.
pub(crate) fn measured(what: &str, value: f64, unit: &str) -> Measured {
    Measured {
        what: what.to_owned(),
        value,
        unit: unit.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_once_until_it_ended() {
        let mut active = Active::default();
        let begins = || Judgement::Begins(0.9, Vec::new());
        assert!(active.apply(FindingKind::Stall, begins()).is_some());
        assert!(active.apply(FindingKind::Stall, begins()).is_none());
        assert!(
            active.apply(FindingKind::Slow, begins()).is_some(),
            "kinds are apart"
        );
        assert!(active.apply(FindingKind::Stall, Judgement::Stays).is_none());
        assert!(active.apply(FindingKind::Stall, begins()).is_none());
        assert!(active.apply(FindingKind::Stall, Judgement::Ends).is_none());
        assert!(active.apply(FindingKind::Stall, begins()).is_some());
        active.keep(&[FindingKind::Slow]);
        assert!(active.apply(FindingKind::Slow, begins()).is_none(), "kept");
        assert!(
            active.apply(FindingKind::Stall, begins()).is_some(),
            "forgotten"
        );
    }

    #[test]
    fn confidence_rises_from_the_threshold() {
        assert!((confidence(1.0, 1.0, 2.0) - 0.5).abs() < 1e-9);
        assert!((confidence(9.0, 1.0, 2.0) - 0.99).abs() < 1e-9);
        assert!((confidence(f64::NAN, 1.0, 2.0) - 0.5).abs() < 1e-9);
    }
}
