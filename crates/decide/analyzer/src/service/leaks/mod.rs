//! Memory, descriptors and threads that grow without end, and whose calls make them grow.
//!
//! A resource of an instance is judged by [`crate::leak`] over three reaches: all its steady time
//! since it was ready, and the latest 40 and 120 seconds (a leak that begins late is no large part
//! of all time). In the shorter ones only growth beyond everything seen before counts, so that a
//! tooth of a collector's saw is none. Growth that slows down (negative curvature) has to go on
//! for longer before it is believed: a cache fills that way.

mod growth;
mod level;
mod reading;

use std::collections::BTreeMap;

use cohort_model::{At, InstanceId, Measured, ServiceFindingKind};

use self::growth::{Growth, growth};
pub(super) use self::level::level_off;
use super::View;
use super::attribution::{self, Blame, Blamed, Calls, Row};
use super::book::{Conclusion, Key};
use super::record::{Second, Span};
use super::words;
use crate::findings::{confidence_of_chance, measured};

/// How many times in a row it must be judged so.
const NEEDS: u32 = 3;
/// It is over when it was not judged so for this long.
const PATIENCE_US: u64 = 30_000_000;

/// Windows of all instances that are compared with growth.
const ROWS_MAX: usize = 3_000;

/// What can leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Memory,
    Files,
    Tasks,
}

impl Resource {
    const ALL: [Resource; 3] = [Resource::Memory, Resource::Files, Resource::Tasks];

    fn kind(self) -> ServiceFindingKind {
        match self {
            Resource::Memory => ServiceFindingKind::MemoryLeak,
            Resource::Files => ServiceFindingKind::DescriptorLeak,
            Resource::Tasks => ServiceFindingKind::ThreadLeak,
        }
    }

    fn of_span(self, span: &Span) -> f64 {
        match self {
            Resource::Memory => span.memory,
            Resource::Files => span.files,
            Resource::Tasks => span.tasks,
        }
    }

    fn of_second(self, second: &Second) -> f64 {
        match self {
            Resource::Memory => second.memory,
            Resource::Files => second.files,
            Resource::Tasks => second.tasks,
        }
    }

    /// Growth from the end of one window to that of the next.
    fn grown(self, from: &Second, to: &Second) -> Option<f64> {
        let place = match self {
            Resource::Memory => 0,
            Resource::Files => 1,
            Resource::Tasks => 2,
        };
        Some(to.at_end?[place] - from.at_end?[place])
    }

    /// Growth below this is not worth a word: of itself, and as a share of where it began. `from`: that;
    /// a small process that nearly doubles grows, too.
    fn rise_min(self, from: f64) -> (f64, f64) {
        const MIB: f64 = 1_048_576.0;
        match self {
            Resource::Memory => ((0.75 * from).clamp(2.5 * MIB, 5.0 * MIB), 0.1),
            Resource::Files => (20.0, 0.25),
            Resource::Tasks => (12.0, 0.25),
        }
    }

    /// `12 MB`, `12`.
    fn count(self, count: f64) -> String {
        match self {
            Resource::Memory => words::bytes(count),
            Resource::Files | Resource::Tasks if count < 9.5 => format!("{count:.1}"),
            Resource::Files | Resource::Tasks => format!("{count:.0}"),
        }
    }

    /// `12 MB`, `12 descriptors`.
    fn amount(self, count: f64) -> String {
        match self {
            Resource::Memory => self.count(count),
            Resource::Files => format!("{} descriptors", self.count(count)),
            Resource::Tasks => format!("{} threads", self.count(count)),
        }
    }

    /// `33 KB`, `1 descriptor`: what comes in whole numbers, rounded when it is close to one.
    fn each(self, count: f64) -> String {
        let whole = count.round();
        let close = whole >= 1.0 && (count / whole - 1.0).abs() < 0.04;
        match self {
            Resource::Files if close && whole < 1.5 => "1 descriptor".to_owned(),
            Resource::Tasks if close && whole < 1.5 => "1 thread".to_owned(),
            Resource::Files if close => format!("{whole:.0} descriptors"),
            Resource::Tasks if close => format!("{whole:.0} threads"),
            _ => self.amount(count),
        }
    }

    /// It comes in whole numbers.
    fn is_counted(self) -> bool {
        self != Resource::Memory
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Resource::Memory => ("memory", "bytes"),
            Resource::Files => ("open descriptors", "descriptors"),
            Resource::Tasks => ("threads", "threads"),
        }
    }
}

pub(super) fn conclude(view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
    for resource in Resource::ALL {
        let leaking: Vec<Growth> = view
            .instances
            .iter()
            .filter(|(_, watched)| !watched.down)
            .filter_map(|(instance, watched)| growth(*instance, watched, resource))
            .collect();
        if let Some(conclusion) = concluded(view, resource, &leaking, at) {
            drawn.push(conclusion);
        }
    }
}

