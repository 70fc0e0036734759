// From a cursor to live and back: the attach without a hole, the rules of `reset`, and readers of every pace.

import { describe, expect, test } from 'bun:test';
import {
  encodeEpochStarted,
  encodeMessage,
  encodeMessageDeleted,
  encodeMessageEdited,
} from '../core/protocol/encode.ts';
import { readSeq, stamp } from '../core/protocol/stamp.ts';
import { Random } from '../tests/fuzz/random.ts';
import { makeLossy } from '../tests/simulated/lossy-log.ts';
import { freshId, type Process, request, startProcess } from '../tests/simulated/process.ts';
import { ephemeralTopic, roomTopic } from './topics.ts';

const range = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

function append(chat: Process, bytes: Uint8Array): void {
  chat.log.append({ room: 'room', from: 'ann', bytes, level: 4, id: freshId(), settle() {}, fail() {} });
}
const text = (content = 'hello') => encodeMessage('room', 'ann', freshId(), 'text', content, null);

/** A room with so many messages, cold: this process has not heard of them. */
async function makeFilled(count: number, options = {}, content = 'hello') {
  const chat = await startProcess(options);
  await chat.makeRoom('room', ['ann', 'bob']);
  for (let i = 0; i < count; i++) append(chat, text(content));
  await chat.clock.settle();
  return chat;
}

