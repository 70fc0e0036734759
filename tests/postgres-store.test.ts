// The store on Postgres: the suite of every store, and what is true of Postgres alone: starting, faults, two owners at
// once. What its queries cost is in postgres-plans.test.ts.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createServer, type Socket } from 'node:net';
import { pino } from 'pino';
import { encodeMessage } from '../core/protocol/encode.ts';
import { readSeq, stamp } from '../core/protocol/stamp.ts';
import { migratePostgresAt, openPostgresStore } from '../gateway/store/postgres.ts';
import {
  type Store,
  type StoredEvent,
  StoreRefused,
  StoreStartError,
  StoreUnavailable,
} from '../gateway/store/store.ts';
import { freePort } from '../scripts/free-port.mjs';
import { storeConformance } from './conformance/store.ts';
import { fresh, freshId, hexes, newRoom, noLimit, startTs, Writer } from './conformance/store-writer.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';
import { until } from './socket.ts';

const logger = pino({ level: 'silent' });
/** Long enough for a machine with much else to do. */
const parts = {
  poolMax: 4,
  idleMs: 30_000,
  connectMs: 10_000,
  statementMs: 10_000,
  exclusive: false,
  logger,
};
/** Where it is the subject how long a server may say nothing. */
const connectMs = 1000;
/** What such a machine adds at most; without a bound of ours it would be half a minute, or for ever. */
const slackMs = 5000;

type Options = Parameters<typeof openPostgresStore>[0];
const open = (url: string, changes: Partial<Options> = {}): Promise<Store> =>
  openPostgresStore({ url, ...parts, ...changes });

async function failure(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    () => null,
    (error: unknown) => error as Error,
  );
  expect(outcome).toBeInstanceOf(Error);
  return outcome!;
}

/** The error of an open that must be refused with one line, soon. */
async function refusal(promise: Promise<unknown>): Promise<string> {
  const started = performance.now();
  const error = await failure(promise);
  expect(error).toBeInstanceOf(StoreStartError);
  expect(error.message).not.toContain('\n');
  expect(performance.now() - started).toBeLessThan(connectMs + slackMs);
  return error.message;
}

/** Tries again until it answers; StoreUnavailable alone may come before. */
async function untilAvailable<T>(call: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || performance.now() > deadline) throw error;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }
}

function message(room: string, seq: number, text = 'hello', id = freshId()): StoredEvent {
  const bytes = encodeMessage(room, 'ann', id, 'text', text, null);
  stamp(bytes, 0, seq, startTs + seq);
  return { bytes, number: seq };
}

const batchOf = (room: string, first: number, count: number) =>
  Array.from({ length: count }, (_, i) => message(room, first + i));

const pageOf = (store: Store, room: string) => store.page(room, null, null, 100_000, noLimit);
const seqsOf = async (store: Store, room: string) =>
  (await pageOf(store, room)).events.map((bytes) => readSeq(bytes));
const upTo = (last: number) => Array.from({ length: last }, (_, i) => i + 1);

