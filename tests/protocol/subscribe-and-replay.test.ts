// Subscribing, cursors and replay: nothing missing, nothing twice, and a reset that is never hidden.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { slowScan } from '../fuzz/slow-scan.ts';
import { type Gateway, startGateway } from '../gateway.ts';
import {
  expectHttp,
  follow,
  fresh,
  http,
  makeRoom,
  messageId,
  open,
  type Person,
  person,
  say,
} from '../people.ts';
import { type Frame, op, pack, reply, type Socket } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
let bob: Person;
let adas: Socket;
let bobs: Socket;
beforeAll(async () => {
  gateway = await startGateway();
  [ada, bob] = await Promise.all([person('ada'), person('bob')]);
  [adas, bobs] = await Promise.all([open(gateway, ada), open(gateway, bob)]);
});
afterAll(() => gateway.close());

const isEvent = (frame: Frame) => frame[0] >= 64 && frame[0] <= 95;
const inRoom = (room: string) => (frame: Frame) => isEvent(frame) && frame[3] === room;
const seqOf = (frame: Frame) => frame[1] as number;
const seqs = (frames: Frame[]) => frames.map(seqOf);
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Subscribes with a cursor: the answer, and the events until the head. */
async function replayOf(socket: Socket, room: string, epoch: number, seq: number) {
  const [nowEpoch, head, reset] = (await socket.ok(op.subscribe, room, epoch, seq)) as [
    number,
    number,
    boolean,
  ];
  const events: Frame[] = [];
  for (let at = seq; !reset && at < head; at++) events.push(await socket.next(inRoom(room)));
  await socket.settle();
  return { epoch: nowEpoch, head, reset, events, extra: socket.take(inRoom(room)) };
}

/** Sends `count` messages at once and waits for every ack; the last seq. */
async function fill(socket: Socket, room: string, count: number): Promise<number> {
  let last = 0;
  for (let done = 0; done < count; done += 200) {
    const acks = await Promise.all(
      Array.from({ length: Math.min(200, count - done) }, (_, i) => say(socket, room, `m${done + i}`)),
    );
    last = acks.at(-1)!.seq;
  }
  return last;
}

describe('who may subscribe', () => {
  test('a member, to a private room', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const answer = await bobs.ok(op.subscribe, room, null, null);
    expect(answer).toHaveLength(3);
    expect(answer[0]).toBeGreaterThanOrEqual(1);
    expect(answer[1]).toBeGreaterThanOrEqual(0);
    expect(answer[2]).toBe(false);
  });

  test('anybody, to a public one', async () => {
    const room = await makeRoom(gateway, ada, [], { public: true });
    await bobs.ok(op.subscribe, room, null, null);
    const { seq } = await say(adas, room, 'hello');
    expect(seqOf(await bobs.next(inRoom(room)))).toBe(seq);
  });

  test('a room one may not read is NOT_FOUND, as one that does not exist', async () => {
    const room = await makeRoom(gateway, ada);
    const hidden = await bobs.refused(op.subscribe, room, null, null);
    const absent = await bobs.refused(op.subscribe, fresh('none'), null, null);
    expect(hidden.code).toBe('NOT_FOUND');
    expect(hidden).toEqual(absent);
    expect(await bobs.refusal(op.subscribe, room, 1, 0)).toBe('NOT_FOUND');
  });

  test('only one of epoch and seq is BAD_REQUEST', async () => {
    const room = await makeRoom(gateway, ada);
    expect(await adas.refusal(op.subscribe, room, 1, null)).toBe('BAD_REQUEST');
    expect(await adas.refusal(op.subscribe, room, null, 1)).toBe('BAD_REQUEST');
  });
});

