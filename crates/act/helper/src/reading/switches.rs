//! Where threads wait, for what, and how long: by where they stop, and when they go on.
//!
//! What the CPU is used for does not tell why a server is slow that is idle meanwhile. Threads that wait for work wait most; they
//! are left out as far as they are known: by the call in which they wait, and where nothing but the entry of the program is around.

use std::collections::BTreeMap;

use cohort_model::HelperTold;

use super::profile::{Profile, Share};
use super::samples::{Sample, samples};
use super::symbols::Symbols;

/// Less is not worth telling: time waited in a second, milliseconds.
const WAITED_MIN_MS: f64 = 50.0;
/// Places told.
const TOLD_MAX: usize = 4;
/// Shorter spans say nothing about a rate, seconds.
const SPAN_MIN_S: f64 = 0.5;
/// Innermost functions that tell what is waited for.
const TELLING: usize = 8;

/// What a thread waits for, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Time,
    Disk,
    Process,
    Lock,
    Pipe,
    Peer,
    Thread,
    Anything,
    Other,
    /// Work.
    Rest,
}

/// Parts of names of functions, the kernel's or a library's, in which a thread waits.
const SIGNS: [(What, &[&str]); 10] = [
    (
        What::Rest,
        &["accept", "epoll", "io_uring", "io_cqring", "::park"],
    ),
    (What::Time, &["nanosleep"]),
    (What::Disk, &["io_schedule", "folio_wait", "fsync", "jbd2"]),
    (What::Process, &["do_wait", "wait4", "waitpid", "waitid"]),
    (
        What::Thread,
        &[
            "cond_wait",
            "cond_timedwait",
            "condvar",
            "Condvar",
            "sem_wait",
            "pthread_join",
        ],
    ),
    (What::Lock, &["utex::", "mutex_lock", "rwlock", "lll_lock"]),
    (What::Pipe, &["pipe_read", "pipe_write"]),
    (
        What::Peer,
        &["tcp_", "inet_", "unix_stream", "skb_", "recv", "connect"],
    ),
    (
        What::Anything,
        &["do_sys_poll", "do_poll", "do_select", "ppoll", "pselect"],
    ),
    (What::Thread, &["futex"]),
];

impl What {
    fn of(sample: &Sample<'_>) -> Self {
        let user = sample.stack.iter().take(TELLING).map(|it| it.name);
        let names: Vec<&str> = sample.kernel.iter().copied().chain(user).collect();
        let has = |signs: &[&str]| {
            names
                .iter()
                .any(|it| signs.iter().any(|sign| it.contains(sign)))
        };
        let known = SIGNS.iter().find(|(_, signs)| has(signs));
        match known {
            // What nothing can interrupt is the disk's.
            _ if sample.said.contains("prev_state=D") => Self::Disk,
            Some((what, _)) => *what,
            None => Self::Other,
        }
    }

    /// What threads do.
    fn shown(self) -> &'static str {
        match self {
            Self::Time => "sleep",
            Self::Disk => "wait for the disk",
            Self::Process => "wait for a process",
            Self::Lock => "wait for a lock",
            Self::Pipe => "wait for a pipe",
            Self::Peer => "wait for a peer",
            Self::Thread => "wait for another thread",
            Self::Anything => "wait for something to come",
            Self::Other => "wait",
            Self::Rest => "wait for work",
        }
    }
}

/// Microseconds waited by stack, and what it tells.
pub(super) fn read(output: &str, program: &str) -> (Profile, Vec<HelperTold>) {
    let mut all = samples(output);
    all.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let (first, last) = match (all.first(), all.last()) {
        (Some(first), Some(last)) => (first.at_s, last.at_s),
        _ => (0.0, 0.0),
    };
    let mut symbols = Symbols::default();
    let mut by: BTreeMap<What, Profile> = BTreeMap::new();
    for (sample, waited_s) in waits(&all, last) {
        let what = What::of(sample);
        if what != What::Rest {
            let stack = symbols.stack(sample);
            by.entry(what)
                .or_default()
                .add(stack, (waited_s * 1e6) as u64);
        }
    }
    let span_s = (last - first).max(SPAN_MIN_S);
    let mut whole = Profile::default();
    let mut told = Vec::new();
    for (what, profile) in by {
        let profile = profile.within(program);
        let shares = profile.shares(program);
        told.extend(shares.iter().filter_map(|it| tell(what, it, span_s)));
        for (frames, waited_us) in profile.stacks() {
            let mut frames = frames.to_vec();
            frames.push(format!("[{}]", what.shown()));
            whole.add(frames, waited_us);
        }
    }
    told.truncate(TOLD_MAX);
    (whole, told)
}

