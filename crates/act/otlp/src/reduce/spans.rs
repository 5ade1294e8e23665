//! Spans, by operation and kind.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as WireKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::paths::{Paths, Recent};
use crate::attributes::{template, text};
use crate::histogram::Histogram;
use crate::window::{Dropped, OperationWindow, SpanKind};

/// Operations in one window of one instance.
const OPERATIONS_MAX: usize = 200;
/// Names that are known at a time.
const NAMES_MAX: usize = 2_000;
const NAME_MAX: usize = 160;
/// Words of a query that are looked at.
const WORDS_MAX: usize = 200;

/// The spans of one instance.
#[derive(Debug, Default)]
pub(super) struct Spans {
    operations: BTreeMap<(Arc<str>, SpanKind), Operation>,
    recent: Recent,
    names: HashSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Operation {
    durations: Histogram,
    errors: u64,
}

impl Spans {
    /// Takes one span, and says which operation it is of.
    pub(super) fn add(&mut self, span: &Span, dropped: &mut Dropped) -> Arc<str> {
        let kind = kind(span);
        let name = self.name(operation(span, kind));
        let ended = span.end_time_unix_nano;
        let duration_us = ended.saturating_sub(span.start_time_unix_nano) / 1000;
        let key = (Arc::clone(&name), kind);
        if self.operations.len() < OPERATIONS_MAX || self.operations.contains_key(&key) {
            let operation = self.operations.entry(key).or_default();
            operation.durations.record(duration_us);
            let status = span.status.as_ref().map(|status| status.code);
            operation.errors += u64::from(status == Some(StatusCode::Error as i32));
            if !self.recent.add(span, &name, kind, duration_us) {
                dropped.unattached += 1;
            }
        } else {
            dropped.spans += 1;
        }
        name
    }

    /// Equal names are held once.
    fn name(&mut self, name: String) -> Arc<str> {
        if let Some(known) = self.names.get(name.as_str()) {
            return Arc::clone(known);
        }
        if self.names.len() >= NAMES_MAX {
            self.names.retain(|name| Arc::strong_count(name) > 1);
        }
        let name: Arc<str> = name.into();
        if self.names.len() < NAMES_MAX {
            self.names.insert(Arc::clone(&name));
        }
        name
    }

