// Ephemeral frames: who types, and who is there.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, startGateway } from '../gateway.ts';
import { expectHttp, follow, fresh, http, makeRoom, open, type Person, person, say } from '../people.ts';
import { type Frame, op, reply, type Socket, until } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
let bob: Person;
let adas: Socket;
let bobs: Socket;
beforeAll(async () => {
  gateway = await startGateway({ PRESENCE_GRACE_MS: '300', PRESENCE_ROOM_MAX: '250' });
  [ada, bob] = await Promise.all([person('ada'), person('bob')]);
  [adas, bobs] = await Promise.all([open(gateway, ada), open(gateway, bob)]);
});
afterAll(() => gateway.close());

const typingIn = (room: string) => (frame: Frame) => frame[0] === reply.typing && frame[1] === room;

/** Both subscribed. */
async function sharedRoom(fields: Record<string, unknown> = {}): Promise<string> {
  const room = await makeRoom(gateway, ada, [bob], fields);
  await Promise.all([follow(adas, room), follow(bobs, room)]);
  return room;
}

describe('typing', () => {
  test('on and off reach the others', async () => {
    const room = await sharedRoom();
    expect(await bobs.ok(op.typing, room, true)).toEqual([]);
    expect(await adas.next(typingIn(room))).toEqual([reply.typing, room, bob.id, true]);
    await bobs.ok(op.typing, room, false);
    expect(await adas.next(typingIn(room))).toEqual([reply.typing, room, bob.id, false]);
  });

  test('ends by itself', async () => {
    const room = await sharedRoom();
    await bobs.ok(op.typing, room, true);
    expect((await adas.next(typingIn(room)))[3]).toBe(true);
    expect(await adas.next(typingIn(room))).toEqual([reply.typing, room, bob.id, false]);
  });

  test('ends when the socket does', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const phone = await open(gateway, bob);
    await Promise.all([follow(adas, room), follow(phone, room)]);
    await phone.ok(op.typing, room, true);
    await adas.next(typingIn(room));
    phone.terminate();
    expect((await adas.next(typingIn(room)))[3]).toBe(false);
  });

  test('is never stored, and takes no seq', async () => {
    const room = await sharedRoom();
    const first = await say(adas, room, 'one');
    await bobs.ok(op.typing, room, true);
    await adas.next(typingIn(room));
    expect((await say(adas, room, 'two')).seq).toBe(first.seq + 1);
  });

  test('reaches nobody outside the room', async () => {
    const [room, other] = await Promise.all([sharedRoom(), sharedRoom()]);
    await bobs.ok(op.typing, room, true);
    await bobs.ok(op.typing, other, true);
    await adas.next(typingIn(other));
    const eve = await open(gateway, await person('eve'));
    await eve.settle();
    expect(eve.take(reply.typing)).toEqual([]);
  });

  test('a hundred in a row arrive as few', async () => {
    const room = await sharedRoom();
    for (let i = 0; i < 100; i++) bobs.send(op.typing, 0, room, true);
    await bobs.settle();
    await bobs.ok(op.typing, room, false);
    const frames: Frame[] = [];
    while (frames.at(-1)?.[3] !== false) frames.push(await adas.next(typingIn(room)));
    expect(frames.length).toBeLessThan(20);
  });

  test('where this socket is not subscribed is NOT_SUBSCRIBED', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    expect(await bobs.refusal(op.typing, room, true)).toBe('NOT_SUBSCRIBED');
    expect(await bobs.refusal(op.typing, fresh('none'), true)).toBe('NOT_SUBSCRIBED');
    await follow(bobs, room);
    await bobs.ok(op.unsubscribe, room);
    expect(await bobs.refusal(op.typing, room, true)).toBe('NOT_SUBSCRIBED');
  });

  test('with wrong fields is BAD_REQUEST', async () => {
    const room = await sharedRoom();
    for (const on of [1, 'true', null]) expect(await bobs.refusal(op.typing, room, on)).toBe('BAD_REQUEST');
  });
});

