//! What a simulated instance is seen doing.

use std::collections::BTreeMap;

use cohort_model::{
    At, Collector, EndpointWindow, HostSample, InstanceId, InstanceSample, LoadWindow, SampleBatch,
};

use super::host::TICK_US;

/// The books of one instance.
#[derive(Debug)]
pub(super) struct Books {
    instance: InstanceId,
    memory: (u64, u64),
    answered: u64,
    cpu_us: f64,
    throttled_us: u64,
    endpoints: BTreeMap<u32, EndpointWindow>,
}

impl Books {
    pub(super) fn new(instance: InstanceId, memory: (u64, u64)) -> Self {
        Self {
            instance,
            memory,
            answered: 0,
            cpu_us: 0.0,
            throttled_us: 0,
            endpoints: BTreeMap::new(),
        }
    }

    /// A new process.
    pub(super) fn restart(&mut self) {
        self.answered = 0;
        self.endpoints.clear();
    }

    pub(super) fn computed(&mut self, used_us: f64, throttled: bool) {
        self.cpu_us += used_us;
        self.throttled_us += if throttled { TICK_US } else { 0 };
    }

    pub(super) fn answered(&mut self, endpoint: u32, took_us: u64, refused: bool) {
        self.answered += 1;
        let window = self.endpoints.entry(endpoint).or_default();
        window.calls += 1;
        window.classes[if refused { 3 } else { 1 }] += 1;
        window.latency_sum_us += took_us;
        // Buckets a tenth wide.
        let bucket = (took_us.max(1) as f64).ln() / 1.1_f64.ln();
        let bound = 1.1_f64.powi(bucket.ceil() as i32).ceil() as u64;
        match window
            .latency
            .binary_search_by_key(&bound, |&(bound, _)| bound)
        {
            Ok(index) => window.latency[index].1 += 1,
            Err(index) => window.latency.insert(index, (bound, 1)),
        }
    }

    pub(super) fn window(&mut self, at: At, span_us: u64) -> LoadWindow {
        LoadWindow {
            instance: self.instance,
            at,
            span_us,
            endpoints: std::mem::take(&mut self.endpoints),
            slowest: Vec::new(),
            broken: Vec::new(),
            system_calls: BTreeMap::new(),
            spans: Vec::new(),
            metrics: Vec::new(),
        }
    }

    pub(super) fn sample(&self) -> InstanceSample {
        let memory = self.memory.0 + self.memory.1 * self.answered;
        InstanceSample {
            cpu_us: self.cpu_us as u64,
            throttled_us: self.throttled_us,
            memory,
            memory_peak: memory,
            memory_anon: memory,
            processes: 1,
            tasks: 4,
            open_files: 16,
            ..InstanceSample::empty(self.instance)
        }
    }
}

pub(super) fn batch(at: At, instances: Vec<InstanceSample>) -> SampleBatch {
    SampleBatch {
        at,
        host: HostSample::default(),
        instances,
        collector: Collector::default(),
    }
}
