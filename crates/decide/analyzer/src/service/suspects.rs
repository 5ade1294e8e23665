//! Which of the calls that were under way when a process ended was its end? The one that holds what
//! its log speaks of; else one of an endpoint that was under way in (nearly) all of several ends, though
//! it seldom is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cohort_model::CallSeen;

use super::words;

/// Calls kept.
const CALLS_MAX: usize = 192;
/// Requests shown.
const SHOWN_MAX: usize = 5;
/// By how much, in logarithms of chance, the endpoint of a crash must stand out.
const STANDS_OUT: f64 = 1.5;
/// Crashes that it takes to tell it from others that were under way in all of them.
const CRASHES_MIN: u32 = 3;
/// Letters of a word that tells something; and of what stands in quotation marks.
const WORD_MIN: usize = 4;
const QUOTED: std::ops::RangeInclusive<usize> = 2..=80;

/// Calls that were under way when a process ended, of the latest such ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspects {
    crashes: u32,
    /// With the number of their crash.
    calls: VecDeque<(u32, CallSeen)>,
    /// By endpoint: crashes in which it was under way, and how unlikely that was by chance.
    present: BTreeMap<u32, (u32, f64)>,
    /// Endpoints counted for the latest crash already.
    counted: BTreeSet<u32>,
}

/// What is to be thought of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Suspicion {
    /// The endpoint, when it stands out.
    pub(super) endpoint: Option<u32>,
    /// Requests with their bodies, the most suspicious first.
    pub(super) requests: Vec<String>,
    /// The first of them stands out.
    pub(super) sure: bool,
}

impl Suspects {
    /// A further end.
    pub(super) fn crashed(&mut self) {
        self.crashes += 1;
        self.counted.clear();
    }

    /// Whether nothing was told of the latest end.
    pub(super) fn are_untold(&self) -> bool {
        self.counted.is_empty()
    }

    /// Calls that were under way at the latest end. `under_way`: how many are usually, by endpoint.
    pub(super) fn add(&mut self, calls: &[CallSeen], under_way: &BTreeMap<u32, f64>) {
        for call in calls {
            if self.counted.insert(call.endpoint.0) {
                let usual = under_way.get(&call.endpoint.0).copied().unwrap_or(0.01);
                let chance = (1.0 - (-usual.max(1e-3)).exp()).max(1e-3);
                let entry = self.present.entry(call.endpoint.0).or_default();
                entry.0 += 1;
                entry.1 -= chance.ln();
            }
            if self.calls.len() == CALLS_MAX {
                self.calls.pop_front();
            }
            self.calls.push_back((self.crashes, call.clone()));
        }
    }

    /// In the light of what the log says.
    pub(super) fn ranked(&self, said: &[&str]) -> Suspicion {
        let requests = self.requests(said);
        let score = |request: &Request<'_>| request.score;
        let best = requests.iter().map(score).max().unwrap_or(0);
        let spoken: BTreeSet<u32> = requests
            .iter()
            .filter(|r| best > 0 && r.score == best)
            .map(|r| r.endpoint)
            .collect();
        let spoken_of = match spoken.len() {
            1 => spoken.first().copied(),
            _ => None,
        };
        let endpoint = spoken_of.or_else(|| self.present_in_all());
        let mut ranked: Vec<&Request<'_>> = requests
            .iter()
            .filter(|r| endpoint.is_none() || spoken_of.is_some() || Some(r.endpoint) == endpoint)
            .collect();
        ranked.sort_by_key(|r| {
            let elsewhere = Some(r.endpoint) != endpoint;
            (
                Reverse(r.score),
                elsewhere,
                Reverse(r.crashes.len()),
                Reverse(r.took_us),
            )
        });
        let of_it = requests.iter().filter(|r| Some(r.endpoint) == endpoint);
        let alone = of_it.count() == 1;
        let clear = match ranked[..] {
            [first, second, ..] => first.score > second.score,
            [_] => true,
            [] => false,
        };
        Suspicion {
            endpoint,
            sure: endpoint.is_some() && (alone || (clear && spoken_of.is_some())),
            requests: ranked.iter().take(SHOWN_MAX).map(|r| r.text()).collect(),
        }
    }

    /// Each different request once, with how much of what is said it alone holds.
    fn requests(&self, said: &[&str]) -> Vec<Request<'_>> {
        let words: BTreeSet<String> = said.iter().flat_map(|text| telling_words(text)).collect();
        let quotes: BTreeSet<&str> = said.iter().flat_map(|text| quoted(text)).collect();
        let mut requests: BTreeMap<(&str, &str), Request<'_>> = BTreeMap::new();
        for (crash, call) in &self.calls {
            let request = requests
                .entry((&call.request, &call.body))
                .or_insert_with(|| Request::new(call, &words, &quotes));
            request.crashes.insert(*crash);
            request.took_us = request.took_us.max(call.took_us);
        }
        let mut requests: Vec<Request<'_>> = requests.into_values().collect();
        // What calls of several endpoints hold tells nothing.
        let mut holders: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for request in &requests {
            for sign in &request.signs {
                holders
                    .entry(sign.clone())
                    .or_default()
                    .insert(request.endpoint);
            }
        }
        for request in &mut requests {
            let own = request
                .signs
                .iter()
                .filter(|sign| holders[*sign].len() == 1);
            request.score = own.count();
        }
        requests
    }

    fn present_in_all(&self) -> Option<u32> {
        let mut likely: Vec<(f64, u32)> = self
            .present
            .iter()
            .filter(|(_, (crashes, _))| *crashes * 5 >= self.crashes * 4)
            .map(|(endpoint, (_, surprise))| (*surprise, *endpoint))
            .collect();
        likely.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        match likely[..] {
            [] => None,
            [(_, one)] => Some(one),
            // Of few crashes, many calls are under way in all by chance.
            [(best, one), (next, _), ..] => {
                (self.crashes >= CRASHES_MIN && best - next >= STANDS_OUT).then_some(one)
            }
        }
    }
}