describe('subscribing', () => {
  test('without a cursor begins after the head', async () => {
    const chat = await makeFilled(5);
    const ann = await chat.connect('ann');
    expect((await ann.ask('subscribe', 'room', null, null)).slice(2)).toEqual([1, 5, false]);
    append(chat, text());
    await chat.clock.settle();
    expect(ann.seqs('room')).toEqual([6]);
    expect([...ann.handle.topics].sort()).toEqual(['*', ephemeralTopic('room'), roomTopic('room')].sort());
  });

  test('from any cursor gives the answer, then every event after it, then what is live', async () => {
    const chat = await makeFilled(300);
    for (const seq of [0, 1, 63, 64, 65, 199, 299, 300]) {
      const ann = await chat.connect('ann');
      ann.take();
      ann.send(request('subscribe', 1, 'room', 1, seq));
      await chat.clock.settle();
      const [answer, ...events] = ann.take();
      expect(answer).toEqual([32, 1, 1, 300, false]);
      expect(events.map(([, each]) => each)).toEqual(range(seq + 1, 300 - seq));
      ann.handle.leave();
    }
  });

  test('resets where the epoch differs, the cursor is beyond the head or more than 1,000 behind', async () => {
    const chat = await makeFilled(1100);
    const ann = await chat.connect('ann');
    for (const [epoch, seq, isReset] of [
      [2, 1100, true],
      [0, 1100, true],
      [1, 1101, true],
      [1, 99, true],
      [1, 0, true],
      [1, 100, false],
    ] as const) {
      ann.take();
      expect((await ann.ask('subscribe', 'room', epoch, seq)).slice(2)).toEqual([1, 1100, isReset]);
      expect(ann.take().filter(([op]) => op === 64)).toHaveLength(isReset ? 0 : 1000);
    }
    append(chat, text());
    await chat.clock.settle();
    expect(ann.take().map(([, seq]) => seq)).toEqual([1101]);
  });

  test('with a cursor beyond what this process has heard so far first hears what the log has', async () => {
    let isLost = true;
    const chat = await startProcess({
      wrapLog: (log, clock, random) =>
        makeLossy(log, clock, random, () => ({ lose: isLost ? 1 : 0, double: 0, lateMs: 0 })),
    });
    await chat.makeRoom('room', ['ann', 'bob']);
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', null, null);
    for (let i = 0; i < 5; i++) append(chat, text());
    await chat.clock.settle();
    // Bob was on another process, which had heard of all five.
    const bob = await chat.connect('bob');
    expect((await bob.ask('subscribe', 'room', 1, 5)).slice(2)).toEqual([1, 5, false]);
    expect(ann.seqs('room')).toEqual(range(1, 5));
    isLost = false;
    append(chat, text());
    await chat.clock.settle();
    expect(bob.seqs('room')).toEqual([6]);
    append(chat, encodeEpochStarted('room', 2));
    await chat.clock.settle();
    isLost = true;
    append(chat, text());
    await chat.clock.settle();
    expect((await bob.ask('subscribe', 'room', 2, 8)).slice(2)).toEqual([2, 8, false]);
    expect(ann.seqs('room')).toEqual(range(1, 8));
  });

  test('with such a cursor while nothing can be read is UNAVAILABLE in the end, and works when it can', async () => {
    const chat = await startProcess({
      wrapLog: (log, clock, random) =>
        makeLossy(log, clock, random, () => ({ lose: 1, double: 0, lateMs: 0 })),
    });
    await chat.makeRoom('room', ['ann', 'bob']);
    await (await chat.connect('ann')).ask('subscribe', 'room', null, null);
    append(chat, text());
    await chat.clock.settle();
    chat.simulated.decide = (method) => (method === 'page' ? { fails: true } : null);
    const bob = await chat.connect('bob');
    bob.send(request('subscribe', 1, 'room', 1, 1));
    await chat.clock.advance(4000);
    expect(bob.all).toHaveLength(1);
    await chat.clock.advance(2000);
    expect(bob.all.at(-1)!.slice(0, 3)).toEqual([33, 1, 'UNAVAILABLE']);
    chat.simulated.decide = () => null;
    await chat.clock.advance(1000);
    expect((await bob.ask('subscribe', 'room', 1, 1)).slice(2)).toEqual([1, 1, false]);
  });

  test('by join_room gives the answer first, then every event after its head', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann'], { public: true });
    const bob = await chat.connect('bob');
    bob.take();
    bob.send(request('join_room', 1, 'room'));
    const next = text();
    const subscribe = bob.handle.subscribe.bind(bob.handle);
    bob.handle.subscribe = (topic) => {
      subscribe(topic);
      if (topic !== roomTopic('room')) return;
      stamp(next, 0, 2, chat.clock.now());
      queueMicrotask(() => chat.hub.onEvents('room', next, [next.length]));
    };
    await chat.clock.settle();
    const frames = bob.take().filter(([op]) => op < 96);
    expect(frames[0]).toEqual([32, 1, 'room', 1, 1]);
    expect(frames.slice(1).map(([, seq]) => seq)).toEqual([2]);
  });

  test('with only one half of a cursor is a BAD_REQUEST', async () => {
    const chat = await makeFilled(1);
    const ann = await chat.connect('ann');
    expect((await ann.ask('subscribe', 'room', 1, null))[2]).toBe('BAD_REQUEST');
    expect((await ann.ask('subscribe', 'room', null, 1))[2]).toBe('BAD_REQUEST');
    expect(ann.socket.subscriptions.size).toBe(0);
  });

  test('again re-attaches, and nothing of the live stream is lost in between', async () => {
    const chat = await makeFilled(3);
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', null, null);
    append(chat, text());
    await chat.clock.settle();
    ann.take();
    append(chat, text());
    ann.send(request('subscribe', 7, 'room', 1, 2));
    await chat.clock.settle();
    const frames = ann.take();
    const answer = frames.findIndex(([op]) => op === 32);
    const head = frames[answer]![3] as number;
    expect(frames.slice(answer + 1).map(([, seq]) => seq)).toEqual(range(3, 3));
    expect(head === 4 || head === 5).toBe(true);
    expect(chat.hub.active('room')!.subscriptions.size).toBe(1);
    await chat.clock.advance(300);
    expect((await ann.ask('presence', 'room')).slice(2, 3)).toEqual([1]);
  });

  test('to a full room is ROOM_FULL, but not for who is in it already', async () => {
    const chat = await makeFilled(1, { roomSocketsMax: 2 });
    const peers = [await chat.connect('ann'), await chat.connect('bob'), await chat.connect('ann')];
    const answers: unknown[] = [];
    for (const peer of peers) answers.push((await peer.ask('subscribe', 'room', null, null))[2]);
    expect(answers).toEqual([1, 1, 'ROOM_FULL']);
    expect((await peers[0]!.ask('subscribe', 'room', null, null))[2]).toBe(1);
    await peers[1]!.ask('unsubscribe', 'room');
    expect((await peers[2]!.ask('subscribe', 'room', null, null))[2]).toBe(1);
  });
});

