//! Scripts that do not behave are bounded, and leave the next iteration and the process as they should be.

mod support;

use std::time::Instant;

use cohort_scenario::{
    Answer, Birth, Call, Ended, FailureKind, Journal, Machine, Note, Position, Reply,
};
use support::{World, ok, run, script};

fn kinds(world: &World<'_>) -> Vec<Option<FailureKind>> {
    let kind = |note: &Note| match note {
        Note::Iteration { failure, .. } => Some(failure.as_ref().map(|failure| failure.kind)),
        _ => None,
    };
    world.notes.iter().filter_map(kind).collect()
}

#[test]
fn memory_is_limited_and_comes_back() {
    let source = "export default function () { if (__ITER === 0) { const a = []; while (true) a.push(new Array(1000).fill('x' + a.length)); } }";
    let world = run(source, 2, |_| ok(""));
    assert_eq!(kinds(&world), [Some(FailureKind::Memory), None]);
    assert!(
        world.failures()[0].contains("64 MiB"),
        "{:?}",
        world.failures()
    );

    let source = "import http from 'k6/http'; export default function () { const all = []; while (__ITER < 1) all.push(http.get('http://h/')); }";
    let body = "x".repeat(8 << 20);
    let world = run(source, 2, |_| ok(&body));
    assert_eq!(kinds(&world), [Some(FailureKind::Memory), None]);
    assert!(world.requests.len() < 10);
}

#[test]
fn recursion_is_limited() {
    let source = "export default function () { const f = (n) => 1 + f(n + 1); if (__ITER === 0) f(0); else JSON.stringify(nest(200)); }
        function nest(n) { return n ? [nest(n - 1)] : []; }";
    let world = run(source, 2, |_| ok(""));
    assert_eq!(
        kinds(&world),
        [Some(FailureKind::Stack), None],
        "{:?}",
        world.failures()
    );
}

