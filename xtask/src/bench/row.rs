//! One line of a benchmark's result, and the arithmetic behind it.
//!
//! Every benchmark prints the same fields: `{"bench","row","value","low","high","unit","target",
//! "holds"}`. `value` is the median, `low` and `high` the least and greatest of all rounds. A row
//! that could not be measured here has no value and does not hold.

use serde::{Deserialize, Serialize};

/// What a value has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// At most this.
    AtMost(f64),
    /// Less than this.
    Below(f64),
    /// At least this.
    AtLeast(f64),
    /// Shown beside the others only.
    None,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Which benchmark.
    pub bench: String,
    /// What was compared.
    pub row: String,
    /// Median over the rounds.
    pub value: Option<f64>,
    /// Least of the rounds.
    pub low: Option<f64>,
    /// Greatest of the rounds.
    pub high: Option<f64>,
    /// `ratio`, `tests`, `% of a core`, `ms`.
    pub unit: String,
    /// The bound that `value` has to keep.
    pub target: Option<f64>,
    /// Whether it does.
    pub holds: Option<bool>,
}

impl Row {
    /// From one value a round.
    pub(crate) fn new(row: impl Into<String>, unit: &str, rounds: &[f64], target: Target) -> Row {
        let value = median(rounds);
        let (bound, holds) = match target {
            Target::AtMost(bound) => (Some(bound), Some(value.is_some_and(|v| v <= bound))),
            Target::Below(bound) => (Some(bound), Some(value.is_some_and(|v| v < bound))),
            Target::AtLeast(bound) => (Some(bound), Some(value.is_some_and(|v| v >= bound))),
            Target::None => (None, None),
        };
        Row {
            bench: "suite".into(),
            row: row.into(),
            value: value.map(rounded),
            low: rounds.iter().copied().reduce(f64::min).map(rounded),
            high: rounds.iter().copied().reduce(f64::max).map(rounded),
            unit: unit.into(),
            target: bound,
            holds,
        }
    }

    /// For a person: value, spread, target, verdict.
    pub(crate) fn line(&self) -> String {
        let number = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.3}"));
        let spread = format!("{}..{}", number(self.low), number(self.high));
        let verdict = match self.holds {
            Some(true) => "holds",
            Some(false) => "MISSED",
            None => "",
        };
        format!(
            "{:<66} {:>9} {:>17} {:<11} {:>7}  {verdict}",
            self.row,
            number(self.value),
            spread,
            self.unit,
            number(self.target)
        )
    }
}

/// Head of the table that [`Row::line`] fills.
pub(crate) fn head() -> String {
    format!(
        "{:<66} {:>9} {:>17} {:<11} {:>7}",
        "row", "median", "low..high", "unit", "target"
    )
}

/// Four decimals are more than any of these measurements carries.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len() % 2 == 1 {
        upper
    } else {
        f64::midpoint(sorted[sorted.len() / 2 - 1], upper)
    })
}

/// One ratio for each round, of measurements made beside each other.
pub(crate) fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter()
        .zip(theirs)
        .map(|(ours, theirs)| ours / theirs)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_ratios_is_not_the_ratio_of_medians() {
        let ratios = ratios(&[1.0, 9.0, 4.0], &[2.0, 3.0, 4.0]);
        assert_eq!(ratios, [0.5, 3.0, 1.0]);
        let row = Row::new("r", "ratio", &ratios, Target::AtMost(1.0));
        assert_eq!(
            (row.value, row.low, row.high),
            (Some(1.0), Some(0.5), Some(3.0))
        );
        assert_eq!(row.holds, Some(true));
    }

    #[test]
    fn bounds_are_what_they_say() {
        let holds = |value, target| Row::new("r", "u", &[value], target).holds;
        assert_eq!(holds(5.0, Target::AtMost(5.0)), Some(true));
        assert_eq!(holds(5.0, Target::Below(5.0)), Some(false));
        assert_eq!(holds(5.1, Target::AtMost(5.0)), Some(false));
        assert_eq!(holds(5.0, Target::AtLeast(5.0)), Some(true));
        assert_eq!(holds(4.9, Target::AtLeast(5.0)), Some(false));
        assert_eq!(holds(5.0, Target::None), None);
        assert_eq!(
            Row::new("r", "u", &[], Target::AtMost(1.0)).holds,
            Some(false)
        );
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_row_has_the_fields_that_are_promised() {
        let row = Row::new("made: x", "ratio", &[0.5], Target::AtMost(1.0));
        let json = serde_json::to_string(&row).expect("serializable");
        assert_eq!(
            json,
            r#"{"bench":"suite","row":"made: x","value":0.5,"low":0.5,"high":0.5,"unit":"ratio","target":1.0,"holds":true}"#
        );
        assert!(row.line().contains("holds"));
    }
}
