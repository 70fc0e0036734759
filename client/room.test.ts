import { describe, expect, test } from 'bun:test';
import { clientOps, controlOps, ephemeralOps, eventOps } from '../core/protocol/ops.ts';
import { connect } from './connection.ts';
import { FakeGateway, settle } from './gateway.fixture.ts';
import type { Room } from './room.ts';
import type { TimelineMessage } from './timeline.ts';

function start(gateway: FakeGateway) {
  return connect({
    url: 'ws://parley.test/ws',
    token: () => Promise.resolve('token'),
    WebSocket: gateway.WebSocket,
    fetch: () => Promise.reject(new TypeError('offline')),
    clock: gateway.clock,
    random: () => 1,
  });
}

/** A connected room with what was appended before, and the seqs it hears from then on. */
async function openRoom(gateway: FakeGateway) {
  const chat = start(gateway);
  const room = chat.room('lobby');
  const heard: number[] = [];
  room.on('message', ({ seq }) => heard.push(seq));
  room.open();
  await settle();
  return { chat, room, heard };
}

function messages(room: Room): TimelineMessage[] {
  return room.items.filter((item) => item.kind === 'message');
}

function texts(room: Room): unknown[] {
  return messages(room).map(({ content }) => content);
}

describe('a room', () => {
  test('shows the newest page first and older ones when asked', async () => {
    const gateway = new FakeGateway();
    for (let i = 1; i <= 250; i++) gateway.message('lobby', 'ann', `m${i}`);
    const { room } = await openRoom(gateway);
    expect(room.items.length).toBe(100);
    expect(texts(room).at(-1)).toBe('m250');
    expect(room.hasOlder).toBe(true);
    await room.loadOlder();
    await room.loadOlder();
    expect(texts(room)).toEqual(Array.from({ length: 250 }, (_, i) => `m${i + 1}`));
    expect(room.hasOlder).toBe(false);
  });

  test('hears each event once and in order when some come again', async () => {
    const gateway = new FakeGateway();
    const { heard } = await openRoom(gateway);
    const first = gateway.message('lobby', 'ann', 'one');
    const second = gateway.message('lobby', 'ann', 'two');
    gateway.socket.push(first, first, second, first);
    expect(heard).toEqual([1, 2]);
  });

  test('fills a hole with history before it goes on', async () => {
    const gateway = new FakeGateway();
    const { heard, room } = await openRoom(gateway);
    gateway.socket.push(gateway.message('lobby', 'ann', 'one'));
    for (let i = 0; i < 150; i++) gateway.message('lobby', 'ann', 'missed');
    gateway.socket.push(gateway.message('lobby', 'ann', 'last'));
    expect(heard).toEqual([1]);
    await settle();
    expect(heard).toEqual(Array.from({ length: 152 }, (_, i) => i + 1));
    expect(texts(room).at(-1)).toBe('last');
    expect(gateway.requestsOf('subscribe').length).toBe(1);
  });

  test('goes over a hole that history does not have, and says reset', async () => {
    const gateway = new FakeGateway();
    const { heard, room } = await openRoom(gateway);
    let resets = 0;
    room.on('reset', () => resets++);
    gateway.socket.push(gateway.message('lobby', 'ann', 'one'));
    gateway.room('lobby').seq = 10;
    gateway.socket.push(gateway.message('lobby', 'ann', 'eleven'));
    await settle();
    expect(heard).toEqual([1, 11]);
    expect(resets).toBe(1);
    expect(texts(room)).toEqual(['one', 'eleven']);
  });

  test('takes a number for an event of a later version that it does not know', async () => {
    const gateway = new FakeGateway();
    const { heard } = await openRoom(gateway);
    gateway.socket.push(gateway.message('lobby', 'ann', 'one'), gateway.append(80, 'lobby', 'ann', 'new'));
    gateway.socket.push(gateway.message('lobby', 'ann', 'three'));
    expect(heard).toEqual([1, 3]);
    expect(gateway.requestsOf('history').length).toBe(1);
  });

  test('comes back with its cursor and hears what it missed, once', async () => {
    const gateway = new FakeGateway();
    const { heard, room } = await openRoom(gateway);
    gateway.socket.push(gateway.message('lobby', 'ann', 'one'));
    gateway.socket.end(1006);
    gateway.message('lobby', 'ann', 'two');
    gateway.message('lobby', 'ann', 'three');
    await gateway.clock.advance(2000);
    expect(gateway.requestsOf('subscribe').at(-1)).toEqual(['lobby', 1, 1]);
    expect(heard).toEqual([1, 2, 3]);
    expect(texts(room)).toEqual(['one', 'two', 'three']);
  });

  test('reads itself again where the epoch has changed meanwhile', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    gateway.socket.push(gateway.message('lobby', 'ann', 'one'), gateway.message('lobby', 'ann', 'lost'));
    gateway.socket.end(1006);
    gateway.rooms.set('lobby', { epoch: 2, seq: 100, events: gateway.room('lobby').events.slice(0, 1) });
    gateway.message('lobby', 'ann', 'after');
    await gateway.clock.advance(2000);
    expect(texts(room)).toEqual(['one', 'after']);
    expect(room.head).toBe(101);
  });

  test('reads itself again where an epoch starts while it listens', async () => {
    const gateway = new FakeGateway();
    const { room, heard } = await openRoom(gateway);
    gateway.socket.push(gateway.message('lobby', 'ann', 'one'), gateway.message('lobby', 'ann', 'lost'));
    gateway.rooms.set('lobby', { epoch: 2, seq: 100, events: gateway.room('lobby').events.slice(0, 1) });
    gateway.socket.push(gateway.append(eventOps.epoch_started, 'lobby', null, 2));
    gateway.socket.push(gateway.message('lobby', 'ann', 'after'));
    await settle();
    expect(texts(room)).toEqual(['one', 'after']);
    expect(heard).toEqual([1, 2, 102]);
  });

  test('asks again where subscribing is refused for now, and is gone where it is refused for good', async () => {
    const gateway = new FakeGateway();
    let error = 'UNAVAILABLE';
    gateway.intercept = (op) => (op === clientOps.subscribe ? { error, retryAfterMs: 3000 } : null);
    const { room } = await openRoom(gateway);
    expect(room.status).toBe('attaching');
    const removed: string[] = [];
    room.on('removed', (reason) => removed.push(reason));
    error = 'NOT_FOUND';
    await gateway.clock.advance(3000);
    expect(room.status).toBe('gone');
    expect(removed).toEqual(['NOT_FOUND']);
  });

  test('is not subscribed again after it was removed', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    gateway.socket.push([controlOps.removed, 'lobby', 'kicked']);
    gateway.socket.end(1006);
    await gateway.clock.advance(2000);
    expect(room.status).toBe('gone');
    expect(gateway.requestsOf('subscribe').length).toBe(1);
  });

  test('joining again catches up what a lost subscription would have brought', async () => {
    const gateway = new FakeGateway();
    const { room, heard } = await openRoom(gateway);
    gateway.socket.push(gateway.message('lobby', 'ann', 'one'));
    gateway.message('lobby', 'ann', 'two');
    await room.join();
    await settle();
    expect(heard).toEqual([1, 2]);
  });
});

