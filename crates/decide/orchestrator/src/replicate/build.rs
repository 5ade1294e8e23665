//! Programs that tell which lines they run, where these have to be built first.
//!
//! ```text
//!   a case failed again --want--> wanted --room for it--> under way --its end--> done: runs that wait for it begin
//!                                   ^                         |        \-------> failed: their cases do without
//!                                   +------- broken off ------+
//! ```
//!
//! A build is one more run in an instance for tries: it takes from their share, and less CPU than others
//! under contention. While other tests wait it is begun only when nothing else is to be tried; later it is
//! the first, and tries go on beside it.
//!
//! Promise: a case that is closed without lines says why, and what to do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cohort_model::{
    At, Case, CaseId, Command, GroupId, KillReason, Reason, Recipe, Stage, Subject, TestId,
    ThreadEnd, ThreadId, Verdict,
};
use cohort_replicator::Try;

use super::{Attempt, Replication};
use crate::{Orchestrator, Step};

/// A build may take so long, microseconds.
const BUILD_US_MAX: u64 = 300_000_000;
/// And stand still so long.
const STILL_US_MAX: u64 = 60_000_000;
/// Memory that compilers take, bytes.
const BUILD_BYTES: f64 = 1024.0 * 1024.0 * 1024.0;
/// Share of a CPU that a build gets under contention; others get 100.
const WEIGHT: u32 = 20;

/// What is known of the program of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Build {
    /// For this case at first; the test is one of its program.
    Wanted(CaseId, TestId),
    UnderWay(ThreadId),
    Done,
    /// It could not be made; the sentence for the user.
    Failed(String),
}

/// All builds, and what waits for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Builds {
    all: BTreeMap<GroupId, Build>,
    /// Runs whose lines are to be recorded.
    waiting: VecDeque<Try>,
    /// Cases that want lines, by the group of their test.
    cases: BTreeMap<CaseId, GroupId>,
    /// Cases that were looked at, so that each is asked for once.
    seen: BTreeSet<CaseId>,
}

impl Builds {
    pub(super) fn is_under_way(&self) -> bool {
        let under_way = |build: &Build| matches!(build, Build::UnderWay(_));
        self.all.values().any(under_way)
    }

    /// Runs that were never begun are as if they had never been.
    pub(super) fn give_back(&mut self) -> VecDeque<Try> {
        std::mem::take(&mut self.waiting)
    }

    fn want(&mut self, case: CaseId, test: TestId, group: GroupId) {
        self.cases.insert(case, group);
        self.all.entry(group).or_insert(Build::Wanted(case, test));
    }

    /// A run that waited and need not any more.
    fn ready(&mut self, tests: &[cohort_model::TestCase]) -> Option<Try> {
        let done = |one: &Try| match one.subject {
            Subject::Test(test) => self.all.get(&tests[test.index()].group) == Some(&Build::Done),
            _ => true,
        };
        let place = self.waiting.iter().position(done)?;
        self.waiting.remove(place)
    }
}

/// Whether a case failed again, so that its lines will be asked for.
fn is_reproduced(case: &Case) -> bool {
    matches!(case.stage, Stage::Explaining | Stage::Minimizing)
        || case.stage == Stage::Reproducing && case.arms.iter().any(|arm| arm.rate.failed > 1)
}

impl Orchestrator {
    /// A run that waited for its program, which is there now.
    pub(super) fn covered(&mut self) -> Option<Try> {
        let replication = self.replication.as_mut()?;
        replication.builds.ready(&self.plan.tests)
    }

    /// Takes a run aside when its program has to be built first; gives it back when it can be begun.
    pub(super) fn unless_unbuilt(&mut self, wanted: Try) -> Option<Try> {
        let replication = self.replication.as_mut()?;
        let Subject::Test(test) = wanted.subject else {
            return Some(wanted);
        };
        if !replication.plan.instrument || !wanted.recipe.coverage {
            return Some(wanted);
        }
        let group = self.plan.tests[test.index()].group;
        match replication.builds.all.get(&group) {
            Some(Build::Done) => return Some(wanted),
            Some(Build::Failed(why)) => {
                let why = why.clone();
                replication.driver.without_lines(wanted.case, &why);
                return None;
            }
            _ => {}
        }
        replication.builds.want(wanted.case, test, group);
        replication.builds.waiting.push_back(wanted);
        None
    }

    /// Asks for the programs of cases that failed again.
    pub(super) fn want_builds(&mut self) {
        let Some(replication) = &mut self.replication else {
            return;
        };
        if !replication.plan.instrument || replication.plan.coverage == 0 {
            return;
        }
        for case in replication.driver.cases() {
            if let Subject::Test(test) = case.subject
                && is_reproduced(case)
                && replication.builds.seen.insert(case.case)
            {
                let group = self.plan.tests[test.index()].group;
                replication.builds.want(case.case, test, group);
            }
        }
    }

