//! Where real programs stood when they crashed or hung.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use support::{Under, alive, can, python, wait_until};

/// An order that asks for nothing but evidence; none where nothing can be traced.
fn order() -> Option<Under> {
    let directory = tempfile::tempdir().expect("a directory").keep();
    let path = directory.join("stacks.txt").display().to_string();
    can("schedule")
        .then(|| Under::new(&format!("{{\"evidence\": {path:?}}}")).with("STACKS", &path))
}

fn stacks(under: &Under) -> String {
    let path = under.variable("STACKS");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let directory = Path::new(path).parent().expect("a directory");
    let left = std::fs::read_dir(directory).expect("a directory").count();
    assert!(left <= 1, "images are left in {}", directory.display());
    text
}

fn compiled(under: &Under, source: &str) -> String {
    let (from, to) = (under.path("program.c"), under.path("program"));
    std::fs::write(&from, source).expect("written");
    let output = Command::new("cc")
        .args([
            &from,
            Path::new("-g"),
            Path::new("-pthread"),
            Path::new("-o"),
            &to,
        ])
        .output()
        .expect("a C compiler, which building Cohort takes too");
    assert!(output.status.success(), "{output:?}");
    to.to_str().expect("UTF-8").to_owned()
}

/// Whether there is gdb; says so aloud when there is none.
fn has_gdb() -> bool {
    let output = Command::new("gdb").arg("--version").output();
    let has = output.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("left out: there is no gdb");
    }
    has
}

/// The line of a source with this text in it.
fn line(source: &str, text: &str) -> usize {
    let line = source.lines().position(|line| line.contains(text));
    line.expect("it is there") + 1
}

const CRASH: &str = r#"
#include <pthread.h>
#include <unistd.h>
static int depth(int *where, int left) {
    if (left > 0) return depth(where, left - 1) + 1;
    return *where; /* here */
}
/* Each is in its function when one crashes. */
static pthread_barrier_t all;
static void *waits(void *it) { pthread_barrier_wait(&all); pause(); return it; }
static void *works(void *it) { pthread_barrier_wait(&all); depth(it, 2); return it; }
int main(void) {
    pthread_t one, other;
    pthread_barrier_init(&all, 0, 3);
    pthread_create(&one, 0, waits, 0);
    pthread_create(&other, 0, works, 0);
    pthread_barrier_wait(&all);
    pthread_join(other, 0);
    return 0;
}"#;

#[test]
fn a_crash_is_told_with_the_stacks_of_all_threads() {
    let Some(under) = order() else { return };
    let program = compiled(&under, CRASH);
    let output = under.run(&[&program]);
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
    let text = stacks(&under);
    assert!(text.contains("signal SIGSEGV, address 0x0"), "{text}");
    if has_gdb() {
        let place = format!("program.c:{}", line(CRASH, "/* here */"));
        let first = text
            .find(&place)
            .unwrap_or_else(|| panic!("{place}: {text}"));
        for function in ["works", "waits", "main"] {
            let at = text.find(&format!(" {function} ("));
            assert!(at.is_some_and(|at| at > first), "{function}: {text}");
        }
    }
    assert!(!text.contains("(cut here)"));
}

#[test]
fn without_a_debugger_it_says_so_and_all_else_works() {
    let Some(under) = order() else { return };
    let program = compiled(&under, CRASH);
    let empty = under.path("tmp").display().to_string();
    let under = under.with("PATH", &empty);
    let output = under.run(&[&program]);
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
    let text = stacks(&under);
    assert!(text.contains("gdb is not installed"), "{text}");
    assert!(text.contains("signal SIGSEGV, address 0x0"), "{text}");
    assert!(text.contains(&format!("from {program}+0x")), "{text}");
    let remarks = under.report().remarks;
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert!(remarks[0].contains("gdb"), "{remarks:?}");
}

#[test]
fn a_child_that_aborts_is_seen_and_the_program_goes_on() {
    let Some(under) = order() else { return };
    let source = r#"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void broken(void) { abort(); /* here */ }
int main(void) {
    int status;
    if (fork() == 0) broken();
    wait(&status);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 99;
}"#;
    let program = compiled(&under, source);
    assert_eq!(under.run(&[&program]).status.code(), Some(libc::SIGABRT));
    let text = stacks(&under);
    assert!(text.contains("signal SIGABRT"), "{text}");
    if has_gdb() {
        let place = format!("program.c:{}", line(source, "/* here */"));
        assert!(text.contains(&place), "{text}");
    }
}

