// What `k6-summary` offers to `handleSummary`: the summary as text, and the thresholds as JUnit.
const COLOURS = { green: "\x1b[32m", red: "\x1b[31m", cyan: "\x1b[36m", faint: "\x1b[36;2m", reset: "\x1b[0m" };
const UNITS = { s: ["s", 0.001], ms: ["ms", 1], us: ["µs", 1000] };

const cut = (value, digits) => (Math.trunc(value * 10 ** digits) / 10 ** digits).toFixed(digits);
const short = (value) => String(Number(cut(value, 2)));
const plain = (value) => String(Number(value.toFixed(6)));

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  if (value < 10) return `${plain(value)} B`;
  const power = Math.min(Math.floor(Math.log(value) / Math.log(1000)), units.length - 1);
  const scaled = Math.floor((value / 1000 ** power) * 10 + 0.5) / 10;
  return `${scaled.toFixed(scaled < 10 ? 1 : 0)} ${units[power]}`;
}

function duration(ms, unit) {
  if (unit in UNITS) return (ms * UNITS[unit][1]).toFixed(2) + UNITS[unit][0];
  if (ms === 0) return "0s";
  if (ms < 0.001) return `${Math.trunc(ms * 1e6)}ns`;
  if (ms < 1) return `${short(ms * 1000)}µs`;
  if (ms < 1000) return `${short(ms)}ms`;
  const minutes = Math.trunc(ms / 60_000);
  const seconds = `${minutes > 0 ? Math.round((ms % 60_000) / 1000) : Number((ms / 1000).toFixed(2))}s`;
  if (minutes < 1) return seconds;
  return minutes < 60 ? `${minutes}m${seconds}` : `${Math.trunc(minutes / 60)}h${minutes % 60}m${seconds}`;
}

export function humanizeValue(value, metric, timeUnit) {
  if (metric.type === "rate") return `${cut(value * 100, 2)}%`;
  if (metric.contains === "data") return bytes(value);
  return metric.contains === "time" ? duration(value, timeUnit) : plain(value);
}

/// What stands behind the name: the first in the column of values, the others as they come.
function values(metric, unit) {
  const { values } = metric;
  const show = (value) => humanizeValue(value, metric, unit);
  if (metric.type === "counter") return [show(values.count), `${show(values.rate)}/s`];
  if (metric.type === "gauge") return [show(values.value), `min=${show(values.min)}`, `max=${show(values.max)}`];
  if (metric.type === "rate") return [show(values.rate), `✓ ${values.passes}`, `✗ ${values.fails}`];
  return [];
}

function trend(metric, stats, unit) {
  const show = (stat) => (stat === "count" ? String(metric.values[stat]) : humanizeValue(metric.values[stat] ?? 0, metric, unit));
  return stats.map((stat) => `${stat}=${show(stat)}`);
}

/// Pads each place of the lists to what is the longest there.
function aligned(lists) {
  const widths = [];
  for (const list of lists) list.forEach((text, place) => (widths[place] = Math.max(widths[place] ?? 0, text.length)));
  return lists.map((list) => list.map((text, place) => text.padEnd(widths[place])).join(" ").trimEnd());
}

function metricLines(data, { indent, stats, unit, paint }) {
  const names = Object.keys(data.metrics).sort((left, right) => {
    const [one, other] = [left, right].map((name) => [name.split("{")[0], name]);
    return one[0] === other[0] ? (one[1] < other[1] ? -1 : 1) : one[0] < other[0] ? -1 : 1;
  });
  const shown = names.map((name) => (name.includes("{") ? `  ${name.slice(name.indexOf("{")).replace(/^\{/, "{ ").replace(/\}$/, " }")}` : name));
  const width = Math.max(0, ...shown.map((name) => name.length)) + 3;
  const isTrend = (name) => data.metrics[name].type === "trend";
  const columns = (chosen, list) => new Map(aligned(chosen.map(list)).map((text, place) => [chosen[place], text]));
  const texts = new Map([
    ...columns(names.filter((name) => !isTrend(name)), (name) => values(data.metrics[name], unit)),
    ...columns(names.filter(isTrend), (name) => trend(data.metrics[name], stats, unit)),
  ]);
  return names.map((name, place) => {
    const judged = Object.values(data.metrics[name].thresholds ?? {});
    const mark = judged.length === 0 ? " " : judged.every(({ ok }) => ok) ? paint("✓", "green") : paint("✗", "red");
    return `${indent}${mark} ${shown[place]}${paint(".".repeat(width - shown[place].length) + ":", "faint")} ${paint(texts.get(name), "cyan")}`;
  });
}

function groupLines(group, indent, paint) {
  const lines = [];
  if (group.name) lines.push(`${indent}█ ${group.name}`, "");
  const inside = group.name ? `${indent}  ` : indent;
  for (const { name, passes, fails } of group.checks ?? []) {
    if (fails === 0) lines.push(paint(`${inside}✓ ${name}`, "green"));
    else {
      const share = Math.floor((100 * passes) / (passes + fails));
      lines.push(paint(`${inside}✗ ${name}\n${inside} ↳  ${share}% — ✓ ${passes} / ✗ ${fails}`, "red"));
    }
  }
  if (lines.length > 0 && (group.checks ?? []).length > 0) lines.push("");
  for (const inner of group.groups ?? []) lines.push(...groupLines(inner, inside, paint));
  return lines;
}

export function textSummary(data, options = {}) {
  const merged = { indent: " ", enableColors: true, ...data.options, ...options };
  const paint = (text, colour) => (merged.enableColors ? COLOURS[colour] + text + COLOURS.reset : text);
  const stats = merged.summaryTrendStats ?? ["avg", "min", "med", "max", "p(90)", "p(95)"];
  const layout = { indent: `${merged.indent}  `, stats, unit: merged.summaryTimeUnit, paint };
  const lines = groupLines(data.root_group ?? {}, `${merged.indent}    `, paint);
  return [...lines, ...metricLines(data, layout)].join("\n");
}

const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escaped = (text) => String(text).replace(/[&<>"']/g, (sign) => escapes[sign]);

export function jUnit(data, options = {}) {
  const cases = [];
  let failures = 0;
  for (const [name, { thresholds }] of Object.entries(data.metrics)) {
    for (const [threshold, { ok }] of Object.entries(thresholds ?? {})) {
      if (!ok) failures += 1;
      const outcome = ok ? " />" : '><failure message="failed" /></testcase>';
      cases.push(`    <testcase name="${escaped(name)} - ${escaped(threshold)}"${outcome}`);
    }
  }
  const counts = `tests="${cases.length}" failures="${failures}"`;
  const suite = escaped(options.name ?? "k6 thresholds");
  const classed = options.classname ? cases.map((one) => one.replace("<testcase", `<testcase classname="${escaped(options.classname)}"`)) : cases;
  return `<?xml version="1.0"?>\n<testsuites ${counts}>\n  <testsuite name="${suite}" ${counts}>\n${classed.join("\n")}\n  </testsuite>\n</testsuites>`;
}
