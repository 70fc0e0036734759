// mark_delivered, mark_read and what they bring: receipts to the room, read marks in lists, unread counts.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, startGateway } from '../gateway.ts';
import {
  type Body,
  expectHttp,
  follow,
  fresh,
  http,
  makeRoom,
  open,
  type Person,
  person,
  say,
} from '../people.ts';
import { type Frame, op, reply, type Socket, until } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
let bob: Person;
let eve: Person;
let adas: Socket;
let bobs: Socket;
beforeAll(async () => {
  gateway = await startGateway();
  [ada, bob, eve] = await Promise.all([person('ada'), person('bob'), person('eve')]);
  [adas, bobs] = await Promise.all([open(gateway, ada), open(gateway, bob)]);
});
afterAll(() => gateway.close());

/** A room of ada and bob with this many messages of ada's, which ada watches: its id and their seqs. */
async function roomOf(messages: number): Promise<{ room: string; seqs: number[] }> {
  const room = await makeRoom(gateway, ada, [bob]);
  await follow(adas, room);
  const acks = await Promise.all(Array.from({ length: messages }, (_, i) => say(adas, room, `${i}`)));
  return { room, seqs: acks.map((ack) => ack.seq) };
}

/** Waits for receipts of a room in which this user's marks are at least these; answers the row. */
async function receiptOf(socket: Socket, room: string, user: string, delivered: number, read: number) {
  const frame = await socket.next(
    ([opcode, at, rows]) =>
      opcode === reply.receipts &&
      at === room &&
      (rows as [string, number, number][]).some(([who, d, r]) => who === user && d >= delivered && r >= read),
    `receipts of ${user} in ${room}: ${delivered}, ${read}`,
  );
  return (frame[2] as [string, number, number][]).find(([who]) => who === user)!;
}

/** The room's line in a user's list. */
async function lineOf(who: Person, room: string): Promise<Body> {
  const { body } = await expectHttp(200, http(gateway, who, 'GET', '/v1/rooms'));
  return body.rooms.find((line: Body) => line.id === room);
}

describe('mark_delivered and mark_read', () => {
  test('are answered with nothing but ok', async () => {
    const { room, seqs } = await roomOf(2);
    expect(await bobs.request(op.mark_delivered, room, seqs[0])).toEqual([reply.ok, expect.any(Number)]);
    expect(await bobs.request(op.mark_read, room, seqs[1])).toEqual([reply.ok, expect.any(Number)]);
  });

  test('reach those subscribed to the room as receipts', async () => {
    const { room, seqs } = await roomOf(3);
    await bobs.ok(op.mark_delivered, room, seqs[1]);
    const [, delivered, read] = await receiptOf(adas, room, bob.id, seqs[1]!, 0);
    expect(delivered).toBe(seqs[1]!);
    expect(read).toBeLessThan(seqs[0]!);
    await bobs.ok(op.mark_read, room, seqs[0]);
    expect((await receiptOf(adas, room, bob.id, seqs[1]!, seqs[0]!)).slice(1)).toEqual([seqs[1]!, seqs[0]!]);
  });

  test('only move forward', async () => {
    const { room, seqs } = await roomOf(5);
    await bobs.ok(op.mark_read, room, seqs[3]);
    await bobs.ok(op.mark_read, room, seqs[1]);
    await bobs.ok(op.mark_read, room, 0);
    await bobs.ok(op.mark_delivered, room, seqs[4]);
    await bobs.ok(op.mark_delivered, room, seqs[0]);
    expect((await receiptOf(adas, room, bob.id, seqs[4]!, seqs[3]!)).slice(1)).toEqual([seqs[4]!, seqs[3]!]);
    await until(async () => (await lineOf(bob, room)).read_seq === seqs[3], 'the list has the mark');
    await bobs.ok(op.mark_read, room, seqs[2]);
    expect((await lineOf(bob, room)).read_seq).toBe(seqs[3]);
  });

  test('are clamped to the head', async () => {
    const { room, seqs } = await roomOf(2);
    const head = seqs[1]!;
    await bobs.ok(op.mark_read, room, Number.MAX_SAFE_INTEGER);
    await bobs.ok(op.mark_delivered, room, head + 100);
    expect((await receiptOf(adas, room, bob.id, head, head)).slice(1)).toEqual([head, head]);
    const { seq } = await say(adas, room, 'unread');
    expect(seq).toBe(head + 1);
    await until(async () => {
      const line = await lineOf(bob, room);
      return line.read_seq === head && line.unread === 1;
    }, 'one message is unread');
  });

  test('of a burst are gathered: the last ones arrive, in fewer frames', async () => {
    const { room, seqs } = await roomOf(100);
    for (const seq of seqs) bobs.send(op.mark_read, 0, room, seq);
    await bobs.settle();
    const last = seqs.at(-1)!;
    const frames: Frame[] = [];
    const isOfRoom = (frame: Frame) => frame[0] === reply.receipts && frame[1] === room;
    for (let read = 0; read < last; ) {
      const frame = await adas.next(isOfRoom);
      frames.push(frame);
      const mark = (frame[2] as [string, number, number][]).find(([who]) => who === bob.id)!;
      expect(mark[2]).toBeGreaterThan(read);
      read = mark[2];
    }
    expect(frames.length).toBeLessThan(50);
  });

  test('of many users come together', async () => {
    const people = await Promise.all(Array.from({ length: 20 }, () => person()));
    const room = await makeRoom(gateway, ada, people);
    await follow(adas, room);
    const { seq } = await say(adas, room, 'read me');
    const sockets = await Promise.all(people.map((who) => open(gateway, who)));
    await Promise.all(sockets.map((socket) => socket.ok(op.mark_read, room, seq)));
    const seen = new Set<string>();
    while (seen.size < people.length) {
      const [, , rows] = await adas.next((frame) => frame[0] === reply.receipts && frame[1] === room);
      for (const [who, , read] of rows as [string, number, number][]) if (read === seq) seen.add(who);
    }
    expect([...seen].toSorted()).toEqual(people.map((who) => who.id).toSorted());
    for (const socket of sockets) socket.terminate();
  });

  test('need no subscription, but membership', async () => {
    const { room, seqs } = await roomOf(1);
    const stranger = await open(gateway, eve);
    for (const opcode of [op.mark_delivered, op.mark_read]) {
      expect(await stranger.refusal(opcode, room, seqs[0])).toBe('NOT_FOUND');
      expect(await stranger.refusal(opcode, fresh('none'), 1)).toBe('NOT_FOUND');
      await bobs.ok(opcode, room, seqs[0]);
    }
  });

  test('with a seq that is none are BAD_REQUEST', async () => {
    const { room } = await roomOf(1);
    for (const seq of [-1, 1.5, 2 ** 53, null, '1', Number.NaN]) {
      expect([seq, await bobs.refusal(op.mark_read, room, seq)]).toEqual([seq, 'BAD_REQUEST']);
      expect([seq, await bobs.refusal(op.mark_delivered, room, seq)]).toEqual([seq, 'BAD_REQUEST']);
    }
  });

  test('survive a reconnect', async () => {
    const { room, seqs } = await roomOf(3);
    const phone = await open(gateway, bob);
    await phone.ok(op.mark_read, room, seqs[1]);
    phone.terminate();
    await until(async () => (await lineOf(bob, room)).read_seq === seqs[1], 'the mark is kept');
    expect((await lineOf(bob, room)).unread).toBe(1);
  });
});

