// send_message: what may be sent, what an ack says, and that an id is one message.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, startGateway } from '../gateway.ts';
import { follow, fresh, makeRoom, messageId, open, type Person, person, say } from '../people.ts';
import { type Frame, op, pack, reply, type Socket } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
let bob: Person;
let adas: Socket;
let bobs: Socket;
let room: string;
beforeAll(async () => {
  gateway = await startGateway();
  [ada, bob] = await Promise.all([person('ada'), person('bob')]);
  [adas, bobs] = await Promise.all([open(gateway, ada), open(gateway, bob)]);
  room = await makeRoom(gateway, ada, [bob]);
  await follow(bobs, room);
});
afterAll(() => gateway.close());

const isMessage = (frame: Frame) => frame[0] === reply.message;
const bySeq = (seq: number) => (frame: Frame) => frame[0] === reply.message && frame[1] === seq;

describe('the ack', () => {
  test('carries seq, ts, level and repeated', async () => {
    const answer = await adas.ok(op.send_message, room, messageId(), 'text', 'hello', null);
    expect(answer).toEqual([expect.any(Number), expect.any(Number), 4, false]);
    const event = await bobs.next(bySeq(answer[0] as number));
    expect(event[2]).toBe(answer[1]);
  });

  test('needs membership, not a subscription', async () => {
    const other = await makeRoom(gateway, ada);
    expect((await say(adas, other, 'unsubscribed')).repeated).toBe(false);
  });

  test('comes for each of 200 in one message, in the order they were sent', async () => {
    const ids = Array.from({ length: 200 }, () => messageId());
    const socket = await open(gateway, ada);
    socket.sendBytes(
      Buffer.concat(ids.map((id, i) => pack(op.send_message, 1000 + i, room, id, 'text', `${i}`, null))),
    );
    const acks: Frame[] = [];
    for (let i = 0; i < ids.length; i++) acks.push(await socket.next((frame) => frame[1] === 1000 + i));
    const seqs = acks.map((ack) => ack[2] as number);
    expect(seqs).toEqual(seqs.map((_, i) => seqs[0]! + i));
    const events: Frame[] = [];
    for (const seq of seqs) events.push(await bobs.next(bySeq(seq)));
    expect(events.map((event) => event[7])).toEqual(ids.map((_, i) => `${i}`));
    socket.terminate();
  });
});

describe('levels', () => {
  const send = (...level: unknown[]) =>
    adas.request(op.send_message, room, messageId(), 'text', 'x', null, ...level);

  test('absent is the server’s, which is committed', async () => {
    expect((await send())[4]).toBe(4);
  });

  test('one of welcome.levels is granted', async () => {
    expect(adas.welcome.levels).toEqual([4]);
    expect((await send(4))[4]).toBe(4);
  });

  test('lower than the lowest is granted as that one', async () => {
    for (const level of [1, 2]) expect((await send(level))[4]).toBe(4);
  });

  test('a higher one that is not listed is BAD_REQUEST', async () => {
    for (const level of [5, 8, 100]) expect((await send(level))[2]).toBe('BAD_REQUEST');
  });

  test('anything else is BAD_REQUEST', async () => {
    for (const level of ['4', 1.5, -1, true]) expect((await send(level))[2]).toBe('BAD_REQUEST');
  });
});

