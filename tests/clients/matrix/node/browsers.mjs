// Sessions of a web app with the routes of ../../app.mjs, each held by a browser's cookie.
import { Browser } from '../../support/app.mjs';

export function browsersOf(origin, { regenerates = true, list } = {}) {
  const open = async (browser, method, path, body) => {
    const answer = await browser[method](path, body);
    if (answer.status >= 400) throw new Error(`${path}: ${answer.status} ${answer.body.error ?? ''}`);
    return answer;
  };
  const read = async (browser) => {
    const { status, body } = await browser.get('/me');
    if (status === 401) return null;
    if (status !== 200) throw new Error(`/me: ${status} ${body.error ?? ''}`);
    return { user: body.user, visits: body.visits ?? 0 };
  };
  const withCookie = (cookie) => Object.assign(new Browser({ origin }), { cookie });
  return {
    list,
    read,
    create: async (user, seconds) => {
      const browser = new Browser({ origin });
      await open(browser, 'post', '/login', { user, maxAge_ms: seconds * 1000 });
      return browser;
    },
    modify: (browser) => open(browser, 'post', '/visit'),
    // An unchanged request is the touch of a web framework.
    touch: async (browser) => { await read(browser); },
    regenerate: regenerates && (async (browser) => {
      const fresh = withCookie(browser.cookie);
      await open(fresh, 'post', '/regenerate');
      return fresh;
    }),
    destroy: async (browser) => {
      const last = withCookie(browser.cookie);
      await open(last, 'post', '/logout');
    },
  };
}
