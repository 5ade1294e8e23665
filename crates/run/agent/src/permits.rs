//! Who may begin an iteration: the part of the schedule that is too quick for the hub.
//!
//! Permits of one thread (`Free`, `Count`) lie with the thread. Here are those that threads of a
//! scenario share: a pool of iterations, and times at which one begins.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cohort_model::{At, ThreadId};

/// The first arrivals wait so long for the first thread, which is being made: in k6 it is there before ...
const FIRST_WAIT_US: u64 = 2_000_000;
/// ... and are looked at this often.
const FIRST_LOOK_US: u64 = 2_000;

/// What threads of one scenario share on this agent.
#[derive(Debug, Default)]
struct Scenario {
    /// Stretches of iterations that may begin at any time: number of the first, how many.
    pool: VecDeque<(u64, u64)>,
    /// Times at which one begins, with its number.
    starts: VecDeque<(At, u64)>,
    /// Threads without a permit, in the order they became idle.
    idle: VecDeque<ThreadId>,
    /// The same, to look one up.
    idle_set: BTreeSet<ThreadId>,
    /// Arrivals that found nobody idle, since they were last taken.
    dropped: u64,
    /// A thread was idle here before.
    met: bool,
    /// When the first arrival was due.
    first_due: Option<At>,
    /// Iterations begun here.
    begun: u64,
    times: Times,
}

/// When a scenario runs, for `exec.scenario.progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) begins: At,
    pub(crate) ends: Option<At>,
    pub(crate) iterations: Option<u64>,
}

impl Scenario {
    fn pop_idle(&mut self) -> Option<ThreadId> {
        while let Some(thread) = self.idle.pop_front() {
            if self.idle_set.remove(&thread) {
                return Some(thread);
            }
        }
        None
    }
}

/// What is shared, by scenario.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    scenarios: BTreeMap<String, Scenario>,
}

impl Permits {
    fn of(&mut self, scenario: &str) -> &mut Scenario {
        if !self.scenarios.contains_key(scenario) {
            self.scenarios
                .insert(scenario.to_owned(), Scenario::default());
        }
        match self.scenarios.get_mut(scenario) {
            Some(found) => found,
            None => unreachable!("it was just made"),
        }
    }

    pub(crate) fn set_times(&mut self, scenario: &str, times: Times) {
        self.of(scenario).times = times;
    }

    /// So many more for everybody; gives the idle threads that are to look.
    pub(crate) fn add_pool(
        &mut self,
        scenario: &str,
        first: u64,
        iterations: u64,
    ) -> Vec<ThreadId> {
        let scenario = self.of(scenario);
        if iterations > 0 {
            scenario.pool.push_back((first, iterations));
        }
        let mut woken = Vec::new();
        while (woken.len() as u64) < iterations {
            let Some(thread) = scenario.pop_idle() else {
                break;
            };
            woken.push(thread);
        }
        woken
    }

    /// Times at which one is to begin.
    pub(crate) fn add_starts(&mut self, scenario: &str, first: u64, starts: &[At]) {
        let numbered = starts.iter().zip(first..).map(|(at, number)| (*at, number));
        self.of(scenario).starts.extend(numbered);
    }

    /// Nothing begins in this scenario any more.
    pub(crate) fn close(&mut self, scenario: &str) {
        let scenario = self.of(scenario);
        scenario.pool.clear();
        scenario.starts.clear();
    }

    /// The number of an iteration of the pool, if there is one.
    pub(crate) fn take_pool(&mut self, scenario: &str) -> Option<u64> {
        let scenario = self.of(scenario);
        let (first, left) = scenario.pool.front_mut()?;
        let number = *first;
        *first += 1;
        *left -= 1;
        if *left == 0 {
            scenario.pool.pop_front();
        }
        Some(number)
    }

    /// The thread has no permit. False when that was known.
    pub(crate) fn set_idle(&mut self, scenario: &str, thread: ThreadId) -> bool {
        let scenario = self.of(scenario);
        scenario.met = true;
        let new = scenario.idle_set.insert(thread);
        if new {
            scenario.idle.push_back(thread);
        }
        new
    }

    /// The thread has a permit, or is no longer here.
    pub(crate) fn unset_idle(&mut self, scenario: &str, thread: ThreadId) {
        let scenario = self.of(scenario);
        if scenario.idle_set.remove(&thread) {
            // One that becomes idle again must not stand in the line twice.
            scenario.idle.retain(|idle| *idle != thread);
        }
    }

    /// An iteration begins here; gives how many began before it.
    pub(crate) fn begin(&mut self, scenario: &str) -> u64 {
        let scenario = self.of(scenario);
        scenario.begun += 1;
        scenario.begun - 1
    }

    /// Iterations that began here.
    pub(crate) fn begun(&mut self, scenario: &str) -> u64 {
        self.of(scenario).begun
    }