test('under concurrent appends, edits and deletes nothing is missing and nothing comes twice', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new Random(seed);
    const chat = await startProcess({ seed, limits: { ringBytesMax: random.pick([200, 2000, 64_000]) } });
    const { clock, simulated } = chat;
    await chat.makeRoom('room', ['ann', 'bob']);
    const before = random.below(80);
    for (let i = 0; i < before; i++) append(chat, text());
    await clock.settle();
    const late = () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      clock.after(random.below(12), resolve);
      return promise;
    };
    simulated.decide = () => ({ before: late(), after: late() });
    const peers: { peer: Awaited<ReturnType<Process['connect']>>; cursor: number }[] = [];
    for (let turn = 0; turn < 30; turn++) {
      for (let i = random.below(3); i > 0; i--) {
        const target = 1 + random.below(Math.max(1, before));
        append(
          chat,
          random.pick([
            text(),
            text(),
            encodeMessageEdited('room', 'ann', target, 'edited'),
            encodeMessageDeleted('room', 'ann', target),
          ]),
        );
      }
      if (random.chance(0.3)) {
        const peer = await chat.connect('bob');
        const cursor = random.below(before + 1);
        peer.send(request('subscribe', 1, 'room', 1, cursor));
        peers.push({ peer, cursor });
      }
      await clock.advance(random.below(15));
    }
    await clock.advance(5000);
    const stored = simulated.events('room').map((bytes) => readSeq(bytes));
    for (const { peer, cursor } of peers) {
      const seqs = peer.seqs('room');
      expect({ seed, cursor, seqs }).toEqual({ seed, cursor, seqs: stored.filter((seq) => seq > cursor) });
    }
  }
});

describe('a page that is ahead', () => {
  test('of what is published here is not told twice', async () => {
    const chat = await makeFilled(10, { limits: { ringBytesMax: 1 } });
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', null, null);
    // Committed, but its commit has not answered yet: a page has it already.
    const gate = chat.simulated.hold('commit', 'after');
    append(chat, text());
    await chat.clock.settle();
    const bob = await chat.connect('bob');
    bob.send(request('subscribe', 1, 'room', 1, 4));
    await chat.clock.settle();
    gate.open();
    await chat.clock.settle();
    expect(bob.seqs('room')).toEqual(range(5, 7));
  });
});

describe('catching up', () => {
  test('is paced by the reader: never more than a piece beyond the slow mark is waiting, and no 4008', async () => {
    const chat = await makeFilled(900, { backlogBytesMax: 32_768 }, 'x'.repeat(500));
    const ann = await chat.connect('ann');
    ann.handle.isStalled = true;
    ann.send(request('subscribe', 1, 'room', 1, 0));
    await chat.clock.settle();
    let most = 0;
    for (let i = 0; i < 500 && !ann.socket.subscriptions.get('room')!.isLive; i++) {
      most = Math.max(most, ann.handle.bufferedBytes());
      ann.handle.read(4000);
      await chat.clock.settle();
    }
    ann.handle.read();
    expect(most).toBeLessThan(32_768 / 2 + 1000);
    expect(ann.handle.isOpen).toBe(true);
    expect(ann.seqs('room')).toEqual(range(1, 900));
  });

  test('of a herd with near cursors costs few reads', async () => {
    const chat = await makeFilled(400);
    const peers = await Promise.all(range(0, 200).map(() => chat.connect('ann')));
    peers.forEach((peer, i) => {
      peer.send(request('subscribe', 1, 'room', 1, 320 + (i % 60)));
    });
    await chat.clock.settle();
    peers.forEach((peer, i) => {
      expect(peer.seqs('room')).toEqual(range(321 + (i % 60), 80 - (i % 60)));
    });
    expect(chat.simulated.count('page')).toBeLessThanOrEqual(2);
    expect(chat.simulated.count('room')).toBe(1);
  });

  test('of a herd whose cursor is where an earlier page ended costs one more read', async () => {
    const chat = await makeFilled(70, { limits: { ringBytesMax: 1 } });
    const first = await chat.connect('ann');
    await first.ask('subscribe', 'room', 1, 64);
    for (let i = 0; i < 20; i++) append(chat, text());
    await chat.clock.settle();
    const reads = chat.simulated.count('page');
    const peers = await Promise.all(range(0, 50).map(() => chat.connect('ann')));
    for (const peer of peers) peer.send(request('subscribe', 1, 'room', 1, 70));
    await chat.clock.settle();
    for (const peer of peers) expect(peer.seqs('room')).toEqual(range(71, 20));
    expect(chat.simulated.count('page') - reads).toBe(1);
  });

  test('does not bring back from a kept page what was deleted meanwhile', async () => {
    const chat = await makeFilled(0, { limits: { ringBytesMax: 1 } });
    append(chat, text('secret'));
    append(chat, text());
    await chat.clock.settle();
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', 1, 0);
    expect(ann.events('room')[0]![7]).toBe('secret');
    append(chat, encodeMessageDeleted('room', 'ann', 1));
    await chat.clock.settle();
    const bob = await chat.connect('bob');
    await bob.ask('subscribe', 'room', 1, 0);
    expect(bob.events('room').map((event) => event[7])).toEqual([null, 'hello', undefined]);
  });

  test('goes on when the store is away and comes back', async () => {
    const chat = await makeFilled(50);
    const ann = await chat.connect('ann');
    for (let i = 0; i < 3; i++) chat.simulated.next('page', { fails: true });
    ann.send(request('subscribe', 1, 'room', 1, 10));
    await chat.clock.settle();
    expect(ann.seqs('room')).toEqual([]);
    await chat.clock.advance(5000);
    expect(ann.seqs('room')).toEqual(range(11, 40));
  });

  test('ends with the socket: what is read for one that has gone goes nowhere', async () => {
    const chat = await makeFilled(50);
    const ann = await chat.connect('ann');
    const gate = chat.simulated.hold('page');
    ann.send(request('subscribe', 1, 'room', 1, 10));
    await chat.clock.settle();
    ann.handle.leave();
    gate.open();
    await chat.clock.advance(2000);
    expect(ann.seqs('room')).toEqual([]);
    expect(chat.hub.active('room')!.subscriptions.size).toBe(0);
    expect(chat.engine.membersOf(roomTopic('room')).size).toBe(0);
  });
});