describe('types and content', () => {
  test('every type', async () => {
    for (const type of ['text', 'image', 'file', 'location', 'custom']) {
      const [seq] = await adas.ok(op.send_message, room, messageId(), type, `a ${type}`, null);
      expect((await bobs.next(bySeq(seq as number))).slice(6, 8)).toEqual([type, `a ${type}`]);
    }
    for (const type of ['', 'TEXT', 'video']) {
      expect(await adas.refusal(op.send_message, room, messageId(), type, 'x', null)).toBe('BAD_REQUEST');
    }
  });

  test('strings come back as they were sent', async () => {
    const contents = [
      ' ',
      '<script>alert(1)</script>',
      "'; DROP TABLE messages; --",
      'a\nb\tc\r\n',
      '\ufeffwith a mark',
      '\u0001\u001f\u007f\u0080',
      '\u2028\u2029\u202e',
      '👩‍👩‍👧‍👦 e\u0301 é',
      '\uffff\ufffe',
      'ж'.repeat(4000),
      'x'.repeat(8192),
    ];
    for (const content of contents) {
      const { seq } = await say(adas, room, content);
      expect((await bobs.next(bySeq(seq)))[7]).toBe(content);
    }
  });

  test('bytes only in an encrypted room, which keeps them as they are', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(await adas.refusal(op.send_message, room, messageId(), 'text', bytes, null)).toBe('BAD_REQUEST');
    const secret = await makeRoom(gateway, ada, [bob], { encrypted: true });
    await follow(bobs, secret);
    const { seq } = await say(adas, secret, bytes);
    expect((await bobs.next((frame) => isMessage(frame) && frame[3] === secret))[7]).toEqual(bytes);
    const [, events] = (await adas.ok(op.history, secret, null, seq - 1, 1)) as [boolean, Frame[]];
    expect(events[0]![7]).toEqual(bytes);
    const text = await say(adas, secret, 'text as well');
    expect((await bobs.next((frame) => isMessage(frame) && frame[1] === text.seq))[7]).toBe('text as well');
  });

  test('over MAX_CONTENT_BYTES is TOO_LARGE, counted in bytes', async () => {
    for (const content of ['x'.repeat(8193), 'é'.repeat(4097), '🐎'.repeat(2049)]) {
      expect(await adas.refusal(op.send_message, room, messageId(), 'text', content, null)).toBe('TOO_LARGE');
    }
    for (const content of ['é'.repeat(4096), '🐎'.repeat(2048)]) await say(adas, room, content);
    const secret = await makeRoom(gateway, ada, [], { encrypted: true });
    expect(await adas.refusal(op.send_message, secret, messageId(), 'text', new Uint8Array(8193), null)).toBe(
      'TOO_LARGE',
    );
    await say(adas, secret, new Uint8Array(8192));
  });

  test('U+0000 is BAD_REQUEST, in content and in meta', async () => {
    expect(await adas.refusal(op.send_message, room, messageId(), 'text', 'a\0b', null)).toBe('BAD_REQUEST');
    for (const meta of [{ a: '\0' }, { 'a\0': 1 }, { a: { b: ['x\0'] } }]) {
      expect(await adas.refusal(op.send_message, room, messageId(), 'text', 'x', meta)).toBe('BAD_REQUEST');
    }
  });
});

