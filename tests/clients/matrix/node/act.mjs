// A driver's side of the talk that play.mjs describes.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const port = Number(process.env.REDIS_PORT);

const packages = join(dirname(fileURLToPath(import.meta.url)), '../../node_modules');
const heard = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// Some libraries let a promise go unheard when their client fails; that is theirs, and the steps show what came of it.
process.on('unhandledRejection', (error) => console.error(`unheard: ${error?.message ?? error}`));

async function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
  await heard.next();
}

// The folders of packages, such as connect-redis-10, with the names and versions that they have in themselves.
export function uses(...folders) {
  return runs(Object.fromEntries(folders.map((folder) => {
    const { name, version } = JSON.parse(readFileSync(join(packages, folder, 'package.json'), 'utf8'));
    return [name, version];
  })));
}

export const runs = (versions) => say({ versions });

export async function step(name, act) {
  let result;
  try {
    result = await act();
  } catch (error) {
    result = { error: error.message };
  }
  await say({ step: name, result: result ?? null });
}

export const crash = () => say({ crash: true });

export async function end() {
  await say({ done: true });
  process.exit(0);
}

// After a crash a client may need a moment to connect again; what it answers then is what counts.
export async function again(act, within_ms = 15_000) {
  const deadline_ms = Date.now() + within_ms;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (Date.now() > deadline_ms) throw error;
      await pause(50);
    }
  }
}

export function pause(duration_ms) {
  return new Promise((resolve) => setTimeout(resolve, duration_ms));
}
