//! A machine that is replayed goes on as the original does: random scripts, random places to cut, in one piece or many.

mod support;

use cohort_scenario::{
    Answer, Birth, Call, Diverged, Journal, Machine, Note, Outcome, Permit, Position, Record,
    Reply, Request, Script, Step, TransportError,
};
use proptest::prelude::*;
use support::{ok, script, with_headers};

/// A statement of a random script. Variables are `s` (of the module) and `v` (of the iteration).
fn statement() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (0..4_u8).prop_map(|n| format!("s.list.push({n} + v.n);")),
        Just("s.sum += Math.random();".to_string()),
        Just("v.t = Date.now(); s.times = (s.times || []).concat(v.t % 1000).slice(-5);".to_string()),
        Just("s.day = new Date().toISOString();".to_string()),
        (1..40_u8).prop_map(|n| format!("sleep({n} / 10);")),
        (0..4_u8).prop_map(|n| format!("v.r = http.get(base + '/{n}?x=' + s.list.length);")),
        (0..4_u8).prop_map(|n| format!("v.r = http.post(base + '/{n}', JSON.stringify(s), {{tags: {{t: '{n}'}}}}); s.body = v.r.body;")),
        Just("if (v.r) { s.n = v.r.json('n'); }".to_string()),
        Just("if (v.r) { s.hdr = v.r.headers['X-Token']; s.took = v.r.timings.duration; }".to_string()),
        Just("if (v.r) { s.kept = v.r; }".to_string()),
        Just("if (s.kept) { s.late = s.kept.body; s.kept = null; }".to_string()),
        Just("if (s.kept) { s.late = s.kept.headers; s.proto = s.kept.proto; }".to_string()),
        Just("for (const r of http.batch([base + '/a', ['POST', base + '/b', {k: s.list.length}]])) s.sum += r.status;".to_string()),
        Just("check(v.r, {ok: (r) => r && r.status === 200, odd: () => s.list.length % 2});".to_string()),
        Just("s.counter = s.counter || (() => { let n = 0; return () => ++n; })(); s.list.push(s.counter());".to_string()),
        Just("counter.add(s.list.length, {v: String(v.n)}); trend.add(s.sum);".to_string()),
        Just("console.log(digest());".to_string()),
        Just("s.jar = JSON.stringify(http.cookieJar().cookiesForURL(base + '/'));".to_string()),
        Just("s.cookies = v.r && JSON.stringify(v.r.cookies);".to_string()),
        Just("s.list = s.list.map((x, i) => x * i % 17).slice(-20);".to_string()),
        Just("s.bytes = new Uint8Array(crypto.randomBytes(4)).join();".to_string()),
        Just("s.weak = new WeakMap([[s, v.n]]).get(s);".to_string()),
        Just("await new Promise((done) => setTimeout(done, 25 + v.n));".to_string()),
        Just("s.sum += (await Promise.all([http.asyncRequest('GET', base + '/p'), http.asyncRequest('GET', base + '/q')])).length;".to_string()),
        Just("if (s.list.length % 5 === 4) throw new Error('odd ' + s.list.length);".to_string()),
        Just("try { fail('f' + v.n) } catch (e) { s.said = e.message + e.stack.length }".to_string()),
        Just("for (let k = 0; k < 12000; k++) s.sum += k % 3;".to_string()),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let block = prop::collection::vec(inner, 1..4).prop_map(|all| all.join(" "));
        prop_oneof![
            (block.clone(), 1..4_u8).prop_map(|(block, n)| format!("for (let i = 0; i < {n}; i++) {{ v.n = i; {block} }}")),
            (block.clone(), block.clone()).prop_map(|(left, right)| format!("if (s.list.length % 2) {{ {left} }} else {{ {right} }}")),
            block.prop_map(|block| format!("try {{ {block} }} catch (e) {{ s.caught = String(e.message) }}")),
            Just("group('g', () => { v.r = http.get(base + '/in'); sleep(0.1); group('h', () => check(1, {yes: true})); });".to_string()),
        ]
    })
}

