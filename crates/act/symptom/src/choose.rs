//! Which of the things that were found is the failure.
//!
//! Why Cohort killed it counts before what it wrote, a sanitizer before all else it wrote, the runner's
//! words before the program's, and those before stacks. Of several exceptions the last one is what ended
//! the test, since what it survived was written before; of failed expectations it is the first.

use cohort_model::{Frame, KillReason, SuiteKind, Symptom, SymptomKind, Verdict};

use crate::reports::{Found, Rank};
use crate::{Ended, ending};

/// Of `abort` (`signal(7)`).
const ABORT: i32 = 6;
/// Class of the panics of Rust programs.
const PANIC: &str = "rust panic";
/// What a panic says that only passes on the one of another thread.
const SECOND_HAND: [&str; 9] = [
    "Any { .. }",
    "PoisonError",
    "a scoped thread panicked",
    "JoinError",
    "RecvError",
    "SendError",
    "Disconnected",
    "receiving on a closed channel",
    "sending on a closed channel",
];

pub(crate) fn choose(ended: &Ended, found: &[Vec<Found>], texts: &[String; 3]) -> Symptom {
    let killed = match (ended.killed, ended.verdict) {
        (Some(KillReason::Stalled), _) => Some((SymptomKind::Hang, "stall")),
        (_, Verdict::TimedOut) => Some((SymptomKind::Timeout, "time limit")),
        (_, Verdict::OutOfMemory) => Some((SymptomKind::OutOfMemory, "memory limit")),
        (Some(KillReason::Disk), _) => Some((SymptomKind::Failure, "disk full")),
        _ => None,
    };
    if let Some((kind, class)) = killed {
        return Symptom {
            kind,
            class: class.to_owned(),
            message: ended.message.trim().to_owned(),
            frames: dump(found),
        };
    }
    if let Some(one) = best(ended, found) {
        let stack = if one.symptom.frames.is_empty() {
            dump(found)
        } else {
            Vec::new()
        };
        let mut symptom = one.symptom.clone();
        if symptom.frames.is_empty() {
            symptom.frames = stack;
        }
        return symptom;
    }
    if ended.suite == SuiteKind::Pytest
        && let Some(symptom) = crate::reports::of_summary(&texts[0], ended.message)
    {
        return symptom;
    }
    if let Some(message) = returned(ended, texts) {
        return Symptom {
            kind: SymptomKind::Exception,
            class: "rust error".to_owned(),
            message,
            frames: Vec::new(),
        };
    }
    let (kind, class) = ending::class(ended.exit_code, ended.signal);
    Symptom {
        kind,
        class,
        message: words(ended, kind, texts),
        frames: dump(found),
    }
}

/// What a Rust test, or `main`, returned as its error: `Error: DEBUG`, with its causes.
fn returned(ended: &Ended, texts: &[String; 3]) -> Option<String> {
    if ended.suite != SuiteKind::Cargo || ended.signal.is_some() {
        return None;
    }
    let lines: Vec<&str> = texts[1].lines().collect();
    let at = lines.iter().rposition(|line| line.starts_with("Error: "))?;
    let more = lines[at + 1..]
        .iter()
        .take(12)
        .take_while(|line| line.is_empty() || line.starts_with([' ', '}', ')', ']', 'C']));
    let mut message = lines[at]["Error: ".len()..].to_owned();
    for line in more {
        message.push('\n');
        message.push_str(line);
    }
    Some(message)
}

/// Where it stood, when anything told.
fn dump(found: &[Vec<Found>]) -> Vec<Frame> {
    let all = found.iter().flatten();
    let dumps: Vec<&Found> = all
        .filter(|one| one.rank == Rank::Dump && !one.symptom.frames.is_empty())
        .collect();
    let main = dumps.iter().find(|one| one.thread == "main");
    main.or(dumps.first())
        .map(|one| one.symptom.frames.clone())
        .unwrap_or_default()
}