describe('sending', () => {
  test('shows at once as sending and then as sent, as one message', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    const { id, sent } = room.send('hello');
    expect(messages(room)).toMatchObject([{ key: id, state: 'sending', content: 'hello', seq: null }]);
    expect(await sent).toMatchObject({ seq: 1, level: 4, repeated: false });
    expect(messages(room)).toMatchObject([{ key: id, state: 'sent', content: 'hello', seq: 1 }]);
  });

  test('makes ids of the server’s time, also for what was written before it was known', async () => {
    const gateway = new FakeGateway();
    gateway.skewMs = -3_600_000;
    const chat = start(gateway);
    const room = chat.room('lobby');
    void room.send('early');
    await settle();
    const [, id] = gateway.requestsOf('send_message')[0] as [string, Uint8Array];
    expect(new DataView(id.buffer, id.byteOffset).getUint32(0)).toBe(Math.floor(chat.serverNow() / 0x10000));
  });

  test('sends again with the same ids, one after another, after a reconnect', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    gateway.intercept = (op) => (op === clientOps.send_message ? 'silence' : null);
    for (const text of ['a', 'b', 'c']) void room.send(text);
    await settle();
    expect(gateway.requestsOf('send_message').length).toBe(3);
    gateway.socket.end(1006);
    await gateway.clock.advance(2000);
    expect(gateway.requestsOf('send_message').length).toBe(4);
    gateway.intercept = () => null;
    gateway.socket.end(1006);
    await gateway.clock.advance(4000);
    const ids = gateway
      .requestsOf('send_message')
      .map(([, id]) => Buffer.from(id as Uint8Array).toString('hex'));
    expect(ids.slice(4)).toEqual(ids.slice(0, 3));
    expect(texts(room)).toEqual(['a', 'b', 'c']);
    expect(messages(room).every(({ state }) => state === 'sent')).toBe(true);
  });

  test('shows a message once whose ack was lost', async () => {
    const gateway = new FakeGateway();
    const { room, heard } = await openRoom(gateway);
    const socket = gateway.socket;
    gateway.intercept = (op, fields) => {
      if (op !== clientOps.send_message) return null;
      gateway.append(eventOps.message, 'lobby', 'me', fields[1], 'text', fields[3], null);
      socket.end(1006);
      return 'silence';
    };
    void room.send('once');
    await settle();
    gateway.intercept = () => null;
    await gateway.clock.advance(2000);
    expect(heard).toEqual([1]);
    expect(messages(room)).toMatchObject([{ state: 'sent', content: 'once' }]);
  });

  test('waits as long as RATE_LIMITED asks, one message at a time, and keeps the order', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    const limited = { error: 'RATE_LIMITED', retryAfterMs: 4000 };
    gateway.intercept = (op) => (op === clientOps.send_message ? limited : null);
    for (const text of ['a', 'b', 'c']) void room.send(text);
    await settle();
    gateway.intercept = () => null;
    await gateway.clock.advance(3900);
    expect(messages(room).every(({ state }) => state === 'sending')).toBe(true);
    await gateway.clock.advance(200);
    expect(texts(room)).toEqual(['a', 'b', 'c']);
    expect(messages(room).every(({ state }) => state === 'sent')).toBe(true);
  });

  test('fails where the server says never, and can be retried or discarded', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    gateway.intercept = (op) => (op === clientOps.send_message ? { error: 'FORBIDDEN' } : null);
    const first = room.send('first');
    const second = room.send('second');
    const refusal = expect(first.sent).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await settle();
    await refusal;
    expect(messages(room).map(({ state }) => state)).toEqual(['failed', 'failed']);
    gateway.intercept = () => null;
    room.discard(first.id);
    room.retry(second.id);
    await settle();
    expect(messages(room)).toMatchObject([{ content: 'second', state: 'sent' }]);
  });

  test('fails for good after refusals without end', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    gateway.intercept = (op) => (op === clientOps.send_message ? { error: 'INTERNAL' } : null);
    void room.send('never');
    await gateway.clock.advance(300_000);
    expect(messages(room)).toMatchObject([{ state: 'failed' }]);
    expect(gateway.requestsOf('send_message').length).toBe(8);
  });
});

