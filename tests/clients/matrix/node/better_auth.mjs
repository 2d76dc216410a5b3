// better-auth with its Redis storage as secondary storage: users in memory, every session in Redis.
import { redisStorage } from '@better-auth/redis-storage';
import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { port, uses } from './act.mjs';
import { clients } from './clients.mjs';
import { live } from './life.mjs';

await uses('better-auth', '@better-auth/redis-storage', 'ioredis-5');
const tables = { user: [], session: [], account: [], verification: [] };
const storage = redisStorage({ client: await clients['ioredis-5'](port) });
const authOf = (expiresIn) => betterAuth({
  secret: 'a secret of at least thirty-two characters',
  baseURL: 'http://127.0.0.1:3000',
  database: memoryAdapter(tables),
  secondaryStorage: storage,
  emailAndPassword: { enabled: true },
  session: { expiresIn, updateAge: 0 },
  user: { additionalFields: { visits: { type: 'number', defaultValue: 0 } } },
  logger: { disabled: true },
  telemetry: { enabled: false },
});
const auths = new Map();
const mail = (user) => `${user}@example.org`;

const withCookies = ({ auth, cookie }) => ({ auth, headers: new Headers({ cookie }) });
const keep = (held, response) => {
  const lines = response.headers.getSetCookie().map((line) => line.split(';')[0]);
  if (lines.length) held.cookie = lines.join('; ');
};

await live({
  create: async (user, seconds) => {
    if (!auths.has(seconds)) auths.set(seconds, authOf(seconds));
    const held = { auth: auths.get(seconds) };
    keep(held, await held.auth.api.signUpEmail({ body: { email: mail(user), password: 'long enough', name: user }, asResponse: true }));
    return held;
  },
  read: async (held) => {
    const { auth, headers } = withCookies(held);
    const found = await auth.api.getSession({ headers });
    return found && { user: found.user.name, visits: found.user.visits };
  },
  modify: async (held) => {
    const { auth, headers } = withCookies(held);
    const { user } = await auth.api.getSession({ headers });
    keep(held, await auth.api.updateUser({ headers, body: { visits: user.visits + 1 }, asResponse: true }));
  },
  // With updateAge 0, each read lengthens the session.
  touch: async (held) => { await held.auth.api.getSession(withCookies(held)); },
  list: async () => (await storage.listKeys?.())?.length ?? 'not offered',
  regenerate: async (held) => {
    const fresh = { auth: held.auth };
    const { auth, headers } = withCookies(held);
    const { user } = await auth.api.getSession({ headers });
    await auth.api.signOut({ headers });
    keep(fresh, await auth.api.signInEmail({ body: { email: user.email, password: 'long enough' }, asResponse: true }));
    return fresh;
  },
  destroy: async (held) => { await held.auth.api.signOut(withCookies(held)); },
});
