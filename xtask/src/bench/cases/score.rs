//! What the ways made of each bug, and sums over all bugs.

use super::super::row::{Row, Target, median};
use super::bugs::Bug;
use super::plain::{Rerun, cores, runs_to_first};
use super::told::Told;

/// What all of this is to reach.
const REPRODUCED: f64 = 0.90;
const RUNS: f64 = 0.10;
const NAMED_RIGHT: f64 = 0.85;
const NAMED_WRONG: f64 = 0.05;
/// Plain rates that a bug is to have.
const RATES: (f64, f64) = (0.001, 0.05);

/// What three ways made of one bug; what was not asked for or could not be done is none.
#[derive(Default)]
pub(super) struct Compared {
    name: String,
    cause: String,
    conditions: Vec<String>,
    before: Option<String>,
    base: f64,
    pub plain: Option<Rerun>,
    pub noise: Option<Rerun>,
    pub told: Vec<Told>,
}

impl Compared {
    /// Of a bug that was not run yet.
    pub(super) fn new(bug: &Bug) -> Compared {
        Compared {
            name: bug.name.clone(),
            cause: bug.cause.clone(),
            conditions: bug.conditions.clone(),
            before: bug.before.clone(),
            base: bug.base.unwrap_or_default(),
            ..Compared::default()
        }
    }

    /// What a person reads of it: one line for the bug, two for each campaign.
    pub(super) fn lines(&self) -> Vec<String> {
        let shown = |rerun: &Option<Rerun>| rerun.as_ref().map_or("-".into(), Rerun::shown);
        let (plain, noise) = (shown(&self.plain), shown(&self.noise));
        let mut lines = vec![format!(
            "{:<24} plain {plain}, with stress-ng {noise}",
            self.name
        )];
        for told in &self.told {
            lines.push(format!("    cohort {}", self.line(told)));
            if !told.sentence.is_empty() {
                lines.push(format!("      \"{}\"", told.sentence));
            }
        }
        lines
    }

    fn line(&self, told: &Told) -> String {
        let Some((runs, after_s)) = told.first else {
            return format!("not in {} runs", told.runs_all);
        };
        let again = match (told.reproduced, told.again_s) {
            (true, Some(again_s)) => format!("again after {again_s:.1} s"),
            (true, None) => "again".into(),
            (false, _) => "NOT again".into(),
        };
        let right = match self.is_right(told) {
            true if told.named.is_empty() => "rightly nothing named",
            true => "right",
            false if told.named.is_empty() => "not named",
            false => "not right",
        };
        let wrong = if self.is_wrong(told) { ", WRONG" } else { "" };
        let named = told.named.join(" + ");
        let cause = if self.is_right(told) && !self.is_wrong(told) {
            String::new()
        } else {
            format!(" (it is: {})", self.cause)
        };
        let runs_all = told.runs_all;
        format!(
            "{runs} runs, {after_s:.1} s, {again}, {runs_all} in all; {right}{wrong}: {named}{cause}"
        )
    }

    /// Whether a name is a cause of the bug.
    fn knows(&self, name: &String) -> bool {
        match (name.strip_prefix("before "), &self.before) {
            (Some(tests), Some(before)) => tests == before,
            (Some(_), None) => false,
            (None, _) => self.conditions.contains(name),
        }
    }

    /// What is named first is a cause; where the cause is no condition, nothing is named.
    fn is_right(&self, told: &Told) -> bool {
        match told.named.first() {
            Some(name) => self.knows(name),
            None => self.conditions.is_empty(),
        }
    }

    /// Anything that is named is no cause.
    fn is_wrong(&self, told: &Told) -> bool {
        told.named.iter().any(|name| !self.knows(name))
    }

    /// The share of plain runs that fail, and whether that is only known not to be greater. It is what was
    /// measured now; where no run failed, at least what it is known to be.
    fn rate(&self) -> Option<(f64, bool)> {
        match &self.plain {
            Some(plain) if plain.failures > 0 => Some((plain.rate(), false)),
            Some(plain) => Some((plain.rate().max(self.base), plain.rate() > self.base)),
            None => (self.base > 0.0).then_some((self.base, false)),
        }
    }

    /// Runs of Cohort against those of plain rerunning, to the first failure, for each campaign. What Cohort
    /// was not seen to fail counts as no better than plain rerunning.
    fn ratios(&self) -> Vec<f64> {
        let Some((rate, _)) = self.rate() else {
            return Vec::new();
        };
        let plain = runs_to_first(rate);
        let ratio = |told: &Told| match told.first {
            Some((runs, _)) => f64::from(runs) / plain,
            None => (f64::from(told.runs_all + 1) / plain).max(1.0),
        };
        self.told.iter().map(ratio).collect()
    }

