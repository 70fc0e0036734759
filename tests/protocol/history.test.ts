// history: pages in both directions, whole and dense.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, startGateway } from '../gateway.ts';
import { follow, fresh, makeRoom, open, type Person, person, say } from '../people.ts';
import { type Frame, op, type Socket } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
let bob: Person;
let adas: Socket;
let bobs: Socket;
/** 500 messages after `start`. */
let room: string;
let start: number;
let last: number;
beforeAll(async () => {
  gateway = await startGateway();
  [ada, bob] = await Promise.all([person('ada'), person('bob')]);
  [adas, bobs] = await Promise.all([open(gateway, ada), open(gateway, bob)]);
  room = await makeRoom(gateway, ada, [bob]);
  start = (await follow(adas, room)).head;
  for (let i = 0; i < 5; i++) {
    const acks = await Promise.all(
      Array.from({ length: 100 }, (_, k) => say(adas, room, `message ${i * 100 + k}`)),
    );
    last = acks.at(-1)!.seq;
  }
});
afterAll(() => gateway.close());

async function page(socket: Socket, of: string, before: number | null, after: number | null, limit: number) {
  const [more, events] = (await socket.ok(op.history, of, before, after, limit)) as [boolean, Frame[]];
  return { more, seqs: events.map((event) => event[1] as number), events };
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('pages', () => {
  test('neither before nor after: the newest, oldest first', async () => {
    expect(await page(bobs, room, null, null, 10)).toMatchObject({ more: true, seqs: range(last - 9, last) });
    expect((await page(bobs, room, null, null, 1)).seqs).toEqual([last]);
    expect((await page(bobs, room, null, null, 200)).seqs).toEqual(range(last - 199, last));
  });

  test('before: back from there, exclusive', async () => {
    expect(await page(bobs, room, last, null, 5)).toMatchObject({
      more: true,
      seqs: range(last - 5, last - 1),
    });
    expect((await page(bobs, room, last - 100, null, 3)).seqs).toEqual(range(last - 103, last - 101));
    expect((await page(bobs, room, last + 1000, null, 2)).seqs).toEqual([last - 1, last]);
    expect((await page(bobs, room, Number.MAX_SAFE_INTEGER, null, 2)).seqs).toEqual([last - 1, last]);
  });

  test('after: forward from there, exclusive', async () => {
    expect(await page(bobs, room, null, start, 5)).toMatchObject({
      more: true,
      seqs: range(start + 1, start + 5),
    });
    expect(await page(bobs, room, null, last - 3, 5)).toMatchObject({
      more: false,
      seqs: range(last - 2, last),
    });
    expect(await page(bobs, room, null, last, 5)).toMatchObject({ more: false, seqs: [] });
    expect(await page(bobs, room, null, last + 1000, 5)).toMatchObject({ more: false, seqs: [] });
  });

  test('more is false exactly where nothing is left', async () => {
    expect((await page(bobs, room, null, last - 5, 5)).more).toBe(false);
    expect((await page(bobs, room, null, last - 6, 5)).more).toBe(true);
    const oldest = await page(bobs, room, start + 6, null, 200);
    expect(oldest.more).toBe(false);
    const [first] = oldest.seqs;
    expect((await page(bobs, room, first!, null, 5)).seqs).toEqual([]);
    expect((await page(bobs, room, first! + 5, null, 5)).more).toBe(false);
    expect((await page(bobs, room, first! + 6, null, 5)).more).toBe(true);
    expect(await page(bobs, room, 0, null, 5)).toMatchObject({ more: false, seqs: [] });
  });

  test('back through everything, and forward through everything, is dense', async () => {
    const back: number[] = [];
    for (let before: number | null = null, more = true; more; before = back[0]!) {
      const next = await page(bobs, room, before, null, 77);
      back.unshift(...next.seqs);
      more = next.more;
    }
    expect(back).toEqual(range(back[0]!, last));
    expect(back[0]).toBeLessThanOrEqual(start + 1);
    const forward: number[] = [];
    for (let after = 0, more = true; more; after = forward.at(-1)!) {
      const next = await page(bobs, room, null, after, 200);
      forward.push(...next.seqs);
      more = next.more;
    }
    expect(forward).toEqual(back);
  });

  test('carry events as they were live', async () => {
    await follow(bobs, room);
    const { seq } = await say(adas, room, 'live', { a: [1, { b: 2 ** 40 }] });
    last = seq;
    const live = await bobs.next((frame) => frame[1] === seq);
    expect((await page(bobs, room, null, seq - 1, 1)).events).toEqual([live]);
  });

  test('hold every kind of event, and messages with their present content', async () => {
    const other = await makeRoom(gateway, ada, [], { public: true });
    const { head } = await follow(adas, other);
    await bobs.ok(op.join_room, other);
    const one = await say(bobs, other, 'one');
    const two = await say(bobs, other, 'two');
    await bobs.ok(op.edit_message, other, one.seq, 'one, edited');
    await bobs.ok(op.react, other, one.seq, '👍', true);
    await bobs.ok(op.delete_message, other, two.seq);
    await bobs.ok(op.leave_room, other);
    const { events } = await page(adas, other, null, head, 50);
    expect(events.map((event) => event[0])).toEqual([68, 64, 64, 65, 67, 66, 69]);
    expect(events[1]!.slice(7)).toEqual(['one, edited', null]);
    expect(events[2]!.slice(7)).toEqual([null, { deleted: true }]);
  });
});

describe('what is refused', () => {
  test('before and after together', async () => {
    expect(await bobs.refusal(op.history, room, last, start, 10)).toBe('BAD_REQUEST');
    expect(await bobs.refusal(op.history, room, 0, 0, 10)).toBe('BAD_REQUEST');
  });

  test('limits outside 1 to 200', async () => {
    for (const limit of [0, 201, -1, 1.5, 2 ** 53, null, '10']) {
      expect([limit, await bobs.refusal(op.history, room, null, null, limit)]).toEqual([
        limit,
        'BAD_REQUEST',
      ]);
    }
  });

  test('seqs that are none', async () => {
    for (const seq of [-1, 0.5, 2 ** 53, Number.NaN, '1', true]) {
      expect([seq, await bobs.refusal(op.history, room, seq, null, 10)]).toEqual([seq, 'BAD_REQUEST']);
      expect([seq, await bobs.refusal(op.history, room, null, seq, 10)]).toEqual([seq, 'BAD_REQUEST']);
    }
  });

  test('rooms one may not read', async () => {
    const eve = await open(gateway, await person('eve'));
    expect(await eve.refusal(op.history, room, null, null, 10)).toBe('NOT_FOUND');
    expect(await eve.refusal(op.history, fresh('none'), null, null, 10)).toBe('NOT_FOUND');
  });
});

test('a public room is read without a subscription or a membership', async () => {
  const other = await makeRoom(gateway, ada, [], { public: true });
  const { seq } = await say(adas, other, 'for everybody');
  expect((await page(bobs, other, null, null, 1)).seqs).toEqual([seq]);
});

test('a page is cut at 256 KiB, says so, and the next one goes on without a hole', async () => {
  const other = await makeRoom(gateway, ada, [bob]);
  const { head } = await follow(adas, other);
  const acks = await Promise.all(
    Array.from({ length: 50 }, (_, i) => say(adas, other, `${i}`.padEnd(8000, 'x'))),
  );
  const end = acks.at(-1)!.seq;
  const reader = await open(gateway, bob);
  const before = reader.bytes;
  const first = await page(reader, other, null, head, 200);
  expect(first.more).toBe(true);
  expect(reader.bytes - before).toBeLessThan(256 * 1024 + 16 * 1024);
  const second = await page(reader, other, null, first.seqs.at(-1)!, 200);
  expect([...first.seqs, ...second.seqs]).toEqual(range(head + 1, end));
  expect(second.more).toBe(false);
  const newest = await page(reader, other, null, null, 200);
  expect(newest.more).toBe(true);
  expect(newest.seqs).toEqual(range(newest.seqs[0]!, end));
});

test('pages read while others write are dense', async () => {
  const other = await makeRoom(gateway, ada, [bob]);
  const { head } = await follow(adas, other);
  const writing = Promise.all(Array.from({ length: 200 }, (_, i) => say(adas, other, `${i}`)));
  let at = head;
  for (let i = 0; i < 100; i++) {
    const { seqs } = await page(bobs, other, null, at, 50);
    expect(seqs).toEqual(range(at + 1, at + seqs.length));
    at += seqs.length;
  }
  await writing;
  while (at < head + 200) {
    const { seqs } = await page(bobs, other, null, at, 200);
    expect(seqs).toEqual(range(at + 1, at + seqs.length));
    at += seqs.length;
  }
  expect(at).toBe(head + 200);
});
