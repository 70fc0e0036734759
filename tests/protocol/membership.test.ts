// Joining, leaving, being removed: who may, what others hear, and what stops at once.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
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
import { type Frame, op, reply, type Socket, until } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
let bob: Person;
let eve: Person;
let adas: Socket;
let bobs: Socket;
let eves: Socket;
beforeAll(async () => {
  gateway = await startGateway();
  [ada, bob, eve] = await Promise.all([person('ada'), person('bob'), person('eve')]);
  [adas, bobs, eves] = await Promise.all([open(gateway, ada), open(gateway, bob), open(gateway, eve)]);
});
afterAll(() => gateway.close());

const isEvent = (frame: Frame) => frame[0] >= 64 && frame[0] <= 95;
const inRoom = (room: string) => (frame: Frame) => isEvent(frame) && frame[3] === room;
const about = (opcode: number, room: string) => (frame: Frame) => frame[0] === opcode && frame.includes(room);
const trySend = (socket: Socket, room: string) =>
  socket.request(op.send_message, room, messageId(), 'text', 'x', null);

describe('join_room', () => {
  test('makes a member of a public room, subscribes, and its head includes the join', async () => {
    const room = await makeRoom(gateway, ada, [], { public: true });
    const { epoch, head } = await follow(adas, room);
    expect(await bobs.ok(op.join_room, room)).toEqual([room, epoch, head + 1]);
    const joined = await adas.next(inRoom(room));
    expect(joined).toEqual([reply.user_joined, head + 1, expect.any(Number), room, bob.id, bob.id, 'member']);
    // Subscribed from there on: the next event is head + 1.
    const { seq } = await say(adas, room, 'welcome');
    expect((await bobs.next(inRoom(room)))[1]).toBe(seq);
    await say(bobs, room, 'thanks');
  });

  test('again changes nothing and makes no event', async () => {
    const room = await makeRoom(gateway, ada, [], { public: true });
    await follow(adas, room);
    const first = await bobs.ok(op.join_room, room);
    expect(await bobs.ok(op.join_room, room)).toEqual(first);
    const phone = await open(gateway, bob);
    expect(await phone.ok(op.join_room, room)).toEqual(first);
    const { seq } = await say(adas, room, 'next');
    expect(seq).toBe((first[2] as number) + 1);
    for (const socket of [bobs, phone]) expect((await socket.next(inRoom(room)))[1]).toBe(seq);
    await bobs.settle();
    expect(bobs.take(inRoom(room))).toEqual([]);
  });

  test('by a member of a private room subscribes', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const [joined] = await bobs.ok(op.join_room, room);
    expect(joined).toBe(room);
    const { seq } = await say(adas, room, 'x');
    expect((await bobs.next(inRoom(room)))[1]).toBe(seq);
  });

  test('a private room, and one that does not exist, are NOT_FOUND', async () => {
    const room = await makeRoom(gateway, ada);
    expect(await bobs.refusal(op.join_room, room)).toBe('NOT_FOUND');
    expect(await bobs.refusal(op.join_room, fresh('none'))).toBe('NOT_FOUND');
    await bobs.settle();
  });

  test('nil is the room this user was in last', async () => {
    const dan = await person('dan');
    const [first, second] = [
      await makeRoom(gateway, ada, [], { public: true }),
      await makeRoom(gateway, ada, [], { public: true }),
    ];
    const socket = await open(gateway, dan);
    await socket.ok(op.join_room, first);
    await socket.ok(op.join_room, second);
    await socket.close();
    const back = await open(gateway, dan);
    expect((await back.ok(op.join_room, null))[0]).toBe(second);
    const { seq } = await say(adas, second, 'x');
    expect((await back.next(inRoom(second)))[1]).toBe(seq);
    await back.ok(op.join_room, first);
    await back.close();
    const again = await open(gateway, dan);
    expect((await again.ok(op.join_room, null))[0]).toBe(first);
  });

  test('nil of a user who was in no room is NOT_FOUND', async () => {
    const socket = await open(gateway, await person('new'));
    expect(await socket.refusal(op.join_room, null)).toBe('NOT_FOUND');
  });

  test('many at once: one event for each user', async () => {
    const room = await makeRoom(gateway, ada, [], { public: true });
    const { head } = await follow(adas, room);
    const people = await Promise.all(Array.from({ length: 20 }, () => person()));
    const sockets = await Promise.all([...people, ...people].map((who) => open(gateway, who)));
    await Promise.all(sockets.map((socket) => socket.ok(op.join_room, room)));
    const { seq } = await say(adas, room, 'all here');
    expect(seq).toBe(head + 21);
    const joined: unknown[] = [];
    for (let i = 0; i < 20; i++) joined.push((await adas.next(about(reply.user_joined, room)))[5]);
    expect(joined.toSorted()).toEqual(people.map((who) => who.id).toSorted());
    for (const socket of sockets) socket.terminate();
  });
});

