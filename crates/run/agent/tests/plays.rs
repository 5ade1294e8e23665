//! Recorded threads are played against another instance by another agent: real processes, real servers.

mod hub;
#[path = "hub/sut.rs"]
mod sut;

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cohort_agent::protocol::*;
use cohort_handoff::AgentId;
use cohort_model::{CaseRequest, InstanceId, ThreadId};
use hub::{Hub, is_agent};
use sut::{Answer, Log, Seen};

/// Not a test: the process of an agent, when a test starts this binary as one.
#[test]
fn agent_process() {
    if is_agent() {
        let ended = cohort_agent::main_agent(0);
        assert_eq!(
            format!("{ended:?}"),
            format!("{:?}", std::process::ExitCode::SUCCESS)
        );
    }
}

/// Some look around; in every third iteration the sum is asked for.
const SCRIPT: &str = r"
import http from 'k6/http';
import { check, sleep } from 'k6';
const U = 'http://sut.test';
export default function () {
  const token = http.post(U + '/login', JSON.stringify({ user: 'u' + Math.floor(Math.random() * 1e6) })).json('token');
  const headers = { 'X-Token': token };
  http.get(U + '/news?page=' + Math.floor(Math.random() * 9), { headers });
  sleep(0.2);
  const item = http.post(U + '/items', JSON.stringify({ size: 5, note: 'n' }), { headers }).json('item');
  http.batch([['GET', U + '/a', null, { headers }], ['GET', U + '/b', null, { headers }]]);
  const sum = http.get(U + '/items/' + item + '?iteration=' + __ITER, { headers });
  check(sum, { 'the size is right': (r) => r.json('size') === 5 });
}";

fn write(stream: &mut TcpStream, status: u16, body: &str) -> bool {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).is_ok()
}

/// A server with tokens and items of its own. What it does wrong is done to those that have an item of it, when asked
/// from the third iteration on.
fn shop(name: &'static str) -> Answer {
    let items = Arc::new(AtomicU32::new(1_000 * (1 + name.len() as u32)));
    let known: Arc<Mutex<Vec<String>>> = Arc::default();
    Arc::new(move |seen: &Seen, stream: &mut TcpStream| {
        let path = seen.path.split('?').next().unwrap();
        match (seen.method.as_str(), path) {
            (_, "/login") => write(stream, 200, &format!("{{\"token\": \"{name}-token\"}}")),
            ("POST", "/items") => {
                let item = items.fetch_add(1, Ordering::Relaxed).to_string();
                known.lock().unwrap().push(item.clone());
                write(stream, 201, &format!("{{\"item\": {item}}}"))
            }
            (_, path) if path.starts_with("/items/") => {
                let is_known = known.lock().unwrap().contains(&path[7..].to_owned());
                let wrong = seen.query("iteration").parse::<u32>().is_ok_and(|n| n >= 2);
                match is_known {
                    true => write(
                        stream,
                        200,
                        &format!("{{\"size\": {}}}", 5 + u32::from(wrong)),
                    ),
                    false => write(stream, 404, "{}"),
                }
            }
            _ => write(stream, 200, "{}"),
        }
    })
}

/// A hub with an agent whose thread met something odd at instance 0, one that plays, and instance 1.
struct Stage {
    hub: Hub,
    driver: AgentId,
    player: AgentId,
    logs: [Log; 2],
    plays: u32,
}

impl Stage {
    async fn new(script: &str, answers: [Answer; 2], iterations: u64) -> Stage {
        let mut hub = Hub::new(script);
        hub.load.cases = true;
        hub.load.remembers = script.contains("remembered");
        let driver = hub.agent(0).await;
        let player = hub.agent(1).await;
        let logs = [Log::default(), Log::default()];
        for (number, answer) in answers.iter().enumerate() {
            let address = sut::serve(&logs[number], Arc::clone(answer));
            hub.instance(number as u32, Some(address)).await;
        }
        hub.begin_script(1, driver, 0).await;
        hub.until("it runs", |hub| hub.runs_on(1).is_some()).await;
        let thread = ThreadId(1);
        hub.permit(Permit::Count { thread, iterations }).await;
        hub.until("all iterations", |hub| hub.iterations() == iterations)
            .await;
        Stage {
            hub,
            driver,
            player,
            logs,
            plays: 0,
        }
    }

    async fn capture(&mut self, iteration: Option<u64>, last: u32) -> Vec<CaseRequest> {
        let taken = ThreadTaken {
            thread: ThreadId(1),
            journal: self.hub.journal_of(self.driver, 1),
            iteration,
            last,
            data: None,
        };
        let order = CaptureOrder {
            capsule: 1,
            threads: vec![taken],
            file: self.file(),
            requests_max: 100,
        };
        let player = self.player;
        self.hub
            .tell(player, &ToAgent::Capture(Box::new(order)))
            .await;
        self.captured().await
    }

