//! Descriptors that are opened and not closed, threads that are started and do not end: where they come from.

use std::collections::BTreeMap;

use cohort_model::HelperTold;

use super::profile::{Profile, Share};
use super::samples::{Sample, samples};
use super::symbols::Symbols;

/// What was opened in the last part of the window may still be closed, 0 to 1.
const SETTLES: f64 = 0.3;
/// Shorter spans say nothing about a rate, seconds.
const SPAN_MIN_S: f64 = 0.5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Descriptor,
    Thread,
}

enum Happened {
    Begins(What, i64),
    Ends(What, i64),
}

/// What stays by stack, and what it tells.
pub(super) fn read(output: &str, program: &str) -> (Profile, Vec<HelperTold>) {
    let all = samples(output);
    let times = || all.iter().map(|it| it.at_s);
    let (first, last) = (
        times().fold(f64::INFINITY, f64::min),
        times().fold(0.0, f64::max),
    );
    let span_s = (last - first).max(SPAN_MIN_S);
    let mut symbols = Symbols::default();
    let mut whole = Profile::default();
    let mut told = Vec::new();
    for what in [What::Descriptor, What::Thread] {
        let settled = last - span_s * SETTLES;
        let mut profile = Profile::default();
        for sample in stays(&all, what).filter(|it| it.at_s <= settled) {
            let stack = symbols.stack(sample);
            profile.add(stack.clone(), 1);
            whole.add(stack, 1);
        }
        let watched_s = span_s * (1.0 - SETTLES);
        let shares = profile.shares(program);
        told.extend(shares.iter().map(|it| tell(what, it, watched_s)));
    }
    (whole, told)
}

/// Those that began and did not end, of one kind.
fn stays<'a, 'b>(
    all: &'b [Sample<'a>],
    what: What,
) -> impl Iterator<Item = &'b Sample<'a>> + use<'a, 'b> {
    let mut in_time: Vec<&Sample<'_>> = all.iter().collect();
    in_time.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let mut open: BTreeMap<i64, &Sample<'_>> = BTreeMap::new();
    for sample in in_time {
        match happened(sample) {
            Some(Happened::Begins(it, number)) if it == what => {
                open.insert(number, sample);
            }
            Some(Happened::Ends(it, number)) if it == what => {
                open.remove(&number);
            }
            _ => {}
        }
    }
    open.into_values()
}

/// `syscalls:sys_exit_openat: 0x30`, `syscalls:sys_enter_close: fd: 0x00000030`
fn happened(sample: &Sample<'_>) -> Option<Happened> {
    let (event, values) = sample.said.split_once(": ")?;
    let call = event.rsplit_once(":sys_")?.1;
    let number = || i64::from_str_radix(values.rsplit_once("0x")?.1, 16).ok();
    match call {
        "enter_close" => Some(Happened::Ends(What::Descriptor, number()?)),
        "enter_exit" => Some(Happened::Ends(What::Thread, sample.thread.into())),
        "exit_clone" | "exit_clone3" => {
            // In the one that was started it gives 0.
            let started = number().filter(|it| *it > 0)?;
            Some(Happened::Begins(What::Thread, started))
        }
        _ => {
            call.strip_prefix("exit_")?;
            let opened = number().filter(|it| (0..1 << 31).contains(it))?;
            Some(Happened::Begins(What::Descriptor, opened))
        }
    }
}

fn tell(what: What, share: &Share, watched_s: f64) -> HelperTold {
    let a_minute = share.samples as f64 / watched_s * 60.0;
    let (things, come) = match what {
        What::Descriptor => ("descriptors that stay open", "opened"),
        What::Thread => ("threads that do not end", "started"),
    };
    share.tell(&format!(
        "{:.0} % of the {things}, {a_minute:.0} a minute, are {come} in {} ({} of {}).",
        share.percent(),
        share.whom(),
        share.samples,
        share.of
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: f64, said: &str, function: &str) -> String {
        format!("shop 5 {at:.3}: syscalls:sys_{said}\n\t 2 {function} (/none/shop)\n\n")
    }

    #[test]
    fn what_is_not_closed_is_named_where_it_was_opened() {
        let mut output = String::new();
        for n in 0..60 {
            let at = f64::from(n);
            output += &line(
                at,
                &format!("exit_openat: {:#x}", n + 10),
                "shop::Receipts::write",
            );
            output += &line(at, &format!("exit_socket: {:#x}", n + 500), "shop::call");
            output += &line(
                at + 0.1,
                &format!("enter_close: fd: {:#010x}", n + 500),
                "shop::call",
            );
            output += &line(at, "exit_openat: 0xfffffffffffffffe", "shop::missing");
        }
        let (_, told) = read(&output, "shop");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(
            told[0].sentence,
            "100 % of the descriptors that stay open, 61 a minute, are opened in `shop::Receipts::write` (42 of 42)."
        );
    }

    #[test]
    fn threads_that_do_not_end_are_named_too() {
        let mut output = String::new();
        for n in 0..40 {
            let at = f64::from(n);
            output += &line(at, &format!("exit_clone3: {:#x}", n + 1000), "shop::watch");
        }
        output += &line(1.0, "exit_clone3: 0x0", "shop::watch");
        let (_, told) = read(&output, "shop");
        assert!(
            told[0].sentence.contains("threads that do not end"),
            "{told:?}"
        );
        assert_eq!(told[0].function.as_deref(), Some("shop::watch"));
    }
}
