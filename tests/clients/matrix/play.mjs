// Plays one library's driver against one server and writes down what happened, so that two servers can be compared.
//
// A driver is a small program in the library's own language. It gets the server's port in REDIS_PORT, prints one JSON
// object a line, and after each waits for a line on its standard input, which says that the object was dealt with:
//   {"versions": {"connect-redis": "10.0.0", …}}   first: what really runs, so that the README cannot claim another
//   {"step": "read", "result": …}                  a step and what the library made of it; {"error": text} if it failed
//   {"crash": true}                                kill -9 the server and start it again, on the same port and data
//   {"done": true}                                 last: a driver that dies before it has not ended well
// Every other line is its own noise. After each step the keyspace is read over a connection of our own (`keys`): a
// library under test must not vouch for itself.
import { createInterface } from 'node:readline';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { start, stop } from '../support/processes.mjs';
import { Wire } from '../support/wire.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const repository = join(here, '../../..');
// Generous on two slow cores: it is here so that nothing hangs.
const PLAYED_WITHIN_MS = 60_000;
// A key that is about to end may be there for one look and gone for the other; the sessions of the step "expire" are such.
const ENDING_MS = 30_000;

const interpreters = {
  node: [process.execPath],
  python: [process.env.MATRIX_PYTHON ?? join(repository, 'target/matrix/venv/bin/python')],
  php: ['php'],
  ruby: ['ruby'],
  rust: [],
};

// { versions, steps: [{ step, result, keys }] }
export async function play(library, server) {
  const [file, ...words] = library.driver;
  const program = library.language === 'rust' ? [join(repository, 'target/matrix/debug', file)] : [...interpreters[library.language], join(here, library.language, file)];
  const child = start(program[0], [...program.slice(1), ...words], {
    cwd: here,
    env: { ...process.env, REDIS_PORT: String(server.port), NODE_NO_WARNINGS: '1', PYTHONDONTWRITEBYTECODE: '1' },
  });
  const alarm = setTimeout(() => { child.output += `\n(killed after ${PLAYED_WITHIN_MS} ms)`; child.kill('SIGKILL'); }, PLAYED_WITHIN_MS);
  const transcript = { versions: undefined, steps: [], done: false };
  try {
    const lines = createInterface({ input: child.stdout });
    for await (const line of lines) {
      const said = parsed(line);
      if (!said) continue;
      await hear(said, transcript, server);
      child.stdin.write('\n');
    }
    await child.ended;
  } finally {
    clearTimeout(alarm);
    await stop(child);
  }
  if (!transcript.done || !transcript.versions) throw new Error(`${library.name}: its driver did not come to its end\n${child.output}`);
  return transcript;
}

async function hear(said, transcript, server) {
  if (said.versions) transcript.versions = said.versions;
  else if (said.crash) await server.killAndRestart();
  else if (said.done) transcript.done = true;
  else transcript.steps.push({ step: said.step, result: plain(said.result), keys: await keys(server.port) });
}

function parsed(line) {
  if (!/^\{"(versions|step|crash|done)":/.test(line)) return undefined;
  return JSON.parse(line);
}

// What the server holds: name, type and life of each key of the databases that session libraries are set up with.
async function keys(port) {
  const wire = await Wire.open(port);
  const seen = [];
  try {
    for (const database of [0, 1]) {
      await wire.call('SELECT', database);
      for (const key of await wire.call('KEYS', '*')) {
        const left_ms = await wire.call('PTTL', key);
        if (left_ms === -2 || (left_ms >= 0 && left_ms < ENDING_MS)) continue;
        const type = await wire.call('TYPE', key);
        seen.push(`${database ? `${database}: ` : ''}${nameless(key)} ${type} ${left_ms < 0 ? 'for ever' : `${roughly(left_ms)} s`}`);
      }
    }
  } finally {
    wire.close();
  }
  return seen.sort();
}

// Up to the next round figure: the seconds that a step takes must not show, nor may the tenth of a life by which a
// recorded expiry may lag behind after a crash.
function roughly(left_ms) {
  const seconds = Math.ceil(left_ms / 1000);
  const unit = 10 ** (String(seconds).length - 1);
  return Math.ceil(seconds / unit) * unit;
}

// Session ids are random: whatever is long and without a separator is one.
const nameless = (text) => text.replace(/[A-Za-z0-9_+=-]{22,}/g, '<id>');

function plain(value) {
  if (typeof value === 'string') return nameless(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
  return value ?? null;
}
