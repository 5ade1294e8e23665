//! Alone in its process, since it looks at the memory of the whole.

mod support;

use cohort_scenario::{Birth, Machine};
use support::{World, ok, script};

#[test]
fn nothing_of_a_machine_is_left_when_it_is_dropped() {
    let source = "import http from 'k6/http'; import {sleep} from 'k6'; import exec from 'k6/execution';
        const all = []; export default async function () { exec.vu.metrics.tags.a = 'b'; setTimeout(() => all, 1e6);
          all.push(http.get('http://h/'), all); const p = http.asyncRequest('GET', 'http://h/'); sleep(1); await p; }";
    let script = script(source);
    let live_and_die = |machines: u64| {
        for steps in 0..machines {
            let (mut world, mut machine) = (
                World::new(|_| ok("x")),
                Machine::new(&script, Birth::default()).unwrap(),
            );
            for _ in 0..2 + steps % 6 {
                let answer = world.answer(machine.waits_for()).unwrap();
                machine.resume(answer);
            }
        }
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
    };
    let before_kib = live_and_die(60);
    let after_kib = live_and_die(200);
    let grown_kib = after_kib.saturating_sub(before_kib);
    assert!(
        grown_kib < 10_000,
        "{grown_kib} KiB are left of 200 machines, of which each weighs over 200"
    );
}
