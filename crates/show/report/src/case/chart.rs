//! Rates by condition as SVG, drawn by hand: a bar for the rate, a line for its interval.

use std::fmt::Write;

use super::numbers::{interval, percent};
use super::table::{Row, runs};
use crate::service::{COLORS, escape};
use crate::words;

const WIDTH: f64 = 760.0;
const ROW: f64 = 22.0;
const LEFT: f64 = 270.0;
const RIGHT: f64 = 150.0;
const BOTTOM: f64 = 20.0;
/// Characters that a label has room for.
const LABEL_COLUMNS: usize = 42;

/// The chart; nothing when there is no row.
pub(super) fn chart(title: &str, rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let height = ROW * rows.len() as f64 + BOTTOM;
    let x = |share: f64| LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
    let title = escape(title);
    let mut svg = format!(
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">"
    );
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let (at, end) = (x(share), height - BOTTOM);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{end:.1}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            height - 5.0,
            percent(share)
        );
    }
    for (place, row) in rows.iter().enumerate() {
        svg.push_str(&bar(row, ROW * place as f64, &x));
    }
    svg.push_str("</svg></figure>\n");
    svg
}

fn bar(row: &Row, top: f64, x: &dyn Fn(f64) -> f64) -> String {
    let rate = f64::from(row.rate.failed) / f64::from(row.rate.runs.max(1));
    let color = if row.control { COLORS[0] } else { COLORS[1] };
    let middle = top + ROW / 2.0;
    let (low, high) = (x(row.rate.low), x(row.rate.high));
    let mut svg = format!(
        "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        LEFT - 8.0,
        middle + 4.0,
        escape(&words::shorten(&row.label, LABEL_COLUMNS))
    );
    let _ = write!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{color}\"><title>{}</title></rect>",
        top + 5.0,
        x(rate) - LEFT,
        ROW - 10.0,
        escape(&row.label)
    );
    let _ = write!(
        svg,
        "<path d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v8M{high:.1} {:.1}v8\" fill=\"none\" stroke=\"currentColor\"/>",
        middle - 4.0,
        middle - 4.0
    );
    let _ = write!(
        svg,
        "<text x=\"{:.0}\" y=\"{:.1}\">{}, {}</text>",
        WIDTH - RIGHT + 10.0,
        middle + 4.0,
        runs(row),
        interval(&row.rate)
    );
    svg
}
