// The log of any number of processes, in Redis: rooms map to shards, one call appends a batch of one shard, numbers it and
// publishes it. Implements log.ts with its parts: redis-append.ts, redis-heads.ts, redis-recent.ts, redis-channels.ts; what
// is here compares heads, watches over Redis, and ends it all.

import type { Timer } from '../../core/clock.ts';
import type { Level } from '../../core/protocol/frames.ts';
import type { Append, Head, Log, LogChanges, LogListener, LogPage } from './log.ts';
import { ShardAppender } from './redis-append.ts';
import { RedisChanges } from './redis-changes.ts';
import { RedisChannels } from './redis-channels.ts';
import { RedisHeads } from './redis-heads.ts';
import type { RedisLogParts } from './redis-parts.ts';
import { orUnavailable, Patience } from './redis-patience.ts';
import { readAfter, readBefore, readMembership, readOldest } from './redis-recent.ts';
import { TurnEnd } from './redis-turn.ts';

/** Between two looks whether Redis answers. */
const probeMs = 2000;
/** How long a log that closes waits for what is under way. */
const closeMs = 5000;
/** Shards compared side by side after a reconnect, when all of them are. */
const comparedAtOnce = 8;

export class RedisLog implements Log {
  readonly #parts: RedisLogParts;
  readonly #patience: Patience;
  readonly #heads: RedisHeads;
  readonly #channels: RedisChannels;
  readonly #shards: readonly ShardAppender[];
  readonly #comparing: Timer;
  readonly #probing: Timer;
  #nextCompared = 0;
  /** Shards that are to be compared as soon as possible. */
  readonly #uncompared = new Set<number>();
  #comparers = 0;
  #idle: (() => void)[] = [];

