// A Redis that has reached maxmemory, under noeviction: it takes no write that needs memory, and what makes room is the
// flusher. It recovers by itself once Postgres is back, whatever fills it, and whoever was started meanwhile.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { encodeMessage } from '../core/protocol/encode.ts';
import { decodeEvent } from '../core/protocol/events.ts';
import type { Level } from '../core/protocol/frames.ts';
import { type Store, StoreUnavailable } from '../gateway/store/store.ts';
import { messageId } from './people.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';
import { type RedisServer, startRedis } from './redis.ts';
import {
  ageShards,
  type LogProcess,
  type LogProcessOptions,
  openLogProcess,
  openStore,
} from './redis-log.ts';
import { until } from './socket.ts';

setDefaultTimeout(90_000);

let postgres: PostgresServer;
let redis: RedisServer;
let names = 0;

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis({ fsync: 'off' })]);
});

afterAll(async () => {
  await Promise.all([postgres.close(), redis.close()]);
});

const shards = 4;
/** The events that wait are some megabytes: after a part of them is committed there is room again. */
const missingBytes = 1e6;

interface Opened {
  readonly store: Store;
  readonly process: LogProcess;
  another(): Promise<LogProcess>;
  close(): Promise<void>;
}

async function open(options: Partial<LogProcessOptions> = {}): Promise<Opened> {
  await redis.ask('CONFIG', 'SET', 'maxmemory', 0);
  await redis.ask('FLUSHALL');
  const keyPrefix = `full${++names}`;
  const store = await openStore(await postgres.createDatabase(keyPrefix));
  const record = { type: 'group' as const, public: false, encrypted: false, avatarUrl: null, metadata: null };
  for (const id of rooms) {
    const room = { ...record, id, name: id, retentionDays: null, createdBy: 'ann', createdAt: 1 };
    await store.createRoom(room, [{ user: 'ann', role: 'admin' }]);
  }
  await ageShards(redis, keyPrefix, shards);
  const processes: LogProcess[] = [];
  async function another(): Promise<LogProcess> {
    const process = await openLogProcess({ url: redis.url, store, keyPrefix, shards, ...options });
    process.log.listen({ onEvents() {}, onRoomFrames() {}, onUserFrames() {}, onControl() {}, onHead() {} });
    processes.push(process);
    return process;
  }
  const process = await another();
  // With Postgres away no room can be given a head.
  for (const room of rooms) await process.log.open(room);
  await until(() => process.flusher.ownedShards === shards, 'the shards to be owned');
  return {
    store,
    process,
    another,
    async close() {
      for (const process of processes) await process.close();
      await store.close();
    },
  };
}

/** What rooms keep is not trimmed. */
const onlyWal = { options: { recentBytes: 1e7 } };
const rooms = ['a', 'b', 'c', 'd', 'e', 'f'];

interface Sent {
  readonly room: string;
  /** 0 where it was refused. */
  readonly seq: number;
}

function send({ log }: LogProcess, room: string, text: string, level: Level = 1): Promise<Sent> {
  const id = messageId();
  const bytes = encodeMessage(room, 'ann', id, 'text', text, null);
  return new Promise((resolve) =>
    log.append({
      room,
      id,
      from: 'ann',
      level,
      bytes,
      settle: (seq) => resolve({ room, seq }),
      fail: () => resolve({ room, seq: 0 }),
    }),
  );
}

const isFullError = (error: unknown) => String(error).includes('OOM');

/** So that nothing more goes in, and some of it has to go first. */
async function makeFull(bytes: number): Promise<void> {
  // Again where what was dropped before is given back only now, by another thread of Redis.
  await until(async () => {
    const used = Number(/^used_memory:(\d+)/m.exec(String(await redis.ask('INFO', 'memory')))![1]);
    await redis.ask('CONFIG', 'SET', 'maxmemory', used - bytes);
    return (await redis.ask('SET', 'one', 'more').catch(isFullError)) === true;
  }, 'Redis to be full');
}

/** What was dropped is given back, too. */
async function untilRoom(): Promise<void> {
  await until(
    async () => (await redis.ask('SET', 'one', 'more').catch(isFullError)) === 'OK',
    'there is room',
  );
}

