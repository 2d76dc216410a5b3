// Sends the commands of a script, which a library that cannot run here was seen or read to send: node replay.mjs FILE.
//
//   # why            a comment
//   == read          begins a step; its result is every reply in it
//   > HGETALL key    a command of the first connection; words as in redis-cli, with "quotes" and \x01 escapes
//   2> SUBSCRIBE ch  a command of another connection
//   2< 1             waits until so many pushed messages have arrived there, and takes them as results
//   crash            kill -9 of the server; every connection is made again
// {now+N} in a word is the Unix time in so many seconds, {now_ms+N} in milliseconds.
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crash, end, pause, port, runs, step } from './act.mjs';
import { Wire } from '../../support/wire.mjs';

const file = join(dirname(fileURLToPath(import.meta.url)), '../replay', process.argv[2]);
const ARRIVES_WITHIN_MS = 10_000;
// Redis promises no order for these.
const UNORDERED = new Set(['KEYS', 'SMEMBERS', 'HGETALL', 'HKEYS']);
let wires = new Map();

const text = readFileSync(file, 'utf8').split('\n').map((line) => line.trim()).filter((line) => line && !line.startsWith('#'));
const [, version] = /^version (.+)$/.exec(text.shift()) ?? [];
if (!version) throw new Error(`${basename(file)} must begin with "version TEXT": of the library whose commands these are`);
await runs({ [basename(file, '.txt')]: version });
for (let at = 0; at < text.length;) {
  if (text[at] === 'crash') {
    for (const wire of wires.values()) wire.close();
    wires = new Map();
    await crash();
    at += 1;
    continue;
  }
  const name = text[at].replace(/^== /, '');
  const next = text.findIndex((line, later) => later > at && (line === 'crash' || line.startsWith('== ')));
  const lines = text.slice(at + 1, next < 0 ? text.length : next);
  await step(name, async () => {
    const replies = [];
    for (const line of lines) replies.push(...await play(line));
    return replies;
  });
  at = next < 0 ? text.length : next;
}
await end();

async function play(line) {
  const [, number, direction, rest] = /^(\d*)([<>]) (.+)$/.exec(line) ?? [];
  if (!direction) throw new Error(`not understood: ${line}`);
  const wire = await connection(number || '1');
  if (direction === '<') return arrived(wire, Number(rest));
  const words = split(rest);
  try {
    const reply = await wire.call(...words);
    return [Array.isArray(reply) && UNORDERED.has(words[0].toString().toUpperCase()) ? ordered(reply, words[0]) : shown(reply)];
  } catch (error) {
    return [`-${error.message}`];
  }
}

async function connection(number) {
  if (!wires.has(number)) wires.set(number, await Wire.open(port, { encoding: 'latin1' }));
  return wires.get(number);
}

async function arrived(wire, count) {
  const deadline_ms = Date.now() + ARRIVES_WITHIN_MS;
  while (wire.pushed.length < count && Date.now() < deadline_ms) await pause(10);
  return wire.pushed.splice(0, count);
}

// An error inside an array, as EXEC answers it, has no JSON form of its own.
function shown(reply) {
  if (reply instanceof Error) return `-${reply.message}`;
  return Array.isArray(reply) ? reply.map(shown) : reply;
}

function ordered(reply, command) {
  if (command.toString().toUpperCase() !== 'HGETALL') return reply.sort();
  const pairs = Array.from({ length: reply.length / 2 }, (_, at) => [reply[2 * at], reply[2 * at + 1]]);
  return pairs.sort(([a], [b]) => (a < b ? -1 : 1));
}

function split(line) {
  const words = line.match(/"(?:[^"\\]|\\.)*"|\S+/g);
  return words.map((word) => bytesOf(word.startsWith('"') ? word.slice(1, -1) : word));
}

function bytesOf(word) {
  const timed = word
    .replace(/\{now\+(\d+)\}/g, (_, seconds) => String(Math.floor(Date.now() / 1000) + Number(seconds)))
    .replace(/\{now_ms\+(\d+)\}/g, (_, ms) => String(Date.now() + Number(ms)));
  const escapes = { n: '\n', r: '\r', t: '\t' };
  const plain = timed.replace(/\\(x([0-9a-f]{2})|(.))/gi, (_, _all, hex, one) => (hex ? String.fromCharCode(parseInt(hex, 16)) : escapes[one] ?? one));
  return Buffer.from(plain, 'latin1');
}
