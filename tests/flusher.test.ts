// The flusher over real Redis and Postgres: who owns which shard, what two owners do to each other, rows that the store
// refuses, messages that came twice, a wal at its bound.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { pino } from 'pino';
import type { ErrorCode } from '../core/protocol/codes.ts';
import { encodeMessage } from '../core/protocol/encode.ts';
import { decodeEvent } from '../core/protocol/events.ts';
import type { Level } from '../core/protocol/frames.ts';
import { systemClock as clock, systemRandom as random } from '../gateway/clock.ts';
import { Flusher } from '../gateway/flusher.ts';
import type { Append, Log } from '../gateway/log/log.ts';
import type { Tail } from '../gateway/log/tail.ts';
import { type Store, StoreRefused, StoreUnavailable } from '../gateway/store/store.ts';
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

let postgres: PostgresServer;
let redis: RedisServer;
let names = 0;
beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis({ fsync: 'off' })]);
});
afterAll(async () => {
  await Promise.all([postgres.close(), redis.close()]);
});

const shards = 12;

interface Opened {
  readonly processes: LogProcess[];
  readonly store: Store;
  /** Straight to the database. */
  readonly real: Store;
  makeRoom(): Promise<string>;
  close(): Promise<void>;
}

async function open(
  count: number,
  options: Partial<LogProcessOptions> = {},
  wrap: (store: Store) => Store = (store) => store,
): Promise<Opened> {
  const keyPrefix = `flusher${++names}`;
  const real = await openStore(await postgres.createDatabase(keyPrefix));
  const store = wrap(real);
  const processes: LogProcess[] = [];
  await ageShards(redis, keyPrefix, shards);
  for (let i = 0; i < count; i++) {
    processes.push(await openLogProcess({ url: redis.url, store, keyPrefix, shards, ...options }));
  }
  for (const { log } of processes) {
    log.listen({ onEvents() {}, onRoomFrames() {}, onUserFrames() {}, onControl() {}, onHead() {} });
  }
  let rooms = 0;
  return {
    processes,
    store,
    real,
    async makeRoom() {
      const id = `room-${++rooms}`;
      const room = { id, name: id, type: 'group' as const, public: false, encrypted: false, avatarUrl: null };
      const record = { ...room, metadata: null, retentionDays: null, createdBy: 'ann', createdAt: 1 };
      await store.createRoom(record, [{ user: 'ann', role: 'admin' }]);
      return id;
    },
    async close() {
      for (const one of processes) await one.close();
      await real.close();
    },
  };
}

class Sent implements Append {
  readonly room: string;
  readonly id: Uint8Array;
  readonly from = 'ann';
  readonly level: Level;
  readonly bytes: Uint8Array;
  seq = 0;
  code: ErrorCode | null = null;

  constructor(room: string, text = 'hello', level: Level = 1, id = messageId()) {
    this.room = room;
    this.id = id;
    this.level = level;
    this.bytes = encodeMessage(room, 'ann', id, 'text', text, null);
  }

  settle(seq: number): void {
    this.seq = seq;
  }

  fail(code: ErrorCode): void {
    this.code = code;
  }

  get isSettled(): boolean {
    return this.seq > 0 || this.code !== null;
  }
}

async function send(log: Log, ...messages: Sent[]): Promise<number[]> {
  for (const message of messages) log.append(message);
  await until(() => messages.every(({ isSettled }) => isSettled), 'appends to settle');
  return messages.map(({ seq }) => seq);
}

async function eventsOf(store: Store, room: string) {
  return (await store.page(room, null, 0, 1e6, 1e9)).events.map((bytes) => decodeEvent(bytes));
}

/** All events of the room in the store, once there are so many. */
async function stored(store: Store, room: string, count: number) {
  return await until(
    async () => {
      const events = await eventsOf(store, room);
      return events.length >= count && events;
    },
    `${count} events of ${room} to be stored`,
    30_000,
  );
}

