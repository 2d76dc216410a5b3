// prometheus-redis-exporter: what it says of the server and its keys, and the names of the fields that it finds in INFO and in
// the answers to its other questions. node exporter.mjs fields: all of them.
import { spawn, execFileSync } from 'node:child_process';
import { createServer } from 'node:net';
import { again, crash, end, port, runs, step } from './act.mjs';
import { Wire } from '../../support/wire.mjs';

const program = 'prometheus-redis-exporter';
const version = /redis_exporter\s+v?([\d.]+)|Version: ?v?([\d.]+)|v([\d.]+)/i.exec(said(['--version']));
await runs({ [program]: version?.slice(1).find(Boolean) ?? packaged() });

const wire = await Wire.open(port);
await wire.call('SET', 'sess:1', 'value', 'EX', 3600);
await wire.call('GET', 'sess:1');
await wire.call('GET', 'nobody');
await wire.call('NOSUCH').catch(() => {});

const listen = await freePort();
const child = spawn(program, ['-redis.addr', `redis://127.0.0.1:${port}`, '-web.listen-address', `127.0.0.1:${listen}`, '-check-keys', 'sess:*', '-export-client-list'], { stdio: 'ignore' });
process.on('exit', () => child.kill('SIGKILL'));
// What comes of SLOWLOG, latencystats, subscribers and scripts.
const FURTHER = /slow|latency_percentiles|pubsub|lua|scripts/;

// Twice: what counts commands has then something to count.
const fields = await again(scrape).then(scrape);
await step('fields', () => names(fields).filter((field) => process.argv[2] === 'fields' || !FURTHER.test(field)).map((field) => field.replaceAll('_', ' ')));
await step('is up', async () => value(await scrape(), 'redis_up'));
await step('keys', async () => (await scrape()).filter((line) => /^redis_key_\w+\{/.test(line) || /^redis_db_keys(_expiring)?\{db="db0"/.test(line)).sort());
await crash();
await step('is up after the crash', () => again(async () => {
  const up = value(await scrape(), 'redis_up');
  if (up !== '1') throw new Error(`redis_up ${up}`);
  return up;
}));
await step('keys after the crash', async () => (await scrape()).filter((line) => /^redis_db_keys(_expiring)?\{db="db0"/.test(line)).sort());
child.kill('SIGKILL');
await end();

async function scrape() {
  const response = await fetch(`http://127.0.0.1:${listen}/metrics`);
  return (await response.text()).split('\n').filter((line) => line.startsWith('redis_'));
}

function names(lines) {
  return [...new Set(lines.map((line) => /^\w+/.exec(line)[0]))].sort();
}

function value(lines, name) {
  return lines.find((line) => line.startsWith(`${name} `))?.split(' ')[1];
}

function said(args) {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    return `${error.stdout}${error.stderr}`;
  }
}

function packaged() {
  return execFileSync('dpkg-query', ['--show', '--showformat=${Version}', program], { encoding: 'utf8' }).split('-')[0];
}

async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => { listener.once('listening', resolve); });
  const { port: free } = listener.address();
  await new Promise((resolve) => { listener.close(resolve); });
  return free;
}
