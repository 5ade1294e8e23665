//! A hub for tests: real servers, real instances.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cohort_model::{InstanceId, Share};
use cohort_service::{Error, Event, Instance, Instances, Isolated, Settings, Spec, What};
use tokio::sync::mpsc;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(2 * DEADLINE, test)
            .await
            .expect("in time")
    })
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says that a test is left out, where it needs root.
pub(crate) fn needs_root(what: &str) -> bool {
    if !is_root() {
        eprintln!("LEFT OUT: {what}: needs root");
    }
    is_root()
}

pub(crate) fn share() -> Share {
    Share {
        cores: 2.0,
        memory: 512 << 20,
        network: None,
    }
}

pub(crate) fn spec(command: &[&str]) -> Spec {
    let words = command.iter().map(|word| (*word).to_owned()).collect();
    let mut spec = Spec::new(words, PathBuf::from("/"));
    spec.network = Isolated::Never;
    spec.ready_within = Duration::from_secs(20);
    spec.restart.pause = Duration::from_millis(1);
    spec
}

pub(crate) fn python(script: &str) -> Spec {
    spec(&["python3", "-u", "-c", script])
}

/// A web server in a few lines: answers, and dies or leaks on request.
pub(crate) const SERVER: &str = r#"
import http.server, os, sys, signal
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/die": os._exit(3)
        if self.path == "/kill": os.kill(os.getpid(), signal.SIGSEGV)
        if self.path == "/raise": raise ValueError("asked for")
        body = b"x" * int(self.path[len("/bytes/"):]) if self.path.startswith("/bytes/") else b"hello"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        left = int(self.headers["Content-Length"])
        while left > 0: left -= len(self.rfile.read(min(left, 65536)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"#;

pub(crate) fn server() -> Spec {
    spec(&["python3", "-u", "-c", SERVER, "{host}", "{port}"])
}

pub(crate) struct Hub {
    pub(crate) instances: Instances,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) logs: tempfile::TempDir,
    pub(crate) seen: Vec<Event>,
}

pub(crate) fn settings(spec: Spec, instances: usize, logs: &Path) -> Settings {
    Settings {
        spec,
        instances,
        executable: env!("CARGO_BIN_EXE_service-init").into(),
        init_arguments: Vec::new(),
        logs: logs.to_owned(),
        temp_dir: std::env::temp_dir(),
        cpus: Vec::new(),
    }
}

impl Hub {
    pub(crate) async fn try_open(spec: Spec, instances: usize) -> Result<Self, Error> {
        let logs = tempfile::tempdir().unwrap();
        let (tell, events) = mpsc::channel(64);
        let instances = Instances::open(settings(spec, instances, logs.path()), tell).await?;
        Ok(Self {
            instances,
            events,
            logs,
            seen: Vec::new(),
        })
    }

    pub(crate) async fn open(spec: Spec) -> Self {
        Self::try_open(spec, 1).await.unwrap()
    }

    pub(crate) async fn make(&mut self, number: u32) -> Instance {
        let id = InstanceId(number);
        self.instances.make(id, share()).await.unwrap()
    }

    /// An instance that is started and ready.
    pub(crate) async fn ready(&mut self, number: u32) -> (Instance, SocketAddr) {
        let instance = self.make(number).await;
        instance.start().await.unwrap();
        let address = self
            .until(|event| match &event.what {
                What::Ready { address, .. } if event.instance.0 == number => Some(*address),
                What::NeverReady { reason } => panic!("{reason}"),
                _ => None,
            })
            .await;
        (instance, address)
    }

    /// The first event from now on of which there is something to be had.
    pub(crate) async fn until<T>(&mut self, mut found: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            let event = tokio::time::timeout(DEADLINE, self.events.recv()).await;
            let Ok(Some(event)) = event else {
                panic!("no such event; seen: {:#?}", self.seen);
            };
            let result = found(&event);
            self.seen.push(event);
            if let Some(result) = result {
                return result;
            }
        }
    }

    pub(crate) async fn never_ready(&mut self) -> String {
        self.until(|event| match &event.what {
            What::NeverReady { reason } => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn given_up(&mut self) -> String {
        self.until(|event| match &event.what {
            What::GivenUp { reason } => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    /// Ends it, and sees to it that nothing is left.
    pub(crate) async fn close(self) {
        let scratch = self.instances.scratch().to_owned();
        assert!(scratch.exists());
        assert_eq!(self.instances.close().await, Vec::<String>::new());
        assert!(!scratch.exists());
    }
}

/// GET, on a connection of its own; gives the body.
pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let head = head.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok(answer.split_off(head + 4))
}

pub(crate) async fn get_later(address: SocketAddr, path: &'static str) -> std::io::Result<Vec<u8>> {
    tokio::task::spawn_blocking(move || get(address, path))
        .await
        .unwrap()
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    cohort_host::process::stat(Path::new("/"), pid).is_some_and(|stat| !stat.is_dead())
}
