//! A small world to judge the analyzer in: instances of a service with endpoints that compute,
//! wait and lock; scenario threads that call them in a closed loop; a host with few cores; and
//! faults, or things that merely look like faults, that begin at a given second. In steps of two
//! milliseconds; everything follows from the seed.

use std::collections::BTreeMap;

use cohort_analyzer::service::{ServiceAnalyzer, ServiceSettings};
use cohort_model::{
    At, CallSeen, Collector, EndpointId, EndpointWindow, ExceptionSeen, Exit, HostSample,
    InstanceId, InstanceSample, LoadWindow, SampleBatch, ServiceFinding, ServiceSeen, Share,
    ThreadId,
};

const STEP_US: u64 = 2_000;
/// How long a caller waits, where it does not wait for ever.
const TIMEOUT_US: u64 = 3_000_000;
const MIB: f64 = 1_048_576.0;

/// Endpoints of the world, by number.
pub(crate) const NAMES: [&str; 6] = [
    "GET /products",
    "GET /products/{}",
    "GET /search",
    "POST /orders",
    "GET /orders/{}",
    "GET /stock/{}",
];
pub(crate) const PRODUCTS: u32 = 0;
pub(crate) const SEARCH: u32 = 2;
pub(crate) const ORDER: u32 = 3;
pub(crate) const TOTAL: u32 = 4;

/// What goes wrong, or only looks so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    /// Nothing.
    Healthy,
    /// Every order keeps this much memory, bytes.
    MemoryLeak(f64),
    /// Every search keeps a descriptor open.
    FileLeak,
    /// Every fourth order leaves a thread behind.
    ThreadLeak,
    /// Listing orders looks at every order ever made.
    Growing,
    /// Ordering holds a lock while it waits for this long, seconds; stock and listing need it.
    Lock(f64),
    /// Ordering holds a lock that all others need, while it waits for 50 ms.
    LockOfAll,
    /// One in 150 calls of search ends the process.
    Crash,
    /// The total is wrong now and then when two orders are under way.
    Race,
    /// One in 40 searches computes for 1.2 s.
    BlowUp,
    /// Half of the orders fail.
    Errors,
    /// One in 20 orders fails.
    FewErrors,
    /// Products take five times as long.
    Slow,
    /// Half of the calls for products do.
    HalfSlow,
    /// The first instance takes four times as long for everything.
    SlowInstance,
    /// The first instance answers no more.
    Hang,
    /// Search answers no more; those who wait for it time out after three seconds.
    EndpointHang,
    /// One in 40 searches is never answered.
    CallHang,
    /// Some orders throw, and fail.
    Exception,
    /// Memory fills up, with this time constant, seconds, by this much, bytes.
    Fill(f64, f64),
    /// A collector: memory grows and is freed, with a pause.
    Collector,
    /// Every 20 s each instance computes for 2 s.
    Batch,
    /// Twice as many threads, one after the other.
    Ramp,
    /// The allotment of the first instance is halved.
    Allotment,
    /// The first instance is restarted as asked.
    Restart,
    /// Others use the host for 8 of 25 s.
    BusyHost,
    /// Waiting takes far longer at times, of all endpoints alike.
    SlowDisk,
}

/// Seeded uniform numbers (xorshift).
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Draw {
        Draw(seed.wrapping_add(77).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Mean 1, mostly between 0.6 and 1.6.
    fn about(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.unit()).sum::<f64>() / 2.0;
        0.6 * sum + 0.4 * self.exponential(1.0)
    }
}

struct Call {
    endpoint: u32,
    thread: usize,
    began: u64,
    cpu_s: f64,
    wait_s: f64,
    /// It needs the lock for its waiting (holder) or its computing.
    lock: bool,
    odd: bool,
    /// It is never answered.
    stuck: bool,
}

enum Doing {
    Thinking(u64),
    Calling,
}

struct Instance {
    calls: Vec<Call>,
    threads: Vec<Doing>,
    /// Flow of each thread and its next step.
    flows: Vec<(usize, usize)>,
    windows: BTreeMap<u32, EndpointWindow>,
    /// When the latest answer of each endpoint came.
    answered: BTreeMap<u32, u64>,
    slowest: BTreeMap<u32, CallSeen>,
    broken: Vec<CallSeen>,
    together: BTreeMap<usize, BTreeMap<u32, u64>>,
    cpu_us: f64,
    throttled_us: f64,
    pressure_us: f64,
    leaked: f64,
    files: f64,
    tasks: f64,
    noise: f64,
    garbage: f64,
    pause_until: u64,
    orders: f64,
    ready: u64,
    down_until: Option<u64>,
    cores: f64,
    exceptions: u64,
}

