// `k6/html`: selections as jQuery has them, over pages that are read outside of the engine; and what responses do with forms and links.
import http from "k6/http";

const hidden = globalThis["cohort:prelude"];
const VOID = new Set(["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]);
const RAW = new Set(["script", "style", "xmp", "iframe", "noembed", "noframes", "plaintext", "noscript"]);
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;" };
const escaped = (text) => text.replace(/[&<>"']/g, (sign) => ESCAPES[sign]);

/// A node: `name` is undefined for text.
class Node {
  constructor({ n, a, t }, parent) {
    Object.assign(this, { name: n, attributes: a, text: t, parent, children: [] });
    parent?.children.push(this);
  }

  get elements() {
    return this.children.filter((child) => child.name !== undefined);
  }

  *descendants() {
    const next = [...this.elements].reverse();
    while (next.length > 0) {
      const node = next.pop();
      yield node;
      next.push(...node.elements.reverse());
    }
  }

  content() {
    let all = "";
    const next = [this];
    while (next.length > 0) {
      const node = next.pop();
      if (node.text !== undefined) all += node.text;
      else next.push(...[...node.children].reverse());
    }
    return all;
  }

  inner() {
    return this.children.map((child) => child.outer()).join("");
  }

  outer() {
    if (this.name === undefined) return RAW.has(this.parent?.name) ? this.text : escaped(this.text);
    if (this.name === "#document") return this.inner();
    const attributes = Object.entries(this.attributes).map(([name, value]) => ` ${name}="${escaped(value)}"`);
    const open = `<${this.name}${attributes.join("")}>`;
    return VOID.has(this.name) ? open : `${open}${this.inner()}</${this.name}>`;
  }
}

function read(text) {
  const nodes = [];
  for (const one of hidden.html(text)) nodes.push(new Node(one, nodes[one.p]));
  return nodes[0];
}

const IDENTIFIER = /^(?:[-\w\u0080-\uffff]|\\.)+/;
const plain = (name) => name.replace(/\\(.)/g, "$1");
const ATTRIBUTE = /^\[\s*([-\w:]+)\s*(?:([~|^$*!]?=)\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\]\s]+))\s*(?:i\s*)?)?\]/;
const COMPARE = {
  "=": (have, want) => have === want,
  "!=": (have, want) => have !== want,
  "~=": (have, want) => have?.split(/\s+/).includes(want) ?? false,
  "|=": (have, want) => have === want || (have?.startsWith(`${want}-`) ?? false),
  "^=": (have, want) => want !== "" && (have?.startsWith(want) ?? false),
  "$=": (have, want) => want !== "" && (have?.endsWith(want) ?? false),
  "*=": (have, want) => want !== "" && (have?.includes(want) ?? false),
};
const siblings = (node, ofType) => (node.parent?.elements ?? [node]).filter((other) => !ofType || other.name === node.name);
const isInput = (node) => ["input", "select", "textarea", "button"].includes(node.name);
const SIMPLE = {
  empty: (node) => node.children.length === 0,
  root: (node) => node.parent?.name === "#document",
  checked: (node) => "checked" in node.attributes || (node.name === "option" && "selected" in node.attributes),
  selected: (node) => "selected" in node.attributes,
  disabled: (node) => "disabled" in node.attributes,
  enabled: (node) => isInput(node) && !("disabled" in node.attributes),
  input: isInput,
  link: (node) => node.name === "a" && "href" in node.attributes,
};

/// `2n+1`, `odd`, `3`: whether a place, from 1, is one of them.
function nth(written) {
  const text = written.replace(/\s+/g, "").replace(/^odd$/, "2n+1").replace(/^even$/, "2n");
  const found = /^(?:([+-]?\d*)n)?([+-]?\d+)?$/.exec(text);
  if (!found || text === "") throw new Error(`invalid selector: nth of '${written}'`);
  const step = found[1] === undefined ? 0 : found[1] === "" || found[1] === "+" ? 1 : found[1] === "-" ? -1 : Number(found[1]);
  const first = Number(found[2] ?? 0);
  return (place) => (step === 0 ? place === first : (place - first) % step === 0 && (place - first) / step >= 0);
}

