// The log of any number of processes, in Redis: rooms map to shards, one call appends a batch of one shard, numbers it and
// publishes it. Implements log.ts. While one call of a shard is in flight its next batch gathers. A call whose answer was
// lost is made again with the same ids, which the script recognises.

import type { Clock, Random, Timer } from '../../core/clock.ts';
import { encodeEpochStarted } from '../../core/protocol/encode.ts';
import type { Level } from '../../core/protocol/frames.ts';
import { idAheadMsMax } from '../../core/protocol/limits.ts';
import { eventOps } from '../../core/protocol/ops.ts';
import { frameEnds } from '../../core/protocol/slice.ts';
import { readOp, readSeq } from '../../core/protocol/stamp.ts';
import { uuidTime } from '../../core/uuid.ts';
import type { Logger } from '../logger.ts';
import { type FoundId, type Store, type StoredHead, StoreUnavailable } from '../store/store.ts';
import type { Append, Head, Log, LogListener } from './log.ts';
import type { RedisConnection } from './redis-connection.ts';
import type { RedisKeys, ShardKeys } from './redis-keys.ts';
import type { Adopted, RedisScripts } from './redis-scripts.ts';

/** Entries and bytes of one call. */
const batchEntriesMax = 256;
const batchBytesMax = 256 * 1024;
/** Bytes that may wait for the calls of one shard; beyond it appends fail with UNAVAILABLE. */
const waitingBytesMax = 16 * 1024 * 1024;
/** How long a batch whose answer was lost is tried again before its senders are told UNAVAILABLE. */
const retryForMs = 4000;
const retryPauseMs = 50;
/** Between two looks whether Redis answers. */
const probeMs = 2000;
/** How often the committed mark is read while somebody waits for it. */
const committedPollMs = 1000;
/** Level 4 is waited for at most so long. */
const committedWaitMs = 10_000;
/** An id made this long after a shard was adopted cannot have been appended before; twice the clocks' tolerance. */
const adoptionDoubtMs = idAheadMsMax * 2;
/** How long a log that closes waits for what is under way. */
const closeMs = 5000;
/** A head that is being seeded by somebody else is asked for again. */
const seedAttemptsMax = 5;

export interface RedisLogOptions {
  readonly walBytesMax: number;
  readonly recentBytes: number;
  readonly dedupeSeconds: number;
  /** Heads of quiet rooms are compared once in this time. */
  readonly heartbeatMs: number;
}

export interface RedisLogParts {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly scripts: RedisScripts;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly options: RedisLogOptions;
  onAppended(entries: number, seconds: number): void;
  /** A shard's wal is no longer empty. */
  onWake(shard: number): void;
}

interface ShardQueue {
  readonly shard: number;
  waiting: Append[];
  /** Of those that wait and those that are held. */
  waitingBytes: number;
  /** Ids in doubt, and what their senders sent behind them. */
  held: Held[];
  /** How many are held of each sender. */
  readonly heldOf: Map<string, number>;
  /** The incarnation under which an entry was held and let go. */
  readonly released: WeakMap<Append, string>;
  isLookingUp: boolean;
  isCalling: boolean;
  isScheduled: boolean;
  /** Who waits for level 4, by the id of the wal entry that holds his event; ascending. */
  committing: Committing[];
  isWatchingCommits: boolean;
  committed: WalPlace;
}

/** An entry of a wal, which counts for one incarnation of the shard only: after a loss ids say nothing of each other. */
interface WalPlace {
  readonly incarnation: string;
  readonly id: string;
}

interface Committing {
  readonly place: WalPlace;
  readonly entry: Append;
  readonly until: number;
  readonly settle: () => void;
}

interface Held {
  readonly entry: Append;
  readonly isInDoubt: boolean;
  readonly incarnation: string;
}

/** Entries on their way through a call, less those that are settled. */
interface Work {
  entries: readonly Append[];
}

/** Where a call put its entries, and the connection that syncs as it was before the call. */
interface Answered {
  readonly place: WalPlace;
  readonly generation: number;
}

/** What a call answered for one entry. */
interface Placed {
  readonly outcome: 'new' | 'repeated' | 'conflict';
  readonly seq: number;
  readonly ts: number;
}

