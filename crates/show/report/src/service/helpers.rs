//! Helpers in words: sent out, taken away, what they found.

use cohort_model::{
    HelperEnding, HelperWithdrawal, ServiceCommand, ServiceDecision, ServiceFinding, ServiceReason,
    ServiceSeen,
};

use super::view::ServiceView;
use super::words::{self as own, labelled};
use crate::line::{Line, Tone};
use crate::words;

/// That one is sent out, or taken away.
pub(super) fn decision(view: &ServiceView, decision: &ServiceDecision) -> Option<Line> {
    match &decision.command {
        ServiceCommand::Deploy {
            helper, instance, ..
        } => {
            let why = match &decision.reason {
                ServiceReason::Found { finding } => view.findings.get(finding),
                _ => None,
            };
            let why = why.map_or_else(String::new, |it| format!(" for its {}", own::kind(it.kind)));
            let line = labelled(Tone::Faint, "deployed").say(Tone::Name, instance.to_string());
            Some(line.plain(format!("  {}{why}", words::printable(helper))))
        }
        ServiceCommand::Withdraw { deployment } => {
            let (helper, instance) = view.helpers.get(deployment)?;
            let ServiceReason::Helper(why) = &decision.reason else {
                return None;
            };
            let why = withdrawn(*why)?;
            let line = labelled(Tone::Faint, "withdrawn").say(Tone::Name, instance.to_string());
            Some(line.plain(format!("  {}: {why}", words::printable(helper))))
        }
        _ => None,
    }
}

/// Why, where a person wonders.
fn withdrawn(why: HelperWithdrawal) -> Option<String> {
    match why {
        HelperWithdrawal::ReasonGone => None,
        HelperWithdrawal::InstanceGone => Some("its server ended".to_owned()),
        HelperWithdrawal::Overdue => Some("it did not end".to_owned()),
        HelperWithdrawal::Costly { cores, expected } => Some(format!(
            "it used {}, and was said to use {}",
            own::cores(cores),
            own::cores(expected)
        )),
        HelperWithdrawal::Harmful { slowdown, bound } => Some(format!(
            "calls took {slowdown:.2} times as long with it; at most {bound:.2} was allowed"
        )),
    }
}

/// That one came to nothing.
pub(super) fn event(view: &ServiceView, seen: &ServiceSeen) -> Option<Line> {
    let ServiceSeen::HelperEnded {
        deployment,
        ending: HelperEnding::Failed { why },
        ..
    } = seen
    else {
        return None;
    };
    let (helper, instance) = view.helpers.get(deployment)?;
    let line = labelled(Tone::Odd, "helper").say(Tone::Name, instance.to_string());
    let text = format!(
        "  {} failed: {}",
        words::printable(helper),
        words::printable(why)
    );
    Some(line.plain(text))
}

/// What helpers found of a finding, a sentence each, and where it is kept.
pub(super) fn told(finding: &ServiceFinding) -> Vec<String> {
    let mut told: Vec<String> = finding.told.iter().map(|it| it.sentence.clone()).collect();
    let mut directories: Vec<_> = finding
        .artifacts
        .iter()
        .filter_map(|it| it.parent())
        .collect();
    directories.dedup();
    told.extend(
        directories
            .iter()
            .map(|it| format!("kept in {}", it.display())),
    );
    told
}
