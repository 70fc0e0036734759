// Delivered and read marks: forward only, gathered, and stored when the store can.

import { describe, expect, test } from 'bun:test';
import { type Peer, startProcess } from '../tests/simulated/process.ts';
import { makeGate } from '../tests/simulated/store.ts';

const gatherMs = 300;

const told = (peer: Peer) =>
  peer
    .take()
    .filter(([op]) => op === 97)
    .map(([, , marks]) => marks as [string, number, number][]);

async function startRoom(messages = 5) {
  const chat = await startProcess();
  await chat.makeRoom('room', ['ann', 'bob', 'cat'], { public: true });
  const [ann, bob] = [await chat.connect('ann'), await chat.connect('bob')];
  for (const peer of [ann, bob]) await peer.ask('subscribe', 'room', null, null);
  for (let i = 0; i < messages; i++) await ann.say('room', `${i}`);
  await chat.clock.advance(2000);
  for (const peer of [ann, bob]) peer.take();
  const storedMarks = async (): Promise<Record<string, unknown>> =>
    Object.fromEntries(await chat.store.marks('room', ['ann', 'bob', 'cat']));
  return { chat, ann, bob, clock: chat.clock, storedMarks };
}

test('moves are gathered, told to the room and stored in one batch', async () => {
  const { chat, ann, bob, clock, storedMarks } = await startRoom();
  const cat = await chat.connect('cat');
  const saves = chat.simulated.count('saveMarks');
  await bob.ask('mark_delivered', 'room', 2);
  await bob.ask('mark_delivered', 'room', 3);
  await bob.ask('mark_read', 'room', 2);
  await cat.ask('mark_read', 'room', 5);
  expect(told(ann)).toEqual([]);
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([
    [
      ['bob', 3, 2],
      ['cat', 5, 5],
    ],
  ]);
  expect(chat.simulated.count('saveMarks') - saves).toBe(1);
  expect(await storedMarks()).toMatchObject({ bob: [3, 2], cat: [5, 5] });
});

test('marks never go back, and what moves nothing is not told', async () => {
  const { ann, bob, clock, storedMarks } = await startRoom();
  await bob.ask('mark_read', 'room', 4);
  await clock.advance(gatherMs);
  told(ann);
  await bob.ask('mark_read', 'room', 2);
  await bob.ask('mark_delivered', 'room', 4);
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([]);
  expect((await storedMarks()).bob).toEqual([4, 4]);
});

test('marks are clamped to the head', async () => {
  const { ann, bob, clock } = await startRoom();
  expect((await bob.ask('mark_read', 'room', 1_000_000))[0]).toBe(32);
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([[['bob', 5, 5]]]);
});

test('the sender has read his own message, and nobody is told', async () => {
  const { bob, storedMarks } = await startRoom(3);
  expect((await storedMarks()).ann).toEqual([3, 3]);
  expect(told(bob)).toEqual([]);
});

test("the user's sockets hear of his marks, in the room or not", async () => {
  const { chat, bob, clock } = await startRoom();
  const phone = await chat.connect('bob');
  await bob.ask('mark_read', 'room', 3);
  await clock.advance(gatherMs);
  const expected = [99, 'marks', 'room', null, null, { delivered: 3, read: 3 }] as const;
  expect(phone.all).toContainEqual(expected);
});

test('marks are for members only', async () => {
  const { chat } = await startRoom();
  const guest = await chat.connect('guest');
  expect((await guest.ask('mark_read', 'room', 1))[2]).toBe('FORBIDDEN');
  expect((await guest.ask('mark_read', 'nowhere', 1))[2]).toBe('NOT_FOUND');
});

test('with the store away they are told all the same, kept, and stored when it is back', async () => {
  const { chat, ann, bob, clock, storedMarks } = await startRoom();
  chat.simulated.decide = (method) => (method === 'saveMarks' ? { fails: true } : null);
  await bob.ask('mark_delivered', 'room', 2);
  await clock.advance(1000);
  await bob.ask('mark_read', 'room', 3);
  await clock.advance(1000);
  expect(told(ann)).toEqual([[['bob', 2, 0]], [['bob', 3, 3]]]);
  expect((await storedMarks()).bob ?? [0, 0]).toEqual([0, 0]);
  chat.simulated.decide = () => null;
  await clock.advance(1000);
  expect((await storedMarks()).bob).toEqual([3, 3]);
});

test('closing stores also what gathered behind a write that was under way', async () => {
  const { chat, bob, clock, storedMarks } = await startRoom();
  const gate = makeGate();
  chat.simulated.next('saveMarks', { before: gate.passed });
  await bob.ask('mark_read', 'room', 2);
  await clock.advance(gatherMs);
  await bob.ask('mark_read', 'room', 5);
  let isClosed = false;
  const closed = chat.receipts.settle().then(() => {
    isClosed = true;
  });
  await clock.settle();
  expect(isClosed).toBe(false);
  gate.open();
  await clock.settle();
  await closed;
  expect((await storedMarks()).bob).toEqual([5, 5]);
});

describe('where a whole room reads at once', () => {
  const readers = Array.from({ length: 300 }, (_, i) => `reader-${i}`);

  async function startCrowd() {
    const started = await startRoom();
    const { chat } = started;
    for (const reader of readers) chat.receipts.move('room', reader, 4, 4);
    return started;
  }

  test('a frame has 128 marks at most, and a room one frame a gathering, until all are told', async () => {
    const { ann, clock } = await startCrowd();
    const frames: [string, number, number][][] = [];
    for (let i = 0; i < 3; i++) {
      await clock.advance(gatherMs);
      const marks = told(ann);
      expect(marks).toHaveLength(1);
      frames.push(...marks);
    }
    expect(frames.map(({ length }) => length)).toEqual([128, 128, 44]);
    expect(frames.flat().map(([user]) => user)).toEqual(readers);
    await clock.advance(gatherMs * 3);
    expect(told(ann)).toEqual([]);
  });

  test('who moves on while he waits is told once, with what holds then', async () => {
    const { chat, ann, clock } = await startCrowd();
    await clock.advance(gatherMs);
    chat.receipts.move('room', 'reader-299', 5, 5);
    await clock.advance(gatherMs * 4);
    const marks = told(ann).flat();
    expect(marks).toHaveLength(300);
    expect(marks.at(-1)).toEqual(['reader-299', 5, 5]);
  });

  test('the end of a drain tells all of them', async () => {
    const { chat, ann } = await startCrowd();
    await chat.settled(chat.receipts.settle());
    expect(told(ann).map(({ length }) => length)).toEqual([128, 128, 44]);
  });
});

test('what waits for a store that is away has a bound, and marks are refused beyond it', async () => {
  const { chat, bob, clock } = await startRoom();
  chat.simulated.decide = (method) => (method === 'saveMarks' || method === 'marks' ? { fails: true } : null);
  for (let i = 0; i < 200_000; i++) chat.receipts.move('room', `reader-${i}`, 1, 1, false);
  await clock.advance(gatherMs);
  expect((await bob.ask('mark_read', 'room', 5)).slice(2, 3)).toEqual(['UNAVAILABLE']);
  await clock.advance(gatherMs);
  chat.simulated.decide = () => null;
  const saves = chat.simulated.count('saveMarks');
  await clock.advance(gatherMs);
  expect(chat.simulated.count('saveMarks') - saves).toBe(100);
  expect((await bob.ask('mark_read', 'room', 5))[0]).toBe(32);
});
