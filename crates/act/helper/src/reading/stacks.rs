//! Stacks of all threads, several times over: who waits for whom.

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{Frame, HelperTold};
use cohort_symptom::stacks::{About, Stood, threads};

use super::Error;
use super::cycle::{Link, cycle};
use super::symbols::plain;

/// Places of waiting that are told at most.
const PLACES_MAX: usize = 4;
/// What begins the stacks of one look.
const FIRST_THREAD: &str = "Thread 1 ";

/// Reads them.
/// # Errors
/// When there are none.
pub(super) fn read(output: &str, program: &str) -> Result<Vec<HelperTold>, Error> {
    let looks = looks(output);
    if looks.is_empty() {
        return Err(Error::NoStacks);
    }
    if let Some(circle) = looks.iter().rev().find_map(|text| cycle(text)) {
        return Ok(circular(&circle));
    }
    let looks: Vec<Vec<Stood>> = looks.iter().map(|text| threads(text)).collect();
    let has_one = looks.iter().all(|look| look.len() < 2);
    Ok(told(&of_program(looks, program), has_one))
}

/// Threads that wait for each other.
fn circular(circle: &[Link]) -> Vec<HelperTold> {
    let shown = |at: usize| {
        circle[at % circle.len()]
            .stood
            .own
            .first()
            .map(Frame::shown)
    };
    let parts = circle.iter().enumerate().map(|(at, link)| {
        let (thread, lock) = (link.thread, &link.lock);
        let own = shown(at).unwrap_or_default();
        let next = circle[(at + 1) % circle.len()].thread;
        format!("thread {thread} in `{own}` waits for the lock {lock}, which thread {next} holds")
    });
    let sentence = format!("Deadlock: {}.", parts.collect::<Vec<_>>().join("; "));
    let first = circle.first().and_then(|it| it.stood.own.first());
    first
        .map(|frame| about(frame, sentence))
        .into_iter()
        .collect()
}

/// Only what is the program's own for sure: in a file of its own, or in its own crate. Where nothing is, whatever may be; but not
/// what only rests there until there is something to do.
fn of_program(looks: Vec<Vec<Stood>>, program: &str) -> Vec<Vec<Stood>> {
    let of_crate = format!("{}::", program.replace('-', "_"));
    let is_of_crate = |frame: &Frame| {
        let name = frame.function.trim_start_matches(['<', '&']);
        name.starts_with(&of_crate)
    };
    // Names of functions that were compiled into others have no crate before them: then their folder tells.
    let frames = looks.iter().flatten().flat_map(|it| &it.own);
    let folders: BTreeSet<String> = frames
        .filter(|it| is_of_crate(it))
        .map(|it| folder(&it.file).to_owned())
        .collect();
    let is_sure = |frame: &Frame| {
        let known = !frame.file.is_empty();
        is_of_crate(frame) || known && (folders.is_empty() || folders.contains(folder(&frame.file)))
    };
    let any = looks.iter().flatten().any(|it| it.own.iter().any(is_sure));
    let kept = |mut stood: Stood| {
        for frame in &mut stood.own {
            frame.function = plain(&frame.function).to_owned();
        }
        if any {
            stood.own.retain(is_sure);
        } else if stood.about == About::Waits && stood.own.iter().any(|it| rests(&it.function)) {
            stood.own.clear();
        }
        (!stood.own.is_empty()).then_some(stood)
    };
    let looks = looks.into_iter();
    looks
        .map(|look| look.into_iter().filter_map(kept).collect())
        .collect()
}

fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Whether a function is one in which the threads of a runtime or a pool wait for work.
fn rests(function: &str) -> bool {
    const WORDS: [&str; 6] = [
        "park",
        "epoll",
        "poll_wait",
        "idle",
        "tokio::runtime",
        "worker",
    ];
    WORDS.iter().any(|word| function.contains(word))
}

