// What `url` offers: URL and URLSearchParams as browsers have them. URLs are taken apart outside of the engine.
const { url: read } = globalThis["cohort:prelude"];

const decode = (text) => {
  const spaced = text.replace(/\+/g, " ");
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
};
const encode = (text) =>
  encodeURIComponent(String(text).toWellFormed())
    .replace(/%20/g, "+")
    .replace(/[!'()~]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);

export class URLSearchParams {
  #pairs = [];
  #changed = () => {};

  constructor(init = "", changed) {
    if (typeof init === "string") this.#read(init);
    else if (init && typeof init[Symbol.iterator] === "function") {
      for (const [name, value] of init) this.#pairs.push([String(name), String(value)]);
    } else {
      for (const [name, value] of Object.entries(init ?? {})) this.#pairs.push([name, String(value)]);
    }
    if (typeof changed === "function") this.#changed = changed;
  }

  #read(text) {
    const parts = text.replace(/^\?/, "").split("&").filter((part) => part !== "");
    this.#pairs = parts.map((part) => {
      const at = part.indexOf("=");
      return at < 0 ? [decode(part), ""] : [decode(part.slice(0, at)), decode(part.slice(at + 1))];
    });
  }

  append(name, value) {
    this.#pairs.push([String(name), String(value)]);
    this.#changed();
  }

  delete(name, value) {
    this.#pairs = this.#pairs.filter(([known, its]) => known !== String(name) || (value !== undefined && its !== String(value)));
    this.#changed();
  }

  get(name) {
    return this.#pairs.find(([known]) => known === String(name))?.[1] ?? null;
  }

  getAll(name) {
    return this.#pairs.filter(([known]) => known === String(name)).map(([, value]) => value);
  }

  has(name, value) {
    return this.#pairs.some(([known, its]) => known === String(name) && (value === undefined || its === String(value)));
  }

  set(name, value) {
    const at = this.#pairs.findIndex(([known]) => known === String(name));
    if (at < 0) this.#pairs.push([String(name), String(value)]);
    else {
      this.#pairs[at][1] = String(value);
      this.#pairs = this.#pairs.filter(([known], place) => place <= at || known !== String(name));
    }
    this.#changed();
  }

  sort() {
    this.#pairs.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
    this.#changed();
  }

  forEach(callback, self) {
    for (const [name, value] of this) callback.call(self, value, name, this);
  }

  *keys() {
    for (const [name] of this.#pairs) yield name;
  }

  *values() {
    for (const [, value] of this.#pairs) yield value;
  }

  *entries() {
    for (const [name, value] of this.#pairs) yield [name, value];
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  get size() {
    return this.#pairs.length;
  }

  toString() {
    return this.#pairs.map(([name, value]) => `${encode(name)}=${encode(value)}`).join("&");
  }

  toJSON() {
    return this.toString();
  }
}

export class URL {
  #parts;
  #params;

  constructor(address, base) {
    this.#take(read(String(address), base === undefined ? undefined : String(base)));
  }

  static canParse(address, base) {
    try {
      return Boolean(new URL(address, base));
    } catch {
      return false;
    }
  }

  #take(parts) {
    this.#parts = parts;
    this.#params = new URLSearchParams(parts.search, () => {
      const search = this.#params.toString();
      this.#parts = read(this.href, undefined, "search", search === "" ? "" : `?${search}`);
    });
  }

  #set(part, value) {
    this.#take(read(this.href, undefined, part, String(value)));
  }

  get searchParams() {
    return this.#params;
  }

  get origin() {
    return this.#parts.origin;
  }

  toString() {
    return this.href;
  }

  toJSON() {
    return this.href;
  }

  static {
    for (const part of ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"]) {
      Object.defineProperty(this.prototype, part, {
        get() {
          return this.#parts[part];
        },
        set(value) {
          if (part === "href") this.#take(read(String(value)));
          else this.#set(part, value);
        },
        enumerable: true,
        configurable: true,
      });
    }
  }
}
