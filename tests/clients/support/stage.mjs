// What a suite plays on: a server on one of its databases, with one PostgreSQL for the whole test file.
import { Postgres } from './postgres.mjs';
import { Server, isSojourn } from './target.mjs';

let shared;

export const databases = isSojourn ? ['postgres', 'sqlite'] : ['append-only file'];

// A server on a fresh database. `database` is one of `databases`; on PostgreSQL the stage also has `sql`.
export async function openStage(database, options = {}) {
  if (database !== 'postgres') return { server: await Server.start(options) };
  shared ??= Postgres.start();
  const postgres = await shared;
  const name = await postgres.createDatabase();
  const server = await Server.start({ databaseUrl: postgres.url(name), ...options });
  return { server, sql: (text, values) => postgres.query(name, text, values) };
}

export async function closeShared() {
  await (await shared)?.stop();
  shared = undefined;
}