fn program() -> impl Strategy<Value = String> {
    prop::collection::vec(statement(), 1..10).prop_map(|statements| {
        format!(
            "import http from 'k6/http'; import {{check, group, sleep, fail}} from 'k6'; import crypto from 'k6/crypto';
             import {{Counter, Trend}} from 'k6/metrics';
             const base = 'http://h', counter = new Counter('c'), trend = new Trend('t');
             const s = {{list: [], sum: 0, at: Date.now()}};
             function digest() {{ return crypto.md5(JSON.stringify(s), 'hex') }}
             export default async function () {{ const v = {{n: __ITER}};
               try {{ {} }} finally {{ console.log(digest(), JSON.stringify(s).length) }} }}",
            statements.join("\n")
        )
    })
}

/// A server that answers by chance, and the same to the same seed.
struct Server(u64);

impl Server {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn outcome(&mut self, request: &Request) -> Outcome {
        let token = format!("token-of-some-length-{}", self.next() % 3);
        match self.next() % 12 {
            0 => Err(TransportError {
                code: 1050,
                message: "timeout".into(),
                timings: Default::default(),
            }),
            1 => with_headers(
                302,
                &[("Location", "/moved"), ("Set-Cookie", "r=1; Max-Age=2")],
                "",
            ),
            2 => with_headers(500, &[], "oops"),
            n => {
                let body = format!(
                    "{{\"n\": {n}, \"echo\": {:?}, \"pad\": \"{}\"}}",
                    request.url,
                    "x".repeat((self.next() % 50) as usize)
                );
                with_headers(
                    200,
                    &[
                        ("x-token", &token),
                        ("Set-Cookie", &format!("c{}={n}; Path=/", n % 2)),
                        ("date", "Thu"),
                    ],
                    &body,
                )
            }
        }
    }
}

/// Answers calls by chance, with an interrupt now and then.
struct Around {
    server: Server,
    now_us: u64,
    iterations: u64,
}

impl Around {
    fn answer(&mut self, call: Option<&Call>) -> Option<Answer> {
        self.now_us += 1 + self.server.next() % 3_000;
        let interrupted = matches!(call, Some(Call::Http(_) | Call::Sleep { .. }))
            && self.server.next().is_multiple_of(40);
        let reply = match call {
            _ if interrupted => Reply::Interrupt {
                reason: "a pause in the middle of it".into(),
            },
            None | Some(Call::Pause { .. }) => Reply::Resume,
            Some(Call::Iterate) => {
                self.iterations += 1;
                let mut permit = Permit {
                    in_vu: self.iterations - 1,
                    in_scenario: self.server.next() % 1000,
                    ..Permit::default()
                };
                permit.around.vus_active = self.server.next() % 10;
                Reply::Begin(permit)
            }
            Some(Call::Http(requests)) => Reply::Responses(
                requests
                    .iter()
                    .map(|request| self.server.outcome(request))
                    .collect(),
            ),
            Some(Call::Sleep { us }) => {
                self.now_us += us;
                Reply::Woken
            }
            Some(Call::Now) => Reply::Now,
            Some(Call::Ended(_)) => return None,
        };
        Some(Answer::new(self.now_us, reply))
    }
}

/// The rest of a run, as it is seen from outside.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    calls: Vec<Call>,
    notes: Vec<Note>,
}

fn go_on(machine: &mut Machine, answers: &[Answer]) -> Seen {
    let mut seen = Seen::default();
    let pauses = |machine: &mut Machine, seen: &mut Seen| {
        while matches!(machine.waits_for(), Some(Call::Pause { .. })) {
            seen.take(machine.resume(Answer::new(0, Reply::Resume)));
        }
    };
    for answer in answers {
        pauses(machine, &mut seen);
        seen.take(machine.resume(answer.clone()));
    }
    pauses(machine, &mut seen);
    seen
}

