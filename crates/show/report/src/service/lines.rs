//! Lines for a log that someone reads later: findings at once, and now and then a sign of life.

use std::collections::BTreeMap;

use cohort_model::{At, Exit, Record, ServiceDecision, ServiceFinding, ServiceSeen};

use super::view::ServiceView;
use super::words::{self as own, labelled};
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
                    "{}, {} cores and {} for all",
                    words::counted(u64::from(plan.instances), "instance"),
                    words::decimal(plan.cores),
                    words::bytes(plan.memory)
                ))]
            }
            Record::ServiceSeen { at, seen } => {
                let mut lines: Vec<Line> = seen.iter().flat_map(event).collect();
                lines.extend(self.sign_of_life(view, *at, lines.is_empty()));
                lines
            }
            Record::ServiceDecided {
                findings,
                decisions,
                ..
            } => self.decided(view, findings, decisions),
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
        }
        for decision in decisions {
            if let cohort_model::ServiceCommand::Specialize { instance, purpose } =
                &decision.command
            {
                let purpose = words::printable(&own::purpose(view, purpose));
                lines.push(
                    labelled(Tone::Faint, "specialized")
                        .say(Tone::Name, instance.to_string())
                        .plain(format!("  {purpose}")),
                );
            }
        }
        lines
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
        let tone = if finding.kind.is_fault() {
            Tone::Bad
        } else {
            Tone::Odd
        };
        let over = if finding.ended { "over: " } else { "" };
        let line = labelled(tone, own::kind(finding.kind)).say(Tone::Name, own::instances(finding));
        Some(line.plain(format!("  {over}{}", words::printable(&finding.sentence))))
    }

    fn sign_of_life(&self, view: &ServiceView, at: At, silent: bool) -> Option<Line> {
        if !silent || at.since(self.said_at) < SILENCE_US_MAX {
            return None;
        }
        let (calls, broken) = view.calls_total();
        Some(labelled(Tone::Faint, "running").plain(format!(
            "{}: {}, {}, {broken} without an answer, {}",
            words::duration(at.0 / 1_000_000 * 1_000_000),
            view.doing(),
            words::counted(calls, "call"),
            words::counted(view.faults().count() as u64, "fault"),
        )))
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
        ServiceSeen::InstanceFailed { instance, reason } => own::failed(*instance, reason),
        _ => Vec::new(),
    }
}
