//! Which lines run, in runs that fail and in runs that pass.

use super::prove::AHEAD;
use super::step::Trial;

/// Which lines run is recorded, in runs that fail and in runs that pass.
#[derive(Clone, Debug)]
pub(super) struct Cover {
    /// Failing and passing recipe.
    pub(super) trials: Vec<Trial>,
    /// So many that fail and so many that pass are wanted.
    pub(super) wanted: u32,
}

impl Cover {
    pub(super) fn is_open(&self, place: usize) -> bool {
        let tally = self.trials[place].tally;
        let enough = if place == 0 {
            tally.failed
        } else {
            tally.runs - tally.failed
        };
        enough < self.wanted && tally.runs < 4 * self.wanted
    }

    pub(super) fn want(&self) -> Option<usize> {
        (0..self.trials.len())
            .filter(|place| self.is_open(*place) && self.trials[*place].begun() < 4 * self.wanted)
            .filter(|place| self.trials[*place].flying < AHEAD)
            .min_by_key(|place| self.trials[*place].begun())
    }

    /// Nothing more is wanted.
    pub(super) fn is_done(&self) -> bool {
        !(0..self.trials.len()).any(|place| self.is_open(place))
    }
}