/** Waits for a presence frame in which this user has this status; the count it carries. */
async function statusOf(socket: Socket, room: string, user: string, status: string): Promise<number> {
  const frame = await socket.next(
    ([opcode, at, rows]) =>
      opcode === reply.presence &&
      at === room &&
      (rows as [string, string][]).some(([who, now]) => who === user && now === status),
    `presence of ${user} as ${status}`,
  );
  return frame[3] as number;
}

/** The answer to presence, by user. */
async function presenceOf(socket: Socket, room: string) {
  const [online, rows] = (await socket.ok(op.presence, room)) as [number, [string, string, number][]];
  return { online, users: new Map(rows.map(([user, status, lastSeen]) => [user, { status, lastSeen }])) };
}

/** The answer to presence once it counts so many. */
function presenceWhen(socket: Socket, room: string, count: number) {
  return until(async () => {
    const answer = await presenceOf(socket, room);
    return answer.online === count && answer;
  }, `presence counts ${count}`);
}

describe('the presence of a room', () => {
  test('counts who has subscribed, from the ok on', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await follow(adas, room);
    expect((await presenceOf(adas, room)).users.get(ada.id)?.status).toBe('online');
    await follow(bobs, room);
    expect((await presenceOf(adas, room)).online).toBe(2);
    await bobs.ok(op.unsubscribe, room);
    expect((await presenceOf(adas, room)).online).toBe(1);
  });

  test('comes and goes with subscriptions', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await follow(adas, room);
    await statusOf(adas, room, ada.id, 'online').catch(() => null);
    const phone = await open(gateway, bob);
    await follow(phone, room);
    expect(await statusOf(adas, room, bob.id, 'online')).toBe(2);
    await phone.ok(op.unsubscribe, room);
    expect(await statusOf(adas, room, bob.id, 'offline')).toBe(1);
    phone.terminate();
  });

  test('is asked for with presence: count, status and when last seen', async () => {
    const room = await sharedRoom();
    const eve = await person('eve');
    await expectHttp(200, http(gateway, eve, 'GET', '/v1/me'));
    await expectHttp(200, http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${eve.id}`, {}));
    const { users } = await presenceWhen(adas, room, 2);
    for (const who of [ada, bob]) {
      expect(users.get(who.id)?.status).toBe('online');
      expect(users.get(who.id)?.lastSeen).toBeGreaterThan(Date.now() - 600_000);
    }
    expect(users.get(eve.id)?.status ?? 'offline').toBe('offline');
  });

  test('counts a user with several sockets once, until the last one is gone', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    await follow(adas, room);
    const phones = await Promise.all([open(gateway, bob), open(gateway, bob)]);
    await Promise.all(phones.map((phone) => follow(phone, room)));
    await presenceWhen(adas, room, 2);
    await statusOf(adas, room, bob.id, 'online');
    phones[0]!.terminate();
    await phones[0]!.closed;
    // Longer than the grace: what would have been told about bob would come before this.
    const later = await person();
    await expectHttp(200, http(gateway, later, 'GET', '/v1/me'));
    await expectHttp(200, http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${later.id}`, {}));
    const passing = await open(gateway, later);
    await follow(passing, room);
    await statusOf(adas, room, later.id, 'online');
    passing.terminate();
    await statusOf(adas, room, later.id, 'offline');
    expect((await presenceOf(adas, room)).users.get(bob.id)?.status).toBe('online');
    phones[1]!.terminate();
    expect(await statusOf(adas, room, bob.id, 'offline')).toBe(1);
  });

  test('of a user who comes back within the grace is not interrupted', async () => {
    const slow = await startGateway({ PRESENCE_GRACE_MS: '4000' });
    const room = await makeRoom(slow, ada, [bob]);
    const watcher = await open(slow, ada);
    await follow(watcher, room);
    const first = await open(slow, bob);
    await follow(first, room);
    await statusOf(watcher, room, bob.id, 'online');
    for (let i = 0; i < 5; i++) {
      const phone = i === 0 ? first : await open(slow, bob);
      if (i > 0) await follow(phone, room);
      phone.terminate();
      await phone.closed;
    }
    const phone = await open(slow, bob);
    await follow(phone, room);
    await phone.ok(op.set_status, 'away');
    await statusOf(watcher, room, bob.id, 'away');
    const told = watcher.take((frame) => frame[0] === reply.presence && frame[1] === room);
    expect(JSON.stringify(told)).not.toContain('offline');
    await slow.close();
  });

  test('of a room one may not read is NOT_FOUND; of a public one anybody may ask', async () => {
    const room = await makeRoom(gateway, ada);
    expect(await bobs.refusal(op.presence, room)).toBe('NOT_FOUND');
    expect(await bobs.refusal(op.presence, fresh('none'))).toBe('NOT_FOUND');
    const openRoom = await makeRoom(gateway, ada, [], { public: true });
    await bobs.ok(op.presence, openRoom);
  });

  test('lists at most 200, and counts all', async () => {
    const room = await makeRoom(gateway, ada, [], { public: true, type: 'channel' });
    const people = await Promise.all(Array.from({ length: 220 }, () => person()));
    const sockets = await Promise.all(people.map((who) => open(gateway, who)));
    await Promise.all(sockets.map((socket) => socket.ok(op.join_room, room)));
    await presenceWhen(adas, room, 220);
    const [, rows] = (await adas.ok(op.presence, room)) as [number, unknown[]];
    expect(rows.length).toBeLessThanOrEqual(200);
    expect(rows.length).toBeGreaterThan(0);
    for (const socket of sockets) socket.terminate();
  });
});

