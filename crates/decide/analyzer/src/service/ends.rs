//! Crashes, with the request that was under way; processes that crash again and again; and hangs.

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{At, CallSeen, Exit, InstanceId, ServiceFindingKind};

use super::View;
use super::book::{Conclusion, FOREVER, Key};
use super::record::Watched;
use super::words;
use crate::findings::measured;

/// Kinds of crash kept apart, and calls kept of each.
const KINDS_MAX: usize = 64;
const CALLS_MAX: usize = 64;
/// Crashes of one instance within this time that are a loop.
const LOOP: (usize, u64) = (3, 60_000_000);
/// By how much, in logarithms of chance, the endpoint of a crash must stand out.
const STANDS_OUT: f64 = 1.5;
/// Crashes that take to tell it from others that were under way in all of them.
const COUNT_MIN: f64 = 3.0;
/// Letters of a word that tells something.
const WORD_MIN: usize = 4;
/// Seconds without an answer that are a hang; and as a multiple of the longest call ever seen.
const HANG_S: f64 = 10.0;
const HANG_LONGEST: f64 = 5.0;
/// CPU use above which it does something.
const HANG_CORES_MAX: f64 = 0.05;
/// Seconds after a crash in which calls whose connection broke are told.
const BROKEN_US: u64 = 2_500_000;

/// Crashes that are alike.
#[derive(Clone, Debug)]
struct Kind {
    how: String,
    count: f64,
    first: At,
    last: At,
    instances: Vec<InstanceId>,
    lines: Vec<String>,
    /// Calls that were under way, of the latest crashes.
    calls: Vec<CallSeen>,
    /// By endpoint: crashes in which it was under way, and how unlikely that was by chance.
    present: BTreeMap<u32, (f64, f64)>,
    looping: bool,
    /// Endpoints counted for the latest crash already.
    counted: BTreeSet<u32>,
}

/// All ends so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    kinds: BTreeMap<String, Kind>,
}

/// One end as it was told.
pub(super) struct Ended<'a> {
    pub(super) instance: InstanceId,
    pub(super) exit: &'a Exit,
    pub(super) lines: &'a [String],
    pub(super) calls: &'a [CallSeen],
}

impl Ends {
    /// The process of an instance ended unasked. `under_way`: mean number of calls under way by
    /// endpoint, before.
    pub(super) fn crashed(
        &mut self,
        at: At,
        ended: &Ended<'_>,
        under_way: &BTreeMap<u32, f64>,
        looping: bool,
    ) {
        let how = described(ended.exit);
        let line = telling(ended.lines);
        let key = format!("{how} {}", normalized(line.as_deref().unwrap_or_default()));
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&key) {
            return;
        }
        let kind = self.kinds.entry(key).or_insert_with(|| Kind {
            how,
            count: 0.0,
            first: at,
            last: at,
            instances: Vec::new(),
            lines: Vec::new(),
            calls: Vec::new(),
            present: BTreeMap::new(),
            looping: false,
            counted: BTreeSet::new(),
        });
        kind.count += 1.0;
        kind.last = at;
        kind.looping |= looping;
        if !kind.instances.contains(&ended.instance) {
            kind.instances.push(ended.instance);
        }
        kind.lines = line.as_deref().map(words::cut).into_iter().collect();
        kind.counted.clear();
        kind.add(ended.calls, under_way);
    }

    /// Calls whose connection broke: those of a crash that was just told, or is about to be.
    pub(super) fn broke(
        &mut self,
        at: At,
        instance: InstanceId,
        calls: &[CallSeen],
        under_way: &BTreeMap<u32, f64>,
    ) {
        for kind in self.kinds.values_mut() {
            // The end itself tells its calls, as a rule; later ones may merely have been refused.
            let untold = kind.counted.is_empty() && at.since(kind.last) <= BROKEN_US;
            if untold && kind.instances.contains(&instance) {
                kind.add(calls, under_way);
            }
        }
    }

    /// `exception`: what an instance last said of an exception around a time.
    pub(super) fn conclude(
        &self,
        view: &View<'_>,
        exception: impl Fn(InstanceId, At) -> Option<String>,
        drawn: &mut Vec<Conclusion>,
    ) {
        for (key, kind) in &self.kinds {
            let said = kind.instances.iter().find_map(|i| exception(*i, kind.last));
            drawn.push(kind.conclusion(view, key, said.as_ref()));
        }
    }
}

impl Kind {
    fn add(&mut self, calls: &[CallSeen], under_way: &BTreeMap<u32, f64>) {
        for call in calls {
            if self.counted.insert(call.endpoint.0) {
                let usual = under_way.get(&call.endpoint.0).copied().unwrap_or(0.01);
                let chance = (1.0 - (-usual.max(1e-3)).exp()).max(1e-3);
                let entry = self.present.entry(call.endpoint.0).or_default();
                entry.0 += 1.0;
                entry.1 -= chance.ln();
            }
            if self.calls.len() == CALLS_MAX {
                self.calls.remove(0);
            }
            if !self.calls.contains(call) {
                self.calls.push(call.clone());
            }
        }
    }

