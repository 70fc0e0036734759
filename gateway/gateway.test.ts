// Open, frame, close: the order of a socket's requests, its limits, and what a failure costs whom.

import { describe, expect, test } from 'bun:test';
import { refuse } from '../core/protocol/codes.ts';
import { encodeUserLeft } from '../core/protocol/encode.ts';
import { startMs } from '../tests/simulated/clock.ts';
import { SimulatedSocket } from '../tests/simulated/engine.ts';
import { type Frame, freshId, type Peer, request, startProcess } from '../tests/simulated/process.ts';
import { makeGate } from '../tests/simulated/store.ts';
import { Socket } from './socket.ts';
import { everySocketTopic, roomTopic } from './topics.ts';

const say = (rid: number, room: string, text = 'hello') =>
  request('send_message', rid, room, freshId(), 'text', text, null);

/** The answers a peer got, by rid in the order of arrival: `[rid]` or `[rid, code]`. */
const answers = (peer: Peer) =>
  peer.all
    .filter(([op]) => op === 32 || op === 33)
    .map(([op, rid, code]) => (op === 32 ? [rid] : [rid, code]));

const codes = (frames: readonly Frame[]) => frames.filter(([op]) => op === 33).map(([, , code]) => code);

async function startRoom(options = {}) {
  const chat = await startProcess(options);
  await chat.makeRoom('room', ['ann', 'bob'], { public: true });
  return chat;
}

describe('the open', () => {
  test('is answered with welcome, before anything else', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    expect(ann.all).toEqual([
      [
        34,
        {
          session: 'session of ann',
          user: 'ann',
          server: 'simulated',
          version: 'test',
          time: startMs,
          heartbeat_ms: 15_000,
          max_frame_bytes: 65_536,
          levels: [4],
        },
      ],
    ]);
    expect([...ann.handle.topics]).toEqual([everySocketTopic]);
    expect(chat.metrics.socketsOpen).toBe(1);
  });

  test('of one socket too many is SERVER_FULL and 1013, without a welcome, and takes no place', async () => {
    const chat = await startRoom({ gateway: { socketsMax: 1 } });
    const ann = await chat.connect('ann');
    const bob = await chat.connect('bob');
    expect(bob.all).toEqual([[33, 0, 'SERVER_FULL', expect.any(String), expect.any(Number)]]);
    expect(bob.handle.closed?.code).toBe(1013);
    expect(chat.users.sockets('bob').size).toBe(0);
    ann.handle.leave();
    expect((await chat.connect('bob')).handle.isOpen).toBe(true);
    expect([chat.metrics.socketsOpen, chat.metrics.usersOnline]).toEqual([1, 1]);
  });
});

