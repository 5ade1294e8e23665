// What `k6chaijs` offers: `describe`, and `expect` of Chai, where each expectation is a check.
import { check, group } from "k6";
import exec from "k6/execution";

export const config = { truncateVariableThreshold: 100, truncateMsgThreshold: 300, aggregateChecks: true, logFailures: false, exitOnError: false };

export class AssertionError extends Error {
  constructor(message, details) {
    super(message);
    this.name = "AssertionError";
    Object.assign(this, details);
  }
}

const kindOf = (value) => {
  if (value === null) return "null";
  if (typeof value !== "object" && typeof value !== "function") return typeof value;
  return Object.prototype.toString.call(value).slice(8, -1).toLowerCase();
};

function shown(value) {
  let text;
  if (typeof value === "string") text = `'${value}'`;
  else if (typeof value === "function") text = `[Function ${value.name || "(anonymous)"}]`;
  else if (value instanceof Error || value instanceof RegExp || typeof value !== "object" || value === null) text = String(value);
  else text = value instanceof Map || value instanceof Set ? JSON.stringify([...value]) : (JSON.stringify(value) ?? String(value));
  const most = config.truncateVariableThreshold;
  return text.length > most ? `${text.slice(0, Math.max(most - 3, 0))}...` : text;
}

function same(left, right) {
  if (Object.is(left, right) || left === right) return true;
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return false;
  if (kindOf(left) !== kindOf(right)) return false;
  if (left instanceof Date) return left.getTime() === right.getTime();
  if (left instanceof RegExp) return String(left) === String(right);
  if (left instanceof Set || left instanceof Map) return left.size === right.size && [...left].every((one) => [...right].some((other) => same(one, other)));
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => Object.hasOwn(right, key) && same(left[key], right[key]));
}

const steps = (path) => String(path).replace(/\[(\d+)\]/g, ".$1").replace(/^\./, "").split(".");

export class Assertion {
  constructor(subject, label) {
    this._subject = subject;
    this._label = label;
    this._flags = new Set();
  }

  /// Checks, and throws where it does not hold. `said` and `denied` are the words for both ways.
  assert(holds, said, denied = said.replace(/^to /, "to not ")) {
    const negated = this._flags.has("not");
    const held = Boolean(holds) !== negated;
    const words = negated ? denied : said;
    const exact = `expected ${this._label ?? shown(this._subject)} ${words}`;
    const name = config.aggregateChecks ? `expected ${this._label ?? "${this}"} ${words}` : exact;
    const most = config.truncateMsgThreshold;
    check(null, { [name.length > most ? `${name.slice(0, most - 3)}...` : name]: () => held });
    if (held) return this;
    if (config.logFailures) console.warn(`${exact}, got ${shown(this._subject)}`);
    if (config.exitOnError) exec.test.abort(exact);
    throw new AssertionError(exact, { actual: this._subject });
  }

  _is(flag) {
    return this._flags.has(flag);
  }

  _equal(left, right) {
    return this._is("deep") ? same(left, right) : left === right;
  }

  /// What is compared: the subject, or its length after `lengthOf`.
  get _measured() {
    if (!this._is("length")) return this._subject;
    return this._subject instanceof Map || this._subject instanceof Set ? this._subject.size : this._subject.length;
  }

  _compare(holds, words, limit) {
    return this.assert(holds(this._measured, limit), `to ${this._is("length") ? "have a length" : "be"} ${words} ${shown(limit)}`);
  }
}

/// Words without a meaning, words that change what follows.
for (const word of ["to", "be", "been", "is", "that", "which", "and", "has", "have", "with", "at", "of", "same", "but", "does", "still", "also", "itself"]) {
  Object.defineProperty(Assertion.prototype, word, { get() { return this; } });
}
for (const flag of ["not", "deep", "nested", "own", "ordered", "any", "all"]) {
  Object.defineProperty(Assertion.prototype, flag, {
    get() {
      this._flags.add(flag);
      if (flag === "any") this._flags.delete("all");
      if (flag === "all") this._flags.delete("any");
      return this;
    },
  });
}

/// Assertions without an argument; `.true` and `.true()` are the same.
const properties = {
  ok: [(value) => Boolean(value), "to be truthy", "to be falsy"],
  true: [(value) => value === true, "to be true"],
  false: [(value) => value === false, "to be false"],
  null: [(value) => value === null, "to be null"],
  undefined: [(value) => value === undefined, "to be undefined"],
  NaN: [(value) => Number.isNaN(value), "to be NaN"],
  exist: [(value) => value !== null && value !== undefined, "to exist"],
  empty: [(value) => (value?.size ?? value?.length ?? Object.keys(value ?? {}).length) === 0, "to be empty"],
  arguments: [(value) => kindOf(value) === "arguments", "to be arguments"],
  extensible: [(value) => Object.isExtensible(value), "to be extensible"],
  sealed: [(value) => Object.isSealed(value), "to be sealed"],
  frozen: [(value) => Object.isFrozen(value), "to be frozen"],
  finite: [(value) => Number.isFinite(value), "to be a finite number"],
};
for (const [name, [holds, said, denied]] of Object.entries(properties)) {
  Object.defineProperty(Assertion.prototype, name, {
    get() {
      this.assert(holds(this._subject), said, denied);
      return Object.setPrototypeOf(() => this, this);
    },
  });
}
Object.defineProperty(Assertion.prototype, "exists", Object.getOwnPropertyDescriptor(Assertion.prototype, "exist"));

