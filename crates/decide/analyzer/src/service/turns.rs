//! Calls of one endpoint take turns: a lock, a pool of one, or a loop that waits keeps them from
//! overlapping, though there is CPU.
//!
//! ```text
//!   answers of it   |      |      |          |        |      |      never closer than one hold h
//!   calls of it      <-h->
//!                          <-h->             <-h->
//!                     <.... -h->             waits for the one before it
//! ```
//!
//! Answers of calls that do not wait for each other come at any time: that n of them in a window of
//! length T are all at least g apart has the chance `(1 - (n - 1) g / T)^n`. Over some windows that is
//! impossible, so g is what keeps them apart. That they wait for it, too, is what the latencies say:
//! the mean wait W of a server that serves one call at a time, each for h, that X calls a second come
//! to of which the share a are others', is about `h a X (W + h/2)`: what others have waiting, and
//! half of what is being served.
//!
//! Neither needs an idle host: what the instance waits for CPU must not explain it, no more.

use std::collections::BTreeMap;

use cohort_model::{InstanceId, ServiceFindingKind};

use super::View;
use super::book::{Conclusion, Key};
use super::record::{Second, Watched};
use super::words;
use crate::findings::measured;

const REACH_S: f64 = 15.0;
const WINDOWS_MIN: usize = 8;
const CALLS_MIN: f64 = 24.0;
/// Share of the calls below which the least latency lies.
const LEAST: f64 = 0.03;
/// Answers are this far apart, microseconds, at least; in all windows but so large a share, in which a
/// driver that was late took two at once.
const HOLD_MIN_US: f64 = 8_000.0;
const CLOSER: f64 = 0.25;
/// Logarithm of the chance of that, at most.
const CHANCE_LN: f64 = -18.0;
/// The hold as a share of the least latency.
const HOLD: (f64, f64) = (0.5, 1.2);
/// Share of the time in which it is held.
const HELD: (f64, f64) = (0.3, 1.2);
/// Mean wait for it, as a share of a hold, at least; and as a range of ratios to what is expected.
const WAIT_MIN: f64 = 0.12;
const WAIT_NEAR: (f64, f64) = (0.5, 3.0);
/// Calls that wait at once, at least.
const WAITING_MIN: f64 = 0.2;
/// Use of CPU, as a share of what the instance may use, and of the time in which it is held, at most.
const CPU_MAX: f64 = 0.6;
const COMPUTED_MAX: f64 = 0.6;
/// Share of the time in which tasks of the instance wait for CPU, at most; and on a busy host, as a share
/// of the calls that wait: what is that short does not explain them.
const PRESSURE_MAX: f64 = 0.4;
const PRESSURE_BUSY_MAX: f64 = 0.6;
const BUSY: f64 = 0.25;
const THROTTLED_MAX: f64 = 0.05;
/// Others wait with it from so many times their least latency on.
/// and half of the wait that the one that holds gives them.
const OTHERS_RATIO: f64 = 3.0;
const OTHERS_WAIT_MIN_US: f64 = 5_000.0;
const OTHERS_WAIT_NEAR: f64 = 0.5;
/// Calls of theirs that wait at once from which on it does not matter whether they wait for each other.
const OTHERS_WAITING_MIN: f64 = 0.4;
const PATIENCE_US: u64 = 30_000_000;

pub(super) fn conclude(view: &View<'_>, drawn: &mut Vec<Conclusion>) {
    for (instance, watched) in view.instances.iter().filter(|(_, w)| !w.down) {
        let Some(span) = Span::of(view, watched) else {
            continue;
        };
        let known = span.endpoints();
        let taking = known
            .iter()
            .filter_map(|(e, calls)| Some((*e, Turns::of(calls, &span)?)));
        // Who holds it longest.
        let holder = taking.max_by(|a, b| a.1.held.total_cmp(&b.1.held));
        if let Some((endpoint, turns)) = holder {
            let others = others(view, &known, (endpoint, &turns), &span);
            let waiting = turns.waiting + others.waiting;
            let starved = span.busy > BUSY && span.pressure > PRESSURE_BUSY_MAX * waiting;
            let waits = turns.queue || others.waiting >= OTHERS_WAITING_MIN;
            if waits && waiting >= WAITING_MIN && !starved {
                drawn.push(concluded(view, *instance, endpoint, &turns, &span, &others));
            }
        }
    }
}