    /// The endpoint one of whose calls holds what the log speaks of, when that is one only; else
    /// the one that was under way in (nearly) all of them, and is by chance least so.
    fn endpoint(&self) -> Option<u32> {
        self.spoken_of()
            .map(|call| call.endpoint.0)
            .or_else(|| self.present_in_all())
    }

    /// The call with most words of the last message of the log that no call of another endpoint has.
    fn spoken_of(&self) -> Option<&CallSeen> {
        let said = telling_words(self.lines.iter());
        let own = |call: &CallSeen| -> BTreeSet<String> {
            telling_words([&call.request, &call.body])
                .into_iter()
                .filter(|word| said.contains(word))
                .collect()
        };
        let common = |call: &CallSeen, word: &String| {
            self.calls
                .iter()
                .any(|other| other.endpoint != call.endpoint && own(other).contains(word))
        };
        let score = |call: &CallSeen| own(call).iter().filter(|w| !common(call, w)).count();
        let best = self.calls.iter().max_by_key(|call| score(call))?;
        let rival = self
            .calls
            .iter()
            .filter(|call| call.endpoint != best.endpoint)
            .map(score)
            .max()
            .unwrap_or(0);
        (score(best) > rival).then_some(best)
    }

    fn present_in_all(&self) -> Option<u32> {
        let mut likely: Vec<(f64, u32)> = self
            .present
            .iter()
            .filter(|(_, (crashes, _))| *crashes >= 0.8 * self.count)
            .map(|(endpoint, (_, surprise))| (*surprise, *endpoint))
            .collect();
        likely.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        match likely[..] {
            [] => None,
            [(_, one)] => Some(one),
            // Of few crashes, many calls are under way in all by chance.
            [(best, one), (next, _), ..] => {
                (self.count >= COUNT_MIN && best - next >= STANDS_OUT).then_some(one)
            }
        }
    }

    /// Its requests, those that occur in most crashes first, the odd ones before the usual.
    fn requests(&self, endpoint: Option<u32>) -> Vec<String> {
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for call in &self.calls {
            if endpoint.is_none_or(|e| e == call.endpoint.0) {
                *counts.entry((&call.request, &call.body)).or_default() += 1;
            }
        }
        let mut requests: Vec<((&str, &str), usize)> = counts.into_iter().collect();
        requests.sort_by_key(|request| std::cmp::Reverse(request.1));
        requests
            .into_iter()
            .take(5)
            .map(|((request, body), _)| {
                let body = if body.is_empty() {
                    String::new()
                } else {
                    format!(" {body}")
                };
                words::cut(&format!("{request}{body}"))
            })
            .collect()
    }

    fn conclusion(&self, view: &View<'_>, key: &str, exception: Option<&String>) -> Conclusion {
        let endpoint = self.endpoint();
        let mut requests = self.requests(endpoint);
        if let Some(call) = self.spoken_of() {
            let request = format!("{} {}", call.request, call.body);
            let request = words::cut(request.trim_end());
            requests.retain(|other| *other != request);
            requests.insert(0, request);
        }
        let mut sentence = if self.count > 1.5 {
            format!(
                "{} {}, {:.0} times in all",
                capital_instances(&self.instances),
                if self.instances.len() > 1 {
                    let how = self.how.replacen("was ", "were ", 1);
                    how.replacen("by itself", "by themselves", 1).replacen(
                        "its memory",
                        "their memory",
                        1,
                    )
                } else {
                    self.how.clone()
                },
                self.count
            )
        } else {
            format!("{} {}", capital_instances(&self.instances), self.how)
        };
        if self.looping {
            sentence.push_str(", again and again");
        }
        if let Some(endpoint) = endpoint {
            sentence.push_str(&format!(
                ", while a call of {} was under way",
                view.name(endpoint)
            ));
            let sure = requests.len() == 1 || self.spoken_of().is_some();
            if let Some(request) = requests.first().filter(|_| sure) {
                sentence.push_str(&format!(" ({request})"));
            }
        }
        if let Some(line) = exception.or(self.lines.first()) {
            let line = line.trim().trim_end_matches('.');
            sentence.push_str(&format!("; its log says: {line}"));
        }
        sentence.push('.');
        Conclusion {
            key: Key {
                kind: ServiceFindingKind::Crash,
                endpoint: None,
                detail: key.to_owned(),
            },
            instances: self.instances.clone(),
            endpoint,
            since: self.first,
            confidence: 0.99,
            sentence,
            evidence: vec![measured("crashes", self.count, "times")],
            excerpts: requests.into_iter().chain(self.lines.clone()).collect(),
            needs: 1,
            patience: FOREVER,
            amount: self.count,
        }
    }
}

/// Words, in small letters, that are long enough to tell something.
fn telling_words<'a>(texts: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    texts
        .into_iter()
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()))
        .filter(|word| word.chars().count() >= WORD_MIN)
        .map(str::to_lowercase)
        .collect()
}

