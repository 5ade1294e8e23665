//! Rules that every campaign keeps, tried on random suites and hosts.

use std::collections::BTreeSet;

use cohort_model::{
    At, Budget, CaseVerdict, Command, ConditionKind, GroupId, Observation, Plan, Policy, Stage,
    ThreadEnd, Verdict,
};
use cohort_orchestrator::Orchestrator;
use cohort_sim::{Needs, Outcome, Random, case_plan, plan, run};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn budget(cores: f64, memory_mib: u64) -> Budget {
    Budget {
        cores,
        memory: memory_mib * MIB,
        instances: 64,
        timeout_us: 3_600_000_000,
        stall_us: 3_600_000_000,
        holds_memory: true,
    }
}

fn same(needs: Needs, count: usize) -> Vec<Needs> {
    vec![needs; count]
}

fn failures(outcome: &Outcome) -> usize {
    outcome
        .results
        .iter()
        .filter(|result| result.verdict.is_failure())
        .count()
}

#[test]
fn waiting_tests_run_many_at_once_without_any_history() {
    let needs = same(
        Needs {
            cpu_us: 5_000,
            wait_us: 500_000,
            ..Needs::default()
        },
        300,
    );
    let adaptive = run(
        budget(2.0, 8192),
        Policy::Adaptive,
        &plan(300, 3, false),
        &needs,
        false,
    );
    let fixed = run(
        budget(2.0, 8192),
        Policy::Static,
        &plan(300, 3, false),
        &needs,
        false,
    );
    let best_of_32 = 300 / 32 * 505_000;
    assert_eq!(failures(&adaptive), 0);
    assert!(
        adaptive.wall_us * 10 < fixed.wall_us,
        "{} against {}",
        adaptive.wall_us,
        fixed.wall_us
    );
    assert!(adaptive.wall_us < best_of_32, "{} us", adaptive.wall_us);
}

#[test]
fn computing_tests_are_not_crowded() {
    let needs = same(
        Needs {
            cpu_us: 300_000,
            ..Needs::default()
        },
        60,
    );
    let outcome = run(
        budget(2.0, 8192),
        Policy::Adaptive,
        &plan(60, 2, false),
        &needs,
        false,
    );
    assert!(outcome.threads_max <= 3, "{} threads", outcome.threads_max);
    assert!(
        outcome.wall_us < 60 * 300_000 / 2 * 104 / 100,
        "{} us",
        outcome.wall_us
    );
}

#[test]
fn what_fails_in_a_crowd_and_passes_alone_counts_as_passed_and_is_named() {
    let waits = Needs {
        cpu_us: 2_000,
        wait_us: 300_000,
        ..Needs::default()
    };
    let mut needs = same(waits, 100);
    needs[70].sensitive = true;
    needs[71].fails = true;
    let outcome = run(
        budget(2.0, 8192),
        Policy::Adaptive,
        &plan(100, 1, false),
        &needs,
        false,
    );
    assert_eq!(failures(&outcome), 1);
    let sensitive: Vec<_> = outcome
        .results
        .iter()
        .filter(|result| result.load_sensitive)
        .collect();
    assert_eq!(sensitive.len(), 1);
    assert_eq!((sensitive[0].test.0, sensitive[0].threads.len()), (70, 2));
}

#[test]
fn memory_hungry_tests_are_held_and_finish_within_the_budget() {
    let needs = same(
        Needs {
            cpu_us: 400_000,
            memory: 700 * MIB,
            ..Needs::default()
        },
        12,
    );
    let outcome = run(
        budget(2.0, 1000),
        Policy::Adaptive,
        &plan(12, 1, false),
        &needs,
        false,
    );
    assert_eq!(failures(&outcome), 0);
    assert!(outcome.promised_max <= 1000 * MIB);
}

#[test]
fn a_test_that_needs_more_than_there_is_is_blamed_once_it_had_all() {
    let mut needs = same(Needs::default(), 20);
    needs[3].memory = 2000 * MIB;
    needs[3].cpu_us = 50_000;
    let outcome = run(
        budget(2.0, 1000),
        Policy::Adaptive,
        &plan(20, 1, false),
        &needs,
        false,
    );
    let failed: Vec<_> = outcome
        .results
        .iter()
        .filter(|result| result.verdict.is_failure())
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (failed[0].test.0, failed[0].verdict),
        (3, Verdict::OutOfMemory)
    );
}

