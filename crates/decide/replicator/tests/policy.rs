//! What the replicator does in cases that are not the usual one.

#[allow(dead_code, reason = "shared with the example")]
#[path = "../examples/campaign/bugs.rs"]
mod bugs;
#[allow(dead_code, reason = "shared with the example")]
#[path = "../examples/campaign/world.rs"]
mod world;

use std::collections::BTreeSet;

use cohort_model::{
    At, Case, CaseId, CasePart, CaseVerdict, Condition, ConditionKind, Frame, Recipe, Stage,
    Subject, Symptom, SymptomKind, TestId, ThreadId,
};
use cohort_replicator::{Hunt, Known, Outcome, Replicator, Room, Sighting, Try};
use world::{ROOM, World, settings};

fn bug(name: &str) -> World {
    let bug = bugs::all()
        .into_iter()
        .find(|bug| bug.name == name)
        .expect("there is such a bug");
    World::new(&bug, 11)
}

fn passed(world: &World) -> Outcome {
    Outcome {
        symptom: None,
        passed: true,
        usage: world.usage(1.0),
        passed_before: 0,
        missing: Vec::new(),
    }
}

fn failed(world: &World, symptom: &Symptom) -> Outcome {
    Outcome {
        symptom: Some(symptom.clone()),
        passed: false,
        ..passed(world)
    }
}

/// Carries out whatever is asked for, to the end or for so many runs.
fn drive(
    replicator: &mut Replicator,
    runs_max: usize,
    mut run: impl FnMut(&Try) -> Outcome,
) -> Vec<Try> {
    let mut tried = Vec::new();
    while tried.len() < runs_max
        && let Some(next) = replicator.next(At(tried.len() as u64), ROOM)
    {
        let outcome = run(&next);
        replicator.ended(At(tried.len() as u64), next.case, &next.recipe, outcome);
        tried.push(next);
    }
    tried
}

fn shown(replicator: &Replicator, case: CaseId) -> Case {
    let found = replicator.cases().find(|one| one.case == case);
    found.cloned().expect("the case is known")
}

#[test]
fn one_that_fails_only_once_ever_ends_with_a_bound_on_its_rate() {
    let world = bug("no cause");
    let mut replicator = Replicator::new(settings(1));
    let symptom = world.symptom();
    let case = replicator.sighted(At(0), &world.sighting(&symptom, 50));
    let tried = drive(&mut replicator, 10_000, |_| passed(&world));
    assert!(replicator.is_settled());
    assert!(tried.len() <= settings(1).limits.runs as usize);
    let case = shown(&replicator, case);
    assert_eq!(case.verdict, Some(CaseVerdict::NotReproduced));
    assert!(case.arms[0].control && case.arms[0].rate.runs >= 50);
    let bound = case
        .remarks
        .iter()
        .any(|one| one.contains("its rate there is below"));
    assert!(bound, "{:?}", case.remarks);
}

#[test]
fn a_case_that_needs_more_than_the_machine_has_is_not_tried_and_says_why() {
    let world = bug("no cause");
    let mut replicator = Replicator::new(settings(1));
    let symptom = world.symptom();
    let mut sighting = world.sighting(&symptom, 1);
    sighting.usage.memory_peak = 64 << 30;
    let case = replicator.sighted(At(0), &sighting);
    assert!(replicator.next(At(0), ROOM).is_none());
    let case = shown(&replicator, case);
    assert_eq!(case.verdict, Some(CaseVerdict::NotTried));
    assert!(case.remarks[0].contains("65536 MB"), "{:?}", case.remarks);
}

#[test]
fn no_more_memory_is_asked_for_than_there_is_room() {
    let world = bug("port reuse");
    let mut replicator = Replicator::new(settings(1));
    let symptom = world.symptom();
    replicator.sighted(At(0), &world.sighting(&symptom, 1));
    let tight = Room {
        cores: 1.0,
        memory: 200 << 20,
        start: true,
    };
    let mut runs = 0;
    while let Some(next) = replicator.next(At(runs), tight) {
        assert!(next.memory <= tight.memory && next.cores <= 1.0, "{next:?}");
        replicator.ended(At(runs), next.case, &next.recipe, passed(&world));
        runs += 1;
    }
    assert!(runs > 20);
}

