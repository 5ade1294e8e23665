//! Threads of one agent process: permits, ends, instances that go down, evidence, driver programs.

mod hub;
#[path = "hub/sut.rs"]
mod sut;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use cohort_agent::protocol::*;
use cohort_handoff::AgentId;
use cohort_model::{At, InstanceId, ThreadId};
use cohort_scenario::{Birth, Role, ScenarioInfo};
use hub::{Hub, is_agent};
use sut::{Log, Seen, counting};

/// Not a test: the process of an agent, when a test starts this binary as one.
#[test]
fn agent_process() {
    if is_agent() {
        assert_eq!(
            format!("{:?}", cohort_agent::main_agent(0)),
            format!("{:?}", std::process::ExitCode::SUCCESS)
        );
    }
}

const ONE_REQUEST: &str = r"
import http from 'k6/http';
import exec from 'k6/execution';
export default function () {
  http.get(`http://sut.test/items/${__VU}?t=${__VU}&n=${__ITER}&i=${exec.scenario.iterationInTest}`);
}
";

/// A hub with one agent, one instance that counts, and threads that wait for permits.
async fn started(script: &str, threads: u32) -> (Hub, AgentId, Log) {
    let log = Log::default();
    let mut hub = Hub::new(script);
    let agent = hub.agent(0).await;
    let address = sut::serve(&log, counting(Duration::ZERO));
    hub.instance(0, Some(address)).await;
    for thread in 1..=threads {
        hub.begin_script(thread, agent, 0).await;
    }
    all_idle(&mut hub, threads).await;
    (hub, agent, log)
}

async fn all_idle(hub: &mut Hub, threads: u32) {
    hub.until("all idle", |hub| hub.heard.idle.len() == threads as usize)
        .await;
}

fn numbers(log: &Log, key: &str) -> Vec<u64> {
    let log = log.lock().unwrap();
    let mut all: Vec<u64> = log
        .iter()
        .map(|seen| seen.query(key).parse().unwrap())
        .collect();
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "current_thread")]
async fn each_kind_of_permit_lets_as_many_iterations_begin_as_it_says() {
    let (mut hub, _, log) = started(ONE_REQUEST, 3).await;
    let thread = ThreadId(2);
    hub.permit(Permit::Count {
        thread,
        iterations: 4,
    })
    .await;
    hub.until("4 of thread 2", |hub| {
        hub.heard.iterations.get(&thread) == Some(&4)
    })
    .await;
    let scenario = "default".to_owned();
    let pool = Permit::Pool {
        scenario: scenario.clone(),
        iterations: 30,
        first: 100,
    };
    hub.permit(pool).await;
    hub.until("34 in all", |hub| hub.iterations() == 34).await;
    all_idle(&mut hub, 3).await;
    let pooled: Vec<u64> = numbers(&log, "i")
        .into_iter()
        .filter(|i| *i >= 100)
        .collect();
    assert_eq!(pooled, (100..130).collect::<Vec<u64>>());
    // Five arrivals at once find three idle threads.
    let at = hub.now().plus_us(50_000);
    let timed = Permit::Timed {
        scenario,
        starts: vec![at; 5],
        first: 200,
    };
    hub.permit(timed).await;
    hub.until("2 dropped", |hub| {
        hub.heard.dropped_iterations == 2 && hub.iterations() == 37
    })
    .await;
    let until = hub.now().plus_us(100_000);
    hub.permit(Permit::Free { thread, until }).await;
    all_idle(&mut hub, 2).await;
    all_idle(&mut hub, 3).await;
    assert!(hub.now() >= until && hub.iterations() > 40);
    assert_eq!(hub.iterations(), log.lock().unwrap().len() as u64);
    hub.finish().await;
    let MetricValue::Sum(iterations) = hub.heard.metrics["iterations"] else {
        panic!("{:?}", hub.heard.metrics)
    };
    assert_eq!(iterations as u64, hub.iterations());
}

