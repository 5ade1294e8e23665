//! In which runs it is told where all threads stand: of a crash or a hang that says little by itself, in
//! the first runs, and again once it has failed, until enough failing ones told it.
//!
//! Where two hangs of one test were told apart by it, only runs with it say which of them it was: then
//! all have it.

use cohort_model::{Symptom, SymptomKind};

use super::runs::Ended;

/// Of a case that has not failed again, so many runs have it.
const FIRST_RUNS: u32 = 3;
/// Most runs that have it, failed or not.
const RUNS_MAX: u32 = 40;

/// How much is known of where threads stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stand {
    /// Failing runs that are to tell; 0: it is not asked.
    wanted: u32,
    asked: u32,
    told: u32,
    tells_apart: bool,
}

impl Stand {
    /// `failing`: so many failing runs are to tell; `provoked`: it was told apart from another case.
    pub(super) fn new(symptom: Option<&Symptom>, failing: u32, provoked: bool) -> Self {
        let is_mute = symptom.is_some_and(|symptom| {
            use SymptomKind::{Abort, Hang, Signal, Timeout};
            matches!(symptom.kind, Abort | Hang | Signal | Timeout)
        });
        let has_stack = symptom.is_some_and(|symptom| symptom.frames.iter().any(|one| one.own));
        Self {
            wanted: if is_mute { failing } else { 0 },
            tells_apart: is_mute && provoked && has_stack && failing > 0,
            ..Self::default()
        }
    }

    /// Whether the next run is to tell.
    pub(super) fn wants(&mut self, reproduced: bool) -> bool {
        let few = self.asked < if reproduced { RUNS_MAX } else { FIRST_RUNS };
        let wants = self.tells_apart || self.told < self.wanted && few;
        self.asked += u32::from(wants);
        wants
    }

    /// A run that was to tell has ended.
    pub(super) fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Failed => self.told += 1,
            Ended::Otherwise => self.tells_apart = true,
            Ended::Void => self.asked = self.asked.saturating_sub(1),
            Ended::Passed => {}
        }
    }
}
