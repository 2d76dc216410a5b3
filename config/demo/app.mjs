// Logs in and out, and shows who is online. Nothing here knows Sojourn: it is the code for Redis, with another REDIS_URL.
import express from 'express';
import session from 'express-session';
import { RedisStore } from 'connect-redis';
import { createClient } from 'redis';

const HALF_AN_HOUR_MS = 30 * 60 * 1000;
const NAME_LENGTH_MAX = 40;

const client = createClient({ url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' });
client.on('error', (error) => console.error(error.message)); // without it, a lost connection ends the process
await client.connect();
const store = new RedisStore({ client });

const app = express();
app.use(express.urlencoded({ extended: false }));
app.use(session({
  store,
  secret: process.env.SESSION_SECRET ?? 'only for trying it out',
  resave: false,
  saveUninitialized: false,
  cookie: { maxAge: HALF_AN_HOUR_MS, sameSite: 'lax', httpOnly: true },
}));

app.get('/', async (request, response) => {
  const online = await whoIsOnline();
  response.send(page(request.session.name, online));
});

app.post('/login', (request, response, next) => {
  const name = String(request.body?.name ?? '').trim().slice(0, NAME_LENGTH_MAX);
  if (!name) return response.status(400).send(page(undefined, [], 'Please give a name.'));
  // A new id, so that one that somebody knew before the login is worth nothing.
  return request.session.regenerate((error) => {
    if (error) return next(error);
    request.session.name = name;
    return request.session.save((problem) => (problem ? next(problem) : response.redirect(303, '/')));
  });
});

app.post('/logout', (request, response, next) => {
  request.session.destroy((error) => (error ? next(error) : response.clearCookie('connect.sid').redirect(303, '/')));
});

// One line each, however many browsers somebody has.
async function whoIsOnline() {
  const sessions = await store.all();
  return [...new Set(sessions.map((one) => one.name).filter(Boolean))].sort();
}

function page(name, online, problem = '') {
  const form = name
    ? `<p>You are <b>${escaped(name)}</b>.</p><form method="post" action="/logout"><button>Log out</button></form>`
    : '<form method="post" action="/login"><input name="name" placeholder="Your name" required autofocus> <button>Log in</button></form>';
  const list = online.map((one) => `<li>${escaped(one)}</li>`).join('') || '<li>nobody</li>';
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Who is online</title>
<h1>Who is online</h1><p>${escaped(problem)}</p>${form}<ul>${list}</ul>`;
}

function escaped(text) {
  const entities = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (letter) => entities[letter]);
}

const server = app.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? '127.0.0.1', () => {
  console.log(`listening ${server.address().port}`);
});
process.once('SIGTERM', () => {
  server.close();
  client.destroy();
});
