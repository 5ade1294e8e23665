//! Telemetry Collector: one thread that reads the host and every watched instance on a steady
//! schedule, and hands each batch to a bounded ring.
//!
//! An instance that has just been opened is read more often than the others ([`YOUNG_INTERVAL`]):
//! what its test turns out to do decides how many more can be opened.
//!
//! Promises: a tick that comes late is skipped, never doubled, so readings do not bunch; what the
//! ring does not take is dropped and counted; and the collector knows what it costs. When watching
//! everything at the wished rate would cost more than [`COST_MAX`] of one core, instances are read
//! less often (at least once a second), which shows in its account.

pub mod calls;
mod host;

pub use host::HostReader;

use host::disk_use;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cohort_host::InstanceReader;
use cohort_model::{At, Collector as Account, InstanceId, SampleBatch};
use nix::time::{ClockId, clock_gettime};

/// Most that collecting may cost, in cores.
pub const COST_MAX: f64 = 0.01;
/// Instances are read at least this often.
const INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Between readings of a young instance, and of the host while there is one.
pub const YOUNG_INTERVAL: Duration = Duration::from_millis(20);
/// An instance is young for this long.
const YOUNG_FOR: Duration = Duration::from_millis(110);
/// The cost is judged over this long.
const JUDGED_OVER: Duration = Duration::from_secs(1);

/// How often, and from when times count.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Between readings of an instance.
    pub instance_interval: Duration,
    /// Between readings of the host.
    pub host_interval: Duration,
    /// The instant that is `start`.
    pub epoch: Instant,
    /// Campaign time at `epoch`.
    pub start: At,
}

/// Where batches go; false when there is no room.
pub type Ring = Box<dyn FnMut(SampleBatch) -> bool + Send>;

enum Order {
    Watch(InstanceId, Box<InstanceReader>, PathBuf),
    Unwatch(InstanceId),
    Failed(InstanceId),
}

