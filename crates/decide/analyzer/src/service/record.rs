//! What is remembered of one instance, in bounded room: its latest seconds one by one, and all its
//! time since it was ready in at most [`SPANS_MAX`] equally long spans, joined two by two whenever
//! there would be more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cohort_model::{At, EndpointWindow, InstanceSample, LoadWindow, Share};

/// Windows of load kept one by one.
pub(super) const SECONDS_MAX: usize = 150;
/// Ends of processes that are kept: what fails is told later than the next of them, where they come often.
const EXITS_MAX: usize = 32;
/// Spans kept.
const SPANS_MAX: usize = 96;
/// Windows whose latencies are kept as finely as they were told.
const FINE_MAX: usize = 24;
/// Endpoints followed on an instance; calls of further ones count only in its totals.
const ENDPOINTS_MAX: usize = 192;
/// Coarse latency buckets, each twice as wide as the one before; the first ends at 1/8 ms.
pub(super) const COARSE: usize = 20;
/// Samples further apart than this say nothing of the time between them.
const SAMPLES_APART_US: u64 = 1_500_000;
/// A sample so close to a moment says what was held then.
const SAMPLE_NEAR_US: u64 = 20_000;
/// Samples kept one by one.
const SAMPLES_MAX: usize = 16;
/// Seconds after an instance is ready, or its allotment changed, that are warm-up.
const WARM_UP_US: u64 = 3_000_000;
/// Threads that were gathered take so long to go back.
const GOING_BACK_US: u64 = 20_000_000;

/// Upper bound of a coarse bucket, microseconds.
pub(super) fn coarse_bound_us(bucket: usize) -> f64 {
    125.0 * f64::from(1u32 << bucket.min(COARSE))
}

fn coarse_bucket(us: u64) -> usize {
    (0..COARSE - 1)
        .find(|bucket| us as f64 <= coarse_bound_us(*bucket))
        .unwrap_or(COARSE - 1)
}

/// Calls of one endpoint of one instance in one window.
#[derive(Clone, Debug, Default)]
pub(super) struct EndpointSecond {
    pub(super) endpoint: u32,
    pub(super) calls: f64,
    /// 5xx.
    pub(super) errors: f64,
    pub(super) broken: f64,
    /// Failed checks that errors do not explain.
    pub(super) wrong: f64,
    pub(super) sum_us: f64,
    pub(super) p10_us: f64,
    pub(super) p50_us: f64,
    pub(super) longest_us: f64,
    /// Bytes received.
    pub(super) received: f64,
    pub(super) in_flight: f64,
    /// How long the oldest of those had been under way, microseconds.
    pub(super) oldest_us: f64,
    /// Least time between two answers, microseconds; infinite where not known.
    pub(super) closest_us: f64,
    /// Of those that broke: because no answer came in the time that the script gives them.
    pub(super) timed_out: f64,
    pub(super) coarse: [u16; COARSE],
    /// The histogram as it was told, of the latest [`FINE_MAX`] windows: upper bound in microseconds,
    /// and calls.
    pub(super) fine: Vec<(u64, u64)>,
    /// We had others called more there, so that its latency says nothing of the software.
    pub(super) strange: bool,
}

impl EndpointSecond {
    fn of(endpoint: u32, window: &EndpointWindow) -> EndpointSecond {
        let mut coarse = [0u16; COARSE];
        for &(bound, calls) in &window.latency {
            let bucket = &mut coarse[coarse_bucket(bound)];
            *bucket = bucket.saturating_add(u16::try_from(calls).unwrap_or(u16::MAX));
        }
        let quantile = |q| window.quantile_us(q).unwrap_or(0) as f64;
        EndpointSecond {
            endpoint,
            calls: window.calls as f64,
            errors: window.classes[4] as f64,
            broken: window.broken as f64,
            wrong: 0.0,
            sum_us: window.latency_sum_us as f64,
            p10_us: quantile(0.1),
            p50_us: quantile(0.5),
            longest_us: window.latency.last().map_or(0, |bucket| bucket.0) as f64,
            received: window.received as f64,
            in_flight: f64::from(window.in_flight),
            oldest_us: window.oldest_us as f64,
            closest_us: window.closest_us.map_or(f64::INFINITY, |us| us as f64),
            timed_out: window.failures.get("timed out").map_or(0.0, |n| *n as f64),
            coarse,
            fine: window.latency.clone(),
            strange: false,
        }
    }

