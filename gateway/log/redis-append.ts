// Appends to one shard: while one call is in flight the next batch gathers. A call whose answer was lost is made again with
// the same ids, which the script recognises. Made by redis.ts, one for each shard; it settles each entry once.

import { StoreUnavailable } from '../store/store.ts';
import type { Append, Head } from './log.ts';
import { Commits, type WalPlace } from './redis-commits.ts';
import { Doubt } from './redis-doubt.ts';
import type { RedisHeads } from './redis-heads.ts';
import type { ShardKeys } from './redis-keys.ts';
import { packEntries } from './redis-packed.ts';
import type { RedisLogParts } from './redis-parts.ts';
import { type Patience, retryForMs } from './redis-patience.ts';
import type { BoundShard } from './redis-scripts.ts';
import type { RedisSync } from './redis-sync.ts';
import type { TurnEnd } from './redis-turn.ts';

/** Entries and bytes of one call. */
const batchEntriesMax = 256;
const batchBytesMax = 256 * 1024;
/** Turns of the event loop that a batch gathers at most. */
const gatherTurnsMax = 8;
/** Bytes that may wait for the calls of one shard; beyond it appends fail with UNAVAILABLE. */
const waitingBytesMax = 16 * 1024 * 1024;

/** Entries on their way through a call, less those that are settled. */
interface Work {
  entries: readonly Append[];
}

/** Where a call put its entries, and the connection that syncs as it was before the call; null where none did. */
interface Answered {
  readonly place: WalPlace;
  readonly synced: Synced | null;
}

interface Synced {
  readonly sync: RedisSync;
  readonly generation: number;
}

/** What a call answered for one entry. */
interface Placed {
  readonly outcome: 'new' | 'repeated' | 'conflict';
  readonly seq: number;
  readonly ts: number;
}

export class ShardAppender {
  readonly commits: Commits;
  readonly #parts: RedisLogParts;
  readonly #heads: RedisHeads;
  readonly #patience: Patience;
  readonly #turnEnd: TurnEnd;
  readonly #shard: number;
  readonly #onIdle: () => void;
  readonly #doubt: Doubt;
  #waiting: Append[] = [];
  /** So many of the first ones that wait were held back before. */
  #released = 0;
  #waitingBytes = 0;
  #isCalling = false;
  #isScheduled = false;

  constructor(
    parts: RedisLogParts,
    heads: RedisHeads,
    patience: Patience,
    turnEnd: TurnEnd,
    shard: number,
    onIdle: () => void,
  ) {
    this.#parts = parts;
    this.#heads = heads;
    this.#patience = patience;
    this.#turnEnd = turnEnd;
    this.#shard = shard;
    this.#onIdle = onIdle;
    this.commits = new Commits(parts, shard, onIdle);
    this.#doubt = new Doubt(parts, shard, { onReleased: (entries) => this.#release(entries), onIdle });
  }

  get isIdle(): boolean {
    return !this.#isCalling && this.#waiting.length === 0 && this.#doubt.isIdle && this.commits.isIdle;
  }

  append(entry: Append): void {
    const { connection, clock } = this.#parts;
    if (this.#waitingBytes + this.#doubt.heldBytes > waitingBytesMax || !connection.isReady) {
      clock.atTurnEnd(() => entry.fail('UNAVAILABLE'));
      return;
    }
    this.#waiting.push(entry);
    this.#waitingBytes += entry.bytes.length;
    this.#schedule();
  }

