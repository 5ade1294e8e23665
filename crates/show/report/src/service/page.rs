//! The report with pictures: one HTML file, no script, nothing fetched.

use std::collections::BTreeMap;
use std::fmt::Write;

use cohort_model::{ChangeVerdict, InstanceId, ServiceFinding};

use super::chart::{COLORS, Curve, Mark, chart, escape};
use super::script;
use super::series::Point;
use super::view::{ServiceInstance, ServiceView};
use super::words as own;
use crate::case::{Dossier, article as article_of_case, most_telling_first};
use crate::words;

/// How a page of Cohort looks.
pub(crate) const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1320px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.1em; margin-top: 2em; }
table { border-collapse: collapse; } td, th { padding: .15em .8em .15em 0; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
h3, h4 { margin: .8em 0 .2em; } article { border-left: 4px solid #d55e00; padding: .2em 1em; margin: 1em 0; }
article.state { border-color: #e69f00; }
pre { overflow: auto; background: #8881; padding: .5em; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(430px, 1fr)); gap: 1em; }
figure { margin: 0; } figcaption { font-weight: 600; }
svg { width: 100%; } svg text { font-size: 11px; fill: currentColor; }
polyline { fill: none; stroke-width: 1.6; } .grid { stroke: #8884; } .mark { stroke: #d55e00; stroke-dasharray: 3 3; stroke-width: 2; }
.legend span { margin-right: 1.2em; } .faint { opacity: .7; }
";

/// The whole page.
#[must_use]
pub fn page(view: &ServiceView) -> String {
    let name = view
        .start
        .as_ref()
        .map_or("", |start| start.campaign.as_str());
    let command = view
        .start
        .as_ref()
        .map_or_else(String::new, |start| start.command.join(" "));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Cohort: campaign {}</title><style>{STYLE}</style>\n",
        escape(name)
    );
    let (calls, broken) = view.calls_total();
    let _ = writeln!(
        out,
        "<h1>Campaign {}: <code>{}</code></h1><p>{} on {} in {}, {} without an answer. {} found.</p>",
        escape(name),
        escape(&command),
        words::counted(calls, "call"),
        words::counted(view.instances.len() as u64, "instance"),
        words::duration(view.at().0 / 10_000 * 10_000),
        words::number(broken),
        words::counted(view.faults().count() as u64, "fault"),
    );
    out.push_str(&script::failures(view));
    out.push_str("<h2>Findings</h2>\n");
    for finding in own::in_order(view) {
        out.push_str(&article(view, finding));
    }
    if view.findings.is_empty() {
        out.push_str("<p>None.</p>\n");
    }
    out.push_str(&cases(view, name));
    out.push_str(&charts(view));
    out.push_str(&endpoints(view));
    out.push_str(&script::section(view));
    out.push_str(&own_metrics(view));
    out.push_str(&changes(view));
    out.push_str("</html>\n");
    out
}

fn article(view: &ServiceView, finding: &ServiceFinding) -> String {
    let class = if finding.is_fault() {
        ""
    } else {
        " class=\"state\""
    };
    let place = finding.endpoint.map_or_else(String::new, |endpoint| {
        format!(" <code>{}</code>", escape(view.endpoint(endpoint)))
    });
    let mut out = format!(
        "<article{class}><b>{}</b>{place} on {} <span class=\"faint\">{}</span><br>{}",
        own::kind(finding.kind),
        escape(&own::instances(finding)),
        own::when(view, finding),
        escape(&finding.sentence)
    );
    let evidence: Vec<String> = finding
        .evidence
        .iter()
        .map(|measured| {
            format!(
                "{}: {}",
                escape(&measured.what),
                escape(&words::measured(measured.value, &measured.unit))
            )
        })
        .collect();
    let _ = write!(
        out,
        "<br><span class=\"faint\">{}</span>",
        evidence.join(" · ")
    );
    for told in super::helpers::told(finding) {
        let _ = write!(out, "<br><b>{}</b>", escape(&told));
    }
    if !finding.excerpts.is_empty() {
        let _ = write!(out, "<pre>{}</pre>", escape(&finding.excerpts.join("\n")));
    }
    out.push_str("</article>\n");
    out
}

fn cases(view: &ServiceView, campaign: &str) -> String {
    if view.cases.is_empty() {
        return String::new();
    }
    let all = most_telling_first(view.cases.values()).into_iter();
    let articles = all.map(|case| {
        let others = view.cases.values();
        let told_by = format!("campaign {campaign}");
        let mut dossier = Dossier::of(case, BTreeMap::new(), &told_by, others);
        dossier.requests = view.requests_of(case);
        article_of_case(&dossier)
    });
    format!("<h2>Edge cases</h2>\n{}", articles.collect::<String>())
}

fn charts(view: &ServiceView) -> String {
    let marks: Vec<Mark> = view
        .faults()
        .map(|finding| Mark {
            at_s: finding.since.seconds(),
            text: format!("{}: {}", own::kind(finding.kind), finding.sentence),
        })
        .collect();
    let curves = |value: fn(&Point) -> f64| -> Vec<Curve> {
        view.instances
            .iter()
            .map(|(id, instance)| curve(*id, instance, value))
            .collect()
    };
    let mut out = "<h2>Over time, by instance</h2><p class=\"legend\">".to_owned();
    for (place, id) in view.instances.keys().enumerate() {
        let _ = write!(
            out,
            "<span><b style=\"color:{}\">━</b> {id}</span>",
            COLORS[place % COLORS.len()]
        );
    }
    out.push_str(
        "<span class=\"faint\">dashed: when a fault began</span></p><div class=\"charts\">\n",
    );
    let pictures = [
        chart(
            "calls a second",
            &curves(|point| point.calls),
            &marks,
            |value| words::decimal(value.round()),
        ),
        chart(
            "latency, p95",
            &curves(|point| point.p95_us.unwrap_or(0) as f64),
            &marks,
            |value| words::duration(value as u64),
        ),
        chart(
            "errors a second",
            &curves(|point| point.errors),
            &marks,
            |value| words::decimal((value * 10.0).round() / 10.0),
        ),
        chart(
            "cores used",
            &curves(|point| point.cores),
            &marks,
            |value| format!("{value:.2}"),
        ),
        chart(
            "memory",
            &curves(|point| point.memory as f64),
            &marks,
            |value| words::bytes(value as u64),
        ),
        chart(
            "open descriptors",
            &curves(|point| f64::from(point.open_files)),
            &marks,
            |value| words::decimal(value.round()),
        ),
    ];
    out.extend(pictures);
    out.push_str("</div>\n");
    out
}

fn curve(id: InstanceId, instance: &ServiceInstance, value: fn(&Point) -> f64) -> Curve {
    let points = instance.series.points().iter();
    Curve {
        name: id.to_string(),
        points: points
            .map(|point| (point.at.seconds(), value(point)))
            .collect(),
    }
}

fn endpoints(view: &ServiceView) -> String {
    let mut out = "<h2>Endpoints</h2><table><tr><th>endpoint<th class=\"n\">calls<th class=\"n\">errors<th class=\"n\">p50<th class=\"n\">p95<th class=\"n\">p99</tr>\n".to_owned();
    for (id, window) in &view.calls {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|q| own::latency(window.quantile_us(q)));
        let _ = writeln!(
            out,
            "<tr><td><code>{}</code><td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{p50}<td class=\"n\">{p95}<td class=\"n\">{p99}</tr>",
            escape(view.endpoint(*id)),
            words::number(window.calls),
            words::number(window.classes[4] + window.broken),
        );
    }
    out.push_str("</table>\n");
    out
}

/// What instances said of themselves last.
fn own_metrics(view: &ServiceView) -> String {
    let told = view
        .instances
        .iter()
        .filter(|(_, instance)| !instance.own.is_empty());
    let mut out = String::new();
    for (id, instance) in told {
        let _ = write!(out, "<h2>What {id} said of itself last</h2><table>");
        for (name, (value, unit)) in &instance.own {
            let _ = writeln!(
                out,
                "<tr><td><code>{}</code><td class=\"n\">{}<td>{}</tr>",
                escape(name),
                words::decimal(*value),
                escape(unit)
            );
        }
        out.push_str("</table>\n");
    }
    out
}

fn changes(view: &ServiceView) -> String {
    if view.changes.is_empty() {
        return String::new();
    }
    let mut out = "<h2>Changes, and what they did</h2><table><tr><th>change<th>measured<th class=\"n\">before<th class=\"n\">expected<th class=\"n\">after<th></tr>\n".to_owned();
    for change in view.changes.values() {
        let verdict = match change.verdict {
            ChangeVerdict::Pending => "not measured",
            ChangeVerdict::Kept => "kept",
            ChangeVerdict::Undone => "undone",
            ChangeVerdict::Unclear => "unclear",
        };
        let after = change
            .measured
            .map_or_else(|| "-".to_owned(), words::decimal);
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{after}<td>{verdict}</tr>",
            escape(&change.what),
            escape(&change.measure),
            words::decimal(change.before),
            words::decimal(change.expected),
        );
    }
    out.push_str("</table>\n");
    out
}
