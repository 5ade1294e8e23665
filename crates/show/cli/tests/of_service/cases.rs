//! Edge cases of services: each is tried again on another instance, and cut to the requests that provoke it.

use serde_json::Value;

use super::helpers::has;
use super::{Campaign, Suite, assert_said, script, shown};
use crate::common::{Ended, wait_until};

/// How long it may go on after the scenario.
const AFTER: &[&str] = &["--reproduce-for", "40s"];

impl Suite {
    /// The last that is told of each edge case.
    pub(super) fn cases(&self) -> Vec<Value> {
        let mut cases: Vec<Value> = Vec::new();
        for event in self.events() {
            for case in event["cases"].as_array().into_iter().flatten() {
                cases.retain(|known| known["case"] != case["case"]);
                cases.push(case.clone());
            }
        }
        cases
    }

    fn run_and_reproduce(&self, flags: &[&str]) -> Ended {
        self.run(&[flags, AFTER].concat())
    }

    /// All of one kind in what was seen, or decided.
    pub(super) fn all(&self, list: &str, tag: &str, name: &str) -> Vec<Value> {
        let mut found = Vec::new();
        for event in self.events() {
            for one in event[list].as_array().into_iter().flatten() {
                if one[tag] == name {
                    found.push(one.clone());
                }
            }
        }
        found
    }