#[test]
fn an_old_case_is_tried_again_and_its_return_is_named() {
    let world = bug("time zone");
    let symptom = world.symptom();
    let known = |case| Known {
        case: CaseId(case),
        subject: Subject::Test(TestId(case)),
        symptom: symptom.clone(),
        smallest: Recipe {
            conditions: vec![Condition::TimeZone {
                name: "Asia/Kolkata".into(),
            }],
            ..Recipe::default()
        },
        rate: 1.0,
        verdict: CaseVerdict::Conditional,
    };
    let mut replicator = Replicator::new(settings(1));
    replicator.remember(known(7));
    replicator.remember(known(9));
    let tried = drive(&mut replicator, 100, |next| {
        if next.case == CaseId(7) {
            failed(&world, &symptom)
        } else {
            passed(&world)
        }
    });
    assert!(tried.len() <= 6, "{} runs", tried.len());
    let (back, gone) = (shown(&replicator, CaseId(7)), shown(&replicator, CaseId(9)));
    assert!(back.returned && back.verdict == Some(CaseVerdict::Conditional));
    assert!(!gone.returned && gone.verdict == Some(CaseVerdict::NotReproduced));
    assert!(gone.remarks[0].contains("earlier campaign"));
    // A new one is numbered after them.
    let other = Symptom {
        message: "another".into(),
        kind: SymptomKind::Signal,
        class: "SIGSEGV".into(),
        frames: Vec::new(),
    };
    let new = replicator.sighted(At(9), &world.sighting(&other, 1));
    assert_eq!(new, CaseId(10));
}

#[test]
fn an_old_case_that_is_seen_again_in_ordinary_work_has_returned() {
    let world = bug("no cause");
    let symptom = world.symptom();
    let mut replicator = Replicator::new(settings(1));
    replicator.remember(Known {
        case: CaseId(3),
        subject: Subject::Test(TestId(1)),
        symptom: symptom.clone(),
        smallest: Recipe::default(),
        rate: 0.0,
        verdict: CaseVerdict::Sometimes,
    });
    drive(&mut replicator, 100, |_| passed(&world));
    assert!(replicator.is_settled());
    let case = replicator.sighted(At(5), &world.sighting(&symptom, 4));
    assert_eq!(case, CaseId(3));
    assert!(!replicator.is_settled(), "it is tried as a new one is");
    assert!(shown(&replicator, case).returned);
}

#[test]
fn stress_ends_when_the_rate_is_surely_low_and_says_what_was_covered() {
    let world = bug("no cause");
    let mut replicator = Replicator::new(settings(1));
    let hunt = Hunt {
        p: 0.05,
        alpha: 0.05,
    };
    let case = replicator.suspect(At(0), Subject::Test(TestId(1)), Vec::new(), hunt);
    let tried = drive(&mut replicator, 10_000, |_| passed(&world));
    let plain = tried
        .iter()
        .filter(|one| one.recipe.conditions.is_empty())
        .count();
    assert!(
        (59..=80).contains(&plain),
        "{plain} plain runs: 0.95^59 < 0.05"
    );
    let case = shown(&replicator, case);
    assert_eq!(case.verdict, Some(CaseVerdict::Unsuspicious));
    let said = &case.remarks[0];
    assert!(
        said.contains("5.0 %") && said.contains("disturbed scheduling"),
        "{said}"
    );
}

#[test]
fn a_failure_under_stress_is_a_case_as_any_other() {
    let mut world = bug("directory order");
    let mut replicator = Replicator::new(settings(1));
    let hunt = Hunt {
        p: 0.01,
        alpha: 0.05,
    };
    let case = replicator.suspect(At(0), Subject::Test(TestId(1)), Vec::new(), hunt);
    drive(&mut replicator, 10_000, |next| world.run(&next.recipe));
    let case = shown(&replicator, case);
    assert_eq!(case.symptom, Some(world.symptom()));
    assert_eq!(case.verdict, Some(CaseVerdict::Conditional));
    let named = case.causes[0].condition.as_ref().map(Condition::kind);
    assert_eq!(named, Some(ConditionKind::DirectoryOrder));
}

#[test]
fn another_symptom_opens_its_own_case_and_counts_for_nothing() {
    let world = bug("no cause");
    let mut replicator = Replicator::new(settings(1));
    let symptom = world.symptom();
    let first = replicator.sighted(At(0), &world.sighting(&symptom, 5));
    let crash = Symptom {
        kind: SymptomKind::Signal,
        class: "SIGSEGV".into(),
        message: String::new(),
        frames: Vec::new(),
    };
    let next = replicator.next(At(0), ROOM).expect("the control");
    let other = replicator.ended(At(1), first, &next.recipe, failed(&world, &crash));
    let other = other.expect("a case of its own");
    assert_ne!(other, first);
    assert_eq!(shown(&replicator, other).symptom, Some(crash.clone()));
    assert_eq!(shown(&replicator, first).runs_to_first, None);
    // Once more: it is known by now.
    let next = replicator.next(At(2), ROOM).expect("more to try");
    let again = replicator.ended(At(3), first, &next.recipe, failed(&world, &crash));
    assert!(next.case != first || again == Some(other));
}