impl Seen {
    fn take(&mut self, step: Step) {
        self.notes.extend(step.notes);
        self.calls
            .extend(Some(step.call).filter(|call| !matches!(call, Call::Pause { .. })));
    }
}

/// Lets a long computation go on to its end: what a replayed machine says meanwhile, its original has said.
fn drain(machine: &mut Machine) {
    while matches!(machine.waits_for(), Some(Call::Pause { .. })) {
        machine.resume(Answer::new(0, Reply::Resume));
    }
}

fn birth() -> Birth {
    Birth {
        seed: 11,
        vu: 3,
        tags: [("env".to_string(), "test".to_string())].into(),
        ..Birth::default()
    }
}

/// Runs the original to its end and returns all that it was answered but the answers to pauses.
fn original(script: &Script, seed: u64, count: usize) -> Vec<Answer> {
    let mut machine = Machine::new(script, birth()).unwrap();
    let mut around = Around {
        server: Server(seed),
        now_us: 1_700_000_000_000_000,
        iterations: 0,
    };
    let mut answers = Vec::new();
    while answers.len() < count {
        let paused = matches!(machine.waits_for(), Some(Call::Pause { .. }));
        let Some(answer) = around.answer(machine.waits_for()) else {
            break;
        };
        if !paused {
            answers.push(answer.clone());
        }
        machine.resume(answer);
    }
    answers
}

fn cut_and_compare(
    source: &str,
    seed: u64,
    cut: usize,
    pieces: usize,
) -> Result<(), TestCaseError> {
    let script = script(source);
    let answers = original(&script, seed, 60);
    let cut = 1 + cut % answers.len();
    let mut first = Machine::new(&script, birth()).unwrap();
    // A journal that is sent ahead in pieces while the machine runs, then its rest.
    let (mut sent, mut tails, mut records) =
        (Position::default(), Vec::new(), Vec::<Record>::new());
    for (at, answer) in answers[..cut].iter().enumerate() {
        while matches!(first.waits_for(), Some(Call::Pause { .. })) {
            first.resume(Answer::new(answer.at_us, Reply::Resume));
        }
        records.extend(first.record(answer));
        first.resume(answer.clone());
        if (at + 1) % (cut / pieces + 1) == 0 {
            tails.push(first.journal().since(sent));
            sent = first.journal().position();
        }
    }
    drain(&mut first);
    tails.push(first.journal().rest(sent));

    let mut second = Machine::replay(&script, birth(), &Journal::new()).unwrap();
    for tail in &tails {
        let bytes = serde_json::to_vec(tail).unwrap();
        second
            .replay_more(&serde_json::from_slice(&bytes).unwrap())
            .unwrap();
    }
    second.finish_replay().unwrap();
    let mut third = Machine::new(&script, birth()).unwrap();
    third.replay_records(records).unwrap();
    third.finish_replay().unwrap();
    let whole = second.journal().rest(Position::default());

    drain(&mut second);
    drain(&mut third);
    let rest = &answers[cut..];
    let expected = go_on(&mut first, rest);
    prop_assert_eq!(&go_on(&mut second, rest), &expected);
    prop_assert_eq!(&go_on(&mut third, rest), &expected);
    // And what was replayed can be replayed again.
    let mut fourth =
        Machine::replay(&script, birth(), &Journal::from_tails([&whole]).unwrap()).unwrap();
    fourth.finish_replay().unwrap();
    drain(&mut fourth);
    prop_assert_eq!(&go_on(&mut fourth, rest), &expected);
    Ok(())
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn a_replayed_machine_goes_on_as_the_original(source in program(), seed: u64, cut in 0..1000_usize, pieces in 1..6_usize) {
        cut_and_compare(&source, seed, cut, pieces)?;
    }

    #[test]
    fn damaged_journals_are_refused_or_diverge(at in 0..400_usize, bit in 0..8_u32) {
        let source = "import http from 'k6/http'; export default function () { const r = http.get('http://h/' + __ITER); console.log(r.body) }";
        let script = script(source);
        let answers = original(&script, 5, 30);
        let mut machine = Machine::new(&script, birth()).unwrap();
        go_on(&mut machine, &answers);
        let tail = machine.journal().rest(Position::default());
        let mut json: serde_json::Value = serde_json::to_value(&tail).unwrap();
        let log = json["log"].as_array_mut().unwrap();
        let at = at % log.len();
        log[at] = (log[at].as_u64().unwrap() ^ (1 << bit)).into();
        let tail = serde_json::from_value(json).unwrap();
        // It must not crash, and must not hang; that it is noticed cannot be promised (a body may be another).
        if let Ok(journal) = Journal::from_tails([&tail])
            && let Ok(mut again) = Machine::replay(&script, birth(), &journal)
        {
            let _ = again.finish_replay();
        }
    }
}

