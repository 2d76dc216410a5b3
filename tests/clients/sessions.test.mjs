// The main job, with each client pair: an app points at the server, and neither its own restart nor a kill -9 of the
// server logs anyone out.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { pairs } from './pairs.mjs';
import { App, Browser } from './support/app.mjs';
import { Refuted, until } from './support/poll.mjs';
import { closeShared, databases, openStage } from './support/stage.mjs';
import { ask } from './support/wire.mjs';

const HOUR_S = 3_600;
const DAY_S = 86_400;
const SEEDED = 1_000;
// What a crash may take from a touched life: min(touch-interval, TTL / 10), and some for the test's own slowness.
const TOUCH_LAG_S = 60;
const SLOWNESS_S = 60;

after(closeShared);

for (const database of databases) {
  for (const pair of Object.keys(pairs)) describe(`${pair} on ${database}`, () => sessionsSurvive(pair, database));
}

for (const database of databases) {
  it(`moves the TTL where the app saves the same bytes on every request (resave: true), on ${database}`, async () => {
    const { server } = await openStage(database);
    const app = await App.start('connect-redis 10 + redis 6', { port: server.port, resave: true });
    try {
      const browser = new Browser(app);
      const key = `sess:${(await browser.post('/login', { user: 'ada' })).body.sid}`;
      const value = await ask(server.port, 'GET', key);
      assert.equal(await ask(server.port, 'EXPIRE', key, 100), 1);
      assert.equal((await browser.get('/me')).status, 200);
      assert.equal(await ask(server.port, 'GET', key), value);
      await server.killAndRestart();
      const kept_s = await ask(server.port, 'TTL', key);
      assert.ok(kept_s > DAY_S - TOUCH_LAG_S - SLOWNESS_S && kept_s <= DAY_S, `TTL ${kept_s}`);
    } finally {
      await app.stop();
      await server.stop();
    }
  });
}

function sessionsSurvive(pair, database) {
  let server;
  let app;
  let browser;
  let key;

  before(async () => {
    ({ server } = await openStage(database));
    app = await App.start(pair, { port: server.port });
    browser = new Browser(app);
  });
  after(async () => {
    await app?.stop();
    await server?.stop();
  });

  it('logs in', async () => {
    assert.equal((await browser.get('/me')).status, 401);
    const login = await browser.post('/login', { user: 'ada' });
    assert.equal(login.status, 200);
    key = `sess:${login.body.sid}`;
    assert.deepEqual(await browser.get('/me'), { status: 200, body: { user: 'ada' }, cookie: undefined });
    assert.equal(JSON.parse(await ask(server.port, 'GET', key)).passport.user, 'ada');
  });

  it('is still logged in after the app restarts', async () => {
    await app.restart();
    await staysLoggedIn();
  });

  it('is still logged in after kill -9 of the server', async () => {
    await browser.post('/visit');
    await server.killAndRestart();
    assert.equal((await staysLoggedIn()).body.visits, 1, 'the acknowledged change is there');
  });

  it('is still logged in after a second kill -9, with a write as the last thing acknowledged', async () => {
    await until('the client writes again', async () => (await browser.post('/visit')).status === 200);
    const { visits } = (await browser.get('/me')).body;
    await browser.post('/visit');
    await server.killAndRestart();
    assert.equal((await staysLoggedIn()).body.visits, visits + 1);
  });

  it('moves the TTL with a touch, and keeps the longer life across kill -9', async () => {
    assert.equal(await ask(server.port, 'EXPIRE', key, 100), 1);
    assert.ok(await ask(server.port, 'TTL', key) <= 100);
    await staysLoggedIn();
    const ttl_s = await until('the touch has moved the TTL', async () => {
      const seen_s = await ask(server.port, 'TTL', key);
      return seen_s > 100 && seen_s;
    });
    assert.ok(ttl_s > HOUR_S - SLOWNESS_S && ttl_s <= HOUR_S, `TTL ${ttl_s}`);
    await server.killAndRestart();
    const kept_s = await ask(server.port, 'TTL', key);
    assert.ok(kept_s > HOUR_S - TOUCH_LAG_S - SLOWNESS_S && kept_s <= HOUR_S, `TTL ${kept_s} after the kill`);
    await staysLoggedIn();
  });

  it('logs out: the cookie no longer works, the key is gone, and kill -9 does not bring it back', async () => {
    assert.equal((await browser.post('/logout')).status, 200);
    assert.equal(await ask(server.port, 'EXISTS', key), 0);
    assert.equal((await browser.get('/me')).status, 401);
    await server.killAndRestart();
    assert.equal(await ask(server.port, 'EXISTS', key), 0);
    assert.equal((await onceReachable(() => browser.get('/me'))).status, 401);
  });

  it('forgets a session when its time is over, and not before', async () => {
    const brief = new Browser(app);
    const asked_ms = Date.now();
    const login = await brief.post('/login', { user: 'brief', maxAge_ms: 1_500 });
    const briefKey = `sess:${login.body.sid}`;
    await until('the key is gone', async () => (await ask(server.port, 'EXISTS', briefKey)) === 0, { within_ms: 10_000 });
    const lived_ms = Date.now() - asked_ms;
    assert.ok(lived_ms >= 1_400, `gone after ${lived_ms} ms`);
    assert.equal((await brief.get('/me')).status, 401);
  });

  it('lists, counts and clears a thousand sessions', async () => {
    assert.equal(await app.store('length'), 0, 'every session before this has ended');
    await app.store('seed', { count: SEEDED });
    await ask(server.port, 'SET', 'another:application', 'is not a session');
    assert.equal(await app.store('length'), SEEDED);
    const ids = await app.store('ids');
    assert.deepEqual([ids.length, new Set(ids).size], [SEEDED, SEEDED]);
    const users = (await app.store('all')).map((sess) => sess.passport.user).sort((a, b) => a - b);
    assert.deepEqual(users, Array.from({ length: SEEDED }, (_, at) => at));
    await app.store('clear');
    assert.equal(await app.store('length'), 0);
    assert.equal(await ask(server.port, 'DBSIZE'), 1, 'clear() takes the sessions only');
  });

  // A client may need a moment to connect again, so errors are asked again; but a 401 says "no such session", which is
  // never true here and must not be waited out.
  function staysLoggedIn() {
    return onceReachable(async () => {
      const answer = await browser.get('/me');
      if (answer.status === 401) throw new Refuted('logged out');
      return answer;
    });
  }
}

function onceReachable(request) {
  return until('the app answers', async () => {
    const answer = await request();
    return answer.status < 500 && answer;
  });
}
