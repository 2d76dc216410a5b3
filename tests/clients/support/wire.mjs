// A second pair of eyes: RESP2 by hand over one socket, so that no client library under test vouches for itself.
import { connect } from 'node:net';

const REPLY_WITHIN_MS = 10_000;

export class Wire {
  #socket;
  #received = Buffer.alloc(0);
  #waiting = [];
  #encoding;
  // What came without being asked for: messages to a subscriber.
  pushed = [];

  // `encoding` of the strings in replies; latin1 keeps every byte apart.
  static async open(port, { encoding = 'utf8' } = {}) {
    const wire = new Wire();
    wire.#encoding = encoding;
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
      const bytes = Buffer.isBuffer(word) ? word : Buffer.from(String(word));
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
      const parsed = parse(this.#received, 0, this.#encoding);
      if (!parsed) return;
      this.#received = this.#received.subarray(parsed.end);
      const waiting = this.#waiting.shift();
      if (!waiting) this.pushed.push(parsed.value);
      else if (parsed.value instanceof Error) waiting.reject(parsed.value);
      else waiting.resolve(parsed.value);
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

function parse(bytes, at, encoding) {
  const lineEnd = bytes.indexOf('\r\n', at);
  if (lineEnd < 0) return undefined;
  const line = bytes.toString(encoding, at + 1, lineEnd);
  const next = lineEnd + 2;
  switch (String.fromCharCode(bytes[at])) {
    case '+': return { value: line, end: next };
    case '-': return { value: new Error(line), end: next };
    case ':': return { value: Number(line), end: next };
    case '$': return parseBulk(bytes, next, Number(line), encoding);
    case '*': return parseArray(bytes, next, Number(line), encoding);
    default: throw new Error(`not RESP2: ${JSON.stringify(line)}`);
  }
}

function parseBulk(bytes, at, length, encoding) {
  if (length < 0) return { value: null, end: at };
  if (bytes.length < at + length + 2) return undefined;
  return { value: bytes.toString(encoding, at, at + length), end: at + length + 2 };
}

function parseArray(bytes, at, length, encoding) {
  const items = [];
  let end = at;
  for (let index = 0; index < length; index++) {
    const item = parse(bytes, end, encoding);
    if (!item) return undefined;
    items.push(item.value);
    end = item.end;
  }
  return { value: length < 0 ? null : items, end };
}