#[test]
fn what_our_own_conditions_do_to_it_is_no_bug() {
    let world = bug("no cause");
    let mut replicator = Replicator::new(settings(1));
    let symptom = world.symptom();
    replicator.sighted(At(0), &world.sighting(&symptom, 5));
    let starved = Symptom {
        kind: SymptomKind::OutOfMemory,
        class: String::new(),
        message: "killed for memory".into(),
        frames: Vec::new(),
    };
    drive(&mut replicator, 10_000, |next| {
        let limited = |one: &Condition| one.kind() == ConditionKind::MemoryLimit;
        if next.recipe.conditions.iter().any(limited) {
            failed(&world, &starved)
        } else {
            passed(&world)
        }
    });
    let cases: Vec<&Case> = replicator.cases().collect();
    assert_eq!(cases.len(), 1, "it is no case of its own");
    let told = |one: &String| one.contains("on purpose (a memory limit)");
    assert!(
        cases[0].remarks.iter().any(told),
        "nor dropped without a line"
    );
}

#[test]
fn hangs_of_one_test_are_told_apart_by_where_threads_stood() {
    let world = bug("no cause");
    let mut limits = settings(1);
    limits.limits.stacks = 2;
    let mut replicator = Replicator::new(limits);
    let hang = |function: &str| Symptom {
        kind: SymptomKind::Timeout,
        class: "time limit".into(),
        message: String::new(),
        frames: (!function.is_empty())
            .then(|| Frame {
                function: function.into(),
                file: "src/bank.rs".into(),
                line: 7,
                own: true,
            })
            .into_iter()
            .collect(),
    };
    let first = replicator.sighted(At(0), &world.sighting(&hang(""), 5));
    let mut told = 0;
    let tried = drive(&mut replicator, 200, |next| {
        if !next.recipe.stacks {
            return failed(&world, &hang(""));
        }
        told += 1;
        failed(&world, &hang(if told % 2 == 1 { "give" } else { "take" }))
    });
    let cases: Vec<Case> = replicator.cases().cloned().collect();
    let functions: Vec<&str> = cases
        .iter()
        .map(|case| {
            case.symptom.as_ref().expect("failed").frames[0]
                .function
                .as_str()
        })
        .collect();
    assert_eq!(functions, ["give", "take"]);
    let of_first: Vec<&Try> = tried.iter().filter(|one| one.case == first).collect();
    assert!(of_first.len() > 3 && of_first.iter().all(|one| one.recipe.stacks));
    let is_told = |case: &Case| case.arms.iter().all(|arm| !arm.recipe.stacks);
    assert!(cases.iter().all(is_told), "it is no condition");
}

#[test]
fn stacks_are_asked_for_in_few_runs_of_what_fails_the_same_way() {
    let world = bug("no cause");
    let mut limits = settings(1);
    limits.limits.stacks = 2;
    let mut replicator = Replicator::new(limits);
    let mut symptom = world.symptom();
    symptom.kind = SymptomKind::Signal;
    symptom.class = "SIGSEGV".into();
    symptom.frames.clear();
    replicator.sighted(At(0), &world.sighting(&symptom, 5));
    let mut runs = 0;
    let tried = drive(&mut replicator, 10_000, |_| {
        runs += 1;
        if runs % 4 == 0 {
            failed(&world, &symptom)
        } else {
            passed(&world)
        }
    });
    let asked = tried.iter().filter(|one| one.recipe.stacks).count();
    assert!(
        (2..=40).contains(&asked) && asked < tried.len() / 4,
        "{asked} of {}",
        tried.len()
    );
}

