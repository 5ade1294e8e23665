//! The replicator on simulated bugs: does it reproduce them, does it say what is right, and never what is not.

#[allow(dead_code, reason = "shared with the example")]
#[path = "../examples/campaign/bugs.rs"]
mod bugs;
#[allow(dead_code, reason = "shared with the example")]
#[path = "../examples/campaign/world.rs"]
mod world;

use cohort_model::{At, CaseVerdict, Stage};
use cohort_replicator::Replicator;
use proptest::prelude::*;
use world::{Dice, ROOM, Total, World, measure, settings};

#[test]
fn rare_bugs_are_reproduced_soon_and_explained_rightly() {
    let totals = measure(&bugs::all(), 4242, 4, 2);
    let mut all = Total::default();
    for total in totals.values() {
        all.0.extend(total.0.iter().cloned());
    }
    assert!(all.settled() >= 1.0, "every case is closed with a verdict");
    assert!(all.reproduced() >= 0.9, "reproduced {}", all.reproduced());
    assert!(
        all.ratio() <= 0.1,
        "runs against plain ones {}",
        all.ratio()
    );
    assert!(all.right() >= 0.85, "right {}", all.right());
    assert!(all.wrong() <= 0.05, "wrong {}", all.wrong());
    assert!(all.threshold() <= 1.3, "thresholds {}", all.threshold());
}

#[test]
fn what_just_happens_is_given_no_cause() {
    let flake: Vec<bugs::Bug> = bugs::all()
        .into_iter()
        .filter(|bug| bug.name == "no cause")
        .collect();
    let totals = measure(&flake, 77, 40, 2);
    let wrong = totals["no cause"].wrong();
    assert!(wrong <= 0.05, "a cause was named in {wrong}");
}

#[test]
fn what_always_fails_is_closed_after_three_runs_and_cut() {
    let bug = bugs::all()
        .into_iter()
        .find(|bug| bug.name == "always")
        .expect("there is one");
    let mut world = World::new(&bug, 3);
    let (case, tried) = world.campaign(3, 1);
    assert_eq!(case.verdict, Some(CaseVerdict::Always));
    assert!(tried.len() <= 12, "{} runs", tried.len());
    let smallest = case.smallest.expect("it failed");
    assert!(smallest.recipe.parts.is_empty() && case.minimal);
    assert!(tried[0].conditions.is_empty(), "the control comes first");
}

#[test]
fn a_test_that_has_to_run_before_is_named() {
    let bug = bugs::all()
        .into_iter()
        .find(|bug| bug.name == "order dependence")
        .expect("there is one");
    let mut world = World::new(&bug, 5);
    let (case, _) = world.campaign(5, 1);
    assert_eq!(case.verdict, Some(CaseVerdict::Conditional));
    let needed = vec![cohort_model::CasePart::Before(cohort_model::TestId(105))];
    assert_eq!(case.causes[0].parts, needed);
    assert_eq!(case.smallest.expect("it failed").recipe.parts, needed);
    assert!(case.minimal);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_same_calls_give_the_same_answers(seed in 0_u64..1_000, kind in 0_usize..27, at_once in 1_usize..5) {
        let kinds = bugs::all();
        let bug = &kinds[kind % kinds.len()];
        let one = World::new(bug, seed).campaign(seed, at_once);
        let other = World::new(bug, seed).campaign(seed, at_once);
        prop_assert_eq!(one, other);
    }

    /// However results are interleaved, lost or useless: it stays within its limits, closes every case
    /// with a verdict, and what it calls smallest was seen to fail.
    #[test]
    fn any_interleaving_ends_well(seed in 0_u64..1_000, count in 1_usize..6) {
        let kinds = bugs::all();
        let mut dice = Dice(seed);
        let mut setup = settings(seed);
        setup.limits.runs = 80;
        let mut replicator = Replicator::new(setup);
        let mut worlds = Vec::new();
        for nth in 0..count {
            let bug = &kinds[(seed as usize + nth * 5) % kinds.len()];
            let world = World::new(bug, seed + nth as u64);
            let symptom = world.symptom();
            let case = replicator.sighted(At(0), &world.sighting(&symptom, 3));
            worlds.push((case, world));
        }
        let mut under_way = Vec::new();
        let mut runs = 0;
        for step in 0..20_000_u64 {
            while under_way.len() < 4 && let Some(next) = replicator.next(At(step), ROOM) {
                prop_assert!(next.recipe.conditions.len() <= 18);
                under_way.push(next);
            }
            if under_way.is_empty() {
                break;
            }
            let place = (dice.share() * under_way.len() as f64) as usize;
            let next = under_way.remove(place);
            runs += 1;
            let Some((_, world)) = worlds.iter_mut().find(|(case, _)| *case == next.case) else {
                // A case that was opened on the way: it does not come again.
                let outcome = cohort_replicator::Outcome {
                    symptom: None, passed: true, usage: worlds[0].1.usage(1.0), passed_before: 0, missing: Vec::new(),
                };
                replicator.ended(At(step), next.case, &next.recipe, outcome);
                continue;
            };
            let mut outcome = world.run(&next.recipe);
            if dice.share() < 0.1 {
                outcome.symptom = None;
                outcome.passed = false;
            }
            replicator.ended(At(step), next.case, &next.recipe, outcome);
        }
        prop_assert!(replicator.is_settled());
        prop_assert!(runs <= 80 * replicator.cases().count());
        for case in replicator.cases() {
            prop_assert_eq!(case.stage, Stage::Closed);
            prop_assert!(case.verdict.is_some());
            if let Some(smallest) = &case.smallest {
                prop_assert!(smallest.rate.failed > 0);
            }
        }
    }
}
