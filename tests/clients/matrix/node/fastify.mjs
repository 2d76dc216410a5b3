// @fastify/session over connect-redis 9.
import cookie from '@fastify/cookie';
import session from '@fastify/session';
import { RedisStore } from 'connect-redis-9';
import Fastify from 'fastify';
import { port, uses } from './act.mjs';
import { browsersOf } from './browsers.mjs';
import { clients } from './clients.mjs';
import { live } from './life.mjs';

await uses('@fastify/session', 'connect-redis-9', 'redis-6', 'fastify');
const app = Fastify();
app.register(cookie);
app.register(session, {
  store: new RedisStore({ client: await clients['redis-6'](port) }),
  secret: 'a secret of at least thirty-two characters',
  cookie: { secure: false, maxAge: 3_600_000 },
  saveUninitialized: false,
});
app.post('/login', async ({ session: own, body }) => {
  Object.assign(own, { user: body.user, visits: 0 });
  own.options({ maxAge: body.maxAge_ms });
  return {};
});
app.get('/me', async ({ session: { user, visits } }, reply) => reply.status(user ? 200 : 401).send({ user, visits }));
app.post('/visit', async ({ session: own }) => {
  own.visits += 1;
  return {};
});
app.post('/regenerate', async (request) => {
  await request.session.regenerate(['user', 'visits']);
  return {};
});
app.post('/logout', async (request) => {
  await request.session.destroy();
  return {};
});
app.setErrorHandler((error, _request, reply) => reply.status(500).send({ error: error.message }));
await live(browsersOf(await app.listen({ port: 0, host: '127.0.0.1' })));