describe('receipts', () => {
  const joined_at = new Date(0).toISOString();
  const profile = {
    role: 'member',
    muted: false,
    joined_at,
    username: null,
    display_name: null,
    avatar_url: null,
  };

  /** An open room of me and two others, whose marks stand at 0. */
  async function openGroup(gateway: FakeGateway) {
    const members = ['me', 'ann', 'bob'].map((user) => ({ user, ...profile, delivered_seq: 0, read_seq: 0 }));
    const asked: string[] = [];
    const fetch = (url: string) => {
      asked.push(url);
      return Promise.resolve(new Response(JSON.stringify({ members })));
    };
    const { clock, WebSocket } = gateway;
    const chat = connect({
      url: 'ws://parley.test/ws',
      token: 't',
      clock,
      WebSocket,
      fetch,
      random: () => 1,
    });
    const room = chat.room('lobby');
    room.open();
    await gateway.clock.advance(10);
    return { chat, room, members, asked };
  }

  const receipts = (...marks: unknown[]) => [ephemeralOps.receipts, 'lobby', marks];

  test('make an own message delivered and read, in a group once everyone has it, with counts before', async () => {
    const gateway = new FakeGateway();
    const { room, asked } = await openGroup(gateway);
    await room.send('one').sent;
    expect(asked).toEqual(['http://parley.test/v1/rooms/lobby/members?limit=1000']);
    expect(messages(room)).toMatchObject([
      { state: 'sent', level: 4, reach: { recipients: 2, delivered: 0, read: 0 } },
    ]);
    gateway.socket.push(receipts(['ann', 1, 1]));
    expect(messages(room)).toMatchObject([
      { state: 'sent', reach: { recipients: 2, delivered: 1, read: 1 } },
    ]);
    const [before] = messages(room);
    gateway.socket.push(receipts(['ann', 1, 1]));
    expect(messages(room)[0]).toBe(before!);
    gateway.socket.push(receipts(['bob', 1, 0]));
    expect(messages(room)).toMatchObject([{ state: 'delivered', reach: { delivered: 2, read: 1 } }]);
    gateway.socket.push(receipts(['bob', 1, 1]));
    expect(messages(room)).toMatchObject([{ state: 'read' }]);
  });

  test('say nothing of messages of others', async () => {
    const gateway = new FakeGateway();
    const { room } = await openGroup(gateway);
    gateway.socket.push(gateway.message('lobby', 'ann', 'hers'), receipts(['bob', 1, 1]));
    expect(messages(room)).toMatchObject([{ state: 'sent', reach: { recipients: 0 } }]);
  });

  test('that moved while away come with the members, within 5 s', async () => {
    const gateway = new FakeGateway();
    const { room, members } = await openGroup(gateway);
    await room.send('one').sent;
    gateway.socket.end(1006);
    for (const member of members) Object.assign(member, { delivered_seq: 1, read_seq: 1 });
    await gateway.clock.advance(1000);
    expect(messages(room)).toMatchObject([{ state: 'sent' }]);
    await gateway.clock.advance(5100);
    expect(messages(room)).toMatchObject([{ state: 'read' }]);
  });

  test('of one who has left count no more', async () => {
    const gateway = new FakeGateway();
    const { room } = await openGroup(gateway);
    await room.send('one').sent;
    gateway.socket.push(receipts(['ann', 1, 1]), gateway.append(eventOps.user_left, 'lobby', 'bob', 'bob'));
    expect(messages(room)).toMatchObject([{ state: 'read', reach: { recipients: 1 } }]);
  });
});