describe('leave_room', () => {
  test('ends membership and subscription; others hear it', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { head } = await follow(adas, room);
    await follow(bobs, room);
    expect(await bobs.ok(op.leave_room, room)).toEqual([]);
    const left = await adas.next(inRoom(room));
    expect(left).toEqual([reply.user_left, head + 1, expect.any(Number), room, bob.id, bob.id]);
    await say(adas, room, 'unheard');
    await bobs.settle();
    expect(bobs.take(inRoom(room)).filter((event) => event[0] !== reply.user_left)).toEqual([]);
    expect((await trySend(bobs, room))[2]).toBe('NOT_FOUND');
    expect(await bobs.refusal(op.subscribe, room, null, null)).toBe('NOT_FOUND');
    expect(await bobs.refusal(op.history, room, null, null, 10)).toBe('NOT_FOUND');
    expect(await bobs.refusal(op.unsubscribe, room)).toBe('NOT_SUBSCRIBED');
  });

  test('of a public room leaves it readable, but not for sending', async () => {
    const room = await makeRoom(gateway, ada, [bob], { public: true });
    await bobs.ok(op.leave_room, room);
    await follow(bobs, room);
    expect((await trySend(bobs, room))[2]).toBe('FORBIDDEN');
    await bobs.ok(op.join_room, room);
    await say(bobs, room, 'back');
  });

  test('is told as removed to every other socket of the user, not to the one that asked', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const [asks, hears, hearsToo] = [
      await open(gateway, bob),
      await open(gateway, bob),
      await open(gateway, bob),
    ];
    await Promise.all([asks, hears].map((socket) => follow(socket, room)));
    await asks.ok(op.leave_room, room);
    for (const socket of [hears, hearsToo]) {
      expect(await socket.next(about(reply.removed, room))).toEqual([reply.removed, room, 'left']);
    }
    await say(adas, room, 'unheard');
    await Promise.all([asks.settle(), hears.settle()]);
    expect(asks.take(reply.removed)).toEqual([]);
    for (const socket of [asks, hears]) expect(socket.take(about(reply.message, room))).toEqual([]);
    for (const socket of [asks, hears, hearsToo]) socket.terminate();
  });

  test('a room one may not read is NOT_FOUND', async () => {
    const room = await makeRoom(gateway, ada);
    expect(await bobs.refusal(op.leave_room, room)).toBe('NOT_FOUND');
    expect(await bobs.refusal(op.leave_room, fresh('none'))).toBe('NOT_FOUND');
  });
});