#[test]
fn a_promise_that_never_settles_ends_the_iteration() {
    let source =
        "export default async function () { if (__ITER === 0) await new Promise(() => {}); }";
    let world = run(source, 2, |_| ok(""));
    assert_eq!(kinds(&world), [Some(FailureKind::NeverSettles), None]);
    let source = "export default async function () { await null; throw {odd: 1}; }";
    assert_eq!(run(source, 1, |_| ok("")).failures(), [r#"{"odd":1} at "#]);
}

/// Runs a machine until it pauses in an iteration that never ends. On a busy host it may pause anywhere before.
fn pause(world: &mut World<'_>, machine: &mut Machine) {
    for _ in 0..10_000 {
        if world.iterations > 0 && matches!(machine.waits_for(), Some(Call::Pause { .. })) {
            return;
        }
        let answer = world.answer(machine.waits_for()).unwrap();
        world.notes.extend(machine.resume(answer).notes);
    }
    panic!("it never pauses");
}

/// Lets a machine come to what it wants next but for pauses, of which a busy host makes more.
fn past_pauses(world: &mut World<'_>, machine: &mut Machine) {
    while matches!(machine.waits_for(), Some(Call::Pause { .. })) {
        let answer = Answer::new(world.now_us, Reply::Resume);
        world.notes.extend(machine.resume(answer).notes);
    }
}

fn interrupt(world: &mut World<'_>, machine: &mut Machine) {
    let reply = Reply::Interrupt {
        reason: "computes too long".into(),
    };
    world
        .notes
        .extend(machine.resume(Answer::new(world.now_us, reply)).notes);
}

const ENDLESS: &str = "let n = 0, after = []; export default function () {
    if (__ITER % 2 === 0) { try { while (true) n++; } catch (e) { console.log('caught'); } finally { console.log('finally'); } }
    console.log(n, after.push(n)); }";

#[test]
fn an_endless_loop_gives_way_and_can_be_interrupted() {
    let script = script(ENDLESS);
    let began = Instant::now();
    let (mut world, mut machine) = (
        World::new(|_| ok("")),
        Machine::new(&script, Birth::default()).unwrap(),
    );
    pause(&mut world, &mut machine);
    let mut computed = 0;
    while computed < 20_000 {
        let step = machine.resume(Answer::new(world.now_us, Reply::Resume));
        let Call::Pause { computed_us } = step.call else {
            panic!("{:?}", step.call)
        };
        assert!(computed_us >= computed);
        computed = computed_us;
    }
    assert!(
        began.elapsed().as_micros() >= u128::from(computed),
        "it says it has computed longer than it has"
    );
    interrupt(&mut world, &mut machine);
    past_pauses(&mut world, &mut machine);
    assert_eq!(machine.waits_for(), Some(&Call::Iterate));
    world.run(&mut machine, 2);
    assert_eq!(kinds(&world), [Some(FailureKind::Interrupted), None]);
    assert_eq!(world.logs().len(), 1);
}

#[test]
fn an_interrupted_loop_is_replayed_to_the_very_step() {
    let script = script(ENDLESS);
    let (mut world, mut machine) = (
        World::new(|_| ok("")),
        Machine::new(&script, Birth::default()).unwrap(),
    );
    let mut records = Vec::new();
    for round in 1..=3 {
        pause(&mut world, &mut machine);
        interrupt(&mut world, &mut machine);
        world.run(&mut machine, round * 2);
    }
    let tail = machine.journal().rest(Position::default());
    let mut again = Machine::replay(
        &script,
        Birth::default(),
        &Journal::from_tails([&tail]).unwrap(),
    )
    .unwrap();
    again.finish_replay().unwrap();
    past_pauses(&mut World::new(|_| ok("")), &mut again);
    assert_eq!(again.waits_for(), Some(&Call::Iterate));
    let mut next = |machine: &mut Machine| {
        let mut world = World::new(|_| ok(""));
        world.iterations = 7;
        world.run(machine, 8);
        records.push(world.logs());
    };
    next(&mut machine);
    next(&mut again);
    assert_eq!(records[0], records[1]);
}

#[test]
fn a_machine_ends_at_any_call_and_is_dropped_at_any_call() {
    let source = "import http from 'k6/http'; import {sleep} from 'k6';
        export default async function () {
          for (;;) { try { http.get('http://h/'); sleep(1); Date.now(); await http.asyncRequest('GET', 'http://h/');
            await new Promise((done) => setTimeout(done, 10)); } catch (e) { console.log('caught') } finally { http.get('http://never/'); } } }";
    let script = script(source);
    for steps in 0..12 {
        for terminate in [true, false] {
            let (mut world, mut machine) = (
                World::new(|_| ok("")),
                Machine::new(&script, Birth::default()).unwrap(),
            );
            for _ in 0..steps {
                let answer = world.answer(machine.waits_for()).unwrap();
                machine.resume(answer);
            }
            if terminate {
                let step = machine.resume(Answer::new(world.now_us, Reply::Terminate));
                assert_eq!(
                    (step.call, step.notes),
                    (Call::Ended(Ended::Terminated), vec![]),
                    "after {steps}"
                );
            }
            drop(machine);
        }
    }
    let endless = support::script(
        "export default function () { for (;;) { try { for (;;); } catch (e) {} } }",
    );
    let (mut world, mut machine) = (
        World::new(|_| ok("")),
        Machine::new(&endless, Birth::default()).unwrap(),
    );
    pause(&mut world, &mut machine);
    drop(machine);
}

#[test]
#[should_panic(expected = "a machine that waits for 'sleep' was answered 'now'")]
fn a_reply_that_does_not_fit_is_a_mistake_of_the_caller() {
    let source = "import {sleep} from 'k6'; export default function () { sleep(1); }";
    let (mut world, mut machine) = (
        World::new(|_| ok("")),
        Machine::new(&script(source), Birth::default()).unwrap(),
    );
    while !matches!(machine.waits_for(), Some(Call::Sleep { .. })) {
        let answer = world.answer(machine.waits_for()).unwrap();
        machine.resume(answer);
    }
    machine.resume(Answer::new(0, Reply::Now));
}
