// redis-commander: started on the server, and asked for what its pages show.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { again, crash, end, port, step, uses } from './act.mjs';
import { Wire } from '../../support/wire.mjs';

const require = createRequire(import.meta.url);
await uses('redis-commander', 'redis-commander/node_modules/ioredis');
const wire = await Wire.open(port);
await wire.call('SET', 'sess:1', '{"user":"ada"}', 'EX', 3600);
await wire.call('SET', 'plain', 'text');
wire.close();

const listen = await freePort();
const origin = `http://127.0.0.1:${listen}`;
const child = spawn(process.execPath, [
  require.resolve('redis-commander/bin/redis-commander.js'), '--redis-host', '127.0.0.1', '--redis-port', String(port),
  '--address', '127.0.0.1', '--port', String(listen), '--no-save', '--nosave', '--noload', '--no-log-data',
], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: '/nonexistent' } });
let output = '';
for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => { output += bytes; });
process.on('exit', () => child.kill('SIGKILL'));
const connection = `R:127.0.0.1:${port}:0`;
const tokens = await again(signIn).catch((error) => { throw new Error(`${error.message}\n${output}`); });

await step('connections', async () => (await ask('GET', '/connections')).connections.map(({ options: { type, db } }) => ({ type, db })));
await step('tree', async () => shown(await again(async () => {
  const tree = await ask('GET', `/apiv2/keystree/${connection}/`);
  if (!tree.data?.length) throw new Error('not connected yet');
  return tree.data;
})));
await step('key', async () => ask('GET', `/apiv2/key/${connection}/${encodeURIComponent('sess:1')}`).then(({ ttl, ...rest }) => ({ ...rest, lives: ttl > 3_000 })));
await step('command line', async () => [await execute('GET plain'), await execute('SET typed 1'), await execute('NOSUCH a')]);
await step('delete', async () => [await ask('POST', `/apiv2/key/${connection}/typed?action=delete`, {}), await execute('GET typed')]);
await crash();
await step('key after the crash', () => again(() => execute('GET plain')));
child.kill('SIGKILL');
await end();

async function signIn() {
  const response = await fetch(`${origin}/signin`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' });
  return response.json();
}

async function ask(method, path, body) {
  const response = await fetch(origin + path, {
    method,
    headers: { 'content-type': 'application/json', ...(tokens.bearerToken ? { authorization: `Bearer ${tokens.bearerToken}` } : {}) },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  try {
    return JSON.parse(text.replaceAll(connection, 'CONNECTION'));
  } catch {
    return `${response.status} ${text}`;
  }
}

function execute(cmd) {
  return ask('POST', `/apiv2/exec/${connection}`, { cmd });
}

function shown(tree) {
  return tree.map(({ text, count }) => ({ text, count }));
}

async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => { listener.once('listening', resolve); });
  const { port: free } = listener.address();
  await new Promise((resolve) => { listener.close(resolve); });
  return free;
}