export class RedisLog implements Log {
  readonly levels: readonly Level[];
  readonly #parts: RedisLogParts;
  /** What the answer of an append means. */
  readonly #answerLevel: Level;
  #listener: LogListener | null = null;
  readonly #queues: ShardQueue[];
  readonly #rooms = new Set<string>();
  readonly #comparing: Timer;
  readonly #probing: Timer;
  #fault: string | null = null;
  #calls = 0;
  #idle: (() => void)[] = [];

  constructor(parts: RedisLogParts) {
    this.#parts = parts;
    const { facts, sync } = parts.connection;
    this.#answerLevel = facts.isSynced ? 2 : 1;
    this.levels = facts.isSynced || sync !== null ? [1, 2, 4] : [1, 4];
    this.#queues = parts.keys.shards.map((_, shard) => ({
      shard,
      waiting: [],
      waitingBytes: 0,
      held: [],
      heldOf: new Map(),
      released: new WeakMap(),
      isLookingUp: false,
      isCalling: false,
      isScheduled: false,
      committing: [],
      isWatchingCommits: false,
      committed: { incarnation: '', id: '0-0' },
    }));
    this.#probing = parts.clock.every(probeMs, () => void this.#probe());
    this.#comparing = parts.clock.every(parts.options.heartbeatMs / parts.keys.shards.length, () =>
      this.#compareNextShard(),
    );
  }

  listen(listener: LogListener): void {
    this.#listener = listener;
  }

  // Appending.

  append(entry: Append): void {
    const queue = this.#queues[this.#parts.keys.shardOf(entry.room)] as ShardQueue;
    if (queue.waitingBytes > waitingBytesMax || !this.#parts.connection.isReady) {
      this.#parts.clock.atTurnEnd(() => entry.fail('UNAVAILABLE'));
      return;
    }
    queue.waiting.push(entry);
    queue.waitingBytes += entry.bytes.length;
    this.#schedule(queue);
  }

  #schedule(queue: ShardQueue): void {
    if (queue.isScheduled || queue.isCalling) return;
    queue.isScheduled = true;
    this.#parts.clock.atTurnEnd(() => {
      queue.isScheduled = false;
      void this.#appendWaiting(queue);
    });
  }

  async #appendWaiting(queue: ShardQueue): Promise<void> {
    if (queue.isCalling) return;
    queue.isCalling = true;
    this.#calls++;
    while (queue.waiting.length > 0) {
      const work: Work = { entries: takeBatch(queue) };
      try {
        await this.#appendBatch(queue, work);
      } catch (err) {
        const entries = work.entries.length;
        this.#parts.logger.warn({ err, shard: queue.shard, entries }, 'a batch could not be appended');
        failWhere(work, () => true);
      }
    }
    queue.isCalling = false;
    this.#calls--;
    this.#tellIdle();
  }

  /** Appends and settles every entry, or holds it back; rejects with nothing settled of `work`. */
  async #appendBatch(queue: ShardQueue, work: Work): Promise<void> {
    const { clock, scripts } = this.#parts;
    const until = clock.now() + retryForMs;
    const started = performance.now();
    while (work.entries.length > 0) {
      // After a loss that this batch found out about, its ids are in doubt as well.
      this.#holdBack(queue, work, await this.#untilAnswered(() => scripts.adopted(queue.shard)));
      if (work.entries.length === 0) break;
      const generation = this.#parts.connection.sync?.generation ?? 0;
      const answer = await this.#call(queue.shard, work.entries, until);
      const status = String(answer[0]);
      if (status === 'ok') {
        this.#parts.onAppended(work.entries.length, (performance.now() - started) / 1000);
        const { entries } = work;
        work.entries = [];
        const place = { id: String(answer[1]), incarnation: String(answer[2]) };
        this.#settleBatch(queue, entries, { place, generation }, answer[3] as Buffer);
      } else if (status === 'full') {
        this.#parts.logger.error({ shard: queue.shard }, 'the log is full: the store does not keep up');
        failWhere(work, () => true);
      } else await this.#seedAll(work, answer.slice(1).map(String));
    }
  }

  /** Makes the call until it is answered; whoever hears no answer does not know whether it ran. */
  async #call(shard: number, entries: readonly Append[], until: number): Promise<readonly unknown[]> {
    const { keys, connection, scripts, options, random, clock, logger } = this.#parts;
    const args = [
      (keys.shards[shard] as ShardKeys).prefix,
      options.walBytesMax,
      options.recentBytes,
      options.dedupeSeconds,
      connection.publishCommand,
      Buffer.from(random.bytes(8)).toString('hex'),
      ...entries.flatMap((entry) => [entry.room, entry.id, entry.from, entry.bytes]),
    ];
    const rooms = [...new Set(entries.map(({ room }) => room))];
    for (;;) {
      try {
        const answer = await scripts.append(shard, rooms, args);
        this.#fault = null;
        return answer;
      } catch (error) {
        this.#fault = 'Redis does not answer';
        if (clock.now() >= until) throw error;
        logger.debug({ err: error, shard }, 'an append is tried again');
        await this.#pause();
      }
    }
  }

  /** `missing`: rooms without a head, each followed by the nonce of its miss. Entries of those that get none fail. */
  async #seedAll(work: Work, missing: readonly string[]): Promise<void> {
    for (let i = 0; i < missing.length; i += 2) {
      const room = missing[i] as string;
      let head: Head | null = null;
      try {
        head = await this.#seed(room, missing[i + 1] as string);
      } catch (err) {
        if (!(err instanceof StoreUnavailable)) throw err;
        this.#parts.logger.warn({ err, room }, 'a room could not be given a head');
      }
      if (head === null) failWhere(work, (entry) => entry.room === room);
    }
  }

  // Ids that the log may have forgotten, or never known since it was adopted, are looked up in the store. Nobody else
  // waits for that, but what the same sender sends behind them.

  #holdBack(queue: ShardQueue, work: Work, { since, incarnation }: Adopted): void {
    const going: Append[] = [];
    for (const entry of work.entries) {
      const isInDoubt = this.#isDoubtful(entry, since);
      const behind = queue.heldOf.get(entry.from) ?? 0;
      const isReleased = queue.released.get(entry) === incarnation;
      if (isReleased || (!isInDoubt && behind === 0)) going.push(entry);
      else {
        queue.held.push({ entry, isInDoubt, incarnation });
        queue.heldOf.set(entry.from, behind + 1);
        queue.waitingBytes += entry.bytes.length;
      }
    }
    work.entries = going;
    if (queue.held.length > 0 && !queue.isLookingUp) void this.#lookUpHeld(queue);
  }

  async #lookUpHeld(queue: ShardQueue): Promise<void> {
    queue.isLookingUp = true;
    while (queue.held.length > 0) {
      const held = queue.held.splice(0, batchEntriesMax);
      const doubtful = held.filter(({ isInDoubt }) => isInDoubt);
      const found = await this.#findIds(doubtful.map(({ entry }) => entry));
      for (const { entry, isInDoubt, incarnation } of held) {
        const left = (queue.heldOf.get(entry.from) ?? 1) - 1;
        if (left === 0) queue.heldOf.delete(entry.from);
        else queue.heldOf.set(entry.from, left);
        const first = isInDoubt ? found?.get(entry) : undefined;
        if (first === undefined && (found !== null || !isInDoubt)) {
          queue.released.set(entry, incarnation);
          queue.waiting.push(entry);
          continue;
        }
        queue.waitingBytes -= entry.bytes.length;
        if (first === undefined) entry.fail('UNAVAILABLE');
        else if (first.from === entry.from) entry.settle(first.seq, first.ts, 4, true);
        else entry.fail('CONFLICT');
      }
      this.#schedule(queue);
    }
    queue.isLookingUp = false;
    this.#tellIdle();
  }

  /** Those that the store has; null where it does not answer. */
  async #findIds(entries: readonly Append[]): Promise<Map<Append, FoundId> | null> {
    if (entries.length === 0) return new Map();
    const { store, logger } = this.#parts;
    try {
      const found = await store.findIds(entries.map(({ room, id }) => ({ room, id })));
      return new Map(entries.flatMap((entry, i) => (found[i] ? [[entry, found[i]]] : [])));
    } catch (err) {
      logger.warn({ err, entries: entries.length }, 'ids could not be looked up');
      return null;
    }
  }

  #isDoubtful({ bytes, id }: Append, since: number): boolean {
    // Only messages have an id that outlives the call.
    if (readOp(bytes) !== eventOps.message) return false;
    const time = uuidTime(id);
    const windowMs = (this.#parts.options.dedupeSeconds * 1000) / 2;
    return (
      time === null || Math.abs(time - this.#parts.clock.now()) > windowMs || time < since + adoptionDoubtMs
    );
  }

  #settleBatch(queue: ShardQueue, batch: readonly Append[], answer: Answered, packed: Buffer): void {
    const { place, generation } = answer;
    batch.forEach((entry, i) => {
      const { outcome, seq, ts } = readPlaced(packed, i);
      if (outcome === 'conflict') entry.fail('CONFLICT');
      else if (entry.level === 2 && this.#answerLevel < 2) {
        this.#whenSynced(generation, entry, () => entry.settle(seq, ts, 2, outcome === 'repeated'));
      } else if (entry.level < 4) entry.settle(seq, ts, this.#answerLevel, outcome === 'repeated');
      else
        this.#whenCommitted(queue, {
          place,
          entry,
          until: this.#parts.clock.now() + committedWaitMs,
          settle: () => entry.settle(seq, ts, 4, outcome === 'repeated'),
        });
    });
  }

  // Level 2, where an answer does not mean it.

  #whenSynced(generation: number, entry: Append, settle: () => void): void {
    const { connection, logger } = this.#parts;
    const synced = connection.sync?.wait(generation) ?? Promise.reject(new Error('Redis has no WAITAOF'));
    synced.then(settle, (err: unknown) => {
      logger.debug({ err, room: entry.room }, 'an append is in the log, but not known to be on disk');
      entry.fail('UNAVAILABLE');
    });
  }

  // Level 4.

  #whenCommitted(queue: ShardQueue, waiter: Committing): void {
    // Repeats with nothing in the wal have the id of no entry.
    if (waiter.place.id === noWalId || isCommitted(waiter.place, queue.committed)) {
      waiter.settle();
      return;
    }
    queue.committing.push(waiter);
    if (!queue.isWatchingCommits) void this.#watchCommits(queue);
  }

  /** Whoever waits too long is told; the event is in the log, and a repeat with its id waits again. */
  #failLate(queue: ShardQueue): void {
    const now = this.#parts.clock.now();
    const late = queue.committing.filter(({ until }) => until <= now);
    if (late.length === 0) return;
    queue.committing = queue.committing.filter(({ until }) => until > now);
    for (const { entry } of late) entry.fail('UNAVAILABLE');
  }

  /** Listens for the committed mark, and reads it each second, for as long as somebody waits for it. */
  async #watchCommits(queue: ShardQueue): Promise<void> {
    const { connection, keys, clock, logger } = this.#parts;
    const { committedChannel, meta } = keys.shards[queue.shard] as ShardKeys;
    queue.isWatchingCommits = true;
    try {
      await connection.subscribe(committedChannel);
    } catch (err) {
      logger.debug({ err, shard: queue.shard }, 'the committed mark is polled');
    }
    while (queue.committing.length > 0) {
      try {
        const answer = (await connection.call(
          'HMGET',
          meta,
          'committed',
          'incarnation',
        )) as (Buffer | null)[];
        const [id, incarnation] = answer.map((value) => (value === null ? '' : String(value))) as [
          string,
          string,
        ];
        if (id !== '') this.#onCommitted(queue, { id, incarnation });
        this.#failLost(queue, incarnation);
      } catch (err) {
        logger.debug({ err, shard: queue.shard }, 'the committed mark could not be read');
      }
      this.#failLate(queue);
      if (queue.committing.length > 0)
        await new Promise<void>((resolve) => clock.after(committedPollMs, resolve));
    }
    queue.isWatchingCommits = false;
  }

  #onCommitted(queue: ShardQueue, mark: WalPlace): void {
    if (isCommitted(mark, queue.committed)) return;
    queue.committed = mark;
    const settled = queue.committing.filter(({ place }) => isCommitted(place, mark));
    if (settled.length === 0) return;
    queue.committing = queue.committing.filter(({ place }) => !isCommitted(place, mark));
    for (const { settle } of settled) settle();
    this.#tellIdle();
  }

  /** What was appended to an earlier incarnation may be lost: who sends it again is told what became of it. */
  #failLost(queue: ShardQueue, incarnation: string): void {
    const lost = queue.committing.filter(({ place }) => place.incarnation !== incarnation);
    if (lost.length === 0) return;
    queue.committing = queue.committing.filter(({ place }) => place.incarnation === incarnation);
    for (const { entry } of lost) entry.fail('UNAVAILABLE');
    this.#tellIdle();
  }

  // Heads.

  async open(room: string): Promise<Head | null> {
    try {
      const [head] = await this.#readHeads([room]);
      const shard = this.#parts.keys.shardOf(room);
      this.#incarnations[shard] ??= (await this.#parts.scripts.adopted(shard)).incarnation;
      return head ?? (await this.#seedMissing(room));
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  async heads(rooms: readonly string[]): Promise<readonly Head[]> {
    try {
      const heads = await this.#readHeads(rooms);
      const missing = rooms.filter((_, i) => heads[i] === null);
      // What the log has forgotten is as the store knows it.
      const stored = missing.length > 0 ? await this.#parts.store.heads(missing) : [];
      const byRoom = new Map(missing.map((room, i) => [room, stored[i]]));
      return rooms.map((room, i) => heads[i] ?? fromStore(byRoom.get(room)));
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  /** Null for rooms without a head in the log. */
  async #readHeads(rooms: readonly string[]): Promise<(Head | null)[]> {
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

  async #seedMissing(room: string): Promise<Head | null> {
    const { keys, connection, random } = this.#parts;
    const { meta } = keys.shards[keys.shardOf(room)] as ShardKeys;
    const field = `miss:${room}`;
    await connection.call('HSETNX', meta, field, Buffer.from(random.bytes(8)).toString('hex'));
    const nonce = await connection.call('HGET', meta, field);
    // Another process has seeded it between the two calls.
    if (nonce === null) return this.open(room);
    let head: Head | null = null;
    try {
      head = await this.#seed(room, String(nonce));
      return head;
    } finally {
      // A room that does not exist, or cannot be read now, leaves nothing behind.
      if (head === null) await connection.call('HDEL', meta, field);
    }
  }

  /**
   * Gives a room that has no head in the log one from the store: the next numbers where it is sure that nothing was lost,
   * else a new epoch far beyond them. Null where there is no such room.
   */
  async #seed(room: string, nonce: string): Promise<Head | null> {
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
      const answer = await scripts.seed(shard, [
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
      ]);
      if (String(answer[0]) === 'ok') return readHead(answer[1] as Buffer);
      const [head] = await this.#readHeads([room]);
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
      await this.#pause();
    }
  }

  async #untilAnswered<T>(ask: () => Promise<T>): Promise<T> {
    const { clock } = this.#parts;
    const until = clock.now() + retryForMs;
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        this.#fault = 'Redis does not answer';
        if (clock.now() >= until) throw error;
        await this.#pause();
      }
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.after(retryPauseMs, resolve));
  }

  // Channels.

  async subscribeRoom(room: string): Promise<void> {
    this.#rooms.add(room);
    try {
      await this.#parts.connection.subscribe(this.#parts.keys.roomChannel(room));
    } catch (error) {
      this.unsubscribeRoom(room);
      throw asUnavailable(error);
    }
  }

  unsubscribeRoom(room: string): void {
    this.#rooms.delete(room);
    this.#parts.connection.unsubscribe(this.#parts.keys.roomChannel(room));
  }

  subscribeUser(user: string): void {
    this.#parts.connection.subscribe(this.#parts.keys.userChannel(user)).catch((err: unknown) => {
      // It is subscribed with all others when the connection is back.
      this.#parts.logger.debug({ err, user }, 'a user channel could not be subscribed');
    });
  }

  unsubscribeUser(user: string): void {
    this.#parts.connection.unsubscribe(this.#parts.keys.userChannel(user));
  }

  /** Called by the connection for every message. */
  onMessage(channel: string, payload: Uint8Array): void {
    const parsed = this.#parts.keys.parseChannel(channel);
    if (parsed === null) {
      if (channel === this.#parts.keys.controlChannel) this.#listener?.onControl(payload);
      return;
    }
    const { kind, shard, name } = parsed;
    if (kind === 'room') {
      const op = readOp(payload);
      if (op >= eventOps.message && op <= eventOps.epoch_started)
        this.#listener?.onEvents(name, payload, frameEnds(payload));
      else this.#listener?.onRoomFrames(name, payload);
    } else if (kind === 'user') this.#listener?.onUserFrames(name, payload);
    else if (kind === 'wake') this.#parts.onWake(shard);
    else if (kind === 'committed') {
      const [id = '', incarnation = ''] = Buffer.from(payload).toString().split(' ');
      this.#onCommitted(this.#queues[shard] as ShardQueue, { id, incarnation });
    }
  }

  /** Called by the connection when messages may have been missed. */
  onResubscribed(): void {
    for (let shard = 0; shard < this.#queues.length; shard++) void this.#compareHeads(shard);
  }

  onReconnected(): void {
    this.onResubscribed();
  }

  /** A server that is there but does not answer is found out without traffic as well. */
  async #probe(): Promise<void> {
    if (!this.#parts.connection.isReady) return;
    try {
      await this.#parts.connection.ping();
      this.#fault = null;
    } catch (err) {
      this.#parts.logger.debug({ err }, 'redis: no answer to a ping');
      this.#fault = 'Redis does not answer';
    }
  }

  readonly #incarnations: (string | undefined)[] = [];
  #nextCompared = 0;

  /** A quiet room hides a loss: the heads of all rooms here are compared, shard by shard, once in a heartbeat. */
  #compareNextShard(): void {
    const shard = this.#nextCompared;
    this.#nextCompared = (shard + 1) % this.#queues.length;
    void this.#compareHeads(shard);
  }

  async #compareHeads(shard: number): Promise<void> {
    const { keys, logger, connection } = this.#parts;
    const rooms = [...this.#rooms].filter((room) => keys.shardOf(room) === shard);
    if (rooms.length === 0 || !connection.isReady) return;
    try {
      const heads = await this.#readHeads(rooms);
      const isRenewed = await this.#isRenewed(shard);
      for (const [i, room] of rooms.entries()) {
        // Whoever is in a room whose continuity may be lost is told so now, not with the next message.
        const head = heads[i] ?? (isRenewed ? await this.open(room) : null);
        if (head !== null) this.#listener?.onHead(room, head);
      }
      this.#fault = null;
    } catch (err) {
      logger.debug({ err, shard }, 'heads could not be compared');
    }
  }

  /** Whether the shard was adopted anew since this was asked last. */
  async #isRenewed(shard: number): Promise<boolean> {
    const { incarnation } = await this.#parts.scripts.adopted(shard);
    const before = this.#incarnations[shard];
    this.#incarnations[shard] = incarnation;
    return before !== undefined && before !== incarnation;
  }

  async readAfter(room: string, seq: number, limit: number): Promise<readonly Uint8Array[] | null> {
    const events = await this.recent(room).catch(() => null);
    const [oldest] = events ?? [];
    if (events === null || oldest === undefined || readSeq(oldest) > seq + 1) return null;
    return events.filter((event) => readSeq(event) > seq).slice(0, limit);
  }

  async recent(room: string): Promise<readonly Uint8Array[]> {
    const { keys, connection } = this.#parts;
    try {
      const parts = (await connection.call('MGET', keys.older(room), keys.recent(room))) as (Buffer | null)[];
      return parts.flatMap((part) => (part === null ? [] : splitFrames(part)));
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  publishControl(payload: Uint8Array): void {
    this.#publish(this.#parts.keys.controlChannel, payload);
  }

  publishToRoom(room: string, payload: Uint8Array): void {
    this.#publish(this.#parts.keys.roomChannel(room), payload);
  }

  publishToUser(user: string, payload: Uint8Array): void {
    this.#publish(this.#parts.keys.userChannel(user), payload);
  }

  #publish(channel: string, payload: Uint8Array): void {
    const { connection, logger } = this.#parts;
    connection.call(connection.publishCommand, channel, payload).catch((err: unknown) => {
      logger.debug({ err }, 'an ephemeral frame was lost');
    });
  }

  fault(): string | null {
    return this.#parts.connection.isReady ? this.#fault : 'Redis is not connected';
  }

  /** What waits for level 4 settles as long as a flusher runs; what does not in time fails. */
  async close(): Promise<void> {
    const { clock } = this.#parts;
    this.#comparing.stop();
    this.#probing.stop();
    if (!this.#isIdle) {
      await new Promise<void>((resolve) => {
        this.#idle.push(resolve);
        clock.after(closeMs, resolve);
      });
    }
    for (const queue of this.#queues) {
      for (const { entry } of queue.committing.splice(0)) entry.fail('UNAVAILABLE');
    }
  }

  get #isIdle(): boolean {
    return (
      this.#calls === 0 &&
      this.#queues.every(
        (queue) =>
          queue.waiting.length + queue.held.length + queue.committing.length === 0 && !queue.isLookingUp,
      )
    );
  }

  #tellIdle(): void {
    if (this.#idle.length > 0 && this.#isIdle) for (const resolve of this.#idle.splice(0)) resolve();
  }
}