    /// The requests of a case's smallest recipe: endpoints.
    pub(super) fn smallest(&self, case: &Value) -> Vec<String> {
        let tried = self.all("decisions", "command", "try_case");
        let of = tried
            .iter()
            .find(|one| one["case"] == case["case"])
            .unwrap();
        let captured = self.all("seen", "seen", "case_captured");
        let capsule = captured
            .iter()
            .find(|one| one["capsule"] == of["capsule"])
            .unwrap();
        let parts = case["smallest"]["recipe"]["parts"].as_array().unwrap();
        let numbers = parts.iter().filter_map(|part| part["request"].as_u64());
        let of = |number: u64| &capsule["requests"][number as usize];
        numbers
            .map(|number| of(number)["endpoint"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Each play was on another instance than the one where the case was seen.
    fn assert_played_elsewhere(&self) {
        let captures = self.all("decisions", "command", "capture");
        for tried in self.all("decisions", "command", "try_case") {
            let of = captures
                .iter()
                .find(|one| one["capsule"] == tried["capsule"])
                .unwrap();
            assert_ne!(of["instance"], tried["instance"], "{tried}");
        }
    }
}

#[test]
fn a_crash_on_a_poisonous_request_among_many_is_cut_to_that_request() {
    let iteration = "get('/items/1'); get('/items/2'); http.post(U + '/items', JSON.stringify({ name: 'x', sizes: [1, 2] })); \
                     get(__VU === 1 && __ITER === 4 ? '/crash/13?why=rare' : '/crash/1'); get('/items/3')";
    let suite = Campaign::of(iteration).write();
    let ended = suite.run_and_reproduce(&["--vus", "3", "--duration", "3s"]);
    assert_said(&ended, 1, &["crash            GET /crash/{}"]);
    let cases = suite.cases();
    assert_eq!(cases.len(), 1, "{cases:#?}\n{}", shown(&ended));
    let case = &cases[0];
    assert_eq!(case["symptom"]["kind"], "signal", "{case:#}");
    assert_eq!(
        (&case["stage"], &case["verdict"]),
        (&"closed".into(), &"always".into()),
        "{case:#}\n{}",
        shown(&ended)
    );
    assert_eq!(suite.smallest(case), ["GET /crash/{}"], "{case:#}");
    suite.assert_played_elsewhere();
    // The ordinary instances crashed once, and what was played is counted nowhere.
    assert_eq!(
        ended.stderr.matches("exited").count(),
        1,
        "{}",
        shown(&ended)
    );
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn where_a_compiled_server_crashed_is_told_though_it_wrote_nothing() {
    if !has("gdb") {
        return;
    }
    let suite = Campaign {
        command: r#"["./burns", "{port}"]"#,
        sut: "build = \"cc -O1 -g -o burns burns.c\"",
        script: script("http.get(`${U}${__ITER === 9 ? '/crash' : '/'}`)"),
        ..Campaign::default()
    }
    .write();
    suite.write("burns.c", include_str!("burns.c"));
    let ended = suite.run_and_reproduce(&["--vus", "2", "--duration", "3s"]);
    let case = only_case(&suite, &ended);
    let frame = &case["symptom"]["frames"][0];
    assert_eq!(frame["function"], "write_nowhere", "{case:#}");
    let stacks = suite.read(".cohort/cases/EC-1/stacks.txt");
    assert!(stacks.contains("write_nowhere"), "{stacks}");
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn another_build_says_why_a_call_fails_and_one_that_cannot_be_built_is_told() {
    let suite = Campaign {
        command: r#"["./burns", "{port}"]"#,
        sut: "build = \"cc -g -o burns burns.c\"\n\
              [sut.variants.asan]\nbuild = \"cc -g -fsanitize=address -o burns-asan burns.c\"\n\
              command = [\"./burns-asan\", \"{port}\"]\n\
              [sut.variants.none]\ncommand = \"echo no such library >&2; exit 3\"\n\
              [sut.variants.ubsan]\nbuild = \"cc -g -fsanitize=undefined -o burns-ubsan burns.c\"\n\
              command = [\"./burns-ubsan\", \"{port}\"]\n\
              [sut.variants.broken]\nbuild = \"echo no such compiler >&2; exit 1\"\ncommand = [\"./burns\", \"{port}\"]",
        script: script("http.get(`${U}${__ITER === 9 ? '/sale' : '/'}`)"),
        ..Campaign::default()
    }
    .write();
    suite.write("burns.c", include_str!("burns.c"));
    let ended = suite.run_and_reproduce(&["--vus", "2", "--duration", "3s"]);
    let wanted = [
        "sut.variants.broken is left out: ",
        "no such compiler",
        "on asan: AddressSanitizer heap-use-after-free at ",
        "on none: it could not be played: its instance did not get ready; it wrote last: no such library",
        "on ubsan: UndefinedBehaviorSanitizer",
    ];
    assert_said(&ended, 1, &wanted);
    let case = only_case(&suite, &ended);
    assert_eq!(
        case["variants"].as_array().map(Vec::len),
        Some(3),
        "{case:#}"
    );
    assert_eq!(
        case["variants"][0]["symptom"]["frames"][0]["function"],
        "price_of"
    );
    let sarif = suite.read(".cohort/campaigns/1/results.sarif");
    assert!(sarif.contains("heap-use-after-free"), "{sarif}");
    let shown = suite.cohort(&["show", "EC-1"]);
    assert!(
        shown.stdout.contains("on asan: AddressSanitizer"),
        "{}",
        shown.stdout
    );
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn a_crash_while_others_wait_for_answers_is_cut_to_the_request_that_provokes_it() {
    let path = "__VU === 2 ? (__ITER === 9 ? '/crash/13?why=rare' : '/crash/1') : `/slow/${__VU}`";
    let campaign = Campaign {
        sut: "instances = 1\nnetwork = \"host\"",
        ..Campaign::of(&format!("get('/items/1'); get({path})"))
    };
    let suite = campaign.write();
    let flags = ["--vus", "4", "--duration", "3s", "--junit", "out.xml"];
    let ended = suite.run_and_reproduce(&flags);
    let case = only_case(&suite, &ended);
    assert_eq!(
        (&case["stage"], &case["verdict"]),
        (&"closed".into(), &"always".into()),
        "{case:#}\n{}",
        shown(&ended)
    );
    let odd = suite.all("seen", "seen", "odd_calls");
    let calls = odd
        .iter()
        .flat_map(|told| told["calls"].as_array().unwrap());
    let broken = calls.filter(|call| !call["oddity"]["broken"].is_null());
    assert!(broken.count() >= 3, "{odd:#?}");
    assert_eq!(suite.smallest(&case), ["GET /crash/{}"], "{case:#}");
    assert_said(
        &ended,
        1,
        &[
            "`GET /crash/13?why=rare` crashes the server every time: ",
            "GET /crash/13?why=rare provokes it",
            " (EC-1).",
        ],
    );
    let junit = suite.read("out.xml");
    let named = "EC-1: `GET /crash/13?why=rare` crashes the server every time";
    assert!(junit.contains(named), "{junit}");
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn what_only_a_server_that_has_run_for_a_while_shows_is_played_on_such_ones() {
    let iteration = "get('/items/1'); get(`/old/${__ITER % 20 === 19 ? 13 : 1}`); get('/items/3')";
    let suite = Campaign::of(iteration).write();
    // Servers have to run for seconds before each play of it.
    let flags = ["--vus", "1", "--duration", "7s", "--reproduce-for", "2m"];
    let ended = suite.run(&flags);
    let case = only_case(&suite, &ended);
    assert_eq!(case["stage"], "closed", "{case:#}\n{}", shown(&ended));
    assert_eq!(
        suite.smallest(&case),
        ["GET /old/{}"],
        "{case:#}\n{}",
        shown(&ended)
    );
    assert!(case["age_us"].as_u64() > Some(3_000_000), "{case:#}");
    let said = "`GET /old/13` crashes the server ";
    assert_said(&ended, 1, &[said, ", on a server that has run for "]);
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn a_leak_is_cut_to_the_request_that_leaks() {
    let iteration = "get('/items/1'); get('/items/2'); get('/keep/77'); get('/items/3')";
    let suite = Campaign::of(iteration).write();
    let ended = suite.run_and_reproduce(&["--vus", "2", "--duration", "45s"]);
    let case = only_case(&suite, &ended);
    assert_eq!(case["symptom"]["class"], "memory", "{case:#}");
    assert_eq!(
        suite.smallest(&case),
        ["GET /keep/{}"],
        "{case:#}\n{}",
        shown(&ended)
    );
    suite.assert_played_elsewhere();
    let again = suite.cohort(&["repro", "EC-1", "--runs", "2"]);
    assert_said(&again, 0, &["EC-1 failed again in 2 of 2 runs"]);
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

/// What a visitor of the shop with baskets does.
const VISIT: &str = "
  const token = http.post(U + '/login', '{}').json('token');
  const headers = { 'X-Token': token };
  http.get(U + '/news?page=3', { headers });
  BUY;
  http.get(U + '/news', { headers });
  const basket = http.get(U + '/basket', { headers });
  check(basket, { 'the total is the sum': (r) => r.json('total') === r.json('lines').reduce((sum, n) => sum + n, 0) });
  http.get(U + '/bye', { headers })";

fn visiting(buy: &str) -> Suite {
    let suite = Campaign::of(&VISIT.replace("BUY", buy)).write();
    suite.write("server.py", include_str!("basket.py"));
    suite
}

fn only_case(suite: &Suite, ended: &Ended) -> Value {
    let mut cases = suite.cases();
    assert_eq!(cases.len(), 1, "{cases:#?}\n{}", shown(ended));
    cases.remove(0)
}

#[test]
fn a_wrong_answer_is_cut_to_what_leads_to_it_with_the_other_servers_own_tokens() {
    let buy = "for (const count of [1, 2, __ITER === 3 ? 7 : 3]) { \
               http.post(U + '/basket/lines', JSON.stringify({ note: 'n', count }), { headers }); }";
    let suite = visiting(buy);
    let ended = suite.run_and_reproduce(&["--vus", "2", "--duration", "3s"]);
    let case = only_case(&suite, &ended);
    assert_eq!(case["symptom"]["kind"], "wrong_answer", "{case:#}");
    assert_eq!(
        (&case["stage"], &case["verdict"]),
        (&"closed".into(), &"always".into()),
        "{case:#}"
    );
    let wanted = ["POST /login", "POST /basket/lines", "GET /basket"];
    assert_eq!(suite.smallest(&case), wanted, "{case:#}\n{}", shown(&ended));
    assert_eq!(case["minimal"], true, "{case:#}");
    suite.assert_played_elsewhere();
    // It can be typed: the token is that of the answer, and nothing that does not matter is in it.
    let typed = suite.read(".cohort/cases/EC-1/requests.sh");
    assert!(typed.contains("V1=$(jq -r '.token' answer-0)"), "{typed}");
    assert!(typed.contains(r#"--data-raw "{\"count\":7}""#), "{typed}");
    // And played again, by its number.
    let again = suite.cohort(&["repro", "EC-1", "--runs", "3"]);
    assert_said(&again, 0, &["EC-1 failed again in 3 of 3 runs"]);
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn what_a_check_may_rest_on_is_not_left_out() {
    // The script knows what it put in: with less of it the check would fail on a server without a fault.
    let buy = "let put = 0; \
               for (const count of [1, __ITER === 3 ? 7 : 3]) { \
               put += count; \
               http.post(U + '/basket/lines', JSON.stringify({ note: 'n', count }), { headers }); }";
    let of_answer = "r.json('lines').reduce((sum, n) => sum + n, 0)";
    let visit = VISIT.replace("BUY", buy).replace(of_answer, "put");
    let suite = Campaign::of(&visit).write();
    suite.write("server.py", include_str!("basket.py"));
    let ended = suite.run_and_reproduce(&["--vus", "1", "--duration", "3s"]);
    let case = only_case(&suite, &ended);
    let wanted = [
        "POST /login",
        "POST /basket/lines",
        "POST /basket/lines",
        "GET /basket",
    ];
    assert_eq!(suite.smallest(&case), wanted, "{case:#}\n{}", shown(&ended));
    let remarks = case["remarks"].to_string();
    assert!(
        remarks.contains("without it the check fails of itself"),
        "{case:#}"
    );
    suite.assert_replays();
}

#[test]
fn what_is_left_of_a_body_fails_for_the_same_reason() {
    // Without a code it answers 500 too, but by another exception.
    let suite = Campaign::of(
        "http.post(U + '/percent', JSON.stringify({ note: 'n', code: __ITER === 5 ? 50 : 10 }))",
    )
    .write();
    let ended = suite.run_and_reproduce(&["--vus", "1", "--duration", "3s"]);
    let case = only_case(&suite, &ended);
    let parts = case["smallest"]["recipe"]["parts"].to_string();
    let fails_for_it = parts.contains("/code") && !parts.contains("/note");
    assert!(fails_for_it, "{case:#}\n{}", shown(&ended));
    suite.assert_replays();
}

#[test]
fn a_race_that_needs_two_at_once_is_cut_to_those() {
    let buy = "http.batch([1, 2, 3].map((count) => ['POST', U + '/basket/lines?slow', JSON.stringify({ count }), { headers }]))";
    let suite = visiting(buy);
    let ended = suite.run_and_reproduce(&["--vus", "1", "--iterations", "3"]);
    let case = only_case(&suite, &ended);
    let wanted = [
        "POST /login",
        "POST /basket/lines",
        "POST /basket/lines",
        "GET /basket",
    ];
    assert_eq!(suite.smallest(&case), wanted, "{case:#}\n{}", shown(&ended));
    suite.assert_played_elsewhere();
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn an_exception_that_leaves_a_call_without_an_answer_is_that_exception() {
    let suite = Campaign::of("get('/items/1'); get(`/price/${__ITER === 5 ? 13 : 1}`)").write();
    let ended = suite.run_and_reproduce(&["--vus", "1", "--duration", "3s"]);
    let case = only_case(&suite, &ended);
    assert_eq!(case["symptom"]["class"], "python ValueError", "{case:#}");
    assert_eq!(
        suite.smallest(&case),
        ["GET /price/{}"],
        "{case:#}\n{}",
        shown(&ended)
    );
    suite.assert_replays();
}

#[test]
fn what_was_kept_is_tried_again_in_the_next_campaign_and_named_when_it_is_back() {
    let suite = Campaign::of("get(`/price/${__ITER === 5 ? 13 : 1}`)").write();
    let flags = ["--vus", "1", "--iterations", "10"];
    let ended = suite.run_and_reproduce(&flags);
    assert_eq!(only_case(&suite, &ended)["case"], 1, "{}", shown(&ended));
    // Nothing of it is asked for now.
    suite.write("load.js", &script("get('/items/1')"));
    let ended = suite.run_and_reproduce(&["--vus", "1", "--duration", "6s"]);
    let case = only_case(&suite, &ended);
    assert_eq!(
        (&case["case"], &case["returned"]),
        (&1.into(), &true.into()),
        "{case:#}\n{}",
        shown(&ended)
    );
    assert_said(&ended, 0, &["back again: `GET /price/{}` fails"]);
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

/// One call of many is answered with an error.
fn rarely_flaky() -> Suite {
    Campaign::of("get(`/flaky/${__ITER === 5 ? 4 : 1}`)").write()
}

#[test]
fn an_error_that_came_once_and_again_is_found_and_goes_elsewhere_as_one_file() {
    let suite = rarely_flaky();
    let ended = suite.run_and_reproduce(&["--vus", "1", "--iterations", "10"]);
    let case = only_case(&suite, &ended);
    assert_eq!(case["symptom"]["class"], "503", "{case:#}");
    assert_said(&ended, 1, &["1 edge case failed again; "]);
    let bytes = std::fs::read(suite.root().join(".cohort/cases/EC-1/capsule")).unwrap();
    // Another checkout, which has never seen it.
    let other = rarely_flaky();
    let file = other.root().join("EC-1.capsule");
    std::fs::write(&file, &bytes).unwrap();
    let again = other.cohort(&["repro", "EC-1.capsule", "--runs", "2"]);
    assert_said(&again, 0, &["EC-1 failed again in 2 of 2 runs"]);
    other.assert_all_gone(&again);
    // One that was cut short is none.
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let again = other.cohort(&["repro", "EC-1.capsule"]);
    assert_said(&again, 2, &["EC-1.capsule"]);
    other.assert_all_gone(&again);
}

#[test]
fn a_shell_beside_the_server_of_a_case_plays_it_and_ends_without_a_trace() {
    let suite = rarely_flaky();
    let ended = suite.run_and_reproduce(&["--vus", "1", "--iterations", "10"]);
    only_case(&suite, &ended);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cohort"));
    command.args(["repro", "EC-1", "--shell"]);
    command.env("SHELL", "/bin/sh");
    let mut running = suite.spawn_with_input(command);
    running.tell(
        "again > said; again >> said
         python3 -c \"import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status)\" $BASE/items/7 >> said
         sleep 1000 & echo $! > sleeper; exit 3\n",
    );
    let shell = running.end();
    assert_eq!(shell.code, Some(0), "{}", shown(&shell));
    let once = "it failed again\n  GET /flaky/{}: 503";
    let said = suite.read("said");
    assert_eq!(said.matches(once).count(), 2, "{said}\n{}", shown(&shell));
    assert!(said.ends_with("200\n"), "{said}\n{}", shown(&shell));
    let words = "again  plays the case once, against the server as it is now";
    assert!(shell.stderr.contains(words), "{}", shown(&shell));
    let sleeper = format!("/proc/{}", suite.read("sleeper").trim());
    if nix::unistd::geteuid().is_root() {
        wait_until("what it left running to end", || {
            !std::path::Path::new(&sleeper).exists()
        });
    }
    suite.assert_all_gone(&shell);
}

#[test]
fn nothing_is_tried_again_unless_that_is_wanted() {
    let off = [&["--policy", "static"][..], &["--no-reproduce"]];
    for flags in off {
        let suite = Campaign::of("get('/flaky/4')").write();
        let ended = suite.run(&[&["--vus", "1", "--duration", "1s"], flags].concat());
        assert_eq!(suite.cases().len(), 0, "{}", shown(&ended));
        assert_eq!(suite.all("decisions", "command", "open_replica").len(), 0);
    }
}

#[test]
fn who_interrupts_what_comes_after_the_scenario_does_not_wait() {
    // What fails from some time on does not fail again on a server that has just begun: it is looked for why for long.
    let suite = Campaign::of("get('/burst')").write();
    let flags = ["--vus", "1", "--duration", "4s", "--reproduce-for", "5m"];
    let running = suite.start(
        &[
            &["run", "--progress", "plain", "--events", "events"],
            &flags[..],
        ]
        .concat(),
    );
    wait_until("the scenario to be over", || {
        let events = std::fs::read_to_string(suite.root().join("events"));
        events.is_ok_and(|events| events.contains("schedule_done"))
    });
    let since = std::time::Instant::now();
    running.signal(2);
    let ended = running.end();
    assert!(since.elapsed().as_secs() < 15, "{}", shown(&ended));
    assert_said(&ended, 1, &["EC-1             closed: "]);
    let remarks = only_case(&suite, &ended)["remarks"].to_string();
    assert!(
        remarks.contains("was stopped before more was tried"),
        "{remarks}"
    );
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}
