// A PostgreSQL of the test's own: a cluster in a temporary folder on a port of its own, never the machine's.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { until } from './poll.mjs';
import { finish, freePort, removeFolder, start, stop, temporaryFolder } from './processes.mjs';

// PostgreSQL refuses to run as root; its Debian package brings this user.
const asUser = process.getuid() === 0 ? 'postgres' : undefined;

export class Postgres {
  #folder;
  #command;
  #server;
  #databases = 0;

  // `timezone` is the zone that initdb finds on the machine, and so the cluster's own default for every connection.
  static async start({ timezone = 'UTC' } = {}) {
    const postgres = new Postgres();
    postgres.#folder = temporaryFolder('postgres');
    postgres.port = await freePort();
    const data = join(postgres.#folder, 'data');
    const environment = { ...process.env, TZ: timezone, LC_ALL: 'C.UTF-8' };
    for (const name of Object.keys(environment)) if (name.startsWith('PG')) delete environment[name];
    const options = { asUser, env: environment, cwd: postgres.#folder };
    const made = await finish(binary('initdb'), ['-D', data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--no-sync', '--no-instructions'], options);
    if (made.code !== 0) throw new Error(`initdb failed:\n${made.output}`);
    const settings = [`port=${postgres.port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=', 'shared_buffers=32MB', 'max_connections=60'];
    // QUIT is PostgreSQL's immediate shutdown: its children go too, and its shared memory is given back.
    postgres.#command = [binary('postgres'), ['-D', data, ...settings.flatMap((setting) => ['-c', setting])], { ...options, dyingSignal: 'QUIT' }];
    await postgres.resume();
    return postgres;
  }

  // Starts the server process on its port and data, and returns when it answers.
  async resume() {
    this.#server = start(...this.#command);
    await until('PostgreSQL answers', () => this.query('postgres', 'select 1'), { within_ms: 30_000 })
      .catch((error) => { throw new Error(`${error.message}\n${this.#server.output}`); });
  }

  // As `pg_ctl stop -m immediate`: no checkpoint, every connection is cut.
  async crash() {
    await stop(this.#server, 'SIGQUIT');
  }

  url(database) {
    return `postgres://postgres@127.0.0.1:${this.port}/${database}`;
  }

  // `timezone` here is the database's own setting (ALTER DATABASE … SET), which outranks the cluster's.
  async createDatabase({ timezone } = {}) {
    const database = `sojourn_test_${++this.#databases}`;
    await this.query('postgres', `create database ${database}`);
    if (timezone) await this.query('postgres', `alter database ${database} set timezone = '${timezone}'`);
    return database;
  }

  async query(database, sql, values = []) {
    const client = new pg.Client({ connectionString: this.url(database), connectionTimeoutMillis: 5_000, query_timeout: 30_000 });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query(sql, values)).rows;
    } finally {
      await client.end();
    }
  }

  async stop() {
    await this.crash();
    removeFolder(this.#folder);
  }
}

// On PATH, where `pg_config` says, or where Debian keeps the versions beside each other.
function binary(name) {
  const folders = (process.env.PATH ?? '').split(':');
  try {
    folders.push(execFileSync('pg_config', ['--bindir'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim());
  } catch {
    // pg_config comes with the development package only.
  }
  const debian = '/usr/lib/postgresql';
  if (existsSync(debian)) {
    const versions = readdirSync(debian).sort((a, b) => Number(b) - Number(a));
    folders.push(...versions.map((version) => join(debian, version, 'bin')));
  }
  const found = folders.map((folder) => join(folder, name)).find(existsSync);
  if (!found) throw new Error(`${name} not found: install the package postgresql (tests/run does it as root)`);
  return found;
}