/// How a world is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) instances: u32,
    pub(crate) threads: usize,
    pub(crate) seconds: u64,
    /// Second at which the event begins.
    pub(crate) onset: u64,
    pub(crate) event: Event,
    /// Mean pause of a thread between calls, seconds.
    pub(crate) think_s: f64,
    pub(crate) cores: f64,
}

impl Setup {
    pub(crate) fn new(event: Event, seed: u64) -> Setup {
        Setup {
            seed,
            instances: 2,
            threads: 8,
            seconds: 75,
            onset: 12,
            event,
            think_s: 0.08,
            cores: 2.0,
        }
    }
}

/// Runs a world and gives all that was said of it, with the second at which it was said.
pub(crate) fn run(setup: &Setup) -> Vec<(f64, ServiceFinding)> {
    let mut world = World::new(*setup);
    let mut analyzer = ServiceAnalyzer::new(ServiceSettings { cores: setup.cores });
    let mut said = Vec::new();
    for (endpoint, name) in NAMES.iter().enumerate() {
        let seen = ServiceSeen::EndpointNamed {
            endpoint: EndpointId(endpoint as u32),
            name: (*name).to_owned(),
        };
        analyzer.observe(At(0), &seen);
    }
    for second in 0..setup.seconds {
        for (at, seen) in world.second(second) {
            analyzer.observe(at, &seen);
        }
        let at = At((second + 1) * 1_000_000);
        for finding in analyzer.conclude(at) {
            said.push((at.seconds(), finding));
        }
    }
    said
}

pub(crate) struct World {
    setup: Setup,
    draw: Draw,
    now: u64,
    instances: Vec<Instance>,
    host_busy_us: f64,
    host_pressure_us: f64,
    started: bool,
    said: Vec<(At, ServiceSeen)>,
}

/// Steps of the flows: browse, order, look.
const FLOWS: [&[u32]; 3] = [&[0, 1, 1, 2], &[1, 5, 3, 4], &[2, 1, 5]];

impl World {
    pub(crate) fn new(setup: Setup) -> World {
        let mut draw = Draw::new(setup.seed);
        let instances = (0..setup.instances)
            .map(|_| Instance {
                calls: Vec::new(),
                threads: Vec::new(),
                flows: Vec::new(),
                windows: BTreeMap::new(),
                answered: BTreeMap::new(),
                slowest: BTreeMap::new(),
                broken: Vec::new(),
                together: BTreeMap::new(),
                cpu_us: 0.0,
                throttled_us: 0.0,
                pressure_us: 0.0,
                leaked: 0.0,
                files: 0.0,
                tasks: 0.0,
                noise: 0.0,
                garbage: draw.unit() * 40.0 * MIB,
                pause_until: 0,
                orders: 0.0,
                ready: 0,
                down_until: None,
                cores: setup.cores,
                exceptions: 0,
            })
            .collect();
        World {
            setup,
            draw,
            now: 0,
            instances,
            host_busy_us: 0.0,
            host_pressure_us: 0.0,
            started: false,
            said: Vec::new(),
        }
    }

    fn on(&self, event: Event) -> bool {
        self.setup.event == event && self.now >= self.setup.onset * 1_000_000
    }

    fn active(&self) -> Event {
        if self.now >= self.setup.onset * 1_000_000 {
            self.setup.event
        } else {
            Event::Healthy
        }
    }

    /// Lives through one second; what was seen of it.
    pub(crate) fn second(&mut self, second: u64) -> Vec<(At, ServiceSeen)> {
        self.begin(second);
        while self.now < (second + 1) * 1_000_000 {
            self.step();
            self.now += STEP_US;
        }
        self.report();
        std::mem::take(&mut self.said)
    }

