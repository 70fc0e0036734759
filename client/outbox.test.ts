import { describe, expect, test } from 'bun:test';
import { clientOps } from '../core/protocol/ops.ts';
import { type Connection, connect } from './connection.ts';
import { FakeGateway, settle } from './gateway.fixture.ts';
import type { Room } from './room.ts';
import { type KeyValueStorage, storageFrom } from './storage.ts';

/** What localStorage is, and how often it was written to. */
class FakeStorage {
  readonly kept = new Map<string, string>();
  writes = 0;
  isBroken = false;

  getItem(key: string): string | null {
    if (this.isBroken) throw new DOMException('no access', 'SecurityError');
    return this.kept.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    this.writes++;
    this.kept.set(key, value);
  }

  removeItem(key: string): void {
    this.writes++;
    this.kept.delete(key);
  }
}

/** `{"sub":"me"}`, so that the user is known before the first `welcome`. */
const token = `h.${btoa('{"sub":"me"}')}.s`;

function start(gateway: FakeGateway, storage: KeyValueStorage, as = token): Connection {
  const { clock, WebSocket } = gateway;
  const fetch = () => Promise.reject(new TypeError('offline'));
  const url = 'ws://parley.test/ws';
  return connect({ url, token: () => as, WebSocket, fetch, clock, storage, random: () => 1 });
}

function shown(room: Room): unknown[] {
  return room.items.flatMap((item) => (item.kind === 'message' ? [[item.content, item.state]] : []));
}

const sentIds = (gateway: FakeGateway) =>
  gateway.requestsOf('send_message').map(([, id]) => Buffer.from(id as Uint8Array).toString('hex'));

describe('what is not sent yet', () => {
  test('is there after a reload, offline too, and is sent with the same ids and in order', async () => {
    const storage = new FakeStorage();
    const before = new FakeGateway();
    before.intercept = (op) => (op === clientOps.send_message ? 'silence' : null);
    const room = start(before, storageFrom(storage)).room('lobby');
    await settle();
    for (const content of ['a', new Uint8Array([1, 255]), 'c']) room.send({ content, meta: { reply_to: 1 } });
    await settle();

    const after = new FakeGateway();
    after.refuseWith = 1006;
    const chat = start(after, storageFrom(storage));
    const again = chat.room('lobby');
    again.open();
    await settle();
    expect(shown(again)).toEqual([
      ['a', 'sending'],
      [new Uint8Array([1, 255]), 'sending'],
      ['c', 'sending'],
    ]);
    again.send('d');
    after.refuseWith = null;
    await after.clock.advance(2000);
    expect(sentIds(after).slice(0, 3)).toEqual(sentIds(before));
    expect(after.requestsOf('send_message').map(([, , , content]) => content)).toEqual([
      'a',
      new Uint8Array([1, 255]),
      'c',
      'd',
    ]);
    expect(after.requestsOf('send_message')[0]?.at(-1)).toEqual({ reply_to: 1 });
    expect(shown(again).map((line) => (line as unknown[])[1])).toEqual(['sent', 'sent', 'sent', 'sent']);
    expect(storage.kept.size).toBe(0);
  });

  test('is sent from a storage that answers later, also into rooms that nobody has opened yet', async () => {
    const inner = new FakeStorage();
    const storage: KeyValueStorage = {
      get: async (key) => inner.getItem(key),
      set: async (key, value) => inner.setItem(key, value),
      remove: async (key) => inner.removeItem(key),
    };
    const before = new FakeGateway();
    before.refuseWith = 1006;
    start(before, storage).room('lobby').send('kept');
    await settle();
    const after = new FakeGateway();
    start(after, storage);
    await settle();
    expect(after.requestsOf('send_message').map(([room, , , content]) => [room, content])).toEqual([
      ['lobby', 'kept'],
    ]);
  });

  test('is of its user alone', async () => {
    const storage = new FakeStorage();
    const before = new FakeGateway();
    before.refuseWith = 1006;
    start(before, storageFrom(storage)).room('lobby').send('mine');
    await settle();
    const other = new FakeGateway();
    other.refuseWith = 1006;
    const room = start(other, storageFrom(storage), `h.${btoa('{"sub":"other"}')}.s`).room('lobby');
    await settle();
    expect(room.items).toEqual([]);
    expect(storage.kept.size).toBe(1);
  });

  test('stays to be sent where the connection is closed', async () => {
    const storage = new FakeStorage();
    const gateway = new FakeGateway();
    gateway.refuseWith = 1006;
    const chat = start(gateway, storageFrom(storage));
    const { sent } = chat.room('lobby').send('later');
    const refusal = sent.catch(({ code }) => code);
    await settle();
    chat.close();
    expect(await refusal).toBe('CLOSED');
    expect(() => chat.room('lobby').send('never')).toThrow('closed');
    const after = new FakeGateway();
    start(after, storageFrom(storage));
    await settle();
    expect(after.requestsOf('send_message').length).toBe(1);
  });

  test('keeps what another tab has put there', async () => {
    const storage = new FakeStorage();
    const gateways = [new FakeGateway(), new FakeGateway()];
    const rooms = gateways.map((gateway) => {
      gateway.refuseWith = 1006;
      return start(gateway, storageFrom(storage)).room('lobby');
    });
    await settle();
    for (const [i, room] of rooms.entries()) room.send(`of tab ${i}`);
    await settle();
    const [text] = storage.kept.values();
    expect(JSON.parse(text!).map(({ content }: { content: string }) => content)).toEqual([
      'of tab 0',
      'of tab 1',
    ]);
  });

  test('is written once for all of a turn', async () => {
    const storage = new FakeStorage();
    const gateway = new FakeGateway();
    gateway.refuseWith = 1006;
    const room = start(gateway, storageFrom(storage)).room('lobby');
    await settle();
    for (let i = 0; i < 100; i++) room.send(`${i}`);
    await settle();
    expect(storage.writes).toBe(1);
  });

  test('that the server refused is shown as failed after a reload, to be retried or discarded', async () => {
    const storage = new FakeStorage();
    const before = new FakeGateway();
    before.intercept = (op) => (op === clientOps.send_message ? { error: 'FORBIDDEN' } : null);
    start(before, storageFrom(storage)).room('lobby').send('refused');
    await settle();
    const after = new FakeGateway();
    const room = start(after, storageFrom(storage)).room('lobby');
    await settle();
    expect(room.items).toMatchObject([{ state: 'failed', error: { code: 'FORBIDDEN' } }]);
    expect(after.requestsOf('send_message').length).toBe(0);
    room.retry(room.items[0]!.key);
    await settle();
    expect(after.requestsOf('send_message').length).toBe(1);
    expect(storage.kept.size).toBe(0);
  });

  test('is sent all the same where the storage fails, which is told', async () => {
    const storage = new FakeStorage();
    storage.isBroken = true;
    const gateway = new FakeGateway();
    const chat = start(gateway, storageFrom(storage));
    const codes: string[] = [];
    chat.on('error', ({ code }) => codes.push(code));
    chat.room('lobby').send('x');
    await settle();
    expect(gateway.requestsOf('send_message').length).toBe(1);
    expect(new Set(codes)).toEqual(new Set(['STORAGE']));
  });
});
