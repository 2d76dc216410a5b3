// The Express app that the tests run: node app.mjs PAIR. It prints `listening PORT` when it can be asked.
import express from 'express';
import session from 'express-session';
import { connectStore } from './pairs.mjs';

const HOUR_MS = 3_600_000;

const store = await connectStore(process.argv[2], {
  port: Number(process.env.REDIS_PORT),
  prefix: process.env.SESSION_PREFIX,
  databaseUrl: process.env.DATABASE_URL,
});

const app = express();
app.use(express.json());

// Admin routes stand before the session middleware: they call the store and no session of their own.
app.post('/store/seed', async (request, response) => {
  const { count, first = 0 } = request.body;
  const seed = (at) => call('set', `seed-${at}`, { cookie: { originalMaxAge: HOUR_MS, expires: new Date(Date.now() + HOUR_MS), path: '/' }, passport: { user: at } });
  await Promise.all(Array.from({ length: count }, (_, at) => seed(first + at)));
  response.json({ result: count });
});
app.post('/store/:method', async (request, response) => {
  response.json({ result: await call(request.params.method, ...(request.body?.arguments ?? [])) });
});

// With resave and a cookie of no fixed age, every request SETs the very same bytes again; without, it touches.
const resave = process.env.SESSION_RESAVE === 'true';
app.use(session({
  store,
  secret: 'the same before and after a restart',
  resave,
  saveUninitialized: false,
  cookie: resave ? {} : { maxAge: HOUR_MS },
}));

app.post('/login', (request, response, next) => {
  request.session.regenerate((error) => {
    if (error) return next(error);
    request.session.passport = { user: request.body.user };
    if (request.body.maxAge_ms) request.session.cookie.maxAge = request.body.maxAge_ms;
    return response.json({ sid: request.session.id });
  });
});
app.get('/me', (request, response) => {
  const user = request.session.passport?.user;
  response.status(user ? 200 : 401).json({ user, visits: request.session.visits });
});
app.post('/visit', (request, response) => {
  request.session.visits = (request.session.visits ?? 0) + 1;
  response.json({ visits: request.session.visits });
});
app.post('/logout', (request, response, next) => {
  request.session.destroy((error) => (error ? next(error) : response.json({})));
});
app.use((error, _request, response, _next) => {
  response.status(500).json({ error: error.message });
});

const listener = app.listen(0, '127.0.0.1', () => console.log(`listening ${listener.address().port}`));

function call(method, ...args) {
  return new Promise((resolve, reject) => {
    store[method](...args, (error, result) => (error ? reject(error) : resolve(result)));
  });
}
