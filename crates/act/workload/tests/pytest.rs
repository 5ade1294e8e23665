//! The pytest adapter against real Python and real pytest: a small blocking hub drives collector and
//! workers, and what they report is compared with a plain pytest run of the same suite.
//!
//! Needs an interpreter that has pytest: `COHORT_TEST_PYTHON`, else `python3`. Without one each test
//! says so and leaves itself out.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use cohort_model::ThreadId;
use cohort_workload::environment;
use cohort_workload::pytest::protocol::{
    Collected, Ended, Fork, FromPython, Lines, Outcome, Role, ToPython,
};
use cohort_workload::pytest::{Anew, Pytest, Start};
use cohort_workload::{Launch, pytest};

/// Longer than any message takes to come, even on a crowded machine.
const PATIENCE: Duration = Duration::from_secs(120);
const TOKEN: &str = "a token";

/// An interpreter that has pytest.
fn python() -> Option<String> {
    let python = std::env::var("COHORT_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python)
        .args(["-m", "pytest", "--version"])
        .output();
    if has.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!(
        "LEFT OUT: `{python}` has no pytest; set COHORT_TEST_PYTHON to an interpreter that has"
    );
    None
}

/// A connection of a collector or a worker.
struct Peer {
    stream: UnixStream,
    /// The worker's number; none: the collector.
    worker: Option<u32>,
    running: Option<(ThreadId, String)>,
    next: Option<String>,
}

enum Event {
    Message(usize, UnixStream, FromPython),
    Closed(usize),
}

/// How the hub of a test behaves.
#[derive(Clone, Copy)]
struct How {
    workers: u32,
    fresh: bool,
}

/// What came of one test.
#[derive(Clone, Debug, PartialEq)]
enum Came {
    Ended(Box<Ended>),
    Died,
}

/// A hub that runs every test in order on a few workers.
struct Hub {
    dir: tempfile::TempDir,
    pytest: Pytest,
    plugin_dir: PathBuf,
    events: Receiver<Event>,
    peers: BTreeMap<usize, Peer>,
    children: Vec<Child>,
    how: How,
    queue: VecDeque<String>,
    threads: u32,
    workers: u32,
    came: BTreeMap<String, Came>,
    /// Ids in the order they ended.
    order: Vec<String>,
    exits: Vec<(u32, Option<i32>, Option<i32>)>,
}

fn spawn(launch: &Launch, stdout: &Path, stderr: &Path) -> Child {
    let open = |path| {
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap()
    };
    Command::new(&launch.program)
        .args(&launch.args)
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&launch.cwd)
        .stdin(Stdio::null())
        .stdout(open(stdout))
        .stderr(open(stderr))
        .spawn()
        .unwrap()
}

fn listen(listener: UnixListener, events: Sender<Event>) {
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (stream, events) = (stream.unwrap(), events.clone());
            thread::spawn(move || {
                let (mut lines, mut bytes, mut read) = (
                    Lines::default(),
                    vec![0; 65536],
                    stream.try_clone().unwrap(),
                );
                while let Ok(count @ 1..) = read.read(&mut bytes) {
                    lines.push(&bytes[..count]);
                    while let Some(message) = lines.take().unwrap() {
                        let _ = events.send(Event::Message(
                            number,
                            stream.try_clone().unwrap(),
                            message,
                        ));
                    }
                }
                let _ = events.send(Event::Closed(number));
            });
        }
    });
}

impl Hub {
    /// Starts the collector of the suite in `root`; its list, or how it ended.
    fn start(
        root: &Path,
        command: &[String],
        how: How,
    ) -> (Self, Result<Collected, pytest::Error>) {
        let dir = tempfile::tempdir().unwrap();
        let plugin_dir = Pytest::plugin_write(dir.path()).unwrap();
        let (sender, events) = channel();
        listen(UnixListener::bind(dir.path().join("s")).unwrap(), sender);
        let mut env = environment::own();
        env.retain(|name, _| name != "COHORT_TEST_PYTHON" && name != "PYTHONPATH");
        let pytest = Pytest::new(root.to_owned(), command, env).unwrap();
        let mut hub = Hub {
            dir,
            pytest,
            plugin_dir,
            events,
            peers: BTreeMap::new(),
            children: Vec::new(),
            how,
            queue: VecDeque::new(),
            threads: 0,
            workers: 0,
            came: BTreeMap::new(),
            order: Vec::new(),
            exits: Vec::new(),
        };
        let tmpdir = hub.make_dir("collector");
        let launch = hub
            .pytest
            .collector_launch(&hub.start_of(&tmpdir, &hub.socket()));
        let child = spawn(
            &launch,
            &hub.path("collector.out"),
            &hub.path("collector.err"),
        );
        hub.children.push(child);
        let collected = hub.collected();
        (hub, collected)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("s")
    }

