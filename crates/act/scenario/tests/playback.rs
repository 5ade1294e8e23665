//! Recorded iterations are played again: what is sent anew is answered anew, the rest as it was.

mod support;

use cohort_scenario::{
    Birth, Cue, Machine, Note, Outcome, Playback, Recorded, Recording, Request, Script, Told,
};
use support::{World, ok, script, with_headers};

const SHOP: &str = "
import http from 'k6/http'; import { check, sleep } from 'k6';
export default function () {
  const login = http.post('http://h/login', JSON.stringify({ name: 'n' + Math.floor(Math.random() * 1e6) }));
  const token = login.json('token');
  const headers = { Authorization: 'Bearer ' + token };
  http.get('http://h/news/' + Math.floor(Math.random() * 100), { headers });
  sleep(0.5);
  const made = http.post('http://h/orders', JSON.stringify({ at: Date.now(), n: __ITER }), { headers });
  if (made.status === 202) { http.get('http://h/queue'); }
  const seen = http.batch([['GET', 'http://h/orders/' + made.json('id'), null, { headers }], ['GET', 'http://h/me', null, { headers }]]);
  check(seen[0], { 'the order is there': (r) => r.json('id') === made.json('id') });
}";

/// A server that gives tokens and numbers of its own.
struct Shop {
    name: &'static str,
    orders: u32,
    seen: Vec<Request>,
}

impl Shop {
    fn new(name: &'static str, orders: u32) -> Self {
        let seen = Vec::new();
        Self { name, orders, seen }
    }

    fn answer(&mut self, request: &Request) -> Outcome {
        self.seen.push(request.clone());
        let path = request.url.strip_prefix("http://h").unwrap();
        match path.split('/').nth(1).unwrap() {
            "login" => ok(&format!(
                "{{\"token\": \"{}-{}\"}}",
                self.name,
                self.seen.len()
            )),
            "orders" if request.method == "POST" => {
                self.orders += 1;
                with_headers(201, &[], &format!("{{\"id\": {}}}", self.orders))
            }
            "orders" => ok(&format!("{{\"id\": {}}}", path.rsplit('/').next().unwrap())),
            _ => ok("{}"),
        }
    }

    fn urls(&self) -> Vec<String> {
        let url = |request: &Request| format!("{} {}", request.method, &request.url[8..]);
        self.seen.iter().map(url).collect()
    }
}

fn record(script: &Script, iterations: u64) -> Recorded {
    let mut shop = Shop::new("first", 100);
    let mut world = World::new(|request| shop.answer(request));
    let mut machine = Machine::new(script, Birth::default()).unwrap();
    world.run(&mut machine, iterations);
    Recorded {
        tails: vec![machine.journal().rest(cohort_scenario::Position::default())],
        ..Recorded::default()
    }
}

fn read(script: &Script, recorded: &Recorded, remembers: bool) -> Recording {
    Recording::read(script, Birth::default(), recorded, remembers).unwrap()
}

/// Plays one scene; `live` says which requests are sent, by call and place.
fn play(
    recording: &Recording,
    scene: usize,
    live: impl Fn(usize, usize) -> bool,
    mut server: impl FnMut(&Request) -> Outcome,
) -> Vec<Note> {
    let mut playback = Playback::new(recording, scene, None).unwrap();
    playback.begin(scene);
    loop {
        match playback.cue() {
            Cue::Requests { requests, call } => {
                let told = requests.iter().enumerate().map(|(place, request)| {
                    match call.is_none_or(|call| live(call, place)) {
                        true => Told::Live(server(request)),
                        false => Told::AsRecorded,
                    }
                });
                let told = told.collect();
                playback.answer(call, told);
            }
            Cue::Sleep { .. } => playback.woken(),
            Cue::Pause { .. } => playback.go_on(),
            Cue::Over => return playback.take_notes(),
            Cue::Ended(why) => panic!("{why}"),
        }
    }
}

fn checks(notes: &[Note]) -> Vec<bool> {
    let check = |note: &Note| match note {
        Note::Check { passed, .. } => Some(*passed),
        _ => None,
    };
    notes.iter().filter_map(check).collect()
}

#[test]
fn what_was_asked_is_read_from_answers_alone() {
    let script = script(SHOP);
    let recording = read(&script, &record(&script, 3), false);
    assert_eq!(recording.scenes.len(), 3);
    let scene = &recording.scenes[2];
    assert_eq!((scene.in_vu, scene.calls.len()), (2, 4));
    let last = &scene.calls[3];
    assert_eq!(last.requests[0].url, "http://h/orders/103");
    assert!(recording.outcome(&scene.calls[0], 0).unwrap().is_ok());
    // The half second is between the second and the third call.
    let slept = scene.calls[2].sent_us - scene.calls[1].answered_us.unwrap();
    assert!((500_000..510_000).contains(&slept), "{slept}");
}

