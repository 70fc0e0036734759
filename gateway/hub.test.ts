// The hub: every event once and in order on every socket, whatever the log's transport loses and however late the store
// answers; who is removed hears nothing more; loading, holes and idle rooms.

import { describe, expect, test } from 'bun:test';
import {
  encodeEpochStarted,
  encodeMessage,
  encodeRoomUpdated,
  encodeUserLeft,
} from '../core/protocol/encode.ts';
import { readSeq, stamp } from '../core/protocol/stamp.ts';
import { Random } from '../tests/fuzz/random.ts';
import { makeLossy, replaceIn } from '../tests/simulated/lossy-log.ts';
import { freshId, type Process, request, startProcess } from '../tests/simulated/process.ts';
import type { Log, LogListener } from './log/log.ts';
import { roomTopic } from './topics.ts';

const range = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

/** Appends without a socket: what another process would do. */
function append(chat: Process, room: string, bytes: Uint8Array, from = 'ann'): void {
  chat.log.append({ room, from, bytes, level: 4, id: freshId(), settle() {}, fail() {} });
}

const text = (room: string, content = 'hello') =>
  encodeMessage(room, 'ann', freshId(), 'text', content, null);

describe('loading a room', () => {
  test('is one read for all who come at once', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann', 'bob', 'cat']);
    const peers = await Promise.all(['ann', 'bob', 'cat', 'ann'].map((user) => chat.connect(user)));
    for (const peer of peers) peer.send(request('subscribe', 1, 'room', null, null));
    await chat.clock.settle();
    for (const peer of peers) expect(peer.all.at(-1)).toEqual([32, 1, 1, 0, false]);
    expect([chat.simulated.count('room'), chat.simulated.count('memberships')]).toEqual([1, 1]);
    await peers[0]!.ask('subscribe', 'room', null, null);
    expect([chat.simulated.count('room'), chat.simulated.count('memberships')]).toEqual([1, 1]);
  });

  test('that fails is UNAVAILABLE, and tried anew by the next', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann']);
    const ann = await chat.connect('ann');
    for (const method of ['heads', 'room', 'memberships'] as const) {
      chat.simulated.next(method, { fails: true });
      expect((await ann.ask('subscribe', 'room', null, null)).slice(2, 3)).toEqual(['UNAVAILABLE']);
    }
    expect(await ann.ask('subscribe', 'room', null, null)).toEqual([32, expect.any(Number), 1, 0, false]);
  });

  test('misses nothing that comes while it reads', async () => {
    for (const [method, where] of [
      ['heads', 'before'],
      ['heads', 'after'],
      ['room', 'before'],
      ['room', 'after'],
      ['memberships', 'after'],
    ] as const) {
      const chat = await startProcess();
      await chat.makeRoom('room', ['ann']);
      for (let i = 0; i < 3; i++) append(chat, 'room', text('room'));
      await chat.clock.settle();
      const ann = await chat.connect('ann');
      const gate = chat.simulated.hold(method, where);
      ann.send(request('subscribe', 1, 'room', 1, 1));
      await chat.clock.settle();
      for (let i = 0; i < 4; i++) {
        append(chat, 'room', text('room'));
        await chat.clock.settle();
      }
      gate.open();
      await chat.clock.advance(1000);
      expect(ann.all[1]).toEqual([32, 1, 1, expect.any(Number), false]);
      expect(ann.seqs('room')).toEqual(range(2, 6));
    }
  });

  test('learns of a member who joins or goes while the membership is read', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann', 'bob']);
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', null, null);
    const bob = await chat.connect('bob');
    const gate = chat.simulated.hold('memberships', 'after');
    bob.send(request('subscribe', 1, 'room', null, null));
    await chat.clock.settle();
    append(chat, 'room', encodeUserLeft('room', 'ann', 'bob'));
    await chat.clock.settle();
    gate.open();
    await chat.clock.settle();
    expect(bob.all.at(-1)).toEqual([33, 1, 'NOT_FOUND', expect.any(String), null]);
  });

  test('of a room that does not exist is NOT_FOUND and leaves nothing behind', async () => {
    const chat = await startProcess();
    const ann = await chat.connect('ann');
    expect((await ann.ask('subscribe', 'nowhere', null, null))[2]).toBe('NOT_FOUND');
    expect(chat.hub.roomCount).toBe(0);
  });
});