    fn make_dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn start_of<'a>(&'a self, tmpdir: &'a Path, socket: &'a Path) -> Start<'a> {
        Start {
            socket,
            token: TOKEN,
            plugin_dir: &self.plugin_dir,
            tmpdir,
        }
    }

    fn collected(&mut self) -> Result<Collected, pytest::Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut found = None;
        loop {
            match self.events.recv_timeout(Duration::from_millis(20)) {
                Ok(Event::Message(number, stream, FromPython::Hello(hello))) => {
                    assert_eq!((hello.role, hello.token.as_str()), (Role::Collector, TOKEN));
                    self.peers.insert(
                        number,
                        Peer {
                            stream,
                            worker: None,
                            running: None,
                            next: None,
                        },
                    );
                }
                Ok(Event::Message(_, _, FromPython::Collected(collected))) => {
                    if !collected.stopped && !collected.tests.is_empty() {
                        return Ok(collected);
                    }
                    found = Some(collected);
                }
                _ => {}
            }
            if let Some(status) = self.children[0].try_wait().unwrap() {
                if let Some(collected) = &found {
                    assert!(collected.stopped || collected.tests.is_empty());
                }
                let read = |name| fs::read(self.path(name)).unwrap();
                let (stdout, stderr) = (read("collector.out"), read("collector.err"));
                return Err(pytest::Error::of_collector(
                    status.code(),
                    None,
                    &stdout,
                    &stderr,
                ));
            }
            assert!(Instant::now() < deadline, "no list came");
        }
    }

    fn collector(&mut self) -> &mut Peer {
        self.peers
            .values_mut()
            .find(|peer| peer.worker.is_none())
            .unwrap()
    }

    fn launch_worker(&mut self) {
        let worker = self.workers;
        self.workers += 1;
        let tmpdir = self.make_dir(&format!("w{worker}/tmp"));
        let basetemp = self.path(&format!("w{worker}/pytest"));
        let outputs = ["out", "err"].map(|name| self.path(&format!("w{worker}.{name}")));
        if self.how.fresh {
            let anew = Anew {
                worker,
                basetemp: &basetemp,
                seed: None,
                reports_all: false,
            };
            let launch = self
                .pytest
                .worker_launch(&self.start_of(&tmpdir, &self.socket()), &anew);
            self.children.push(spawn(&launch, &outputs[0], &outputs[1]));
            return;
        }
        let [stdout, stderr] = outputs;
        let procs = self.path(&format!("w{worker}.procs"));
        let fork = Fork {
            worker,
            workers: self.how.workers,
            procs_files: vec![procs],
            env: [(
                "TMPDIR".to_owned(),
                Some(tmpdir.to_str().unwrap().to_owned()),
            )]
            .into(),
            basetemp,
            stdout: Some(stdout),
            stderr: Some(stderr),
            token: Some(format!("token of {worker}")),
        };
        self.collector().send(&ToPython::Fork(fork));
    }

    /// Runs `ids` in order; returns when all ended and all workers are gone.
    fn run(&mut self, ids: &[&str]) {
        self.queue = ids.iter().map(|id| (*id).to_owned()).collect();
        for _ in 0..self.how.workers {
            self.launch_worker();
        }
        let mut open = self.how.workers;
        while open > 0 {
            match self
                .events
                .recv_timeout(PATIENCE)
                .expect("nothing comes any more")
            {
                Event::Message(number, stream, message) => self.on_message(number, stream, message),
                Event::Closed(number) => {
                    let peer = self.peers.remove(&number).expect("it said hello");
                    assert!(peer.worker.is_some(), "the collector is gone");
                    open -= 1;
                    if let Some((_, id)) = peer.running {
                        self.came.insert(id.clone(), Came::Died);
                        self.order.push(id);
                    }
                    self.queue.extend(peer.next.clone());
                    self.queue.rotate_right(usize::from(peer.next.is_some()));
                    if !self.queue.is_empty() && open < self.how.workers {
                        self.launch_worker();
                        open += 1;
                    }
                }
            }
        }
    }

    fn on_message(&mut self, number: usize, stream: UnixStream, message: FromPython) {
        match message {
            FromPython::Hello(hello) => {
                let worker = hello.worker.unwrap();
                let token = if self.how.fresh {
                    TOKEN.to_owned()
                } else {
                    format!("token of {worker}")
                };
                assert_eq!((hello.role, hello.token), (Role::Worker, token));
                self.peers.insert(
                    number,
                    Peer {
                        stream,
                        worker: Some(worker),
                        running: None,
                        next: None,
                    },
                );
            }
            FromPython::Ready { .. } => self.give(number),
            FromPython::Yielded { thread } => {
                let next = self.queue.pop_front();
                let peer = self.peers.get_mut(&number).unwrap();
                assert_eq!(peer.running.as_ref().map(|running| running.0), Some(thread));
                assert_eq!(peer.next, None, "one yielded for one test");
                peer.next.clone_from(&next);
                peer.send(&ToPython::Next { thread, id: next });
            }
            FromPython::Ended(ended) => {
                let peer = self.peers.get_mut(&number).unwrap();
                let (thread, id) = peer.running.take().unwrap();
                assert_eq!(ended.thread, thread);
                if let Some(next) = peer.next.take() {
                    self.queue.push_front(next);
                }
                let last = ended.last;
                self.came.insert(id.clone(), Came::Ended(Box::new(ended)));
                self.order.push(id);
                if !last {
                    self.give(number);
                }
            }
            FromPython::WorkerExited {
                worker,
                code,
                signal,
            } => self.exits.push((worker, code, signal)),
            FromPython::Collected(_) => panic!("a second list"),
        }
    }

    fn give(&mut self, number: usize) {
        let thread = ThreadId(self.threads);
        self.threads += 1;
        let id = self.queue.pop_front();
        let peer = self.peers.get_mut(&number).unwrap();
        match id {
            Some(id) => {
                peer.send(&ToPython::Run {
                    thread,
                    id: id.clone(),
                });
                peer.running = Some((thread, id));
            }
            None => peer.send(&ToPython::Finish {}),
        }
    }

    fn ended(&self, id: &str) -> &Ended {
        match &self.came[id] {
            Came::Ended(ended) => ended,
            Came::Died => panic!("{id} died"),
        }
    }

    /// Waits for the exits of all forked workers.
    fn wait_exits(&mut self) {
        while self.exits.len() < self.workers as usize {
            if let Event::Message(number, stream, message) =
                self.events.recv_timeout(PATIENCE).unwrap()
            {
                self.on_message(number, stream, message);
            }
        }
    }
}

