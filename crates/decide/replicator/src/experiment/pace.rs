//! How long a run takes, with and without what ran before and beside it.

use cohort_model::{CasePart, Usage};

use super::recipes::Company;

/// Learned run times, seconds.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    seconds: [f64; 4],
    learned: [bool; 4],
}

impl Pace {
    /// From the original; each test before it is taken to last a third of that, until it is known.
    pub(super) fn new(usage: &Usage, parts: &[CasePart]) -> Self {
        let own = (usage.wall_us as f64 / 1e6).max(0.01);
        let before = parts
            .iter()
            .filter(|part| matches!(part, CasePart::Before(_)))
            .count();
        let with = own * (1.0 + before as f64 / 3.0);
        Self {
            seconds: [with, with, own, own],
            learned: [false; 4],
        }
    }

    fn place(company: Company) -> usize {
        match company {
            Company::All => 0,
            Company::Before => 1,
            Company::Beside => 2,
            Company::Alone => 3,
        }
    }

    /// Expected run time without any condition, seconds.
    pub(super) fn seconds(&self, company: Company) -> f64 {
        self.seconds[Self::place(company)]
    }

    /// A run under conditions took so long, and there was none without.
    pub(super) fn guess(&mut self, company: Company, seconds: f64) {
        let place = Self::place(company);
        if !self.learned[place] {
            self.seconds[place] = seconds;
        }
    }

    /// One such run took so long.
    pub(super) fn learn(&mut self, company: Company, seconds: f64) {
        let place = Self::place(company);
        let known = self.seconds[place];
        self.seconds[place] = if std::mem::replace(&mut self.learned[place], true) {
            known + 0.25 * (seconds - known)
        } else {
            seconds
        };
    }
}