describe('live events', () => {
  test('start at head + 1 and come in one dense order', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { head } = await follow(bobs, room);
    const last = await fill(adas, room, 50);
    const events = await Promise.all(range(head + 1, last).map(() => bobs.next(inRoom(room))));
    expect(seqs(events)).toEqual(range(head + 1, last));
    expect(last).toBe(head + 50);
  });

  test('carry every field of message', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await follow(bobs, room);
    const meta = {
      reply_to: 1,
      tags: ['a', 'b'],
      deep: { x: 1.5, y: null, z: true },
      big: Number.MAX_SAFE_INTEGER,
    };
    const sent = await say(adas, room, 'žluťoučký 🐎', meta);
    const event = await bobs.next(inRoom(room));
    expect(event).toEqual([
      reply.message,
      sent.seq,
      sent.ts,
      room,
      ada.id,
      sent.id,
      'text',
      'žluťoučký 🐎',
      meta,
    ]);
  });

  test('ts never goes back within a room', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { head } = await follow(bobs, room);
    const last = await fill(adas, room, 100);
    const events = await Promise.all(range(head + 1, last).map(() => bobs.next(inRoom(room))));
    const times = events.map((event) => event[2] as number);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(Math.abs(times.at(-1)! - Date.now())).toBeLessThan(60_000);
  });

  test('start with op, seq and ts as uint64, and are the same bytes for every socket, in replay and in history', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const readers = await Promise.all(
      [ada, bob, bob].map((who) => open(gateway, who, { keepPayloads: true })),
    );
    const { epoch, head } = await follow(readers[0]!, room);
    await follow(readers[1]!, room);
    const { seq } = await say(adas, room, 'once', { a: [1, 2.5], b: 2 ** 40 });
    await Promise.all(readers.slice(0, 2).map((reader) => reader.next(inRoom(room))));
    await readers[2]!.ok(op.subscribe, room, epoch, head);
    await readers[2]!.next(inRoom(room));
    const historian = await open(gateway, ada, { keepPayloads: true });
    await historian.ok(op.history, room, null, head, 10);
    const bytes = [...readers, historian].map((reader) => eventBytes(reader.payloads, room));
    expect(bytes[0]).toStartWith(`9940cf${seq.toString(16).padStart(16, '0')}cf0000`);
    expect(new Set(bytes).size).toBe(1);
  });

  test('of a room reach every socket of a user, and of no other room', async () => {
    const [room, other] = await Promise.all([makeRoom(gateway, ada, [bob]), makeRoom(gateway, ada, [bob])]);
    const phone = await open(gateway, bob);
    await Promise.all([follow(bobs, room), follow(phone, room)]);
    await say(adas, other, 'elsewhere');
    const { seq } = await say(adas, room, 'here');
    for (const socket of [bobs, phone]) expect(seqOf(await socket.next(isEvent))).toBe(seq);
  });

  test('reach the sender too, in either order with the ack', async () => {
    const room = await makeRoom(gateway, ada);
    await follow(adas, room);
    const { seq, id } = await say(adas, room, 'mine');
    const event = await adas.next(inRoom(room));
    expect([event[1], event[5]]).toEqual([seq, id]);
  });
});