#[test]
fn what_cannot_be_set_here_is_not_tried_again() {
    let world = bug("no cause");
    let mut replicator = Replicator::new(settings(1));
    let symptom = world.symptom();
    replicator.sighted(At(0), &world.sighting(&symptom, 5));
    let is = |one: &Condition| one.kind() == ConditionKind::Schedule;
    let tried = drive(&mut replicator, 10_000, |next| Outcome {
        missing: if next.recipe.conditions.iter().any(is) {
            vec![ConditionKind::Schedule]
        } else {
            Vec::new()
        },
        ..passed(&world)
    });
    let asked = tried
        .iter()
        .filter(|one| one.recipe.conditions.iter().any(is));
    assert_eq!(asked.count(), 1);
    let case = replicator.cases().next().expect("one case");
    let counted = case
        .arms
        .iter()
        .any(|arm| arm.recipe.conditions.iter().any(is));
    assert!(
        !counted,
        "a run without its condition is no run of that recipe"
    );
}

#[test]
fn where_nothing_can_be_varied_it_is_rerun_as_it_was() {
    let mut world = bug("no cause");
    world.drawn.base = 0.2;
    let mut setup = settings(1);
    setup.able = BTreeSet::new();
    let mut replicator = Replicator::new(setup);
    let symptom = world.symptom();
    let case = replicator.sighted(At(0), &world.sighting(&symptom, 5));
    drive(&mut replicator, 10_000, |next| {
        assert!(next.recipe.conditions.is_empty());
        world.run(&next.recipe)
    });
    let case = shown(&replicator, case);
    assert_eq!(case.verdict, Some(CaseVerdict::Sometimes));
    assert!(case.smallest.is_some());
}

#[test]
fn runs_that_say_nothing_are_not_counted() {
    let world = bug("no cause");
    let mut replicator = Replicator::new(settings(1));
    let symptom = world.symptom();
    let case = replicator.sighted(At(0), &world.sighting(&symptom, 5));
    drive(&mut replicator, 20, |_| Outcome {
        passed: false,
        ..passed(&world)
    });
    assert!(shown(&replicator, case).arms.is_empty());
    assert!(!replicator.is_settled());
}

/// Failures that have nothing in common.
fn different(nth: u32) -> Symptom {
    let letters: String = nth
        .to_string()
        .bytes()
        .map(|digit| char::from(digit - b'0' + b'a'))
        .collect();
    Symptom {
        kind: SymptomKind::Exception,
        class: format!("python Error{letters}"),
        message: letters,
        frames: Vec::new(),
    }
}

#[test]
fn two_hundred_failures_share_the_budget_and_each_has_a_line() {
    let world = bug("no cause");
    let mut setup = settings(1);
    setup.limits.seconds_all = 400.0;
    setup.limits.cases = 180;
    let mut replicator = Replicator::new(setup);
    for nth in 0..200 {
        let symptom = different(nth);
        let sighting = Sighting {
            subject: Subject::Test(TestId(nth)),
            thread: ThreadId(nth),
            ..world.sighting(&symptom, 3)
        };
        replicator.sighted(At(0), &sighting);
    }
    let tried = drive(&mut replicator, 100_000, |_| passed(&world));
    assert!(replicator.is_settled());
    let runs = |case: u32| tried.iter().filter(|one| one.case == CaseId(case)).count();
    let fewest = (1..=180).map(runs).min().expect("some");
    let most = (1..=180).map(runs).max().expect("some");
    assert!(
        fewest >= 2 && most <= 3 * fewest + 4,
        "{fewest} to {most} runs"
    );
    for case in replicator.cases() {
        assert_eq!(case.stage, Stage::Closed);
        assert!(
            case.verdict.is_some() && !case.remarks.is_empty(),
            "{}",
            case.case
        );
    }
    let untried = replicator
        .cases()
        .filter(|case| case.verdict == Some(CaseVerdict::NotTried));
    assert_eq!(untried.count(), 20);
}

#[test]
fn equal_failures_share_one_case() {
    let world = bug("no cause");
    let mut replicator = Replicator::new(settings(1));
    let symptom = world.symptom();
    let first = replicator.sighted(At(0), &world.sighting(&symptom, 5));
    let again = Sighting {
        thread: ThreadId(8),
        ..world.sighting(&symptom, 5)
    };
    assert_eq!(replicator.sighted(At(1), &again), first);
    assert_eq!(
        shown(&replicator, first).sightings,
        vec![ThreadId(0), ThreadId(8)]
    );
}

#[test]
fn news_come_at_once_for_a_new_stage_and_else_once_a_second() {
    let world = bug("no cause");
    let mut replicator = Replicator::new(settings(1));
    let symptom = world.symptom();
    replicator.sighted(At(0), &world.sighting(&symptom, 5));
    assert_eq!(replicator.news(At(0)).len(), 1);
    assert!(replicator.news(At(1)).is_empty());
    let next = replicator.next(At(2), ROOM).expect("the control");
    assert_eq!(replicator.news(At(3))[0].stage, Stage::Reproducing);
    replicator.ended(At(4), next.case, &next.recipe, passed(&world));
    assert!(replicator.news(At(5)).is_empty(), "no second has passed");
    assert_eq!(replicator.news(At(1_000_010)).len(), 1);
}