#[test]
fn the_longest_test_starts_early_once_its_group_is_known() {
    let mut needs = same(
        Needs {
            cpu_us: 100_000,
            ..Needs::default()
        },
        60,
    );
    needs[59].cpu_us = 3_000_000;
    let mut suite = plan(60, 2, false);
    let usage = |index: usize| cohort_model::Usage {
        wall_us: needs[index].cpu_us,
        user_us: needs[index].cpu_us,
        memory_peak: 4 * MIB,
        ..cohort_model::Usage::default()
    };
    for index in 0..60 {
        let known = cohort_model::TestHistory {
            usage: vec![usage(index)],
            runs: 1,
            ..cohort_model::TestHistory::default()
        };
        suite.history.insert(index as u32, known);
    }
    let outcome = run(budget(2.0, 8192), Policy::Adaptive, &suite, &needs, false);
    let bound = (59 * 100_000 + 3_000_000) / 2;
    assert!(
        outcome.wall_us <= bound * 105 / 100,
        "{} against {bound}",
        outcome.wall_us
    );
}

#[test]
fn it_stops_at_the_failures_that_are_allowed_and_no_load_sensitive_test_is_one() {
    let waits = Needs {
        cpu_us: 2_000,
        wait_us: 300_000,
        ..Needs::default()
    };
    let mut needs = same(waits, 3000);
    needs[100].sensitive = true;
    needs[390].fails = true;
    needs[390].wait_us = 3_000_000;
    let mut suite = plan(3000, 1, true);
    suite.failures_max = Some(1);
    let outcome = run(budget(2.0, 8192), Policy::Adaptive, &suite, &needs, false);
    assert_eq!(failures(&outcome), 1);
    assert!(outcome.results.len() < 3000, "{}", outcome.results.len());
    let sensitive = outcome.results.iter().find(|result| result.load_sensitive);
    assert_eq!(sensitive.map(|result| result.test.0), Some(100));
}

#[test]
fn a_group_that_belongs_together_stays_on_one_instance() {
    let mut needs = same(
        Needs {
            cpu_us: 2_000,
            wait_us: 50_000,
            ..Needs::default()
        },
        120,
    );
    needs[17].wait_us = 2_000_000;
    let mut suite = plan(120, 3, true);
    suite.together = [GroupId(0), GroupId(2)].into();
    let outcome = run(budget(2.0, 8192), Policy::Adaptive, &suite, &needs, true);
    let mut places = vec![BTreeSet::new(); 3];
    for (_, _, step) in &outcome.steps {
        for decision in &step.decisions {
            if let Command::StartThread { test, instance, .. } = decision.command {
                places[suite.tests[test.index()].group.index()].insert(instance);
            }
        }
    }
    assert_eq!((places[0].len(), places[2].len()), (1, 1));
    assert!(places[1].len() > 1, "{places:?}");
}

#[test]
fn what_cannot_be_run_fails_without_being_run() {
    let mut suite = plan(3, 1, true);
    suite.tests[1].broken = Some("no module".to_owned());
    let needs = same(Needs::default(), 3);
    let outcome = run(budget(2.0, 8192), Policy::Adaptive, &suite, &needs, false);
    let failed: Vec<_> = outcome
        .results
        .iter()
        .filter(|one| one.verdict.is_failure())
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].test.0, failed[0].threads.len()), (1, 0));
}

#[test]
fn a_costly_instance_that_is_lost_is_replaced_however_little_is_left() {
    let mut suite = plan(3, 1, true);
    suite.costly_instances = true;
    let mut orchestrator = Orchestrator::new(budget(1.0, 1000), Policy::Adaptive, suite, 0);
    let opened = |step: &cohort_orchestrator::Step| {
        step.decisions
            .iter()
            .find_map(|decision| match decision.command {
                Command::StartThread {
                    thread, instance, ..
                } => Some((thread, instance)),
                _ => None,
            })
    };
    let step = orchestrator.step(At(0), &[Observation::Tick]);
    let (thread, instance) = opened(&step).unwrap();
    // It took a minute to open, which is more than all tests will take.
    let begun = [
        Observation::InstanceOpened { instance },
        Observation::ThreadStarted { thread },
    ];
    orchestrator.step(At(60_000_000), &begun);
    let end = ThreadEnd {
        thread,
        verdict: Verdict::Crashed,
        exit_code: None,
        signal: Some(9),
        usage: cohort_model::Usage::default(),
        message: None,
        parts: None,
        symptom: None,
        unapplied: Vec::new(),
        input: None,
        passed_before: 0,
        left_behind: 0,
        output_dropped: 0,
    };
    let reason = "its init was killed".to_owned();
    let lost = [
        Observation::ThreadEnded(end),
        Observation::InstanceLost { instance, reason },
    ];
    let step = orchestrator.step(At(60_100_000), &lost);
    assert!(opened(&step).is_some(), "{step:?}");
}