function fromStore(head: StoredHead | undefined): Head {
  return head === undefined ? noHead : { ...head, committed: head.seq };
}

const noHead: Head = { epoch: 1, seq: 0, messages: 0, committed: 0 };

function splitFrames(bytes: Uint8Array): Uint8Array[] {
  let start = 0;
  return frameEnds(bytes).map((end) => {
    const frame = new Uint8Array(bytes.subarray(start, end));
    start = end;
    return frame;
  });
}

function failWhere(work: Work, isMeant: (entry: Append) => boolean): void {
  const failed = work.entries.filter(isMeant);
  work.entries = work.entries.filter((entry) => !isMeant(entry));
  for (const entry of failed) entry.fail('UNAVAILABLE');
}

function takeBatch(queue: ShardQueue): Append[] {
  let bytes = 0;
  let count = 0;
  while (count < queue.waiting.length && count < batchEntriesMax && bytes < batchBytesMax) {
    bytes += (queue.waiting[count] as Append).bytes.length;
    count++;
  }
  queue.waitingBytes -= bytes;
  return queue.waiting.splice(0, count);
}

/** '>BI8I8' for each entry. */
function readPlaced(packed: Buffer, index: number): Placed {
  const at = index * 17;
  const code = packed.readUInt8(at);
  return {
    outcome: code === 0 ? 'new' : code === 1 ? 'repeated' : 'conflict',
    seq: Number(packed.readBigUInt64BE(at + 1)),
    ts: Number(packed.readBigUInt64BE(at + 9)),
  };
}

/** '>ddddd': epoch, seq, ts, committed seq, messages. */
function readHead(packed: Buffer): Head {
  return {
    epoch: packed.readDoubleBE(0),
    seq: packed.readDoubleBE(8),
    committed: packed.readDoubleBE(24),
    messages: packed.readDoubleBE(32),
  };
}

const noWalId = '0-0';

function isCommitted(place: WalPlace, mark: WalPlace): boolean {
  return place.incarnation === mark.incarnation && compareIds(place.id, mark.id) <= 0;
}

/** Stream ids: ms-n. */
function compareIds(first: string, second: string): number {
  const [ms = 0, n = 0] = first.split('-').map(Number);
  const [otherMs = 0, otherN = 0] = second.split('-').map(Number);
  return ms - otherMs || n - otherN;
}

function asUnavailable(error: unknown): unknown {
  return error instanceof StoreUnavailable
    ? error
    : new StoreUnavailable('Redis does not answer', { cause: error });
}