describe('a room without sockets', () => {
  test('stays warm for a while and is then forgotten', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann']);
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', null, null);
    await chat.clock.advance(120_000);
    expect(chat.hub.roomCount).toBe(1);
    ann.handle.leave();
    await chat.clock.advance(20_000);
    expect(chat.hub.roomCount).toBe(1);
    await chat.clock.advance(40_000);
    expect(chat.hub.roomCount).toBe(0);
  });

  test('that is used again is not forgotten before one that is not', async () => {
    const chat = await startProcess();
    for (const room of ['old', 'used']) {
      await chat.makeRoom(room, ['ann']);
      await chat.settled(chat.rooms.open('ann', room));
    }
    const ann = await chat.connect('ann');
    for (let i = 0; i < 6; i++) {
      await chat.clock.advance(15_000);
      await ann.ask('history', 'used', null, null, 10);
    }
    expect(chat.hub.active('old')).toBeUndefined();
    expect(chat.hub.active('used')).toBeDefined();
  });

  test('that was forgotten while a join waited is opened anew: the socket hears what follows', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann'], { public: true });
    const bob = await chat.connect('bob');
    const gate = chat.simulated.hold('commit');
    bob.send(request('join_room', 1, 'room'));
    await chat.clock.settle();
    await chat.clock.advance(120_000);
    gate.open();
    await chat.clock.settle();
    expect(bob.all.at(-1)?.[0]).toBe(32);
    append(chat, 'room', text('room'));
    await chat.clock.settle();
    expect(bob.seqs('room').at(-1)).toBe(2);
  });
});

describe('events', () => {
  test('reach the engine as the buffer that was committed: encoded once', async () => {
    let appended: Uint8Array | null = null;
    const chat = await startProcess({
      wrapLog: (log) =>
        replaceIn(log, {
          listen: (listener) =>
            log.listen({
              onEvents(room, bytes, ends) {
                appended = bytes;
                listener.onEvents(room, bytes, ends);
              },
              onRoomFrames: (...all) => listener.onRoomFrames(...all),
              onUserFrames: (...all) => listener.onUserFrames(...all),
              onControl: (...all) => listener.onControl(...all),
              onHead: (...all) => listener.onHead(...all),
            }),
        }),
    });
    await chat.makeRoom('room', ['ann', 'bob']);
    const peers = [await chat.connect('ann'), await chat.connect('bob')];
    for (const peer of peers) await peer.ask('subscribe', 'room', null, null);
    for (let i = 0; i < 5; i++) append(chat, 'room', text('room'));
    await chat.clock.settle();
    const published = chat.engine.published.filter(({ topic }) => topic === roomTopic('room'));
    expect(published).toHaveLength(1);
    expect(published[0]!.payload).toBe(appended!);
    for (const peer of peers) expect(peer.handle.received).toContain(appended!);
  });

  test('of a room without sockets are not published', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann']);
    await chat.settled(chat.rooms.open('ann', 'room'));
    append(chat, 'room', text('room'));
    await chat.clock.settle();
    expect(chat.engine.published).toEqual([]);
    expect(chat.hub.active('room')!.head).toBe(1);
  });

  test('of one turn leave as one payload a room', async () => {
    const chat = await startProcess();
    const ann = await chat.connect('ann');
    for (const room of ['a', 'b']) {
      await chat.makeRoom(room, ['ann']);
      await ann.ask('subscribe', room, null, null);
    }
    for (let i = 0; i < 50; i++) append(chat, i % 2 === 0 ? 'a' : 'b', text(i % 2 === 0 ? 'a' : 'b'));
    await chat.clock.settle();
    expect(chat.engine.published.map(({ topic }) => topic).sort()).toEqual([roomTopic('a'), roomTopic('b')]);
    expect(ann.seqs('a')).toEqual(range(1, 25));
  });
});

