// Sojourn and connect-pg-simple share a table: they must agree on who is expired, in both directions, where neither the
// cluster nor the database is on UTC (`expire` has no time zone: its meaning is the connection's).
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, describe, it } from 'node:test';
import session from 'express-session';
import pg from 'pg';
import { connectPgSimple } from './pairs.mjs';
import { App, Browser } from './support/app.mjs';
import { until } from './support/poll.mjs';
import { Postgres } from './support/postgres.mjs';
import { Server, isSojourn } from './support/target.mjs';
import { ask } from './support/wire.mjs';

const PgStore = createRequire(import.meta.url)('connect-pg-simple')(session);
const HOUR_MS = 3_600_000;
// connect-pg-simple counts in whole seconds; the rest is what two polls take on a busy machine.
const AGREE_WITHIN_MS = 1_000;
const POLL_MS = 250;

// redis-server has no table to share; there, connect-pg-simple is shown to work with the test's own PostgreSQL.
const zones = [
  { name: 'the cluster is on America/New_York', timezone: undefined },
  { name: 'the database is set to Asia/Tokyo', timezone: 'Asia/Tokyo' },
];

let postgres;
before(async () => { postgres = await Postgres.start({ timezone: 'America/New_York' }); });
after(() => postgres?.stop());

for (const zone of zones) {
  describe(`where ${zone.name}`, () => {
    describe('connect-pg-simple by itself', () => byItself(zone));
    if (isSojourn) describe('Sojourn and connect-pg-simple', () => agree(zone));
  });
}

function byItself({ timezone }) {
  it('writes a local time that differs from UTC, so the zone matters here', async () => {
    const { store, pool, sql } = await openStore(timezone);
    try {
      await call(store, 'set', 'one', sess('ada', HOUR_MS));
      const [row] = await sql("select round(extract(epoch from expire at time zone 'UTC' - now()) / 3600)::int as left_h from session");
      assert.equal(row.left_h, timezone ? 10 : newYorkOffset_h() + 1);
      assert.equal((await call(store, 'get', 'one')).passport.user, 'ada');
    } finally {
      await pool.end();
    }
  });
}

