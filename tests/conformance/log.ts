// What every log must do, in one process or over many: each sentence of gateway/log/log.ts is a case. Called by the test
// of each log with a factory that opens any number of instances over one backend; each test names its own rooms.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { ErrorCode } from '../../core/protocol/codes.ts';
import * as encode from '../../core/protocol/encode.ts';
import { decodeEvent } from '../../core/protocol/events.ts';
import type { Level } from '../../core/protocol/frames.ts';
import { readSeq, readTs } from '../../core/protocol/stamp.ts';
import type { Append, Head, Log, LogListener } from '../../gateway/log/log.ts';
import type { Store } from '../../gateway/store/store.ts';
import { Random } from '../fuzz/random.ts';

export interface OpenedLogs {
  /** As many as asked for: one process each, over one backend and one store. */
  readonly logs: readonly Log[];
  readonly store: Store;
  /** Lets a little time pass, real or simulated. */
  pass(): Promise<void>;
  /** Frees what is behind the logs; they are closed before. */
  close(): Promise<void>;
}

/** What became of an append. */
type Outcome =
  | { readonly seq: number; readonly ts: number; readonly level: Level; readonly repeated: boolean }
  | { readonly code: ErrorCode };

/** A millisecond each at least where time is real: long enough for a machine with much else to do. */
const passesMax = 20_000;
const startTs = 1_780_000_000_000;
let names = 0;
const fresh = (prefix: string) => `${prefix}-${++names}`;
let ids = 0;
function freshId(): Uint8Array {
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(12, ++ids);
  return id;
}
const toPlace = ({ epoch, seq, messages }: Head) => ({ epoch, seq, messages });
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** An append that counts how often it is settled. */
class Tried implements Append {
  readonly room: string;
  readonly bytes: Uint8Array;
  readonly id: Uint8Array;
  readonly from: string;
  readonly level: Level;
  readonly outcomes: Outcome[] = [];
  readonly #order: Tried[];

  constructor(
    room: string,
    { from = 'ann', id = freshId(), text = 'hello', level = 1 as Level, bytes = null as Uint8Array | null },
    order: Tried[],
  ) {
    this.room = room;
    this.bytes = bytes ?? encode.encodeMessage(room, from, id, 'text', text, null);
    this.id = id;
    this.from = from;
    this.level = level;
    this.#order = order;
  }

  settle(seq: number, ts: number, level: Level, repeated: boolean): void {
    this.outcomes.push({ seq, ts, level, repeated });
    this.#order.push(this);
  }

  fail(code: ErrorCode): void {
    this.outcomes.push({ code });
    this.#order.push(this);
  }

  /** Its seq; -1 where it has none. */
  get seq(): number {
    const [outcome] = this.outcomes;
    return outcome !== undefined && 'seq' in outcome ? outcome.seq : -1;
  }
}

/** An append that did not fail. */
function settledOne(outcome: Outcome): { readonly seq: number } {
  if (!('seq' in outcome)) throw new Error(outcome.code);
  return outcome;
}

/** Keeps what a process hears. */
class Ear implements LogListener {
  readonly batches: { room: string; bytes: Uint8Array; ends: readonly number[]; hex: string }[] = [];
  readonly roomFrames: [string, string][] = [];
  readonly userFrames: [string, string][] = [];
  readonly control: string[] = [];

  onEvents(room: string, bytes: Uint8Array, ends: readonly number[]): void {
    this.batches.push({ room, bytes, ends, hex: hex(bytes) });
  }
  onRoomFrames(room: string, payload: Uint8Array): void {
    this.roomFrames.push([room, hex(payload)]);
  }
  onUserFrames(user: string, payload: Uint8Array): void {
    this.userFrames.push([user, hex(payload)]);
  }
  onControl(payload: Uint8Array): void {
    this.control.push(hex(payload));
  }
  onHead(): void {}

  /** The events of a room as they were heard, by seq; the first copy of each. */
  heard(room: string): Map<number, string> {
    const events = new Map<number, string>();
    for (const batch of this.batches) {
      if (batch.room !== room) continue;
      let start = 0;
      for (const end of batch.ends) {
        const bytes = batch.bytes.subarray(start, end);
        if (!events.has(readSeq(bytes))) events.set(readSeq(bytes), hex(bytes));
        start = end;
      }
    }
    return events;
  }
}

