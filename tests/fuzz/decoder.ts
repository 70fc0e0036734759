// Fuzzes what stands between a hostile client and the gateway: scan.ts and codec.ts. Every message is judged by a slow
// scanner too, and msgpackr must find the same frames and the same values in what the scan accepts. At the end memory is
// measured: declared lengths must cost nothing, accepted frames a bounded number of bytes per byte.
//
//   bun tests/fuzz/decoder.ts --count 1000000             a fresh seed, printed
//   bun tests/fuzz/decoder.ts --seed 7 --count 20000      the same run again
//   bun tests/fuzz/decoder.ts --seed 7 --only 1234        one message of it, shown
//
// FUZZ_SEED and FUZZ_COUNT do the same. Ends with 1 at the first message that is wrong.

import { heapStats } from 'bun:jsc';
import { parseArgs } from 'node:util';
import { Unpackr } from 'msgpackr';
import { decodeFrame } from '../../core/protocol/codec.ts';
import { clientFields } from '../../core/protocol/frames.ts';
import { clientOps } from '../../core/protocol/ops.ts';
import { flagKey, flagNul, scanFrames } from '../../core/protocol/scan.ts';
import { makeMessage } from './frames.ts';
import { freshSeed } from './random.ts';
import { slowScan } from './slow-scan.ts';

const { values: args } = parseArgs({
  options: { seed: { type: 'string' }, count: { type: 'string' }, only: { type: 'string' } },
});
const seed = Number(args.seed ?? process.env.FUZZ_SEED ?? freshSeed());
const count = Number(args.count ?? process.env.FUZZ_COUNT ?? 20_000);

const toObjects = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });
const toMaps = new Unpackr({ useRecords: false, mapsAsObjects: false, int64AsType: 'number' });
const names = new Map(
  Object.entries(clientOps).map(([name, op]) => [op as number, name as keyof typeof clientFields]),
);

