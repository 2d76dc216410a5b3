// Subscribers from Node: node-redis 5 and 6 and ioredis 5 and 6 hear what others publish and what happens to keys, which is
// what Socket.IO's adapter and Spring Session's listeners live on.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { until } from './support/poll.mjs';
import { Server, target } from './support/target.mjs';

const EXPIRED = '__keyevent@0__:expired';
const DELETED = '__keyevent@0__:del';

describe(`publish and subscribe on ${target}`, () => {
  let server;

  before(async () => {
    server = await Server.start({ further: ['--notify-keyspace-events', 'Egx'] });
  });
  after(async () => server?.stop());

  const heard = (messages, ...expected) => until(`${expected} among ${JSON.stringify(messages)}`, () =>
    expected.every((one) => messages.some((message) => message.join(' ') === one)));

  for (const version of ['redis-5', 'redis-6']) {
    for (const RESP of [2, 3]) {
      it(`${version} with RESP ${RESP}`, async () => {
        const { createClient } = await import(version);
        const options = { RESP, socket: { host: '127.0.0.1', port: server.port } };
        const [listener, client] = [createClient(options), createClient(options)];
        const messages = [];
        for (const one of [listener, client]) {
          one.on('error', (error) => console.log(`client error: ${error.message}`));
          await one.connect();
        }
        try {
          const hear = (message, channel) => messages.push([channel, message]);
          await listener.subscribe(['news', EXPIRED, DELETED], hear);
          await listener.pSubscribe('chat:*', hear);
          assert.equal(await client.publish('news', 'hello'), 1);
          assert.equal(await client.publish('chat:1', 'hi'), 1);
          await client.set('sess:ends', '{}', { PX: 50 });
          await client.set('sess:goes', '{}');
          await client.del('sess:goes');
          await heard(messages, 'news hello', 'chat:1 hi', `${EXPIRED} sess:ends`, `${DELETED} sess:goes`);
          await listener.unsubscribe('news');
          await listener.pUnsubscribe('chat:*');
          assert.equal(await client.publish('news', 'again'), 0);
          await listener.unsubscribe([EXPIRED, DELETED]);
          assert.equal(await listener.get('sess:ends'), null);
        } finally {
          await Promise.all([listener, client].map((one) => one.disconnect()));
        }
      });
    }
  }

  for (const version of ['ioredis-5', 'ioredis-6']) {
    it(version, async () => {
      const { Redis } = await import(version);
      const [listener, client] = [1, 2].map(() => new Redis({ host: '127.0.0.1', port: server.port }));
      const messages = [];
      for (const one of [listener, client]) one.on('error', (error) => console.log(`client error: ${error.message}`));
      listener.on('message', (channel, message) => messages.push([channel, message]));
      listener.on('pmessage', (pattern, channel, message) => messages.push([pattern, channel, message]));
      try {
        assert.equal(await listener.subscribe('news', EXPIRED, DELETED), 3);
        assert.equal(await listener.psubscribe('chat:*'), 4);
        assert.equal(await client.publish('news', 'hello'), 1);
        assert.equal(await client.publish('chat:1', 'hi'), 1);
        await client.set('sess:ends', '{}', 'PX', 50);
        await client.set('sess:goes', '{}');
        await client.unlink('sess:goes');
        await heard(messages, 'news hello', 'chat:* chat:1 hi', `${EXPIRED} sess:ends`, `${DELETED} sess:goes`);
        assert.equal(await listener.punsubscribe('chat:*'), 3);
        assert.equal(await listener.unsubscribe(), 0);
        assert.equal(await client.publish('news', 'again'), 0);
        assert.equal(await listener.ping(), 'PONG');
      } finally {
        listener.disconnect();
        client.disconnect();
      }
    });
  }

  it('a listener that asks for more comes back after the server does', async () => {
    const { Redis } = await import('ioredis-5');
    const listener = new Redis({ host: '127.0.0.1', port: server.port, retryStrategy: () => 50 });
    listener.on('error', () => {});
    const messages = [];
    listener.on('message', (channel, message) => messages.push([channel, message]));
    try {
      await listener.subscribe('after');
      await server.killAndRestart();
      const client = new Redis({ host: '127.0.0.1', port: server.port });
      client.on('error', () => {});
      await until('the subscription to be there again', async () => (await client.publish('after', 'back')) === 1);
      await heard(messages, 'after back');
      client.disconnect();
    } finally {
      listener.disconnect();
    }
  });
});