export function logConformance(name: string, open: (count: number) => Promise<OpenedLogs>): void {
  describe(`${name} as a log`, () => {
    let opened: OpenedLogs;
    let log: Log;
    let store: Store;
    let ears: Ear[];
    const order: Tried[] = [];

    async function start(count: number): Promise<void> {
      opened = await open(count);
      [log] = opened.logs as [Log];
      store = opened.store;
      ears = opened.logs.map((each) => {
        const ear = new Ear();
        each.listen(ear);
        return ear;
      });
    }
    beforeAll(() => start(2));
    afterAll(async () => {
      await closeAll(opened);
    });

    async function closeAll({ logs, pass, close }: OpenedLogs): Promise<void> {
      const closed = Promise.all(logs.map((each) => each.close())).then(() => true);
      await until(() => Promise.race([closed, pass().then(() => false)]), 'the logs to close', pass);
      await close();
    }

    async function until(
      holds: () => boolean | Promise<boolean>,
      what: string,
      pass = opened.pass,
    ): Promise<void> {
      for (let passes = 0; passes < passesMax; passes++) {
        if (await holds()) return;
        await pass();
      }
      throw new Error(`waited in vain for ${what}`);
    }

    /** A room, made in the store, that every instance has opened and is subscribed to. */
    async function makeRoom(): Promise<string> {
      const id = fresh('room');
      const room = {
        id,
        name: id,
        type: 'group' as const,
        public: false,
        encrypted: false,
        avatarUrl: null,
        metadata: null,
        retentionDays: null,
        createdBy: 'ann',
        createdAt: startTs,
      };
      await store.createRoom(room, [
        { user: 'ann', role: 'admin' },
        { user: 'bob', role: 'member' },
      ]);
      for (const each of opened.logs) {
        await each.subscribeRoom(id);
        expect(toPlace((await each.open(id))!)).toEqual({ epoch: 1, seq: 0, messages: 0 });
      }
      return id;
    }

    function append(room: string, options: ConstructorParameters<typeof Tried>[1] = {}, on = log): Tried {
      const tried = new Tried(room, options, order);
      on.append(tried);
      return tried;
    }

    const settled = (list: readonly Tried[]) =>
      until(() => list.every(({ outcomes }) => outcomes.length > 0), 'appends to settle');

    async function appendAndWait(room: string, options = {}, on = log): Promise<Outcome> {
      const tried = append(room, options, on);
      await settled([tried]);
      return tried.outcomes[0]!;
    }

    /** The room's events in the store, once all up to `seq` are there. */
    async function stored(room: string, seq: number): Promise<string[]> {
      const page = async () => (await store.page(room, null, 0, 100_000, Number.MAX_SAFE_INTEGER)).events;
      await until(async () => (await page()).some((bytes) => readSeq(bytes) >= seq), 'the store');
      return (await page()).map(hex);
    }

    /** Everybody has heard the room's events up to `seq`, each as it is stored. */
    async function expectHeard(room: string, seq: number): Promise<void> {
      const expected = new Map(
        (await stored(room, seq)).map((event) => [readSeq(Buffer.from(event, 'hex')), event]),
      );
      for (const ear of ears) {
        await until(() => ear.heard(room).size >= expected.size, `event ${seq} to be heard`);
        expect([...ear.heard(room)].sort(([a], [b]) => a - b)).toEqual([...expected]);
      }
    }

    /** Heads without what the store has of them, which may lag behind. */
    async function headsOf(rooms: readonly string[], on = log) {
      return (await on.heads(rooms)).map(toPlace);
    }

    describe('an append', () => {
      test('settles once, and not before append returns', async () => {
        const room = await makeRoom();
        const tried = append(room);
        expect(tried.outcomes).toEqual([]);
        await settled([tried]);
        await expectHeard(room, tried.seq);
        expect(tried.outcomes).toHaveLength(1);
      });

      test('is heard by every process with the bytes that are stored, stamped with what its sender was told', async () => {
        const room = await makeRoom();
        const tried = append(room, { text: 'ünï' });
        await settled([tried]);
        await expectHeard(room, tried.seq);
        const [bytes] = (await stored(room, tried.seq)).map((event) => Buffer.from(event, 'hex'));
        const { ts } = tried.outcomes[0] as { ts: number };
        expect(readSeq(bytes!)).toBe(tried.seq);
        expect(readTs(bytes!)).toBe(ts);
        const { id } = tried;
        const expected = {
          op: 64,
          seq: tried.seq,
          ts,
          room,
          from: 'ann',
          type: 'text',
          content: 'ünï',
          meta: null,
        };
        const { id: storedId, ...event } = decodeEvent(new Uint8Array(bytes!)) as unknown as {
          id: Uint8Array;
        };
        expect(event as unknown).toEqual(expected);
        expect(hex(storedId)).toBe(hex(id));
      });

      test('of every kind of event takes a seq, and only messages count as messages', async () => {
        const room = await makeRoom();
        const first = await appendAndWait(room);
        const target = 'seq' in first ? first.seq : 0;
        const changes = [
          encode.encodeMessageEdited(room, 'ann', target, 'new'),
          encode.encodeReaction(room, 'ann', target, '👍', true),
          encode.encodeUserJoined(room, 'ann', 'cat', 'member'),
          encode.encodeUserLeft(room, 'cat', 'cat'),
          encode.encodeRoomUpdated(room, 'ann', { name: 'other' }),
          encode.encodeMessageDeleted(room, 'ann', target),
        ];
        const tried = changes.map((bytes) => append(room, { bytes }));
        await settled(tried);
        expect(tried.map(({ seq }) => seq - target)).toEqual([1, 2, 3, 4, 5, 6]);
        expect(await headsOf([room])).toEqual([{ epoch: 1, seq: target + 6, messages: 1 }]);
      });

      test('is settled at the level it asked for or a higher one, one that the log offers', async () => {
        const room = await makeRoom();
        expect([...log.levels].sort((a, b) => a - b)).toEqual([...log.levels]);
        for (const level of log.levels) {
          const outcome = await appendAndWait(room, { level });
          if (!('level' in outcome)) throw new Error(outcome.code);
          expect(outcome.level).toBeGreaterThanOrEqual(level);
          expect(log.levels).toContain(outcome.level);
          // Level 4 is in the store when it settles, not soon after.
          if (outcome.level < 4) continue;
          const { events } = await store.page(room, null, outcome.seq - 1, 1, 1);
          expect(events.map((bytes) => readSeq(bytes))).toEqual([outcome.seq]);
        }
      });

      test('with the level committed is in the store when it settles, many at once', async () => {
        const room = await makeRoom();
        const missing: number[] = [];
        const reads: Promise<void>[] = [];
        const count = 50;
        class Checked extends Tried {
          override settle(seq: number, ts: number, level: Level, repeated: boolean): void {
            super.settle(seq, ts, level, repeated);
            const read = async () => {
              const { events } = await store.page(room, null, seq - 1, 1, 1);
              if (events[0] === undefined || readSeq(events[0]) !== seq) missing.push(seq);
            };
            reads.push(read());
          }
        }
        const tried = Array.from({ length: count }, () => new Checked(room, { level: 4 }, order));
        for (const each of tried) {
          log.append(each);
          if (each.id[15]! % 7 === 0) await opened.pass();
        }
        await settled(tried);
        await Promise.all(reads);
        expect(missing).toEqual([]);
      });
    });

    describe('the order', () => {
      test('of one room is dense over several appenders, and the same for everybody', async () => {
        const room = await makeRoom();
        const random = new Random(7);
        const tried: Tried[] = [];
        for (let i = 0; i < 400; i++) {
          const on = random.pick(opened.logs);
          tried.push(append(room, { from: random.pick(['ann', 'bob']), text: `text ${i}` }, on));
          if (random.chance(0.05)) await opened.pass();
        }
        await settled(tried);
        const seqs = tried.map(({ seq }) => seq).sort((a, b) => a - b);
        const first = seqs[0]!;
        expect(seqs).toEqual(tried.map((_, i) => first + i));
        await expectHeard(room, first + tried.length - 1);
        // What one process hands in, one after another, stands in that order.
        for (const on of opened.logs) {
          const own = order.filter((each) => each.room === room && tried.includes(each));
          expect(own.length).toBe(tried.length);
          expect(on.fault()).toBeNull();
        }
      });

      test('of one appender is the order in which it appended, and settled', async () => {
        const room = await makeRoom();
        const from = order.length;
        const tried = Array.from({ length: 300 }, (_, i) => append(room, { text: `${i}` }));
        await settled(tried);
        const seqs = tried.map(({ seq }) => seq);
        expect(seqs).toEqual(tried.map((_, i) => seqs[0]! + i));
        expect(order.slice(from).map(({ seq }) => seq)).toEqual(seqs);
      });

      test('of what a listener hears is ascending and dense within a batch, and the bytes do not change later', async () => {
        const room = await makeRoom();
        const tried = Array.from({ length: 200 }, (_, i) => append(room, { text: 'x'.repeat(i) }));
        await settled(tried);
        await expectHeard(room, tried[199]!.seq);
        for (const { batches } of ears) {
          for (const { bytes, ends, hex: before } of batches) {
            const starts = [0, ...ends.slice(0, -1)];
            const seqs = starts.map((start) => readSeq(bytes, start));
            expect(seqs).toEqual(seqs.map((_, i) => seqs[0]! + i));
            expect(ends.at(-1)).toBe(bytes.length);
            expect(hex(bytes)).toBe(before);
          }
        }
      });

      test('of rooms side by side is each its own', async () => {
        const rooms = [await makeRoom(), await makeRoom(), await makeRoom()];
        const tried = Array.from({ length: 90 }, (_, i) => append(rooms[i % 3]!));
        await settled(tried);
        for (const room of rooms) {
          const seqs = tried.filter((each) => each.room === room).map(({ seq }) => seq);
          expect(seqs).toEqual(seqs.map((_, i) => seqs[0]! + i));
          await expectHeard(room, seqs.at(-1)!);
        }
        const heads = await log.heads([...rooms].reverse());
        expect(heads.map(({ messages }) => messages)).toEqual([30, 30, 30]);
      });

      test('never has a ts that goes back', async () => {
        const room = await makeRoom();
        const all: Tried[] = [];
        for (let round = 0; round < 10; round++) {
          for (const on of opened.logs) all.push(append(room, {}, on), append(room, {}, on));
          await opened.pass();
        }
        await settled(all);
        const bySeq = [...all]
          .sort((a, b) => a.seq - b.seq)
          .map(({ outcomes }) => (outcomes[0] as { ts: number }).ts);
        expect(bySeq).toEqual([...bySeq].sort((a, b) => a - b));
      });

      test('holds in batches of thousands and of megabytes', async () => {
        const room = await makeRoom();
        const many = Array.from({ length: 3000 }, () => append(room, { text: '' }));
        const large = Array.from({ length: 300 }, () => append(room, { text: 'x'.repeat(8192) }));
        const tried = [...many, ...large];
        await settled(tried);
        expect(tried.map(({ seq }) => seq)).toEqual(tried.map((_, i) => tried[0]!.seq + i));
        expect(tried.filter(({ outcomes }) => outcomes.length !== 1)).toEqual([]);
        await expectHeard(room, tried.at(-1)!.seq);
        expect((await log.heads([room]))[0]!.messages).toBe(tried.length);
      });
    });

    describe('an id', () => {
      test('that comes again gives the first seq and ts, from any process, and makes no second event', async () => {
        const room = await makeRoom();
        const id = freshId();
        const first = await appendAndWait(room, { id });
        if (!('seq' in first)) throw new Error(first.code);
        await appendAndWait(room);
        for (const on of opened.logs) {
          const again = await appendAndWait(room, { id, text: 'other words' }, on);
          if (!('seq' in again)) throw new Error(again.code);
          expect(again).toEqual({ seq: first.seq, ts: first.ts, level: again.level, repeated: true });
        }
        expect(first.repeated).toBe(false);
        expect((await headsOf([room]))[0]).toEqual({ epoch: 1, seq: first.seq + 1, messages: 2 });
        await expectHeard(room, first.seq + 1);
      });

      test("that is another user's is a CONFLICT and stores nothing", async () => {
        const room = await makeRoom();
        const id = freshId();
        await appendAndWait(room, { id, from: 'ann' });
        const [before] = await headsOf([room]);
        for (const on of opened.logs) {
          expect(await appendAndWait(room, { id, from: 'bob' }, on)).toEqual({ code: 'CONFLICT' });
        }
        expect(await headsOf([room])).toEqual([before!]);
      });

      test('in another room is a message of its own', async () => {
        const [one, other] = [await makeRoom(), await makeRoom()];
        const id = freshId();
        const outcomes = [await appendAndWait(one, { id }), await appendAndWait(other, { id })];
        expect(outcomes.map((outcome) => 'repeated' in outcome && outcome.repeated)).toEqual([false, false]);
      });

      test('that stands several times in one batch makes one event', async () => {
        const room = await makeRoom();
        const id = freshId();
        const first = append(room, { id });
        const between = append(room);
        const again = append(room, { id });
        const theirs = append(room, { id, from: 'bob' });
        await settled([first, between, again, theirs]);
        const [{ seq, ts }] = first.outcomes as unknown as [{ seq: number; ts: number }];
        expect(first.outcomes).toEqual([expect.objectContaining({ seq, repeated: false })]);
        expect(between.seq).toBe(seq + 1);
        expect(again.outcomes).toEqual([expect.objectContaining({ seq, ts, repeated: true })]);
        expect(theirs.outcomes).toEqual([{ code: 'CONFLICT' }]);
        expect((await log.heads([room]))[0]!.seq).toBe(seq + 1);
      });

      test('that was there before takes nothing from the others of its batch', async () => {
        const room = await makeRoom();
        const id = freshId();
        const first = await appendAndWait(room, { id });
        const seq = 'seq' in first ? first.seq : 0;
        const batch = [
          append(room),
          append(room, { id }),
          append(room),
          append(room, { id, from: 'bob' }),
          append(room),
        ];
        await settled(batch);
        expect(batch.map((each) => each.seq)).toEqual([seq + 1, seq, seq + 2, -1, seq + 3]);
        await expectHeard(room, seq + 3);
      });

      test('that two processes send at the same moment makes one event', async () => {
        const room = await makeRoom();
        for (let round = 0; round < 20; round++) {
          const id = freshId();
          const tried = opened.logs.flatMap((on) => [append(room, { id }, on), append(room, { id }, on)]);
          await settled(tried);
          expect(new Set(tried.map(({ seq }) => seq)).size).toBe(1);
          const firsts = tried.filter(
            ({ outcomes: [outcome] }) => 'repeated' in outcome! && !outcome.repeated,
          );
          expect(firsts).toHaveLength(1);
        }
        expect((await log.heads([room]))[0]!.messages).toBe(20);
      });
    });

    describe('heads', () => {
      test('come in the order asked for, the same on every process', async () => {
        const [quiet, busy] = [await makeRoom(), await makeRoom()];
        await appendAndWait(busy);
        const last = await appendAndWait(busy);
        const seq = 'seq' in last ? last.seq : 0;
        for (const each of opened.logs) {
          expect(await headsOf([busy, quiet, busy], each)).toEqual([
            { epoch: 1, seq, messages: 2 },
            { epoch: 1, seq: 0, messages: 0 },
            { epoch: 1, seq, messages: 2 },
          ]);
          expect(await each.heads([])).toEqual([]);
          expect(toPlace((await each.open(busy))!)).toEqual({ epoch: 1, seq, messages: 2 });
        }
      });

      test('never tell of an event before it holds', async () => {
        const room = await makeRoom();
        const tried: Tried[] = [];
        let told = 0;
        for (let i = 0; i < 30; i++) {
          tried.push(append(room, { level: log.levels[0]! }));
          const asked = log.heads([room]).then(([head]) => {
            told = Math.max(told, head!.seq);
            return head!.seq;
          });
          let seq = -1;
          void asked.then((answer) => {
            seq = answer;
          });
          await until(() => seq >= 0, 'the head');
          const { events } = await store.page(room, null, 0, 1000, Number.MAX_SAFE_INTEGER);
          const known = (await log.readAfter(room, 0, 1000, 1e9)) ?? events;
          const last = known.at(-1);
          expect(last === undefined ? 0 : readSeq(last)).toBeGreaterThanOrEqual(seq);
        }
        await settled(tried);
        expect(told).toBeLessThanOrEqual(tried.at(-1)!.seq);
      });

      test('are there again after the room was left by everybody', async () => {
        const room = await makeRoom();
        const last = await appendAndWait(room);
        for (const each of opened.logs) each.unsubscribeRoom(room);
        expect(await headsOf([room])).toEqual([
          { epoch: 1, seq: 'seq' in last ? last.seq : -1, messages: 1 },
        ]);
        const next = await appendAndWait(room);
        expect('seq' in next && next.seq).toBe(('seq' in last ? last.seq : -1) + 1);
      });
    });

    describe('reading after a seq', () => {
      test('gives the next events in order, or null where the store has to', async () => {
        const room = await makeRoom();
        const tried = Array.from({ length: 20 }, () => append(room));
        await settled(tried);
        const first = tried[0]!.seq;
        const events = await stored(room, first + 19);
        for (const [after, limit] of [
          [first - 1, 100],
          [first + 4, 5],
          [first + 19, 5],
        ] as const) {
          const read = await log.readAfter(room, after, limit, 1e9);
          if (read === null) continue;
          const expected = events.slice(after - first + 1, after - first + 1 + limit);
          expect(read.map(hex)).toEqual(expected);
        }
      });
    });

    describe('reading back', () => {
      test('gives the newest below a seq in order, as much as was asked for, and tells where the store goes on', async () => {
        const room = await makeRoom();
        const tried = Array.from({ length: 40 }, (_, i) => append(room, { text: 'x'.repeat(i * 10) }));
        await settled(tried);
        const first = tried[0]!.seq;
        const events = await stored(room, first + 39);
        for (const [before, limit, bytesMax] of [
          [null, 5, 1e9],
          [null, 1000, 1e9],
          [first + 20, 7, 1e9],
          [first + 39, 1000, 500],
          [first, 10, 1e9],
        ] as const) {
          const page = await log.readBefore(room, before, limit, bytesMax);
          if (page === null) continue;
          const seqs = page.events.map((bytes) => readSeq(bytes));
          const end = (before ?? first + 40) - 1;
          expect(seqs).toEqual(seqs.map((_, i) => end - seqs.length + 1 + i));
          expect(page.events.map(hex)).toEqual(events.slice(end - first + 1 - seqs.length, end - first + 1));
          expect(seqs.length).toBeLessThanOrEqual(limit);
          const size = page.events.slice(1).reduce((sum, bytes) => sum + bytes.length, 0);
          expect(size).toBeLessThanOrEqual(bytesMax);
          const [oldest] = await log.readOldest(room);
          if (page.isStart && seqs.length > 0) expect(seqs[0]).toBe(readSeq(oldest!));
          if (!page.isStart)
            expect(seqs.length === limit || size + page.events[0]!.length > bytesMax).toBe(true);
        }
      });

      test('finds the edits, deletes and reactions of a message that stand far behind it', async () => {
        const room = await makeRoom();
        const { seq: target } = settledOne(await appendAndWait(room));
        const { seq: other } = settledOne(await appendAndWait(room));
        const between = Array.from({ length: 60 }, () => append(room, { text: 'x'.repeat(3000) }));
        await settled(between);
        const changes = await log.changes(room);
        const frames = [
          encode.encodeMessageEdited(room, 'ann', target, 'first'),
          encode.encodeMessageEdited(room, 'ann', other, 'not meant'),
          encode.encodeReaction(room, 'ann', target, '+', true),
          encode.encodeReaction(room, 'bob', target, '+', true),
          encode.encodeMessageEdited(room, 'ann', target, 'second'),
          encode.encodeMessageDeleted(room, null, target),
        ];
        const tried = frames.map((bytes) => append(room, { bytes }));
        await settled(tried);
        const seqs = tried.map(({ seq }) => seq);
        // A log that keeps none is one whose store has all; one that keeps some has the last word on each.
        const opened = await log.changes(room);
        expect(opened === null).toBe(changes === null);
        if (opened === null) return;
        const raw = await log.readAfter(room, target - 1, 1, 1e9);
        if (raw !== null) {
          const found = (await opened.of([target], target)) ?? [];
          const last = found.map((bytes) => readSeq(bytes));
          expect(last).toEqual([...last].sort((a, b) => a - b));
          expect(last).toContain(seqs[4]!);
          expect(last).toContain(seqs[5]!);
          expect(last).not.toContain(seqs[1]!);
          const reactions = (await opened.reactions(target, 'ann', '+', target)) ?? [];
          expect(reactions.map((bytes) => readSeq(bytes))).toEqual([seqs[2]!]);
        }
        // Nothing that the store has already is given for what it answers.
        const [head] = await log.heads([room]);
        const waiting = (await opened.of([target], null)) ?? [];
        expect(waiting.every((bytes) => readSeq(bytes) <= head!.seq)).toBe(true);
      });
    });

    describe('ephemeral frames', () => {
      const payload = encode.encodeTyping('room', 'ann', true);

      test('of a room reach every process that is subscribed, the own one included', async () => {
        const room = await makeRoom();
        log.publishToRoom(room, payload);
        for (const ear of ears) {
          await until(() => ear.roomFrames.some(([id]) => id === room), 'a frame of the room');
          expect(ear.roomFrames.filter(([id]) => id === room)).toEqual([[room, hex(payload)]]);
        }
      });

      test('that are meant for all processes reach them where all are subscribed to the room', async () => {
        const room = await makeRoom();
        // In a cluster nobody can tell.
        if (!(await log.publishIfAllHear(room, payload))) return;
        for (const ear of ears)
          await until(() => ear.roomFrames.some(([id]) => id === room), 'a frame of the room');
      });

      test('of a user reach every process that is subscribed to the user, the own one included', async () => {
        const user = fresh('user');
        for (const each of opened.logs) each.subscribeUser(user);
        // Nobody is told when the subscription stands: until then frames may be lost.
        for (const ear of ears) {
          await until(() => {
            if (ear.userFrames.some(([id]) => id === user)) return true;
            log.publishToUser(user, payload);
            return false;
          }, 'a frame of the user');
          expect(ear.userFrames.find(([id]) => id === user)).toEqual([user, hex(payload)]);
        }
      });
    });

    test('what processes tell each other reaches all of them', async () => {
      const payload = new TextEncoder().encode(fresh('control'));
      log.publishControl(payload);
      for (const ear of ears) await until(() => ear.control.includes(hex(payload)), 'a control message');
    });

    describe('closing', () => {
      test('settles what is under way, and keeps it', async () => {
        const before = opened;
        const beforeEars = ears;
        await start(1);
        try {
          const room = await makeRoom();
          const tried = Array.from({ length: 500 }, () => append(room));
          let isClosed = false;
          const closed = log.close().then(() => {
            isClosed = true;
          });
          await until(() => isClosed, 'the log to close');
          await closed;
          expect(tried.filter(({ outcomes }) => outcomes.length !== 1)).toEqual([]);
          const kept = tried.filter(({ seq }) => seq > 0);
          expect(await stored(room, kept.at(-1)!.seq)).toHaveLength(kept.length);
        } finally {
          await opened.close();
          opened = before;
          [log] = before.logs as [Log];
          store = before.store;
          ears = beforeEars;
        }
      });

      test('with nothing under way is done at once', async () => {
        const fresh = await open(1);
        fresh.logs[0]!.listen(new Ear());
        await closeAll(fresh);
      });
    });
  });
}
