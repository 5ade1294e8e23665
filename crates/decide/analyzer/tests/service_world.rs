//! The analyzer of a service in a small simulated world: every fault is found and named right, what
//! only looks like one is not, and nothing that is seen makes it panic, differ, or grow.
//! (`examples/service.rs` measures the same over many seeds.)

#[path = "service/sim.rs"]
mod sim;

use std::collections::BTreeMap;

use cohort_analyzer::service::{ServiceAnalyzer, ServiceSettings};
use cohort_model::{
    At, CallSeen, EndpointId, EndpointWindow, ExceptionSeen, Exit, InstanceId, LoadWindow,
    ServiceCommand, ServiceFinding, ServiceFindingKind as Kind, ServiceSeen, ThreadId,
};
use proptest::prelude::*;
use sim::{Event, ORDER, PRODUCTS, SEARCH, Setup, TOTAL};

/// Runs a fault and asserts that it is found within `latest_s` of its onset, at its endpoint, and
/// that no other fault is named but those of `beside`.
fn finds(event: Event, kind: Kind, endpoint: Option<u32>, latest_s: f64, beside: &[Kind]) {
    let mut setup = Setup::new(event, 3);
    if matches!(event, Event::Lock(_) | Event::LockOfAll) {
        setup.threads = 12;
        setup.think_s = 0.04;
    }
    let said = sim::run(&setup);
    let first = said
        .iter()
        .find(|(_, f)| f.kind == kind)
        .unwrap_or_else(|| panic!("{event:?} was not found: {said:#?}"));
    let delay = first.0 - setup.onset as f64;
    assert!(
        delay <= latest_s,
        "{event:?} was found {delay} s after its onset"
    );
    if let Some(endpoint) = endpoint {
        let named = said
            .iter()
            .any(|(_, f)| f.kind == kind && f.endpoint == Some(EndpointId(endpoint)));
        assert!(named, "{event:?} at another endpoint: {said:#?}");
    }
    let others: Vec<&ServiceFinding> = said
        .iter()
        .map(|(_, f)| f)
        .filter(|f| f.kind.is_fault() && f.kind != kind && !beside.contains(&f.kind))
        .collect();
    assert!(others.is_empty(), "{event:?}: {others:#?}");
    for (_, f) in &said {
        assert!(f.sentence.ends_with('.') && !f.evidence.is_empty(), "{f:?}");
        assert!(
            (0.0..=1.0).contains(&f.confidence) && f.since <= f.at,
            "{f:?}"
        );
    }
}

#[test]
fn leaks_are_named_with_the_calls_that_make_them() {
    finds(
        Event::MemoryLeak(300e3),
        Kind::MemoryLeak,
        Some(ORDER),
        30.0,
        &[],
    );
    finds(
        Event::FileLeak,
        Kind::DescriptorLeak,
        Some(SEARCH),
        30.0,
        &[],
    );
    finds(Event::ThreadLeak, Kind::ThreadLeak, Some(ORDER), 30.0, &[]);
}

#[test]
fn slow_endpoints_are_named() {
    let slow = [Kind::SlowEndpoint];
    finds(
        Event::Growing,
        Kind::GrowingLatency,
        Some(TOTAL),
        40.0,
        &slow,
    );
    finds(Event::Slow, Kind::SlowEndpoint, Some(PRODUCTS), 30.0, &[]);
    finds(
        Event::HalfSlow,
        Kind::SlowEndpoint,
        Some(PRODUCTS),
        40.0,
        &[],
    );
    finds(Event::SlowInstance, Kind::SlowEndpoint, None, 30.0, &[]);
}

#[test]
fn who_holds_a_lock_is_told_from_who_waits() {
    finds(
        Event::Lock(0.06),
        Kind::LockContention,
        Some(ORDER),
        40.0,
        &[Kind::SlowEndpoint, Kind::GrowingLatency],
    );
    let slow = [Kind::SlowEndpoint];
    finds(
        Event::LockOfAll,
        Kind::LockContention,
        Some(ORDER),
        40.0,
        &slow,
    );
}

