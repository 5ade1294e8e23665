//! Instances lean to an area each, where nothing is wrong: kept where it helps, undone where it does not.

use std::collections::BTreeMap;

use cohort_model::{
    Change, ChangeVerdict, InstanceId, Policy, Purpose, ServiceCommand, ServiceDecision,
    ServiceFinding, ServiceReason, ThreadId,
};
use cohort_sim::service::{ScenarioNeeds, ServiceNeeds, ServiceOutcome, run_service, service_plan};

/// As many that browse as buy.
fn shoppers(instances: usize) -> ServiceNeeds {
    let scenario = |name: &str, calls: &[(u32, u64, u64)]| ScenarioNeeds {
        name: name.to_owned(),
        calls: calls.to_vec(),
        think_us: 250_000,
    };
    ServiceNeeds {
        scenarios: vec![
            scenario("browse", &[(0, 3_000, 500), (1, 5_000, 1_000)]),
            scenario("buy", &[(2, 4_000, 500), (3, 4_000, 1_000)]),
        ],
        // Not all at once: they would go on in step.
        threads: (0..8 * instances)
            .map(|id| (37_000 * id as u64, (id / instances) % 2))
            .collect(),
        duration_us: 60_000_000,
        ..ServiceNeeds::default()
    }
}

fn run(instances: u32, policy: Policy, needs: &ServiceNeeds) -> ServiceOutcome {
    run_service(&service_plan(instances, policy, needs), needs, true)
}

fn leanings(outcome: &ServiceOutcome) -> Vec<&Change> {
    let changes = outcome.changes.values();
    changes
        .filter(|change| change.what.contains("leans to"))
        .collect()
}

/// Where each thread was first, and where it is in the end.
fn places(outcome: &ServiceOutcome) -> BTreeMap<ThreadId, (InstanceId, InstanceId)> {
    let mut places = BTreeMap::new();
    for (_, _, step) in &outcome.steps {
        for decision in &step.decisions {
            match decision.command {
                ServiceCommand::Place { thread, instance } => {
                    places.insert(thread, (instance, instance));
                }
                ServiceCommand::HandOver { thread, target, .. } => {
                    places.entry(thread).and_modify(|place| place.1 = target);
                }
                _ => {}
            }
        }
    }
    places
}

fn purposes(outcome: &ServiceOutcome) -> BTreeMap<InstanceId, Purpose> {
    let mut purposes = BTreeMap::new();
    for (_, _, step) in &outcome.steps {
        for decision in &step.decisions {
            if let ServiceCommand::Specialize { instance, purpose } = &decision.command {
                purposes.insert(*instance, purpose.clone());
            }
        }
    }
    purposes
}

#[test]
fn where_areas_are_in_each_other_s_way_they_part_and_more_gets_done() {
    let mut needs = shoppers(2);
    needs.crowding = 4.0;
    let adaptive = run(2, Policy::Adaptive, &needs);
    let fixed = run(2, Policy::Static, &needs);
    println!(
        "crowding: {} iterations, static {}",
        adaptive.iterations, fixed.iterations
    );
    let [change] = leanings(&adaptive)[..] else {
        panic!("{:?}", adaptive.changes);
    };
    assert_eq!(change.verdict, ChangeVerdict::Kept, "{change:?}");
    assert!(change.measured < Some(change.before), "{change:?}");
    for purpose in purposes(&adaptive).values() {
        assert!(
            matches!(purpose, Purpose::Leaning { .. }),
            "{purpose:?}, {:#?}",
            (&adaptive.findings, &adaptive.changes)
        );
    }
    // Most of a kind are on one instance, some stay where the others are.
    let browsing = |on: u32| {
        let places = places(&adaptive);
        let here = places.iter().filter(|(_, place)| place.1.0 == on);
        let (browsing, buying): (Vec<_>, Vec<_>) =
            here.partition(|(thread, _)| needs.threads[thread.index()].1 == 0);
        (browsing.len(), buying.len())
    };
    let mut both = [browsing(0), browsing(1)];
    both.sort_unstable();
    assert_eq!(both, [(2, 6), (6, 2)]);
    assert!(adaptive.iterations * 100 > fixed.iterations * 110);
    assert_nothing_found(&adaptive);
}

