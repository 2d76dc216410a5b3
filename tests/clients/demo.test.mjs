// The demo of docker-compose.yml (config/demo), run as it stands against a server: whoever logs in is online, until he logs out.
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from './support/poll.mjs';
import { start, stop } from './support/processes.mjs';
import { closeShared, databases, openStage } from './support/stage.mjs';

const demo = join(dirname(fileURLToPath(import.meta.url)), '../../config/demo');
let stage;
let app;
let origin;

before(async () => {
  stage = await openStage(databases[0]);
  await startApp();
});

after(async () => {
  if (app) await stop(app);
  await stage?.server.stop();
  await closeShared();
});

async function startApp() {
  const environment = { ...process.env, REDIS_URL: `redis://127.0.0.1:${stage.server.port}`, PORT: '0' };
  app = start(process.execPath, ['app.mjs'], { cwd: demo, env: environment });
  const line = await until('the demo listens', () => /^listening (\d+)$/m.exec(app.output)).catch((error) => {
    throw new Error(`${error.message}\n${app.output}`);
  });
  origin = `http://127.0.0.1:${line[1]}`;
}

// A browser: keeps its cookie, and follows where it is sent.
class Visitor {
  cookie = '';

  async get() {
    const response = await fetch(origin, { headers: { cookie: this.cookie } });
    return response.text();
  }

  async post(path, form = {}) {
    const body = new URLSearchParams(form);
    const response = await fetch(origin + path, { method: 'POST', body, headers: { cookie: this.cookie }, redirect: 'manual' });
    const cookie = response.headers.getSetCookie().at(-1);
    if (cookie) this.cookie = cookie.split(';')[0];
    return response;
  }
}

test('whoever logs in is online, until he logs out', async () => {
  const [ada, bob, stranger] = [new Visitor(), new Visitor(), new Visitor()];
  assert.match(await stranger.get(), /<li>nobody<\/li>/);
  assert.equal((await ada.post('/login', { name: 'Ada' })).status, 303);
  assert.equal((await bob.post('/login', { name: '<b>Bob' })).status, 303);
  assert.match(await ada.get(), /You are <b>Ada<\/b>/);
  assert.match(await stranger.get(), /<li>&lt;b&gt;Bob<\/li><li>Ada<\/li>/);
  assert.equal((await ada.post('/logout')).status, 303);
  assert.match(await stranger.get(), /<ul><li>&lt;b&gt;Bob<\/li><\/ul>/);
  assert.equal((await stranger.post('/login', { name: ' ' })).status, 400);
});

test('a login outlives the app and a kill -9 of the server', async () => {
  const ada = new Visitor();
  await ada.post('/login', { name: 'Ada' });
  await stop(app, 'SIGTERM');
  await stage.server.killAndRestart();
  await startApp();
  assert.match(await ada.get(), /You are <b>Ada<\/b>/);
});