describe('unread', () => {
  test('counts messages, not events', async () => {
    const { room, seqs } = await roomOf(3);
    await adas.ok(op.edit_message, room, seqs[0], 'edited');
    await adas.ok(op.react, room, seqs[0], '👍', true);
    await say(adas, room, 'after the events');
    expect((await lineOf(bob, room)).unread).toBe(4);
    await bobs.ok(op.mark_read, room, seqs[2]);
    await until(async () => (await lineOf(bob, room)).unread === 1, 'one is unread');
    await bobs.ok(op.mark_read, room, seqs[2]! + 3);
    await until(async () => (await lineOf(bob, room)).unread === 0, 'none is unread');
  });
});

describe('the receipts of a message', () => {
  const receipts = async (room: string, seq: number): Promise<Body[]> =>
    (await expectHttp(200, http(gateway, ada, 'GET', `/v1/rooms/${room}/messages/${seq}/receipts`))).body
      .receipts;

  test('say who got it and who read it, and when', async () => {
    const { room, seqs } = await roomOf(3);
    const before = Date.now() - 1000;
    await bobs.ok(op.mark_delivered, room, seqs[2]);
    await bobs.ok(op.mark_read, room, seqs[1]);
    const row = await until(
      async () =>
        (await receipts(room, seqs[1]!)).find(({ user, read_at }) => user === bob.id && read_at !== null),
      'bob’s receipt',
    );
    for (const time of [row.delivered_at, row.read_at]) {
      expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
      expect(Date.parse(time)).toBeGreaterThan(before);
    }
    const last = (await receipts(room, seqs[2]!)).find(({ user }) => user === bob.id);
    expect(last.delivered_at).not.toBeNull();
    expect(last.read_at).toBeNull();
  });

  test('of a message nobody has got yet name nobody but its sender', async () => {
    const { room, seqs } = await roomOf(1);
    expect((await receipts(room, seqs[0]!)).filter(({ user }) => user !== ada.id)).toEqual([]);
  });

  test('keep the time of the mark that first reached the message', async () => {
    const { room, seqs } = await roomOf(2);
    await bobs.ok(op.mark_read, room, seqs[0]);
    const find = async () =>
      (await receipts(room, seqs[0]!)).find(({ user, read_at }) => user === bob.id && read_at);
    const first = await until(find, 'the receipt');
    await bobs.ok(op.mark_read, room, seqs[1]);
    await until(
      async () => (await receipts(room, seqs[1]!)).some(({ user, read_at }) => user === bob.id && read_at),
      'the second',
    );
    expect((await find()).read_at).toBe(first.read_at);
  });

  test('are hidden from strangers, and of no message NOT_FOUND', async () => {
    const { room, seqs } = await roomOf(1);
    await expectHttp(404, http(gateway, eve, 'GET', `/v1/rooms/${room}/messages/${seqs[0]}/receipts`));
    await expectHttp(404, http(gateway, ada, 'GET', `/v1/rooms/${room}/messages/${seqs[0]! + 100}/receipts`));
  });
});
