//! Pairs that are, and are not, of one bug.

use cohort_model::{Frame, Symptom, SymptomKind};
use proptest::prelude::*;

use super::*;

fn frame(text: &str) -> Frame {
    // `function@file:line`, a star before what is not the program's own
    let own = !text.starts_with('*');
    let text = text.trim_start_matches('*');
    let (function, place) = text.split_once('@').unwrap_or((text, ""));
    let (file, line) = place.rsplit_once(':').unwrap_or((place, "0"));
    Frame {
        function: function.to_owned(),
        file: file.to_owned(),
        line: line.parse().unwrap(),
        own,
    }
}

fn symptom(kind: SymptomKind, class: &str, message: &str, frames: &[&str]) -> Symptom {
    Symptom {
        kind,
        class: class.to_owned(),
        message: message.to_owned(),
        frames: frames.iter().map(|text| frame(text)).collect(),
    }
}

fn panic(message: &str, frames: &[&str]) -> Symptom {
    let kind = if message.starts_with("assertion") {
        SymptomKind::Assertion
    } else {
        SymptomKind::Exception
    };
    symptom(kind, "rust panic", message, frames)
}

fn judge(one: &Symptom, other: &Symptom) -> bool {
    let answer = same(one, other);
    assert_eq!(answer, same(other, one), "not the same both ways round");
    assert!(same(one, one) && same(other, other));
    if Fingerprint::of(one) == Fingerprint::of(other) {
        assert!(
            answer,
            "equal fingerprints, different bugs: {one:?} {other:?}"
        );
    }
    answer
}

#[test]
fn what_varies_in_messages_is_taken_out() {
    for (message, expected) in [
        ("user 4711 not found", "user # not found"),
        ("connect 127.0.0.1:40123 refused", "connect # refused"),
        ("can't open /tmp/cohort-1-x/data.db", "can't open data.db"),
        (
            "order 3f2b8c1e-1234-4a5b-9c8d-0123456789ab failed",
            "order # failed",
        ),
        (
            "<shop.Cart object at 0x7f1c2a3b4c5d> is empty",
            "<shop.Cart object at #> is empty",
        ),
        ("took 1.25s, more than 500ms", "took #, more than #"),
        (
            "2026-11-26T12:00:01.5 is not after 12:00:02",
            "# is not after #",
        ),
        ("[1, 2, 3] != [1, 2]", "[#] != [#]"),
        ("no key 'abc' in \"x\"", "no key '' in ''"),
        (
            "assertion `left == right` failed: sum left: 2 right: 3",
            "assertion `left == right` failed: sum",
        ),
        ("1e-9 off, NaN there", "# off, # there"),
        ("worker3 of pool12 died", "worker# of pool# died"),
        ("facade is no number", "facade is no number"),
    ] {
        assert_eq!(normalized(message), expected, "{message}");
    }
}

#[test]
fn names_are_steady() {
    for (name, expected) in [
        ("a::b::h0123456789abcdef", "a::b"),
        (
            "<app::Queue<T> as core::ops::Drop>::drop",
            "app::Queue::drop",
        ),
        (
            "app::run::{{closure}}::{closure#3}",
            "app::run::{{closure}}::{closure#}",
        ),
        ("app::map::<u32>::get", "app::map::get"),
        (
            "std::vector<int, std::allocator<int> >::at(unsigned long)",
            "std::vector::at",
        ),
        ("total(int const*, int) const", "total"),
        ("total.constprop.0", "total"),
        ("main.f.func12", "main.f.func"),
        ("lambda$load$7", "lambda$load$"),
        ("<module>", "<module>"),
        ("test_3", "test_3"),
    ] {
        assert_eq!(frame::steady(name), expected, "{name}");
    }
}

#[test]
fn asserts_are_known_by_their_line_and_not_by_their_values() {
    let one = panic(
        "assertion `left == right` failed left: 1 right: 2",
        &["@src/cart.rs:10"],
    );
    let values = panic(
        "assertion `left == right` failed left: 7 right: 2",
        &["@src/cart.rs:10"],
    );
    let line = panic(
        "assertion `left == right` failed left: 1 right: 2",
        &["@src/cart.rs:14"],
    );
    let elsewhere = panic(
        "assertion `left == right` failed left: 1 right: 2",
        &["@/tmp/tmpab12/src/cart.rs:10"],
    );
    assert!(judge(&one, &values));
    assert!(judge(&one, &elsewhere));
    // Told from where it runs.
    let relative = panic(
        "assertion `left == right` failed left: 1 right: 2",
        &["@cart.rs:10"],
    );
    assert!(judge(&one, &relative) && judge(&relative, &one));
    assert!(!judge(&one, &line));
    let traced = panic(
        &one.message,
        &[
            "*std::panicking@lib.rs:1",
            "cart::tests::adds::h0123456789abcdef@/home/x/src/cart.rs:10",
            "*test::run",
        ],
    );
    assert!(judge(&one, &traced), "with and without a backtrace");
}