/** Every wal is empty, and its counters say so. */
async function untilEmpty({ keys }: LogProcess): Promise<void> {
  for (const { wal, meta } of keys.shards) {
    const read = `return {redis.call('XLEN', KEYS[1]), redis.call('HMGET', KEYS[2], 'wal_bytes', 'wal_events')}`;
    const look = async () => {
      // At one moment: something may still be appended.
      const [length, counters] = (await redis.ask('EVAL', read, 2, wal, meta)) as [number, (string | null)[]];
      return Number(length) === 0 && counters.map((value) => value ?? '0');
    };
    expect(await until(look, `${wal} to be empty`, 30_000)).toEqual(['0', '0']);
  }
}

function wrapTail(tail: Tail, changes: Partial<Tail>): Tail {
  return {
    shards: tail.shards,
    isOnDisk: tail.isOnDisk,
    meet: (wanted) => tail.meet(wanted),
    release: (shards) => tail.release(shards),
    leave: () => tail.leave(),
    waiting: (shards) => tail.waiting(shards),
    watch: (shard, onWake) => tail.watch(shard, onWake),
    unwatch: (shard) => tail.unwatch(shard),
    read: (shard, eventsMax) => tail.read(shard, eventsMax),
    committed: (batch) => tail.committed(batch),
    park: (room, event, reason) => tail.park(room, event, reason),
    sweep: (shard) => tail.sweep(shard),
    ...changes,
  };
}

const isOfNames = (line: string) => line.includes('SERVER_ID');

/** Owns what others own. */
function greedy(tail: Tail): Tail {
  const all = Array.from({ length: tail.shards }, (_, shard) => shard);
  let isFirst = true;
  return wrapTail(tail, {
    async meet() {
      const leases = {
        processes: 1,
        mine: new Set(isFirst ? [] : all),
        free: isFirst ? all : [],
        namesakes: 0,
      };
      isFirst = false;
      return leases;
    },
    release: async () => {},
  });
}

describe('leases', () => {
  test('are shared fairly, and passed on by those who come and go', async () => {
    const { processes, close, store } = await open(3);
    const owned = () => processes.map(({ flusher }) => flusher.ownedShards);
    await until(() => owned().every((count) => count === shards / 3), 'fair shares');
    const [first] = processes as [LogProcess];
    const owners = (await redis.ask('HVALS', first.keys.leases)) as string[];
    expect([owners.length, new Set(owners).size]).toEqual([shards, 3]);
    expect(processes.flatMap(({ lines }) => lines.filter(isOfNames))).toEqual([]);
    const { keys } = first;
    const keyPrefix = keys.shardCount.split(':')[0]!;
    const fourth = await openLogProcess({ url: redis.url, store, keyPrefix, shards });
    processes.push(fourth);
    await until(() => owned().every((count) => count === shards / 4), 'fair shares of four');
    await processes.pop()!.close();
    await until(() => owned().every((count) => count === shards / 3), 'fair shares of three again');
    await close();
  });

  test('of a process that died pass to others, and what it left is stored', async () => {
    const { processes, makeRoom, close, real } = await open(2);
    const owned = () => processes.map(({ flusher }) => flusher.ownedShards);
    await until(() => owned().every((count) => count === shards / 2), 'fair shares');
    const [survivor, dead] = processes as [LogProcess, LogProcess];
    dead.die();
    const rooms = await Promise.all(Array.from({ length: shards * 2 }, makeRoom));
    await send(survivor.log, ...rooms.map((room) => new Sent(room)));
    await until(() => survivor.flusher.ownedShards === shards, 'all shards to be taken over', 20_000);
    for (const room of rooms) await stored(real, room, 1);
    processes.pop();
    await untilEmpty(survivor);
    await close();
  });
});