impl Peer {
    /// A peer that is gone is noticed by its `Closed`.
    fn send(&mut self, message: &ToPython) {
        let _ = self.stream.write_all(&message.encode().unwrap());
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.peers.clear();
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn suite(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(
        root.path().join("pytest.ini"),
        "[pytest]\naddopts = -p no:cacheprovider\n",
    )
    .unwrap();
    for (name, text) in files {
        fs::write(root.path().join(name), text).unwrap();
    }
    root
}

fn command(python: &str, more: &[&str]) -> Vec<String> {
    // Whatever plugins the interpreter has, order and seed are pytest's own.
    let words = [python, "-m", "pytest", "-p", "no:randomly"];
    words
        .iter()
        .chain(more)
        .map(|word| (*word).to_owned())
        .collect()
}

fn ids(collected: &Collected) -> Vec<&str> {
    collected
        .tests
        .iter()
        .map(|test| test.id.as_str())
        .collect()
}

const EVERY_OUTCOME: &str = r#"
import os, sys, socket, json, time, unittest, tempfile
import pytest

def test_pass():
    print("printed"); print("told", file=sys.stderr)
def test_fail():
    print("printed before")
    left = [1, 2, 3]
    assert left == [1, 2, 4], "lists differ"
@pytest.mark.skip(reason="not now")
def test_skip(): pass
def test_skip_inside(): pytest.skip("only now known")
@pytest.mark.xfail(reason="known")
def test_xfail(): assert 0
@pytest.mark.xfail
def test_xpass(): pass
@pytest.mark.xfail(strict=True)
def test_xpass_strict(): pass
@pytest.fixture
def broken(): raise RuntimeError("set-up broke")
@pytest.fixture
def breaks():
    yield
    raise RuntimeError("clean-up broke")
def test_setup_error(broken): pass
def test_teardown_error(breaks): pass
def test_both(breaks): assert False, "first"
@pytest.mark.parametrize("x", ["a\nb", "q'\"", "ü☃", "\ud800", "", "same", "same"])
def test_ids(x): pass
def test_closes(): os.closerange(100, 256)
def test_patches(monkeypatch):
    for module, name in ((socket, "socket"), (json, "dumps"), (time, "perf_counter_ns"), (os, "write"), (os, "read"), (os, "getpid")):
        monkeypatch.setattr(module, name, None)
def test_forks():
    child = os.fork()
    if child == 0:
        raise ValueError("in the child")
    os.waitpid(child, 0)
def test_streams(): sys.stdout = sys.stderr = None
def test_cwd(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)
def test_environ():
    assert not [name for name in os.environ if name.startswith("COHORT_")]
    assert "PYTHONPATH" not in os.environ
class TestUnit(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.x = 1
    def test_a(self): self.assertEqual(self.x, 1)
    def test_b(self): self.assertEqual(self.x, 2)
    @unittest.skip("unit")
    def test_c(self): pass
def double(x):
    """
    >>> double(2)
    4
    >>> double(3)
    7
    """
    return 2 * x
"#;

/// In a plain run, writes what pytest reported: id -> [categories, texts].
const WITNESS: &str = r#"
import json, os
seen = {}
def pytest_runtest_logreport(report):
    categories, texts = seen.setdefault(report.nodeid, [[], []])
    if report.failed:
        categories.append("failed" if report.when == "call" else "error"); texts.append(report.longreprtext)
    elif report.skipped:
        categories.append("xfailed" if hasattr(report, "wasxfail") else "skipped")
    elif report.when == "call":
        categories.append("xpassed" if hasattr(report, "wasxfail") else "passed")
def pytest_sessionfinish():
    with open(os.environ["WITNESS"], "w") as file: json.dump(seen, file)
"#;

/// What plain pytest says of each test: its outcome and the texts of its failures.
fn plain(python: &str, root: &Path, more: &[&str]) -> BTreeMap<String, (String, Vec<String>)> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("witness.py"), WITNESS).unwrap();
    let command = command(python, &[&["-p", "witness"], more].concat());
    let output = Command::new(&command[0])
        .args(&command[1..])
        .current_dir(root)
        .env("PYTHONPATH", dir.path())
        .env_remove("COHORT_TEST_PYTHON")
        .env("WITNESS", dir.path().join("seen"))
        .output()
        .unwrap();
    let seen = fs::read(dir.path().join("seen"))
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stdout)));
    let seen: BTreeMap<String, (Vec<String>, Vec<String>)> = serde_json::from_slice(&seen).unwrap();
    let weight = ["failed", "error", "xpassed", "xfailed", "passed", "skipped"];
    seen.into_iter()
        .map(|(id, (categories, texts))| {
            let outcome = weight
                .iter()
                .find(|one| categories.iter().any(|category| category == *one));
            (id, ((*outcome.unwrap()).to_owned(), texts))
        })
        .collect()
}

