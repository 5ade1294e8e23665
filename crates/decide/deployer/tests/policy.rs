//! Which helper is sent where, when it is taken away, and what never happens.

use std::collections::{BTreeMap, BTreeSet};

use cohort_deployer::{Cost, Deployer, Order};
use cohort_model::{
    At, HelperEnding as Ending, HelperOffer as Offer, HelperPlan, HelperWithdrawal as Withdrawal,
    InstanceId, ServiceFinding, ServiceFindingKind as Kind,
};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000;
const REST: u64 = 60 * SECOND;

fn offer(name: &str, detects: &[Kind], cores: f64) -> Offer {
    Offer {
        name: name.to_owned(),
        detects: detects.to_vec(),
        cores,
        looks_us: 10 * SECOND,
        slowdown_max: 1.1,
        compares: false,
        alongside: Vec::new(),
    }
}

fn deployer(offers: Vec<Offer>, cores: f64) -> Deployer {
    Deployer::new(HelperPlan {
        offers,
        cores,
        rest_us: REST,
    })
}

fn usual() -> Deployer {
    let profiler = Offer {
        compares: true,
        ..offer("profiler", &[Kind::CpuBlowUp, Kind::SlowEndpoint], 0.05)
    };
    let leaks = offer("leaks", &[Kind::MemoryLeak], 0.1);
    let debugger = offer("debugger", &[Kind::Hang, Kind::SlowEndpoint], 0.05);
    deployer(vec![profiler, leaks, debugger], 0.2)
}

fn finding(number: u32, kind: Kind, instances: &[u32]) -> ServiceFinding {
    ServiceFinding {
        number,
        kind,
        instances: instances.iter().copied().map(InstanceId).collect(),
        endpoint: None,
        at: At(0),
        since: At(0),
        ended: false,
        withdrawn: false,
        confidence: 0.9,
        sentence: String::new(),
        evidence: Vec::new(),
        excerpts: Vec::new(),
        told: Vec::new(),
        artifacts: Vec::new(),
    }
}

fn failed() -> Ending {
    let why = "it crashed".to_owned();
    Ending::Failed { why }
}

fn up(instances: &[u32]) -> BTreeSet<InstanceId> {
    instances.iter().copied().map(InstanceId).collect()
}

fn deployed(orders: &[Order]) -> Vec<(&str, u32)> {
    let named = orders.iter().filter_map(|order| match order {
        Order::Deploy {
            helper, instance, ..
        } => Some((helper.as_str(), instance.0)),
        Order::Withdraw { .. } => None,
    });
    named.collect()
}

fn withdrawn(orders: &[Order]) -> Vec<Withdrawal> {
    let why = orders.iter().filter_map(|order| match order {
        Order::Withdraw { why, .. } => Some(*why),
        Order::Deploy { .. } => None,
    });
    why.collect()
}

#[test]
fn nothing_is_deployed_without_a_reason() {
    assert_eq!(usual().step(At(0), &up(&[0, 1])), []);
}

#[test]
fn a_suspicion_brings_the_first_helper_that_knows_about_it() {
    let mut deployer = usual();
    deployer.found(&finding(1, Kind::SlowEndpoint, &[1]));
    let orders = deployer.step(At(0), &up(&[0, 1]));
    assert_eq!(deployed(&orders), [("profiler", 1)]);
    assert_eq!(
        deployer.step(At(SECOND), &up(&[0, 1])),
        [],
        "it is there already"
    );
}

#[test]
fn when_it_is_done_the_next_that_knows_about_it_comes_and_then_none() {
    let mut deployer = usual();
    deployer.found(&finding(1, Kind::SlowEndpoint, &[1]));
    deployer.step(At(0), &up(&[1]));
    deployer.ended(At(SECOND), 0, &Ending::Done);
    let orders = deployer.step(At(SECOND), &up(&[1]));
    assert_eq!(deployed(&orders), [("debugger", 1)]);
    deployer.ended(At(2 * SECOND), 1, &Ending::Done);
    assert_eq!(deployer.step(At(2 * SECOND), &up(&[1])), []);
    assert_eq!(
        deployer.step(At(10 * REST), &up(&[1])),
        [],
        "each has answered"
    );
}

