// redis-benchmark's default tests: node redis_benchmark.mjs TEST,TEST… Its figures are no business of this table, but every
// test must come to its end without an error.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { again, crash, end, port, runs, step } from './act.mjs';

const run = promisify(execFile);
const tests = process.argv[2];
const { stdout } = await run('redis-benchmark', ['--version']);
await runs({ 'redis-benchmark': /\d+\.\d+\.\d+/.exec(stdout)[0] });

for (const [name, further] of Object.entries({ plain: [], pipelined: ['-P', '16'], 'in RESP3': ['-3'], 'with random keys': ['-r', '1000'] })) {
  await step(name, () => benchmark(further));
}
await crash();
await step('after the crash', () => again(() => benchmark([])));
await end();

async function benchmark(further) {
  const { stdout, stderr } = await run('redis-benchmark', ['-p', String(port), '-t', tests, '-n', '1000', '-c', '20', '--csv', ...further], { timeout: 30_000 });
  // With -r, which keys there are is a matter of luck.
  await run('redis-cli', ['-p', String(port), 'FLUSHALL']);
  const names = stdout.split('\n').slice(1).filter(Boolean).map((line) => line.split(',')[0].replaceAll('"', ''));
  return [names, ...stderr.split('\n').filter(Boolean)];
}
