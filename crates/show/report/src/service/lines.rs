//! Lines for a log that someone reads later: findings at once, and now and then a sign of life.

use std::collections::BTreeMap;

use cohort_model::{
    At, Case, Exit, Record, ServiceCommand, ServiceDecision, ServiceFinding, ServiceReason,
    ServiceSeen,
};

use super::fuzz;
use super::helpers;
use super::view::ServiceView;
use super::words::{self as own, labelled};
use crate::case::{News, Scene};
use crate::line::{Line, Tone};
use crate::words;

/// Without any other line, a sign of life comes this often.
const SILENCE_US_MAX: u64 = 10_000_000;

/// What was said so far.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    color: bool,
    said_at: At,
    said: BTreeMap<u32, (bool, String)>,
    /// Sentences of helpers that were said, by finding.
    told: BTreeMap<u32, usize>,
    news: News,
}

impl Lines {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(color: bool) -> Lines {
        Lines {
            color,
            ..Lines::default()
        }
    }

    /// The lines to print for `record`, which `view` has taken in already.
    pub fn after(&mut self, view: &ServiceView, record: &Record) -> Vec<String> {
        let lines = match record {
            Record::ServicePlanned(plan) => {
                vec![labelled(Tone::Strong, "starting").plain(format!(
                    "{}, {} and {} for all",
                    words::counted(u64::from(plan.instances), "instance"),
                    own::cores(plan.cores),
                    words::bytes(plan.memory)
                ))]
            }
            Record::ServiceSeen { at, seen } => {
                let told = seen.iter().filter(|seen| !view.is_of_replica(seen));
                let mut lines: Vec<Line> = told.flat_map(event).collect();
                lines.extend(seen.iter().filter_map(|it| helpers::event(view, it)));
                lines.extend(self.sign_of_life(view, *at, lines.is_empty()));
                lines
            }
            Record::ServiceDecided {
                at,
                cases,
                findings,
                decisions,
                ..
            } => {
                let mut lines = self.decided(view, findings, decisions);
                lines.extend(self.cases(view, *at, (cases, decisions)));
                lines
            }
            _ => Vec::new(),
        };
        if !lines.is_empty() {
            self.said_at = view.at();
        }
        lines
            .iter()
            .map(|line| line.render(usize::MAX, self.color))
            .collect()
    }

    fn decided(
        &mut self,
        view: &ServiceView,
        findings: &[ServiceFinding],
        decisions: &[ServiceDecision],
    ) -> Vec<Line> {
        let mut lines = Vec::new();
        for finding in findings {
            lines.extend(self.finding(view, finding));
            lines.extend(self.told(finding));
        }
        lines.extend(decisions.iter().filter_map(|it| decision(view, it)));
        lines
    }

    fn cases(
        &mut self,
        view: &ServiceView,
        at: At,
        (cases, decisions): (&[Case], &[ServiceDecision]),
    ) -> Vec<Line> {
        let tries = decisions
            .iter()
            .filter_map(|decision| match decision.command {
                ServiceCommand::TryCase { case, instance, .. } => Some((case, instance)),
                _ => None,
            });
        let tries: Vec<_> = tries.collect();
        let scene = Scene {
            names: &|test| test.to_string(),
            cases: &view.cases,
            at,
        };
        let new = self.news.tell(&scene, cases, &tries).into_iter();
        new.map(|(id, tone, text)| labelled(tone, &id.to_string()).plain(text))
            .collect()
    }

    /// A finding is said when it is new, and again only when it is over or names another place.
    fn finding(&mut self, view: &ServiceView, finding: &ServiceFinding) -> Option<Line> {
        let place = finding
            .endpoint
            .map_or_else(String::new, |endpoint| view.endpoint(endpoint).to_owned());
        let now = (finding.ended, place);
        if self.said.get(&finding.number) == Some(&now) {
            return None;
        }
        self.said.insert(finding.number, now);
        let tone = if finding.is_fault() {
            Tone::Bad
        } else {
            Tone::Odd
        };
        let over = match finding {
            it if it.withdrawn => "withdrawn, it was none: ",
            it if it.ended => "over: ",
            _ => "",
        };
        let line = labelled(tone, own::kind(finding.kind)).say(Tone::Name, own::instances(finding));
        Some(line.plain(format!("  {over}{}", words::printable(&finding.sentence))))
    }

