//! One scan, from its plan to what was found.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::http::Client;
use crate::passive::{ELSEWHERE, Headers, cookies, origin};
use crate::plan::{Example, Plan};
use crate::points::plain;
use crate::probe::{Prober, missing_page, shows_markup};
use crate::sockets::Sockets;
use crate::weakness::Weaknesses;
use crate::{locks, tls};

/// Examples whose directories are climbed out of.
const CLIMBED_MAX: usize = 5;
/// So long after it broke off a call a server may still be seen ending.
const ENDS_WITHIN: Duration = Duration::from_millis(100);

/// Looks at a server in every way.
pub(crate) fn scan(plan: &Plan) -> Weaknesses {
    let mut weaknesses = Weaknesses::default();
    let mut sockets = Sockets::default();
    sockets.look(plan.pid);
    if let Ok(ip) = plan.host.parse::<IpAddr>() {
        talk(
            plan,
            SocketAddr::new(ip, plan.port),
            &mut sockets,
            &mut weaknesses,
        );
    }
    sockets.look(plan.pid);
    sockets.tell(plan, &told_to(plan.pid), &mut weaknesses);
    if let Some(advisories) = &plan.advisories {
        let mut roots = plan.roots.clone();
        roots.extend(directories(plan.pid));
        locks::look_up(&roots, advisories, &mut weaknesses);
    }
    weaknesses
}

fn talk(plan: &Plan, address: SocketAddr, sockets: &mut Sockets, weaknesses: &mut Weaknesses) {
    let until = Instant::now() + Duration::from_millis(plan.for_ms);
    let mut client = Client::new(address, plan, until);
    if plan.tls
        && let Some(old) = tls::takes_old(address)
    {
        let sentence =
            format!("The server takes {old}, which must not be used any more (RFC 8996).");
        weaknesses.add("old-tls", old, sentence);
    }
    replay(plan, &mut client, weaknesses);
    sockets.look(plan.pid);
    let lives = || plan.pid <= 0 || !ends(plan.pid);
    let mut prober = Prober {
        client: &mut client,
        weaknesses,
        lives: &lives,
        is_down: false,
    };
    // What changes nothing is asked first: a session is still good then.
    let (safe, others): (Vec<&Example>, Vec<&Example>) = firsts(plan)
        .into_iter()
        .partition(|one| ["GET", "HEAD"].contains(&one.method.as_str()));
    for example in safe.iter().take(CLIMBED_MAX) {
        prober.climb_paths(example);
    }
    for example in safe.into_iter().chain(others) {
        prober.example(example);
    }
}

/// Whether a process that broke off a call ends: its connections are closed a moment before it is gone.
fn ends(pid: i32) -> bool {
    let until = Instant::now() + ENDS_WITHIN;
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // One that nobody has waited for yet is kept as a zombie.
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.get(..1));
        if matches!(state, None | Some("Z" | "X")) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The requests as they were, in their order: what their answers say by themselves.
fn replay(plan: &Plan, client: &mut Client, weaknesses: &mut Weaknesses) {
    let mut headers = Headers::default();
    for example in &plan.examples {
        if client.is_given_up() {
            break;
        }
        let mut request = plain(example);
        let elsewhere = format!("https://{ELSEWHERE}");
        request.headers.push(("Origin".to_owned(), elsewhere));
        let Ok(answer) = client.ask(&request) else {
            continue;
        };
        headers.look(&example.endpoint, &answer, plan.tls);
        cookies(&example.endpoint, &answer, plan.tls, weaknesses);
        origin(&example.endpoint, &answer, weaknesses);
    }
    headers.tell(weaknesses);
    if let Ok(answer) = client.ask(&missing_page())
        && shows_markup(&answer)
    {
        let sentence = "A page that is not there is answered with its name as it came, so a link can run scripts there.";
        weaknesses.add("reflected-input", "missing pages", sentence.to_owned());
    }
}

/// One example of each endpoint: one that was answered well if there is one.
fn firsts(plan: &Plan) -> Vec<&Example> {
    let mut known = BTreeSet::new();
    let well = plan.examples.iter().filter(|one| one.status < 400);
    let all = well.chain(&plan.examples);
    all.filter(|one| known.insert(one.endpoint.as_str()))
        .collect()
}

/// Addresses in the environment of a process: whoever started it told it to connect there.
fn told_to(pid: i32) -> Vec<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let exporters = environment
        .split('\0')
        .filter(|one| one.starts_with("OTEL_EXPORTER"));
    let hosts = exporters.filter_map(|one| one.split_once("://"));
    hosts
        .map(|(_, rest)| rest.split('/').next().unwrap_or(rest).to_owned())
        .collect()
}

/// Directories that its command names: it may bring packages of its own.
fn directories(pid: i32) -> Vec<PathBuf> {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).into_owned();
    let words = command.split('\0').map(|word| {
        let path = word.split_once('=').map_or(word, |(_, value)| value);
        PathBuf::from(path)
    });
    words
        .filter(|path| path.is_absolute() && path.components().count() > 2 && path.is_dir())
        .collect()
}
