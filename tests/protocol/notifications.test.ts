// notification: what reaches every socket of a user, subscribed or not.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, startGateway } from '../gateway.ts';
import {
  expectHttp,
  follow,
  http,
  introduce,
  makeRoom,
  makeToken,
  open,
  type Person,
  person,
  say,
} from '../people.ts';
import { type Frame, op, reply, type Socket } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
let bob: Person;
let adas: Socket;
/** Two sockets of bob's. */
let bobs: Socket[];
beforeAll(async () => {
  gateway = await startGateway({ NOTIFY_ROOM_MAX: '3', HEARTBEAT_MS: '3000' });
  [ada, bob] = await Promise.all([person('ada'), person('bob')]);
  adas = await open(gateway, ada);
  bobs = await Promise.all([open(gateway, bob), open(gateway, bob)]);
});
afterAll(() => gateway.close());

const notified = (kind: string, room: string | null) => (frame: Frame) =>
  frame[0] === reply.notification && frame[1] === kind && frame[2] === room;

describe('room_added', () => {
  test('to those a room was made with', async () => {
    const room = await makeRoom(gateway, ada, [bob], { name: 'Garden', type: 'channel' });
    for (const socket of bobs) {
      const [, , , , from, map] = await socket.next(notified('room_added', room));
      expect(map).toEqual({ name: 'Garden', type: 'channel' });
      expect([ada.id, null]).toContain(from as string | null);
    }
  });

  test('to those who are added later', async () => {
    const room = await makeRoom(gateway, ada, [], { name: 'Later' });
    await introduce(gateway, bob);
    await expectHttp(200, http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${bob.id}`, {}));
    for (const socket of bobs) {
      expect((await socket.next(notified('room_added', room)))[5]).toEqual({ name: 'Later', type: 'group' });
    }
  });
});

describe('room_removed', () => {
  test('kicked', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await expectHttp(204, http(gateway, ada, 'DELETE', `/v1/rooms/${room}/members/${bob.id}`));
    for (const socket of bobs) {
      expect((await socket.next(notified('room_removed', room)))[5]).toEqual({ reason: 'kicked' });
    }
  });

  test('deleted', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await expectHttp(204, http(gateway, ada, 'DELETE', `/v1/rooms/${room}`));
    for (const socket of bobs) {
      expect((await socket.next(notified('room_removed', room)))[5]).toEqual({ reason: 'deleted' });
    }
  });

  test('left, on another device', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await bobs[0]!.ok(op.leave_room, room);
    expect((await bobs[1]!.next(notified('room_removed', room)))[5]).toEqual({ reason: 'left' });
  });
});

describe('message', () => {
  test('of a room that is not subscribed: head and unread', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { seq } = await say(adas, room, 'psst');
    for (const socket of bobs) {
      const frame = await socket.next(notified('message', room));
      expect(frame[5]).toEqual({ head: seq, unread: 1 });
    }
  });

  test('comes at most once a second, and the last one is told', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const acks = await Promise.all(Array.from({ length: 30 }, (_, i) => say(adas, room, `${i}`)));
    const last = acks.at(-1)!.seq;
    const frames: Frame[] = [];
    while ((frames.at(-1)?.[5] as { head: number } | undefined)?.head !== last) {
      frames.push(await bobs[0]!.next(notified('message', room)));
    }
    expect(frames.length).toBeLessThan(5);
    expect(frames.at(-1)![5]).toEqual({ head: last, unread: 30 });
  });

  test('does not come for a room that this socket is subscribed to', async () => {
    const [room, other] = await Promise.all([makeRoom(gateway, ada, [bob]), makeRoom(gateway, ada, [bob])]);
    await follow(bobs[0]!, room);
    const { seq } = await say(adas, room, 'live');
    await bobs[0]!.next((frame) => frame[0] === reply.message && frame[1] === seq && frame[3] === room);
    // The other device is told.
    await bobs[1]!.next(notified('message', room));
    await say(adas, other, 'after it');
    await bobs[0]!.next(notified('message', other));
    expect(bobs[0]!.take(notified('message', room))).toEqual([]);
  });

  test('does not come in rooms above NOTIFY_ROOM_MAX members', async () => {
    const people = await Promise.all([person(), person(), person()]);
    const [crowd, small] = await Promise.all([
      makeRoom(gateway, ada, [bob, ...people]),
      makeRoom(gateway, ada, [bob, people[0]!]),
    ]);
    await say(adas, crowd, 'to everybody');
    await say(adas, small, 'to few');
    for (const socket of bobs) {
      await socket.next(notified('message', small));
      expect(socket.take(notified('message', crowd))).toEqual([]);
    }
  });

  test('does not reach those who are no members', async () => {
    const eve = await person('eve');
    const eves = await open(gateway, eve);
    const [room, shared] = await Promise.all([
      makeRoom(gateway, ada, [bob], { public: true }),
      makeRoom(gateway, ada, [eve]),
    ]);
    await say(adas, room, 'members only');
    await bobs[0]!.next(notified('message', room));
    await say(adas, shared, 'for eve');
    await eves.next(notified('message', shared));
    expect(eves.take(notified('message', room))).toEqual([]);
  });
});

describe('mention', () => {
  test('of a member, with the message’s seq and sender', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await follow(bobs[0]!, room);
    const { seq } = await say(adas, room, 'hello @bob', { mentions: [bob.id] });
    for (const socket of bobs) {
      expect(await socket.next(notified('mention', room))).toEqual([
        reply.notification,
        'mention',
        room,
        seq,
        ada.id,
        {},
      ]);
    }
  });

  test('of somebody who may not read the room tells him nothing', async () => {
    const eve = await person('eve');
    const eves = await open(gateway, eve);
    const [hidden, shared] = await Promise.all([
      makeRoom(gateway, ada, [bob]),
      makeRoom(gateway, ada, [eve]),
    ]);
    await say(adas, hidden, 'about eve', { mentions: [eve.id, 'nobody', bob.id] });
    await bobs[0]!.next(notified('mention', hidden));
    await say(adas, shared, 'to eve', { mentions: [eve.id] });
    await eves.next(notified('mention', shared));
    expect(eves.take(notified('mention', hidden))).toEqual([]);
  });
});

describe('marks', () => {
  test('moved on one device are told to the others', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { seq } = await say(adas, room, 'read me');
    await bobs[0]!.ok(op.mark_delivered, room, seq);
    await bobs[0]!.ok(op.mark_read, room, seq);
    for (let marks = { delivered: 0, read: 0 }; marks.read < seq || marks.delivered < seq; ) {
      marks = (await bobs[1]!.next(notified('marks', room)))[5] as typeof marks;
    }
  });
});

describe('token_expiring', () => {
  test('is told 60 s before, without a room', async () => {
    const who = await person();
    const expiresIn = 62;
    const token = await makeToken(who.id, { expiresIn });
    const socket = await open(gateway, { id: who.id, token });
    const before = Date.now();
    const [, , room, seq, from, map] = await socket.next(notified('token_expiring', null));
    expect([room, seq, from]).toEqual([null, null, null]);
    const { expires_at } = map as { expires_at: number };
    expect(Math.abs(expires_at - (before + expiresIn * 1000))).toBeLessThan(2000);
  });

  test('is not told again once a new token has come', async () => {
    const who = await person();
    const socket = await open(gateway, { id: who.id, token: await makeToken(who.id, { expiresIn: 61 }) });
    const [expiresAt] = await socket.ok(op.authenticate, await makeToken(who.id, { expiresIn: 63 }));
    const told = await socket.next(notified('token_expiring', null));
    expect((told[5] as { expires_at: number }).expires_at).toBe(expiresAt as number);
    await socket.settle();
    expect(socket.take(notified('token_expiring', null))).toEqual([]);
  });
});

test('no notification reaches another user', async () => {
  const eve = await open(gateway, await person('eve'));
  const room = await makeRoom(gateway, ada, [bob]);
  await say(adas, room, 'for bob', { mentions: [bob.id] });
  await bobs[0]!.next(notified('mention', room));
  await eve.settle();
  expect(eve.take(reply.notification)).toEqual([]);
});
