// The usual SQL of session tables runs on ours at any time: whatever clients store, no query of the users' own may fail.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { until } from './support/poll.mjs';
import { closeShared, openStage } from './support/stage.mjs';
import { isSojourn } from './support/target.mjs';
import { Wire } from './support/wire.mjs';

const USERS = ['ada', 'ada', 'grace', 'edsger'];
const DAY_S = 86_400;

// Only Sojourn has a table; redis-server has nothing to ask.
if (isSojourn) describe('the usual SQL on the session table', usualSql);

function usualSql() {
  let stage;
  let wire;

  before(async () => {
    stage = await openStage('postgres');
    wire = await Wire.open(stage.server.port);
    for (const [at, user] of USERS.entries()) {
      const expires = new Date(Date.now() + (at + 1) * DAY_S * 1_000).toISOString();
      await wire.call('SET', `sess:${at}`, JSON.stringify({ cookie: { expires, originalMaxAge: DAY_S * 1_000 }, passport: { user } }), 'EX', (at + 1) * DAY_S);
    }
    await wire.call('SET', 'sess:forever', JSON.stringify({ cookie: { expires: null }, passport: { user: 'root' } }));
    // Values that `json` refuses, or that it stores but cannot be asked about, belong elsewhere.
    const unfit = ['not json', '[1]', '"text"', 'null', '{"passport":"\\u0000"}', '{"passport":"\\ud800"}', '{"passport":{"a":"\\udc00\\ud800"}}', '{', `${'['.repeat(600)}${']'.repeat(600)}`];
    for (const [at, value] of unfit.entries()) {
      await wire.call('SET', `sess:unfit-${at}`, value, 'EX', DAY_S);
      assert.equal(await wire.call('GET', `sess:unfit-${at}`), value);
    }
    await wire.call('SET', 'sess:brief', '{"passport":{"user":"brief"}}', 'PX', 200);
    await until('the brief session is over', async () => (await wire.call('EXISTS', 'sess:brief')) === 0);
  });
  after(async () => {
    wire?.close();
    await stage?.server.stop();
    await closeShared();
  });

  it('counts the active and the expired', async () => {
    const active = await stage.sql('select count(*)::int as n from session where expire >= now()');
    assert.equal(active[0].n, USERS.length + 1);
    const expired = await stage.sql('select sid from session where expire < now()');
    assert.ok(expired.every(({ sid }) => sid === 'brief'), JSON.stringify(expired));
  });

  it('reads into the JSON of every row', async () => {
    const rows = await stage.sql("select sess->'passport'->>'user' as name, count(*)::int as n from session where expire > now() group by 1 order by 1");
    assert.deepEqual(rows, [{ name: 'ada', n: 2 }, { name: 'edsger', n: 1 }, { name: 'grace', n: 1 }, { name: 'root', n: 1 }]);
    const all = await stage.sql("select sess->'passport' as passport, sess::jsonb->'cookie'->>'expires' as expires from session where sid <> 'brief'");
    assert.equal(all.length, USERS.length + 1);
  });

  it('draws a histogram over the time left', async () => {
    const rows = await stage.sql(`
      select width_bucket(extract(epoch from expire - now()), 0, ${4 * DAY_S}, 4) as bucket, count(*)::int as n
      from session where expire > now() group by 1 order by 1`);
    assert.deepEqual(rows, [1, 2, 3, 4, 5].map((bucket) => ({ bucket, n: 1 })), 'the last is the key without TTL');
    const [{ longest_days }] = await stage.sql("select extract(day from max(expire - now()))::int as longest_days from session");
    assert.ok(longest_days > 365 * 1_000);
    await stage.sql("select date_trunc('hour', expire - now()), justify_interval(expire - now()) from session");
  });

  it('counts the sessions that end on each day', async () => {
    const rows = await stage.sql("select date_trunc('day', expire)::date::text as day, count(*)::int as n from session where expire > now() group by 1 order by 1");
    assert.equal(rows.length, USERS.length + 1);
    assert.equal(rows.at(-1).day, '9999-12-31');
  });

  it('keeps the table as connect-pg-simple creates it', async () => {
    const columns = await stage.sql(`
      select column_name, data_type, is_nullable, datetime_precision as digits
      from information_schema.columns where table_name = 'session' order by ordinal_position`);
    assert.deepEqual(columns.map(Object.values), [
      ['sid', 'character varying', 'NO', null],
      ['sess', 'json', 'NO', null],
      ['expire', 'timestamp without time zone', 'NO', 6],
    ]);
    const indexes = await stage.sql("select indexname from pg_indexes where tablename = 'session' order by indexname");
    assert.deepEqual(indexes.map(({ indexname }) => indexname), ['IDX_session_expire', 'session_pkey']);
  });

  it('keeps the JSON text byte for byte', async () => {
    const text = '{ "b" :1,\n "a": 2.0, "a": 3, "é": "\\u00e9 /\\/" }';
    await wire.call('SET', 'sess:bytes', text, 'EX', 100);
    assert.deepEqual(await stage.sql("select sess::text as text from session where sid = 'bytes'"), [{ text }]);
    await stage.server.killAndRestart();
    const again = await Wire.open(stage.server.port);
    assert.equal(await again.call('GET', 'sess:bytes'), text);
    again.close();
  });
}