describe('meta', () => {
  const send = (meta: unknown) => adas.request(op.send_message, room, messageId(), 'text', 'x', meta);

  test('is what JSON can hold, and comes back equal', async () => {
    const metas: Record<string, unknown>[] = [
      {},
      { reply_to: 1 },
      { a: null, b: true, c: false, d: '', e: 0, f: -1, g: 1.5, h: [], i: {} },
      { numbers: [2 ** 32, 2 ** 53 - 1, -(2 ** 53) + 1, 1e-300, 1e300, -0.5, 127, 128, 65536, -129] },
      { one: { two: { three: 'depth 4 is the map in the map in the map in meta' } } },
      { a: { b: { c: {} } } },
      { a: [[[]]] },
      { key: 'x'.repeat(3900) },
      { 'žluťoučký 🐎': '\u2028' },
      { constructor: 'x', toString: 'y', hasOwnProperty: 1 },
      Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, i])),
    ];
    for (const meta of metas) {
      const { seq } = await say(adas, room, 'x', meta);
      expect((await bobs.next(bySeq(seq)))[8]).toEqual(meta);
    }
    const { seq } = await say(adas, room, 'x', null);
    expect((await bobs.next(bySeq(seq)))[8]).toBeNull();
  });

  test('deeper than 4 is BAD_REQUEST', async () => {
    for (const meta of [{ a: { b: { c: { d: {} } } } }, { a: [[[[]]]] }, { a: { b: [{ c: [1] }] } }]) {
      expect((await send(meta))[2]).toBe('BAD_REQUEST');
    }
  });

  test('NaN, infinities and bytes are BAD_REQUEST', async () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, new Uint8Array(3)]) {
      expect((await send({ a: value }))[2]).toBe('BAD_REQUEST');
      expect((await send({ a: [{ b: value }] }))[2]).toBe('BAD_REQUEST');
    }
  });

  test('that is no map is BAD_REQUEST', async () => {
    for (const meta of [1, 'x', true, [], [1], new Uint8Array(0)]) {
      expect((await send(meta))[2]).toBe('BAD_REQUEST');
    }
  });

  test('keys that are no strings are BAD_REQUEST', async () => {
    const start = pack(op.send_message, 77, room, messageId(), 'text', 'x', null);
    for (const map of ['810101', '81c001', '819001', '818001', '81c4016101', '81a95f5f70726f746f5f5f80']) {
      const bytes = Buffer.concat([start.subarray(0, -1), Uint8Array.fromHex(map)]);
      expect([map, (await adas.requestRaw(77, bytes))[2]]).toEqual([map, 'BAD_REQUEST']);
    }
  });

  test('over 4 KB is TOO_LARGE', async () => {
    expect((await send({ a: 'x'.repeat(4090) }))[0]).toBe(reply.ok);
    expect((await send({ a: 'x'.repeat(4097) }))[2]).toBe('TOO_LARGE');
    expect((await send({ a: Array.from({ length: 1000 }, () => 1.5) }))[2]).toBe('TOO_LARGE');
  });
});

describe('the id', () => {
  test('again gives the first seq and ts, repeated, and no second event', async () => {
    const first = await say(adas, room, 'once');
    await say(adas, room, 'in between');
    for (const content of ['once', 'another text']) {
      const again = await say(adas, room, content, null, first.id);
      expect([again.seq, again.ts, again.level, again.repeated]).toEqual([first.seq, first.ts, 4, true]);
    }
    const phone = await open(gateway, ada);
    const elsewhere = await say(phone, room, 'once', null, first.id);
    expect([elsewhere.seq, elsewhere.repeated]).toEqual([first.seq, true]);
    const last = await say(adas, room, 'last');
    expect(last.seq).toBe(first.seq + 2);
    await bobs.next(bySeq(last.seq));
    expect(
      bobs.take((frame) => isMessage(frame) && (frame[5] as Uint8Array).toHex() === first.id.toHex()),
    ).toHaveLength(1);
    phone.terminate();
  });

  test('sent many times at once, on two sockets, is one message', async () => {
    const phone = await open(gateway, ada);
    const id = messageId();
    const before = await say(adas, room, 'before');
    const acks = await Promise.all(
      Array.from({ length: 40 }, (_, i) => say(i % 2 ? adas : phone, room, 'once', null, id)),
    );
    expect(new Set(acks.map((ack) => `${ack.seq} ${ack.ts}`)).size).toBe(1);
    expect(acks.filter((ack) => !ack.repeated)).toHaveLength(1);
    expect((await say(adas, room, 'after')).seq).toBe(before.seq + 2);
    phone.terminate();
  });

  test('from another user is CONFLICT, and no event', async () => {
    const first = await say(adas, room, 'mine');
    expect(await bobs.refusal(op.send_message, room, first.id, 'text', 'mine', null)).toBe('CONFLICT');
    expect((await say(adas, room, 'next')).seq).toBe(first.seq + 1);
  });

  test('is another message in another room', async () => {
    const other = await makeRoom(gateway, ada);
    const first = await say(adas, room, 'here');
    const second = await say(adas, other, 'there', null, first.id);
    expect(second.repeated).toBe(false);
  });

  test('of a message that was deleted is still taken', async () => {
    const first = await say(adas, room, 'short-lived');
    await adas.ok(op.delete_message, room, first.seq);
    const again = await say(adas, room, 'short-lived', null, first.id);
    expect([again.seq, again.repeated]).toEqual([first.seq, true]);
  });

  test('may be any 16 bytes, a UUIDv7 only up to 60 s ahead of the server', async () => {
    const now = adas.welcome.time as number;
    for (const id of [
      messageId(now - 365 * 86_400_000),
      messageId(now + 50_000),
      messageId(0),
      crypto.getRandomValues(new Uint8Array(16)).map((byte, i) => (i === 6 ? (byte & 15) | 0x40 : byte)),
      new Uint8Array(16).fill(0xff),
    ]) {
      expect([id.toHex(), (await say(adas, room, 'x', null, id)).repeated]).toEqual([id.toHex(), false]);
    }
    for (const ahead of [75_000, 3_600_000, 86_400_000 * 365]) {
      expect(await adas.refusal(op.send_message, room, messageId(now + ahead), 'text', 'x', null)).toBe(
        'BAD_REQUEST',
      );
    }
  });

  test('that is not 16 bytes is BAD_REQUEST', async () => {
    for (const id of [new Uint8Array(15), new Uint8Array(17), new Uint8Array(0), 'x'.repeat(16), null, 1]) {
      expect(await adas.refusal(op.send_message, room, id, 'text', 'x', null)).toBe('BAD_REQUEST');
    }
  });
});