/// Groups, checks, a batch, a tag and a metric of its own.
const OF_ALL_KINDS: &str = r"
      import http from 'k6/http';
      import { check, group } from 'k6';
      import { Trend } from 'k6/metrics';
      const own = new Trend('own');
      export default function () {
        group('shop', () => {
          const one = http.get('http://sut.test/items/17?x=1');
          http.post('http://sut.test/orders', 'a body', { tags: { name: 'order' } });
          check(one, { 'is 201': (r) => r.status === 201 });
        });
        const [a] = http.batch([['GET', 'http://sut.test/a'], ['GET', 'http://sut.test/b']]);
        check(a, { 'a is 201': (r) => r.status === 201 });
        own.add(12.5);
      }
    ";

#[tokio::test(flavor = "current_thread")]
async fn what_is_counted_is_what_happened() {
    let (mut hub, _, log) = {
        let log = Log::default();
        let mut hub = Hub::new(OF_ALL_KINDS);
        hub.load.submetrics = vec![Submetric {
            name: "http_req_duration{name:order}".to_owned(),
            metric: "http_req_duration".to_owned(),
            tags: vec![("name".to_owned(), "order".to_owned())],
        }];
        let agent = hub.agent(0).await;
        let address = sut::serve(&log, counting(Duration::from_millis(2)));
        hub.instance(0, Some(address)).await;
        hub.begin_script(1, agent, 0).await;
        all_idle(&mut hub, 1).await;
        (hub, agent, log)
    };
    let thread = ThreadId(1);
    hub.permit(Permit::Count {
        thread,
        iterations: 10,
    })
    .await;
    hub.until("10 iterations", |hub| hub.iterations() == 10)
        .await;
    // Within the first window: nobody would say it yet.
    hub.tell_all(&ToAgent::Report).await;
    hub.until("a report", |hub| hub.heard.reports == 1).await;
    let MetricValue::Sum(requests) = hub.heard.metrics["http_reqs"] else {
        panic!("{:?}", hub.heard.metrics)
    };
    assert_eq!(requests as u64, 40);
    hub.finish().await;
    assert_eq!(log.lock().unwrap().len(), 40);
    let heard = &hub.heard;
    assert_eq!(heard.checks["is 201"], (0, 10));
    let mut calls = BTreeMap::new();
    let mut failed_checks = BTreeMap::new();
    let mut latency = Histogram::default();
    for endpoint in heard.windows.iter().flat_map(|window| &window.endpoints) {
        *calls.entry(endpoint.endpoint.as_str()).or_insert(0) += endpoint.calls;
        assert_eq!(endpoint.status[1], endpoint.calls);
        for (check, count) in &endpoint.failed_checks {
            let key = (endpoint.endpoint.as_str(), check.as_str());
            *failed_checks.entry(key).or_insert(0) += count;
        }
        latency.merge(&endpoint.latency);
    }
    let expected = BTreeMap::from([
        ("GET /a", 10),
        ("GET /b", 10),
        ("GET /items/{}", 10),
        ("order", 10),
    ]);
    assert_eq!(calls, expected);
    // Of what was checked, whatever was called since.
    let of = BTreeMap::from([
        (("GET /a", "a is 201"), 10),
        (("GET /items/{}", "is 201"), 10),
    ]);
    assert_eq!(failed_checks, of);
    assert!(latency.count == 40 && latency.min >= 2_000.0, "{latency:?}");
    let trend = |name: &str| match heard.metrics.get(name) {
        Some(MetricValue::Values(values)) => values.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(trend("own").count, 10);
    assert_eq!(trend("own").sum, 125_000.0);
    assert_eq!(trend("http_req_duration").count, 40);
    assert_eq!(trend("http_req_duration{name:order}").count, 10);
    assert_eq!(trend("group_duration").count, 10);
    assert!(heard.slow.iter().any(|slow| slow.body == b"a body"));
    assert!(heard.costs[&AgentId(0)].iter().all(|cost| cost.rss > 0));
}

/// Requests that a server has in hand, by the first letter of their path.
#[derive(Default)]
struct InHand {
    now: BTreeMap<char, usize>,
    most: BTreeMap<char, usize>,
    most_in_all: usize,
}

/// Answers no request before so many were in hand at once.
fn answer_when_in_hand(in_hand: &Arc<(Mutex<InHand>, Condvar)>, wanted: usize) -> sut::Answer {
    let in_hand = Arc::clone(in_hand);
    Arc::new(move |seen: &Seen, stream: &mut TcpStream| {
        let host = seen.path.chars().nth(1).unwrap();
        let (lock, changed) = &*in_hand;
        let mut state = lock.lock().unwrap();
        *state.now.entry(host).or_default() += 1;
        let here = state.now[&host];
        let most = state.most.entry(host).or_default();
        *most = here.max(*most);
        state.most_in_all = state.now.values().sum::<usize>().max(state.most_in_all);
        changed.notify_all();
        let longest = Duration::from_secs(20);
        let (state, _) = changed
            .wait_timeout_while(state, longest, |state| state.most_in_all < wanted)
            .unwrap();
        drop(state);
        // The time that an answer takes: whoever does not wait for it would be in hand too.
        std::thread::sleep(Duration::from_millis(15));
        *lock.lock().unwrap().now.get_mut(&host).unwrap() -= 1;
        counting(Duration::ZERO)(seen, stream)
    })
}

#[tokio::test(flavor = "current_thread")]
async fn a_batch_has_no_more_under_way_than_it_may() {
    let script = r"
      import http from 'k6/http';
      export default function () {
        const urls = [];
        for (let i = 0; i < 8; i++) urls.push(`http://sut.test/a?n=${i}`, `http://two.test/b?n=${i}`);
        const answers = http.batch(urls);
        if (answers.some((one, i) => one.body !== `body of ${Math.floor(i / 2)}`)) throw new Error('mixed up');
      }
    ";
    let log = Log::default();
    let in_hand = Arc::new((Mutex::new(InHand::default()), Condvar::new()));
    let mut hub = Hub::new(script);
    hub.load.http.base_urls.push("http://two.test".to_owned());
    hub.load.http.batch = BatchLimits {
        total: 5,
        per_host: 3,
    };
    let agent = hub.agent(0).await;
    let address = sut::serve(&log, answer_when_in_hand(&in_hand, 5));
    hub.instance(0, Some(address)).await;
    hub.begin_script(1, agent, 0).await;
    all_idle(&mut hub, 1).await;
    hub.permit(Permit::Count {
        thread: ThreadId(1),
        iterations: 2,
    })
    .await;
    hub.until("2 iterations", |hub| hub.iterations() == 2).await;
    hub.finish().await;
    assert_eq!(log.lock().unwrap().len(), 32);
    assert!(hub.heard.failed.values().all(|failed| *failed == 0));
    let state = in_hand.0.lock().unwrap();
    assert_eq!((state.most_in_all, state.most[&'a']), (5, 3));
    assert!(state.most[&'b'] <= 3, "{:?}", state.most);
}

#[tokio::test(flavor = "current_thread")]
async fn no_more_requests_a_second_are_sent_than_may_be() {
    let script = r"
      import http from 'k6/http';
      export default function () {
        http.get('http://sut.test/a');
        http.batch(['http://sut.test/b', 'http://sut.test/c']);
      }
    ";
    let came: Arc<Mutex<Vec<At>>> = Arc::default();
    let mut hub = Hub::new(script);
    // Half of them for each of two agents: one in 40 ms.
    hub.load.http.requests_per_s = Some(50);
    let agent = hub.agent(0).await;
    let (seen, start) = (Arc::clone(&came), hub.load.start_monotonic_ns);
    let answer: sut::Answer = Arc::new(move |one: &Seen, stream: &mut TcpStream| {
        let now = At((cohort_agent::monotonic_ns() - start) / 1_000);
        seen.lock().unwrap().push(now);
        counting(Duration::ZERO)(one, stream)
    });
    hub.instance(0, Some(sut::serve(&Log::default(), answer)))
        .await;
    for thread in 1..=3 {
        hub.begin_script(thread, agent, 0).await;
    }
    all_idle(&mut hub, 3).await;
    let began = hub.now();
    hub.permit(Permit::Pool {
        scenario: "default".to_owned(),
        iterations: 6,
        first: 0,
    })
    .await;
    hub.until("6 iterations", |hub| hub.iterations() == 6).await;
    hub.finish().await;
    let came = came.lock().unwrap();
    assert_eq!(came.len(), 18);
    for (place, at) in came.iter().enumerate() {
        let earliest = began.plus_us(40_000 * place as u64);
        assert!(
            *at >= earliest,
            "request {place} came at {at:?}, before {earliest:?}"
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_thread_ends_with_its_iteration_or_is_cut_off() {
    let script = r"
      import { sleep } from 'k6';
      export default function () { sleep(__VU === 1 ? 0.3 : 60); }
    ";
    let (mut hub, _, _) = started(script, 2).await;
    for thread in 1..=2 {
        let thread = ThreadId(thread);
        hub.permit(Permit::Count {
            thread,
            iterations: 9,
        })
        .await;
    }
    hub.until("both run", |hub| hub.heard.idle.is_empty()).await;
    let began = Instant::now();
    for thread in 1..=2 {
        hub.stop(thread, 1_000_000).await;
    }
    hub.until("both are over", |hub| hub.heard.over.len() == 2)
        .await;
    assert_eq!(hub.heard.ended[&ThreadId(1)], EndWhy::Stopped);
    assert_eq!(hub.heard.ended[&ThreadId(2)], EndWhy::Interrupted);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(hub.heard.iterations.get(&ThreadId(1)), Some(&1));
    hub.finish().await;
}

#[tokio::test(flavor = "current_thread")]
async fn scripts_that_misbehave_are_bounded() {
    let script = r"
      const hoard = [];
      export default function () {
        if (__VU === 1) { for (;;) {} }
        if (__VU === 2) { throw new Error('on purpose'); }
        if (__VU === 3) { for (;;) hoard.push('x'.repeat(5000000) + hoard.length); }
      }
    ";
    let log = Log::default();
    let mut hub = Hub::new(script);
    hub.load.compute_us_max = 300_000;
    let agent = hub.agent(0).await;
    hub.instance(0, Some(sut::serve(&log, counting(Duration::ZERO))))
        .await;
    for thread in 1..=4 {
        hub.begin_script(thread, agent, 0).await;
    }
    all_idle(&mut hub, 4).await;
    for thread in 1..=4 {
        let thread = ThreadId(thread);
        hub.permit(Permit::Count {
            thread,
            iterations: 2,
        })
        .await;
    }
    // The good one goes on beside them, and so do those that only throw.
    hub.until("thread 4", |hub| {
        hub.heard.iterations.get(&ThreadId(4)) == Some(&2)
    })
    .await;
    hub.until("thread 2", |hub| {
        hub.heard.failed.get(&ThreadId(2)) == Some(&2)
    })
    .await;
    hub.until("what went wrong is said", |hub| {
        let said = |text: &str| hub.heard.lines.iter().any(|line| line.contains(text));
        said("endless loop") && said("on purpose") && said("memory")
    })
    .await;
    hub.finish().await;
}

#[tokio::test(flavor = "current_thread")]
async fn while_its_instance_is_down_a_thread_waits_and_can_be_moved() {
    let (mut hub, agent, log) = started(ONE_REQUEST, 2).await;
    let other = sut::serve(&log, counting(Duration::ZERO));
    hub.instance(1, Some(other.clone())).await;
    hub.instance(0, None).await;
    for thread in 1..=2 {
        let thread = ThreadId(thread);
        hub.permit(Permit::Count {
            thread,
            iterations: 1,
        })
        .await;
    }
    hub.until("both are stranded", |hub| hub.heard.stranded.len() == 2)
        .await;
    assert_eq!(log.lock().unwrap().len(), 0);
    hub.hand_off(1, agent, 1).await;
    hub.until("one went on", |hub| hub.iterations() == 1).await;
    assert_eq!(log.lock().unwrap()[0].port, other.port);
    let again = sut::serve(&log, counting(Duration::ZERO));
    hub.instance(0, Some(again.clone())).await;
    hub.until("the other went on", |hub| hub.iterations() == 2)
        .await;
    assert_eq!(log.lock().unwrap()[1].port, again.port);
    hub.finish().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_crash_leaves_the_requests_that_were_in_flight_as_evidence() {
    let script = r"
      import http from 'k6/http';
      export default function () {
        const r = http.post('http://sut.test/fatal/17', 'poison');
        if (r.error_code === 0) { throw new Error('it answered'); }
        http.get('http://elsewhere.test/');
      }
    ";
    let log = Log::default();
    let mut hub = Hub::new(script);
    let agent = hub.agent(0).await;
    let crash = Arc::new(|_: &Seen, _: &mut TcpStream| false);
    hub.instance(0, Some(sut::serve(&log, crash))).await;
    hub.begin_script(1, agent, 0).await;
    all_idle(&mut hub, 1).await;
    let thread = ThreadId(1);
    hub.permit(Permit::Count {
        thread,
        iterations: 1,
    })
    .await;
    hub.until("the iteration", |hub| hub.iterations() == 1)
        .await;
    hub.finish().await;
    assert_eq!(hub.heard.failed[&thread], 0, "{:?}", hub.heard.lines);
    let [broken] = hub.heard.broken.as_slice() else {
        panic!("{:?}", hub.heard.broken)
    };
    assert_eq!((broken.thread, broken.instance), (thread, InstanceId(0)));
    assert_eq!(broken.endpoint, "POST /fatal/{}");
    assert_eq!(
        (broken.body.as_slice(), broken.error),
        (&b"poison"[..], TransportError::Reset)
    );
    let allow = hub
        .heard
        .lines
        .iter()
        .any(|line| line.contains("add \"elsewhere.test\" to the allowed hosts"));
    assert!(allow, "{:?}", hub.heard.lines);
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_thread_can_be_handed_over_in_the_middle_of_a_sleep() {
    let script = r"
      import { sleep } from 'k6';
      export default function () { sleep(1); }
    ";
    let (mut hub, _, _) = started(script, 1).await;
    let other = hub.agent(1).await;
    let thread = ThreadId(1);
    hub.permit(Permit::Count {
        thread,
        iterations: 3,
    })
    .await;
    hub.until("it sleeps", |hub| {
        hub.heard.idle.is_empty() && hub.runs_on(1).is_some()
    })
    .await;
    let began = hub.now();
    hub.hand_off(1, other, 0).await;
    hub.until("it is there", |hub| hub.runs_on(1) == Some(other))
        .await;
    assert!(
        hub.now().since(began) < 900_000,
        "it was not handed over in its sleep"
    );
    hub.until("it woke", |hub| hub.iterations() == 1).await;
    let took_us = hub.now().since(began);
    assert!((600_000..1_500_000).contains(&took_us), "{took_us} us");
    // The iterations that were left went along.
    hub.until("all three", |hub| hub.iterations() == 3).await;
    hub.finish().await;
}

#[tokio::test(flavor = "current_thread")]
async fn checks_of_an_iteration_that_changed_its_instance_say_nothing_of_that() {
    let script = r"
      import http from 'k6/http';
      import { check, sleep } from 'k6';
      export default function () {
        check(http.get('http://sut.test/a'), { 'before': (r) => r.status === 201 });
        sleep(1);
        check(http.get('http://sut.test/a'), { 'after': (r) => r.status === 201 });
      }
    ";
    let (mut hub, agent, log) = started(script, 1).await;
    hub.instance(1, Some(sut::serve(&log, counting(Duration::ZERO))))
        .await;
    let thread = ThreadId(1);
    let iterations = 2;
    hub.permit(Permit::Count { thread, iterations }).await;
    hub.until("it sleeps", |_| log.lock().unwrap().len() == 1)
        .await;
    hub.hand_off(1, agent, 1).await;
    hub.until("both iterations", |hub| hub.iterations() == 2)
        .await;
    hub.finish().await;
    let mut of_instances = BTreeMap::new();
    for window in &hub.heard.windows {
        for endpoint in &window.endpoints {
            for (check, count) in &endpoint.failed_checks {
                let key = (window.instance.0, check.as_str());
                *of_instances.entry(key).or_insert(0) += count;
            }
        }
    }
    let expected = [((0, "before"), 1), ((1, "after"), 1), ((1, "before"), 1)];
    assert_eq!(of_instances, BTreeMap::from(expected));
    // What thresholds are held against is whole.
    let checks = &hub.heard.checks;
    assert_eq!((checks["before"], checks["after"]), ((0, 2), (0, 2)));
}

#[tokio::test(flavor = "current_thread")]
async fn setup_runs_once_and_says_what_it_returned() {
    let script = r"
      import http from 'k6/http';
      export function setup() {
        return { token: http.get('http://sut.test/token?n=7').body };
      }
      export function teardown(data) { if (data.token !== 'body of 7') throw new Error(data.token); }
      export default function () {}
    ";
    let log = Log::default();
    let mut hub = Hub::new(script);
    let agent = hub.agent(0).await;
    hub.instance(0, Some(sut::serve(&log, counting(Duration::ZERO))))
        .await;
    let birth = |role: Role, setup_data: Option<String>| Birth {
        role,
        vu: 0,
        setup_data,
        scenario: ScenarioInfo::default(),
        ..Birth::default()
    };
    for (what, role, data) in [
        (OneShot::Setup, Role::Setup, None),
        (
            OneShot::Teardown,
            Role::Teardown,
            Some(r#"{"token":"body of 7"}"#.to_owned()),
        ),
        (
            OneShot::Teardown,
            Role::Teardown,
            Some(r#"{"token":"other"}"#.to_owned()),
        ),
    ] {
        let order = ToAgent::OneShot {
            what,
            instance: InstanceId(0),
            address: hub.address(0),
            birth: Box::new(birth(role, data)),
            timeout_us: 5_000_000,
        };
        let before = hub.heard.one_shots.len();
        hub.tell(agent, &order).await;
        hub.until("its answer", |hub| hub.heard.one_shots.len() > before)
            .await;
    }
    let results: Vec<_> = hub
        .heard
        .one_shots
        .iter()
        .map(|shot| shot.result.clone())
        .collect();
    assert_eq!(results[0].as_deref(), Ok(r#"{"token":"body of 7"}"#));
    assert!(results[1].is_ok(), "{results:?}");
    assert!(
        results[2]
            .as_ref()
            .is_err_and(|error| error.contains("other")),
        "{results:?}"
    );
    hub.finish().await;
}

/// Any program: a shell script here.
fn program(script: &str) -> How {
    How::Program(DriverProgram {
        scenario: "default".to_owned(),
        command: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
        env: vec![("OWN".to_owned(), "yes".to_owned())],
        directory: None,
        seed: 42,
    })
}

#[tokio::test(flavor = "current_thread")]
async fn a_program_is_told_where_to_go_and_what_it_prints_counts() {
    let mut hub = Hub::new("");
    let agent = hub.agent(0).await;
    let address = Address {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port: 4_000,
    };
    hub.instance(3, Some(address)).await;
    let script = r#"
      echo "at $COHORT_BASE_URL $COHORT_HOST $COHORT_PORT $COHORT_THREAD $COHORT_INSTANCE $COHORT_SEED $OWN"
      echo '{"check": "greeted", "ok": true}'
      echo '{"check": "greeted", "ok": false}'
      echo '{"metric": "depth", "value": 2.5}'
      test $COHORT_ITERATION = 1 && echo 'FAIL: total is wrong'
      exit $((COHORT_ITERATION / 2))
    "#;
    hub.begin(5, agent, 3, program(script)).await;
    all_idle(&mut hub, 1).await;
    let thread = ThreadId(5);
    hub.permit(Permit::Count {
        thread,
        iterations: 3,
    })
    .await;
    hub.until("three runs", |hub| hub.iterations() == 3).await;
    hub.stop(5, 0).await;
    hub.until("it is over", |hub| hub.heard.over.len() == 1)
        .await;
    hub.finish().await;
    let heard = &hub.heard;
    let line = "at http://127.0.0.1:4000 127.0.0.1 4000 5 3 42 yes";
    assert!(
        heard.lines.iter().any(|said| said == line),
        "{:?}",
        heard.lines
    );
    assert_eq!(heard.checks["greeted"], (3, 3));
    assert_eq!(heard.checks["total is wrong"], (0, 1));
    // One by what it printed, one by its exit code.
    assert_eq!(heard.failed[&thread], 2);
    let MetricValue::Values(depth) = &heard.metrics["depth"] else {
        panic!("{:?}", heard.metrics)
    };
    assert_eq!((depth.count, depth.sum), (3, 7_500.0));
}

#[tokio::test(flavor = "current_thread")]
async fn a_program_and_all_it_started_end_with_the_thread() {
    let mut hub = Hub::new("");
    let agent = hub.agent(0).await;
    let address = Address {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port: 4_000,
    };
    hub.instance(0, Some(address)).await;
    let mark = hub.directory.path().join("child");
    let script = format!(
        "sleep 600 & echo $! > {}; echo started; wait",
        mark.display()
    );
    hub.begin(1, agent, 0, program(&script)).await;
    hub.begin(2, agent, 0, program("exec /no/such/program"))
        .await;
    all_idle(&mut hub, 2).await;
    let until = At(u64::MAX / 4);
    hub.permit(Permit::Free {
        thread: ThreadId(1),
        until,
    })
    .await;
    hub.permit(Permit::Count {
        thread: ThreadId(2),
        iterations: 1,
    })
    .await;
    hub.until("it started", |hub| {
        hub.heard.lines.iter().any(|line| line == "started")
    })
    .await;
    hub.until("the other failed", |hub| {
        hub.heard.failed.get(&ThreadId(2)) == Some(&1)
    })
    .await;
    let child = std::fs::read_to_string(&mark).unwrap();
    let running = || {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    assert!(running());
    hub.stop(1, 0).await;
    hub.until("it is over", |hub| {
        hub.heard.ended.contains_key(&ThreadId(1))
    })
    .await;
    assert_eq!(hub.heard.ended[&ThreadId(1)], EndWhy::Interrupted);
    let deadline = Instant::now() + Duration::from_secs(10);
    while running() {
        assert!(
            Instant::now() < deadline,
            "what the program started is still there"
        );
        std::thread::yield_now();
    }
    hub.finish().await;
}

/// Two agents and two instances; thread 1 is idle on the first of both, and its journal may hold 2,000 bytes.
async fn hub_of_small_journals() -> (Hub, Log, [AgentId; 2]) {
    let log = Log::default();
    let mut hub = Hub::new(ONE_REQUEST);
    hub.load.journal_bytes_max = 2_000;
    let agents = [hub.agent(0).await, hub.agent(1).await];
    for instance in 0..2 {
        hub.instance(instance, Some(sut::serve(&log, counting(Duration::ZERO))))
            .await;
    }
    hub.begin_script(1, agents[0], 0).await;
    all_idle(&mut hub, 1).await;
    (hub, log, agents)
}

#[tokio::test(flavor = "current_thread")]
async fn a_journal_that_grows_beyond_its_limit_is_given_up_at_once_and_the_thread_goes_on() {
    let (mut hub, log, [agent, other]) = hub_of_small_journals().await;
    let thread = ThreadId(1);
    let count = |iterations| Permit::Count { thread, iterations };
    hub.permit(count(2_400)).await;
    hub.until("it is said unasked", |hub| !hub.heard.unmovable.is_empty())
        .await;
    hub.until("iterations", |hub| hub.iterations() == 2_400)
        .await;
    let said = &hub.heard.unmovable;
    assert_eq!(said.len(), 1, "{said:?}");
    let begins = said[0].starts_with("its journal is larger than 2000 bytes after ");
    assert!(begins, "{said:?}");
    // It was whole answers until then, and holds no more of them.
    let file = hub.journal_of(agent, 1);
    let survey = cohort_agent::journal::survey(&file).unwrap();
    assert!(survey.beyond && survey.begun < 2_400, "{survey:?}");
    hub.hand_off(1, other, 0).await;
    hub.until("it is refused", |hub| hub.heard.unmovable.len() == 2)
        .await;
    hub.cancel(1).await;
    hub.hand_off(1, agent, 1).await;
    hub.until("it moved", |hub| hub.runs_on(1).is_some()).await;
    hub.permit(count(1)).await;
    hub.until("one more", |hub| hub.iterations() == 2_401).await;
    hub.finish().await;
    assert_eq!(log.lock().unwrap().len(), 2_401);
}

#[tokio::test(flavor = "current_thread")]
async fn a_thread_whose_journal_is_too_large_stays_but_can_be_moved_here() {
    let (mut hub, log, [agent, other]) = hub_of_small_journals().await;
    let thread = ThreadId(1);
    hub.permit(Permit::Count {
        thread,
        iterations: 300,
    })
    .await;
    hub.until("iterations", |hub| hub.iterations() == 300).await;
    hub.hand_off(1, other, 0).await;
    hub.until("it is said", |hub| !hub.heard.unmovable.is_empty())
        .await;
    assert!(
        hub.heard.unmovable[0].contains("larger than 2000 bytes"),
        "{:?}",
        hub.heard.unmovable
    );
    hub.cancel(1).await;
    hub.hand_off(1, agent, 1).await;
    hub.until("it moved", |hub| hub.runs_on(1).is_some()).await;
    hub.permit(Permit::Count {
        thread,
        iterations: 1,
    })
    .await;
    hub.until("one more", |hub| hub.iterations() == 301).await;
    hub.finish().await;
    let log = log.lock().unwrap();
    assert_ne!(log[299].port, log[300].port);
    assert_eq!(log.len(), 301);
}

#[tokio::test(flavor = "current_thread")]
async fn an_agent_ends_with_its_hub_and_refuses_what_is_no_message() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for bytes in [
        &b""[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[5, 0, 0, 0, 200, 200, 200, 200, 200],
    ] {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut child = hub::this_test_as_agent()
            .stdin(std::os::fd::OwnedFd::from(theirs))
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut ours = tokio::net::UnixStream::from_std(ours).unwrap();
        let length = ours.read_u32_le().await.unwrap();
        ours.read_exact(&mut vec![0; length as usize])
            .await
            .unwrap();
        ours.write_all(bytes).await.unwrap();
        drop(ours);
        let status = child.wait().unwrap();
        assert_eq!(status.success(), bytes.is_empty(), "{bytes:?}");
    }
}