async function sendMany(process: LogProcess, perRoom: number, text: string): Promise<readonly Sent[]> {
  return Promise.all(
    rooms.flatMap((room) => Array.from({ length: perRoom }, () => send(process, room, text))),
  );
}

/** What waits for Postgres fills Redis, and sends are refused. */
async function fill(process: LogProcess): Promise<readonly Sent[]> {
  await postgres.stop();
  const taken = await sendMany(process, 200, 'x'.repeat(3000));
  expect(taken.every(({ seq }) => seq > 0)).toBe(true);
  await makeFull(missingBytes);
  expect((await send(process, 'a', 'too much')).seq).toBe(0);
  return taken;
}

/** None while Postgres does not answer yet. */
async function seqsOf(store: Store, room: string): Promise<number[]> {
  try {
    return (await store.page(room, null, 0, 1e6, 1e9)).events.map((bytes) => decodeEvent(bytes).seq);
  } catch (error) {
    if (error instanceof StoreUnavailable) return [];
    throw error;
  }
}

/** All of it is stored under its numbers, and sends are taken again. */
async function expectRecovered(
  { store }: Opened,
  process: LogProcess,
  taken: readonly Sent[],
): Promise<void> {
  for (const room of rooms) {
    const seqs = taken.filter((sent) => sent.room === room).map(({ seq }) => seq);
    const last = Math.max(...seqs);
    await until(async () => ((await seqsOf(store, room)).at(-1) ?? 0) >= last, 'all to be stored', 30_000);
    expect((await seqsOf(store, room)).filter((seq) => seq <= last)).toEqual(seqs.sort((a, b) => a - b));
    // The log lets go of it after the store has it.
    const next = await until(
      async () => (await send(process, room, 'goes on', 4)).seq || null,
      'sends are taken',
    );
    expect(next).toBeGreaterThan(last);
  }
}

test.each([
  ['the wal alone is trimmed', onlyWal],
  ['what rooms keep is trimmed as well', {}],
])(
  'that is full of events while Postgres is away takes sends again once it is back: %s',
  async (_, options) => {
    const opened = await open(options);
    const { process } = opened;
    expect((await send(process, 'a', 'first', 4)).seq).toBe(1);
    const taken = [{ room: 'a', seq: 1 }, ...(await fill(process))];
    // A full Redis costs nobody his shards.
    expect((await process.tail.meet([])).mine.size).toBe(shards);
    await postgres.start();
    await expectRecovered(opened, process, taken);
    await untilRoom();
    await opened.close();
  },
);

test('is emptied by a process that was started when it was full, the one before having died', async () => {
  const opened = await open(onlyWal);
  const { process, another, close } = opened;
  const taken = await fill(process);
  process.die();
  // Scripts that it loaded are gone as well: the next one has to load them.
  await redis.ask('SCRIPT', 'FLUSH');
  const next = await another();
  await postgres.start();
  await expectRecovered(opened, next, taken);
  await close();
});

test('with events that the store refuses in front of each shard is emptied all the same', async () => {
  const opened = await open(onlyWal);
  const { process } = opened;
  await postgres.stop();
  // Postgres has no place for U+0000 in a text.
  const bad = await sendMany(process, 1, 'bad \0');
  const taken = [...bad, ...(await fill(process))];
  await postgres.start();
  await expectRecovered(opened, process, taken);
  expect(process.parked).toBeGreaterThanOrEqual(bad.length);
  await opened.close();
});

test('that is full of message ids, with all committed, has room when they are old', async () => {
  const opened = await open({ options: { dedupeSeconds: 1 } });
  const { process } = opened;
  const taken = await sendMany(process, 1000, '');
  await until(async () => (await process.tail.waiting([0, 1, 2, 3])).length === 0, 'all to be committed');
  // No append, and so no commit: only the sweep is left.
  await makeFull(1e5);
  await until(async () => {
    for (let shard = 0; shard < shards; shard++) await process.tail.sweep(shard);
    return ((await redis.ask('KEYS', `full${names}:*:ids:*`)) as string[]).length === 0;
  }, 'sweeps to forget all ids');
  await untilRoom();
  await expectRecovered(opened, process, taken);
  await opened.close();
});
