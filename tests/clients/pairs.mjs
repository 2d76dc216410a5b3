// The client pairs that people really run: each entry connects a client and builds its session store.
import { createRequire } from 'node:module';
import session from 'express-session';

const require = createRequire(import.meta.url);

export const pairs = {
  'connect-redis 6 + redis 4 in legacy mode': async ({ port, prefix }) => {
    const { createClient } = await import('redis-4');
    const RedisStore = require('connect-redis-6')(session);
    return new RedisStore({ client: await nodeRedis(createClient, port, { legacyMode: true }), prefix });
  },
  'connect-redis 7 + redis 4': async ({ port, prefix }) => {
    const { createClient } = await import('redis-4');
    const { default: RedisStore } = await import('connect-redis-7');
    return new RedisStore({ client: await nodeRedis(createClient, port), prefix });
  },
  'connect-redis 8 + ioredis 5': async ({ port, prefix }) => {
    const { Redis } = await import('ioredis-5');
    const { RedisStore } = await import('connect-redis-8');
    return new RedisStore({ client: ioredis(Redis, port), prefix });
  },
  'connect-redis 9 + redis 5': async ({ port, prefix }) => {
    const { createClient } = await import('redis-5');
    const { RedisStore } = await import('connect-redis-9');
    return new RedisStore({ client: await nodeRedis(createClient, port), prefix });
  },
  'connect-redis 10 + redis 6': async ({ port, prefix }) => {
    const { createClient } = await import('redis-6');
    const { RedisStore } = await import('connect-redis-10');
    return new RedisStore({ client: await nodeRedis(createClient, port), prefix });
  },
  'ioredis 6 on its own': async ({ port, prefix }) => {
    const { Redis } = await import('ioredis-6');
    return new IoredisStore(ioredis(Redis, port), prefix);
  },
};

// Not a Redis client at all: the store that Sojourn's table comes from, for moving there and back.
export const connectPgSimple = 'connect-pg-simple';

export async function connectStore(name, { port, prefix, databaseUrl }) {
  if (name === connectPgSimple) {
    const { default: pg } = await import('pg');
    const PgStore = require('connect-pg-simple')(session);
    return new PgStore({ pool: new pg.Pool({ connectionString: databaseUrl }), createTableIfMissing: true, pruneSessionInterval: false });
  }
  const connect = pairs[name];
  if (!connect) throw new Error(`no pair ${name}; expected one of: ${Object.keys(pairs).join(', ')}`);
  return connect({ port, prefix });
}

// As the README tells: node-redis 4 and later ignore a top-level host.
async function nodeRedis(createClient, port, options = {}) {
  const client = createClient({ ...options, socket: { host: '127.0.0.1', port } });
  client.on('error', (error) => console.log(`client error: ${error.message}`));
  await client.connect();
  return client;
}

function ioredis(Redis, port) {
  const client = new Redis({ host: '127.0.0.1', port });
  client.on('error', (error) => console.log(`client error: ${error.message}`));
  return client;
}

// What people write by hand who take no store from npm: milliseconds (PX, PEXPIRE), GETEX, UNLINK and a pipeline.
class IoredisStore extends session.Store {
  constructor(client, prefix) {
    super();
    Object.assign(this, { client, prefix });
  }

  get(sid, done) {
    this.#answer(this.client.get(this.prefix + sid).then((text) => (text ? JSON.parse(text) : null)), done);
  }

  set(sid, sess, done) {
    this.#answer(this.client.set(this.prefix + sid, JSON.stringify(sess), 'PX', lifetime_ms(sess)), done);
  }

  touch(sid, sess, done) {
    this.#answer(this.client.pexpire(this.prefix + sid, lifetime_ms(sess)), done);
  }

  destroy(sid, done) {
    this.#answer(this.client.unlink(this.prefix + sid), done);
  }

  ids(done) {
    this.#answer(this.#keys().then((keys) => keys.map((key) => key.slice(this.prefix.length))), done);
  }

  length(done) {
    this.#answer(this.#keys().then((keys) => keys.length), done);
  }

  all(done) {
    this.#answer(this.#keys().then(async (keys) => {
      const replies = await keys.reduce((pipeline, key) => pipeline.get(key), this.client.pipeline()).exec();
      return replies.map(([error, text], at) => {
        if (error) throw error;
        return { ...JSON.parse(text), id: keys[at].slice(this.prefix.length) };
      });
    }), done);
  }

  clear(done) {
    this.#answer(this.#keys().then((keys) => (keys.length ? this.client.unlink(...keys) : 0)), done);
  }

  async #keys() {
    const keys = [];
    for await (const page of this.client.scanStream({ match: `${this.prefix}*`, count: 100 })) keys.push(...page);
    return keys;
  }

  #answer(promise, done = () => {}) {
    promise.then((value) => done(null, value), (error) => done(error));
  }
}

function lifetime_ms(sess) {
  return sess.cookie?.expires ? Math.max(1, new Date(sess.cookie.expires).getTime() - Date.now()) : 86_400_000;
}