#[test]
fn one_that_compares_looks_at_an_instance_that_is_well_too_where_there_is_one() {
    let reference = |suspected: &[&[u32]], up_now: &[u32], cores: f64| {
        let profiler = Offer {
            compares: true,
            ..offer("profiler", &[Kind::SlowEndpoint], 0.05)
        };
        let mut deployer = deployer(vec![profiler], cores);
        for (number, instances) in (1..).zip(suspected) {
            let kind = if number == 1 {
                Kind::SlowEndpoint
            } else {
                Kind::Errors
            };
            deployer.found(&finding(number, kind, instances));
        }
        match deployer.step(At(0), &up(up_now)).as_slice() {
            [Order::Deploy { reference, .. }] => reference.map(|it| it.0),
            orders => panic!("{orders:?}"),
        }
    };
    assert_eq!(reference(&[&[1]], &[0, 1, 2], 0.2), Some(0));
    assert_eq!(
        reference(&[&[1], &[0]], &[0, 1, 2], 0.2),
        Some(2),
        "0 is not well"
    );
    assert_eq!(reference(&[&[1]], &[1], 0.2), None, "nobody else is there");
    assert_eq!(reference(&[&[0, 1]], &[0, 1], 0.2), None, "nobody is well");
    assert_eq!(
        reference(&[&[1]], &[0, 1], 0.07),
        None,
        "both cost too much"
    );
}

#[test]
fn what_comes_again_is_looked_at_again_after_a_rest() {
    let mut deployer = usual();
    deployer.found(&finding(1, Kind::MemoryLeak, &[1]));
    deployer.step(At(0), &up(&[1]));
    deployer.ended(At(SECOND), 0, &Ending::Done);
    let over = ServiceFinding {
        ended: true,
        ..finding(1, Kind::MemoryLeak, &[1])
    };
    deployer.found(&over);
    deployer.found(&finding(1, Kind::MemoryLeak, &[1]));
    assert_eq!(deployer.step(At(2 * SECOND), &up(&[1])), [], "it rests");
    let orders = deployer.step(At(SECOND + REST), &up(&[1]));
    assert_eq!(deployed(&orders), [("leaks", 1)]);
}

#[test]
fn it_goes_with_its_reason_and_with_its_instance() {
    let mut deployer = usual();
    deployer.found(&finding(1, Kind::CpuBlowUp, &[0]));
    deployer.step(At(0), &up(&[0]));
    let none = ServiceFinding {
        withdrawn: true,
        ..finding(1, Kind::CpuBlowUp, &[0])
    };
    deployer.found(&none);
    assert_eq!(
        withdrawn(&deployer.step(At(SECOND), &up(&[0]))),
        [Withdrawal::ReasonGone]
    );

    deployer.found(&finding(2, Kind::Hang, &[0]));
    deployer.step(At(2 * SECOND), &up(&[0]));
    assert_eq!(
        withdrawn(&deployer.step(At(3 * SECOND), &up(&[]))),
        [Withdrawal::InstanceGone]
    );
    assert_eq!(deployer.running().count(), 0);
}

#[test]
fn one_that_never_ends_is_withdrawn() {
    let mut deployer = usual();
    deployer.found(&finding(1, Kind::Hang, &[0]));
    deployer.step(At(0), &up(&[0]));
    let orders = deployer.step(At(41 * SECOND), &up(&[0]));
    assert_eq!(withdrawn(&orders), [Withdrawal::Overdue]);
}