/// What there is to say. Of a program with several threads, a `main` that waits for the others tells nothing.
fn told(looks: &[Vec<Stood>], has_one: bool) -> Vec<HelperTold> {
    let locked: Vec<&Vec<Stood>> = looks
        .iter()
        .filter(|look| look.iter().any(waits_for_lock))
        .collect();
    if locked.is_empty() {
        return most(looks, |it| {
            it.about != About::Joins && (has_one || !is_entry(it))
        })
        .map(|(frame, seen)| {
            let sentence = format!(
                "In {seen} of {} looks a thread stands in `{}`.",
                looks.len(),
                frame.shown()
            );
            about(frame, sentence)
        })
        .into_iter()
        .collect();
    }
    let waiting = most(looks, waits_for_lock);
    let other = most(looks, |it| {
        !waits_for_lock(it) && it.about != About::Joins && !is_entry(it)
    });
    let of = locked.len();
    let all = looks.len();
    match (waiting, other) {
        (Some((waiting, _)), Some((holder, seen))) => vec![about(
            holder,
            format!(
                "In {of} of {all} looks threads wait for a lock in `{}`; in {seen} of them another is in `{}` meanwhile.",
                waiting.shown(),
                holder.shown()
            ),
        )],
        (Some(_), None) => deadlock(&locked, all),
        _ => Vec::new(),
    }
}

/// All that stand wait for locks.
fn deadlock(locked: &[&Vec<Stood>], all: usize) -> Vec<HelperTold> {
    let mut places: BTreeMap<(&Frame, Option<&str>), usize> = BTreeMap::new();
    for stood in locked.iter().flat_map(|look| look.iter()) {
        if let Some(frame) = stood.own.first()
            && waits_for_lock(stood)
        {
            let caller = stood.own.get(1).map(|it| it.function.as_str());
            *places.entry((frame, caller)).or_default() += 1;
        }
    }
    // What most wait at is the queue behind it.
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by_key(|(_, seen)| *seen);
    let shown: Vec<String> = places
        .iter()
        .take(PLACES_MAX)
        .map(|((frame, caller), _)| {
            let called = caller.map_or_else(String::new, |it| format!(", called by `{it}`"));
            format!("`{}`{called}", frame.shown())
        })
        .collect();
    let sentence = format!(
        "In {} of {all} looks threads wait for locks in {}, and nobody goes on.",
        locked.len(),
        shown.join(" and ")
    );
    places
        .first()
        .map(|((first, _), _)| about(first, sentence))
        .into_iter()
        .collect()
}

fn about(frame: &Frame, sentence: String) -> HelperTold {
    let place = (!frame.file.is_empty()).then(|| format!("{}:{}", frame.file, frame.line));
    HelperTold {
        sentence,
        function: (!frame.function.is_empty()).then(|| frame.function.clone()),
        place,
        ..HelperTold::default()
    }
}

/// Only the first function of a program, which waits for what it has started.
fn is_entry(stood: &Stood) -> bool {
    let is_main = |it: &Frame| it.function == "main" || it.function.ends_with("::main");
    stood.about != About::Runs && stood.own.iter().all(is_main)
}

fn waits_for_lock(stood: &Stood) -> bool {
    stood.about == About::Locks
}

/// The innermost own frame in which such threads are in most looks, and in how many.
fn most(looks: &[Vec<Stood>], such: impl Fn(&Stood) -> bool) -> Option<(&Frame, usize)> {
    let mut seen: BTreeMap<&Frame, usize> = BTreeMap::new();
    for look in looks {
        let mut here: Vec<&Frame> = look
            .iter()
            .filter(|it| such(it))
            .filter_map(|it| it.own.first())
            .collect();
        here.sort();
        here.dedup();
        for frame in here {
            *seen.entry(frame).or_default() += 1;
        }
    }
    seen.into_iter().max_by_key(|(_, count)| *count)
}

