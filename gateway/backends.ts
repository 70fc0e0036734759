// The log and the store that the settings ask for: embedded; Postgres with the log in this process; or Postgres with the
// log in Redis, and a flusher between them. Called by main.ts, the only other file that names implementations.

import type { Clock, Random } from '../core/clock.ts';
import { type Config, logBoundWarnings } from './config.ts';
import { Flusher } from './flusher.ts';
import type { Log } from './log/log.ts';
import { MemoryLog } from './log/memory.ts';
import { MemoryRoster } from './log/memory-roster.ts';
import { RedisLog } from './log/redis.ts';
import { RedisConnection } from './log/redis-connection.ts';
import { RedisKeys } from './log/redis-keys.ts';
import { RedisRoster } from './log/redis-roster.ts';
import { RedisScripts } from './log/redis-scripts.ts';
import { RedisTail } from './log/redis-tail.ts';
import type { Roster } from './log/roster.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';
import { guardStore } from './store/breaker.ts';
import { lastAlone, openPostgresStore } from './store/postgres.ts';
import { openSqliteStore } from './store/sqlite.ts';
import { type Store, StoreStartError } from './store/store.ts';

export interface BackendParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface Backends {
  readonly log: Log;
  readonly roster: Roster;
  readonly store: Store;
  /** Null, or what is away although chat goes on. */
  degraded(): string | null;
  /** Starts what runs by itself. */
  start(): void;
  /** Settles and flushes what is under way, then lets go. */
  close(): Promise<void>;
}

export async function openBackends(parts: BackendParts): Promise<Backends> {
  const { config, clock } = parts;
  if (config.redisUrl !== undefined) return openCluster(parts, config.redisUrl);
  if (config.databaseUrl === undefined && config.engine !== 'bun') {
    throw new StoreStartError('DATABASE_URL must be set: the embedded store needs Bun (npm start)');
  }
  const store =
    config.databaseUrl === undefined ? await openSqliteStore(config) : await openPostgres(parts, true);
  const log = new MemoryLog(store, clock, observeCommits(parts));
  return {
    log,
    roster: new MemoryRoster(),
    store,
    degraded: () => null,
    start() {
      // Nothing runs by itself.
    },
    async close() {
      await log.close();
      await store.close();
    },
  };
}

function openPostgres({ config, logger }: BackendParts, exclusive: boolean): Promise<Store> {
  return openPostgresStore({
    ...poolOptions(config),
    ...(config.databaseReplicaUrl === undefined ? {} : { replicaUrl: config.databaseReplicaUrl }),
    exclusive,
    logger,
  });
}

function poolOptions(config: Config) {
  return {
    url: config.databaseUrl ?? '',
    poolMax: config.databasePoolMax,
    idleMs: config.databaseIdleMs,
    connectMs: config.databaseConnectMs,
    statementMs: config.databaseStatementMs,
  };
}

function observeCommits({ metrics, logger }: BackendParts) {
  return {
    onCommit(events: number, seconds: number) {
      metrics.appends.appended += events;
      metrics.observeAppendBatch(events);
      metrics.observeCommit(seconds);
    },
    onRepeated: () => metrics.appends.repeated++,
    onCommitFailed(events: number, err: unknown) {
      metrics.appends.unavailable += events;
      logger.error({ err, events }, 'a commit failed');
    },
  };
}

async function openCluster(parts: BackendParts, redisUrl: string): Promise<Backends> {
  const { config, clock, random, logger, metrics } = parts;
  const keys = new RedisKeys(config.keyPrefix, config.logShards);
  const connection = await RedisConnection.open(redisUrl, random, logger, keys.sync);
  const { store, isOpen } = guardStore(await openPostgres(parts, false), logger);
  const { warnings, memoryMax } = connection.facts;
  for (const warning of [...warnings, ...logBoundWarnings(config, memoryMax)]) logger.warn(warning);
  await checkShards(connection, keys, config.logShards);
  await checkAlone(connection, keys, await lastAlone(poolOptions(config)));
  const scripts = new RedisScripts(connection, keys, random);
  const tail = new RedisTail({
    connection,
    keys,
    scripts,
    random,
    server: config.serverId,
    dedupeSeconds: config.dedupeSeconds,
    recentTtlSeconds: config.recentTtlSeconds,
  });
  const log = new RedisLog({
    connection,
    keys,
    scripts,
    store,
    clock,
    random,
    logger,
    options: {
      walBytesMax: config.walMaxBytes,
      recentBytes: config.recentBytes,
      dedupeSeconds: config.dedupeSeconds,
      heartbeatMs: config.heartbeatMs,
    },
    onAppended(entries) {
      metrics.appends.appended += entries;
      metrics.observeAppendBatch(entries);
    },
    onWake: (shard, isAwaited) => tail.onWake(shard, isAwaited),
  });
  connection.observe(log);
  await orStartError(keys.controlChannel, connection.subscribe(keys.controlChannel));
  const roster = new RedisRoster({
    connection,
    keys,
    scripts,
    clock,
    logger,
    server: config.serverId,
    graceMs: config.presenceGraceMs,
  });
  const flusher = new Flusher({
    tail,
    log,
    store,
    clock,
    random,
    logger,
    flushIntervalMs: config.flushIntervalMs,
    batchEventsMax: config.flushBatch,
    onFlushed: (_events, seconds) => metrics.observeCommit(seconds),
    onParked: () => metrics.eventsParked++,
  });
  return {
    log,
    roster,
    store,
    degraded: () => (isOpen() ? 'Postgres does not answer' : (connection.problem ?? flusher.fault())),
    start: () => flusher.start(),
    async close() {
      await log.close();
      await roster.close();
      await flusher.stop();
      connection.close();
      await store.close();
    },
  };
}

/** The number of shards is kept in the log: with another one rooms would be looked for where they are not. */
async function checkShards(connection: RedisConnection, keys: RedisKeys, shards: number): Promise<void> {
  const kept = await keepFirst(connection, keys.shardCount, String(shards));
  if (kept === String(shards)) return;
  throw new StoreStartError(`LOG_SHARDS is ${shards}, but the log in Redis has ${kept}`);
}

/** A log that was begun before a process wrote the database without it would give that one's numbers again. */
async function checkAlone(connection: RedisConnection, keys: RedisKeys, alone: string): Promise<void> {
  if ((await keepFirst(connection, keys.writtenAlone, alone)) === alone) return;
  throw new StoreStartError(
    'REDIS_URL: a process without it has written the database since this log was begun: remove its keys, as after a restore',
  );
}

/**
 * What the key holds: `value`, where it held nothing. It is read first, as a Redis that is full takes no writes, and who
 * is to empty it must be able to start.
 */
async function keepFirst(connection: RedisConnection, key: string, value: string): Promise<string> {
  const read = () => orStartError(key, connection.call('GET', key));
  const kept = await read();
  if (kept !== null) return String(kept);
  await orStartError(key, connection.call('SET', key, value, 'NX'));
  return String(await read());
}

/** What Redis refuses at the start is for the operator: one line. */
async function orStartError<T>(name: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    throw new StoreStartError(`REDIS_URL: ${name} cannot be used: ${reason}`);
  }
}