describe('holes', () => {
  for (const [title, noise] of [
    ['lost', { lose: 0.4, double: 0, lateMs: 0 }],
    ['doubled', { lose: 0, double: 0.6, lateMs: 0 }],
    ['late and mixed up', { lose: 0, double: 0.2, lateMs: 40 }],
    ['lost, doubled, late and mixed up', { lose: 0.3, double: 0.3, lateMs: 40 }],
  ] as const) {
    test(`batches that are ${title}: every socket sees each event once and in order`, async () => {
      for (let seed = 1; seed <= 10; seed++) {
        let isNoisy = true;
        const chat = await startProcess({
          seed,
          limits: { ringBytesMax: seed % 2 === 0 ? 600 : 64 * 1024 },
          wrapLog: (log, clock, random) =>
            makeLossy(log, clock, random, () => (isNoisy ? noise : { lose: 0, double: 0, lateMs: 0 })),
        });
        const { random, clock } = chat;
        await chat.makeRoom('room', ['ann', 'bob']);
        const [ann, bob] = [await chat.connect('ann'), await chat.connect('bob')];
        await ann.ask('subscribe', 'room', null, null);
        await bob.ask('subscribe', 'room', 1, 0);
        let appended = 0;
        for (let turn = 0; turn < 40; turn++) {
          for (let i = random.below(5); i > 0; i--, appended++)
            append(chat, 'room', text('room', `${appended}`));
          if (random.chance(0.1)) bob.send(request('subscribe', 0, 'room', 1, bob.seqs('room').at(-1) ?? 0));
          if (random.chance(0.05)) chat.simulated.next('page', { fails: true });
          await clock.advance(random.below(30));
        }
        isNoisy = false;
        append(chat, 'room', text('room'));
        appended++;
        await clock.advance(5000);
        const expected = chat.simulated.events('room').map((bytes) => readSeq(bytes));
        expect(expected).toEqual(range(1, appended));
        expect({ seed, seqs: ann.seqs('room') }).toEqual({ seed, seqs: expected });
        expect({ seed, seqs: bob.seqs('room') }).toEqual({ seed, seqs: expected });
      }
    });
  }

  test('are filled before anything newer is shown, and tried again where the store is away', async () => {
    let isLost = true;
    const chat = await startProcess({
      wrapLog: (log, clock, random) =>
        makeLossy(log, clock, random, () => ({ lose: isLost ? 1 : 0, double: 0, lateMs: 0 })),
    });
    await chat.makeRoom('room', ['ann']);
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', null, null);
    append(chat, 'room', text('room'));
    await chat.clock.settle();
    isLost = false;
    for (let i = 0; i < 3; i++) chat.simulated.next('page', { fails: true });
    append(chat, 'room', text('room'));
    await chat.clock.settle();
    append(chat, 'room', text('room'));
    await chat.clock.settle();
    expect(ann.seqs('room')).toEqual([]);
    await chat.clock.advance(3000);
    expect(ann.seqs('room')).toEqual([1, 2, 3]);
    expect(chat.metrics.holesFilled).toBe(1);
  });

  test('of a room that went quiet are filled once a head is told', async () => {
    const chat = await startProcess({
      wrapLog: (log, clock, random) =>
        makeLossy(log, clock, random, () => ({ lose: 1, double: 0, lateMs: 0 })),
    });
    await chat.makeRoom('room', ['ann']);
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', null, null);
    append(chat, 'room', text('room'));
    await chat.clock.settle();
    expect(ann.seqs('room')).toEqual([]);
    const [head] = await chat.log.heads(['room']);
    chat.hub.onHead('room', head!);
    await chat.clock.settle();
    expect(ann.seqs('room')).toEqual([1]);
  });

  test('are filled for whoever waits for his own event', async () => {
    const chat = await startProcess({
      wrapLog: (log, clock, random) =>
        makeLossy(log, clock, random, () => ({ lose: 1, double: 0, lateMs: 0 })),
    });
    await chat.makeRoom('room', ['ann'], { public: true });
    const bob = await chat.connect('bob');
    bob.send(request('join_room', 1, 'room'));
    await chat.clock.advance(1000);
    expect(bob.all.find(([op, rid]) => op === 32 && rid === 1)).toEqual([32, 1, 'room', 1, 1]);
  });

  test('of events that are stored nowhere are passed over, once all before them is known to be committed', async () => {
    let head = { epoch: 1, seq: 0, messages: 0, committed: 0 };
    const chat = await startProcess({
      wrapLog: (log) => replaceIn(log, { heads: async () => [head] }),
    });
    await chat.makeRoom('room', ['ann']);
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', null, null);
    // As with many processes: of 1 to 5 the store has 2 and 4, and refuses the others.
    const stored = [text('room'), text('room')];
    for (const [i, seq] of [2, 4].entries()) stamp(stored[i]!, 0, seq, 1_780_000_000_000);
    await chat.store.commit(stored.map((bytes, i) => ({ bytes, number: i + 1 })));
    head = { ...head, seq: 5 };
    chat.hub.onHead('room', head);
    await chat.clock.advance(2000);
    expect(ann.seqs('room')).toEqual([]);
    head = { ...head, committed: 2 };
    await chat.clock.advance(1000);
    expect(ann.seqs('room')).toEqual([2]);
    head = { ...head, committed: 4 };
    await chat.clock.advance(1000);
    expect([ann.seqs('room'), chat.hub.active('room')!.head]).toEqual([[2, 4], 4]);
    // Whoever has heard the last one elsewhere does not wait for it.
    ann.send(request('subscribe', 1, 'room', 1, 5));
    head = { ...head, committed: 5 };
    await chat.clock.advance(1000);
    expect(ann.all.find(([op, rid]) => op === 32 && rid === 1)).toEqual([32, 1, 1, 5, false]);
    expect(chat.hub.active('room')).toMatchObject({ head: 5, isFilling: false });
    // What follows is published as ever.
    const next = text('room');
    stamp(next, 0, 6, 1_780_000_000_000);
    chat.hub.onEvents('room', next, [next.length]);
    await chat.clock.settle();
    expect(ann.seqs('room')).toEqual([2, 4, 6]);
  });

  test('before a new epoch are shown first, and the jump itself is none', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann']);
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', null, null);
    append(chat, 'room', text('room'));
    await chat.clock.settle();
    // As with many processes: 2 was lost on the way here, then the log started anew.
    const stored = [text('room'), encodeEpochStarted('room', 2), text('room')];
    for (const [i, seq] of [2, 1000, 1001].entries()) stamp(stored[i]!, 0, seq, 1_780_000_000_000);
    await chat.store.commit(stored.map((bytes, i) => ({ bytes, number: i + 1 })));
    chat.hub.onEvents('room', stored[1]!, [stored[1]!.length]);
    await chat.clock.settle();
    expect(ann.seqs('room')).toEqual([1, 2, 1000, 1001]);
    expect(chat.hub.active('room')).toMatchObject({ epoch: 2, head: 1001 });
    expect(await ann.ask('subscribe', 'room', 1, 1)).toEqual([32, expect.any(Number), 2, 1001, true]);
  });
});

