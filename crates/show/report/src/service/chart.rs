//! Line charts as SVG, drawn by hand: no script, nothing fetched.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 62.0;
const BOTTOM: f64 = 20.0;
const TOP: f64 = 8.0;
/// Colours of Okabe and Ito, which people with any colour vision tell apart.
pub(crate) const COLORS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000",
];

/// One line of a chart.
pub(super) struct Curve {
    pub(super) name: String,
    /// Seconds, and the value then.
    pub(super) points: Vec<(f64, f64)>,
}

/// A moment that is marked.
pub(super) struct Mark {
    pub(super) at_s: f64,
    pub(super) text: String,
}

/// A chart with its title; `unit` writes a value.
pub(super) fn chart(
    title: &str,
    curves: &[Curve],
    marks: &[Mark],
    unit: fn(f64) -> String,
) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let end = points().map(|point| point.0).fold(1.0, f64::max);
    let top = points().map(|point| point.1).fold(0.0, f64::max).max(1e-9) * 1.08;
    let x = |s: f64| LEFT + s / end * (WIDTH - LEFT - 6.0);
    let y = |value: f64| TOP + (1.0 - value / top) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(title),
        escape(title)
    );
    for step in 0..=2 {
        let value = top * f64::from(step) / 2.0;
        let at = y(value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 5.0,
            at + 4.0,
            escape(&unit(value))
        );
    }
    for step in 0..=4 {
        let seconds = end * f64::from(step) / 4.0;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{seconds:.0} s</text>",
            x(seconds),
            HEIGHT - 5.0
        );
    }
    for mark in marks {
        let at = x(mark.at_s.min(end));
        let _ = write!(
            svg,
            "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"><title>{}</title></line>",
            HEIGHT - BOTTOM,
            escape(&mark.text)
        );
    }
    for (place, curve) in curves.iter().enumerate() {
        let color = COLORS[place % COLORS.len()];
        let path: Vec<String> = curve
            .points
            .iter()
            .map(|(s, value)| format!("{:.1},{:.1}", x(*s), y(*value)))
            .collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" stroke=\"{color}\"><title>{}</title></polyline>",
            path.join(" "),
            escape(&curve.name)
        );
    }
    svg.push_str("</svg></figure>\n");
    svg
}

/// Text as HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
