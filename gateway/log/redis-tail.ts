// The tail of the log in Redis: leases, the front of each shard's wal, committed marks, dead letters. Implements tail.ts
// for the flusher.

import type { Random } from '../../core/clock.ts';
import { decodeEvent } from '../../core/protocol/events.ts';
import { eventOps } from '../../core/protocol/ops.ts';
import { frameEnds } from '../../core/protocol/slice.ts';
import { readOp, readSeq } from '../../core/protocol/stamp.ts';
import type { StoredEvent } from '../store/store.ts';
import type { RedisConnection } from './redis-connection.ts';
import { Gathered } from './redis-gathered.ts';
import type { RedisKeys, ShardKeys } from './redis-keys.ts';
import type { CommittedFront, RedisScripts } from './redis-scripts.ts';
import type { Leases, Tail, TailBatch } from './tail.ts';

/** The leases of a process that says nothing pass on after this long. */
const leaseMs = 5000;
/** Entries read at once; each may hold a whole batch of appends. */
const entriesRead = 16;
/** Shards are read in one call up to so many bytes, as a script copies what it answers; the others one by one. */
const gatheredBytesMax = 256 * 1024;
/** '>I4I8' for each room of an entry: how many frames, and how many messages the room had before them. */
const groupBytes = 12;
/** Heads looked at in one step of a sweep. */
const sweepCount = 200;
/** Dead letters kept for a shard. */
const deadLettersMax = 10_000;

const releaseText = `for i = 2, #ARGV do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end`;

/** A full Redis takes it as well: what waits behind the event has to be trimmed. */
const parkText = `#!lua flags=allow-oom
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'frame', ARGV[2], 'number', ARGV[3], 'reason', ARGV[4])`;

/** The id of no entry. */
const noWalId = '0-0';

export interface RedisTailParts {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly scripts: RedisScripts;
  readonly random: Random;
  /** The name of this process, which is that of an earlier one where it was started again. */
  readonly server: string;
  readonly dedupeSeconds: number;
  readonly recentTtlSeconds: number;
}

/** Incarnation of a shard, and entries of its wal: id, fields with their names. */
type Front = [Buffer | null, [Buffer, Buffer[]][]];

export class RedisTail implements Tail {
  readonly shards: number;
  readonly #parts: RedisTailParts;
  /** This process and no other, whatever it is named. */
  readonly #owner: string;
  #hasMet = false;
  readonly #fronts: Gathered<number, Front>;
  readonly #trims: Gathered<CommittedFront, number>;
  readonly #watchers = new Map<number, (isAwaited: boolean) => void>();

  constructor(parts: RedisTailParts) {
    this.#parts = parts;
    this.#owner = `${parts.server}:${Buffer.from(parts.random.bytes(8)).toString('hex')}`;
    this.shards = parts.keys.shards.length;
    this.#fronts = new Gathered((shards) => this.#readFronts(shards));
    this.#trims = new Gathered((fronts) => parts.scripts.committed(parts.dedupeSeconds, fronts));
  }

  get isOnDisk(): boolean {
    return this.#parts.connection.answerLevel >= 2;
  }

