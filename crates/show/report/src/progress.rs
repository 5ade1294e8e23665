//! What a terminal shows while a campaign runs.
//!
//! ```text
//! 12 of 40  1 failed  4.21 s  about 9.00 s left  1.8 of 2 cores  310 MiB of 2 GiB
//! ━━━━━━━━━━━━━━━━━━━━━━━━──────────────────────────────────────────────────────
//!   i0 cpu       50 %  0.98 cores   31 MiB   2.10 s  parser::tests::long_input
//!   i3 waiting    5 %  0.01 cores   12 MiB   4.02 s  net::tests::retries
//!   i4 trying    20 %  0.25 cores    9 MiB   310 ms  EC-3 with 0.25 CPU
//!      + 24 instances: 22 waiting, 2 idle
//! EC-3  failed again in 3 of 14 runs so far; under which condition is tried  net::tests::retries
//! ```
//!
//! Promise: no line is wider and no frame higher than asked, whatever a test is called.

use std::collections::BTreeMap;

use cohort_model::{At, Case, CaseId, CaseWork, InstanceId, Subject, TestResult, ThreadId};

use crate::case::verdict::progress_of;
use crate::case::words::{conditions, share};
use crate::case::{in_short, most_telling_first};
use crate::line::{Line, Tone};
use crate::sentence;
use crate::view::{InstanceView, View};
use crate::words;

/// Narrower than this, a line about an instance leaves out its share and use.
const COLUMNS_FOR_USE: usize = 70;

/// Open edge cases that have a line each.
const CASES_MAX: usize = 4;

/// A time limit that is further away is none that anyone waits for.
const LEFT_US_MAX: u64 = 12 * 3_600_000_000;

/// The frame at `now`: at most `height` lines of at most `width` columns, coloured with ANSI codes
/// when `color` is on.
#[must_use]
pub fn frame(view: &View, now: At, width: usize, height: usize, color: bool) -> Vec<String> {
    let mut lines = vec![header(view, now)];
    if view.total() > 0 {
        lines.push(bar(view, width));
    }
    let cases = cases(view, height.saturating_sub(lines.len() + 1) / 2);
    let room = height.saturating_sub(lines.len() + cases.len());
    lines.extend(instances(view, now, width, room));
    lines.extend(cases);
    lines.truncate(height);
    lines.iter().map(|line| line.render(width, color)).collect()
}

/// The line to print above the frame when `result` was concluded: for failures and edge cases.
#[must_use]
pub fn conclusion(view: &View, result: &TestResult, width: usize, color: bool) -> Option<String> {
    Some(sentence::conclusion(view, result, width)?.render(width, color))
}

/// Open edge cases, a line each in at most `room`; those that failed again first.
fn cases(view: &View, room: usize) -> Vec<Line> {
    if view.is_repeating() {
        return Vec::new();
    }
    let open = most_telling_first(view.open_cases());
    let shown = if open.len() <= room.min(CASES_MAX) {
        open.len()
    } else {
        room.min(CASES_MAX).saturating_sub(1)
    };
    let line = |case: &&Case| {
        let subject = match &case.subject {
            Subject::Test(test) => words::printable(view.test_name(*test)),
            Subject::Service(endpoint) => words::printable(endpoint),
        };
        Line::new()
            .say(Tone::Odd, format!("{:<5} ", case.case.to_string()))
            .plain(progress_of(case))
            .say(Tone::Faint, format!("  {subject}"))
    };
    let mut lines: Vec<Line> = open.iter().take(shown).map(line).collect();
    let rest = (open.len() - shown) as u64;
    if rest > 0 && room > 0 {
        let noun = words::counted(rest, "edge case").replacen("edge", "more edge", 1);
        lines.push(Line::new().say(Tone::Faint, format!("      + {noun}")));
    }
    lines
}

/// `reproducing 2 edge cases, at most 48 s more; Ctrl-C ends it, the results stand`.
pub(crate) fn reproducing(view: &View, now: At) -> Line {
    let only = view.plan.cases.as_ref().and_then(|plan| plan.only.as_ref());
    let (doing, stand) = match only {
        Some(CaseWork::Repeat { case, runs, .. }) => (repeating(view, *case, *runs), String::new()),
        Some(CaseWork::Stress { tests, .. }) => {
            let tests = words::counted(tests.len() as u64, "test");
            (format!("stressing {tests}"), String::new())
        }
        None => {
            let open = words::counted(view.open_cases().count() as u64, "edge case");
            let results = match view.counts.failures() as u64 {
                0 => "; all tests have passed".to_owned(),
                failed => format!("; {} failed", words::number(failed)),
            };
            (format!("reproducing {open}"), results)
        }
    };
    let mut line = Line::new().say(Tone::Strong, doing);
    if let Some(left_us) = view.cases_left_us(now).filter(|left| *left < LEFT_US_MAX) {
        line = line.plain(format!(", at most {} more", left(left_us)));
    }
    let end = if only.is_some() {
        "Ctrl-C ends it"
    } else {
        "Ctrl-C ends it, the results stand"
    };
    line.plain(format!("{stand}; {end}"))
}