fn capital_instances(all: &[InstanceId]) -> String {
    match all {
        [one] => format!("Instance {one}"),
        _ => format!("{} instances", all.len()),
    }
}

fn described(exit: &Exit) -> String {
    match exit {
        Exit::Asked => "ended as asked".to_owned(),
        Exit::Code { code } => format!("ended by itself with code {code}"),
        Exit::Signal { signal } => {
            let name = match signal {
                4 => " (SIGILL)",
                6 => " (SIGABRT)",
                7 => " (SIGBUS)",
                8 => " (SIGFPE)",
                9 => " (SIGKILL)",
                11 => " (SIGSEGV)",
                15 => " (SIGTERM)",
                _ => "",
            };
            format!("was ended by signal {signal}{name}")
        }
        Exit::OutOfMemory => "was killed because its memory was full".to_owned(),
    }
}

/// The line of the log that says most about an end: one that has a sign of it, with the message
/// that stands on the next line in newer Rust; else the last one that is no part of a trace.
fn telling(lines: &[String]) -> Option<String> {
    const SIGNS: [&str; 9] = [
        "panicked at",
        "fatal error",
        "FATAL",
        "Exception",
        "Error:",
        "panic:",
        "Segmentation fault",
        "Assertion",
        "abort",
    ];
    let trace = |line: &str| {
        let line = line.trim_start();
        let frame = line.split_once(':').is_some_and(|(number, _)| {
            !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
        });
        line.is_empty() || frame || line.starts_with("at ") || line.starts_with("note: ")
    };
    let marked = lines
        .iter()
        .rposition(|line| !trace(line) && SIGNS.iter().any(|sign| line.contains(sign)));
    if let Some(place) = marked {
        let line = &lines[place];
        let next = lines.get(place + 1).filter(|next| !trace(next));
        return Some(match next {
            Some(next) if line.contains("panicked at") && line.ends_with(':') => {
                format!("{line} {}", next.trim())
            }
            _ => line.clone(),
        });
    }
    lines.iter().rev().find(|line| !trace(line)).cloned()
}

/// Without numbers, so that two crashes of the same bug are alike.
fn normalized(line: &str) -> String {
    let mut short: String = line
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .take(120)
        .collect();
    short.truncate(short.trim_end().len());
    short
}

/// Whether the crashes of an instance are a loop, the latest being now.
pub(super) fn is_loop(crashes: &[At], now: At) -> bool {
    crashes
        .iter()
        .filter(|crash| now.since(**crash) <= LOOP.1)
        .count()
        >= LOOP.0
}

/// Instances with calls under way on which nothing moves.
pub(super) fn hangs(view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
    for (instance, watched) in view.instances.iter().filter(|(_, w)| !w.down) {
        if let Some(conclusion) = hang(view, *instance, watched, at) {
            drawn.push(conclusion);
        }
    }
}

fn hang(view: &View<'_>, instance: InstanceId, watched: &Watched, at: At) -> Option<Conclusion> {
    let newest = watched.seconds.back()?;
    let longest_s = watched
        .seconds
        .iter()
        .flat_map(|s| &s.endpoints)
        .map(|e| e.longest_us / 1e6)
        .fold(0.0, f64::max);
    let threshold = HANG_S.max(HANG_LONGEST * longest_s);
    let answered = watched.seconds.iter().any(|s| s.calls > 0.0);
    if watched.still_s < threshold || !answered || at.since(newest.at) > 5_000_000 {
        return None;
    }
    let still = || {
        watched
            .seconds
            .iter()
            .rev()
            .take_while(|s| s.calls == 0.0)
            .filter(|s| !s.warm_up)
    };
    let cores: f64 = still().filter_map(|s| s.cores).sum::<f64>() / still().count().max(1) as f64;
    if cores > HANG_CORES_MAX {
        return None;
    }
    let waiting: Vec<&super::record::EndpointSecond> = newest
        .endpoints
        .iter()
        .filter(|e| e.in_flight >= 1.0)
        .collect();
    let endpoint = match waiting[..] {
        [one] => Some(one.endpoint),
        _ => None,
    };
    let names: Vec<String> = waiting
        .iter()
        .take(3)
        .map(|e| view.name(e.endpoint))
        .collect();
    Some(Conclusion {
        key: Key::of(ServiceFindingKind::Hang, None),
        instances: vec![instance],
        endpoint,
        since: At(newest.at.0.saturating_sub((watched.still_s * 1e6) as u64)),
        confidence: 0.95,
        sentence: format!(
            "Instance {instance} hangs: {:.0} calls ({}) are under way, none was answered for {:.0} s, and it uses no CPU.",
            newest.in_flight,
            names.join(", "),
            watched.still_s,
        ),
        evidence: vec![
            measured("without an answer", watched.still_s, "s"),
            measured("calls under way", newest.in_flight, "calls"),
            measured("cpu used", cores, "cores"),
        ],
        excerpts: Vec::new(),
        needs: 2,
        patience: 5_000_000,
        amount: 0.0,
    })
}
