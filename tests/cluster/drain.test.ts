// SIGTERM while Postgres takes no events: the drain ends with DRAIN_SECONDS and well, and what was acknowledged is kept.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { startGateway } from '../gateway.ts';
import { follow, makeRoom, open, person, say } from '../people.ts';
import { type PostgresServer, startPostgres } from '../postgres.ts';
import { type RedisServer, startRedis } from '../redis.ts';
import { op, reply, until } from '../socket.ts';

setDefaultTimeout(60_000);

let redis: RedisServer;
let postgres: PostgresServer;

beforeAll(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
});

afterAll(() => Promise.all([redis.close(), postgres.close()]));

const sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

test('a drain with a flush that hangs closes all sockets, exits with 0 and loses nothing', async () => {
  const gateway = await startGateway({
    REDIS_URL: redis.url,
    DATABASE_URL: postgres.url,
    DRAIN_SECONDS: '1',
    LOG_LEVEL: 'error',
  });
  const [ada, bob] = await Promise.all([person('ada'), person('bob')]);
  const room = await makeRoom(gateway, ada, [bob]);
  const sockets = await Promise.all(Array.from({ length: 600 }, () => open(gateway, bob)));
  const adas = await open(gateway, ada);
  const { head } = await follow(adas, room);
  await Promise.all(sockets.map((socket) => follow(socket, room)));
  // Reads go on; whoever writes events waits until this connection is ended, which psql calls a failure.
  const holding = postgres
    .psql('BEGIN; LOCK TABLE messages IN EXCLUSIVE MODE; SELECT pg_sleep(60)')
    .catch((error: Error) => error.message);
  await until(async () => (await postgres.psql(sleeping)) !== '', 'the lock');
  const acks = await Promise.all(Array.from({ length: 200 }, (_, i) => say(adas, room, `${i}`)));
  const { exited } = gateway;
  gateway.signal('SIGTERM');
  const endings = await Promise.all([adas, ...sockets].map((socket) => socket.end()));
  expect(new Set(endings.map(({ code }) => code))).toEqual(new Set([1012]));
  expect(await exited).toBe(0);
  expect(gateway.stdout).toContain('the drain took too long');
  await postgres.psql(sleeping.replace('SELECT pid', 'SELECT pg_terminate_backend(pid)'));
  expect(await holding).toContain('terminating connection');
  await gateway.restart();
  const back = await open(gateway, ada);
  const [, events] = (await back.ok(op.history, room, null, head, 200)) as [boolean, unknown[][]];
  const messages = events.filter(([each]) => each === reply.message);
  expect(messages.map(([, seq]) => seq)).toEqual(acks.map(({ seq }) => seq).sort((a, b) => a - b));
  await gateway.close();
});