describe('the order', () => {
  test('of join and send in one message: the send waits until he is a member', async () => {
    const chat = await startRoom();
    const cat = await chat.connect('cat');
    cat.send(request('join_room', 1, 'room'), say(2, 'room', 'one'), say(3, 'room', 'two'));
    await chat.clock.settle();
    expect(answers(cat)).toEqual([[1], [2], [3]]);
    const contents = cat.events('room').map((event) => event[7]);
    expect(contents).toEqual(['one', 'two']);
  });

  test('of subscribe and send in one message: the own event comes after the answer to subscribe', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    ann.send(request('subscribe', 1, 'room', null, null), say(2, 'room'));
    await chat.clock.settle();
    expect(answers(ann)).toEqual([[1], [2]]);
    expect(ann.seqs('room')).toEqual([1]);
  });

  test('of sends is their order of arrival, also where the first has to wait for the room', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    const gate = chat.simulated.hold('room');
    for (let i = 1; i <= 20; i++) {
      ann.send(say(i, 'room', `${i}`));
      if (i === 10) {
        await chat.clock.settle();
        gate.open();
      }
    }
    await chat.clock.settle();
    const stored = chat.simulated.events('room').length;
    expect(stored).toBe(20);
    const page = await ann.ask('history', 'room', null, null, 50);
    expect((page[3] as Frame[]).map((event) => event[7])).toEqual(
      Array.from({ length: 20 }, (_, i) => `${i + 1}`),
    );
  });

  test('of changes that each wait holds also for those that arrive while one is under way', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    const seq = (await ann.say('room', '0'))[2];
    const edit = (i: number) => ann.send(request('edit_message', i, 'room', seq, `${i}`));
    const first = chat.simulated.hold('target');
    const second = chat.simulated.hold('target');
    for (const i of [1, 2, 3]) edit(i);
    await chat.clock.settle();
    first.open();
    await chat.clock.settle();
    // 2 is under way, 3 waits for it: 4 has to come after 3.
    edit(4);
    edit(5);
    await chat.clock.settle();
    second.open();
    await chat.clock.settle();
    expect(answers(ann).slice(1)).toEqual([[1], [2], [3], [4], [5]]);
    const page = await ann.ask('history', 'room', null, null, 50);
    expect((page[3] as Frame[]).slice(1).map((event) => event[6])).toEqual(['1', '2', '3', '4', '5']);
  });

  test('of rooms is each its own: 50 subscribes at once run side by side', async () => {
    const chat = await startProcess();
    const rooms = Array.from({ length: 50 }, (_, i) => `room-${i}`);
    for (const room of rooms) await chat.makeRoom(room, ['ann']);
    const ann = await chat.connect('ann');
    const gate = makeGate();
    chat.simulated.decide = (method) => (method === 'room' ? { before: gate.passed } : null);
    ann.send(...rooms.map((room, i) => request('subscribe', i + 1, room, null, null)), request('ping', 99));
    await chat.clock.settle();
    expect(chat.simulated.count('room')).toBe(50);
    expect(answers(ann)).toEqual([[99]]);
    gate.open();
    await chat.clock.settle();
    expect(answers(ann)).toHaveLength(51);
    expect(ann.socket.subscriptions.size).toBe(50);
  });

  test('of a slow room does not hold back another', async () => {
    const chat = await startRoom();
    await chat.makeRoom('other', ['ann']);
    const ann = await chat.connect('ann');
    chat.simulated.hold('room');
    ann.send(
      request('subscribe', 1, 'room', null, null),
      say(2, 'room'),
      say(3, 'other'),
      request('ping', 4),
    );
    await chat.clock.settle();
    expect(answers(ann)).toEqual([[4], [3]]);
  });

  test('of authenticate and send in one message: with an expired token the send waits for the new one', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann', startMs - 1);
    ann.send(request('authenticate', 1, 'ann'), say(2, 'room'), request('ping', 3));
    await chat.clock.settle();
    expect(answers(ann)).toEqual([[1], [3], [2]]);
    expect(ann.socket.expiresAt).toBe(startMs + 86_400_000);
  });

  test('of several authenticates is kept, and everything waits for the last before it', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    const gates = [makeGate(), makeGate(), makeGate()];
    const waiting = [...gates];
    const verify = chat.auth.verifyToken;
    chat.auth.verifyToken = async (token, requestId) => {
      await waiting.shift()!.passed;
      return verify(token, requestId);
    };
    const until = (i: number) => `ann@${startMs + i * 1_000_000}`;
    ann.send(
      request('authenticate', 1, until(1)),
      request('authenticate', 2, until(2)),
      request('authenticate', 3, until(3)),
    );
    await chat.clock.settle();
    gates[0]!.open();
    await chat.clock.settle();
    ann.send(request('ping', 4));
    gates[1]!.open();
    await chat.clock.settle();
    expect(answers(ann)).toEqual([[1], [2]]);
    gates[2]!.open();
    await chat.clock.settle();
    expect(answers(ann)).toEqual([[1], [2], [3], [4]]);
    expect(ann.socket.expiresAt).toBe(startMs + 3_000_000);
  });
});

describe('tokens', () => {
  test('that have expired: everything but authenticate is TOKEN_EXPIRED', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann', startMs + 1000);
    expect((await ann.ask('ping'))[0]).toBe(32);
    await chat.clock.advance(7000);
    expect((await ann.ask('ping'))[2]).toBe('TOKEN_EXPIRED');
    expect((await ann.say('room', 'x'))[2]).toBe('TOKEN_EXPIRED');
    expect((await ann.ask('authenticate', 'ann'))[0]).toBe(32);
    expect((await ann.ask('ping'))[0]).toBe(32);
  });

  test('of another user are FORBIDDEN, refused ones change nothing', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    const { expiresAt } = ann.socket;
    expect((await ann.ask('authenticate', 'bob'))[2]).toBe('FORBIDDEN');
    chat.auth.verifyToken = async () => refuse('UNAUTHORIZED');
    expect((await ann.ask('authenticate', 'x'))[2]).toBe('UNAUTHORIZED');
    expect([ann.socket.expiresAt, ann.handle.isOpen]).toEqual([expiresAt, true]);
  });
});