    /// The same in seconds, where plain rerunning was seen to fail.
    fn time_ratios(&self, budget_s: f64) -> Vec<f64> {
        let Some(plain) = self.plain.as_ref().filter(|plain| plain.failures > 0) else {
            return Vec::new();
        };
        let run_s = plain.took_s / f64::from(plain.runs);
        let plain_s = runs_to_first(plain.rate()) * run_s;
        let ours_s = |told: &Told| told.first.map_or(budget_s, |(_, after_s)| after_s);
        self.told
            .iter()
            .map(|told| ours_s(told).max(0.001) / plain_s)
            .collect()
    }
}

/// Sums over all bugs, each of which had so many seconds for each way.
pub(super) fn rows(all: &[Compared], (budget_s, cohort_s): (f64, f64)) -> Vec<Row> {
    let within = format!("within {budget_s:.0} s on {} cores", cores());
    let in_campaign = format!("within {cohort_s:.0} s on {} cores", cores());
    let reruns = |pick: fn(&Compared) -> Option<&Rerun>| -> Vec<bool> {
        let seen = all.iter().filter_map(pick);
        seen.map(|rerun| rerun.failures > 0).collect()
    };
    let campaigns = |pick: fn(&Compared, &Told) -> Option<bool>| -> Vec<bool> {
        let told = all
            .iter()
            .flat_map(|one| one.told.iter().map(move |told| pick(one, told)));
        told.flatten().collect()
    };
    let rates = all.iter().filter(|one| one.plain.is_some());
    let rates = rates.filter_map(Compared::rate);
    let mut rows = vec![
        share(
            "plain rate between 0.1 and 5 %, bugs",
            &rates
                .map(|(rate, bound)| !bound && (RATES.0..=RATES.1).contains(&rate))
                .collect::<Vec<_>>(),
            Target::None,
        ),
        share(
            &format!("plain: failed {within}, bugs"),
            &reruns(|one| one.plain.as_ref()),
            Target::None,
        ),
        share(
            &format!("stress-ng: failed {within}, bugs"),
            &reruns(|one| one.noise.as_ref()),
            Target::None,
        ),
        share(
            &format!("cohort: failed {in_campaign}, campaigns"),
            &campaigns(|_, told| Some(told.first.is_some())),
            Target::None,
        ),
        share(
            &format!("cohort: failed again {in_campaign}, campaigns"),
            &campaigns(|_, told| Some(told.reproduced)),
            Target::AtLeast(REPRODUCED),
        ),
        share(
            "cohort: condition named right, campaigns",
            &campaigns(|one, told| (!one.conditions.is_empty()).then(|| one.is_right(told))),
            Target::AtLeast(NAMED_RIGHT),
        ),
        share(
            "cohort: condition named wrong, campaigns",
            &campaigns(|one, told| Some(one.is_wrong(told))),
            Target::AtMost(NAMED_WRONG),
        ),
    ];
    rows.extend(ratios(all, cohort_s));
    rows.retain(|row| row.value.is_some());
    rows
}

/// The share of those that are.
fn share(name: &str, of: &[bool], target: Target) -> Row {
    let count = of.len();
    let yes = of.iter().filter(|is| **is).count();
    let share = (count > 0).then(|| yes as f64 / count as f64);
    let share: Vec<f64> = share.into_iter().collect();
    Row::new(format!("{name}: {yes} of {count}"), "share", &share, target)
}

