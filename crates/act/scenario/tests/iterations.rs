//! Iterations: how long they last at least, what their checks do with exceptions, what they draw.

mod support;

use cohort_scenario::{Answer, Birth, Call, Machine, Note, Position, Reply};
use support::{World, logs, ok, run, script};

#[test]
fn an_iteration_that_was_too_short_is_followed_by_a_sleep() {
    let source = "import { sleep } from 'k6'; export const options = { minIterationDuration: '2s' };
        export default function () { sleep(__ITER === 1 ? 5 : 0.5); if (__ITER === 2) throw new Error('on purpose'); }";
    let mut world = World::new(|_| ok(""));
    let script = script(source);
    let mut machine = Machine::new(&script, Birth::default()).unwrap();
    assert_eq!(world.run(&mut machine, 3), None);
    let took: Vec<u64> = world
        .notes
        .iter()
        .filter_map(|note| match note {
            Note::Iteration { duration_us, .. } => Some(duration_us / 100_000),
            _ => None,
        })
        .collect();
    assert_eq!(took, [5, 50, 5]);
    // What is left of two seconds, after the first and the third.
    let slept_ms = world.slept_us / 1_000;
    assert!((8_900..=9_000).contains(&slept_ms), "{slept_ms}");
    // An interrupt in it interrupts nothing, and the machine can be replayed to it.
    let mut world = World::new(|_| ok(""));
    let mut machine = Machine::new(&script, Birth::default()).unwrap();
    let is_rest = |call: Option<&Call>| matches!(call, Some(Call::Sleep { us }) if *us > 1_000_000);
    while !is_rest(machine.waits_for()) {
        let answer = world.answer(machine.waits_for()).unwrap();
        world.notes.extend(machine.resume(answer).notes);
    }
    let reason = "the scenario has ended".to_owned();
    let step = machine.resume(Answer::new(world.now_us, Reply::Interrupt { reason }));
    assert_eq!((step.call, step.notes), (Call::Iterate, vec![]));
    let tail = machine.journal().rest(Position::default());
    let mut again = Machine::new(&script, Birth::default()).unwrap();
    again.replay_more(&tail).unwrap();
    again.finish_replay().unwrap();
    assert_eq!(again.waits_for(), Some(&Call::Iterate));
}

#[test]
fn a_condition_that_throws_is_a_failed_check_and_the_exception_goes_on() {
    let source = "import { check } from 'k6'; export default function () { check({}, { 'has some': (r) => r.list.length > 0 }); }";
    let world = run(source, 1, |_| ok(""));
    assert_eq!(world.checks(), [("has some".to_owned(), false)]);
    let failure = &world.failures()[0];
    assert!(
        failure
            .starts_with("TypeError: cannot read property 'length' of undefined at script.js:1:"),
        "{failure}"
    );
}

#[test]
fn crypto_draws_from_the_machine() {
    let source = "export default function () {
        const uuid = crypto.randomUUID(), drawn = crypto.getRandomValues(new Uint32Array(4));
        console.log(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(uuid), new Set(drawn).size); }";
    assert_eq!(logs(source), ["true 4"]);
}