describe('set_status', () => {
  test('away and online reach the rooms that the user is in', async () => {
    const room = await sharedRoom();
    const elsewhere = await sharedRoom();
    expect(await bobs.ok(op.set_status, 'away')).toEqual([]);
    for (const at of [room, elsewhere]) await statusOf(adas, at, bob.id, 'away');
    expect((await presenceOf(adas, room)).users.get(bob.id)?.status).toBe('away');
    // What was told before is not what is waited for.
    adas.take(reply.presence);
    await bobs.ok(op.set_status, 'online');
    await statusOf(adas, room, bob.id, 'online');
    expect((await presenceOf(adas, room)).users.get(bob.id)?.status).toBe('online');
  });

  test('is what HTTP shows as well', async () => {
    await bobs.ok(op.set_status, 'away');
    await until(
      async () => (await http(gateway, ada, 'GET', `/v1/users/${bob.id}`)).body.status === 'away',
      'the profile says away',
    );
    await bobs.ok(op.set_status, 'online');
    const gone = await person('gone');
    await expectHttp(200, http(gateway, gone, 'GET', '/v1/me'));
    const { body } = await expectHttp(200, http(gateway, ada, 'GET', `/v1/users/${gone.id}`));
    expect(body.status).toBe('offline');
  });

  test('of anything else is BAD_REQUEST', async () => {
    for (const status of ['offline', 'busy', '', null, 1]) {
      expect(await bobs.refusal(op.set_status, status)).toBe('BAD_REQUEST');
    }
  });
});

describe('above PRESENCE_ROOM_MAX members', () => {
  test('a room gets counts, no list', async () => {
    const small = await startGateway({ PRESENCE_ROOM_MAX: '2', PRESENCE_GRACE_MS: '0' });
    const people = await Promise.all([ada, bob, person('eve')]);
    const room = await makeRoom(small, ada, people.slice(1));
    const watcher = await open(small, ada);
    await follow(watcher, room);
    const sockets = await Promise.all(people.slice(1).map((who) => open(small, who)));
    await Promise.all(sockets.map((socket) => follow(socket, room)));
    const isOfRoom = (frame: Frame) => frame[0] === reply.presence && frame[1] === room;
    let online = 0;
    while (online < 3) {
      const frame = await watcher.next(isOfRoom);
      expect(frame[2]).toEqual([]);
      online = frame[3] as number;
    }
    sockets[0]!.terminate();
    while (online > 2) online = (await watcher.next(isOfRoom))[3] as number;
    await small.close();
  });
});