  /** Before all that came while they were held: a sender's messages keep their order. */
  #release(entries: readonly Append[]): void {
    this.#waiting.splice(this.#released, 0, ...entries);
    this.#released += entries.length;
    for (const { bytes } of entries) this.#waitingBytes += bytes.length;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isCalling) return;
    this.#isScheduled = true;
    this.#gather(0);
  }

  /**
   * Waits for a turn that brings nothing more, so that those who answer each other's messages share a call; else they fall
   * into two groups, each of which waits for the other's.
   */
  #gather(turns: number): void {
    const before = this.#waiting.length;
    this.#turnEnd.add(() => {
      const { length } = this.#waiting;
      if (length > before && length < batchEntriesMax && turns < gatherTurnsMax) this.#gather(turns + 1);
      else void this.#appendWaiting();
    });
  }

  async #appendWaiting(): Promise<void> {
    this.#isScheduled = false;
    this.#isCalling = true;
    const work: Work = { entries: this.#takeBatch() };
    try {
      await this.#appendBatch(work);
    } catch (err) {
      const entries = work.entries.length;
      this.#parts.logger.warn({ err, shard: this.#shard, entries }, 'a batch could not be appended');
      failWhere(work, () => true);
    }
    this.#isCalling = false;
    if (this.#waiting.length > 0) this.#schedule();
    else this.#onIdle();
  }

  #takeBatch(): Append[] {
    const waiting = this.#waiting;
    let bytes = 0;
    let count = 0;
    while (count < waiting.length && count < batchEntriesMax && bytes < batchBytesMax) {
      bytes += (waiting[count] as Append).bytes.length;
      count++;
    }
    this.#waitingBytes -= bytes;
    this.#released = Math.max(0, this.#released - count);
    if (count < waiting.length) return waiting.splice(0, count);
    this.#waiting = [];
    return waiting;
  }

  /** Appends and settles every entry, or holds it back; rejects with nothing settled of `work`. */
  async #appendBatch(work: Work): Promise<void> {
    const { clock, scripts, connection, logger } = this.#parts;
    const until = clock.now() + retryForMs;
    const started = performance.now();
    while (work.entries.length > 0) {
      // After a loss that this batch found out about, its ids are in doubt as well.
      const bound = await this.#patience.untilAnswered(() => scripts.adopted(this.#shard));
      work.entries = this.#doubt.holdBack(work.entries, bound);
      if (work.entries.length === 0) break;
      const { sync } = connection;
      const synced = sync && { sync, generation: sync.generation };
      const answer = await this.#call(bound, work.entries, until);
      const status = answer && String(answer[0]);
      if (answer === null) {
        // Nothing was looked up for what the shard is now.
        if (clock.now() >= until) throw new Error('the shard stays invalid');
        await this.#patience.pause();
      } else if (status === 'ok') {
        this.#parts.onAppended(work.entries.length, (performance.now() - started) / 1000);
        const { entries } = work;
        work.entries = [];
        const place = { id: String(answer[1]), incarnation: String(answer[2]) };
        this.#settleBatch(entries, { place, synced }, answer[3] as Buffer);
      } else if (status === 'full') {
        logger.error({ shard: this.#shard }, 'the log is full: the store does not keep up');
        failWhere(work, () => true);
      } else await this.#seedAll(work, answer.slice(1).map(String));
    }
  }

  /** Makes the call until it is answered; whoever hears no answer does not know whether it ran. Null: adopt first. */
  async #call(
    bound: BoundShard,
    entries: readonly Append[],
    until: number,
  ): Promise<readonly unknown[] | null> {
    const { keys, connection, scripts, options, random, logger } = this.#parts;
    const shard = this.#shard;
    const settings = [
      (keys.shards[shard] as ShardKeys).prefix,
      options.walBytesMax,
      options.recentBytes,
      options.dedupeSeconds,
      connection.publishCommand,
      Buffer.from(random.bytes(8)).toString('hex'),
      entries.some(({ level }) => level === 4) ? '1' : '',
    ];
    const args = packEntries(settings, entries);
    const rooms = new Set<string>();
    for (const { room } of entries) rooms.add(room);
    const answer = await this.#patience.untilAnswered(
      () => scripts.append(shard, bound, rooms, args),
      until,
      (err) => logger.debug({ err, shard }, 'an append is tried again'),
    );
    this.#patience.onAnswer();
    return answer;
  }

  /** `missing`: rooms without a head, each followed by the nonce of its miss. Entries of those that get none fail. */
  async #seedAll(work: Work, missing: readonly string[]): Promise<void> {
    for (let i = 0; i < missing.length; i += 2) {
      const room = missing[i] as string;
      let head: Head | null = null;
      try {
        head = await this.#heads.seed(room, missing[i + 1] as string);
      } catch (err) {
        if (!(err instanceof StoreUnavailable)) throw err;
        this.#parts.logger.warn({ err, room }, 'a room could not be given a head');
      }
      if (head === null) failWhere(work, (entry) => entry.room === room);
    }
  }

  #settleBatch(batch: readonly Append[], { place, synced }: Answered, packed: Buffer): void {
    const { answerLevel } = this.#parts.connection;
    batch.forEach((entry, i) => {
      const { outcome, seq, ts } = readPlaced(packed, i);
      const isRepeated = outcome === 'repeated';
      if (outcome === 'conflict') entry.fail('CONFLICT');
      else if (entry.level === 2 && answerLevel < 2 && synced !== null) {
        this.#whenSynced(synced, entry, () => entry.settle(seq, ts, 2, isRepeated));
      } else if (entry.level <= answerLevel) entry.settle(seq, ts, answerLevel, isRepeated);
      // Level 4, or 2 where that can no longer be told: what is committed is kept as well.
      else this.commits.whenCommitted(place, entry, () => entry.settle(seq, ts, 4, isRepeated));
    });
  }

  /** Level 2, where an answer does not mean it. */
  #whenSynced({ sync, generation }: Synced, entry: Append, settle: () => void): void {
    const { logger } = this.#parts;
    sync.wait(generation).then(settle, (err: unknown) => {
      logger.debug({ err, room: entry.room }, 'an append is in the log, but not known to be on disk');
      entry.fail('UNAVAILABLE');
    });
  }
}

function failWhere(work: Work, isMeant: (entry: Append) => boolean): void {
  const failed = work.entries.filter(isMeant);
  work.entries = work.entries.filter((entry) => !isMeant(entry));
  for (const entry of failed) entry.fail('UNAVAILABLE');
}

const two32 = 0x1_0000_0000;

/** '>I8BI8' for each entry. */
function readPlaced(packed: Buffer, index: number): Placed {
  const at = index * 17;
  const code = packed.readUInt8(at + 8);
  return {
    outcome: code === 1 ? 'repeated' : code === 2 ? 'conflict' : 'new',
    seq: packed.readUInt32BE(at) * two32 + packed.readUInt32BE(at + 4),
    ts: packed.readUInt32BE(at + 9) * two32 + packed.readUInt32BE(at + 13),
  };
}
