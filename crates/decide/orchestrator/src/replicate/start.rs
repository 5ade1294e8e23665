//! Which tries are begun now, and where.

use cohort_allocator::MEMORY_FLOOR;
use cohort_model::{
    Allotment, At, CaseId, CasePart, Command, Condition, InstanceId, Reason, Recipe, Specialty,
    Stage, Subject, TestId, ThreadId,
};
use cohort_replicator::{Outcome, Room, Try};

use super::long::Long;
use super::{Attempt, Place, Replication};
use crate::admit::memory_needed;
use crate::state::Attempt as Which;
use crate::{Orchestrator, Step};

/// A try may take this many times what its test usually takes under the same conditions.
const LIMIT_TIMES: f64 = 20.0;
/// And at least this long, microseconds.
const LIMIT_US_MIN: u64 = 2_000_000;
/// The same where a runner has to start first.
const LIMIT_US_MIN_STICKY: u64 = 6_000_000;
/// While it is not known what the test takes.
const LIMIT_US_UNKNOWN: u64 = 10_000_000;
/// A try may stand still this many times what its test usually takes, beyond the least limit.
const STILL_TIMES: f64 = 2.0;
/// Other tests whose lines are compared with those of one that fails.
const COMPARED_MAX: usize = 4;
/// The same where each has a program that was built for it: it is short, and more of them leave fewer lines alike.
const COMPARED_MAX_BUILT: usize = 12;
/// Share of a CPU that instances for tries get under contention, as others do.
const WEIGHT: u32 = 100;

/// Changes the memory of an instance for tries, and its weight.
pub(super) fn specialize(instance: InstanceId, given: (u64, u32)) -> Command {
    Command::Specialize {
        instance,
        specialty: Specialty::Reproducing,
        allotment: allotment(given),
    }
}

/// Instances that are kept at hand once something failed.
const SPARE_AFTER: usize = 4;
/// Tries of each core while there is something that was not tried at all: a burst of failures is seen again at once
/// rather than one after the other, for as long as their first runs take.
const AT_ONCE: usize = 4;

fn allotment((memory, cpu_weight): (u64, u32)) -> Allotment {
    Allotment { cpu_weight, memory }
}

/// Modules, or classes and files, that two tests of a group are both in.
fn modules_in_common(one: &str, other: &str) -> usize {
    let modules = |name: &'_ str| name.matches("::").count();
    let alike = one.split("::").zip(other.split("::"));
    let alike = alike.take_while(|(one, other)| one == other).count();
    alike.min(modules(one)).min(modules(other))
}

/// Memory that a debugger takes to read the stacks of a try.
const STACKS_BYTES: f64 = 256.0 * 1024.0 * 1024.0;

impl Replication {
    /// Cores that may be given to tries now; `cores_idle`: no ordinary test wants for a lane.
    fn cores_free(&self, at: At, tail: Option<f64>) -> f64 {
        let under_way = self.attempts.len() as f64;
        let all = self.most() as f64;
        if self.driver.has_untried() {
            // What was not tried yet does not wait for those that are tried again and again.
            return AT_ONCE as f64 * all - under_way;
        }
        if self.done.is_some() {
            return all - under_way;
        }
        if let Some(idle) = tail {
            return idle.max(1.0) - under_way;
        }
        let share = (self.plan.share * self.cores).max(0.0);
        let elapsed_us = self.since.map_or(0, |since| at.since(since)) as f64;
        let running_us: u64 = self
            .attempts
            .values()
            .map(|attempt| at.since(attempt.started))
            .sum();
        if self.spent_us + running_us as f64 > share * elapsed_us {
            return 0.0;
        }
        share.max(1.0).min(all) - under_way
    }

    /// Whether another try of the same test has to end first.
    fn must_wait(&self, wanted: &Try) -> bool {
        let Subject::Test(test) = wanted.subject else {
            return false;
        };
        let apart = self.company.get(&test).is_some_and(|one| one.matters());
        apart && self.attempts.values().any(|attempt| attempt.runs(test))
    }

    fn free_place(&self) -> Option<InstanceId> {
        let free = || {
            self.places
                .iter()
                .filter(|(_, place)| place.thread.is_none())
        };
        free()
            .find(|(_, place)| place.opened)
            .or_else(|| free().next())
            .map(|(&instance, _)| instance)
    }
}

impl Orchestrator {
    pub(super) fn start_attempts(&mut self, at: At, step: &mut Step) {
        self.want_builds();
        while let Some(room) = self.attempt_room(at) {
            if self.builds_first() && self.start_build(at, step) {
                continue;
            }
            if let Some(wanted) = self.next_attempt(at, room) {
                if !self.start_attempt(at, wanted, false, step) {
                    break;
                }
            } else if self.start_build(at, step) {
            } else if let Some(wanted) = self.next_to_compare() {
                if !self.start_attempt(at, wanted, true, step) {
                    break;
                }
            } else {
                break;
            }
        }
        self.stand_by(step);
    }