describe('a cursor', () => {
  test('brings the events after it, after the ok and in order', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { epoch, head } = await follow(adas, room);
    const last = await fill(adas, room, 30);
    for (const from of [head, head + 1, head + 15, last - 1]) {
      const reader = await open(gateway, bob);
      const { reset, events, extra, ...now } = await replayOf(reader, room, epoch, from);
      expect(now).toEqual({ epoch, head: last });
      expect(reset).toBe(false);
      expect(seqs(events)).toEqual(range(from + 1, last));
      expect(extra).toEqual([]);
      reader.terminate();
    }
  });

  test('at the head brings nothing, and no reset', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { epoch } = await follow(adas, room);
    const last = await fill(adas, room, 3);
    expect(await replayOf(bobs, room, epoch, last)).toEqual({
      epoch,
      head: last,
      reset: false,
      events: [],
      extra: [],
    });
  });

  test('of seq 0 brings everything from the first event on', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { epoch } = await follow(adas, room);
    const last = await fill(adas, room, 5);
    const { reset, events } = await replayOf(bobs, room, epoch, 0);
    if (!reset) {
      const [first] = seqs(events);
      expect(seqs(events)).toEqual(range(first!, last));
    }
  });

  test('beyond the head is a reset without a replay, and live events start at head + 1', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { epoch } = await follow(adas, room);
    const last = await fill(adas, room, 3);
    for (const seq of [last + 1, last + 1000, Number.MAX_SAFE_INTEGER]) {
      const { head, reset, extra } = await replayOf(bobs, room, epoch, seq);
      expect([head, reset, extra]).toEqual([last, true, []]);
    }
    const { seq } = await say(adas, room, 'after');
    expect(seq).toBe(last + 1);
    expect(seqOf(await bobs.next(inRoom(room)))).toBe(seq);
  });

  test('of another epoch is a reset without a replay', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { epoch, head } = await follow(adas, room);
    const last = await fill(adas, room, 3);
    for (const wrong of [epoch + 1, epoch + 1000, epoch - 1]) {
      const answer = await replayOf(bobs, room, wrong, head);
      expect(answer).toEqual({ epoch, head: last, reset: true, events: [], extra: [] });
    }
  });

  test('1,000 events back is replayed, 1,001 is a reset', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { epoch } = await follow(adas, room);
    const last = await fill(adas, room, 1010);
    const reader = await open(gateway, bob);
    const far = await replayOf(reader, room, epoch, last - 1001);
    expect([far.head, far.reset, far.extra]).toEqual([last, true, []]);
    const near = await replayOf(reader, room, epoch, last - 1000);
    expect(near.reset).toBe(false);
    expect(seqs(near.events)).toEqual(range(last - 999, last));
    expect(near.extra).toEqual([]);
    reader.terminate();
  });

  test('under load: replay and live events join without a gap or a double', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { epoch, head } = await follow(adas, room);
    let going = true;
    const sender = (async () => {
      let last = 0;
      while (going) last = await fill(adas, room, 20);
      return last;
    })();
    const readers = await Promise.all(
      range(1, 10).map(async () => {
        const reader = await open(gateway, bob);
        const events: Frame[] = [];
        await reader.ok(op.subscribe, room, epoch, head);
        for (let i = 0; i < 150; i++) events.push(await reader.next(inRoom(room)));
        return { reader, events };
      }),
    );
    going = false;
    await sender;
    for (const { reader, events } of readers) {
      expect(seqs(events)).toEqual(range(head + 1, head + 150));
      reader.terminate();
    }
  });

  test('messages are replayed with their present content, deleted ones with none', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { epoch, head } = await follow(bobs, room);
    const edited = await say(adas, room, 'first draft');
    const deleted = await say(adas, room, 'a secret that must go', { note: 'a secret' });
    await adas.ok(op.edit_message, room, edited.seq, 'final text');
    await adas.ok(op.edit_message, room, deleted.seq, 'another secret');
    await adas.ok(op.delete_message, room, deleted.seq);
    const reader = await open(gateway, bob, { keepPayloads: true });
    const { events } = await replayOf(reader, room, epoch, head);
    expect(events.map((event) => event[0])).toEqual([64, 64, 65, 65, 66]);
    expect(events[0]!.slice(5)).toEqual([edited.id, 'text', 'final text', null]);
    expect(events[1]!.slice(5)).toEqual([deleted.id, 'text', null, { deleted: true }]);
    const raw = Buffer.concat(reader.payloads).toString('latin1');
    expect(raw).not.toContain('secret');
  });

  test('every kind of event is replayed as it was live', async () => {
    const room = await makeRoom(gateway, ada, [], { public: true });
    const { epoch, head } = await follow(adas, room);
    await bobs.ok(op.join_room, room);
    const { seq } = await say(bobs, room, 'to change');
    await bobs.ok(op.edit_message, room, seq, 'changed');
    await bobs.ok(op.react, room, seq, '👍', true);
    await bobs.ok(op.react, room, seq, '👍', false);
    await expectHttp(200, http(gateway, ada, 'PATCH', `/v1/rooms/${room}`, { name: 'New name' }));
    await bobs.ok(op.leave_room, room);
    const live: Frame[] = [];
    while (live.at(-1)?.[0] !== reply.user_left) live.push(await adas.next(inRoom(room)));
    expect(live.map((event) => event[0])).toEqual([68, 64, 65, 67, 67, 70, 69]);
    expect(seqs(live)).toEqual(range(head + 1, head + 7));
    const reader = await open(gateway, ada);
    const { events } = await replayOf(reader, room, epoch, head);
    // The message comes with its present content.
    const expected = live.map((event) => (event[0] === 64 ? event.with(7, 'changed') : event));
    expect(events as unknown[]).toEqual(expected);
    expect(events[4]!.slice(4)).toEqual([bob.id, seq, '👍', false]);
    expect(events[5]!.slice(4)).toEqual([ada.id, expect.objectContaining({ name: 'New name' })]);
  });
});

