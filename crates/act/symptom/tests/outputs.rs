//! Outputs of failed tests, and what is read from them. Those of pytest, Node and gdb were written by the
//! programs themselves, with paths changed; the others follow what the programs are documented to write.

use std::path::Path;

use cohort_model::{KillReason, SuiteKind, Symptom, SymptomKind, Verdict};
use cohort_symptom::{Ended, read};
use proptest::prelude::*;

use SymptomKind::{
    Abort, Assertion, Exception, Failure, Hang, OutOfMemory, Sanitizer, Signal, Timeout,
};

fn sample(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outputs");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// What pytest reports of one test, as Cohort is given it: the part below its name.
fn report(style: &str, test: &str) -> String {
    let text = sample(&format!("pytest-{style}.txt"));
    let is_head = |line: &&str| line.starts_with("___") || line.starts_with("===");
    let lines = text
        .lines()
        .skip_while(|line| !(is_head(line) && line.contains(&format!(" {test} "))));
    let lines: Vec<&str> = lines.skip(1).take_while(|line| !is_head(line)).collect();
    assert!(!lines.is_empty(), "no {test} in {style}");
    lines.join("\n")
}

/// Kind, class, first line of the message, innermost own frame.
fn told(symptom: &Symptom) -> (SymptomKind, &str, &str, String) {
    let frame = symptom.frames.iter().find(|frame| frame.own);
    let message = symptom.message.lines().next().unwrap_or_default();
    (
        symptom.kind,
        &symptom.class,
        message,
        frame.map(cohort_model::Frame::shown).unwrap_or_default(),
    )
}

const PYTEST: [(&str, SymptomKind, &str, &str, &str); 9] = [
    (
        "test_plain",
        Assertion,
        "python AssertionError",
        "assert 3 == 4",
        "test_plain (tests/test_shop.py:20)",
    ),
    (
        "test_helper",
        Assertion,
        "python AssertionError",
        "wrong total",
        "check (tests/test_shop.py:11)",
    ),
    (
        "test_chained",
        Exception,
        "python ValueError",
        "order {'id': 7} has no price",
        "price (shop.py:14)",
    ),
    (
        "test_fixture",
        Exception,
        "python FileNotFoundError",
        "[Errno 2] No such file or directory: '/tmp/pytest-of-root/pytest-134/test_fixture0/db.json'",
        "load (shop.py:6)",
    ),
    (
        "test_fails",
        Assertion,
        "python Failed",
        "not ready",
        "test_fails (tests/test_shop.py:36)",
    ),
    (
        "test_raises",
        Assertion,
        "python Failed",
        "DID NOT RAISE ValueError",
        "test_raises (tests/test_shop.py:40)",
    ),
    (
        "test_stuck",
        Timeout,
        "python Timeout",
        "Timeout (>0.3s) from pytest-timeout.",
        "test_stuck (tests/test_shop.py:52)",
    ),
    (
        "test_async",
        Exception,
        "python RuntimeError",
        "in a coroutine",
        "inner (tests/test_shop.py:61)",
    ),
    (
        "test_no_such[1]",
        Failure,
        "pytest error",
        "fixture 'missing' not found",
        "",
    ),
];

#[test]
fn pytest_in_each_of_its_styles() {
    for (test, kind, class, message, frame) in PYTEST {
        for style in ["long", "short", "native"] {
            let report = report(style, test);
            let ended = Ended {
                suite: SuiteKind::Pytest,
                test,
                report: &report,
                // A test may write anything.
                stderr: b"Traceback (most recent call last):\n  File \"other.py\", line 3, in other\nOSError: no\n",
                stdout: b"cart.c:12: Failure\nERROR: AddressSanitizer\n",
                ..Ended::default()
            };
            let symptom = read(&ended).unwrap();
            let (a, b, c, mut d) = told(&symptom);
            // The other forms tell other numbers of the temporary directory, and absolute paths.
            let number = |text: &str| text.replace(|it: char| it.is_ascii_digit(), "");
            d = d.replace("/project/", "");
            assert_eq!(
                (a, b, number(c), d),
                (kind, class, number(message), frame.to_owned()),
                "{style} {test}: {symptom:#?}"
            );
        }
    }
    let report = report("short", "test_helper");
    let symptom = read(&Ended {
        suite: SuiteKind::Pytest,
        report: &report,
        ..Ended::default()
    })
    .unwrap();
    let stack: Vec<String> = symptom
        .frames
        .iter()
        .map(cohort_model::Frame::shown)
        .collect();
    assert_eq!(
        stack,
        [
            "check (tests/test_shop.py:11)",
            "test_helper (tests/test_shop.py:24)"
        ]
    );
}

#[test]
fn pytest_in_a_process_of_its_own_reads_as_its_report_does() {
    for (test, ..) in PYTEST {
        for style in ["long", "short"] {
            let report = report(style, test);
            let whole = format!(
                "F    [100%]\n=== FAILURES ===\n____ {test} ____\n\n{report}\n=== short test summary info ===\n\
                 FAILED tests/test_shop.py::{test} - it did\n1 failed in 0.02s\n"
            );
            let of = |stdout: &str, report: &str| {
                let ended = Ended {
                    suite: SuiteKind::Pytest,
                    test,
                    report,
                    stdout: stdout.as_bytes(),
                    exit_code: Some(1),
                    ..Ended::default()
                };
                read(&ended).unwrap()
            };
            assert_eq!(of(&whole, ""), of("", &report), "{style} {test}");
        }
    }
    for test in ["test_helper", "test_chained", "test_async"] {
        let read = |report: &str| {
            let ended = Ended {
                suite: SuiteKind::Pytest,
                report,
                ..Ended::default()
            };
            let symptom = read(&ended).unwrap();
            (symptom.class, symptom.frames)
        };
        let told = read(&report("locals", test));
        assert_eq!(told, read(&report("long", test)), "with local variables");
    }
}

#[test]
fn pytest_with_little_to_say() {
    let ended = |report, message| Ended {
        suite: SuiteKind::Pytest,
        report,
        message,
        ..Ended::default()
    };
    let symptom = read(&ended(
        "/project/tests/test_shop.py:20: assert 3 == 4",
        "assert 3 == 4",
    ))
    .unwrap();
    assert_eq!(
        told(&symptom),
        (
            Assertion,
            "python AssertionError",
            "assert 3 == 4",
            "/project/tests/test_shop.py:20".to_owned()
        )
    );
    let symptom = read(&ended("", "shop.errors.Empty: cart 7")).unwrap();
    assert_eq!(
        told(&symptom),
        (Exception, "python Empty", "cart 7", String::new())
    );
    let doctest = sample("pytest-doctest.txt");
    let symptom = read(&ended(&doctest, "")).unwrap();
    assert_eq!(symptom.class, "python DocTestFailure");
    assert!(symptom.message.contains("Got:\n3"), "{}", symptom.message);
    assert_eq!(symptom.frames[0].shown(), "/project/shopdoc.py:3");
}

const TOOLS: [(&str, SymptomKind, &str, &str, &str); 14] = [
    (
        "gtest.txt",
        Assertion,
        "gtest",
        "Expected equality of these values:",
        "/project/tests/cart_test.cc:12",
    ),
    (
        "catch2.txt",
        Assertion,
        "Catch2",
        "REQUIRE( cart.total() == 4 )",
        "tests/cart.cpp:12",
    ),
    (
        "go-test-inside.txt",
        Assertion,
        "go test",
        "total = 3, want 4",
        "TestTotal (cart_test.go:12)",
    ),
    (
        "go-test.txt",
        Assertion,
        "go test",
        "total = 3, want 4",
        "TestTotal (cart_test.go:12)",
    ),
    (
        "go-timeout.txt",
        Timeout,
        "go timeout",
        "",
        "example.com/shop.(*Cart).Total (/project/cart.go:21)",
    ),
    (
        "go-race.txt",
        Sanitizer,
        "go data race",
        "",
        "example.com/shop.(*Cart).Add (/project/cart.go:14)",
    ),
    (
        "jest.txt",
        Assertion,
        "node expect",
        "expect(received).toBe(expected) // Object.is equality",
        "Object.toBe (src/cart.test.js:5)",
    ),
    (
        "junit.txt",
        Assertion,
        "java AssertionError",
        "expected:<4> but was:<3>",
        "com.example.CartTest.adds (CartTest.java:12)",
    ),
    (
        "rspec.txt",
        Assertion,
        "ruby RSpec",
        "expect(cart.total).to eq(4)",
        "block (2 levels) in <top (required)> (./spec/cart_spec.rb:7)",
    ),
    (
        "bats.txt",
        Assertion,
        "bats",
        "`[ \"$total\" -eq 4 ]' failed",
        "tests/cart.bats:5",
    ),
    (
        "libfuzzer.txt",
        Signal,
        "libFuzzer deadly signal",
        "deadly signal",
        "LLVMFuzzerTestOneInput (/project/silent.c:6)",
    ),
    (
        "gdb-segv.txt",
        Signal,
        "SIGSEGV",
        "",
        "walk (/project/bugs.c:17)",
    ),
    (
        "gdb-assert.txt",
        Assertion,
        "C assert",
        "total == seed + 1",
        "check_total (/project/bugs.c:10)",
    ),
    (
        "node-spec.txt",
        Exception,
        "node TypeError",
        "Cannot read properties of null (reading 'x')",
        "TestContext.<anonymous> (/project/t.test.js:4)",
    ),
];

#[test]
fn other_frameworks_and_tools() {
    for (file, kind, class, message, frame) in TOOLS {
        let text = sample(file);
        let symptom = read(&Ended {
            stdout: text.as_bytes(),
            exit_code: Some(1),
            ..Ended::default()
        })
        .unwrap();
        assert_eq!(
            told(&symptom),
            (kind, class, message, frame.to_owned()),
            "{file}: {symptom:#?}"
        );
    }
}

/// A line, the signal behind it, and what is read.
type Line = (
    &'static str,
    Option<i32>,
    SymptomKind,
    &'static str,
    &'static str,
    &'static str,
);

const LINES: [Line; 15] = [
    (
        "cart: src/cart.c:12: total: Assertion `n > 0' failed.",
        Some(6),
        Assertion,
        "C assert",
        "n > 0",
        "total (src/cart.c:12)",
    ),
    (
        "/usr/include/c++/12/bits/stl_vector.h:1123: std::vector<int>::reference std::vector<int>::operator[](size_type): Assertion '__n < this->size()' failed.",
        Some(6),
        Assertion,
        "C assert",
        "__n < this->size()",
        "",
    ),
    (
        "Assertion failed: n > 0 (src/cart.c: total: 12)",
        Some(6),
        Assertion,
        "C assert",
        "n > 0",
        "total (src/cart.c:12)",
    ),
    (
        "Assertion failed: (n > 0), function total, file cart.c, line 12.",
        Some(6),
        Assertion,
        "C assert",
        "(n > 0)",
        "total (cart.c:12)",
    ),
    (
        "ERROR:src/cart.c:12:total: assertion failed (a == b): (1 == 2)",
        Some(6),
        Assertion,
        "GLib assert",
        "(a == b): (1 == 2)",
        "total (src/cart.c:12)",
    ),
    (
        "F1126 12:00:00.000001 7 cart.cc:12] Check failed: n > 0 (0 vs. 0)",
        Some(6),
        Assertion,
        "C++ CHECK",
        "n > 0 (0 vs. 0)",
        "cart.cc:12",
    ),
    (
        "free(): double free detected in tcache 2",
        Some(6),
        Abort,
        "libc check",
        "free(): double free detected in tcache 2",
        "",
    ),
    (
        "*** stack smashing detected ***: terminated",
        Some(6),
        Abort,
        "libc check",
        "*** stack smashing detected ***: terminated",
        "",
    ),
    (
        "terminate called after throwing an instance of 'std::out_of_range'",
        Some(6),
        Exception,
        "c++ std::out_of_range",
        "",
        "",
    ),
    (
        "terminate called after throwing an instance of 'std::bad_alloc'",
        Some(6),
        OutOfMemory,
        "c++ std::bad_alloc",
        "",
        "",
    ),
    (
        "terminate called without an active exception",
        Some(6),
        Abort,
        "c++ terminate",
        "without an active exception",
        "",
    ),
    (
        "memory allocation of 8589934592 bytes failed",
        Some(6),
        OutOfMemory,
        "rust allocation",
        "memory allocation of 8589934592 bytes failed",
        "",
    ),
    (
        "./run.sh: line 3:  4711 Segmentation fault      (core dumped) ./cart",
        None,
        Signal,
        "SIGSEGV",
        "",
        "",
    ),
    (
        "cart.test.c:12:test_total:FAIL: Expected 4 Was 3",
        None,
        Assertion,
        "Unity",
        "Expected 4 Was 3",
        "cart.test.c:12",
    ),
    (
        "cart.cpp(12): error: in \"cart/adds\": check total == 4 has failed",
        None,
        Assertion,
        "Boost.Test",
        "check total == 4 has failed",
        "cart.cpp:12",
    ),
];

#[test]
fn one_line_says_it_all() {
    for (line, signal, kind, class, message, frame) in LINES {
        let text = format!("starting 7\n{line}\n");
        let ended = Ended {
            stderr: text.as_bytes(),
            signal,
            exit_code: signal.is_none().then_some(1),
            ..Ended::default()
        };
        let symptom = read(&ended).unwrap();
        assert_eq!(
            told(&symptom),
            (kind, class, message, frame.to_owned()),
            "{line}: {symptom:#?}"
        );
    }
}

#[test]
fn own_code_may_be_called_like_the_runtime() {
    let text = "Program received signal SIGSEGV, Segmentation fault.\n\
                #0  0x00007ffff7e4 in __memcpy_avx (x=1) at ../sysdeps/x86_64/memmove.S:3\n\
                #1  free () from /lib/x86_64-linux-gnu/libc.so.6\n\
                #2  0x1 in free_list_push (list=0x0) at src/pool.c:7\n\
                #3  abort_job (job=3) at src/gtest_jobs.c:9\n\
                #4  main () at src/main.c:2\n";
    let symptom = cohort_symptom::read_backtrace(text).unwrap();
    let own = symptom.frames.iter().filter(|frame| frame.own);
    let own: Vec<&str> = own.map(|frame| frame.function.as_str()).collect();
    assert_eq!(own, ["free_list_push", "abort_job", "main"]);
}

#[test]
fn how_it_ended_when_nothing_is_said() {
    let ended = |verdict, exit_code, signal, killed| {
        let ended = Ended {
            verdict,
            exit_code,
            signal,
            killed,
            stderr: b"loading 3 of 7\n",
            message: "stopped",
            ..Ended::default()
        };
        read(&ended).map(|it| (it.kind, it.class, it.message))
    };
    let told =
        |kind, class: &str, message: &str| Some((kind, class.to_owned(), message.to_owned()));
    assert_eq!(
        ended(Verdict::Failed, Some(3), None, None),
        told(Failure, "exit code 3", "loading 3 of 7")
    );
    assert_eq!(
        ended(Verdict::Failed, Some(139), None, None),
        told(Signal, "SIGSEGV", "")
    );
    assert_eq!(
        ended(Verdict::Crashed, None, Some(11), None),
        told(Signal, "SIGSEGV", "")
    );
    assert_eq!(
        ended(Verdict::Crashed, None, Some(40), None),
        told(Signal, "signal 40", "")
    );
    assert_eq!(
        ended(Verdict::TimedOut, None, Some(9), Some(KillReason::Timeout)),
        told(Timeout, "time limit", "stopped")
    );
    assert_eq!(
        ended(Verdict::TimedOut, None, Some(9), Some(KillReason::Stalled)),
        told(Hang, "stall", "stopped")
    );
    assert_eq!(
        ended(
            Verdict::OutOfMemory,
            None,
            Some(9),
            Some(KillReason::Memory)
        ),
        told(OutOfMemory, "memory limit", "stopped")
    );
    for verdict in [
        Verdict::Passed,
        Verdict::Skipped,
        Verdict::ExpectedFailure,
        Verdict::Aborted,
    ] {
        assert_eq!(ended(verdict, Some(1), None, None), None);
    }
}

#[test]
fn of_a_rust_test_its_own_panic_counts() {
    let own = "thread 'tests::sums' (7) panicked at src/lib.rs:9:5:\nassertion failed: ok\nnote: run with `RUST_BACKTRACE=1`\n";
    let other = "thread '<unnamed>' (8) panicked at src/pool.rs:3:1:\njob 7 broke\n\n";
    let second = "thread 'tests::sums' (7) panicked at src/lib.rs:11:5:\ncalled `Result::unwrap()` on an `Err` value: Any { .. }\nnote: x\n";
    let child = "cart: src/cart.c:12: total: Assertion `n > 0' failed.\nTraceback (most recent call last):\n  File \"a.py\", line 3, in f\nValueError: no\n\n";
    let class = |text: &str| {
        let ended = Ended {
            suite: SuiteKind::Cargo,
            test: "tests::sums",
            stderr: text.as_bytes(),
            exit_code: Some(101),
            ..Ended::default()
        };
        let symptom = read(&ended).unwrap();
        format!("{} {}", symptom.class, symptom.frames[0].shown())
    };
    assert_eq!(class(&format!("{other}{own}")), "rust panic src/lib.rs:9");
    assert_eq!(class(&format!("{own}{other}")), "rust panic src/lib.rs:9");
    assert_eq!(
        class(&format!("{child}{own}{child}")),
        "rust panic src/lib.rs:9"
    );
    assert_eq!(
        class(&format!("{other}{second}")),
        "rust panic src/pool.rs:3"
    );
    assert_eq!(class(second), "rust panic src/lib.rs:11");
}

#[test]
fn colours_and_floods_change_nothing() {
    let plain = "thread 'main' (7) panicked at src/main.rs:9:5:\nboom\nnote: x\n";
    let coloured = "\u{1b}[31mthread 'main' (7) panicked at \u{1b}[1msrc/main.rs:9:5:\u{1b}[0m\nboom\nnote: x\n";
    let of = |text: &str| {
        read(&Ended {
            suite: SuiteKind::Cargo,
            stderr: text.as_bytes(),
            ..Ended::default()
        })
    };
    assert_eq!(of(plain), of(coloured));
    let flood = "polling the queue again, nothing there yet\n".repeat(200_000);
    assert_eq!(of(&format!("{flood}{plain}")), of(plain));
    assert_eq!(of(&format!("{plain}{flood}")), of(plain));
    let long = format!(
        "thread 'main' (7) panicked at src/main.rs:9:5:\n{}\nnote: x\n",
        "é".repeat(5000)
    );
    assert!(of(&long).unwrap().message.len() <= cohort_symptom::MESSAGE_BYTES_MAX);
}

proptest! {
    #[test]
    fn any_output_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..600), report in ".{0,200}") {
        let ended = Ended { suite: SuiteKind::Pytest, stderr: &bytes, stdout: &bytes, report: &report, ..Ended::default() };
        prop_assert!(read(&ended).is_some());
    }

    /// Lines of the samples in any order, cut anywhere.
    #[test]
    fn any_mixture_is_survived(picks in prop::collection::vec((0_usize..14, 0_usize..80, 0_usize..120), 0..60)) {
        const FILES: [&str; 14] = [
            "pytest-long.txt", "pytest-short.txt", "pytest-native.txt", "pytest-doctest.txt", "gtest.txt", "catch2.txt",
            "go-test.txt", "go-timeout.txt", "go-race.txt", "jest.txt", "rspec.txt", "bats.txt", "gdb-segv.txt", "node-spec.txt",
        ];
        let texts: Vec<String> = FILES.iter().map(|file| sample(file)).collect();
        let mut mixed = String::new();
        for (file, line, cut) in picks {
            let line = texts[file].lines().nth(line).unwrap_or_default();
            let end = line.char_indices().nth(cut).map_or(line.len(), |(end, _)| end);
            mixed.push_str(&line[..end]);
            mixed.push('\n');
        }
        let ended = Ended { stdout: mixed.as_bytes(), report: &mixed, ..Ended::default() };
        let symptom = read(&ended).unwrap();
        prop_assert!(symptom.frames.len() <= cohort_symptom::FRAMES_MAX);
    }
}
