//! How what a service did wrong looked. The same words for what threads met and for what plays show.

use cohort_agent::protocol::TransportError;
use cohort_model::{Exit, Symptom, SymptomKind, Verdict};
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server of this repository writes when it panics and aborts.
    const PANIC: &str = "\
[    0.047] INFO  shop: listening on 0.0.0.0:8080

thread 'tokio-rt-worker' (21774) panicked at examples/shop/src/coupon.rs:22:32:
end byte index 4 is not a char boundary; it is inside 'É' (bytes 3..5) of `CAFÉ15`
stack backtrace:
   0: __rustc::rust_begin_unwind
   1: core::panicking::panic_fmt
   2: core::str::slice_error_fail_rt
   3: core::str::slice_error_fail
   4: shop::coupon::percent_by_bytes
   5: <F as axum::handler::Handler<(M,T1,T2,T3),S>>::call::{{closure}}
   6: tokio::runtime::blocking::pool::Inner::run
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.";

    #[test]
    fn the_end_of_a_server_is_told_by_what_it_wrote_last() {
        let lines: Vec<String> = PANIC.lines().map(str::to_owned).collect();
        let symptom = of_end(&Exit::Signal { signal: 6 }, &lines);
        assert_eq!(symptom.class, "rust panic", "{symptom:?}");
        assert!(symptom.frames.iter().any(|frame| frame.own), "{symptom:?}");
        // What else it wrote is about anything.
        let symptom = of_end(&Exit::Signal { signal: 11 }, &["ready".to_owned()]);
        assert_eq!(
            (symptom.class.as_str(), symptom.message.as_str()),
            ("SIGSEGV", "")
        );
        let symptom = of_end(&Exit::Code { code: 3 }, &["cannot write".to_owned()]);
        assert_eq!(symptom.kind, SymptomKind::Abort);
    }
}