describe('two processes of one name', () => {
  test('that live both have their fair share, and both say that it is a mistake', async () => {
    const { processes, close } = await open(2, { server: 'twin' });
    await until(() => processes.every(({ flusher }) => flusher.ownedShards === shards / 2), 'fair shares');
    await until(() => processes.every(({ lines }) => lines.some(isOfNames)), 'both to say so');
    const [{ keys }] = processes as [LogProcess];
    const owners = (await redis.ask('HVALS', keys.leases)) as string[];
    expect([owners.length, new Set(owners).size]).toEqual([shards, 2]);
    await close();
  });

  test('of which one was killed are one: it has all shards with its first word, and says nothing', async () => {
    const { processes, makeRoom, close, real } = await open(2, { server: 'twin', flushes: false });
    const [dead, next] = processes as [LogProcess, LogProcess];
    const all = Array.from({ length: shards }, (_, shard) => shard);
    expect((await dead.tail.meet(all)).mine.size).toBe(shards);
    dead.die();
    const { processes: living, free, namesakes } = await next.tail.meet([]);
    expect([living, free.length, namesakes]).toEqual([1, shards, 0]);
    next.flusher.start();
    const room = await makeRoom();
    await send(next.log, new Sent(room));
    await stored(real, room, 1);
    expect(next.lines.filter(isOfNames)).toEqual([]);
    processes.shift();
    await close();
  });
});

test('a shard that fills every batch leaves the others their turn', async () => {
  const perBatch = 10;
  const commits: string[][] = [];
  const { processes, makeRoom, close, real, store } = await open(1, { flushes: false }, (inner) => ({
    ...inner,
    commit(events) {
      commits.push([...new Set(events.map(({ bytes }) => decodeEvent(bytes).room))]);
      return inner.commit(events);
    },
  }));
  const [{ log, keys, tail }] = processes as [LogProcess];
  const rooms: string[] = [];
  while (new Set(rooms.map((room) => keys.shardOf(room))).size < 2) rooms.push(await makeRoom());
  const [hot, cold] = [rooms[0]!, rooms.at(-1)!].sort((a, b) => keys.shardOf(a) - keys.shardOf(b)) as [
    string,
    string,
  ];
  for (let entry = 0; entry < 5; entry++) {
    await send(log, ...Array.from({ length: perBatch }, () => new Sent(hot)));
  }
  await send(log, new Sent(cold));
  const flusher = new Flusher({
    tail,
    log,
    store,
    clock,
    // Shards are claimed, and so looked at, in their order: the hot one comes first.
    random: { ...random, fraction: () => 0 },
    logger: pino({ level: 'silent' }),
    flushIntervalMs: 1,
    batchEventsMax: perBatch,
    onFlushed: () => {},
    onParked: () => {},
  });
  flusher.start();
  await stored(real, hot, 5 * perBatch);
  await stored(real, cold, 1);
  expect(commits[0]).toEqual([hot]);
  expect(commits[1]).toContain(cold);
  await flusher.stop();
  await close();
});

test('what is on disk and nobody waits for is gathered, until somebody waits', async () => {
  const { processes, makeRoom, close, real, store } = await open(1, { flushes: false });
  const [{ log, tail }] = processes as [LogProcess];
  const [quiet, awaited] = [await makeRoom(), await makeRoom()];
  const delays: number[] = [];
  const flusher = new Flusher({
    tail: wrapTail(tail, { isOnDisk: true }),
    log,
    store,
    // Time stands still for what is gathered: only who waits brings a batch about.
    clock: {
      ...clock,
      after(delayMs, task) {
        delays.push(delayMs);
        return delayMs > 1 ? { stop() {} } : clock.after(delayMs, task);
      },
    },
    random,
    logger: pino({ level: 'silent' }),
    flushIntervalMs: 1,
    batchEventsMax: 100,
    onFlushed: () => {},
    onParked: () => {},
  });
  flusher.start();
  await until(() => flusher.ownedShards === shards && delays.length > 0, 'shards to be claimed');
  await send(log, new Sent(quiet), new Sent(quiet));
  await until(() => delays.includes(5), 'a wake');
  await send(log, new Sent(awaited, 'now', 4));
  await stored(real, quiet, 2);
  await stored(real, awaited, 1);
  await flusher.stop();
  await close();
});