    /// Calls are under way, or ended without an answer.
    pub(super) fn waits(&self) -> bool {
        self.in_flight >= 1.0 || self.timed_out > 0.0
    }

    /// Whether its latency can be compared with others, and with earlier ones.
    pub(super) fn is_timed(&self) -> bool {
        self.calls > 0.0 && !self.strange
    }

    /// Mean latency, microseconds.
    pub(super) fn mean_us(&self) -> Option<f64> {
        (self.calls > 0.0).then(|| self.sum_us / self.calls)
    }

    /// Calls in `bucket` and beyond.
    pub(super) fn calls_beyond(&self, bucket: usize) -> f64 {
        self.coarse[bucket.min(COARSE)..]
            .iter()
            .map(|c| f64::from(*c))
            .sum()
    }
}

/// What was done on the host in one window, cores.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostUse {
    /// It was busy, so that everything is slow.
    pub(super) busy: bool,
    /// By all instances together.
    pub(super) instances: f64,
    /// By others: programs of others, and the driver of the load.
    pub(super) others: f64,
}

/// One window of load of one instance, with what its resources did meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct Second {
    pub(super) at: At,
    pub(super) span_s: f64,
    /// CPU used, cores; none when nothing was sampled.
    pub(super) cores: Option<f64>,
    pub(super) throttled: f64,
    pub(super) cpu_pressure: f64,
    pub(super) memory_pressure: f64,
    /// Bits in a second, the busier direction.
    pub(super) network: f64,
    /// Whether the whole host was busy, so that everything is slow.
    pub(super) host_busy: bool,
    pub(super) host: HostUse,
    pub(super) memory: f64,
    pub(super) files: f64,
    pub(super) tasks: f64,
    /// The same three at the very end of the window, between the samples around it; none before
    /// there is one after it.
    pub(super) at_end: Option<[f64; 3]>,
    /// Scenario threads placed here.
    pub(super) threads: f64,
    /// Futex calls a second; zero where not known.
    pub(super) futexes: f64,
    pub(super) warm_up: bool,
    pub(super) calls: f64,
    pub(super) in_flight: f64,
    pub(super) endpoints: Vec<EndpointSecond>,
}

impl Second {
    pub(super) fn endpoint(&self, endpoint: u32) -> Option<&EndpointSecond> {
        self.endpoints
            .binary_search_by_key(&endpoint, |e| e.endpoint)
            .ok()
            .map(|place| &self.endpoints[place])
    }

    /// Calls under way on average, by Little's law, and those that had no answer yet.
    pub(super) fn under_way(&self) -> f64 {
        let answered: f64 = self.endpoints.iter().map(|e| e.sum_us).sum();
        (answered / 1e6 / self.span_s.max(0.1)).max(self.in_flight)
    }
}

/// Several seconds in one.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    /// Seconds of time in it.
    pub(super) seconds: f64,
    pub(super) at: At,
    pub(super) memory: f64,
    pub(super) files: f64,
    pub(super) tasks: f64,
    pub(super) threads: f64,
    /// Share of its time in which the host was busy.
    pub(super) busy: f64,
    /// By endpoint: calls, and mean of the median latencies weighted by calls, microseconds.
    pub(super) endpoints: BTreeMap<u32, (f64, f64)>,
}