describe('answers', () => {
  test('to rid 0 are none but errors', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    ann.send(
      request('ping', 0),
      request('subscribe', 0, 'room', null, null),
      say(0, 'room'),
      request('history', 0, 'room', null, null, 10),
      request('presence', 0, 'room'),
      request('unsubscribe', 0, 'nowhere'),
    );
    await chat.clock.settle();
    expect(answers(ann)).toEqual([[0, 'NOT_SUBSCRIBED']]);
    expect(ann.seqs('room')).toEqual([1]);
  });

  test('of one turn leave as one WebSocket message', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    const before = ann.handle.received.length;
    ann.send(...Array.from({ length: 40 }, (_, i) => request('ping', i + 1)));
    await chat.clock.settle();
    expect(ann.handle.received.length - before).toBe(1);
    expect(answers(ann)).toHaveLength(40);
  });

  test('come exactly once for every kind of request, good or refused', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    const [seq] = [(await ann.say('room', 'x'))[2]];
    const frames: [Parameters<typeof request>[0], ...unknown[]][] = [
      ['subscribe', 'room', null, null],
      ['subscribe', 'nowhere', null, null],
      ['typing', 'room', true],
      ['edit_message', 'room', seq, 'y'],
      ['edit_message', 'room', 999, 'y'],
      ['react', 'room', seq, '👍', true],
      ['react', 'room', seq, '👍', true],
      ['delete_message', 'room', seq],
      ['delete_message', 'room', seq],
      ['mark_delivered', 'room', 1],
      ['mark_read', 'nowhere', 1],
      ['history', 'room', 1, 1, 10],
      ['history', 'room', null, null, 10],
      ['presence', 'room'],
      ['join_room', null],
      ['join_room', 'room'],
      ['set_status', 'away'],
      ['unsubscribe', 'room'],
      ['leave_room', 'room'],
      ['leave_room', 'room'],
    ];
    ann.take();
    ann.send(...frames.map(([name, ...fields], i) => request(name, i + 1, ...fields)));
    await chat.clock.advance(2000);
    const rids = ann
      .take()
      .filter(([op]) => op === 32 || op === 33)
      .map(([, rid]) => rid as number);
    expect(rids.sort((a, b) => a - b)).toEqual(frames.map((_, i) => i + 1));
    expect([ann.socket.inFlight, ann.socket.inFlightBytes]).toEqual([0, 0]);
  });

  test('tell an emoji of up to 64 bytes from a longer one', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    const seq = (await ann.say('room', 'x'))[2];
    expect((await ann.ask('react', 'room', seq, 'x'.repeat(64), true))[0]).toBe(32);
    expect((await ann.ask('react', 'room', seq, 'x'.repeat(65), true))[2]).toBe('BAD_REQUEST');
  });
});

describe('limits', () => {
  test('of requests in flight: the 257th is RATE_LIMITED, and there is room again when one is answered', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', null, null);
    const gate = chat.simulated.hold('commit');
    for (let i = 1; i <= 258; i++) ann.send(say(i, 'room'));
    await chat.clock.settle();
    expect(answers(ann).slice(1)).toEqual([
      [257, 'RATE_LIMITED'],
      [258, 'RATE_LIMITED'],
    ]);
    expect(ann.all.at(-1)![4]).toBeGreaterThan(0);
    gate.open();
    await chat.clock.settle();
    expect((await ann.say('room', 'again'))[0]).toBe(32);
    expect(ann.socket.inFlight).toBe(0);
  });

  test('of bytes in flight', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    await ann.ask('subscribe', 'room', null, null);
    const gate = chat.simulated.hold('commit');
    for (let i = 1; i <= 200; i++) ann.send(say(i, 'room', 'x'.repeat(8000)));
    await chat.clock.settle();
    const refused = answers(ann).filter(([, code]) => code === 'RATE_LIMITED').length;
    expect(refused).toBeGreaterThan(60);
    expect(ann.socket.inFlightBytes).toBeLessThanOrEqual(1024 * 1024);
    gate.open();
    await chat.clock.settle();
    expect([ann.socket.inFlight, ann.socket.inFlightBytes]).toEqual([0, 0]);
  });

  test('of refusals: the 101st within 10 s closes with 1008, after its error', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    for (let i = 1; i <= 100; i++) ann.send(request('unsubscribe', i, 'nowhere'));
    await chat.clock.settle();
    expect(ann.handle.isOpen).toBe(true);
    ann.send(request('unsubscribe', 101, 'nowhere'), request('ping', 102));
    await chat.clock.settle();
    expect(ann.handle.closed?.code).toBe(1008);
    expect(answers(ann).at(-1)).toEqual([101, 'NOT_SUBSCRIBED']);
  });

  test('of refusals begin anew after 10 s, and the fault of the server is not counted', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    for (let round = 0; round < 3; round++) {
      for (let i = 1; i <= 90; i++) ann.send(request('unsubscribe', i, 'nowhere'));
      await chat.clock.advance(10_001);
    }
    expect(ann.handle.isOpen).toBe(true);
    await ann.ask('subscribe', 'room', null, null);
    chat.simulated.decide = (method) => (method === 'commit' ? { fails: true } : null);
    for (let i = 1; i <= 200; i++) ann.send(say(i, 'room'));
    await chat.clock.settle();
    expect(codes(ann.all).filter((code) => code === 'UNAVAILABLE')).toHaveLength(200);
    expect(ann.handle.isOpen).toBe(true);
  });

  test('of messages a user may send: RATE_LIMITED with the time to wait, on all his sockets', async () => {
    const chat = await startRoom({ messageRate: 2 });
    const [one, two] = [await chat.connect('ann'), await chat.connect('ann')];
    const outcomes: unknown[] = [];
    for (let i = 0; i < 6; i++) outcomes.push((await (i % 2 === 0 ? one : two).say('room', 'x'))[0]);
    expect(outcomes).toEqual([32, 32, 32, 32, 33, 33]);
    const [, , code, , wait] = await one.say('room', 'x');
    expect([code, wait]).toEqual(['RATE_LIMITED', 500]);
    await chat.clock.advance(500);
    expect((await one.say('room', 'x'))[0]).toBe(32);
  });
});