describe('removal', () => {
  test('in the middle of a batch: the removed hears his own removal and nothing after it', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann', 'bob']);
    const [ann, bob, second] = [
      await chat.connect('ann'),
      await chat.connect('bob'),
      await chat.connect('bob'),
    ];
    for (const peer of [ann, bob, second]) await peer.ask('subscribe', 'room', null, null);
    append(chat, 'room', text('room', 'before'));
    append(chat, 'room', encodeUserLeft('room', 'ann', 'bob'));
    append(chat, 'room', text('room', 'after'));
    await chat.clock.settle();
    expect(ann.seqs('room')).toEqual([1, 2, 3]);
    for (const peer of [bob, second]) {
      expect(peer.seqs('room')).toEqual([1, 2]);
      expect(peer.all.filter(([op]) => op === 36)).toEqual([[36, 'room', 'kicked']]);
      expect([...peer.handle.topics].filter((topic) => topic !== '*')).toEqual([]);
    }
    expect((await bob.ask('history', 'room', null, null, 10))[2]).toBe('NOT_FOUND');
  });

  test('by leaving: the socket that asked is not told, the others of the user are', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann', 'bob']);
    const [bob, second, outside] = [
      await chat.connect('bob'),
      await chat.connect('bob'),
      await chat.connect('bob'),
    ];
    for (const peer of [bob, second]) await peer.ask('subscribe', 'room', null, null);
    expect((await bob.ask('leave_room', 'room'))[0]).toBe(32);
    await chat.clock.settle();
    expect(bob.all.filter(([op]) => op === 36)).toEqual([]);
    expect(second.all.filter(([op]) => op === 36)).toEqual([[36, 'room', 'left']]);
    expect(outside.all.filter(([op]) => op === 36).length).toBeLessThanOrEqual(1);
    append(chat, 'room', text('room'));
    await chat.clock.settle();
    for (const peer of [bob, second]) expect(peer.seqs('room').at(-1)).toBe(1);
  });

  test('from several rooms at once tells each socket once a room, and the leaver nothing', async () => {
    const chat = await startProcess();
    const rooms = ['a', 'b', 'c'];
    const [bob, second] = [await chat.connect('bob'), await chat.connect('bob')];
    for (const room of rooms) {
      await chat.makeRoom(room, ['ann', 'bob']);
      for (const peer of [bob, second]) await peer.ask('subscribe', room, null, null);
    }
    bob.send(...rooms.map((room, i) => request('leave_room', i + 1, room)));
    await chat.clock.settle();
    expect(bob.all.filter(([op]) => op === 36)).toEqual([]);
    const told = second.all.filter(([op]) => op === 36).map(([, room]) => room);
    expect([...told].sort()).toEqual(rooms);
  });

  test('that fails leaves the socket where it was, and a later one is told', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann', 'bob']);
    const bob = await chat.connect('bob');
    await bob.ask('subscribe', 'room', null, null);
    chat.simulated.next('commit', { fails: true });
    expect((await bob.ask('leave_room', 'room'))[2]).toBe('UNAVAILABLE');
    await chat.clock.advance(2000);
    append(chat, 'room', text('room'));
    append(chat, 'room', encodeUserLeft('room', 'ann', 'bob'));
    await chat.clock.settle();
    expect(bob.seqs('room')).toEqual([1, 2]);
    expect(bob.all.filter(([op]) => op === 36)).toEqual([[36, 'room', 'kicked']]);
  });

  test('of those who are no members when a public room becomes private', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann', 'bob'], { public: true });
    const [ann, bob, guest] = [
      await chat.connect('ann'),
      await chat.connect('bob'),
      await chat.connect('guest'),
    ];
    for (const peer of [ann, bob, guest]) await peer.ask('subscribe', 'room', null, null);
    append(chat, 'room', encodeRoomUpdated('room', 'ann', { public: false }));
    append(chat, 'room', text('room', 'secret'));
    await chat.clock.settle();
    expect(ann.seqs('room')).toEqual([1, 2]);
    expect(bob.seqs('room')).toEqual([1, 2]);
    expect(guest.seqs('room')).toEqual([1]);
    expect(guest.all.filter(([op]) => op === 36)).toEqual([[36, 'room', 'kicked']]);
    expect((await guest.ask('subscribe', 'room', null, null))[2]).toBe('NOT_FOUND');
  });

  test('of everybody when the room is deleted, which then is NOT_FOUND', async () => {
    const chat = await startProcess();
    await chat.makeRoom('room', ['ann', 'bob']);
    const peers = [await chat.connect('ann'), await chat.connect('bob')];
    for (const peer of peers) await peer.ask('subscribe', 'room', null, null);
    await chat.settled(chat.rooms.update('ann', 'room', { deleted: true }));
    for (const peer of peers) {
      expect(peer.events('room')).toEqual([[70, 1, expect.any(Number), 'room', 'ann', { deleted: true }]]);
      expect(peer.all.filter(([op]) => op === 36)).toEqual([[36, 'room', 'deleted']]);
      expect((await peer.ask('subscribe', 'room', null, null))[2]).toBe('NOT_FOUND');
    }
    expect(chat.hub.roomCount).toBe(0);
    expect((await peers[0]!.say('room', 'late'))[2]).toBe('NOT_FOUND');
  });

  test('of a reader who is catching up ends his catching up', async () => {
    const chat = await startProcess({ backlogBytesMax: 8192 });
    await chat.makeRoom('room', ['ann', 'bob']);
    for (let i = 0; i < 40; i++) append(chat, 'room', text('room', 'x'.repeat(200)));
    await chat.clock.settle();
    const bob = await chat.connect('bob');
    bob.handle.isStalled = true;
    bob.send(request('subscribe', 1, 'room', 1, 0));
    await chat.clock.settle();
    append(chat, 'room', encodeUserLeft('room', 'ann', 'bob'));
    append(chat, 'room', text('room', 'secret'));
    await chat.clock.settle();
    bob.handle.read();
    await chat.clock.settle();
    bob.handle.read();
    await chat.clock.settle();
    const seqs = bob.seqs('room');
    expect(seqs.length).toBeLessThan(40);
    expect(seqs).toEqual(range(1, seqs.length));
    expect(bob.all.at(-1)).toEqual([36, 'room', 'kicked']);
  });
});