test('a shard that nobody flushes is taken over while its dead owner still counts', async () => {
  const { processes, makeRoom, close, real, store } = await open(2, { flushes: false });
  const [survivor, dead] = processes as [LogProcess, LogProcess];
  const parts = { store, clock, random, logger: pino({ level: 'silent' }), batchEventsMax: 100 };
  const listeners = { onFlushed: () => {}, onParked: () => expect.unreachable('nothing is refused') };
  // He counts for ever, so the fair share stays the half.
  const flushers = processes.map(
    ({ tail, log }) =>
      new Flusher({
        tail: wrapTail(tail, {
          async meet(wanted) {
            const leases = await tail.meet(wanted);
            return { ...leases, processes: Math.max(2, leases.processes) };
          },
        }),
        log,
        flushIntervalMs: 1,
        ...parts,
        ...listeners,
      }),
  );
  for (const flusher of flushers) flusher.start();
  await until(() => flushers.every(({ ownedShards }) => ownedShards === shards / 2), 'fair shares');
  dead.die();
  const rooms = await Promise.all(Array.from({ length: shards * 2 }, makeRoom));
  await send(survivor.log, ...rooms.map((room) => new Sent(room)));
  for (const room of rooms) await stored(real, room, 1);
  await until(() => flushers[0]!.ownedShards === shards, 'all shards to be taken over');
  await untilEmpty(survivor);
  for (const flusher of flushers) await flusher.stop();
  processes.pop();
  await close();
});

test('two owners at once store every event once, in order, and keep the wal’s counters', async () => {
  const { processes, makeRoom, close, real, store } = await open(2, { flushes: false });
  const logger = pino({ level: 'silent' });
  const flushers = processes.map(
    ({ tail, log }, i) =>
      new Flusher({
        tail: greedy(tail),
        log,
        store,
        clock,
        random,
        logger,
        flushIntervalMs: 1,
        batchEventsMax: i === 0 ? 7 : 50,
        onFlushed: () => {},
        onParked: () => expect.unreachable('nothing is refused'),
      }),
  );
  for (const flusher of flushers) flusher.start();
  const rooms = await Promise.all(Array.from({ length: 6 }, makeRoom));
  const sent: Sent[] = [];
  for (let round = 0; round < 40; round++) {
    const batch = processes.flatMap(({ log }) =>
      rooms.map((room) => {
        const message = new Sent(room, `round ${round}`);
        log.append(message);
        return message;
      }),
    );
    sent.push(...batch);
    await until(() => batch.every(({ isSettled }) => isSettled), 'a round');
  }
  for (const room of rooms) {
    const events = await stored(real, room, 80);
    expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: 80 }, (_, i) => i + 1));
    const ids = events.map((event) => ('id' in event ? Buffer.from(event.id).toString('hex') : ''));
    const expected = sent.filter((one) => one.room === room).sort((a, b) => a.seq - b.seq);
    expect(ids).toEqual(expected.map(({ id }) => Buffer.from(id).toString('hex')));
  }
  await untilEmpty(processes[0]!);
  for (const flusher of flushers) await flusher.stop();
  await close();
});

