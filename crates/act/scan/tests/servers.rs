//! Servers that do harm to who looks at them, and what is told of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cohort_scan::{Example, Plan, look};

/// A server that answers every connection so, in a thread that ends with the test.
fn server(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.expect("a connection"), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut asked = [0; 8 << 10];
                let count = stream.read(&mut asked).unwrap_or(0);
                answer(&String::from_utf8_lossy(&asked[..count]), &mut stream);
            });
        }
    });
    address
}

/// The path of a request.
fn path(asked: &str) -> &str {
    asked.split(' ').nth(1).unwrap_or_default()
}

fn say(stream: &mut TcpStream, head: &str, body: &str) {
    let text = format!(
        "HTTP/1.1 {head}\r\nX-Content-Type-Options: nosniff\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // Who asks may have gone.
    let _ = stream.write_all(text.as_bytes());
}

fn plan(address: SocketAddr, paths: &[&str]) -> Plan {
    let examples = paths.iter().zip(0..).map(|(path, order)| Example {
        endpoint: format!("GET {}", path.split('?').next().unwrap_or(path)),
        method: "GET".to_owned(),
        path: (*path).to_owned(),
        body: String::new(),
        order,
        status: 200,
    });
    Plan {
        // What the test itself listens on is no matter of these tests.
        pid: 0,
        host: address.ip().to_string(),
        port: address.port(),
        examples: examples.collect(),
        for_ms: 10_000,
        ..Plan::default()
    }
}

fn rules(plan: &Plan) -> Vec<String> {
    look(plan).into_iter().map(|it| it.rule).collect()
}

#[test]
fn a_redirect_is_told_and_never_followed() {
    let followed = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&followed);
    let other = server(move |_, stream| {
        seen.fetch_add(1, Ordering::SeqCst);
        say(stream, "200 OK", "elsewhere");
    });
    let address = server(move |asked, stream| {
        let to = path(asked).split_once("to=").map_or("", |(_, to)| to);
        let to = to.replace("%3A", ":").replace("%2F", "/");
        let to = match to.as_str() {
            "" | "/" => format!("http://{other}/"),
            to => to.to_owned(),
        };
        say(stream, &format!("302 Found\r\nLocation: {to}"), "");
    });
    assert_eq!(
        rules(&plan(address, &["/go?to=/", "/old"])),
        ["open-redirect"]
    );
    assert_eq!(followed.load(Ordering::SeqCst), 0);
}

#[test]
fn one_that_never_answers_is_left_alone_soon() {
    let address = server(|_, stream| {
        // Until who asked goes.
        let _ = stream.read(&mut [0; 1]);
    });
    let paths = ["/a?x=1", "/b?x=1", "/c?x=1", "/d?x=1", "/e?x=1", "/f?x=1"];
    let began = Instant::now();
    assert_eq!(rules(&plan(address, &paths)), [""; 0]);
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn one_that_answers_without_end_is_cut_off() {
    let address = server(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\n\r\n");
        while stream.write_all(&[b'x'; 64 << 10]).is_ok() {}
    });
    let began = Instant::now();
    assert_eq!(rules(&plan(address, &["/a?x=1"])), [""; 0]);
    assert!(
        began.elapsed() < Duration::from_secs(11),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn one_that_talks_nonsense_is_passed_over() {
    for nonsense in [
        "",
        "\0\0\0",
        "SSH-2.0-x\r\n",
        "HTTP/1.1 soon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let address = server(move |_, stream| {
            let _ = stream.write_all(nonsense.as_bytes());
        });
        assert_eq!(rules(&plan(address, &["/a?x=1"])), [""; 0], "{nonsense:?}");
    }
}

#[test]
fn a_query_made_of_its_input_is_found_by_conditions_alone() {
    let address = server(|asked, stream| {
        let query = path(asked).split_once("q=").map_or("", |(_, query)| query);
        let query = query
            .replace("%27", "'")
            .replace("%20", " ")
            .replace("%3D", "=");
        // As a database would: no row where the condition fails, and an error without words where there is none.
        let (status, body) = match query.as_str() {
            "tea" | "tea' AND '7'='7" => ("200 OK", "[\"tea\"]"),
            "tea' AND '7'='8" => ("200 OK", "[]"),
            _ => ("500 Internal Server Error", "{}"),
        };
        say(stream, status, body);
    });
    assert_eq!(rules(&plan(address, &["/find?q=tea"])), ["sql-injection"]);
}

#[test]
fn a_search_that_finds_nothing_for_odd_questions_is_no_weakness() {
    let address = server(|asked, stream| {
        let found = path(asked).ends_with("q=tea");
        say(stream, "200 OK", if found { "[\"tea\"]" } else { "[]" });
    });
    assert_eq!(rules(&plan(address, &["/find?q=tea"])), [""; 0]);
}

#[test]
fn a_page_that_repeats_what_it_escapes_is_no_weakness() {
    let address = server(|asked, stream| {
        let page = format!("<p>no {}</p>", path(asked));
        let head = "404 Not Found\r\nContent-Type: text/html";
        say(stream, head, &page);
    });
    assert_eq!(rules(&plan(address, &["/a?x=1"])), [""; 0]);
}

#[test]
fn who_has_to_show_a_token_gets_it_from_the_answer_that_gave_it() {
    let address = server(|asked, stream| {
        let given = asked.contains("Authorization: Bearer abc.7");
        let declared = asked.contains("X-Team: red");
        match path(asked) {
            "/login" => say(stream, "200 OK", "{\"access_token\": \"abc.7\"}"),
            _ if !(given && declared) => say(stream, "401 Unauthorized", ""),
            path if path.contains("%27") => {
                say(
                    stream,
                    "500 Oops",
                    "Traceback (most recent call last):\n  File \"app.py\", line 3, in find\n",
                );
            }
            _ => say(stream, "200 OK", "[]"),
        }
    });
    let mut plan = plan(address, &["/login", "/find?q=tea"]);
    plan.headers = vec![("X-Team".to_owned(), "red".to_owned())];
    assert!(rules(&plan).contains(&"verbose-error".to_owned()));
}

#[test]
fn one_that_ends_on_what_it_is_asked_is_named() {
    const SERVER: &str = "
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if '%27' in self.path:
            os._exit(1)
        self.send_response(200)
        self.send_header('X-Content-Type-Options', 'nosniff')
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *words):
        pass
server = HTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
";
    let started = Command::new("python3")
        .args(["-c", SERVER])
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        eprintln!("LEFT OUT: no python3");
        return;
    };
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
    said.read_line(&mut line).expect("its port");
    let port = line.trim().parse().expect("a port");
    let mut plan = plan(SocketAddr::from(([127, 0, 0, 1], port)), &["/find?q=tea"]);
    plan.pid = child.id().cast_signed();
    // It is there until its end is waited for.
    let waits = std::thread::spawn(move || child.wait());
    let rules = rules(&plan);
    assert!(rules.contains(&"ends-on-input".to_owned()), "{rules:?}");
    let _ = waits.join();
}
