//! Real programs under conditions that are applied by tracing them.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::{Under, alive, can, lines, python, wait_until};

fn conditions(text: &str) -> Under {
    Under::new(&format!("{{\"conditions\": [{text}]}}"))
}

fn timed(run: impl FnOnce() -> Output) -> (Output, Duration) {
    let since = Instant::now();
    let output = run();
    (output, since.elapsed())
}

/// The example of that name, which cargo builds beside what is tested.
fn example(name: &str) -> PathBuf {
    let under = Path::new(env!("CARGO_BIN_EXE_under"));
    under.with_file_name("examples").join(name)
}

#[test]
fn a_traced_program_ends_as_it_would_alone() {
    if !can("schedule") {
        return;
    }
    let under = conditions(r#"{"condition": "schedule", "seed": 1}"#);
    assert_eq!(under.shell("exit 7").status.code(), Some(7));
    assert_eq!(under.shell("kill -ABRT $$").status.signal(), Some(6));
    assert_eq!(under.run(&["no-such-program"]).status.code(), Some(127));
    let script = "trap 'echo caught' USR1; kill -USR1 $$; (exit 3); echo $?; cat | wc -c";
    assert_eq!(lines(&under.shell(script).stdout), ["caught", "3", "0"]);
    // A real-time signal, and a stop that another ends.
    let script =
        "trap 'echo rt' 40; kill -40 $$; (sleep 0.1; kill -CONT $$) & kill -STOP $$; echo on";
    assert_eq!(lines(&under.shell(script).stdout), ["rt", "on"]);
    assert!(under.report().done.threads > 1);
}

#[test]
fn nothing_of_a_traced_program_is_left_when_its_guard_is_killed() {
    if !can("schedule") {
        return;
    }
    let under = conditions(r#"{"condition": "schedule", "seed": 1}"#);
    let mut guard = under
        .command(&["sh", "-c", "setsid sleep 1000 & echo $! > pid; wait"])
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let pid = || std::fs::read_to_string(under.path("pid")).unwrap_or_default();
    wait_until("it runs", || alive(pid().trim()));
    guard.kill().expect("killed");
    guard.wait().expect("ended");
    wait_until("all is gone", || !alive(pid().trim()));
}

#[test]
fn a_program_that_traces_others_is_run_untraced() {
    if !can("schedule") {
        return;
    }
    let source = r#"
        #include <signal.h>
        #include <stdio.h>
        #include <sys/ptrace.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main(void) {
            int status, pid = fork();
            if (pid == 0) {
                if (ptrace(PTRACE_TRACEME, 0, 0, 0)) _exit(9);
                raise(SIGSTOP);
                _exit(5);
            }
            waitpid(pid, &status, 0);
            if (!WIFSTOPPED(status)) return 1;
            ptrace(PTRACE_CONT, pid, 0, 0);
            waitpid(pid, &status, 0);
            return WEXITSTATUS(status);
        }"#;
    let under =
        conditions(r#"{"condition": "schedule", "seed": 1}, {"condition": "cpus", "count": 1}"#);
    let program = compiled(&under, source);
    assert_eq!(under.run(&[&program]).status.code(), Some(5));
    let missing = under.report().missing;
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].why.contains("traces"), "{missing:?}");
}

fn compiled(under: &Under, source: &str) -> String {
    let (from, to) = (under.path("program.c"), under.path("program"));
    std::fs::write(&from, source).expect("written");
    let output = Command::new("cc")
        .args([&from, Path::new("-pthread"), Path::new("-o"), &to])
        .output()
        .expect("a C compiler, which building Cohort takes too");
    assert!(output.status.success(), "{output:?}");
    to.to_str().expect("UTF-8").to_owned()
}