/// `running EC-3 again: failed 3 of 4 so far, of 10`.
fn repeating(view: &View, case: CaseId, runs: u32) -> String {
    let told = view.edge_cases.get(&case);
    let rate = told.and_then(|case| case.arms.first()).map(|arm| arm.rate);
    let so_far = match rate.filter(|rate| rate.runs > 0) {
        Some(rate) => format!("failed {} so far", share(&rate)),
        None => "nothing has ended yet".to_owned(),
    };
    match runs {
        u32::MAX => format!("running {case} again: {so_far}"),
        runs => format!("running {case} again, {runs} times: {so_far}"),
    }
}

fn header(view: &View, now: At) -> Line {
    let elapsed = words::duration(view.elapsed_us(now) / 10_000 * 10_000);
    if view.only_cases_left() {
        let line = reproducing(view, now);
        return line.say(Tone::Faint, format!("  {elapsed}"));
    }
    if view.total() == 0 {
        let doing = if view.start.is_some() {
            "collecting tests"
        } else {
            "starting"
        };
        return Line::new()
            .say(Tone::Strong, doing)
            .plain("  ")
            .plain(elapsed);
    }
    let concluded = words::number(view.counts.concluded() as u64);
    let total = words::number(view.total() as u64);
    let mut line = Line::new().say(Tone::Strong, format!("{concluded} of {total}"));
    let failures = view.counts.failures();
    if failures > 0 {
        line = line.plain("  ").say(
            Tone::Bad,
            format!("{} failed", words::number(failures as u64)),
        );
    }
    if !view.failed_once.is_empty() {
        let count = words::number(view.failed_once.len() as u64);
        line = line
            .plain("  ")
            .say(Tone::Odd, format!("{count} to try again"));
    }
    if !view.load_sensitive.is_empty() {
        let count = words::number(view.load_sensitive.len() as u64);
        line = line
            .plain("  ")
            .say(Tone::Odd, format!("{count} load-sensitive"));
    }
    line = line.plain("  ").plain(elapsed);
    if let Some(left_us) = view.left_us(now).filter(|_| view.not_run() > 0) {
        line = line
            .plain("  ")
            .say(Tone::Faint, format!("about {} left", left(left_us)));
    }
    let Some(start) = &view.start else {
        return line;
    };
    if let Some((_, host)) = &view.host {
        let cores = words::decimal((view.cores * 10.0).round() / 10.0);
        let budget = words::decimal(start.budget.cores);
        let memory = words::bytes(host.campaign_memory);
        let memory_budget = words::bytes(start.budget.memory);
        let used = format!("{cores} of {budget} cores  {memory} of {memory_budget}");
        line = line.plain("  ").plain(used);
    }
    line
}

/// A forecast is no better than its whole seconds.
fn left(us: u64) -> String {
    match us.div_ceil(1_000_000) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => words::duration(seconds * 1_000_000),
    }
}

fn bar(view: &View, width: usize) -> Line {
    let total = view.total().max(1);
    let failures = view.counts.failures() + view.counts.aborted;
    let done = width * view.counts.concluded() / total;
    // One failure in ten thousand is still seen.
    let bad = (width * failures).div_ceil(total).min(done);
    Line::new()
        .say(Tone::Good, "━".repeat(done - bad))
        .say(Tone::Bad, "━".repeat(bad))
        .say(Tone::Faint, "─".repeat(width - done))
}