describe('around the messages', () => {
  test('joining waits until it can be done', async () => {
    const gateway = new FakeGateway();
    gateway.refuseWith = 1006;
    const room = start(gateway).room('lobby');
    const joined = room.join();
    await settle();
    gateway.refuseWith = null;
    await gateway.clock.advance(2000);
    await joined;
    expect(room.status).toBe('live');
  });

  test('history comes in pages, each with the cursor to the next', async () => {
    const gateway = new FakeGateway();
    for (let i = 1; i <= 5; i++) gateway.message('lobby', 'ann', `m${i}`);
    const { room } = await openRoom(gateway);
    const seqs = ({ events }: { readonly events: readonly { readonly seq: number }[] }) =>
      events.map(({ seq }) => seq);
    const newest = await room.history({}, 2);
    expect([seqs(newest), newest.next]).toEqual([[4, 5], { before: 4 }]);
    const older = await room.history(newest.next!, 3);
    expect([seqs(older), older.next]).toEqual([[1, 2, 3], null]);
    const forward = await room.history({ after: 1 }, 2);
    expect([seqs(forward), forward.next]).toEqual([[2, 3], { after: 3 }]);
  });

  test('who may not have marks is asked for none until he has joined', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    gateway.intercept = (op) => (op === clientOps.mark_delivered ? { error: 'FORBIDDEN' } : null);
    for (let i = 0; i < 5; i++) {
      gateway.socket.push(gateway.message('lobby', 'ann', 'x'));
      await gateway.clock.advance(2000);
    }
    expect(gateway.requestsOf('mark_delivered').length).toBe(1);
    gateway.intercept = () => null;
    await room.join();
    await gateway.clock.advance(1000);
    expect(gateway.requestsOf('mark_delivered').at(-1)).toEqual(['lobby', 5]);
  });

  test('two views of one room are one subscription, which keeps all while one of them looks', async () => {
    const gateway = new FakeGateway();
    for (let i = 1; i <= 90; i++) gateway.message('lobby', 'ann', `m${i}`);
    const { room } = await openRoom(gateway);
    room.open();
    room.close();
    expect(room.items.length).toBe(90);
    room.close();
    expect(room.items.length).toBe(50);
    expect(gateway.requestsOf('subscribe').length).toBe(1);
  });

  test('typing and presence are told by name, too', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    const told: unknown[] = [];
    room.on('typing', ({ user, on }) => told.push([user, on]));
    room.on('presence', ({ online }) => told.push(online));
    room.on('receipts', ({ marks }) => told.push(marks));
    gateway.socket.push([ephemeralOps.typing, 'lobby', 'ann', true]);
    gateway.socket.push([ephemeralOps.presence, 'lobby', [['ann', 'online']], 2]);
    gateway.socket.push([ephemeralOps.receipts, 'lobby', [['ann', 3, 2]]]);
    gateway.socket.push([ephemeralOps.typing, 'lobby', 'ann', false]);
    expect(told).toEqual([['ann', true], 2, [['ann', 3, 2]], ['ann', false]]);
  });

  test('an event that comes again from a process that knows less is told once', async () => {
    const gateway = new FakeGateway();
    const { heard } = await openRoom(gateway);
    const events = [1, 2, 3].map((i) => gateway.message('lobby', 'ann', `m${i}`));
    gateway.socket.push(...events);
    gateway.socket.end(1006);
    gateway.intercept = (op) => (op === clientOps.subscribe ? [1, 1, true] : null);
    await gateway.clock.advance(2000);
    gateway.socket.push(...events.slice(1), gateway.message('lobby', 'ann', 'm4'));
    await settle();
    expect(heard).toEqual([1, 2, 3, 4]);
  });

  test('typing is repeated every 3 s while keys come and ended 3 s after the last', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    for (let i = 0; i < 8; i++) {
      room.typed();
      await gateway.clock.advance(500);
    }
    expect(gateway.requestsOf('typing').map(([, on]) => on)).toEqual([true, true]);
    await gateway.clock.advance(3000);
    expect(gateway.requestsOf('typing').map(([, on]) => on)).toEqual([true, true, true, false]);
  });

  test('another’s typing ends with the message, or by itself', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    gateway.socket.push(
      [ephemeralOps.typing, 'lobby', 'ann', true],
      [ephemeralOps.typing, 'lobby', 'bob', true],
    );
    expect(room.typing).toEqual(['ann', 'bob']);
    gateway.socket.push(gateway.message('lobby', 'ann', 'done'));
    expect(room.typing).toEqual(['bob']);
    await gateway.clock.advance(6000);
    expect(room.typing).toEqual([]);
  });

  test('presence is the list first and then what changes', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    gateway.socket.push([ephemeralOps.presence, 'lobby', [['ann', 'away']], 2]);
    expect([...room.presence.users]).toEqual([
      ['me', 'online'],
      ['ann', 'away'],
    ]);
    gateway.socket.push([ephemeralOps.presence, 'lobby', [['ann', 'offline']], 1]);
    expect([...room.presence.users.keys()]).toEqual(['me']);
  });

  test('delivered marks are sent by themselves, at most one a second', async () => {
    const gateway = new FakeGateway();
    await openRoom(gateway);
    for (let i = 0; i < 10; i++) gateway.socket.push(gateway.message('lobby', 'ann', 'x'));
    await gateway.clock.advance(900);
    expect(gateway.requestsOf('mark_delivered').map(([, seq]) => seq)).toEqual([1]);
    await gateway.clock.advance(200);
    expect(gateway.requestsOf('mark_delivered').map(([, seq]) => seq)).toEqual([1, 10]);
  });

  test('a read mark that was lost is said again with the next connection', async () => {
    const gateway = new FakeGateway();
    const { room } = await openRoom(gateway);
    gateway.socket.push(gateway.message('lobby', 'ann', 'x'));
    gateway.intercept = (op) => (op === clientOps.mark_read ? 'silence' : null);
    room.markRead(1);
    await settle();
    gateway.socket.end(1006);
    await gateway.clock.advance(3000);
    expect(gateway.requestsOf('mark_read').map(([, seq]) => seq)).toEqual([1, 1]);
  });
});
