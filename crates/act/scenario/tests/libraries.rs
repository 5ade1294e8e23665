//! The libraries that scripts import by habit, and modules as they were before `import`.

mod support;

use cohort_scenario::{Birth, Ended, Machine, Note, Role, ScenarioInfo, Script};
use support::{Files, World, logs, ok, run, script};

const UTILS: &str = "https://jslib.k6.io/k6-utils/1.4.0/index.js";

/// Runs `body` with what is imported, and gives what it logs.
fn said(imports: &str, from: &str, body: &str) -> Vec<String> {
    logs(&format!(
        "import {imports} from '{from}'; export default async function () {{ {body} }}"
    ))
}

#[test]
fn utils_find_and_draw() {
    let body = r"
        console.log(findBetween('<a>1</a><a>2</a>', '<a>', '</a>'), findBetween('<a>1</a><a>2</a>', '<a>', '</a>', true), findBetween('x', 'a', 'b'));
        console.log(parseDuration('1h1m30s500ms'), parseDuration('1.5s'), parseDuration('20'));
        const drawn = new Set(Array.from({ length: 200 }, () => randomIntBetween(3, 5)));
        console.log([...drawn].sort(), ['a', 'b'].includes(randomItem(['a', 'b'])), /^[xy]{8}$/.test(randomString(8, 'xy')), randomString(5).length);
        const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
        console.log(uuid.test(uuidv4()), uuid.test(uuidv4(true)), uuidv4() !== uuidv4());
        console.log(normalDistributionStages(100, 600, 5));";
    let all = "{ findBetween, parseDuration, randomIntBetween, randomItem, randomString, uuidv4, normalDistributionStages }";
    let stages: Vec<String> = [
        (100, 15),
        (80, 53),
        (80, 100),
        (80, 100),
        (80, 53),
        (80, 15),
        (100, 0),
    ]
    .map(|(seconds, target)| format!(r#"{{"duration":"{seconds}s","target":{target}}}"#))
    .into();
    let expected = [
        r#"1 ["1","2"] null"#,
        "3690500 1500 20",
        "[3,4,5] true true 5",
        "true true true",
        &format!("[{}]", stages.join(",")),
    ];
    assert_eq!(said(all, UTILS, body), expected);
    // The same by another version, and by its default name for older ones.
    let older = "http://jslib.k6.io/k6-utils/1.0.0/index.js";
    assert_eq!(
        said("* as u", older, "console.log(u.randomIntBetween(2, 2))"),
        ["2"]
    );
}

#[test]
fn utils_know_the_stage_and_wait_for_checks() {
    let source = format!(
        "import {{ check, getCurrentStageIndex, tagWithCurrentStageProfile }} from '{UTILS}'; import {{ sleep }} from 'k6'; import exec from 'k6/execution';
        export const options = {{ scenarios: {{ ramp: {{ executor: 'ramping-vus', stages: [{{ duration: '10s', target: 5 }}, {{ duration: '1m', target: 5 }}, {{ duration: '5s', target: 0 }}] }} }} }};
        export default async function () {{
          for (const seconds of [1, 30, 45]) {{ sleep(seconds); tagWithCurrentStageProfile(); console.log(getCurrentStageIndex(), exec.vu.metrics.tags.stage_profile); }}
          await check(Promise.resolve(2), {{ two: async (n) => n === 2, three: (n) => n === 3 }});
        }}"
    );
    let mut world = World::new(|_| ok(""));
    let birth = Birth {
        scenario: ScenarioInfo {
            name: "ramp".into(),
            executor: "ramping-vus".into(),
            start_unix_us: world.now_us,
            ..ScenarioInfo::default()
        },
        ..Birth::default()
    };
    let mut machine = Machine::new(&script(&source), birth).unwrap();
    assert_eq!(world.run(&mut machine, 1), None);
    assert_eq!(world.failures(), [""; 0]);
    assert_eq!(world.logs(), ["0 ramp-up", "1 steady", "2 ramp-down"]);
    let checks = [("two".to_owned(), true), ("three".to_owned(), false)];
    assert_eq!(world.checks(), checks);
}

#[test]
fn urls_are_as_browsers_have_them() {
    let body = r"
        const url = new URL('/b?x=1&y=a%20b#h', 'https://u:p@h.test:9000/a');
        console.log(url.href, url.origin, url.host, url.hostname, url.port, url.pathname, url.search, url.hash, url.username, url.protocol);
        url.searchParams.append('z', 'ü &'); url.searchParams.delete('x'); url.pathname = '/c d'; url.port = '';
        console.log(`${url}`, url.searchParams.get('z'), url.searchParams.get('x'), [...url.searchParams.keys()]);
        console.log(new URLSearchParams({ a: 1, b: 'c d' }).toString(), new URLSearchParams([['a', 'b'], ['a', 'c']]).getAll('a'), new URLSearchParams('?q=1+2').get('q'));
        try { new URL('nowhere'); } catch (error) { console.log(error.name, error.message); }";
    let from = "https://jslib.k6.io/url/1.0.0/index.js";
    let expected = [
        "https://u:p@h.test:9000/b?x=1&y=a%20b#h https://h.test:9000 h.test:9000 h.test 9000 /b ?x=1&y=a%20b #h u https:",
        r#"https://u:p@h.test/c%20d?y=a+b&z=%C3%BC+%26#h ü & null ["y","z"]"#,
        r#"a=1&b=c+d ["b","c"] 1 2"#,
        "TypeError invalid URL 'nowhere': relative URL without a base",
    ];
    assert_eq!(said("{ URL, URLSearchParams }", from, body), expected);
}

#[test]
fn csv_forms_and_passwords() {
    let papaparse = "https://jslib.k6.io/papaparse/5.1.1/index.js";
    let body = r#"
        const { data, meta, errors } = papa.parse('name;n\r\n"a;""b""";1\r\nc\r\n\r\n', { header: true, skipEmptyLines: true, dynamicTyping: true });
        console.log(data, meta.fields, errors.length, papa.parse('1,2\n3,"4\n5"').data, papa.unparse([{ a: 1, b: 'x,"y' }]));"#;
    let expected = "[{\"name\":\"a;\\\"b\\\"\",\"n\":1},{\"name\":\"c\"}] [\"name\",\"n\"] 1 [[\"1\",\"2\"],[\"3\",\"4\\n5\"]] a,b\r\n1,\"x,\"\"y\"";
    assert_eq!(said("papa", papaparse, body), [expected]);
    let formdata = "https://jslib.k6.io/formdata/0.0.2/index.js";
    let body = r"
        const form = new FormData(); form.boundary = 'B'; form.append('t', 'ü'); form.append('f', { data: new Uint8Array([255]).buffer, filename: 'x.bin', content_type: 'image/x' });
        console.log(encodeURIComponent(String.fromCharCode(...new Uint8Array(form.body()))).replace(/%0D%0A/g, '|').replace(/%20/g, ' '));";
    let expected = "--B|Content-Disposition%3A form-data%3B name%3D%22t%22||%C3%83%C2%BC|--B|Content-Disposition%3A form-data%3B \
                    name%3D%22f%22%3B filename%3D%22x.bin%22|Content-Type%3A image%2Fx||%C3%BF|--B--|";
    assert_eq!(said("{ FormData }", formdata, body), [expected]);
    // The vectors of RFC 6238.
    let totp = "https://jslib.k6.io/totp/1.0.0/index.js";
    let body = r"
        const totp = new TOTP('GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ', 8), now = Math.floor(Date.now() / 1000);
        console.log(await totp.gen(30, now - 59), await totp.gen(30, now - 1111111109), await totp.verify(await totp.gen()));";
    assert_eq!(said("{ TOTP }", totp, body), ["94287082 07081804 true"]);
}

#[test]
fn a_session_has_a_base_url_headers_and_tags() {
    let source = "import { Httpx, Get, Post } from 'https://jslib.k6.io/httpx/0.1.0/index.js';
        const session = new Httpx({ baseURL: 'http://h.test', headers: { A: '1' }, timeout: 2000 });
        session.addHeader('B', '2'); session.addTag('t', 'x');
        export default async function () {
          session.get('/get', null, { headers: { A: '3' } }); session.post('http://other.test/post', { a: 'b' });
          session.batch([new Get('/one'), new Post('/two', { body: 'text' })], { tags: { name: 'both' } });
          await session.asyncGet('/async');
        }";
    let world = run(source, 1, |_| ok("{}"));
    assert_eq!(world.failures(), [""; 0]);
    let seen: Vec<String> = world
        .requests
        .iter()
        .map(|request| {
            let header = |name: &str| {
                let mut headers = request.headers.iter();
                headers
                    .find(|(known, _)| known == name)
                    .map_or("", |(_, value)| value.as_str())
            };
            let body = String::from_utf8_lossy(&request.body);
            let (a, b) = (header("A"), header("B"));
            format!(
                "{} {} {a}{b} {body} {}",
                request.method, request.url, request.name
            )
        })
        .collect();
    let expected = [
        "GET http://h.test/get 32  http://h.test/get",
        "POST http://other.test/post 12 a=b http://other.test/post",
        "GET http://h.test/one 12  both",
        "POST http://h.test/two 12 text both",
        "GET http://h.test/async 12  http://h.test/async",
    ];
    assert_eq!(seen, expected);
    assert_eq!(world.requests[0].timeout_us, 2_000_000);
    assert_eq!(world.requests[0].tags, [("t".to_owned(), "x".to_owned())]);
}

#[test]
fn expectations_are_checks() {
    let source = "import chai, { describe, expect } from 'https://jslib.k6.io/k6chaijs/4.3.4.3/index.js'; import http from 'k6/http';
        export default function () {
          const held = describe('all of it', () => {
            const response = http.get('http://h/');
            expect(response.status, 'status').to.equal(200); expect(response).to.have.validJsonBody();
            expect(response.json(), 'body').to.be.an('object').that.has.all.keys('a', 'list');
            expect(response.json().list).to.have.lengthOf(3).and.include(2); expect([1, 2]).to.have.ordered.members([1, 2]).but.not.have.ordered.members([2, 1]);
            expect({ a: { b: ['x', 'y'] } }).to.have.nested.property('a.b[1]', 'y'); expect({ a: 1 }).to.deep.equal({ a: 1 }); expect({ a: 1 }).to.not.equal({ a: 1 });
            expect(true).to.be.true; expect(false).to.be.false(); expect([]).to.be.empty; expect(null).to.not.exist; expect('foobar').to.match(/^foo/).and.contain('bar');
            expect(() => { throw new TypeError('Illegal!'); }).to.throw(TypeError, 'Illegal'); expect(1.5).to.be.closeTo(1.4, 0.2); expect(5).to.be.within(1, 5); expect('abc').to.have.length.above(2);
            expect('today is sunny').to.contain.oneOf(['sunny', 'cloudy']); const o = { n: 1 }; expect(() => { o.n += 2; }).to.increase(o, 'n').by(2);
          });
          const failed = describe('it fails', () => { expect(1, 'one').to.be.above(2); expect(1, 'never').to.equal(1); });
          const thrown = describe('it throws', () => { null.x; });
          console.log(held, failed, thrown, chai.config.aggregateChecks);
          expect(2, 'outside').to.equal(3);
        }";
    let world = run(source, 1, |_| ok(r#"{"a": 1, "list": [1, 2, 3]}"#));
    assert_eq!(world.logs().last().unwrap(), "true false false true");
    assert!(
        world.failures()[0]
            .starts_with("AssertionError: expected outside to equal 3 at script.js:16:35"),
        "{:?}",
        world.failures()
    );
    let checks = world.checks();
    let missed: Vec<&str> = checks
        .iter()
        .filter(|(_, passed)| !passed)
        .map(|(name, _)| name.as_str())
        .collect();
    let expected = [
        "expected one to be above 2",
        "Exception raised \"TypeError: cannot read property 'x' of null\"",
        "expected outside to equal 3",
    ];
    assert_eq!(missed, expected);
    assert!(checks.contains(&("expected status to equal 200".into(), true)));
    assert!(checks.len() > 25, "{}", checks.len());
    let groups = world
        .notes
        .iter()
        .filter(|note| matches!(note, Note::Group { .. }));
    assert_eq!(groups.count(), 3);
}

const DATA: &str = r#"{"metrics": {
    "http_req_duration": {"type": "trend", "contains": "time", "values": {"avg": 1.5, "min": 0.25, "med": 1, "max": 90000, "p(90)": 2, "p(95)": 2.5}, "thresholds": {"p(95)<500": {"ok": true}}},
    "http_req_failed": {"type": "rate", "contains": "default", "values": {"rate": 0.125, "passes": 1, "fails": 7}, "thresholds": {"rate<0.1": {"ok": false}}},
    "data_sent": {"type": "counter", "contains": "data", "values": {"count": 52342, "rate": 1500}}},
    "options": {"summaryTrendStats": ["avg", "min", "med", "max", "p(90)", "p(95)"], "summaryTimeUnit": ""},
    "root_group": {"name": "", "groups": [{"name": "buy", "groups": [], "checks": [{"name": "is paid", "passes": 1, "fails": 2}]}], "checks": [{"name": "is up", "passes": 5, "fails": 0}]}}"#;

fn summary(script: &Script) -> serde_json::Value {
    let role = Role::Summary { data: DATA.into() };
    let birth = Birth {
        role,
        ..Birth::default()
    };
    let mut machine = Machine::new(script, birth).unwrap();
    match World::new(|_| ok("")).run(&mut machine, 0) {
        Some(Ended::Returned(Some(json))) => serde_json::from_str(&json).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn summaries_are_written() {
    let script = script("import { textSummary, jUnit } from 'https://jslib.k6.io/k6-summary/0.0.2/index.js';
        import { htmlReport } from 'https://raw.githubusercontent.com/benc-uk/k6-reporter/main/dist/bundle.js';
        export default function () {}
        export const handleSummary = (data) => ({ stdout: textSummary(data, { indent: ' ', enableColors: false }), 'junit.xml': jUnit(data), 'page.html': htmlReport(data) });");
    let written = summary(&script);
    let expected = [
        "     ✓ is up",
        "",
        "     █ buy",
        "",
        "       ✗ is paid",
        "        ↳  33% — ✓ 1 / ✗ 2",
        "",
        "     data_sent...........: 52 kB  1.5 kB/s",
        "   ✓ http_req_duration...: avg=1.5ms min=250µs med=1ms max=1m30s p(90)=2ms p(95)=2.5ms",
        "   ✗ http_req_failed.....: 12.50% ✓ 1      ✗ 7",
    ];
    assert_eq!(written["stdout"].as_str().unwrap(), expected.join("\n"));
    let junit = written["junit.xml"].as_str().unwrap();
    assert!(
        junit.contains(r#"<testsuites tests="2" failures="1">"#),
        "{junit}"
    );
    assert!(junit.contains(r#"<testcase name="http_req_failed - rate&lt;0.1"><failure message="failed" /></testcase>"#), "{junit}");
    let page = written["page.html"].as_str().unwrap();
    assert!(
        page.contains("<td>http_req_duration</td>") && page.contains("class=\"bad\">rate&lt;0.1<"),
        "{page}"
    );
}

#[test]
fn modules_may_require() {
    let files = Files::new(&[
        (
            "main.js",
            "const http = require('k6/http'); const { check } = require('k6');\nconst lib = require('./lib/shop.js');
            module.exports.options = { iterations: 2 };
            module.exports.default = function () { console.log(lib.buy(http), check(1, { one: (n) => n === 1 }), lib.name); };
            exports.setup = () => 7;",
        ),
        (
            "lib/shop.js",
            "var name = 'shop', data = open('./data.txt'); undeclared = 1;
            exports = module.exports = { name, buy: (http) => http.get('http://h/' + require('../esm.js').path + data).status };",
        ),
        ("lib/data.txt", "data"),
        ("esm.js", "import { twice } from './umd.js'; import umd from './umd.js'; import * as all from './umd.js';
            const { sleep } = require('k6');
            export const path = `${twice(4)}${umd.twice(1)}${all.thrice(1)}${typeof sleep}/`;"),
        (
            "umd.js",
            "!function (root, make) { if (typeof exports === 'object' && typeof module !== 'undefined') module.exports = make(); else root.umd = make(); }(this, function () { 'use strict';
            return { twice: function (n) { return 2 * n; }, thrice: (n) => 3 * n }; });",
        ),
    ]);
    let script = files.load("main.js").unwrap();
    assert_eq!(script.options()["iterations"], 2);
    assert!(script.exports("setup") && script.exports("default"));
    let script = Script::from_bundle(script.bundle().clone()).unwrap();
    let mut world = World::new(|_| ok(""));
    let mut machine = Machine::new(&script, Birth::default()).unwrap();
    assert_eq!(world.run(&mut machine, 1), None);
    assert_eq!(world.failures(), [""; 0]);
    assert_eq!(world.logs(), ["200 true shop"]);
    assert_eq!(world.requests[0].url, "http://h/823function/data");
    // Where something fails is told by the file's own lines.
    let files = Files::new(&[
        (
            "main.js",
            "import { f } from './old.js';\nexport default () => f();",
        ),
        ("old.js", "exports.f = function () {\n  null.x;\n};"),
    ]);
    let mut world = World::new(|_| ok(""));
    let mut machine = Machine::new(&files.load("main.js").unwrap(), Birth::default()).unwrap();
    world.run(&mut machine, 1);
    assert!(
        world.failures()[0].ends_with("at old.js:2:3"),
        "{:?}",
        world.failures()
    );
}
