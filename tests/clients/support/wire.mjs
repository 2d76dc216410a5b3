// A second pair of eyes: RESP2 by hand over one socket, so that no client library under test vouches for itself.
import { connect } from 'node:net';

const REPLY_WITHIN_MS = 10_000;

export class Wire {
  #socket;
  #received = Buffer.alloc(0);
  #waiting = [];

  static async open(port) {
    const wire = new Wire();
    await new Promise((resolve, reject) => {
      wire.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
      wire.#socket.once('connect', resolve);
      wire.#socket.once('error', reject);
    });
    wire.#socket.on('data', (bytes) => wire.#take(bytes));
    wire.#socket.on('error', (error) => wire.#fail(error));
    wire.#socket.on('close', () => wire.#fail(new Error('connection closed')));
    return wire;
  }

  // Resolves to the reply: string, number, null or array. An error reply rejects with its text.
  async call(...words) {
    if (this.#socket.destroyed) throw new Error('connection closed');
    const frame = [Buffer.from(`*${words.length}\r\n`)];
    for (const word of words) {
      const bytes = Buffer.from(String(word));
      frame.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
    }
    const reply = new Promise((resolve, reject) => {
      const alarm = setTimeout(() => this.#fail(new Error(`no reply to ${words[0]} within ${REPLY_WITHIN_MS} ms`)), REPLY_WITHIN_MS);
      const settle = (end) => (value) => { clearTimeout(alarm); end(value); };
      this.#waiting.push({ resolve: settle(resolve), reject: settle(reject) });
    });
    this.#socket.write(Buffer.concat(frame));
    return reply;
  }

  close() {
    this.#socket.destroy();
  }

  #take(bytes) {
    this.#received = Buffer.concat([this.#received, bytes]);
    for (;;) {
      const parsed = parse(this.#received, 0);
      if (!parsed) return;
      this.#received = this.#received.subarray(parsed.end);
      const { resolve, reject } = this.#waiting.shift();
      if (parsed.value instanceof Error) reject(parsed.value);
      else resolve(parsed.value);
    }
  }

  #fail(error) {
    this.#socket.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

// One call on a connection of its own.
export async function ask(port, ...words) {
  const wire = await Wire.open(port);
  try {
    return await wire.call(...words);
  } finally {
    wire.close();
  }
}

function parse(bytes, at) {
  const lineEnd = bytes.indexOf('\r\n', at);
  if (lineEnd < 0) return undefined;
  const line = bytes.toString('utf8', at + 1, lineEnd);
  const next = lineEnd + 2;
  switch (String.fromCharCode(bytes[at])) {
    case '+': return { value: line, end: next };
    case '-': return { value: new Error(line), end: next };
    case ':': return { value: Number(line), end: next };
    case '$': return parseBulk(bytes, next, Number(line));
    case '*': return parseArray(bytes, next, Number(line));
    default: throw new Error(`not RESP2: ${JSON.stringify(line)}`);
  }
}

function parseBulk(bytes, at, length) {
  if (length < 0) return { value: null, end: at };
  if (bytes.length < at + length + 2) return undefined;
  return { value: bytes.toString('utf8', at, at + length), end: at + length + 2 };
}

function parseArray(bytes, at, length) {
  const items = [];
  let end = at;
  for (let index = 0; index < length; index++) {
    const item = parse(bytes, end);
    if (!item) return undefined;
    items.push(item.value);
    end = item.end;
  }
  return { value: length < 0 ? null : items, end };
}