#[test]
fn inputs_that_burn_cpu_are_named() {
    finds(Event::BlowUp, Kind::CpuBlowUp, Some(SEARCH), 30.0, &[]);
}

#[test]
fn failures_are_named() {
    finds(Event::Race, Kind::WrongAnswer, Some(TOTAL), 30.0, &[]);
    finds(Event::Errors, Kind::ErrorBurst, Some(ORDER), 10.0, &[]);
    finds(Event::FewErrors, Kind::Errors, Some(ORDER), 30.0, &[]);
    let burst = [Kind::ErrorBurst];
    finds(Event::Exception, Kind::Exception, Some(ORDER), 10.0, &burst);
}

#[test]
fn ends_are_named_with_the_request() {
    finds(Event::Crash, Kind::Crash, Some(SEARCH), 30.0, &[]);
    finds(Event::Hang, Kind::Hang, None, 20.0, &[]);
    // Calls that time out are told as errors before they are known to be a hang, under its number.
    let burst = [Kind::ErrorBurst];
    finds(Event::EndpointHang, Kind::Hang, Some(SEARCH), 20.0, &burst);
    finds(Event::CallHang, Kind::Hang, Some(SEARCH), 20.0, &[]);
    let crashes = sim::run(&Setup::new(Event::Crash, 3));
    let shown = crashes
        .iter()
        .flat_map(|(_, f)| &f.excerpts)
        .any(|excerpt| excerpt.contains("((((("));
    assert!(shown, "the request is not shown: {crashes:#?}");
}