const SECOND_US: u64 = 1_000_000;
const ABLE: [ConditionKind; 4] = [
    ConditionKind::CpuLimit,
    ConditionKind::Copies,
    ConditionKind::Noise,
    ConditionKind::Schedule,
];

#[test]
fn without_failures_nothing_changes_but_for_an_instance_that_stands_by() {
    let needs = same(
        Needs {
            cpu_us: 20_000,
            wait_us: 30_000,
            ..Needs::default()
        },
        200,
    );
    for sticky in [false, true] {
        let without = plan(200, 4, sticky);
        let mut with = without.clone();
        with.cases = Some(case_plan(60 * SECOND_US, &ABLE));
        let wall = |plan: &Plan| run(budget(2.0, 8192), Policy::Adaptive, plan, &needs, false);
        let (without, with) = (wall(&without), wall(&with));
        assert_eq!(without.wall_us, with.wall_us);
        assert_eq!((with.tries, with.cases.len()), (0, 0));
    }
}

#[test]
fn tries_begin_in_the_step_that_shows_the_failure_and_take_no_more_than_their_share() {
    let mut needs = same(
        Needs {
            cpu_us: 100_000,
            ..Needs::default()
        },
        200,
    );
    needs[0].only_under = Some(ConditionKind::CpuLimit);
    let without = plan(200, 2, false);
    let mut with = without.clone();
    with.cases = Some(case_plan(10 * SECOND_US, &ABLE));
    let plain = run(budget(2.0, 8192), Policy::Adaptive, &without, &needs, false);
    let outcome = run(budget(2.0, 8192), Policy::Adaptive, &with, &needs, true);
    let mut steps = outcome.steps.iter().map(|(_, _, step)| step);
    let first = steps.find(|step| !step.cases.is_empty()).unwrap();
    let tried =
        |decision: &cohort_model::Decision| matches!(decision.command, Command::TryCase { .. });
    assert!(first.decisions.iter().any(tried), "{first:?}");
    let concluded = outcome.steps.iter().rev().find(|(_, _, step)| {
        let mut decisions = step.decisions.iter();
        decisions.any(|one| matches!(one.command, Command::Conclude(_)))
    });
    let ordinary_us = concluded.unwrap().0.0;
    assert!(
        ordinary_us < plain.wall_us * 145 / 100,
        "{ordinary_us} us against {} us",
        plain.wall_us
    );
    assert!(outcome.tries > 10, "{} tries", outcome.tries);
    assert_eq!(outcome.cases.len(), 1);
}

#[test]
fn two_hundred_failures_at_once_are_all_told_of_and_end_in_time() {
    let mut needs = same(Needs::default(), 240);
    for one in needs.iter_mut().take(200) {
        one.fails = true;
    }
    let mut suite = plan(240, 2, false);
    suite.cases = Some(case_plan(20 * SECOND_US, &ABLE));
    let plain = run(
        budget(2.0, 8192),
        Policy::Adaptive,
        &plan(240, 2, false),
        &needs,
        false,
    );
    let outcome = run(budget(2.0, 8192), Policy::Adaptive, &suite, &needs, false);
    assert_eq!((outcome.results.len(), failures(&outcome)), (240, 200));
    let closed = outcome
        .cases
        .values()
        .filter(|case| case.stage == Stage::Closed && case.verdict.is_some());
    assert!(outcome.cases.len() >= 200, "{} cases", outcome.cases.len());
    assert_eq!(closed.count(), outcome.cases.len());
    let most = plain.wall_us * 2 + 21 * SECOND_US;
    assert!(outcome.wall_us < most, "{} us", outcome.wall_us);
}

