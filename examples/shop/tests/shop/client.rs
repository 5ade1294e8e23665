//! A shop that runs for one test, and someone who calls it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One running server with a data folder of its own.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    data: tempfile::TempDir,
}

impl Server {
    /// With these defects, and ready.
    pub(crate) fn start(defects: &str) -> Server {
        Server::start_on(tempfile::tempdir().expect("a folder"), defects)
    }

    /// A healthy one on the same data, after this one ended.
    pub(crate) fn start_again(mut self) -> Server {
        self.kill();
        let data = std::mem::replace(&mut self.data, tempfile::tempdir().expect("a folder"));
        Server::start_on(data, "")
    }

    fn start_on(data: tempfile::TempDir, defects: &str) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shop"))
            .args(["--host", "127.0.0.1", "--port", "0", "--data"])
            .arg(data.path())
            .arg("--access-log")
            .arg(data.path().join("access.log"))
            .env("SHOP_DEFECTS", defects)
            .stderr(Stdio::piped())
            .spawn()
            .expect("shop starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let listening = lines
            .by_ref()
            .map(|line| line.expect("text"))
            .find_map(|line| {
                let address = line.split_once("listening on ")?.1.to_string();
                address.rsplit(':').next()?.parse().ok()
            });
        // Whatever else it says is for a person who looks at a failed test.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| println!("{line}"));
        });
        Server {
            child,
            port: listening.expect("it listens"),
            data,
        }
    }

    pub(crate) fn access_log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("access.log")).expect("an access log")
    }

    /// A file of its data.
    pub(crate) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.data.path().join(name)).expect("a file")
    }

    /// Sockets of its own that listen (state 0A of proc(5)).
    pub(crate) fn listeners(&self) -> usize {
        let held = std::fs::read_dir(self.proc().join("fd")).expect("a process");
        let held = held.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let held: Vec<String> = held.map(|it| it.display().to_string()).collect();
        let table = std::fs::read_to_string(self.proc().join("net/tcp")).expect("a table");
        let listening = table.lines().filter(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(3) == Some(&"0A")
                && held.contains(&format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
        });
        listening.count()
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc().join("fd"))
            .expect("a process")
            .count()
    }

    /// Memory of its own that is resident, bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(self.proc().join("status")).expect("a process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .expect("a line");
        let kib: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number");
        kib * 1024
    }

    fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .arg(id)
                .status()
                .expect("kill")
                .success()
        );
        self.wait()
    }

    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }
}

/// Someone with a connection that is kept, and a cookie.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    pub(crate) cookie: String,
}

impl Client {
    pub(crate) fn new(server: &Server) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
        stream.set_nodelay(true).expect("TCP");
        stream.set_read_timeout(Some(PATIENCE)).expect("TCP");
        Client {
            stream: BufReader::new(stream),
            cookie: String::new(),
        }
    }

    /// Logged in.
    pub(crate) fn customer(server: &Server, number: u32) -> Client {
        let mut client = Client::new(server);
        let body = format!(r#"{{"customer":"customer-{number}","password":"open-{number}"}}"#);
        let answer = client.post("/login", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer
            .head
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "));
        client.cookie = cookie
            .and_then(|c| c.split(';').next())
            .expect("a cookie")
            .to_string();
        client
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.call("GET", path, "").expect("an answer")
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> Answer {
        self.call("POST", path, body).expect("an answer")
    }

    /// An error when the server went away.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
        let begin = Instant::now();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: shop\r\nCookie: {}\r\nX-Request-Id: test\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.cookie,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut text = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
        self.stream.read_exact(&mut text)?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Ok(Answer {
            status: status.expect("a status"),
            head,
            text: String::from_utf8(text).expect("text"),
            took: begin.elapsed(),
        })
    }

    /// Puts one product into the cart.
    pub(crate) fn add(&mut self, product: u32, quantity: u32) -> Answer {
        self.post(
            "/cart/items",
            &format!(r#"{{"product":{product},"quantity":{quantity}}}"#),
        )
    }

    /// From an empty cart to an order; gives its number.
    pub(crate) fn buy(&mut self, product: u32) -> u64 {
        assert_eq!(self.add(product, 2).status, 201);
        let answer = self.post("/checkout", "{}");
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["order"].as_u64().expect("a number")
    }
}