describe('a row that the store refuses', () => {
  test('is parked with its reason, leaves a void row at its seq, and stops nobody', async () => {
    const { processes, makeRoom, close, real } = await open(1, { flushes: false });
    const [{ log, flusher, keys }] = processes as [LogProcess];
    const [room, other] = [await makeRoom(), await makeRoom()];
    const good = Array.from({ length: 9 }, (_, i) => new Sent(i % 2 ? room : other, `good ${i}`));
    // Postgres has no place for U+0000 in a text.
    const bad = new Sent(room, 'bad \0');
    await send(log, ...good.slice(0, 5), bad, ...good.slice(5));
    flusher.start();
    const events = await stored(real, room, 5);
    expect(events.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5]);
    const place = events.find(({ seq }) => seq === bad.seq)!;
    expect(place).toMatchObject({ op: 64, from: 'ann', content: null, meta: { deleted: true } });
    expect(
      events.filter((event) => 'content' in event && String(event.content).startsWith('good')),
    ).toHaveLength(4);
    expect(await stored(real, other, 5)).toHaveLength(5);
    expect(processes[0]!.parked).toBe(1);
    const letters = (await redis.call('XRANGE', keys.shards[keys.shardOf(room)]!.deadLetters, '-', '+')) as [
      Buffer,
      Buffer[],
    ][];
    expect(letters).toHaveLength(1);
    const fields = letters[0]![1];
    expect(decodeEvent(new Uint8Array(fields[1]!))).toMatchObject({ seq: bad.seq, content: 'bad \0' });
    expect(String(fields[5])).toContain('0x00');
    await untilEmpty(processes[0]!);
    // The next ones go on.
    const next = new Sent(room, 'next', 4);
    await send(log, next);
    expect((await eventsOf(real, room)).at(-1)).toMatchObject({ seq: next.seq, content: 'next' });
    await close();
  });

  test('does not stop the shard where the mark after it was lost, and the batch comes again', async () => {
    const { processes, makeRoom, close, real, store } = await open(1, { flushes: false });
    const [{ log, tail, keys }] = processes as [LogProcess];
    const room = await makeRoom();
    const bad = new Sent(room, 'bad \0');
    await send(log, new Sent(room), bad, new Sent(room));
    const lossy = loseMarks(tail, 2);
    const flusher = startFlusher(lossy, log, store);
    await until(() => lossy.lost() === 0, 'the marks to be lost');
    await untilEmpty(processes[0]!);
    const events = await eventsOf(real, room);
    expect(events.map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect(events[1]).toMatchObject({ content: null });
    const length = await redis.ask('XLEN', keys.shards[keys.shardOf(room)]!.deadLetters);
    expect(Number(length)).toBeGreaterThan(0);
    await flusher.stop();
    await close();
  });

  test('that is refused for a time only waits, and is stored then', async () => {
    let isAway = true;
    const { processes, makeRoom, close, real } = await open(1, {}, (store) => ({
      ...store,
      commit: (events) => (isAway ? Promise.reject(new StoreUnavailable('away')) : store.commit(events)),
    }));
    const [{ log, flusher }] = processes as [LogProcess];
    const room = await makeRoom();
    await send(log, ...Array.from({ length: 20 }, () => new Sent(room)));
    await until(() => flusher.fault() !== null, 'the fault to be told');
    expect(await eventsOf(real, room)).toEqual([]);
    isAway = false;
    expect(await stored(real, room, 20)).toHaveLength(20);
    await until(() => flusher.fault() === null, 'the fault to end');
    expect(processes[0]!.parked).toBe(0);
    await close();
  });

  test('whose void row is refused as well is parked, and the rest goes on', async () => {
    const { processes, makeRoom, close, real } = await open(1, {}, (store) => ({
      ...store,
      commit: (events) =>
        events.some(({ bytes }) => decodeEvent(bytes).seq === 2)
          ? Promise.reject(new StoreRefused('never'))
          : store.commit(events),
    }));
    const room = await makeRoom();
    const [{ log }] = processes as [LogProcess];
    await send(log, ...Array.from({ length: 5 }, () => new Sent(room)));
    await untilEmpty(processes[0]!);
    expect((await eventsOf(real, room)).map(({ seq }) => seq)).toEqual([1, 3, 4, 5]);
    await close();
  });
});

/** Loses what follows on the first commits, as a process does that dies between the two. */
function loseMarks(tail: Tail, count: number): Tail & { lost(): number } {
  let left = count;
  const lossy = wrapTail(tail, {
    committed(batch) {
      if (left === 0) return tail.committed(batch);
      left--;
      return Promise.reject(new Error('lost'));
    },
  });
  return { ...lossy, lost: () => left };
}

function startFlusher(tail: Tail, log: Log, store: Store): Flusher {
  const flusher = new Flusher({
    tail,
    log,
    store,
    clock,
    random,
    logger: pino({ level: 'silent' }),
    flushIntervalMs: 1,
    batchEventsMax: 1000,
    onFlushed: () => {},
    onParked: () => {},
  });
  flusher.start();
  return flusher;
}