/// Instances at work, at most `room` lines; where they do not fit, those whose tests have run
/// longest are shown and the rest is counted.
fn instances(view: &View, now: At, width: usize, room: usize) -> Vec<Line> {
    let mut busy: Vec<(At, InstanceId, ThreadId)> = Vec::new();
    let mut folded: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, instance) in &view.instances {
        let started = |thread: &ThreadId| {
            let own = view.thread(*thread).map(|thread| thread.started);
            own.or_else(|| view.tries.get(thread).map(|tried| tried.started))
        };
        let threads = instance.threads.iter();
        let oldest = threads.filter_map(|thread| Some((started(thread)?, *id, *thread)));
        match oldest.min() {
            Some(row) => busy.push(row),
            None => *folded.entry("idle").or_default() += 1,
        }
    }
    let fits = busy.len() + usize::from(!folded.is_empty()) <= room;
    let shown = if fits {
        busy.len()
    } else {
        room.saturating_sub(1)
    };
    busy.sort_unstable();
    for (_, id, _) in busy.drain(shown.min(busy.len())..) {
        *folded
            .entry(sentence::specialty(view.instances[&id].specialty))
            .or_default() += 1;
    }
    busy.sort_unstable_by_key(|(_, id, _)| *id);
    let weights: u64 = view
        .instances
        .values()
        .filter(|instance| !instance.threads.is_empty())
        .map(|instance| u64::from(instance.allotment.cpu_weight))
        .sum();
    let rows = busy.iter().map(|(started, id, thread)| Row {
        view,
        id: *id,
        instance: &view.instances[id],
        thread: *thread,
        ran_us: now.since(*started),
        weights,
    });
    let mut lines: Vec<Line> = rows.map(|row| row.line(width)).collect();
    if room > 0 {
        lines.extend(rest(&folded));
    }
    lines
}

fn rest(folded: &BTreeMap<&str, usize>) -> Option<Line> {
    let count: usize = folded.values().sum();
    let noun = words::counted(count as u64, "instance");
    let line = match folded.iter().next() {
        None => return None,
        Some((kind, _)) if folded.len() == 1 => {
            format!("     + {}", noun.replace(' ', &format!(" {kind} ")))
        }
        Some(_) => {
            let kinds: Vec<String> = folded
                .iter()
                .map(|(kind, count)| format!("{count} {kind}"))
                .collect();
            format!("     + {noun}: {}", kinds.join(", "))
        }
    };
    Some(Line::new().say(Tone::Faint, line))
}

/// One instance at work.
struct Row<'a> {
    view: &'a View,
    id: InstanceId,
    instance: &'a InstanceView,
    thread: ThreadId,
    ran_us: u64,
    weights: u64,
}

