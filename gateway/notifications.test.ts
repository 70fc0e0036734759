// Op 99: what every socket of a user hears of rooms it is not subscribed to.

import { describe, expect, test } from 'bun:test';
import { encodeNotification, encodeUserJoined } from '../core/protocol/encode.ts';
import { type Frame, freshId, type Peer, type Process, startProcess } from '../tests/simulated/process.ts';

const told = (peer: Peer, kind: string): Frame[] =>
  peer.take().filter(([op, each]) => op === 99 && each === kind);

async function startRoom(options = {}, members = ['ann', 'bob', 'cat']) {
  const chat = await startProcess(options);
  await chat.makeRoom('room', members);
  const ann = await chat.connect('ann');
  await ann.ask('subscribe', 'room', null, null);
  return { chat, ann, clock: chat.clock };
}

test('a message is told at most once a second, to sockets that are not subscribed', async () => {
  const { chat, ann, clock } = await startRoom();
  const [inside, outside] = [await chat.connect('bob'), await chat.connect('bob')];
  await inside.ask('subscribe', 'room', null, null);
  const start = clock.now();
  const times: number[] = [];
  for (let i = 0; i < 50; i++) {
    await ann.say('room', `${i}`);
    if (told(outside, 'message').length > 0) times.push(clock.now() - start);
    await clock.advance(90);
  }
  await clock.advance(3000);
  const last = told(outside, 'message');
  expect(last.at(-1)).toEqual([99, 'message', 'room', null, null, { head: 50, unread: 50 }]);
  expect(times.length).toBeLessThanOrEqual(5);
  expect(told(inside, 'message')).toEqual([]);
  expect(inside.seqs('room')).toHaveLength(50);
  expect(told(ann, 'message')).toEqual([]);
});

test('where all heard the room at the last message, whoever opens another socket or leaves is told of the next', async () => {
  const { chat, ann, clock } = await startRoom();
  const bob = await chat.connect('bob');
  await bob.ask('subscribe', 'room', null, null);
  const sayOne = async (text: string) => {
    await ann.say('room', text);
    await clock.advance(2000);
  };
  await sayOne('one');
  await sayOne('two');
  const second = await chat.connect('bob');
  await sayOne('three');
  expect(told(second, 'message').at(-1)![5]).toEqual({ head: 3, unread: 3 });
  expect(told(bob, 'message')).toEqual([]);
  await second.ask('subscribe', 'room', null, null);
  await sayOne('four');
  await sayOne('five');
  expect([told(bob, 'message'), told(second, 'message')]).toEqual([[], []]);
  await bob.ask('unsubscribe', 'room');
  await sayOne('six');
  expect(told(bob, 'message').at(-1)![5]).toEqual({ head: 6, unread: 6 });
});

test('unread counts messages after the read mark, and nothing for who has read all', async () => {
  const { chat, ann, clock } = await startRoom();
  const [bob, cat] = [await chat.connect('bob'), await chat.connect('cat')];
  for (let i = 0; i < 3; i++) await ann.say('room', `${i}`);
  await bob.ask('mark_read', 'room', 2);
  await clock.advance(2000);
  told(bob, 'message');
  told(cat, 'message');
  await ann.ask('edit_message', 'room', 1, 'edited');
  await ann.say('room', 'fourth');
  await clock.advance(100);
  expect(told(bob, 'message').at(-1)![5]).toEqual({ head: 5, unread: 2 });
  expect(told(cat, 'message').at(-1)![5]).toEqual({ head: 5, unread: 4 });
});

test('rooms above the bound get none', async () => {
  const { chat, ann, clock } = await startRoom({ notifyRoomMax: 2 });
  const bob = await chat.connect('bob');
  await ann.say('room', 'x');
  await clock.advance(2000);
  expect(told(bob, 'message')).toEqual([]);
});

test('who joins later is told as well, also when he comes while members are read', async () => {
  const { chat, ann, clock } = await startRoom({}, ['ann', 'bob']);
  const dan = await chat.connect('dan');
  const gate = chat.simulated.hold('memberIds', 'after');
  await ann.say('room', 'x');
  const bytes = encodeUserJoined('room', 'ann', 'dan', 'member');
  chat.log.append({ room: 'room', from: 'ann', bytes, level: 4, id: freshId(), settle() {}, fail() {} });
  await clock.settle();
  gate.open();
  await clock.advance(2000);
  await ann.say('room', 'y');
  await clock.advance(100);
  expect(told(dan, 'message').at(-1)![5]).toEqual({ head: 3, unread: 1 });
});

test('a mention is told to members once each, subscribed or not, never to the sender or strangers', async () => {
  const { chat, ann, clock } = await startRoom();
  const [inside, outside, stranger] = [
    await chat.connect('bob'),
    await chat.connect('bob'),
    await chat.connect('eve'),
  ];
  await inside.ask('subscribe', 'room', null, null);
  await ann.say('room', 'hi', freshId(), { mentions: ['bob', 'bob', 'ann', 'eve', 'nobody'] });
  await clock.advance(100);
  const expected: Frame[] = [[99, 'mention', 'room', 1, 'ann', {}]];
  expect(told(inside, 'mention')).toEqual(expected);
  expect(told(outside, 'mention')).toEqual(expected);
  expect([told(ann, 'mention'), told(stranger, 'mention')]).toEqual([[], []]);
});

