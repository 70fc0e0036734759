// The roster of many processes, in Redis: a hash per room with what each process says of its users. A process renews one
// key, however many users it has; those of a process that does not are taken out by another one after the grace time.

import type { Clock } from '../../core/clock.ts';
import type { Place } from '../../core/presence.ts';
import { statusOf } from '../../core/presence.ts';
import type { Status } from '../../core/protocol/frames.ts';
import type { Logger } from '../logger.ts';
import { StoreUnavailable } from '../store/store.ts';
import type { RedisConnection } from './redis-connection.ts';
import type { RedisKeys, ShardKeys } from './redis-keys.ts';
import type { RedisScripts } from './redis-scripts.ts';
import type { Roster, RosterChange, RosterDiff, RosterListener } from './roster.ts';

/** How often a process says that it lives. */
const beatMs = 2000;
/** A process that has not said so for this long is dead. With the grace time on top users are gone within 35 s. */
const deadMs = 15_000;
/** Whoever prunes a dead process has this long before another one tries. */
const pruneLockMs = 30_000;
/** Users told of in one call. */
const changesPerCall = 500;
/** Stands for a room where users are meant whatever rooms they are in; no room has this id. */
const everywhere = '';

export interface RedisRosterParts {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly scripts: RedisScripts;
  readonly clock: Clock;
  readonly logger: Logger;
  /** This process, as others see it. */
  readonly server: string;
  readonly graceMs: number;
}

export class RedisRoster implements Roster {
  readonly #parts: RedisRosterParts;
  #listener: RosterListener | null = null;
  /** What is left of a process of the same name that died is taken out, before this one says anything. */
  #clearing: Promise<void> | null = null;
  #hasBeaten = false;
  #isClosed = false;
  /** Statuses of users that could not be told yet. */
  #untold = new Map<string, Place>();

  constructor(parts: RedisRosterParts) {
    this.#parts = parts;
    parts.clock.every(beatMs, () => void this.#beat());
  }

  listen(listener: RosterListener): void {
    this.#listener = listener;
    void this.#beat();
  }

  async update(room: string, changes: readonly RosterChange[]): Promise<RosterDiff> {
    return this.#tell(this.#parts.keys.shardOf(room), room, changes);
  }

  async #tell(shard: number, room: string, changes: readonly RosterChange[]): Promise<RosterDiff> {
    await this.#clearOnce();
    const changed: (readonly [string, Status])[] = [];
    let count = 0;
    for (let i = 0; i < changes.length; i += changesPerCall) {
      const args = changes.slice(i, i + changesPerCall).flatMap(({ user, place }) => [user, codeOf(place)]);
      const diff = await this.#run(shard, room, this.#parts.server, args);
      count = diff.count;
      changed.push(...diff.changed);
    }
    return { count, changed };
  }