impl Span {
    pub(super) fn of(second: &Second) -> Span {
        Span {
            seconds: second.span_s,
            at: second.at,
            memory: second.memory,
            files: second.files,
            tasks: second.tasks,
            threads: second.threads,
            busy: f64::from(u8::from(second.host_busy)),
            endpoints: second
                .endpoints
                .iter()
                .filter(|e| e.calls > 0.0)
                .map(|e| (e.endpoint, (e.calls, e.p50_us)))
                .collect(),
        }
    }

    fn join(&mut self, later: &Span) {
        let (own, more) = (self.seconds.max(1e-6), later.seconds.max(1e-6));
        let mean = |a: f64, b: f64| (a * own + b * more) / (own + more);
        self.memory = mean(self.memory, later.memory);
        self.files = mean(self.files, later.files);
        self.tasks = mean(self.tasks, later.tasks);
        self.threads = mean(self.threads, later.threads);
        self.busy = mean(self.busy, later.busy);
        self.seconds = own + more;
        self.at = later.at;
        for (endpoint, (calls, median)) in &later.endpoints {
            let entry = self.endpoints.entry(*endpoint).or_insert((0.0, 0.0));
            let total = entry.0 + calls;
            entry.1 = (entry.1 * entry.0 + median * calls) / total.max(1e-9);
            entry.0 = total;
        }
    }
}

/// All time since an instance was ready, but its warm-up.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    spans: Vec<Span>,
    filling: Option<Span>,
    /// Windows in a span.
    joined: u32,
    in_filling: u32,
}

impl History {
    fn push(&mut self, second: &Second) {
        let span = Span::of(second);
        match &mut self.filling {
            Some(filling) => filling.join(&span),
            None => self.filling = Some(span),
        }
        self.in_filling += 1;
        if self.in_filling < self.joined.max(1) {
            return;
        }
        self.in_filling = 0;
        self.spans.extend(self.filling.take());
        if self.spans.len() >= SPANS_MAX {
            self.joined = self.joined.max(1) * 2;
            self.spans = self
                .spans
                .chunks(2)
                .map(|pair| {
                    let mut span = pair[0].clone();
                    if let Some(later) = pair.get(1) {
                        span.join(later);
                    }
                    span
                })
                .collect();
        }
    }

    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The latest spans in which about as many threads ran here as now: what grows with load alone
    /// is left out.
    pub(super) fn steady(&self) -> &[Span] {
        let Some(newest) = self.spans.last() else {
            return &[];
        };
        let near = |span: &Span| {
            (span.threads - newest.threads).abs() <= (0.15 * newest.threads).max(1.01)
        };
        let changed = self.spans.iter().rposition(|span| !near(span));
        // The first span after a change is still settling.
        let from = changed.map_or(0, |place| (place + 2).min(self.spans.len()));
        &self.spans[from..]
    }
}

/// The counters of one sample that windows need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    pub(super) at: At,
    pub(super) sample: InstanceSample,
}

impl Counters {
    /// Memory, descriptors and tasks.
    fn held(&self) -> [f64; 3] {
        [
            self.sample.memory_anon as f64,
            f64::from(self.sample.open_files),
            f64::from(self.sample.tasks),
        ]
    }
}

/// What was held at `at`, from the samples before and after.
fn held_at(at: At, before: &Counters, after: &Counters) -> Option<[f64; 3]> {
    let gap = after.at.since(before.at);
    if gap > SAMPLES_APART_US || at < before.at || at > after.at {
        return None;
    }
    // Right beside one of them it is what that one says: counts come in steps.
    let share = match (at.since(before.at), after.at.since(at)) {
        (_, near) if near <= SAMPLE_NEAR_US => 1.0,
        (near, _) if near <= SAMPLE_NEAR_US => 0.0,
        (since, _) => since as f64 / (gap as f64).max(1.0),
    };
    let (from, to) = (before.held(), after.held());
    Some(std::array::from_fn(|i| from[i] + share * (to[i] - from[i])))
}

