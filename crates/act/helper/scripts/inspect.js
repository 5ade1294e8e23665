// Asks a server of Node, through its own inspector, where its CPU goes (`cpu`) or what is allocated and stays (`heap`).
// Arguments: process, `cpu` or `heap`, seconds. Prints folded stacks. The inspector is opened by SIGUSR1 and closed again.
'use strict';
const fs = require('fs');
const http = require('http');
const crypto = require('crypto');

const [pid, what, seconds] = process.argv.slice(-3);
const PORT = 9229;
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// Where it listens: the first of those that answer and are this process.
async function open() {
  const handles = fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^SigCgt:\s*([0-9a-f]+)/m);
  // Signal 10 is bit 9. Without a handler it would end the process.
  if (!handles || !(BigInt('0x' + handles[1]) >> 9n & 1n)) throw new Error(`process ${pid} does not listen to SIGUSR1`);
  process.kill(Number(pid), 'SIGUSR1');
  for (let tries = 0; tries < 50; tries++) {
    const targets = await list().catch(() => []);
    if (targets.length > 0) return connect(targets[0].webSocketDebuggerUrl);
    await wait(100);
  }
  throw new Error(`process ${pid} did not open its inspector at port ${PORT}`);
}

function list() {
  return new Promise((done, failed) => {
    http
      .get({ host: '127.0.0.1', port: PORT, path: '/json/list' }, (answer) => {
        let text = '';
        answer.on('data', (more) => (text += more));
        answer.on('end', () => done(JSON.parse(text)));
      })
      .on('error', failed);
  });
}

// As much of WebSocket as it takes.
function connect(url) {
  const key = crypto.randomBytes(16).toString('base64');
  const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Key': key, 'Sec-WebSocket-Version': '13' };
  return new Promise((done, failed) => {
    const asked = http.request({ host: '127.0.0.1', port: PORT, path: new URL(url).pathname, headers });
    asked.on('upgrade', (_, socket, first) => done(session(socket, first)));
    asked.on('error', failed);
    asked.end();
  });
}

function session(socket, first) {
  const waiting = new Map();
  let bytes = first;
  let message = [];
  let number = 0;
  const failAll = () => waiting.forEach(({ failed }) => failed(new Error('the server ended')));
  socket.on('error', failAll).on('close', failAll);
  const take = () => {
    while (bytes.length >= 2) {
      let length = bytes[1] & 127;
      let head = 2;
      if (length === 126) {
        if (bytes.length < 4) return;
        length = bytes.readUInt16BE(2);
        head = 4;
      } else if (length === 127) {
        if (bytes.length < 10) return;
        length = Number(bytes.readBigUInt64BE(2));
        head = 10;
      }
      if (bytes.length < head + length) return;
      const last = bytes[0] & 128;
      message.push(bytes.subarray(head, head + length));
      bytes = bytes.subarray(head + length);
      if (!last) continue;
      const text = Buffer.concat(message).toString();
      message = [];
      let answer;
      try {
        answer = JSON.parse(text);
      } catch {
        continue;
      }
      const who = waiting.get(answer.id);
      if (!who) continue;
      waiting.delete(answer.id);
      if (answer.error) who.failed(new Error(answer.error.message));
      else who.done(answer.result);
    }
  };
  let parts = [];
  socket.on('data', (more) => {
    parts.push(more);
    // Long answers come in many pieces: they are joined once they may be whole.
    const so_far = bytes.length + parts.reduce((sum, part) => sum + part.length, 0);
    if (so_far >= wanted(bytes.length ? bytes : parts[0])) {
      bytes = Buffer.concat([bytes, ...parts]);
      parts = [];
      take();
    }
  });
  take();
  return {
    ask: (method, params = {}) =>
      new Promise((done, failed) => {
        const id = ++number;
        waiting.set(id, { done, failed });
        socket.write(frame(JSON.stringify({ id, method, params })));
      }),
    end: () => socket.destroy(),
  };
}