    pub(super) fn take(&mut self, dropped: &mut Dropped) -> Vec<OperationWindow> {
        let mut paths = self.recent.take(dropped);
        let operations = std::mem::take(&mut self.operations).into_iter();
        let mut windows: Vec<OperationWindow> = operations
            .map(|((name, kind), operation)| {
                let paths = paths.remove(&(Arc::clone(&name), kind));
                operation.window(&name, kind, paths.unwrap_or_default())
            })
            .collect();
        // Of requests that ended in an earlier window.
        for ((name, kind), late) in paths {
            windows.push(Operation::default().window(&name, kind, late));
        }
        windows
    }
}

impl Operation {
    fn window(&self, name: &str, kind: SpanKind, paths: Paths) -> OperationWindow {
        let all = &self.durations;
        let (below_us, paths) = paths.finish();
        OperationWindow {
            operation: name.to_owned(),
            kind,
            calls: all.count(),
            errors: self.errors,
            total_us: all.total(),
            p50_us: all.quantile(0.5),
            p90_us: all.quantile(0.9),
            p99_us: all.quantile(0.99),
            max_us: all.max(),
            own_us: all.total().saturating_sub(below_us),
            paths,
        }
    }
}

fn kind(span: &Span) -> SpanKind {
    match WireKind::try_from(span.kind) {
        Ok(WireKind::Server) => SpanKind::Server,
        Ok(WireKind::Client) => SpanKind::Client,
        Ok(WireKind::Producer) => SpanKind::Producer,
        Ok(WireKind::Consumer) => SpanKind::Consumer,
        Ok(WireKind::Internal | WireKind::Unspecified) | Err(_) => SpanKind::Internal,
    }
}

/// By the semantic conventions for HTTP and databases, new and old.
fn operation(span: &Span, kind: SpanKind) -> String {
    let attributes = &span.attributes;
    if kind == SpanKind::Server {
        let method = text(attributes, &["http.request.method", "http.method"]);
        let route = text(attributes, &["http.route"]);
        let path = text(attributes, &["url.path", "http.target"]);
        if let (Some(method), Some(path)) = (method, route.or(path)) {
            let path = path.split(['?', '#']).next().unwrap_or_default();
            let slash = if path.starts_with('/') { "" } else { "/" };
            return template(&format!("{method} {slash}{path}"), NAME_MAX);
        }
    }
    if let Some(summary) = text(attributes, &["db.query.summary"]) {
        return template(summary, NAME_MAX);
    }
    let told = text(attributes, &["db.collection.name", "db.sql.table"]);
    let table = told.map(str::to_owned).or_else(|| {
        let query = text(attributes, &["db.query.text", "db.statement"])?;
        table_of(query)
    });
    match table {
        Some(table) if !span.name.contains(&table) => {
            template(&format!("{} {table}", span.name), NAME_MAX)
        }
        _ => template(&span.name, NAME_MAX),
    }
}

/// The first table that a query in SQL names, for spans that are only called `SELECT`.
fn table_of(query: &str) -> Option<String> {
    let mut words = query.split_ascii_whitespace().take(WORDS_MAX);
    words.find(|word| {
        let before = ["from", "into", "update", "table"];
        before.iter().any(|known| word.eq_ignore_ascii_case(known))
    })?;
    let table = words.find(|word| {
        let between = ["if", "not", "exists", "only"];
        !between.iter().any(|known| word.eq_ignore_ascii_case(known))
    })?;
    let name = |char: char| char.is_alphanumeric() || "_.$\"`".contains(char);
    let table = table.trim_start_matches(|char| !name(char));
    let table = &table[..table.find(|char| !name(char)).unwrap_or(table.len())];
    (!table.is_empty()).then(|| table.replace(['"', '`'], ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

    fn attribute(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue {
                value: Some(Value::StringValue(value.to_owned())),
            }),
            ..KeyValue::default()
        }
    }

    #[test]
    fn a_request_is_named_by_its_route_else_by_its_path() {
        let span = |attributes| Span {
            name: "GET".to_owned(),
            attributes,
            ..Span::default()
        };
        let method = || attribute("http.request.method", "GET");
        let route = span(vec![
            method(),
            attribute("http.route", "/items/<id>"),
            attribute("url.path", "/items/7"),
        ]);
        let path = span(vec![method(), attribute("http.target", "/items/7?x=1")]);
        assert_eq!(operation(&route, SpanKind::Server), "GET /items/{}");
        assert_eq!(operation(&path, SpanKind::Server), "GET /items/{}");
        assert_eq!(operation(&path, SpanKind::Client), "GET");
        let query = span(vec![attribute("db.sql.table", "items")]);
        assert_eq!(operation(&query, SpanKind::Client), "GET items");
    }

    #[test]
    fn the_table_of_a_query_is_found() {
        let queries = [
            ("select * from items where id=?", Some("items")),
            (
                "INSERT INTO \"shop\".orders(id) VALUES (?)",
                Some("shop.orders"),
            ),
            ("CREATE TABLE IF NOT EXISTS `things`(id)", Some("things")),
            ("UPDATE a.b SET c = 1", Some("a.b")),
            ("DELETE FROM (", None),
            ("COMMIT", None),
            ("from", None),
            ("", None),
        ];
        for (query, table) in queries {
            assert_eq!(table_of(query).as_deref(), table, "{query}");
        }
    }

    #[test]
    fn operations_and_names_are_bounded() {
        let mut spans = Spans::default();
        let mut dropped = Dropped::default();
        for number in 0..3 * NAMES_MAX {
            let span = Span {
                name: format!("work-{number}"),
                ..Span::default()
            };
            spans.add(&span, &mut dropped);
        }
        assert_eq!(dropped.spans as usize, 3 * NAMES_MAX - OPERATIONS_MAX);
        assert!(spans.names.len() <= NAMES_MAX);
        assert_eq!(spans.take(&mut dropped).len(), OPERATIONS_MAX);
    }
}
