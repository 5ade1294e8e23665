//! Tests of which thread goes where.

use super::*;
use proptest::prelude::*;

fn instance(id: u32, load: f64) -> Instance {
    Instance {
        id: InstanceId(id),
        is_up: true,
        load,
        area: Vec::new(),
        slowness: Vec::new(),
        wanted_for: None,
    }
}

fn thread(id: u32, instance: u32) -> Thread {
    Thread {
        id: ThreadId(id),
        instance: InstanceId(instance),
        shares: vec![Share {
            endpoint: id % 3,
            part: 1.0,
        }],
        journal_bytes: 100,
        stayed_us: 60_000_000,
        is_moving: false,
    }
}

fn moves(instances: &[Instance], threads: &[Thread]) -> Vec<(u32, u32, Reason)> {
    let chosen = Pick::new(Limits::default()).pick(0, instances, threads);
    let short = |one: &Chosen| (one.thread.0, one.to.0, one.reason);
    chosen.iter().map(short).collect()
}

#[test]
fn even_loads_stay_and_uneven_ones_even_out() {
    let threads: Vec<Thread> = (0..8).map(|id| thread(id, 0)).collect();
    assert_eq!(moves(&[instance(0, 0.5), instance(1, 0.4)], &threads), []);
    let moved = moves(&[instance(0, 0.8), instance(1, 0.0)], &threads);
    assert!(
        moved
            .iter()
            .all(|(_, to, why)| *to == 1 && *why == Reason::Balance)
    );
    // Each takes 0.1 along; from a difference below 0.25 on it is not worth it.
    assert_eq!(moved.len(), 3);
}

#[test]
fn all_leave_what_is_down_at_once_however_short_they_stayed() {
    let mut down = instance(0, 0.9);
    down.is_up = false;
    let mut threads: Vec<Thread> = (0..50).map(|id| thread(id, 0)).collect();
    threads.iter_mut().for_each(|thread| thread.stayed_us = 0);
    let instances = [down, instance(1, 0.1), instance(2, 0.1)];
    let moved = moves(&instances, &threads);
    assert_eq!(moved.len(), 50);
    let to_one = moved.iter().filter(|(_, to, _)| *to == 1).count();
    assert_eq!(to_one, 25);
    assert_eq!(moves(&instances[..1], &threads), []);
}

#[test]
fn threads_of_an_area_gather_where_it_is_kept_and_others_leave() {
    let mut kept = instance(1, 0.3);
    kept.area = vec![0];
    let threads = [thread(0, 0), thread(1, 1), thread(2, 0), thread(3, 1)];
    assert_eq!(
        moves(&[instance(0, 0.3), kept], &threads),
        [(0, 1, Reason::KeptForArea), (1, 0, Reason::KeptForArea)]
    );
}

#[test]
fn who_waits_longer_than_on_peers_leaves() {
    let mut slow = instance(0, 0.3);
    slow.slowness = vec![(1, 4.0)];
    let threads = [thread(0, 0), thread(1, 0)];
    assert_eq!(
        moves(&[slow, instance(1, 0.3)], &threads),
        [(1, 1, Reason::SlowAgainstPeers)]
    );
}

#[test]
fn what_is_set_aside_gets_its_threads_and_loses_the_others() {
    let mut wanted = instance(1, 0.3);
    wanted.wanted_for = Some(vec![ThreadId(0)]);
    let threads = [thread(0, 0), thread(1, 1), thread(2, 0)];
    assert_eq!(
        moves(&[instance(0, 0.3), wanted], &threads),
        [
            (0, 1, Reason::WantedForReproduction),
            (1, 0, Reason::WantedForReproduction)
        ]
    );
}

#[test]
fn a_stranger_goes_to_a_kept_instance_only_when_there_is_no_other() {
    let mut kept = instance(0, 0.0);
    kept.area = vec![7];
    let pick = Pick::new(Limits::default());
    let home = |instances: &[Instance]| pick.home(ThreadId(0), &[], instances);
    assert_eq!(home(&[kept.clone(), instance(1, 0.9)]), Some(InstanceId(1)));
    assert_eq!(home(&[kept]), Some(InstanceId(0)));
    assert_eq!(home(&[]), None);
}

fn any_instance(id: u32) -> impl Strategy<Value = Instance> {
    let wanted = proptest::option::weighted(0.2, proptest::collection::vec(0u32..12, 0..3));
    (
        any::<bool>(),
        0.0..1.5,
        proptest::collection::vec(0u32..3, 0..2),
        0.5..5.0,
        wanted,
    )
        .prop_map(move |(is_up, load, area, slow, wanted)| Instance {
            id: InstanceId(id),
            is_up,
            load,
            area,
            slowness: vec![(id % 3, slow)],
            wanted_for: wanted.map(|ids| ids.into_iter().map(ThreadId).collect()),
        })
}

proptest! {
    #[test]
    fn limits_hold_over_time(
        instances in (any_instance(0), any_instance(1), any_instance(2)),
        places in proptest::collection::vec((0u32..3, 0u64..9_000_000, any::<bool>()), 12),
    ) {
        let instances = [instances.0, instances.1, instances.2];
        let mut threads: Vec<Thread> = (0..12).map(|id| thread(id, 0)).collect();
        for (thread, (place, stayed, moving)) in threads.iter_mut().zip(places) {
            (thread.instance, thread.stayed_us, thread.is_moving) = (InstanceId(place), stayed, moving);
        }
        let limits = Limits { moves_per_s: 2.0, ..Limits::default() };
        let mut pick = Pick::new(limits);
        let mut twin = pick.clone();
        let mut chosen = 0;
        for second in 0..10u64 {
            let now = pick.pick(second * 1_000_000, &instances, &threads);
            prop_assert_eq!(&now, &twin.pick(second * 1_000_000, &instances, &threads));
            for one in &now {
                let thread = &mut threads[one.thread.index()];
                let to = &instances[one.to.index()];
                prop_assert!(to.is_up && one.to != one.from && thread.instance == one.from && !thread.is_moving);
                prop_assert!(to.wanted_for.as_ref().is_none_or(|wanted| wanted.contains(&one.thread)));
                if one.reason != Reason::Restarting {
                    prop_assert!(thread.stayed_us >= limits.stay_us_min);
                    chosen += 1;
                } else {
                    prop_assert!(!instances[one.from.index()].is_up);
                }
                thread.instance = one.to;
                thread.stayed_us = 0;
            }
            prop_assert!(chosen <= 2 + 2 * second);
            threads.iter_mut().for_each(|thread| thread.stayed_us += 1_000_000);
        }
    }
}
