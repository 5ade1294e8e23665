//! What a terminal shows while a service's campaign runs.
//!
//! ```text
//! 42 s of 1 m 00 s  40 threads on 2 instances  12,345 calls  310/s  2 faults
//! ━━━━━━━━━━━━━━━━━━━━━━━━──────────────────────────────────────────────────────
//!   i0 general       10 threads   0.42 cores    31 MiB     99/s  p95 4.1 ms
//!   i1 area search   12 threads   0.98 cores   210 MiB    120/s  p95 31 ms
//!   memory leak  i1  Memory of i1 grows ...
//!   EC-3  failed again in 3 of 4 runs so far; what can be left out is tried  POST /checkout
//! ```
//!
//! Promise: no line is wider and no frame higher than asked, whatever an endpoint is called.

use cohort_model::{At, Case, Subject};

use super::view::{ServiceInstance, ServiceView};
use super::words as own;
use crate::case::verdict::progress_of;
use crate::line::{Line, Tone};
use crate::words;

/// Findings shown below the instances.
const FINDINGS_MAX: usize = 4;
/// Open edge cases shown below those.
const CASES_MAX: usize = 3;

/// The frame at `now`.
#[must_use]
pub fn frame(view: &ServiceView, now: At, width: usize, height: usize, color: bool) -> Vec<String> {
    let mut lines = vec![header(view, now)];
    if let Some(plan) = &view.plan {
        lines.push(bar(now.0.min(plan.duration_us), plan.duration_us, width));
    }
    let newest: Vec<_> = view.faults().filter(|finding| !finding.ended).collect();
    let told = newest.len().min(FINDINGS_MAX);
    let cases = view.open_cases();
    let cases = &cases[..cases.len().min(CASES_MAX)];
    let room = height.saturating_sub(lines.len() + told + cases.len());
    let shown = view
        .instances
        .iter()
        .filter(|(_, instance)| !instance.closed);
    for (id, instance) in shown.take(room) {
        lines.push(line(view, &id.to_string(), instance));
    }
    for finding in newest.iter().rev().take(told) {
        let line = Line::new()
            .plain("  ")
            .say(Tone::Bad, own::kind(finding.kind))
            .plain(format!("  {}  ", own::instances(finding)))
            .plain(words::printable(&finding.sentence));
        lines.push(line);
    }
    lines.extend(cases.iter().map(|case| line_of_case(case)));
    lines.truncate(height);
    lines.iter().map(|line| line.render(width, color)).collect()
}

fn line_of_case(case: &Case) -> Line {
    let subject = match &case.subject {
        Subject::Service(endpoint) => words::printable(endpoint),
        Subject::Test(test) => test.to_string(),
    };
    Line::new()
        .plain("  ")
        .say(Tone::Odd, format!("{:<5} ", case.case.to_string()))
        .plain(progress_of(case))
        .say(Tone::Faint, format!("  {subject}"))
}

fn header(view: &ServiceView, now: At) -> Line {
    let elapsed = words::duration(now.0 / 1_000_000 * 1_000_000);
    let of = view.plan.as_ref().map_or_else(String::new, |plan| {
        format!(" of {}", words::duration(plan.duration_us))
    });
    let (calls, broken) = view.calls_total();
    let rate: f64 = view.instances.values().filter_map(rate).sum();
    let mut line = Line::new()
        .say(Tone::Strong, format!("{elapsed}{of}"))
        .plain(format!(
            "  {}  {}  {}/s",
            view.doing(),
            words::counted(calls, "call"),
            words::decimal(rate)
        ));
    if broken > 0 {
        line = line.say(
            Tone::Bad,
            format!("  {} without an answer", words::number(broken)),
        );
    }
    let faults = view.faults().count() as u64;
    if faults > 0 {
        line = line.say(Tone::Bad, format!("  {}", words::counted(faults, "fault")));
    }
    line
}

fn rate(instance: &ServiceInstance) -> Option<f64> {
    let point = instance.series.points().last()?;
    (!instance.closed).then_some(point.calls)
}

fn bar(done: u64, of: u64, width: usize) -> Line {
    let full = (width as u64 * done).checked_div(of).unwrap_or(0) as usize;
    Line::new()
        .say(Tone::Good, "━".repeat(full.min(width)))
        .say(Tone::Faint, "─".repeat(width - full.min(width)))
}

fn line(view: &ServiceView, id: &str, instance: &ServiceInstance) -> Line {
    let (cores, memory, _) = instance.series.newest();
    let p95 = instance
        .series
        .points()
        .last()
        .and_then(|point| point.p95_us);
    let state = match (instance.ready, &instance.failure) {
        (true, _) => own::purpose(view, &instance.purpose),
        (false, Some(_)) => "failed".to_owned(),
        (false, None) => "starting".to_owned(),
    };
    let tone = if instance.ready {
        Tone::Plain
    } else {
        Tone::Odd
    };
    Line::new()
        .plain("  ")
        .say(Tone::Name, format!("{id:<4}"))
        .plain(format!(
            "{:>4} threads {:>6.2} cores {:>8} {:>7.0}/s  p95 {:<8} ",
            instance.threads,
            cores,
            words::bytes(memory),
            rate(instance).unwrap_or(0.0),
            own::latency(p95)
        ))
        .say(tone, words::printable(&state))
}