describe('who may send', () => {
  const send = (socket: Socket, to: string) =>
    socket.refusal(op.send_message, to, messageId(), 'text', 'x', null);

  test('nobody else to a private room, nor to one that does not exist', async () => {
    const eve = await open(gateway, await person('eve'));
    expect(await send(eve, room)).toBe('NOT_FOUND');
    expect(await send(eve, fresh('none'))).toBe('NOT_FOUND');
    expect(await send(adas, fresh('none'))).toBe('NOT_FOUND');
  });

  test('a reader of a public room who is no member may not', async () => {
    const open_ = await makeRoom(gateway, ada, [], { public: true });
    await follow(bobs, open_);
    expect(await send(bobs, open_)).toBe('FORBIDDEN');
  });

  test('room names that are none are BAD_REQUEST', async () => {
    for (const name of ['', 'a b', 'x'.repeat(65), 'ä', 'a/b', 1, null]) {
      expect(await adas.refusal(op.send_message, name, messageId(), 'text', 'x', null)).toBe('BAD_REQUEST');
    }
  });
});

describe('rid 0', () => {
  test('is answered only where it went wrong', async () => {
    const id = messageId();
    adas.send(op.send_message, 0, room, id, 'text', 'quiet', null);
    const event = await bobs.next(
      (frame) => isMessage(frame) && (frame[5] as Uint8Array).toHex() === id.toHex(),
    );
    expect(event[7]).toBe('quiet');
    adas.send(op.send_message, 0, fresh('none'), messageId(), 'text', 'x', null);
    expect((await adas.next(reply.error)).slice(1, 3)).toEqual([0, 'NOT_FOUND']);
    await adas.settle();
    expect(adas.take(reply.ok)).toEqual([]);
  });
});

test('integers may come in any encoding, also as float64', async () => {
  // [5, 2^31 as float64, room, id, "text", "x", nil, 4 as uint64]
  const id = messageId();
  const bytes = Buffer.concat([
    Uint8Array.fromHex('98cb4014000000000000cb41e0000000000000'),
    pack(room).subarray(1),
    Uint8Array.fromHex(`c50010${id.toHex()}`),
    pack('text', 'x', null).subarray(1),
    Uint8Array.fromHex('cf0000000000000004'),
  ]);
  const [code, rid] = await adas.requestRaw(2 ** 31, bytes);
  expect([code, rid]).toEqual([reply.ok, 2 ** 31]);
});

test('fields after those of the contract are ignored', async () => {
  const answer = await adas.request(op.send_message, room, messageId(), 'text', 'x', null, 4, 'future', {
    a: 1,
  });
  expect(answer[0]).toBe(reply.ok);
});
