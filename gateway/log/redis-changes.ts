// What edits, deletes and reactions the log in Redis has of given messages, wherever they stand behind them. append.lua
// notes the seq of the last one of each target in `changes`, in buckets that stay until all in them is committed and
// DEDUPE_SECONDS old; the events themselves are read by seq. Made by redis.ts; it never reads more than it is asked for.

import { encodeMessageDeleted, encodeReaction } from '../../core/protocol/encode.ts';
import { decodeEvent } from '../../core/protocol/events.ts';
import { eventOps } from '../../core/protocol/ops.ts';
import { fieldBytes } from '../../core/protocol/slice.ts';
import { readOp, readSeq } from '../../core/protocol/stamp.ts';
import type { Head, LogChanges } from './log.ts';
import type { ShardKeys } from './redis-keys.ts';
import { type Reading, readAfter, readEvents } from './redis-recent.ts';

/** Fields of a bucket asked for in one call. */
const fieldsAtOnce = 500;
/** What the log keeps although the store has it is some parts: read in steps of so many bytes. */
const committedStepBytes = 256 * 1024;

interface Wanted {
  /** Whether an event that is an edit, a delete or a reaction is asked for. */
  isMeant(event: Uint8Array): boolean;
  readonly fields: readonly Buffer[];
}

export class RedisChanges implements LogChanges {
  readonly #reading: Reading;
  readonly #room: string;
  readonly #head: Head;
  readonly #keys: ShardKeys;
  readonly #oldestBucket: string;

  private constructor(reading: Reading, room: string, head: Head, keys: ShardKeys, oldestBucket: string) {
    this.#reading = reading;
    this.#room = room;
    this.#head = head;
    this.#keys = keys;
    this.#oldestBucket = oldestBucket;
  }

  /** `head`: read before this. */
  static async open(reading: Reading, room: string, head: Head): Promise<RedisChanges> {
    const keys = reading.keys.shards[reading.keys.shardOf(room)] as ShardKeys;
    const [oldest = ''] = await readBuckets(reading, keys);
    return new RedisChanges(reading, room, head, keys, oldest);
  }

  of(targets: readonly number[], after: number | null): Promise<readonly Uint8Array[] | null> {
    const wanted = new Set(targets);
    return this.#find(after, {
      fields: [...wanted].flatMap((target) => {
        const bytes = fieldBytes(encodeMessageDeleted(this.#room, null, target), 5);
        return [eventOps.message_edited, eventOps.message_deleted].map((op) => this.#field(op, [bytes]));
      }),
      isMeant(bytes) {
        const op = readOp(bytes);
        if (op !== eventOps.message_edited && op !== eventOps.message_deleted) return false;
        const event = decodeEvent(bytes);
        return 'target' in event && wanted.has(event.target);
      },
    });
  }

  reactions(
    target: number,
    user: string,
    emoji: string,
    after: number | null,
  ): Promise<readonly Uint8Array[] | null> {
    const frame = encodeReaction(this.#room, user, target, emoji, true);
    return this.#find(after, {
      fields: [
        this.#field(
          eventOps.reaction,
          [4, 5, 6].map((index) => fieldBytes(frame, index)),
        ),
      ],
      isMeant(bytes) {
        if (readOp(bytes) !== eventOps.reaction) return false;
        const event = decodeEvent(bytes);
        if (event.op !== eventOps.reaction) return false;
        return event.target === target && event.from === user && event.emoji === emoji;
      },
    });
  }

  /** As append.lua makes it. */
  #field(op: number, parts: readonly Uint8Array[]): Buffer {
    return Buffer.concat([Buffer.from([op]), ...parts, Buffer.from(this.#room)]);
  }

  async #find(after: number | null, wanted: Wanted): Promise<readonly Uint8Array[] | null> {
    if (wanted.fields.length === 0) return [];
    const committed = after === null ? [] : await this.#findCommitted(after, wanted);
    const { seq, committed: stored } = this.#head;
    const waiting = seq > stored ? await this.#findWaiting(wanted.fields) : [];
    return committed === null || waiting === null ? null : [...committed, ...waiting];
  }

  /** Those after `after` that the log has although the store has them too; null where it does not reach back. */
  async #findCommitted(after: number, wanted: Wanted): Promise<Uint8Array[] | null> {
    const found: Uint8Array[] = [];
    for (let last = after; last < this.#head.committed; ) {
      const limit = this.#head.committed - last;
      const events = await readAfter(this.#reading, this.#room, last, limit, committedStepBytes);
      if (events === null) return null;
      for (const event of events) if (wanted.isMeant(event)) found.push(event);
      const end = events.at(-1);
      if (end === undefined) return null;
      last = readSeq(end);
    }
    return found;
  }

  /** The last ones of which the store may not have been told; null where some of them may be forgotten by now. */
  async #findWaiting(fields: readonly Buffer[]): Promise<readonly Uint8Array[] | null> {
    const { connection } = this.#reading;
    const buckets = await readBuckets(this.#reading, this.#keys);
    const places = new Map<number, number>();
    for (const bucket of buckets) {
      for (let i = 0; i < fields.length; i += fieldsAtOnce) {
        const some = fields.slice(i, i + fieldsAtOnce);
        const key = `${this.#keys.prefix}changes:${bucket}`;
        const answer = (await connection.call('HMGET', key, ...some)) as (Buffer | null)[];
        answer.forEach((packed, at) => {
          const field = i + at;
          // Of deletes the first one counts, of all else the last.
          const isFirst = fields[field]?.[0] === eventOps.message_deleted && places.has(field);
          if (packed !== null && !isFirst) places.set(field, Number(packed.readBigUInt64BE()));
        });
      }
    }
    // What was there when this was opened has to be there still.
    if (((await readBuckets(this.#reading, this.#keys))[0] ?? '') !== this.#oldestBucket) return null;
    const seqs = [...places.values()].filter((seq) => seq > this.#head.committed);
    return readEvents(this.#reading, this.#room, seqs);
  }
}

/** When each bucket begins, oldest first. */
async function readBuckets({ connection }: Reading, { meta }: ShardKeys): Promise<readonly string[]> {
  const buckets = (await connection.call('HGET', meta, 'buckets')) as Buffer | null;
  return buckets === null ? [] : String(buckets).split(',');
}
