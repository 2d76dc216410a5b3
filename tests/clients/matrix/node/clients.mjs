// Each Redis client of Node, connected to a port: what a session store gets handed.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

export const clients = {
  'redis-2': (port) => quiet(require('redis-2').createClient({ host: '127.0.0.1', port })),
  'redis-3': (port) => quiet(require('redis-3').createClient({ host: '127.0.0.1', port })),
  'redis-4': async (port, mode) => nodeRedis(await import('redis-4'), port, { legacyMode: mode === 'legacy' }),
  'redis-5': async (port) => nodeRedis(await import('redis-5'), port),
  'redis-6': async (port) => nodeRedis(await import('redis-6'), port),
  'ioredis-4': (port) => ioredis(require('ioredis-4'), port),
  'ioredis-5': async (port) => ioredis((await import('ioredis-5')).Redis, port),
  'ioredis-6': async (port) => ioredis((await import('ioredis-6')).Redis, port),
};

async function nodeRedis({ createClient }, port, options = {}) {
  const client = quiet(createClient({ ...options, socket: { host: '127.0.0.1', port } }));
  await client.connect();
  return client;
}

function ioredis(Redis, port) {
  return quiet(new Redis({ host: '127.0.0.1', port }));
}

// A lost connection is part of the play; without a listener it would end the process.
function quiet(client) {
  return client.on('error', (error) => console.error(`client: ${error.message}`));
}