/// One request, of however many calls.
struct Request<'a> {
    call: &'a CallSeen,
    endpoint: u32,
    crashes: BTreeSet<u32>,
    took_us: u64,
    /// What it holds of what is said.
    signs: BTreeSet<String>,
    score: usize,
}

impl<'a> Request<'a> {
    fn new(call: &'a CallSeen, said: &BTreeSet<String>, quotes: &BTreeSet<&str>) -> Request<'a> {
        let request = decoded(&call.request);
        let texts = [request.as_str(), call.body.as_str()];
        let mut signs: BTreeSet<String> = texts
            .into_iter()
            .flat_map(telling_words)
            .filter(|word| said.contains(word))
            .collect();
        let held = quotes
            .iter()
            .filter(|quote| texts.iter().any(|text| text.contains(**quote)));
        signs.extend(held.map(|quote| format!("\"{quote}\"")));
        Request {
            call,
            endpoint: call.endpoint.0,
            crashes: BTreeSet::new(),
            took_us: 0,
            signs,
            score: 0,
        }
    }

    fn text(&self) -> String {
        let body = match self.call.body.as_str() {
            "" => String::new(),
            body => format!(" {body}"),
        };
        words::cut(&format!("{}{body}", self.call.request))
    }
}

/// Words, in small letters, that are long enough to tell something.
fn telling_words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().count() >= WORD_MIN)
        .map(str::to_lowercase)
        .collect()
}

/// What stands between two equal quotation marks.
fn quoted(text: &str) -> Vec<&str> {
    ['`', '"', '\'']
        .into_iter()
        .flat_map(|mark| text.split(mark).skip(1).step_by(2))
        .filter(|quote| QUOTED.contains(&quote.chars().count()))
        .collect()
}

/// A request as it was before its special letters were written as `%C3` and the like.
fn decoded(request: &str) -> String {
    let bytes = request.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while let Some(byte) = bytes.get(place) {
        let code = bytes
            .get(place + 1..place + 3)
            .filter(|_| *byte == b'%')
            .and_then(|code| std::str::from_utf8(code).ok())
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        plain.push(code.unwrap_or(*byte));
        place += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cohort_model::{EndpointId, ThreadId};

    fn call(endpoint: u32, request: &str, body: &str) -> CallSeen {
        CallSeen {
            endpoint: EndpointId(endpoint),
            thread: ThreadId(0),
            request: request.to_owned(),
            body: body.to_owned(),
            took_us: 1_000,
        }
    }

    fn crash(suspects: &mut Suspects, calls: &[CallSeen]) {
        suspects.crashed();
        suspects.add(calls, &BTreeMap::from([(1, 3.0), (2, 0.01), (3, 3.0)]));
    }

    #[test]
    fn what_the_log_speaks_of_names_the_request() {
        let mut suspects = Suspects::default();
        let calls = [
            call(1, "GET /categories", ""),
            call(2, "POST /checkout", "{\"coupon\":\"SAVE5\"}"),
            call(2, "POST /checkout", "{\"coupon\":\"CAFÉ15\"}"),
        ];
        crash(&mut suspects, &calls);
        let said = [
            "end byte index 4 is no boundary of `CAFÉ15`",
            "shop::coupon::percent",
        ];
        let found = suspects.ranked(&said);
        assert_eq!((found.endpoint, found.sure), (Some(2), true));
        assert_eq!(found.requests[0], "POST /checkout {\"coupon\":\"CAFÉ15\"}");
        let search = [
            call(3, "GET /search?q=caf%C3%A9", ""),
            call(1, "GET /a", ""),
        ];
        crash(&mut suspects, &search);
        let found = suspects.ranked(&["cannot search for 'café'"]);
        assert_eq!(found.requests[0], "GET /search?q=caf%C3%A9");
    }

    #[test]
    fn nothing_said_names_what_is_seldom_under_way_and_was_each_time() {
        let mut suspects = Suspects::default();
        for round in 0..3 {
            let product = format!("GET /products/{round}");
            let calls = [call(1, &product, ""), call(2, "GET /odd", "")];
            crash(&mut suspects, &calls);
            let found = suspects.ranked(&["segmentation fault"]);
            assert_eq!(found.endpoint, (round == 2).then_some(2), "after {round}");
        }
        assert_eq!(suspects.ranked(&[]).requests, ["GET /odd"]);
    }
}
