//! One instance under watch: its readings since its thread started, and what holds of it.
//!
//! Counters are those of the instance, not of the thread. The readings of a thread therefore begin
//! with the last one before it started when the instance was at rest since then (counters stood
//! still, so it is as good as one taken at the start), else with the first one after.

use cohort_model::{At, Estimate, Finding, FindingKind, InstanceId, TestId};

use crate::findings::{Active, Judgement, cpu, memory, progress};
use crate::growth::Growth;
use crate::settings::{Settings, us};
use crate::windows::{Reading, Ring, Window, window};

/// How far [`Watched::cores_used`] looks back, microseconds.
const USE_US: u64 = 300_000;
/// Shorter windows say nothing of CPU use, microseconds.
const USE_US_MIN: u64 = 10_000;
/// Seconds from one judgement of growth to the next, at least; and as a share of its length.
const LEAK_EVERY: (f64, f64) = (2.0, 0.125);

/// The thread that an instance runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) test: TestId,
    pub(crate) started: At,
    pub(crate) expected: Estimate,
}

/// What an instance is judged with.
pub(crate) struct Surroundings<'a> {
    pub(crate) settings: &'a Settings,
    /// Cores idle on the host over the time that waiting takes; none when not known.
    pub(crate) idle_cores: Option<f64>,
    /// Series of growth that may still be judged in this batch.
    pub(crate) leaks_left: &'a mut u32,
}

/// One instance.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) memory_limit: u64,
    ring: Ring,
    /// The latest reading of the instance, of whatever thread.
    latest: Option<Reading>,
    /// No thread ran since the latest reading.
    at_rest: bool,
    thread: Option<Running>,
    /// When it began here.
    since: At,
    alive_at: At,
    growth: Growth,
    leak_due_s: f64,
    active: Active,
}

impl Watched {
    pub(crate) fn new(at: At, memory_limit: u64, settings: &Settings) -> Watched {
        let longest_s = settings
            .saturation_s
            .max(settings.waiting_s)
            .max(settings.pressure_s);
        Watched {
            memory_limit,
            ring: Ring::new(us(longest_s).max(USE_US)),
            latest: Some(Reading {
                at,
                ..Reading::default()
            }),
            at_rest: true,
            thread: None,
            since: at,
            alive_at: at,
            growth: Growth::new(),
            leak_due_s: 0.0,
            active: Active::default(),
        }
    }

    /// A thread begins here at `at` (it may have started earlier elsewhere).
    pub(crate) fn begin(&mut self, at: At, running: Running, warm: bool) {
        self.ring.clear();
        if let Some(latest) = self.latest.filter(|_| self.at_rest) {
            self.ring.push(Reading { at, ..latest });
        }
        self.thread = Some(running);
        self.at_rest = false;
        self.since = at;
        self.alive_at = at;
        self.forget_thread(warm);
    }

    /// Memory is watched anew from here.
    pub(crate) fn warmed(&mut self) {
        self.growth.restart();
        self.leak_due_s = 0.0;
    }

    /// The thread is no longer here.
    pub(crate) fn end(&mut self, warm: bool) -> Option<Running> {
        let ended = self.thread.take();
        self.ring.clear();
        self.latest = None;
        self.at_rest = false;
        self.forget_thread(warm);
        ended
    }

    fn forget_thread(&mut self, warm: bool) {
        if warm {
            self.active.keep(&[FindingKind::MemoryLeak]);
        } else {
            self.active.keep(&[]);
            self.warmed();
        }
    }

    pub(crate) fn cores_used(&self) -> Option<f64> {
        self.recent_use().map(|window| window.cores)
    }

    pub(crate) fn cores_wanted(&self) -> Option<f64> {
        self.recent_use()
            .map(|window| window.cores + window.cpu_pressure)
    }

    fn recent_use(&self) -> Option<Window> {
        self.thread?;
        self.ring.newest().filter(|reading| !reading.is_blind())?;
        let window = self.ring.last_or_all(USE_US)?;
        (window.span_s * 1e6 >= USE_US_MIN as f64).then_some(window)
    }

    pub(crate) fn stalled_for_us(&self, now: At) -> u64 {
        if self.thread.is_some() {
            now.since(self.alive_at)
        } else {
            0
        }
    }

