// What `formdata` offers: the body of a multipart/form-data request, bytes of files among it.
function bytesOf(value) {
  if (typeof value !== "string") return new Uint8Array(value.buffer ?? value);
  const bytes = [];
  for (const point of value.toWellFormed()) {
    const code = point.codePointAt(0);
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return Uint8Array.from(bytes);
}

const quoted = (name) => name.replace(/"/g, "%22").replace(/\r/g, "%0D").replace(/\n/g, "%0A");

export class FormData {
  constructor() {
    this.boundary = `------RWWorkerFormDataBoundary${Math.random().toString(36)}`;
    this.parts = [];
  }

  /// `append(field, value)` with text, a buffer, or what `http.file()` gives; a file's name and type may be told last.
  append(field, value, filename) {
    if (arguments.length < 2) throw new SyntaxError("Not enough arguments");
    this.parts.push({ field: String(field), value, filename });
  }

  body() {
    const pieces = [];
    for (const { field, value, filename } of this.parts) {
      const isFile = value !== null && typeof value === "object" && value.data !== undefined;
      const isBytes = value instanceof ArrayBuffer || ArrayBuffer.isView(value);
      const name = filename ?? (isFile ? value.filename : isBytes ? "file" : undefined);
      const type = isFile ? value.content_type || value.contentType : undefined;
      let head = `--${this.boundary}\r\nContent-Disposition: form-data; name="${quoted(field)}"`;
      if (name !== undefined) head += `; filename="${quoted(name)}"\r\nContent-Type: ${type || "application/octet-stream"}`;
      else if (type) head += `\r\nContent-Type: ${type}`;
      pieces.push(bytesOf(`${head}\r\n\r\n`));
      pieces.push(bytesOf(isFile ? value.data : isBytes ? value : String(value)), bytesOf("\r\n"));
    }
    pieces.push(bytesOf(`--${this.boundary}--\r\n`));
    const whole = new Uint8Array(pieces.reduce((total, piece) => total + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole.buffer;
  }
}