    fn begin(&mut self, second: u64) {
        if !self.started {
            self.started = true;
            for number in 0..self.setup.instances {
                self.said.push((
                    At(0),
                    ServiceSeen::InstanceReady {
                        instance: InstanceId(number),
                        took_us: 100_000,
                    },
                ));
                self.share(number, self.setup.cores);
            }
        }
        let full = self.setup.threads;
        let wanted = if self.on(Event::Ramp) {
            let more = ((second - self.setup.onset) as usize * full).div_ceil(40);
            full + more.min(full)
        } else if second < 3 {
            (second as usize + 1) * full / 3
        } else {
            full
        };
        for number in 0..self.instances.len() {
            while self.instances[number].threads.len() < wanted {
                let place = self.instances[number].threads.len();
                let think = self.now + (self.draw.unit() * 200_000.0) as u64;
                self.instances[number].threads.push(Doing::Thinking(think));
                let flow = (self.draw.unit() * 3.0) as usize;
                self.instances[number].flows.push((flow, 0));
                self.said.push((
                    At(self.now),
                    ServiceSeen::ThreadPlaced {
                        thread: ThreadId((number * 1000 + place) as u32),
                        instance: InstanceId(number as u32),
                    },
                ));
            }
        }
        if second == self.setup.onset {
            match self.setup.event {
                Event::Allotment => {
                    let cores = self.setup.cores / 5.0;
                    self.instances[0].cores = cores;
                    self.share(0, cores);
                }
                Event::Restart => self.end(0, Exit::Asked),
                _ => {}
            }
        }
    }

    fn share(&mut self, number: u32, cores: f64) {
        self.said.push((
            At(self.now),
            ServiceSeen::ShareSet {
                instance: InstanceId(number),
                share: Share {
                    cores,
                    memory: 4 << 30,
                    network: None,
                },
            },
        ));
    }

    /// The process of an instance ends; it is back two seconds later.
    fn end(&mut self, number: usize, exit: Exit) {
        let now = self.now;
        let instance = &mut self.instances[number];
        let calls: Vec<CallSeen> = instance.calls.iter().map(|c| seen(c, now)).collect();
        for call in std::mem::take(&mut instance.calls) {
            let window = instance.windows.entry(call.endpoint).or_default();
            window.broken += 1;
            let closed = "connection closed".to_owned();
            *window.failures.entry(closed).or_default() += 1;
            instance.threads[call.thread] = Doing::Thinking(now + 2_200_000);
        }
        instance.broken.extend(calls.iter().cloned());
        instance.down_until = Some(now + 2_000_000);
        (instance.leaked, instance.files, instance.tasks) = (0.0, 0.0, 0.0);
        let asked = exit == Exit::Asked;
        self.said.push((
            At(now),
            ServiceSeen::InstanceExited {
                instance: InstanceId(number as u32),
                exit,
                lived_us: now,
                last_lines: vec![if asked {
                    "bye".to_owned()
                } else {
                    format!("thread 'worker-{}' panicked at src/search.rs:41", now % 7)
                }],
                calls,
                again: true,
            },
        ));
    }

    fn step(&mut self) {
        let dt = STEP_US as f64 / 1e6;
        for number in 0..self.instances.len() {
            self.revive(number);
            self.start_calls(number);
        }
        // Others on the host, and the driver of the load itself.
        let busy = self.on(Event::BusyHost) && (self.now / 1_000_000) % 25 < 8;
        let others = if busy { 14.0 } else { 0.0 };
        let mut wants: Vec<f64> = Vec::new();
        for number in 0..self.instances.len() {
            wants.push(self.wants(number));
        }
        let total: f64 = wants.iter().sum::<f64>() + others;
        let scale = (self.setup.cores / total.max(1e-9)).min(1.0);
        if total > self.setup.cores {
            self.host_pressure_us += STEP_US as f64;
        }
        let mut used = (others * scale).min(self.setup.cores);
        for (number, want) in wants.into_iter().enumerate() {
            let fair = want * scale;
            let given = fair.min(self.instances[number].cores);
            if given < fair {
                self.instances[number].throttled_us += STEP_US as f64;
            } else if scale < 1.0 && want > 0.0 {
                self.instances[number].pressure_us += STEP_US as f64;
            }
            used += given;
            self.instances[number].cpu_us += given * STEP_US as f64;
            let rate = if want > 0.0 { given / want } else { 1.0 };
            self.advance(number, dt, rate);
        }
        self.host_busy_us += (used + 0.15).min(self.setup.cores) * STEP_US as f64;
    }

    fn revive(&mut self, number: usize) {
        let now = self.now;
        let back = self.instances[number].down_until.is_some_and(|t| t <= now);
        if back {
            self.instances[number].down_until = None;
            self.instances[number].ready = now;
            self.said.push((
                At(now),
                ServiceSeen::InstanceReady {
                    instance: InstanceId(number as u32),
                    took_us: 2_000_000,
                },
            ));
        }
    }

