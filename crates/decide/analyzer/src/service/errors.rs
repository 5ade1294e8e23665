//! Calls that fail: more of them from some time on, or at a rate that does not change.
//!
//! All calls of an endpoint are one series of failed calls and calls over all of its time, in
//! bounded room ([`Series`]). [`burst`] finds the stretch of it in which more fail than before it
//! and after it, by the greatest likelihood ratio of two rates against one. A stretch that lasts
//! until now is a burst; failures outside of every such stretch come at a rate of their own.

mod burst;
mod series;

use std::collections::BTreeMap;

use cohort_model::{At, LoadWindow, ServiceFindingKind};

use super::View;
use super::book::{Conclusion, FOREVER, Key};
use super::words;
use crate::findings::measured;
use burst::{Stretch, without_bursts};
use series::{Cell, Failing, Series};

/// Failed calls, at least.
pub(super) const FAILED_MIN: f64 = 5.0;
/// Share of the calls that fail, at least.
const RATE_MIN: f64 = 1e-3;
/// A burst: the share of calls that fail in it, at least.
const BURST_RATE_MIN: f64 = 0.02;
/// Failed calls longer ago are no news.
const FRESH_US: u64 = 12_000_000;
/// A stretch whose last failure is so near lasts until now.
const NOW_US: u64 = 8_000_000;
/// A rate is known when so many failed, or for so long.
const KNOWN_FAILED: f64 = 20.0;
const KNOWN_US: u64 = 10_000_000;
/// While this many may be the beginning of a burst, nothing is said.
const DOUBTFUL: f64 = 6.0;
const PATIENCE_US: u64 = 20_000_000;

/// The calls of all endpoints that failed so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Errors {
    endpoints: BTreeMap<u32, Series>,
    /// Endpoints of which a rate was told, and since when it holds.
    told: BTreeMap<u32, At>,
    /// Nothing comes any more.
    over: bool,
}

impl Errors {
    /// Nothing comes any more: what could still become a burst is what it is.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    /// Takes a window of load.
    pub(super) fn load(&mut self, window: &LoadWindow) {
        for (endpoint, calls) in &window.endpoints {
            let series = self.endpoints.entry(*endpoint).or_default();
            series.add(window.at, window.instance, calls);
        }
    }

    pub(super) fn conclude(&mut self, view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
        for (endpoint, series) in &mut self.endpoints {
            series.settle(view, *endpoint, at);
            if at.since(series.last_failed) > FRESH_US {
                continue;
            }
            let cells = series.cells_now(view, *endpoint);
            let (bursts, rest) = without_bursts(&cells);
            let now = bursts.iter().find(|burst| lasts(&cells, burst, at));
            let steady = Steady::of(&rest, at, self.over);
            let failing = series.failing_now(view, *endpoint);
            let known = self.told.get(endpoint);
            if let Some(burst) = now {
                // A rate that was told from about there on is the same thing.
                let same = known.is_some_and(|since| *since >= burst.since);
                if !same {
                    drawn.push(burst_now(view, *endpoint, &failing, burst));
                }
            }
            if let Some(steady) = steady.filter(|s| at.since(s.last) <= FRESH_US) {
                self.told.entry(*endpoint).or_insert(steady.since);
                drawn.push(steady.conclusion(view, *endpoint, &failing));
            }
        }
    }
}

fn lasts(cells: &[Cell], burst: &Stretch, at: At) -> bool {
    let newest = cells.last().map_or(At(0), |cell| cell.at);
    let last = cells[burst.from..burst.to]
        .iter()
        .rfind(|cell| cell.failed > 0.0);
    burst.rate() >= BURST_RATE_MIN
        && last.is_some_and(|cell| at.since(cell.at) <= NOW_US || cell.at == newest)
}

fn burst_now(view: &View<'_>, endpoint: u32, failing: &Failing, burst: &Stretch) -> Conclusion {
    let name = view.name(endpoint);
    let instances = failing.since(burst.since);
    let before = if burst.failed_before < 0.5 {
        format!(
            "none of {} before did",
            words::counted(burst.calls_before, "call")
        )
    } else {
        format!(
            "{} did before",
            words::percent(burst.failed_before / burst.calls_before.max(1.0))
        )
    };
    Conclusion {
        key: Key::of(ServiceFindingKind::ErrorBurst, Some(endpoint)),
        instances: instances.clone(),
        endpoint: None,
        since: burst.since,
        confidence: burst.confidence(),
        sentence: format!(
            "{:.0} of {} of {name} failed{} within {} on {}; {before}.",
            burst.failed,
            words::counted(burst.calls, "call"),
            in_brackets(&failing.how),
            words::time(burst.span_us() as f64),
            words::instances(&instances),
        ),
        evidence: vec![
            measured("failed", burst.failed, "calls"),
            measured("calls", burst.calls, "calls"),
            measured(
                "failed before",
                burst.failed_before / burst.calls_before.max(1.0),
                "share",
            ),
            measured("calls before", burst.calls_before, "calls"),
            measured("likelihood of a change", burst.gain, "nats"),
        ],
        excerpts: Vec::new(),
        needs: 1,
        patience: PATIENCE_US,
        amount: burst.failed,
    }
}