fn concluded(
    view: &View<'_>,
    resource: Resource,
    leaking: &[Growth],
    at: At,
) -> Option<Conclusion> {
    let clearest = leaking
        .iter()
        .max_by(|a, b| a.per_second.total_cmp(&b.per_second))?;
    let work = |endpoint| match resource {
        // What is kept is mostly what was made for the answer.
        Resource::Memory => view.mean_answer(endpoint),
        // How long a call takes says nothing of whether it keeps one.
        Resource::Files | Resource::Tasks => 0.0,
    };
    let blame = attribution::blame(&rows(view, resource, leaking), resource.is_counted(), work);
    let (what, unit) = resource.words();
    let instances: Vec<InstanceId> = leaking.iter().map(|g| g.instance).collect();
    let mut sentence = format!(
        "{} of {} grow{} by {} a second without levelling off ({} -> {})",
        capital(what),
        words::instances(&instances),
        if resource == Resource::Memory {
            "s"
        } else {
            ""
        },
        resource.count(clearest.per_second),
        resource.count(clearest.from),
        resource.count(clearest.to),
    );
    let mut evidence = vec![
        measured("growth", clearest.per_second, &format!("{unit}/s")),
        measured("grown by", clearest.to - clearest.from, unit),
        measured("trend by chance", clearest.verdict.p_value, "probability"),
        measured(
            "finished growth fits worse by",
            clearest.verdict.shape_ratio,
            "times",
        ),
    ];
    let endpoint = match &blame {
        None => None,
        Some(Blame::Calls(blamed)) => {
            sentence.push_str(&explained(view, resource, blamed, &mut evidence));
            blamed.alone.then_some(blamed.endpoint)
        }
        Some(Blame::Group {
            endpoints,
            per_call,
        }) => {
            sentence.push_str(&together(view, resource, endpoints, *per_call));
            evidence.push(measured("per call", *per_call, &format!("{unit}/call")));
            None
        }
    };
    sentence.push('.');
    Some(Conclusion {
        key: Key::of(resource.kind(), None),
        instances,
        endpoint,
        since: leaking.iter().map(|g| g.since).min().unwrap_or(at),
        confidence: confidence_of_chance(clearest.verdict.p_value * 10.0).max(0.6),
        sentence,
        evidence,
        excerpts: Vec::new(),
        needs: NEEDS,
        patience: PATIENCE_US,
        amount: clearest.to - clearest.from,
    })
}

fn explained(
    view: &View<'_>,
    resource: Resource,
    blamed: &Blamed,
    evidence: &mut Vec<Measured>,
) -> String {
    let unit = resource.words().1;
    let per_call = format!("{unit}/call");
    evidence.push(measured("per call", blamed.per_call, &per_call));
    evidence.push(measured("explained by its calls", blamed.share, "share"));
    let others: Vec<String> = blamed.others.iter().map(|e| view.name(*e)).collect();
    let beside = match others[..] {
        [] => String::new(),
        _ => format!(
            " (or those of {}, which are called together with it)",
            others.join(", ")
        ),
    };
    format!(
        "; calls of {} explain it: {} each{beside}",
        view.name(blamed.endpoint),
        resource.each(blamed.per_call),
    )
}

fn together(view: &View<'_>, resource: Resource, endpoints: &[u32], per_call: f64) -> String {
    let names: Vec<String> = endpoints.iter().map(|e| view.name(*e)).collect();
    let amount = resource.each(per_call);
    match names.as_slice() {
        [] => String::new(),
        [one] => format!("; {amount} for each call of {one}"),
        _ => format!(
            "; {amount} for each call of one of {}, which are called equally often",
            names.join(", ")
        ),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

fn calls(second: &Second, before: &Second) -> BTreeMap<u32, Calls> {
    let under_way = |endpoint| before.endpoint(endpoint).map_or(0.0, |e| e.in_flight);
    let calls = second.endpoints.iter().map(|e| {
        let calls = Calls {
            ended: e.calls,
            more_under_way: e.in_flight - under_way(e.endpoint),
        };
        (e.endpoint, calls)
    });
    calls.collect()
}

/// Growth beside calls from one window to the next, of all instances: those that grow and those
/// that do not.
fn rows(view: &View<'_>, resource: Resource, leaking: &[Growth]) -> Vec<Row> {
    let since = leaking.iter().map(|g| g.since).min().unwrap_or(At(0));
    let mut rows = Vec::new();
    let each = ROWS_MAX / view.instances.len().max(1) + 2;
    for watched in view.instances.values() {
        let seconds: Vec<&Second> = watched
            .recent(f64::INFINITY)
            .filter(|s| s.at >= since)
            .collect();
        let mut follows = false;
        // The latest of them, when there are very many.
        let latest = seconds.len().saturating_sub(each);
        for three in seconds[latest..].windows(3) {
            // What is held for threads that come or leave is nobody's call, nor is what they leave behind.
            let moved = |a: usize| (three[a].threads - three[a + 1].threads).abs() > 0.5;
            let growth = resource.grown(three[1], three[2]);
            let Some(growth) = growth.filter(|_| !moved(0) && !moved(1)) else {
                follows = false;
                continue;
            };
            rows.push(Row {
                growth,
                follows: std::mem::replace(&mut follows, true),
                seconds: three[2].span_s,
                calls: calls(three[2], three[1]),
                before: calls(three[1], three[0]),
            });
        }
    }
    rows
}