/// The latest time of an instance that has CPU to spare.
struct Span<'a> {
    seconds: Vec<&'a Second>,
    seconds_s: f64,
    threads: f64,
    cores: f64,
    pressure: f64,
    busy: f64,
}

impl<'a> Span<'a> {
    fn of(view: &View<'_>, watched: &'a Watched) -> Option<Span<'a>> {
        let seconds: Vec<&Second> = watched.recent(REACH_S).collect();
        if seconds.len() < WINDOWS_MIN {
            return None;
        }
        let mean = |of: &dyn Fn(&Second) -> f64| {
            seconds.iter().map(|s| of(s)).sum::<f64>() / seconds.len() as f64
        };
        let may_use = watched
            .share
            .map_or(view.settings.cores, |share| share.cores)
            .min(view.settings.cores)
            .max(0.05);
        let cores = mean(&|s| s.cores.unwrap_or(f64::INFINITY));
        let pressure = mean(&|s| s.cpu_pressure);
        let idle = cores <= CPU_MAX * may_use
            && pressure <= PRESSURE_MAX
            && mean(&|s| s.throttled) <= THROTTLED_MAX;
        let seconds_s = seconds.iter().map(|s| s.span_s).sum();
        let (threads, busy) = (
            mean(&|s| s.threads),
            mean(&|s| f64::from(u8::from(s.host_busy))),
        );
        idle.then_some(Span {
            seconds,
            seconds_s,
            threads,
            cores,
            pressure,
            busy,
        })
    }

    fn endpoints(&self) -> BTreeMap<u32, Calls> {
        let mut known: BTreeMap<u32, Calls> = BTreeMap::new();
        for second in &self.seconds {
            for e in &second.endpoints {
                let calls = known.entry(e.endpoint).or_default();
                calls.count += e.calls;
                calls.sum_us += e.sum_us;
                for (bound, count) in &e.fine {
                    *calls.latency.entry(*bound).or_default() += *count as f64;
                }
                if e.closest_us.is_finite() {
                    calls.apart.push(Apart {
                        calls: e.calls,
                        closest_us: e.closest_us,
                        span_us: second.span_s * 1e6,
                    });
                }
            }
        }
        known
    }
}

/// How far apart the answers of one window are at least.
struct Apart {
    calls: f64,
    closest_us: f64,
    span_us: f64,
}

/// Calls of one endpoint in that time.
#[derive(Default)]
struct Calls {
    count: f64,
    sum_us: f64,
    latency: BTreeMap<u64, f64>,
    apart: Vec<Apart>,
}

impl Calls {
    fn mean_us(&self) -> f64 {
        self.sum_us / self.count.max(1.0)
    }

    fn least_us(&self) -> Option<f64> {
        let rank = (LEAST * self.count).max(2.0);
        let mut seen = 0.0;
        self.latency.iter().find_map(|(bound, calls)| {
            seen += calls;
            (seen >= rank).then_some(*bound as f64)
        })
    }

    /// What keeps its answers apart, when chance does not.
    fn hold_us(&self) -> Option<f64> {
        let mut closest: Vec<f64> = self.apart.iter().map(|a| a.closest_us).collect();
        if closest.len() < WINDOWS_MIN {
            return None;
        }
        closest.sort_unstable_by(f64::total_cmp);
        let hold_us = closest[(CLOSER * closest.len() as f64) as usize];
        let chance: f64 = self
            .apart
            .iter()
            .map(|apart| {
                let taken = (apart.calls - 1.0).max(0.0) * hold_us / apart.span_us;
                let so_far_apart = apart.calls * (1.0 - taken.min(0.95)).ln();
                // One that is closer speaks against it.
                if apart.closest_us >= hold_us {
                    so_far_apart
                } else {
                    -so_far_apart / 2.0
                }
            })
            .sum();
        (hold_us >= HOLD_MIN_US && chance <= CHANCE_LN).then_some(hold_us)
    }
}

/// How they take turns.
#[derive(Debug)]
struct Turns {
    hold_us: f64,
    least_us: f64,
    mean_us: f64,
    /// Share of the time in which one is served.
    held: f64,
    /// Calls that wait, on average.
    waiting: f64,
    /// They wait about as long as they should for each other.
    queue: bool,
}