/// A process that panics and ends, with a trace longer than the last lines that are kept.
fn panics(analyzer: &mut ServiceAnalyzer, at: At, ends: bool) -> Vec<ServiceFinding> {
    let instance = InstanceId(0);
    let call = |endpoint: u32, request: &str, body: &str| CallSeen {
        endpoint: EndpointId(endpoint),
        thread: ThreadId(endpoint),
        request: request.to_owned(),
        body: body.to_owned(),
        took_us: 9_000,
    };
    let exceptions = vec![ExceptionSeen {
        instance,
        fingerprint: "f".to_owned(),
        kind: "rust panic".to_owned(),
        message: "end byte index 4 is not a char boundary of `CAFÉ15`".to_owned(),
        frame: "shop::coupon::percent".to_owned(),
        plain_line: false,
        count: 1,
    }];
    analyzer.observe(at, &ServiceSeen::Excepted { exceptions });
    let mut said = analyzer.conclude(at);
    if ends {
        let exited = ServiceSeen::InstanceExited {
            instance,
            exit: Exit::Signal { signal: 6 },
            lived_us: 1_000_000,
            last_lines: vec!["  31: std::sys::thread".to_owned()],
            calls: vec![
                call(0, "GET /categories", ""),
                call(1, "POST /checkout", r#"{"coupon":"SAVE5"}"#),
                call(1, "POST /checkout", r#"{"coupon":"CAFÉ15"}"#),
            ],
            again: true,
        };
        analyzer.observe(at.plus_us(100_000), &exited);
    }
    for second in 1..8 {
        said.extend(analyzer.conclude(at.plus_us(second * 1_000_000)));
    }
    said
}

#[test]
fn a_panic_that_ends_its_process_is_one_finding_with_its_request() {
    let mut analyzer = ServiceAnalyzer::new(ServiceSettings { cores: 2.0 });
    let ready = ServiceSeen::InstanceReady {
        instance: InstanceId(0),
        took_us: 1,
    };
    for crash in 1..=3u64 {
        let at = At(crash * 20_000_000);
        analyzer.observe(At(at.0 - 9_000_000), &ready);
        let said = panics(&mut analyzer, at, true);
        let [found] = &said[..] else {
            panic!("crash {crash}: {said:#?}");
        };
        assert_eq!(
            (found.number, found.kind, found.endpoint),
            (0, Kind::Crash, Some(EndpointId(1)))
        );
        assert_eq!(found.excerpts[0], r#"POST /checkout {"coupon":"CAFÉ15"}"#);
        assert!((found.evidence[0].value - crash as f64).abs() < 0.1);
    }
    // The same, but the process goes on.
    analyzer.observe(At(71_000_000), &ready);
    let said = panics(&mut analyzer, At(80_000_000), false);
    let kinds: Vec<Kind> = said.iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [Kind::Exception], "{said:#?}");
}

fn excepted(kind: &str, message: &str, frame: &str, fingerprint: &str) -> ServiceSeen {
    let exceptions = vec![ExceptionSeen {
        instance: InstanceId(0),
        fingerprint: fingerprint.to_owned(),
        kind: kind.to_owned(),
        message: message.to_owned(),
        frame: frame.to_owned(),
        plain_line: frame.is_empty(),
        count: 1,
    }];
    ServiceSeen::Excepted { exceptions }
}

#[test]
fn the_last_words_of_processes_belong_to_their_ends_also_of_the_last_one() {
    let mut analyzer = ServiceAnalyzer::new(ServiceSettings { cores: 2.0 });
    let instance = InstanceId(0);
    let mut said = Vec::new();
    for life in 1..=5u64 {
        let at = At(life * 1_500_000);
        let error = ("python OperationalError", "unable to open database file");
        let seen = excepted(error.0, error.1, "<module> (app.py:15)", "a");
        analyzer.observe(at, &seen);
        analyzer.observe(at, &excepted("error line", "Shutting down", "", "b"));
        let ended = if life < 5 {
            ServiceSeen::InstanceExited {
                instance,
                exit: Exit::Code { code: 3 },
                lived_us: 1_000_000,
                last_lines: vec!["[ERROR] Reason: Worker failed to boot.".to_owned()],
                calls: Vec::new(),
                again: true,
            }
        } else {
            ServiceSeen::InstanceFailed {
                instance,
                reason: "it exited 5 times in a row".to_owned(),
            }
        };
        analyzer.observe(at.plus_us(300_000), &ended);
        said.extend(analyzer.conclude(at.plus_us(400_000)));
    }
    analyzer.ordered(At(8_000_000), &ServiceCommand::Close { instance });
    for second in 8..14 {
        said.extend(analyzer.conclude(At(second * 1_000_000)));
    }
    assert!(said.iter().all(|f| f.kind == Kind::Crash), "{said:#?}");
    let last = &said[said.len() - 1].sentence;
    let error = "OperationalError: unable to open database file at <module>";
    assert!(last.contains(error), "{last}");
}

#[test]
fn the_same_words_of_the_same_place_are_one_exception() {
    let mut analyzer = ServiceAnalyzer::new(ServiceSettings { cores: 2.0 });
    let place = "do_GET (s.py:6)";
    for (second, message, fingerprint) in [
        (1, "refused 17", "whole"),
        (2, "refused 18", "torn"),
        (3, "no route", "other"),
    ] {
        let seen = excepted("python URLError", message, place, fingerprint);
        analyzer.observe(At(second * 1_000_000), &seen);
    }
    let said = analyzer.conclude(At(9_000_000));
    let counts: Vec<f64> = said.iter().map(|f| f.evidence[0].value).collect();
    assert_eq!(counts, [1.0, 2.0], "{said:#?}");
}

/// Runs what is no fault and asserts that none is named.
fn quiet(event: Event) {
    let setup = Setup {
        seconds: 90,
        ..Setup::new(event, 5)
    };
    let said = sim::run(&setup);
    let faults: Vec<_> = said.iter().filter(|(_, f)| f.kind.is_fault()).collect();
    assert!(faults.is_empty(), "{event:?}: {faults:#?}");
}

#[test]
fn health_and_our_own_changes_are_no_fault() {
    quiet(Event::Healthy);
    quiet(Event::Allotment);
    quiet(Event::Restart);
}

#[test]
fn memory_that_fills_or_is_collected_is_no_leak() {
    quiet(Event::Fill(10.0, 60e6));
    quiet(Event::Fill(30.0, 100e6));
    quiet(Event::Fill(60.0, 150e6));
    quiet(Event::Fill(120.0, 200e6));
    quiet(Event::Collector);
}

#[test]
fn load_batches_and_busy_hosts_are_no_fault() {
    quiet(Event::Ramp);
    quiet(Event::Batch);
    quiet(Event::BusyHost);
    quiet(Event::SlowDisk);
}

/// From the first call on, without a time before it that would be another.
#[test]
fn what_goes_wrong_from_the_beginning_is_told_as_that() {
    let from_the_beginning = |event, endpoint: Option<u32>, kind| {
        let setup = Setup {
            onset: 0,
            seconds: 60,
            ..Setup::new(event, 4)
        };
        let said = sim::run(&setup);
        let faults: Vec<_> = said.iter().filter(|(_, f)| f.kind.is_fault()).collect();
        let numbers: Vec<u32> = faults.iter().map(|(_, f)| f.number).collect();
        assert!(numbers.iter().all(|n| *n == numbers[0]), "{faults:#?}");
        let (_, last) = faults
            .last()
            .unwrap_or_else(|| panic!("{event:?}: {said:#?}"));
        assert_eq!(last.kind, kind, "{faults:#?}");
        if let Some(endpoint) = endpoint {
            assert_eq!(last.endpoint, Some(EndpointId(endpoint)), "{faults:#?}");
        }
        last.sentence.clone()
    };
    let sentence = from_the_beginning(Event::Errors, Some(ORDER), Kind::Errors);
    assert!(
        sentence.contains("answer 503, since the beginning"),
        "{sentence}"
    );
    let sentence = from_the_beginning(Event::FewErrors, Some(ORDER), Kind::Errors);
    assert!(
        sentence.contains("answer 503, since the beginning"),
        "{sentence}"
    );
    let sentence = from_the_beginning(Event::EndpointHang, Some(SEARCH), Kind::Hang);
    assert!(sentence.contains("no call was ever answered"), "{sentence}");
    let sentence = from_the_beginning(Event::Hang, None, Kind::Hang);
    assert!(sentence.contains("none was ever answered"), "{sentence}");
}

#[test]
fn a_finding_begins_once_and_ends_once() {
    let said = sim::run(&Setup {
        seconds: 60,
        ..Setup::new(Event::Errors, 1)
    });
    let mut over: BTreeMap<u32, bool> = BTreeMap::new();
    for (_, f) in &said {
        let known = over.insert(f.number, f.ended);
        assert_ne!(known, Some(true), "said again after it was over: {f:?}");
    }
    let bursts = over.len();
    assert_eq!(bursts, 1, "{said:#?}");
}

#[test]
fn the_same_sightings_give_the_same_findings() {
    let setup = Setup::new(Event::BlowUp, 9);
    let texts = |said: Vec<(f64, ServiceFinding)>| -> Vec<String> {
        said.iter().map(|(_, f)| format!("{f:?}")).collect()
    };
    assert_eq!(texts(sim::run(&setup)), texts(sim::run(&setup)));
}

fn any_window() -> impl Strategy<Value = EndpointWindow> {
    let latency = proptest::collection::btree_map(any::<u64>(), 0u64..1000, 0..4);
    (
        any::<u32>(),
        latency,
        any::<[u16; 5]>(),
        any::<u32>(),
        0u64..50,
    )
        .prop_map(
            |(calls, latency, classes, in_flight, wrong)| EndpointWindow {
                calls: u64::from(calls % 5000),
                classes: classes.map(u64::from),
                broken: wrong % 7,
                failed_checks: BTreeMap::from([("total".to_owned(), wrong)]),
                latency_sum_us: u64::from(calls) * 100,
                latency: latency.into_iter().collect(),
                in_flight,
                ..EndpointWindow::default()
            },
        )
}

fn any_sighting() -> impl Strategy<Value = ServiceSeen> {
    let instance = || (0u32..3).prop_map(InstanceId);
    let call = (0u32..5, ".{0,8}").prop_map(|(endpoint, request)| CallSeen {
        endpoint: EndpointId(endpoint),
        thread: ThreadId(0),
        request,
        body: String::new(),
        took_us: 1,
    });
    let calls = || proptest::collection::vec(call.clone(), 0..3);
    prop_oneof![
        8 => (instance(), proptest::collection::btree_map(0u32..5, any_window(), 0..4), any::<u32>(), calls())
            .prop_map(|(instance, endpoints, at, slowest)| ServiceSeen::Loaded {
                windows: vec![LoadWindow {
                    instance,
                    at: At(u64::from(at)),
                    span_us: u64::from(at % 3_000_000),
                    endpoints,
                    slowest,
                    broken: Vec::new(),
                    system_calls: BTreeMap::new(),
                    spans: Vec::new(),
            metrics: Vec::new(),
                }],
            }),
        1 => (instance(), any::<i32>(), calls()).prop_map(|(instance, code, calls)| {
            ServiceSeen::InstanceExited {
                instance,
                exit: Exit::Code { code },
                lived_us: 1,
                last_lines: vec!["panicked at é".to_owned()],
                calls,
                again: true,
            }
        }),
        1 => instance().prop_map(|instance| ServiceSeen::InstanceReady { instance, took_us: 0 }),
        1 => (instance(), ".{0,9}", any::<bool>()).prop_map(|(instance, text, plain_line)| {
            ServiceSeen::Excepted {
                exceptions: vec![ExceptionSeen {
                    instance,
                    fingerprint: text.clone(),
                    kind: text.clone(),
                    message: text,
                    frame: String::new(),
                    plain_line,
                    count: 3,
                }],
            }
        }),
        1 => (0u32..9, instance()).prop_map(|(thread, instance)| ServiceSeen::ThreadPlaced {
            thread: ThreadId(thread),
            instance,
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_that_is_seen_makes_it_panic(
        sightings in proptest::collection::vec((any::<u32>(), any_sighting()), 0..80)
    ) {
        let mut analyzer = ServiceAnalyzer::new(ServiceSettings { cores: 2.0 });
        let mut now = 0;
        for (later, seen) in &sightings {
            now += u64::from(later % 3_000_000);
            analyzer.observe(At(now), seen);
            for f in analyzer.conclude(At(now)) {
                prop_assert!(f.confidence.is_finite() && f.since <= f.at, "{:?}", f);
            }
        }
        prop_assert!(analyzer.areas().len() <= 5);
    }
}

/// Hours of load: what is kept stays as small as after a few minutes.
#[test]
fn hours_of_load_take_bounded_room() {
    let mut analyzer = ServiceAnalyzer::new(ServiceSettings { cores: 2.0 });
    let size = |analyzer: &ServiceAnalyzer| format!("{analyzer:?}").len();
    let mut after_minutes = 0;
    for second in 1..=7_200u64 {
        let endpoints = (0..4)
            .map(|endpoint| {
                let took = 1_000 + (second * 7919 + u64::from(endpoint)) % 900;
                let window = EndpointWindow {
                    calls: 20,
                    classes: [0, 20, 0, 0, 0],
                    latency_sum_us: 20 * took,
                    latency: vec![(took, 20)],
                    ..EndpointWindow::default()
                };
                (endpoint, window)
            })
            .collect();
        let windows = vec![LoadWindow {
            instance: InstanceId(0),
            at: At(second * 1_000_000),
            span_us: 1_000_000,
            endpoints,
            slowest: vec![CallSeen {
                endpoint: EndpointId(0),
                thread: ThreadId(0),
                request: format!("GET /{second}"),
                body: String::new(),
                took_us: second % 977,
            }],
            broken: Vec::new(),
            system_calls: BTreeMap::new(),
            spans: Vec::new(),
            metrics: Vec::new(),
        }];
        analyzer.observe(At(second * 1_000_000), &ServiceSeen::Loaded { windows });
        if second.is_multiple_of(60) {
            analyzer.conclude(At(second * 1_000_000));
        }
        if second == 900 {
            after_minutes = size(&analyzer);
        }
    }
    let after_hours = size(&analyzer);
    assert!(
        after_hours < after_minutes * 3 / 2,
        "{after_minutes} letters after minutes, {after_hours} after hours"
    );
}
