// The last events of a room in Redis: `recent`, one string that grows, and before it `older`, a stream of such strings by
// the last seq of each (append.lua makes them, and lets them go when they are committed). Read here, for redis.ts, in
// steps: what the store does not have yet may be very much.

import { frameEnds } from '../../core/protocol/slice.ts';
import { readSeq } from '../../core/protocol/stamp.ts';
import { StoreUnavailable } from '../store/store.ts';
import type { RedisConnection } from './redis-connection.ts';
import type { RedisKeys } from './redis-keys.ts';

interface Reading {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly options: {
    /** Of one part, about. */
    readonly recentBytes: number;
  };
}

/** Bytes of parts read in one step, or one part. */
const stepBytes = 1024 * 1024;
/** Parts become older, and go, while they are read; then it starts over. */
const attemptsMax = 5;

/** Events after `seq`, at most `limit`; null where the log does not reach back to it. */
export async function readAfter(
  reading: Reading,
  room: string,
  seq: number,
  limit: number,
): Promise<readonly Uint8Array[] | null> {
  const events = await read(reading, room, seq, limit);
  const [oldest] = events;
  if (oldest === undefined || readSeq(oldest) > seq + 1) return null;
  return events.filter((event) => readSeq(event) > seq).slice(0, limit);
}

/** All events that the log has of the room. */
export function readRecent(reading: Reading, room: string): Promise<readonly Uint8Array[]> {
  return read(reading, room, 0, Number.POSITIVE_INFINITY);
}

/** Whole parts from the one that holds `seq`, until there are `limit` events after it. */
async function read(reading: Reading, room: string, seq: number, limit: number): Promise<Uint8Array[]> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const events = await readOnce(reading, room, seq, limit);
    if (events !== null) return events;
  }
  throw new StoreUnavailable(`the last events of ${room} change faster than they can be read`);
}

/** As `read`; null where what was read does not join up. */
async function readOnce(
  { connection, keys, options }: Reading,
  room: string,
  seq: number,
  limit: number,
): Promise<Uint8Array[] | null> {
  const count = Math.max(1, Math.floor(stepBytes / options.recentBytes));
  const readParts = async (from: string) =>
    (await connection.call('XRANGE', keys.older(room), from, '+', 'COUNT', count)) as Part[];
  // The newest first: what becomes older in between is then there twice, not missing.
  const [newest, first] = await Promise.all([
    connection.call('GET', keys.recent(room)) as Promise<Buffer | null>,
    readParts(`${seq}-0`),
  ]);
  const events: Uint8Array[] = [];
  for (let parts = first; ; ) {
    for (const [, [, frames]] of parts) if (!joinFrames(events, frames)) return null;
    const last = events.at(-1);
    if (last !== undefined && readSeq(last) - seq >= limit) return events;
    const end = parts.at(-1)?.[0];
    if (end === undefined || parts.length < count) break;
    parts = await readParts(`(${end}`);
  }
  return newest === null || joinFrames(events, newest) ? events : null;
}

/** An entry of `older`: its id, and one field without a name. */
type Part = readonly [id: Buffer, fields: readonly [Buffer, Buffer]];

/** Adds what follows on the last event, copied out of what was read; false where it does not. */
function joinFrames(events: Uint8Array[], frames: Buffer): boolean {
  let start = 0;
  for (const end of frameEnds(frames)) {
    const last = events.at(-1);
    const next = readSeq(frames, start);
    if (last !== undefined && next > readSeq(last) + 1) return false;
    if (last === undefined || next === readSeq(last) + 1) {
      events.push(new Uint8Array(frames.subarray(start, end)));
    }
    start = end;
  }
  return true;
}