#[test]
fn the_end_of_the_campaign_closes_what_is_open() {
    let world = bug("no cause");
    let mut replicator = Replicator::new(settings(1));
    let symptom = world.symptom();
    let case = replicator.sighted(At(0), &world.sighting(&symptom, 5));
    replicator.finish(At(1), "The campaign was stopped.");
    let case = shown(&replicator, case);
    assert_eq!(case.verdict, Some(CaseVerdict::NotTried));
    assert_eq!(case.remarks[0], "The campaign was stopped.");
    assert!(replicator.is_settled() && replicator.next(At(2), ROOM).is_none());
}

#[test]
fn lines_are_recorded_at_the_end_where_that_is_asked_for() {
    let mut world = bug("directory order");
    let mut setup = settings(1);
    setup.limits.coverage = 3;
    let mut replicator = Replicator::new(setup);
    let symptom = world.symptom();
    replicator.sighted(At(0), &world.sighting(&symptom, 5));
    let tried = drive(&mut replicator, 10_000, |next| world.run(&next.recipe));
    let covered: Vec<&Try> = tried.iter().filter(|one| one.recipe.coverage).collect();
    let with = covered
        .iter()
        .filter(|one| !one.recipe.conditions.is_empty());
    assert_eq!(with.count(), 3, "it fails each time");
    assert!(
        covered.len() >= 6 && covered.len() <= 8,
        "{}",
        covered.len()
    );
}

#[test]
fn limits_may_be_none_at_all() {
    let mut world = bug("directory order");
    let mut setup = settings(1);
    setup.limits.runs = u32::MAX;
    setup.limits.seconds = f64::INFINITY;
    setup.limits.seconds_all = f64::INFINITY;
    setup.limits.cases = u32::MAX;
    let mut replicator = Replicator::new(setup);
    let hunt = Hunt {
        p: 0.01,
        alpha: 0.05,
    };
    let case = replicator.suspect(At(0), Subject::Test(TestId(1)), Vec::new(), hunt);
    drive(&mut replicator, 10_000, |next| world.run(&next.recipe));
    assert!(replicator.is_settled());
    let case = shown(&replicator, case);
    assert_eq!(case.verdict, Some(CaseVerdict::Conditional));
}

const RARE: Hunt = Hunt {
    p: 0.001,
    alpha: 0.05,
};

fn stressed(company: Vec<CasePart>) -> (Replicator, CaseId) {
    let mut replicator = Replicator::new(settings(1));
    let case = replicator.suspect(At(0), Subject::Test(TestId(1)), company, RARE);
    (replicator, case)
}

#[test]
fn a_stressed_test_is_run_after_its_neighbours_and_the_one_it_depends_on_is_named() {
    let world = bug("no cause");
    let symptom = world.symptom();
    let needed = CasePart::Before(TestId(17));
    let company = (10..30).map(|test| CasePart::Before(TestId(test)));
    let (mut replicator, case) = stressed(company.collect());
    let tried = drive(&mut replicator, 300, |next| {
        if next.recipe.parts.contains(&needed) {
            failed(&world, &symptom)
        } else {
            passed(&world)
        }
    });
    let case = shown(&replicator, case);
    assert_eq!(case.verdict, Some(CaseVerdict::Conditional));
    assert_eq!(case.causes[0].parts, vec![needed]);
    assert!(tried.len() < 60, "{} runs", tried.len());
}

#[test]
fn what_costs_nothing_is_tried_first_and_decides_with_the_first_runs() {
    let world = bug("no cause");
    let symptom = world.symptom();
    let month_end = |one: &Condition| matches!(one, Condition::Clock { unix_s } if (1_801_353_600..1_801_440_000).contains(unix_s));
    let (mut replicator, case) = stressed(Vec::new());
    let tried = drive(&mut replicator, 40, |next| {
        if next.recipe.conditions.iter().any(month_end) {
            failed(&world, &symptom)
        } else {
            passed(&world)
        }
    });
    let first = tried
        .iter()
        .position(|one| one.recipe.conditions.iter().any(month_end));
    assert!(first.is_some_and(|first| first <= 3), "{first:?}");
    let case = shown(&replicator, case);
    let named = case
        .causes
        .first()
        .and_then(|cause| cause.condition.clone());
    assert!(
        named.as_ref().is_some_and(month_end),
        "{named:?} in {} runs",
        tried.len()
    );
}

