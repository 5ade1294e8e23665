//! What is known of a case, in one sentence.

use cohort_model::{Case, CasePart, CaseVerdict, Cause, Rate, Recipe, Stage, Subject, SymptomKind};

use super::numbers::{interval, once_in};
use super::words::{
    Names, clause, conditions, contrast, parts_clause, quoted, series, setting, share, verb,
};
use crate::words;

/// How sure an interval of a [`Rate`] is, percent.
const CONFIDENCE: u32 = 95;

/// Causes beside the first that are named.
const MORE_CAUSES: usize = 2;

/// What a case is about: `` `tests::a` ``, `` `POST /orders` ``, `` `GET /items/13` ``, `the server`.
#[must_use]
pub fn subject(case: &Case, names: Names<'_>) -> String {
    match &case.subject {
        Subject::Test(test) => quoted(&names(*test)),
        Subject::Service(_) if !case.request.is_empty() => quoted(&case.request),
        Subject::Service(endpoint) if endpoint.is_empty() => "the server".to_owned(),
        Subject::Service(endpoint) => quoted(endpoint),
    }
}

/// The sentence, without its full stop.
#[must_use]
pub fn sentence(case: &Case, names: Names<'_>) -> String {
    let told = Told { case, names };
    let back = if case.returned { "back again: " } else { "" };
    let known = match case.verdict {
        Some(CaseVerdict::Always) => told.always(),
        Some(CaseVerdict::Conditional) => told.conditional(),
        Some(CaseVerdict::Sometimes) => told.sometimes(),
        Some(CaseVerdict::NotReproduced) => told.not_reproduced(),
        Some(CaseVerdict::NotTried) => told.not_tried(),
        Some(CaseVerdict::Unsuspicious) => told.unsuspicious(),
        None => told.under_way(),
    };
    let old = match case.age_us {
        0 => String::new(),
        us => format!(", on a server that has run for {}", words::duration(us)),
    };
    format!("{back}{} {known}{old}", subject(case, names))
}

/// How far a case is, without its name.
#[must_use]
pub(crate) fn progress_of(case: &Case) -> String {
    let nameless = |_| String::new();
    let told = Told {
        case,
        names: &nameless,
    };
    match (case.stage, case.causes.first()) {
        (Stage::Minimizing, Some(cause)) if cause.parts.is_empty() => {
            format!("{} {}", told.verb(), told.because(cause))
        }
        (Stage::Minimizing, Some(_)) => {
            let (runs, failed) = total(case);
            format!("failed again in {failed} of {runs} runs so far; what can be left out is tried")
        }
        _ => told.under_way(),
    }
}

/// All runs of a case, and those of them that failed.
#[must_use]
pub fn total(case: &Case) -> (u64, u64) {
    let rates = case.arms.iter().map(|arm| &arm.rate);
    rates.fold((0, 0), |(runs, failed), rate| {
        (runs + u64::from(rate.runs), failed + u64::from(rate.failed))
    })
}

/// Runs as the case was at first.
pub(crate) fn control(case: &Case) -> Option<&Rate> {
    let control = case.arms.iter().find(|arm| arm.control);
    control.map(|arm| &arm.rate).filter(|rate| rate.runs > 0)
}

struct Told<'a> {
    case: &'a Case,
    names: Names<'a>,
}

