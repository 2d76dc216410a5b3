// unstorage's redis driver, as Nitro and Nuxt keep their sessions in it.
import { randomUUID } from 'node:crypto';
import { createStorage } from 'unstorage';
import redisDriver from 'unstorage/drivers/redis';
import { port, uses } from './act.mjs';
import { live } from './life.mjs';

await uses('unstorage', 'ioredis');
const storage = createStorage({ driver: redisDriver({ base: 'session', host: '127.0.0.1', port, scanCount: 100 }) });

await live({
  create: async (user, seconds) => {
    const key = randomUUID();
    await storage.setItem(key, { user, visits: 0 }, { ttl: seconds });
    return key;
  },
  read: (key) => storage.getItem(key),
  modify: async (key) => {
    const { user, visits } = await storage.getItem(key);
    await storage.setItem(key, { user, visits: visits + 1 }, { ttl: 3_600 });
  },
  list: async () => {
    const keys = await storage.getKeys();
    const items = await storage.getItems(keys);
    return { keys: keys.length, has: await storage.hasItem(keys[0]), users: items.map(({ value }) => value.user).sort() };
  },
  destroy: (key) => storage.removeItem(key),
});