#[test]
fn a_helper_fails_for_whom_it_was_called() {
    let fail = |line: u32| {
        symptom(
            SymptomKind::Assertion,
            "python AssertionError",
            "assert 500 == 200",
            &[
                "check@tests/conftest.py:5",
                &format!("test_a@tests/test_a.py:{line}"),
            ],
        )
    };
    assert!(judge(&fail(7), &fail(7)));
    assert!(!judge(&fail(7), &fail(9)));
    let code = |line: u32| {
        symptom(
            SymptomKind::Exception,
            "python QueueEmpty",
            "queue of 3 is empty",
            &[
                "pop@shop/queue.py:5",
                &format!("test_a@tests/test_a.py:{line}"),
            ],
        )
    };
    assert!(
        judge(&code(7), &code(9)),
        "the code under test is at fault, from wherever it was called"
    );
}

#[test]
fn a_place_that_anybody_reaches_is_told_apart_by_what_it_says() {
    let fail = |text: &str, caller: &str| panic(text, &["app::fail@src/lib.rs:3", caller]);
    assert!(!judge(
        &fail("queue is empty", "app::pop@src/queue.rs:9"),
        &fail("no such user", "app::find@src/users.rs:4")
    ));
    assert!(judge(
        &fail("user 7 is gone", "app::find@src/users.rs:4"),
        &fail("user 9 is gone", "app::load@src/users.rs:8")
    ));
    let bare = |text: &str| panic(text, &["@src/lib.rs:3"]);
    assert!(!judge(&bare("queue is empty"), &bare("no such user")));
    assert!(judge(
        &bare("called `Option::unwrap()` on a `None` value"),
        &bare("called `Option::unwrap()` on a `None` value")
    ));
}

#[test]
fn timeouts_are_one_unless_their_stacks_differ() {
    let stuck = |kind, class: &str, frames: &[&str]| symptom(kind, class, "", frames);
    let plain = stuck(SymptomKind::Timeout, "time limit", &[]);
    let stalled = stuck(SymptomKind::Hang, "stall", &[]);
    let lock = stuck(
        SymptomKind::Timeout,
        "python Timeout",
        &["take@shop/lock.py:5", "test_a@tests/test_a.py:3"],
    );
    let lock_later = stuck(
        SymptomKind::Timeout,
        "python Timeout",
        &["take@shop/lock.py:7", "test_a@tests/test_a.py:3"],
    );
    let read = stuck(
        SymptomKind::Timeout,
        "python Timeout",
        &["recv@shop/net.py:5", "fetch@shop/net.py:30"],
    );
    assert!(judge(&plain, &stalled));
    assert!(judge(&plain, &lock));
    assert!(judge(&lock, &lock_later));
    assert!(!judge(&lock, &read));
    let signal = symptom(SymptomKind::Signal, "SIGSEGV", "", &[]);
    assert!(!judge(&plain, &signal));
    assert!(!judge(
        &signal,
        &symptom(SymptomKind::Signal, "SIGABRT", "", &[])
    ));
    assert!(!judge(
        &symptom(SymptomKind::OutOfMemory, "memory limit", "", &[]),
        &plain
    ));
}

