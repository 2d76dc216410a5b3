// Every process and folder that a test makes is registered here, so that none outlives it, however it ends.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const running = new Set();
const folders = new Set();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

// Starts a child that the kernel kills with us, should this process itself be killed by SIGKILL. `asUser` drops root.
export function start(command, args, { asUser, dyingSignal = 'KILL', ...options } = {}) {
  const drop = asUser ? [`--reuid=${asUser}`, `--regid=${asUser}`, '--init-groups'] : [];
  const child = spawn('setpriv', ['--pdeathsig', dyingSignal, ...drop, '--', command, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    ...options,
  });
  child.output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8');
    stream?.on('data', (text) => { child.output = (child.output + text).slice(-200_000); });
  }
  child.stdin?.on('error', () => {});
  running.add(child);
  child.ended = new Promise((resolve) => {
    child.once('error', (error) => { running.delete(child); child.output += error.message; resolve({ code: 127 }); });
    child.once('close', (code, signal) => { running.delete(child); resolve({ code, signal }); });
  });
  return child;
}

// Runs a command to its end. The answer holds what it printed; a command that does not end in time is killed.
export async function finish(command, args, { input, within_ms = 60_000, ...options } = {}) {
  const child = start(command, args, options);
  child.stdin.end(input ?? '');
  const alarm = setTimeout(() => { child.output += `\n(killed after ${within_ms} ms)`; child.kill('SIGKILL'); }, within_ms);
  const { code } = await child.ended;
  clearTimeout(alarm);
  return { code, output: child.output };
}

export async function stop(child, signal = 'SIGKILL', within_ms = 15_000) {
  if (!running.has(child)) return child.ended;
  child.kill(signal);
  const alarm = setTimeout(() => child.kill('SIGKILL'), within_ms);
  const ended = await child.ended;
  clearTimeout(alarm);
  return ended;
}

export function temporaryFolder(name) {
  const folder = mkdtempSync(join(tmpdir(), `sojourn-${name}-`));
  chmodSync(folder, 0o777);
  folders.add(folder);
  return folder;
}

export function removeFolder(folder) {
  folders.delete(folder);
  rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
}

// Below the kernel's range of outgoing ports (32768 up): while a killed server is down, no connection may take its port.
const PORT_MIN = 20_000;
const PORT_MAX = 32_000;

export async function freePort() {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port between ${PORT_MIN} and ${PORT_MAX}`);
}

async function isFree(port) {
  const listener = createServer();
  listener.listen(port, '127.0.0.1');
  try {
    await once(listener, 'listening');
  } catch {
    return false;
  }
  listener.close();
  await once(listener, 'close');
  return true;
}