fn looks(output: &str) -> Vec<String> {
    let mut looks: Vec<String> = Vec::new();
    for line in output.lines() {
        if line.starts_with(FIRST_THREAD) {
            looks.push(String::new());
        }
        if let Some(look) = looks.last_mut() {
            look.push_str(line);
            look.push('\n');
        }
    }
    looks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(number: u32, frames: &[&str]) -> String {
        let frames = frames.iter().enumerate();
        let frames = frames.map(|(at, frame)| format!("#{at}  0x1 in {frame}\n"));
        format!(
            "Thread {number} (LWP {number}):\n{}\n",
            frames.collect::<String>()
        )
    }

    const LOCK: &str = "std::sys::sync::mutex::futex::Mutex::lock_contended (self=0x1) at /rustc/5/library/std/src/sys/sync/mutex/futex.rs:118";

    #[test]
    fn who_waits_and_who_is_busy_meanwhile() {
        let look = thread(1, &["epoll_wait () from /lib/x86_64-linux-gnu/libc.so.6"])
            + &thread(2, &[LOCK, "bank::balance (it=0x1) at src/bank.rs:9"])
            + &thread(
                3,
                &[
                    "nanosleep () at ../sysdeps/unix/a.c:3",
                    "bank::pay (it=0x1) at src/bank.rs:20",
                ],
            );
        let told = read(&look.repeat(3), "bank").expect("stacks");
        assert_eq!(
            told[0].sentence,
            "In 3 of 3 looks threads wait for a lock in `bank::balance (src/bank.rs:9)`; in 3 of them another is in `bank::pay (src/bank.rs:20)` meanwhile."
        );
        assert_eq!(told[0].place.as_deref(), Some("src/bank.rs:20"));
    }

    #[test]
    fn a_deadlock_names_both() {
        let look = thread(1, &[LOCK, "bank::give (it=0x1) at src/bank.rs:9"])
            + &thread(2, &[LOCK, "bank::take (it=0x1) at src/bank.rs:19"]);
        let told = read(&look.repeat(2), "bank").expect("stacks");
        assert_eq!(
            told[0].sentence,
            "In 2 of 2 looks threads wait for locks in `bank::give (src/bank.rs:9)` and `bank::take (src/bank.rs:19)`, and nobody goes on."
        );
    }

    #[test]
    fn a_circle_is_named_lock_by_lock_where_owners_are_known() {
        let lock = "___pthread_mutex_lock (mutex=0x1) at ./nptl/pthread_mutex_lock.c:93";
        let look = thread(1, &[lock, "give (it=0x1) at src/bank.c:9"])
            + &thread(2, &[lock, "take (it=0x1) at src/bank.c:19"])
            + &thread(3, &[lock, "look (it=0x1) at src/bank.c:29"]);
        let owners = "Lock: 3 0x7f10 1\nLock: 1 0x7f20 2\nLock: 2 0x7f10 1\n";
        let told = read(&(look.clone() + owners), "bank").expect("stacks");
        assert_eq!(
            told[0].sentence,
            "Deadlock: thread 1 in `give (src/bank.c:9)` waits for the lock 0x7f20, which thread 2 holds; thread 2 in `take (src/bank.c:19)` waits for the lock 0x7f10, which thread 1 holds."
        );
        let told = read(&(look + "Lock: 1 0x7f20 0\nLock: 2 nonsense\n"), "bank").expect("stacks");
        assert!(told[0].sentence.contains("nobody goes on"), "{told:?}");
    }

    #[test]
    fn without_own_code_it_says_nothing() {
        let refused = read("ptrace: Operation not permitted.\n", "bank");
        assert_eq!(refused, Err(Error::NoStacks));
        assert_eq!(
            read(
                &thread(1, &["epoll_wait () from /lib/x86_64-linux-gnu/libc.so.6"]),
                "bank"
            ),
            Ok(Vec::new())
        );
        let parked = thread(
            1,
            &[
                "syscall () from /lib/x86_64-linux-gnu/libc.so.6",
                "tokio::runtime::scheduler::multi_thread::park::Inner::park_condvar::h798eb1c2d3e4f506 ()",
            ],
        );
        assert_eq!(read(&parked.repeat(3), "bank"), Ok(Vec::new()));
    }

    #[test]
    fn a_main_that_waits_tells_nothing_where_others_work() {
        let waits = "syscall () from /lib/x86_64-linux-gnu/libc.so.6";
        let main = "shop::main () at src/main.rs:67";
        let look = thread(1, &[waits, main])
            + &thread(2, &[waits, "tokio::runtime::park::Inner::park ()"])
            + &thread(3, &[waits, "tokio::runtime::park::Inner::park ()"]);
        assert_eq!(read(&look.repeat(3), "shop"), Ok(Vec::new()));
        let alone = read(&thread(1, &[waits, main]).repeat(3), "shop").expect("stacks");
        assert!(alone[0].sentence.contains("src/main.rs:67"), "{alone:?}");
    }
}
