//! Which thread goes where, and why.
//!
//! Every call looks at all threads in the order of the reasons (the strongest first), then of what
//! a move costs (short journals first), then of ids. The same input gives the same moves.
//!
//! Promises: no thread goes to an instance that is down or restarting, or that is set aside for
//! others; except off one that cannot serve, none is moved before its minimal stay is over nor
//! faster than the limit; no move for balance makes another one back worthwhile.

use cohort_model::{InstanceId, ThreadId};
use serde::{Deserialize, Serialize};

/// A part of one thread's calls goes to one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The endpoint, by number.
    pub endpoint: u32,
    /// Part of the thread's calls, 0 to 1.
    pub part: f64,
}

/// What is known of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Which one.
    pub id: InstanceId,
    /// Whether it serves: not down, not being restarted nor about to be.
    pub is_up: bool,
    /// How busy it is, as part of what it can do (1 is full; may be more).
    pub load: f64,
    /// The endpoints of the area it is kept for; empty when it is for all.
    pub area: Vec<u32>,
    /// Endpoints that answer in another time than on its peers, with how many times theirs.
    pub slowness: Vec<(u32, f64)>,
    /// When it is set aside for a reproduction: by which threads. All others leave.
    pub wanted_for: Option<Vec<ThreadId>>,
}

/// What is known of a thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// Which one.
    pub id: ThreadId,
    /// Where it is.
    pub instance: InstanceId,
    /// What it calls. Parts add up to at most 1.
    pub shares: Vec<Share>,
    /// Bytes of its journal: what it costs to move it.
    pub journal_bytes: u64,
    /// Time since it came to its instance.
    pub stayed_us: u64,
    /// Whether a hand-off of it is under way, so that it is left alone.
    pub is_moving: bool,
}

/// Why a thread goes elsewhere. The first is the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its instance is down or to be restarted.
    Restarting,
    /// It is to take part in a reproduction, or its instance is set aside for one.
    WantedForReproduction,
    /// It is of the area that the other instance is kept for, or not of that its own is kept for.
    KeptForArea,
    /// What it calls is answered slowly here against the other instances.
    SlowAgainstPeers,
    /// Its instance is busier than the other.
    Balance,
}

/// One move.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Which thread.
    pub thread: ThreadId,
    /// Where it is.
    pub from: InstanceId,
    /// Where it goes.
    pub to: InstanceId,
    /// Why.
    pub reason: Reason,
}

/// What limits moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Moves a second, over all threads. Up to a second's worth may come at once.
    pub moves_per_s: f64,
    /// A thread stays at least so long where it came.
    pub stay_us_min: u64,
    /// Threads with a longer journal are not moved for balance.
    pub journal_bytes_max: u64,
    /// How many times as slow as elsewhere is slow.
    pub slow_min: f64,
    /// Least difference of load that is worth a move.
    pub imbalance_min: f64,
    /// Part of a thread's calls from which on it is of an area.
    pub area_min: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            moves_per_s: 20.0,
            stay_us_min: 5_000_000,
            journal_bytes_max: 4 << 20,
            slow_min: 1.5,
            imbalance_min: 0.25,
            area_min: 0.6,
        }
    }
}

/// Chooses moves. Keeps nothing but how many are allowed at present.
#[derive(Clone, Debug)]
pub struct Pick {
    limits: Limits,
    allowed: f64,
    asked_us: u64,
}

/// The instances with the load they have once the moves chosen so far are made.
struct Table<'a> {
    rows: Vec<(&'a Instance, f64, usize)>,
    limits: Limits,
}

impl Pick {
    /// With a full second's worth of moves.
    #[must_use]
    pub fn new(limits: Limits) -> Pick {
        Pick {
            limits,
            allowed: limits.moves_per_s.max(1.0),
            asked_us: 0,
        }
    }

    /// The moves that are worth making now. At most one a thread.
    pub fn pick(&mut self, now_us: u64, instances: &[Instance], threads: &[Thread]) -> Vec<Chosen> {
        let passed_s = now_us.saturating_sub(self.asked_us) as f64 / 1e6;
        self.asked_us = self.asked_us.max(now_us);
        let most = self.limits.moves_per_s.max(1.0);
        self.allowed = (self.allowed + passed_s * self.limits.moves_per_s).min(most);

        let mut table = Table::new(instances, threads, self.limits);
        let mut order: Vec<&Thread> = threads.iter().filter(|thread| !thread.is_moving).collect();
        order.sort_by_key(|thread| (thread.journal_bytes, thread.id));
        let mut chosen: Vec<Chosen> = Vec::new();
        let reasons = [
            Reason::Restarting,
            Reason::WantedForReproduction,
            Reason::KeptForArea,
            Reason::SlowAgainstPeers,
            Reason::Balance,
        ];
        for reason in reasons {
            order.retain(|thread| {
                let may = reason == Reason::Restarting
                    || self.allowed >= 1.0 && thread.stayed_us >= self.limits.stay_us_min;
                let Some(to) = may.then(|| table.better(thread, reason)).flatten() else {
                    return true;
                };
                self.allowed = (self.allowed - 1.0).max(0.0);
                chosen.push(Chosen {
                    thread: thread.id,
                    from: thread.instance,
                    to,
                    reason,
                });
                table.shift(thread.instance, to);
                false
            });
        }
        chosen
    }

    /// Where a thread that is nowhere begins; `None` when no instance serves.
    #[must_use]
    pub fn home(
        &self,
        thread: ThreadId,
        shares: &[Share],
        instances: &[Instance],
    ) -> Option<InstanceId> {
        let table = Table::new(instances, &[], self.limits);
        let nowhere = Thread {
            id: thread,
            instance: InstanceId(u32::MAX),
            shares: shares.to_vec(),
            journal_bytes: 0,
            stayed_us: 0,
            is_moving: false,
        };
        table.best(&nowhere, |_| true)
    }
}