    /// The next try that can be begun beside those under way.
    fn next_attempt(&mut self, at: At, room: Room) -> Option<Try> {
        if let Some(wanted) = self.covered() {
            return Some(wanted);
        }
        loop {
            let wanted = self.next_wanted(at, room)?;
            if let Some(wanted) = self.unless_unbuilt(wanted) {
                return Some(wanted);
            }
        }
    }

    /// The same, whether its program is there or not.
    fn next_wanted(&mut self, at: At, room: Room) -> Option<Try> {
        let progress = &self.progress;
        let replication = self.replication.as_mut()?;
        let decided = replication.done.is_some();
        // Before its own result stands, a test is only tried as it is.
        let harmless = |one: &Try| match one.subject {
            Subject::Test(test) if !decided && !one.recipe.conditions.is_empty() => {
                progress[test.index()].concluded
            }
            _ => true,
        };
        let free = |one: &Try| harmless(one) && !replication.must_wait(one);
        if let Some(place) = replication.held.iter().position(free) {
            return replication.held.remove(place);
        }
        while replication.held.len() < replication.most() {
            let wanted = replication.driver.next(at, room)?;
            if harmless(&wanted) && !replication.must_wait(&wanted) {
                return Some(wanted);
            }
            replication.held.push_back(wanted);
        }
        None
    }

    /// A run of another test that passes, for its lines.
    fn next_to_compare(&mut self) -> Option<Try> {
        let replication = self.replication.as_mut()?;
        replication.done?;
        let (case, test) = replication.beside_case.pop_front()?;
        Some(Try {
            case,
            subject: Subject::Test(test),
            recipe: Recipe {
                coverage: true,
                ..Recipe::default()
            },
            stage: Stage::Minimizing,
            cores: 1.0,
            memory: 0,
            batch: None,
        })
    }

    /// Asks for runs of other tests of the group that passed, the nearest in the list first, once lines of
    /// a failing run of `test` were recorded.
    pub(super) fn compare(&mut self, case: CaseId, test: TestId) {
        let group = self.plan.tests[test.index()].group;
        let Some(replication) = &mut self.replication else {
            return;
        };
        if !replication.compared.insert(case) {
            return;
        }
        let passed = |other: &u32| replication.passes[*other as usize] > 0;
        let same_group = |other: &u32| self.plan.tests[*other as usize].group == group;
        let mut others: Vec<u32> = (0..self.plan.tests.len() as u32)
            .filter(|other| *other != test.0 && same_group(other) && passed(other))
            .collect();
        let name = |test: u32| self.plan.tests[test as usize].name.as_str();
        let near = |other: &u32| {
            let apart = usize::MAX - modules_in_common(name(test.0), name(*other));
            (apart, other.abs_diff(test.0))
        };
        others.sort_by_key(near);
        others.truncate(if replication.plan.instrument {
            COMPARED_MAX_BUILT
        } else {
            COMPARED_MAX
        });
        let others = others.into_iter().map(|other| (case, TestId(other)));
        replication.beside_case.extend(others);
    }

    /// Tries that were not begun are as if they had never been.
    pub(super) fn give_back_held(&mut self, at: At) {
        let Some(replication) = &mut self.replication else {
            return;
        };
        let mut held = std::mem::take(&mut replication.held);
        held.extend(replication.builds.give_back());
        for wanted in held {
            self.give_back(at, &wanted);
        }
    }

    /// What there is for one more try; none: it is not the time.
    fn attempt_room(&mut self, at: At) -> Option<Room> {
        let apart = self
            .threads
            .values()
            .any(|run| run.attempt != Which::First || self.is_quiet_place(run.place));
        let fresh = self.replication.as_ref()?.fresh > 0;
        let quiet_waits =
            self.quiet_is_next() && (self.threads.is_empty() || !self.calm.is_empty());
        if apart || quiet_waits && !fresh || self.is_memory_short() {
            return None;
        }
        let waits = self.waiting() > 0 && !self.stopping;
        let running = self.running();
        let replication = self.replication.as_ref()?;
        if replication.driver.is_settled() && replication.beside_case.is_empty() {
            return None;
        }
        let tail = (!waits).then(|| self.budget.cores - f64::from(running));
        let cores = replication.cores_free(at, tail);
        let most = self.plan.threads_max.unwrap_or(u32::MAX);
        let most = most.min(self.instances_max).max(1);
        if cores <= 0.0 || running + replication.attempts() >= most {
            return None;
        }
        Some(Room {
            cores,
            memory: self.promises.free(),
            start: true,
        })
    }

