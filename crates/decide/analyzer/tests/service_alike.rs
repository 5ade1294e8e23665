//! What only looks like a fault of one endpoint: all its calls that get slower are no odd input, and
//! an instance on which others call, by our own doing, is no slower one.

#[path = "service/sim.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod sim;

use std::collections::BTreeMap;

use cohort_analyzer::service::{ServiceAnalyzer, ServiceSettings};
use cohort_model::{
    At, CallSeen, Collector, EndpointId, EndpointWindow, HostSample, InstanceId, InstanceSample,
    LoadWindow, Purpose, SampleBatch, ServiceCommand, ServiceFinding, ServiceFindingKind as Kind,
    ServiceSeen, ThreadId,
};
use sim::{Event, PRODUCTS, Setup, World};

fn told(analyzer: &mut ServiceAnalyzer, at: At, said: &mut Vec<(f64, ServiceFinding)>) {
    let news = analyzer.conclude(at).into_iter();
    said.extend(news.map(|finding| (at.seconds(), finding)));
}

#[test]
fn instances_that_we_kept_apart_are_not_compared() {
    const GENERAL_FROM_S: u64 = 45;
    let mut world = World::new(Setup::new(Event::SlowInstance, 3));
    let mut analyzer = ServiceAnalyzer::new(ServiceSettings { cores: 2.0 });
    let mut said = Vec::new();
    let specialize = |second: u64, purpose: Purpose, analyzer: &mut ServiceAnalyzer| {
        let instance = InstanceId(0);
        let command = ServiceCommand::Specialize { instance, purpose };
        analyzer.ordered(At(second * 1_000_000), &command);
    };
    for second in 0..100 {
        if second == 8 {
            let purpose = Purpose::Suspect {
                kind: Kind::SlowEndpoint,
                endpoint: Some(EndpointId(PRODUCTS)),
            };
            specialize(second, purpose, &mut analyzer);
        } else if second == GENERAL_FROM_S {
            specialize(second, Purpose::General, &mut analyzer);
        }
        for (at, seen) in world.second(second) {
            analyzer.observe(at, &seen);
        }
        told(&mut analyzer, At((second + 1) * 1_000_000), &mut said);
    }
    let compared = said
        .iter()
        .find(|(_, f)| f.sentence.contains("on the other"));
    let (at, _) = compared.unwrap_or_else(|| panic!("never compared: {said:#?}"));
    assert!(*at > GENERAL_FROM_S as f64 + 15.0, "compared at {at} s");
}

/// A second of eight calls of one endpoint, and as many of another that is as quick as always;
/// `slow` of the eight burn 300 ms of CPU each.
struct Seconds {
    cpu_us: u64,
}

impl Seconds {
    fn next(&mut self, second: u64, slow: u64, request: &str) -> [ServiceSeen; 2] {
        let at = At(second * 1_000_000);
        let window = |slow: u64, quick_us: u64| {
            let latency = [(quick_us, 8 - slow), (366_000, slow)];
            EndpointWindow {
                calls: 8,
                classes: [0, 8, 0, 0, 0],
                latency_sum_us: latency.iter().map(|(us, calls)| us * calls).sum(),
                latency: latency
                    .into_iter()
                    .filter(|(_, calls)| *calls > 0)
                    .collect(),
                ..EndpointWindow::default()
            }
        };
        let quick_us = 20_000 + second % 5 * 900;
        self.cpu_us += 40_000 + second % 7 * 900 + slow * 300_000;
        let sample = InstanceSample {
            cpu_us: self.cpu_us,
            tasks: 4,
            ..InstanceSample::empty(InstanceId(0))
        };
        let slowest = CallSeen {
            endpoint: EndpointId(0),
            thread: ThreadId(0),
            request: request.to_owned(),
            body: String::new(),
            took_us: if slow > 0 { 366_000 } else { quick_us },
        };
        let windows = vec![LoadWindow {
            instance: InstanceId(0),
            at,
            span_us: 1_000_000,
            endpoints: BTreeMap::from([(0, window(slow, quick_us)), (1, window(0, quick_us))]),
            slowest: vec![slowest],
            broken: Vec::new(),
            system_calls: BTreeMap::new(),
            spans: Vec::new(),
            metrics: Vec::new(),
        }];
        let batch = SampleBatch {
            at,
            host: HostSample::default(),
            instances: vec![sample],
            collector: Collector::default(),
        };
        [ServiceSeen::Sampled(batch), ServiceSeen::Loaded { windows }]
    }
}

/// Kinds of what is said when, of the eight calls of each second, `slow` are.
fn kinds(name: &str, request: &str, slow: impl Fn(u64) -> u64) -> Vec<Kind> {
    let mut analyzer = ServiceAnalyzer::new(ServiceSettings { cores: 4.0 });
    let mut seconds = Seconds { cpu_us: 0 };
    let mut said = Vec::new();
    for (endpoint, name) in [(0, name), (1, "GET /other")] {
        let name = name.to_owned();
        let endpoint = EndpointId(endpoint);
        analyzer.observe(At(0), &ServiceSeen::EndpointNamed { endpoint, name });
    }
    for second in 1..60 {
        for seen in seconds.next(second, slow(second), request) {
            analyzer.observe(At(second * 1_000_000), &seen);
        }
        told(&mut analyzer, At(second * 1_000_000), &mut said);
    }
    said.into_iter().map(|(_, finding)| finding.kind).collect()
}

#[test]
fn calls_that_are_all_slow_from_some_time_on_are_no_odd_input() {
    let odd = |second: u64| u64::from(second > 20 && second.is_multiple_of(2));
    let found = kinds("GET /search", "GET /search?q=aaaa", odd);
    assert!(found.contains(&Kind::CpuBlowUp), "{found:?}");
    // The same of an endpoint that is asked for nothing but itself cannot be its input.
    let found = kinds("GET /polls/", "GET /polls/", odd);
    assert!(!found.contains(&Kind::CpuBlowUp), "{found:?}");
    let step = |second: u64| if second > 40 { 7 } else { 0 };
    let found = kinds("GET /search", "GET /search?q=aaaa", step);
    assert!(!found.contains(&Kind::CpuBlowUp), "{found:?}");
}