/// Where a thread stopped, and how long until it went on, seconds; `last` is when nobody looked any more.
fn waits<'a, 'b>(all: &'b [Sample<'a>], last: f64) -> Vec<(&'b Sample<'a>, f64)> {
    let mut stopped: BTreeMap<i32, &Sample<'_>> = BTreeMap::new();
    let mut waits = Vec::new();
    for sample in all {
        if sample.said.starts_with("sched:sched_switch:") {
            stopped.insert(sample.thread, sample);
        } else if sample.said.starts_with("PERF_RECORD_SWITCH IN") {
            let begun = stopped.remove(&sample.thread);
            waits.extend(begun.map(|it| (it, sample.at_s - it.at_s)));
        }
    }
    waits.extend(stopped.into_values().map(|it| (it, last - it.at_s)));
    waits
}

fn tell(what: What, share: &Share, span_s: f64) -> Option<HelperTold> {
    let ms = share.samples as f64 / 1e3 / span_s;
    (ms >= WAITED_MIN_MS).then(|| {
        share.tell(&format!(
            "Threads {} {ms:.0} ms of each second in {}.",
            what.shown(),
            share.whom()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stops at one time, in a state and in functions, innermost first, and goes on at another.
    fn wait(thread: u32, (from, to): (f64, f64), state: char, frames: &[&str]) -> String {
        let kernel = |name: &&str| name.starts_with("do_") || name.contains("tcp_");
        let frames = frames.iter().map(|it| match kernel(it) {
            true => format!("\tffffffff81 {it} ([kernel.kallsyms])\n"),
            false => format!("\t 1 {it} (/none/shop)\n"),
        });
        format!(
            "shop {thread} {from:.6}: sched:sched_switch: prev_comm=shop prev_pid={thread} prev_prio=120 prev_state={state} ==> next_comm=a next_pid=0 next_prio=120\n{}\nshop {thread} {to:.6}: PERF_RECORD_SWITCH IN         \n",
            frames.collect::<String>()
        )
    }

    #[test]
    fn what_is_waited_for_is_told_and_rest_is_not() {
        let mut output = String::new();
        for second in 0..10 {
            let at = f64::from(second);
            let span = |from: f64, to: f64| (at + from, at + to);
            let sleeps = [
                "do_nanosleep",
                "clock_nanosleep",
                "shop::pay",
                "shop::answer",
            ];
            output += &wait(1, span(0.1, 0.85), 'S', &sleeps);
            output += &wait(2, span(0.0, 0.2), 'D', &["do_it", "fsync", "shop::store"]);
            output += &wait(3, span(0.0, 0.99), 'S', &["do_epoll_wait", "shop::turn"]);
            output += &wait(
                4,
                span(0.0, 0.99),
                'S',
                &["do_futex", "pthread_cond_wait", "shop::main"],
            );
            output += &wait(
                5,
                span(0.0, 0.1),
                'S',
                &["tcp_recvmsg", "read", "shop::ask"],
            );
            output +=
                "shop 6 0.5: PERF_RECORD_SWITCH OUT preempt\nshop 6 0.6: PERF_RECORD_SWITCH IN\n";
        }
        let (profile, told) = read(&output, "shop");
        let told: Vec<&str> = told.iter().map(|it| it.sentence.as_str()).collect();
        assert_eq!(
            told,
            [
                "Threads sleep 751 ms of each second in `shop::pay`, called by `shop::answer`.",
                "Threads wait for the disk 200 ms of each second in `shop::store`.",
                "Threads wait for a peer 100 ms of each second in `shop::ask`.",
            ]
        );
        let folded = profile.folded();
        assert!(
            folded.contains("shop::answer;shop::pay;clock_nanosleep;[sleep] 7500000"),
            "{folded}"
        );
        assert!(
            !folded.contains("turn") && !folded.contains("main"),
            "{folded}"
        );
    }

    #[test]
    fn who_still_waits_in_the_end_counts_and_nonsense_does_not() {
        let begun = wait(1, (0.0, 9.0), 'S', &["do_nanosleep", "shop::pay"]);
        let begun = begun.split("shop 1 9.0").next().expect("a begin");
        let other = "shop 2 2.0: PERF_RECORD_SWITCH IN\n";
        let (_, told) = read(&format!("{begun}{other}"), "shop");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].sentence.contains("sleep 1000 ms"), "{told:?}");
        assert_eq!(read("\u{0}nonsense\n\nx 1 1.0: y\n", "shop").1, []);
    }
}
