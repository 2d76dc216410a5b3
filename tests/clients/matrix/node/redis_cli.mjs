// redis-cli in its modes; what differs from run to run (times, sizes, rates) is cut out of its output.
// node redis_cli.mjs: the modes that need strings only. node redis_cli.mjs MODE: one of `further`.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { again, crash, end, pause, port, runs, step } from './act.mjs';

const ENDS_WITHIN_MS = 20_000;
const folder = mkdtempSync(join(tmpdir(), 'sojourn-redis-cli-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const { output: version } = await cli({ args: ['--version'] });
await runs({ 'redis-cli': /\d+\.\d+\.\d+/.exec(version)[0] });

const further = {
  eval: async () => {
    const script = join(folder, 'script.lua');
    writeFileSync(script, "redis.call('SET', KEYS[1], ARGV[1]) return {redis.call('GET', KEYS[1]), KEYS[1]}");
    await step('--eval', () => said('--eval', script, 'key', ',', 'value'));
    const endless = join(folder, 'broken.lua');
    writeFileSync(endless, 'return nonsense(');
    await step('--eval of a broken script', async () => (await said('--eval', endless)).replace(/user_script:\d+/, 'user_script'));
    await crash();
    await step('after the crash', () => said('GET', 'key'));
  },
  subscribe: async () => {
    const listen = async (words, publish) => {
      const child = begin(words);
      try {
        await until(() => child.output.includes('subscribe'));
        for (const [channel, message] of publish) await said('PUBLISH', channel, message);
        await until(() => child.output.includes('last'));
      } finally {
        await stop(child);
      }
      return child.output;
    };
    await step('SUBSCRIBE', () => listen(['SUBSCRIBE', 'news'], [['news', 'first'], ['other', 'unheard'], ['news', 'last']]));
    await step('PSUBSCRIBE in RESP3', () => listen(['-3', 'PSUBSCRIBE', 'n*'], [['news', 'last']]));
    await step('--csv SUBSCRIBE', () => listen(['--csv', 'SUBSCRIBE', 'news'], [['news', 'last']]));
    await step('PUBLISH to nobody', () => said('PUBLISH', 'news', 'x'));
  },
  memkeys: async () => {
    await seed();
    await step('--memkeys', async () => sizeless(await said('--memkeys')));
    await step('--memkeys-samples', async () => sizeless(await said('--memkeys', '--memkeys-samples', '5')));
    await step('MEMORY USAGE', async () => [await said('MEMORY', 'USAGE', 'nobody'), Number(await said('MEMORY', 'USAGE', 'plain')) > 0]);
  },
  monitor: async () => {
    await step('MONITOR', async () => {
      const child = begin(['MONITOR']);
      try {
        await until(() => child.output.includes('OK'));
        await said('SET', 'seen', '1');
        await said('GET', 'seen');
        await until(() => child.output.includes('"GET"'));
      } finally {
        await stop(child);
      }
      return child.output.replace(/\d+\.\d+ \[(\d+) \S+\]/g, 'time [$1 address]');
    });
    await step('what it leaves', () => said('GET', 'seen'));
    await step('after', () => said('PING'));
  },
};

const mode = process.argv[2];
if (mode) await further[mode]();
else await strings();
await end();

async function strings() {
  await step('one command', async () => [await said('SET', 'sess:1', '{"user":"ada"}', 'EX', '3600'), await said('GET', 'sess:1'), await said('GET', 'nobody')]);
  await seed();
  await step('-2 and -3', async () => [await said('-2', 'CONFIG', 'GET', 'databases'), await said('-3', 'CONFIG', 'GET', 'databases'), await said('-3', 'GET', 'nobody')]);
  await step('--raw and --no-raw', async () => [await said('--raw', 'GET', 'bytes'), await said('--no-raw', 'GET', 'bytes'), await said('--no-raw', 'GET', 'nobody'), await said('--no-raw', 'EXISTS', 'plain')]);
  await step('--csv', async () => [await said('--csv', 'MGET', 'plain', 'nobody', 'sess:1'), await said('--csv', 'EXISTS', 'plain')]);
  await step('--json and --quoted-json', async () => [await said('--json', 'MGET', 'plain', 'nobody'), await said('--quoted-json', 'GET', 'bytes'), await said('-2', '--json', 'EXISTS', 'plain')]);
  await step('-d and -D', async () => [await said('-d', ';', 'MGET', 'plain', 'sess:1'), await said('-D', ';', 'GET', 'plain')]);
  await step('-n', async () => [await said('-n', '1', 'SET', 'one', '1'), await said('-n', '1', 'DBSIZE'), await said('GET', 'one'), await said('-n', '99', 'PING')]);
  await step('-u', async () => [await said('-u', `redis://127.0.0.1:${port}/1`, 'GET', 'one')]);
  await step('-a and --user', async () => [await said('--no-auth-warning', '-a', 'wrong', 'PING'), await said('--no-auth-warning', '--user', 'nobody', '--pass', 'wrong', 'PING')]);
  await step('-r and -i', () => said('-r', '3', '-i', '0.01', 'INCR', 'counter'));
  await step('-x and -X', async () => [await fed('from stdin', '-x', 'SET', 'fed'), await said('GET', 'fed'), await fed('tagged', '-X', 'here', 'SET', 'fed2', 'here', 'EX', '100'), await said('GET', 'fed2')]);
  await step('-e', async () => (await cli({ args: ['-e', 'NOSUCH'] })));
  await step('-c', () => said('-c', 'GET', 'plain'));
  await step('--quoted-input', async () => [await said('--quoted-input', 'SET', '"\\x00key"', '"\\xff"'), await said('--quoted-input', 'EXISTS', '"\\x00key"'), await said('--quoted-input', 'DEL', '"\\x00key"')]);
  await step('--show-pushes', () => said('-3', '--show-pushes', 'yes', 'PING'));
  await step('--verbose', () => said('--verbose', 'PING'));
  await step('a file of commands', () => fed('PING\nSET typed "two words"\nGET typed\n\nNOSUCH a b\nGET\nSELECT 1\nGET one\nMULTI\nGET one\nEXEC\n'));
  await step('--scan', async () => [sorted(await said('--scan')), sorted(await said('--scan', '--pattern', 'sess:*')), sorted(await said('--scan', '--quoted-pattern', '"sess:[12]"'))]);
  await step('--bigkeys', async () => sizeless(await said('--bigkeys')));
  await step('--hotkeys', () => said('--hotkeys'));
  await step('--stat', () => whileRunning(['--stat', '-i', '0.1'], (output) => /^\d+ +\S+[BKMG] +\d+ +\d+ +\d+ \(\+\d+\) +\d+/m.test(output) && 'a line with numbers'));
  await step('--latency', () => whileRunning(['--latency', '--csv', '-i', '0.2'], (output) => /^\d+,\d+,[\d.]+,\d+/.test(output) && 'min,max,avg,samples'));
  await step('--latency-history', () => whileRunning(['--latency-history', '--csv', '-i', '0.2'], (output) => /^\d+,\d+,[\d.]+,\d+/.test(output) && 'min,max,avg,samples'));
  await step('--latency-dist', () => whileRunning(['--latency-dist', '-i', '0.2'], (output) => output.includes('.') && 'a spectrum'));
  await step('--lru-test', async () => {
    const seen = await whileRunning(['--lru-test', '1000'], (output) => /Gets\/sec \| Hits: \d+/.test(output) && 'hits and misses');
    // As many keys as there was time for; the last of a killed client's pipeline may still come.
    for (let empty = 0; empty < 2; await pause(200)) {
      const keys = (await said('--scan', '--pattern', 'lru:*')).split('\n').filter(Boolean);
      empty = keys.length ? 0 : empty + 1;
      if (keys.length) await fed(keys.map((key) => `DEL ${key}`).join('\n'));
    }
    return seen;
  });
  await step('--pipe', async () => {
    const frames = Array.from({ length: 500 }, (_, at) => `*5\r\n$3\r\nSET\r\n$${`pipe:${at}`.length}\r\npipe:${at}\r\n$4\r\nbyte\r\n$2\r\nEX\r\n$4\r\n3600\r\n`);
    return [await fed(`${frames.join('')}*1\r\n$6\r\nNOSUCH\r\n`, '--pipe', '--pipe-timeout', '10'), await said('DBSIZE')];
  });
  await crash();
  await step('after the crash', async () => [await again(() => said('PING')), await said('DBSIZE'), await said('GET', 'pipe:499'), await said('GET', 'typed'), await said('-n', '1', 'GET', 'one')]);
  await step('FLUSHALL', async () => [await said('FLUSHALL'), await said('DBSIZE')]);
}

async function seed() {
  for (const [at, user] of ['grace', 'edsger'].entries()) await said('SET', `sess:${at + 2}`, JSON.stringify({ user }), 'EX', '3600');
  await said('SET', 'plain', 'text');
  await fed('a"b\\c\n\u0001é', '-x', 'SET', 'bytes');
}

async function said(...args) {
  return (await cli({ args })).output;
}

async function fed(input, ...args) {
  return (await cli({ args, input })).output;
}

function begin(args) {
  // A line at a time: into a pipe, some modes would say nothing for minutes.
  const child = spawn('stdbuf', ['-oL', 'redis-cli', '-p', String(port), ...args], { env: { ...process.env, TERM: 'xterm' } });
  Object.assign(child, { output: '', errors: '' });
  child.stdout.on('data', (bytes) => { child.output += bytes; });
  child.stderr.on('data', (bytes) => { child.errors += bytes; });
  child.stdin.on('error', () => {});
  child.ended = new Promise((resolve) => { child.once('close', resolve); });
  return child;
}

// Errors come last, since the order of two pipes is nobody's. What it prints names its port, which differs.
async function cli({ args, input = '' }) {
  const child = begin(args);
  child.stdin.end(input);
  const alarm = setTimeout(() => child.kill('SIGKILL'), ENDS_WITHIN_MS);
  const code = await child.ended;
  clearTimeout(alarm);
  return { code, output: (child.output + child.errors).replaceAll(String(port), 'PORT') };
}

async function whileRunning(args, enough) {
  const child = begin(args);
  try {
    return await until(() => enough(child.output));
  } finally {
    await stop(child);
  }
}

async function stop(child) {
  child.kill('SIGKILL');
  await child.ended;
}

async function until(ask) {
  const deadline_ms = Date.now() + ENDS_WITHIN_MS;
  for (;;) {
    const seen = ask();
    if (seen) return seen;
    if (Date.now() > deadline_ms) throw new Error('not in time');
    await pause(20);
  }
}

// The order of a scan and the sizes are each server's own.
function sizeless(output) {
  return output.split('\n').filter((line) => /^(Sampled|Total|Biggest|\d+ \w+ with|-----)/.test(line))
    .map((line) => line.replace(/"[^"]*"/g, 'KEY').replace(/[\d.]+/g, 'N'));
}

function sorted(output) {
  return output.split('\n').filter(Boolean).sort();
}
