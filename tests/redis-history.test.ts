// What readers are told while the store is away: pages, targets and reactions of a room with megabytes that only the log in
// Redis has, whose edits and deletes stand far behind their messages; against a model that has everything.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { foldEvents } from '../core/fold.ts';
import {
  encodeMessage,
  encodeMessageDeleted,
  encodeMessageEdited,
  encodeReaction,
  encodeUserJoined,
} from '../core/protocol/encode.ts';
import { decodeEvent, type RoomEvent } from '../core/protocol/events.ts';
import { historyBytesMax } from '../core/protocol/limits.ts';
import { eventOps } from '../core/protocol/ops.ts';
import { readOp, readSeq } from '../core/protocol/stamp.ts';
import { History } from '../gateway/history.ts';
import { HubRoom } from '../gateway/hub-room.ts';
import type { Append } from '../gateway/log/log.ts';
import { createMetrics } from '../gateway/metrics.ts';
import type { Store } from '../gateway/store/store.ts';
import { Random } from './fuzz/random.ts';
import { messageId } from './people.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';
import { type RedisServer, startRedis } from './redis.ts';
import { type LogProcess, openLogProcess, openStore } from './redis-log.ts';
import { until } from './socket.ts';

let postgres: PostgresServer;
let redis: RedisServer;
let store: Store;
let one: LogProcess;
let history: History;
const room = 'room';
const metrics = createMetrics('test');
const keyPrefix = 'history';

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis({ fsync: 'off' })]);
  store = await openStore(await postgres.createDatabase('history'));
  const record = { id: room, name: room, type: 'group' as const, public: false, encrypted: false };
  const rest = { avatarUrl: null, metadata: null, retentionDays: null, createdBy: 'ann', createdAt: 1 };
  await store.createRoom({ ...record, ...rest }, [{ user: 'ann', role: 'admin' }]);
  one = await openLogProcess({
    url: redis.url,
    store,
    keyPrefix,
    flushes: false,
    options: { recentBytes: 8192 },
  });
  one.log.listen({ onEvents() {}, onRoomFrames() {}, onUserFrames() {}, onControl() {}, onHead() {} });
  history = new History({ log: one.log, store, metrics, ringBytesMax: 65_536 });
});
afterAll(async () => {
  await one.close();
  await store.close();
  await Promise.all([postgres.close(), redis.close()]);
});

function append(...all: readonly Uint8Array[]): Promise<number[]> {
  const appends = all.map(
    (bytes) =>
      new Promise<number>((resolve, reject) => {
        const entry: Append = {
          room,
          bytes,
          id: messageId(),
          from: 'ann',
          level: 1,
          settle: (seq) => resolve(seq),
          fail: (code) => reject(new Error(code)),
        };
        one.log.append(entry);
      }),
  );
  return Promise.all(appends);
}

const message = (text: string) => encodeMessage(room, 'ann', messageId(), 'text', text, null);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** Everything as it was appended, however it is kept now. */
const appended: Uint8Array[] = [];
/** Messages that are not deleted. */
const alive: number[] = [];

/** The record of a room as a hub would have it; nothing of it is in the ring. */
async function activeRoom(): Promise<HubRoom> {
  const record = await store.room(room);
  return new HubRoom(record!, metrics.cache('members'));
}

async function appendMix(random: Random, count: number, textBytes: number): Promise<void> {
  for (let done = 0; done < count; ) {
    const batch: Uint8Array[] = [];
    for (; batch.length < 100 && done < count; done++) {
      const target = alive.length === 0 ? 0 : random.pick(alive);
      if (target === 0) batch.push(message('first'));
      else if (random.chance(0.15)) batch.push(encodeMessageEdited(room, 'ann', target, `edited ${done}`));
      else if (random.chance(0.05)) {
        batch.push(encodeMessageDeleted(room, 'ann', target));
        alive.splice(alive.indexOf(target), 1);
      } else if (random.chance(0.1))
        batch.push(encodeReaction(room, 'ann', target, random.pick(['+', '-']), random.chance(0.5)));
      else if (random.chance(0.02)) batch.push(encodeUserJoined(room, `user-${done}`, 'ann', 'member'));
      else batch.push(message('x'.repeat(1 + random.below(textBytes))));
    }
    const seqs = await append(...batch);
    // As the log has them: with their places.
    const events = (await one.log.readAfter(room, (seqs[0] ?? 1) - 1, batch.length, 1e9)) ?? [];
    appended.push(...events);
    for (const bytes of events) if (readOp(bytes) === eventOps.message) alive.push(readSeq(bytes));
  }
}

/** What a page has to say, by everything there is. */
function presentModel(): Uint8Array[] {
  const changes = new Map<number, RoomEvent[]>();
  const events = appended.map((bytes) => decodeEvent(bytes));
  for (const event of events) {
    if (event.op !== eventOps.message_edited && event.op !== eventOps.message_deleted) continue;
    changes.set(event.target, [...(changes.get(event.target) ?? []), event]);
  }
  return events.map((event, i) => {
    const about = event.op === eventOps.message_edited ? event.target : event.seq;
    return foldEvents([appended[i]!], changes.get(about) ?? [])[0]!;
  });
}

