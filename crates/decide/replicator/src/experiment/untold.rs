//! What is told where no cause was proved: what fails best, which of it is not told apart, and what was never tried.

use std::collections::BTreeMap;

use cohort_model::ConditionKind;

use super::Experiment;
use super::words::{kind_words, words};

impl Experiment {
    /// What fails most surely, when that is under conditions: which of them matter was not told apart.
    pub(super) fn say_together(&mut self) {
        let plain = self.book.of(&self.plain);
        let Some(best) = self.book.best() else {
            return;
        };
        let tally = self.book.of(best);
        if best.conditions.is_empty() || tally.failed < 2 || tally.share() <= 2.0 * plain.share() {
            return;
        }
        let named: Vec<String> = best.conditions.iter().map(words).collect();
        let (named, doubt) = match &named[..] {
            [one] => (one.clone(), "that it matters is not shown yet"),
            several => (
                several.join(", "),
                "which of these matter is not told apart yet",
            ),
        };
        self.found.remarks.push(format!(
            "It fails most often under {named}: {} of {} runs; {doubt}.",
            tally.failed, tally.runs
        ));
    }

    /// Kinds of conditions that could be set here and were in no run.
    pub(super) fn say_untried(&mut self) {
        let mut runs: BTreeMap<ConditionKind, u32> = BTreeMap::new();
        for belief in &self.beliefs.all {
            *runs.entry(belief.condition.kind()).or_default() += belief.seen.runs;
        }
        let untried = runs.iter().filter(|(_, runs)| **runs == 0);
        let untried: Vec<&str> = untried.map(|(kind, _)| kind_words(*kind)).collect();
        if !untried.is_empty() && untried.len() < runs.len() {
            let line = format!("Not tried: {}.", untried.join(", "));
            self.found.remarks.push(line);
        }
    }
}