#[test]
fn one_that_costs_more_than_it_may_is_withdrawn_and_does_not_come_back() {
    let mut deployer = usual();
    deployer.found(&finding(1, Kind::MemoryLeak, &[0]));
    deployer.step(At(0), &up(&[0]));
    let cost = |cores, slowdown| Cost { cores, slowdown };
    for _ in 0..2 {
        deployer.cost(0, cost(0.3, None));
    }
    assert_eq!(
        deployer.step(At(SECOND), &up(&[0])),
        [],
        "twice may be the host"
    );
    deployer.cost(0, cost(0.3, None));
    let costly = Withdrawal::Costly {
        cores: 0.3,
        expected: 0.1,
    };
    assert_eq!(
        withdrawn(&deployer.step(At(2 * SECOND), &up(&[0]))),
        [costly]
    );
    assert_eq!(deployer.step(At(99 * REST), &up(&[0])), []);
}

#[test]
fn one_that_slows_its_instance_down_is_withdrawn_from_it_but_may_help_another() {
    let mut deployer = usual();
    deployer.found(&finding(1, Kind::MemoryLeak, &[0, 1]));
    deployer.step(At(0), &up(&[0, 1]));
    for slowdown in [Some(1.3), None, Some(1.2), Some(1.4)] {
        deployer.cost(
            0,
            Cost {
                cores: 0.1,
                slowdown,
            },
        );
    }
    let orders = deployer.step(At(SECOND), &up(&[0, 1]));
    assert_eq!(
        withdrawn(&orders),
        [Withdrawal::Harmful {
            slowdown: 1.4,
            bound: 1.1
        }]
    );
    assert_eq!(deployed(&orders), [("leaks", 1)]);
}

#[test]
fn one_that_fails_rests_longer_each_time_and_is_given_up() {
    let mut deployer = usual();
    deployer.found(&finding(1, Kind::MemoryLeak, &[0]));
    let mut tried_at = Vec::new();
    for second in 0..1000 {
        let at = At(second * SECOND);
        for order in deployer.step(at, &up(&[0])) {
            if let Order::Deploy { deployment, .. } = order {
                tried_at.push(second);
                deployer.ended(at, deployment, &failed());
            }
        }
    }
    assert_eq!(tried_at, [0, 60, 180]);
}

#[test]
fn two_meet_only_where_both_are_said_to_get_along() {
    let both = |alongside: [&[&str]; 2]| {
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        let mut leaks = offer("leaks", &[Kind::MemoryLeak], 0.05);
        leaks.alongside = names(alongside[0]);
        let mut profiler = offer("profiler", &[Kind::CpuBlowUp], 0.05);
        profiler.alongside = names(alongside[1]);
        let mut deployer = deployer(vec![leaks, profiler], 1.0);
        deployer.found(&finding(1, Kind::MemoryLeak, &[0]));
        deployer.found(&finding(2, Kind::CpuBlowUp, &[0]));
        deployer.step(At(0), &up(&[0])).len()
    };
    assert_eq!(both([&[], &[]]), 1);
    assert_eq!(both([&["profiler"], &[]]), 1);
    assert_eq!(both([&["profiler"], &["leaks"]]), 2);
}

#[test]
fn what_cannot_be_seen_later_comes_first_when_not_all_can_be_had() {
    let mut deployer = usual();
    deployer.found(&finding(1, Kind::MemoryLeak, &[0]));
    deployer.found(&finding(2, Kind::SlowEndpoint, &[1]));
    deployer.found(&finding(3, Kind::Hang, &[2]));
    let orders = deployer.step(At(0), &up(&[0, 1, 2]));
    assert_eq!(
        deployed(&orders),
        [("debugger", 2), ("leaks", 0), ("profiler", 1)]
    );
}

#[test]
fn without_a_budget_there_are_none() {
    let mut deployer = deployer(vec![offer("profiler", &[Kind::CpuBlowUp], 0.05)], 0.0);
    deployer.found(&finding(1, Kind::CpuBlowUp, &[0]));
    assert_eq!(deployer.step(At(0), &up(&[0])), []);
}

#[derive(Clone, Debug)]
enum Happens {
    Found(u32, usize, Vec<u32>),
    Over(u32),
    Cost(u32, f64, Option<f64>),
    Ended(u32, bool),
    Down(u32),
    Up(u32),
    Passes(u64),
}

