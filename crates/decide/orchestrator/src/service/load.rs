//! What instances were asked, second by second, and how their latencies compare.
//!
//! A mean latency alone says little: it changes with what is asked. So two stretches of time, or two
//! instances, are compared endpoint by endpoint and weighted by the calls of the one in question.

use std::collections::{BTreeMap, VecDeque};

use cohort_model::{At, LoadWindow};

/// Windows are forgotten after this time, microseconds.
const KEPT_US: u64 = 20_000_000;
/// An endpoint with fewer calls on either side is not compared.
const CALLS_MIN: f64 = 3.0;

/// Calls of one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Asked {
    /// Answered calls.
    pub(super) calls: f64,
    /// Sum of their latencies, microseconds.
    pub(super) sum_us: f64,
    /// Calls that broke or were refused (4xx, 5xx), and checks that failed.
    pub(super) failed: f64,
}

impl Asked {
    pub(super) fn mean_us(&self) -> f64 {
        self.sum_us / self.calls.max(1.0)
    }
}

/// Calls by endpoint in one stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Profile(pub(super) BTreeMap<u32, Asked>);

impl Profile {
    pub(super) fn calls(&self) -> f64 {
        self.0.values().map(|asked| asked.calls).sum()
    }

    pub(super) fn failed(&self) -> f64 {
        self.0.values().map(|asked| asked.failed).sum()
    }

    pub(super) fn mean_us(&self) -> f64 {
        let sum: f64 = self.0.values().map(|asked| asked.sum_us).sum();
        sum / self.calls().max(1.0)
    }

    pub(super) fn add(&mut self, other: &Profile) {
        for (&endpoint, asked) in &other.0 {
            let own = self.0.entry(endpoint).or_default();
            own.calls += asked.calls;
            own.sum_us += asked.sum_us;
            own.failed += asked.failed;
        }
    }

    /// What is left when `other`, which was added before, is taken out.
    pub(super) fn without(&self, other: &Profile) -> Profile {
        let mut rest = self.clone();
        for (endpoint, asked) in &other.0 {
            if let Some(own) = rest.0.get_mut(endpoint) {
                own.calls -= asked.calls;
                own.sum_us -= asked.sum_us;
                own.failed -= asked.failed;
            }
        }
        rest
    }

    /// Latency of this profile over that of `base`, for the same calls; `None` when too few endpoints
    /// can be compared.
    pub(super) fn over(&self, base: &Profile) -> Option<f64> {
        let (mut own, mut expected, mut compared) = (0.0, 0.0, 0.0);
        for (endpoint, asked) in &self.0 {
            let Some(there) = base.0.get(endpoint) else {
                continue;
            };
            if asked.calls >= CALLS_MIN && there.calls >= CALLS_MIN {
                own += asked.sum_us;
                expected += there.mean_us() * asked.calls;
                compared += asked.calls;
            }
        }
        let enough = compared >= 0.5 * self.calls() && expected > 0.0;
        enough.then(|| own / expected)
    }
}

/// Windows of one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadHistory {
    windows: VecDeque<(At, Profile)>,
}

impl LoadHistory {
    pub(super) fn add(&mut self, window: &LoadWindow) {
        let asked = window.endpoints.iter().map(|(&endpoint, seen)| {
            let refused = seen.classes[3] + seen.classes[4];
            let checks: u64 = seen.failed_checks.values().sum();
            let asked = Asked {
                calls: seen.calls as f64,
                sum_us: seen.latency_sum_us as f64,
                failed: (seen.broken + refused + checks) as f64,
            };
            (endpoint, asked)
        });
        self.windows
            .push_back((window.at, Profile(asked.collect())));
        while self
            .windows
            .front()
            .is_some_and(|(at, _)| window.at.since(*at) > KEPT_US)
        {
            self.windows.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.windows.clear();
    }

    /// What was asked in windows that ended after `from` and not after `to`.
    pub(super) fn between(&self, from: At, to: At) -> Profile {
        let mut sum = Profile::default();
        for (at, profile) in &self.windows {
            if *at > from && *at <= to {
                sum.add(profile);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(rows: &[(u32, f64, f64)]) -> Profile {
        let asked = |&(endpoint, calls, mean_us): &(u32, f64, f64)| {
            let sum_us = calls * mean_us;
            let asked = Asked {
                calls,
                sum_us,
                failed: 0.0,
            };
            (endpoint, asked)
        };
        Profile(rows.iter().map(asked).collect())
    }

    #[test]
    fn another_mix_of_calls_is_not_slower() {
        let before = profile(&[(0, 90.0, 1_000.0), (1, 10.0, 50_000.0)]);
        let after = profile(&[(0, 10.0, 1_000.0), (1, 90.0, 50_000.0)]);
        assert_eq!(after.over(&before), Some(1.0));
        assert!(after.mean_us() > 5.0 * before.mean_us());
        let slower = profile(&[(0, 10.0, 2_000.0), (1, 90.0, 100_000.0)]);
        assert_eq!(slower.over(&before), Some(2.0));
    }

    #[test]
    fn what_has_too_little_in_common_is_not_compared() {
        let before = profile(&[(0, 90.0, 1_000.0)]);
        let after = profile(&[(0, 10.0, 1_000.0), (1, 90.0, 50_000.0)]);
        assert_eq!(after.over(&before), None);
    }
}
