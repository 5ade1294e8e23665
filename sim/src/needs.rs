//! Made-up tests.

use std::collections::BTreeSet;

use cohort_model::{CasePlan, ConditionKind, GroupId, Plan, TestCase};

/// What one simulated test does.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// CPU it uses, microseconds.
    pub cpu_us: u64,
    /// Time it sleeps besides, microseconds.
    pub wait_us: u64,
    /// Memory it holds in its second half, bytes.
    pub memory: u64,
    /// Fails whatever happens.
    pub fails: bool,
    /// Fails when more threads than cores ran beside it.
    pub sensitive: bool,
    /// Fails the first time it is run, and when it is tried again only under this condition.
    pub only_under: Option<ConditionKind>,
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            cpu_us: 1_000,
            wait_us: 0,
            memory: 4 << 20,
            fails: false,
            sensitive: false,
            only_under: None,
        }
    }
}

/// A plan of as many tests in `groups` groups.
#[must_use]
pub fn plan(tests: usize, groups: usize, sticky: bool) -> Plan {
    let groups = groups.clamp(1, tests.max(1));
    Plan {
        groups: (0..groups).map(|group| format!("group {group}")).collect(),
        tests: (0..tests)
            .map(|test| TestCase {
                name: format!("test {test}"),
                group: GroupId((test * groups / tests.max(1)) as u32),
                ignored: false,
                lock: None,
                whole: false,
                broken: None,
            })
            .collect(),
        sticky,
        ..Plan::default()
    }
}

/// What fails is tried again, for so long after the last test, microseconds.
#[must_use]
pub fn case_plan(after_us: u64, able: &[ConditionKind]) -> CasePlan {
    CasePlan {
        share: 0.25,
        after_us,
        seed: 1,
        able: able.iter().copied().collect::<BTreeSet<_>>(),
        coverage: 0,
        instrument: false,
        variables: Vec::new(),
        variants: Vec::new(),
        first_case: 1,
        known: Vec::new(),
        only: None,
    }
}

/// A small seeded generator (SplitMix64, Steele et al. 2014), so that a run is its seed.
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound` (which is at least 1).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }
}
