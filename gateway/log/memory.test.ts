// The log of one process: the suite of every log, then what happens when the store fails, answers late, or leaves open
// what became of a commit.

import { beforeEach, describe, expect, test } from 'bun:test';
import { encodeMessage, encodeUserJoined } from '../../core/protocol/encode.ts';
import { readSeq, readTs } from '../../core/protocol/stamp.ts';
import { logConformance } from '../../tests/conformance/log.ts';
import { Random } from '../../tests/fuzz/random.ts';
import { SimulatedClock, startMs } from '../../tests/simulated/clock.ts';
import { SimulatedStore } from '../../tests/simulated/store.ts';
import type { Append, Head, Log } from './log.ts';
import { MemoryLog } from './memory.ts';

const silent = { onCommit: () => {}, onRepeated: () => {}, onCommitFailed: () => {} };

/** One process has one log: every instance that is asked for is the same, with an ear for each that listens. */
function shared(log: MemoryLog): Log[] {
  const listeners: Parameters<Log['listen']>[0][] = [];
  log.listen({
    onEvents: (...all) => {
      for (const each of listeners) each.onEvents(...all);
    },
    onRoomFrames: (...all) => {
      for (const each of listeners) each.onRoomFrames(...all);
    },
    onUserFrames: (...all) => {
      for (const each of listeners) each.onUserFrames(...all);
    },
    onControl: (...all) => {
      for (const each of listeners) each.onControl(...all);
    },
    onHead: (...all) => {
      for (const each of listeners) each.onHead(...all);
    },
  });
  const listening = new Proxy(log, {
    get(target, key: keyof Log) {
      if (key === 'listen') return (listener: Parameters<Log['listen']>[0]) => listeners.push(listener);
      const value = target[key];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return [listening, listening];
}

for (const isSlow of [false, true]) {
  logConformance(isSlow ? 'the log in memory over a slow store' : 'the log in memory', async (count) => {
    const clock = new SimulatedClock();
    const simulated = new SimulatedStore();
    const random = new Random(3);
    const late = (): Promise<void> => {
      const { promise, resolve } = Promise.withResolvers<void>();
      clock.after(random.below(5), resolve);
      return promise;
    };
    if (isSlow)
      simulated.decide = (method) => (method === 'commit' ? { before: late(), after: late() } : null);
    const log = new MemoryLog(simulated.store, clock, silent);
    return {
      logs: shared(log).slice(0, count),
      store: simulated.store,
      pass: () => clock.advance(1),
      close: async () => {},
    };
  });
}

let clock: SimulatedClock;
let simulated: SimulatedStore;
let log: MemoryLog;
let heard: string[];
let told: [string, Head][];

beforeEach(() => {
  clock = new SimulatedClock();
  simulated = new SimulatedStore();
  log = new MemoryLog(simulated.store, clock, silent);
  heard = [];
  told = [];
  log.listen({
    onEvents(room, bytes, ends) {
      for (const start of [0, ...ends.slice(0, -1)]) heard.push(`${room} ${readSeq(bytes, start)}`);
    },
    onRoomFrames() {},
    onUserFrames() {},
    onControl() {},
    onHead: (room, head) => told.push([room, head]),
  });
});

let ids = 0;

function append(room: string, { id = ++ids, from = 'ann', text = 'hello' } = {}): string[] {
  const outcome: string[] = [];
  const bytesOfId = new Uint8Array(16);
  new DataView(bytesOfId.buffer).setUint32(12, id);
  const entry: Append = {
    room,
    from,
    level: 4,
    id: bytesOfId,
    bytes: encodeMessage(room, from, bytesOfId, 'text', text, null),
    settle: (seq, _ts, level, repeated) =>
      void outcome.push(`${seq} at ${level}${repeated ? ' repeated' : ''}`),
    fail: (code) => void outcome.push(code),
  };
  log.append(entry);
  return outcome;
}

async function storedSeqs(room: string): Promise<number[]> {
  const { events } = await simulated.store.page(room, null, 0, 100_000, Number.MAX_SAFE_INTEGER);
  return events.map((bytes) => readSeq(bytes));
}

describe('batches', () => {
  test('what is appended in one turn is one commit', async () => {
    for (let i = 0; i < 100; i++) append(`room-${i % 7}`);
    await clock.settle();
    expect(simulated.count('commit')).toBe(1);
    expect(simulated.count('heads')).toBe(1);
  });

  test('while one commit is under way the next batch gathers', async () => {
    const gate = simulated.hold('commit');
    const outcomes = [append('room')];
    await clock.settle();
    for (let i = 0; i < 50; i++) {
      outcomes.push(append('room'));
      await clock.settle();
    }
    expect(simulated.count('commit')).toBe(1);
    expect(outcomes.flat()).toEqual([]);
    gate.open();
    await clock.settle();
    expect(simulated.count('commit')).toBe(2);
    expect(outcomes.flat()).toEqual(outcomes.map((_, i) => `${i + 1} at 4`));
  });

  test('a commit has a bound of entries and of bytes', async () => {
    const sizes: number[] = [];
    simulated.decide = (method, args) => {
      if (method === 'commit') sizes.push((args[0] as unknown[]).length);
      return null;
    };
    for (let i = 0; i < 2500; i++) append('room');
    await clock.settle();
    expect(sizes).toEqual([1024, 1024, 452]);
    sizes.length = 0;
    for (let i = 0; i < 300; i++) append('room', { text: 'x'.repeat(8192) });
    await clock.settle();
    expect(Math.max(...sizes)).toBeLessThan(130);
    expect(sizes.reduce((sum, size) => sum + size)).toBe(300);
  });

  test('too many waiting bytes are UNAVAILABLE, and those that wait are not lost', async () => {
    const gate = simulated.hold('commit');
    const first = append('room');
    await clock.settle();
    const text = 'x'.repeat(1024 * 1024);
    const outcomes = Array.from({ length: 70 }, () => append('room', { text }));
    await clock.settle();
    const refused = outcomes.filter(([outcome]) => outcome === 'UNAVAILABLE');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(10);
    gate.open();
    await clock.settle();
    expect(first).toEqual(['1 at 4']);
    expect(outcomes.filter((outcome) => outcome.length !== 1)).toEqual([]);
    const kept = outcomes.length - refused.length;
    expect(await storedSeqs('room')).toEqual(Array.from({ length: kept + 1 }, (_, i) => i + 1));
  });
});

describe('time', () => {
  test('ts follows the clock, and stays where the clock goes back', async () => {
    const now = [startMs, startMs + 10, startMs - 5000, startMs + 5, startMs + 20];
    clock.now = () => now[0]!;
    const ts: number[] = [];
    while (now.length > 0) {
      append('room');
      await clock.settle();
      now.shift();
    }
    const { events } = await simulated.store.page('room', null, 0, 100, 100_000);
    for (const bytes of events) ts.push(readTs(bytes));
    expect(ts).toEqual([startMs, startMs + 10, startMs + 10, startMs + 10, startMs + 20]);
  });

  test('ts stays also over a restart', async () => {
    append('room');
    await clock.settle();
    const earlier = new SimulatedClock();
    earlier.now = () => startMs - 60_000;
    log = new MemoryLog(simulated.store, earlier, silent);
    append('room');
    await earlier.settle();
    const { events } = await simulated.store.page('room', null, 0, 100, 100_000);
    expect(events.map((bytes) => [readSeq(bytes), readTs(bytes)])).toEqual([
      [1, startMs],
      [2, startMs],
    ]);
  });
});

describe('a commit that fails', () => {
  test('fails its batch with UNAVAILABLE, nobody hears of it, and its numbers are given again', async () => {
    append('room');
    await clock.settle();
    simulated.next('commit', { fails: true });
    const failed = [append('room'), append('other')];
    await clock.settle();
    expect(failed).toEqual([['UNAVAILABLE'], ['UNAVAILABLE']]);
    expect(heard).toEqual(['room 1']);
    const next = append('room');
    await clock.settle();
    expect(next).toEqual(['2 at 4']);
    expect(heard).toEqual(['room 1', 'room 2']);
    expect(await storedSeqs('room')).toEqual([1, 2]);
  });

  test('does not fail the batch that gathered behind it', async () => {
    const gate = simulated.hold('commit');
    const first = append('room');
    await clock.settle();
    simulated.next('commit', { fails: true });
    const second = append('room');
    gate.open();
    await clock.settle();
    const third = append('room');
    await clock.settle();
    expect([first, second, third]).toEqual([['1 at 4'], ['UNAVAILABLE'], ['2 at 4']]);
  });

  test('where its outcome is unknown uses no number twice, and the same id finds its event', async () => {
    append('room');
    await clock.settle();
    simulated.next('commit', { failsAfter: true });
    const lost = append('room', { id: 900 });
    await clock.settle();
    expect(lost).toEqual(['UNAVAILABLE']);
    const other = append('room');
    await clock.settle();
    const again = append('room', { id: 900 });
    await clock.settle();
    expect(other).toEqual(['3 at 4']);
    expect(again).toEqual(['2 at 4 repeated']);
    expect(await storedSeqs('room')).toEqual([1, 2, 3]);
    // Nobody heard of 2: the listener is told the head and reads it.
    expect(heard).toEqual(['room 1', 'room 3']);
    expect(told).toEqual([['room', expect.objectContaining({ seq: 2 })]]);
  });

  test('where its outcome is unknown is told of also when nobody appends any more', async () => {
    append('room');
    await clock.settle();
    simulated.next('commit', { failsAfter: true });
    append('room');
    await clock.settle();
    await clock.advance(1000);
    expect(told).toEqual([['room', expect.objectContaining({ seq: 2 })]]);
  });

  test('is a fault until the store answers again', async () => {
    expect(log.fault()).toBeNull();
    simulated.decide = (method) => (method === 'commit' || method === 'check' ? { fails: true } : null);
    append('room');
    await clock.settle();
    expect(log.fault()).not.toBeNull();
    await clock.advance(5000);
    expect(log.fault()).not.toBeNull();
    simulated.decide = () => null;
    await clock.advance(1000);
    expect(log.fault()).toBeNull();
    expect(clock.pending).toBe(0);
  });

  test('because heads cannot be read is UNAVAILABLE too', async () => {
    simulated.next('heads', { fails: true });
    const failed = append('room');
    await clock.settle();
    const next = append('room');
    await clock.settle();
    expect([failed, next]).toEqual([['UNAVAILABLE'], ['1 at 4']]);
  });

  test('after some of its batch were repeats fails only the others', async () => {
    append('room', { id: 700 });
    await clock.settle();
    simulated.next('commit', {});
    simulated.next('commit', { fails: true });
    const batch = [append('room'), append('room', { id: 700 }), append('room')];
    await clock.settle();
    expect(batch).toEqual([['UNAVAILABLE'], ['1 at 4 repeated'], ['UNAVAILABLE']]);
    append('room');
    await clock.settle();
    expect(await storedSeqs('room')).toEqual([1, 2]);
  });
});

describe('heads', () => {
  const headOf = async (room: string) => {
    const [head] = await log.heads([room]);
    return head!.seq;
  };

  test('do not tell of a commit that is under way', async () => {
    append('room');
    await clock.settle();
    const gate = simulated.hold('commit');
    append('room');
    await clock.settle();
    expect(await headOf('room')).toBe(1);
    gate.open();
    await clock.settle();
    expect(await headOf('room')).toBe(2);
  });

  test('that were read before a commit and answered after it are not kept', async () => {
    const gate = simulated.hold('heads', 'after');
    const asked = headOf('room');
    append('room');
    await clock.settle();
    log.unsubscribeRoom('room');
    gate.open();
    await clock.settle();
    await asked;
    const next = append('room');
    await clock.settle();
    expect(next).toEqual(['2 at 4']);
    expect(await storedSeqs('room')).toEqual([1, 2]);
  });

  test('that were read before a failed commit and answered after it are not kept', async () => {
    const gate = simulated.hold('heads', 'after');
    const asked = headOf('room');
    simulated.next('commit', { failsAfter: true });
    append('room');
    await clock.settle();
    gate.open();
    await clock.settle();
    await asked;
    append('room');
    await clock.settle();
    expect(await storedSeqs('room')).toEqual([1, 2]);
  });

  test('of several rooms can be asked for while one of them is left', async () => {
    append('room');
    await clock.settle();
    const gate = simulated.hold('heads');
    const asked = log.heads(['room', 'other']);
    log.unsubscribeRoom('room');
    gate.open();
    await clock.settle();
    expect((await asked).map(({ seq }) => seq)).toEqual([1, 0]);
  });
});

test('whatever fails and however late it answers, what was settled is stored once at its place', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new Random(seed);
    clock = new SimulatedClock();
    simulated = new SimulatedStore();
    log = new MemoryLog(simulated.store, clock, silent);
    const events = new Map<string, Map<number, number>>();
    log.listen({ onEvents() {}, onRoomFrames() {}, onUserFrames() {}, onControl() {}, onHead() {} });
    const late = () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      clock.after(random.below(20), resolve);
      return promise;
    };
    simulated.decide = () => ({
      before: late(),
      after: late(),
      fails: random.chance(0.1),
      failsAfter: random.chance(0.1),
    });
    const rooms = ['a', 'b', 'c'];
    for (const room of rooms) events.set(room, new Map());
    const acked: { room: string; seq: number; id: number; repeated: boolean }[] = [];
    let open = 0;
    for (let i = 0; i < 150; i++) {
      const room = random.pick(rooms);
      const number = random.below(60) + seed * 1000;
      const id = new Uint8Array(16);
      new DataView(id.buffer).setUint32(12, number);
      const isMessage = random.chance(0.8);
      open++;
      log.append({
        room,
        from: 'ann',
        level: 4,
        id: isMessage ? id : random.bytes(16),
        bytes: isMessage
          ? encodeMessage(room, 'ann', id, 'text', `${number}`, null)
          : encodeUserJoined(room, 'ann', `user-${random.below(5)}`, 'member'),
        settle(seq, _ts, _level, repeated) {
          open--;
          if (isMessage) acked.push({ room, seq, id: number, repeated });
          else acked.push({ room, seq, id: -seq, repeated });
        },
        fail() {
          open--;
        },
      });
      if (random.chance(0.1)) log.unsubscribeRoom(random.pick(rooms));
      if (random.chance(0.2)) void log.heads(rooms).catch(() => {});
      if (random.chance(0.3)) await clock.advance(random.below(30));
    }
    simulated.decide = () => null;
    await clock.advance(2000);
    expect(open).toBe(0);
    for (const room of rooms) {
      const { events: stored } = await simulated.store.page(room, null, 0, 1000, Number.MAX_SAFE_INTEGER);
      const seqs = stored.map((bytes) => readSeq(bytes));
      expect(seqs).toEqual(seqs.map((_, i) => i + 1));
      const own = acked.filter((each) => each.room === room);
      const idBySeq = new Map<number, number>();
      for (const { seq, id } of own) {
        expect(seqs).toContain(seq);
        expect(idBySeq.get(seq) ?? id).toBe(id);
        idBySeq.set(seq, id);
      }
    }
  }
});
