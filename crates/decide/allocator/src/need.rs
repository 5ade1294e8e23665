//! What an instance of a service needs, by what it is seen using.
//!
//! An instance that is held back by its limit would use more than it is seen using, how much more is
//! not known: it wants a quarter more than it has. All others want what they use, and headroom.

use std::collections::VecDeque;

use cohort_model::{At, InstanceSample, Share};

use crate::Resource;

/// Use is averaged over so long, microseconds.
const WINDOW_US: u64 = 5_000_000;
/// Memory that was used so long ago may be wanted again, microseconds.
const MEMORY_WINDOW_US: u64 = 60_000_000;
/// Held back in more than this part of the time: it would use more.
const THROTTLED_PART: f64 = 0.05;
/// Held back in more than this part of the time: it has nothing to give.
const TOUCHED_PART: f64 = 0.02;
/// Uses more than this part of its limit: it may be held back soon.
const NEAR_PART: f64 = 0.85;
/// Wanted beyond what is used, relative.
const HEADROOM: f64 = 1.3;
/// Cores beyond that.
const HEADROOM_CORES: f64 = 0.05;
/// Memory beyond that, bytes.
const HEADROOM_MEMORY: f64 = (16_u64 << 20) as f64;
/// What one that is held back wants, relative to what it has.
const MORE: f64 = 1.25;

/// What an instance is seen using.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Use {
    /// Cores, averaged.
    pub cores: f64,
    /// Part of the time in which it was held back by its CPU limit, 0 to 1.
    pub throttled: f64,
    /// Most memory that it could not drop lately, bytes.
    pub memory: u64,
    /// Bits in a second, the busier way, averaged; `None` where that is not counted.
    pub network: Option<f64>,
}

/// Follows the samples of one instance.
#[derive(Clone, Debug, Default)]
pub struct UseMeter {
    samples: VecDeque<(At, InstanceSample)>,
    /// Memory that cannot be dropped: highest of each stretch of time.
    memory: VecDeque<(At, u64)>,
}

impl UseMeter {
    /// Takes in a sample.
    pub fn add(&mut self, at: At, sample: &InstanceSample) {
        let last = self.samples.back();
        if last.is_some_and(|(_, last)| last.cpu_us > sample.cpu_us) {
            // Counters that went back are those of another control group.
            self.samples.clear();
        }
        self.samples.push_back((at, *sample));
        while self.samples.len() > 2 && at.since(self.samples[1].0) >= WINDOW_US {
            self.samples.pop_front();
        }
        match self.memory.back_mut() {
            Some((from, highest)) if at.since(*from) < WINDOW_US => {
                *highest = (*highest).max(sample.memory_anon);
            }
            _ => self.memory.push_back((at, sample.memory_anon)),
        }
        while self
            .memory
            .front()
            .is_some_and(|(from, _)| at.since(*from) > MEMORY_WINDOW_US)
        {
            self.memory.pop_front();
        }
    }

    /// Forgets all, for a process that begins anew.
    pub fn clear(&mut self) {
        self.samples.clear();
        self.memory.clear();
    }

    /// What is used; `None` while too little was seen.
    #[must_use]
    pub fn used(&self) -> Option<Use> {
        let (from, first) = self.samples.front()?;
        let (to, last) = self.samples.back()?;
        let span_us = to.since(*from);
        if span_us < WINDOW_US / 2 {
            return None;
        }
        let span = span_us as f64;
        let part = |early: u64, late: u64| late.saturating_sub(early) as f64 / span;
        let bits = |early: Option<u64>, late: Option<u64>| Some(part(early?, late?) * 8e6);
        let received = bits(first.net_received, last.net_received);
        let sent = bits(first.net_sent, last.net_sent);
        Some(Use {
            cores: part(first.cpu_us, last.cpu_us),
            throttled: part(first.throttled_us, last.throttled_us).min(1.0),
            memory: self.memory.iter().map(|&(_, most)| most).max().unwrap_or(0),
            network: received.into_iter().chain(sent).reduce(f64::max),
        })
    }
}

/// What an instance that has `share` and was seen using `used` wants of a resource; `None` when that
/// cannot be told.
#[must_use]
pub fn wanted(resource: Resource, used: &Use, share: &Share) -> Option<f64> {
    let has = resource.of(share)?;
    let (use_now, extra, held) = match resource {
        Resource::Cores => {
            let held = used.throttled > THROTTLED_PART && used.cores > 0.5 * has;
            (used.cores, HEADROOM_CORES, held)
        }
        Resource::Memory => {
            let memory = used.memory as f64;
            (memory, HEADROOM_MEMORY, memory > NEAR_PART * has)
        }
        Resource::Network => {
            let bits = used.network?;
            (bits, resource.floor(), bits > NEAR_PART * has)
        }
    };
    let calm = use_now * HEADROOM + extra;
    let touches = resource == Resource::Cores && used.throttled > TOUCHED_PART;
    Some(match (held, touches) {
        (true, _) => calm.max(has * MORE),
        (false, true) => calm.max(has),
        (false, false) => calm,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu_us: u64, throttled_us: u64, memory_anon: u64) -> InstanceSample {
        InstanceSample {
            cpu_us,
            throttled_us,
            memory_anon,
            ..zero()
        }
    }

    fn zero() -> InstanceSample {
        InstanceSample {
            processes: 1,
            tasks: 1,
            open_files: 3,
            ..InstanceSample::empty(cohort_model::InstanceId(0))
        }
    }

    const SHARE: Share = Share {
        cores: 0.5,
        memory: 256 << 20,
        network: None,
    };

    fn used_after(seconds: u64, cpu_part: f64, throttled_part: f64, memory: u64) -> Use {
        let mut meter = UseMeter::default();
        for second in 0..=seconds {
            let us = second as f64 * 1e6;
            let (cpu, held) = ((us * cpu_part) as u64, (us * throttled_part) as u64);
            meter.add(At(second * 1_000_000), &sample(cpu, held, memory));
        }
        meter.used().expect("seen long enough")
    }

    #[test]
    fn one_that_is_held_back_wants_more_than_it_has() {
        let used = used_after(10, 0.49, 0.4, 10 << 20);
        assert!((used.cores - 0.49).abs() < 0.01, "{used:?}");
        let cores = wanted(Resource::Cores, &used, &SHARE).expect("limited");
        assert!(cores >= 0.62, "{cores}");
        let memory = wanted(Resource::Memory, &used, &SHARE).expect("limited");
        assert!(memory < 32e6, "{memory}");
        assert_eq!(wanted(Resource::Network, &used, &SHARE), None);
    }

    #[test]
    fn one_that_idles_wants_little() {
        let used = used_after(10, 0.05, 0.0, 240 << 20);
        let cores = wanted(Resource::Cores, &used, &SHARE).expect("limited");
        assert!((0.1..0.2).contains(&cores), "{cores}");
        let memory = wanted(Resource::Memory, &used, &SHARE).expect("limited");
        assert!(memory > 300e6, "{memory}");
    }

    #[test]
    fn too_little_was_seen_of_one_that_just_began() {
        let mut meter = UseMeter::default();
        meter.add(At(0), &zero());
        meter.add(At(1_000_000), &zero());
        assert_eq!(meter.used(), None);
    }
}