    /// Cores that an instance could use now.
    fn wants(&self, number: usize) -> f64 {
        let instance = &self.instances[number];
        if instance.pause_until > self.now {
            return 1.0;
        }
        let computing = instance
            .calls
            .iter()
            .filter(|c| c.cpu_s > 0.0 && c.wait_s <= 0.0 && !c.stuck)
            .count() as f64;
        let second = self.now / 1_000_000;
        let batch = self.on(Event::Batch) && (second + number as u64 * 3) % 20 < 2;
        if self.hangs(number) {
            0.0
        } else {
            computing + f64::from(u8::from(batch)) * 3.0
        }
    }

    fn hangs(&self, number: usize) -> bool {
        number == 0 && self.on(Event::Hang)
    }

    fn start_calls(&mut self, number: usize) {
        if self.instances[number].down_until.is_some() {
            return;
        }
        for thread in 0..self.instances[number].threads.len() {
            let Doing::Thinking(until) = self.instances[number].threads[thread] else {
                continue;
            };
            if until > self.now {
                continue;
            }
            let (flow, step) = self.instances[number].flows[thread];
            let endpoint = FLOWS[flow][step];
            let next = if step + 1 == FLOWS[flow].len() {
                ((self.draw.unit() * 3.0) as usize, 0)
            } else {
                (flow, step + 1)
            };
            self.instances[number].flows[thread] = next;
            let call = self.call(number, thread, endpoint);
            let instance = &mut self.instances[number];
            instance.calls.push(call);
            instance.threads[thread] = Doing::Calling;
            *instance
                .together
                .entry(thread)
                .or_default()
                .entry(endpoint)
                .or_default() += 1;
        }
    }

    fn call(&mut self, number: usize, thread: usize, endpoint: u32) -> Call {
        const CPU_S: [f64; 6] = [0.004, 0.001, 0.006, 0.003, 0.002, 0.001];
        const WAIT_S: [f64; 6] = [0.004, 0.002, 0.004, 0.008, 0.003, 0.001];
        let place = endpoint as usize;
        let mut call = Call {
            endpoint,
            thread,
            began: self.now,
            cpu_s: CPU_S[place] * self.draw.about(),
            wait_s: WAIT_S[place] * self.draw.about(),
            lock: false,
            odd: false,
            stuck: false,
        };
        match self.active() {
            Event::Growing if endpoint == TOTAL => {
                call.cpu_s += self.instances[number].orders * 60e-6;
            }
            Event::Lock(seconds) if endpoint == ORDER => {
                call.wait_s = seconds * (0.9 + 0.2 * self.draw.unit());
                call.lock = true;
            }
            Event::Lock(_) if endpoint >= TOTAL => call.lock = true,
            Event::LockOfAll => {
                call.lock = true;
                if endpoint == ORDER {
                    call.wait_s = 0.05;
                }
            }
            Event::CallHang if endpoint == SEARCH => call.stuck = self.draw.unit() < 1.0 / 40.0,
            Event::EndpointHang if endpoint == SEARCH => call.stuck = true,
            Event::Crash if endpoint == SEARCH => call.odd = self.draw.unit() < 1.0 / 150.0,
            Event::BlowUp if endpoint == SEARCH && self.draw.unit() < 1.0 / 40.0 => {
                call.cpu_s = 1.2 * (0.8 + 0.4 * self.draw.unit());
                call.odd = true;
            }
            Event::Slow if endpoint == PRODUCTS => call.wait_s += 0.035 * self.draw.about(),
            Event::HalfSlow if endpoint == PRODUCTS && self.draw.unit() < 0.5 => {
                call.wait_s += 0.1 * self.draw.about();
            }
            Event::SlowInstance if number == 0 => {
                call.wait_s = (call.wait_s + 0.01) * 4.0;
            }
            Event::SlowDisk if (self.now / 7_000_000).is_multiple_of(3) => call.wait_s *= 5.0,
            _ => {}
        }
        call
    }

