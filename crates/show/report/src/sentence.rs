//! Verdicts, findings and second tries, each in one sentence.

use cohort_model::{
    Finding, FindingKind, KillReason, Measured, Reason, Specialty, TestId, TestResult, ThreadEnd,
    Verdict,
};

use crate::line::{Line, Tone};
use crate::view::{Noted, View};
use crate::words;

/// Columns of the label in front of a line.
pub(crate) const LABEL_COLUMNS: usize = 15;

/// What a test says of its failure may be long; the whole of it stands in its output.
const MESSAGE_COLUMNS_MAX: usize = 200;

/// A line that opens with what it is about.
pub(crate) fn labelled(tone: Tone, label: &str) -> Line {
    Line::new()
        .say(tone, label)
        .plain(" ".repeat(LABEL_COLUMNS.saturating_sub(label.len())))
}

pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "failed",
        Verdict::ExpectedFailure => "failed as expected",
        Verdict::Skipped => "skipped",
        Verdict::Crashed => "crashed",
        Verdict::TimedOut => "timed out",
        Verdict::OutOfMemory => "out of memory",
        Verdict::Aborted => "stopped",
    }
}

pub(crate) fn specialty(specialty: Specialty) -> &'static str {
    match specialty {
        Specialty::General => "general",
        Specialty::Cpu => "cpu",
        Specialty::Memory => "memory",
        Specialty::Waiting => "waiting",
        Specialty::Quiet => "quiet",
        Specialty::Critical => "critical",
        Specialty::Reproducing => "reproducing",
    }
}

/// How an execution ended, in numbers: `exit code 101, 1.24 s`.
pub(crate) fn how(view: &View, end: &ThreadEnd) -> String {
    let wall = words::duration(end.usage.wall_us);
    match (end.verdict, view.kills.get(&end.thread)) {
        (_, Some((KillReason::Timeout, Reason::Limit { seconds }))) => {
            format!(
                "killed after {wall}, the limit being {} (--timeout)",
                limit(*seconds)
            )
        }
        (_, Some((KillReason::Stalled, Reason::Limit { seconds }))) => format!(
            "killed after {wall}, of which it did nothing at all for {} (--stall)",
            limit(*seconds)
        ),
        (Verdict::OutOfMemory, _) => {
            format!("killed at {}, {wall}", words::bytes(end.usage.memory_peak))
        }
        _ => match (end.exit_code, end.signal) {
            (_, Some(number)) => format!("{}, {wall}", signal(number)),
            (Some(code), None) => format!("exit code {code}, {wall}"),
            (None, None) => wall,
        },
    }
}

fn limit(seconds: f64) -> String {
    words::duration((seconds * 1e6) as u64)
}

/// Linux's numbers, which x86-64 and arm64 share (signal(7)).
fn signal(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {number}"),
    };
    format!("{name} (signal {number})")
}

/// The line for a result that deserves one: a failure, a load-sensitive test, a memory retry.
pub(crate) fn conclusion(view: &View, result: &TestResult, columns: usize) -> Option<Line> {
    let end = view.deciding_end(result);
    let (tone, label, about) = if result.verdict.is_failure() {
        (
            Tone::Bad,
            verdict(result.verdict),
            end.map_or_else(String::new, |end| how(view, end)),
        )
    } else if result.load_sensitive {
        (Tone::Odd, "load-sensitive", load_sensitive(view, result))
    } else if result.memory_retried {
        (Tone::Odd, "tried again", MEMORY_RETRIED.to_owned())
    } else {
        return None;
    };
    let room = columns
        .saturating_sub(LABEL_COLUMNS + 2 + words::width(&about))
        .max(20);
    let name = words::shorten(view.test_name(result.test), room);
    let line = labelled(tone, label)
        .say(Tone::Strong, name)
        .plain("  ")
        .say(Tone::Faint, about);
    let broken = view
        .broken(result.test)
        .and_then(|text| text.trim_end().lines().last());
    Some(
        match end
            .and_then(|end| end.message.as_deref())
            .or(broken)
            .filter(|_| result.verdict.is_failure())
        {
            Some(message) => line
                .plain("  ")
                .plain(words::cut(&words::printable(message), MESSAGE_COLUMNS_MAX)),
            None => line,
        },
    )
}

/// That a test failed, and that this is not the last word.
pub(crate) fn failed_once(view: &View, test: TestId, columns: usize) -> Option<Line> {
    let result = view.result_once(test)?;
    let how = match (&view.end, result.verdict) {
        (Some(_), _) => "not tried again, since the campaign ended",
        (None, Verdict::OutOfMemory) => "to be tried again with all memory",
        (None, _) => "to be tried again alone",
    };
    let room = columns.saturating_sub(words::width(how) + 4);
    let line = conclusion(view, &result, room)?;
    Some(line.plain("  ").say(Tone::Odd, format!("({how})")))
}