function wanted(bytes) {
  if (bytes.length < 10) return 0;
  const length = bytes[1] & 127;
  if (length === 127) return 10 + Number(bytes.readBigUInt64BE(2));
  return length === 126 ? 4 + bytes.readUInt16BE(2) : 2 + length;
}

function frame(text) {
  const body = Buffer.from(text);
  const mask = crypto.randomBytes(4);
  for (let at = 0; at < body.length; at++) body[at] ^= mask[at & 3];
  const head = body.length < 126 ? Buffer.from([0x81, 0x80 | body.length]) : Buffer.from([0x81, 0xfe, body.length >> 8, body.length & 255]);
  return Buffer.concat([head, mask, body]);
}

const named = ({ functionName, url, lineNumber }) => {
  const name = (functionName || '(anonymous)').replace(/[;\n]/g, ' ');
  const file = url.replace(/^file:\/\//, '').replace(/[;\n]/g, ' ');
  return file ? `${name} (${file}:${lineNumber + 1})` : name;
};

function printed(lines) {
  for (const [stack, count] of lines) console.log(`${stack} ${count}`);
}

async function cpu(node) {
  await node.ask('Profiler.enable');
  await node.ask('Profiler.setSamplingInterval', { interval: 10000 });
  await node.ask('Profiler.start');
  await wait(seconds * 1000);
  const { profile } = await node.ask('Profiler.stop');
  await node.ask('Profiler.disable');
  const by = new Map(profile.nodes.map((it) => [it.id, it]));
  const lines = new Map();
  const walk = (it, stack) => {
    const name = it.callFrame.functionName;
    const here = name === '(root)' ? stack : [...stack, named(it.callFrame)];
    const idle = name === '(idle)' || name === '(program)';
    // The line in which most of the time goes, where it is told.
    for (const { line, ticks } of it.positionTicks || []) {
      const at = it.callFrame.url ? named({ ...it.callFrame, lineNumber: line - 1 }) : named(it.callFrame);
      if (!idle) add(lines, [...stack, at], ticks);
    }
    if (!it.positionTicks && it.hitCount > 0 && !idle) add(lines, here, it.hitCount);
    for (const child of it.children || []) walk(by.get(child), here);
  };
  walk(profile.nodes[0], []);
  printed(lines);
}

async function heap(node) {
  const began = Date.now();
  await node.ask('HeapProfiler.enable');
  await node.ask('HeapProfiler.startSampling', { samplingInterval: 32768 });
  await wait(seconds * 1000);
  // What is no longer used is no growth.
  await node.ask('HeapProfiler.collectGarbage');
  const { profile } = await node.ask('HeapProfiler.stopSampling');
  await node.ask('HeapProfiler.disable');
  const lines = new Map();
  const walk = (it, stack) => {
    const here = it.callFrame.functionName === '(root)' ? stack : [...stack, named(it.callFrame)];
    if (it.selfSize > 0) add(lines, here, it.selfSize);
    for (const child of it.children) walk(child, here);
  };
  walk(profile.head, []);
  console.log(`seconds ${(Date.now() - began) / 1000}`);
  printed(lines);
}

function add(lines, stack, count) {
  const key = stack.join(';') || '(root)';
  lines.set(key, (lines.get(key) || 0) + count);
}

async function main() {
  const node = await open();
  const { result } = await node.ask('Runtime.evaluate', { expression: 'process.pid' });
  if (String(result.value) !== pid && !shares(pid, result.value)) {
    throw new Error(`port ${PORT} is the inspector of process ${result.value}`);
  }
  try {
    await (what === 'cpu' ? cpu(node) : heap(node));
  } finally {
    // It waits for its callers to go before it closes.
    await node.ask('Runtime.evaluate', { expression: 'setTimeout(() => process._debugEnd(), 50); 0' }).catch(() => 0);
    node.end();
  }
}

// In a namespace of its own it has another number.
function shares(outside, inside) {
  const numbers = fs.readFileSync(`/proc/${outside}/status`, 'utf8').match(/^NSpid:(.*)$/m);
  return numbers !== null && numbers[1].trim().split(/\s+/).includes(String(inside));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error.message);
    process.exit(1);
  },
);
