//! Rates by condition: which rows there are, and how each is drawn.

use cohort_model::{Arm, Case, CasePart, Rate, Recipe};

use super::words::{Names, conditions, part, share};
use crate::words;

/// Columns of a bar.
pub(crate) const BAR_COLUMNS: usize = 20;

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// What was run.
    pub(crate) label: String,
    /// The same where there is little room.
    pub(crate) short: String,
    /// How often it failed.
    pub(crate) rate: Rate,
    /// As the case was at first.
    pub(crate) control: bool,
}

/// The rows, and what is left out of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    /// In words; none when all is shown.
    pub(crate) rest: Option<String>,
}

/// Recipes that were run: as it was at first, then what failed most often, at most `rows_max`.
pub(crate) fn table(case: &Case, names: Names<'_>, rows_max: usize) -> Table {
    let original = case.arms.iter().find(|arm| arm.control);
    let original = original.map(|arm| &arm.recipe);
    // Those in which lines were recorded are slower ones of the others.
    let arms = case.arms.iter();
    let arms = arms.filter(|arm| arm.rate.runs > 0 && !arm.recipe.coverage);
    // Of many inputs only the smallest says something.
    let smallest = case.smallest.as_ref().map(|arm| &arm.recipe.input);
    let arms = arms.filter(|arm| arm.recipe.input.is_none() || smallest == Some(&arm.recipe.input));
    let mut arms: Vec<&Arm> = arms.collect();
    arms.sort_by(|a, b| {
        let key = |arm: &Arm| f64::from(arm.rate.failed) / f64::from(arm.rate.runs);
        (b.control.cmp(&a.control))
            .then(key(b).total_cmp(&key(a)))
            .then(b.rate.runs.cmp(&a.rate.runs))
    });
    let beyond = arms.split_off(rows_max.min(arms.len()));
    let row = |arm: &Arm| Row {
        label: label(arm, original, &|parts| part(parts, names)),
        short: label(arm, original, &unnamed),
        rate: arm.rate,
        control: arm.control,
    };
    Table {
        rows: arms.into_iter().map(row).collect(),
        rest: rest(&beyond),
    }
}

fn rest(arms: &[&Arm]) -> Option<String> {
    let count = arms.len() as u64;
    let sum = |of: fn(&Rate) -> u32| arms.iter().map(|arm| u64::from(of(&arm.rate))).sum();
    let (failed, runs): (u64, u64) = (sum(|rate| rate.failed), sum(|rate| rate.runs));
    (count > 0).then(|| {
        format!(
            "and {} more: {} of {} runs",
            words::number(count),
            words::number(failed),
            words::number(runs)
        )
    })
}

/// A recipe of a case, where there is little room: `0.25 CPU, alone`.
pub(crate) fn in_short(recipe: &Recipe, case: &Case) -> String {
    let original = case.arms.iter().find(|arm| arm.control);
    let original = original.map(|arm| &arm.recipe);
    if original == Some(recipe) {
        return "as it was".to_owned();
    }
    let arm = Arm {
        recipe: recipe.clone(),
        control: false,
        rate: Rate::default(),
    };
    label(&arm, original, &unnamed)
}

/// A part without the name of its test.
fn unnamed(kept: &CasePart) -> String {
    match kept {
        CasePart::Before(_) => "one test before it".to_owned(),
        CasePart::Beside(_) => "one test beside it".to_owned(),
        other => part(other, &|test| test.to_string()),
    }
}

fn label(arm: &Arm, original: Option<&Recipe>, named: &dyn Fn(&CasePart) -> String) -> String {
    let recipe = &arm.recipe;
    let kept = original.and_then(|original| kept(&recipe.parts, &original.parts, named));
    let set = (!recipe.conditions.is_empty()).then(|| conditions(recipe));
    let input = recipe.input.as_ref();
    let input = input.map(|it| format!("{} of input", words::counted(it.len() as u64, "byte")));
    let set = match (set, input) {
        (Some(set), Some(input)) => Some(format!("{set}, {input}")),
        (set, input) => set.or(input),
    };
    match (arm.control, set, kept) {
        (true, None, _) => "as it was at first".to_owned(),
        (_, None, None) => "the same again".to_owned(),
        (_, Some(set), None) => set,
        (_, None, Some(kept)) => kept,
        (_, Some(set), Some(kept)) => format!("{set}, {kept}"),
    }
}

/// What is kept of the original's parts, unless all is.
fn kept(
    parts: &[CasePart],
    of: &[CasePart],
    named: &dyn Fn(&CasePart) -> String,
) -> Option<String> {
    match parts {
        same if same == of => None,
        [] => Some("alone".to_owned()),
        [one] => Some(format!("only {}", named(one))),
        some if some.len() > of.len() => {
            Some(format!("among {} others", words::number(some.len() as u64)))
        }
        some => Some(format!("{} of {} parts", some.len(), of.len())),
    }
}

/// Bar of a rate: so many columns that are certain, so many that are possible, and the rest.
pub(crate) fn bar(rate: &Rate) -> (usize, usize, usize) {
    let columns = BAR_COLUMNS as f64;
    let high = ((rate.high.clamp(0.0, 1.0) * columns).ceil() as usize).min(BAR_COLUMNS);
    let low = ((rate.low.clamp(0.0, 1.0) * columns).floor() as usize).min(high);
    (low, high - low, BAR_COLUMNS - high)
}

/// `41 of 50`, `1 of 1`.
pub(crate) fn runs(row: &Row) -> String {
    share(&row.rate)
}