    fn advance(&mut self, number: usize, dt: f64, rate: f64) {
        if self.hangs(number) || self.instances[number].down_until.is_some() {
            return;
        }
        if self.instances[number].pause_until > self.now {
            return;
        }
        let mut ended = Vec::new();
        let mut locked = false;
        let instance = &mut self.instances[number];
        for (place, call) in instance.calls.iter_mut().enumerate() {
            if call.stuck {
                let times_out = self.setup.event == Event::EndpointHang;
                if times_out && self.now - call.began > TIMEOUT_US {
                    ended.push(place);
                }
                continue;
            }
            if call.lock {
                // In order of arrival: the first one in the list has it.
                if locked {
                    continue;
                }
                locked = true;
            }
            if call.wait_s > 0.0 {
                call.wait_s -= dt;
            } else {
                call.cpu_s -= dt * rate;
            }
            if call.wait_s <= 0.0 && call.cpu_s <= 0.0 {
                ended.push(place);
            }
        }
        for place in ended.into_iter().rev() {
            let call = self.instances[number].calls.remove(place);
            if call.odd && self.setup.event == Event::Crash {
                self.instances[number].calls.push(call);
                self.end(number, Exit::Signal { signal: 11 });
                return;
            }
            if call.stuck {
                self.time_out(number, &call);
            } else {
                self.answer(number, &call);
            }
        }
    }

    fn time_out(&mut self, number: usize, call: &Call) {
        let instance = &mut self.instances[number];
        let window = instance.windows.entry(call.endpoint).or_default();
        window.broken += 1;
        *window.failures.entry("timed out".to_owned()).or_default() += 1;
        instance.broken.push(seen(call, self.now));
        instance.threads[call.thread] = Doing::Thinking(self.now + 50_000);
    }

    fn answer(&mut self, number: usize, call: &Call) {
        let event = self.active();
        let took_us = (self.now - call.began
            + STEP_US / 2
            + (self.draw.unit() * STEP_US as f64 / 2.0) as u64)
            .max(300);
        let think = self.draw.exponential(self.setup.think_s);
        let chance = self.draw.unit();
        let at_once = self.instances[number]
            .calls
            .iter()
            .filter(|c| c.endpoint == ORDER)
            .count();
        let instance = &mut self.instances[number];
        let window = instance.windows.entry(call.endpoint).or_default();
        let mut failed = false;
        let mut wrong = false;
        match event {
            Event::MemoryLeak(bytes) if call.endpoint == ORDER => instance.leaked += bytes,
            Event::FileLeak if call.endpoint == SEARCH => instance.files += 1.0,
            Event::ThreadLeak if call.endpoint == ORDER => instance.tasks += 0.25,
            Event::Errors if call.endpoint == ORDER => failed = chance < 0.5,
            Event::FewErrors if call.endpoint == ORDER => failed = chance < 0.05,
            Event::Exception if call.endpoint == ORDER && chance < 0.1 => {
                failed = true;
                instance.exceptions += 1;
            }
            Event::Race if call.endpoint == TOTAL => wrong = at_once >= 1 && chance < 0.1,
            Event::Collector => instance.garbage += 0.3 * MIB,
            _ => {}
        }
        if call.endpoint == ORDER {
            instance.orders += 1.0;
        }
        window.calls += 1;
        window.classes[if failed { 4 } else { 1 }] += 1;
        // Checks of answers that are errors are not told.
        if failed {
            *window.failures.entry("503".to_owned()).or_default() += 1;
        } else if wrong {
            let check = "total is right".to_owned();
            *window.failed_checks.entry(check).or_default() += 1;
        }
        window.latency_sum_us += took_us;
        let ended = call.began + took_us;
        let latest = instance.answered.insert(call.endpoint, ended);
        if let Some(apart) = latest.map(|latest| ended.abs_diff(latest)) {
            let least = window.closest_us.map_or(apart, |least| least.min(apart));
            window.closest_us = Some(least);
        }
        let bound = 1.05_f64.powf((took_us as f64).ln() / 1.05_f64.ln()).ceil();
        let bound = 1.05_f64.powf((bound.ln() / 1.05_f64.ln()).ceil()) as u64 + 1;
        match window.latency.binary_search_by_key(&bound, |b| b.0) {
            Ok(place) => window.latency[place].1 += 1,
            Err(place) => window.latency.insert(place, (bound, 1)),
        }
        let slowest = instance
            .slowest
            .entry(call.endpoint)
            .or_insert_with(|| seen(call, self.now));
        if took_us > slowest.took_us {
            *slowest = seen(call, self.now);
        }
        instance.threads[call.thread] = Doing::Thinking(self.now + (think * 1e6) as u64);
    }

