//! Helpers in words: sent out, taken away, what they found.

use cohort_model::{
    HelperEnding, HelperWithdrawal, ServiceCommand, ServiceDecision, ServiceFinding, ServiceReason,
    ServiceSeen,
};

use super::view::{Deployed, ServiceView};
use super::words::{self as own, labelled};
use crate::line::{Line, Tone};
use crate::words;

/// That one is taken away.
pub(super) fn decision(view: &ServiceView, decision: &ServiceDecision) -> Option<Line> {
    match &decision.command {
        ServiceCommand::Withdraw { deployment } => {
            let Deployed {
                helper, instance, ..
            } = view.helpers.get(deployment)?;
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

/// That one looks, or came to nothing.
pub(super) fn event(view: &ServiceView, seen: &ServiceSeen) -> Option<Line> {
    let (deployment, ending) = match seen {
        ServiceSeen::HelperStarted { deployment } => (deployment, None),
        ServiceSeen::HelperEnded {
            deployment, ending, ..
        } => (deployment, Some(ending)),
        _ => return None,
    };
    let it = view.helpers.get(deployment)?;
    let why = it.finding.and_then(|it| view.findings.get(&it));
    let why = why.map_or_else(String::new, |it| format!(" for its {}", own::kind(it.kind)));
    let helper = words::printable(&it.helper);
    let (tone, label, text) = match ending {
        None => (Tone::Faint, "deployed", format!("{helper}{why}")),
        Some(HelperEnding::Failed { why }) => {
            let why = words::printable(why);
            (Tone::Odd, "helper", format!("{helper} failed: {why}"))
        }
        Some(HelperEnding::Missing { lacks }) => {
            let lacks = words::printable(&lacks.join("; "));
            let text = format!("{helper}{why} cannot be had: {lacks}");
            (Tone::Odd, "helper", text)
        }
        Some(HelperEnding::Done | HelperEnding::Unfit) => return None,
    };
    let line = labelled(tone, label).say(Tone::Name, it.instance.to_string());
    Some(line.plain(format!("  {text}")))
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