describe('a slow reader', () => {
  test('falls behind and catches up with every event once, while others go on', async () => {
    const chat = await makeFilled(0, { backlogBytesMax: 40_000 });
    const [ann, bob] = [await chat.connect('ann'), await chat.connect('bob')];
    for (const peer of [ann, bob]) await peer.ask('subscribe', 'room', null, null);
    bob.handle.isStalled = true;
    for (let i = 0; i < 100; i++) {
      append(chat, text('x'.repeat(900)));
      await chat.clock.settle();
    }
    expect(ann.seqs('room')).toEqual(range(1, 100));
    expect(bob.handle.isOpen).toBe(true);
    expect(bob.handle.bufferedBytes()).toBeLessThan(40_000);
    expect([...bob.handle.topics]).toEqual(['*']);
    expect(chat.metrics.readersCaughtUp).toBe(1);
    bob.handle.isStalled = false;
    bob.handle.read();
    await chat.clock.settle();
    expect(bob.seqs('room')).toEqual(range(1, 100));
    append(chat, text());
    await chat.clock.settle();
    expect(bob.seqs('room').at(-1)).toBe(101);
    expect(bob.socket.subscriptions.get('room')!.isLive).toBe(true);
  });

  test('is not told ephemeral frames while it is behind', async () => {
    const chat = await makeFilled(0, { backlogBytesMax: 8000 });
    const bob = await chat.connect('bob');
    await bob.ask('subscribe', 'room', null, null);
    await chat.clock.advance(1000);
    bob.handle.isStalled = true;
    for (let i = 0; i < 4; i++) {
      append(chat, text('x'.repeat(900)));
      await chat.clock.settle();
    }
    expect([...bob.handle.topics]).toEqual(['*']);
    chat.typing.start('room', 'ann');
    chat.typing.stop('room', 'ann');
    bob.handle.read();
    await chat.clock.settle();
    expect(bob.all.filter(([op]) => op === 96)).toEqual([]);
    expect(bob.seqs('room')).toEqual(range(1, 4));
  });

  test('that passes the hard limit is closed with 4008, and resumes from its cursor', async () => {
    const chat = await makeFilled(0, { backlogBytesMax: 8000 });
    const bob = await chat.connect('bob');
    await bob.ask('subscribe', 'room', null, null);
    append(chat, text());
    await chat.clock.settle();
    bob.handle.isStalled = true;
    // One turn brings more than the limit.
    for (let i = 0; i < 20; i++) append(chat, text('x'.repeat(900)));
    await chat.clock.settle();
    expect(bob.handle.closed).toEqual({ code: 4008, reason: 'slow' });
    expect(chat.metrics.slowReaders).toBe(1);
    const again = await chat.connect('bob');
    await again.ask('subscribe', 'room', 1, 1);
    expect(again.seqs('room')).toEqual(range(2, 20));
  });
});