#[test]
fn where_it_does_not_help_the_threads_go_back_and_it_is_not_tried_again_at_once() {
    let needs = shoppers(2);
    let adaptive = run(2, Policy::Adaptive, &needs);
    let fixed = run(2, Policy::Static, &needs);
    let [change] = leanings(&adaptive)[..] else {
        panic!("{:?}", adaptive.changes);
    };
    assert_eq!(change.verdict, ChangeVerdict::Undone, "{change:?}");
    let places = places(&adaptive);
    assert!(places.values().all(|(first, last)| first == last));
    assert!(adaptive.handed_over >= 4, "{}", adaptive.handed_over);
    for purpose in purposes(&adaptive).values() {
        assert_eq!(*purpose, Purpose::General);
    }
    let undo = ServiceReason::Undo {
        change: change.number,
    };
    let decisions = adaptive
        .steps
        .iter()
        .flat_map(|(_, _, step)| &step.decisions);
    let undone: Vec<_> = decisions.filter(|one| one.reason == undo).collect();
    assert!(undone.len() >= 4, "{undone:?}");
    for decision in undone {
        let json = serde_json::to_string(decision).expect("a decision as JSON");
        let read = serde_json::from_str::<ServiceDecision>(&json);
        assert_eq!(read.ok().as_ref(), Some(decision), "{json}");
    }
    assert!(adaptive.iterations * 100 >= fixed.iterations * 99);
    assert_nothing_found(&adaptive);
}

#[test]
fn where_visitors_are_unknown_elsewhere_it_is_undone_however_fast_it_is() {
    let mut needs = shoppers(2);
    needs.crowding = 4.0;
    needs.strangers = true;
    let adaptive = run(2, Policy::Adaptive, &needs);
    let all = leanings(&adaptive);
    let change = all.first().expect("a change");
    assert_eq!(change.verdict, ChangeVerdict::Undone, "{change:?}");
    assert!(change.measured < Some(change.before), "{change:?}");
}

#[test]
fn of_more_instances_one_pair_leans_at_a_time_and_the_others_are_compared_with() {
    let mut needs = shoppers(4);
    needs.crowding = 4.0;
    needs.duration_us = 90_000_000;
    let adaptive = run(4, Policy::Adaptive, &needs);
    let changes = leanings(&adaptive);
    let kept = |change: &&&Change| change.verdict == ChangeVerdict::Kept;
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(
        changes.iter().filter(kept).count(),
        2,
        "{:#?}",
        adaptive.changes
    );
    let areas: Vec<String> = purposes(&adaptive)
        .values()
        .map(|purpose| format!("{purpose:?}"))
        .collect();
    assert_eq!(areas.len(), 4, "{areas:?}");
    let first = &areas[0];
    assert_eq!(
        areas.iter().filter(|area| *area == first).count(),
        2,
        "{areas:?} {:#?}",
        (&adaptive.findings, &adaptive.changes)
    );
    assert_nothing_found(&adaptive);
}

#[test]
fn threads_of_one_kind_stay_where_they_are() {
    let mut needs = shoppers(2);
    needs.crowding = 4.0;
    for thread in &mut needs.threads {
        thread.1 = 0;
    }
    let adaptive = run(2, Policy::Adaptive, &needs);
    assert!(leanings(&adaptive).is_empty(), "{:?}", adaptive.changes);
}

fn assert_nothing_found(outcome: &ServiceOutcome) {
    let faults: Vec<&ServiceFinding> = outcome
        .findings
        .values()
        .filter(|finding| finding.kind.is_fault())
        .collect();
    assert!(faults.is_empty(), "{faults:?}");
}
