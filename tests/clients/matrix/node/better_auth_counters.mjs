// What better-auth's Redis storage does by script and by GETDEL: counters of its rate limit, and values taken once.
import { redisStorage } from '@better-auth/redis-storage';
import { again, crash, end, port, step, uses } from './act.mjs';
import { clients } from './clients.mjs';

await uses('better-auth', '@better-auth/redis-storage', 'ioredis-5');
const storage = redisStorage({ client: await clients['ioredis-5'](port) });

await step('increment', async () => [await storage.increment('hits', 3_600), await storage.increment('hits', 3_600), await storage.increment('others', 3_600)]);
await step('get and delete', async () => {
  await storage.set('once', 'token', 3_600);
  return [await storage.getAndDelete('once'), await storage.getAndDelete('once')];
});
await crash();
await step('increment after the crash', () => again(() => storage.increment('hits', 3_600)));
await step('delete', async () => { await storage.delete('hits'); return storage.increment('hits', 3_600); });
await crash();
await step('increment after the second crash', () => again(() => storage.increment('hits', 3_600)));
await end();
