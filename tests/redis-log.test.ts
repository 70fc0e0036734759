// The log in Redis: the suite of every log, over one process, two, and a cluster of Redis servers; and what is true of
// this log alone: an append may be repeated, losses are told, a slot may move.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { ErrorCode } from '../core/protocol/codes.ts';
import { encodeMessage, encodeTyping } from '../core/protocol/encode.ts';
import { decodeEvent } from '../core/protocol/events.ts';
import type { Level } from '../core/protocol/frames.ts';
import { readSeq } from '../core/protocol/stamp.ts';
import type { Append, Log } from '../gateway/log/log.ts';
import type { RedisKeys } from '../gateway/log/redis-keys.ts';
import type { Store } from '../gateway/store/store.ts';
import { logConformance, type OpenedLogs } from './conformance/log.ts';
import { messageId } from './people.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';
import { type RedisCluster, type RedisServer, startRedis, startRedisCluster } from './redis.ts';
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
let cluster: RedisCluster;
let prefixes = 0;

beforeAll(async () => {
  [postgres, redis, cluster] = await Promise.all([startPostgres(), startRedis(), startRedisCluster()]);
});
afterAll(async () => {
  await Promise.all([postgres.close(), redis.close(), cluster.close()]);
});

/** As many processes over one Redis and one store; the last one's store is not closed with it. */
async function openLogs(
  url: string,
  count: number,
  options: Partial<LogProcessOptions> = {},
  wrap: (store: Store) => Store = (store) => store,
): Promise<OpenedLogs & { processes: LogProcess[] }> {
  const keyPrefix = `log${++prefixes}`;
  const store = wrap(await openStore(await postgres.createDatabase(keyPrefix)));
  const processes: LogProcess[] = [];
  for (let i = 0; i < count; i++) processes.push(await openLogProcess({ url, store, keyPrefix, ...options }));
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

/** The same with rooms; nobody listens unless told. */
async function openRooms(...options: Parameters<typeof openLogs>) {
  const opened = await openLogs(...options);
  const nobody = { onEvents() {}, onRoomFrames() {}, onUserFrames() {}, onControl() {}, onHead() {} };
  for (const { log } of opened.processes) log.listen(nobody);
  let rooms = 0;
  const makeRoom = async () => {
    const id = `room-${++rooms}`;
    const room = { id, name: id, type: 'group' as const, public: false, encrypted: false, avatarUrl: null };
    const record = { ...room, metadata: null, retentionDays: null, createdBy: 'ann', createdAt: 1 };
    await opened.store.createRoom(record, [{ user: 'ann', role: 'admin' }]);
    await opened.logs[0]!.open(id);
    return id;
  };
  return { ...opened, makeRoom };
}

/** Everything that the log has of the room. */
async function logged(log: Log, room: string): Promise<readonly Uint8Array[]> {
  return (await log.readBefore(room, null, 1e6, 1e9))?.events ?? [];
}

logConformance('Redis, one process', () => openLogs(redis.url, 1));
logConformance('Redis, two processes', () => openLogs(redis.url, 2));
logConformance('a Redis cluster', (count) => openLogs(cluster.url, count));

describe('one log of its own', () => {
  test('a loss of Redis is told to who waits for level 4, and a later commit does not settle him', async () => {
    const { processes, store, close, makeRoom } = await openRooms(redis.url, 1, { flushes: false });
    const [{ log, flusher, keys }] = processes as [LogProcess];
    const room = await makeRoom();
    const lost = new Tried(room, 4);
    log.append(lost);
    await until(async () => (await log.heads([room]))[0]!.seq === 1, 'the append');
    await unlinkAll(redis, keys);
    const after = new Tried(room, 4);
    log.append(after);
    // Appended behind it, in a new epoch.
    await until(async () => (await log.heads([room]))[0]!.epoch === 2, 'the new epoch');
    flusher.start();
    await until(() => after.outcome !== null && lost.outcome !== null, 'both to settle');
    expect(after.outcome).toMatchObject({ level: 4, repeated: false });
    expect(lost.outcome).toEqual({ code: 'UNAVAILABLE' });
    const again = new Tried(room, 4, lost.id);
    log.append(again);
    await until(() => again.outcome !== null, 'the repeat');
    expect(again.outcome).toMatchObject({ level: 4, repeated: false });
    const { events } = await store.page(room, null, null, 100, 1e6);
    expect(events.map((bytes) => decodeEvent(bytes).op)).toEqual([71, 64, 64]);
    await close();
  });

  test('tells whether all processes hear a room', async () => {
    const { processes, close, makeRoom } = await openRooms(redis.url, 2);
    const [{ log }, other] = processes as [LogProcess, LogProcess];
    const room = await makeRoom();
    const frame = encodeTyping(room, 'ann', true);
    await log.subscribeRoom(room);
    expect(await log.publishIfAllHear(room, frame)).toBe(false);
    await other.log.subscribeRoom(room);
    expect(await log.publishIfAllHear(room, frame)).toBe(true);
    other.log.unsubscribeRoom(room);
    await until(async () => !(await log.publishIfAllHear(room, frame)), 'the other one to be gone');
    await close();
  });

  test('a loss of Redis that one process has found out about is found out by the others', async () => {
    const { processes, close, makeRoom } = await openRooms(redis.url, 3, { shards: 1 });
    const rooms = [await makeRoom(), await makeRoom(), await makeRoom()];
    for (const { log } of processes) for (const room of rooms) await log.open(room);
    for (let loss = 0; loss < 2; loss++) {
      await unlinkAll(redis, processes[0]!.keys);
      // Each in a room of its own: nobody gives the next one's room a head.
      for (const [i, { log }] of processes.entries()) {
        const tried = new Tried(rooms[i]!, 1);
        log.append(tried);
        await until(() => tried.outcome !== null, `process ${i} to append`);
        expect(tried.outcome).toMatchObject({ repeated: false });
      }
    }
    await close();
  });

  test('a loss of Redis that an append finds out about casts doubt on the ids that it brings', async () => {
    const { processes, store, close, makeRoom } = await openRooms(redis.url, 2, { shards: 1 });
    const [first, second] = processes as [LogProcess, LogProcess];
    await ageShards(redis, first.keys.shardCount.split(':')[0]!, 1);
    const room = await makeRoom();
    await second.log.open(room);
    const append = async ({ log }: LogProcess, tried: Tried) => {
      log.append(tried);
      await until(() => tried.outcome !== null, 'the append');
      return tried.outcome!;
    };
    const kept = new Tried(room, 4);
    expect(await append(second, kept)).toMatchObject({ seq: 1, repeated: false });
    await unlinkAll(redis, first.keys);
    // The room has a head again before the other one knows of anything.
    expect(await append(second, new Tried(room, 4))).toMatchObject({ repeated: false });
    expect(await append(first, new Tried(room, 1, kept.id))).toMatchObject({ seq: 1, repeated: true });
    const { events } = await store.page(room, null, null, 100, 1e6);
    expect(events.map((bytes) => decodeEvent(bytes).op)).toEqual([64, 71, 64]);
    await close();
  });

  test('numbers nothing twice where its heads are gone while what they counted is not stored', async () => {
    const { processes, store, close, makeRoom } = await openRooms(redis.url, 2, { flushes: false });
    const [{ log, keys, flusher }, other] = processes as [LogProcess, LogProcess];
    const room = await makeRoom();
    const before = [new Tried(room, 1), new Tried(room, 1), new Tried(room, 1)];
    for (const each of before) log.append(each);
    await until(() => before.every(({ outcome }) => outcome !== null), 'the appends');
    expect(await other.log.open(room)).toMatchObject({ epoch: 1, seq: 3 });
    const { heads, meta } = keys.shards[keys.shardOf(room)]!;
    const incarnation = () => redis.ask('HGET', meta, 'incarnation');
    const first = await incarnation();
    await redis.ask('UNLINK', heads);
    const after = [new Tried(room, 4), new Tried(room, 4)];
    log.append(after[0]!);
    other.log.append(after[1]!);
    // Had the store all of it before the loss is found, the numbers would go on.
    await until(async () => (await incarnation()) !== first, 'the loss to be found');
    flusher.start();
    await until(() => after.every(({ outcome }) => outcome !== null), 'the appends after it');
    for (const { outcome } of after) expect(outcome).toMatchObject({ level: 4, repeated: false });
    const { events } = await store.page(room, null, null, 100, 1e6);
    const decoded = events.map((bytes) => decodeEvent(bytes));
    expect(decoded.map((event) => event.op)).toEqual([64, 64, 64, 71, 64, 64]);
    const head = await other.log.open(room);
    // An epoch that was reserved and not used is left out.
    expect(head?.epoch).toBeGreaterThan(1);
    expect(decoded[3]).toMatchObject({ epoch: head?.epoch });
    await close();
  });

  test('with a clock that has gone back settles level 4 by what is stored alone', async () => {
    const { processes, close, makeRoom } = await openRooms(redis.url, 1, { flushes: false });
    const [{ log, flusher, keys, tail }] = processes as [LogProcess];
    const room = await makeRoom();
    const shard = keys.shards[keys.shardOf(room)]!;
    // As after a failover to a server whose clock is behind: what was given before is ahead of all that comes.
    await redis.call('XADD', shard.wal, '99999999999999-0', 'f', '', 'g', '');
    const first = new Tried(room, 4);
    log.append(first);
    await until(async () => (await log.heads([room]))[0]!.seq === 1, 'the append');
    const batch = (await tail.read(keys.shardOf(room), 1000))!;
    await tail.committed(batch);
    await until(() => first.outcome !== null, 'the mark');
    await unlinkAll(redis, keys);
    const second = new Tried(room, 4);
    log.append(second);
    const left = async () => (await tail.read(keys.shardOf(room), 1000))?.events.length;
    await until(async () => (await left()) === 2, 'the new epoch and its first message');
    // The batch of before, once more: nothing of now may go.
    await tail.committed(batch);
    expect(await left()).toBe(2);
    expect(second.outcome).toBeNull();
    flusher.start();
    await until(() => second.outcome !== null, 'the commit');
    expect(second.outcome).toMatchObject({ level: 4 });
    await close();
  });

  test('a restart of Redis starts a new epoch only when the store has all of the old one', async () => {
    const own = await startRedis({ fsync: 'always' });
    const { processes, store, close, makeRoom } = await openRooms(own.url, 2, { flushes: false });
    const [{ log, flusher }, other] = processes as [LogProcess, LogProcess];
    const room = await makeRoom();
    const tried = Array.from({ length: 20 }, () => new Tried(room, 2));
    for (const each of tried) log.append(each);
    await until(() => tried.every(({ outcome }) => outcome !== null), 'the appends');
    await own.kill();
    await own.start();
    const opened = until(() => other.log.open(room).catch(() => null), 'the room to open');
    const pending = new Tried(room, 2);
    await until(() => {
      if (pending.outcome !== null && 'code' in pending.outcome) pending.outcome = null;
      if (!pending.isUnderWay) pending.appendTo(log);
      return log.fault() === null || pending.outcome !== null;
    }, 'the connection');
    // Nobody flushes yet: a reader would find the old events nowhere.
    expect((await store.page(room, null, null, 100, 1e6)).events).toEqual([]);
    expect((await logged(log, room)).map((bytes) => readSeq(bytes))).toEqual(tried.map((_, i) => i + 1));
    flusher.start();
    const head = await opened;
    expect(head.epoch).toBeGreaterThan(1);
    const { events } = await store.page(room, null, null, 100, 1e6);
    expect(events.slice(0, 20).map((bytes) => readSeq(bytes))).toEqual(tried.map((_, i) => i + 1));
    await close();
    await own.close();
  });

  test('what the store does not have of one room lies in parts, which go when it has them', async () => {
    const recentBytes = 16_384;
    const { processes, store, close, makeRoom } = await openRooms(redis.url, 2, {
      flushes: false,
      options: { recentBytes },
    });
    const [{ log, flusher, keys }, reader] = processes as [LogProcess, LogProcess];
    const room = await makeRoom();
    const count = 1500;
    const tried = Array.from(
      { length: count },
      () => new Tried(room, 1, messageId(), 'ann', 'x'.repeat(2000)),
    );
    for (const each of tried) log.append(each);
    await until(() => tried.every(({ outcome }) => outcome !== null), 'the appends');
    const parts = async () => Number(await redis.ask('XLEN', keys.older(room)));
    // Not one string of megabytes, and nothing of it is gone: the store has none of it.
    expect(Number(await redis.ask('STRLEN', keys.recent(room)))).toBeLessThanOrEqual(recentBytes);
    const most = await parts();
    expect(most).toBeGreaterThan(2);
    expect((await store.page(room, null, 0, 10, 1e6)).events).toEqual([]);
    const seqs = (events: readonly Uint8Array[] | null) => events?.map((bytes) => readSeq(bytes)) ?? null;
    const from = (first: number, length: number) => Array.from({ length }, (_, i) => first + i);
    expect(seqs(await logged(reader.log, room))).toEqual(from(1, count));
    for (const after of [0, 1, count / 2, count - 20, count - 1, count]) {
      for (const limit of [1, 10, 1000, count]) {
        const expected = from(after + 1, Math.min(limit, count - after));
        expect(seqs(await reader.log.readAfter(room, after, limit, 1e9))).toEqual(expected);
      }
    }
    flusher.start();
    await until(async () => (await log.heads([room]))[0]!.committed === count, 'the store to have all');
    await until(async () => (await parts()) === 1, 'the parts to go');
    const left = seqs(await logged(log, room))!;
    expect(left).toEqual(from(count - left.length + 1, left.length));
    expect(await log.readAfter(room, 0, 10, 1e9)).toBeNull();
    // As it goes on, one part stays.
    for (let round = 0; round < 20; round++) {
      const more = Array.from({ length: 20 }, () => new Tried(room, 4, messageId(), 'ann', 'x'.repeat(2000)));
      for (const each of more) log.append(each);
      await until(() => more.every(({ outcome }) => outcome !== null), 'the appends');
    }
    expect(await parts()).toBeLessThanOrEqual(2);
    await close();
  });

  test('of a room that nobody had opened tells two processes that come at once the same', async () => {
    const { processes, store, close } = await openRooms(redis.url, 2, { shards: 4 });
    for (let round = 0; round < 60; round++) {
      const id = `fresh-${round}`;
      const room = { id, name: id, type: 'group' as const, public: false, encrypted: false, avatarUrl: null };
      const record = { ...room, metadata: null, retentionDays: null, createdBy: 'ann', createdAt: 1 };
      await store.createRoom(record, [{ user: 'ann', role: 'admin' }]);
      const heads = await Promise.all(processes.flatMap(({ log }) => [log.open(id), log.open(id)]));
      expect(new Set(heads.map((head) => JSON.stringify(head))).size).toBe(1);
      expect(heads[0]).toEqual({ epoch: 1, seq: 0, messages: 0, committed: 0 });
    }
    const [{ keys }] = processes as [LogProcess];
    // Nothing is left of having asked.
    for (const { meta } of keys.shards) {
      const fields = (await redis.ask('HKEYS', meta)) as string[];
      expect(fields.filter((field) => field.startsWith('miss:'))).toEqual([]);
    }
    await close();
  });

  test('keeps nothing of an append to a room that is not there', async () => {
    const { processes, close } = await openRooms(redis.url, 1, { shards: 1 });
    const [{ log, keys }] = processes as [LogProcess];
    const tried = new Tried('nowhere', 1);
    log.append(tried);
    await until(() => tried.outcome !== null, 'the append');
    expect(tried.outcome).toEqual({ code: 'UNAVAILABLE' });
    expect(await redis.ask('HKEYS', keys.shards[0]!.meta)).not.toContain('miss:nowhere');
    await close();
  });

  test('goes on where it was, but not from what another version has left', async () => {
    const { processes, store, close, makeRoom } = await openRooms(redis.url, 1);
    const [first] = processes.splice(0) as [LogProcess];
    const { keys } = first;
    const room = await makeRoom();
    const tried = [new Tried(room, 4), new Tried(room, 4)];
    for (const each of tried) first.log.append(each);
    await until(() => tried.every(({ outcome }) => outcome !== null), 'the appends');
    await first.close();
    const begin = async () => {
      const keyPrefix = keys.shardCount.split(':')[0]!;
      const one = await openLogProcess({ url: redis.url, store, keyPrefix });
      const head = (await one.log.open(room))!;
      await one.close();
      return head;
    };
    expect(await begin()).toMatchObject({ epoch: 1, seq: 2 });
    const { meta } = keys.shards[keys.shardOf(room)]!;
    const [runId] = String(await redis.ask('HGET', meta, 'run')).split('.');
    await redis.ask('HSET', meta, 'run', `${runId}.another`);
    const after = await begin();
    expect(after).toMatchObject({ epoch: 2 });
    expect(await begin()).toMatchObject({ epoch: 2, seq: after.seq });
    await close();
  });

  test('an id that has to be looked up holds nobody else up while the store does not answer', async () => {
    const { processes, store, close, makeRoom } = await openRooms(redis.url, 1, {}, (real) => ({
      ...real,
      findIds: (ids) => (isFrozen ? thaw.promise.then(() => real.findIds(ids)) : real.findIds(ids)),
    }));
    let isFrozen = false;
    const thaw = Promise.withResolvers<void>();
    const [{ log, keys }] = processes as [LogProcess];
    await ageShards(redis, keys.shardCount.split(':')[0]!, keys.shards.length);
    const room = await makeRoom();
    isFrozen = true;
    const doubtful = new Tried(room, 1, messageId(Date.now() - 200_000));
    const behind = new Tried(room, 1);
    const others = new Tried(room, 1, messageId(), 'bob');
    for (const each of [doubtful, behind, others]) log.append(each);
    await until(() => others.outcome !== null, 'the others');
    expect(others.outcome).toMatchObject({ seq: 1 });
    // The order of one sender holds.
    expect([doubtful.outcome, behind.outcome]).toEqual([null, null]);
    thaw.resolve();
    await until(() => doubtful.outcome !== null && behind.outcome !== null, 'the one in doubt');
    expect([doubtful.outcome, behind.outcome]).toEqual([
      expect.objectContaining({ seq: 2 }),
      expect.objectContaining({ seq: 3 }),
    ]);
    expect(store).toBeDefined();
    await close();
  });

  test('what a sender sends while his first messages are looked up stays behind them', async () => {
    const { processes, close, makeRoom } = await openRooms(redis.url, 1, { shards: 1 });
    const [{ log }] = processes as [LogProcess];
    for (let round = 0; round < 20; round++) {
      const room = await makeRoom();
      const sent: Tried[] = [];
      const more = () => {
        const tried = new Tried(room, 1);
        sent.push(tried);
        log.append(tried);
      };
      for (let i = 0; i < 5; i++) more();
      // One in each turn until the first is there.
      while (sent[0]!.outcome === null && sent.length < 10_000) {
        more();
        await new Promise((resolve) => setImmediate(resolve));
      }
      await until(() => sent.every(({ outcome }) => outcome !== null), 'all of them');
      const seqs = sent.map(({ outcome }) => (outcome as { seq: number }).seq);
      expect(seqs).toEqual(sent.map((_, i) => i + 1));
    }
    await close();
  });

  test('ids are looked up while the log is young only in rooms that had events shortly before', async () => {
    const asked: string[] = [];
    const { processes, store, close, makeRoom } = await openRooms(redis.url, 2, { shards: 1 }, (real) => ({
      ...real,
      findIds(ids) {
        asked.push(...ids.map(({ room }) => room));
        return real.findIds(ids);
      },
    }));
    const [first, second] = processes as [LogProcess, LogProcess];
    const [empty, active] = [await makeRoom(), await makeRoom()];
    const send = async ({ log }: LogProcess, tried: Tried) => {
      log.append(tried);
      await until(() => tried.outcome !== null, 'an append');
      return tried.outcome;
    };
    // The other process learns it from the log.
    for (const process of [second, first, second]) await send(process, new Tried(empty, 1));
    expect(asked).toEqual([]);
    const before = new Tried(active, 4);
    await send(first, before);
    await until(async () => (await store.heads([active]))[0]!.seq === 1, 'it to be stored');
    await unlinkAll(redis, first.keys);
    expect(await send(second, new Tried(active, 1, before.id))).toMatchObject({ seq: 1, repeated: true });
    expect(await send(first, new Tried(active, 1))).toMatchObject({ repeated: false });
    expect(asked).toContain(active);
    await close();
  });
});

describe('the scripts that number events', () => {
  const scriptsOn = async (server: RedisServer) =>
    Number(/number_of_cached_scripts:(\d+)/.exec(String(await server.ask('INFO', 'memory')))?.[1]);
  /** Of every shard of the test's. */
  const roomsOfAll = Array.from({ length: 1000 }, (_, i) => `room-${i}`);

  test.each([
    ['one server', 1],
    ['a cluster', 3],
  ])('are as many for all shards and starts as for one: %s', async (_, servers) => {
    const own = servers === 1 ? await startRedis({ fsync: 'off' }) : null;
    const nodes = own === null ? cluster.nodes : [own];
    const counts = () => Promise.all(nodes.map(scriptsOn));
    const before = await counts();
    const { processes, store, close } = await openLogs((own ?? cluster).url, 2, { shards: 64 });
    for (const { log } of processes) await log.heads(roomsOfAll);
    const { shardCount } = processes[0]!.keys;
    const start = async () => {
      const keyPrefix = shardCount.split(':')[0]!;
      const one = await openLogProcess({ url: (own ?? cluster).url, store, keyPrefix, shards: 64 });
      await one.log.heads(roomsOfAll);
      await one.close();
    };
    await start();
    const after = await counts();
    // Four by each process that came when there were none, and those that run anywhere.
    for (const [i, count] of after.entries()) expect(count - before[i]!).toBeLessThanOrEqual(16);
    for (let i = 0; i < 3; i++) await start();
    expect(await counts()).toEqual(after);
    await close();
    await own?.close();
  });

  test('are loaded again where the server has dropped them, and nothing is lost by it', async () => {
    const own = await startRedis({ fsync: 'off' });
    const { processes, close, makeRoom } = await openRooms(own.url, 2, { shards: 4 });
    const room = await makeRoom();
    for (let round = 0; round < 3; round++) {
      for (const [i, { log }] of processes.entries()) {
        await own.ask('SCRIPT', 'FLUSH');
        const tried = new Tried(room, 1);
        log.append(tried);
        await until(() => tried.outcome !== null, 'the append');
        expect(tried.outcome).toMatchObject({ seq: round * 2 + i + 1 });
        await own.ask('SCRIPT', 'FLUSH');
        expect((await log.heads([room, ...roomsOfAll]))[0]).toMatchObject({
          epoch: 1,
          seq: round * 2 + i + 1,
        });
      }
    }
    expect(await scriptsOn(own)).toBeLessThanOrEqual(16);
    await close();
    await own.close();
  });

  test('are never run where they came to a server that was started again meanwhile', async () => {
    const own = await startRedis({ fsync: 'always' });
    const { processes, close, makeRoom } = await openRooms(own.url, 2, { shards: 1 });
    const [first, late] = processes as [LogProcess, LogProcess];
    const room = await makeRoom();
    const before = new Tried(room, 4);
    first.log.append(before);
    await until(() => before.outcome !== null, 'the append');
    const { meta } = first.keys.shards[0]!;
    const salt = String(await own.ask('HGET', meta, 'salt'));
    const run = String(await own.ask('HGET', meta, 'run'));
    await own.ask('SCRIPT', 'FLUSH');
    const { connection } = late;
    const call = connection.call.bind(connection);
    // Between the question whose server it is and the texts that carry the answer.
    connection.call = async (name, ...args) => {
      if (name !== 'SCRIPT') return call(name, ...args);
      connection.call = call;
      await own.kill();
      await own.start();
      await until(() => connection.isReady, 'the connection');
      return call(name, ...args);
    };
    await expect(late.log.heads([room])).rejects.toThrow();
    // It has a text of the server before, and nobody was told of it.
    expect(await scriptsOn(own)).toBeGreaterThan(0);
    expect(String(await own.ask('HGET', meta, 'run'))).toBe(run);
    expect(String(await own.ask('HGET', meta, 'salt'))).toBe(salt);
    const after = await until(async () => {
      const tried = new Tried(room, 4);
      first.log.append(tried);
      await until(() => tried.outcome !== null, 'an append to settle');
      return 'seq' in tried.outcome! && tried.outcome;
    }, 'appends to go on');
    expect(after.seq).toBeGreaterThan(2 ** 26);
    expect(String(await own.ask('HGET', meta, 'run'))).not.toBe(run);
    await close();
    await own.close();
  });
});

describe('what the servers are set to', () => {
  /** Closes every connection that gives commands to it. */
  const cut = (server: RedisServer) => server.ask('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');

  test('is read again when the server comes back: what it no longer keeps is no longer promised', async () => {
    const own = await startRedis({ fsync: 'always' });
    const { processes, close, makeRoom } = await openRooms(own.url, 1);
    const [{ log, connection, lines }] = processes as [LogProcess];
    const room = await makeRoom();
    const before = new Tried(room, 2);
    log.append(before);
    await until(() => before.outcome !== null, 'the append');
    expect([log.levels, before.outcome]).toEqual([[1, 2, 4], expect.objectContaining({ level: 2 })]);
    await own.kill();
    await own.start(false, { appendonly: 'no' });
    await until(() => !connection.facts.isSynced, 'the settings to be read again');
    expect(lines.filter((line) => line.includes('appendonly is off'))).toHaveLength(1);
    // Whoever was told otherwise in his welcome is not lied to.
    await until(async () => {
      const weak = new Tried(room, 1);
      log.append(weak);
      await until(() => weak.outcome !== null, 'an append to settle');
      return 'seq' in weak.outcome! && weak.outcome.level === 1;
    }, 'appends to go on');
    const strong = new Tried(room, 2);
    log.append(strong);
    await until(() => strong.outcome !== null, 'the append');
    // He is answered when it holds, by what can still be told.
    expect([log.levels, strong.outcome]).toEqual([[1, 2, 4], expect.objectContaining({ level: 4 })]);
    expect(connection.problem).toBeNull();
    await own.ask('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    await cut(own);
    await until(() => connection.problem !== null, 'the policy to be seen');
    expect(connection.problem).toContain('allkeys-lru');
    expect(lines.filter((line) => line.includes('"level":50') && line.includes('allkeys-lru'))).toHaveLength(
      1,
    );
    await close();
    await own.close();
  });

  test('is read again while it runs: level 2 is then waited for, by the disk or by the store', async () => {
    const own = await startRedis({ fsync: 'always' });
    const { processes, close, makeRoom } = await openRooms(own.url, 1);
    const [{ log, connection }] = processes as [LogProcess];
    const room = await makeRoom();
    const tryAt = async (level: Level) => {
      const tried = new Tried(room, level);
      log.append(tried);
      await until(() => tried.outcome !== null, 'the append');
      return tried.outcome;
    };
    expect(await tryAt(1)).toMatchObject({ level: 2 });
    await own.ask('CONFIG', 'SET', 'appendfsync', 'everysec');
    await connection.look();
    expect(await tryAt(1)).toMatchObject({ level: 1 });
    // Redis before 7.2 has nothing to wait with.
    expect(await tryAt(2)).toMatchObject({ level: connection.facts.hasWaitAof ? 2 : 4 });
    expect([log.levels, connection.sync !== null]).toEqual([[1, 2, 4], connection.facts.hasWaitAof]);
    await own.ask('CONFIG', 'SET', 'appendfsync', 'always');
    await connection.look();
    expect(await tryAt(2)).toMatchObject({ level: 2 });
    await close();
    await own.close();
  });

  test('is what the weakest node of a cluster is set to', async () => {
    const [first, second, third] = cluster.nodes as [RedisServer, RedisServer, RedisServer];
    const keep = async (node: RedisServer, isKept: boolean) => {
      await node.ask('CONFIG', 'SET', 'appendfsync', 'always');
      await node.ask('CONFIG', 'SET', 'appendonly', isKept ? 'yes' : 'no');
    };
    await keep(first, true);
    await keep(second, true);
    // The address that one connects to is that of the first.
    const weak = await openRooms(cluster.url, 1);
    expect(weak.logs[0]!.levels).toEqual([1, 4]);
    await keep(third, true);
    await cut(third);
    await until(() => weak.logs[0]!.levels.length === 3, 'the settings to be read again');
    expect(weak.logs[0]!.levels).toEqual([1, 2, 4]);
    const room = await weak.makeRoom();
    await until(async () => {
      const tried = new Tried(room, 2);
      weak.logs[0]!.append(tried);
      await until(() => tried.outcome !== null, 'the append');
      return 'seq' in tried.outcome! && tried.outcome.level === 2;
    }, 'an append on disk');
    await second.ask('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lfu');
    await cut(second);
    await until(() => weak.processes[0]!.connection.problem !== null, 'the policy to be seen');
    await second.ask('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    await cut(second);
    await until(() => weak.processes[0]!.connection.problem === null, 'the policy to be seen again');
    await weak.close();
    for (const node of [first, second, third]) await keep(node, false);
  });
});

describe('a Redis cluster', () => {
  test('is heard through sharded channels', async () => {
    const { processes, close, makeRoom } = await openRooms(cluster.url, 2);
    const [{ keys, log }] = processes as [LogProcess];
    const room = await makeRoom();
    for (const each of processes) await each.log.subscribeRoom(room);
    const node = await cluster.nodeOf(keys.recent(room));
    const channel = keys.roomChannel(room);
    expect(await node.ask('PUBSUB', 'SHARDCHANNELS', channel)).toEqual([channel]);
    expect(await node.ask('PUBSUB', 'SHARDNUMSUB', channel)).toEqual([channel, 2]);
    log.unsubscribeRoom(room);
    await until(
      async () => String(await node.ask('PUBSUB', 'SHARDNUMSUB', channel)) === `${channel},1`,
      'one subscriber',
    );
    await close();
  });

  test('whose slot moves under load loses nothing and gives no seq twice', async () => {
    // Small parts: what is recent becomes older while the keys move.
    const options = { recentBytes: 2048 };
    const { processes, store, close, makeRoom } = await openRooms(cluster.url, 2, { options });
    const [{ keys }] = processes as [LogProcess];
    const ears = processes.map(({ log }) => {
      const ear = new Map<number, string>();
      log.listen({
        onEvents(_, bytes, ends) {
          let start = 0;
          for (const end of ends) {
            const event = bytes.subarray(start, end);
            ear.set(readSeq(event), Buffer.from(event).toString('hex'));
            start = end;
          }
        },
        onRoomFrames: () => {},
        onUserFrames: () => {},
        onControl: () => {},
        onHead: () => {},
      });
      return ear;
    });
    const room = await makeRoom();
    for (const { log } of processes) await log.subscribeRoom(room);
    const senders = processes.flatMap(({ log }) => [1, 2, 3].map(() => new Load(log, room)));
    const running = senders.map((sender) => sender.run());
    const acked = () => senders.reduce((sum, sender) => sum + sender.acked.size, 0);
    const key = keys.recent(room);
    for (let move = 0; move < 3; move++) {
      const wanted = acked() + 100;
      await until(() => acked() >= wanted, 'acks before the move');
      const from = await cluster.nodeOf(key);
      const refused = async () =>
        Number(/errorstat_TRYAGAIN:count=(\d+)/.exec(String(await from.ask('INFO', 'errorstats')))?.[1] ?? 0);
      await cluster.moveSlot(key, cluster.nodes.find((node) => node !== from)!, async () => {
        const { heads } = keys.shards[keys.shardOf(room)]!;
        // Epoch, seq and time; the committed seq moves on.
        const head = async () =>
          ((await from.call('HGET', heads, room)) as Buffer).subarray(0, 24).toString('hex');
        const [first, before] = [await head(), await refused()];
        await until(async () => (await refused()) > before + 3, 'appends while the keys are apart');
        // None was begun that could not be ended.
        expect(await head()).toBe(first);
      });
    }
    const wanted = acked() + 100;
    await until(() => acked() >= wanted, 'acks after the moves');
    for (const sender of senders) sender.stop();
    await Promise.all(running);
    const last = Math.max(...senders.flatMap((sender) => [...sender.acked.values()]));
    const all = async () => (await store.page(room, null, 0, 1e6, 1e9)).events;
    await until(async () => (await all()).some((bytes) => readSeq(bytes) >= last), 'the store', 30_000);
    const events = (await all()).map((bytes) => decodeEvent(bytes));
    const byId = new Map<string, number[]>();
    for (const [i, event] of events.entries()) {
      const before = events[i - 1];
      if (before && event.op !== 71) expect(event.seq).toBe(before.seq + 1);
      if (event.op === 64) {
        const id = Buffer.from(event.id).toString('hex');
        byId.set(id, [...(byId.get(id) ?? []), event.seq]);
      }
    }
    for (const sender of senders) for (const [id, seq] of sender.acked) expect(byId.get(id)).toEqual([seq]);
    // What was heard is what is stored: no seq was given twice.
    const stored = new Map(
      (await all()).map((bytes) => [readSeq(bytes), Buffer.from(bytes).toString('hex')]),
    );
    for (const ear of ears) for (const [seq, event] of ear) expect(stored.get(seq)).toBe(event);
    for (const { log } of processes) {
      const recent = (await logged(log, room)).map((bytes) => readSeq(bytes));
      expect(recent.filter((seq, i) => i > 0 && seq !== recent[i - 1]! + 1)).toEqual([]);
    }
    // Both hear again, from the node that serves the slot now.
    await until(async () => {
      const heard = new Tried(room, 1);
      processes[0]!.log.append(heard);
      await until(() => heard.outcome !== null, 'the append');
      const { seq } = heard.outcome as { seq: number };
      return until(() => ears.every((ear) => ear.has(seq)), 'everybody to hear', 500).catch(() => false);
    }, 'everybody to hear again');
    await close();
  });
});

/** An append and what became of it. */
class Tried implements Append {
  readonly room: string;
  readonly level: Level;
  readonly id: Uint8Array;
  readonly from: string;
  readonly bytes: Uint8Array;
  outcome: Outcome | null = null;
  isUnderWay = false;

  constructor(room: string, level: Level, id = messageId(), from = 'ann', text = 'hello') {
    this.room = room;
    this.level = level;
    this.id = id;
    this.from = from;
    this.bytes = encodeMessage(room, from, id, 'text', text, null);
  }

  appendTo(log: Log): void {
    this.isUnderWay = true;
    log.append(this);
  }

  settle(seq: number, ts: number, level: Level, repeated: boolean): void {
    this.isUnderWay = false;
    this.outcome = { seq, ts, level, repeated };
  }

  fail(code: ErrorCode): void {
    this.isUnderWay = false;
    this.outcome = { code };
  }
}

type Outcome =
  | { readonly seq: number; readonly ts: number; readonly level: Level; readonly repeated: boolean }
  | { readonly code: ErrorCode };

/** Appends one message after the other, each until it is there. */
class Load {
  /** Seq by id. */
  readonly acked = new Map<string, number>();
  readonly #log: Log;
  readonly #room: string;
  #isStopped = false;

  constructor(log: Log, room: string) {
    this.#log = log;
    this.#room = room;
  }

  stop(): void {
    this.#isStopped = true;
  }

  async run(): Promise<void> {
    while (!this.#isStopped) {
      const id = messageId();
      const seq = await until(
        async () => {
          const tried = new Tried(this.#room, 1, id);
          this.#log.append(tried);
          await until(() => tried.outcome !== null, 'an append to settle', 60_000);
          return tried.outcome !== null && 'seq' in tried.outcome && tried.outcome.seq;
        },
        'a message to be appended',
        60_000,
      );
      this.acked.set(Buffer.from(id).toString('hex'), seq);
    }
  }
}

/** As FLUSHALL, for one log. */
async function unlinkAll(server: RedisServer, keys: RedisKeys): Promise<void> {
  const [prefix] = keys.shardCount.split(':');
  const all = (await server.ask('KEYS', `${prefix}:*`)) as string[];
  await server.call('UNLINK', ...all);
}
