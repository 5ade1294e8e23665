//! Failed calls and calls of one endpoint over all of its time, in bounded room.

use std::collections::BTreeMap;

use cohort_model::{At, EndpointWindow, InstanceId};

use crate::service::View;

/// Cells kept; joined two by two whenever there would be more.
const CELLS_MAX: usize = 96;
/// Ways to fail that are told apart.
const WAYS_MAX: usize = 12;
/// Calls that break around the end of a process are its end's.
const AROUND_EXIT_US: u64 = 6_000_000;
/// After this time every end of a process has been told.
const SETTLED_US: u64 = 7_000_000;

/// Calls in a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    pub(super) from: At,
    /// Its end.
    pub(super) at: At,
    pub(super) failed: f64,
    pub(super) calls: f64,
}

/// Calls that got no answer, of which the end of their process may be the reason.
#[derive(Clone, Debug)]
struct Broken {
    at: At,
    instance: InstanceId,
    count: f64,
    ways: Vec<(String, f64)>,
}

/// All calls of one endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    cells: Vec<Cell>,
    /// Windows in a cell, and in the last one.
    joined: u32,
    in_last: u32,
    waiting: Vec<Broken>,
    /// When calls failed last, in all, and on each instance.
    pub(super) last_failed: At,
    failing: BTreeMap<InstanceId, At>,
    /// How they failed: `503`, `timed out`.
    how: BTreeMap<String, f64>,
}

impl Series {
    pub(super) fn add(&mut self, at: At, instance: InstanceId, window: &EndpointWindow) {
        let errors = window.classes[4] as f64;
        let ways = || window.failures.iter().map(|(way, n)| (way, *n as f64));
        let is_status = |way: &str| way.bytes().all(|b| b.is_ascii_digit());
        let cell = self.cell(at);
        cell.calls += window.calls as f64;
        cell.failed += errors;
        if errors > 0.0 {
            self.failed(at, instance);
            for (way, count) in ways().filter(|(way, _)| is_status(way)) {
                self.count(way, count);
            }
        }
        if window.broken > 0 {
            let ways = ways().filter(|(way, _)| !is_status(way));
            self.waiting.push(Broken {
                at,
                instance,
                count: window.broken as f64,
                ways: ways.map(|(way, n)| (way.clone(), n)).collect(),
            });
            self.last_failed = self.last_failed.max(at);
        }
    }

    fn failed(&mut self, at: At, instance: InstanceId) {
        self.last_failed = self.last_failed.max(at);
        let known = self.failing.entry(instance).or_default();
        *known = at.max(*known);
    }

    fn count(&mut self, way: &str, count: f64) {
        if self.how.len() < WAYS_MAX || self.how.contains_key(way) {
            *self.how.entry(way.to_owned()).or_default() += count;
        }
    }

    /// The cell of a window that ends at `at`.
    fn cell(&mut self, at: At) -> &mut Cell {
        let last = self.cells.last().map(|cell| cell.at);
        let new = last.is_none_or(|last| at > last);
        if new && last.is_some() && self.in_last < self.joined.max(1) {
            // Filled up.
        } else if new {
            if self.cells.len() >= CELLS_MAX {
                self.join();
            }
            self.cells.push(Cell {
                from: last.unwrap_or(At(at.0.saturating_sub(1_000_000))),
                at,
                ..Cell::default()
            });
            self.in_last = 0;
        }
        self.in_last += u32::from(new);
        let place = self.cells.len() - 1;
        let cell = &mut self.cells[place];
        cell.at = cell.at.max(at);
        cell
    }

    fn join(&mut self) {
        self.joined = self.joined.max(1) * 2;
        let joined = self.cells.chunks(2).map(|pair| {
            let last = pair[pair.len() - 1];
            Cell {
                from: pair[0].from,
                at: last.at,
                failed: pair.iter().map(|cell| cell.failed).sum(),
                calls: pair.iter().map(|cell| cell.calls).sum(),
            }
        });
        self.cells = joined.collect();
    }

    /// Counts calls that broke a while ago, unless something else explains them.
    pub(super) fn settle(&mut self, view: &View<'_>, endpoint: u32, at: At) {
        let waiting = std::mem::take(&mut self.waiting);
        let (old, young): (Vec<Broken>, Vec<Broken>) = waiting
            .into_iter()
            .partition(|broken| at.since(broken.at) > SETTLED_US);
        self.waiting = young;
        for broken in old {
            if is_explained(view, endpoint, &broken) {
                continue;
            }
            put(&mut self.cells, &broken);
            self.failed(broken.at, broken.instance);
            for (way, count) in &broken.ways {
                self.count(way, *count);
            }
        }
    }

    /// All cells, with the calls that broke of late.
    pub(super) fn cells_now(&self, view: &View<'_>, endpoint: u32) -> Vec<Cell> {
        let mut cells = self.cells.clone();
        for broken in &self.waiting {
            if !is_explained(view, endpoint, broken) {
                put(&mut cells, broken);
            }
        }
        cells
    }

    /// How and where calls failed, with those that broke of late.
    pub(super) fn failing_now(&self, view: &View<'_>, endpoint: u32) -> Failing {
        let mut now = Failing {
            how: self.how.clone(),
            instances: self.failing.clone(),
        };
        let late = self.waiting.iter();
        for broken in late.filter(|broken| !is_explained(view, endpoint, broken)) {
            now.instances.insert(broken.instance, broken.at);
            for (way, count) in &broken.ways {
                *now.how.entry(way.clone()).or_default() += count;
            }
        }
        now
    }
}

/// How and where calls of an endpoint fail.
#[derive(Clone, Debug)]
pub(super) struct Failing {
    /// So many ended in `503`, so many `timed out`.
    pub(super) how: BTreeMap<String, f64>,
    /// When the last one did.
    instances: BTreeMap<InstanceId, At>,
}

impl Failing {
    pub(super) fn since(&self, since: At) -> Vec<InstanceId> {
        let late = self.instances.iter().filter(|(_, last)| **last >= since);
        late.map(|(instance, _)| *instance).collect()
    }
}

/// Whether a process that ended, or hangs, is why these calls broke.
fn is_explained(view: &View<'_>, endpoint: u32, broken: &Broken) -> bool {
    let ended = view.instances.get(&broken.instance).is_none_or(|watched| {
        watched.down
            || (watched.exits.iter())
                .any(|exit| broken.at.since(*exit).max(exit.since(broken.at)) < AROUND_EXIT_US)
    });
    ended || view.hangs(endpoint)
}

fn put(cells: &mut [Cell], broken: &Broken) {
    let place = cells.partition_point(|cell| cell.at < broken.at);
    if let Some(cell) = cells.get_mut(place) {
        cell.failed += broken.count;
        cell.calls += broken.count;
    }
}