describe('bad messages', () => {
  test('as text close with 1003, too long ones with 1009', async () => {
    const chat = await startRoom();
    const [ann, bob] = [await chat.connect('ann'), await chat.connect('bob')];
    chat.gateway.onMessage(ann.handle, 'hello');
    expect(ann.handle.closed?.code).toBe(1003);
    chat.gateway.onMessage(bob.handle, new Uint8Array(65_537));
    expect(bob.handle.closed?.code).toBe(1009);
  });

  test('of refused bytes run nothing, and close with BAD_FRAME and 1007', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    ann.send(request('ping', 1), say(2, 'room'), Uint8Array.of(0x93, 0x0f));
    await chat.clock.settle();
    expect(answers(ann)).toEqual([[0, 'BAD_FRAME']]);
    expect(ann.handle.closed?.code).toBe(1007);
    expect(chat.simulated.events('room')).toEqual([]);
  });

  test('that are empty are ignored', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    ann.send(new Uint8Array(0));
    await chat.clock.settle();
    expect([ann.all.length, ann.handle.isOpen]).toEqual([1, true]);
  });

  test('with one wrong frame among good ones run the others', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    ann.send(request('ping', 1), request('ping', 2 ** 32), request('typing', 3, 'room'), request('ping', 4));
    await chat.clock.settle();
    expect(answers(ann)).toEqual([[1], [0, 'BAD_REQUEST'], [3, 'BAD_REQUEST'], [4]]);
  });

  test('after the socket was closed are not heard', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    ann.socket.close('slow');
    chat.gateway.onMessage(ann.handle, request('ping', 1));
    await chat.clock.settle();
    expect(answers(ann)).toEqual([]);
  });
});

describe('a failure', () => {
  test('of the store is UNAVAILABLE with a time, and the socket lives', async () => {
    const chat = await startRoom();
    const ann = await chat.connect('ann');
    chat.simulated.decide = () => ({ fails: true });
    for (const frame of [
      await ann.ask('subscribe', 'room', null, null),
      await ann.say('room', 'x'),
      await ann.ask('join_room', 'room'),
      await ann.ask('history', 'room', null, null, 10),
      await ann.ask('join_room', null),
    ]) {
      expect(frame.slice(2, 3)).toEqual(['UNAVAILABLE']);
      expect(frame[4]).toBeGreaterThan(0);
    }
    chat.simulated.decide = () => null;
    expect((await ann.say('room', 'x'))[0]).toBe(32);
    expect(ann.socket.inFlight).toBe(0);
  });

  test('of a handler that throws is INTERNAL and 1011 for that socket alone, logged once', async () => {
    const chat = await startRoom();
    const [ann, bob] = [await chat.connect('ann'), await chat.connect('bob')];
    const { typing } = chat;
    await ann.ask('subscribe', 'room', null, null);
    await bob.ask('subscribe', 'room', null, null);
    typing.start = () => {
      throw new Error('a bug');
    };
    ann.send(request('typing', 5, 'room', true), request('ping', 6));
    await chat.clock.settle();
    expect(codes(ann.all)).toEqual(['INTERNAL']);
    expect(ann.handle.closed?.code).toBe(1011);
    expect(chat.lines.filter(({ level }) => level === 50)).toHaveLength(1);
    expect((await bob.ask('ping'))[0]).toBe(32);
    expect(chat.hub.active('room')!.subscriptions.size).toBe(1);
  });

  test('of a handler that rejects is the same', async () => {
    const chat = await startRoom();
    const [ann, bob] = [await chat.connect('ann'), await chat.connect('bob')];
    chat.rooms.history = async () => {
      throw new Error('a bug');
    };
    ann.send(request('history', 5, 'room', null, null, 10), request('subscribe', 6, 'room', null, null));
    await chat.clock.settle();
    expect(answers(ann).at(-1)).toEqual([5, 'INTERNAL']);
    expect(ann.handle.closed?.code).toBe(1011);
    expect(chat.lines.filter(({ level }) => level === 50)).toHaveLength(1);
    expect((await bob.ask('ping'))[0]).toBe(32);
    expect(chat.hub.active('room')?.subscriptions.size ?? 0).toBe(0);
  });
});

