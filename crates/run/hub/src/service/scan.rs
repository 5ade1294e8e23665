//! What a helper that looks for weaknesses is told: where the server is, what was declared of it, and what it was asked.
//!
//! The requests are those that are shown as the slowest of each endpoint in each second: some of every endpoint, for nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use cohort_agent::protocol::SlowCall;
use cohort_scan::{Example, Plan};

use super::shell::Hub;

/// Of each endpoint.
const OF_ENDPOINT_MAX: usize = 3;
/// Endpoints.
const ENDPOINTS_MAX: usize = 500;
/// A body as long as this was cut, bytes.
const CUT_BYTES: usize = 1 << 10;
/// How long all requests may take together, milliseconds.
const FOR_MS: u64 = 15_000;

/// What was declared of a server, and what its weaknesses are looked up in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceScan {
    /// Ports beside its own that it may listen on.
    pub listens: Vec<u16>,
    /// Addresses that it may connect to: `10.0.0.7`, `10.0.0.7:5432`, `:5432`.
    pub connects: Vec<String>,
    /// Sent with each request, such as who asks.
    pub headers: Vec<(String, String)>,
    /// A file or directory of advisories (OSV, RustSec).
    pub advisories: Option<PathBuf>,
    /// Directories in which its lock files are.
    pub roots: Vec<PathBuf>,
}

/// What endpoints were asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    of_endpoint: BTreeMap<String, Vec<Example>>,
    count: u32,
}

impl Asked {
    pub(crate) fn add(&mut self, calls: &[SlowCall]) {
        for call in calls {
            if call.status == 0 || call.body.len() >= CUT_BYTES {
                continue;
            }
            let known = self.of_endpoint.len();
            if known >= ENDPOINTS_MAX && !self.of_endpoint.contains_key(&call.endpoint) {
                continue;
            }
            let of = self.of_endpoint.entry(call.endpoint.clone()).or_default();
            let path = path(&call.url);
            let body = String::from_utf8_lossy(&call.body).into_owned();
            let alike = |one: &Example| one.path == path && one.body == body;
            if of.len() < OF_ENDPOINT_MAX && !of.iter().any(alike) {
                self.count += 1;
                of.push(Example {
                    endpoint: call.endpoint.clone(),
                    method: method(&call.endpoint, &body),
                    path,
                    body,
                    order: self.count,
                    status: call.status,
                });
            }
        }
    }
}

/// Path and query of a script's address.
fn path(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    path.split('#').next().unwrap_or("/").to_owned()
}

/// The method, by the name of its endpoint, which begins with it unless the script named it otherwise.
fn method(endpoint: &str, body: &str) -> String {
    let first = endpoint.split(' ').next().unwrap_or_default();
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    match (known.contains(&first), body.is_empty()) {
        (true, _) => first.to_owned(),
        (false, true) => "GET".to_owned(),
        (false, false) => "POST".to_owned(),
    }
}

impl Hub {
    pub(crate) fn scan_plan(&self, pid: i32, address: SocketAddr) -> Plan {
        let helpers = self.setup.helpers.as_ref();
        let scan = helpers.and_then(|it| it.scan.clone()).unwrap_or_default();
        let mut examples: Vec<Example> =
            self.asked.of_endpoint.values().flatten().cloned().collect();
        examples.sort_by_key(|one| one.order);
        Plan {
            pid,
            host: address.ip().to_string(),
            port: address.port(),
            tls: self.setup.sut.tls,
            own_network: self.setup.sut.own_network,
            listens: scan.listens,
            connects: scan.connects,
            headers: scan.headers,
            advisories: scan.advisories,
            roots: scan.roots,
            examples,
            for_ms: FOR_MS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_script_become_paths_and_names_give_methods() {
        assert_eq!(path("http://localhost:8080/a?b=c#d"), "/a?b=c");
        assert_eq!(path("https://sut.test"), "/");
        assert_eq!(path("/a"), "/a");
        assert_eq!(method("DELETE /cart", ""), "DELETE");
        assert_eq!(method("one item", ""), "GET");
        assert_eq!(method("buy", "{}"), "POST");
    }
}
