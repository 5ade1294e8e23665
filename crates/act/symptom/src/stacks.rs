//! Where all threads of a program stood that took too long or crashed: stacks of gdb and of Python's
//! faulthandler, and what of them tells why.
//!
//! ```text
//!   waits for a lock, runs      these are why, when there are any
//!   waits for something else    else these
//!   waits for another thread    else these: whom it waits for is why
//! ```
//!
//! Promise: which thread is which, and which of them was seen first, does not matter: the same deadlock
//! gives the same frames.

use cohort_model::Frame;

use crate::FRAMES_MAX;
use crate::reports::{gdb_frame, is_own_native, python_frame};

/// Own frames that are kept of each thread, of two at most and of more.
const OF_EACH: usize = 3;
const OF_MANY: usize = 2;
/// Bytes of stacks that Python wrote.
const EXCERPT_BYTES_MAX: usize = 64 << 10;

/// What a thread was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// It waits for a lock.
    Locks,
    /// It runs.
    Runs,
    /// It waits for something else.
    Waits,
    /// It waits for another thread.
    Joins,
}

impl About {
    /// Both may be why at the same time.
    fn is_like(self, other: About) -> bool {
        let busy = |about: About| about <= About::Runs;
        self == other || busy(self) && busy(other)
    }
}

/// Where one thread stood.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stood {
    /// What it was about there.
    pub about: About,
    /// Frames of the code under test, innermost first; at least one.
    pub own: Vec<Frame>,
}

/// Where threads stood in which the code under test is, as gdb wrote it, one of each after the other.
#[must_use]
pub fn threads(native: &str) -> Vec<Stood> {
    of_native(native)
}

/// Whether a function of a compiled or interpreted program is the code under test, as far as its name and file tell.
#[must_use]
pub fn is_own(function: &str, file: &str) -> bool {
    is_own_native(function, file) && crate::exceptions::python::is_own(file)
}

/// The frames that tell why a program that took too long did not come to its end: those of the code under
/// test at which threads stood, thread by thread. `native` is what `cohort under` wrote, `output` what
/// the program did.
#[must_use]
pub fn stood(native: &str, output: &str) -> Vec<Frame> {
    let python = of_python(output);
    let mut stacks = if python.is_empty() {
        of_native(native)
    } else {
        python
    };
    stacks.sort();
    stacks.dedup();
    if stacks.iter().any(|stack| !is_entry(stack)) {
        stacks.retain(|stack| !is_entry(stack));
    }
    let Some(first) = stacks.first().map(|stack| stack.about) else {
        return Vec::new();
    };
    stacks.retain(|stack| stack.about.is_like(first));
    let each = if stacks.len() > 2 { OF_MANY } else { OF_EACH };
    let own = |stack: Stood| stack.own.into_iter().take(each);
    stacks.into_iter().flat_map(own).take(FRAMES_MAX).collect()
}

