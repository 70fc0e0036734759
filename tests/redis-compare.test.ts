// After a loss of the connections to Redis: the heads of all rooms here are told again, however they lie on the shards, so
// that no room stays quiet about what it has missed.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { type PostgresServer, startPostgres } from './postgres.ts';
import { type RedisServer, startRedis } from './redis.ts';
import { openLogProcess, openStore } from './redis-log.ts';
import { until } from './socket.ts';

let postgres: PostgresServer;
let redis: RedisServer;

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis({ fsync: 'off' })]);
});
afterAll(async () => {
  await Promise.all([postgres.close(), redis.close()]);
});

for (const shards of [1, 64]) {
  test(`every room of ${shards} shards is told where the log stands, once a connection is back`, async () => {
    const keyPrefix = `compare${shards}`;
    const store = await openStore(await postgres.createDatabase(keyPrefix));
    // The heartbeat tells as well, but not within this test.
    const options = { heartbeatMs: 1e9 };
    const { log, connection, close } = await openLogProcess({
      url: redis.url,
      store,
      keyPrefix,
      shards,
      options,
    });
    const told = new Map<string, number>();
    log.listen({
      onEvents() {},
      onRoomFrames() {},
      onUserFrames() {},
      onControl() {},
      onHead: (room) => void told.set(room, (told.get(room) ?? 0) + 1),
    });
    const rooms = Array.from({ length: 50 }, (_, i) => `room-${i}`);
    for (const id of [...rooms, 'left']) {
      const room = { id, name: id, type: 'group' as const, public: false, encrypted: false, avatarUrl: null };
      const record = { ...room, metadata: null, retentionDays: null, createdBy: 'ann', createdAt: 1 };
      await store.createRoom(record, [{ user: 'ann', role: 'admin' }]);
      await log.open(id);
      await log.subscribeRoom(id);
    }
    log.unsubscribeRoom('left');
    for (const type of ['normal', 'pubsub', 'normal']) {
      told.clear();
      await redis.ask('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
      await until(() => rooms.every((room) => told.has(room)), `the heads after ${type} was cut`);
      expect([...told.keys()].sort()).toEqual([...rooms].sort());
      await until(() => connection.isReady, 'the connection');
    }
    await close();
    await store.close();
  });
}
