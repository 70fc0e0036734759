// The heads of rooms in Redis, and how a room that has none gets one: from what the store has reserved for it. Called by
// redis.ts for whoever opens a room, and by redis-append.ts for appends to a room that Redis has forgotten.

import { encodeEpochStarted } from '../../core/protocol/encode.ts';
import { type StoredHead, StoreUnavailable } from '../store/store.ts';
import type { Head } from './log.ts';
import { adoptionDoubtMs } from './redis-doubt.ts';
import type { ShardKeys } from './redis-keys.ts';
import type { RedisLogParts } from './redis-parts.ts';
import { asUnavailable, type Patience, retryForMs } from './redis-patience.ts';

/** A head that is being seeded by somebody else is asked for again. */
const seedAttemptsMax = 5;
const noHead: Head = { epoch: 1, seq: 0, messages: 0, committed: 0 };
/** Stands for the last entry of a wal that was empty. */
const noWalId = '0-0';

export class RedisHeads {
  readonly #parts: RedisLogParts;
  readonly #patience: Patience;
  /** By shard: the one that rooms here were opened under. */
  readonly #incarnations: (string | undefined)[] = [];

  constructor(parts: RedisLogParts, patience: Patience) {
    this.#parts = parts;
    this.#patience = patience;
  }

  async open(room: string): Promise<Head | null> {
    try {
      const [head] = await this.read([room]);
      const shard = this.#parts.keys.shardOf(room);
      this.#incarnations[shard] ??= (await this.#parts.scripts.adopted(shard)).incarnation;
      return head ?? (await this.#seedMissing(room));
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  async heads(rooms: readonly string[]): Promise<readonly Head[]> {
    try {
      const heads = await this.read(rooms);
      const missing = rooms.filter((_, i) => heads[i] === null);
      // What the log has forgotten is as the store knows it.
      const stored = missing.length > 0 ? await this.#parts.store.heads(missing) : [];
      const byRoom = new Map(missing.map((room, i) => [room, stored[i]]));
      return rooms.map((room, i) => heads[i] ?? fromStore(byRoom.get(room)));
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  /** Null for rooms without a head in Redis. */
  async read(rooms: readonly string[]): Promise<(Head | null)[]> {
    const { keys, scripts } = this.#parts;
    const byShard = new Map<number, number[]>();
    rooms.forEach((room, i) => {
      const shard = keys.shardOf(room);
      const list = byShard.get(shard);
      if (list === undefined) byShard.set(shard, [i]);
      else list.push(i);
    });
    const heads: (Head | null)[] = rooms.map(() => null);
    await Promise.all(
      [...byShard].map(async ([shard, indexes]) => {
        const names = indexes.map((i) => rooms[i] as string);
        const packed = await scripts.heads(shard, names);
        packed.forEach((head, i) => {
          if (head !== null) heads[indexes[i] as number] = readHead(head);
        });
      }),
    );
    return heads;
  }

  /** Whether the shard was adopted anew since this was asked last. */
  async isRenewed(shard: number): Promise<boolean> {
    const { incarnation } = await this.#parts.scripts.adopted(shard);
    const before = this.#incarnations[shard];
    this.#incarnations[shard] = incarnation;
    return before !== undefined && before !== incarnation;
  }

  async #seedMissing(room: string): Promise<Head | null> {
    const { keys, connection, random } = this.#parts;
    const { meta } = keys.shards[keys.shardOf(room)] as ShardKeys;
    const field = `miss:${room}`;
    await connection.call('HSETNX', meta, field, Buffer.from(random.bytes(8)).toString('hex'));
    const nonce = await connection.call('HGET', meta, field);
    // Another process has seeded it between the two calls.
    if (nonce === null) return this.open(room);
    return this.seed(room, String(nonce));
  }

  /**
   * Gives a room that has no head in the log one from the store: the next numbers where it is sure that nothing was lost,
   * else a new epoch far beyond them. Null where there is no such room. `nonce`: of the miss that this answers.
   */
  async seed(room: string, nonce: string): Promise<Head | null> {
    const { keys, connection } = this.#parts;
    const { meta } = keys.shards[keys.shardOf(room)] as ShardKeys;
    let head: Head | null = null;
    try {
      head = await this.#reserveAndSeed(room, nonce);
      return head;
    } finally {
      // A room that does not exist, or cannot be read now, leaves nothing behind.
      if (head === null) await connection.call('HDEL', meta, `miss:${room}`);
    }
  }

  async #reserveAndSeed(room: string, nonce: string): Promise<Head | null> {
    const { keys, connection, scripts, store } = this.#parts;
    const shard = keys.shardOf(room);
    const { prefix, meta } = keys.shards[shard] as ShardKeys;
    let miss = nonce;
    for (let attempt = 0; attempt < seedAttemptsMax; attempt++) {
      const { incarnation, inherited } = await scripts.adopted(shard);
      await this.#untilStored(shard, inherited);
      const reserved = await store.reserveEpoch(room, incarnation);
      if (reserved === null) return null;
      const { epoch, base, isContinued } = reserved;
      const [stored] = await store.heads([room]);
      const answer = await scripts.seed(shard, room, [
        prefix,
        connection.publishCommand,
        room,
        miss,
        incarnation,
        epoch,
        base,
        stored?.ts ?? 0,
        stored?.messages ?? 0,
        isContinued ? '' : encodeEpochStarted(room, epoch),
        adoptionDoubtMs,
      ]);
      if (String(answer[0]) === 'ok') return readHead(answer[1] as Buffer);
      const [head] = await this.read([room]);
      if (head) return head;
      const again = await connection.call('HGET', meta, `miss:${room}`);
      if (again === null) return this.#seedMissing(room);
      miss = String(again);
    }
    throw new StoreUnavailable(`the room ${room} could not be given a head`);
  }

  /**
   * What the wal held when the shard was adopted has its place before the new epoch: readers who begin there page
   * backwards from it, and must not find a hole.
   */
  async #untilStored(shard: number, walId: string): Promise<void> {
    if (walId === noWalId) return;
    const { connection, keys, clock } = this.#parts;
    const { wal } = keys.shards[shard] as ShardKeys;
    const until = clock.now() + retryForMs;
    for (;;) {
      const left = (await connection.call('XRANGE', wal, '-', walId, 'COUNT', 1)) as unknown[];
      if (left.length === 0) return;
      if (clock.now() >= until) throw new StoreUnavailable('what the log had before is not stored yet');
      await this.#patience.pause();
    }
  }
}

function fromStore(head: StoredHead | undefined): Head {
  return head === undefined ? noHead : { ...head, committed: head.seq };
}

/** Starts with '>ddddd': epoch, seq, ts, committed seq, messages. */
function readHead(packed: Buffer): Head {
  return {
    epoch: packed.readDoubleBE(0),
    seq: packed.readDoubleBE(8),
    committed: packed.readDoubleBE(24),
    messages: packed.readDoubleBE(32),
  };
}