    fn report(&mut self) {
        let at = At(self.now);
        let mut samples = Vec::new();
        let mut windows = Vec::new();
        let mut called = Vec::new();
        let mut exceptions = Vec::new();
        for number in 0..self.instances.len() {
            samples.push(self.sample(number));
            let instance = &mut self.instances[number];
            let mut endpoints = std::mem::take(&mut instance.windows);
            for call in &instance.calls {
                let window = endpoints.entry(call.endpoint).or_default();
                window.in_flight += 1;
                window.oldest_us = window.oldest_us.max(self.now - call.began);
            }
            windows.push(LoadWindow {
                instance: InstanceId(number as u32),
                at,
                span_us: 1_000_000,
                endpoints,
                slowest: std::mem::take(&mut instance.slowest)
                    .into_values()
                    .collect(),
                broken: std::mem::take(&mut instance.broken),
                system_calls: BTreeMap::new(),
                spans: Vec::new(),
                metrics: Vec::new(),
            });
            for (thread, calls) in std::mem::take(&mut instance.together) {
                let calls = calls.into_iter().map(|(e, n)| (EndpointId(e), n)).collect();
                called.push((ThreadId((number * 1000 + thread) as u32), calls));
            }
            if instance.exceptions > 0 {
                exceptions.push(ExceptionSeen {
                    instance: InstanceId(number as u32),
                    fingerprint: "python ValueError order".to_owned(),
                    kind: "python ValueError".to_owned(),
                    message: "negative amount".to_owned(),
                    frame: "orders.py:12 in place".to_owned(),
                    plain_line: false,
                    count: std::mem::take(&mut instance.exceptions),
                });
            }
        }
        let host = HostSample {
            busy_us: self.host_busy_us as u64,
            campaign_cpu_us: self.instances.iter().map(|i| i.cpu_us).sum::<f64>() as u64,
            cpu_pressure_us: self.host_pressure_us as u64,
            ..HostSample::default()
        };
        self.said.push((
            at,
            ServiceSeen::Sampled(SampleBatch {
                at,
                host,
                instances: samples,
                collector: Collector::default(),
            }),
        ));
        self.said.push((at, ServiceSeen::Loaded { windows }));
        self.said
            .push((at, ServiceSeen::ThreadsCalled { threads: called }));
        if !exceptions.is_empty() {
            self.said.push((at, ServiceSeen::Excepted { exceptions }));
        }
    }

    fn sample(&mut self, number: usize) -> InstanceSample {
        let (now, onset) = (self.now, self.setup.onset);
        let event = self.active();
        let shock = self.draw.unit() - 0.5;
        let age_s = (now as f64 - onset as f64 * 1e6) / 1e6;
        if event == Event::Collector && self.instances[number].garbage > 90.0 * MIB {
            self.instances[number].garbage = 5.0 * MIB;
            self.instances[number].pause_until = now + 120_000;
        }
        let instance = &mut self.instances[number];
        instance.noise = 0.9 * instance.noise + shock * 0.6 * MIB;
        let lived_s = (now - instance.ready) as f64 / 1e6;
        // Every process takes some memory while it warms up.
        let warm = 12.0 * MIB * (1.0 - (-lived_s / 1.5).exp());
        let filled = match event {
            Event::Fill(constant_s, bytes) => bytes * (1.0 - (-age_s / constant_s).exp()),
            _ => 0.0,
        };
        let memory = 48.0 * MIB
            + warm
            + filled
            + instance.noise
            + instance.leaked
            + if event == Event::Collector {
                instance.garbage
            } else {
                0.0
            }
            + instance.calls.len() as f64 * 0.1 * MIB;
        InstanceSample {
            instance: InstanceId(number as u32),
            cpu_us: instance.cpu_us as u64,
            throttled_us: instance.throttled_us as u64,
            memory: memory as u64,
            memory_peak: memory as u64,
            memory_anon: memory as u64,
            memory_file: 0,
            oom_kills: 0,
            io_read: 0,
            io_written: 0,
            io_operations: 0,
            cpu_pressure_us: instance.pressure_us as u64,
            memory_pressure_us: 0,
            io_pressure_us: 0,
            processes: 1,
            tasks: (9.0 + instance.tasks) as u32,
            open_files: (14.0 + instance.files + instance.threads.len() as f64) as u32
                + u32::from(shock > 0.3),
            net_received: None,
            net_sent: None,
            scratch: None,
            failures: 0,
        }
    }
}

fn seen(call: &Call, now: u64) -> CallSeen {
    let name = NAMES[call.endpoint as usize];
    CallSeen {
        endpoint: EndpointId(call.endpoint),
        thread: ThreadId(call.thread as u32),
        request: if call.odd {
            format!("{name}?q=((((((a")
        } else {
            name.replace("{}", &(call.thread * 7 + 1).to_string())
        },
        body: String::new(),
        took_us: now - call.began,
    }
}
