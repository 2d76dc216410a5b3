// The compatibility matrix: real session libraries, each playing the same steps against Sojourn on PostgreSQL and against
// redis-server, with a kill -9 of the server in between. What they see must be the same, step by step, and the keys that
// they leave too. How a play goes is told in matrix/play.mjs, which libraries there are in matrix/libraries.mjs.
//
// What was seen is kept in matrix/results.json, so that a change of it shows in review, and the README's table is made from
// that file; a difference between any of the three is a failure. UPDATE_MATRIX=1 writes both. MATRIX=text plays only the
// libraries with that text in their names.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { libraries } from './matrix/libraries.mjs';
import { play } from './matrix/play.mjs';
import { entryOf, nameOf, readResults, readmeIsBehind, writeReadme, writeResults } from './matrix/results.mjs';
import { Postgres } from './support/postgres.mjs';
import { Server, target } from './support/target.mjs';
import { ask } from './support/wire.mjs';

const updating = process.env.UPDATE_MATRIX === '1';
const only = process.env.MATRIX ?? '';
// Each plays on servers of its own. Plays mostly wait: for a server that starts, for a life that ends.
const AT_A_TIME = 3;
// A driver that skips its steps would agree with itself on both sides.
const STEPS_MIN = 3;

const chosen = libraries.filter((library) => nameOf(library).includes(only));
const seen = new Map();

describe('compatibility matrix', { concurrency: AT_A_TIME, skip: target === 'redis' && 'it plays against both by itself' }, () => {
  const stages = [];
  let postgres;

  before(async () => { postgres = await Postgres.start(); });
  after(async () => {
    await Promise.all(stages.map(({ sojourn, redis }) => Promise.all([sojourn.stop(), redis.stop()])));
    await postgres?.stop();
  });

  for (const library of chosen) {
    it(`${nameOf(library)}: as against redis-server`, async () => {
      const stage = await openStage();
      const [redis, sojourn] = await Promise.all([play(library, stage.redis), play(library, stage.sojourn)]);
      stages.push(stage);
      isTheSame(sojourn, redis);
      const entry = entryOf(library, redis);
      seen.set(nameOf(library), entry);
      if (!updating) assert.deepEqual(entry, readResults()[nameOf(library)], 'matrix/results.json has something else: look at it, then UPDATE_MATRIX=1');
    });
  }

  // A stage is a server of each kind; a play that has failed may have left anything, so its stage is not used again.
  async function openStage() {
    const free = stages.pop();
    if (free) {
      await Promise.all(Object.values(free).map((server) => ask(server.port, 'FLUSHALL')));
      return free;
    }
    const database = await postgres.createDatabase();
    const [sojourn, redis] = await Promise.all([
      Server.start({ kind: 'sojourn', databaseUrl: postgres.url(database) }),
      Server.start({ kind: 'redis' }),
    ]);
    return { sojourn, redis };
  }
});

describe('the matrix itself', { skip: target === 'redis' && 'it is about Sojourn' }, () => {
  it('fails for a server that forgets an acknowledged write', async () => {
    const library = libraries.find((one) => nameOf(one) === 'connect-redis 10 with redis-6');
    const [keeping, forgetful] = await Promise.all([
      Server.start({ kind: 'redis' }),
      Server.start({ kind: 'redis', further: ['--appendonly', 'no'] }),
    ]);
    try {
      const [kept, forgotten] = await Promise.all([play(library, keeping), play(library, forgetful)]);
      assert.throws(() => isTheSame(forgotten, kept), /read after the crash/);
      isTheSame(kept, kept);
    } finally {
      await Promise.all([keeping.stop(), forgetful.stop()]);
    }
  });

  it('fails for a driver that skips its steps', () => {
    const empty = { versions: { a: '1' }, steps: [] };
    assert.throws(() => isTheSame(empty, empty), /steps/);
  });

  it('has its results and the table of the README up to date', () => {
    if (updating) {
      writeResults(libraries, seen);
      writeReadme(libraries);
    }
    const results = readResults();
    assert.deepEqual(Object.keys(results), libraries.map(nameOf), 'matrix/results.json has exactly the libraries of the list, in its order');
    assert.ok(!readmeIsBehind(libraries), 'the README is behind matrix/results.json: UPDATE_MATRIX=1 node --test matrix.test.mjs');
  });
});

function isTheSame(sojourn, redis) {
  assert.ok(redis.steps.length >= STEPS_MIN, `only ${redis.steps.length} steps`);
  assert.equal(new Set(redis.steps.map(({ step }) => step)).size, redis.steps.length, 'each step has a name of its own');
  assert.deepEqual(sojourn.versions, redis.versions);
  for (const [at, expected] of redis.steps.entries()) {
    assert.deepEqual(sojourn.steps[at], expected, `${expected.step}: another outcome than with redis-server`);
  }
  assert.equal(sojourn.steps.length, redis.steps.length);
}
