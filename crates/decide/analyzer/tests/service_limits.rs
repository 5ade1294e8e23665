//! Why an instance gets no more CPU: it has all there is, our limit holds it back, or others of the
//! host have it. Told apart, and said.

use cohort_analyzer::service::{ServiceAnalyzer, ServiceSettings};
use cohort_model::{
    At, Collector, HostSample, InstanceId, InstanceSample, LoadWindow, SampleBatch, ServiceFinding,
    ServiceFindingKind as Kind, ServiceSeen, Share,
};

/// One instance on a host of two cores; all in shares of the time, or cores.
#[derive(Clone, Copy, Debug, Default)]
struct World {
    limit: f64,
    uses: f64,
    waits: f64,
    throttled: f64,
    /// Other instances, and others on the host.
    other_instances: f64,
    others: f64,
}

/// What is said in 20 seconds of it.
fn said(world: World) -> Vec<ServiceFinding> {
    let instance = InstanceId(0);
    let mut analyzer = ServiceAnalyzer::new(ServiceSettings { cores: 2.0 });
    let share = Share {
        cores: world.limit,
        memory: 1 << 30,
        network: None,
    };
    let begin = [
        ServiceSeen::InstanceReady {
            instance,
            took_us: 1,
        },
        ServiceSeen::ShareSet { instance, share },
    ];
    for seen in &begin {
        analyzer.observe(At(0), seen);
    }
    let mut said = Vec::new();
    for second in 1..=20u64 {
        let at = At(second * 1_000_000);
        let sum = |a_second: f64| (a_second * second as f64 * 1e6) as u64;
        let sampled = ServiceSeen::Sampled(SampleBatch {
            at,
            host: HostSample {
                busy_us: sum(world.uses + world.other_instances + world.others),
                campaign_cpu_us: sum(world.uses + world.other_instances),
                ..HostSample::default()
            },
            instances: vec![sample(
                instance,
                [sum(world.uses), sum(world.throttled), sum(world.waits)],
            )],
            collector: Collector::default(),
        });
        let loaded = ServiceSeen::Loaded {
            windows: vec![LoadWindow {
                instance,
                at,
                span_us: 1_000_000,
                endpoints: Default::default(),
                slowest: Vec::new(),
                broken: Vec::new(),
                system_calls: Default::default(),
                spans: Vec::new(),
                metrics: Vec::new(),
            }],
        };
        analyzer.observe(at, &sampled);
        analyzer.observe(at, &loaded);
        said.extend(analyzer.conclude(at));
    }
    said
}

fn sample(
    instance: InstanceId,
    [cpu_us, throttled_us, cpu_pressure_us]: [u64; 3],
) -> InstanceSample {
    InstanceSample {
        instance,
        cpu_us,
        throttled_us,
        memory: 1 << 20,
        memory_peak: 1 << 20,
        memory_anon: 1 << 20,
        memory_file: 0,
        oom_kills: 0,
        io_read: 0,
        io_written: 0,
        io_operations: 0,
        cpu_pressure_us,
        memory_pressure_us: 0,
        io_pressure_us: 0,
        processes: 1,
        tasks: 4,
        open_files: 9,
        net_received: None,
        net_sent: None,
        scratch: None,
        failures: 0,
    }
}

fn says(world: World, kind: Kind, what: &str) {
    let said = said(world);
    let [one] = &said[..] else {
        panic!("{world:?}: {said:#?}");
    };
    assert_eq!(one.kind, kind, "{world:?}: {one:#?}");
    assert!(one.sentence.contains(what), "{world:?}: {one:#?}");
}

const WAITS: World = World {
    limit: 1.0,
    uses: 0.5,
    waits: 0.8,
    throttled: 0.0,
    other_instances: 0.0,
    others: 0.0,
};

#[test]
fn who_has_the_cpu_is_told_apart() {
    let all_of_its_share = World {
        uses: 0.98,
        ..WAITS
    };
    says(
        all_of_its_share,
        Kind::CpuSaturation,
        "all that its limit of 1.00 allows",
    );
    let throttled = World {
        uses: 0.95,
        throttled: 0.6,
        ..WAITS
    };
    says(
        throttled,
        Kind::Throttled,
        "held back by its limit of 1.00 cores",
    );
    let all_of_the_host = World {
        limit: 2.0,
        uses: 1.9,
        ..WAITS
    };
    says(
        all_of_the_host,
        Kind::CpuSaturation,
        "all of the 2.00 that there are",
    );
    let beside_other_instances = World {
        other_instances: 1.3,
        others: 0.1,
        ..WAITS
    };
    says(
        beside_other_instances,
        Kind::CpuSaturation,
        "all instances together use 1.80 of the 2.00 cores",
    );
    let beside_others = World {
        others: 1.4,
        ..WAITS
    };
    says(beside_others, Kind::HostBusy, "use 1.40 of its 2.00 cores");
}

#[test]
fn where_there_is_more_to_be_had_nothing_is_said() {
    for world in [
        WAITS,
        World {
            others: 0.3,
            ..WAITS
        },
        World {
            waits: 0.1,
            others: 1.4,
            ..WAITS
        },
    ] {
        let said = said(world);
        assert!(said.is_empty(), "{world:?}: {said:#?}");
    }
}