impl Told<'_> {
    fn verb(&self) -> String {
        let kind = self.case.symptom.as_ref().map(|symptom| symptom.kind);
        let of_a_server = match &self.case.subject {
            Subject::Service(endpoint) => !endpoint.is_empty() || !self.case.request.is_empty(),
            Subject::Test(_) => false,
        };
        match kind {
            Some(SymptomKind::Signal | SymptomKind::Abort) if of_a_server => {
                "crashes the server".to_owned()
            }
            _ => verb(kind).to_owned(),
        }
    }

    fn always(&self) -> String {
        let rate = control(self.case).or(self.case.smallest.as_ref().map(|arm| &arm.rate));
        let runs = rate.map_or_else(String::new, |rate| format!(": {} runs", share(rate)));
        format!("{} every time{runs}", self.verb())
    }

    fn conditional(&self) -> String {
        let Some(first) = self.case.causes.first() else {
            return self.under_the_smallest();
        };
        let mut text = format!("{} {}", self.verb(), self.because(first));
        let more = &self.case.causes[1..];
        let also = more.iter().filter(|cause| !self.is_together(first, cause));
        let also: Vec<String> = also
            .map(|cause| format!("{} ({})", self.clause(cause), share(&cause.with)))
            .collect();
        if !also.is_empty() {
            text.push_str("; also ");
            text.push_str(&at_most(&also));
        }
        text
    }

    /// A condition was found, and which part of the recipe it is was not.
    fn under_the_smallest(&self) -> String {
        let Some(smallest) = &self.case.smallest else {
            return self.sometimes();
        };
        let with = recipe(&smallest.recipe, self.names);
        format!("{} {with}: {} runs", self.verb(), share(&smallest.rate))
    }

    /// `below 0.6 CPU: 41 of 50 runs, against 0 of 50 without that limit`.
    fn because(&self, cause: &Cause) -> String {
        let others = self.case.causes.iter().skip(1);
        let together: Vec<String> = others
            .filter(|other| self.is_together(cause, other))
            .map(|other| self.setting(other))
            .collect();
        let together = match together.as_slice() {
            [] => String::new(),
            more => format!(", together with {}", at_most(more)),
        };
        let (with, without) = (share(&cause.with), share(&cause.without));
        let clause = self.clause(cause);
        let Some(condition) = &cause.condition else {
            let variable = |part: &CasePart| matches!(part, CasePart::Variable(_));
            let alone = self.is_all_there_is(cause) && !cause.parts.iter().all(variable);
            let compared = match cause.parts.len() {
                _ if alone => "alone",
                1 => "without it",
                _ => "without them",
            };
            return format!("{clause}{together}: {with}, {compared} {without}");
        };
        let contrast = contrast(condition);
        format!("{clause}{together}: {with} runs, against {without} {contrast}")
    }

    fn clause(&self, cause: &Cause) -> String {
        let always = cause.with.failed == cause.with.runs;
        match &cause.condition {
            Some(condition) if cause.parts.is_empty() => clause(condition, cause.threshold),
            Some(condition) => format!(
                "{} {}",
                clause(condition, cause.threshold),
                parts_clause(&cause.parts, always, self.names)
            ),
            None => parts_clause(&cause.parts, always, self.names),
        }
    }

    fn setting(&self, cause: &Cause) -> String {
        let condition = cause.condition.iter().map(setting);
        let parts = cause.parts.iter();
        let parts = parts.map(|part| super::words::part(part, self.names));
        let all: Vec<String> = condition.chain(parts).collect();
        series(&all)
    }

    /// Whether two causes have to come together: the smallest recipe needs both.
    fn is_together(&self, one: &Cause, other: &Cause) -> bool {
        let Some(smallest) = self.case.smallest.as_ref().filter(|_| one != other) else {
            return false;
        };
        let needs = |cause: &Cause| {
            let of_kind = |wanted: &cohort_model::Condition| {
                let conditions = &smallest.recipe.conditions;
                conditions.iter().any(|it| it.kind() == wanted.kind())
            };
            let mut parts = cause.parts.iter();
            cause.condition.as_ref().is_none_or(of_kind)
                && parts.all(|part| smallest.recipe.parts.contains(part))
        };
        needs(one) && needs(other)
    }

    /// Whether nothing but the parts of a cause is left in the smallest recipe.
    fn is_all_there_is(&self, cause: &Cause) -> bool {
        let smallest = self.case.smallest.as_ref();
        smallest.is_some_and(|arm| arm.recipe.parts == cause.parts)
    }

    fn sometimes(&self) -> String {
        let verb = self.verb();
        let smallest = self.case.smallest.as_ref();
        if let Some(usual) = control(self.case).filter(|rate| rate.failed > 0) {
            if usual.failed == usual.runs {
                let (share, interval) = (share(usual), interval(usual));
                return format!("{verb} in {share} runs as it was ({interval})");
            }
            return format!(
                "{verb} now and then, whatever is varied: {} runs ({})",
                share(usual),
                interval(usual)
            );
        }
        if let Some(arm) = smallest.filter(|arm| arm.rate.failed > 0) {
            let with = recipe(&arm.recipe, self.names);
            return format!(
                "{verb} now and then: {} runs {with} ({}), and which of that matters is not known",
                share(&arm.rate),
                interval(&arm.rate)
            );
        }
        let (runs, failed) = total(self.case);
        let (failed, runs) = (words::number(failed), words::number(runs));
        format!("{verb} now and then: {failed} of {runs} runs under all conditions")
    }

    fn not_reproduced(&self) -> String {
        let (runs, _) = total(self.case);
        let tried = words::counted(runs, "run");
        format!("did not fail again in {tried}{}", self.rarity(runs))
    }

    fn unsuspicious(&self) -> String {
        let (runs, _) = total(self.case);
        let tried = words::counted(runs, "run");
        let plain = control(self.case).map_or(0, |rate| u64::from(rate.runs));
        // The remark says how rare it must be, by the risk that was asked for: two bounds would be one too many.
        let rarity = match self.case.remarks.is_empty() {
            true => self.rarity(runs),
            false if plain < runs => format!(", {} of them as it is", words::number(plain)),
            false => String::new(),
        };
        format!("did not fail in {tried}{rarity}")
    }

    /// How rare it must be after `runs` that all passed.
    fn rarity(&self, runs: u64) -> String {
        let Some(rate) = control(self.case) else {
            return String::new();
        };
        let Some(once_in) = once_in(rate.high) else {
            return ", too few to say how often it does".to_owned();
        };
        let rare = format!("less often than {once_in} with {CONFIDENCE} % confidence");
        if u64::from(rate.runs) == runs {
            return format!(": {rare}");
        }
        let so_many = words::number(u64::from(rate.runs));
        format!(", {so_many} of them as it was at first: there {rare}")
    }

    fn not_tried(&self) -> String {
        match self.case.remarks.first() {
            Some(why) => {
                let why = words::printable(why);
                format!("was not tried again: {}", within(why.trim_end_matches('.')))
            }
            None => "was not tried again".to_owned(),
        }
    }

    fn under_way(&self) -> String {
        let (runs, failed) = total(self.case);
        let so_far = format!("{} of {} runs", words::number(failed), words::number(runs));
        let verb = self.verb();
        match self.case.stage {
            Stage::Open if self.case.symptom.is_none() => "is to be tried".to_owned(),
            Stage::Open | Stage::Reproducing | Stage::Closed if runs == 0 => {
                "failed and was not tried again yet".to_owned()
            }
            Stage::Open | Stage::Reproducing if failed == 0 => {
                format!(
                    "did not fail again in {} so far",
                    words::counted(runs, "run")
                )
            }
            Stage::Minimizing => match self.case.causes.first() {
                Some(cause) => format!("{verb} {}", self.because(cause)),
                None => format!("failed again in {so_far} so far; what can be left out is tried"),
            },
            Stage::Explaining | Stage::Open | Stage::Reproducing | Stage::Closed => {
                format!("failed again in {so_far} so far; under which condition is tried")
            }
        }
    }
}

/// A sentence as it goes on within another one.
fn within(sentence: &str) -> String {
    let mut rest = sentence.chars();
    let first = rest.next();
    let is_word = rest.clone().next().is_some_and(|c| !c.is_uppercase());
    let first = first.map(|c| if is_word { c.to_ascii_lowercase() } else { c });
    first.into_iter().chain(rest).collect()
}

/// Items beyond a few are counted.
fn at_most(items: &[String]) -> String {
    match items.len().checked_sub(MORE_CAUSES) {
        None | Some(0) => series(items),
        Some(rest) => format!("{} and {rest} more", items[..MORE_CAUSES].join(", ")),
    }
}

/// A recipe in words: what is set, and what is kept.
#[must_use]
pub fn recipe(recipe: &Recipe, names: Names<'_>) -> String {
    let parts: Vec<String> = recipe
        .parts
        .iter()
        .map(|part| super::words::part(part, names))
        .collect();
    match (recipe.conditions.is_empty(), parts.is_empty()) {
        (true, true) => "alone".to_owned(),
        (true, false) => format!("with {}", series(&parts)),
        (false, true) => format!("with {}", conditions(recipe)),
        (false, false) => format!("with {} and {}", conditions(recipe), series(&parts)),
    }
}
