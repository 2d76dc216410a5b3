// rate-limit-redis, the store of express-rate-limit: two scripts that it loads, and counters that end.
import { RedisStore } from 'rate-limit-redis';
import { again, crash, end, pause, port, step, uses } from './act.mjs';
import { clients } from './clients.mjs';

const [clientName] = process.argv.slice(2);
await uses('rate-limit-redis', clientName);
const client = await clients[clientName](port);
const sendCommand = clientName.startsWith('io') ? (...words) => client.call(...words) : (...words) => client.sendCommand(words);
const storeOf = async (windowMs, further = {}) => {
  const store = new RedisStore({ sendCommand, prefix: 'rl:', ...further });
  await store.init({ windowMs });
  return store;
};
// What has no hits is said to reset now or never.
const hits = ({ totalHits, resetTime } = {}) => (totalHits ? { totalHits, resets: resetTime > new Date() } : 'none');

const store = await storeOf(3_600_000);
await step('increment', async () => [hits(await store.increment('ada')), hits(await store.increment('ada')), hits(await store.increment('grace'))]);
await step('get', async () => [hits(await store.get('ada')), hits(await store.get('nobody'))]);
await step('decrement', async () => { await store.decrement('ada'); return hits(await store.get('ada')); });
await step('window that ends', async () => {
  const brief = await storeOf(1_000);
  const first = [hits(await brief.increment('brief')), hits(await brief.increment('brief'))];
  await pause(1_500);
  return [...first, hits(await brief.increment('brief'))];
});
await crash();
// The scripts are forgotten by a crash; the store sees NOSCRIPT and loads them again.
await step('increment after the crash', () => again(async () => hits(await store.increment('ada'))));
await step('reset', async () => { await store.resetKey('ada'); return hits(await store.get('ada')); });
await crash();
await step('get after the second crash', () => again(async () => [hits(await store.get('ada')), hits(await store.get('grace'))]));
await end();
