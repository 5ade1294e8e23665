// What `papaparse` offers to scripts: CSV from and to text. Workers, streams and downloads are refused.
const QUOTE = '"';

function guess(text, quote) {
  const line = text.split(/\r\n|\r|\n/, 1)[0];
  const plain = line.split(quote).filter((_, place) => place % 2 === 0).join("");
  const counts = [",", "\t", "|", ";"].map((sign) => [sign, plain.split(sign).length]);
  return counts.reduce((best, next) => (next[1] > best[1] ? next : best))[0];
}

/// Rows of fields; a field in quotes may hold anything, a quote twice.
function rows(text, { delimiter, quoteChar, comments, most }, errors) {
  const all = [];
  let at = 0;
  const endOfLine = (from) => {
    const found = text.slice(from).search(/\r\n|\r|\n/);
    return found < 0 ? text.length : from + found;
  };
  while (at < text.length && all.length < most) {
    if (comments && text.startsWith(comments, at)) {
      at = endOfLine(at);
      at += text.startsWith("\r\n", at) ? 2 : 1;
      continue;
    }
    const row = [];
    let ended = false;
    while (!ended) {
      let field = "";
      if (text.startsWith(quoteChar, at)) {
        at += 1;
        for (;;) {
          const close = text.indexOf(quoteChar, at);
          if (close < 0) {
            errors.push({ type: "Quotes", code: "MissingQuotes", message: "Quoted field unterminated", row: all.length, index: at });
            field += text.slice(at);
            at = text.length;
            break;
          }
          field += text.slice(at, close);
          at = close + 1;
          if (!text.startsWith(quoteChar, at)) break;
          field += quoteChar;
          at += 1;
        }
      }
      let end = at;
      while (end < text.length && !text.startsWith(delimiter, end) && text[end] !== "\n" && text[end] !== "\r") end += 1;
      row.push(field + text.slice(at, end));
      ended = !text.startsWith(delimiter, end) || end >= text.length;
      at = ended ? end + (text.startsWith("\r\n", end) ? 2 : 1) : end + delimiter.length;
    }
    all.push(row);
  }
  if (/[\r\n]$/.test(text) && all.length < most) all.push([""]);
  return all;
}

function typed(value) {
  if (/^(true|TRUE)$/.test(value)) return true;
  if (/^(false|FALSE)$/.test(value)) return false;
  if (/^\s*-?(\d+\.?|\.\d+|\d+\.\d+)([eE][-+]?\d+)?\s*$/.test(value)) return parseFloat(value);
  return value === "" ? null : value;
}

const applies = (setting, field) => (typeof setting === "function" ? setting(field) : typeof setting === "object" && setting !== null ? setting[field] : setting);

function named(data, config, errors) {
  const [head = [], ...rest] = data;
  const fields = head.map((name, place) => (config.transformHeader ? config.transformHeader(name.trim(), place) : name));
  const objects = rest.map((row, number) => {
    if (row.length !== fields.length) {
      const code = row.length < fields.length ? "TooFewFields" : "TooManyFields";
      errors.push({ type: "FieldMismatch", code, message: `expected ${fields.length} fields but parsed ${row.length}`, row: number });
    }
    const object = {};
    row.forEach((value, place) => {
      if (place < fields.length) object[fields[place]] = value;
      else (object.__parsed_extra ??= []).push(value);
    });
    return object;
  });
  return { fields, objects };
}

export function parse(text, config = {}) {
  if (typeof text !== "string" || config.download || config.worker) {
    throw new Error("papaparse reads text here: neither files, streams, downloads nor workers");
  }
  const errors = [];
  const source = text.replace(/^\ufeff/, "");
  const quoteChar = config.quoteChar ?? QUOTE;
  const asked = config.delimiter;
  const delimiter = (typeof asked === "function" ? asked(source) : asked) || guess(source, quoteChar);
  const most = config.preview > 0 ? config.preview + (config.header ? 1 : 0) : Infinity;
  const comments = config.comments === true ? "#" : config.comments;
  let data = rows(source, { delimiter, quoteChar, comments, most }, errors);
  if (config.skipEmptyLines) {
    const isEmpty = (row) => (config.skipEmptyLines === "greedy" ? row.join("").trim() === "" : row.length === 1 && row[0] === "");
    data = data.filter((row) => !isEmpty(row));
  }
  const meta = { delimiter, linebreak: /\r\n|\r|\n/.exec(source)?.[0] ?? "\n", aborted: false, truncated: false, cursor: text.length };
  const shape = (value, field) => {
    const changed = config.transform ? config.transform(value, field) : value;
    return typeof changed === "string" && applies(config.dynamicTyping, field) ? typed(changed) : changed;
  };
  if (config.header) {
    const { fields, objects } = named(data, config, errors);
    meta.fields = fields;
    data = objects.map((object) => Object.fromEntries(Object.entries(object).map(([field, value]) => [field, Array.isArray(value) ? value.map((one) => shape(one, field)) : shape(value, field)])));
  } else {
    data = data.map((row) => row.map(shape));
  }
  const results = { data, errors, meta };
  if (typeof config.step === "function") {
    for (const row of data) config.step({ data: row, errors: [], meta }, { abort() {}, pause() {}, resume() {} });
  }
  config.complete?.(results);
  return results;
}

export function unparse(input, config = {}) {
  const { delimiter = ",", newline = "\r\n", quoteChar = QUOTE, quotes = false, header = true, columns } = config;
  const given = typeof input === "string" ? JSON.parse(input) : input;
  const list = Array.isArray(given) ? given : given.data;
  const fields = columns ?? given.fields ?? (Array.isArray(list[0]) ? undefined : Object.keys(list[0] ?? {}));
  const field = (value, place) => {
    const text = value === undefined || value === null ? "" : value instanceof Date ? value.toISOString() : String(value);
    const always = typeof quotes === "function" ? quotes(value, place) : Array.isArray(quotes) ? quotes[place] : quotes;
    const needs = always || text.includes(delimiter) || /[\r\n]|^\s|\s$/.test(text) || text.includes(quoteChar);
    return needs ? quoteChar + text.replaceAll(quoteChar, quoteChar + quoteChar) + quoteChar : text;
  };
  const line = (row) => row.map(field).join(delimiter);
  const body = list.map((row) => line(Array.isArray(row) ? row : fields.map((name) => row[name])));
  return (header && fields ? [line(fields), ...body] : body).join(newline);
}

export default { parse, unparse };