function pseudo(name, inside) {
  if (SIMPLE[name]) return SIMPLE[name];
  const [, base, ofType] = /^(.*?)-(child|of-type)$/.exec(name) ?? [];
  if (base !== undefined) {
    const all = (node) => siblings(node, ofType === "of-type");
    if (base === "only") return (node) => all(node).length === 1;
    const places = base === "first" || base === "last" ? (place) => place === 1 : nth(inside ?? "");
    const fromEnd = base === "last" || base === "nth-last";
    if (!["first", "last", "nth", "nth-last"].includes(base)) throw new Error(`invalid selector: ':${name}' is not supported`);
    return (node) => places(fromEnd ? all(node).length - all(node).indexOf(node) : all(node).indexOf(node) + 1);
  }
  const unquoted = inside?.trim().replace(/^(["'])(.*)\1$/, "$2");
  if (name === "contains") return (node) => node.content().includes(unquoted);
  if (name === "not") return ((matches) => (node) => !matches(node))(selector(inside));
  if (name === "is") return selector(inside);
  if (name === "has") return ((matches) => (node) => [...node.descendants()].some(matches))(selector(inside));
  throw new Error(`invalid selector: ':${name}' is not supported`);
}

/// Takes the part from the beginning of a selector up to the next combinator.
function compound(text) {
  const conditions = [];
  let rest = text;
  const take = (pattern) => {
    const found = pattern.exec(rest);
    if (found) rest = rest.slice(found[0].length);
    return found;
  };
  if (take(/^\*/)) conditions.push(() => true);
  const tag = take(IDENTIFIER);
  if (tag) conditions.push((node) => node.name === plain(tag[0]).toLowerCase());
  for (;;) {
    let found;
    if (/^[#.]/.test(rest)) {
      const sign = rest[0];
      rest = rest.slice(1);
      const name = plain(take(IDENTIFIER)?.[0] ?? "");
      if (name === "") throw new Error(`invalid selector '${text}'`);
      const has = COMPARE["~="];
      conditions.push(sign === "#" ? (node) => node.attributes.id === name : (node) => has(node.attributes.class, name));
    } else if ((found = take(ATTRIBUTE))) {
      const [, name, compare, ...values] = found;
      const key = name.toLowerCase();
      const want = plain(values.find((value) => value !== undefined) ?? "");
      conditions.push(compare ? (node) => COMPARE[compare](node.attributes[key], want) : (node) => key in node.attributes);
    } else if ((found = take(/^:([-\w]+)/))) {
      let inside;
      if (rest[0] === "(") {
        let [depth, end] = [0, 0];
        do {
          if (rest[end] === "(") depth += 1;
          if (rest[end] === ")") depth -= 1;
          end += 1;
        } while (depth > 0 && end < rest.length);
        inside = rest.slice(1, end - 1);
        rest = rest.slice(end);
      }
      conditions.push(pseudo(found[1].toLowerCase(), inside));
    } else break;
  }
  if (conditions.length === 0) throw new Error(`invalid selector '${text}'`);
  return [(node) => conditions.every((holds) => holds(node)), rest];
}

const before = (node) => {
  const all = siblings(node, false);
  return all.slice(0, all.indexOf(node));
};
const up = (node) => {
  const all = [];
  for (let parent = node.parent; parent; parent = parent.parent) all.push(parent);
  return all;
};
const COMBINE = {
  " ": (left, right) => (node) => right(node) && up(node).some((one) => one.name !== "#document" && left(one)),
  ">": (left, right) => (node) => right(node) && node.parent !== undefined && node.parent.name !== "#document" && left(node.parent),
  "+": (left, right) => (node) => right(node) && before(node).slice(-1).some(left),
  "~": (left, right) => (node) => right(node) && before(node).some(left),
};
const known = new Map();

/// A function that says whether a node is meant by a selector.
function selector(text) {
  const found = known.get(text);
  if (found) return found;
  const any = [];
  let rest = String(text).trim();
  while (rest !== "") {
    let [matches, after] = compound(rest);
    for (;;) {
      const combinator = /^\s*([>+~])\s*|^\s+(?=[^\s,])/.exec(after);
      if (!combinator) break;
      const [next, left] = compound(after.slice(combinator[0].length));
      matches = COMBINE[combinator[1] ?? " "](matches, next);
      after = left;
    }
    any.push(matches);
    const comma = /^\s*(?:,\s*(?=\S)|$)/.exec(after);
    if (!comma) throw new Error(`invalid selector '${text}'`);
    rest = after.slice(comma[0].length);
  }
  if (any.length === 0) throw new Error(`invalid selector '${text}'`);
  const matches = (node) => node.name !== undefined && any.some((one) => one(node));
  known.set(text, matches);
  return matches;
}

/// What is meant by a selector, a function, a selection or an element.
function meaning(wanted) {
  if (typeof wanted === "string") return selector(wanted);
  if (wanted instanceof Selection) return (node) => wanted.nodes.includes(node);
  if (wanted instanceof Element) return (node) => node === wanted.node;
  return undefined;
}

function value(node) {
  if (node.name === "textarea") return node.content();
  if (node.name === "option") return node.attributes.value ?? node.content();
  if (node.name === "select") {
    const options = [...node.descendants()].filter(({ name }) => name === "option");
    const chosen = options.filter(({ attributes }) => "selected" in attributes);
    if ("multiple" in node.attributes) return chosen.map(value);
    const one = chosen[0] ?? options[0];
    return one && value(one);
  }
  return node.attributes.value;
}

function typed(text) {
  if (!/^(true|false|null|-?\d+(\.\d+)?|[[{].*[\]}])$/s.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export class Selection {
  constructor(nodes, url) {
    this.nodes = [...new Set(nodes)];
    this.url = url;
  }

  #of(nodes) {
    return new Selection(nodes, this.url);
  }

  /// The nodes that each leads to, as far as they are wanted.
  #walk(steps, wanted) {
    const matches = wanted === undefined ? () => true : meaning(wanted);
    return this.#of(this.nodes.flatMap(steps).filter((node) => node && node.name !== "#document" && matches(node)));
  }

  /// The same, up to one that is meant by `until`.
  #walkUntil(steps, until, wanted) {
    const ends = until === undefined ? () => false : meaning(until);
    return this.#walk((node) => {
      const all = steps(node);
      const end = all.findIndex(ends);
      return end < 0 ? all : all.slice(0, end);
    }, wanted);
  }

  find(wanted) {
    const matches = meaning(wanted);
    return this.#of(this.nodes.flatMap((node) => [...node.descendants()].filter(matches)));
  }

  filter(wanted) {
    const matches = meaning(wanted);
    return this.#of(this.nodes.filter(matches ?? ((node, place) => wanted(place, new Element(node, this.url)))));
  }

  not(wanted) {
    const matches = meaning(wanted);
    return this.#of(this.nodes.filter((node, place) => !(matches ? matches(node) : wanted(place, new Element(node, this.url)))));
  }

  has(wanted) {
    const matches = meaning(wanted);
    return this.#of(this.nodes.filter((node) => [...node.descendants()].some(matches)));
  }

  is(wanted) {
    return this.filter(wanted).size() > 0;
  }

  closest(wanted) {
    const matches = meaning(wanted);
    return this.#of(this.nodes.map((node) => [node, ...up(node)].find(matches)).filter(Boolean));
  }

  children(wanted) {
    return this.#walk((node) => node.elements, wanted);
  }

  contents() {
    return this.#of(this.nodes.flatMap((node) => node.children));
  }

  parent(wanted) {
    return this.#walk((node) => [node.parent], wanted);
  }

  parents(wanted) {
    return this.#walk(up, wanted);
  }

  parentsUntil(until, wanted) {
    return this.#walkUntil(up, until, wanted);
  }

  next(wanted) {
    return this.#walk((node) => after(node).slice(0, 1), wanted);
  }

  nextAll(wanted) {
    return this.#walk(after, wanted);
  }

  nextUntil(until, wanted) {
    return this.#walkUntil(after, until, wanted);
  }

  prev(wanted) {
    return this.#walk((node) => before(node).slice(-1), wanted);
  }

  prevAll(wanted) {
    return this.#walk((node) => before(node).reverse(), wanted);
  }

  prevUntil(until, wanted) {
    return this.#walkUntil((node) => before(node).reverse(), until, wanted);
  }

  eq(place) {
    return this.#of(this.nodes.slice(place, place === -1 ? undefined : place + 1));
  }

  first() {
    return this.eq(0);
  }

  single(wanted) {
    return this.find(wanted).first();
  }

  last() {
    return this.eq(-1);
  }

  slice(from, to) {
    return this.#of(this.nodes.slice(from, to));
  }

  size() {
    return this.nodes.length;
  }

  get(place) {
    const all = this.nodes.map((node) => new Element(node, this.url));
    return place === undefined ? all : all.at(place);
  }

  toArray() {
    return this.nodes.map((node) => this.#of([node]));
  }

  each(callback) {
    this.get().forEach((element, place) => callback(place, element));
    return this;
  }

  map(callback) {
    return this.get().map((element, place) => callback(place, element));
  }

  attr(name, otherwise) {
    return this.nodes[0]?.attributes?.[name.toLowerCase()] ?? otherwise;
  }

  data(name) {
    const attributes = Object.entries(this.nodes[0]?.attributes ?? {}).filter(([name]) => name.startsWith("data-"));
    const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
    const all = Object.fromEntries(attributes.map(([name, value]) => [camel(name.slice(5)), typed(value)]));
    return name === undefined ? all : all[camel(name)];
  }

  text() {
    return this.nodes.map((node) => node.content()).join("");
  }

  html(otherwise) {
    return this.nodes[0]?.inner() ?? otherwise;
  }

  val(otherwise) {
    return (this.nodes[0] && value(this.nodes[0])) ?? otherwise;
  }

  /// The fields of forms that would be sent.
  serializeArray() {
    const fields = this.nodes.flatMap((node) => (node.name === "form" ? [...node.descendants()] : [node]));
    const isSent = ({ name, attributes: { type = "text", ...attributes } }) =>
      ["input", "select", "textarea"].includes(name) && attributes.name && !("disabled" in attributes) &&
      !["submit", "button", "reset", "image", "file"].includes(type.toLowerCase()) &&
      (!["checkbox", "radio"].includes(type.toLowerCase()) || "checked" in attributes);
    return fields.filter(isSent).flatMap((node) => {
      const usual = ["checkbox", "radio"].includes(node.attributes.type) ? "on" : "";
      return [value(node) ?? usual].flat().map((one) => ({ name: node.attributes.name, value: one }));
    });
  }

  serializeObject() {
    const object = {};
    for (const { name, value } of this.serializeArray()) object[name] = name in object ? [object[name], value].flat() : value;
    return object;
  }

  serialize() {
    const encode = (text) => encodeURIComponent(text).replace(/%20/g, "+");
    return this.serializeArray().map(({ name, value }) => `${encode(name)}=${encode(value)}`).join("&");
  }
}

const after = (node) => {
  const all = siblings(node, false);
  return all.slice(all.indexOf(node) + 1);
};

/// One element, as `each`, `map` and `get` give it. What is a property in a browser is a function here, as in k6.
export class Element {
  constructor(node, url) {
    Object.assign(this, { node, url });
  }

  #as(node) {
    return node ? new Element(node, this.url) : undefined;
  }

  nodeName() {
    return this.node.name ?? "#text";
  }

  nodeType() {
    return this.node.name === undefined ? 3 : this.node.name === "#document" ? 9 : 1;
  }

  nodeValue() {
    return this.node.text;
  }

  textContent() {
    return this.node.content();
  }

  text() {
    return this.node.content();
  }

  innerHTML() {
    return this.node.inner();
  }

  toString() {
    return this.node.outer();
  }

  getAttribute(name) {
    return this.node.attributes?.[name.toLowerCase()];
  }

  getAttributeNode(name) {
    const value = this.getAttribute(name);
    return value === undefined ? undefined : { name, value, nodeName: name, nodeValue: value };
  }

  hasAttribute(name) {
    return this.getAttribute(name) !== undefined;
  }

  hasAttributes() {
    return Object.keys(this.node.attributes ?? {}).length > 0;
  }

  attributes() {
    return Object.fromEntries(Object.keys(this.node.attributes ?? {}).map((name) => [name, this.getAttributeNode(name)]));
  }

  id() {
    return this.getAttribute("id") ?? "";
  }

  className() {
    return this.getAttribute("class") ?? "";
  }

  classList() {
    return this.className().split(/\s+/).filter(Boolean);
  }

  children() {
    return this.node.elements.map((node) => this.#as(node));
  }

  childNodes() {
    return this.node.children.map((node) => this.#as(node));
  }

  childElementCount() {
    return this.node.elements.length;
  }

  hasChildNodes() {
    return this.node.children.length > 0;
  }

  firstChild() {
    return this.#as(this.node.children[0]);
  }

  lastChild() {
    return this.#as(this.node.children.at(-1));
  }

  firstElementChild() {
    return this.#as(this.node.elements[0]);
  }

  lastElementChild() {
    return this.#as(this.node.elements.at(-1));
  }

  nextElementSibling() {
    return this.#as(after(this.node)[0]);
  }

  previousElementSibling() {
    return this.#as(before(this.node).at(-1));
  }

  nextSibling() {
    const all = this.node.parent?.children ?? [];
    return this.#as(all[all.indexOf(this.node) + 1]);
  }

  previousSibling() {
    const all = this.node.parent?.children ?? [];
    return this.#as(all[all.indexOf(this.node) - 1]);
  }

  parentNode() {
    return this.#as(this.node.parent);
  }

  parentElement() {
    return this.node.parent?.name === "#document" ? undefined : this.#as(this.node.parent);
  }

  contains(other) {
    return other.node === this.node || up(other.node).includes(this.node);
  }

  matches(wanted) {
    return selector(wanted)(this.node);
  }

  is(other) {
    return typeof other === "string" ? this.matches(other) : other?.node === this.node;
  }

  isSameNode(other) {
    return other?.node === this.node;
  }

  isEqualNode(other) {
    return other?.node?.outer() === this.node.outer();
  }

  querySelector(wanted) {
    return this.querySelectorAll(wanted)[0];
  }

  querySelectorAll(wanted) {
    return [...this.node.descendants()].filter(selector(wanted)).map((node) => this.#as(node));
  }

  getElementsByTagName(name) {
    return this.querySelectorAll(name);
  }

  getElementsByClassName(name) {
    return this.querySelectorAll(`.${name}`);
  }

  value() {
    return value(this.node);
  }

  selection() {
    return new Selection([this.node], this.url);
  }

  static {
    for (const name of ["name", "type", "action", "method", "title", "lang", "alt", "placeholder", "rel", "target", "content"]) {
      this.prototype[name] = function () {
        return this.getAttribute(name) ?? "";
      };
    }
    for (const name of ["href", "src"]) {
      this.prototype[name] = function () {
        const written = this.getAttribute(name) ?? "";
        return this.url === undefined ? written : absolute(written, this.url);
      };
    }
    for (const name of ["hash", "host", "hostname", "origin", "password", "pathname", "port", "protocol", "search", "username"]) {
      this.prototype[name] = function () {
        const written = this.getAttribute("href") ?? "";
        return written === "" ? "" : hidden.url(written, this.url)[name];
      };
    }
    for (const name of ["checked", "selected", "disabled", "hidden", "required", "readonly", "multiple"]) {
      this.prototype[name] = function () {
        return this.hasAttribute(name);
      };
    }
  }
}

const absolute = (address, base) => hidden.url(address, base).href;

export function parseHTML(text) {
  return new Selection([read(String(text))]);
}

hidden.pageOf = (response, wanted) => {
  const { body } = response;
  if (typeof body !== "string") throw new Error("Response.html() needs the body as text: this response has none, or binary");
  const page = new Selection([read(body)], response.url);
  return wanted === undefined ? page : page.find(wanted);
};

hidden.submitForm = (response, { formSelector = "form", submitSelector = '[type="submit"]', fields = {}, params } = {}) => {
  const form = hidden.pageOf(response, formSelector).first();
  if (form.size() === 0) throw new Error(`no form found for selector '${formSelector}' in response '${response.url}'`);
  const submit = form.find(submitSelector).first();
  const own = submit.attr("name") ? { [submit.attr("name")]: submit.val("") } : {};
  const values = { ...form.serializeObject(), ...own, ...fields };
  const url = absolute(form.attr("action", response.url), response.url);
  const method = form.attr("method", "GET").toUpperCase();
  if (method !== "GET") return http.request(method, url, values, params);
  const encode = encodeURIComponent;
  const pairs = Object.entries(values).flatMap(([name, value]) => [value].flat().map((one) => `${encode(name)}=${encode(one)}`));
  return http.get(hidden.url(url, undefined, "search", pairs.length > 0 ? `?${pairs.join("&")}` : "").href, params);
};

hidden.clickLink = (response, { selector: wanted = "a[href]", params } = {}) => {
  const link = hidden.pageOf(response, wanted).first();
  if (link.size() === 0) throw new Error(`no element found for selector '${wanted}' in response '${response.url}'`);
  const href = link.attr("href");
  if (href === undefined) throw new Error(`no valid href attribute value found on element '${wanted}' in response '${response.url}'`);
  return http.get(absolute(href, response.url), params);
};

export default { parseHTML };