#[test]
fn random_bytes_follow_from_the_seed() {
    if !can("seed") {
        return;
    }
    let source = r#"
        #include <stdio.h>
        #include <sys/random.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static void one(void) {
            unsigned char bytes[8];
            if (getrandom(bytes, 8, 0) != 8) _exit(1);
            for (int i = 0; i < 8; i++) printf("%02x", bytes[i]);
            printf(" "); fflush(stdout);
        }
        int main(void) { one(); one(); if (!fork()) { one(); _exit(0); } wait(0); if (!fork()) { one(); _exit(0); } wait(0); return 0; }"#;
    let run = |seed: u64| {
        let under = conditions(&format!(r#"{{"condition": "seed", "seed": {seed}}}"#));
        let program = compiled(&under, source);
        let output = under.run(&[&program]);
        assert_eq!(output.status.code(), Some(0));
        assert!(under.report().done.random >= 4);
        String::from_utf8(output.stdout).expect("text")
    };
    let first = run(1);
    let mut numbers: Vec<&str> = first.split_whitespace().collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(
        numbers.len(),
        4,
        "each call and each process has its own: {first}"
    );
    assert_eq!(first, run(1));
    assert_ne!(first, run(2));
}

#[test]
fn the_order_of_hash_maps_follows_from_the_seed() {
    if !can("seed") {
        return;
    }
    let racy = example("racy");
    let racy = racy.to_str().expect("UTF-8");
    let order = |seed: u64, program: &[&str]| {
        let under = conditions(&format!(r#"{{"condition": "seed", "seed": {seed}}}"#));
        let output = under.run(program);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let script = "import os, random, uuid\n\
                  print(list(set('abcdefghij')), random.random(), os.urandom(4), uuid.uuid4())";
    let mut programs = vec![vec![racy, "hash_order"]];
    let python = python();
    if let Some(python) = &python {
        programs.push(vec![python, "-c", script]);
    }
    for program in programs {
        let first = order(1, &program);
        assert_eq!(first, order(1, &program));
        assert_ne!(first, order(2, &program));
    }
}

#[test]
fn directories_are_listed_in_an_order_that_follows_from_the_seed() {
    if !can("directory_order") {
        return;
    }
    let list = |seed: u64| {
        let under = conditions(&format!(
            r#"{{"condition": "directory_order", "seed": {seed}}}"#
        ));
        let files = under.path("files");
        std::fs::create_dir(&files).expect("a directory");
        for number in 0..2000 {
            std::fs::write(files.join(format!("file-{number}")), "").expect("written");
        }
        let output = under.run(&["ls", "-f", "files"]);
        assert!(under.report().done.directories > 0);
        lines(&output.stdout)
    };
    let first = list(1);
    assert_eq!(first[..2], [".", ".."]);
    assert_eq!(first.len(), 2002);
    let other = list(2);
    assert_ne!(first, other);
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    assert_eq!(sorted(first), sorted(other));
}

#[test]
fn files_are_slow_and_programs_are_not() {
    if !can("disk_delay") {
        return;
    }
    let under = conditions(r#"{"condition": "disk_delay", "us": 100000}"#);
    std::fs::write(under.path("data"), "x").expect("written");
    let (_, start) = timed(|| under.run(&["cat", "/etc/passwd"]));
    let before = under.report().done.delays;
    let (_, read) = timed(|| under.run(&["cat", "data"]));
    assert_eq!(before, 0);
    // It is opened, and read until there is nothing more.
    assert!(under.report().done.delays >= 3);
    assert!(read >= Duration::from_millis(300), "{start:?} {read:?}");
    // Whether a folder is there is known to the kernel; a file is looked for.
    under.run(&["sh", "-c", "[ -d tmp ] && [ -d tmp ]"]);
    let of_folder = under.report().done.delays;
    under.run(&["sh", "-c", "[ -d tmp ] && [ -f data ]"]);
    assert_eq!(under.report().done.delays, of_folder + 1);
}

#[test]
fn a_slow_disk_takes_as_long_as_its_rate_says() {
    if !can("disk_rate") {
        return;
    }
    let order = r#"{"conditions": [{"condition": "disk_rate", "bytes_s": 4000000}], "fallback": ["disk_rate"]}"#;
    let under = Under::new(order);
    let (output, took) = timed(|| {
        under.run(&[
            "dd",
            "if=/dev/zero",
            "of=data",
            "bs=100k",
            "count=10",
            "status=none",
        ])
    });
    assert_eq!(output.status.code(), Some(0));
    assert!(took >= Duration::from_millis(250), "{took:?}");
}

const TALK: &str = "
import socket, sys, time
kind = socket.SOCK_DGRAM if sys.argv[1] == 'udp' else socket.SOCK_STREAM
a = socket.socket(socket.AF_INET, kind); a.bind(('127.0.0.1', 0))
b = socket.socket(socket.AF_INET, kind)
if sys.argv[1] == 'tcp': a.listen()
since = time.monotonic()
b.connect(a.getsockname())
for _ in range(int(sys.argv[2])): b.send(b'x' * 1000)
took = time.monotonic() - since
a.settimeout(0.2)
count = 0
if sys.argv[1] == 'udp':
    try:
        while True: a.recv(2000); count += 1
    except TimeoutError: pass
one, two = socket.socketpair()
since = time.monotonic()
for _ in range(20): one.send(b'x')
local = time.monotonic() - since
print(took, count, local)
";

fn talk(condition: &str, kind: &str, count: &str) -> Option<[f64; 3]> {
    let python = python()?;
    if !can("network_delay") {
        return None;
    }
    let under = conditions(condition);
    let output = under.run(&[&python, "-c", TALK, kind, count]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut numbers = text
        .split_whitespace()
        .filter_map(|number| number.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

#[test]
fn the_network_is_slow_and_sockets_within_the_host_are_not() {
    let delay = r#"{"condition": "network_delay", "us": 50000}"#;
    if let Some([took, _, local]) = talk(delay, "tcp", "4") {
        assert!((0.25..5.0).contains(&took), "{took}");
        assert!(local < 0.5, "{local}");
    }
    let rate = r#"{"condition": "network_rate", "bits_s": 100000}"#;
    if let Some([took, _, _]) = talk(rate, "udp", "4") {
        assert!((0.3..5.0).contains(&took), "{took}");
    }
}

#[test]
fn datagrams_are_lost_and_streams_are_late() {
    let some = r#"{"condition": "network_loss", "share": 0.5}"#;
    if let Some([_, count, _]) = talk(some, "udp", "100") {
        assert!((20.0..80.0).contains(&count), "{count}");
    }
    let all = r#"{"condition": "network_loss", "share": 1.0}"#;
    if let Some([took, _, _]) = talk(all, "tcp", "1") {
        assert!((1.2..10.0).contains(&took), "{took}");
    }
}

#[test]
fn the_clock_shows_another_time_and_waits_are_as_long_as_before() {
    if !can("clock") {
        return;
    }
    let under = conditions(r#"{"condition": "clock", "unix_s": 1000000000}"#);
    let output = under.run(&["date", "-u", "+%Y-%m-%d"]);
    assert_eq!(lines(&output.stdout), ["2001-09-09"]);
    let source = r#"
        #include <errno.h>
        #include <pthread.h>
        #include <stdio.h>
        #include <sys/time.h>
        #include <time.h>
        int main(void) {
            pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
            pthread_cond_t never = PTHREAD_COND_INITIALIZER;
            struct timespec begin, end, until; struct timeval day;
            clock_gettime(CLOCK_MONOTONIC, &begin);
            clock_gettime(CLOCK_REALTIME, &until);
            gettimeofday(&day, 0);
            if (until.tv_sec / 100 != 10000000 || day.tv_sec / 100 != 10000000 || time(0) / 100 != 10000000) return 1;
            until.tv_sec += 1;
            pthread_mutex_lock(&mutex);
            if (pthread_cond_timedwait(&never, &mutex, &until) != ETIMEDOUT) return 2;
            until.tv_sec += 1;
            if (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, 0)) return 3;
            clock_gettime(CLOCK_MONOTONIC, &end);
            double took = end.tv_sec - begin.tv_sec + (end.tv_nsec - begin.tv_nsec) / 1e9;
            return took > 1.9 && took < 10 ? 0 : 4;
        }"#;
    let program = compiled(&under, source);
    assert_eq!(under.run(&[&program]).status.code(), Some(0));
}

#[test]
fn a_limit_of_cpu_holds_without_a_control_group() {
    if !can("cpu_limit") {
        return;
    }
    let order =
        r#"{"conditions": [{"condition": "cpu_limit", "cores": 0.2}], "fallback": ["cpu_limit"]}"#;
    let under = Under::new(order);
    let source = r#"
        #include <time.h>
        #include <stdio.h>
        int main(void) {
            struct timespec now; double cpu, wall, begin = 0;
            do {
                for (volatile int i = 0; i < 100000; i++);
                clock_gettime(CLOCK_MONOTONIC, &now);
                wall = now.tv_sec + now.tv_nsec / 1e9;
                if (begin == 0) begin = wall;
                clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
                cpu = now.tv_sec + now.tv_nsec / 1e9;
            } while (wall - begin < 1.5);
            printf("%f\n", cpu / (wall - begin));
            return 0;
        }"#;
    let program = compiled(&under, source);
    let text = lines(&under.run(&[&program]).stdout);
    let share: f64 = text[0].parse().expect("a number");
    assert!(share < 0.3, "{share}");
}

#[test]
fn a_race_shows_that_hardly_ever_does() {
    if !can("schedule") {
        return;
    }
    // A thread that is waited for by sleeping 5 ms, which is enough in 99 of 100 runs.
    let racy = example("racy");
    let racy = racy.to_str().expect("UTF-8");
    let fails = (0..30).filter(|seed| {
        let under = conditions(&format!(r#"{{"condition": "schedule", "seed": {seed}}}"#));
        under.run(&[racy, "sleep_wait"]).status.code() == Some(1)
    });
    let fails = fails.count();
    assert!(fails >= 4, "{fails} of 30");
}

#[test]
fn a_window_of_a_few_instructions_is_reached() {
    if !can("schedule") {
        return;
    }
    // References are counted in two steps: of two that are given up at the same time one is not counted.
    let source = r#"
        #include <pthread.h>
        #include <stdio.h>
        static volatile int references = 3, freed;
        static void *give_up(void *unused) {
            char text[32];
            int left = references - 1;
            snprintf(text, sizeof text, "%d are left", left);
            references = left;
            if (left == 0) freed++;
            return unused;
        }
        int main(void) {
            pthread_t threads[3];
            for (int i = 0; i < 3; i++) pthread_create(&threads[i], 0, give_up, 0);
            for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
            return freed != 1;
        }"#;
    let built = Under::new("{}");
    let program = compiled(&built, source);
    let mut fails = 0;
    for seed in 0..30 {
        let under = conditions(&format!(r#"{{"condition": "schedule", "seed": {seed}}}"#));
        fails += u32::from(under.run(&[&program]).status.code() == Some(1));
    }
    assert!(fails >= 4, "{fails} of 30");
}

#[test]
fn threads_that_do_everything_rightly_do_under_disturbance_too() {
    if !can("schedule") {
        return;
    }
    let source = include_str!("programs/correct.c");
    let built = Under::new("{}");
    let program = compiled(&built, source);
    let mut turns = 0;
    for seed in 0..8 {
        let under = conditions(&format!(r#"{{"condition": "schedule", "seed": {seed}}}"#));
        let output = under.run(&[&program]);
        assert_eq!(output.status.code(), Some(0), "seed {seed}: {output:?}");
        turns += under.report().done.turns;
    }
    assert!(turns > 100, "{turns}");
}

#[test]
fn each_copy_has_a_seed_of_its_own() {
    if !can("seed") {
        return;
    }
    // The first copy is as the program alone would be, and each writes what it was given.
    let script = "echo $PYTHONHASHSEED >> seeds";
    let order = |copies: u32| {
        let under = Under::new(&format!(
            r#"{{"conditions": [{{"condition": "seed", "seed": 7}}, {{"condition": "copies", "count": {copies}}}]}}"#
        ));
        assert_eq!(under.shell(script).status.code(), Some(0));
        let mut seeds = lines(&std::fs::read(under.path("seeds")).expect("written"));
        seeds.sort();
        seeds
    };
    assert_eq!(order(1), ["8"]);
    assert_eq!(order(3), ["10", "8", "9"]);
}
