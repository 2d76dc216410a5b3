// The habits of redis-cli: what people type first must answer as they are used to.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { until } from './support/poll.mjs';
import { finish, start, stop } from './support/processes.mjs';
import { Server, target } from './support/target.mjs';

const PIPED = 1_000;

describe(`redis-cli on ${target}`, () => {
  let server;

  before(async () => {
    server = await Server.start();
    for (const [at, user] of ['ada', 'grace', 'edsger'].entries()) {
      assert.equal((await cli('SET', `sess:${at}`, JSON.stringify({ passport: { user } }), 'EX', '3600')).output, 'OK\n');
    }
    await cli('SET', 'plain', 'text');
  });
  after(() => server?.stop());

  it('PING', async () => {
    assert.deepEqual(await cli('PING'), { code: 0, output: 'PONG\n' });
    assert.deepEqual(await cli('-3', 'PING', 'hello'), { code: 0, output: 'hello\n' });
  });

  it("KEYS 'sess:*'", async () => {
    assert.deepEqual(lines(await cli('KEYS', 'sess:*')), ['sess:0', 'sess:1', 'sess:2']);
    assert.deepEqual(lines(await cli('-3', 'KEYS', 'sess:[12]')), ['sess:1', 'sess:2']);
  });

  it('GET, TTL, TYPE, EXISTS', async () => {
    assert.equal((await cli('GET', 'sess:1')).output, '{"passport":{"user":"grace"}}\n');
    assert.equal((await cli('--no-raw', 'GET', 'nobody')).output, '(nil)\n');
    assert.match((await cli('TTL', 'sess:1')).output, /^3[56]\d\d\n$/);
    assert.equal((await cli('--no-raw', 'TTL', 'plain')).output, '(integer) -1\n');
    assert.equal((await cli('TYPE', 'plain')).output, 'string\n');
    assert.equal((await cli('EXISTS', 'sess:0', 'sess:1', 'nobody')).output, '2\n');
  });

  it('DBSIZE, and SELECT by -n', async () => {
    assert.equal((await cli('--no-raw', 'DBSIZE')).output, '(integer) 4\n');
    assert.equal((await cli('--no-raw', '-n', '3', 'DBSIZE')).output, '(integer) 0\n');
  });

  it('INFO memory', async () => {
    const { output } = await cli('INFO', 'memory');
    assert.match(output, /^# Memory\r$/m);
    assert.match(output, /^used_memory:\d+\r$/m);
    assert.match(output, /^maxmemory_policy:\S+\r$/m);
    assert.doesNotMatch(output, /^# (Server|Clients|Stats)/m);
  });

  it('--scan', async () => {
    assert.deepEqual(lines(await cli('--scan')), ['plain', 'sess:0', 'sess:1', 'sess:2']);
    assert.deepEqual(lines(await cli('--scan', '--pattern', 'sess:*')), ['sess:0', 'sess:1', 'sess:2']);
  });

  it('--bigkeys', async () => {
    const { code, output } = await cli('--bigkeys');
    assert.equal(code, 0);
    assert.match(output, /Sampled 4 keys in the keyspace!/);
    assert.match(output, /Biggest string found .*sess:2/);
    assert.match(output, /4 strings with \d+ bytes/);
  });

  it('--stat', async () => {
    const child = onTerminal('--stat');
    // Keys, memory, clients, blocked, requests, connections: one line a second.
    await until('one tick', () => /^4\s+\S+[BKMG]\s+\d+\s+\d+\s+\d+ \(\+\d+\)\s+\d+/m.test(child.output), { within_ms: 10_000 })
      .finally(() => stop(child));
  });

  it(`--pipe with ${PIPED} sets`, async () => {
    const frames = Array.from({ length: PIPED }, (_, at) => `*5\r\n$3\r\nSET\r\n$${`pipe:${at}`.length}\r\npipe:${at}\r\n$4\r\nbyte\r\n$2\r\nEX\r\n$3\r\n100\r\n`);
    const { code, output } = await cliWith({ input: frames.join('') }, '--pipe');
    assert.equal(code, 0, output);
    assert.match(output, new RegExp(`errors: 0, replies: ${PIPED}`));
    assert.equal(lines(await cli('--scan', '--pattern', 'pipe:*')).length, PIPED);
  });

  it('commands from a file on stdin', async () => {
    const { code, output } = await cliWith({ input: 'PING\nSET from:stdin 1\nGET from:stdin\nNOSUCH a b\n' });
    assert.equal(code, 0);
    assert.match(output, /^PONG\nOK\n1\nERR unknown command 'NOSUCH', with args beginning with: 'a' 'b'/);
  });

  it('starts on a terminal, takes what is typed and leaves with quit', async () => {
    const child = onTerminal();
    const typed = async (text, answer) => {
      child.stdin.write(`${text}\r`);
      await until(`${text} is answered`, () => answer.test(child.output), { within_ms: 10_000 })
        .catch((error) => { throw new Error(`${error.message}\n${child.output}`); });
    };
    try {
      await until('the prompt', () => child.output.includes(`127.0.0.1:${server.port}>`), { within_ms: 10_000 });
      await typed('PING', /PONG/);
      await typed('GET sess:0', /passport/);
      await typed('SELECT 2', new RegExp(`:${server.port}\\[2\\]>`));
      child.stdin.write('quit\r');
      assert.equal((await child.ended).code, 0);
    } finally {
      await stop(child);
    }
  });

  // `script` gives it a terminal; without a size redis-cli would ask the terminal for one and wait for the answer.
  function onTerminal(...args) {
    const command = ['stty cols 120 rows 40 && exec redis-cli', '-p', server.port, ...args].join(' ');
    const env = { ...process.env, TERM: 'xterm', HOME: '/nonexistent', SHELL: '/bin/sh' };
    return start('script', ['--quiet', '--return', '--command', command, '/dev/null'], { env });
  }

  function cli(...args) {
    return cliWith({}, ...args);
  }

  function cliWith(options, ...args) {
    return finish('redis-cli', ['-p', String(server.port), ...args], { within_ms: 30_000, ...options });
  }
});

function lines({ output }) {
  return output.split('\n').filter(Boolean).map((line) => line.replace(/^"(.*)"$/, '$1')).sort();
}