/// One instance under watch.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    pub(super) ready: Option<At>,
    /// Its process is not there, or not ready.
    pub(super) down: bool,
    pub(super) share: Option<Share>,
    /// Our own latest change of it.
    pub(super) changed: Option<At>,
    pub(super) latest: Option<Counters>,
    before: Option<Counters>,
    /// The latest samples, oldest first: a window is told a while after its end.
    samples: VecDeque<Counters>,
    pub(super) seconds: VecDeque<Second>,
    pub(super) history: History,
    /// The latest crashes.
    pub(super) crashes: Vec<At>,
    /// Seconds without an answer while calls are under way.
    pub(super) still_s: f64,
    /// When its processes ended, the latest [`EXITS_MAX`].
    pub(super) exits: VecDeque<At>,
    pub(super) threads: u32,
    /// Endpoints that fewer of its threads call by our doing, and when that was over.
    strange: Option<(BTreeSet<u32>, Option<At>)>,
    /// It is kept for a suspicion or an area, or was until then: others are called there, and more
    /// often, than elsewhere.
    kept: Option<Option<At>>,
}

impl Watched {
    /// Threads that call these were swapped for others, or none are any more.
    pub(super) fn strange_are(&mut self, at: At, endpoints: BTreeSet<u32>) {
        if !endpoints.is_empty() {
            self.strange = Some((endpoints, None));
        } else if let Some((_, over @ None)) = &mut self.strange {
            *over = Some(at);
        }
    }

    /// It is kept for what some threads call from now on, or for all again.
    pub(super) fn kept_apart(&mut self, at: At, is: bool) {
        if is {
            self.kept = Some(None);
        } else if let Some(until @ None) = &mut self.kept {
            *until = Some(at);
        }
    }

    /// Whether what is called there differs from elsewhere by our own doing.
    pub(super) fn is_kept_apart(&self, at: At) -> bool {
        self.kept
            .is_some_and(|until| until.is_none_or(|until| at.since(until) < GOING_BACK_US))
    }

    /// Whether fewer of its threads call an endpoint by our doing, or did up to `us` ago.
    pub(super) fn is_strange(&self, at: At, endpoint: u32, us: u64) -> bool {
        self.strange.as_ref().is_some_and(|(endpoints, over)| {
            let lasts = over.is_none_or(|over| at.since(over) < us);
            lasts && endpoints.contains(&endpoint)
        })
    }

    /// It answers (again): all that was measured belongs to an earlier process.
    pub(super) fn became_ready(&mut self, at: At) {
        self.ready = Some(at);
        self.down = false;
        self.seconds.clear();
        self.samples.clear();
        self.history = History::default();
        self.before = self.latest;
        self.still_s = 0.0;
    }

    pub(super) fn exited(&mut self, at: At) {
        self.down = true;
        if self.exits.len() == EXITS_MAX {
            self.exits.pop_front();
        }
        self.exits.push_back(at);
    }

