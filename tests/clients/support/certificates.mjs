// Certificates by openssl: of an authority, of a server on this machine and of a client.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { finish } from './processes.mjs';

const extensions = `[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
subjectKeyIdentifier = hash
[issued]
subjectAltName = DNS:localhost, IP:127.0.0.1
`;

// Writes authority.pem, server.pem, server.key, client.pem and client.key into the folder.
export async function makeCertificates(folder) {
  writeFileSync(join(folder, 'extensions'), extensions);
  const openssl = async (...words) => {
    const { code, output } = await finish('openssl', words, { cwd: folder });
    if (code !== 0) throw new Error(`openssl ${words.join(' ')}:\n${output}`);
  };
  const request = (name, ...further) => openssl('req', '-new', '-config', 'extensions', '-subj', `/CN=${name}`, '-nodes',
    '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-keyout', `${name}.key`, ...further);
  await request('authority', '-x509', '-extensions', 'authority', '-days', '30', '-out', 'authority.pem');
  for (const [number, name] of ['server', 'client'].entries()) {
    await request(name, '-out', `${name}.csr`);
    await openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, '-days', '30', '-set_serial', String(number + 1),
      '-CA', 'authority.pem', '-CAkey', 'authority.key', '-extfile', 'extensions', '-extensions', 'issued');
  }
}