    fn is_quiet_place(&self, place: InstanceId) -> bool {
        let lane = self.lanes.get(&place);
        lane.is_some_and(|lane| lane.specialty == Specialty::Quiet)
    }

    /// Begins a try; false when it has to wait.
    fn start_attempt(&mut self, at: At, wanted: Try, compares: bool, step: &mut Step) -> bool {
        let Subject::Test(test) = wanted.subject else {
            self.refuse(at, &wanted, compares);
            return true;
        };
        let Some(memory) = self.attempt_memory(test, &wanted, step) else {
            self.refuse(at, &wanted, compares);
            return false;
        };
        let (limit_us, still_us) = self.attempt_limits_us(test, &wanted.recipe);
        // The last run of a batch may begin when its time is nearly over.
        let limit_us = limit_us + wanted.batch.as_ref().map_or(0, |batch| batch.us);
        let reason = Reason::Case {
            case: wanted.case,
            stage: wanted.stage,
        };
        let Some((instance, thread)) = self.attempt_seat((memory, WEIGHT), &reason, step) else {
            self.refuse(at, &wanted, compares);
            return false;
        };
        let has_all = self.promises.of(instance) == self.promises.budget();
        let Some(replication) = &mut self.replication else {
            return false;
        };
        let speaks = replication.long.get(&test).is_some_and(Long::speaks);
        let mut overlapped = false;
        for other in replication.attempts.values_mut() {
            if other.runs(test) {
                other.overlapped = true;
                overlapped = true;
            }
        }
        let attempt = Attempt {
            case: wanted.case,
            test,
            recipe: wanted.recipe.clone(),
            place: instance,
            started: at,
            batch: wanted.batch.clone(),
            limit_us,
            still_us,
            moved: (at, 0),
            killed: None,
            has_all,
            overlapped,
            compares,
            builds: false,
        };
        replication.attempts.insert(thread, attempt);
        let command = Command::TryCase {
            thread,
            case: wanted.case,
            test,
            instance,
            recipe: wanted.recipe,
            batch: wanted.batch,
            limit_us: (!speaks).then_some(limit_us),
        };
        step.decide(command, reason);
        true
    }

    /// It is done later, or not at all.
    fn refuse(&mut self, at: At, wanted: &Try, compares: bool) {
        if !compares {
            self.give_back(at, wanted);
        } else if let (Some(replication), Subject::Test(test)) =
            (&mut self.replication, &wanted.subject)
        {
            replication.beside_case.push_front((wanted.case, *test));
        }
    }

    /// It could not be begun now, which says nothing about the case.
    fn give_back(&mut self, at: At, wanted: &Try) {
        if let Some(replication) = &mut self.replication {
            let nothing = Outcome {
                symptom: None,
                passed: false,
                passed_before: 0,
                usage: cohort_model::Usage::default(),
                missing: Vec::new(),
            };
            let runs = wanted.batch.as_ref().map_or(1, |batch| batch.runs);
            let about = (wanted.case, runs);
            replication.driver.ended(at, about, &wanted.recipe, nothing);
        }
    }

    /// Memory to be promised to a try, bytes; none: there is not enough now.
    fn attempt_memory(&mut self, test: TestId, wanted: &Try, step: &mut Step) -> Option<u64> {
        let copies = wanted.recipe.conditions.iter().find_map(|condition| {
            let Condition::Copies { count } = condition else {
                return None;
            };
            Some(f64::from(*count))
        });
        let one = memory_needed(&self.costs.test(test), &self.budget);
        let mut need = (one * copies.unwrap_or(1.0)).max(wanted.memory as f64);
        if wanted.recipe.stacks {
            need += STACKS_BYTES;
        }
        let alone = self.threads.is_empty() && self.attempts() == 0;
        let hungry = self.replication.as_ref()?.hungry.contains(&test);
        let offer = self.promises.offer(need).filter(|_| !hungry);
        offer.or_else(|| {
            // Nothing else runs: it gets what there is, and if that is too little, that shows.
            alone.then(|| {
                self.release_idle(step);
                self.promises.free()
            })
        })
    }

