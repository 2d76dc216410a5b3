// PostgreSQL goes away under an app that has one connection to the server, as node-redis makes it: replies come in order, so
// one write that waited would hold up every read behind it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createClient } from 'redis-6';
import { until } from './support/poll.mjs';
import { Postgres } from './support/postgres.mjs';
import { Server, isSojourn } from './support/target.mjs';

const HOT_KEYS = 100;
// Requests at a time, and how long each pauses between two: far from what the server can do, so that latencies are its own.
const REQUESTS = 10;
const PAUSE_MS = 3;
const WRITE_EVERY = 10;
// Until then those wait whose write was under way when the database went away (write-timeout is a second).
const SETTLED_AFTER_MS = 1_000;
const MEASURED_MS = 3_000;
const READS_MIN = 1_000;
const WRITES_MIN = 100;
const READ_P99_MAX_MS = 50;

describe('an outage of PostgreSQL through one node-redis connection', { skip: !isSojourn && 'redis-server has no database behind it' }, () => {
  let postgres;
  let server;
  let client;

  before(async () => {
    postgres = await Postgres.start();
    server = await Server.start({ databaseUrl: postgres.url(await postgres.createDatabase()) });
    client = createClient({ socket: { host: '127.0.0.1', port: server.port } });
    client.on('error', (error) => assert.fail(`the connection broke: ${error.message}`));
    await client.connect();
    for (let key = 0; key < HOT_KEYS; key++) await client.set(`sess:hot-${key}`, '{"hot":true}', { EX: 3_600 });
  });
  after(async () => {
    client?.destroy();
    await server?.stop();
    await postgres?.stop();
  });

  it('serves hot reads, refuses writes with MISCONF, and recovers by itself', async () => {
    const load = new Load(client);
    await until('acknowledged writes', () => load.writes.filter((write) => write.acked).length >= WRITES_MIN);
    await postgres.crash();
    const crashed = performance.now();
    await until('the time of the measurement', () => performance.now() > crashed + SETTLED_AFTER_MS + MEASURED_MS);
    const restarted = performance.now();
    const during = ({ begun }) => begun > crashed + SETTLED_AFTER_MS && begun < restarted;
    const reads = load.reads.filter(during);
    const writes = load.writes.filter(during);
    const p99_ms = quantile(reads.map(({ took_ms }) => took_ms), 0.99);
    console.log(`${reads.length} reads in the outage: p99 ${p99_ms.toFixed(1)} ms; ${writes.length} writes refused`);
    assert.ok(reads.length >= READS_MIN, `only ${reads.length} reads`);
    assert.ok(p99_ms < READ_P99_MAX_MS, `the p99 of reads is ${p99_ms} ms`);
    assert.ok(writes.length >= WRITES_MIN, `only ${writes.length} writes`);
    for (const write of writes) assert.match(write.error ?? 'acknowledged', /^MISCONF /);

    await postgres.resume();
    const resumed = performance.now();
    await until('writes', () => load.writes.filter(({ acked, begun }) => acked && begun > resumed).length >= WRITES_MIN);
    await load.end();
    // MISCONF means not applied; only UNCERTAIN leaves it open.
    for (const { key, acked, error } of load.writes) {
      const value = await client.get(key);
      if (acked) assert.equal(value, '{"written":true}', key);
      else if (error.startsWith('MISCONF')) assert.equal(value, null, `${key}: ${error}`);
      else assert.match(error, /^UNCERTAIN /);
    }
  });
});

// Requests that go on until they are told to end: reads of hot sessions, and every tenth writes a new one.
class Load {
  reads = [];
  writes = [];
  #client;
  #ended = false;
  #running;

  constructor(client) {
    this.#client = client;
    this.#running = Promise.all(Array.from({ length: REQUESTS }, (_, request) => this.#run(request)));
  }

  async end() {
    this.#ended = true;
    await this.#running;
  }

  async #run(request) {
    for (let turn = 0; !this.#ended; turn++) {
      const begun = performance.now();
      if (turn % WRITE_EVERY === request) {
        this.writes.push(await this.#write(`sess:new-${request}-${turn}`, begun));
      } else {
        assert.equal(await this.#client.get(`sess:hot-${turn % HOT_KEYS}`), '{"hot":true}');
        this.reads.push({ begun, took_ms: performance.now() - begun });
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  async #write(key, begun) {
    try {
      await this.#client.set(key, '{"written":true}', { EX: 3_600 });
      return { key, begun, acked: true };
    } catch (error) {
      return { key, begun, acked: false, error: error.message };
    }
  }
}

function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.ceil(share * sorted.length) - 1] ?? Infinity;
}
