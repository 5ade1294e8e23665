//! What can never go on is ended at once, and nothing else is.

mod support;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use support::{Under, can, python};

/// Two locks, taken in opposite orders by threads that wait until each has its first.
const TWO_LOCKS: &str = "
import threading
a, b, both = threading.Lock(), threading.Lock(), threading.Barrier(2)
def takes(first, second):
    with first:
        both.wait()
        with second: pass
one = threading.Thread(target=takes, args=(a, b)); other = threading.Thread(target=takes, args=(b, a))
one.start(); other.start(); one.join(); other.join()
";
/// The same, where the main thread waits for longer than the run may take.
const LONG_WAIT: &str = "
import threading
lock = threading.Lock(); lock.acquire()
lock.acquire(timeout=SECONDS)
";
/// A child writes more than fits into a pipe that nobody reads before it has ended.
const FULL_PIPE: &str = "
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', 'print(\"x\" * 1000000)'], stdout=subprocess.PIPE)
child.wait()
";
/// Waits for a child that only sleeps.
const SLEEPING_CHILD: &str = "
import subprocess, threading
child = subprocess.Popen(['sleep', '1.2'], stdout=subprocess.PIPE)
reader = threading.Thread(target=child.stdout.read); reader.start(); reader.join(); child.wait()
";
/// A timer's signal wakes up what waits for a lock.
const ALARM: &str = "
import signal, threading
lock = threading.Lock(); lock.acquire()
def release(*_): lock.release()
signal.signal(signal.SIGALRM, release); signal.setitimer(signal.ITIMER_REAL, 1.2)
lock.acquire()
";
/// Another thread sleeps, and wakes it up then.
const LATE: &str = "
import threading, time
lock = threading.Lock(); lock.acquire()
def release(): time.sleep(1.2); lock.release()
threading.Thread(target=release).start()
lock.acquire()
";

/// Runs a program of Python for which there is a minute; gives whether it was found to be stuck, and passed.
fn run(python: &str, conditions: &str, program: &str) -> (bool, bool) {
    let mut order = "{\"limit_us\": 60000000".to_owned();
    if !conditions.is_empty() {
        write!(order, ", \"conditions\": [{conditions}]").expect("a text");
    }
    order.push('}');
    let under = Under::new(&order);
    let output = under.run(&[python, "-c", program]);
    (under.report().stuck, output.status.success())
}

#[test]
fn what_waits_for_itself_is_ended_soon() {
    let Some(python) = python() else { return };
    let long = LONG_WAIT.replace("SECONDS", "100");
    for program in [TWO_LOCKS, FULL_PIPE, &long] {
        let since = Instant::now();
        assert_eq!(run(&python, "", program), (true, false), "{program}");
        assert!(since.elapsed() < Duration::from_secs(20), "{program}");
    }
}

#[test]
fn what_waits_for_itself_is_seen_while_its_threads_are_disturbed() {
    let Some(python) = python().filter(|_| can("schedule")) else {
        return;
    };
    let schedule = "{\"condition\": \"schedule\", \"seed\": 3}";
    assert_eq!(run(&python, schedule, TWO_LOCKS), (true, false));
}

#[test]
fn what_only_takes_long_is_left_alone() {
    let Some(python) = python() else { return };
    let short = LONG_WAIT.replace("SECONDS", "1.2");
    for program in [SLEEPING_CHILD, ALARM, LATE, &short] {
        assert_eq!(run(&python, "", program), (false, true), "{program}");
    }
}
