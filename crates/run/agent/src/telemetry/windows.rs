//! What was called on each instance: one window about every second.

use std::collections::{BTreeMap, HashMap};

use cohort_model::{At, InstanceId, ThreadId};
use cohort_scenario::Request;

use super::histogram::Counted;
use crate::http::Exchanged;
use crate::protocol::{BrokenCall, EndpointWindow, SlowCall, ThreadCalls, TransportError, Window};

/// Endpoints of one campaign that are told apart; further ones count as one.
const ENDPOINTS_MAX: usize = 2_000;
/// Requests without an answer that are shown between two messages.
const BROKEN_MAX: usize = 64;
/// Statuses from 500 on that are told apart in one endpoint and window; further ones count as 500.
const SERVER_ERRORS_MAX: usize = 8;
/// Names of failed checks that are told apart in one endpoint and window.
const CHECK_NAMES_MAX: usize = 50;
/// Bytes of a body that are kept as evidence.
const BODY_BYTES: usize = 1 << 10;
/// A request that is under way for so long is shown, microseconds.
const LONG_US: u64 = 8_000_000;
/// What stands for all endpoints beyond the bound.
const OTHERS: &str = "(other endpoints)";

/// The number of an endpoint's name.
pub(crate) type EndpointNumber = u32;

/// One request that ended.
#[derive(Debug)]
pub(crate) struct Called<'r> {
    pub(crate) thread: ThreadId,
    pub(crate) instance: InstanceId,
    pub(crate) endpoint: EndpointNumber,
    pub(crate) began: At,
    pub(crate) request: &'r Request,
    pub(crate) exchanged: &'r Exchanged,
}

/// A request that is under way.
#[derive(Debug)]
struct Asked {
    thread: ThreadId,
    url: String,
    body: Vec<u8>,
}

#[derive(Debug)]
struct Cell {
    calls: u64,
    /// Under way now, by when they began.
    under_way: BTreeMap<At, Vec<Asked>>,
    status: [u64; 5],
    /// Answers from 500 on.
    server_errors: BTreeMap<u16, u64>,
    errors: BTreeMap<TransportError, u64>,
    sent: u64,
    received: u64,
    latency: Counted,
    failed_checks: BTreeMap<String, u64>,
    slowest: Option<SlowCall>,
    /// When the latest answer came, and the least time between two.
    answered: Option<At>,
    closest_us: Option<u64>,
}

impl Cell {
    /// An answer came at `at`.
    fn answered(&mut self, at: At) {
        let latest = self.answered.unwrap_or(at);
        if self.answered.is_some() {
            let apart = at.since(latest).max(latest.since(at));
            self.closest_us = Some(self.closest_us.map_or(apart, |least| least.min(apart)));
        }
        self.answered = Some(latest.max(at));
    }
}

impl Default for Cell {
    fn default() -> Cell {
        Cell {
            calls: 0,
            under_way: BTreeMap::new(),
            status: [0; 5],
            server_errors: BTreeMap::new(),
            errors: BTreeMap::new(),
            sent: 0,
            received: 0,
            latency: Counted::new(2),
            failed_checks: BTreeMap::new(),
            slowest: None,
            answered: None,
            closest_us: None,
        }
    }
}

/// How an instance's threads stand when a window ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) threads: u32,
    pub(crate) in_flight: u32,
    pub(crate) oldest_us: u64,
}

/// The windows that are being filled.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    names: Vec<String>,
    numbers: HashMap<String, EndpointNumber>,
    cells: BTreeMap<(InstanceId, EndpointNumber), Cell>,
    threads: BTreeMap<ThreadId, BTreeMap<EndpointNumber, u64>>,
    from: At,
    broken: Vec<BrokenCall>,
    more_broken: u64,
}

impl Windows {
    /// The number of a name.
    pub(crate) fn number(&mut self, name: &str) -> EndpointNumber {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let name = if self.names.len() < ENDPOINTS_MAX {
            name
        } else {
            OTHERS
        };
        let next = self.names.len() as EndpointNumber;
        let number = *self.numbers.entry(name.to_owned()).or_insert(next);
        if number == next {
            self.names.push(name.to_owned());
        }
        number
    }

    /// Its name.
    pub(crate) fn name(&self, endpoint: EndpointNumber) -> &str {
        self.names.get(endpoint as usize).map_or("", String::as_str)
    }