    pub(crate) fn memory_anon(&self) -> Option<u64> {
        self.ring
            .newest()
            .or(self.latest.as_ref())
            .map(|reading| reading.memory_anon)
    }

    /// Takes a reading; late and repeated ones are left out.
    pub(crate) fn observe(
        &mut self,
        instance: InstanceId,
        reading: Reading,
        around: &mut Surroundings<'_>,
        findings: &mut Vec<Finding>,
    ) {
        if self.latest.is_some_and(|latest| reading.at <= latest.at) {
            return;
        }
        self.latest = Some(reading);
        if self.thread.is_none() {
            self.at_rest = true;
        }
        let before = self.ring.newest().copied();
        let thread = self.thread.filter(|_| reading.at > self.since);
        if thread.is_some() && self.ring.push(reading) {
            // Where nothing can be told, nothing is known to stand still.
            let alive = reading.is_blind()
                || before
                    .is_none_or(|b| window(&b, &reading).is_some_and(|w| progress::shows_life(&w)));
            if alive {
                self.alive_at = reading.at;
            }
        }
        self.growth.push(reading.at, reading.memory_anon);
        let test = thread.map(|running| running.test);
        let mut judged = Vec::new();
        if let Some(running) = thread {
            self.judge_thread(&running, reading.at, around, &mut judged);
        }
        self.judge_memory(&reading, around, &mut judged);
        for (kind, judgement) in judged {
            if let Some((confidence, evidence)) = self.active.apply(kind, judgement) {
                let at = reading.at;
                findings.push(Finding {
                    kind,
                    instance,
                    test,
                    at,
                    confidence,
                    evidence,
                });
            }
        }
    }

    fn judge_thread(
        &self,
        running: &Running,
        at: At,
        around: &Surroundings<'_>,
        judged: &mut Vec<(FindingKind, Judgement)>,
    ) {
        let settings = around.settings;
        let sighted = self
            .ring
            .newest()
            .is_some_and(|reading| !reading.is_blind());
        if let Some(window) = self
            .ring
            .last(us(settings.saturation_s))
            .filter(|_| sighted)
        {
            let lanes = lanes(&running.expected, settings.cores);
            judged.push((FindingKind::CpuSaturation, cpu::saturation(&window, lanes)));
        }
        if let (true, Some(window), Some(idle)) = (
            sighted,
            self.ring.last(us(settings.waiting_s)),
            around.idle_cores,
        ) {
            judged.push((FindingKind::Waiting, cpu::waiting(&window, idle)));
        }
        let still_s = at.since(self.alive_at) as f64 / 1e6;
        judged.push((
            FindingKind::Stall,
            progress::stall(still_s, settings.stall_s),
        ));
        let elapsed_s = at.since(running.started) as f64 / 1e6;
        let slow = progress::slow(elapsed_s, &running.expected, settings.slow_s);
        judged.push((FindingKind::Slow, slow));
    }

    fn judge_memory(
        &mut self,
        reading: &Reading,
        around: &mut Surroundings<'_>,
        judged: &mut Vec<(FindingKind, Judgement)>,
    ) {
        let window = self.ring.last(us(around.settings.pressure_s));
        let pressure = memory::pressure(reading.memory_anon, self.memory_limit, window.as_ref());
        judged.push((FindingKind::MemoryPressure, pressure));

        let seconds = self.growth.seconds();
        if seconds < around.settings.leak_s || seconds < self.leak_due_s {
            return;
        }
        if !memory::worth_judging(&self.growth) {
            self.leak_due_s = seconds + LEAK_EVERY.0 / 4.0;
            judged.push((FindingKind::MemoryLeak, Judgement::Ends));
        } else if *around.leaks_left > 0 {
            *around.leaks_left -= 1;
            self.leak_due_s = seconds + LEAK_EVERY.0.max(seconds * LEAK_EVERY.1);
            let leak = memory::leak(&self.growth, around.settings.leak_rule);
            judged.push((FindingKind::MemoryLeak, leak));
        }
    }
}

/// Cores that a thread can be expected to fill: what it filled before, else one.
fn lanes(expected: &Estimate, cores: f64) -> f64 {
    let p50 = expected.cores.p50;
    if expected.runs == 0 || !p50.is_finite() {
        1.0
    } else {
        p50.round().clamp(1.0, cores.max(1.0))
    }
}
