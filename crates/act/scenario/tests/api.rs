//! k6's API as its documentation has it.

mod support;

use cohort_scenario::{
    Birth, Ended, Expected, FailureKind, Machine, MetricKind, Note, Outcome, Request, ResponseType,
    Role, Sample, TransportError, error_code,
};
use support::{Files, World, load, logs, ok, run, script, with_headers};

/// What an expression is, as JSON, inside an iteration.
fn value(imports: &str, expression: &str) -> String {
    let source = format!(
        "{imports}\nexport default async function () {{ console.log(JSON.stringify({expression})); }}"
    );
    logs(&source).join("\n")
}

fn sent(body: &str) -> Request {
    let source = format!("import http from 'k6/http'; export default function () {{ {body} }}");
    let world = run(&source, 1, |_| ok(""));
    assert_eq!(world.failures(), [""; 0], "{body}");
    world.requests.into_iter().next().unwrap()
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let found = request
        .headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

fn text(request: &Request) -> &str {
    std::str::from_utf8(&request.body).unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn values_of_expressions() {
    let crypto = "import crypto from 'k6/crypto';";
    let encoding = "import encoding from 'k6/encoding';";
    let exec = "import exec from 'k6/execution';";
    let http = "import http from 'k6/http';";
    for (imports, expression, expected) in [
        (
            crypto,
            "crypto.md5('hello', 'hex')",
            r#""5d41402abc4b2a76b9719d911017c592""#,
        ),
        (
            crypto,
            "crypto.sha1('hello', 'hex')",
            r#""aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d""#,
        ),
        (
            crypto,
            "crypto.sha256('', 'base64')",
            r#""47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=""#,
        ),
        (
            crypto,
            "crypto.sha512_224('abc', 'hex')",
            r#""4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa""#,
        ),
        (
            crypto,
            "crypto.ripemd160('', 'hex')",
            r#""9c1185a5c5e9fc54612808977ee8f548b2258d31""#,
        ),
        (
            crypto,
            "crypto.hmac('sha256', 'key', 'The quick brown fox jumps over the lazy dog', 'hex')",
            r#""f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8""#,
        ),
        (
            crypto,
            "(() => { const h = crypto.createHash('md5'); h.update('hel'); h.update('lo'); return h.digest('hex') })()",
            r#""5d41402abc4b2a76b9719d911017c592""#,
        ),
        (
            crypto,
            "crypto.createHMAC('md5', 'k').update('x').digest('base64url').length",
            "24",
        ),
        (crypto, "crypto.randomBytes(5).byteLength", "5"),
        (
            crypto,
            "new Uint8Array(crypto.sha1('hello', 'binary'))[0]",
            "170",
        ),
        (
            encoding,
            "encoding.b64encode('hello world', 'rawurl')",
            r#""aGVsbG8gd29ybGQ""#,
        ),
        (
            encoding,
            "encoding.b64decode('aGVsbG8gd29ybGQ=', 'std', 's')",
            r#""hello world""#,
        ),
        (encoding, "encoding.b64decode('aGk=').byteLength", "2"),
        (
            exec,
            "[exec.vu.idInTest, exec.vu.idInInstance, exec.vu.iterationInScenario, __VU, __ITER]",
            "[1,1,0,1,0]",
        ),
        (
            exec,
            "[exec.scenario.name, exec.scenario.executor, exec.scenario.progress, exec.scenario.iterationInTest]",
            r#"["default","per-vu-iterations",0.25,0]"#,
        ),
        (
            exec,
            "[exec.instance.vusActive, exec.instance.iterationsCompleted, exec.test.options]",
            "[0,0,{}]",
        ),
        (
            "",
            "[new Date().getTime() === Date.now() - 1, new Date(0).toISOString(), typeof Date(), new Date() instanceof Date]",
            r#"[true,"1970-01-01T00:00:00.000Z","string",true]"#,
        ),
        (
            "",
            "[Date.UTC(1970, 0, 2), Date.parse('1970-01-01'), class X extends Date {}.name]",
            r#"[86400000,0,"X"]"#,
        ),
        ("", "[performance.now(), performance.now()]", "[0,1]"),
        (
            "",
            "[typeof WeakRef, typeof FinalizationRegistry, typeof require, typeof process]",
            r#"["undefined","undefined","undefined","undefined"]"#,
        ),
        (
            "",
            "await new Promise((done) => setTimeout((x) => done(x), 5, 'later'))",
            r#""later""#,
        ),
        (
            "",
            "await new Promise((done) => { let n = 0; const id = setInterval(() => { if (++n === 3) { clearInterval(id); done(n) } }, 10) })",
            "3",
        ),
        (http, "http.get('http://h/').body", r#""http://h/""#),
        (http, "http.get('http://h/').timings.duration", "1.53"),
        (http, "http.get('http://h/').timings.waiting", "1.5"),
        (
            http,
            "http.get('http://h/').headers",
            r#"{"Content-Type":"text/plain"}"#,
        ),
        (
            http,
            "(({status, status_text, proto, remote_ip, remote_port, url, error, error_code}) => [status, status_text, proto, remote_ip, remote_port, url, error, error_code])(http.get('http://h/'))",
            r#"[200,"200 OK","HTTP/1.1","127.0.0.1",80,"http://h/","",0]"#,
        ),
        (
            http,
            "http.post('http://h/a', 'x', {headers: {A: 'b'}}).request.headers.A",
            r#"["b"]"#,
        ),
        (
            http,
            "http.batch(['http://h/1', ['POST', 'http://h/2', 'x'], {method: 'GET', url: 'http://h/3'}]).map(r => r.url)",
            r#"["http://h/1","http://h/2","http://h/3"]"#,
        ),
        (
            http,
            "Object.entries(http.batch({a: 'http://h/1', b: {url: 'http://h/2'}})).map(([k, r]) => k + r.status)",
            r#"["a200","b200"]"#,
        ),
        (
            http,
            "(await Promise.all([http.asyncRequest('GET', 'http://h/1'), http.asyncRequest('GET', 'http://h/2')])).map(r => r.body)",
            r#"["http://h/1","http://h/2"]"#,
        ),
        (
            http,
            "JSON.parse(JSON.stringify(http.get('http://h/'))).status",
            "200",
        ),
        (
            http,
            "http.get('http://h/', {responseType: 'none'}).body",
            "null",
        ),
        (
            http,
            "http.get('http://h/', {responseType: 'binary'}).body.byteLength",
            "9",
        ),
        (http, "`${http.url`http://h/${1}`}`", r#""http://h/1""#),
    ] {
        assert_eq!(value(imports, expression), expected, "{expression}");
    }
}

#[test]
fn requests_are_what_k6_sends() {
    let request = sent(
        "http.get('http://u:p%40@h:81/p?q=1#f', {headers: {'X-A': 1}, tags: {my: 't'}, timeout: '1m30s'})",
    );
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("GET", "http://h:81/p?q=1")
    );
    assert_eq!(header(&request, "authorization"), Some("Basic dTpwQA=="));
    assert_eq!(
        (header(&request, "x-a"), request.timeout_us),
        (Some("1"), 90_000_000)
    );
    assert_eq!(request.tags, [("my".to_string(), "t".to_string())]);
    assert_eq!(
        (request.name.as_str(), request.named),
        ("http://h:81/p?q=1#f", false)
    );
    assert_eq!(
        (request.response_type, &request.expected),
        (ResponseType::Text, &Expected::default())
    );

    let request = sent("http.post('http://h/', {b: 'x y', a: [1, 'ü']})");
    assert_eq!(text(&request), "a=1&a=%C3%BC&b=x+y");
    assert_eq!(
        header(&request, "content-type"),
        Some("application/x-www-form-urlencoded")
    );

    let request =
        sent("http.put('http://h/', '{}', {headers: {'content-type': 'application/json'}})");
    assert_eq!((request.method.as_str(), text(&request)), ("PUT", "{}"));
    assert_eq!(header(&request, "content-type"), Some("application/json"));

    let request = sent("http.patch('http://h/', new Uint8Array([1, 2, 3]).subarray(1))");
    assert_eq!(request.body, [2, 3]);
    let request = sent("http.del('http://h/', new Uint8Array([7]).buffer, {tags: {name: 'n'}})");
    assert_eq!(
        (
            request.method.as_str(),
            &request.body[..],
            request.name.as_str(),
            request.named
        ),
        ("DELETE", &[7][..], "n", true)
    );

    let request = sent("const id = 7; http.get(http.url`http://h/items/${id}/x`)");
    assert_eq!(
        (request.url.as_str(), request.name.as_str()),
        ("http://h/items/7/x", "http://h/items/${}/x")
    );

    let request =
        sent("http.post('http://h/', {f: http.file('data', 'a.txt', 'text/plain'), k: 'v'})");
    let boundary = header(&request, "content-type")
        .unwrap()
        .strip_prefix("multipart/form-data; boundary=")
        .unwrap()
        .to_string();
    let expected = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\ndata\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\nv\r\n--{boundary}--\r\n"
    );
    assert_eq!(text(&request), expected);

    let request = sent(
        "http.get('http://h/', {responseCallback: http.expectedStatuses(404, {min: 200, max: 204})})",
    );
    assert_eq!(
        request.expected,
        Expected::Statuses(vec![(404, 404), (200, 204)])
    );
    let request = sent("http.setResponseCallback(null); http.request('options', 'http://h/')");
    assert_eq!(
        (request.method.as_str(), &request.expected),
        ("OPTIONS", &Expected::Unjudged)
    );
    let request = sent("http.post('http://h/', 'aaaaaaaaaaaa', {compression: 'gzip'})");
    assert_eq!(
        (header(&request, "content-encoding"), request.body[0]),
        (Some("gzip"), 0x1f)
    );
}

#[test]
fn cookies_are_kept_for_an_iteration() {
    let source = "import http from 'k6/http';
        export default function () {
          http.get('http://h/set'); http.get('http://h/a', {cookies: {mine: '1', s: {value: 'over', replace: true}}});
          const jar = http.cookieJar(); console.log(JSON.stringify(jar.cookiesForURL('http://h/')));
          jar.set('http://h/', 'j', 'k', {path: '/a', expires: 'Wed, 21 Oct 2099 07:28:00 GMT'}); http.get('http://h/a/b');
          jar.delete('http://h/', 's'); http.get('http://h/'); http.get('http://h/x', {jar: new http.CookieJar()});
          jar.clear('http://h/a/'); http.get('http://h/a/');
          const r = http.get('http://h/set', {jar: null}); console.log(r.cookies.s[0].value, r.cookies.s[0].http_only);
        }";
    let world = run(source, 2, |request| {
        if request.url.ends_with("/set") {
            with_headers(200, &[("set-cookie", "s=1; HttpOnly; Path=/")], "")
        } else {
            ok("")
        }
    });
    assert_eq!(world.failures(), [""; 0]);
    let of_one = [
        None,
        Some("mine=1; s=over"),
        Some("j=k; s=1"),
        None,
        None,
        None,
        None,
    ];
    let cookies: Vec<_> = world
        .requests
        .iter()
        .map(|request| header(request, "cookie"))
        .collect();
    assert_eq!(cookies, [of_one, of_one].concat());
    assert_eq!(world.logs()[..2], [r#"{"s":["1"]}"#, "1 true"]);
}

#[test]
fn redirects_are_followed_with_their_cookies() {
    let source = "import http from 'k6/http';
        export default function () {
          const r = http.post('http://h/1', 'body', {headers: {Authorization: 'x', 'Content-Type': 'text/x'}});
          console.log(r.url, r.status, r.body);
          console.log(http.get('http://h/1', {redirects: 0}).status, http.get('http://h/1', {redirects: 1}).url);
          console.log(http.get('http://h/loop').status);
        }";
    let world = run(source, 1, |request| match request.url.as_str() {
        "http://h/1" => with_headers(302, &[("Location", "/2"), ("Set-Cookie", "c=1")], ""),
        "http://h/2" => with_headers(307, &[("Location", "http://other/3")], ""),
        "http://h/loop" => with_headers(301, &[("Location", "/loop")], ""),
        _ => ok("end"),
    });
    assert_eq!(
        world.logs(),
        ["http://other/3 200 end", "302 http://h/2", "301"]
    );
    let (first, second, third) = (&world.requests[0], &world.requests[1], &world.requests[2]);
    assert_eq!(
        (first.method.as_str(), second.method.as_str(), text(second)),
        ("POST", "GET", "")
    );
    assert_eq!(
        (
            header(second, "cookie"),
            header(second, "content-type"),
            header(second, "referer")
        ),
        (Some("c=1"), None, Some("http://h/1"))
    );
    assert_eq!(
        (
            header(second, "authorization"),
            header(third, "authorization"),
            header(third, "cookie")
        ),
        (Some("x"), None, None)
    );
    assert_eq!(
        world
            .requests
            .iter()
            .filter(|request| request.url.ends_with("loop"))
            .count(),
        11
    );
}

#[test]
fn failures_are_returned_or_thrown() {
    let refused = |_: &Request| -> Outcome {
        Err(TransportError {
            code: error_code::TCP_DIAL_REFUSED,
            message: "dial: connection refused".into(),
            timings: Default::default(),
        })
    };
    let source = "import http from 'k6/http';
        export default function () {
          const r = http.get('http://h/'); console.log(r.status, r.error, r.error_code, r.body === null);
          console.log(http.get('nothing').error_code);
          try { r.json() } catch (e) { console.log(e.message) }
          try { r.html() } catch (e) { console.log(e.message) }
          http.get('http://h/', {throw: true});
        }";
    let world = run(source, 1, refused);
    let logs = world.logs();
    assert!(
        logs[0].starts_with("Request Failed: GET \"http://h/\": dial: connection refused"),
        "{logs:?}"
    );
    assert_eq!(logs[1], "0 dial: connection refused 1212 true");
    assert_eq!(logs[3], "1020");
    assert!(
        logs[4].starts_with("the body is null")
            && logs[5].starts_with("Response.html() needs the body as text"),
        "{logs:?}"
    );
    let failures = world.failures();
    assert!(
        failures[0].contains("connection refused") && failures[0].ends_with("script.js:7:16"),
        "{failures:?}"
    );
}

#[test]
fn bodies_are_unpacked_and_selected() {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(br#"{"a":{"b":[1,{"c":"d"}]}}"#).unwrap();
    let packed = gzip.finish().unwrap();
    let source = "import http from 'k6/http';
        export default function () {
          const r = http.get('http://h/gzip'); console.log(r.body.length, r.json('a.b.1.c'), r.json('a.b.#'), r.json('x'), r.json().a.b[0]);
          try { http.get('http://h/brotli').body } catch (e) { console.log(e.message) }
          try { http.get('http://h/bad').json() } catch (e) { console.log(e.message) }
        }";
    let world = run(source, 1, |request| match request.url.as_str() {
        "http://h/gzip" => {
            let mut response = with_headers(200, &[("Content-Encoding", "gzip")], "").unwrap();
            response.body.clone_from(&packed);
            Ok(response)
        }
        "http://h/brotli" => with_headers(200, &[("content-encoding", "br")], "x"),
        _ => ok("{bad"),
    });
    let logs = world.logs();
    assert_eq!(
        logs[0],
        "25 d 2 undefined 1",
        "{logs:?} {:?}",
        world.failures()
    );
    assert!(logs[1].contains("'br' is not supported"), "{logs:?}");
    assert!(
        logs[2].starts_with("cannot parse the body of GET http://h/bad (4 bytes) as JSON"),
        "{logs:?}"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn checks_groups_and_metrics_are_noted() {
    let source = "import http from 'k6/http'; import {check, group, sleep, fail} from 'k6';
        import {Counter, Gauge, Rate, Trend} from 'k6/metrics'; import exec from 'k6/execution';
        const counter = new Counter('c'), gauge = new Gauge('g'), rate = new Rate('r'), trend = new Trend('t', true);
        export default function () {
          exec.vu.metrics.tags.who = 'me';
          const answer = group('outer', () => group('inner', () => { http.get('http://h/'); sleep(0.5); counter.add(2, {tag: 'x'}); return 42; }));
          console.log(answer, check(5, {'five': 5, 'false': (v) => v !== 5}, {k: 'v'}));
          gauge.add(1.5); rate.add(true); rate.add(0); trend.add(3); console.log(counter.add('x'), counter.name);
          console.warn('w', [1], {a: undefined}, null); console.error(new Error('e'));
          group('g2', () => fail('enough'));
        }";
    let world = run(source, 1, |_| ok(""));
    assert_eq!(
        (world.requests[0].group.as_str(), world.slept_us),
        ("::outer::inner", 500_000)
    );
    assert_eq!(
        world.requests[0].tags,
        [("who".to_string(), "me".to_string())]
    );
    let samples: Vec<_> = world
        .notes
        .iter()
        .filter_map(|note| match note {
            Note::Sample(Sample {
                metric,
                kind,
                value,
                is_time,
                group,
                tags,
            }) => Some((
                metric.as_str(),
                *kind,
                *value,
                *is_time,
                group.as_str(),
                tags.len(),
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        samples,
        [
            ("c", MetricKind::Counter, 2.0, false, "::outer::inner", 2),
            ("g", MetricKind::Gauge, 1.5, false, "", 1),
            ("r", MetricKind::Rate, 1.0, false, "", 1),
            ("r", MetricKind::Rate, 0.0, false, "", 1),
            ("t", MetricKind::Trend, 3.0, true, "", 1),
        ]
    );
    let groups: Vec<_> = world
        .notes
        .iter()
        .filter_map(|note| match note {
            Note::Group { path, duration_us } => Some((path.as_str(), *duration_us)),
            _ => None,
        })
        .collect();
    assert_eq!(
        groups,
        [
            ("::outer::inner", 502_000),
            ("::outer", 502_000),
            ("::g2", 0)
        ]
    );
    assert_eq!(
        world.checks(),
        [("five".into(), true), ("false".into(), false)]
    );
    assert_eq!(
        world.logs(),
        [
            "42 false",
            "'x' is an invalid value for metric 'c', a number or a boolean value is expected",
            "false c",
            "w [1] {} null",
            "Error: e",
        ]
    );
    assert!(
        world.failures()[0].starts_with("Error: enough at script.js:10:"),
        "{:?}",
        world.failures()
    );
}

#[test]
fn setup_teardown_and_summary_run_once() {
    let script = script(
        "import http from 'k6/http';
         export async function setup() { return {token: http.get('http://h/login').body, n: [1]}; }
         export default function (data) { data.n.push(2); console.log(JSON.stringify(data)); }
         export function teardown(data) { console.log(data.token); }
         export function handleSummary(data) { return {stdout: `${data.metrics.x}`}; }
         export function other() { console.log('other'); }",
    );
    let as_role = |role: Role, data: Option<&str>| {
        let birth = Birth {
            role,
            setup_data: data.map(Into::into),
            ..Birth::default()
        };
        let mut world = World::new(|_| ok("secret"));
        let ended = world.run(&mut Machine::new(&script, birth).unwrap(), 2);
        (ended, world.logs())
    };
    let data = r#"{"token":"secret","n":[1]}"#;
    let (ended, _) = as_role(Role::Setup, None);
    assert_eq!(ended, Some(Ended::Returned(Some(data.into()))));
    let (ended, logs) = as_role(Role::Iterations, Some(data));
    assert_eq!(
        (ended, logs),
        (
            None,
            vec![
                r#"{"token":"secret","n":[1,2]}"#.into(),
                r#"{"token":"secret","n":[1,2,2]}"#.into()
            ]
        )
    );
    assert_eq!(
        as_role(Role::Teardown, Some(data)),
        (Some(Ended::Returned(None)), vec!["secret".into()])
    );
    let summary = Role::Summary {
        data: r#"{"metrics":{"x":1}}"#.into(),
    };
    assert_eq!(
        as_role(summary, None).0,
        Some(Ended::Returned(Some(r#"{"stdout":"1"}"#.into())))
    );
    let mut birth = Birth::default();
    birth.scenario.exec = "other".into();
    let mut world = World::new(|_| ok(""));
    world.run(&mut Machine::new(&script, birth).unwrap(), 1);
    assert_eq!(world.logs(), ["other"]);
    assert!(script.exports("handleSummary") && !script.exports("nothing"));
}

#[test]
fn modules_files_and_shared_arrays_travel_in_the_bundle() {
    let files = Files::new(&[
        ("main.js", "import {greet} from './lib/greet.js'; export * from './lib/more.js';
            import {SharedArray} from 'k6/data';
            const users = new SharedArray('users', () => JSON.parse(open('./data/users.json')));
            const raw = open('data/users.json', 'b');
            export const options = {vus: 3, thresholds: {http_req_duration: ['p(95)<500']}, tags: {a: __ENV.A || 'none'}};
            export default function () {
              console.log(greet(users[1].name), users.length, Array.isArray(users), raw.byteLength, users.map(u => u.name).join());
              console.log(JSON.stringify(users), [...users].length, users.find(u => u.name === 'b').n, users[9] === undefined);
              try { users[0] = 1 } catch (e) { console.log(e.name) }
              try { open('x') } catch (e) { console.log(e.message) }
            }"),
        ("lib/greet.js", "import {suffix} from '../suffix.js'; const greeting = open('hi.txt'); export const greet = (n) => greeting + n + suffix;"),
        ("lib/more.js", "export function extra() {}"),
        ("lib/hi.txt", "hi "),
        ("suffix.js", "export const suffix = '!';"),
        ("data/users.json", r#"[{"name":"a"},{"name":"b","n":2}]"#),
    ]);
    let script = files.load("main.js").unwrap();
    assert!(script.exports("extra"));
    assert_eq!(script.options()["tags"]["a"], "none");
    let sent = serde_json::to_string(script.bundle()).unwrap();
    drop(files);
    let script =
        cohort_scenario::Script::from_bundle(serde_json::from_str(&sent).unwrap()).unwrap();
    let mut world = World::new(|_| ok(""));
    let mut machine = Machine::new(&script, Birth::default()).unwrap();
    assert_eq!(world.run(&mut machine, 1), None);
    assert_eq!(world.failures(), [""; 0]);
    assert_eq!(
        world.logs(),
        [
            "hi b! 2 true 33 a,b",
            r#"[{"name":"a"},{"name":"b","n":2}] 2 2 true"#,
            "TypeError",
            "open() can be called in the init context only (outside of functions)",
        ]
    );
}

#[test]
fn what_belongs_into_init_or_iterations_only_is_refused_elsewhere() {
    for (source, expected) in [
        (
            "import http from 'k6/http'; http.get('http://h/'); export default () => {}",
            "init context",
        ),
        (
            "open('nothing.txt'); export default () => {}",
            "cannot open",
        ),
        (
            "import {Counter} from 'k6/metrics'; new Counter('a b'); export default () => {}",
            "invalid metric name",
        ),
        (
            "throw new Error('boom'); export default () => {}",
            "boom in the init code of the script, at script.js:1:",
        ),
    ] {
        let error = load(source).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let world = run(
        "import {Counter} from 'k6/metrics'; export default () => { new Counter('x') }",
        1,
        |_| ok(""),
    );
    assert!(
        world.failures()[0].contains("init context"),
        "{:?}",
        world.failures()
    );
}

#[test]
fn an_abort_passes_every_catch() {
    let source = "import exec from 'k6/execution';
        export default function () { try { exec.test.abort('stop it') } catch (e) { console.log('caught') } finally { console.log('finally') } }";
    let world = run(source, 1, |_| ok(""));
    assert_eq!(world.logs(), [""; 0]);
    let aborted = Note::Abort {
        message: "stop it".into(),
    };
    assert_eq!(world.notes[0], aborted);
    assert!(
        matches!(&world.notes[1], Note::Iteration { failure: Some(failure), .. } if failure.kind == FailureKind::Aborted)
    );
}

#[test]
fn a_seed_decides_what_is_random() {
    let source = "import {randomSeed} from 'k6'; import {randomBytes} from 'k6/crypto';
        export default function () { console.log(Math.random(), new Uint8Array(randomBytes(3)).join()); randomSeed(7); console.log(Math.random()); }";
    let (one, two) = (
        run(source, 1, |_| ok("")).logs(),
        run(source, 1, |_| ok("")).logs(),
    );
    assert_eq!(one, two);
    let mut world = World::new(|_| ok(""));
    let other = Birth {
        vu: 2,
        ..Birth::default()
    };
    world.run(&mut Machine::new(&script(source), other).unwrap(), 1);
    assert_ne!(world.logs()[0], one[0]);
    assert_eq!(world.logs()[1], one[1]);
}