test('what the log tells of rooms that are not active here does nothing', async () => {
  let listener: LogListener | null = null;
  const chat = await startProcess({
    wrapLog: (log): Log =>
      replaceIn(log, {
        listen(own) {
          listener = own;
          log.listen(own);
        },
      }),
  });
  const bytes = text('elsewhere');
  listener!.onEvents('elsewhere', bytes, [bytes.length]);
  listener!.onRoomFrames('elsewhere', bytes);
  listener!.onHead('elsewhere', { epoch: 1, seq: 5, messages: 5, committed: 5 });
  await chat.clock.settle();
  expect(chat.engine.published).toEqual([]);
  expect(chat.hub.roomCount).toBe(0);
});

test('with everything late and some of it failing, every socket still sees each event once and in order', async () => {
  for (let seed = 1; seed <= 25; seed++) {
    const noise = { lose: 0.15, double: 0.2, lateMs: 25 };
    let isNoisy = true;
    const chat = await startProcess({
      seed,
      limits: { ringBytesMax: 1500 },
      backlogBytesMax: 16_384,
      wrapLog: (log, clock, random) =>
        makeLossy(log, clock, random, () => (isNoisy ? noise : { lose: 0, double: 0, lateMs: 0 })),
    });
    const { clock, simulated } = chat;
    const random = new Random(seed * 77);
    await chat.makeRoom('room', ['ann', 'bob', 'cat']);
    const late = () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      clock.after(random.below(15), resolve);
      return promise;
    };
    simulated.decide = (method) => ({
      before: late(),
      after: late(),
      fails: random.chance(0.04),
      failsAfter: method === 'commit' && random.chance(0.04),
    });
    const peers = await Promise.all(['ann', 'bob', 'cat'].map((user) => chat.connect(user)));
    /** What each user has seen over all his sockets, each going on from the cursor of the one before. */
    const seen: number[][] = peers.map(() => []);
    const isAsking = peers.map(() => false);
    const subscribe = (i: number) => {
      isAsking[i] = true;
      peers[i]!.send(request('subscribe', 1, 'room', 1, seen[i]!.at(-1) ?? 0));
    };
    const keep = (i: number) => {
      for (const [op, second] of peers[i]!.take()) {
        if (op >= 64 && op <= 71) seen[i]!.push(second as number);
        if (op === 32) isAsking[i] = false;
        if (op === 33) subscribe(i);
      }
    };
    const reconnect = async (i: number) => {
      peers[i] = await chat.connect(['ann', 'bob', 'cat'][i]!);
      peers[i]!.take();
      subscribe(i);
    };
    for (const i of peers.keys()) subscribe(i);
    for (let turn = 0; turn < 60; turn++) {
      for (let i = random.below(4); i > 0; i--)
        append(chat, 'room', text('room', 'x'.repeat(random.below(200))));
      for (const [i, { handle }] of peers.entries()) {
        if (random.chance(0.1)) handle.isStalled = true;
        if (random.chance(0.2)) handle.read(random.chance(0.5) ? Number.POSITIVE_INFINITY : 500);
        keep(i);
        if (random.chance(0.03)) handle.leave();
        if (!handle.isOpen) await reconnect(i);
      }
      await clock.advance(random.below(40));
    }
    isNoisy = false;
    simulated.decide = () => null;
    await clock.advance(3000);
    append(chat, 'room', text('room'));
    for (let round = 0; round < 20; round++) {
      for (const [i, { handle }] of peers.entries()) {
        handle.read();
        await clock.advance(500);
        keep(i);
        if (!handle.isOpen) await reconnect(i);
      }
    }
    expect({ seed, isAsking }).toEqual({ seed, isAsking: peers.map(() => false) });
    const expected = chat.simulated.events('room').map((bytes) => readSeq(bytes));
    expect(expected).toEqual(range(1, expected.length));
    for (const seqs of seen) expect({ seed, seqs }).toEqual({ seed, seqs: expected });
  }
});
