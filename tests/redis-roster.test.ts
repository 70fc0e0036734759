// The roster in Redis: what a process that died has said of its users goes, also where the next one has its name.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { pino } from 'pino';
import { systemClock as clock, systemRandom as random } from '../gateway/clock.ts';
import { RedisConnection } from '../gateway/log/redis-connection.ts';
import { RedisKeys } from '../gateway/log/redis-keys.ts';
import { RedisRoster } from '../gateway/log/redis-roster.ts';
import { RedisScripts } from '../gateway/log/redis-scripts.ts';
import type { RosterDiff } from '../gateway/log/roster.ts';
import { type RedisServer, startRedis } from './redis.ts';
import { until } from './socket.ts';

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ fsync: 'off' });
});
afterAll(async () => {
  await redis.close();
});

async function openRoster(server: string) {
  const logger = pino({ level: 'silent' });
  const connection = await RedisConnection.open(redis.url, random, logger);
  const keys = new RedisKeys('roster', 4);
  const scripts = new RedisScripts(connection, keys, random);
  const roster = new RedisRoster({ connection, keys, scripts, clock, logger, server, graceMs: 1000 });
  const pruned: [string, RosterDiff][] = [];
  roster.listen({
    onPruned: (room, diff) => pruned.push([room, diff]),
    onForgotten: () => expect.unreachable('nobody was taken for dead'),
  });
  return { roster, connection, pruned };
}

test('a process that starts under the name of one that died takes out what that one had said, before it speaks', async () => {
  const other = await openRoster('other');
  await other.roster.update('shared', [{ user: 'ann', place: 'online' }]);
  const first = await openRoster('gateway');
  await first.roster.update('shared', [
    { user: 'ann', place: 'online' },
    { user: 'bob', place: 'online' },
  ]);
  await first.roster.update('alone', [{ user: 'cat', place: 'away' }]);
  first.roster.updateUsers([{ user: 'cat', place: 'online' }]);
  await until(async () => (await other.roster.statuses(['cat']))[0] === 'online', 'the status to be told');
  const servers = () => redis.ask('ZRANGE', 'roster:present-servers', 0, -1) as Promise<string[]>;
  await until(async () => (await servers()).length === 2, 'both to have said that they live');
  // As it dies.
  first.connection.close();
  const second = await openRoster('gateway');
  // Whoever comes back at once is there, and nobody else.
  expect(await second.roster.update('shared', [{ user: 'dan', place: 'online' }])).toEqual({
    count: 2,
    changed: [['dan', 'online']],
  });
  const { changed } = await second.roster.list('shared', 10);
  expect([...changed].sort()).toEqual([
    ['ann', 'online'],
    ['dan', 'online'],
  ]);
  expect(await second.roster.list('alone', 10)).toEqual({ count: 0, changed: [] });
  expect(await second.roster.statuses(['cat'])).toEqual(['offline']);
  // The rooms are told of those who are gone for everybody.
  expect([...second.pruned].sort()).toEqual([
    ['alone', { count: 0, changed: [['cat', 'offline']] }],
    ['shared', { count: 1, changed: [['bob', 'offline']] }],
  ]);
  await second.roster.close();
  await other.roster.close();
  expect(await servers()).toEqual([]);
  for (const { connection } of [second, other]) connection.close();
});