#[test]
fn another_script_is_noticed() {
    let source = |path: &str| {
        script(&format!(
            "import http from 'k6/http'; export default function () {{ http.get('http://h/{path}') }}"
        ))
    };
    let answers = original(&source("a"), 5, 30);
    let mut machine = Machine::new(&source("a"), birth()).unwrap();
    go_on(&mut machine, &answers);
    let tail = machine.journal().rest(Position::default());
    let journal = Journal::from_tails([&tail]).unwrap();
    let error = Machine::replay(&source("b"), birth(), &journal).unwrap_err();
    assert!(
        matches!(error, Diverged::Otherwise { at: 2, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("sends GET http://h/b"),
        "{error}"
    );
    let error = Machine::new(&source("a"), birth())
        .unwrap()
        .replay_more(&machine.journal().since(machine_position(&tail)))
        .unwrap_err();
    assert!(error.to_string().contains("there are 0"), "{error}");
}

fn machine_position(tail: &cohort_scenario::Tail) -> Position {
    tail.to
}

#[test]
fn what_was_not_looked_at_is_not_kept() {
    let run = |look: &str| {
        let source = format!(
            "import http from 'k6/http'; import {{check}} from 'k6';
             export default function () {{ const r = http.get('http://h/' + __ITER); check(r, {{ok: (r) => r.status === 200}}); {look} }}"
        );
        let mut machine = Machine::new(&script(&source), birth()).unwrap();
        let mut world = support::World::new(|request| {
            with_headers(
                200,
                &[
                    ("x-request-id", &request.url),
                    ("content-type", "application/json"),
                ],
                &format!("{}{}", request.url, "y".repeat(2_000)),
            )
        });
        world.run(&mut machine, 1_000);
        machine.journal().bytes()
    };
    let (unread, read) = (run(""), run("r.body"));
    assert!(
        unread < 40_000,
        "{unread} bytes for 1000 iterations of which no body was read"
    );
    assert!(read > 2_000_000, "{read}");
    let _ = ok;
}

#[test]
fn a_machine_that_let_go_of_its_journal_goes_on_as_before() {
    let script = script(
        "import http from 'k6/http'; let n = 0;
         export default function () { n += Math.random(); console.log(http.get('http://h/' + n).status) }",
    );
    let answers = original(&script, 5, 60);
    let mut keeping = Machine::new(&script, birth()).unwrap();
    let expected = go_on(&mut keeping, &answers);
    let mut other = Machine::new(&script, birth()).unwrap();
    let mut seen = go_on(&mut other, &answers[..30]);
    other.forget_journal();
    let rest = go_on(&mut other, &answers[30..]);
    seen.calls.extend(rest.calls);
    seen.notes.extend(rest.notes);
    assert_eq!(seen, expected);
    assert_eq!((keeping.journal().len(), other.journal().len()), (60, 0));
}