test('a message that was sent again notifies nobody twice', async () => {
  const { chat, ann, clock } = await startRoom();
  const bob = await chat.connect('bob');
  const id = freshId();
  await ann.say('room', 'hi', id, { mentions: ['bob'] });
  await clock.advance(2000);
  bob.take();
  await ann.say('room', 'hi', id, { mentions: ['bob'] });
  await clock.advance(2000);
  expect(bob.take()).toEqual([]);
});

test('a new room and a removal are told to every socket of the user', async () => {
  const { chat, ann, clock } = await startRoom({}, ['ann']);
  const [one, two] = [await chat.connect('dan'), await chat.connect('dan')];
  await chat.store.ensureUser('dan', {}, 0);
  await chat.settled(chat.rooms.setMember('ann', 'room', 'dan', {}));
  for (const peer of [one, two]) {
    expect(told(peer, 'room_added')).toEqual([
      [99, 'room_added', 'room', null, null, { name: 'room', type: 'channel' }],
    ]);
  }
  await one.ask('subscribe', 'room', null, null);
  await chat.settled(chat.rooms.removeMember('ann', 'room', 'dan'));
  await clock.advance(1000);
  for (const peer of [one, two]) {
    expect(told(peer, 'room_removed')).toEqual([
      [99, 'room_removed', 'room', null, null, { reason: 'kicked' }],
    ]);
    expect(peer.all.filter(([op]) => op === 36)).toEqual([[36, 'room', 'kicked']]);
  }
  expect(told(ann, 'room_removed')).toEqual([]);
});

test('what cannot be read is told when it can be', async () => {
  const { chat, ann, clock } = await startRoom();
  const bob = await chat.connect('bob');
  for (const method of ['memberIds', 'readNumbers'] as const) {
    for (let i = 0; i < 3; i++) chat.simulated.next(method, { fails: true });
  }
  await ann.say('room', 'x');
  await clock.advance(2500);
  expect(told(bob, 'message')).toEqual([]);
  await clock.advance(5000);
  expect(told(bob, 'message')).toEqual([[99, 'message', 'room', null, null, { head: 1, unread: 1 }]]);
});

describe('of messages that many processes tell of', () => {
  /** As the log hands it over, from whichever process. */
  const hear = ({ notifications }: Process, user: string, head: number) => {
    const map = { head, messages: head };
    notifications.deliver(user, encodeNotification('message', 'room', null, null, map));
  };

  test('a user is told once a second, the last head in the end', async () => {
    const { chat, clock } = await startRoom();
    const [bob, cat] = [await chat.connect('bob'), await chat.connect('cat')];
    const times: number[] = [];
    const start = clock.now();
    for (let head = 1; head <= 50; head++) {
      // Five processes, one after another.
      hear(chat, 'bob', head);
      await clock.settle();
      if (told(bob, 'message').length > 0) times.push(clock.now() - start);
      await clock.advance(60);
      if (told(bob, 'message').length > 0) times.push(clock.now() - start);
    }
    // Cat, of whom nobody told yet, does not wait for bob's second.
    hear(chat, 'cat', 51);
    await clock.settle();
    expect(told(cat, 'message')).toHaveLength(1);
    await clock.advance(1000);
    const last = bob.all.filter(([op, kind]) => op === 99 && kind === 'message');
    expect(last.at(-1)![5]).toEqual({ head: 50, unread: 50 });
    expect(times).toHaveLength(4);
    await clock.advance(5000);
    expect(told(bob, 'message').length + told(cat, 'message').length).toBeLessThanOrEqual(1);
    expect(clock.pending).toBe(0);
  });

  test('also while the count is read', async () => {
    const { chat, clock } = await startRoom();
    const bob = await chat.connect('bob');
    const gate = chat.simulated.hold('readNumbers');
    for (let head = 1; head <= 5; head++) {
      hear(chat, 'bob', head);
      await clock.advance(700);
    }
    expect(told(bob, 'message')).toEqual([]);
    gate.open();
    await clock.advance(900);
    expect(told(bob, 'message').map((frame) => frame[5])).toEqual([{ head: 1, unread: 1 }]);
    await clock.advance(200);
    expect(told(bob, 'message').map((frame) => frame[5])).toEqual([{ head: 5, unread: 5 }]);
  });

  test('who has subscribed with every socket before his second is over is not told', async () => {
    const { chat, clock } = await startRoom();
    const bob = await chat.connect('bob');
    hear(chat, 'bob', 1);
    await clock.settle();
    hear(chat, 'bob', 2);
    told(bob, 'message');
    await bob.ask('subscribe', 'room', null, null);
    await clock.advance(3000);
    expect(told(bob, 'message')).toEqual([]);
    expect(clock.pending).toBe(0);
  });
});