    fn file(&self) -> std::path::PathBuf {
        self.hub
            .journal_of(self.player, 1)
            .with_file_name("capsule")
    }

    async fn captured(&mut self) -> Vec<CaseRequest> {
        self.hub
            .until("the capsule", |hub| !hub.heard.captured.is_empty())
            .await;
        let captured = self.hub.heard.captured.remove(0);
        assert_eq!(captured.remarks, [""; 0]);
        captured.requests.unwrap()
    }

    async fn play(&mut self, order: PlayOrder) -> Played {
        let player = self.player;
        self.hub.tell(player, &ToAgent::Play(Box::new(order))).await;
        self.hub
            .until("the play", |hub| !hub.heard.played.is_empty())
            .await;
        self.hub.heard.played.remove(0)
    }

    fn order(&mut self, keep: Vec<u32>) -> PlayOrder {
        self.plays += 1;
        PlayOrder {
            play: self.plays,
            capsule: 1,
            instance: InstanceId(1),
            address: self.hub.address(1).unwrap(),
            data: None,
            keep,
            without: Vec::new(),
            copies: 1,
            rounds: 1,
            hangs: false,
            grows: false,
            in_time: false,
            patience_us: 5_000_000,
            timeout_us: 20_000_000,
        }
    }

    /// What instance 1 was asked since the last time.
    fn asked(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.logs[1].lock().unwrap())
    }
}

fn paths(seen: &[Seen]) -> Vec<String> {
    let path = |seen: &Seen| seen.path.split('?').next().unwrap().to_owned();
    let mut paths: Vec<String> = seen.iter().map(path).collect();
    // Those of a batch come in any order.
    paths.sort();
    paths
}