    /// How long a try of `recipe` may take, microseconds; and how long it may stand still.
    fn attempt_limits_us(&self, test: TestId, recipe: &Recipe) -> (u64, u64) {
        let least = if self.plan.sticky {
            // Each has a runner of its own, and they start at once.
            let beside = |part: &&CasePart| matches!(part, CasePart::Beside(_));
            let beside = recipe.parts.iter().filter(beside).count() as f64;
            let each = beside / self.budget.cores.max(1.0);
            LIMIT_US_MIN_STICKY + (LIMIT_US_MIN as f64 * each) as u64
        } else {
            LIMIT_US_MIN
        };
        let wall = |test: TestId| self.usual_us(test);
        let mut usual = wall(test);
        for part in &recipe.parts {
            if let CasePart::Before(test) = part {
                usual = usual.zip(wall(*test)).map(|(one, other)| one + other);
            }
        }
        let Some(usual) = usual else {
            let most = LIMIT_US_UNKNOWN.min(self.budget.timeout_us.max(least));
            return (most, most.min(self.budget.stall_us.max(least)));
        };
        let slower: f64 = recipe
            .conditions
            .iter()
            .map(|condition| match *condition {
                Condition::CpuLimit { cores } => 1.0 / cores.max(0.01),
                Condition::Copies { count } => f64::from(count),
                Condition::Noise { tasks, .. } => 1.0 + f64::from(tasks) / self.budget.cores,
                Condition::Cpus { count } => self.budget.cores / f64::from(count.max(1)),
                _ => 1.0,
            })
            .map(|times: f64| times.max(1.0))
            .product();
        let limit = (usual * slower * LIMIT_TIMES) as u64;
        let most = self.budget.timeout_us.max(least);
        let still = LIMIT_US_MIN + (usual * STILL_TIMES) as u64;
        let limits = (
            limit.clamp(least, most),
            still.min(self.budget.stall_us.max(least)),
        );
        let replication = self.replication.as_ref();
        let long = replication.and_then(|one| one.long.get(&test).copied());
        let (limit, still) = match long {
            Some(long) => long.limits_us(limits, usual, (recipe, self.plan.sticky)),
            // The first that takes long may have something to say in the end.
            None => (
                limits.0.max(LIMIT_US_UNKNOWN),
                limits.1.max(LIMIT_US_UNKNOWN),
            ),
        };
        (limit.min(most), still.min(self.budget.stall_us.max(least)))
    }

    /// What a test usually takes, microseconds; none when that is not known.
    fn usual_us(&self, test: TestId) -> Option<f64> {
        let estimate = self.costs.test(test);
        if estimate.runs > 0 {
            return Some(estimate.wall_us.p90);
        }
        let replication = self.replication.as_ref()?;
        replication.walls_us.get(&test).copied()
    }

    /// An instance for a try that is promised so many bytes, with this share of a CPU under contention, and the thread
    /// that the try is.
    pub(super) fn attempt_seat(
        &mut self,
        given: (u64, u32),
        reason: &Reason,
        step: &mut Step,
    ) -> Option<(InstanceId, ThreadId)> {
        let instance = self.attempt_place(given, reason, step)?;
        let thread = ThreadId(self.next_thread);
        self.next_thread += 1;
        let place = self.replication.as_mut()?.places.get_mut(&instance)?;
        place.thread = Some(thread);
        Some((instance, thread))
    }

    fn attempt_place(
        &mut self,
        (memory, weight): (u64, u32),
        reason: &Reason,
        step: &mut Step,
    ) -> Option<InstanceId> {
        let free = self.replication.as_ref()?.free_place();
        if let Some(instance) = free {
            let given = (self.promises.promise(instance, memory), weight);
            let place = self.replication.as_mut()?.places.get_mut(&instance)?;
            if place.given != given {
                place.given = given;
                step.decide(specialize(instance, given), reason.clone());
            }
            return Some(instance);
        }
        let granted_to = InstanceId(self.next_instance);
        let granted = self.promises.promise(granted_to, memory);
        Some(self.open_place((granted, weight), reason, step))
    }

    fn open_place(&mut self, given: (u64, u32), reason: &Reason, step: &mut Step) -> InstanceId {
        let instance = InstanceId(self.next_instance);
        self.next_instance += 1;
        let place = Place {
            opened: false,
            thread: None,
            given,
        };
        if let Some(replication) = &mut self.replication {
            replication.places.insert(instance, place);
        }
        let command = Command::OpenInstance {
            instance,
            specialty: Specialty::Reproducing,
            allotment: allotment(given),
        };
        step.decide(command, reason.clone());
        instance
    }

    /// Keeps an instance at hand, so that the next try need not wait for one. It is promised nothing.
    pub(crate) fn stand_by(&mut self, step: &mut Step) {
        let has_standby = self.has_standby();
        let Some(replication) = &self.replication else {
            return;
        };
        let settled = replication.driver.is_settled();
        let free = replication
            .places
            .values()
            .filter(|place| place.thread.is_none())
            .count();
        // Failures come in bursts.
        let spare = if replication.has_failed {
            SPARE_AFTER
        } else {
            1
        };
        let most = AT_ONCE * replication.most() + 1;
        let wanted = if settled {
            has_standby && replication.done.is_none() && self.unconcluded > 0
        } else {
            true
        };
        let used = self.lanes.len() + replication.places.len();
        let full = replication.places.len() >= most || used >= self.instances_max as usize;
        if free >= spare || full || !wanted {
            return;
        }
        self.open_place((MEMORY_FLOOR, WEIGHT), &Reason::Idle, step);
    }
}
