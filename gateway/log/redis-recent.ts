// The last events of a room in Redis: `recent`, one string that grows, and before it `older`, a stream of such strings by
// the last seq of each (append.lua makes them, and lets them go when they are committed). Read here, for redis.ts, in
// steps and as far as asked for: what the store does not have yet may be very much.

import { frameEnds } from '../../core/protocol/slice.ts';
import { readSeq } from '../../core/protocol/stamp.ts';
import { StoreUnavailable } from '../store/store.ts';
import type { LogPage } from './log.ts';
import type { RedisConnection } from './redis-connection.ts';
import type { RedisKeys } from './redis-keys.ts';

export interface Reading {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly options: {
    /** Of one part, about. */
    readonly recentBytes: number;
  };
}

/** Bytes of parts read in one step at most, or one part; the first step is one part, each next one twice as many. */
const stepBytes = 256 * 1024;
/** Parts become older, and go, while they are read; then it starts over. */
const attemptsMax = 5;
/** Parts of which single events are asked for side by side. */
const partsAtOnce = 8;
/** Events of members and rooms read in one step. */
const membershipStep = 500;

/** An entry of a stream: its id, and one field without a name. */
type Part = readonly [id: Buffer, fields: readonly [Buffer, Buffer]];

/**
 * Events after `seq`, at most `limit`, the last of them the one with which they exceed `bytesMax`; null where the log does
 * not reach back to `seq`.
 */
export async function readAfter(
  reading: Reading,
  room: string,
  seq: number,
  limit: number,
  bytesMax: number,
): Promise<readonly Uint8Array[] | null> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const events = await readAfterOnce(reading, room, seq, limit, bytesMax);
    if (events !== 'apart') return events;
  }
  throw tooFast(room);
}

async function readAfterOnce(
  reading: Reading,
  room: string,
  seq: number,
  limit: number,
  bytesMax: number,
): Promise<readonly Uint8Array[] | null | 'apart'> {
  const { connection, keys } = reading;
  let count = 1;
  const readParts = async (from: string) =>
    (await connection.call('XRANGE', keys.older(room), from, '+', 'COUNT', count)) as Part[];
  // The newest first: what becomes older in between is then there twice, not missing.
  const [newest, first] = await Promise.all([readNewest(reading, room), readParts(`${seq}-0`)]);
  const events: Uint8Array[] = [];
  let next: number | null = null;
  let bytes = 0;
  /** Takes what follows; false where it does not. */
  const take = (frames: Buffer): boolean => {
    let start = 0;
    for (const end of frameEnds(frames)) {
      const at = readSeq(frames, start);
      if (next !== null && at > next) return false;
      if (next === null || at === next) {
        next = at + 1;
        if (at > seq && events.length < limit && bytes <= bytesMax) {
          events.push(new Uint8Array(frames.subarray(start, end)));
          bytes += end - start;
        }
      }
      start = end;
    }
    return true;
  };
  let oldest: number | null = null;
  for (let parts = first; ; ) {
    for (const [, [, frames]] of parts) {
      oldest ??= readSeq(frames);
      if (oldest > seq + 1) return null;
      if (!take(frames)) return 'apart';
      if (events.length >= limit || bytes > bytesMax) return events;
    }
    const end = parts.at(-1)?.[0];
    if (end === undefined || parts.length < count) break;
    count = Math.min(count * 2, partsInStep(reading));
    parts = await readParts(`(${end}`);
  }
  if (newest !== null) {
    oldest ??= readSeq(newest);
    if (oldest > seq + 1) return null;
    if (!take(newest)) return 'apart';
  }
  return oldest === null ? null : events;
}

/**
 * The newest events below `before`, or of all, oldest first: at most `limit`, the first of them the one with which they
 * exceed `bytesMax`.
 */
