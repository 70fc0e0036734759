import { describe, expect, test } from 'bun:test';
import { controlOps, eventOps } from '../core/protocol/ops.ts';
import { connect } from './connection.ts';
import { FakeGateway, settle } from './gateway.fixture.ts';
import type { RoomIterator } from './iterator.ts';

function start(gateway: FakeGateway) {
  const { clock, WebSocket } = gateway;
  const fetch = () => Promise.reject(new TypeError('offline'));
  return connect({ url: 'ws://parley.test/ws', token: 'token', WebSocket, fetch, clock, random: () => 1 });
}

/** The seqs of the next events, 0 for a reset. */
async function take(iterator: RoomIterator, count: number): Promise<number[]> {
  const seqs: number[] = [];
  while (seqs.length < count) {
    const { value, done } = await iterator.next();
    if (done) break;
    seqs.push(value.name === 'reset' ? 0 : value.seq);
  }
  return seqs;
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('iterating a room', () => {
  test('subscribes, and gives each event from then on, to as many as ask', async () => {
    const gateway = new FakeGateway();
    gateway.message('lobby', 'ann', 'before');
    const room = start(gateway).room('lobby');
    const [one, two] = [room[Symbol.asyncIterator](), room[Symbol.asyncIterator]()];
    await settle();
    gateway.socket.push(gateway.message('lobby', 'ann', 'a'), gateway.message('lobby', 'ann', 'b'));
    expect(await take(one, 2)).toEqual([2, 3]);
    expect(await take(two, 2)).toEqual([2, 3]);
    expect(gateway.requestsOf('subscribe').length).toBe(1);
  });

  test('waits for what comes, over a reconnect', async () => {
    const gateway = new FakeGateway();
    const iterator = start(gateway).room('lobby')[Symbol.asyncIterator]();
    await settle();
    const next = take(iterator, 2);
    gateway.socket.push(gateway.message('lobby', 'ann', 'a'));
    gateway.socket.end(1006);
    gateway.message('lobby', 'ann', 'b');
    await gateway.clock.advance(2000);
    expect(await next).toEqual([1, 2]);
  });

  test('gives a slow reader what did not fit in the buffer from history', async () => {
    const gateway = new FakeGateway();
    const iterator = start(gateway).room('lobby')[Symbol.asyncIterator]();
    await settle();
    for (let i = 1; i <= 1500; i++) gateway.socket.push(gateway.message('lobby', 'ann', 'x'));
    expect(gateway.requestsOf('history').length).toBe(0);
    expect(await take(iterator, 1200)).toEqual(range(1, 1200));
    gateway.socket.push(gateway.message('lobby', 'ann', 'later'));
    expect(await take(iterator, 301)).toEqual(range(1201, 1501));
    gateway.socket.push(gateway.message('lobby', 'ann', 'live'));
    const pages = gateway.requestsOf('history').length;
    expect(await take(iterator, 1)).toEqual([1502]);
    expect(gateway.requestsOf('history').length).toBe(pages);
  });

  test('says where continuity was lost, and goes on with what the new epoch has', async () => {
    const gateway = new FakeGateway();
    const iterator = start(gateway).room('lobby')[Symbol.asyncIterator]();
    await settle();
    gateway.socket.push(gateway.message('lobby', 'ann', 'one'), gateway.message('lobby', 'ann', 'lost'));
    gateway.socket.end(1006);
    gateway.rooms.set('lobby', { epoch: 2, seq: 100, events: gateway.room('lobby').events.slice(0, 1) });
    gateway.append(eventOps.epoch_started, 'lobby', null, 2);
    gateway.message('lobby', 'ann', 'after');
    await gateway.clock.advance(2000);
    gateway.socket.push(gateway.message('lobby', 'ann', 'live'));
    expect(await take(iterator, 6)).toEqual([1, 2, 0, 101, 102, 103]);
  });

  test('ends after what is buffered when the room is gone, and when the connection is closed', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    const [gone, closed] = [chat.room('lobby'), chat.room('other')].map((room) =>
      room[Symbol.asyncIterator](),
    );
    await settle();
    gateway.socket.push(gateway.message('lobby', 'ann', 'one'), [controlOps.removed, 'lobby', 'kicked']);
    expect(await take(gone!, 9)).toEqual([1]);
    const waiting = take(closed!, 1);
    chat.close();
    expect(await waiting).toEqual([]);
    expect(await take(chat.room('late')[Symbol.asyncIterator](), 1)).toEqual([]);
  });

  test('ends with break, and costs nothing then', async () => {
    const gateway = new FakeGateway();
    const room = start(gateway).room('lobby');
    setImmediate(() => gateway.socket.push(gateway.message('lobby', 'ann', 'one')));
    const seen: number[] = [];
    for await (const event of room) {
      if (event.name === 'message') seen.push(event.seq);
      break;
    }
    expect(seen).toEqual([1]);
  });
});