    /// A request of `thread` is sent at `at`.
    pub(crate) fn begun(
        &mut self,
        (instance, endpoint): (InstanceId, EndpointNumber),
        (thread, at): (ThreadId, At),
        request: &Request,
    ) {
        let cell = self.cells.entry((instance, endpoint)).or_default();
        cell.under_way.entry(at).or_default().push(Asked {
            thread,
            url: request.url.clone(),
            body: prefix(&request.body),
        });
    }

    /// A request that was sent at `at` is not waited for any more.
    pub(crate) fn over(&mut self, instance: InstanceId, endpoint: EndpointNumber, at: At) {
        let Some(cell) = self.cells.get_mut(&(instance, endpoint)) else {
            return;
        };
        if let Some(asked) = cell.under_way.get_mut(&at) {
            asked.pop();
            if asked.is_empty() {
                cell.under_way.remove(&at);
            }
        }
    }

    /// Counts a request that ended.
    pub(crate) fn called(&mut self, called: &Called<'_>) {
        let exchanged = called.exchanged;
        let cell = self
            .cells
            .entry((called.instance, called.endpoint))
            .or_default();
        cell.calls += 1;
        let of_thread = self.threads.entry(called.thread).or_default();
        *of_thread.entry(called.endpoint).or_default() += 1;
        cell.sent += exchanged.sent;
        cell.received += exchanged.received;
        match (&exchanged.outcome, exchanged.failed) {
            (Ok(response), _) => {
                let class = usize::from(response.status / 100).clamp(1, 5) - 1;
                cell.status[class] += 1;
                if response.status >= 500 {
                    let known = cell.server_errors.len() < SERVER_ERRORS_MAX;
                    let status = if known { response.status } else { 500 };
                    *cell.server_errors.entry(status).or_default() += 1;
                }
                let latency_us = response.timings.duration_us();
                cell.latency.record(latency_us as f64);
                cell.answered(called.began.plus_us(latency_us));
                let slower = cell
                    .slowest
                    .as_ref()
                    .is_none_or(|slowest| slowest.latency_us < latency_us);
                if slower {
                    let name = &self.names[called.endpoint as usize];
                    cell.slowest = Some(slow(called, name, response.status, latency_us));
                }
            }
            (Err(error), kind) => {
                let kind = kind.unwrap_or(TransportError::Other);
                *cell.errors.entry(kind).or_default() += 1;
                if exchanged.sent > 0 {
                    self.broken(called, kind, &error.message, error.timings.duration_us());
                }
            }
        }
    }

    fn broken(
        &mut self,
        called: &Called<'_>,
        error: TransportError,
        message: &str,
        waited_us: u64,
    ) {
        if self.broken.len() >= BROKEN_MAX {
            self.more_broken += 1;
            return;
        }
        self.broken.push(BrokenCall {
            at: called.began,
            thread: called.thread,
            instance: called.instance,
            endpoint: self.names[called.endpoint as usize].clone(),
            method: called.request.method.clone(),
            url: called.request.url.clone(),
            body: prefix(&called.request.body),
            error,
            message: message.to_owned(),
            waited_us,
        });
    }

    /// Counts a check that did not hold after a request of this endpoint.
    pub(crate) fn check_failed(
        &mut self,
        instance: InstanceId,
        endpoint: EndpointNumber,
        name: &str,
    ) {
        let checks = &mut self
            .cells
            .entry((instance, endpoint))
            .or_default()
            .failed_checks;
        if let Some(count) = checks.get_mut(name) {
            *count += 1;
        } else if checks.len() < CHECK_NAMES_MAX {
            checks.insert(name.to_owned(), 1);
        }
    }

    /// What was counted since the last time, one window for each instance in `standing`.
    pub(crate) fn take(
        &mut self,
        to: At,
        standing: &BTreeMap<InstanceId, Standing>,
    ) -> (Vec<Window>, Vec<SlowCall>) {
        let from = std::mem::replace(&mut self.from, to);
        let window = |instance: InstanceId, standing: Standing| Window {
            instance,
            from,
            to,
            threads: standing.threads,
            in_flight: standing.in_flight,
            oldest_us: standing.oldest_us,
            endpoints: Vec::new(),
        };
        let mut windows: BTreeMap<InstanceId, Window> = standing
            .iter()
            .map(|(instance, standing)| (*instance, window(*instance, *standing)))
            .collect();
        let mut slow = Vec::new();
        // A cell that was not used for one window goes; most are used in the next as well.
        self.cells.retain(|(instance, number), cell| {
            if cell.calls == 0 && cell.under_way.is_empty() && cell.failed_checks.is_empty() {
                return false;
            }
            let name = &self.names[*number as usize];
            slow.extend(cell.slowest.take());
            slow.extend(long_under_way(cell, (*instance, name), to));
            windows
                .entry(*instance)
                .or_insert_with(|| window(*instance, Standing::default()))
                .endpoints
                .push(take_cell(cell, name, to));
            true
        });
        (windows.into_values().collect(), slow)
    }

