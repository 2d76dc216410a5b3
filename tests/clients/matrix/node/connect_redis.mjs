// connect-redis under express-session and Express: node connect_redis.mjs MAJOR CLIENT, as in `10 redis-6`.
import { createRequire } from 'node:module';
import express from 'express';
import session from 'express-session';
import { port, uses } from './act.mjs';
import { browsersOf } from './browsers.mjs';
import { clients } from './clients.mjs';
import { live } from './life.mjs';

const require = createRequire(import.meta.url);
const [major, clientName] = process.argv.slice(2);
const [name, mode] = clientName.split(' ');
await uses(`connect-redis-${major}`, name);

const Store = await storeClass();
const store = new Store({ client: await clients[name](port, mode), prefix: 'sess:' });
const app = express();
app.use(express.json());
app.use(session({ store, secret: 'secret', resave: false, saveUninitialized: false, cookie: { maxAge: 3_600_000 } }));
// Saved before the answer, as a login should be: an error of the store then shows in the answer. Everything else is saved as
// express-session does it by itself, at the end of the request.
app.post('/login', (request, response, next) => {
  request.session.user = request.body.user;
  request.session.visits = 0;
  request.session.cookie.maxAge = request.body.maxAge_ms;
  request.session.save((error) => (error ? next(error) : response.json({})));
});
app.get('/me', ({ session: { user, visits } }, response) => response.status(user ? 200 : 401).json({ user, visits }));
app.post('/visit', (request, response) => {
  request.session.visits += 1;
  response.json({});
});
app.post('/regenerate', (request, response, next) => {
  const { user, visits } = request.session;
  request.session.regenerate((error) => {
    Object.assign(request.session, { user, visits });
    return error ? next(error) : response.json({});
  });
});
app.post('/logout', (request, response, next) => {
  request.session.destroy((error) => (error ? next(error) : response.json({})));
});
app.use((error, _request, response, _next) => response.status(500).json({ error: error.message }));
const listener = app.listen(0, '127.0.0.1', async () => {
  const list = () => inTurn({ ids: () => call('ids'), length: () => call('length'), all: () => call('all') });
  await live(browsersOf(`http://127.0.0.1:${listener.address().port}`, { list }));
});

// The package has had three ways of giving its class.
async function storeClass() {
  if (Number(major) <= 6) return require(`connect-redis-${major}`)(session);
  const module = await import(`connect-redis-${major}`);
  return module.RedisStore ?? module.default;
}

function call(method, ...words) {
  return new Promise((resolve, reject) => {
    const done = (error, result) => (error ? reject(error) : resolve(result));
    Promise.resolve(store[method](...words, done)).catch(reject);
  });
}

// Each of the listing calls by itself: one that the library cannot do with this client must not hide the others.
async function inTurn(calls) {
  const results = {};
  for (const [method, ask] of Object.entries(calls)) {
    results[method] = await within(5_000, ask()).then(countOf, (error) => ({ error: error.message }));
  }
  return results;
}

const countOf = (result) => (Array.isArray(result) ? result.map((one) => one.user ?? 'id').sort() : result);

function within(ms, promise) {
  return Promise.race([promise, new Promise((_, reject) => { setTimeout(() => reject(new Error('no answer')), ms).unref(); })]);
}