    /// Takes a sample of its resources.
    pub(super) fn sampled(&mut self, now: Counters) {
        let before = self.latest.filter(|latest| now.at > latest.at);
        if before.is_none() && self.latest.is_some() {
            return;
        }
        if let (Some(before), Some(second)) = (before, self.seconds.back_mut())
            && second.at_end.is_none()
        {
            second.at_end = held_at(second.at, &before, &now);
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(now);
        self.latest = Some(now);
    }

    /// Takes a window of load.
    pub(super) fn push(&mut self, window: &LoadWindow, host: HostUse) {
        if self
            .seconds
            .back()
            .is_some_and(|newest| window.at <= newest.at)
        {
            return;
        }
        if self.ready.is_none() {
            // Readiness was not told: its first answers say so.
            self.ready = Some(window.at);
        }
        let second = self.second(window, host);
        let answers = second.calls > 0.0;
        if answers || !second.endpoints.iter().any(EndpointSecond::waits) {
            self.still_s = 0.0;
        } else {
            self.still_s += second.span_s;
        }
        if !second.warm_up && second.cores.is_some() {
            self.history.push(&second);
        }
        if self.seconds.len() == SECONDS_MAX {
            self.seconds.pop_front();
        }
        self.seconds.push_back(second);
        if let Some(place) = self.seconds.len().checked_sub(FINE_MAX + 1) {
            for e in &mut self.seconds[place].endpoints {
                e.fine = Vec::new();
            }
        }
        self.before = self.latest;
    }

    fn second(&self, window: &LoadWindow, host: HostUse) -> Second {
        let recent = |since: Option<At>| since.is_some_and(|s| window.at.since(s) < WARM_UP_US);
        let endpoints: Vec<EndpointSecond> = window
            .endpoints
            .iter()
            .take(ENDPOINTS_MAX)
            .map(|(endpoint, calls)| EndpointSecond {
                strange: self.is_strange(window.at, *endpoint, GOING_BACK_US),
                ..EndpointSecond::of(*endpoint, calls)
            })
            .collect();
        let span_s = (window.span_us as f64 / 1e6).max(1e-3);
        let futexes = window.system_calls.get("futex").copied().unwrap_or(0);
        let mut second = Second {
            at: window.at,
            span_s,
            host_busy: host.busy,
            host,
            threads: f64::from(self.threads),
            futexes: futexes as f64 / span_s,
            warm_up: self.down || recent(self.ready),
            calls: window.endpoints.values().map(|e| e.calls as f64).sum(),
            in_flight: window
                .endpoints
                .values()
                .map(|e| f64::from(e.in_flight))
                .sum(),
            endpoints,
            ..Second::default()
        };
        if let Some(now) = self.latest {
            [second.memory, second.files, second.tasks] = now.held();
            second.at_end = (now.at == window.at)
                .then(|| now.held())
                .or_else(|| self.held_at(window.at));
        }
        if let (Some(before), Some(now)) = (self.before, self.latest) {
            rates(&mut second, &before, &now);
        }
        second
    }

    fn held_at(&self, at: At) -> Option<[f64; 3]> {
        let after = self.samples.iter().position(|sample| sample.at >= at)?;
        let before = self.samples.get(after.checked_sub(1)?)?;
        held_at(at, before, &self.samples[after])
    }

    /// The latest windows of at most `seconds` that are no warm-up, oldest first.
    pub(super) fn recent(&self, seconds: f64) -> impl DoubleEndedIterator<Item = &Second> + Clone {
        let newest = self.seconds.back().map_or(At(0), |s| s.at);
        self.seconds
            .iter()
            .filter(move |s| !s.warm_up && newest.since(s.at) as f64 / 1e6 < seconds)
    }

    /// Our own change lies less than `us` back.
    pub(super) fn changed_within(&self, now: At, us: u64) -> bool {
        self.changed.is_some_and(|at| now.since(at) < us)
    }
}

fn rates(second: &mut Second, before: &Counters, now: &Counters) {
    let span_us = now.at.since(before.at);
    if span_us == 0 {
        return;
    }
    let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / span_us as f64;
    let (b, n) = (&before.sample, &now.sample);
    let blind = n.cpu_us == 0 && n.tasks == 0;
    second.cores = (!blind).then(|| rate(b.cpu_us, n.cpu_us));
    second.throttled = rate(b.throttled_us, n.throttled_us).min(1.0);
    second.cpu_pressure = rate(b.cpu_pressure_us, n.cpu_pressure_us).min(1.0);
    second.memory_pressure = rate(b.memory_pressure_us, n.memory_pressure_us).min(1.0);
    let bits = |from: Option<u64>, to: Option<u64>| match (from, to) {
        (Some(from), Some(to)) => rate(from, to) * 8e6,
        _ => 0.0,
    };
    second.network = bits(b.net_received, n.net_received).max(bits(b.net_sent, n.net_sent));
}
