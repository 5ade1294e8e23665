//! False findings: services in which nothing is wrong, under load for `--minutes`. The healthy shop;
//! nginx and redis-server from Debian, installed by this benchmark where that is permitted.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::row::{Row, Target};
use super::Bench;
use super::campaign::{self, Campaign, Found};
use crate::error::Error;
use crate::run;

/// For `[sut]`, before `[scenario]`.
const NGINX: &str = r#"[sut]
command = ["nginx", "-p", "{scratch}", "-c", "CONF", "-e", "stderr", "-g", "daemon off;"]
port = 8080
ready = { http = "/" }
stop = { signal = "QUIT" }

[scenario]
script = "nginx.js"
base_url = "http://localhost:8080"
"#;

/// One worker, all files below its scratch folder, which is where it is started (`-p`).
const NGINX_CONF: &str = r"worker_processes 1;
pid nginx.pid;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {
    listen 8080;
    root SITE;
    location = /status { stub_status; }
  }
}
";

const NGINX_SCRIPT: &str = "\
import http from 'k6/http';
import { check, sleep } from 'k6';

export const options = { vus: 10, duration: __ENV.DURATION };

const PAGES = ['/', '/small.txt', '/large.txt', '/status'];

export default function () {
  const page = PAGES[Math.floor(Math.random() * PAGES.length)];
  const answer = http.get(`http://localhost:8080${page}`);
  check(answer, { 'it is there': (r) => r.status === 200 });
  sleep(0.02 + 0.1 * Math.random());
}
";

const REDIS: &str = r#"[sut]
command = ["redis-server", "--port", "{port}", "--dir", "{scratch}", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]
ready = { tcp = true }

[scenario]
driver = ["python3", "DRIVE"]
vus = 6
"#;

/// A visitor for a few seconds at a time: sets, gets, counts and lists over keys that are bounded. It
/// speaks the protocol itself, so that nothing needs to be installed.
const REDIS_DRIVER: &str = r#"import os, random, socket, time

link = socket.create_connection((os.environ["COHORT_HOST"], int(os.environ["COHORT_PORT"])))
lines = link.makefile("rb")


def ask(*words):
    parts = [str(word).encode() for word in words]
    head = b"*%d\r\n" % len(parts)
    link.sendall(head + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
    return answer()


def answer():
    line = lines.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"$":
        return None if rest == b"-1" else lines.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return [answer() for _ in range(int(rest))]
    if kind == b":":
        return int(rest)
    assert kind == b"+", line
    return rest


end = time.monotonic() + 5
while time.monotonic() < end:
    key = "key:%d" % random.randrange(1000)
    value = "%d" % random.randrange(10**9) * 8
    assert ask("SET", key, value) == b"OK"
    assert ask("GET", key) is not None
    assert ask("INCR", "count") > 0
    ask("LPUSH", "list", value)
    ask("LTRIM", "list", 0, 99)
    assert len(ask("LRANGE", "list", 0, 9)) <= 10
    time.sleep(0.005 * random.random())
"#;

/// The healthy shop.
pub(super) fn shop(bench: &Bench) -> Result<Vec<Row>, Error> {
    let lasts = lasts(bench);
    let project = bench.work.join("quiet-shop");
    campaign::write_shop(&project, "", Duration::ZERO, lasts)?;
    Ok(vec![row(bench, "the healthy shop", &project)?])
}

/// nginx.
pub(super) fn nginx(bench: &Bench) -> Result<Vec<Row>, Error> {
    install("nginx-core", "nginx")?;
    let project = absolute(bench.work.join("quiet-nginx"));
    let (conf, site) = (project.join("nginx.conf"), project.join("site"));
    let toml = NGINX.replace("CONF", &conf.to_string_lossy());
    let seconds = lasts(bench).as_secs();
    let toml = format!("{toml}env = {{ DURATION = \"{seconds}s\" }}\n");
    run::write(&project.join("cohort.toml"), &toml)?;
    run::write(&conf, &NGINX_CONF.replace("SITE", &site.to_string_lossy()))?;
    run::write(&project.join("nginx.js"), NGINX_SCRIPT)?;
    run::write(&site.join("index.html"), "<h1>Hello</h1>\n")?;
    run::write(&site.join("small.txt"), &"small ".repeat(100))?;
    run::write(&site.join("large.txt"), &"large ".repeat(20_000))?;
    Ok(vec![row(bench, "nginx", &project)?])
}

/// redis-server.
pub(super) fn redis(bench: &Bench) -> Result<Vec<Row>, Error> {
    install("redis-server", "redis-server")?;
    let project = absolute(bench.work.join("quiet-redis"));
    let drive = project.join("drive.py");
    run::write(&drive, REDIS_DRIVER)?;
    let toml = REDIS.replace("DRIVE", &drive.to_string_lossy());
    let seconds = lasts(bench).as_secs();
    let toml = format!("{toml}duration = \"{seconds}s\"\n");
    run::write(&project.join("cohort.toml"), &toml)?;
    Ok(vec![row(bench, "redis-server", &project)?])
}

fn lasts(bench: &Bench) -> Duration {
    Duration::from_secs(60 * bench.options.minutes)
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// One campaign; every fault that it tells is false.
fn row(bench: &Bench, name: &str, project: &Path) -> Result<Row, Error> {
    let lasts = lasts(bench);
    let logs = bench
        .work
        .join("logs")
        .join(format!("quiet-{}", name.replace(' ', "-")));
    let campaign = Campaign {
        project,
        flags: Vec::new(),
        lasts,
        logs,
    };
    let seen = campaign.run(&bench.cohort()?)?;
    let faults: Vec<&Found> = seen
        .findings
        .values()
        .filter(|found| found.is_fault())
        .collect();
    for found in &faults {
        eprintln!(
            "  {} at {:.0} s: {}",
            found.kind, found.at_s, found.sentence
        );
    }
    eprintln!("  {name}: {} iterations", seen.iterations);
    if seen.iterations == 0 {
        return Err(Error::Missing(format!("{name} was not driven at all")));
    }
    let row = format!("false findings in {} min, {name}", bench.options.minutes);
    Ok(Row::new(
        row,
        "findings",
        &[faults.len() as f64],
        Target::AtMost(0.0),
    ))
}

/// Installs a package of Debian's when its program is missing. Nothing of it is started.
fn install(package: &str, program: &str) -> Result<(), Error> {
    let is_there = || {
        let mut shell = Command::new("sh");
        let found = shell.args(["-c", "command -v \"$0\"", program]).output();
        found.is_ok_and(|found| found.status.success())
    };
    if is_there() {
        return Ok(());
    }
    eprintln!("  installing {package}");
    // A package's own service is not to run beside the benchmark: policy-rc.d tells Debian's scripts so.
    let script = "set -e; export DEBIAN_FRONTEND=noninteractive; policy=/usr/sbin/policy-rc.d; \
                  if [ ! -e $policy ]; then printf '#!/bin/sh\\nexit 101\\n' > $policy; chmod +x $policy; \
                  trap 'rm -f '$policy EXIT; fi; \
                  apt-get install --yes --quiet --no-install-recommends \"$0\"";
    run::output(Command::new("sh").args(["-c", script, package]))?;
    if is_there() {
        return Ok(());
    }
    let why = format!("{program} is not on PATH, though {package} is installed");
    Err(Error::Missing(why))
}