  async #run(shard: number, room: string, server: string, args: readonly string[]): Promise<RosterDiff> {
    const { keys, scripts } = this.#parts;
    const { presentRooms } = keys.shards[shard] as ShardKeys;
    return readDiff(await scripts.roster([keys.present(shard, room), presentRooms], [server, room, ...args]));
  }

  async list(room: string, limit: number): Promise<RosterDiff> {
    const { keys, connection } = this.#parts;
    const key = keys.present(keys.shardOf(room), room);
    try {
      const count = Number(await connection.call('HLEN', key));
      const changed: (readonly [string, Status])[] = [];
      let cursor = '0';
      do {
        const answer = (await connection.call('HSCAN', key, cursor, 'COUNT', limit)) as [Buffer, Buffer[]];
        cursor = String(answer[0]);
        for (let i = 0; i < answer[1].length && changed.length < limit; i += 2) {
          changed.push([String(answer[1][i]), statusOf(String(answer[1][i + 1]))]);
        }
      } while (cursor !== '0' && changed.length < limit);
      return { count, changed };
    } catch (error) {
      throw new StoreUnavailable('the roster cannot be read', { cause: error });
    }
  }

  updateUsers(changes: readonly RosterChange[]): void {
    for (const { user, place } of changes) this.#untold.set(user, place);
    if (changes.length > 0) void this.#tellUsers();
  }

  async #tellUsers(): Promise<void> {
    const { keys, logger } = this.#parts;
    const untold = this.#untold;
    this.#untold = new Map();
    const byShard = new Map<number, RosterChange[]>();
    for (const [user, place] of untold) {
      const shard = keys.shardOf(user);
      const list = byShard.get(shard);
      if (list === undefined) byShard.set(shard, [{ user, place }]);
      else list.push({ user, place });
    }
    try {
      await Promise.all([...byShard].map(([shard, changes]) => this.#tell(shard, everywhere, changes)));
    } catch (err) {
      // Told again with the next beat; what was said since counts more.
      logger.debug({ err }, 'statuses could not be told');
      this.#untold = new Map([...untold, ...this.#untold]);
    }
  }

  async statuses(users: readonly string[]): Promise<readonly Status[]> {
    const { keys, connection } = this.#parts;
    try {
      return await Promise.all(
        users.map(async (user) => {
          const state = await connection.call('HGET', keys.present(keys.shardOf(user), everywhere), user);
          return statusOf(state === null ? null : String(state));
        }),
      );
    } catch (error) {
      throw new StoreUnavailable('the roster cannot be read', { cause: error });
    }
  }

  #clearOnce(): Promise<void> {
    this.#clearing ??= this.#clearEarlier().catch((error: unknown) => {
      this.#clearing = null;
      throw error;
    });
    return this.#clearing;
  }

  async #clearEarlier(): Promise<void> {
    const { connection, keys, server, logger } = this.#parts;
    if ((await connection.call('ZSCORE', keys.presentServers, server)) === null) return;
    logger.info({ server }, 'an earlier process of this name is gone; its users are taken from the rooms');
    await this.#pruneRooms(server, true);
  }

  /** Says that this process lives, looks whether it was forgotten, and who no longer lives. */
  async #beat(): Promise<void> {
    if (this.#isClosed || this.#listener === null || !this.#parts.connection.isReady) return;
    const { connection, keys, server, graceMs, logger } = this.#parts;
    try {
      await this.#clearOnce();
      const [seconds] = (await connection.call('TIME')) as [Buffer];
      const now = Number(String(seconds)) * 1000;
      const isNew = Number(await connection.call('ZADD', keys.presentServers, now, server)) === 1;
      // Taken for dead meanwhile, or the whole roster was lost.
      if (isNew && this.#hasBeaten) this.#listener?.onForgotten();
      this.#hasBeaten = true;
      if (this.#untold.size > 0) await this.#tellUsers();
      const before = now - deadMs - graceMs;
      const dead = (await connection.call('ZRANGEBYSCORE', keys.presentServers, '-inf', before)) as Buffer[];
      for (const other of dead) await this.#prune(String(other));
    } catch (err) {
      logger.debug({ err }, 'the roster could not be renewed');
    }
  }

  /** Takes a dead process's users out of every room, for all shards; one process does it. */
  async #prune(dead: string): Promise<void> {
    const { connection, keys, logger } = this.#parts;
    const lock = await connection.call(
      'SET',
      keys.pruneLock(dead),
      this.#parts.server,
      'NX',
      'PX',
      pruneLockMs,
    );
    if (lock === null) return;
    logger.info({ dead }, 'a process is gone; its users are taken from the rooms');
    await this.#pruneRooms(dead, true);
    await connection.call('ZREM', keys.presentServers, dead);
  }

  async #pruneRooms(server: string, isTold: boolean): Promise<void> {
    const { connection, keys } = this.#parts;
    for (let shard = 0; shard < keys.shards.length; shard++) {
      const { presentRooms } = keys.shards[shard] as ShardKeys;
      const rooms = ((await connection.call('SMEMBERS', presentRooms)) as Buffer[]).map(String);
      for (const room of rooms) {
        const diff = await this.#run(shard, room, server, ['prune']);
        if (isTold && room !== everywhere && diff.changed.length > 0) this.#listener?.onPruned(room, diff);
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const { connection, keys, server, logger } = this.#parts;
    try {
      await this.#pruneRooms(server, true);
      await connection.call('ZREM', keys.presentServers, server);
    } catch (err) {
      logger.debug({ err }, 'the roster keeps this process until it counts as dead');
    }
  }
}

function codeOf(place: Place): string {
  return place === 'online' ? 'o' : place === 'away' ? 'a' : '';
}

function readDiff(answer: readonly unknown[]): RosterDiff {
  const changed: (readonly [string, Status])[] = [];
  for (let i = 1; i < answer.length; i += 2) {
    const code = String(answer[i + 1]);
    changed.push([String(answer[i]), code === 'o' ? 'online' : code === 'a' ? 'away' : 'offline']);
  }
  return { count: Number(answer[0]), changed };
}