function agree({ timezone }) {
  let opened;
  let server;

  before(async () => {
    opened = await openStore(timezone);
    const { store } = opened;
    await call(store, 'set', 'old-hour', sess('ada', HOUR_MS));
    await call(store, 'set', 'old-expired', sess('grace', -5_000));
    await call(store, 'set', 'old-brief', sess('edsger', 6_000));
    server = await Server.start({ databaseUrl: postgres.url(opened.database) });
  });
  after(async () => {
    await server?.stop();
    await opened?.pool.end();
  });

  it('finds what connect-pg-simple wrote, with its time left', async () => {
    const ttl_s = await ask(server.port, 'TTL', 'sess:old-hour');
    assert.ok(ttl_s > 3_500 && ttl_s <= 3_601, `TTL ${ttl_s}`);
    assert.equal(JSON.parse(await ask(server.port, 'GET', 'sess:old-hour')).passport.user, 'ada');
    assert.equal(await call(opened.store, 'get', 'old-expired'), undefined);
    assert.equal(await ask(server.port, 'EXISTS', 'sess:old-expired'), 0);
    assert.equal(await ask(server.port, 'GET', 'sess:old-expired'), null);
  });

  it('agrees on the end of a session that connect-pg-simple wrote', async () => {
    assert.ok((await ask(server.port, 'PTTL', 'sess:old-brief')) <= 7_000, 'not hours away');
    await endTogether('old-brief');
  });

  it('writes sessions that connect-pg-simple finds, with their time left', async () => {
    await ask(server.port, 'SET', 'sess:new-hour', JSON.stringify(sess('ada', HOUR_MS)), 'EX', 3_600);
    await ask(server.port, 'SET', 'sess:new-forever', JSON.stringify(sess('grace', HOUR_MS)));
    assert.equal((await call(opened.store, 'get', 'new-hour')).passport.user, 'ada');
    assert.equal((await call(opened.store, 'get', 'new-forever')).passport.user, 'grace');
    const [row] = await opened.sql("select extract(epoch from expire - now())::float8 as left_s from session where sid = 'new-hour'");
    assert.ok(row.left_s > 3_500 && row.left_s <= 3_600, `${row.left_s} s left`);
  });

  it('agrees on the end of a session that Sojourn wrote', async () => {
    await ask(server.port, 'SET', 'sess:new-brief', JSON.stringify(sess('edsger', 2_400)), 'PX', 2_400);
    assert.equal((await call(opened.store, 'get', 'new-brief')).passport.user, 'edsger');
    await endTogether('new-brief');
  });

  it('agrees on the end after an EXPIRE that shortens', async () => {
    await ask(server.port, 'SET', 'sess:new-shortened', JSON.stringify(sess('ada', HOUR_MS)), 'EX', 3_600);
    assert.equal(await ask(server.port, 'EXPIRE', 'sess:new-shortened', 2), 1);
    await endTogether('new-shortened');
  });

  it('takes an app over from connect-pg-simple, and gives it back, without logging anyone out', async () => {
    const before = await App.start(connectPgSimple, { databaseUrl: postgres.url(opened.database) });
    const browser = new Browser(before);
    assert.equal((await browser.post('/login', { user: 'barbara' })).status, 200);
    await before.stop();

    await server.killAndRestart();
    const during = await App.start('connect-redis 10 + redis 6', { port: server.port });
    const moved = Object.assign(new Browser(during), { cookie: browser.cookie });
    assert.equal((await moved.get('/me')).body.user, 'barbara');
    assert.equal((await moved.post('/visit')).body.visits, 1);
    await during.stop();

    const afterwards = await App.start(connectPgSimple, { databaseUrl: postgres.url(opened.database) });
    const back = Object.assign(new Browser(afterwards), { cookie: browser.cookie });
    assert.deepEqual((await back.get('/me')).body, { user: 'barbara', visits: 1 });
    await afterwards.stop();
  });

  it('logs out in the table too', async () => {
    assert.equal(await ask(server.port, 'DEL', 'sess:new-hour'), 1);
    assert.equal(await call(opened.store, 'get', 'new-hour'), undefined);
  });

  async function endTogether(sid) {
    const [sojourn_ms, connectPgSimple_ms] = await Promise.all([
      endOf(async () => (await ask(server.port, 'EXISTS', `sess:${sid}`)) === 0),
      endOf(async () => (await call(opened.store, 'get', sid)) === undefined),
    ]);
    const apart_ms = Math.abs(sojourn_ms - connectPgSimple_ms);
    assert.ok(apart_ms <= AGREE_WITHIN_MS + POLL_MS, `${sid} ended ${apart_ms} ms apart`);
  }
}

async function endOf(isOver) {
  await until('the session ends', isOver, { within_ms: 15_000 });
  return performance.now();
}

async function openStore(timezone) {
  const database = await postgres.createDatabase({ timezone });
  const pool = new pg.Pool({ connectionString: postgres.url(database), max: 2 });
  pool.on('error', () => {});
  const store = new PgStore({ pool, createTableIfMissing: true, pruneSessionInterval: false });
  return { database, pool, store, sql: (text) => postgres.query(database, text) };
}

function sess(user, lifetime_ms) {
  return { cookie: { originalMaxAge: lifetime_ms, expires: new Date(Date.now() + lifetime_ms), path: '/' }, passport: { user } };
}

function newYorkOffset_h() {
  const there = new Date(new Date().toLocaleString('en-US', { timeZone: 'America/New_York' }));
  const utc = new Date(new Date().toLocaleString('en-US', { timeZone: 'UTC' }));
  return Math.round((there - utc) / HOUR_MS);
}

function call(store, method, ...args) {
  return new Promise((resolve, reject) => {
    store[method](...args, (error, result) => (error ? reject(error) : resolve(result)));
  });
}