export async function readBefore(
  reading: Reading,
  room: string,
  before: number | null,
  limit: number,
  bytesMax: number,
): Promise<LogPage> {
  const { connection, keys } = reading;
  const older = keys.older(room);
  let count = 1;
  // A part is named by its last seq: the first one from there on holds the event before `before`.
  const [newest, holding] = await Promise.all([
    readNewest(reading, room),
    before === null ? [] : connection.call('XRANGE', older, `${before - 1}-0`, '+', 'COUNT', 1),
  ]);
  const [holder] = holding as Part[];
  const events: Uint8Array[] = [];
  let next = before;
  let bytes = 0;
  /** Takes what stands before what is taken; false where that is not joined. */
  const take = (frames: Buffer): boolean => {
    const ends = frameEnds(frames);
    for (let i = ends.length - 1; i >= 0; i--) {
      const start = i === 0 ? 0 : (ends[i - 1] as number);
      const seq = readSeq(frames, start);
      if (next !== null && seq >= next) continue;
      if (events.length > 0 && next !== null && seq < next - 1) return false;
      if (events.length >= limit || bytes > bytesMax) break;
      events.push(new Uint8Array(frames.subarray(start, ends[i])));
      bytes += (ends[i] as number) - start;
      next = seq;
    }
    return true;
  };
  const answer = (isStart: boolean) => ({ events: events.reverse(), isStart });
  const isFull = () => events.length >= limit || bytes > bytesMax;
  if (holder === undefined) {
    if (newest !== null) take(newest);
  } else take(holder[1][1]);
  let end = holder === undefined ? '+' : `(${holder[0]}`;
  while (!isFull()) {
    const parts = (await connection.call('XREVRANGE', older, end, '-', 'COUNT', count)) as Part[];
    for (const [, [, frames]] of parts) if (!isFull() && !take(frames)) return answer(true);
    const last = parts.at(-1)?.[0];
    if (last === undefined || parts.length < count) return answer(!isFull());
    end = `(${last}`;
    count = Math.min(count * 2, partsInStep(reading));
  }
  return answer(false);
}

/** The oldest events that the log has of the room, of one part. */
export async function readOldest(reading: Reading, room: string): Promise<readonly Uint8Array[]> {
  const { connection, keys } = reading;
  const [newest, parts] = await Promise.all([
    readNewest(reading, room),
    connection.call('XRANGE', keys.older(room), '-', '+', 'COUNT', 1) as Promise<Part[]>,
  ]);
  const frames = parts[0]?.[1][1] ?? newest;
  return frames === null ? [] : split(frames);
}

/** The events at these places, ascending; null where one of them is no longer there. */
export async function readEvents(
  reading: Reading,
  room: string,
  seqs: readonly number[],
): Promise<readonly Uint8Array[] | null> {
  const { connection, keys } = reading;
  const wanted = new Set(seqs);
  const left = [...wanted].sort((a, b) => a - b);
  const found = new Map<number, Uint8Array>();
  const take = (frames: Buffer) => {
    let start = 0;
    for (const end of frameEnds(frames)) {
      const seq = readSeq(frames, start);
      if (wanted.has(seq)) found.set(seq, new Uint8Array(frames.subarray(start, end)));
      start = end;
    }
  };
  // The newest first, as above; most changes are in it.
  const newest = left.length === 0 ? null : await readNewest(reading, room);
  if (newest !== null) take(newest);
  let missing = left.filter((seq) => !found.has(seq));
  while (missing.length > 0) {
    // Several may lie in the same part.
    const stride = Math.max(1, Math.ceil(missing.length / partsAtOnce));
    const some = missing.filter((_, i) => i % stride === 0);
    const parts = await Promise.all(
      some.map((seq) => connection.call('XRANGE', keys.older(room), `${seq}-0`, '+', 'COUNT', 1)),
    );
    for (const [part] of parts as Part[][]) if (part !== undefined) take(part[1][1]);
    if (some.some((seq) => !found.has(seq))) return null;
    missing = missing.filter((seq) => !found.has(seq));
  }
  return left.map((seq) => found.get(seq) as Uint8Array);
}

/** Joins, leaves and changes of the room after `seq`, which the store has not; oldest first, in steps. */
export async function readMembership(
  { connection, keys }: Reading,
  room: string,
  seq: number,
): Promise<readonly Uint8Array[]> {
  const entries = await connection.call(
    'XRANGE',
    keys.membership(room),
    `(${seq}-0`,
    '+',
    'COUNT',
    membershipStep,
  );
  return (entries as Part[]).map(([, [, frame]]) => new Uint8Array(frame));
}

function readNewest({ connection, keys }: Reading, room: string): Promise<Buffer | null> {
  return connection.call('GET', keys.recent(room)) as Promise<Buffer | null>;
}

function partsInStep({ options }: Reading): number {
  return Math.max(1, Math.floor(stepBytes / options.recentBytes));
}

function split(frames: Buffer): Uint8Array[] {
  let start = 0;
  return frameEnds(frames).map((end) => {
    const event = new Uint8Array(frames.subarray(start, end));
    start = end;
    return event;
  });
}

function tooFast(room: string): StoreUnavailable {
  return new StoreUnavailable(`the last events of ${room} change faster than they can be read`);
}
