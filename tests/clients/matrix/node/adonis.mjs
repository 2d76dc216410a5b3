// @adonisjs/session's redis driver, under its own middleware: node adonis.mjs, or `tagging` for the sessions of a user.
import { createServer } from 'node:http';
import { Emitter } from '@adonisjs/core/events';
import { AppFactory } from '@adonisjs/core/factories/app';
import { EncryptionFactory } from '@adonisjs/core/factories/encryption';
import { HttpContextFactory, RequestFactory, ResponseFactory } from '@adonisjs/core/factories/http';
import { RedisManagerFactory } from '@adonisjs/redis/factories';
import { defineConfig, stores } from '@adonisjs/session';
import SessionMiddleware from '@adonisjs/session/session_middleware';
import { again, crash, end, port, step, uses } from './act.mjs';
import { browsersOf } from './browsers.mjs';
import { live } from './life.mjs';

const tagging = process.argv[2] === 'tagging';
await uses('@adonisjs/session', '@adonisjs/redis', 'ioredis');

const app = new AppFactory().create(new URL('./', import.meta.url), () => {});
await app.init();
const emitter = new Emitter(app);
const encryption = new EncryptionFactory().create();
const redis = new RedisManagerFactory({ connection: 'main', connections: { main: { host: '127.0.0.1', port } } }).create(app);
redis.on?.('connection:error', () => {});
redis.doNotLogErrors?.();
app.container.bindValue('redis', redis);

const routes = {
  '/login': ({ session }, { user }) => session.put('user', user) ?? session.put('visits', 0),
  '/me': ({ session }) => session.get('user') && { user: session.get('user'), visits: session.get('visits') },
  '/visit': ({ session }) => session.increment('visits'),
  '/regenerate': ({ session }) => session.regenerate(),
  '/logout': ({ session }) => session.clear(),
  '/tag': ({ session }) => session.tag(session.get('user')),
};

async function listening(seconds) {
  const config = await defineConfig({ store: 'redis', age: seconds, enabled: true, cookieName: 'adonis', clearWithBrowser: false, stores: { redis: stores.redis({ connection: 'main' }) } }).resolver(app);
  const middleware = new SessionMiddleware(config, emitter);
  const server = createServer(async (req, res) => {
    const words = req.method === 'POST' ? JSON.parse((await text(req)) || '{}') : {};
    const request = new RequestFactory().merge({ req, res, encryption }).create();
    const response = new ResponseFactory().merge({ req, res, encryption }).create();
    const context = new HttpContextFactory().merge({ request, response }).create();
    try {
      await middleware.handle(context, async () => {
        const answer = await routes[request.url()](context, words);
        response.status(request.url() === '/me' && !answer ? 401 : 200).json(request.url() === '/me' && answer ? answer : {});
      });
    } catch (error) {
      response.status(500).json({ error: error.message });
    }
    response.finish();
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return browsersOf(`http://127.0.0.1:${server.address().port}`);
}

const long = await listening(3_600);
if (!tagging) {
  const brief = await listening(2);
  await live({ ...long, create: (user, seconds) => (seconds > 2 ? long : brief).create(user, seconds) });
}

const store = (await stores.redis({ connection: 'main' }).resolver(app))({}, { age: '1h' });
const tagged = async (user) => (await store.tagged(user)).map(({ data }) => data.user);
let first;
let second;
await step('tag', async () => {
  [first, second] = [await long.create('ada', 3_600), await long.create('ada', 3_600)];
  for (const browser of [first, second]) await browser.post('/tag');
  return [await tagged('ada'), await tagged('grace')];
});
await step('tagged, one of them gone', async () => { await long.destroy(second); return tagged('ada'); });
await crash();
await step('tagged after the crash', () => again(() => tagged('ada')));
await step('tagged, all of them gone', async () => { await long.destroy(first); return tagged('ada'); });
await crash();
await step('tagged after the second crash', () => again(() => tagged('ada')));
await end();

async function text(request) {
  let body = '';
  for await (const piece of request) body += piece;
  return body;
}