fn outcome_word(outcome: Outcome) -> String {
    serde_json::to_value(outcome)
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

fn every_outcome_as_plain(how: How) {
    let Some(python) = python() else { return };
    let root = suite(&[("test_every.py", EVERY_OUTCOME)]);
    // Left out of the plain run: a forked child would go on with it, and its witness needs PYTHONPATH.
    let expected = plain(
        &python,
        root.path(),
        &["--doctest-modules", "-k", "not forks and not environ"],
    );
    let command = command(&python, &["--doctest-modules"]);
    let (mut hub, collected) = Hub::start(root.path(), &command, how);
    let collected = collected.unwrap();
    assert_eq!(collected.why_not, None);
    hub.run(&ids(&collected));
    for name in ["forks", "environ"] {
        let ended = hub.ended(&format!("test_every.py::test_{name}"));
        assert_eq!(ended.outcome, Outcome::Passed, "{ended:?}");
    }
    assert_eq!(hub.came.len(), expected.len() + 2);
    for (id, (outcome, texts)) in &expected {
        let ended = hub.ended(id);
        assert_eq!(&outcome_word(ended.outcome), outcome, "{id}: {ended:?}");
        for text in texts {
            assert!(
                ended.text.contains(text.as_str()),
                "{id}: expected\n{text}\ngot\n{}",
                ended.text
            );
        }
        assert_eq!(ended.text.is_empty(), texts.is_empty(), "{id}: {ended:?}");
    }
    let passed = hub.ended("test_every.py::test_pass").clone();
    let (end, output) = pytest::end(passed);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("printed\n", "told\n")
    );
    assert!(
        end.usage.wall_us > 0 && end.usage.memory_peak > 1 << 20,
        "{end:?}"
    );
    let failed = hub.ended("test_every.py::test_fail");
    assert_eq!(
        failed.message.as_deref(),
        Some("AssertionError: lists differ")
    );
    if !how.fresh {
        hub.wait_exits();
        assert!(
            hub.exits
                .iter()
                .all(|exit| (exit.1, exit.2) == (Some(0), None)),
            "{:?}",
            hub.exits
        );
        assert_eq!(fs::read_to_string(hub.path("w0.procs")).unwrap(), "0");
    }
}

