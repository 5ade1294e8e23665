//! A service that is in order.

use super::{Campaign, assert_said};

const SCRIPT: &str = "\
import http from 'k6/http';
import { check, group, sleep } from 'k6';
import { SharedArray } from 'k6/data';
import { Counter } from 'k6/metrics';
import { url } from './lib/url.js';

const words = new SharedArray('words', () => JSON.parse(open('./words.json')));
const bought = new Counter('bought');

export const options = {
  vus: 3,
  duration: '2s',
  thresholds: { checks: ['rate==1'], bought: ['count>10'], 'http_req_duration{kind:item}': ['p(95)<5000'] },
};

function call(name, params) {
  return Object.assign({ headers: { 'X-Call': name } }, params);
}

export function setup() {
  const response = http.post(url('/users'), 'x', call('setup'));
  return { status: response.status, word: words[1] };
}

export default function (data) {
  group('shop', () => {
    const item = http.get(url(`/items/${__ITER}`), call(`${__VU} ${__ITER}`, { tags: { kind: 'item' } }));
    const right = check(item, {
      'the item is there': (r) => r.status === 200 && r.json('number') === __ITER,
      'setup gave its data': () => data.status === 201 && data.word === 'two',
    });
    bought.add(right ? 1 : 0);
  });
  sleep(0.05);
}

export function teardown(data) {
  http.del(url(`/users/${data.status}`), null, call('teardown'));
}
";

/// The value of a metric among the totals.
fn metric(totals: &serde_json::Value, name: &str, value: &str) -> f64 {
    let metrics = totals["metrics"].as_array().unwrap();
    let metric = metrics.iter().find(|metric| metric["name"] == name);
    metric.unwrap()["values"][value].as_f64().unwrap()
}

#[test]
fn a_healthy_service_passes_with_all_that_k6_scripts_do() {
    let suite = Campaign {
        script: SCRIPT.to_owned(),
        ..Campaign::default()
    }
    .write();
    std::fs::create_dir(suite.root().join("lib")).unwrap();
    let module = "export function url(path) { return 'http://localhost:8080' + path; }\n";
    suite.write("lib/url.js", module);
    suite.write("words.json", "[\"one\", \"two\"]");
    // The instance on which cases would be tried is set up too, and is none of the two.
    let ended = suite.run(&["--junit", "out.xml", "--no-reproduce"]);
    let wanted = [
        "nothing found ",
        "GET /items/{}",
        "POST /users",
        "DELETE /users/{}",
        "check held",
        "shop: setup gave its data",
        "threshold held   checks rate==1: 1\n",
        "threshold held   bought count>10: ",
        "threshold held   http_req_duration{kind:item} p(95)<5000: ",
    ];
    assert_said(&ended, 0, &wanted);
    assert!(!ended.stdout.contains("check failed"), "{ended:?}");

    let calls = suite.calls();
    // Once against each of the two instances.
    suite.assert_no_call_twice();
    for once in ["setup", "teardown"] {
        let count = calls.iter().filter(|call| *call == once).count();
        assert_eq!(count, 2, "{once}");
    }
    let iterations = calls.len() - 4;
    let totals = suite.totals();
    assert_eq!(metric(&totals, "http_reqs", "count") as usize, calls.len());
    assert_eq!(metric(&totals, "iterations", "count") as usize, iterations);
    let held = format!("check held       {iterations} of {iterations}  ");
    assert_eq!(ended.stdout.matches(&held).count(), 2, "{ended:?}");
    let verdict = format!("{} calls and {iterations} iterations", calls.len());
    assert!(ended.stdout.contains(&verdict), "{ended:?}");

    let junit = suite.read("out.xml");
    assert!(
        junit.contains(r#"tests="6" skipped="0" failures="0" errors="0""#),
        "{junit}"
    );
    let events = suite.events();
    assert_eq!(events.first().unwrap()["record"], "started");
    assert_eq!(events.last().unwrap()["record"], "ended");
    assert_eq!(events.last().unwrap()["ending"], "complete");
    let page = suite.read(".cohort/campaigns/1/report.html");
    assert!(page.contains("GET /items/{}"), "{page}");
    let shown = suite.cohort(&["show"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert_eq!(shown.stdout, ended.stdout);
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn each_instance_has_a_network_of_its_own_where_permitted() {
    let suite = Campaign {
        sut: "instances = 2\nenv = { HOST = \"{host}\" }\nport = 8080\nrate = \"100Mbit\"",
        command: r#"["python3", "server.py", "8080"]"#,
        ..Campaign::of("check(get('/items/1'), { 'is there': (r) => r.status === 200 })")
    }
    .write();
    let ended = suite.run_for("1s");
    if ended.stderr.contains("without a network of their own") {
        assert_eq!(ended.code, Some(3), "{ended:?}");
        println!("instances have no network of their own here: only the refusal was tested");
        return;
    }
    assert_said(&ended, 0, &["nothing found ", "on 2 instances"]);
    assert_eq!(suite.events()[0]["isolation"]["net"], true);
    suite.assert_no_call_twice();
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}
