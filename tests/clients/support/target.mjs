// The server under test: Sojourn, or a real redis-server (TARGET=redis) to prove that the tests themselves are right.
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './poll.mjs';
import { freePort, removeFolder, start, stop, temporaryFolder } from './processes.mjs';
import { ask } from './wire.mjs';

const repository = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

export const target = process.env.TARGET ?? 'sojourn';
if (!['sojourn', 'redis'].includes(target)) throw new Error(`TARGET is ${target}; expected sojourn or redis`);
export const isSojourn = target === 'sojourn';

const START_WITHIN_MS = 30_000;

export class Server {
  #kind;
  #command;
  #arguments;
  #folder;
  #process;

  // `databaseUrl` and `sessionTables` mean something to Sojourn only; without a URL it gets an SQLite file.
  // `further` are flags that both know; `kind` is for tests that play on both at once.
  static async start({ databaseUrl, sessionTables = [], further = [], kind = target } = {}) {
    const server = new Server();
    server.#kind = kind;
    server.#folder = temporaryFolder('server');
    server.port = await freePort();
    if (kind === 'sojourn') server.#sojourn(databaseUrl, sessionTables);
    else server.#redis();
    server.#arguments.push(...further.map(String));
    await server.restart();
    return server;
  }

  #sojourn(databaseUrl, sessionTables) {
    const built = join(process.env.CARGO_TARGET_DIR ?? 'target', 'debug/sojourn');
    this.#command = resolve(repository, process.env.SOJOURN_BINARY ?? built);
    if (!existsSync(this.#command)) throw new Error(`${this.#command} is missing: run cargo build, or set SOJOURN_BINARY`);
    this.#arguments = [
      '--port', this.port,
      '--database-url', databaseUrl ?? `sqlite://${join(this.#folder, 'sojourn.db')}`,
      '--metrics-addr', 'off',
      '--log-level', 'warn',
      ...sessionTables.flatMap((mapping) => ['--session-table', mapping]),
    ].map(String);
  }

  // Only `always` lets redis-server keep across kill -9 what it has acknowledged, as Sojourn does by default.
  #redis() {
    this.#command = process.env.REDIS_SERVER ?? 'redis-server';
    this.#arguments = ['--port', this.port, '--dir', this.#folder, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'yes', '--appendfsync', 'always'].map(String);
  }

  // Starts on the same port and data, and returns when the server answers PONG (it says LOADING before).
  async restart() {
    this.#process = start(this.#command, this.#arguments, { cwd: this.#folder });
    let exited;
    this.#process.ended.then((end) => { exited = end; });
    try {
      await until(`${this.#kind} answers PONG`, async () => (await ask(this.port, 'PING')) === 'PONG' || exited, { within_ms: START_WITHIN_MS });
      if (exited) throw new Error(`${this.#kind} ended with code ${exited.code} (signal ${exited.signal})`);
    } catch (error) {
      throw new Error(`${error.message}\n${this.log}`);
    }
  }

  async kill() {
    await stop(this.#process, 'SIGKILL');
  }

  async killAndRestart() {
    await this.kill();
    await this.restart();
  }

  // SIGTERM must end it by itself and with exit code 0; stop() falls back to SIGKILL, which shows as a signal.
  async terminate() {
    return stop(this.#process, 'SIGTERM');
  }

  get log() {
    return this.#process.output;
  }

  async stop() {
    await this.kill();
    removeFolder(this.#folder);
  }
}