function includes(assertion, wanted) {
  const subject = assertion._subject;
  const is = (one) => assertion._equal(one, wanted);
  if (typeof subject === "string") return subject.includes(wanted);
  if (subject instanceof Set) return [...subject].some(is);
  if (subject instanceof Map) return [...subject.values()].some(is);
  if (Array.isArray(subject)) return subject.some(is);
  return Object.entries(wanted ?? {}).every(([path, value]) => {
    const at = assertion._is("nested") ? steps(path).reduce((inner, step) => inner?.[step], subject) : subject?.[path];
    return assertion._equal(at, value);
  });
}

function members(assertion, wanted) {
  const [left, right] = [[...assertion._subject], [...wanted]];
  if (!assertion._is("contains") && left.length !== right.length) return false;
  if (assertion._is("ordered")) return right.every((one, place) => assertion._equal(left[place], one));
  return right.every((one) => {
    const at = left.findIndex((other) => assertion._equal(other, one));
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}

function keys(assertion, wanted) {
  const subject = assertion._subject;
  const has = subject instanceof Map || subject instanceof Set ? [...subject.keys()] : Object.keys(subject);
  const found = wanted.filter((key) => has.some((one) => String(one) === String(key)));
  if (assertion._is("any")) return found.length > 0;
  return found.length === wanted.length && (assertion._is("contains") || has.length === wanted.length);
}

function property(assertion, name, value, given) {
  const path = assertion._is("nested") ? steps(name) : [name];
  const last = path.pop();
  const holder = path.reduce((inner, step) => inner?.[step], assertion._subject);
  const there = holder !== null && holder !== undefined && (assertion._is("own") ? Object.hasOwn(holder, last) : last in Object(holder));
  const found = there ? holder[last] : undefined;
  const said = `to have ${assertion._is("nested") ? "nested " : ""}property '${name}'${given ? ` of ${shown(value)}` : ""}`;
  assertion.assert(there && (!given || assertion._equal(found, value)), said);
  if (!assertion._is("not")) Object.assign(assertion, { _subject: found, _label: undefined });
  return assertion;
}

function thrown(assertion, kind, message) {
  let [error, threw] = [undefined, false];
  try {
    assertion._subject();
  } catch (caught) {
    [error, threw] = [caught, true];
  }
  const text = typeof kind === "function" ? message : kind;
  const said = typeof error === "object" && error !== null ? error.message : String(error);
  const isKind = typeof kind !== "function" || error instanceof kind;
  const isText = text === undefined || (text instanceof RegExp ? text.test(said) : typeof text === "string" ? String(said).includes(text) : error === text);
  assertion.assert(threw && isKind && isText, `to throw ${typeof kind === "function" ? kind.name : kind === undefined ? "an error" : shown(kind)}`);
  if (threw) assertion._subject = error;
  return assertion;
}

/// Runs the subject and says by how much a value changed.
function changed(assertion, holds, words, target, name) {
  const read = () => (name === undefined ? target() : target[name]);
  const before = read();
  assertion._subject();
  const after = read();
  assertion._delta = Math.abs(after - before);
  return assertion.assert(holds(before, after), `${words} ${name === undefined ? "what a function gives" : `'${name}'`}`);
}

const methods = {
  a(kind, label) {
    if (label !== undefined) this._label = label;
    const article = /^[aeiou]/i.test(kind) ? "an" : "a";
    return this.assert(kindOf(this._subject) === kind.toLowerCase(), `to be ${article} ${kind}`);
  },
  include(wanted) {
    return this.assert(includes(this, wanted), `to ${this._is("deep") ? "deep " : ""}include ${shown(wanted)}`);
  },
  equal(wanted) {
    if (this._is("deep")) return this.eql(wanted);
    return this.assert(this._measured === wanted, `to equal ${shown(wanted)}`);
  },
  eql(wanted) {
    return this.assert(same(this._measured, wanted), `to deeply equal ${shown(wanted)}`);
  },
  above(limit) {
    return this._compare((value, limit) => value > limit, "above", limit);
  },
  least(limit) {
    return this._compare((value, limit) => value >= limit, "at least", limit);
  },
  below(limit) {
    return this._compare((value, limit) => value < limit, "below", limit);
  },
  most(limit) {
    return this._compare((value, limit) => value <= limit, "at most", limit);
  },
  within(low, high) {
    return this.assert(this._measured >= low && this._measured <= high, `to be within ${shown(low)}..${shown(high)}`);
  },
  instanceof(kind) {
    return this.assert(this._subject instanceof kind, `to be an instance of ${kind.name}`);
  },
  property(name, value) {
    return property(this, name, value, arguments.length > 1);
  },
  ownPropertyDescriptor(name, wanted) {
    const found = Object.getOwnPropertyDescriptor(Object(this._subject), name);
    this.assert(found && (wanted === undefined || same(found, wanted)), `to have own property descriptor for '${name}'`);
    if (!this._is("not")) this._subject = found;
    return this;
  },
  lengthOf(wanted) {
    this._flags.add("length");
    const measured = this._measured;
    this._flags.delete("length");
    return this.assert(measured === wanted, `to have a length of ${shown(wanted)}`);
  },
  match(pattern) {
    return this.assert(pattern.test(this._subject), `to match ${shown(pattern)}`);
  },
  string(wanted) {
    return this.assert(typeof this._subject === "string" && this._subject.includes(wanted), `to contain ${shown(wanted)}`);
  },
  keys(...wanted) {
    const list = wanted.length === 1 && typeof wanted[0] === "object" ? (Array.isArray(wanted[0]) ? wanted[0] : Object.keys(wanted[0])) : wanted;
    return this.assert(keys(this, list), `to have ${this._is("any") ? "any of the " : ""}keys ${shown(list)}`);
  },
  throw(kind, message) {
    return thrown(this, kind, message);
  },
  respondTo(method) {
    const holder = typeof this._subject === "function" ? this._subject.prototype ?? this._subject : this._subject;
    return this.assert(typeof holder?.[method] === "function" || typeof this._subject?.[method] === "function", `to respond to '${method}'`);
  },
  satisfy(holds) {
    return this.assert(holds(this._subject), `to satisfy ${shown(holds)}`);
  },
  closeTo(wanted, delta) {
    return this.assert(Math.abs(this._subject - wanted) <= delta, `to be close to ${shown(wanted)} +/- ${shown(delta)}`);
  },
  members(wanted) {
    return this.assert(members(this, wanted), `to have members ${shown(wanted)}`);
  },
  oneOf(wanted) {
    const is = (one) => (this._is("contains") ? includes(this, one) : this._equal(this._subject, one));
    return this.assert(wanted.some(is), `to be one of ${shown(wanted)}`);
  },
  change(target, name) {
    return changed(this, (before, after) => before !== after, "to change", target, name);
  },
  increase(target, name) {
    return changed(this, (before, after) => after > before, "to increase", target, name);
  },
  decrease(target, name) {
    return changed(this, (before, after) => after < before, "to decrease", target, name);
  },
  by(delta) {
    return this.assert(this._delta === delta, `to change by ${shown(delta)}`);
  },
  validJsonBody() {
    let holds = true;
    try {
      this._subject.json();
    } catch {
      holds = false;
    }
    return this.assert(holds, "has valid json body", "does not have a valid json body");
  },
};
const aliases = {
  an: "a", includes: "include", contain: "include", contains: "include", equals: "equal", eq: "equal", eqls: "eql", gt: "above", greaterThan: "above",
  gte: "least", greaterThanOrEqual: "least", lt: "below", lessThan: "below", lte: "most", lessThanOrEqual: "most", instanceOf: "instanceof",
  haveOwnProperty: "property", ownProperty: "property", haveOwnPropertyDescriptor: "ownPropertyDescriptor", length: "lengthOf", matches: "match",
  key: "keys", throws: "throw", Throw: "throw", respondsTo: "respondTo", satisfies: "satisfy", approximately: "closeTo", changes: "change",
  increases: "increase", decreases: "decrease",
};
/// Methods that are also words in a chain: `to.include.members`, `to.have.lengthOf.above`.
const chained = { a: undefined, an: undefined, include: "contains", includes: "contains", contain: "contains", contains: "contains", lengthOf: "length", length: "length" };
for (const [name, method] of [...Object.entries(methods), ...Object.entries(aliases).map(([alias, name]) => [alias, methods[name]])]) {
  if (!(name in chained)) {
    Assertion.prototype[name] = method;
    continue;
  }
  Object.defineProperty(Assertion.prototype, name, {
    get() {
      const rest = Object.setPrototypeOf((...args) => method.apply(this, args), this);
      if (chained[name]) Object.defineProperty(rest, "_flags", { value: new Set([...this._flags, chained[name]]) });
      return rest;
    },
  });
}

export function expect(subject, label) {
  return new Assertion(subject, label);
}
expect.fail = (message = "expect.fail()") => {
  throw new AssertionError(message);
};

export function describe(name, body) {
  let held = true;
  group(name, () => {
    try {
      body();
    } catch (error) {
      held = false;
      if (error?.name !== "AssertionError") {
        console.error(`Exception raised in test "${name}". Failing the test and continuing. \n${error}`);
        check(null, { [`Exception raised "${error}"`]: () => false });
      }
    }
  });
  return held;
}

export default { config, expect, Assertion, AssertionError };
