// koa-redis under koa-session or koa-generic-session: node koa.mjs LIBRARY. It brings its own ioredis 4.
import { createRequire } from 'node:module';
import Koa from 'koa';
import { port, uses } from './act.mjs';
import { browsersOf } from './browsers.mjs';
import { live } from './life.mjs';

const require = createRequire(import.meta.url);
const library = process.argv[2];
await uses(library, 'koa-redis', 'koa', 'koa-redis/node_modules/ioredis');

const store = require('koa-redis')({ host: '127.0.0.1', port });
store.on('error', (error) => console.error(`client: ${error.message}`));
store.client.on('error', (error) => console.error(`client: ${error.message}`));
const app = new Koa();
app.keys = ['secret'];
const generic = library === 'koa-generic-session';
const middleware = await import(library).then((module) => module.default ?? module);
if (generic) app.use(middleware({ store, rolling: true, cookie: { maxAge: 3_600_000, overwrite: true, signed: false } }));
else app.use(middleware({ store, rolling: true, maxAge: 3_600_000, signed: false }, app));
app.use(async (context) => {
  context.body = {};
  switch (context.path) {
    case '/login': {
      const { user, maxAge_ms } = JSON.parse(await text(context.req));
      Object.assign(context.session, { user, visits: 0 });
      if (generic) context.session.cookie.maxAge = maxAge_ms;
      else context.session.maxAge = maxAge_ms;
      break;
    }
    case '/me': {
      const { user, visits } = context.session ?? {};
      context.status = user ? 200 : 401;
      context.body = { user, visits };
      break;
    }
    case '/visit':
      context.session.visits += 1;
      break;
    case '/regenerate': {
      const { user, visits } = context.session;
      if (generic) await context.regenerateSession();
      else await context.session.regenerate();
      // koa-generic-session saves a session only whose content is another one.
      Object.assign(context.session, { user, visits, renewed: true });
      break;
    }
    case '/logout':
      context.session = null;
  }
});
const listener = app.listen(0, '127.0.0.1', () => live(browsersOf(`http://127.0.0.1:${listener.address().port}`)));

async function text(request) {
  let body = '';
  for await (const piece of request) body += piece;
  return body;
}
