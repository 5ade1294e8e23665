//! What an agent is told once, before it runs anything.

use std::path::PathBuf;

use cohort_scenario::Bundle;
use serde::{Deserialize, Serialize};

/// The script and everything about the campaign that does not change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The scripts; `None` when only driver programs run.
    pub bundle: Option<Bundle>,
    /// Number of this agent among all, from 0.
    pub agent: u32,
    /// How many agents there are.
    pub agents: u32,
    /// The monotonic clock of this host at the start of the campaign, nanoseconds: the zero of every
    /// [`cohort_model::At`] in both directions.
    pub start_monotonic_ns: u64,
    /// The wall clock at the same moment, milliseconds since 1970.
    pub start_wall_ms: u64,
    /// An existing directory for the threads' journals; the agent makes one file a thread in it.
    pub journal_directory: PathBuf,
    /// The largest journal of one thread, bytes. Beyond it the thread can no longer leave its agent.
    pub journal_bytes_max: u64,
    /// Seed of the campaign.
    pub seed: u64,
    /// How requests are made.
    pub http: HttpSettings,
    /// Metrics that are counted apart (from thresholds: `http_req_duration{status:200}`).
    pub submetrics: Vec<Submetric>,
    /// What goes odd is told at once, and recordings are kept in a form in which iterations can be played again.
    pub cases: bool,
    /// Iterations of the script may know of earlier ones.
    pub remembers: bool,
    /// Longest time a script may compute without asking for anything, microseconds: beyond it it is
    /// an endless loop and its iteration is interrupted.
    pub compute_us_max: u64,
}

/// How requests are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpSettings {
    /// Urls that begin with one of these origins (`http://localhost:8080`) go to the thread's instance.
    pub base_urls: Vec<String>,
    /// Other hosts that may be called: `name`, `name:port`, or `*.name`.
    pub hosts_allowed: Vec<String>,
    /// Certificates are not checked (k6: `insecureSkipTLSVerify`).
    pub insecure: bool,
    /// Those of instances are not: they cannot know the addresses that they are given.
    pub insecure_instances: bool,
    /// HTTP/2 is offered over TLS.
    pub http2: bool,
    /// `User-Agent` unless the script sets one.
    pub user_agent: String,
    /// Requests of one `http.batch`.
    pub batch: BatchLimits,
    /// The largest response body, bytes as it came. Beyond it the request fails.
    pub body_bytes_max: u64,
    /// What the instance is told in `Host`.
    pub host_header: HostHeader,
    /// A new connection for every request (k6: `noConnectionReuse`).
    pub no_connection_reuse: bool,
    /// A new connection for every iteration (k6: `noVUConnectionReuse`).
    pub no_thread_connection_reuse: bool,
    /// Requests a second by all agents together (k6: `rps`); `None` for no limit.
    pub requests_per_s: Option<u64>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            base_urls: Vec::new(),
            hosts_allowed: Vec::new(),
            insecure: false,
            insecure_instances: false,
            http2: true,
            user_agent: concat!("cohort/", env!("CARGO_PKG_VERSION")).to_owned(),
            batch: BatchLimits::default(),
            body_bytes_max: 32 << 20,
            host_header: HostHeader::Instance,
            no_connection_reuse: false,
            no_thread_connection_reuse: false,
            requests_per_s: None,
        }
    }
}

/// What the instance is told in `Host`, unless the script sets the header itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostHeader {
    /// Its own address.
    #[default]
    Instance,
    /// The host of the url in the script.
    Script,
}

/// Requests of one `http.batch` at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchLimits {
    /// In all (k6: `batch`, 20).
    pub total: u32,
    /// To one host (k6: `batchPerHost`, 6).
    pub per_host: u32,
}

impl Default for BatchLimits {
    fn default() -> Self {
        BatchLimits {
            total: 20,
            per_host: 6,
        }
    }
}

/// A metric that is counted apart: the samples of `metric` that carry all of `tags`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submetric {
    /// What it is called, as in the thresholds: `http_req_duration{status:200}`.
    pub name: String,
    /// The metric it is part of: `http_req_duration`.
    pub metric: String,
    /// Tag and value.
    pub tags: Vec<(String, String)>,
}

/// Where an instance listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// Over TLS.
    pub tls: bool,
    /// Name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}