#[test]
fn tokens_and_ids_are_those_of_the_server_that_it_is_played_against() {
    let script = script(SHOP);
    let recording = read(&script, &record(&script, 3), false);
    let mut shop = Shop::new("second", 500);
    let notes = play(&recording, 1, |_, _| true, |request| shop.answer(request));
    assert_eq!(checks(&notes), [true]);
    let news = &recording.scenes[1].calls[1].requests[0].url[8..];
    let wanted = [
        "POST /login".to_owned(),
        format!("GET {news}"),
        "POST /orders".to_owned(),
        "GET /orders/501".to_owned(),
        "GET /me".to_owned(),
    ];
    assert_eq!(shop.urls(), wanted);
    // The same random numbers and times as then.
    let then = &recording.scenes[1].calls;
    assert_eq!(shop.seen[0].body, then[0].requests[0].body);
    assert_eq!(shop.seen[2].body, then[2].requests[0].body);
    let token = |request: &Request| {
        request
            .headers
            .iter()
            .any(|(_, value)| value == "Bearer second-1")
    };
    assert!(shop.seen[1..].iter().all(token), "{:?}", shop.seen);
}

#[test]
fn what_is_left_out_is_answered_as_it_was() {
    let script = script(SHOP);
    let recording = read(&script, &record(&script, 2), false);
    let mut shop = Shop::new("second", 500);
    // Only the order is made and looked at; one request of the batch.
    let live = |call: usize, place: usize| call == 2 || (call == 3 && place == 0);
    let notes = play(&recording, 0, live, |request| shop.answer(request));
    assert_eq!(checks(&notes), [true]);
    assert_eq!(shop.urls(), ["POST /orders", "GET /orders/501"]);
    let first = |request: &Request| {
        request
            .headers
            .iter()
            .any(|(_, value)| value == "Bearer first-1")
    };
    assert!(shop.seen.iter().all(first), "{:?}", shop.seen);
}

#[test]
fn another_answer_may_lead_elsewhere_and_back() {
    let script = script(SHOP);
    let recording = read(&script, &record(&script, 1), false);
    let mut asked = Vec::new();
    let notes = play(
        &recording,
        0,
        |call, _| call == 2,
        |request| {
            asked.push(request.url[8..].to_owned());
            with_headers(202, &[], "{\"id\": 101}")
        },
    );
    // What the original did not ask for is sent; then the recording is followed again.
    assert_eq!(asked, ["/orders", "/queue"]);
    assert_eq!(checks(&notes), [true]);
}

#[test]
fn an_iteration_is_played_alone_or_after_all_before_it() {
    let counting = "
import http from 'k6/http';
let before = 0;
export default function () { before += 1; http.get('http://h/a?before=' + before + '&r=' + Math.random()); }";
    let script = script(counting);
    assert!(script.remembers());
    let recorded = record(&script, 4);
    for (remembers, before) in [(true, "before=4"), (false, "before=1")] {
        let recording = read(&script, &recorded, remembers);
        let mut urls = Vec::new();
        play(
            &recording,
            3,
            |_, _| true,
            |request| {
                urls.push(request.url.clone());
                ok("{}")
            },
        );
        let url = &recording.scenes[3].calls[0].requests[0].url;
        assert!(urls[0].contains(before), "{urls:?}");
        let random = |url: &str| url.split("&r=").nth(1).unwrap().to_owned();
        assert_eq!(random(&urls[0]), random(url));
    }
}

#[test]
fn a_recording_may_begin_with_any_iteration() {
    let script = script(SHOP);
    let whole = record(&script, 3);
    // What an agent writes: each answer as it comes, and the random numbers before an iteration.
    let mut shop = Shop::new("first", 100);
    let mut world = World::new(|request| shop.answer(request));
    let mut machine = Machine::new(&script, Birth::default()).unwrap();
    world.run(&mut machine, 2);
    let mut late = Recorded {
        late: true,
        dice: vec![(0, machine.dice())],
        ..Recorded::default()
    };
    loop {
        let call = machine.waits_for().cloned();
        if !late.records.is_empty() && matches!(call, Some(cohort_scenario::Call::Iterate)) {
            break;
        }
        let answer = world.answer(call.as_ref()).unwrap();
        late.records.extend(machine.record(&answer));
        machine.resume(answer);
    }
    let (whole, late) = (read(&script, &whole, false), read(&script, &late, false));
    assert_eq!(late.scenes.len(), 1);
    let sent = |recording: &Recording, scene: usize| {
        let calls = recording.scenes[scene].calls.iter();
        // When the order was made differs: the two were recorded one after the other.
        let urls = |call: &cohort_scenario::SceneCall| {
            let urls = call.requests.iter().map(|request| request.url.clone());
            urls.collect::<Vec<_>>()
        };
        calls.map(urls).collect::<Vec<_>>()
    };
    assert_eq!(sent(&late, 0), sent(&whole, 2));
    let mut shop = Shop::new("second", 7);
    let notes = play(&late, 0, |_, _| true, |request| shop.answer(request));
    assert_eq!(checks(&notes), [true]);
}
