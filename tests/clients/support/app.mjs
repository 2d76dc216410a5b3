// The test's side of an Express app that runs as a process of its own, and a browser that keeps its cookie.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './poll.mjs';
import { start, stop } from './processes.mjs';

const script = join(dirname(fileURLToPath(import.meta.url)), '..', 'app.mjs');
const START_WITHIN_MS = 20_000;
const ANSWER_WITHIN_MS = 20_000;

export class App {
  #process;
  #pair;
  #environment;

  static async start(pair, { port = 0, prefix = 'sess:', resave = false, databaseUrl = '' }) {
    const app = new App();
    app.#pair = pair;
    app.#environment = { ...process.env, REDIS_PORT: String(port), SESSION_PREFIX: prefix, SESSION_RESAVE: String(resave), DATABASE_URL: databaseUrl };
    await app.restart();
    return app;
  }

  // Another process and another port: nothing of the login survives but what the store holds.
  async restart() {
    if (this.#process) await stop(this.#process, 'SIGTERM');
    this.#process = start(process.execPath, [script, this.#pair], { env: this.#environment });
    const line = await until(`the app of ${this.#pair} listens`, () => /^listening (\d+)$/m.exec(this.#process.output), { within_ms: START_WITHIN_MS })
      .catch((error) => { throw new Error(`${error.message}\n${this.#process.output}`); });
    this.origin = `http://127.0.0.1:${line[1]}`;
  }

  // Calls the store itself, as admin pages do: { error } or { result }.
  async store(method, body) {
    const answer = await request(`${this.origin}/store/${method}`, { method: 'POST', body });
    if (answer.status !== 200) throw new Error(`store.${method}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body.result;
  }

  async stop() {
    await stop(this.#process, 'SIGTERM', 3_000);
  }
}

export class Browser {
  #app;
  cookie;

  constructor(app) {
    this.#app = app;
  }

  get(path) {
    return this.#send('GET', path);
  }

  post(path, body = {}) {
    return this.#send('POST', path, body);
  }

  async #send(method, path, body) {
    const answer = await request(this.#app.origin + path, { method, body, cookie: this.cookie });
    if (answer.cookie) this.cookie = answer.cookie;
    return answer;
  }
}

async function request(url, { method, body, cookie, within_ms = ANSWER_WITHIN_MS }) {
  const headers = { connection: 'close' };
  if (cookie) headers.cookie = cookie;
  if (body) headers['content-type'] = 'application/json';
  const response = await fetch(url, { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(within_ms) });
  // Of several, the last counts, as in a browser: some frameworks take a cookie away and then set it anew.
  const setCookie = response.headers.getSetCookie().at(-1);
  return { status: response.status, body: await response.json(), cookie: setCookie?.split(';')[0] };
}
