//! Helpers that look where a running server's time goes: their commands, as their manifests have them, at real servers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cohort_helper::reading::{Found, Profile, Taken, Weight, compared, pprof, read};
use cohort_helper::{Reads, Values, fill};

/// How long they look, seconds.
const SECONDS: u64 = 2;

/// A server, until it is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
        said.read_line(&mut line).expect("it says its port");
        let port = line.trim().parse().expect("a port");
        Self { child, port }
    }

    fn compiled(directory: &Path) -> Self {
        let program = directory.join("server");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-g", "-pthread", "-o"]);
        let built = compiler
            .arg(&program)
            .arg(source)
            .status()
            .expect("a compiler");
        assert!(built.success());
        Self::start(Command::new(program))
    }

    /// What is found while somebody calls these, each over and over on a connection of its own.
    fn looked_at(
        &self,
        directory: &Path,
        (manifest, reads): (&str, Reads),
        calls: &[&str],
    ) -> Found {
        let manifest: toml::Table = manifest.parse().expect("a manifest");
        let command = manifest["command"].as_array().expect("a command").iter();
        let command = command.map(|it| it.as_str().expect("a word"));
        let stop = AtomicBool::new(false);
        let values = Values {
            pid: self.child.id().cast_signed(),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            out: directory.display().to_string(),
            seconds: SECONDS,
        };
        let words: Vec<String> = command.map(|it| fill(it, &values)).collect();
        let output = std::thread::scope(|scope| {
            for path in calls {
                scope.spawn(|| call(self.port, path, &stop));
            }
            let output = Command::new(&words[0]).args(&words[1..]).output();
            stop.store(true, Ordering::Relaxed);
            output.expect("it runs")
        });
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaints}");
        let printed = String::from_utf8_lossy(&output.stdout);
        read(reads, &printed, "server").unwrap_or_else(|error| panic!("{error}: {complaints}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

fn call(port: u16, path: &str, stop: &AtomicBool) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let asked = format!("GET {path} HTTP/1.1\r\nHost: server\r\n\r\n");
    let mut answer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(asked.as_bytes()).expect("it listens");
        assert!(stream.read(&mut answer).expect("it answers") > 0);
        // As users do; and others are to get some of the CPU too.
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn sentences(found: &Found) -> Vec<&str> {
    found.told.iter().map(|it| it.sentence.as_str()).collect()
}

/// Whether a command succeeds; says so when a test has to be left out.
fn works(words: &[&str]) -> bool {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let works = output.is_ok_and(|it| it.status.success());
    if !works {
        eprintln!("LEFT OUT: `{}` does not work here", words.join(" "));
    }
    works
}

const PROFILER: (&str, Reads) = (include_str!("../manifests/profiler.toml"), Reads::Perf);

#[test]
fn the_profile_of_one_that_burns_is_compared_and_kept_for_pprof() {
    if !works(&["perf", "--version"]) || !works(&["cc", "--version"]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::compiled(directory.path());
    let burns = server.looked_at(directory.path(), PROFILER, &["/burn"]);
    let said = sentences(&burns);
    let burn = said
        .iter()
        .find(|it| it.contains(" % of the CPU time goes to `count_slowly ("));
    assert!(
        burn.is_some_and(|it| it.contains("server.c:") && it.contains("called by `answer`")),
        "{said:?}"
    );
    let left = ["perf.data", "warnings", "files"].map(|it| directory.path().join(it));
    assert!(left.iter().all(|it| !it.exists()), "nothing is left");

    // The same server, asked for something else.
    let well = server.looked_at(directory.path(), PROFILER, &["/other"]);
    let (here, there) = (
        burns.profile.expect("stacks"),
        well.profile.expect("stacks"),
    );
    let told = compared(Reads::Perf, (&here, &there), "server", "i1").expect("it differs");
    assert!(
        told.sentence.starts_with("`count_slowly (")
            && told.sentence.contains(" % of the CPU time here, 0 % on i1"),
        "{told:?}"
    );
    assert_eq!(told.function.as_deref(), Some("count_slowly"));

    let weight = Weight {
        kind: "cpu",
        unit: "nanoseconds",
        each: 10_101_000,
    };
    let file = pprof(&here, weight, Taken::default());
    let mut unpacked = Vec::new();
    let mut packed = flate2::read::GzDecoder::new(file.as_slice());
    packed.read_to_end(&mut unpacked).expect("gzip");
    let has = |text: &str| unpacked.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(has("count_slowly") && has("server.c") && has("nanoseconds"));
}

#[test]
fn where_threads_wait_is_named_with_what_for() {
    let tracing = [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "mount",
        "-t",
        "tracefs",
        "none",
        "/sys/kernel/tracing",
    ];
    if !works(&["perf", "--version"]) || !works(&["cc", "--version"]) || !works(&tracing) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::compiled(directory.path());
    let command = (include_str!("../manifests/waits.toml"), Reads::Switches);
    let found = server.looked_at(directory.path(), command, &["/pay", "/elsewhere"]);
    let said = sentences(&found);
    let has = |does: &str, function: &str| {
        said.iter()
            .any(|it| it.starts_with(does) && it.contains(function))
    };
    assert!(
        has("Threads sleep ", " ms of each second in `pay ("),
        "{said:?}"
    );
    assert!(
        has("Threads wait for a process ", " in `ask_elsewhere ("),
        "{said:?}"
    );
    let folded = found.profile.expect("stacks").folded();
    assert!(
        folded.contains(";[sleep] ") && !folded.contains("accept"),
        "{folded}"
    );
}

/// A server of Python, and its py-spy.
fn python() -> Option<(Server, String)> {
    let python = std::env::var_os("COHORT_TEST_PYTHON").map(PathBuf::from);
    let Some(python) = python else {
        eprintln!(
            "LEFT OUT: COHORT_TEST_PYTHON names no Python with py-spy; `cargo xtask test` does"
        );
        return None;
    };
    let spy = python.with_file_name("py-spy").display().to_string();
    let mut command = Command::new(&python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server.py"));
    Some((Server::start(command), spy))
}

#[test]
fn where_calls_of_python_wait_is_named() {
    let Some((server, spy)) = python() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let manifest = include_str!("../manifests/python-waits.toml");
    let manifest = manifest.replace("py-spy record", &format!("{spy} record"));
    let found = server.looked_at(directory.path(), (&manifest, Reads::Waited), &["/pay", "/"]);
    let said = sentences(&found);
    assert!(
        said[0].contains("running or waiting, goes to `pay (") && said[0].contains("server.py:"),
        "{said:?}"
    );
    assert!(said[0].contains("do_GET`"), "{said:?}");
}

#[test]
fn where_threads_of_python_stand_that_do_not_go_on_is_named() {
    let Some((server, spy)) = python() else {
        return;
    };
    // One has the lock, and two wait for it; nobody is answered.
    let asked = "GET /buy HTTP/1.1\r\nHost: server\r\n\r\n";
    let callers: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
            stream.write_all(asked.as_bytes()).expect("it listens");
            stream
        })
        .collect();
    let directory = tempfile::tempdir().expect("a directory");
    let manifest = include_str!("../manifests/python-debugger.toml");
    let manifest = manifest.replace("py-spy dump", &format!("{spy} dump"));
    let found = server.looked_at(directory.path(), (&manifest, Reads::Dumps), &[]);
    let said = sentences(&found);
    let wanted = "In 3 of 3 looks 3 threads stand in `buy (";
    assert!(said[0].starts_with(wanted), "{said:?}");
    assert!(said[0].contains("do_GET`"), "{said:?}");
    drop(callers);
}

#[test]
fn who_opens_in_python_what_stays_open_is_named() {
    if !works(&["gdb", "--version"]) {
        return;
    }
    let Some((server, _)) = python() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let helper = (
        include_str!("../manifests/python-descriptors.toml"),
        Reads::Stays,
    );
    let found = server.looked_at(directory.path(), helper, &["/open", "/"]);
    let said = sentences(&found);
    assert!(
        said[0].contains(" % of what stays open or goes on, ") && said[0].contains("`remember ("),
        "{said:?}"
    );
}

#[test]
fn calls_that_fail_and_files_that_are_opened_often_are_told() {
    if !works(&["strace", "-V"]) || !works(&["cc", "--version"]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::compiled(directory.path());
    let tracer = (include_str!("../manifests/tracer.toml"), Reads::Calls);
    let found = server.looked_at(directory.path(), tracer, &["/nobody", "/look"]);
    let told = sentences(&found).join("\n");
    assert!(
        told.contains("`connect` of 127.0.0.1:1 fails with ECONNREFUSED, "),
        "{told}"
    );
    assert!(told.contains("It opens files in /etc "), "{told}");
    assert!(!directory.path().join("calls").exists(), "it is printed");
    let files = Profile::folded(&found.profile.expect("of what is called"));
    assert!(files.contains("/etc/hostname;openat "), "{files}");
}