    /// What each thread called since the last time.
    pub(crate) fn take_threads(&mut self) -> ThreadCalls {
        let threads = std::mem::take(&mut self.threads).into_iter();
        ThreadCalls {
            endpoints: self.names.clone(),
            threads: threads
                .map(|(thread, calls)| (thread, calls.into_iter().collect()))
                .collect(),
        }
    }

    /// Requests without an answer since the last time, and how many more there were.
    pub(crate) fn take_broken(&mut self) -> (Vec<BrokenCall>, u64) {
        (
            std::mem::take(&mut self.broken),
            std::mem::take(&mut self.more_broken),
        )
    }
}

fn take_cell(cell: &mut Cell, name: &str, now: At) -> EndpointWindow {
    let oldest = cell.under_way.keys().next();
    EndpointWindow {
        endpoint: name.to_owned(),
        calls: std::mem::take(&mut cell.calls),
        in_flight: cell
            .under_way
            .values()
            .map(|asked| asked.len() as u32)
            .sum(),
        oldest_us: oldest.map_or(0, |began| now.since(*began)),
        closest_us: cell.closest_us.take(),
        status: std::mem::take(&mut cell.status),
        server_errors: std::mem::take(&mut cell.server_errors)
            .into_iter()
            .collect(),
        errors: std::mem::take(&mut cell.errors).into_iter().collect(),
        sent: std::mem::take(&mut cell.sent),
        received: std::mem::take(&mut cell.received),
        latency: cell.latency.take(),
        failed_checks: std::mem::take(&mut cell.failed_checks)
            .into_iter()
            .collect(),
    }
}

/// The request that is under way for the longest, when that is long.
fn long_under_way(cell: &Cell, (instance, name): (InstanceId, &str), now: At) -> Option<SlowCall> {
    let (began, asked) = cell.under_way.first_key_value()?;
    let latency_us = now.since(*began);
    let asked = asked.first().filter(|_| latency_us >= LONG_US)?;
    Some(SlowCall {
        at: *began,
        thread: asked.thread,
        instance,
        endpoint: name.to_owned(),
        url: asked.url.clone(),
        body: asked.body.clone(),
        status: 0,
        latency_us,
    })
}

fn slow(called: &Called<'_>, endpoint: &str, status: u16, latency_us: u64) -> SlowCall {
    SlowCall {
        at: called.began,
        thread: called.thread,
        instance: called.instance,
        endpoint: endpoint.to_owned(),
        url: called.request.url.clone(),
        body: prefix(&called.request.body),
        status,
        latency_us,
    }
}

fn prefix(body: &[u8]) -> Vec<u8> {
    body[..body.len().min(BODY_BYTES)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_come_out_of_order_are_as_far_apart_as_they_are() {
        let mut cell = Cell::default();
        cell.answered(At(100));
        assert_eq!(cell.closest_us, None, "one answer is apart from none");
        cell.answered(At(400));
        cell.answered(At(350));
        assert_eq!(cell.closest_us, Some(50));
        // The window ends, and the next answer is told apart from the latest one of before.
        assert_eq!(take_cell(&mut cell, "GET /", At(500)).closest_us, Some(50));
        cell.answered(At(900));
        assert_eq!(take_cell(&mut cell, "GET /", At(999)).closest_us, Some(500));
    }

    #[test]
    fn what_is_under_way_for_long_is_shown() {
        let mut cell = Cell::default();
        let asked = |url: &str| Asked {
            thread: ThreadId(3),
            url: url.to_owned(),
            body: b"{}".to_vec(),
        };
        cell.under_way
            .insert(At(5), vec![asked("http://a/search?q=zz")]);
        cell.under_way
            .insert(At(900), vec![asked("http://a/search?q=a")]);
        let shown = |now: u64| long_under_way(&cell, (InstanceId(1), "GET /search"), At(now));
        assert_eq!(shown(LONG_US), None);
        let call = shown(LONG_US + 5).map(|call| (call.url, call.latency_us, call.status));
        let oldest = "http://a/search?q=zz".to_owned();
        assert_eq!(call, Some((oldest, LONG_US, 0)));
    }
}
