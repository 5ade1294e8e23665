//! Exceptions: events of spans, and log records of severity ERROR and above.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::attributes::{clip, shown, template, text};
use crate::window::{Dropped, ExceptionWindow};

/// Different exceptions in one window of one instance.
const EXCEPTIONS_MAX: usize = 100;
const KIND_MAX: usize = 256;
const MESSAGE_MAX: usize = 1 << 10;
const STACKTRACE_MAX: usize = 8 << 10;

/// By type, message with its numbers taken out, and operation.
#[derive(Debug, Default)]
pub(super) struct Exceptions {
    seen: BTreeMap<(String, String, String), ExceptionWindow>,
}

struct Exception<'a> {
    kind: &'a str,
    message: &'a str,
    stacktrace: &'a str,
    operation: &'a str,
}

impl Exceptions {
    pub(super) fn add_events(&mut self, span: &Span, operation: &str, dropped: &mut Dropped) {
        for event in span.events.iter().filter(|event| event.name == "exception") {
            let exception = of(&event.attributes, operation);
            self.add(&exception, dropped);
        }
    }

    pub(super) fn add_log(&mut self, record: &LogRecord, dropped: &mut Dropped) {
        let body = record.body.as_ref().map(shown).unwrap_or_default();
        let mut exception = of(&record.attributes, "");
        if exception.kind.is_empty() {
            exception.kind = match record.severity_text.as_str() {
                "" => "ERROR",
                severity => severity,
            };
        }
        if exception.message.is_empty() {
            exception.message = &body;
        }
        self.add(&exception, dropped);
    }

    fn add(&mut self, exception: &Exception<'_>, dropped: &mut Dropped) {
        let key = (
            clip(exception.kind, KIND_MAX).to_owned(),
            without_numbers(clip(exception.message, KIND_MAX)),
            exception.operation.to_owned(),
        );
        if let Some(same) = self.seen.get_mut(&key) {
            same.count += 1;
        } else if self.seen.len() < EXCEPTIONS_MAX {
            let window = ExceptionWindow {
                kind: key.0.clone(),
                message: clip(exception.message, MESSAGE_MAX).to_owned(),
                stacktrace: clip(exception.stacktrace, STACKTRACE_MAX).to_owned(),
                operation: key.2.clone(),
                count: 1,
            };
            self.seen.insert(key, window);
        } else {
            dropped.exceptions += 1;
        }
    }

    /// An exception that was both logged and recorded by a span is the span's alone. (When the two
    /// arrive in different windows, each window has it.)
    pub(super) fn take(&mut self) -> Vec<ExceptionWindow> {
        let mut all: Vec<ExceptionWindow> = Vec::new();
        let mut last = (String::new(), String::new());
        for ((kind, message, operation), exception) in std::mem::take(&mut self.seen) {
            let same = (kind, message);
            // In order: what was logged, without an operation, stands first.
            if !operation.is_empty() && same == last {
                all.pop_if(|logged| logged.operation.is_empty());
            }
            all.push(exception);
            last = same;
        }
        all
    }
}

/// By the semantic conventions for exceptions.
fn of<'a>(attributes: &'a [KeyValue], operation: &'a str) -> Exception<'a> {
    let named = |key| text(attributes, &[key]).unwrap_or_default();
    Exception {
        kind: named("exception.type"),
        message: named("exception.message"),
        stacktrace: named("exception.stacktrace"),
        operation,
    }
}

/// Ids and digits as `{}`: `order 17 of 'a3'` and `order 18 of 'a4'` are one.
fn without_numbers(message: &str) -> String {
    let mut plain = String::new();
    for character in template(message, message.len()).chars() {
        match character {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};

    fn record(message: &str) -> LogRecord {
        LogRecord {
            severity_number: 17,
            severity_text: "ERROR".to_owned(),
            body: Some(AnyValue {
                value: Some(Value::StringValue(message.to_owned())),
            }),
            ..LogRecord::default()
        }
    }

    #[test]
    fn equal_but_for_numbers_is_equal_and_the_table_is_bounded() {
        let mut exceptions = Exceptions::default();
        let mut dropped = Dropped::default();
        for number in 0..50 {
            exceptions.add_log(
                &record(&format!("no item {number} in #{number}")),
                &mut dropped,
            );
        }
        let seen = exceptions.take();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!((seen[0].count, seen[0].kind.as_str()), (50, "ERROR"));
        assert_eq!(seen[0].message, "no item 0 in #0");
        for number in 0..EXCEPTIONS_MAX + 7 {
            exceptions.add_log(&record(&"x".repeat(number)), &mut dropped);
        }
        assert_eq!(dropped.exceptions, 7);
        assert_eq!(exceptions.take().len(), EXCEPTIONS_MAX);
    }

    #[test]
    fn what_was_logged_and_recorded_by_a_span_is_the_spans() {
        let mut exceptions = Exceptions::default();
        let mut dropped = Dropped::default();
        let add = |exceptions: &mut Exceptions, operation, message, dropped: &mut Dropped| {
            let exception = Exception {
                kind: "ValueError",
                message,
                stacktrace: "",
                operation,
            };
            exceptions.add(&exception, dropped);
        };
        for (operation, message) in [("", "a 1"), ("", "b"), ("GET /", "a 2"), ("PUT /", "a 3")] {
            add(&mut exceptions, operation, message, &mut dropped);
        }
        let all = exceptions.take();
        let of =
            |exception: &ExceptionWindow| (exception.operation.clone(), exception.message.clone());
        let all: Vec<_> = all.iter().map(of).collect();
        let expected = [("GET /", "a 2"), ("PUT /", "a 3"), ("", "b")];
        assert_eq!(all, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
