// What `k6-utils` offers, in every version of it.
import { check as checkNow } from "k6";
import { randomBytes } from "k6/crypto";
import exec from "k6/execution";

export function uuidv4(secure = false) {
  const bytes = secure
    ? new Uint8Array(randomBytes(16))
    : Uint8Array.from({ length: 16 }, () => Math.floor(Math.random() * 256));
  bytes[6] = 0x40 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

export function randomIntBetween(min, max) {
  return Math.floor(min + Math.random() * (max - min + 1));
}

export function randomItem(items) {
  return items[Math.floor(Math.random() * items.length)];
}

export function randomString(length, charset = "abcdefghijklmnopqrstuvwxyz") {
  return Array.from({ length }, () => charset[Math.floor(Math.random() * charset.length)]).join("");
}

export function findBetween(content, left, right, repeat = false) {
  const found = [];
  let from = content.indexOf(left);
  while (from >= 0) {
    const begin = from + left.length;
    const end = content.indexOf(right, begin);
    if (end < 0) break;
    if (!repeat) return content.slice(begin, end);
    found.push(content.slice(begin, end));
    from = content.indexOf(left, end + right.length);
  }
  return found.length > 0 ? found : null;
}

/// A bell of two standard deviations to each side: a sixth of the time to get on it, four to cross, a sixth to leave.
export function normalDistributionStages(maxVus, durationSeconds, numberOfStages = 10) {
  const height = (stage) => Math.exp((((4 * stage) / numberOfStages - 2) ** 2) / -2);
  const heights = Array.from({ length: numberOfStages + 1 }, (_, stage) => height(stage));
  const peak = Math.max(...heights);
  const edge = Math.ceil(durationSeconds / 6);
  const inner = Math.ceil((4 * durationSeconds) / (6 * numberOfStages));
  const stages = heights.map((each, stage) => ({
    duration: `${stage === 0 ? edge : inner}s`,
    target: Math.round((each * maxVus) / peak),
  }));
  return [...stages, { duration: `${edge}s`, target: 0 }];
}

const UNITS_MS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/// Milliseconds of `1h30m5s`; a number without a unit is milliseconds.
export function parseDuration(text) {
  if (text === undefined || text === null || text.length < 1) throw new Error("str is empty");
  if (typeof text === "number") return text;
  const seen = new Set();
  let total = 0;
  for (const [, number, unit] of text.matchAll(/([\d.]+)([^\d.]*)/g)) {
    if (unit !== "" && !(unit in UNITS_MS)) throw new Error(`${unit} is an unsupported time unit`);
    if (seen.has(unit)) throw new Error(`${unit} time unit is provided multiple times`);
    seen.add(unit);
    const value = parseFloat(number) * (UNITS_MS[unit] ?? 1);
    total += unit === "ms" ? Math.trunc(value) : value;
  }
  return total;
}

function stagesNow() {
  const { name } = exec.scenario;
  const { scenarios, stages } = exec.test.options;
  const found = scenarios?.[name]?.stages ?? (name === "default" ? stages : undefined);
  if (!found || found.length < 1) {
    throw new Error(`the scenario '${name}' has no stages: only ramping-vus and ramping-arrival-rate have`);
  }
  return found;
}

export function getCurrentStageIndex() {
  const stages = stagesNow();
  let left = Date.now() - exec.scenario.startTime;
  const at = stages.findIndex((stage) => (left -= parseDuration(stage.duration)) < 0);
  return at < 0 ? stages.length - 1 : at;
}

export function tagWithCurrentStageIndex() {
  exec.vu.metrics.tags.stage = String(getCurrentStageIndex());
}

export function tagWithCurrentStageProfile() {
  const at = getCurrentStageIndex();
  const [before, now] = [stagesNow()[at - 1], stagesNow()[at]];
  let profile = "ramp-up";
  if (before && before.target === now.target) profile = "steady";
  if (before && before.target > now.target) profile = "ramp-down";
  exec.vu.metrics.tags.stage_profile = profile;
}

/// `check` that waits for promises: of the value, and of each condition.
export function check(value, conditions, tags) {
  if (value instanceof Promise) return value.then((value) => check(value, conditions, tags));
  const judged = Object.entries(conditions).map(([name, condition]) => [
    name,
    typeof condition === "function" ? condition(value) : condition,
  ]);
  const report = (outcomes) => checkNow(value, Object.fromEntries(outcomes.map(([name, held]) => [name, Boolean(held)])), tags);
  if (!judged.some(([, held]) => held instanceof Promise)) return report(judged);
  return Promise.all(judged.map(async ([name, held]) => [name, await held])).then(report);
}
