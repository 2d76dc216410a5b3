// An app that logs in as a user of its own, with the rules that the README gives: it can keep sessions and nothing else.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { closeShared, databases, openStage } from './support/stage.mjs';
import { ask } from './support/wire.mjs';

const USER = 'app';
const PASSWORD = 'correct horse: battery/staple@home';
const RULES = ['reset', 'on', `>${PASSWORD}`, '~sess:*', '+@read', '+@write', '+@connection', '+@transaction', '-@dangerous', '+info'];
const NO_KEY = /^NOPERM .*keys used as arguments/;
const NO_COMMAND = /^NOPERM .*'flushall' command/;
const WRONG_PASSWORD = /WRONGPASS/;

// What each kind of client needs to send a command as a user, and to end.
const clients = Object.fromEntries([
  ...['redis-4', 'redis-5', 'redis-6'].map((name) => [name, async ({ port, password }) => {
    const { createClient } = await import(name);
    const socket = { host: '127.0.0.1', port, reconnectStrategy: false };
    const client = createClient({ socket, username: USER, password });
    client.on('error', () => {}); // it is told by the promise as well
    await client.connect();
    return { send: (...words) => client.sendCommand(words), close: () => client.quit() };
  }]),
  ...['ioredis-5', 'ioredis-6'].map((name) => [name, async ({ port, password }) => {
    const { Redis } = await import(name);
    const client = new Redis({ port, host: '127.0.0.1', username: USER, password, lazyConnect: true, retryStrategy: null });
    const refusals = []; // why it closed; the promise says only that it did
    client.on('error', (error) => refusals.push(error));
    await client.connect().catch((error) => { throw refusals[0] ?? error; });
    return { send: (...words) => client.call(...words), close: () => client.quit() };
  }]),
]);

let server;
before(async () => {
  ({ server } = await openStage(databases.at(-1)));
  assert.equal(await ask(server.port, 'ACL', 'SETUSER', USER, ...RULES), 'OK');
});
after(async () => {
  await server?.stop();
  await closeShared();
});

for (const [name, open] of Object.entries(clients)) {
  describe(name, () => {
    it('keeps sessions as its user, and can do nothing else', async () => {
      const client = await open({ port: server.port, password: PASSWORD });
      try {
        assert.equal(await client.send('SET', 'sess:a', '{"user":"ada"}', 'EX', '100'), 'OK');
        assert.equal(await client.send('GET', 'sess:a'), '{"user":"ada"}');
        assert.equal(await client.send('EXPIRE', 'sess:a', '200'), 1);
        assert.equal(await client.send('DEL', 'sess:a'), 1);
        await assert.rejects(client.send('GET', 'other'), { message: NO_KEY });
        await assert.rejects(client.send('FLUSHALL'), { message: NO_COMMAND });
      } finally {
        await client.close();
      }
    });

    it('is told of a wrong password', async () => {
      const attempt = async () => (await open({ port: server.port, password: 'wrong' })).send('ACL', 'WHOAMI');
      await assert.rejects(attempt, { message: WRONG_PASSWORD });
    });
  });
}
