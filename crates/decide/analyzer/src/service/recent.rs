//! What instances did of late, for those who decide.

use std::collections::BTreeMap;

use cohort_model::InstanceId;

use super::ServiceAnalyzer;
use super::record::Second;

/// What an instance did over the latest seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recent {
    /// CPU used, cores.
    pub cores: f64,
    /// Share of the time it was held back by its CPU limit, 0 to 1.
    pub throttled: f64,
    /// Share of the time some task of it waited for CPU, 0 to 1.
    pub cpu_pressure: f64,
    /// Anonymous memory at the end, bytes.
    pub memory: f64,
    /// Bits in a second, the busier direction.
    pub network: f64,
    /// Answered calls a second.
    pub calls_per_s: f64,
    /// Calls under way, on average.
    pub under_way: f64,
    /// Mean latency, microseconds; zero without calls.
    pub latency_us: f64,
}

impl ServiceAnalyzer {
    /// What `instance` did over the latest `seconds`, warm-up left out; none when nothing is known.
    #[must_use]
    pub fn recent(&self, instance: InstanceId, seconds: f64) -> Option<Recent> {
        let watched = self.instances.get(&instance)?;
        let known: Vec<&Second> = watched.recent(seconds).collect();
        let last = known.last()?;
        let mean = |of: &dyn Fn(&Second) -> f64| {
            known.iter().map(|s| of(s)).sum::<f64>() / known.len() as f64
        };
        let calls: f64 = known.iter().map(|s| s.calls).sum();
        let latency: f64 = known
            .iter()
            .flat_map(|s| &s.endpoints)
            .map(|e| e.sum_us)
            .sum();
        Some(Recent {
            cores: mean(&|s| s.cores.unwrap_or(0.0)),
            throttled: mean(&|s| s.throttled),
            cpu_pressure: mean(&|s| s.cpu_pressure),
            memory: last.memory,
            network: mean(&|s| s.network),
            calls_per_s: calls / known.iter().map(|s| s.span_s).sum::<f64>(),
            under_way: mean(&Second::under_way),
            latency_us: if calls > 0.0 { latency / calls } else { 0.0 },
        })
    }

    /// How much slower `instance` answers than the others do over the latest `seconds`: the median,
    /// over endpoints, of its mean latency over that of the others. None without a comparison.
    #[must_use]
    pub fn slower_than_peers(&self, instance: InstanceId, seconds: f64) -> Option<f64> {
        let sums = |wanted: bool| {
            let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
            for (id, watched) in &self.instances {
                if (*id == instance) != wanted || watched.down {
                    continue;
                }
                for e in watched.recent(seconds).flat_map(|s| &s.endpoints) {
                    let entry = sums.entry(e.endpoint).or_default();
                    entry.0 += e.calls;
                    entry.1 += e.sum_us;
                }
            }
            sums
        };
        let (own, others) = (sums(true), sums(false));
        let mut ratios: Vec<f64> = own
            .iter()
            .filter_map(|(endpoint, (calls, sum))| {
                let (other_calls, other_sum) = others.get(endpoint)?;
                let enough = *calls >= 5.0 && *other_calls >= 5.0 && *other_sum > 0.0;
                enough.then(|| (sum / calls) / (other_sum / other_calls))
            })
            .collect();
        (!ratios.is_empty()).then(|| crate::statistics::median(&mut ratios))
    }
}
