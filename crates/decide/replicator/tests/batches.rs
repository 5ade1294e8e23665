//! A try may be several runs: each is counted as a try of its own would be.

use std::collections::BTreeSet;

use cohort_model::{
    At, Batch, Case, Condition, ConditionKind, Recipe, Subject, Symptom, SymptomKind, TestId, Usage,
};
use cohort_replicator::{Hunt, Limits, Outcome, Replicator, Room, Settings, Try};

const ROOM: Room = Room {
    cores: 2.0,
    memory: 1 << 30,
    start: true,
};

fn suspecting(able: &[ConditionKind], limits: Limits) -> Replicator {
    let mut replicator = Replicator::new(Settings {
        seed: 7,
        cores: 2.0,
        memory: 1 << 30,
        able: able.iter().copied().collect::<BTreeSet<_>>(),
        first_case: 1,
        limits,
    });
    let hunt = Hunt {
        p: 0.001,
        alpha: 0.05,
    };
    replicator.suspect(At(0), Subject::Test(TestId(0)), Vec::new(), hunt);
    replicator
}

fn several() -> Limits {
    Limits {
        batch: 64,
        seconds: 1e6,
        seconds_all: 1e6,
        runs: u32::MAX,
        ..Limits::default()
    }
}

fn usage() -> Usage {
    Usage {
        wall_us: 3_000,
        user_us: 2_000,
        ..Usage::default()
    }
}

fn passed(passed_before: u32) -> Outcome {
    Outcome {
        symptom: None,
        passed: true,
        passed_before,
        usage: usage(),
        missing: Vec::new(),
    }
}

fn failed(passed_before: u32) -> Outcome {
    let symptom = Symptom {
        kind: SymptomKind::Assertion,
        class: "rust panic".to_owned(),
        message: "assertion failed: it broke".to_owned(),
        frames: Vec::new(),
    };
    Outcome {
        symptom: Some(symptom),
        passed: false,
        ..passed(passed_before)
    }
}

fn runs(next: &Try) -> u32 {
    next.batch.as_ref().map_or(1, |batch| batch.runs)
}

fn only(replicator: &Replicator) -> &Case {
    replicator.cases().next().expect("a case")
}

fn control(replicator: &Replicator) -> (u32, u32) {
    let arm = only(replicator).arms.iter().find(|arm| arm.control);
    arm.map_or((0, 0), |arm| (arm.rate.runs, arm.rate.failed))
}

#[test]
fn nobody_gets_batches_who_did_not_ask_for_them() {
    let mut replicator = suspecting(&[ConditionKind::Seed], Limits::default());
    for step in 0..60 {
        let Some(next) = replicator.next(At(step), ROOM) else {
            break;
        };
        assert_eq!(next.batch, None);
        replicator.ended(At(step), next.case, &next.recipe, passed(0));
    }
}

#[test]
fn the_runs_of_a_batch_are_counted_and_no_others() {
    let mut replicator = suspecting(&[ConditionKind::Seed], several());
    let (mut plain, mut most) = (0, 1);
    for step in 0..200 {
        let Some(next) = replicator.next(At(step), ROOM) else {
            break;
        };
        // It stops in the middle: the time of the batch is over.
        let made = runs(&next).div_ceil(2);
        most = most.max(made);
        if next.recipe == Recipe::default() {
            plain += made;
        }
        replicator.ended(At(step), next.case, &next.recipe, passed(made - 1));
    }
    assert!(most > 8, "batches grow while all passes: {most}");
    assert_eq!(control(&replicator), (plain, 0));
}

#[test]
fn a_batch_that_tells_nothing_in_the_end_tells_what_passed_before() {
    let mut replicator = suspecting(&[], several());
    let mut plain = 0;
    for step in 0..20 {
        let Some(next) = replicator.next(At(step), ROOM) else {
            break;
        };
        let before = runs(&next) - 1;
        plain += before;
        let ended = Outcome {
            passed: false,
            ..passed(before)
        };
        if before == 0 {
            // The first run tells what it takes.
            plain += 1;
            replicator.ended(At(step), next.case, &next.recipe, passed(0));
        } else {
            replicator.ended(At(step), next.case, &next.recipe, ended);
        }
    }
    assert_eq!(control(&replicator), (plain, 0));
}

#[test]
fn the_seed_of_the_run_that_failed_is_the_one_that_is_repeated() {
    let mut replicator = suspecting(&[ConditionKind::Seed], several());
    let mut bad = None;
    for step in 0..400 {
        let Some(next) = replicator.next(At(step), ROOM) else {
            break;
        };
        let [Condition::Seed { seed }] = next.recipe.conditions[..] else {
            replicator.ended(At(step), next.case, &next.recipe, passed(runs(&next) - 1));
            continue;
        };
        match (bad, &next.batch) {
            (None, Some(batch)) if batch.stepped == [ConditionKind::Seed] => {
                bad = Some(seed + 1);
                let run = batch.recipe(&next.recipe, 1);
                assert_eq!(run.conditions, [Condition::Seed { seed: seed + 1 }]);
                replicator.ended(At(step), next.case, &next.recipe, failed(1));
            }
            (Some(bad), batch) if seed == bad => {
                let fixed = batch.as_ref().is_none_or(|batch| batch.stepped.is_empty());
                assert!(fixed, "the same seed, or it is no repetition: {batch:?}");
                replicator.ended(At(step), next.case, &next.recipe, failed(0));
            }
            _ => {
                replicator.ended(At(step), next.case, &next.recipe, passed(runs(&next) - 1));
            }
        }
    }
    let bad = bad.expect("seeds were tried in batches");
    let arms = &only(&replicator).arms;
    // One is of all seeds, and shows the one that failed; the other is of that seed.
    let of_it = |arm: &&cohort_model::Arm| arm.recipe.conditions == [Condition::Seed { seed: bad }];
    let rates: Vec<_> = arms.iter().filter(of_it).map(|arm| arm.rate).collect();
    let again = rates
        .iter()
        .any(|rate| rate.runs >= 2 && rate.failed == rate.runs);
    assert!(again, "{rates:?}");
}

#[test]
fn where_a_start_is_shared_what_fails_is_told_apart_from_runs_with_their_own() {
    let limits = Limits {
        share_start: true,
        runs: 2_000,
        ..several()
    };
    let mut replicator = suspecting(&[ConditionKind::Schedule], limits);
    let mut alone_after = 0;
    let mut has_failed = false;
    for step in 0..3_000 {
        let Some(next) = replicator.next(At(step), ROOM) else {
            break;
        };
        let is_plain = next.recipe == Recipe::default();
        let outcome = match &next.batch {
            // It fails where it is forked, and only there.
            Some(Batch { runs, .. }) if is_plain && *runs > 3 => failed(3),
            Some(batch) => passed(batch.runs - 1),
            None => passed(0),
        };
        has_failed |= outcome.symptom.is_some();
        alone_after += u32::from(is_plain && has_failed && next.batch.is_none());
        replicator.ended(At(step), next.case, &next.recipe, outcome);
    }
    assert!(has_failed && alone_after > 1, "{alone_after} runs alone");
    replicator.finish(At(9_999), "The time is over.");
    let remarks = &only(&replicator).remarks;
    let told = remarks
        .iter()
        .any(|one| one.contains("forked from one interpreter"));
    assert!(told, "{remarks:?}");
}