#[test]
fn forked_workers_report_what_plain_pytest_reports() {
    every_outcome_as_plain(How {
        workers: 2,
        fresh: false,
    });
}

#[test]
fn fresh_workers_report_what_plain_pytest_reports() {
    every_outcome_as_plain(How {
        workers: 2,
        fresh: true,
    });
}

#[test]
fn a_worker_that_dies_takes_the_blame_to_its_test_alone() {
    let Some(python) = python() else { return };
    let text = "import os, signal\n\
        def test_a(): pass\n\
        def test_exit(): os._exit(3)\n\
        def test_b(): pass\n\
        def test_kill(): os.kill(os.getpid(), signal.SIGKILL)\n\
        def test_c(): pass\n";
    let root = suite(&[("test_dies.py", text)]);
    for fresh in [false, true] {
        let how = How { workers: 1, fresh };
        let (mut hub, collected) = Hub::start(root.path(), &command(&python, &[]), how);
        hub.run(&ids(&collected.unwrap()));
        for (name, dies) in [
            ("a", false),
            ("exit", true),
            ("b", false),
            ("kill", true),
            ("c", false),
        ] {
            let came = &hub.came[&format!("test_dies.py::test_{name}")];
            assert_eq!(*came == Came::Died, dies, "{name}");
        }
        if !fresh {
            hub.wait_exits();
            assert_eq!(
                hub.exits,
                [(0, Some(3), None), (1, None, Some(9)), (2, Some(0), None)]
            );
        }
    }
}

const SESSION: &str = r#"
import pytest
def note(text):
    with open("notes", "a") as file: file.write(text + "\n")
@pytest.fixture(scope="session", autouse=True)
def whole():
    note("session up"); yield; note("session down")
"#;

const SHARED: &str = r#"
import pytest
from conftest import note
@pytest.fixture(scope="module")
def shared(request):
    note("up " + request.module.__name__); yield; note("down " + request.module.__name__)
def test_1(shared): note("1")
def test_2(shared): note("2")
"#;