  constructor(parts: RedisLogParts) {
    const { clock, keys, options } = parts;
    this.#parts = parts;
    this.#patience = new Patience(clock);
    this.#heads = new RedisHeads(parts, this.#patience);
    this.#channels = new RedisChannels(parts, (shard, id, incarnation) =>
      this.#shards[shard]?.commits.onCommitted({ id, incarnation }),
    );
    const turnEnd = new TurnEnd(clock);
    const onIdle = () => this.#tellIdle();
    this.#shards = keys.shards.map(
      (_, shard) => new ShardAppender(parts, this.#heads, this.#patience, turnEnd, shard, onIdle),
    );
    this.#probing = clock.every(probeMs, () => void this.#probe());
    this.#comparing = clock.every(options.heartbeatMs / keys.shards.length, () => this.#compareNextShard());
  }

  get levels(): readonly Level[] {
    return this.#parts.connection.levels;
  }

  listen(listener: LogListener): void {
    this.#channels.listener = listener;
  }

  append(entry: Append): void {
    (this.#shards[this.#parts.keys.shardOf(entry.room)] as ShardAppender).append(entry);
  }

  open(room: string): Promise<Head | null> {
    return this.#heads.open(room);
  }

  heads(rooms: readonly string[]): Promise<readonly Head[]> {
    return this.#heads.heads(rooms);
  }

  subscribeRoom(room: string): Promise<void> {
    return this.#channels.subscribeRoom(room);
  }

  unsubscribeRoom(room: string): void {
    this.#channels.unsubscribeRoom(room);
  }

  subscribeUser(user: string): void {
    this.#channels.subscribeUser(user);
  }

  unsubscribeUser(user: string): void {
    this.#channels.unsubscribeUser(user);
  }

  async readAfter(
    room: string,
    seq: number,
    limit: number,
    bytesMax: number,
  ): Promise<readonly Uint8Array[] | null> {
    try {
      return await readAfter(this.#parts, room, seq, limit, bytesMax);
    } catch (err) {
      // The store may be asked instead.
      this.#parts.logger.debug({ err, room }, 'the last events of a room could not be read');
      return null;
    }
  }

  readBefore(room: string, before: number | null, limit: number, bytesMax: number): Promise<LogPage> {
    return orUnavailable(readBefore(this.#parts, room, before, limit, bytesMax));
  }

  readOldest(room: string): Promise<readonly Uint8Array[]> {
    return orUnavailable(readOldest(this.#parts, room));
  }

  readMembership(room: string, seq: number): Promise<readonly Uint8Array[]> {
    return orUnavailable(readMembership(this.#parts, room, seq));
  }

  changes(room: string): Promise<LogChanges | null> {
    return orUnavailable(this.#openChanges(room));
  }

  async #openChanges(room: string): Promise<LogChanges | null> {
    const [head] = await this.#heads.read([room]);
    return head ? await RedisChanges.open(this.#parts, room, head) : null;
  }

  publishControl(payload: Uint8Array): void {
    this.#channels.publish(this.#parts.keys.controlChannel, payload);
  }

  publishToRoom(room: string, payload: Uint8Array): void {
    this.#channels.publish(this.#parts.keys.roomChannel(room), payload);
  }

  publishIfAllHear(room: string, payload: Uint8Array): Promise<boolean> {
    return this.#channels.publishIfAllHear(room, payload);
  }

  publishToUser(user: string, payload: Uint8Array): void {
    this.#channels.publish(this.#parts.keys.userChannel(user), payload);
  }

  /** Called by the connection for every message. */
  onMessage(channel: string, payload: Uint8Array): void {
    this.#channels.onMessage(channel, payload);
  }

  /** Called by the connection when messages may have been missed. */
  onResubscribed(): void {
    for (let shard = 0; shard < this.#shards.length; shard++) {
      this.#uncompared.add(shard);
      // What has become of its wal meanwhile may have been told to nobody.
      this.#parts.onWake(shard, true);
    }
    for (let i = this.#comparers; i < comparedAtOnce; i++) void this.#compareAll();
  }

  /** One of some side by side. Both connections come back: a shard that still waits for its turn is compared once. */
  async #compareAll(): Promise<void> {
    this.#comparers++;
    for (const shard of this.#uncompared) {
      this.#uncompared.delete(shard);
      await this.#compareHeads(shard);
    }
    this.#comparers--;
  }

  onReconnected(): void {
    this.onResubscribed();
  }

  /** A server that is there but does not answer is found out without traffic as well. */
  async #probe(): Promise<void> {
    if (!this.#parts.connection.isReady) return;
    try {
      await this.#parts.connection.ping();
      this.#patience.onAnswer();
    } catch (err) {
      this.#parts.logger.debug({ err }, 'redis: no answer to a ping');
      this.#patience.onSilence();
    }
  }

  /** A quiet room hides a loss: the heads of all rooms here are compared, shard by shard, once in a heartbeat. */
  #compareNextShard(): void {
    const shard = this.#nextCompared;
    this.#nextCompared = (shard + 1) % this.#shards.length;
    void this.#compareHeads(shard);
  }

  async #compareHeads(shard: number): Promise<void> {
    const { logger, connection } = this.#parts;
    const rooms = this.#channels.roomsOf(shard);
    if (rooms.length === 0 || !connection.isReady) return;
    try {
      const heads = await this.#heads.read(rooms);
      const isRenewed = await this.#heads.isRenewed(shard);
      for (const [i, room] of rooms.entries()) {
        // Whoever is in a room whose continuity may be lost is told so now, not with the next message.
        const head = heads[i] ?? (isRenewed ? await this.open(room) : null);
        if (head !== null) this.#channels.listener?.onHead(room, head);
      }
      this.#patience.onAnswer();
    } catch (err) {
      logger.debug({ err, shard }, 'heads could not be compared');
    }
  }

  fault(): string | null {
    return this.#parts.connection.isReady ? this.#patience.fault : 'Redis is not connected';
  }

  /** What waits for level 4 settles as long as a flusher runs; what does not in time fails. */
  async close(): Promise<void> {
    this.#comparing.stop();
    this.#probing.stop();
    if (!this.#isIdle) {
      await new Promise<void>((resolve) => {
        this.#idle.push(resolve);
        this.#parts.clock.after(closeMs, resolve);
      });
    }
    for (const { commits } of this.#shards) commits.failAll();
  }

  get #isIdle(): boolean {
    return this.#shards.every(({ isIdle }) => isIdle);
  }

  #tellIdle(): void {
    if (this.#idle.length > 0 && this.#isIdle) for (const resolve of this.#idle.splice(0)) resolve();
  }
}
