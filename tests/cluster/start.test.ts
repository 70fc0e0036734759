// What stops the start of a process of a cluster: one line on stderr that names the setting, and an exit code that is
// not 0.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { freePort } from '../../scripts/free-port.mjs';
import { makeFolder, spawnGateway, startGateway } from '../gateway.ts';
import { type PostgresServer, startPostgres } from '../postgres.ts';
import { type RedisServer, startRedis } from '../redis.ts';
import { within } from '../socket.ts';

setDefaultTimeout(60_000);

let redis: RedisServer;
let evicting: RedisServer;
let locked: RedisServer;
let postgres: PostgresServer;

beforeAll(async () => {
  [redis, evicting, locked, postgres] = await Promise.all([
    startRedis({ fsync: 'off' }),
    startRedis({ fsync: 'off', settings: { maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' } }),
    startRedis({ fsync: 'off', password: 'right' }),
    startPostgres(),
  ]);
});

afterAll(async () => {
  await Promise.all([redis.close(), evicting.close(), locked.close(), postgres.close()]);
});

/** The one line with which the process ends. */
async function refusal(env: Record<string, string>): Promise<string> {
  const child = spawnGateway({
    PORT: String(await freePort()),
    DATA_DIR: makeFolder(),
    REDIS_URL: redis.url,
    DATABASE_URL: postgres.url,
    ...env,
  });
  const code = await within(
    child.exited,
    () => `the end of the process: ${child.stdout}${child.stderr}`,
    20_000,
  );
  expect(code).toBeGreaterThan(0);
  expect(code).toBeLessThan(128);
  expect(child.stderr.trim().split('\n')).toHaveLength(1);
  return child.stderr.trim();
}

test('a REDIS_URL that leads nowhere', async () => {
  const address = `127.0.0.1:${await freePort()}`;
  const line = await refusal({ REDIS_URL: `redis://${address}` });
  expect(line).toContain(`REDIS_URL: ${address} cannot be used`);
  expect(line).toContain('ECONNREFUSED');
});

test('a REDIS_URL that leads to something else', async () => {
  const web = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response('') });
  for (const port of [postgres.port, web.port]) {
    const line = await refusal({ REDIS_URL: `redis://127.0.0.1:${port}` });
    expect(line).toContain(`REDIS_URL: 127.0.0.1:${port} cannot be used`);
    expect(line).toContain('is it a Redis');
  }
  await web.stop(true);
});

test('TLS where none is spoken', async () => {
  expect(await refusal({ REDIS_URL: redis.url.replace('redis:', 'rediss:') })).toContain('with TLS?');
});

test('a wrong password, which is not repeated', async () => {
  const line = await refusal({ REDIS_URL: `redis://:wrongpassword@127.0.0.1:${locked.port}` });
  expect(line).toContain('REDIS_URL');
  expect(line).toContain('WRONGPASS');
  expect(line).not.toContain('wrongpassword');
});

test('no password where one is needed', async () => {
  const line = await refusal({ REDIS_URL: `redis://127.0.0.1:${locked.port}` });
  expect(line).toContain('REDIS_URL');
  expect(line).toContain('NOAUTH');
});

test('a replica, before the database is touched', async () => {
  const replica = await startRedis({ fsync: 'off', settings: { replicaof: `127.0.0.1 ${redis.port}` } });
  const url = await postgres.createDatabase('beside_a_replica');
  const line = await refusal({ REDIS_URL: replica.url, DATABASE_URL: url });
  expect(line).toContain('REDIS_URL: Redis is a replica');
  expect(line).toContain(String(redis.port));
  const tables = await postgres.psql(`SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`, url);
  expect(tables.trim()).toBe('0');
  await replica.close();
});

test('a key of the log that holds something else', async () => {
  await redis.ask('LPUSH', 'strange:shards', 'x');
  const line = await refusal({ KEY_PREFIX: 'strange' });
  expect(line).toContain('REDIS_URL: strange:shards cannot be used: WRONGTYPE');
});

test('a full Redis, but not for a log that is there already: somebody must empty it', async () => {
  const full = await startRedis({ fsync: 'off' });
  const settings = { REDIS_URL: full.url, DATABASE_URL: postgres.url, KEY_PREFIX: 'full' };
  const gateway = await startGateway(settings);
  await full.ask('CONFIG', 'SET', 'maxmemory', '1');
  await gateway.stop();
  await gateway.restart();
  await gateway.close();
  const line = await refusal({ ...settings, KEY_PREFIX: 'other' });
  expect(line).toContain('REDIS_URL: other:shards cannot be used: OOM');
  await full.close();
});

test('a Redis that evicts what is not stored yet', async () => {
  const line = await refusal({ REDIS_URL: evicting.url });
  expect(line).toContain('allkeys-lru');
  expect(line).toContain('noeviction');
});

test('LOG_SHARDS other than the log’s', async () => {
  const settings = { REDIS_URL: redis.url, DATABASE_URL: postgres.url, LOG_SHARDS: '16' };
  const gateway = await startGateway(settings);
  const line = await refusal({ LOG_SHARDS: '32' });
  expect(line).toContain('LOG_SHARDS');
  expect(line).toContain('16');
  // Of another prefix it may be another.
  await (await startGateway({ ...settings, LOG_SHARDS: '32', KEY_PREFIX: 'other' })).close();
  await gateway.close();
});

test('a DATABASE_URL that leads nowhere, or to no database, or is missing', async () => {
  const nowhere = `postgres://postgres@127.0.0.1:${await freePort()}/parley`;
  for (const url of [nowhere, postgres.url.replace('/parley', '/missing'), '']) {
    expect(await refusal({ DATABASE_URL: url })).toContain('DATABASE_URL');
  }
});

test('a database that a process without REDIS_URL has to itself, and the other way round', async () => {
  const url = await postgres.createDatabase('alone_or_shared');
  const alone = await startGateway({ DATABASE_URL: url });
  expect(await refusal({ DATABASE_URL: url, KEY_PREFIX: 'shared' })).toContain(
    'in use by another Parley process that has no REDIS_URL',
  );
  await alone.stop();
  const shared = await startGateway({ REDIS_URL: redis.url, DATABASE_URL: url, KEY_PREFIX: 'shared' });
  expect(await refusal({ DATABASE_URL: url, REDIS_URL: '' })).toContain(
    'without REDIS_URL there can be one only',
  );
  await shared.stop();
  await alone.restart();
  await alone.stop();
  // The log of before does not know what was written without it; a new one is seeded from the store.
  expect(await refusal({ DATABASE_URL: url, KEY_PREFIX: 'shared' })).toContain('since this log was begun');
  await shared.restart({ KEY_PREFIX: 'shared-anew' });
  await Promise.all([alone.close(), shared.close()]);
});

test('with the right ones it starts', async () => {
  const gateway = await startGateway({
    REDIS_URL: locked.url,
    DATABASE_URL: postgres.url,
    KEY_PREFIX: 'locked',
  });
  expect(gateway.stderr).toBe('');
  await gateway.close();
});
