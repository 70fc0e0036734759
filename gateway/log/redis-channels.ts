// The channels of the log in Redis: who is subscribed to what, what is published, and whom a message is for. Made by
// redis.ts. Messages may be lost; the hub finds out by the numbers.

import { eventOps } from '../../core/protocol/ops.ts';
import { frameEnds } from '../../core/protocol/slice.ts';
import { readOp } from '../../core/protocol/stamp.ts';
import type { LogListener } from './log.ts';
import type { RedisLogParts } from './redis-parts.ts';
import { asUnavailable } from './redis-patience.ts';

export class RedisChannels {
  readonly #parts: RedisLogParts;
  readonly #onCommitted: (shard: number, id: string, incarnation: string) => void;
  /** Rooms subscribed to, by shard. */
  readonly #rooms: readonly Set<string>[];
  listener: LogListener | null = null;

  constructor(parts: RedisLogParts, onCommitted: (shard: number, id: string, incarnation: string) => void) {
    this.#parts = parts;
    this.#onCommitted = onCommitted;
    this.#rooms = parts.keys.shards.map(() => new Set());
  }

  /** Those of the shard that this process is subscribed to. */
  roomsOf(shard: number): readonly string[] {
    return [...(this.#rooms[shard] as Set<string>)];
  }

  #roomsBeside(room: string): Set<string> {
    return this.#rooms[this.#parts.keys.shardOf(room)] as Set<string>;
  }

  async subscribeRoom(room: string): Promise<void> {
    this.#roomsBeside(room).add(room);
    try {
      await this.#parts.connection.subscribe(this.#parts.keys.roomChannel(room));
    } catch (error) {
      this.unsubscribeRoom(room);
      throw asUnavailable(error);
    }
  }

  unsubscribeRoom(room: string): void {
    this.#roomsBeside(room).delete(room);
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

  onMessage(channel: string, payload: Uint8Array): void {
    const { keys } = this.#parts;
    const parsed = keys.parseChannel(channel);
    if (parsed === null) {
      if (channel === keys.controlChannel) this.listener?.onControl(payload);
      return;
    }
    const { kind, shard, name } = parsed;
    if (kind === 'room') {
      const op = readOp(payload);
      if (op >= eventOps.message && op <= eventOps.epoch_started)
        this.listener?.onEvents(name, payload, frameEnds(payload));
      else this.listener?.onRoomFrames(name, payload);
    } else if (kind === 'user') this.listener?.onUserFrames(name, payload);
    else if (kind === 'wake') this.#parts.onWake(shard, payload.length > 0);
    else if (kind === 'committed') {
      const [id = '', incarnation = ''] = Buffer.from(payload).toString().split(' ');
      this.#onCommitted(shard, id, incarnation);
    }
  }

  /** In a cluster the channels are on different nodes, and there are more processes than hear one room. */
  async publishIfAllHear(room: string, payload: Uint8Array): Promise<boolean> {
    const { connection, keys, scripts, logger } = this.#parts;
    if (connection.facts.isCluster) return false;
    try {
      return await scripts.publishIfAllHear(keys.controlChannel, keys.roomChannel(room), payload);
    } catch (err) {
      logger.debug({ err, room }, 'whether all processes hear a room is not known');
      return false;
    }
  }

  publish(channel: string, payload: Uint8Array): void {
    const { connection, logger } = this.#parts;
    connection.call(connection.publishCommand, channel, payload).catch((err: unknown) => {
      logger.debug({ err }, 'an ephemeral frame was lost');
    });
  }
}
