//! Why a request got no answer, in k6's numbers and words.

use std::error::Error as StdError;
use std::io;

use cohort_scenario::error_code as code;

use crate::protocol::TransportError;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// For the windows.
    pub(crate) kind: TransportError,
    /// k6's number, for the script.
    pub(crate) code: u16,
    /// In words, for the script and the report.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: TransportError, code: u16, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            code,
            message: message.into(),
        }
    }

    /// Nothing was sent: the request makes no sense or is not allowed.
    pub(crate) fn refused(message: impl Into<String>) -> Failure {
        Failure::new(TransportError::Refused, code::GENERIC, message)
    }

    /// It may have been sent by an agent that died before the answer came.
    pub(crate) fn agent_died() -> Failure {
        Failure::new(
            TransportError::AgentDied,
            code::GENERIC,
            "its agent died: the request may have been sent, and is not sent again",
        )
    }

    pub(crate) fn timeout() -> Failure {
        Failure::new(
            TransportError::Timeout,
            code::REQUEST_TIMEOUT,
            "request timeout",
        )
    }

    /// Connecting over TCP.
    pub(super) fn connecting(error: &io::Error) -> Failure {
        let (code, message) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (
                code::TCP_DIAL_REFUSED,
                "dial: connection refused".to_owned(),
            ),
            io::ErrorKind::TimedOut => (code::TCP_DIAL_TIMEOUT, "dial: i/o timeout".to_owned()),
            _ => (code::TCP_DIAL, format!("dial: {error}")),
        };
        Failure::new(TransportError::Connect, code, message)
    }

    /// The TLS handshake.
    pub(super) fn handshake(error: &io::Error) -> Failure {
        if let Some(tls) = rustls_in(error) {
            return Failure::tls(tls);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::new(
                TransportError::Tls,
                code::TLS,
                "tls: the connection was closed during the handshake",
            ),
            _ => Failure::new(TransportError::Tls, code::TLS, format!("tls: {error}")),
        }
    }

    fn tls(error: &rustls::Error) -> Failure {
        use rustls::CertificateError as Certificate;
        let code = match error {
            rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
                code::X509_UNKNOWN_AUTHORITY
            }
            rustls::Error::InvalidCertificate(
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
            ) => code::X509_HOSTNAME,
            _ => code::TLS,
        };
        let message = match code {
            code::X509_UNKNOWN_AUTHORITY => {
                "x509: certificate signed by unknown authority".to_owned()
            }
            _ => match error {
                rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
                    "tls: what it answers is no TLS".to_owned()
                }
                _ => format!("tls: {error}"),
            },
        };
        Failure::new(TransportError::Tls, code, message)
    }

    /// The other side has ended the connection.
    pub(super) fn is_end(&self) -> bool {
        self.kind == TransportError::Reset
    }

    /// While a request was sent or its answer read.
    pub(super) fn exchanging(error: &hyper::Error) -> Failure {
        if let Some(failure) = inner_io(error).and_then(Failure::reading) {
            return failure;
        }
        if error.is_parse() {
            return Failure::new(
                TransportError::Protocol,
                code::GENERIC,
                format!("malformed HTTP response: {}", innermost(error)),
            );
        }
        if error.is_incomplete_message() {
            return Failure::new(TransportError::Reset, code::GENERIC, "EOF");
        }
        if error.is_canceled() || error.is_closed() {
            return Failure::new(
                TransportError::Reset,
                code::TCP_RESET_BY_PEER,
                "connection reset: it was closed before an answer came",
            );
        }
        Failure::new(
            TransportError::Protocol,
            code::GENERIC,
            innermost(error).to_string(),
        )
    }

    fn reading(error: &io::Error) -> Option<Failure> {
        if let Some(tls) = rustls_in(error) {
            return Some(Failure::tls(tls));
        }
        let (code, message) = match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                (code::TCP_RESET_BY_PEER, "read: connection reset by peer")
            }
            io::ErrorKind::BrokenPipe => (code::TCP_BROKEN_PIPE, "write: broken pipe"),
            io::ErrorKind::UnexpectedEof => (code::GENERIC, "unexpected EOF"),
            _ => return None,
        };
        Some(Failure::new(TransportError::Reset, code, message))
    }
}

fn rustls_in(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}

fn inner_io(error: &hyper::Error) -> Option<&io::Error> {
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(io) = source.downcast_ref::<io::Error>() {
            return Some(io);
        }
        next = source.source();
    }
    None
}

fn innermost<'e>(error: &'e hyper::Error) -> &'e (dyn StdError + 'static) {
    let mut inner: &'e (dyn StdError + 'static) = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner
}