#[test]
fn shared_fixtures_are_set_up_once_while_the_order_allows() {
    let Some(python) = python() else { return };
    let root = suite(&[
        ("conftest.py", SESSION),
        ("test_m.py", SHARED),
        ("test_n.py", SHARED),
    ]);
    let notes = root.path().join("notes");
    let how = How {
        workers: 1,
        fresh: false,
    };
    let run = |order: &[&str]| {
        let _ = fs::remove_file(&notes);
        let (mut hub, _) = Hub::start(root.path(), &command(&python, &[]), how);
        hub.run(order);
        assert_eq!(hub.order, order);
        assert!(
            hub.came
                .values()
                .all(|came| matches!(came, Came::Ended(end) if end.outcome == Outcome::Passed))
        );
        fs::read_to_string(&notes)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        run(&["test_m.py::test_1", "test_m.py::test_2"]),
        [
            "session up",
            "up test_m",
            "1",
            "2",
            "down test_m",
            "session down"
        ]
    );
    let mixed = run(&[
        "test_m.py::test_1",
        "test_n.py::test_1",
        "test_m.py::test_2",
    ]);
    let count = |line: &str| mixed.iter().filter(|one| *one == line).count();
    assert_eq!(
        (
            count("up test_m"),
            count("down test_m"),
            count("session up")
        ),
        (2, 2, 1),
        "{mixed:?}"
    );
    assert_eq!(mixed.last().map(String::as_str), Some("session down"));
}

const PRINTS: &str = r#"
import logging, time, warnings, pytest
warnings.simplefilter("error")
# Holds the stream that was there while this file was collected.
logging.basicConfig(level=logging.INFO)
@pytest.mark.parametrize("n", range(20))
def test(n, tmp_path):
    for k in range(50):
        print("test %d" % n)
        time.sleep(0.0005)
    assert "/w" in str(tmp_path)
"#;

#[test]
fn forked_workers_share_no_captured_output() {
    let Some(python) = python() else { return };
    let root = suite(&[("test_prints.py", PRINTS)]);
    let how = How {
        workers: 3,
        fresh: false,
    };
    let (mut hub, collected) = Hub::start(
        root.path(),
        &command(&python, &["-p", "no:asyncio", "-W", "error"]),
        how,
    );
    let collected = collected.unwrap();
    hub.run(&ids(&collected));
    for number in 0..20 {
        let ended = hub
            .ended(&format!("test_prints.py::test[{number}]"))
            .clone();
        assert_eq!(ended.outcome, Outcome::Passed, "{}", ended.text);
        assert_eq!(
            pytest::end(ended).1.stdout,
            format!("test {number}\n").repeat(50)
        );
    }
}

/// Whether the process runs: a zombie that nobody waits for does not.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with('Z'))
}

