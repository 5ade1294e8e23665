//! What instances say of themselves over OpenTelemetry, in the words of the log.

use std::time::SystemTime;

use cohort_model::{ExceptionSeen, InstanceId, OwnMetric, SpanWindow};
use cohort_otlp::{ExceptionWindow, MetricPoint, OperationWindow};
use cohort_service::exceptions::{Frame, Parser, Raised, fingerprint};

/// Metrics kept of one instance and window.
pub(crate) const METRICS_MAX: usize = 40;
/// Code paths kept beneath one operation.
const PATHS_MAX: usize = 8;

pub(crate) fn operation(window: &OperationWindow) -> SpanWindow {
    let beneath = window.paths.iter().take(PATHS_MAX);
    SpanWindow {
        operation: window.operation.clone(),
        calls: window.calls,
        errors: window.errors,
        sum_us: window.total_us,
        longest_us: window.max_us,
        beneath: beneath
            .map(|path| (path.path.clone(), path.own_us))
            .collect(),
    }
}

pub(crate) fn metric(point: &MetricPoint) -> OwnMetric {
    let name = match point.attributes.as_str() {
        "" => point.name.clone(),
        attributes => format!("{}{{{attributes}}}", point.name),
    };
    OwnMetric {
        name,
        unit: point.unit.clone(),
        value: point.value,
    }
}

pub(crate) fn exception(instance: InstanceId, window: &ExceptionWindow) -> ExceptionSeen {
    let raised = raised(window);
    ExceptionSeen {
        instance,
        fingerprint: fingerprint(&raised),
        frame: raised
            .frames
            .iter()
            .find(|frame| frame.own)
            .or(raised.frames.first())
            .map(Frame::shown)
            .unwrap_or_default(),
        message: raised.message.lines().next().unwrap_or_default().to_owned(),
        kind: raised.kind,
        plain_line: raised.plain_line,
        count: window.count,
    }
}

/// As it would have been recognized in a log, so that one that stands in both has one fingerprint.
fn raised(window: &ExceptionWindow) -> Raised {
    let mut parser = Parser::default();
    let lines = window.stacktrace.lines();
    let mut found: Vec<Raised> = lines
        .flat_map(|line| parser.take(line, SystemTime::UNIX_EPOCH))
        .collect();
    found.extend(parser.finish());
    found
        .into_iter()
        .find(|raised| !raised.plain_line)
        .unwrap_or_else(|| Raised {
            kind: window.kind.clone(),
            message: window.message.clone(),
            frames: Vec::new(),
            plain_line: window.operation.is_empty(),
            thread: String::new(),
        })
}