const KINDS: [Kind; 4] = [
    Kind::MemoryLeak,
    Kind::SlowEndpoint,
    Kind::Hang,
    Kind::CpuBlowUp,
];

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        (
            0..6u32,
            0..KINDS.len(),
            prop::collection::vec(0..4u32, 1..3)
        )
            .prop_map(|(number, kind, on)| Happens::Found(number, kind, on)),
        (0..6u32).prop_map(Happens::Over),
        (0..20u32, 0.0..0.5, prop::option::of(0.9..1.4))
            .prop_map(|(number, cores, slowdown)| Happens::Cost(number, cores, slowdown)),
        (0..20u32, any::<bool>()).prop_map(|(number, done)| Happens::Ended(number, done)),
        (0..4u32).prop_map(Happens::Down),
        (0..4u32).prop_map(Happens::Up),
        (0..100 * SECOND).prop_map(Happens::Passes),
    ]
}

proptest! {
    #[test]
    fn the_promises_hold_whatever_happens(all in prop::collection::vec(happens(), 1..80)) {
        let mut deployer = usual();
        let expected = BTreeMap::from([("profiler", 0.05), ("leaks", 0.1), ("debugger", 0.05)]);
        let (mut at, mut alive) = (0, up(&[0, 1, 2, 3]));
        let mut running: BTreeMap<u32, (String, InstanceId)> = BTreeMap::new();
        let mut beside: BTreeMap<u32, InstanceId> = BTreeMap::new();
        let mut ever = 0;
        for it in all {
            match it {
                Happens::Found(number, kind, on) => deployer.found(&finding(number, KINDS[kind], &on)),
                Happens::Over(number) => deployer.found(&ServiceFinding {
                    ended: true,
                    ..finding(number, Kind::Hang, &[0])
                }),
                Happens::Cost(number, cores, slowdown) => {
                    deployer.cost(number, Cost { cores, slowdown });
                }
                Happens::Ended(number, done) => {
                    running.remove(&number);
                    deployer.ended(At(at), number, &if done { Ending::Done } else { failed() });
                }
                Happens::Down(instance) => {
                    alive.remove(&InstanceId(instance));
                }
                Happens::Up(instance) => {
                    alive.insert(InstanceId(instance));
                }
                Happens::Passes(us) => at += us,
            }
            for order in deployer.step(At(at), &alive) {
                match order {
                    Order::Deploy { deployment, helper, instance, reference, .. } => {
                        prop_assert_eq!(deployment, ever, "numbers are used once");
                        ever += 1;
                        prop_assert!(alive.contains(&instance));
                        beside.retain(|number, _| running.contains_key(number));
                        let looked_at: BTreeSet<InstanceId> =
                            running.values().map(|(_, on)| *on).chain(beside.values().copied()).collect();
                        let here = [instance].into_iter().chain(reference);
                        prop_assert!(here.clone().all(|it| !looked_at.contains(&it) && alive.contains(&it)));
                        prop_assert!(reference != Some(instance));
                        running.insert(deployment, (helper, instance));
                        beside.extend(reference.map(|it| (deployment, it)));
                        let both = |number| if beside.contains_key(number) { 2.0 } else { 1.0 };
                        let used = running.iter().map(|(number, (name, _))| expected[name.as_str()] * both(number));
                        let used: f64 = used.sum();
                        prop_assert!(used <= 0.2 + 1e-9);
                    }
                    Order::Withdraw { deployment, .. } => {
                        prop_assert!(running.remove(&deployment).is_some());
                    }
                }
            }
            prop_assert!(running.values().all(|(_, on)| alive.contains(on)));
            prop_assert!(deployer.running().eq(running.keys().copied()));
        }
        for number in 0..6 {
            deployer.found(&ServiceFinding { ended: true, ..finding(number, Kind::Hang, &[0]) });
        }
        deployer.step(At(at), &alive);
        prop_assert_eq!(deployer.running().count(), 0);
    }
}