    /// How much of the scenario has passed, thousandths.
    pub(crate) fn progress_permille(&mut self, scenario: &str, number: u64, now: At) -> u16 {
        let times = self.of(scenario).times;
        let share = |part: u64, of: u64| (part.min(of) * 1_000 / of.max(1)) as u16;
        match (times.iterations, times.ends) {
            (Some(iterations), _) => share(number, iterations),
            (None, Some(ends)) => share(now.since(times.begins), ends.since(times.begins)),
            (None, None) => 0,
        }
    }

    /// When the next arrival is due.
    pub(crate) fn next_start(&self) -> Option<At> {
        self.scenarios
            .values()
            .filter_map(|scenario| scenario.starts.front())
            .map(|(at, _)| *at)
            .min()
    }

    /// Arrivals that are due: who begins which iteration. Those that find nobody idle are dropped.
    pub(crate) fn take_due(&mut self, now: At) -> Vec<(ThreadId, u64)> {
        let mut begin = Vec::new();
        for scenario in self.scenarios.values_mut() {
            while let Some((at, number)) = scenario.starts.pop_front_if(|(at, _)| *at <= now) {
                let first = *scenario.first_due.get_or_insert(at);
                if !scenario.met && now.since(first) < FIRST_WAIT_US {
                    scenario
                        .starts
                        .push_front((now.plus_us(FIRST_LOOK_US), number));
                    break;
                }
                match scenario.pop_idle() {
                    Some(thread) => begin.push((thread, number)),
                    None => scenario.dropped += 1,
                }
            }
        }
        begin
    }

    /// An arrival whose thread has left meanwhile: another begins it, or it is dropped.
    pub(crate) fn give_back(&mut self, scenario: &str) -> Option<ThreadId> {
        let scenario = self.of(scenario);
        let other = scenario.pop_idle();
        if other.is_none() {
            scenario.dropped += 1;
        }
        other
    }

    /// Dropped arrivals since the last time.
    pub(crate) fn take_dropped(&mut self) -> Vec<(String, u64)> {
        self.scenarios
            .iter_mut()
            .filter(|(_, scenario)| scenario.dropped > 0)
            .map(|(name, scenario)| (name.clone(), std::mem::take(&mut scenario.dropped)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_shared_and_its_numbers_are_given_once() {
        let mut permits = Permits::default();
        assert!(permits.set_idle("buy", ThreadId(1)));
        assert!(!permits.set_idle("buy", ThreadId(1)));
        assert!(permits.set_idle("buy", ThreadId(2)));
        assert_eq!(permits.add_pool("buy", 5, 1), [ThreadId(1)]);
        assert_eq!(permits.add_pool("buy", 9, 2), [ThreadId(2)]);
        let numbers: Vec<u64> = std::iter::from_fn(|| permits.take_pool("buy")).collect();
        assert_eq!(numbers, [5, 9, 10]);
    }

    #[test]
    fn the_first_arrivals_wait_for_the_first_thread() {
        let mut permits = Permits::default();
        permits.add_starts("buy", 0, &[At(10), At(20)]);
        assert_eq!(permits.take_due(At(30)), []);
        assert_eq!(permits.next_start(), Some(At(2_030)));
        permits.set_idle("buy", ThreadId(1));
        assert_eq!(permits.take_due(At(2_030)), [(ThreadId(1), 0)]);
        assert_eq!(permits.take_dropped(), [("buy".to_owned(), 1)]);
        // Nobody ever comes.
        permits.add_starts("sell", 0, &[At(10)]);
        permits.take_due(At(10));
        assert_eq!(permits.take_due(At(2_100_000)), []);
        assert_eq!(permits.take_dropped(), [("sell".to_owned(), 1)]);
    }

    #[test]
    fn an_arrival_takes_who_was_idle_longest_and_is_dropped_when_nobody_is() {
        let mut permits = Permits::default();
        permits.set_idle("buy", ThreadId(1));
        permits.set_idle("buy", ThreadId(2));
        permits.set_idle("buy", ThreadId(3));
        permits.unset_idle("buy", ThreadId(1));
        permits.add_starts("buy", 0, &[At(10), At(20), At(30), At(40)]);
        assert_eq!(permits.next_start(), Some(At(10)));
        assert_eq!(permits.take_due(At(5)), []);
        assert_eq!(
            permits.take_due(At(20)),
            [(ThreadId(2), 0), (ThreadId(3), 1)]
        );
        assert_eq!(permits.take_due(At(35)), []);
        assert_eq!(permits.take_dropped(), [("buy".to_owned(), 1)]);
        assert_eq!(permits.next_start(), Some(At(40)));
        permits.close("buy");
        assert_eq!(permits.next_start(), None);
    }
}