    /// What helpers found, each once.
    fn told(&mut self, finding: &ServiceFinding) -> Vec<Line> {
        let before = self.told.entry(finding.number).or_default();
        let new = finding.told.iter().skip(*before);
        let lines = new
            .map(|told| labelled(Tone::Good, "found why").plain(words::printable(&told.sentence)));
        let lines = lines.collect();
        *before = finding.told.len();
        lines
    }

    fn sign_of_life(&self, view: &ServiceView, at: At, silent: bool) -> Option<Line> {
        if !silent || at.since(self.said_at) < SILENCE_US_MAX {
            return None;
        }
        let (calls, broken) = view.calls_total();
        let since = words::duration(at.0 / 1_000_000 * 1_000_000);
        // What a driver program calls is not seen.
        let done = match calls + broken {
            0 => words::counted(view.iterations, "iteration"),
            _ => format!(
                "{}, {broken} without an answer",
                words::counted(calls, "call")
            ),
        };
        let label = match view.is_reproducing() {
            true => "reproducing",
            false => "running",
        };
        Some(labelled(Tone::Faint, label).plain(format!(
            "{since}: {}, {done}, {}",
            view.doing(),
            words::counted(view.faults().count() as u64, "fault"),
        )))
    }
}

/// What is done about an instance, where that explains what is seen of it.
fn decision(view: &ServiceView, decision: &ServiceDecision) -> Option<Line> {
    match &decision.command {
        ServiceCommand::Specialize { instance, .. } if view.is_replica(*instance) => None,
        ServiceCommand::Specialize { instance, purpose } => {
            let purpose = words::printable(&own::purpose(view, purpose));
            let line = labelled(Tone::Faint, "specialized").say(Tone::Name, instance.to_string());
            Some(line.plain(format!("  {purpose}")))
        }
        ServiceCommand::Restart { instance } => {
            let why = match &decision.reason {
                ServiceReason::Found { finding } => view.findings.get(finding),
                _ => None,
            };
            let why = why.map_or_else(String::new, |finding| {
                format!("  for its {}", own::kind(finding.kind))
            });
            let line = labelled(Tone::Odd, "restarted").say(Tone::Name, instance.to_string());
            Some(line.plain(why))
        }
        _ => helpers::decision(view, decision),
    }
}

fn event(seen: &ServiceSeen) -> Vec<Line> {
    match seen {
        ServiceSeen::InstanceReady { instance, took_us } => vec![
            labelled(Tone::Good, "ready")
                .say(Tone::Name, instance.to_string())
                .plain(format!("  after {}", words::duration(*took_us))),
        ],
        ServiceSeen::InstanceExited {
            instance,
            exit,
            lived_us,
            again,
            ..
        } if *exit != Exit::Asked => {
            let how = match exit {
                Exit::Asked => "as asked".to_owned(),
                Exit::Code { code } => format!("with exit code {code}"),
                Exit::Signal { signal } => format!("by signal {signal}"),
                Exit::OutOfMemory => "for lack of memory".to_owned(),
            };
            let again = if *again { "; it is started again" } else { "" };
            let text = format!("  ended {how} after {}{again}", words::duration(*lived_us));
            vec![
                labelled(Tone::Bad, "exited")
                    .say(Tone::Name, instance.to_string())
                    .plain(text),
            ]
        }
        // What it wrote stands in the summary.
        ServiceSeen::InstanceFailed { instance, reason } => {
            let head = reason.lines().next().unwrap_or_default();
            own::failed(&[*instance], head.trim_end_matches("; its last lines:"))
        }
        _ => fuzz::event(seen).into_iter().collect(),
    }
}