fn ratios(all: &[Compared], cohort_s: f64) -> Vec<Row> {
    let row = |name: &str, ratios: &[f64], target| {
        let mean: Vec<f64> = geometric(ratios).into_iter().collect();
        let mut row = Row::new(name, "ratio", &mean, target);
        row.low = ratios.iter().copied().reduce(f64::min);
        row.high = ratios.iter().copied().reduce(f64::max);
        row
    };
    let of = |pick: &dyn Fn(&Compared) -> bool| -> Vec<f64> {
        let picked = all.iter().filter(|one| pick(one));
        picked.flat_map(Compared::ratios).collect()
    };
    // Without plain runs beside it, only a rate of another day is there to compare with.
    let measured = all.iter().any(|one| one.plain.is_some());
    let (against, target) = match measured {
        true => ("plain", Target::AtMost(RUNS)),
        false => ("the rates in bugs.toml", Target::None),
    };
    let bounds = all
        .iter()
        .filter(|one| one.rate().is_some_and(|rate| rate.1));
    let bounds = bounds.count();
    let mut rows = vec![
        row(
            &format!("cohort: runs against {against}, geom. mean, {bounds} bounds"),
            &of(&|_| true),
            target,
        ),
        row(
            "  without those bounds",
            &of(&|one| one.rate().is_some_and(|rate| !rate.1)),
            Target::None,
        ),
        row(
            "  of those that failed in every campaign",
            &of(&|one| one.told.iter().all(|told| told.first.is_some())),
            Target::None,
        ),
    ];
    let noise = all.iter().filter_map(|one| {
        let noise = one.noise.as_ref().filter(|noise| noise.failures > 0)?;
        Some(runs_to_first(noise.rate()) / runs_to_first(one.rate()?.0))
    });
    rows.push(row(
        "stress-ng: runs against plain, geom. mean, where it failed",
        &noise.collect::<Vec<_>>(),
        Target::None,
    ));
    let seconds = all.iter().flat_map(|one| one.time_ratios(cohort_s));
    rows.push(row(
        "cohort: time against plain, geom. mean, where that failed",
        &seconds.collect::<Vec<_>>(),
        Target::None,
    ));
    let firsts = all.iter().flat_map(|one| &one.told);
    let firsts: Vec<f64> = firsts
        .filter_map(|told| Some(f64::from(told.first?.0)))
        .collect();
    rows.extend(median(&firsts).map(|_| {
        Row::new(
            "cohort: runs to the first failure",
            "runs",
            &firsts,
            Target::None,
        )
    }));
    rows
}

/// The geometric mean.
fn geometric(values: &[f64]) -> Option<f64> {
    let logs: f64 = values.iter().map(|value| value.ln()).sum();
    (!values.is_empty()).then(|| (logs / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(runs: Option<u32>, named: &[&str]) -> Told {
        Told {
            first: runs.map(|runs| (runs, 1.0)),
            reproduced: runs.is_some(),
            runs_all: 20,
            named: named.iter().map(|name| (*name).to_owned()).collect(),
            ..Told::default()
        }
    }

    fn compared(plain: (u32, u32), told: Told) -> Compared {
        Compared {
            conditions: vec!["schedule".into()],
            base: 0.001,
            plain: Some(Rerun {
                runs: plain.0,
                failures: plain.1,
                ..Rerun::default()
            }),
            told: vec![told],
            ..Compared::default()
        }
    }

    #[test]
    fn runs_are_compared_with_the_rate_of_plain_runs() {
        let ratio = |plain, ours| compared(plain, told(ours, &[])).ratios()[0];
        // At a rate of 1 %, half of all attempts need fewer than 69 runs, and the geometric mean is 56.
        assert!((ratio((1000, 10), Some(56)) - 1.0).abs() < 0.05);
        // 20 runs without a failure are not fewer than 56 with one.
        assert!((ratio((1000, 10), None) - 1.0).abs() < 1e-9);
        // None of 99 failed: that would be 1 %. None of 9,999: but 0.1 % is known.
        assert!((ratio((99, 0), Some(56)) - 1.0).abs() < 0.05);
        assert!((ratio((9999, 0), Some(561)) - 1.0).abs() < 0.02);
    }

    #[test]
    fn only_what_is_not_known_is_a_bound() {
        let bound = |plain| compared(plain, told(None, &[])).rate().map(|rate| rate.1);
        assert_eq!(bound((99, 0)), Some(true));
        assert_eq!(bound((9999, 0)), Some(false));
        assert_eq!(bound((99, 1)), Some(false));
    }

    #[test]
    fn the_first_name_makes_it_right_and_any_name_makes_it_wrong() {
        let judged = |named: &[&str]| {
            let one = compared((1, 1), told(Some(1), named));
            (one.is_right(&one.told[0]), one.is_wrong(&one.told[0]))
        };
        assert_eq!(judged(&["schedule"]), (true, false));
        assert_eq!(judged(&["schedule", "seed"]), (true, true));
        assert_eq!(judged(&["seed", "schedule"]), (false, true));
        assert_eq!(judged(&[]), (false, false));
        let mut none = compared((1, 1), told(Some(1), &[]));
        none.conditions.clear();
        assert!(none.is_right(&none.told[0]));
    }

    #[test]
    fn the_test_that_ran_before_has_to_be_the_right_one() {
        let mut one = compared((1, 1), told(Some(1), &["before tests/a.py::first"]));
        assert!(!one.is_right(&one.told[0]));
        one.before = Some("tests/a.py::first".into());
        assert!(one.is_right(&one.told[0]));
        one.before = Some("tests/a.py::other".into());
        assert!(!one.is_right(&one.told[0]));
    }
}