/// The stacks in what a program of Python wrote as it was ended; none when there are none.
#[must_use]
pub fn excerpt(output: &str) -> Option<String> {
    let mut kept = String::new();
    let mut inside = false;
    for line in output.lines() {
        let is_head = line.starts_with("Fatal Python error: ") || thread_of(line).is_some();
        let goes_on = line.trim().is_empty() || python_frame(line).is_some();
        inside = is_head || inside && goes_on;
        if inside && kept.len() < EXCERPT_BYTES_MAX {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept.contains("File \"").then_some(kept)
}

/// Only the first function of a program: it waits for what it has started.
fn is_entry(stack: &Stood) -> bool {
    let is_main = |frame: &Frame| {
        let name = frame.function.as_str();
        matches!(name, "main" | "<module>") || name.ends_with("::main")
    };
    stack.own.iter().all(is_main) && stack.about > About::Runs
}

fn of_native(text: &str) -> Vec<Stood> {
    let mut stacks = Vec::new();
    let mut frames: Vec<Frame> = Vec::new();
    let mut interpreted = false;
    for line in text.lines() {
        if let Some(program) = line.strip_prefix("Process ") {
            stacks.extend(stack(&std::mem::take(&mut frames), native_about));
            let name = program.rsplit('/').next().unwrap_or(program);
            interpreted = name.starts_with("python");
        } else if let Some((number, mut frame)) = gdb_frame(line) {
            if number == 0 {
                stacks.extend(stack(&std::mem::take(&mut frames), native_about));
            }
            frame.own = frame.own && !(interpreted && is_interpreter(&frame));
            frames.push(frame);
        }
    }
    stacks.extend(stack(&frames, native_about));
    stacks
}

fn is_interpreter(frame: &Frame) -> bool {
    let starts = [
        "Python/",
        "./Python/",
        "Modules/",
        "./Modules/",
        "Objects/",
        "./Objects/",
    ];
    let names = ["Py", "_Py", "main"];
    frame.file.is_empty()
        || starts.iter().any(|start| frame.file.starts_with(start))
        || ["./Include/", "Include/", "Parser/"]
            .iter()
            .any(|start| frame.file.starts_with(start))
        || names.iter().any(|start| frame.function.starts_with(start))
}

/// `Thread 0x00007f3c (most recent call first):`
fn thread_of(line: &str) -> Option<&str> {
    let rest = line.trim_end().strip_suffix("(most recent call first):")?;
    rest.contains("hread 0x").then_some(rest)
}

fn of_python(text: &str) -> Vec<Stood> {
    let mut stacks = Vec::new();
    let mut frames: Vec<Frame> = Vec::new();
    for line in text.lines() {
        if thread_of(line).is_some() {
            stacks.extend(stack(&std::mem::take(&mut frames), python_about));
        } else if let Some(frame) = python_frame(line) {
            // A traceback names calls the other way round, with a comma.
            if !line.contains(", in ") {
                frames.push(frame);
            }
        }
    }
    stacks.extend(stack(&frames, python_about));
    stacks
}

/// A stack, when the code under test is in it.
fn stack(frames: &[Frame], about: fn(&[Frame]) -> About) -> Option<Stood> {
    let innermost = frames.iter().position(|frame| frame.own)?;
    Some(Stood {
        about: about(&frames[..innermost]),
        own: frames[innermost..]
            .iter()
            .filter(|frame| frame.own)
            .cloned()
            .collect(),
    })
}

/// By what was called of libraries.
fn native_about(called: &[Frame]) -> About {
    const JOINS: [&str; 5] = ["join", "waitpid", "wait4", "waitid", "__libc_wait"];
    const IDLE: [&str; 4] = ["cond_", "Condvar", "condition_variable", "park"];
    const LOCKS: [&str; 5] = ["mutex", "rwlock", "lll_lock", "lock_contended", "spin_lock"];
    let any = |words: &[&str]| {
        let has = |frame: &Frame| {
            let name = &frame.function;
            words
                .iter()
                .any(|word| name.contains(word) || name.to_lowercase().contains(word))
        };
        called.iter().any(has)
    };
    if called.is_empty() {
        About::Runs
    } else if any(&JOINS) {
        About::Joins
    } else if any(&IDLE) {
        About::Waits
    } else if any(&LOCKS) {
        About::Locks
    } else {
        About::Waits
    }
}

/// What is called of C is not told: a lock is waited for in the line itself.
fn python_about(called: &[Frame]) -> About {
    let calls = |names: &[&str]| {
        called
            .iter()
            .any(|it| names.contains(&it.function.as_str()))
    };
    if called.is_empty() {
        About::Locks
    } else if calls(&["join", "_wait_for_tstate_lock", "shutdown", "_shutdown"]) {
        About::Joins
    } else if calls(&["acquire", "__enter__"]) {
        About::Locks
    } else {
        About::Waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(frames: &[Frame]) -> Vec<String> {
        frames.iter().map(Frame::shown).collect()
    }

    const LOCKED: &str = "\
Process 7 of /app/bank
It took too long; its threads stood here.

Thread 1 (Thread 0x7fd0 (LWP 7)):
#0  __futex_abstimed_wait_common64 (private=128, cancel=true) at ./nptl/futex-internal.c:57
#1  0x00007f47728c0ce3 in __pthread_clockjoin_ex (threadid=1) at ./nptl/pthread_join_common.c:102
#2  0x0000562f47858232 in bank::settle () at src/lib.rs:30
#3  0x0000562f47858299 in main ()

";

    fn locked(number: u32, function: &str, line: u32) -> String {
        format!(
            "Thread {number} (Thread 0x7f (LWP {number})):\n\
             #0  syscall () at ../sysdeps/unix/sysv/linux/x86_64/syscall.S:38\n\
             #1  0x1 in std::sys::sync::mutex::futex::Mutex::lock_contended (self=0x1) at /rustc/5/library/std/src/sys/sync/mutex/futex.rs:118\n\
             #2  0x2 in std::sync::poison::mutex::Mutex<i32>::lock<i32> (self=0x1) at /rustc/5/library/std/src/sync/poison/mutex.rs:482\n\
             #3  0x3 in bank::{function} (a=0x1) at src/lib.rs:{line}\n\
             #4  0x4 in start_thread (arg=0x0) at ./nptl/pthread_create.c:442\n\n"
        )
    }

    #[test]
    fn a_deadlock_is_its_locks_whoever_waits_for_which() {
        let one = format!("{LOCKED}{}{}", locked(2, "give", 11), locked(3, "take", 19));
        let other = format!("{LOCKED}{}{}", locked(2, "take", 19), locked(3, "give", 11));
        let frames = stood(&one, "");
        assert_eq!(
            shown(&frames),
            ["bank::give (src/lib.rs:11)", "bank::take (src/lib.rs:19)"]
        );
        assert_eq!(stood(&other, ""), frames);
    }

    #[test]
    fn what_runs_counts_before_what_waits() {
        let text = "\
Process 7 of /app/bank
Thread 1 (LWP 7):
#0  0x1 in spin (n=3) at src/spin.c:7
#1  0x2 in main () at src/spin.c:20
Thread 2 (LWP 8):
#0  futex_wait () at ../sysdeps/nptl/futex-internal.h:146
#1  0x2 in ___pthread_cond_wait (c=0x1) at ./nptl/pthread_cond_wait.c:627
#2  0x3 in idle (pool=0x1) at src/pool.c:50
";
        assert_eq!(
            shown(&stood(text, "")),
            ["spin (src/spin.c:7)", "main (src/spin.c:20)"]
        );
        let idle = &text[text.find("Thread 2").unwrap()..];
        assert_eq!(shown(&stood(idle, "")), ["idle (src/pool.c:50)"]);
        assert!(stood(LOCKED, "").len() == 2);
        let boxed = "#0  0x1 in alloc::boxed::{impl#31}::call_once<(), (dyn core::ops::function::FnOnce<()>)> (f=0x1) at library/alloc/src/boxed.rs:2240\n\
                     #1  0x2 in app::run<alloc::vec::Vec<(u8, fn() -> u8)>> (it=0x1) at src/lib.rs:4\n";
        let frames = stood(boxed, "");
        assert_eq!(
            shown(&frames),
            ["app::run<alloc::vec::Vec<(u8, fn() -> u8)>> (src/lib.rs:4)"]
        );
        assert!(stood("", "no stack").is_empty());
    }

    #[test]
    fn python_tells_its_own() {
        let text = "\
collected 1 item
Fatal Python error: Aborted

Thread 0x00007fd0427b66c0 (most recent call first):
  File \"/app/bank.py\", line 10 in take
  File \"/usr/lib/python3.11/threading.py\", line 982 in run

Current thread 0x00007fd042fb76c0 (most recent call first):
  File \"/app/bank.py\", line 6 in give

Thread 0x00007fd043df9b80 (most recent call first):
  File \"/usr/lib/python3.11/threading.py\", line 1119 in join
  File \"/app/bank.py\", line 13 in <module>
and more
";
        let native =
            "Process 7 of /usr/bin/python3.11\n#0  0x1 in take_gil () at Python/ceval.c:1\n";
        assert_eq!(
            shown(&stood(native, text)),
            ["give (/app/bank.py:6)", "take (/app/bank.py:10)"]
        );
        assert!(stood(native, "").is_empty());
        let excerpt = excerpt(text).expect("stacks");
        assert!(excerpt.starts_with("Fatal Python error") && excerpt.contains("line 13"));
        assert!(!excerpt.contains("and more") && !excerpt.contains("collected"));
    }
}
