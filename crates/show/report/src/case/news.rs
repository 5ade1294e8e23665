//! What is new of the cases, a line each, as it comes: opened, tried again, failed again, explained,
//! closed.

use std::collections::BTreeMap;

use cohort_model::{At, Case, CaseId, Command, InstanceId, Record, Stage, TestId};

use super::dossier::{kin, what};
use super::table::in_short;
use super::verdict::{sentence, subject};
use super::words::{Names, series};
use crate::line::Tone;
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
    /// Other builds of which it was said.
    variants: usize,
}

/// What the lines are made of.
pub(crate) struct Scene<'a> {
    /// Names of tests.
    pub(crate) names: Names<'a>,
    /// All cases, each as last told.
    pub(crate) cases: &'a BTreeMap<CaseId, Case>,
    /// Now.
    pub(crate) at: At,
}

/// Something new of a case.
pub(crate) type New = (CaseId, Tone, String);

impl News {
    /// What is new in a suite's `record`, which `view` has taken in already; coloured or not.
    pub(crate) fn after(&mut self, view: &View, record: &Record, color: bool) -> Vec<String> {
        let Record::Decided {
            at,
            cases,
            decisions,
            ..
        } = record
        else {
            return Vec::new();
        };
        if view.is_repeating() {
            return Vec::new();
        }
        let tries = decisions
            .iter()
            .filter_map(|decision| match decision.command {
                Command::TryCase { case, instance, .. } => Some((case, instance)),
                _ => None,
            });
        let tries: Vec<(CaseId, InstanceId)> = tries.collect();
        let scene = Scene {
            names: &|test| view.test_name(test).to_owned(),
            cases: &view.edge_cases,
            at: *at,
        };
        let new = self.tell(&scene, cases, &tries).into_iter();
        let builds = decisions
            .iter()
            .filter_map(|decision| match decision.command {
                Command::Instrument { case, instance, .. } => {
                    let text = format!(
                        "its program is built anew on {instance}, to tell which lines it runs"
                    );
                    Some((case, Tone::Faint, text))
                }
                _ => None,
            });
        let new = new.chain(builds);
        let line = |(id, tone, text): New| labelled(tone, &id.to_string()).plain(text);
        new.map(|new| line(new).render(usize::MAX, color)).collect()
    }

    /// What is new of `cases`, and which are tried for the first time.
    pub(crate) fn tell(
        &mut self,
        scene: &Scene<'_>,
        cases: &[Case],
        tries: &[(CaseId, InstanceId)],
    ) -> Vec<New> {
        let mut new = Vec::new();
        for case in cases {
            let first = tries.iter().find(|(id, _)| *id == case.case);
            new.extend(self.case(scene, case, first.map(|(_, on)| *on)));
        }
        for (id, instance) in tries {
            let Some(said) = self.said.get_mut(id).filter(|said| !said.tried) else {
                continue;
            };
            said.tried = true;
            if let Some(case) = scene.cases.get(id) {
                new.push((*id, Tone::Faint, tried_on(case, *instance, scene.at)));
            }
        }
        new
    }

    fn case(&mut self, scene: &Scene<'_>, case: &Case, tried: Option<InstanceId>) -> Vec<New> {
        let is_new = !self.said.contains_key(&case.case);
        let said = self.said.entry(case.case).or_default();
        let mut new = Vec::new();
        let mut tell = |text: String| new.push((case.case, Tone::Odd, text));
        if is_new && case.stage != Stage::Closed {
            let mut text = opened(scene, case);
            if let Some(instance) = tried {
                said.tried = true;
                text.push_str(&format!("; {}", tried_on(case, instance, scene.at)));
            }
            tell(text);
        }
        if case.stage == Stage::Closed {
            if !std::mem::replace(&mut said.closed, true) {
                tell(closing(case, scene.names, said.explained.as_deref()));
            }
            for variant in case.variants.iter().skip(said.variants) {
                tell(variant.shown());
            }
            said.variants = case.variants.len();
            return new;
        }
        if let Some(runs) = case.runs_to_first.filter(|_| !said.again) {
            said.again = true;
            tell(again(case, runs));
        }
        if case.stage == Stage::Minimizing && said.explained.is_none() && !case.causes.is_empty() {
            let text = sentence(case, scene.names);
            said.explained = Some(text.clone());
            tell(text);
        }
        new
    }
}

/// A line for each case that `record` closes.
#[must_use]
pub fn closings(view: &View, record: &Record, columns: usize, color: bool) -> Vec<String> {
    let Record::Decided { cases, .. } = record else {
        return Vec::new();
    };
    let closed = cases
        .iter()
        .filter(|case| case.stage == Stage::Closed && !view.is_repeating());
    let names = |test: TestId| view.test_name(test).to_owned();
    let line = |case: &Case| {
        let text = closing(case, &names, None);
        let line = labelled(Tone::Odd, &case.case.to_string()).plain(text);
        line.render(columns, color)
    };
    closed.map(line).collect()
}

/// That a case is closed, and why; what was said of it in the same words is not said again.
fn closing(case: &Case, names: Names<'_>, said: Option<&str>) -> String {
    let text = sentence(case, names);
    if said == Some(text.as_str()) {
        return format!("closed; cohort repro {} shows it again", case.case);
    }
    format!("closed: {text}")
}

fn opened(scene: &Scene<'_>, case: &Case) -> String {
    let subject = subject(case, scene.names);
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
    let said = if said.is_empty() {
        said
    } else {
        format!(": {said}")
    };
    let before = if case.returned {
        "back again"
    } else {
        "opened"
    };
    let kin = kin(case, scene.cases.values().filter(|it| it.case < case.case));
    let kin: Vec<String> = kin.iter().map(ToString::to_string).collect();
    let kin = match kin.as_slice() {
        [] => String::new(),
        others => format!(
            "; a different bug from {}, though the same {}",
            series(others),
            what(case)
        ),
    };
    format!("{before}: {subject}{said}{kin}")
}

fn tried_on(case: &Case, instance: InstanceId, at: At) -> String {
    let when = match at.since(case.since) {
        0 => "at once".to_owned(),
        us => format!("after {}", words::duration(us)),
    };
    let tried = if case.symptom.is_some() {
        "tried again"
    } else {
        "tried"
    };
    format!("{tried} on {instance} {when}")
}

fn again(case: &Case, runs: u32) -> String {
    let at = match runs {
        0 | 1 => "at the first try".to_owned(),
        runs => format!("at try {}", words::number(u64::from(runs))),
    };
    let failed = case.arms.iter().find(|arm| arm.rate.failed > 0);
    let with = failed.map_or_else(String::new, |arm| match in_short(&arm.recipe, case) {
        same if same == "as it was" => ", as it was".to_owned(),
        how if how == "alone" => ", alone".to_owned(),
        how => format!(", with {how}"),
    });
    format!("failed again {at}{with}")
}