describe('a message that is in the log twice', () => {
  async function forgetIds({ keys }: LogProcess): Promise<void> {
    const all = (await redis.ask('KEYS', `${keys.shardCount.split(':')[0]}:*:ids:*`)) as string[];
    await redis.call('UNLINK', ...all);
  }

  test('is stored once; the second place is a deleted message, and everybody is told', async () => {
    const { processes, makeRoom, close, real } = await open(1);
    const [process] = processes as [LogProcess];
    const room = await makeRoom();
    const first = new Sent(room, 'once', 4);
    await send(process.log, first, new Sent(room, 'between', 4));
    await forgetIds(process);
    const double = new Sent(room, 'once', 1, first.id);
    await send(process.log, double, new Sent(room, 'after'));
    expect(double.seq).toBe(3);
    const events = await stored(real, room, 5);
    expect(events.map(({ seq, op }) => [seq, op])).toEqual([
      [1, 64],
      [2, 64],
      [3, 64],
      [4, 64],
      [5, 66],
    ]);
    expect(events[2]).toMatchObject({ content: null, meta: { deleted: true } });
    expect(events[4]).toMatchObject({ target: 3, from: null });
    const texts = events.map((event) => ('content' in event ? event.content : null));
    expect(texts).toEqual(['once', 'between', null, 'after', null]);
    await close();
  });

  test('and both in one batch', async () => {
    const { processes, makeRoom, close, real } = await open(1, { flushes: false });
    const [process] = processes as [LogProcess];
    const room = await makeRoom();
    const first = new Sent(room, 'once');
    await send(process.log, first);
    await forgetIds(process);
    await send(process.log, new Sent(room, 'once', 1, first.id));
    process.flusher.start();
    const events = await stored(real, room, 3);
    expect(events.map(({ seq, op }) => [seq, op])).toEqual([
      [1, 64],
      [2, 64],
      [3, 66],
    ]);
    expect(events[1]).toMatchObject({ content: null });
    await untilEmpty(process);
    await close();
  });

  test('does not stop the shard where the mark after it was lost, and the batch comes again', async () => {
    const { processes, makeRoom, close, real, store } = await open(1, { flushes: false });
    const [process] = processes as [LogProcess];
    const room = await makeRoom();
    const first = new Sent(room, 'once');
    await send(process.log, first);
    await forgetIds(process);
    await send(process.log, new Sent(room, 'once', 1, first.id));
    const lossy = loseMarks(process.tail, 2);
    const flusher = startFlusher(lossy, process.log, store);
    await until(() => lossy.lost() === 0, 'the marks to be lost');
    await untilEmpty(process);
    const events = await eventsOf(real, room);
    expect(events.filter(({ op }) => op === 64).map(({ seq }) => seq)).toEqual([1, 2]);
    expect(events.filter((event) => 'content' in event && event.content === 'once')).toHaveLength(1);
    // At least one tells of it; the store takes a delete only once.
    expect(events.some((event) => event.op === 66 && event.target === 2)).toBe(true);
    await flusher.stop();
    await close();
  });
});

test('a wal at its bound refuses appends until the store has some of it', async () => {
  const { processes, makeRoom, close, real } = await open(1, {
    flushes: false,
    options: { walBytesMax: 20_000 },
  });
  const [{ log, flusher, keys }] = processes as [LogProcess];
  const room = await makeRoom();
  const taken: Sent[] = [];
  for (;;) {
    const message = new Sent(room, 'x'.repeat(500));
    await send(log, message);
    if (message.code !== null) {
      expect(message.code).toBe('UNAVAILABLE');
      break;
    }
    taken.push(message);
    expect(taken.length).toBeLessThan(60);
  }
  expect(taken.length).toBeGreaterThan(30);
  const { meta } = keys.shards[keys.shardOf(room)]!;
  expect(Number(await redis.ask('HGET', meta, 'wal_bytes'))).toBeGreaterThan(20_000);
  flusher.start();
  await until(async () => {
    const message = new Sent(room, 'again');
    await send(log, message);
    if (message.code === null) taken.push(message);
    return message.code === null;
  }, 'appends to go on');
  const events = await stored(real, room, taken.length);
  expect(events.map(({ seq }) => seq)).toEqual(taken.map((_, i) => i + 1));
  await close();
});
