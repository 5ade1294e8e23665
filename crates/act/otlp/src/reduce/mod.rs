//! What came in, reduced to tables of bounded size, by instance.

mod exceptions;
mod metrics;
mod paths;
mod spans;

use std::collections::BTreeMap;
use std::net::IpAddr;

use cohort_model::{At, InstanceId};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::attributes::number;
use crate::complaint::Complaints;
use crate::environment::INSTANCE;
use crate::window::{Account, Dropped, InstanceWindow, LogCounts};
use crate::wire::{Item, Sink};
use exceptions::Exceptions;
use metrics::Metrics;
use spans::Spans;

/// Severity numbers of log records (OpenTelemetry's log data model) from which they count.
const SEVERITY_WARN: i32 = 13;
const SEVERITY_ERROR: i32 = 17;

/// All that was told and not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Store {
    instances: BTreeMap<InstanceId, Tables>,
    addresses: BTreeMap<IpAddr, InstanceId>,
    pub(crate) account: Account,
    pub(crate) complaints: Complaints,
}

#[derive(Debug, Default)]
struct Tables {
    spans: Spans,
    exceptions: Exceptions,
    metrics: Metrics,
    logs: LogCounts,
    dropped: Dropped,
}

impl Store {
    /// From now on what `instance` tells is kept.
    pub(crate) fn watch(&mut self, instance: InstanceId, address: Option<IpAddr>) {
        self.instances.entry(instance).or_default();
        if let Some(address) = address {
            self.addresses.insert(address, instance);
        }
    }

    /// From now on it is not.
    pub(crate) fn unwatch(&mut self, instance: InstanceId) {
        self.instances.remove(&instance);
        self.addresses.retain(|_, of| *of != instance);
    }

    /// Whose address it is.
    pub(crate) fn at(&self, address: IpAddr) -> Option<InstanceId> {
        self.addresses.get(&address).copied()
    }

    /// Where the items of a request from `peer` go.
    pub(crate) fn sink(&mut self, peer: IpAddr) -> Placed<'_> {
        let by_address = self.at(peer);
        Placed {
            store: self,
            by_address,
            instance: by_address,
        }
    }

    /// One window of each watched instance that told anything, or of which anything was dropped.
    pub(crate) fn take(&mut self, now: At) -> Vec<InstanceWindow> {
        let windows = self.instances.iter_mut().map(|(instance, tables)| {
            let operations = tables.spans.take(&mut tables.dropped);
            InstanceWindow {
                instance: *instance,
                at: now,
                operations,
                exceptions: tables.exceptions.take(),
                metrics: tables.metrics.take(),
                logs: std::mem::take(&mut tables.logs),
                dropped: std::mem::take(&mut tables.dropped),
            }
        });
        windows.filter(|window| !is_empty(window)).collect()
    }
}

fn is_empty(window: &InstanceWindow) -> bool {
    window.operations.is_empty()
        && window.exceptions.is_empty()
        && window.metrics.is_empty()
        && window.logs == LogCounts::default()
        && !window.dropped.any()
}

/// A store, and the instance that items are of at present.
pub(crate) struct Placed<'a> {
    store: &'a mut Store,
    by_address: Option<InstanceId>,
    instance: Option<InstanceId>,
}

impl Sink for Placed<'_> {
    fn resource(&mut self, resource: &Resource) {
        let told = number(&resource.attributes, INSTANCE).map(InstanceId);
        // A number that no instance was given is no better than none.
        self.instance = told
            .filter(|told| self.store.instances.contains_key(told))
            .or(self.by_address);
    }

    fn item(&mut self, item: Item) {
        let account = &mut self.store.account;
        match &item {
            Item::Span(_) => account.spans += 1,
            Item::Metric(_) => account.metrics += 1,
            Item::Log(_) => account.log_records += 1,
        }
        let tables = self
            .instance
            .and_then(|instance| self.store.instances.get_mut(&instance));
        match (tables, item) {
            (None, _) => account.unplaced += 1,
            (Some(tables), Item::Span(span)) => {
                let operation = tables.spans.add(&span, &mut tables.dropped);
                let exceptions = &mut tables.exceptions;
                exceptions.add_events(&span, &operation, &mut tables.dropped);
            }
            (Some(tables), Item::Metric(metric)) => {
                tables.metrics.add(&metric, &mut tables.dropped);
            }
            (Some(tables), Item::Log(record)) => tables.add_log(&record),
        }
    }

    fn oversized(&mut self) {
        self.store.account.too_large += 1;
    }
}

impl Tables {
    fn add_log(&mut self, record: &LogRecord) {
        if record.severity_number >= SEVERITY_ERROR {
            self.logs.errors += 1;
            self.exceptions.add_log(record, &mut self.dropped);
        } else if record.severity_number >= SEVERITY_WARN {
            self.logs.warnings += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::trace::v1::Span;
    use proptest::prelude::*;

    fn told(instance: &str) -> Resource {
        Resource {
            attributes: vec![KeyValue {
                key: INSTANCE.to_owned(),
                value: Some(AnyValue {
                    value: Some(Value::StringValue(instance.to_owned())),
                }),
                ..KeyValue::default()
            }],
            ..Resource::default()
        }
    }

    fn spans() -> impl Strategy<Value = Vec<(u8, u8, i32, u64, u64)>> {
        let span = (0_u8..9, 0_u8..9, -1_i32..7, any::<u64>(), any::<u64>());
        prop::collection::vec(span, 0..40)
    }

    proptest! {
        #[test]
        fn whatever_spans_tell_each_is_counted_once(windows in prop::collection::vec(spans(), 1..4)) {
            let mut store = Store::default();
            store.watch(InstanceId(3), None);
            let mut calls = 0;
            let mut sent = 0;
            for spans in windows {
                let mut sink = store.sink([127, 0, 0, 1].into());
                sink.resource(&told("3"));
                for (own, parent, kind, start, end) in spans {
                    sent += 1;
                    sink.item(Item::Span(Span {
                        span_id: vec![own; 8],
                        parent_span_id: vec![parent; (parent as usize).min(8)],
                        name: own.to_string(),
                        kind,
                        start_time_unix_nano: start,
                        end_time_unix_nano: end,
                        ..Span::default()
                    }));
                }
                for window in store.take(At(0)) {
                    calls += window.operations.iter().map(|operation| operation.calls).sum::<u64>();
                    calls += window.dropped.spans;
                }
            }
            prop_assert_eq!((calls, store.account.spans), (sent, sent));
        }
    }

    #[test]
    fn a_number_that_no_instance_has_is_nobodys() {
        let mut store = Store::default();
        store.watch(InstanceId(3), Some([10, 0, 0, 3].into()));
        for (peer, instance, unplaced) in [
            (3, "3", 0),
            (3, "9", 0),
            (4, "3", 0),
            (4, "9", 1),
            (4, "x", 2),
        ] {
            let mut sink = store.sink([10, 0, 0, peer].into());
            sink.resource(&told(instance));
            sink.item(Item::Span(Span::default()));
            assert_eq!(store.account.unplaced, unplaced, "{peer} {instance}");
        }
    }
}