#[tokio::test(flavor = "current_thread")]
async fn a_wrong_answer_is_played_elsewhere_whole_and_cut() {
    let mut stage = Stage::new(SCRIPT, [shop("one"), shop("other")], 4).await;
    // It is told at once, with the iteration that it was met in.
    let odd: Vec<(u64, Oddity)> = stage
        .hub
        .heard
        .odd
        .iter()
        .map(|odd| (odd.iteration, odd.oddity.clone()))
        .collect();
    let check = Oddity::Check("the size is right".to_owned());
    assert_eq!(odd, [(2, check.clone()), (3, check)]);
    assert_eq!(stage.hub.heard.odd[0].endpoint, "GET /items/{}");

    let requests = stage.capture(Some(2), 1).await;
    let names: Vec<&str> = requests.iter().map(|one| one.endpoint.as_str()).collect();
    let wanted = [
        "POST /login",
        "GET /news",
        "POST /items",
        "GET /a",
        "GET /b",
        "GET /items/{}",
    ];
    assert_eq!(names, wanted);
    let uses: Vec<(u32, &str)> = requests[5]
        .uses
        .iter()
        .map(|one| (one.request, one.place.as_str()))
        .collect();
    assert_eq!(uses, [(0, "body.token"), (2, "body.item")]);
    assert_eq!(requests[2].pieces, ["/note", "/size"]);
    assert_eq!((requests[5].status, requests[5].iteration), (200, 2));

    // All of it: the same requests, with the other server's own tokens and items.
    let order = stage.order((0..6).collect());
    let played = stage.play(order).await;
    assert_eq!(
        played.failed_checks,
        [(
            "the size is right".to_owned(),
            "GET /items/{}".to_owned(),
            1
        )]
    );
    assert_eq!((played.strayed, played.cut), (None, false));
    assert!(played.first_sent.is_some());
    let asked = stage.asked();
    assert_eq!(
        paths(&asked),
        ["/a", "/b", "/items", "/items/6000", "/login", "/news"]
    );
    assert_eq!(asked.last().unwrap().query("iteration"), "2");

    // The two that it takes; one body without a piece.
    let mut order = stage.order(vec![2, 5]);
    order.without = vec![(2, "/note".to_owned())];
    let played = stage.play(order).await;
    assert_eq!(played.failed_checks.len(), 1);
    let asked = stage.asked();
    assert_eq!(paths(&asked), ["/items", "/items/6001"]);
    assert_eq!(asked[0].body, br#"{"size":5}"#);

    // Without the last one nothing is wrong: a check of what was not asked again does not count.
    let order = stage.order(vec![0, 1, 2, 3, 4]);
    let played = stage.play(order).await;
    assert_eq!(played.failed_checks, []);

    // Nothing of it was counted as done by threads.
    assert_eq!(stage.hub.iterations(), 4);
    stage.hub.finish().await;
    assert_eq!(stage.hub.heard.odd.len(), 2);
}

#[tokio::test(flavor = "current_thread")]
async fn a_capsule_is_played_by_an_agent_that_only_has_its_file() {
    let mut stage = Stage::new(SCRIPT, [shop("one"), shop("other")], 3).await;
    let before = stage.capture(None, 2).await;
    assert_eq!(before.len(), 12);
    let file = stage.file();
    stage.player = stage.hub.agent(2).await;
    let message = ToAgent::Capsule {
        capsule: 1,
        file: file.clone(),
    };
    let player = stage.player;
    stage.hub.tell(player, &message).await;
    assert_eq!(stage.captured().await, before);
    // The last of both iterations, three times over.
    let mut order = stage.order(vec![2, 5, 8, 11]);
    order.rounds = 3;
    let played = stage.play(order).await;
    assert_eq!(played.failed_checks[0].2, 3);
    assert_eq!(stage.asked().len(), 12);
    // One that was cut short is refused, and says so.
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let message = ToAgent::Capsule { capsule: 2, file };
    stage.hub.tell(player, &message).await;
    stage
        .hub
        .until("the capsule", |hub| !hub.heard.captured.is_empty())
        .await;
    let captured = stage.hub.heard.captured.remove(0);
    assert!(
        captured
            .requests
            .unwrap_err()
            .contains("whole and unchanged")
    );
    stage.hub.finish().await;
}

#[tokio::test(flavor = "current_thread")]
async fn copies_run_at_once_and_sleeps_are_kept_on_request() {
    // It answers once four wait, and else after a while with an error.
    let waiting: Arc<Mutex<u32>> = Arc::default();
    let together: Answer = Arc::new(move |seen: &Seen, stream: &mut TcpStream| {
        if !seen.path.starts_with("/items/") {
            return shop("plain")(seen, stream);
        }
        *waiting.lock().unwrap() += 1;
        for _ in 0..200 {
            if *waiting.lock().unwrap() >= 4 {
                return write(stream, 500, "four at once");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        *waiting.lock().unwrap() -= 1;
        write(stream, 200, "{\"size\": 5}")
    });
    let mut stage = Stage::new(SCRIPT, [shop("one"), together], 1).await;
    stage.capture(Some(0), 1).await;
    let order = stage.order(vec![5]);
    let played = stage.play(order).await;
    assert_eq!(played.answers[0].statuses, [(200, 1)]);
    let mut order = stage.order(vec![0, 5]);
    order.copies = 4;
    order.in_time = true;
    let begun = std::time::Instant::now();
    let played = stage.play(order).await;
    let last = played
        .answers
        .iter()
        .find(|one| one.request == Some(5))
        .unwrap();
    assert_eq!(
        (last.statuses.as_slice(), last.said.as_str()),
        (&[(500, 4)][..], "four at once")
    );
    assert!(
        begun.elapsed() >= Duration::from_millis(200),
        "{:?}",
        begun.elapsed()
    );
    stage.hub.finish().await;
}

#[tokio::test(flavor = "current_thread")]
async fn an_instance_that_hangs_or_is_gone_ends_no_agent() {
    let hanging: Answer = Arc::new(|seen: &Seen, stream: &mut TcpStream| {
        if seen.path.starts_with("/items/") {
            std::thread::sleep(Duration::from_secs(4));
        }
        shop("hangs")(seen, stream)
    });
    let mut stage = Stage::new(SCRIPT, [shop("one"), hanging], 1).await;
    stage.capture(Some(0), 1).await;
    let mut order = stage.order(vec![5]);
    order.patience_us = 100_000;
    let played = stage.play(order).await;
    assert_eq!(played.answers[0].errors, [(TransportError::Timeout, 1)]);
    assert_eq!(played.failed_checks, []);
    let mut order = stage.order(vec![5]);
    order.timeout_us = 100_000;
    let played = stage.play(order).await;
    assert!(played.cut);
    let mut order = stage.order(vec![0, 5]);
    order.address.port = 1;
    let played = stage.play(order).await;
    assert_eq!(played.answers[0].errors, [(TransportError::Connect, 1)]);
    stage.hub.finish().await;
}

#[tokio::test(flavor = "current_thread")]
async fn what_earlier_iterations_left_behind_is_there() {
    const REMEMBERING: &str = r"
import http from 'k6/http';
let remembered = null;
export default function () {
  if (remembered === null) { remembered = http.get('http://sut.test/first').json('n'); return; }
  http.get('http://sut.test/next?n=' + remembered + '&i=' + __ITER);
}";
    let answer: Answer =
        Arc::new(|_: &Seen, stream: &mut TcpStream| write(stream, 500, "{\"n\": 77}"));
    let mut stage = Stage::new(REMEMBERING, [Arc::clone(&answer), answer], 3).await;
    let told = stage
        .hub
        .heard
        .odd
        .iter()
        .map(|odd| (odd.iteration, odd.said.as_str()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(0, "{\"n\": 77}"), (1, "{\"n\": 77}"), (2, "{\"n\": 77}")]
    );
    let requests = stage.capture(Some(2), 1).await;
    assert_eq!(requests.len(), 1);
    let order = stage.order(vec![0]);
    stage.play(order).await;
    let asked = stage.asked();
    assert_eq!((asked[0].query("n"), asked[0].query("i")), ("77", "2"));
    stage.hub.finish().await;
}
