// What `totp` offers: one-time passwords of RFC 6238.
import { hmac } from "k6/crypto";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

function unpacked(secret) {
  const bytes = [];
  let [value, bits] = [0, 0];
  for (const letter of secret.toUpperCase().replace(/[\s=-]/g, "")) {
    const digit = ALPHABET.indexOf(letter);
    if (digit < 0) throw new Error(`'${letter}' of the secret is no base32`);
    value = ((value << 5) | digit) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >> bits) & 0xff);
    }
  }
  return Uint8Array.from(bytes).buffer;
}

export class TOTP {
  constructor(secret, digits = 6) {
    Object.assign(this, { secret, digits });
  }

  async gen(period = 30, bias = 0) {
    const message = new DataView(new ArrayBuffer(8));
    message.setBigUint64(0, BigInt(Math.floor((Math.floor(Date.now() / 1000) - bias) / period)));
    const mac = new DataView(hmac("sha1", unpacked(this.secret), message.buffer, "binary"));
    const at = mac.getUint8(mac.byteLength - 1) & 0x0f;
    const code = (mac.getUint32(at) & 0x7fffffff) % 10 ** this.digits;
    return String(code).padStart(this.digits, "0");
  }

  async verify(code, period = 30, bias = 0) {
    return String(code) === (await this.gen(period, bias));
  }
}
