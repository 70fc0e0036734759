// What the parts of the log in Redis are given: made by backends.ts for redis.ts, which hands it on. Types only.

import type { Clock, Random } from '../../core/clock.ts';
import type { Logger } from '../logger.ts';
import type { Store } from '../store/store.ts';
import type { RedisConnection } from './redis-connection.ts';
import type { RedisKeys } from './redis-keys.ts';
import type { RedisScripts } from './redis-scripts.ts';

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
  /** A shard's wal is no longer empty, or somebody waits for what came into it to be committed. */
  onWake(shard: number, isAwaited: boolean): void;
}