impl Turns {
    fn of(calls: &Calls, span: &Span<'_>) -> Option<Turns> {
        if calls.count < CALLS_MIN || span.threads < 2.0 {
            return None;
        }
        let (hold_us, least_us) = (calls.hold_us()?, calls.least_us()?);
        let rate = calls.count / span.seconds_s / 1e6;
        let wait_us = (calls.mean_us() - least_us).max(0.0);
        let others = 1.0 - 1.0 / span.threads;
        let expected_us = hold_us * others * rate * (wait_us + hold_us / 2.0);
        let turns = Turns {
            hold_us,
            least_us,
            mean_us: calls.mean_us(),
            held: rate * hold_us,
            waiting: rate * wait_us,
            queue: wait_us >= (WAIT_MIN * hold_us).max(WAIT_NEAR.0 * expected_us),
        };
        let fits = (HOLD.0..=HOLD.1).contains(&(hold_us / least_us))
            && (HELD.0..=HELD.1).contains(&turns.held)
            && wait_us <= WAIT_NEAR.1 * expected_us.max(hold_us * WAIT_MIN);
        let computes = span.cores > COMPUTED_MAX * turns.held;
        (fits && !computes).then_some(turns)
    }
}

/// Other endpoints that take far longer than they need to.
struct Others {
    endpoints: Vec<u32>,
    /// Calls of them that wait, on average.
    waiting: f64,
}

fn others(
    view: &View<'_>,
    known: &BTreeMap<u32, Calls>,
    (holder, turns): (u32, &Turns),
    span: &Span<'_>,
) -> Others {
    let meets = 1.0 - 1.0 / span.threads.max(2.0);
    let expected_us = meets * turns.hold_us * (turns.held / 2.0 + turns.waiting);
    let mut others = Others {
        endpoints: Vec::new(),
        waiting: 0.0,
    };
    for (endpoint, calls) in known.iter().filter(|(e, _)| **e != holder) {
        let Some(floor_us) = view.floor_us(*endpoint) else {
            continue;
        };
        let wait_us = calls.mean_us() - floor_us;
        let waits = calls.count >= CALLS_MIN
            && calls.mean_us() >= OTHERS_RATIO * floor_us
            && wait_us >= OTHERS_WAIT_MIN_US.max(OTHERS_WAIT_NEAR * expected_us);
        if waits {
            others.endpoints.push(*endpoint);
            others.waiting += calls.count / span.seconds_s * wait_us / 1e6;
        }
    }
    others
}