impl Row<'_> {
    fn line(&self, width: usize) -> Line {
        let tried = self.view.tries.get(&self.thread);
        let specialty = match tried {
            Some(_) => "trying",
            None => sentence::specialty(self.instance.specialty),
        };
        let id = self.id.to_string();
        let mut line = Line::new()
            .say(Tone::Faint, format!("{id:>4} "))
            .say(Tone::Name, format!("{specialty:<8}"));
        if width >= COLUMNS_FOR_USE {
            line = line.plain(self.usage());
        }
        let ran = words::duration(self.ran_us / 10_000 * 10_000);
        let line = line.plain(format!("{ran:>9}  "));
        if let Some(tried) = tried {
            let case = self.view.edge_cases.get(&tried.case);
            let how = case.map_or_else(
                || conditions(&tried.recipe),
                |case| in_short(&tried.recipe, case),
            );
            return line.plain(format!("{} {how}", tried.case));
        }
        let room = width.saturating_sub(line.width());
        let name = self
            .view
            .thread(self.thread)
            .map_or("", |thread| self.view.test_name(thread.test));
        let others = self.instance.threads.len().saturating_sub(1);
        if others == 0 {
            return line.plain(words::shorten(name, room));
        }
        let more = format!(" + {others}");
        line.plain(words::shorten(name, room.saturating_sub(more.len())))
            .plain(more)
    }

    fn usage(&self) -> String {
        let share = u64::from(self.instance.allotment.cpu_weight) * 100 / self.weights.max(1);
        match &self.instance.sample {
            Some((_, sample)) => {
                let memory = words::bytes(sample.memory);
                format!(
                    "{share:>4} % {:>5.2} cores {memory:>9}",
                    self.instance.cores
                )
            }
            None => format!("{share:>4} % {:>21}", ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use cohort_model::{Record, Specialty, Verdict};
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::{self, Scenario};

    fn busy() -> Scenario {
        let names = [
            "parser::tests::long_input",
            "net::tests::retries_after_a_while",
            "c",
            "d",
            "e",
        ];
        let mut scenario =
            Scenario::new(&names)
                .run(2, Verdict::Passed, 1)
                .run(3, Verdict::Failed, 1);
        scenario.open(0, Specialty::Cpu, 300);
        scenario.open(3, Specialty::Waiting, 100);
        scenario.open(4, Specialty::General, 100);
        scenario.start(0, 0, cohort_model::Reason::Static);
        scenario.wait(100_000);
        scenario.start(1, 3, cohort_model::Reason::Static);
        scenario.sample(vec![scenario::sample(0, 0), scenario::sample(3, 0)], 0);
        scenario.wait(1_000_000);
        let samples = vec![scenario::sample(0, 980_000), scenario::sample(3, 10_000)];
        scenario.sample(samples, 990_000);
        scenario
    }

    fn lines(scenario: &Scenario, width: usize, height: usize) -> Vec<String> {
        frame(&scenario.view(), At(4_215_000), width, height, false)
    }

    #[test]
    fn a_wide_frame() {
        assert_eq!(
            lines(&busy(), 90, 9),
            [
                "2 of 5  1 failed  4.21 s  1 of 2 cores  310 MiB of 2 GiB",
                "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━──────────────────────────────────────────────────────",
                "  i0 cpu       75 %  0.98 cores    14 MiB   2.21 s  parser::tests::long_input",
                "  i3 waiting   25 %  0.01 cores    14 MiB   2.11 s  net::tests::retries_after_a_while",
                "     + 1 idle instance",
            ]
        );
    }

    #[test]
    fn a_narrow_frame() {
        assert_eq!(
            lines(&busy(), 40, 9),
            [
                "2 of 5  1 failed  4.21 s  1 of 2 cores …",
                "━━━━━━━━━━━━━━━━────────────────────────",
                "  i0 cpu        2.21 s  parse…long_input",
                "  i3 waiting    2.11 s  net::…er_a_while",
                "     + 1 idle instance",
            ]
        );
    }

    #[test]
    fn a_low_frame_folds_what_started_last() {
        assert_eq!(
            lines(&busy(), 60, 4),
            [
                "2 of 5  1 failed  4.21 s  1 of 2 cores  310 MiB of 2 GiB",
                "━━━━━━━━━━━━━━━━━━━━━━━━────────────────────────────────────",
                "  i0 cpu        2.21 s  parser::tests::long_input",
                "     + 2 instances: 1 idle, 1 waiting",
            ]
        );
    }

    #[test]
    fn before_the_tests_are_known() {
        let mut view = View::default();
        assert_eq!(frame(&view, At(0), 80, 9, false), ["starting  0 s"]);
        view.apply(&Record::Started(scenario::start()));
        assert_eq!(
            frame(&view, At(2_345_678), 80, 9, false),
            ["collecting tests  2.34 s"]
        );
    }

    #[test]
    fn colour_changes_no_text() {
        let view = busy().view();
        let plain = frame(&view, At(9), 80, 9, false);
        let colored = frame(&view, At(9), 80, 9, true);
        assert_ne!(plain, colored);
        let bare: Vec<String> = colored
            .iter()
            .map(|line| words::tame(line, false))
            .collect();
        assert_eq!(plain, bare);
    }

    #[test]
    fn conclusions_are_one_line() {
        let view = scenario::view(&scenario::mixed());
        let lines: Vec<String> = view
            .results()
            .filter_map(|result| conclusion(&view, result, 100, false))
            .collect();
        assert_eq!(
            lines,
            [
                "failed         parse::bad  exit code 101, 2.00 s  assertion failed: 1 == 2",
                "load-sensitive net::crowded  failed with 5 threads beside it, passed alone",
                "crashed        net::crash  SIGSEGV (signal 11), 1.00 s",
                "tried again    big  killed for memory, passed on the largest allotment",
            ]
        );
    }

    proptest! {
        #[test]
        fn a_frame_keeps_its_bounds(
            names in proptest::collection::vec(any::<String>(), 0..12),
            width in 0_usize..160,
            height in 0_usize..12,
            now in any::<u32>(),
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut scenario = Scenario::new(&names);
            for test in 0..names.len() as u32 {
                scenario.open(test, Specialty::Waiting, 100);
                scenario.start(test, test / 2, cohort_model::Reason::Static);
            }
            let frame = frame(&scenario.view(), At(u64::from(now)), width, height, false);
            prop_assert!(frame.len() <= height);
            for line in frame {
                prop_assert!(words::width(&line) <= width, "{line}");
                prop_assert!(!line.chars().any(char::is_control));
            }
        }
    }
}
