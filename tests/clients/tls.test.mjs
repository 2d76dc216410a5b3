// TLS from Node: rediss:// with node-redis and ioredis, of every version that the pairs use, with and without a certificate
// of the client's own.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { makeCertificates } from './support/certificates.mjs';
import { finish, freePort, removeFolder, temporaryFolder } from './support/processes.mjs';
import { Server, target } from './support/target.mjs';

describe(`TLS on ${target}`, () => {
  let folder, server, tlsPort, tls;

  before(async () => {
    folder = temporaryFolder('certificates');
    await makeCertificates(folder);
    tlsPort = await freePort();
    const path = (name) => join(folder, name);
    server = await Server.start({
      further: ['--tls-port', tlsPort, '--tls-cert-file', path('server.pem'), '--tls-key-file', path('server.key'), '--tls-ca-cert-file', path('authority.pem')],
    });
    const [ca, cert, key] = ['authority.pem', 'client.pem', 'client.key'].map((name) => readFileSync(path(name)));
    tls = { ca, cert, key };
  });
  after(async () => {
    await server?.stop();
    removeFolder(folder);
  });

  for (const version of ['redis-4', 'redis-5', 'redis-6']) {
    it(`${version} by rediss://`, async () => {
      const { createClient } = await import(version);
      const client = createClient({ url: `rediss://localhost:${tlsPort}`, socket: tls });
      client.on('error', (error) => console.log(`client error: ${error.message}`));
      await client.connect();
      try {
        await client.set('sess:node', '{}', { EX: 100 });
        assert.deepEqual(await Promise.all([client.get('sess:node'), client.del('sess:node')]), ['{}', 1]);
      } finally {
        await client.disconnect();
      }
    });
  }

  // Not 5: when the refusal comes after the handshake, as in TLS 1.3, it may wait for ever for the answer to its greeting.
  for (const version of ['redis-4', 'redis-6']) {
    it(`${version} without a certificate is refused`, async () => {
      const { createClient } = await import(version);
      const client = createClient({ url: `rediss://localhost:${tlsPort}`, socket: { ca: tls.ca, reconnectStrategy: false } });
      client.on('error', () => {});
      await assert.rejects(client.connect().then(() => client.ping()));
      if (client.isOpen) await client.disconnect();
    });
  }

  for (const version of ['ioredis-5', 'ioredis-6']) {
    it(`${version} by rediss://`, async () => {
      const { Redis } = await import(version);
      const client = new Redis(`rediss://localhost:${tlsPort}`, { tls });
      client.on('error', (error) => console.log(`client error: ${error.message}`));
      try {
        assert.equal(await client.set('sess:io', '{}', 'EX', 100), 'OK');
        const replies = await client.pipeline().get('sess:io').del('sess:io').exec();
        assert.deepEqual(replies, [[null, '{}'], [null, 1]]);
      } finally {
        client.disconnect();
      }
    });
  }

  it('redis-cli --tls', async () => {
    const files = ['--cacert', 'authority.pem', '--cert', 'client.pem', '--key', 'client.key'];
    const command = ['-p', String(tlsPort), '--tls', ...files, 'PING'];
    const { code, output } = await finish('redis-cli', command, { cwd: folder, within_ms: 30_000 });
    assert.deepEqual({ code, output }, { code: 0, output: 'PONG\n' });
  });
});
