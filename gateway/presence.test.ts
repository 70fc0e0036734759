// Who is where: several sockets, away, the grace after a socket has gone, gathered changes and the bound of a list.

import { expect, test } from 'bun:test';
import { type Peer, startProcess } from '../tests/simulated/process.ts';

const gatherMs = 250;

/** Presence frames since the last call: `[changes, online]`. */
const told = (peer: Peer) =>
  peer
    .take()
    .filter(([op]) => op === 98)
    .map(([, , changes, online]) => [changes, online]);

async function startRoom(members = ['ann', 'bob', 'cat'], options = {}) {
  const chat = await startProcess(options);
  await chat.makeRoom('room', members);
  const ann = await chat.connect('ann');
  await ann.ask('subscribe', 'room', null, null);
  await chat.clock.advance(gatherMs);
  ann.take();
  const enter = async (user: string) => {
    const peer = await chat.connect(user);
    await peer.ask('subscribe', 'room', null, null);
    return peer;
  };
  return { chat, ann, enter, clock: chat.clock };
}

test('who subscribes is told to the room, himself included, gathered', async () => {
  const { ann, enter, clock } = await startRoom();
  const bob = await enter('bob');
  await enter('cat');
  expect(told(ann)).toEqual([]);
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([
    [
      [
        ['bob', 'online'],
        ['cat', 'online'],
      ],
      3,
    ],
  ]);
  expect(told(bob)).toEqual([
    [
      [
        ['bob', 'online'],
        ['cat', 'online'],
      ],
      3,
    ],
  ]);
});

test('a user with several sockets is told once, and gone with the last one', async () => {
  const { ann, enter, clock } = await startRoom();
  const [one, two] = [await enter('bob'), await enter('bob')];
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([[[['bob', 'online']], 2]]);
  one.handle.leave();
  await clock.advance(20_000);
  expect(told(ann)).toEqual([]);
  two.handle.leave();
  await clock.advance(20_000);
  expect(told(ann)).toEqual([[[['bob', 'offline']], 1]]);
});

test('who comes back within the grace was never away', async () => {
  const { ann, enter, clock } = await startRoom();
  let bob = await enter('bob');
  await clock.advance(1000);
  told(ann);
  for (let i = 0; i < 5; i++) {
    bob.handle.leave();
    await clock.advance(4500);
    bob = await enter('bob');
    await clock.advance(1000);
  }
  expect(told(ann)).toEqual([]);
  bob.handle.leave();
  await clock.advance(4500);
  expect(told(ann)).toEqual([]);
  await clock.advance(1000);
  expect(told(ann)).toEqual([[[['bob', 'offline']], 1]]);
});

test('who leaves on purpose is gone at once', async () => {
  const { ann, enter, clock } = await startRoom();
  const bob = await enter('bob');
  await clock.advance(gatherMs);
  told(ann);
  await bob.ask('unsubscribe', 'room');
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([[[['bob', 'offline']], 1]]);
  await bob.ask('subscribe', 'room', null, null);
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([[[['bob', 'online']], 2]]);
});

test('who comes and goes between two gatherings is nothing to tell', async () => {
  const { ann, enter, clock } = await startRoom();
  const bob = await enter('bob');
  await bob.ask('unsubscribe', 'room');
  await clock.advance(1000);
  expect(told(ann)).toEqual([]);
});

test('away is told when all sockets are, online when one is', async () => {
  const { ann, enter, clock } = await startRoom();
  const [one, two] = [await enter('bob'), await enter('bob')];
  await clock.advance(gatherMs);
  told(ann);
  await one.ask('set_status', 'away');
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([]);
  await two.ask('set_status', 'away');
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([[[['bob', 'away']], 2]]);
  await one.ask('set_status', 'away');
  await one.ask('set_status', 'online');
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([[[['bob', 'online']], 2]]);
});

test('the last socket that is not away takes online with it, and a new one brings it back', async () => {
  const { chat, ann, enter, clock } = await startRoom();
  const away = await enter('bob');
  const online = await chat.connect('bob');
  await away.ask('set_status', 'away');
  await clock.advance(gatherMs);
  expect(told(ann).at(-1)).toEqual([[['bob', 'online']], 2]);
  online.handle.leave();
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([[[['bob', 'away']], 2]]);
  await chat.connect('bob');
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([[[['bob', 'online']], 2]]);
});

test('who was away and comes back within the grace is online', async () => {
  const { ann, enter, clock } = await startRoom();
  const bob = await enter('bob');
  await bob.ask('set_status', 'away');
  await clock.advance(gatherMs);
  told(ann);
  bob.handle.leave();
  await clock.advance(1000);
  await enter('bob');
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([[[['bob', 'online']], 2]]);
});

test('above the bound only the count is told', async () => {
  const { ann, enter, clock } = await startRoom(['ann', 'bob', 'cat', 'dan'], { presenceRoomMax: 2 });
  await enter('bob');
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([[[['bob', 'online']], 2]]);
  await enter('cat');
  await clock.advance(gatherMs);
  expect(told(ann)).toEqual([[[], 3]]);
});

test('the presence request lists who is here first, then members with when they were seen', async () => {
  const { chat, ann, enter, clock } = await startRoom();
  await enter('bob');
  await clock.advance(2000);
  const [, , online, users] = await ann.ask('presence', 'room');
  expect(online).toBe(2);
  expect(users).toEqual([
    ['ann', 'online', chat.clock.now()],
    ['bob', 'online', chat.clock.now()],
    ['cat', 'offline', expect.any(Number)],
  ]);
});

test('thousands who come and go leave nothing behind', async () => {
  const { chat, enter, clock } = await startRoom(['ann', 'bob'], { graceMs: 100 });
  for (let i = 0; i < 200; i++) {
    const peer = await enter('bob');
    if (i % 2 === 0) await peer.ask('unsubscribe', 'room');
    peer.handle.leave();
  }
  await clock.advance(1000);
  expect(await chat.settled(chat.presence.list('room', 10))).toEqual({
    count: 1,
    changed: [['ann', 'online']],
  });
  expect(await chat.settled(chat.presence.statuses(['ann', 'bob']))).toEqual(['online', 'offline']);
});

test('where many rooms change at once they are told one after another, none of them left out', async () => {
  const chat = await startProcess();
  const { clock } = chat;
  const rooms = Array.from({ length: 40 }, (_, i) => `room${i}`);
  const users = Array.from({ length: 100 }, (_, i) => `user${i}`);
  for (const room of rooms) await chat.makeRoom(room, users);
  const peers: Peer[] = [];
  for (const user of users) {
    const peer = await chat.connect(user);
    for (const room of rooms) await peer.ask('subscribe', room, null, null);
    peers.push(peer);
  }
  const [first] = peers as [Peer];
  // So many rooms of so many sockets are 4,000 frames: a gathering has 2,500.
  await clock.advance(250);
  const now = first.take().filter(([op]) => op === 98);
  expect(now.length).toBeLessThan(rooms.length);
  await clock.advance(750);
  const then = first.take().filter(([op]) => op === 98);
  expect(new Set([...now, ...then].map(([, room]) => room))).toEqual(new Set(rooms));
  for (const [, , , online] of [...now, ...then]) expect(online).toBe(users.length);
});