fn best<'f>(ended: &Ended, found: &'f [Vec<Found>]) -> Option<&'f Found> {
    // The runner's own report is about the test; what the test wrote can be about anything.
    let is_reported = found[0].iter().any(|one| one.rank < Rank::Word);
    let found = if is_reported { &found[..1] } else { found };
    let all = || found.iter().flatten();
    let of = |rank: Rank| all().filter(move |one| one.rank == rank);
    if let Some(one) = of(Rank::Sanitizer).next() {
        return Some(one);
    }
    let crash = of(Rank::Dump).find(|one| is_crash(ended, one));
    let is_abort = crash.is_some_and(|one| one.symptom.class == "SIGABRT");
    if let Some(crash) = crash.filter(|_| !is_abort) {
        return Some(crash);
    }
    // What ended by another signal than that of `abort` did not end by what it reported before.
    if ended.signal.is_some_and(|signal| signal != ABORT) {
        return None;
    }
    if let Some(panic) = own_panic(ended, found) {
        return Some(panic);
    }
    if let Some(one) = of(Rank::Runner).next() {
        return Some(one);
    }
    let exception = last_exception(found);
    if let Some(check) = of(Rank::Check).next() {
        // A panic while panicking, or in a function that must not unwind, ends in an abort: the panic
        // is the failure.
        let follows = check.symptom.class == "rust abort";
        return exception.filter(|_| follows).or(Some(check));
    }
    if is_abort {
        return crash;
    }
    exception.or_else(|| of(Rank::Word).next())
}

/// A dump that the signal wrote that ended the test, or what it wraps.
fn is_crash(ended: &Ended, one: &Found) -> bool {
    let class = one.symptom.class.as_str();
    one.symptom.kind == SymptomKind::Signal
        && (class.starts_with("SIG") || class == "python fatal error")
        && ended
            .signal
            .is_none_or(|signal| ending::signal_name(signal) == class || signal == ABORT)
}

/// Of a cargo suite, the panic of the test's own thread, which is what fails it. One that only passes on
/// what another thread said gives way to that.
fn own_panic<'f>(ended: &Ended, found: &'f [Vec<Found>]) -> Option<&'f Found> {
    let panics: Vec<&Found> = found
        .iter()
        .flatten()
        .filter(|one| one.symptom.class == PANIC)
        .collect();
    let is_own = |one: &&&Found| {
        let is_main = ended.suite == SuiteKind::Cargo && one.thread == "main";
        !one.thread.is_empty() && (one.thread == ended.test || is_main)
    };
    let own = panics.iter().rev().find(is_own).copied()?;
    Some(first_hand(own, &panics))
}

/// The exception that ended the test: the last of one stream, the report's before the other ones'.
fn last_exception(found: &[Vec<Found>]) -> Option<&Found> {
    let stream: Vec<&Found> = found
        .iter()
        .map(|found| {
            let exceptions = found.iter().filter(|one| one.rank == Rank::Exception);
            exceptions.collect::<Vec<_>>()
        })
        .find(|found| !found.is_empty())?;
    let last = *stream.last()?;
    let panics: Vec<&Found> = stream
        .iter()
        .filter(|one| one.symptom.class == PANIC)
        .copied()
        .collect();
    Some(first_hand(last, &panics))
}

/// The panic itself, or the first that is not about another one when it is.
fn first_hand<'f>(panic: &'f Found, all: &[&'f Found]) -> &'f Found {
    if panic.symptom.class != PANIC || !is_second_hand(panic) {
        return panic;
    }
    let first = all.iter().find(|one| !is_second_hand(one));
    first.copied().unwrap_or(panic)
}

fn is_second_hand(one: &Found) -> bool {
    SECOND_HAND
        .iter()
        .any(|words| one.symptom.message.contains(words))
}

/// What there is of words when nothing is known: the runner's, or the last line.
fn words(ended: &Ended, kind: SymptomKind, texts: &[String; 3]) -> String {
    if kind == SymptomKind::Signal {
        return String::new();
    }
    let last = |text: &str| -> Option<String> {
        let line = text
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())?;
        Some(line.to_owned())
    };
    last(&texts[1])
        .or_else(|| last(&texts[2]))
        .unwrap_or_else(|| ended.message.trim().to_owned())
}
