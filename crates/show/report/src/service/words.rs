//! Words of a service's campaign.

use cohort_model::{InstanceId, Purpose, ServiceFinding, ServiceFindingKind};

use super::view::ServiceView;
use crate::line::{Line, Tone};

/// Columns of the label in front of a line.
pub(crate) const LABEL_COLUMNS: usize = 17;

/// A line that opens with what it is about.
pub(crate) fn labelled(tone: Tone, label: &str) -> Line {
    let gap = LABEL_COLUMNS.saturating_sub(label.len());
    Line::new().say(tone, label).plain(" ".repeat(gap))
}

pub(crate) fn kind(kind: ServiceFindingKind) -> &'static str {
    match kind {
        ServiceFindingKind::MemoryLeak => "memory leak",
        ServiceFindingKind::DescriptorLeak => "descriptor leak",
        ServiceFindingKind::ThreadLeak => "thread leak",
        ServiceFindingKind::SlowEndpoint => "slow endpoint",
        ServiceFindingKind::GrowingLatency => "growing latency",
        ServiceFindingKind::CpuBlowUp => "CPU blow-up",
        ServiceFindingKind::LockContention => "lock contention",
        ServiceFindingKind::CpuSaturation => "CPU saturation",
        ServiceFindingKind::HostBusy => "busy host",
        ServiceFindingKind::Throttled => "throttled",
        ServiceFindingKind::NetworkLimit => "network limit",
        ServiceFindingKind::MemoryPressure => "memory pressure",
        ServiceFindingKind::ErrorBurst => "error burst",
        ServiceFindingKind::Errors => "errors",
        ServiceFindingKind::Exception => "exception",
        ServiceFindingKind::WrongAnswer => "wrong answer",
        ServiceFindingKind::Crash => "crash",
        ServiceFindingKind::Hang => "hang",
        ServiceFindingKind::Weakness => "weakness",
    }
}

pub(crate) fn purpose(view: &ServiceView, purpose: &Purpose) -> String {
    match purpose {
        Purpose::General => "general".to_owned(),
        Purpose::Area { area } => format!("area {area}"),
        Purpose::Leaning { area } => format!("mostly {area}"),
        Purpose::Reproducing => "edge cases".to_owned(),
        Purpose::Suspect { kind: of, endpoint } => match endpoint {
            Some(endpoint) => format!("watching {}: {}", view.endpoint(*endpoint), kind(*of)),
            None => format!("watching: {}", kind(*of)),
        },
    }
}

/// Why instances are given up, with the last lines that the first of them wrote.
pub(crate) fn failed(instances: &[InstanceId], reason: &str) -> Vec<Line> {
    let mut text = reason.lines().map(crate::words::printable);
    let named: Vec<String> = instances.iter().map(ToString::to_string).collect();
    let head = labelled(Tone::Bad, "failed")
        .say(Tone::Name, named.join(", "))
        .plain(format!("  {}", text.next().unwrap_or_default()));
    let indent = " ".repeat(LABEL_COLUMNS);
    let further =
        text.map(|line| Line::new().say(Tone::Faint, format!("{indent}| {}", line.trim_end())));
    std::iter::once(head).chain(further).collect()
}

/// Failures that are told as one: their reasons are the same but for numbers, as addresses and times.
fn alike(reason: &str) -> String {
    let head = reason.lines().next().unwrap_or_default();
    head.chars().filter(|it| !it.is_ascii_digit()).collect()
}

/// Instances that were given up, those with like reasons together.
pub(crate) fn failures(view: &ServiceView) -> Vec<(Vec<InstanceId>, &str)> {
    let mut told: Vec<(Vec<InstanceId>, &str)> = Vec::new();
    for (id, instance) in &view.instances {
        let Some(reason) = &instance.failure else {
            continue;
        };
        let is_like = |(_, other): &&mut (_, &str)| alike(other) == alike(reason);
        match told.iter_mut().find(is_like) {
            Some((instances, _)) => instances.push(*id),
            None => told.push((vec![*id], reason)),
        }
    }
    told
}

/// `1 core`, `1.5 cores`.
pub(crate) fn cores(cores: f64) -> String {
    let number = crate::words::decimal(cores);
    let noun = if number == "1" { "core" } else { "cores" };
    format!("{number} {noun}")
}

/// All findings: faults first, then as they began.
pub(crate) fn in_order(view: &ServiceView) -> Vec<&ServiceFinding> {
    let mut findings: Vec<&ServiceFinding> = view.findings.values().collect();
    findings.sort_by_key(|finding| (!finding.is_fault(), finding.since, finding.number));
    findings
}

/// `since 12 s, told at 23 s, over`.
pub(crate) fn when(view: &ServiceView, finding: &ServiceFinding) -> String {
    let told = view.told.get(&finding.number).copied();
    format!(
        "since {:.0} s, told at {:.0} s{}",
        finding.since.seconds(),
        told.unwrap_or(finding.at).seconds(),
        match finding {
            it if it.withdrawn => ", withdrawn: it was none",
            it if it.ended => ", over",
            _ => "",
        }
    )
}

/// The instances of a finding: `i0, i2`, or how many.
pub(crate) fn instances(finding: &ServiceFinding) -> String {
    let named: Vec<String> = finding.instances.iter().map(ToString::to_string).collect();
    match named.len() {
        0 => "all instances".to_owned(),
        1..=4 => named.join(", "),
        many => format!("{many} instances"),
    }
}

/// A latency in microseconds, or a dash.
pub(crate) fn latency(us: Option<u64>) -> String {
    us.map_or_else(|| "-".to_owned(), crate::words::duration)
}
