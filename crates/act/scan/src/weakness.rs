//! What is told.

use std::collections::BTreeSet;

use cohort_model::HelperTold;

/// Weaknesses of one rule that are told; what is more is counted.
const OF_RULE_MAX: usize = 5;

/// Weaknesses that were found, each once.
#[derive(Debug, Default)]
pub(crate) struct Weaknesses {
    found: Vec<HelperTold>,
    known: BTreeSet<(String, String)>,
}

impl Weaknesses {
    /// Adds one, unless it is known. `place` is an endpoint, a port, or a file.
    pub(crate) fn add(&mut self, rule: &str, place: &str, sentence: String) {
        let key = (rule.to_owned(), place.to_owned());
        let of_rule = self.found.iter().filter(|it| it.rule == rule).count();
        if self.known.insert(key) && of_rule < OF_RULE_MAX {
            self.found.push(HelperTold {
                sentence,
                place: Some(place.to_owned()),
                rule: rule.to_owned(),
                ..HelperTold::default()
            });
        }
    }

    pub(crate) fn knows(&self, rule: &str, place: &str) -> bool {
        self.known.contains(&(rule.to_owned(), place.to_owned()))
    }

    pub(crate) fn told(self) -> Vec<HelperTold> {
        self.found
    }

    /// A line of JSON for each.
    pub(crate) fn lines(&self) -> String {
        let lines = self
            .found
            .iter()
            .filter_map(|it| serde_json::to_string(it).ok());
        lines.map(|line| line + "\n").collect()
    }

    #[cfg(test)]
    pub(crate) fn rules(&self) -> Vec<&str> {
        self.found.iter().map(|it| it.rule.as_str()).collect()
    }
}