fn concluded(
    view: &View<'_>,
    instance: InstanceId,
    endpoint: u32,
    turns: &Turns,
    span: &Span<'_>,
    others: &Others,
) -> Conclusion {
    let names: Vec<String> = others.endpoints.iter().map(|e| view.name(*e)).collect();
    let too = match names.len() {
        0 => String::new(),
        1 => format!("; {} waits, too", names[0]),
        _ => format!("; {} wait, too", words::list(&names)),
    };
    Conclusion {
        key: Key::of(ServiceFindingKind::LockContention, Some(endpoint)),
        instances: vec![instance],
        endpoint: None,
        since: span.seconds[0].at,
        confidence: 0.85,
        sentence: format!(
            "Calls of {} are served one at a time ({} each) while CPU is idle: no two answers are closer, and they take {} instead of {}{too}.",
            view.name(endpoint),
            words::time(turns.hold_us),
            words::time(turns.mean_us),
            words::time(turns.least_us),
        ),
        evidence: vec![
            measured("served one by one", turns.held, "calls at once"),
            measured("answers apart at least", turns.hold_us / 1e3, "ms"),
            measured("calls that wait", turns.waiting + others.waiting, "calls"),
            measured("cpu used", span.cores, "cores"),
            measured("waits for cpu", span.pressure, "share of the time"),
            measured("latency of the holder", turns.mean_us / 1e3, "ms"),
            measured("least it takes", turns.least_us / 1e3, "ms"),
        ],
        excerpts: Vec::new(),
        needs: 4,
        patience: PATIENCE_US,
        amount: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREADS: usize = 4;
    const LEAST_US: f64 = 120e3;

    /// Numbers from 0 to 1 that look like chance.
    struct Draw(u64);

    impl Draw {
        fn unit(&mut self) -> f64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) as f64 / (1u64 << 31) as f64
        }
    }

    /// Fifteen seconds of threads that think for about `think_us` (or come at equal times) between
    /// calls; `took(draw, free)` gives when a call that begins now and finds it free then is answered.
    fn calls(
        seed: u64,
        think_us: impl Fn(&mut Draw) -> f64,
        mut took: impl FnMut(&mut Draw, f64) -> f64,
    ) -> Calls {
        let mut draw = Draw(seed);
        let mut next: Vec<f64> = (0..THREADS).map(|i| i as f64 * 31e3).collect();
        let mut answers = Vec::new();
        let mut calls = Calls::default();
        loop {
            let thread = (0..THREADS).min_by(|a, b| next[*a].total_cmp(&next[*b]));
            let thread = thread.unwrap_or_default();
            let began = next[thread];
            let answered = took(&mut draw, began);
            if answered > REACH_S * 1e6 {
                break;
            }
            answers.push(answered);
            let took_us = answered - began;
            calls.count += 1.0;
            calls.sum_us += took_us;
            let bound = 1.05_f64.powf((took_us.ln() / 1.05_f64.ln()).ceil()) as u64;
            *calls.latency.entry(bound).or_default() += 1.0;
            next[thread] = answered + think_us(&mut draw);
        }
        answers.sort_unstable_by(f64::total_cmp);
        for second in 0..REACH_S as u64 {
            let within = |at: f64| (at / 1e6) as u64 == second;
            let apart = answers.windows(2).filter(|pair| within(pair[1]));
            let closest_us = apart
                .map(|pair| pair[1] - pair[0])
                .fold(f64::INFINITY, f64::min);
            calls.apart.push(Apart {
                calls: answers.iter().filter(|at| within(**at)).count() as f64,
                closest_us,
                span_us: 1e6,
            });
        }
        calls
    }

    fn span() -> Span<'static> {
        Span {
            seconds: Vec::new(),
            seconds_s: REACH_S,
            threads: THREADS as f64,
            cores: 0.05,
            pressure: 0.05,
            busy: 1.0,
        }
    }

    fn of(calls: &Calls) -> Option<Turns> {
        Turns::of(calls, &span()).filter(|turns| turns.queue)
    }

    fn pauses(draw: &mut Draw) -> f64 {
        600e3 * draw.unit()
    }

    #[test]
    fn calls_behind_a_lock_take_turns_also_with_few_threads_on_a_busy_host() {
        for seed in 0..20 {
            let mut free = 0.0_f64;
            let locked = calls(seed, pauses, |draw, now| {
                free = free.max(now) + LEAST_US;
                // A host that is busy takes its time to pass it on.
                free + 4e3 * draw.unit()
            });
            let turns = of(&locked).unwrap_or_else(|| panic!("seed {seed} found nothing"));
            assert!((turns.hold_us - LEAST_US).abs() < 10e3, "{turns:?}");
        }
    }

    #[test]
    fn slow_calls_that_overlap_take_no_turns() {
        for seed in 0..50 {
            // As slow, alike or now more and now less.
            for spread in [0.0, 0.5, 2.0] {
                let took = |draw: &mut Draw, now: f64| {
                    now + LEAST_US * (1.0 - spread * draw.unit().max(1e-6).ln())
                };
                let found = of(&calls(seed, pauses, took));
                assert!(found.is_none(), "seed {seed}, spread {spread}: {found:?}");
            }
        }
    }

    #[test]
    fn calls_that_come_at_equal_times_take_no_turns() {
        for seed in 0..50 {
            for spread in [0.0, 0.05, 0.1, 0.2] {
                let mut draw = Draw(seed);
                let mut made = Calls::default();
                let mut answers = Vec::new();
                for number in 0..150 {
                    let began = f64::from(number) * 100e3;
                    let more = 1.0 - spread * draw.unit().max(1e-6).ln();
                    let at = began + LEAST_US * more;
                    made.count += 1.0;
                    made.sum_us += at - began;
                    let bound = ((at - began) / 5e3).ceil() as u64 * 5_000;
                    *made.latency.entry(bound).or_default() += 1.0;
                    answers.push(at);
                }
                answers.sort_unstable_by(f64::total_cmp);
                for ten in answers.chunks(10) {
                    let closest = ten.windows(2).map(|pair| pair[1] - pair[0]);
                    made.apart.push(Apart {
                        calls: 10.0,
                        closest_us: closest.fold(f64::INFINITY, f64::min),
                        span_us: 1e6,
                    });
                }
                let found = of(&made);
                assert!(found.is_none(), "seed {seed}, spread {spread}: {found:?}");
            }
        }
    }
}
