//! Requests and responses as they cross between a machine and whoever sends them.

use serde::{Deserialize, Serialize};

/// Microseconds until a request is given up when the script says nothing: k6's 60 s.
pub const TIMEOUT_US: u64 = 60_000_000;

/// One HTTP exchange that is wanted.
///
/// The built-in metrics `http_reqs`, `http_req_duration`, `http_req_blocked`, ..., `http_req_failed`, `data_sent` and
/// `data_received` are *not* among a machine's notes: whoever sends the request has all that is needed for them, here
/// (`tags`, `name`, `group`, `expected`) and in the [`Outcome`], and so no note crosses ten times for each request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Absolute URL, without user, password and fragment.
    pub url: String,
    /// Headers in the order they are to be sent, `Cookie` and `Authorization` included; `Host` only when the script sets it,
    /// `Content-Length` never.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// Microseconds from the beginning until the last byte of the response must have arrived.
    pub timeout_us: u64,
    /// What the script wants of the body. For `None` the bytes are read from the connection and thrown away: the body of
    /// the response is left empty.
    pub response_type: ResponseType,
    /// Which statuses are no failure.
    pub expected: Expected,
    /// The script's own `name` tag, or else the URL as it was written (with `` http.url`...` ``: with `${}` for what was filled in).
    pub name: String,
    /// Whether the script set the name itself, rather than its being the URL.
    pub named: bool,
    /// Group the request belongs to, as k6 writes it: empty, or `::checkout::pay`.
    pub group: String,
    /// All other tags of the script: of the request, the virtual user and the scenario.
    pub tags: Vec<(String, String)>,
}

/// What a script wants of a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponseType {
    /// A string.
    Text,
    /// An `ArrayBuffer`.
    Binary,
    /// Nothing: it need not be kept.
    None,
}

/// Which responses count as expected: the tag `expected_response` and the metric `http_req_failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expected {
    /// Those with a status in one of the ranges, both ends included.
    Statuses(Vec<(u16, u16)>),
    /// Nobody judges (`responseCallback: null`): neither tag nor metric.
    Unjudged,
}

impl Default for Expected {
    fn default() -> Self {
        Self::Statuses(vec![(200, 399)])
    }
}

impl Expected {
    /// Whether a status is expected; `None` when nobody judges. A transport error has status 0.
    pub fn judge(&self, status: u16) -> Option<bool> {
        match self {
            Self::Statuses(ranges) => Some(
                ranges
                    .iter()
                    .any(|&(low, high)| (low..=high).contains(&status)),
            ),
            Self::Unjudged => None,
        }
    }
}

/// What came of a request.
pub type Outcome = Result<Response, TransportError>;

/// A response that arrived whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// Status code, 100 to 599.
    pub status: u16,
    /// Protocol as k6 writes it: `HTTP/1.1`, `HTTP/2.0`.
    pub proto: String,
    /// Headers as they came, repeated ones repeated.
    pub headers: Vec<(String, String)>,
    /// The body as it came: compressed bodies are unpacked by the machine, when the script looks.
    pub body: Vec<u8>,
    /// How long each part took.
    pub timings: Timings,
    /// Address of the peer; empty when unknown.
    pub remote_ip: String,
    /// Port of the peer.
    pub remote_port: u16,
}

/// Durations of one exchange in microseconds; `duration` of k6 is sending + waiting + receiving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// Waiting for a free connection.
    pub blocked_us: u64,
    /// Connecting.
    pub connecting_us: u64,
    /// TLS handshake.
    pub tls_us: u64,
    /// Sending the request.
    pub sending_us: u64,
    /// Until the first byte of the response.
    pub waiting_us: u64,
    /// From the first to the last byte of the response.
    pub receiving_us: u64,
}

impl Timings {
    /// Sending, waiting and receiving together, in microseconds.
    pub fn duration_us(&self) -> u64 {
        self.sending_us + self.waiting_us + self.receiving_us
    }
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransportError {
    /// k6's number for it; see [`error_code`].
    pub code: u16,
    /// In words (`Response.error`).
    pub message: String,
    /// How far it came.
    pub timings: Timings,
}

/// k6's numbers for what can go wrong with a request (`Response.error_code`).
pub mod error_code {
    /// Anything without a number of its own.
    pub const GENERIC: u16 = 1000;
    /// A network error that is not TCP's.
    pub const NON_TCP_NETWORK: u16 = 1010;
    /// The URL is no URL.
    pub const INVALID_URL: u16 = 1020;
    /// The request took longer than its timeout.
    pub const REQUEST_TIMEOUT: u16 = 1050;
    /// Name resolution failed.
    pub const DNS: u16 = 1100;
    /// The name has no address.
    pub const DNS_NO_SUCH_HOST: u16 = 1101;
    /// TCP, without a number of its own.
    pub const TCP: u16 = 1200;
    /// The connection was closed while sending.
    pub const TCP_BROKEN_PIPE: u16 = 1201;
    /// Connecting failed.
    pub const TCP_DIAL: u16 = 1210;
    /// Connecting took too long.
    pub const TCP_DIAL_TIMEOUT: u16 = 1211;
    /// Nobody listens there.
    pub const TCP_DIAL_REFUSED: u16 = 1212;
    /// The peer reset the connection.
    pub const TCP_RESET_BY_PEER: u16 = 1220;
    /// TLS, without a number of its own.
    pub const TLS: u16 = 1300;
    /// The certificate's authority is unknown.
    pub const X509_UNKNOWN_AUTHORITY: u16 = 1310;
    /// The certificate is for another name.
    pub const X509_HOSTNAME: u16 = 1311;
    /// HTTP/2, without a number of its own.
    pub const HTTP2: u16 = 1600;
    /// A compressed body could not be unpacked.
    pub const DECOMPRESSION: u16 = 1701;
}