/** Tests that do not break their server share one. */
describe('a server for many tests:', () => {
  let server: PostgresServer;
  let databases = 0;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(async () => {
    await server.close();
  });
  const freshUrl = () => server.createDatabase(`db${++databases}`);

  storeConformance('postgres', async () => {
    const store = await open(await freshUrl());
    return { store, close: () => store.close() };
  });

  describe('starting', () => {
    test('many processes at once make one schema', async () => {
      const url = await freshUrl();
      const outcomes = await Promise.all([1, 2, 3, 4, 5, 6].map(() => migratePostgresAt({ url, ...parts })));
      const { to } = outcomes[0]!;
      expect(outcomes.map((one) => one.to)).toEqual(outcomes.map(() => to));
      expect(await server.psql('SELECT array_agg(version ORDER BY version) FROM schema_versions', url)).toBe(
        `{${upTo(to).join(',')}}`,
      );
      expect(await migratePostgresAt({ url, ...parts })).toEqual({ from: to, to });
    });

    test('a newer schema is refused, and left as it is', async () => {
      const url = await freshUrl();
      await (await open(url)).close();
      await server.psql('INSERT INTO schema_versions (version) VALUES (99)', url);
      expect(await refusal(open(url))).toMatch(/has schema 99, this program knows \d+: use a newer Parley/);
    });

    test('a migration that fails leaves nothing behind, and is one line', async () => {
      const url = await freshUrl();
      await server.psql('CREATE TABLE reactions (x int)', url);
      expect(await refusal(open(url))).toContain(
        'schema 1 cannot be made: relation "reactions" already exists',
      );
      expect(await server.psql("SELECT to_regclass('users'), to_regclass('schema_versions')", url)).toBe('|');
    });

    test('a DATABASE_URL that leads nowhere is refused with one line that has no password', async () => {
      const { port } = server;
      await server.psql("CREATE ROLE locked LOGIN PASSWORD 'right'");
      const closed = await freePort();
      const lines = [
        await refusal(open(`postgres://me:secret@127.0.0.1:${closed}/parley`, { connectMs })),
        await refusal(open(`postgres://postgres:secret@127.0.0.1:${port}/nowhere`)),
        await refusal(open(`postgres://nobody:secret@127.0.0.1:${port}/parley`)),
        await refusal(open('postgres://me:secret@host.invalid/parley', { connectMs })),
        await refusal(open('postgres://[secret')),
      ];
      expect(lines[1]).toContain('database "nowhere" does not exist');
      expect(lines[2]).toContain('role "nobody" does not exist');
      for (const line of lines) {
        expect(line).toStartWith('DATABASE_URL: ');
        expect(line).not.toContain('secret');
      }
    });

    test.each(['says nothing', 'hangs up'])('a server that %s is given up in time', async (kind) => {
      const sockets = new Set<Socket>();
      const silent = createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => {});
        if (kind === 'hangs up') socket.destroy();
      });
      const port = await freePort();
      await new Promise<void>((resolve) => silent.listen(port, '127.0.0.1', resolve));
      await refusal(open(`postgres://me:secret@127.0.0.1:${port}/parley`, { connectMs }));
      for (const socket of sockets) socket.destroy();
      silent.close();
    });

    test('a database that is not in UTF-8 is refused', async () => {
      await server.psql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'");
      expect(await refusal(open(server.url.replace(/parley$/, 'latin')))).toContain('UTF8');
    });
  });

  describe('a batch', () => {
    let store: Store;
    beforeAll(async () => {
      store = await open(await freshUrl());
    });
    afterAll(() => store.close());

    test('names a message whose id an earlier one of the batch has, and stores nothing', async () => {
      const room = fresh('room');
      const id = freshId();
      const batch = [message(room, 1, 'one', id), message(room, 2), message(room, 3, 'again', id)];
      expect(await store.commit(batch)).toEqual([{ index: 2, seq: 1, ts: startTs + 1, from: 'ann' }]);
      expect(await seqsOf(store, room)).toEqual([]);
      await store.commit([message(room, 1, 'one', id)]);
      expect(await store.commit([message(room, 7, 'x', id), message(room, 8, 'y', id)])).toEqual([
        { index: 0, seq: 1, ts: startTs + 1, from: 'ann' },
        { index: 1, seq: 1, ts: startTs + 1, from: 'ann' },
      ]);
    });

    test('with a message at the seq of another one is refused', async () => {
      const room = fresh('room');
      await store.commit([message(room, 1), message(room, 2)]);
      expect(await failure(store.commit([message(room, 2), message(room, 3)]))).toBeInstanceOf(StoreRefused);
      expect(await seqsOf(store, room)).toEqual([1, 2]);
    });

    test('with a row that the database cannot hold is refused, and the store goes on', async () => {
      const room = fresh('room');
      const bad = [message(room, 1), message(room, 2, 'nul \0 in it'), message(room, 3)];
      expect(await failure(store.commit(bad))).toBeInstanceOf(StoreRefused);
      expect(
        await failure(store.commit([{ bytes: new Uint8Array([0x93, 1, 2, 3]), number: 1 }])),
      ).toBeInstanceOf(StoreRefused);
      expect(await store.commit([bad[0]!, bad[2]!])).toEqual([]);
      expect(await seqsOf(store, room)).toEqual([1, 3]);
    });

    test('with a message of a megabyte of different words is stored', async () => {
      const room = fresh('room');
      const text = Array.from({ length: 150_000 }, (_, i) => `w${i}`).join(' ');
      const event = message(room, 1, text);
      await store.commit([event]);
      expect(hexes(await pageOf(store, room))).toEqual(hexes({ events: [event.bytes], more: false }));
    });

    test('keeps what meta can hold as jsonb, too', async () => {
      const writer = new Writer(fresh('room'));
      const meta = {
        'a"b\\c': "q'{},NULL",
        n: [1e308, -0.5, 2 ** 53 - 1, null, true],
        deep: { er: { est: {} } },
        '': '',
      };
      const event = writer.message('x', { meta });
      await store.commit([event]);
      expect(hexes(await pageOf(store, writer.room))).toEqual(hexes({ events: [event.bytes], more: false }));
    });

    test('of many committers with the same and overlapping events is stored once', async () => {
      const stores = await Promise.all([1, 2, 3].map(async () => open(await url())));
      const rooms = [fresh('room'), fresh('room'), fresh('room')];
      const writers = rooms.map((room) => new Writer(room));
      for (const room of rooms) await stores[0]!.createRoom(newRoom(room), [{ user: 'ann', role: 'admin' }]);
      const events: StoredEvent[] = [];
      for (let i = 0; i < 400; i++) {
        const writer = writers[i % 3]!;
        const target = 1 + ((i * 7) % Math.max(1, writer.seq));
        const kinds = [
          () => writer.message(`m${i}`),
          () => writer.edit(target, `e${i}`),
          () => writer.react(target, '+', i % 2 === 0),
          () => (i % 8 === 3 ? writer.remove(target) : writer.message(`n${i}`)),
          () => writer.join(`user-${i % 5}`),
          () => writer.leave(`user-${i % 5}`),
          () =>
            writer.update({ name: `name ${i}`, member: { user: 'ann', role: 'admin', muted: i % 2 === 0 } }),
        ];
        events.push(kinds[(i * 5) % kinds.length]!());
      }
      // Each reads from the start, in batches of its own size, as two owners of a shard do.
      await Promise.all(
        stores.map(async (store, n) => {
          const size = 40 + n * 17;
          for (let at = 0; at < events.length; at += size) {
            const batch = events.slice(at, at + size);
            // Rooms in another order.
            const turned =
              n === 1 ? batch.toReversed().sort((a, b) => readSeq(a.bytes) - readSeq(b.bytes)) : batch;
            expect(await store.commit(turned)).toEqual([]);
          }
        }),
      );
      const plain = await open(await freshUrl());
      for (const room of rooms) await plain.createRoom(newRoom(room), [{ user: 'ann', role: 'admin' }]);
      for (const event of events) await plain.commit([event]);
      for (const room of rooms) {
        expect(hexes(await pageOf(stores[0]!, room))).toEqual(hexes(await pageOf(plain, room)));
        expect(await stores[0]!.members(room, null, 10)).toEqual(await plain.members(room, null, 10));
        expect(await stores[0]!.room(room)).toEqual(await plain.room(room));
      }
      for (const one of [...stores, plain]) await one.close();
    });

    let shared: Promise<string> | undefined;
    function url(): Promise<string> {
      shared ??= freshUrl();
      return shared;
    }

    test('and marks, last rooms and sockets of the same people at once do not deadlock', async () => {
      const store = await open(await freshUrl(), { poolMax: 8 });
      const users = Array.from({ length: 30 }, (_, i) => `user-${i}`);
      const writer = new Writer(fresh('room'));
      const { room } = writer;
      for (const user of users) await store.ensureUser(user, {}, startTs);
      await store.createRoom(
        newRoom(room),
        users.map((user) => ({ user, role: 'member' as const })),
      );
      const work: Promise<unknown>[] = [];
      for (let i = 1; i <= 40; i++) {
        const order = i % 2 === 0 ? users : users.toReversed();
        work.push(
          store.saveMarks(order.map((user) => ({ room, user, delivered: i, read: i, at: startTs + i }))),
          store.touchUsers(order.map((user) => ({ user, lastSeen: startTs + i, room }))),
          store.saveSockets(
            order.map((user) => {
              const times = { connectedAt: startTs, heartbeatAt: startTs + i };
              return { socket: user, user, server: 'a', ...times, gone: false };
            }),
          ),
          store.commit(order.slice(0, 5).flatMap((user) => [writer.leave(user), writer.join(user)])),
        );
      }
      await Promise.all(work);
      expect((await store.marks(room, users)).get('user-3')).toEqual([40, 40]);
      await store.close();
    });
  });

  const lockHolder = `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
  const lockKey = `${0x50524c59}, hashtext(current_schema())`;

  /** Takes the lock from whoever has it, runs `sql` and holds it for a second more; settles when it is free again. */
  async function takeOver(url: string, sql: string): Promise<void> {
    const taken = server.psql(`SELECT pg_advisory_lock(${lockKey}); ${sql}; SELECT pg_sleep(1)`, url);
    // It waits in the queue, and so has the lock the moment it is free, before the one that lost it tries again.
    const waiting = `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
    await until(async () => (await server.psql(waiting, url)) === '1', 'it waits for the lock');
    await server.psql(lockHolder, url);
    await taken;
  }

  describe('processes that share a database', () => {
    test('are refused where one is alone on it, and that one where they are', async () => {
      const url = await freshUrl();
      const alone = await open(url, { exclusive: true });
      expect(await refusal(open(url))).toContain('has no REDIS_URL');
      await alone.close();
      const [first, second] = await Promise.all([open(url), open(url)]);
      expect(await refusal(open(url, { exclusive: true }))).toContain('in use by another Parley process');
      await first.close();
      expect(await refusal(open(url, { exclusive: true }))).toContain('in use by another Parley process');
      await second.close();
      await (await open(url, { exclusive: true })).close();
    });

    test('go on when the connection with the lock was lost', async () => {
      const url = await freshUrl();
      const stores = await Promise.all([open(url), open(url)]);
      await server.psql(lockHolder, url);
      for (const store of stores) await failure(untilFails(() => store.check()));
      await untilAvailable(() => stores[0].commit([message('room', 1)]));
      await untilAvailable(() => stores[1].commit([message('room', 2)]));
      expect(await refusal(open(url, { exclusive: true }))).toContain('in use');
      for (const store of stores) await store.close();
    });

    test('that come back to a database another one has had alone meanwhile stay out', async () => {
      const url = await freshUrl();
      const store = await open(url);
      const taken = takeOver(url, "INSERT INTO exclusive_holder (holder) VALUES ('another')");
      await failure(untilFails(() => store.check()));
      await taken;
      const error = await failure(untilSays(store, 'taken the database over'));
      expect(error).toBeInstanceOf(StoreUnavailable);
      await store.close();
    });
  });

  describe('the only process on a database', () => {
    test('refuses a second one at once, until it is closed', async () => {
      const url = await freshUrl();
      const store = await open(url, { exclusive: true });
      expect(await refusal(open(url, { exclusive: true }))).toContain('in use by another Parley process');
      await store.commit([message('room', 1)]);
      await store.close();
      const next = await open(url, { exclusive: true });
      expect(await seqsOf(next, 'room')).toEqual([1]);
      await next.close();
    });

    test('that loses its lock answers nothing until it has it again', async () => {
      const url = await freshUrl();
      const store = await open(url, { exclusive: true });
      await store.commit([message('room', 1)]);
      await server.psql(lockHolder, url);
      const error = await failure(untilFails(() => store.room('room')));
      expect(error).toBeInstanceOf(StoreUnavailable);
      await untilAvailable(() => store.commit([message('room', 2)]));
      expect(await seqsOf(store, 'room')).toEqual([1, 2]);
      expect(await refusal(open(url, { exclusive: true }))).toContain('in use');
      await store.close();
    });

    test('that comes back to a database another one has taken over stays out', async () => {
      const url = await freshUrl();
      const store = await open(url, { exclusive: true });
      const taken = takeOver(url, "UPDATE exclusive_holder SET holder = 'another'");
      await failure(untilFails(() => store.check()));
      await taken;
      const error = await failure(untilSays(store, 'taken the database over'));
      expect(error).toBeInstanceOf(StoreUnavailable);
      await store.close();
    });
  });
});