#[test]
fn what_needs_more_memory_than_there_is_is_tried_and_ends() {
    let mut needs = same(Needs::default(), 10);
    needs[3].memory = 2000 * MIB;
    needs[3].cpu_us = 50_000;
    let mut suite = plan(10, 1, false);
    suite.cases = Some(case_plan(3 * SECOND_US, &ABLE));
    let outcome = run(budget(2.0, 1000), Policy::Adaptive, &suite, &needs, false);
    assert_eq!(failures(&outcome), 1);
    assert!(outcome.promised_max <= 1000 * MIB);
    let case = outcome.cases.values().next().unwrap();
    assert_eq!(case.stage, Stage::Closed);
    assert_ne!(case.verdict, Some(CaseVerdict::NotReproduced), "{case:?}");
}

fn suites() -> impl Strategy<Value = (Plan, Vec<Needs>, Budget)> {
    let shape = (
        1usize..60,
        1usize..6,
        any::<bool>(),
        1u32..9,
        200u64..4000,
        any::<u64>(),
    );
    shape.prop_map(|(tests, groups, sticky, half_cores, memory_mib, seed)| {
        let mut random = Random(seed);
        let needs = (0..tests)
            .map(|_| Needs {
                // Long enough that every test comes to hold its memory.
                cpu_us: 5_000 + random.below(200) * 1_000,
                wait_us: random.below(3) * random.below(400) * 1_000,
                memory: (4 << random.below(10)) * MIB,
                fails: random.below(10) == 0,
                sensitive: random.below(8) == 0,
                ..Needs::default()
            })
            .collect();
        let mut plan = plan(tests, groups, sticky);
        if sticky {
            plan.costly_instances = random.below(2) == 0;
            let all = (0..groups as u32).map(GroupId);
            plan.together = all.filter(|_| random.below(3) == 0).collect();
        }
        (plan, needs, budget(f64::from(half_cores) / 2.0, memory_mib))
    })
}

/// Each test has one result, and that is what comes of its needs.
fn concluded_once_and_truthfully(
    outcome: &Outcome,
    plan: &Plan,
    needs: &[Needs],
    budget: Budget,
) -> Result<(), TestCaseError> {
    let mut tests: Vec<u32> = outcome.results.iter().map(|result| result.test.0).collect();
    tests.sort_unstable();
    prop_assert_eq!(tests, (0..plan.tests.len() as u32).collect::<Vec<_>>());
    prop_assert!(outcome.promised_max <= budget.memory);
    for result in &outcome.results {
        let needs = needs[result.test.index()];
        let too_big = needs.memory > budget.memory;
        prop_assert!(result.threads.len() <= 3);
        prop_assert_eq!(
            result.verdict == Verdict::OutOfMemory,
            too_big && result.verdict != Verdict::Failed,
            "{:?}",
            result
        );
        prop_assert_eq!(
            result.verdict == Verdict::Failed,
            needs.fails && !too_big,
            "{:?}",
            result
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_test_is_concluded_once_and_truthfully((plan, needs, budget) in suites()) {
        let outcome = run(budget, Policy::Adaptive, &plan, &needs, true);
        concluded_once_and_truthfully(&outcome, &plan, &needs, budget)?;
    }

    #[test]
    fn tries_change_no_result((mut plan, needs, budget) in suites()) {
        plan.cases = Some(case_plan(SECOND_US / 2, &ABLE));
        let outcome = run(budget, Policy::Adaptive, &plan, &needs, true);
        concluded_once_and_truthfully(&outcome, &plan, &needs, budget)?;
        for case in outcome.cases.values() {
            prop_assert_eq!(case.stage, Stage::Closed);
        }
        let mut again = Orchestrator::new(budget, Policy::Adaptive, plan, 0);
        for (at, seen, step) in &outcome.steps {
            prop_assert_eq!(&again.step(*at, seen), step);
        }
    }

    #[test]
    fn the_same_observations_give_the_same_decisions((plan, needs, budget) in suites()) {
        let outcome = run(budget, Policy::Adaptive, &plan, &needs, true);
        let mut again = Orchestrator::new(budget, Policy::Adaptive, plan, 0);
        for (at, seen, step) in &outcome.steps {
            prop_assert_eq!(&again.step(*at, seen), step);
        }
    }
}