describe('a socket that closes', () => {
  test('while its request waits leaves nothing behind', async () => {
    for (const [frame, method] of [
      [request('subscribe', 1, 'room', null, null), 'room'],
      [request('subscribe', 1, 'room', 1, 0), 'memberships'],
      [request('join_room', 1, 'room'), 'commit'],
      [request('history', 1, 'room', null, null, 10), 'page'],
    ] as const) {
      for (const how of ['leaves', 'is closed'] as const) {
        const chat = await startRoom();
        const cat = await chat.connect('cat');
        const gate = chat.simulated.hold(method);
        cat.send(frame, request('subscribe', 2, 'room', null, null), request('typing', 3, 'room', true));
        await chat.clock.settle();
        if (how === 'leaves') cat.handle.leave();
        else cat.socket.close('slow');
        gate.open();
        await chat.clock.advance(10_000);
        expect(chat.hub.active('room')?.subscriptions.size ?? 0).toBe(0);
        expect(chat.engine.membersOf(roomTopic('room')).size).toBe(0);
        expect(cat.socket.subscriptions.size).toBe(0);
        expect(chat.users.sockets('cat').size).toBe(0);
        expect(chat.gateway.sockets.size).toBe(0);
        expect(cat.socket.inFlight).toBe(0);
        expect(chat.lines.filter(({ level }) => (level as number) >= 50)).toEqual([]);
      }
    }
  });

  test('takes its subscriptions, its typing and its place in the metrics with it', async () => {
    const chat = await startRoom();
    const [ann, bob] = [await chat.connect('ann'), await chat.connect('bob')];
    for (const peer of [ann, bob]) await peer.ask('subscribe', 'room', null, null);
    await ann.ask('typing', 'room', true);
    ann.handle.leave();
    await chat.clock.settle();
    expect(bob.all.filter(([op]) => op === 96)).toEqual([
      [96, 'room', 'ann', true],
      [96, 'room', 'ann', false],
    ]);
    expect([chat.metrics.socketsOpen, chat.metrics.usersOnline]).toEqual([1, 1]);
    expect(ann.socket.subscriptions.size).toBe(0);
  });

  test('and never said so is cut after a while', async () => {
    const chat = await startRoom();
    const socket = new Socket(
      { user: chat.users.of('ann'), session: 's', expiresAt: startMs + 1e9, number: 1 },
      chat.socketParts,
    );
    const handle = new SimulatedSocket(chat.engine, socket);
    let terminated = 0;
    handle.close = () => {};
    handle.terminate = () => {
      terminated++;
    };
    chat.gateway.onOpen(handle);
    socket.close('restart');
    socket.close('slow');
    await chat.clock.advance(60_000);
    expect(terminated).toBe(1);
  });

  test('of a session that was ended is told 4501, others are not', async () => {
    const chat = await startRoom();
    const [ann, second, bob] = [
      await chat.connect('ann'),
      await chat.connect('ann'),
      await chat.connect('bob'),
    ];
    chat.gateway.closeSession('session of ann');
    expect([ann, second, bob].map(({ handle }) => handle.closed?.code)).toEqual([4501, 4501, undefined]);
  });
});

test('a kick does not disturb what the kicked socket asked for before', async () => {
  const chat = await startRoom();
  const bob = await chat.connect('bob');
  await bob.ask('subscribe', 'room', null, null);
  bob.send(say(1, 'room', 'last words'));
  const bytes = encodeUserLeft('room', 'ann', 'bob');
  chat.log.append({ room: 'room', from: 'ann', bytes, level: 4, id: freshId(), settle() {}, fail() {} });
  bob.send(request('ping', 2));
  await chat.clock.settle();
  expect(answers(bob).slice(1)).toEqual([[2], [1]]);
  expect(bob.seqs('room')).toEqual([1, 2]);
});