#[test]
fn a_seed_that_failed_is_run_again_at_once() {
    let world = bug("no cause");
    let symptom = world.symptom();
    let seed_of = |recipe: &Recipe| {
        recipe.conditions.iter().find_map(|one| match one {
            Condition::Seed { seed } => Some(*seed),
            _ => None,
        })
    };
    let (mut replicator, _) = stressed(Vec::new());
    let mut bad = None;
    let tried = drive(&mut replicator, 60, |next| {
        let seed = seed_of(&next.recipe);
        if bad.is_none() && seed.is_some_and(|seed| seed % 3 == 0) {
            bad = seed;
        }
        if bad.is_some() && seed == bad {
            failed(&world, &symptom)
        } else {
            passed(&world)
        }
    });
    let first = tried
        .iter()
        .position(|one| bad.is_some() && seed_of(&one.recipe) == bad);
    let first = first.expect("a third of all seeds fail");
    // What fails before any plain run was made may fail always: that is asked by one in between.
    let plain = tried[first + 1..].iter();
    let plain = plain.take_while(|one| one.recipe.conditions.is_empty());
    let first = first + plain.count();
    assert!(first <= 2, "{first}");
    let again = tried[first + 1..=first + 2].iter();
    assert!(again.clone().all(|one| seed_of(&one.recipe) == bad));
    let named = replicator
        .cases()
        .next()
        .and_then(|case| case.causes.first().cloned());
    assert_eq!(
        named
            .and_then(|cause| cause.condition)
            .map(|one| one.kind()),
        Some(ConditionKind::Seed)
    );
}

#[test]
fn a_run_has_one_heavy_condition_and_memory_enough_to_start() {
    let world = bug("no cause");
    let (mut replicator, _) = stressed(Vec::new());
    let tried = drive(&mut replicator, 400, |_| passed(&world));
    assert!(tried.len() == 400);
    for one in &tried {
        let heavy = one.recipe.conditions.iter().filter(|one| {
            matches!(
                one.kind(),
                ConditionKind::CpuLimit | ConditionKind::Noise | ConditionKind::Copies
            )
        });
        assert!(heavy.count() <= 1, "{:?}", one.recipe);
        for condition in &one.recipe.conditions {
            if let Condition::MemoryLimit { bytes } = condition {
                assert!(*bytes >= bugs::PEAK * 3 / 2, "{bytes}");
            }
        }
    }
}

#[test]
fn what_ran_into_the_time_limit_with_another_symptom_is_hardly_tried_again() {
    let world = bug("no cause");
    let (mut replicator, _) = stressed(Vec::new());
    let late = |one: &Condition| one.kind() == ConditionKind::NetworkDelay;
    let ended = Symptom {
        kind: SymptomKind::Timeout,
        class: String::new(),
        message: "ran past its time limit".into(),
        frames: Vec::new(),
    };
    let tried = drive(&mut replicator, 400, |next| {
        let mut outcome = passed(&world);
        if next.recipe.conditions.iter().any(late) {
            outcome = failed(&world, &ended);
            outcome.usage.wall_us *= 20;
        }
        outcome
    });
    let late = tried
        .iter()
        .filter(|one| one.recipe.conditions.iter().any(late));
    assert!(late.count() <= 20);
}

#[test]
fn a_failure_counts_though_one_condition_could_not_be_set() {
    let world = bug("no cause");
    let symptom = world.symptom();
    let zone =
        |one: &Condition| matches!(one, Condition::TimeZone { name } if name == "Asia/Kolkata");
    let locale = |one: &Condition| one.kind() == ConditionKind::Locale;
    let (mut replicator, case) = stressed(Vec::new());
    drive(&mut replicator, 60, |next| {
        let mut outcome = if next.recipe.conditions.iter().any(zone) {
            failed(&world, &symptom)
        } else {
            passed(&world)
        };
        if next.recipe.conditions.iter().any(locale) {
            outcome.missing.push(ConditionKind::Locale);
        }
        outcome
    });
    let case = shown(&replicator, case);
    assert!(case.runs_to_first.is_some_and(|runs| runs <= 4));
    let named = case.causes.first().and_then(|one| one.condition.clone());
    assert!(named.is_some_and(|one| zone(&one)));
}