describe('subscribing again', () => {
  test('re-attaches: once with each event, and with a cursor they come again', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { epoch, head } = await follow(bobs, room);
    await follow(bobs, room);
    const last = await fill(adas, room, 3);
    await Promise.all(range(head + 1, last).map(() => bobs.next(inRoom(room))));
    const { events, extra } = await replayOf(bobs, room, epoch, head);
    expect(seqs(events)).toEqual(range(head + 1, last));
    expect(extra).toEqual([]);
    const { seq } = await say(adas, room, 'one more');
    expect(seqOf(await bobs.next(inRoom(room)))).toBe(seq);
    await bobs.settle();
    expect(bobs.take(inRoom(room))).toEqual([]);
  });
});

describe('unsubscribing', () => {
  test('ends the events; again it is NOT_SUBSCRIBED', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await follow(bobs, room);
    expect(await bobs.ok(op.unsubscribe, room)).toEqual([]);
    const { seq } = await say(adas, room, 'unheard');
    await bobs.settle();
    expect(bobs.take(inRoom(room))).toEqual([]);
    expect(await bobs.refusal(op.unsubscribe, room)).toBe('NOT_SUBSCRIBED');
    // It is still a member, and may come back with its cursor.
    const { events } = await replayOf(bobs, room, (await follow(adas, room)).epoch, seq - 1);
    expect(seqs(events)).toEqual([seq]);
  });

  test('a room that this socket is not subscribed to is NOT_SUBSCRIBED', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const phone = await open(gateway, bob);
    await follow(phone, room);
    expect(await bobs.refusal(op.unsubscribe, room)).toBe('NOT_SUBSCRIBED');
    expect(await bobs.refusal(op.unsubscribe, fresh('none'))).toBe('NOT_SUBSCRIBED');
  });
});

describe('batches', () => {
  test('50 rooms are subscribed to in one message', async () => {
    const rooms = await Promise.all(Array.from({ length: 50 }, () => makeRoom(gateway, ada, [bob])));
    const reader = await open(gateway, bob);
    reader.sendBytes(Buffer.concat(rooms.map((room, i) => pack(op.subscribe, 1000 + i, room, null, null))));
    for (let i = 0; i < 50; i++) {
      expect((await reader.next((frame) => frame[1] === 1000 + i))[0]).toBe(reply.ok);
    }
    await Promise.all(rooms.map((room) => say(adas, room, room)));
    for (const room of rooms) expect((await reader.next(inRoom(room)))[7]).toBe(room);
  });

  test('rid 0 is answered only by errors', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    bobs.send(op.subscribe, 0, room, null, null);
    await bobs.settle();
    const { seq } = await say(adas, room, 'heard');
    expect(seqOf(await bobs.next(inRoom(room)))).toBe(seq);
    bobs.send(op.subscribe, 0, fresh('none'), null, null);
    const [, rid, code] = await bobs.next(reply.error);
    expect([rid, code]).toEqual([0, 'NOT_FOUND']);
    await bobs.settle();
    expect(bobs.take(reply.ok)).toEqual([]);
  });

  test('requests of one message run in order', async () => {
    const room = await makeRoom(gateway, ada);
    const socket = await open(gateway, ada);
    const id = messageId();
    const send = socket.requestRaw(
      501,
      Buffer.concat([
        pack(op.subscribe, 500, room, null, null),
        pack(op.send_message, 501, room, id, 'text', 'x', null),
        pack(op.unsubscribe, 502, room),
        pack(op.unsubscribe, 503, room),
      ]),
    );
    const answers = [await socket.next((frame) => frame[1] === 500), await send];
    expect(answers.map((answer) => answer[0])).toEqual([reply.ok, reply.ok]);
    expect((await socket.next((frame) => frame[1] === 502))[0]).toBe(reply.ok);
    expect((await socket.next((frame) => frame[1] === 503))[2]).toBe('NOT_SUBSCRIBED');
  });
});

/** The bytes of the only message of a room in these payloads, live or in a page of history, as hex. */
function eventBytes(payloads: Uint8Array[], room: string): string {
  const needle = `${(0xa0 | room.length).toString(16)}${Buffer.from(room).toString('hex')}`;
  for (const payload of payloads) {
    const hex = payload.toHex();
    const at = hex.indexOf('9940cf');
    if (at < 0 || !hex.includes(needle)) continue;
    // An event ends where a scan of it ends.
    for (let end = at + 40; end <= hex.length; end += 2) {
      const one = slowScan(Uint8Array.fromHex(hex.slice(at, end)));
      if (typeof one !== 'string') return hex.slice(at, end);
    }
  }
  throw new Error(`no message of ${room}`);
}
