// The log in Redis as one gateway process has it, without the gateway: log, tail and flusher over a store, wired as
// gateway/backends.ts wires them. Each has a connection of its own, so that a test has as many processes as it wants.

import { pino } from 'pino';
import { systemClock, systemRandom } from '../gateway/clock.ts';
import { Flusher } from '../gateway/flusher.ts';
import type { Log } from '../gateway/log/log.ts';
import { RedisLog } from '../gateway/log/redis.ts';
import { RedisConnection } from '../gateway/log/redis-connection.ts';
import { RedisKeys } from '../gateway/log/redis-keys.ts';
import type { RedisLogOptions } from '../gateway/log/redis-parts.ts';
import { RedisScripts } from '../gateway/log/redis-scripts.ts';
import { RedisTail } from '../gateway/log/redis-tail.ts';
import { validFor } from '../gateway/log/redis-texts.ts';
import { openPostgresStore } from '../gateway/store/postgres.ts';
import type { Store } from '../gateway/store/store.ts';
import type { RedisServer } from './redis.ts';

export interface LogProcess {
  readonly log: Log;
  readonly tail: RedisTail;
  readonly flusher: Flusher;
  readonly keys: RedisKeys;
  readonly connection: RedisConnection;
  /** What it would have logged, as lines of JSON. */
  readonly lines: readonly string[];
  /** Events that it has parked. */
  readonly parked: number;
  /** As a process ends: settles, flushes, lets go. */
  close(): Promise<void>;
  /** As a process dies: nothing more is said to Redis. */
  die(): void;
}

export interface LogProcessOptions {
  readonly url: string;
  readonly store: Store;
  readonly keyPrefix: string;
  readonly shards?: number;
  /** SERVER_ID. */
  readonly server?: string;
  /** The flusher starts with the process, unless told otherwise. */
  readonly flushes?: boolean;
  readonly batchEventsMax?: number;
  readonly options?: Partial<RedisLogOptions>;
}

let processes = 0;

export async function openLogProcess(settings: LogProcessOptions): Promise<LogProcess> {
  const { url, store, keyPrefix, shards = 8, server = `process-${++processes}` } = settings;
  const lines: string[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) });
  const options = {
    walBytesMax: 1e9,
    recentBytes: 32_768,
    dedupeSeconds: 300,
    heartbeatMs: 1000,
    ...settings.options,
  };
  const [clock, random] = [systemClock, systemRandom];
  const connection = await RedisConnection.open(url, random, logger);
  const keys = new RedisKeys(keyPrefix, shards);
  const scripts = new RedisScripts(connection, keys, random);
  const { dedupeSeconds } = options;
  const tail = new RedisTail({
    connection,
    keys,
    scripts,
    random,
    server,
    dedupeSeconds,
    recentTtlSeconds: 300,
  });
  const log = new RedisLog({
    connection,
    keys,
    scripts,
    store,
    clock,
    random,
    logger,
    options,
    onAppended: () => {},
    onWake: (shard, isAwaited) => tail.onWake(shard, isAwaited),
  });
  connection.observe(log);
  await connection.subscribe(keys.controlChannel);
  let parked = 0;
  const flusher = new Flusher({
    tail,
    log,
    store,
    clock,
    random,
    logger,
    flushIntervalMs: 5,
    batchEventsMax: settings.batchEventsMax ?? 1000,
    onFlushed: () => {},
    onParked: () => parked++,
  });
  if (settings.flushes !== false) flusher.start();
  return {
    log,
    tail,
    flusher,
    keys,
    connection,
    lines,
    get parked() {
      return parked;
    },
    async close() {
      await log.close();
      await flusher.stop();
      connection.close();
    },
    die: () => connection.close(),
  };
}

/**
 * As if the log had run for long. For two minutes after a shard was adopted every id is looked up in the store, and no
 * chat goes on without it. Before anybody uses the log.
 */
export async function ageShards(redis: RedisServer, keyPrefix: string, shards: number): Promise<void> {
  const runId = /run_id:(\w+)/.exec(String(await redis.ask('INFO', 'server')))![1];
  for (const { meta } of new RedisKeys(keyPrefix, shards).shards) {
    const fields = { run: validFor(runId!), since: '1', incarnation: 'old', inherited: '0-0' };
    await redis.ask('HSET', meta, ...Object.entries(fields).flat());
  }
}

/** A store on a Postgres of the test's own. */
export function openStore(url: string): Promise<Store> {
  const logger = pino({ level: 'silent' });
  return openPostgresStore({
    url,
    poolMax: 8,
    idleMs: 30_000,
    connectMs: 10_000,
    statementMs: 10_000,
    exclusive: false,
    logger,
  });
}
