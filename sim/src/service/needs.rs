//! Made-up services.

use cohort_model::{Policy, ServicePlan};

/// What one kind of thread does, over and over.
#[derive(Clone, Debug)]
pub struct ScenarioNeeds {
    /// Its name.
    pub name: String,
    /// Calls of an iteration: endpoint, CPU and time besides, microseconds.
    pub calls: Vec<(u32, u64, u64)>,
    /// Pause after an iteration, microseconds.
    pub think_us: u64,
}

/// An endpoint that gets slower.
#[derive(Clone, Copy, Debug)]
pub struct Defect {
    /// Which.
    pub endpoint: u32,
    /// On this instance alone, or on all.
    pub instance: Option<u32>,
    /// From then on, microseconds.
    pub onset_us: u64,
    /// CPU of a call, relative to a healthy one, at once.
    pub factor: f64,
    /// And this much more with each call that the instance has answered since.
    pub growth: f64,
    /// While a call waits, it holds a lock that all calls of its instance need.
    pub locks: bool,
}

/// The process of an instance ends unasked.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// When, microseconds.
    pub at_us: u64,
    /// Which.
    pub instance: u32,
    /// It is started again.
    pub again: bool,
}

/// What happens in a simulated campaign.
#[derive(Clone, Debug)]
pub struct ServiceNeeds {
    /// Kinds of threads.
    pub scenarios: Vec<ScenarioNeeds>,
    /// Threads: when each is wanted, microseconds, and its scenario.
    pub threads: Vec<(u64, usize)>,
    /// When the schedule ends, microseconds.
    pub duration_us: u64,
    /// The user interrupts it, microseconds.
    pub interrupted_us: Option<u64>,
    /// From start until an instance answers, microseconds.
    pub boot_us: u64,
    /// Instances that never start.
    pub broken: Vec<u32>,
    /// Crashes.
    pub crashes: Vec<Crash>,
    /// Endpoints that get slower.
    pub defects: Vec<Defect>,
    /// Reports come up to so late, microseconds.
    pub late_us: u64,
    /// So many of a hundred hand-overs fail.
    pub hand_overs_failing: u64,
    /// Memory of an instance, bytes, and what each call leaves behind.
    pub memory: (u64, u64),
    /// Instances that leave so many bytes more behind with each call.
    pub leaking: Vec<(u32, u64)>,
    /// Instances on which calls are slower the larger their CPU share is: a change that does harm.
    pub perverse: Vec<u32>,
    /// Where all other threads are of another kind, a call needs so many times more CPU: each kind
    /// drives what the other needs out of a cache.
    pub crowding: f64,
    /// Who has come from another instance is unknown: its calls are refused.
    pub strangers: bool,
}

impl Default for ServiceNeeds {
    fn default() -> Self {
        Self {
            scenarios: vec![ScenarioNeeds {
                name: "browse".to_owned(),
                calls: vec![(0, 2_000, 5_000), (1, 4_000, 10_000)],
                think_us: 100_000,
            }],
            threads: (0..12).map(|_| (0, 0)).collect(),
            duration_us: 30_000_000,
            interrupted_us: None,
            boot_us: 300_000,
            broken: Vec::new(),
            crashes: Vec::new(),
            defects: Vec::new(),
            late_us: 0,
            hand_overs_failing: 0,
            memory: (32 << 20, 0),
            leaking: Vec::new(),
            perverse: Vec::new(),
            crowding: 0.0,
            strangers: false,
        }
    }
}

/// A plan with a budget of half a core and 256 MiB an instance.
#[must_use]
pub fn service_plan(instances: u32, policy: Policy, needs: &ServiceNeeds) -> ServicePlan {
    ServicePlan {
        instances,
        cores: 0.5 * f64::from(instances),
        memory: (256 << 20) * u64::from(instances),
        network: None,
        policy,
        seed: 1,
        threads_max: needs.threads.len() as u32,
        duration_us: needs.duration_us,
        limits_cpu: true,
        hands_over: true,
        leans: true,
        cases: None,
        helpers: None,
        fuzz: None,
    }
}