async function untilFails(call: () => Promise<unknown>): Promise<never> {
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline) {
    await call();
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  throw new Error('it never failed');
}

async function untilSays(store: Store, words: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    try {
      await store.check();
    } catch (error) {
      if ((error as Error).message.includes(words)) throw error;
    }
    if (performance.now() > deadline) throw new Error(`it never said: ${words}`);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

describe('a server of its own, with fsync:', () => {
  const statementMs = 2000;
  let server: PostgresServer;
  let store: Store;
  /** Gives up soon. The schema has its time. */
  const openHasty = async (url: string, changes: Partial<Options> = {}) => {
    await (await open(url)).close();
    return open(url, { connectMs, statementMs, ...changes });
  };
  beforeAll(async () => {
    server = await startPostgres({ isDurable: true });
    store = await openHasty(server.url);
  });
  afterAll(async () => {
    await store.close();
    await server.close();
  });

  test('killed under commits nothing acknowledged is lost or doubled, and the store comes back by itself', async () => {
    const room = fresh('room');
    const kept = new Map<number, number>();
    let isKilling = true;
    const commits = Promise.all(
      [0, 1, 2].map(async (n) => {
        const own = `${room}-${n}`;
        for (let seq = 1; isKilling || seq < 200; seq += 20) {
          const batch = batchOf(own, seq, 20);
          await untilAvailable(() => store.commit(batch));
          kept.set(n, seq + 19);
        }
      }),
    );
    for (let i = 0; i < 3; i++) {
      const before = kept.get(0) ?? 0;
      await untilAvailable(async () => {
        if ((kept.get(0) ?? 0) < before + 60) throw new StoreUnavailable('not yet');
      });
      await server.kill();
      const started = performance.now();
      expect(await failure(store.check())).toBeInstanceOf(StoreUnavailable);
      expect(performance.now() - started).toBeLessThan(connectMs + slackMs);
      await server.start();
    }
    isKilling = false;
    await commits;
    for (const n of [0, 1, 2]) expect(await seqsOf(store, `${room}-${n}`)).toEqual(upTo(kept.get(n)!));
  }, 60_000);

  test('frozen it is given up after the time of a statement, and used again when it wakes', async () => {
    const room = fresh('room');
    await store.commit(batchOf(room, 1, 5));
    server.signal('SIGSTOP');
    const started = performance.now();
    // So many that the bound is passed by far if each waits for one before it.
    const calls = await Promise.allSettled([...Array(40)].map(() => store.room(room)));
    const tookMs = performance.now() - started;
    server.signal('SIGCONT');
    for (const call of calls) {
      expect(call.status === 'rejected' && call.reason).toBeInstanceOf(StoreUnavailable);
    }
    expect(tookMs).toBeLessThan(connectMs + statementMs + slackMs);
    expect(await untilAvailable(() => seqsOf(store, room))).toEqual(upTo(5));
  }, 30_000);

  test('a statement that takes too long is ended by the server', async () => {
    const room = fresh('room');
    await store.createRoom(newRoom(room), [{ user: 'ann', role: 'admin' }]);
    const blocker = server.psql(
      `BEGIN; SELECT FROM rooms WHERE id = '${room}' FOR UPDATE; SELECT pg_sleep(60); COMMIT`,
    );
    const ended = failure(blocker);
    const sleeping = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    await until(async () => (await server.psql(`SELECT count(*) ${sleeping}`)) === '1', 'the room is locked');
    expect(await failure(store.reserveEpoch(room, 'log'))).toBeInstanceOf(StoreUnavailable);
    await server.psql(`SELECT pg_terminate_backend(pid) ${sleeping}`);
    await ended;
    expect(await store.reserveEpoch(room, 'log')).toMatchObject({ epoch: 1 });
  }, 30_000);

  test('frozen or killed, the only process on it commits again once it holds the lock again', async () => {
    const url = await server.createDatabase('alone');
    const only = await openHasty(url, { exclusive: true });
    await only.commit(batchOf('room', 1, 2));
    server.signal('SIGSTOP');
    expect(await failure(only.commit(batchOf('room', 3, 2)))).toBeInstanceOf(StoreUnavailable);
    expect(await failure(only.commit(batchOf('room', 3, 2)))).toBeInstanceOf(StoreUnavailable);
    server.signal('SIGCONT');
    await untilAvailable(() => only.check());
    const [head] = await only.heads(['room']);
    await only.commit(batchOf('room', head!.seq + 1, 1));
    await server.kill();
    expect(await failure(only.commit(batchOf('room', head!.seq + 2, 1)))).toBeInstanceOf(StoreUnavailable);
    await server.start();
    await untilAvailable(() => only.commit(batchOf('room', head!.seq + 2, 1)));
    expect(await seqsOf(only, 'room')).toEqual(upTo(head!.seq + 2));
    await only.close();
  }, 30_000);

  test('restarted in good order it is used again by the next call', async () => {
    await store.check();
    await server.stop();
    expect(await failure(store.check())).toBeInstanceOf(StoreUnavailable);
    await server.start();
    await untilAvailable(() => store.check());
  }, 30_000);
});
