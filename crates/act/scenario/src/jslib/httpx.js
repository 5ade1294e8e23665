// What `httpx` offers: a session with a base URL, headers, tags and other parameters of its own.
import http from "k6/http";

export class Request {
  /// The body stands among the parameters.
  constructor(method, url, { body = null, ...params } = {}) {
    Object.assign(this, { method, url, body, params });
  }

  addHeader(name, value) {
    this.params.headers = { ...this.params.headers, [name]: value };
    return this;
  }

  addTag(name, value) {
    this.params.tags = { ...this.params.tags, [name]: value };
    return this;
  }
}

const kind = (method) =>
  class extends Request {
    constructor(url, params) {
      super(method, url, params);
    }
  };
export const Get = kind("GET");
export const Head = kind("HEAD");
export const Post = kind("POST");
export const Put = kind("PUT");
export const Patch = kind("PATCH");
export const Delete = kind("DELETE");
export const Options = kind("OPTIONS");
export const Connect = kind("CONNECT");
export const Trace = kind("TRACE");

export class Httpx {
  constructor({ baseURL = "", headers = {}, tags = {}, ...params } = {}) {
    Object.assign(this, { baseURL, headers: { ...headers }, tags: { ...tags }, params });
  }

  setBaseUrl(url) {
    this.baseURL = url;
  }

  addHeader(name, value) {
    this.headers[name] = value;
  }

  addHeaders(headers) {
    Object.assign(this.headers, headers);
  }

  clearHeader(name) {
    delete this.headers[name];
  }

  addTag(name, value) {
    this.tags[name] = value;
  }

  addTags(tags) {
    Object.assign(this.tags, tags);
  }

  clearTag(name) {
    delete this.tags[name];
  }

  /// What `http` is to be told: the session's parameters, then those of the batch, then the request's own.
  #request({ method, url, body, params }, ofBatch) {
    const merged = { ...this.params, ...ofBatch, ...params };
    merged.headers = { ...this.headers, ...ofBatch?.headers, ...params?.headers };
    merged.tags = { ...this.tags, ...ofBatch?.tags, ...params?.tags };
    const named = url !== null && typeof url === "object" && url.url !== undefined;
    if (named) merged.tags.name ??= url.name;
    const address = String(named ? url.url : url);
    const whole = /^https?:\/\//i.test(address) ? address : this.baseURL + address;
    return { method, url: whole, body, params: merged };
  }

  request(method, url, body, params) {
    const made = this.#request({ method, url, body, params });
    return http.request(made.method, made.url, made.body, made.params);
  }

  asyncRequest(method, url, body, params) {
    const made = this.#request({ method, url, body, params });
    return http.asyncRequest(made.method, made.url, made.body, made.params);
  }

  batch(requests, params) {
    const read = (one) => {
      const [method, url, body, its] = Array.isArray(one) ? one : ["GET", one];
      return Array.isArray(one) || typeof one === "string" ? { method, url, body, params: its } : one;
    };
    if (Array.isArray(requests)) return http.batch(requests.map((one) => this.#request(read(one), params)));
    const entries = Object.entries(requests);
    return http.batch(Object.fromEntries(entries.map(([name, one]) => [name, this.#request(read(one), params)])));
  }

  static {
    for (const name of ["get", "head", "post", "put", "patch", "delete", "options", "connect", "trace"]) {
      const method = name.toUpperCase();
      this.prototype[name] = function (url, body, params) {
        return this.request(method, url, body, params);
      };
      this.prototype[`async${method[0]}${name.slice(1)}`] = function (url, body, params) {
        return this.asyncRequest(method, url, body, params);
      };
    }
    this.prototype.del = this.prototype.delete;
  }
}