describe('members that others add and remove', () => {
  test('added: user_joined with who did it, and they may read at once', async () => {
    const room = await makeRoom(gateway, ada);
    const { head } = await follow(adas, room);
    expect(await bobs.refusal(op.subscribe, room, null, null)).toBe('NOT_FOUND');
    await expectHttp(
      200,
      http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${bob.id}`, { role: 'readonly' }),
    );
    expect(await adas.next(inRoom(room))).toEqual([
      reply.user_joined,
      head + 1,
      expect.any(Number),
      room,
      ada.id,
      bob.id,
      'readonly',
    ]);
    await follow(bobs, room);
    expect((await trySend(bobs, room))[2]).toBe('FORBIDDEN');
  });

  test('kicked: user_left, removed on every socket, and nothing more arrives', async () => {
    const room = await makeRoom(gateway, ada, [bob, eve]);
    const { head } = await follow(adas, room);
    const phone = await open(gateway, bob);
    await Promise.all([follow(bobs, room), follow(phone, room), follow(eves, room)]);
    await expectHttp(204, http(gateway, ada, 'DELETE', `/v1/rooms/${room}/members/${bob.id}`));
    for (const socket of [adas, eves]) {
      expect(await socket.next(inRoom(room))).toEqual([
        reply.user_left,
        head + 1,
        expect.any(Number),
        room,
        ada.id,
        bob.id,
      ]);
    }
    for (const socket of [bobs, phone]) {
      expect(await socket.next(about(reply.removed, room))).toEqual([reply.removed, room, 'kicked']);
    }
    const { seq } = await say(adas, room, 'among us');
    expect((await eves.next(inRoom(room)))[1]).toBe(seq);
    for (const socket of [bobs, phone]) {
      await socket.settle();
      expect(socket.take(about(reply.message, room))).toEqual([]);
    }
    expect((await trySend(bobs, room))[2]).toBe('NOT_FOUND');
    expect(await bobs.refusal(op.subscribe, room, null, null)).toBe('NOT_FOUND');
    expect(await bobs.refusal(op.mark_read, room, 1)).toBe('NOT_FOUND');
    expect(await bobs.refusal(op.presence, room)).toBe('NOT_FOUND');
    phone.terminate();
  });

  test('kicked and added again: from then on as before', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await follow(bobs, room);
    await expectHttp(204, http(gateway, ada, 'DELETE', `/v1/rooms/${room}/members/${bob.id}`));
    await bobs.next(about(reply.removed, room));
    await expectHttp(200, http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${bob.id}`, {}));
    await follow(bobs, room);
    const { seq } = await say(adas, room, 'again');
    expect((await bobs.next(about(reply.message, room)))[1]).toBe(seq);
    await say(bobs, room, 'thanks');
  });

  test('muted: may read, may not send, edit or react, until unmuted', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await follow(bobs, room);
    const mine = await say(bobs, room, 'before');
    await expectHttp(200, http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${bob.id}`, { muted: true }));
    expect((await trySend(bobs, room))[2]).toBe('FORBIDDEN');
    expect(await bobs.refusal(op.edit_message, room, mine.seq, 'x')).toBe('FORBIDDEN');
    expect(await bobs.refusal(op.react, room, mine.seq, '👍', true)).toBe('FORBIDDEN');
    const { seq } = await say(adas, room, 'read this');
    await bobs.next((frame) => isEvent(frame) && frame[1] === seq);
    await bobs.ok(op.history, room, null, null, 5);
    await expectHttp(200, http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${bob.id}`, { muted: false }));
    await say(bobs, room, 'after');
  });

  test('muted: leaving and joining again does not end it, not for a moment', async () => {
    const room = await makeRoom(gateway, ada, [bob], { public: true });
    await follow(adas, room);
    await expectHttp(200, http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${bob.id}`, { muted: true }));
    const phone = await open(gateway, bob);
    await bobs.ok(op.leave_room, room);
    const joining = bobs.ok(op.join_room, room);
    await adas.next((frame) => frame[0] === reply.user_joined && frame[3] === room);
    expect((await trySend(phone, room))[2]).toBe('FORBIDDEN');
    await joining;
    expect((await trySend(bobs, room))[2]).toBe('FORBIDDEN');
    phone.terminate();
  });

  test('archived: nothing is deleted and nobody is added', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await follow(bobs, room);
    const { seq } = await say(bobs, room, 'kept');
    await expectHttp(200, http(gateway, ada, 'PATCH', `/v1/rooms/${room}`, { archived: true }));
    expect(await bobs.refusal(op.delete_message, room, seq)).toBe('FORBIDDEN');
    expect((await http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${eve.id}`, {})).status).toBe(403);
  });

  test('a change of role is told to the room as room_updated', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await follow(adas, room);
    await expectHttp(
      200,
      http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${bob.id}`, { role: 'readonly' }),
    );
    const event = await adas.next(inRoom(room));
    expect([event[0], event[4]]).toEqual([reply.room_updated, ada.id]);
    expect(JSON.stringify(event[5])).toContain(bob.id);
  });
});

describe('a room that ends', () => {
  test('deleted: removed with that reason on every socket of its members, then NOT_FOUND', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const phone = await open(gateway, bob);
    await Promise.all([follow(adas, room), follow(bobs, room)]);
    await expectHttp(204, http(gateway, ada, 'DELETE', `/v1/rooms/${room}`));
    for (const socket of [bobs, phone, adas]) {
      expect(await socket.next(about(reply.removed, room))).toEqual([reply.removed, room, 'deleted']);
    }
    for (const socket of [adas, bobs]) {
      expect(await socket.refusal(op.subscribe, room, null, null)).toBe('NOT_FOUND');
      expect((await trySend(socket, room))[2]).toBe('NOT_FOUND');
      expect(await socket.refusal(op.history, room, null, null, 10)).toBe('NOT_FOUND');
    }
    phone.terminate();
  });

  test('deleted under readers of a public room who are no members: they are removed too', async () => {
    const room = await makeRoom(gateway, ada, [], { public: true });
    await follow(bobs, room);
    await expectHttp(204, http(gateway, ada, 'DELETE', `/v1/rooms/${room}`));
    expect(await bobs.next(about(reply.removed, room))).toEqual([reply.removed, room, 'deleted']);
    expect(await bobs.refusal(op.unsubscribe, room)).toBe('NOT_SUBSCRIBED');
  });

  test('archived: it can be read, nothing can be written, and it can come back', async () => {
    const room = await makeRoom(gateway, ada, [bob], { public: true });
    const { seq } = await say(bobs, room, 'before');
    await follow(bobs, room);
    await expectHttp(200, http(gateway, ada, 'PATCH', `/v1/rooms/${room}`, { archived: true }));
    const event = await bobs.next(inRoom(room));
    expect(event[0]).toBe(reply.room_updated);
    expect(event[5]).toMatchObject({ archived: true });
    expect((await trySend(bobs, room))[2]).toBe('FORBIDDEN');
    expect((await trySend(adas, room))[2]).toBe('FORBIDDEN');
    expect(await bobs.refusal(op.edit_message, room, seq, 'x')).toBe('FORBIDDEN');
    expect(await bobs.refusal(op.react, room, seq, '👍', true)).toBe('FORBIDDEN');
    await bobs.ok(op.history, room, null, null, 5);
    await follow(eves, room);
    await expectHttp(200, http(gateway, ada, 'PATCH', `/v1/rooms/${room}`, { archived: false }));
    await say(bobs, room, 'after');
  });

  test('made private: readers who are no members are out', async () => {
    const room = await makeRoom(gateway, ada, [], { public: true });
    await follow(bobs, room);
    await expectHttp(200, http(gateway, ada, 'PATCH', `/v1/rooms/${room}`, { public: false }));
    expect(await bobs.refusal(op.history, room, null, null, 5)).toBe('NOT_FOUND');
    // A removal takes effect within a second: from some message on nothing arrives.
    await until(async () => {
      const { seq } = await say(adas, room, 'for members');
      await bobs.settle();
      return bobs.take(about(reply.message, room)).every((event) => event[1] !== seq);
    }, 'a reader who is no member hears nothing more');
  });
});
