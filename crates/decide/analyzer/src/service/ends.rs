//! Crashes, with the request that was under way, and processes that crash again and again.

use std::collections::BTreeMap;

use cohort_model::{At, CallSeen, ExceptionSeen, Exit, InstanceId, ServiceFindingKind};

use super::View;
use super::book::{Conclusion, FOREVER, Key};
use super::suspects::Suspects;
use super::words;
use crate::findings::measured;

/// Kinds of crash kept apart.
const KINDS_MAX: usize = 64;
/// Crashes of one instance within this time that are a loop.
const LOOP: (usize, u64) = (3, 60_000_000);
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
    /// The exception that ended the latest of them, as its log tells it.
    exception: Option<ExceptionSeen>,
    suspects: Suspects,
    looping: bool,
}

/// All ends so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    kinds: BTreeMap<String, Kind>,
    /// Calls whose connection broke of late, by instance: the end may be told after them.
    broken: BTreeMap<InstanceId, (At, Vec<CallSeen>)>,
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
        let key = format!(
            "{how} {}",
            words::without_digits(line.as_deref().unwrap_or_default())
        );
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
            exception: None,
            suspects: Suspects::default(),
            looping: false,
        });
        kind.count += 1.0;
        kind.last = at;
        kind.looping |= looping;
        if !kind.instances.contains(&ended.instance) {
            kind.instances.push(ended.instance);
        }
        kind.lines = line.as_deref().map(words::cut).into_iter().collect();
        kind.suspects.crashed();
        match self.broken.remove(&ended.instance) {
            Some((then, calls)) if ended.calls.is_empty() && at.since(then) <= BROKEN_US => {
                kind.suspects.add(&calls, under_way);
            }
            _ => kind.suspects.add(ended.calls, under_way),
        }
    }

    /// Calls whose connection broke: those of a crash that was just told, or is about to be.
    pub(super) fn broke(
        &mut self,
        at: At,
        instance: InstanceId,
        calls: &[CallSeen],
        under_way: &BTreeMap<u32, f64>,
    ) {
        if calls.is_empty() {
            return;
        }
        let mut told = false;
        for kind in self.kinds.values_mut() {
            let just = at.since(kind.last) <= BROKEN_US && kind.instances.contains(&instance);
            told |= just;
            // The end itself tells its calls, as a rule; later ones may merely have been refused.
            if just && kind.suspects.are_untold() {
                kind.suspects.add(calls, under_way);
            }
        }
        if !told {
            self.broken.insert(instance, (at, calls.to_vec()));
        }
    }

    /// `exception`: what an instance told of an exception around a time.
    pub(super) fn conclude<'a>(
        &mut self,
        view: &View<'_>,
        exception: impl Fn(InstanceId, At) -> Option<&'a ExceptionSeen>,
        drawn: &mut Vec<Conclusion>,
    ) {
        for (key, kind) in &mut self.kinds {
            let said = kind.instances.iter().find_map(|i| exception(*i, kind.last));
            if let Some(said) = said {
                kind.exception = Some(said.clone());
            }
            drawn.push(kind.conclusion(view, key));
        }
    }
}

impl Kind {
    /// What the log says of it.
    fn said(&self) -> Option<String> {
        let Some(seen) = &self.exception else {
            return self.lines.first().cloned();
        };
        let place = match seen.frame.as_str() {
            "" => String::new(),
            frame => format!(" at {frame}"),
        };
        Some(words::cut(&format!(
            "{}: {}{place}",
            seen.kind, seen.message
        )))
    }

    fn conclusion(&self, view: &View<'_>, key: &str) -> Conclusion {
        let mut texts: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        if let Some(seen) = &self.exception {
            texts.extend([seen.message.as_str(), seen.frame.as_str()]);
        }
        let suspicion = self.suspects.ranked(&texts);
        let endpoint = suspicion.endpoint;
        let how = if self.instances.len() > 1 {
            self.how
                .replacen("was ", "were ", 1)
                .replacen("by itself", "by themselves", 1)
                .replacen("its memory", "their memory", 1)
        } else {
            self.how.clone()
        };
        let mut sentence = format!("{} {how}", capital_instances(&self.instances));
        if self.count > 1.5 {
            sentence.push_str(&format!(", {:.0} times in all", self.count));
        }
        if self.looping {
            sentence.push_str(", again and again");
        }
        if let Some(endpoint) = endpoint {
            sentence.push_str(&format!(
                ", while a call of {} was under way",
                view.name(endpoint)
            ));
            if let Some(request) = suspicion.requests.first().filter(|_| suspicion.sure) {
                sentence.push_str(&format!(" ({request})"));
            }
        }
        let said = self.said();
        if let Some(line) = &said {
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
            excerpts: suspicion.requests.into_iter().chain(said).collect(),
            needs: 1,
            patience: FOREVER,
            amount: self.count,
        }
    }
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

/// Whether the crashes of an instance are a loop, the latest being now.
pub(super) fn is_loop(crashes: &[At], now: At) -> bool {
    crashes
        .iter()
        .filter(|crash| now.since(**crash) <= LOOP.1)
        .count()
        >= LOOP.0
}
