// The log in Redis: the suite of every log, over one process, two, and a cluster of Redis servers; and what is true of
// this log alone: an append may be repeated, losses are told, a slot may move.

import { afterAll, beforeAll, describe } from 'bun:test';
import type { Store } from '../gateway/store/store.ts';
import { logConformance, type OpenedLogs } from './conformance/log.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';
import { type RedisCluster, type RedisServer, startRedis, startRedisCluster } from './redis.ts';
import { type LogProcess, openLogProcess, openStore } from './redis-log.ts';

let postgres: PostgresServer;
let redis: RedisServer;
let cluster: RedisCluster;
let prefixes = 0;

beforeAll(async () => {
  [postgres, redis, cluster] = await Promise.all([startPostgres(), startRedis(), startRedisCluster()]);
});
afterAll(async () => {
  await Promise.all([postgres.close(), redis.close(), cluster.close()]);
});

/** As many processes over one Redis and one store; the last one's store is not closed with it. */
async function openLogs(url: string, count: number): Promise<OpenedLogs & { processes: LogProcess[] }> {
  const keyPrefix = `log${++prefixes}`;
  const store: Store = await openStore(await postgres.createDatabase(keyPrefix));
  const processes: LogProcess[] = [];
  for (let i = 0; i < count; i++) processes.push(await openLogProcess({ url, store, keyPrefix }));
  return {
    processes,
    logs: processes.map(({ log }) => log),
    store,
    pass: () => new Promise((resolve) => setTimeout(() => resolve(), 1)),
    async close() {
      for (const one of processes) await one.close();
      await store.close();
    },
  };
}

logConformance('Redis, one process', () => openLogs(redis.url, 1));
logConformance('Redis, two processes', () => openLogs(redis.url, 2));
logConformance('a Redis cluster', (count) => openLogs(cluster.url, count));
describe('later', () => {});