async function checkPages(random: Random): Promise<void> {
  const model = presentModel();
  const active = await activeRoom();
  for (let i = 0; i < 30; i++) {
    const cursor = random.below(model.length + 2);
    const limit = random.pick([1, 7, 50, 200]);
    const messagesOnly = random.chance(0.3);
    const isAsked = (bytes: Uint8Array) => !messagesOnly || decodeEvent(bytes).op === 64;
    const isBack = random.chance(0.5);
    const range = { limit, messagesOnly, before: isBack ? cursor : null, after: isBack ? null : cursor };
    const { events, more } = await history.page(
      active,
      i === 0 ? { ...range, before: null, after: null } : range,
    );
    const isNewest = i === 0;
    const all = model.filter(
      (bytes) => isAsked(bytes) && (isNewest || (isBack ? readSeq(bytes) < cursor : readSeq(bytes) > cursor)),
    );
    const wanted = isBack || isNewest ? all.slice(Math.max(0, all.length - limit)) : all.slice(0, limit);
    const bytes = events.reduce((sum, event) => sum + event.length, 0);
    // A page is cut by its limit or by its bytes, and is one piece of what there is.
    if (events.length < wanted.length) expect([more, bytes > historyBytesMax / 4]).toEqual([true, true]);
    const expected =
      isBack || isNewest ? wanted.slice(wanted.length - events.length) : wanted.slice(0, events.length);
    expect(events.map(hex)).toEqual(expected.map(hex));
    expect(events.length).toBeGreaterThan(wanted.length === 0 ? -1 : 0);
  }
}

async function checkTargets(random: Random): Promise<void> {
  const events = appended.map((bytes) => decodeEvent(bytes));
  for (let i = 0; i < 20; i++) {
    const event = random.pick(events);
    const target = await history.target(room, event.seq);
    if (event.op !== 64) {
      expect(target).toBeNull();
      continue;
    }
    const changes = events.filter((each) => 'target' in each && each.target === event.seq);
    const deleted = changes.find(({ op }) => op === 66);
    const edited = changes.findLast(({ op }) => op === 65);
    const content = deleted ? null : edited && 'content' in edited ? edited.content : event.content;
    expect(target).toMatchObject({ content });
    expect(target?.deleted?.seq).toBe(deleted?.seq);
    const reacted = changes.findLast((each) => each.op === 67 && each.emoji === '+');
    const state = await history.reaction(room, event.seq, 'ann', '+');
    expect(state?.seq ?? null).toBe(reacted?.seq ?? null);
  }
}

test('pages, targets and reactions are exact, whatever part of the room the store has', async () => {
  const random = new Random(11);
  const shard = one.keys.shardOf(room);
  for (let round = 0; round < 3; round++) {
    await appendMix(random, 800, 4000);
    await checkPages(random);
    await checkTargets(random);
    // The store gets some of it, never all.
    for (let i = 0; i < 4; i++) {
      const batch = await one.tail.read(shard, 100);
      if (batch === null) break;
      await store.commit(batch.events);
      // Between the two the store is ahead of what the log knows of it.
      await checkTargets(random);
      await one.tail.committed(batch);
    }
    await checkPages(random);
    await checkTargets(random);
  }
  const total = appended.reduce((sum, bytes) => sum + bytes.length, 0);
  expect(total).toBeGreaterThan(2e6);
}, 60_000);

test('pages that are read while the store catches up are exact, and joins are found without reading all', async () => {
  const random = new Random(12);
  const [start] = await one.log.heads([room]);
  const { seq: head, committed } = start!;
  const joins = appended.filter((bytes) => decodeEvent(bytes).op === 68 && readSeq(bytes) > committed);
  const found: Uint8Array[] = [];
  for (let last = committed; ; last = readSeq(found.at(-1)!)) {
    const events = await one.log.readMembership(room, last);
    if (events.length === 0) break;
    found.push(...events);
  }
  expect(found.map(hex)).toEqual(joins.map(hex));
  expect(found.length).toBeGreaterThan(3);
  one.flusher.start();
  while ((await one.log.heads([room]))[0]!.committed < head) {
    await checkPages(random);
    await checkTargets(random);
  }
  await checkPages(random);
  await checkTargets(random);
  await until(async () => Number(await redis.ask('XLEN', one.keys.older(room))) <= 1, 'the parts to go');
}, 60_000);

test('what one call reads is bounded by what was asked for', async () => {
  const before = async () =>
    Number(/total_net_output_bytes:(\d+)/.exec(String(await redis.ask('INFO', 'stats')))?.[1] ?? 0);
  await one.flusher.stop();
  const random = new Random(13);
  await appendMix(random, 2000, 3000);
  const active = await activeRoom();
  const waiting = appended.slice(-2000).reduce((sum, bytes) => sum + bytes.length, 0);
  await redis.ask('CONFIG', 'RESETSTAT');
  const start = await before();
  await history.page(active, { before: appended.length - 1000, after: null, limit: 10, messagesOnly: false });
  await history.target(room, appended.length - 1500);
  await one.log.readMembership(room, appended.length - 2000);
  expect((await before()) - start).toBeLessThan(waiting / 2);
}, 60_000);