#[test]
fn nothing_is_left_when_the_hub_is_gone() {
    let Some(python) = python() else { return };
    let root = suite(&[("test_x.py", "import time\ndef test(): time.sleep(600)\n")]);
    let how = How {
        workers: 1,
        fresh: false,
    };
    let (mut hub, collected) = Hub::start(root.path(), &command(&python, &[]), how);
    collected.unwrap();
    hub.launch_worker();
    hub.launch_worker();
    hub.queue.push_back("test_x.py::test".to_owned());
    let mut pids = vec![hub.children[0].id()];
    let mut ready = 0;
    while ready < 2 {
        match hub.events.recv_timeout(PATIENCE).unwrap() {
            // One is left without a test, the other in the middle of one.
            Event::Message(_, _, FromPython::Ready { .. }) if ready == 1 => ready += 1,
            Event::Message(number, stream, message) => {
                ready += u32::from(matches!(message, FromPython::Ready { .. }));
                if let FromPython::Hello(hello) = &message {
                    pids.push(hello.pid);
                }
                hub.on_message(number, stream, message);
            }
            Event::Closed(_) => panic!("a process ended"),
        }
    }
    for peer in hub.peers.values() {
        peer.stream.shutdown(std::net::Shutdown::Both).unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while pids.iter().any(|pid| is_alive(*pid)) {
        assert!(Instant::now() < deadline, "still there: {pids:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_cannot_be_run_ends_in_pytests_own_words() {
    let Some(python) = python() else { return };
    let root = suite(&[
        ("test_bad.py", "import nothing_of_this_name\n"),
        ("test_good.py", "def test(): pass\n"),
    ]);
    let how = How {
        workers: 1,
        fresh: false,
    };
    for (more, code, words) in [
        (&[][..], 2, "nothing_of_this_name"),
        (&["--no-such-option"], 4, "--no-such-option"),
        (&["no_such_file.py"], 4, "no_such_file.py"),
        (&["test_good.py", "-k", "absent"], 5, "1 deselected"),
    ] {
        let (_hub, collected) = Hub::start(root.path(), &command(&python, more), how);
        let error = collected.expect_err("nothing can be run");
        assert_eq!(error.exit_code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let (mut hub, collected) = Hub::start(
        root.path(),
        &command(&python, &["--continue-on-collection-errors"]),
        how,
    );
    let collected = collected.unwrap();
    assert_eq!(collected.errors.len(), 1);
    hub.run(&ids(&collected));
    assert_eq!(hub.ended("test_good.py::test").outcome, Outcome::Passed);
}

#[test]
fn what_forks_would_share_keeps_them_from_being_forked() {
    let Some(python) = python() else { return };
    for (text, why) in [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
            "threads",
        ),
        (
            "import tempfile\nD = tempfile.mkdtemp()\n",
            "temporary directory",
        ),
        ("import socket\nS = socket.socket()\n", "sockets"),
        (
            "import os\nN = os.environ.get('PYTEST_XDIST_WORKER', 'master')\n",
            "PYTEST_XDIST_WORKER",
        ),
        (
            "import subprocess\nP = subprocess.Popen(['sleep', '60'])\n",
            "processes",
        ),
    ] {
        let root = suite(&[("conftest.py", text), ("test_x.py", "def test(): pass\n")]);
        let how = How {
            workers: 1,
            fresh: true,
        };
        let (mut hub, collected) = Hub::start(root.path(), &command(&python, &[]), how);
        let collected = collected.unwrap();
        assert!(!collected.forkable);
        assert!(
            collected.why_not.as_deref().unwrap().contains(why),
            "{collected:?}"
        );
        hub.run(&ids(&collected));
        assert_eq!(hub.ended("test_x.py::test").outcome, Outcome::Passed);
    }
}

#[test]
fn a_list_that_changed_is_noticed() {
    let Some(python) = python() else { return };
    let root = suite(&[("test_x.py", "def test_a(): pass\ndef test_b(): pass\n")]);
    let how = How {
        workers: 1,
        fresh: true,
    };
    let (mut hub, collected) = Hub::start(root.path(), &command(&python, &[]), how);
    fs::write(
        root.path().join("test_x.py"),
        "def test_a(): pass\n# shorter\n",
    )
    .unwrap();
    hub.run(&ids(&collected.unwrap()));
    assert_eq!(hub.ended("test_x.py::test_a").outcome, Outcome::Passed);
    let gone = hub.ended("test_x.py::test_b");
    assert_eq!(gone.outcome, Outcome::Failed);
    assert!(
        gone.message
            .as_deref()
            .unwrap()
            .starts_with("test list changed"),
        "{gone:?}"
    );
}

#[test]
fn two_thousand_tests_cost_no_more_than_in_plain_pytest() {
    let Some(python) = python() else { return };
    let body: String = (0..100)
        .map(|n| format!("def test_{n}(): pass\n"))
        .collect();
    let names: Vec<String> = (0..20).map(|n| format!("test_{n}.py")).collect();
    let files: Vec<(&str, &str)> = names
        .iter()
        .map(|name| (name.as_str(), body.as_str()))
        .collect();
    let root = suite(&files);
    let start = Instant::now();
    let expected = plain(&python, root.path(), &["-q"]);
    let plain_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let how = How {
        workers: 1,
        fresh: false,
    };
    let (mut hub, collected) = Hub::start(root.path(), &command(&python, &[]), how);
    hub.run(&ids(&collected.unwrap()));
    let cohort_s = start.elapsed().as_secs_f64();
    assert_eq!((hub.came.len(), expected.len()), (2000, 2000));
    let per_test_ms = cohort_s / 2.0;
    println!(
        "2,000 tests: plain {plain_s:.2} s, one warm worker {cohort_s:.2} s ({per_test_ms:.2} ms a test)"
    );
    // Far above what is measured (0.5 to 1 times), below what a lost round trip or timer would cost.
    assert!(
        cohort_s < plain_s * 3.0 + 2.0,
        "{cohort_s} s against {plain_s} s"
    );
}