#[test]
fn what_a_program_handles_or_survives_is_its_own() {
    let Some(under) = order() else { return };
    let source = r#"
#include <signal.h>
#include <unistd.h>
static void handler(int signal) { _exit(signal); }
int main(void) {
    signal(SIGABRT, SIG_IGN);
    raise(SIGABRT);
    signal(SIGSEGV, handler);
    *(volatile int *)0 = 1;
}"#;
    let program = compiled(&under, source);
    assert_eq!(under.run(&[&program]).status.code(), Some(libc::SIGSEGV));
    assert_eq!(stacks(&under), "");
    assert_eq!(under.shell("exit 3").status.code(), Some(3));
    assert_eq!(stacks(&under), "");
}

/// Runs a program in a process group of its own until it has written "ready" and waits, then tells all
/// of them to end, as an instance does.
fn told_to_end(under: &Under, program: &[&str]) -> (Option<i32>, String) {
    use std::os::unix::process::CommandExt;
    let errors = std::fs::File::create(under.path("stderr")).expect("a file");
    let mut guard = under
        .command(program)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .expect("started");
    let ready = || std::fs::read_to_string(under.path("ready")).unwrap_or_default();
    wait_until("it is ready", || ready().ends_with('\n'));
    let pid = ready();
    wait_until("all of it waits", || all_sleep(pid.trim()));
    let group = Pid::from_raw(i32::try_from(guard.id()).expect("a pid"));
    killpg(group, Signal::SIGTERM).expect("told");
    let status = guard.wait().expect("ended");
    wait_until("all is gone", || !alive(pid.trim()));
    let said = std::fs::read_to_string(under.path("stderr")).expect("readable");
    (status.signal(), said)
}

/// Whether there are three threads of a process, each of which waits for another.
fn all_sleep(pid: &str) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let calls: Vec<String> = (tasks.into_iter().flatten().flatten())
        .map(|task| std::fs::read_to_string(task.path().join("syscall")).unwrap_or_default())
        .collect();
    let futex = format!("{} ", libc::SYS_futex);
    calls.len() >= 3 && calls.iter().all(|call| call.starts_with(&futex))
}

#[test]
fn a_deadlock_is_told_with_both_places() {
    let Some(under) = order() else { return };
    let source = r#"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static pthread_mutex_t a = PTHREAD_MUTEX_INITIALIZER, b = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;
static void *first(void *it) {
    pthread_mutex_lock(&a);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&b); /* one */
    return it;
}
static void *second(void *it) {
    pthread_mutex_lock(&b);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&a); /* other */
    return it;
}
int main(void) {
    pthread_t one, other;
    FILE *ready = fopen("ready", "w");
    fprintf(ready, "%d\n", getpid());
    fclose(ready);
    pthread_barrier_init(&both, 0, 2);
    pthread_create(&one, 0, first, 0);
    pthread_create(&other, 0, second, 0);
    pthread_join(one, 0);
    return 0;
}"#;
    let program = compiled(&under, source);
    let (signal, _) = told_to_end(&under, &[&program]);
    assert_eq!(signal, Some(libc::SIGTERM));
    let text = stacks(&under);
    assert!(text.contains("took too long"), "{text}");
    if has_gdb() {
        for (function, part) in [("first", "/* one"), ("second", "/* other")] {
            let place = format!("program.c:{}", line(source, part));
            let found = text
                .lines()
                .any(|line| line.contains(&place) && line.contains(function));
            assert!(found, "{place}: {text}");
        }
    }
}

#[test]
fn a_deadlock_in_python_is_told_by_python() {
    let (Some(under), Some(python)) = (order(), python()) else {
        return;
    };
    let source = r#"
import os, threading
a, b, both = threading.Lock(), threading.Lock(), threading.Barrier(2)
def first():
    with a:
        both.wait()
        b.acquire()  # one
def second():
    with b:
        both.wait()
        a.acquire()  # other
threads = [threading.Thread(target=it) for it in (first, second)]
for it in threads: it.start()
with open("ready", "w") as file: print(os.getpid(), file=file)
for it in threads: it.join()
"#;
    let script = under.path("locks.py");
    std::fs::write(&script, source).expect("written");
    let script = script.display().to_string();
    let (signal, said) = told_to_end(&under, &[&python, &script]);
    assert_eq!(signal, Some(libc::SIGTERM));
    for (function, part) in [("first", "# one"), ("second", "# other")] {
        let place = format!("line {} in {function}", line(source, part));
        assert!(said.contains(&place), "{place}: {said}");
    }
}