  async meet(wanted: readonly number[]): Promise<Leases> {
    const { keys, scripts } = this.#parts;
    const args = [this.#owner, leaseMs, this.#hasMet ? '' : 'first', ...wanted];
    const [processes, mine, others, namesakes] = await scripts.leases([keys.gateways, keys.leases], args);
    this.#hasMet = true;
    const own = readShards(mine);
    const taken = readShards(others);
    const all = Array.from({ length: this.shards }, (_, shard) => shard);
    return {
      processes: Number(processes),
      mine: own,
      free: all.filter((shard) => !own.has(shard) && !taken.has(shard)),
      namesakes: Number(namesakes),
    };
  }

  async release(shards: readonly number[]): Promise<void> {
    if (shards.length === 0) return;
    const { connection, keys } = this.#parts;
    await connection.call('EVAL', releaseText, 1, keys.leases, this.#owner, ...shards);
  }

  async leave(): Promise<void> {
    await this.#parts.connection.call('ZREM', this.#parts.keys.gateways, this.#owner);
  }

  async watch(shard: number, onWake: (isAwaited: boolean) => void): Promise<void> {
    this.#watchers.set(shard, onWake);
    await this.#parts.connection.subscribe(this.#keys(shard).wakeChannel);
  }

  unwatch(shard: number): void {
    this.#watchers.delete(shard);
    this.#parts.connection.unsubscribe(this.#keys(shard).wakeChannel);
  }

  /** Called for every message of a wake channel. */
  onWake(shard: number, isAwaited: boolean): void {
    this.#watchers.get(shard)?.(isAwaited);
  }

  async waiting(shards: readonly number[]): Promise<readonly number[]> {
    const lengths = await this.#parts.connection.lengths(shards.map((shard) => this.#keys(shard).wal));
    return shards.filter((_, i) => (lengths[i] ?? 0) > 0);
  }

  async read(shard: number, eventsMax: number): Promise<TailBatch | null> {
    const [incarnation, entries] = await this.#fronts.call(shard);
    const events: StoredEvent[] = [];
    let bytes = 0;
    let taken = 0;
    for (const [, [, frames, , groups]] of entries) {
      if (frames === undefined || groups === undefined) throw new Error('an entry of the wal is malformed');
      const ends = frameEnds(frames);
      if (events.length > 0 && events.length + ends.length > eventsMax) break;
      bytes += frames.length + groups.length;
      pushNumbered(events, frames, ends, groups);
      taken++;
    }
    const first = entries[0];
    const last = entries[taken - 1];
    if (first === undefined || last === undefined) return null;
    const more = taken < entries.length || entries.length === entriesRead;
    return {
      shard,
      incarnation: String(incarnation ?? ''),
      firstId: String(first[0]),
      lastId: String(last[0]),
      bytes,
      events,
      more,
    };
  }

  /** Of several shards in one call where that is possible, and as far as they are small. */
  async #readFronts(shards: readonly number[]): Promise<readonly Front[]> {
    const { connection, scripts } = this.#parts;
    const isOne = shards.length > 1 && !connection.facts.isCluster;
    const found = isOne
      ? ((await scripts.fronts(shards, entriesRead, gatheredBytesMax)) as (Front | null)[])
      : [];
    return Promise.all(shards.map((shard, i) => found[i] ?? this.#readFront(shard)));
  }

  async #readFront(shard: number): Promise<Front> {
    const { connection } = this.#parts;
    const { meta, wal } = this.#keys(shard);
    // In this order: what belongs to a later incarnation is read again, what belongs to an earlier one is not trimmed.
    return (await Promise.all([
      connection.call('HGET', meta, 'incarnation'),
      connection.call('XRANGE', wal, '-', '+', 'COUNT', entriesRead),
    ])) as Front;
  }

  async committed({ shard, incarnation, firstId, lastId, bytes, events }: TailBatch): Promise<number> {
    const seqs = new Map<string, number>();
    for (const event of events) {
      const { room } = decodeEvent(event.bytes);
      seqs.set(room, Math.max(seqs.get(room) ?? 0, readSeq(event.bytes)));
    }
    return this.#trims.call({ shard, front: [incarnation, firstId, lastId, bytes, events.length], seqs });
  }

  async park(room: string, event: StoredEvent, reason: string): Promise<void> {
    const { connection, keys } = this.#parts;
    const { deadLetters } = this.#keys(keys.shardOf(room));
    const args = [deadLettersMax, event.bytes, event.number, reason];
    await connection.call('EVAL', parkText, 1, deadLetters, ...args);
  }

  async sweep(shard: number): Promise<number> {
    const { connection, scripts, recentTtlSeconds } = this.#parts;
    const { heads, meta, prefix } = this.#keys(shard);
    // Where nothing is committed any more, because Redis is full, ids would stay for ever.
    const incarnation = String((await connection.call('HGET', meta, 'incarnation')) ?? '');
    await this.#trims.call({ shard, front: [incarnation, noWalId, noWalId, 0, 0], seqs: new Map() });
    let cursor = '0';
    let swept = 0;
    do {
      const answer = (await connection.call('HSCAN', heads, cursor, 'COUNT', sweepCount)) as [
        Buffer,
        Buffer[],
      ];
      cursor = String(answer[0]);
      const rooms = answer[1].filter((_, i) => i % 2 === 0).map(String);
      if (rooms.length > 0) swept += await scripts.sweep(shard, [prefix, recentTtlSeconds, ...rooms]);
    } while (cursor !== '0');
    return swept;
  }

  #keys(shard: number): ShardKeys {
    return this.#parts.keys.shards[shard] as ShardKeys;
  }
}

function readShards(list: unknown): Set<number> {
  const text = String(list);
  return new Set(text === '' ? [] : text.split(',').map(Number));
}

/** Adds the events of one entry, each with the number of messages in its room up to it. */
function pushNumbered(events: StoredEvent[], frames: Buffer, ends: readonly number[], groups: Buffer): void {
  let start = 0;
  let index = 0;
  for (let at = 0; at < groups.length; at += groupBytes) {
    let number = Number(groups.readBigUInt64BE(at + 4));
    for (const end of ends.slice(index, index + groups.readUInt32BE(at))) {
      const bytes = frames.subarray(start, end);
      if (readOp(bytes) === eventOps.message) number++;
      events.push({ bytes, number });
      start = end;
      index++;
    }
  }
  if (index !== ends.length) throw new Error('an entry of the wal is malformed');
}