/// Failed calls at a rate that does not change.
struct Steady {
    failed: f64,
    calls: f64,
    since: At,
    last: At,
    from_the_beginning: bool,
}

impl Steady {
    /// Of what lies outside of all bursts. `over`: nothing comes any more.
    fn of(rest: &[Cell], at: At, over: bool) -> Option<Steady> {
        let first = rest.iter().position(|cell| cell.failed > 0.0)?;
        let last = rest.iter().rfind(|cell| cell.failed > 0.0)?.at;
        let sum = |cells: &[Cell], of: fn(&Cell) -> f64| cells.iter().map(of).sum::<f64>();
        let failed = sum(rest, |cell| cell.failed);
        let since = rest[first].from;
        let rate = failed / sum(&rest[first..], |cell| cell.calls).max(1.0);
        let known = over || failed >= KNOWN_FAILED || at.since(since) >= KNOWN_US;
        let young = !over && failed < KNOWN_FAILED && at.since(since) < 2 * KNOWN_US;
        let beginning = young && burst::rising(rest).is_some_and(|of| of.gain > DOUBTFUL);
        if failed < FAILED_MIN || rate < RATE_MIN || !known || beginning {
            return None;
        }
        let calls_before = sum(&rest[..first], |cell| cell.calls);
        // At this rate one of so many calls would have failed, nearly surely.
        let from_the_beginning = calls_before * rate <= 3.0;
        let calls = if from_the_beginning {
            sum(rest, |cell| cell.calls)
        } else {
            sum(&rest[first..], |cell| cell.calls)
        };
        Some(Steady {
            failed,
            calls,
            since,
            last,
            from_the_beginning,
        })
    }

    fn conclusion(&self, view: &View<'_>, endpoint: u32, failing: &Failing) -> Conclusion {
        let name = view.name(endpoint);
        let share = self.failed / self.calls.max(1.0);
        let who = if self.failed >= self.calls {
            format!("All calls of {name}")
        } else {
            format!("About {} of the calls of {name}", words::percent(share))
        };
        let since = if self.from_the_beginning {
            "since the beginning".to_owned()
        } else {
            format!("since {:.0} s", self.since.seconds())
        };
        Conclusion {
            key: Key::of(ServiceFindingKind::Errors, Some(endpoint)),
            instances: failing.since(self.since),
            endpoint: None,
            since: self.since,
            confidence: 0.95,
            sentence: format!(
                "{who} {}, {since}: {:.0} of {} so far.",
                fail(&failing.how),
                self.failed,
                words::counted(self.calls, "call"),
            ),
            evidence: vec![
                measured("failed", self.failed, "calls"),
                measured("calls", self.calls, "calls"),
                measured("failed", share, "share"),
            ],
            excerpts: Vec::new(),
            needs: 1,
            patience: FOREVER,
            amount: self.failed,
        }
    }
}

/// What failing calls do: `answer 503`, `get no answer (timed out)`, `fail (503: 8, timed out: 2)`.
fn fail(how: &BTreeMap<String, f64>) -> String {
    let ways: Vec<&String> = how.keys().collect();
    match ways[..] {
        [] => "fail".to_owned(),
        [one] if one.parse::<u16>().is_ok() => format!("answer {one}"),
        [one] if one == "no answer" => "get no answer".to_owned(),
        [one] => format!("get no answer ({one})"),
        _ => format!("fail{}", in_brackets(how)),
    }
}

/// ` (503)`, ` (503: 8, timed out: 2)`, or nothing when that is not known.
fn in_brackets(how: &BTreeMap<String, f64>) -> String {
    let mut ways: Vec<(&String, f64)> = how.iter().map(|(way, count)| (way, *count)).collect();
    ways.sort_by(|a, b| b.1.total_cmp(&a.1));
    match ways[..] {
        [] => String::new(),
        [(one, _)] => format!(" ({one})"),
        _ => {
            let all = ways.iter().take(3);
            let all: Vec<String> = all.map(|(way, n)| format!("{way}: {n:.0}")).collect();
            format!(" ({})", all.join(", "))
        }
    }
}

#[cfg(test)]
#[path = "errors/tests.rs"]
mod tests;
