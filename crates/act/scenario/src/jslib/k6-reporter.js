// What `k6-reporter` offers to `handleSummary`: a page of the summary.
import { humanizeValue } from "https://jslib.k6.io/k6-summary/0.1.0/index.js";

const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text) => String(text).replace(/[&<>"]/g, (sign) => escapes[sign]);
const row = (cells, tag = "td") => `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`;
const verdict = (ok, text) => `<span class="${ok ? "ok" : "bad"}">${escaped(text)}</span>`;

function metricRow([name, metric]) {
  const shown = Object.entries(metric.values).map(([stat, value]) => {
    const counted = ["count", "passes", "fails"].includes(stat) && metric.contains !== "data";
    return `${escaped(stat)}=${escaped(counted ? value : humanizeValue(value, metric))}`;
  });
  const thresholds = Object.entries(metric.thresholds ?? {}).map(([source, { ok }]) => verdict(ok, source));
  return row([escaped(name), shown.join(" "), thresholds.join("<br>")]);
}

function checkRows(group, path) {
  const name = [path, group.name].filter(Boolean).join(" / ");
  const own = (group.checks ?? []).map(({ name: check, passes, fails }) => row([escaped(name), verdict(fails === 0, check), passes, fails]));
  return [...own, ...(group.groups ?? []).flatMap((inner) => checkRows(inner, name))];
}

export function htmlReport(data, options = {}) {
  const title = escaped(options.title ?? "Load test");
  const metrics = Object.entries(data.metrics).sort(([left], [right]) => (left < right ? -1 : 1));
  return [
    `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>`,
    "<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse;margin-bottom:2em}",
    "td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left}.ok{color:#080}.bad{color:#b00;font-weight:bold}</style></head><body>",
    `<h1>${title}</h1><h2>Metrics</h2><table>`,
    row(["Metric", "Values", "Thresholds"], "th"),
    ...metrics.map(metricRow),
    "</table><h2>Checks</h2><table>",
    row(["Group", "Check", "Passed", "Failed"], "th"),
    ...checkRows(data.root_group ?? {}, ""),
    "</table></body></html>",
  ].join("\n");
}