/// Said of a test that passed after it had been killed for memory.
pub(crate) const MEMORY_RETRIED: &str = "killed for memory, passed on the largest allotment";

/// `failed with 5 threads beside it, passed alone`.
pub(crate) fn load_sensitive(view: &View, result: &TestResult) -> String {
    let crowd = view
        .retries
        .iter()
        .rev()
        .find_map(|retry| match retry.reason {
            Reason::Crowded { threads, waited } if retry.test == result.test => {
                Some((threads, waited))
            }
            _ => None,
        });
    match crowd {
        Some((threads, waited)) => {
            let beside = words::counted(u64::from(threads.saturating_sub(1)), "thread");
            let waiting = match (waited * 100.0).round() {
                0.0 => String::new(),
                percent => format!(" and {percent:.0} % of its time waiting for a CPU"),
            };
            // Then it ran in a process of its own: what its worker had run before is a reason as good as load.
            let before = result.threads.first();
            let before = match before.map_or(0, |first| view.ran_before(*first)) {
                0 => String::new(),
                tests => format!(
                    " and {} before it in its worker",
                    words::counted(tests, "test")
                ),
            };
            let or = match before.is_empty() {
                true => "",
                false => ": load, or what ran before it",
            };
            format!("failed with {beside} beside it{waiting}{before}, passed alone{or}")
        }
        None => "failed crowded, passed alone".to_owned(),
    }
}

/// `memory leak in i3 (a::b): grew by 40 MiB in 12.0 s, 3.4 MiB/s; confidence 97 %, seen 4 times`.
pub(crate) fn finding(view: &View, noted: &Noted) -> String {
    let found = &noted.strongest;
    let test = found
        .test
        .map(|test| format!(" ({})", words::shorten(view.test_name(test), 48)));
    let times = match noted.times {
        1 => String::new(),
        times => format!(", seen {} times", words::number(u64::from(times))),
    };
    words::printable(&format!(
        "{} in {}{}: {}; confidence {:.0} %{times}",
        kind(found.kind),
        found.instance,
        test.unwrap_or_default(),
        evidence(found).unwrap_or_else(|| numbers(found)),
        found.confidence * 100.0,
    ))
}

/// The evidence in words; none when a number is missing (a log of another version).
fn evidence(found: &Finding) -> Option<String> {
    let number = |what: &str| found.evidence.iter().find(|number| number.what == what);
    let say = |what: &str| number(what).map(|it| words::measured(it.value, &it.unit));
    let percent = |what: &str| number(what).map(|it| format!("{:.0} %", it.value * 100.0));
    Some(match found.kind {
        FindingKind::FailureBurst => format!(
            "{:.0} of the latest {:.0} tests failed",
            number("failures")?.value,
            number("of")?.value
        ),
        FindingKind::MemoryLeak => format!(
            "grew by {} in {} and did not level off",
            say("grown by")?,
            say("over")?
        ),
        FindingKind::MemoryPressure => format!(
            "held {} of the {} it may have, and waited for memory {} of the time",
            say("anonymous memory")?,
            say("limit")?,
            percent("waited for memory")?
        ),
        FindingKind::Slow => format!(
            "runs for {}; nine in ten of {} earlier runs took at most {}",
            say("elapsed")?,
            number("earlier runs")?.value,
            say("nine in ten took at most")?
        ),
        FindingKind::Stall => format!(
            "no CPU, no IO and no new task for {}",
            say("without cpu, io or new tasks")?
        ),
        FindingKind::CpuSaturation | FindingKind::Waiting => return None,
    })
}

/// The evidence as it stands: `cpu used 0.98 cores, over 1.00 s`.
fn numbers(found: &Finding) -> String {
    let number = |number: &Measured| {
        let value = words::measured(number.value, &number.unit);
        format!("{} {value}", number.what)
    };
    let numbers: Vec<String> = found.evidence.iter().map(number).collect();
    numbers.join(", ")
}

pub(crate) fn kind(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::CpuSaturation => "CPU saturation",
        FindingKind::Waiting => "waiting",
        FindingKind::MemoryPressure => "memory pressure",
        FindingKind::MemoryLeak => "memory leak",
        FindingKind::Stall => "stall",
        FindingKind::FailureBurst => "failure burst",
        FindingKind::Slow => "slower than usual",
    }
}
