//! Which cases are told first.

use cohort_model::{Case, CaseVerdict};

/// Cases in the order in which they are worth reading: what is explained, then what is only known to
/// happen; what fails whenever it is run is told by its failure already.
#[must_use]
pub fn most_telling_first<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Vec<&'a Case> {
    let mut cases: Vec<&Case> = cases.into_iter().collect();
    cases.sort_by_key(|case| {
        let rank = match case.verdict {
            Some(CaseVerdict::Conditional) => 0,
            Some(CaseVerdict::Sometimes) => 1,
            None if case.runs_to_first.is_some() => 2,
            Some(CaseVerdict::Always) => 3,
            Some(CaseVerdict::Unsuspicious) => 4,
            Some(CaseVerdict::NotReproduced) => 5,
            None => 6,
            Some(CaseVerdict::NotTried) => 7,
        };
        (!case.returned, rank, case.case)
    });
    cases
}