/** Whether a decoded value is the slow scanner's; maps may be objects. */
function same(value: unknown, slow: unknown): boolean {
  if (slow instanceof Map) {
    if (value instanceof Map) {
      if (value.size !== slow.size) return false;
      const left = [...value.entries()];
      return [...slow.entries()].every(
        ([key, item], i) => same(left[i]?.[0], key) && same(left[i]?.[1], item),
      );
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    if (Object.keys(value).length !== slow.size) return false;
    for (const [key, item] of slow) {
      if (!Object.hasOwn(value, key as string)) return false;
      if (!same((value as Record<string, unknown>)[key as string], item)) return false;
    }
    return true;
  }
  if (Array.isArray(slow)) {
    return (
      Array.isArray(value) && value.length === slow.length && slow.every((item, i) => same(value[i], item))
    );
  }
  if (slow instanceof Uint8Array) return value instanceof Uint8Array && value.toHex() === slow.toHex();
  return Object.is(value, slow);
}

const tally = { accepted: 0, refused: 0, frames: 0, right: 0, wrong: 0, bytes: 0 };

/** What is wrong with the decoder for this message, or null. */
function judge(bytes: Uint8Array): string | null {
  const before = bytes.toHex();
  const slow = slowScan(bytes);
  const scan = scanFrames(bytes);
  tally.bytes += bytes.length;
  if (typeof slow === 'string' || typeof scan === 'string') {
    tally.refused++;
    if (typeof slow === typeof scan) return null;
    return `the scan says ${JSON.stringify(scan)}, the slow one ${JSON.stringify(slow)}`;
  }
  tally.accepted++;
  if (scan.count !== slow.length) return `${scan.count} frames, not ${slow.length}`;
  const values = slow.map((frame) => {
    const part = bytes.subarray(frame.start, frame.end);
    return frame.hasBadKey ? toMaps.unpack(part) : toObjects.unpack(part);
  });
  for (const [index, frame] of slow.entries()) {
    tally.frames++;
    const flags = (frame.hasNul ? flagNul : 0) | (frame.hasBadKey ? flagKey : 0);
    if (scan.ends[index] !== frame.end) return `frame ${index} ends at ${scan.ends[index]}, not ${frame.end}`;
    if (scan.flags[index] !== flags) return `frame ${index} has flags ${scan.flags[index]}, not ${flags}`;
    if (!same(values[index], frame.value)) return `frame ${index}: msgpackr reads another value`;
    const wrong = judgeFrame(bytes, index, frame.value, flags);
    if (wrong !== null) return `frame ${index}: ${wrong}`;
  }
  if (slow.every((frame) => !frame.hasBadKey)) {
    const all = bytes.length === 0 ? [] : (toObjects.unpackMultiple(bytes) as unknown[]);
    if (all.length !== slow.length) return `msgpackr finds ${all.length} frames, not ${slow.length}`;
  }
  return bytes.toHex() === before ? null : 'the bytes were changed';
}

function judgeFrame(
  bytes: Uint8Array,
  index: number,
  value: readonly unknown[],
  flags: number,
): string | null {
  const scan = scanFrames(bytes);
  if (typeof scan === 'string') return 'a second scan refuses it';
  const frame = decodeFrame(bytes, scan, index);
  const rid = value[1];
  const isRid = Number.isInteger(rid) && (rid as number) >= 0 && (rid as number) < 2 ** 32;
  if (frame.rid !== (isRid ? rid : 0)) return `rid ${frame.rid}, not ${String(rid)}`;
  if (frame.name === undefined) {
    tally.wrong++;
    return frame.refusal.code === 'BAD_REQUEST' ? null : `refused with ${frame.refusal.code}`;
  }
  tally.right++;
  if (flags !== 0) return 'accepted in spite of its flags';
  if (!isRid) return 'accepted without a rid';
  const name = names.get(value[0] as number);
  if (frame.name !== name) return `decoded as ${frame.name}, not ${name}`;
  const fields = Object.keys(clientFields[frame.name].properties);
  const record = frame as unknown as Record<string, unknown>;
  for (const [i, field] of fields.entries()) {
    const present = i + 2 < value.length;
    if (present !== field in record) return `${field} is ${present ? 'lost' : 'made up'}`;
    if (present && !same(record[field], value[i + 2])) return `${field} has another value`;
  }
  return null;
}

function run(index: number): boolean {
  const bytes = makeMessage(seed, index);
  let wrong: string | null;
  try {
    wrong = judge(bytes);
  } catch (error) {
    wrong = `thrown: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
  if (wrong === null) return true;
  console.error(`seed ${seed}, message ${index}: ${wrong}\n  ${bytes.toHex()}`);
  console.error(`again: bun tests/fuzz/decoder.ts --seed ${seed} --only ${index}`);
  return false;
}

/** Decodes what a scan accepts, as the gateway does. */
function decodeAll(bytes: Uint8Array): unknown {
  const scan = scanFrames(bytes);
  if (typeof scan === 'string') return scan;
  const { count: frames } = scan;
  const decoded: unknown[] = [];
  for (let i = 0; i < frames; i++) decoded.push(decodeFrame(bytes, scan, i));
  return decoded;
}

const hex = (text: string) => Uint8Array.fromHex(text.replaceAll(' ', ''));

/** Messages that declare far more than they hold. */
function hostileMessages(): Uint8Array[] {
  const messages = [hex(`91 ${'dd000fffff'.repeat(36)}`), hex(`920f ${'91'.repeat(100)}`)];
  for (const form of ['c6', 'db', 'dd', 'df']) {
    for (const length of ['0000ffff', '000fffff', '00ffffff', '0fffffff', '7fffffff', 'ffffffff']) {
      for (const around of ['930f', 'dd0fffffff0f', '920f91', '920f81a161', '920f9191919191']) {
        messages.push(hex(around + form + length), hex(`${around}${form}${length}${'00'.repeat(200)}`));
        messages.push(hex(around + (form + length).repeat(5)));
      }
    }
  }
  for (const form of ['c5', 'da', 'dc', 'de'])
    messages.push(hex(`920f${form}ffff`), hex(`920f91${form}ffff${'00'.repeat(99)}`));
  return messages;
}

/** KiB that the process's peak grew by while declared lengths were refused. */
function measureHostile(): number {
  const messages = hostileMessages();
  const round = (times: number) => {
    for (let i = 0; i < times; i++) {
      for (const message of messages) {
        const answer = decodeAll(message);
        if (typeof answer !== 'string') throw new Error(`accepted: ${message.toHex()}`);
      }
    }
  };
  round(20);
  Bun.gc(true);
  const before = process.resourceUsage().maxRSS;
  round(100);
  return process.resourceUsage().maxRSS - before;
}

/** Messages within the limits that decode into as much as possible: their name and bytes. */
function heaviestMessages(): [string, Uint8Array][] {
  const filled = (value: string, items = 1) => hex(`dc0ffe 0f ${value.repeat(Math.floor(4093 / items))}`);
  const counted = (value: string, items: number) => {
    const values = Math.floor(4093 / items);
    return hex(`dc${(values + 1).toString(16).padStart(4, '0')} 0f ${value.repeat(values)}`);
  };
  let keys = '';
  for (let i = 0; i < 2000; i++)
    keys += `a3${Buffer.from(i.toString(36).padStart(3, '0')).toString('hex')}c0`;
  return [
    ['empty maps', filled('80')],
    ['empty arrays', filled('90')],
    ['empty strings', filled('a0')],
    ['empty bins', filled('c400')],
    ['small floats', filled('cb3fb999999999999a')],
    ['maps of one', counted('81a161c0', 3)],
    ['arrays of one', counted('91c0', 2)],
    ['short frames', hex('910f'.repeat(2048))],
    ['a map of 2,000 keys', hex(`930f01 de07d0 ${keys}`)],
  ];
}

/** Bytes of heap that live on per byte of message, for each of the heaviest. */
function measureAccepted(): [string, number][] {
  return heaviestMessages().map(([name, bytes]) => {
    const keep: unknown[] = [];
    const used = () => {
      Bun.gc(true);
      const { heapSize, extraMemorySize } = heapStats();
      return heapSize + extraMemorySize;
    };
    // What msgpackr makes of it, which is what a frame is while its request is under way.
    const decode = () => {
      if (typeof scanFrames(bytes) === 'string') throw new Error(`refused: ${name}`);
      return toObjects.unpackMultiple(bytes);
    };
    decode();
    const before = used();
    for (let i = 0; i < 50; i++) keep.push(decode());
    const factor = (used() - before) / (keep.length * bytes.length);
    return [name, factor];
  });
}

/** Heap bytes left after 100,000 frames with map keys that never come again. */
function measureKeys(): number {
  const round = (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      const key = Buffer.from(`key-${i.toString(36).padStart(8, '0')}`).toString('hex');
      decodeAll(hex(`970501a172c41000000000000000000000000000000000a474657874a0 81ac${key}01`));
    }
  };
  round(0, 20_000);
  Bun.gc(true);
  const before = heapStats().heapSize;
  round(20_000, 120_000);
  Bun.gc(true);
  return heapStats().heapSize - before;
}

const hostileKibMax = 8 * 1024;
/** An empty map is one byte on the wire and an object in memory. */
const bytesPerByteMax = 150;
const keyBytesMax = 4 * 1024 * 1024;

function measure(): boolean {
  const hostile = measureHostile();
  const accepted = measureAccepted();
  const keys = measureKeys();
  console.log(
    `memory: hostile lengths ${hostile} KiB of peak, 100,000 fresh keys ${Math.round(keys / 1024)} KiB`,
  );
  for (const [name, factor] of accepted) console.log(`memory: ${name} ${factor.toFixed(1)} bytes per byte`);
  const failures = accepted.filter(([, factor]) => factor > bytesPerByteMax).map(([name]) => name);
  if (hostile > hostileKibMax) failures.push('hostile lengths');
  if (keys > keyBytesMax) failures.push('fresh keys');
  for (const failure of failures) console.error(`too much memory: ${failure}`);
  return failures.length === 0;
}

if (args.only !== undefined) {
  const index = Number(args.only);
  const bytes = makeMessage(seed, index);
  console.log(bytes.toHex(), '\nscan:', scanFrames(bytes), '\nslow:', slowScan(bytes));
  process.exit(run(index) ? 0 : 1);
}
console.log(`seed ${seed}, ${count} messages`);
// Before the fuzzing, whose own garbage would hide what the decoder takes.
let passed = measure();
for (let index = 0; index < count && passed; index++) passed = run(index);
console.log(
  `${tally.accepted} accepted (${tally.frames} frames: ${tally.right} right, ${tally.wrong} wrong), ${tally.refused} refused, ${tally.bytes} bytes`,
);
process.exit(passed ? 0 : 1);
