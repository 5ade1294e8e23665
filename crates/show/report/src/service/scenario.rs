//! A campaign of a service, record by record, for tests.

use std::collections::BTreeMap;

use cohort_model::{
    At, CampaignEnd, Change, ChangeVerdict, CheckTotal, Ending, EndpointId, EndpointWindow, Exit,
    InstanceId, LoadWindow, MetricTotal, Policy, Purpose, Record, ServiceCommand, ServiceDecision,
    ServiceFinding, ServiceFindingKind, ServicePlan, ServiceReason, ServiceSeen, ServiceTotals,
    Share, ThreadId,
};

const SHARE: Share = Share {
    cores: 1.0,
    memory: 512 << 20,
    network: None,
};

fn seen(seconds: u64, seen: Vec<ServiceSeen>) -> Record {
    Record::ServiceSeen {
        at: At(seconds * 1_000_000),
        seen,
    }
}

fn window(instance: u32, second: u64) -> LoadWindow {
    let calls = EndpointWindow {
        calls: 100,
        classes: [0, 99, 0, 0, 1],
        broken: u64::from(second == 3),
        latency: vec![(1_000, 50), (4_000, 45), (90_000, 5)],
        ..EndpointWindow::default()
    };
    LoadWindow {
        instance: InstanceId(instance),
        at: At(second * 1_000_000),
        span_us: 1_000_000,
        endpoints: BTreeMap::from([(0, calls)]),
        slowest: Vec::new(),
        broken: Vec::new(),
        system_calls: BTreeMap::new(),
        spans: Vec::new(),
        metrics: Vec::new(),
    }
}

const I0: InstanceId = InstanceId(0);
const I1: InstanceId = InstanceId(1);

fn decided(command: ServiceCommand) -> ServiceDecision {
    ServiceDecision {
        command,
        reason: ServiceReason::Begin,
        change: None,
    }
}

fn finding() -> ServiceFinding {
    ServiceFinding {
        number: 1,
        kind: ServiceFindingKind::MemoryLeak,
        instances: vec![InstanceId(1)],
        endpoint: Some(EndpointId(0)),
        at: At(4_000_000),
        since: At(1_000_000),
        ended: false,
        withdrawn: false,
        confidence: 0.97,
        sentence: "memory grows by 2.1 MiB/s; calls of POST /cart explain it: 41 KiB each"
            .to_owned(),
        evidence: Vec::new(),
        excerpts: vec!["anon 20 MiB -> 90 MiB".to_owned()],
        told: Vec::new(),
        artifacts: Vec::new(),
    }
}

fn trend(name: &str, is_time: bool) -> MetricTotal {
    MetricTotal {
        name: name.to_owned(),
        kind: "trend".to_owned(),
        is_time,
        values: BTreeMap::from([("avg".to_owned(), 12.5), ("count".to_owned(), 40.0)]),
    }
}

fn change() -> Change {
    Change {
        number: 1,
        what: "i1 gets 1.25 cores (1)".to_owned(),
        measure: "calls/s of i1".to_owned(),
        before: 100.0,
        expected: 110.0,
        measured: Some(99.0),
        verdict: ChangeVerdict::Undone,
    }
}

