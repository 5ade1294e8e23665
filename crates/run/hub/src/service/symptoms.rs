//! How what a service did wrong looked. The same words for what threads met and for what plays show.

use cohort_agent::protocol::TransportError;
use cohort_model::{ExceptionSeen, Exit, Frame, Symptom, SymptomKind, Verdict};
use cohort_symptom::Ended;

/// Without a place.
pub(crate) fn plain(kind: SymptomKind, class: &str, message: &str) -> Symptom {
    Symptom {
        kind,
        class: class.to_owned(),
        message: message.to_owned(),
        frames: Vec::new(),
    }
}

/// A server that ended unasked, with the last lines that it wrote.
pub(crate) fn of_end(exit: &Exit, lines: &[String]) -> Symptom {
    let text = lines.join("\n");
    let (exit_code, signal) = match exit {
        Exit::Code { code } => (Some(*code), None),
        Exit::Signal { signal } => (None, Some(*signal)),
        Exit::OutOfMemory => return plain(SymptomKind::OutOfMemory, "out of memory", ""),
        Exit::Asked => (None, None),
    };
    let ended = Ended {
        verdict: Verdict::Failed,
        exit_code,
        signal,
        stderr: text.as_bytes(),
        ..Ended::default()
    };
    let how = match exit {
        Exit::Code { code } => format!("exit code {code}"),
        Exit::Signal { signal } => format!("signal {signal}"),
        Exit::Asked | Exit::OutOfMemory => String::new(),
    };
    match cohort_symptom::read(&ended) {
        // The last line of a log is as likely about anything else.
        Some(symptom) if symptom.frames.is_empty() && signal.is_some() => Symptom {
            message: String::new(),
            ..symptom
        },
        Some(symptom) if symptom.kind != SymptomKind::Failure => symptom,
        Some(_) | None => plain(SymptomKind::Abort, &how, ""),
    }
}

/// An exception as a log or a span tells it: its frame is `price (server.py:30)`.
pub(crate) fn of_exception(exception: &ExceptionSeen) -> Symptom {
    let (function, place) = match exception.frame.rsplit_once(" (") {
        Some((function, place)) => (function, place.trim_end_matches(')')),
        None => ("", exception.frame.as_str()),
    };
    let (file, line) = match place.rsplit_once(':') {
        Some((file, line)) => (file, line.parse().unwrap_or(0)),
        None => (place, 0),
    };
    let frame = Frame {
        function: function.to_owned(),
        file: file.to_owned(),
        line,
        own: true,
    };
    let frame = Some(frame).filter(|_| !exception.frame.is_empty());
    Symptom {
        kind: SymptomKind::Exception,
        class: exception.kind.clone(),
        message: exception.message.clone(),
        frames: frame.into_iter().collect(),
    }
}

/// Why there was no answer.
pub(crate) fn broken(error: TransportError) -> &'static str {
    match error {
        TransportError::Dns => "no such host",
        TransportError::Connect => "nobody listens",
        TransportError::Reset => "connection closed",
        TransportError::Timeout => "timed out",
        TransportError::Protocol => "no HTTP",
        TransportError::Body => "body not understood",
        TransportError::Tls => "TLS failed",
        TransportError::Refused => "not sent",
        TransportError::AgentDied => "agent died",
        TransportError::Other => "failed",
    }
}