impl<'a> Table<'a> {
    fn new(instances: &'a [Instance], threads: &[Thread], limits: Limits) -> Table<'a> {
        let rows = instances
            .iter()
            .map(|instance| {
                let here = threads
                    .iter()
                    .filter(|thread| thread.instance == instance.id);
                (instance, instance.load, here.count())
            })
            .collect();
        Table { rows, limits }
    }

    fn row(&self, id: InstanceId) -> Option<&(&'a Instance, f64, usize)> {
        self.rows.iter().find(|row| row.0.id == id)
    }

    /// Where the thread goes for this reason, when it goes.
    fn better(&self, thread: &Thread, reason: Reason) -> Option<InstanceId> {
        let here = self.row(thread.instance).map(|row| row.0);
        match reason {
            Reason::Restarting => {
                let serves = here.is_some_and(|here| here.is_up);
                if serves {
                    None
                } else {
                    self.best(thread, |_| true)
                }
            }
            Reason::WantedForReproduction => {
                let wants = |instance: &Instance| {
                    let wanted = instance.wanted_for.as_ref();
                    wanted.is_some_and(|threads| threads.contains(&thread.id))
                };
                let here = here?;
                if wants(here) {
                    return None;
                }
                let elsewhere = self.best(thread, wants);
                let leaves = || {
                    here.wanted_for
                        .as_ref()
                        .and_then(|_| self.best(thread, |_| true))
                };
                elsewhere.or_else(leaves)
            }
            Reason::KeptForArea => {
                let here = here.filter(|here| here.wanted_for.is_none())?;
                let min = self.limits.area_min;
                let elsewhere = self.best(thread, |other| part_of(thread, other) >= min);
                // Well below the limit: what is just under it is not worth two moves.
                let is_strange = !here.area.is_empty() && part_of(thread, here) < min / 2.0;
                if !here.area.is_empty() && part_of(thread, here) >= min {
                    None
                } else if is_strange {
                    elsewhere.or_else(|| self.best(thread, |_| true))
                } else {
                    elsewhere
                }
            }
            Reason::SlowAgainstPeers => {
                let here = here.filter(|here| here.wanted_for.is_none())?;
                let slow = slowness(thread, here);
                let min = self.limits.slow_min;
                let is_faster = |other: &Instance| slowness(thread, other) * min <= slow;
                if slow < min {
                    None
                } else {
                    self.best(thread, is_faster)
                }
            }
            Reason::Balance => self.balance(thread),
        }
    }

    fn balance(&self, thread: &Thread) -> Option<InstanceId> {
        let &(here, load, count) = self.row(thread.instance)?;
        if here.wanted_for.is_some() || thread.journal_bytes > self.limits.journal_bytes_max {
            return None;
        }
        let step = load / count.max(1) as f64;
        let is_as_good = |other: &Instance| {
            let is_kept = part_of(thread, here) >= self.limits.area_min;
            let is_slower = slowness(thread, other) >= self.limits.slow_min;
            !is_slower && (!is_kept || part_of(thread, other) >= self.limits.area_min)
        };
        let to = self.best(thread, is_as_good)?;
        let other = self.row(to)?.1;
        (load - other >= self.limits.imbalance_min && other + step < load).then_some(to)
    }

    /// The least busy of the instances that may take the thread and that `fits`; its own is none.
    fn best(&self, thread: &Thread, fits: impl Fn(&Instance) -> bool) -> Option<InstanceId> {
        let takes = |instance: &Instance| {
            let wanted = instance.wanted_for.as_ref();
            let is_free = wanted.is_none_or(|threads| threads.contains(&thread.id));
            instance.is_up && is_free && instance.id != thread.instance
        };
        // One that is kept for another area only takes strangers when there is no other.
        let is_strange = |instance: &Instance| {
            !instance.area.is_empty() && part_of(thread, instance) < self.limits.area_min
        };
        self.rows
            .iter()
            .filter(|row| takes(row.0) && fits(row.0))
            .min_by(|a, b| {
                let strange = is_strange(a.0).cmp(&is_strange(b.0));
                strange.then(a.1.total_cmp(&b.1)).then(a.0.id.cmp(&b.0.id))
            })
            .map(|row| row.0.id)
    }

    /// The load as it will be after the move.
    fn shift(&mut self, from: InstanceId, to: InstanceId) {
        let step = self
            .row(from)
            .map_or(0.0, |row| row.1 / row.2.max(1) as f64);
        for row in &mut self.rows {
            if row.0.id == from {
                row.1 -= step;
                row.2 = row.2.saturating_sub(1);
            } else if row.0.id == to {
                row.1 += step;
                row.2 += 1;
            }
        }
    }
}

/// Part of the thread's calls that is of the instance's area; zero when it has none.
fn part_of(thread: &Thread, instance: &Instance) -> f64 {
    let of_area = thread.shares.iter();
    of_area
        .filter(|share| instance.area.contains(&share.endpoint))
        .map(|share| share.part)
        .sum()
}

/// How many times as long as on its peers the thread waits on that instance.
fn slowness(thread: &Thread, instance: &Instance) -> f64 {
    let more: f64 = thread
        .shares
        .iter()
        .map(|share| {
            let known = instance.slowness.iter();
            let times = known
                .filter(|(endpoint, _)| *endpoint == share.endpoint)
                .map(|(_, times)| *times)
                .next_back();
            share.part * (times.unwrap_or(1.0) - 1.0)
        })
        .sum();
    (1.0 + more).max(0.0)
}

#[cfg(test)]
#[path = "pick_tests.rs"]
mod tests;