/// Two instances begin, with two threads on one of them.
fn beginning() -> Vec<Record> {
    let plan = ServicePlan {
        instances: 2,
        cores: 2.0,
        memory: 1 << 30,
        network: None,
        policy: Policy::Adaptive,
        seed: 1,
        threads_max: 2,
        duration_us: 60_000_000,
        limits_cpu: true,
        hands_over: true,
        leans: true,
        cases: None,
        helpers: None,
        fuzz: None,
    };
    vec![
        Record::ServicePlanned(plan),
        Record::ServiceDecided {
            at: At(0),
            cases: Vec::new(),
            findings: Vec::new(),
            areas: Vec::new(),
            changes: Vec::new(),
            decisions: vec![
                decided(ServiceCommand::Open {
                    instance: I0,
                    share: SHARE,
                }),
                decided(ServiceCommand::Open {
                    instance: I1,
                    share: SHARE,
                }),
            ],
        },
        seen(
            0,
            vec![
                ServiceSeen::InstanceReady {
                    instance: I0,
                    took_us: 120_000,
                },
                ServiceSeen::InstanceReady {
                    instance: I1,
                    took_us: 140_000,
                },
                ServiceSeen::EndpointNamed {
                    endpoint: EndpointId(0),
                    name: "POST /cart".to_owned(),
                },
                ServiceSeen::ThreadPlaced {
                    thread: ThreadId(0),
                    instance: I0,
                },
                ServiceSeen::ThreadPlaced {
                    thread: ThreadId(1),
                    instance: I0,
                },
            ],
        ),
    ]
}

/// A thread is handed over, an instance crashes, and the campaign comes to its end.
fn ending() -> Vec<Record> {
    let mut records = Vec::new();
    let moved = ServiceSeen::HandedOver {
        thread: ThreadId(1),
        source: I0,
        target: I1,
        pause_us: 640,
    };
    let exited = ServiceSeen::InstanceExited {
        instance: I0,
        exit: Exit::Signal { signal: 6 },
        lived_us: 5_000_000,
        last_lines: Vec::new(),
        calls: Vec::new(),
        again: true,
    };
    records.push(seen(
        5,
        vec![
            moved,
            exited,
            ServiceSeen::Iterated {
                iterations: 40,
                failed: 1,
            },
        ],
    ));
    records.push(seen(16, vec![ServiceSeen::Tick]));
    records.push(Record::ServiceTotals(ServiceTotals {
        checks: vec![CheckTotal {
            name: "status is 200".to_owned(),
            passed: 396,
            failed: 4,
        }],
        driver_cpu_us: 900_000,
        driver_lag_p99_us: 300,
        metrics: vec![
            trend("http_req_duration", true),
            trend("time_in_cart", true),
            trend("time_in_cart{kind:a}", true),
        ],
        ..ServiceTotals::default()
    }));
    records.push(Record::Ended(CampaignEnd {
        ending: Ending::Complete,
        message: None,
        suite_exit: None,
    }));
    records
}

/// Two instances, one with a leak; a crash; a thread that is handed over; a change that is undone.
pub(super) fn leaking() -> Vec<Record> {
    let suspect = Purpose::Suspect {
        kind: ServiceFindingKind::MemoryLeak,
        endpoint: Some(EndpointId(0)),
    };
    let mut records = beginning();
    for second in 1..=4 {
        let windows = vec![window(0, second), window(1, second)];
        records.push(seen(second, vec![ServiceSeen::Loaded { windows }]));
    }
    records.push(Record::ServiceDecided {
        at: At(4_000_000),
        cases: Vec::new(),
        findings: vec![finding()],
        areas: Vec::new(),
        changes: vec![change()],
        decisions: vec![decided(ServiceCommand::Specialize {
            instance: I1,
            purpose: suspect,
        })],
    });
    records.extend(ending());
    records
}

/// Two instances of which none gets ready.
pub(crate) fn never_ready() -> Vec<Record> {
    let failed = |instance: InstanceId, port: u32| ServiceSeen::InstanceFailed {
        instance,
        reason: format!(
            "it was not ready within 20s: connections to 10.0.0.{port}:80 are refused; its last lines:\n  booting {}",
            instance.0
        ),
    };
    let mut records = leaking();
    records.truncate(2);
    records.push(seen(11, Vec::new()));
    records.push(Record::ServiceDecided {
        at: At(11_000_000),
        cases: Vec::new(),
        findings: Vec::new(),
        decisions: vec![decided(ServiceCommand::Restart { instance: I0 })],
        changes: Vec::new(),
        areas: Vec::new(),
    });
    records.push(seen(20, vec![failed(I0, 2), failed(I1, 3)]));
    records
}
