// Whichever prefix the app uses and whatever the table is called: the row is in that table, for SQL to read.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { App, Browser } from './support/app.mjs';
import { until } from './support/poll.mjs';
import { closeShared, databases, openStage } from './support/stage.mjs';
import { ask } from './support/wire.mjs';

const mappings = [
  { prefix: 'sess:', table: 'session', sessionTables: [] },
  { prefix: 'meetabl:sess:', table: 'session', sessionTables: ['meetabl:sess:=session'] },
  { prefix: 'sess:', table: 'user_sessions', sessionTables: ['sess:=user_sessions'] },
  { prefix: '', table: 'user_sessions', sessionTables: ['=user_sessions'] },
];
const pairsTried = ['connect-redis 6 + redis 4 in legacy mode', 'connect-redis 8 + ioredis 5', 'connect-redis 10 + redis 6'];

after(closeShared);

for (const database of databases) {
  for (const [at, mapping] of mappings.entries()) {
    const pair = pairsTried[at % pairsTried.length];
    describe(`prefix '${mapping.prefix}' in table ${mapping.table} on ${database}, ${pair}`, () => keepsSessionsIn(mapping, pair, database));
  }
}

function keepsSessionsIn({ prefix, table, sessionTables }, pair, database) {
  it('logs in, survives kill -9, is readable by SQL, and logs out', async () => {
    const { server, sql } = await openStage(database, { sessionTables });
    const app = await App.start(pair, { port: server.port, prefix });
    try {
      const browser = new Browser(app);
      const { sid } = (await browser.post('/login', { user: 'grace' })).body;
      assert.equal(JSON.parse(await ask(server.port, 'GET', prefix + sid)).passport.user, 'grace');
      assert.deepEqual(await app.store('ids'), [sid]);

      await server.killAndRestart();
      await until('still logged in', async () => (await browser.get('/me')).body.user === 'grace');
      if (sql) await rowIsThere(sql, table, sid);

      assert.equal((await browser.post('/logout')).status, 200);
      assert.equal((await browser.get('/me')).status, 401);
      if (sql) assert.deepEqual(await sql(`select sid from ${table}`), [], 'an acknowledged logout has left the table');
    } finally {
      await app.stop();
      await server.stop();
    }
  });
}

async function rowIsThere(sql, table, sid) {
  const rows = await sql(`select sid, sess->'passport' as passport, extract(epoch from expire - now())::float8 as left_s from ${table}`);
  assert.deepEqual(rows.map((row) => [row.sid, row.passport]), [[sid, { user: 'grace' }]]);
  assert.ok(rows[0].left_s > 3_400 && rows[0].left_s <= 3_600, `${rows[0].left_s} s left`);
}
