// What the plays showed, kept in results.json, and the README's table made from it.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const file = join(here, 'results.json');
const readme = join(here, '../../../README.md');
const START = '<!-- matrix:start -->';
const END = '<!-- matrix:end -->';

// What a library is called in results.json and in the names of the tests.
export function nameOf({ name, driver, client }) {
  const major = name === 'connect-redis' ? ` ${driver[1]}` : '';
  return `${name}${major}${client ? ` with ${client}` : ''}`;
}

export function entryOf(library, { versions, steps }) {
  return {
    how: library.how,
    versions,
    steps: Object.fromEntries(steps.map(({ step, result, keys }) => [step, { result, keys }])),
  };
}

export function readResults() {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
}

// What was not played this time stays as it is.
export function writeResults(libraries, seen) {
  const before = readResults();
  const entries = libraries.map((library) => [nameOf(library), seen.get(nameOf(library)) ?? before[nameOf(library)]]);
  const text = entries.filter(([, entry]) => entry).map(([name, entry]) => `${JSON.stringify(name)}: ${written(entry)}`);
  writeFileSync(file, `{\n${text.join(',\n')}\n}\n`);
}

// A step a line: what changes is then what a reader sees.
function written({ steps, ...head }) {
  const lines = Object.entries(steps).map(([step, seen]) => `    ${JSON.stringify(step)}: ${JSON.stringify(seen)}`);
  return `{${JSON.stringify(head).slice(1, -1)}, "steps": {\n${lines.join(',\n')}\n  }}`;
}

export function readmeIsBehind(libraries) {
  return readFileSync(readme, 'utf8') !== withTable(libraries);
}

export function writeReadme(libraries) {
  writeFileSync(readme, withTable(libraries));
}

function withTable(libraries) {
  const text = readFileSync(readme, 'utf8');
  const [before, rest] = [text.slice(0, text.indexOf(START)), text.slice(text.indexOf(END))];
  if (!text.includes(START) || !text.includes(END)) throw new Error(`the README has no ${START} and ${END}`);
  return `${before}${START}\n${table(libraries)}${rest}`;
}

function table(libraries) {
  const results = readResults();
  const lines = libraries.map((library) => row(library, results[nameOf(library)]));
  return ['| library | version | client | how | result |', '|---|---|---|---|---|', ...lines].join('\n') + '\n';
}

function row(library, entry) {
  if (!entry) return `| ${library.name} | | | | not played yet |`;
  const [own, ...others] = Object.entries(entry.versions);
  const version = own[1];
  const mode = library.client?.endsWith(' legacy') ? ' in legacy mode' : '';
  const client = others.map(([name, number]) => `${name} ${number}`).join(', ') + mode;
  return `| ${library.name} | ${version} | ${client} | ${entry.how} | ${result(entry)} |`;
}

function result({ steps }) {
  const failures = Object.entries(steps).flatMap(([step, seen]) => errorsIn(seen.result, step));
  const count = `${Object.keys(steps).length} steps`;
  const both = failures.length ? `; with either server, ${failures[0]}${failures.length > 1 ? `, and ${failures.length - 1} more` : ''}` : '';
  return `as redis-server: ${count}${both}`;
}

function errorsIn(value, path) {
  if (!value || typeof value !== 'object') return [];
  if (typeof value.error === 'string') return [`${path}: \`${value.error.split('\n')[0].replaceAll('|', '\\|').replaceAll('`', "'")}\``];
  return Object.entries(value).flatMap(([name, inner]) => errorsIn(inner, Array.isArray(value) ? path : `${path}, ${name}`));
}
