// Evaluated first in every machine: what is easier said in JavaScript. Time comes from the machine, never from the engine.
const hidden = globalThis["cohort:prelude"];
const now = hidden.now;
const Engine = Date;

function Clock(...parts) {
  if (!new.target) return new Engine(Math.floor(now() / 1000)).toString();
  if (parts.length === 0) parts = [Math.floor(now() / 1000)];
  return Reflect.construct(Engine, parts, new.target === Clock ? Engine : new.target);
}
Object.defineProperty(Clock, "name", { value: "Date" });
Object.defineProperty(Clock, "length", { value: 7 });
Clock.prototype = Engine.prototype;
Object.defineProperty(Engine.prototype, "constructor", { value: Clock, writable: true, configurable: true });
Object.defineProperty(Clock, "prototype", { writable: false, enumerable: false });
for (const [name, value] of [["now", () => Math.floor(now() / 1000)], ["parse", Engine.parse], ["UTC", Engine.UTC]]) {
  Object.defineProperty(Clock, name, { value, writable: true, configurable: true });
}
Object.defineProperty(globalThis, "Date", { value: Clock, writable: true, configurable: true });

let born;
const performance = {
  now() {
    const at = now();
    born ??= at;
    return (at - born) / 1000;
  },
};
Object.defineProperty(globalThis, "performance", { value: performance, writable: true, configurable: true });

// Of web cryptography, what draws.
const draw = (count) => Uint8Array.from({ length: count }, () => Math.floor(hidden.random() * 256));
const crypto = {
  getRandomValues(array) {
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(draw(array.byteLength));
    return array;
  },
  randomUUID() {
    const bytes = draw(16);
    bytes[6] = 0x40 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  },
};
Object.defineProperty(globalThis, "crypto", { value: crypto, writable: true, configurable: true });

// What a garbage collector decides is not the same twice.
delete globalThis.WeakRef;
delete globalThis.FinalizationRegistry;

hidden.sharedArray = (open, at) => {
  const index = (key) => (typeof key === "string" && /^(0|[1-9]\d*)$/.test(key) ? +key : -1);
  const refuse = () => {
    throw new TypeError("SharedArray is immutable");
  };
  function SharedArray(name, build) {
    if (!new.target) throw new TypeError("SharedArray is a constructor: new SharedArray(name, function)");
    const target = [];
    target.length = open(name, build);
    const inside = (key) => {
      const place = index(key);
      return place >= 0 && place < target.length ? place : -1;
    };
    return new Proxy(target, {
      get: (_, key) => (inside(key) >= 0 ? at(name, inside(key)) : target[key]),
      has: (_, key) => inside(key) >= 0 || key in target,
      ownKeys: () => [...Array.from({ length: target.length }, (_, place) => String(place)), "length"],
      getOwnPropertyDescriptor: (_, key) =>
        inside(key) >= 0
          ? { value: at(name, inside(key)), enumerable: true, configurable: true, writable: true }
          : Reflect.getOwnPropertyDescriptor(target, key),
      set: refuse,
      defineProperty: refuse,
      deleteProperty: refuse,
      setPrototypeOf: refuse,
    });
  }
  return SharedArray;
};