#[test]
fn crashes_are_known_by_their_stacks() {
    let crash = |frames: &[&str]| {
        symptom(
            SymptomKind::Sanitizer,
            "AddressSanitizer heap-use-after-free",
            "on address 0x60",
            frames,
        )
    };
    let below = [
        "d@a.c:40",
        "e@a.c:50",
        "run@h.c:1",
        "each@h.c:2",
        "all@h.c:3",
        "main@h.c:4",
    ];
    let with = |top: &[&'static str]| crash(&[top, &below[..]].concat());
    assert!(judge(&with(&["f@a.c:10"]), &with(&["f@a.c:10"])));
    assert!(
        judge(&with(&["f@a.c:10"]), &with(&["f@a.c:12"])),
        "two statements of one function"
    );
    assert!(
        !judge(&with(&["f@a.c:10"]), &with(&["g@b.c:20"])),
        "one loop calls both"
    );
    assert!(!judge(
        &crash(&["f@a.c:10", "x@b.c:1", "y@b.c:2"]),
        &crash(&["f@a.c:10", "p@c.c:1", "q@c.c:2"])
    ));
}

#[test]
fn similarity_is_as_published() {
    let stack =
        |frames: &[&str]| places(&symptom(SymptomKind::Signal, "SIGSEGV", "", frames), true);
    let weight = |position: f64| (-0.04 * position).exp();
    let three = weight(1.0) + weight(2.0) + weight(3.0);
    let one = stack(&["a@a.c:1", "b@a.c:2", "c@a.c:3"]);
    for (other, expected) in [
        (&["a@a.c:1", "b@a.c:2", "c@a.c:3"][..], 1.0),
        (
            &["x@a.c:9", "b@a.c:2", "c@a.c:3"][..],
            (weight(2.0) + weight(3.0)) / three,
        ),
        (
            &["a@a.c:1", "b@a.c:2", "x@a.c:9"][..],
            (weight(1.0) + weight(2.0)) / three,
        ),
        // One deeper: both weigh by the smaller position, and by the shift.
        (
            &["x@a.c:9", "a@a.c:1", "b@a.c:2", "c@a.c:3"][..],
            (-0.13_f64).exp(),
        ),
        (&["x@a.c:7", "y@a.c:8", "z@a.c:9"][..], 0.0),
        (&[][..], 0.0),
    ] {
        let found = similarity(&one, &stack(other));
        assert!(
            (found - expected).abs() < 1e-12,
            "{other:?}: {found}, not {expected}"
        );
    }
}

#[test]
fn recursion_counts_once() {
    let deep = |depth: usize| {
        let mut frames = vec!["f@a.py:9"];
        frames.extend(vec!["walk@a.py:5"; depth]);
        frames.push("main@a.py:1");
        symptom(SymptomKind::Signal, "SIGSEGV", "", &frames)
    };
    assert!(judge(&deep(3), &deep(30)));
}

#[test]
fn an_edited_file_shows_the_same_bug_on_another_line() {
    let old = panic(
        "index out of bounds: the len is 3 but the index is 5",
        &["app::get@src/a.rs:10"],
    );
    let new = panic(
        "index out of bounds: the len is 1 but the index is 7",
        &["app::get@src/a.rs:31"],
    );
    let other = panic("no such user", &["app::get@src/a.rs:31"]);
    assert!(!judge(&old, &new));
    assert!(same_though_edited(&old, &new));
    assert!(!same_though_edited(&old, &other));
}

#[test]
fn groups_do_not_grow_along_chains() {
    let mut groups = Groups::default();
    let crash = |frames: &[&str]| symptom(SymptomKind::Signal, "SIGSEGV", "", frames);
    let a = crash(&["f@a.c:1", "g@a.c:2", "h@a.c:3", "i@a.c:4", "main@a.c:5"]);
    let b = crash(&["f@a.c:1", "g@a.c:2", "h@a.c:3", "i@a.c:4", "main@a.c:6"]);
    let c = crash(&["f@a.c:1", "g@a.c:2", "h@a.c:3", "i@a.c:7", "main@a.c:6"]);
    assert_eq!([&a, &b, &a, &c].map(|one| groups.add(one)), [0, 0, 0, 1]);
    assert_eq!(groups.counts(), [3, 1]);
    assert_eq!(groups.fingerprint(0), Some(Fingerprint::of(&a)));
    assert_eq!(Fingerprint::of(&a).to_string().len(), 8);
}

proptest! {
    #[test]
    fn any_message_is_survived_and_settles(message in ".{0,80}") {
        let once = normalized(&message);
        prop_assert!(once.chars().count() <= 3 * message.chars().count() + 2);
    }

    #[test]
    fn numbers_never_matter(a in 0_u64..10_000_000, b in 0_u64..10_000_000, pre in "[a-z]{1,8}") {
        let text = |number: u64| format!("{pre} {number} of {number}.5 at 0x{number:x}f");
        prop_assert_eq!(normalized(&text(a)), normalized(&text(b)));
    }

    #[test]
    fn any_name_is_survived(name in "[a-z<>(){}:#$0-9 &~.*]{0,40}") {
        frame::steady(&name);
    }
}