    /// A build that no case waits for any more ends.
    pub(super) fn end_useless_build(&mut self, step: &mut Step) {
        let Some(replication) = &self.replication else {
            return;
        };
        if !replication.driver.is_settled() {
            return;
        }
        let builds = |(thread, attempt): (&ThreadId, &Attempt)| attempt.builds.then_some(*thread);
        if let Some(thread) = replication.attempts.iter().find_map(builds) {
            self.kill_attempt(thread, KillReason::Interrupted, Reason::Idle, step);
        }
    }

    /// Whether a build comes before other runs now.
    pub(super) fn builds_first(&self) -> bool {
        let Some(replication) = &self.replication else {
            return false;
        };
        replication.done.is_some() && replication.most() > 1
    }

    /// Begins the next build that is wanted, one at a time; false: there is none, or it has to wait.
    pub(super) fn start_build(&mut self, at: At, step: &mut Step) -> bool {
        let Some(replication) = &self.replication else {
            return false;
        };
        let wanted = |(group, build): (&GroupId, &Build)| match build {
            Build::Wanted(case, test) => Some((*group, *case, *test)),
            _ => None,
        };
        let next = replication.builds.all.iter().find_map(wanted);
        let Some((group, case, test)) = next.filter(|_| !replication.builds.is_under_way()) else {
            return false;
        };
        let busy = replication.done.is_none();
        let cores = self.budget.cores.floor().max(1.0) as u32;
        let jobs = if busy { 1 } else { cores };
        let reason = Reason::Case {
            case,
            stage: Stage::Minimizing,
        };
        let alone = self.threads.is_empty() && self.attempts() == 0;
        let offer = self.promises.offer(BUILD_BYTES);
        let memory = offer.or_else(|| {
            alone.then(|| {
                self.release_idle(step);
                self.promises.free()
            })
        });
        let Some(memory) = memory else {
            return false;
        };
        let Some((instance, thread)) = self.attempt_seat((memory, WEIGHT), &reason, step) else {
            return false;
        };
        let has_all = self.promises.of(instance) == self.promises.budget();
        let Some(replication) = &mut self.replication else {
            return false;
        };
        replication
            .builds
            .all
            .insert(group, Build::UnderWay(thread));
        replication.attempts.insert(
            thread,
            Attempt {
                case,
                test,
                recipe: Recipe::default(),
                batch: None,
                place: instance,
                started: at,
                limit_us: BUILD_US_MAX,
                still_us: STILL_US_MAX,
                moved: (at, 0),
                killed: None,
                has_all,
                overlapped: false,
                compares: false,
                builds: true,
            },
        );
        let command = Command::Instrument {
            thread,
            case,
            test,
            instance,
            jobs,
        };
        step.decide(command, reason);
        true
    }

    /// The end of a build.
    pub(super) fn build_ended(&mut self, attempt: &Attempt, end: &ThreadEnd) {
        let group = self.plan.tests[attempt.test.index()].group;
        let Some(replication) = &mut self.replication else {
            return;
        };
        let build = match (attempt.killed, end.verdict) {
            (_, Verdict::Passed) => Build::Done,
            (Some(KillReason::Interrupted), _) | (None, Verdict::Aborted) => {
                Build::Wanted(attempt.case, attempt.test)
            }
            (killed, _) => Build::Failed(why_failed(killed, end)),
        };
        if let Build::Failed(why) = &build {
            replication.without_lines(group, why);
        }
        replication.builds.all.insert(group, build);
    }

    /// The time is over: what waits for a build says so.
    pub(super) fn end_builds(&mut self) {
        let Some(replication) = &mut self.replication else {
            return;
        };
        let unfinished = |build: &Build| matches!(build, Build::Wanted(..) | Build::UnderWay(_));
        let all = replication.builds.all.iter();
        let groups: Vec<GroupId> = all
            .filter(|(_, build)| unfinished(build))
            .map(|(group, _)| *group)
            .collect();
        for group in groups {
            let why = "Suspicious lines are not known: the build that tells which lines run was not done in time. \
                       The next campaign goes on with it where it stopped; --reproduce-for gives it longer.";
            replication.without_lines(group, why);
            replication.builds.all.remove(&group);
        }
    }
}

impl Replication {
    fn without_lines(&mut self, group: GroupId, why: &str) {
        self.builds.waiting.retain(|one| {
            let of_group = self.builds.cases.get(&one.case) == Some(&group);
            !of_group
        });
        for (case, _) in self.builds.cases.iter().filter(|(_, of)| **of == group) {
            self.driver.without_lines(*case, why);
        }
    }
}

fn why_failed(killed: Option<KillReason>, end: &ThreadEnd) -> String {
    let minutes = BUILD_US_MAX / 60_000_000;
    let said = end.message.as_deref().unwrap_or("it ended without a word");
    let why = match killed {
        Some(KillReason::Timeout) => format!(
            "took longer than {minutes} minutes; the next campaign goes on with it where it stopped"
        ),
        Some(KillReason::Stalled) => "stood still; is another build running?".to_owned(),
        Some(KillReason::Memory) => {
            "needs more memory than there is; give the campaign more with --memory".to_owned()
        }
        Some(KillReason::Disk) => "filled the disk; make room".to_owned(),
        _ => format!("failed: {said}"),
    };
    format!("Suspicious lines are not known: the build that tells which lines run {why}.")
}
