//! What is new of the cases, a line each, as it comes: opened, tried again, failed again, explained,
//! closed.

use std::collections::BTreeMap;

use cohort_model::{At, Case, CaseId, Command, InstanceId, Record, Stage, TestId};

use super::dossier::kin;
use super::verdict::{sentence, subject};
use super::words::{conditions, series};
use crate::line::{Line, Tone};
use crate::sentence::labelled;
use crate::view::View;
use crate::words;

/// Columns of a message in a line.
const MESSAGE_COLUMNS_MAX: usize = 160;

/// What was said of the cases so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    said: BTreeMap<CaseId, Said>,
}

#[derive(Clone, Debug, Default)]
struct Said {
    tried: bool,
    again: bool,
    /// What its cause was said to be.
    explained: Option<String>,
    closed: bool,
}

impl News {
    fn lines(&mut self, view: &View, record: &Record) -> Vec<Line> {
        let Record::Decided {
            at,
            cases,
            decisions,
            ..
        } = record
        else {
            return Vec::new();
        };
        let tries = decisions.iter().filter_map(|decision| match decision.command {
            Command::TryCase { case, instance, .. } => Some((case, instance)),
            _ => None,
        });
        let mut tries: Vec<(CaseId, InstanceId)> = tries.collect();
        tries.dedup_by_key(|(case, _)| *case);
        let mut lines = Vec::new();
        for case in cases {
            let first = tries.iter().find(|(id, _)| *id == case.case);
            lines.extend(self.case(view, case, first.map(|(_, on)| (*on, *at))));
        }
        lines.extend(self.first_tries(view, *at, &tries));
        lines
    }

    /// The lines for `record`, which `view` has taken in already, coloured or not.
    pub(crate) fn after(&mut self, view: &View, record: &Record, color: bool) -> Vec<String> {
        let lines = self.lines(view, record).into_iter();
        lines.map(|line| line.render(usize::MAX, color)).collect()
    }

    fn case(&mut self, view: &View, case: &Case, tried: Option<(InstanceId, At)>) -> Vec<Line> {
        let names = |test: TestId| view.test_name(test).to_owned();
        let is_new = !self.said.contains_key(&case.case);
        let said = self.said.entry(case.case).or_default();
        let mut lines = Vec::new();
        let mut tell = |tone, text: String| {
            lines.push(labelled(tone, &case.case.to_string()).plain(text));
        };
        if is_new && case.stage != Stage::Closed {
            let mut text = opened(view, case);
            if let Some((instance, at)) = tried {
                said.tried = true;
                text.push_str(&format!("; {}", tried_on(case, instance, at)));
            }
            tell(Tone::Odd, text);
        }
        if case.stage == Stage::Closed {
            if !std::mem::replace(&mut said.closed, true) {
                tell(Tone::Odd, closing(case, view, said.explained.as_deref()));
            }
            return lines;
        }
        if let Some(runs) = case.runs_to_first.filter(|_| !said.again) {
            said.again = true;
            tell(Tone::Odd, again(case, runs));
        }
        if case.stage == Stage::Minimizing && said.explained.is_none() && !case.causes.is_empty() {
            let text = sentence(case, &names);
            said.explained = Some(text.clone());
            tell(Tone::Odd, text);
        }
        lines
    }

    fn first_tries(&mut self, view: &View, at: At, tries: &[(CaseId, InstanceId)]) -> Vec<Line> {
        let mut lines = Vec::new();
        for (id, instance) in tries {
            let Some(said) = self.said.get_mut(id).filter(|said| !said.tried) else {
                continue;
            };
            said.tried = true;
            if let Some(case) = view.edge_cases.get(id) {
                let text = tried_on(case, *instance, at);
                lines.push(labelled(Tone::Faint, &id.to_string()).plain(text));
            }
        }
        lines
    }
}

/// A line for each case that `record` closes.
#[must_use]
pub fn closings(view: &View, record: &Record, columns: usize, color: bool) -> Vec<String> {
    let Record::Decided { cases, .. } = record else {
        return Vec::new();
    };
    let closed = cases.iter().filter(|case| case.stage == Stage::Closed);
    let line = |case: &Case| {
        let text = closing(case, view, None);
        let line = labelled(Tone::Odd, &case.case.to_string()).plain(text);
        line.render(columns, color)
    };
    closed.map(line).collect()
}

/// That a case is closed, and why; what was said of it in the same words is not said again.
fn closing(case: &Case, view: &View, said: Option<&str>) -> String {
    let names = |test: TestId| view.test_name(test).to_owned();
    let text = sentence(case, &names);
    if said == Some(text.as_str()) {
        return format!("closed; cohort repro {} shows it again", case.case);
    }
    format!("closed: {text}")
}

fn opened(view: &View, case: &Case) -> String {
    let names = |test: TestId| view.test_name(test).to_owned();
    let subject = subject(case, &names);
    let Some(symptom) = &case.symptom else {
        return format!("{subject} is tried on request");
    };
    let head = symptom.message.lines().find(|it| !it.trim().is_empty());
    let said = match (symptom.class.as_str(), head) {
        (class, None) => class.to_owned(),
        ("", Some(said)) => said.to_owned(),
        (class, Some(said)) if said.starts_with(class) => said.to_owned(),
        (class, Some(said)) => format!("{class}: {said}"),
    };
    let said = words::cut(&words::printable(said.trim()), MESSAGE_COLUMNS_MAX);
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let before = if case.returned { "back again" } else { "opened" };
    let kin = kin(case, view.edge_cases.values().filter(|it| it.case < case.case));
    let kin: Vec<String> = kin.iter().map(ToString::to_string).collect();
    let kin = match kin.as_slice() {
        [] => String::new(),
        others => format!("; a different bug from {}, though the same test", series(others)),
    };
    format!("{before}: {subject}{said}{kin}")
}

fn tried_on(case: &Case, instance: InstanceId, at: At) -> String {
    let when = match at.since(case.since) {
        0 => "at once".to_owned(),
        us => format!("after {}", words::duration(us)),
    };
    let tried = if case.symptom.is_some() { "tried again" } else { "tried" };
    format!("{tried} on {instance} {when}")
}

fn again(case: &Case, runs: u32) -> String {
    let at = match runs {
        0 | 1 => "at the first try".to_owned(),
        runs => format!("at try {}", words::number(u64::from(runs))),
    };
    let failed = case.arms.iter().find(|arm| arm.rate.failed > 0);
    let with = failed.map_or_else(String::new, |arm| match arm.recipe.conditions.is_empty() {
        true => ", as it was".to_owned(),
        false => format!(", with {}", conditions(&arm.recipe)),
    });
    format!("failed again {at}{with}")
}