/// The collector's handle. Dropped, it ends the thread.
#[derive(Debug)]
pub struct Collector {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// The collector could not be started.
#[derive(Debug, thiserror::Error)]
#[error("start the telemetry collector's thread: {0}; raise the limit of processes (ulimit -u)")]
pub struct Error(#[source] std::io::Error);

impl Collector {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(settings: Settings, host: HostReader, ring: Ring) -> Result<Self, Error> {
        let (orders, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("telemetry".to_owned())
            .spawn(move || {
                cohort_host::process::run_first();
                Loop::new(settings, host, ring).run(&receiver);
            })
            .map_err(Error)?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// From now on `instance` is read, whose scratch directory is `scratch`.
    pub fn watch(&self, instance: InstanceId, reader: InstanceReader, scratch: PathBuf) {
        self.order(Order::Watch(instance, Box::new(reader), scratch));
    }

    /// From now on it is not.
    pub fn unwatch(&self, instance: InstanceId) {
        self.order(Order::Unwatch(instance));
    }

    /// A thread failed on it.
    pub fn note_failure(&self, instance: InstanceId) {
        self.order(Order::Failed(instance));
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The thread ends only after this handle: there is always someone to take it.
            let _ = orders.send(order);
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there was already printed; nothing depends on its end.
            let _ = thread.join();
        }
    }
}

struct Watched {
    reader: InstanceReader,
    scratch: PathBuf,
    failures: u32,
    since: Instant,
}

impl Watched {
    fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < YOUNG_FOR
    }
}

struct Loop {
    settings: Settings,
    host: HostReader,
    ring: Ring,
    watched: BTreeMap<InstanceId, Watched>,
    account: Account,
    interval: Duration,
    /// When something was last read.
    read_at: Instant,
    judged: (Instant, u64),
}

impl Loop {
    fn new(settings: Settings, host: HostReader, ring: Ring) -> Self {
        Self {
            settings,
            host,
            ring,
            watched: BTreeMap::new(),
            account: Account::default(),
            interval: settings.instance_interval,
            read_at: Instant::now(),
            judged: (Instant::now(), 0),
        }
    }

    fn run(mut self, orders: &Receiver<Order>) {
        // On the campaign's clock, so that there are readings at its whole seconds.
        let Settings {
            epoch,
            host_interval,
            ..
        } = self.settings;
        let now = Instant::now();
        let mut next_host = after(epoch, host_interval, now);
        let mut next_instances = after(epoch, self.interval, now);
        loop {
            let now = Instant::now();
            let next = if self.watched.values().any(|watched| watched.is_young(now)) {
                next_host.min(self.read_at + YOUNG_INTERVAL)
            } else {
                next_host
            };
            if now >= next {
                let all = now >= next_instances;
                if all {
                    next_instances = after(epoch, self.interval, now);
                }
                if now >= next_host {
                    next_host = after(next_host, self.settings.host_interval, now);
                }
                self.read(now, all);
                self.judge_cost(now);
                continue;
            }
            match orders.recv_timeout(next.saturating_duration_since(now)) {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Watch(instance, reader, scratch) => {
                self.watched.insert(
                    instance,
                    Watched {
                        reader: *reader,
                        scratch,
                        failures: 0,
                        since: Instant::now(),
                    },
                );
            }
            Order::Unwatch(instance) => {
                self.watched.remove(&instance);
            }
            Order::Failed(instance) => {
                if let Some(watched) = self.watched.get_mut(&instance) {
                    watched.failures += 1;
                }
            }
        }
    }

    /// Reads the host, and all instances or only the young ones.
    fn read(&mut self, now: Instant, all: bool) {
        self.read_at = now;
        let host = self.host.read();
        let mut samples = Vec::new();
        let elapsed = self.settings.epoch.elapsed();
        self.watched.retain(|&instance, watched| {
            if !all && !watched.is_young(now) {
                return true;
            }
            let mut sample = cohort_model::InstanceSample::empty(instance);
            sample.failures = watched.failures;
            let there = watched.reader.read(&mut sample);
            sample.scratch = host.disk_left.map(|_| disk_use(&watched.scratch));
            if there {
                samples.push(sample);
            }
            there
        });
        let readings = samples.len() as u64 + 1;
        self.account.readings += readings;
        self.account.cpu_us = thread_cpu_us();
        let batch = SampleBatch {
            at: self.settings.start.plus_us(elapsed.as_micros() as u64),
            host,
            instances: samples,
            collector: self.account,
        };
        if !(self.ring)(batch) {
            self.account.dropped += readings;
        }
    }

    /// Reads instances less often while that costs too much, and more often again when it does not.
    fn judge_cost(&mut self, now: Instant) {
        let (since, cpu_then) = self.judged;
        let elapsed = now.saturating_duration_since(since);
        if elapsed < JUDGED_OVER {
            return;
        }
        let cpu_us = thread_cpu_us();
        let cost = (cpu_us - cpu_then) as f64 / elapsed.as_micros() as f64;
        self.judged = (now, cpu_us);
        if cost > COST_MAX {
            self.interval = self.interval.mul_f64(1.5).min(INTERVAL_MAX);
        } else if cost < COST_MAX / 2.0 {
            let shorter = self.interval.mul_f64(0.8);
            self.interval = shorter.max(self.settings.instance_interval);
        }
    }
}

/// The next time on the grid that starts at `due`, later than `now`: late ticks are skipped.
fn after(due: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due);
    let skipped = (late.as_nanos() / interval.as_nanos().max(1)) as u32;
    due + interval * (skipped + 1)
}

/// CPU time of the calling thread, microseconds; 0 where the system does not tell.
fn thread_cpu_us() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| {
        time.tv_sec() as u64 * 1_000_000 + time.tv_nsec() as u64 / 1_000
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cohort_host::cgroup::{CampaignReader, Layout};

    use super::*;

    #[test]
    fn late_ticks_are_skipped_and_the_grid_is_kept() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        assert_eq!(after(start, ms(100), start), start + ms(100));
        assert_eq!(after(start, ms(100), start + ms(99)), start + ms(100));
        assert_eq!(after(start, ms(100), start + ms(350)), start + ms(400));
    }

    fn collect(ring: Ring) -> Collector {
        let settings = Settings {
            instance_interval: Duration::from_millis(20),
            host_interval: Duration::from_millis(10),
            epoch: Instant::now(),
            start: At(0),
        };
        let layout = Layout::detect(Path::new("/")).unwrap();
        let campaign = CampaignReader::without_groups(&layout);
        Collector::start(
            settings,
            HostReader::new(Path::new("/"), campaign, &[0], Path::new("/")),
            ring,
        )
        .unwrap()
    }

    #[test]
    fn a_real_process_is_read_until_it_is_gone() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let (sender, batches) = mpsc::channel();
        let collector = collect(Box::new(move |batch| sender.send(batch).is_ok()));
        let tree = cohort_host::TreeReader::new(Path::new("/"), child.id() as i32);
        collector.watch(InstanceId(7), InstanceReader::Tree(tree), PathBuf::new());
        let deadline = Duration::from_secs(20);
        let seen = std::iter::repeat_with(|| batches.recv_timeout(deadline).unwrap())
            .find(|batch| !batch.instances.is_empty())
            .unwrap();
        assert_eq!(seen.instances[0].instance, InstanceId(7));
        assert_eq!(seen.instances[0].processes, 1);
        assert!(seen.host.busy_us > 0 && seen.host.memory_available > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        let ended = Instant::now();
        while !batches.recv_timeout(deadline).unwrap().instances.is_empty() {
            assert!(ended.elapsed() < deadline, "still read after its end");
        }
    }

    #[test]
    fn what_the_ring_does_not_take_is_counted() {
        let (sender, batches) = mpsc::sync_channel(1);
        let collector = collect(Box::new(move |batch| sender.try_send(batch).is_ok()));
        let started = Instant::now();
        // The first batch fills the ring; those after it are lost until it is read.
        std::thread::park_timeout(Duration::from_millis(100));
        let mut dropped = 0;
        while dropped == 0 && started.elapsed() < Duration::from_secs(20) {
            dropped = batches.recv().unwrap().collector.dropped;
        }
        assert!(dropped > 0);
        drop(collector);
    }
}
