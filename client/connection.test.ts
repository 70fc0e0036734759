import { describe, expect, test } from 'bun:test';
import { clientOps, controlOps, ephemeralOps } from '../core/protocol/ops.ts';
import { type ConnectOptions, connect } from './connection.ts';
import { ParleyError } from './errors.ts';
import { FakeGateway, settle } from './gateway.fixture.ts';

function tokenWith(expiresAt: number): string {
  return `h.${btoa(JSON.stringify({ exp: expiresAt / 1000 }))}.s`;
}

function start(gateway: FakeGateway, options: Partial<ConnectOptions> = {}) {
  return connect({
    url: 'ws://parley.test/ws',
    token: () => Promise.resolve('token'),
    WebSocket: gateway.WebSocket,
    fetch: () => Promise.resolve(new Response('{}')),
    clock: gateway.clock,
    random: () => 1,
    ...options,
  });
}

describe('connecting', () => {
  test('offers the protocol and the token as subprotocols, and is online with welcome', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    expect(chat.state.name).toBe('connecting');
    await settle();
    expect(gateway.socket.protocols).toEqual(['parley.v1', 'bearer.token']);
    expect(chat.state).toEqual({ name: 'online', user: 'me' });
  });

  test('corrects its clock by welcome.time', async () => {
    const gateway = new FakeGateway();
    gateway.skewMs = 90_000;
    const chat = start(gateway);
    await settle();
    expect(chat.serverNow()).toBe(gateway.clock.now() + 90_000);
  });

  test('tries again after a lost connection, first within a second, then within twice that', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await gateway.clock.advance(20_000);
    gateway.refuseWith = 1006;
    gateway.socket.end(1006);
    await settle();
    expect(chat.state).toEqual({ name: 'waiting', until: gateway.clock.now() + 1000 });
    await gateway.clock.advance(1000);
    expect(gateway.sockets.length).toBe(2);
    expect(chat.state).toEqual({ name: 'waiting', until: gateway.clock.now() + 2000 });
    gateway.refuseWith = null;
    await gateway.clock.advance(2000);
    expect(chat.state.name).toBe('online');
  });

  test('waits for the slot that a reconnect frame gave', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    gateway.socket.push([controlOps.reconnect, 7000]);
    await gateway.clock.advance(2000);
    gateway.socket.end(1012);
    await settle();
    expect(chat.state).toEqual({ name: 'waiting', until: gateway.clock.now() + 5000 });
  });

  test('leaves by itself when its slot has come and the server has not closed', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    gateway.socket.push([controlOps.reconnect, 7000]);
    await gateway.clock.advance(7000);
    expect(gateway.sockets.length).toBe(2);
    expect(chat.state.name).toBe('online');
  });

  test('stops where the close code says stop', async () => {
    for (const code of [1003, 1007, 1008, 1009, 4501, 4777]) {
      const gateway = new FakeGateway();
      const chat = start(gateway);
      await settle();
      gateway.socket.end(code);
      await gateway.clock.advance(60_000);
      expect(chat.state).toEqual({ name: 'stopped', reason: 'refused' });
      expect(gateway.sockets.length).toBe(1);
    }
  });

  test('wakes from waiting when the network is back', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    gateway.socket.end(1006);
    await settle();
    chat.wake();
    await settle();
    expect(chat.state.name).toBe('online');
  });

  test('makes one socket where waking and the timer come together', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    gateway.socket.end(1006);
    await settle();
    chat.wake();
    await gateway.clock.advance(10_000);
    expect(gateway.sockets.length).toBe(2);
  });

  test('ends a socket that has gone silent and connects again', async () => {
    const gateway = new FakeGateway();
    start(gateway);
    await settle();
    gateway.intercept = () => 'silence';
    await gateway.clock.advance(15_000 + 15_000 + 5000 + 4000);
    expect(gateway.sockets.length).toBe(2);
  });

  test('connects no more after close', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    chat.close();
    await gateway.clock.advance(60_000);
    expect(gateway.sockets.length).toBe(1);
    await expect(chat.request('ping')).rejects.toMatchObject({ code: 'DISCONNECTED' });
  });
});

describe('a failed upgrade', () => {
  test('asks GET /v1/me once and goes on where nobody answers', async () => {
    const gateway = new FakeGateway();
    gateway.refuseWith = 1006;
    const asked: string[] = [];
    const chat = start(gateway, {
      fetch: (url) => {
        asked.push(url);
        return Promise.reject(new TypeError('refused'));
      },
    });
    await settle();
    expect(asked).toEqual(['http://parley.test/v1/me']);
    expect(chat.state.name).toBe('waiting');
  });

  test('gets a new token after 401, and stops where that one is refused as well', async () => {
    const gateway = new FakeGateway();
    gateway.refuseWith = 1006;
    const rejected: (string | undefined)[] = [];
    const chat = start(gateway, {
      token: (old) => {
        rejected.push(old);
        return Promise.resolve(`token${rejected.length}`);
      },
      fetch: () => Promise.resolve(new Response('{}', { status: 401 })),
    });
    await gateway.clock.advance(60_000);
    expect(rejected).toEqual([undefined, 'token1']);
    expect(chat.state).toEqual({ name: 'stopped', reason: 'unauthorized' });
  });

  test('stops after 403', async () => {
    const gateway = new FakeGateway();
    gateway.refuseWith = 1006;
    const chat = start(gateway, { fetch: () => Promise.resolve(new Response('{}', { status: 403 })) });
    await settle();
    expect(chat.state).toEqual({ name: 'stopped', reason: 'refused' });
  });

  test('waits at least as long as Retry-After says', async () => {
    const gateway = new FakeGateway();
    gateway.refuseWith = 1006;
    const headers = { 'retry-after': '20' };
    const chat = start(gateway, { fetch: () => Promise.resolve(new Response('', { status: 429, headers })) });
    await settle();
    expect(chat.state).toEqual({ name: 'waiting', until: gateway.clock.now() + 20_000 });
  });

  test('stops where the application has no token any more', async () => {
    const gateway = new FakeGateway();
    const gone = new ParleyError('UNAUTHORIZED', 'logged out');
    const chat = start(gateway, { token: () => Promise.reject(gone) });
    await settle();
    expect(chat.state).toEqual({ name: 'stopped', reason: 'unauthorized' });
  });

  test('goes on where the application could not get a token for now', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway, { token: () => Promise.reject(new TypeError('offline')) });
    await settle();
    expect(chat.state.name).toBe('waiting');
  });
});

describe('a token', () => {
  test('is renewed on the live socket before it expires', async () => {
    const gateway = new FakeGateway();
    let tokens = 0;
    const token = () => Promise.resolve(tokenWith(gateway.clock.now() + 900_000 + tokens++));
    start(gateway, { token });
    gateway.intercept = (op) => (op === clientOps.authenticate ? [gateway.clock.now() + 900_000] : null);
    await gateway.clock.advance(800_000);
    expect(gateway.requestsOf('authenticate').length).toBe(0);
    await gateway.clock.advance(20_000);
    expect(gateway.requestsOf('authenticate').length).toBe(1);
    await gateway.clock.advance(810_000);
    expect(gateway.requestsOf('authenticate').length).toBe(2);
    expect(gateway.sockets.length).toBe(1);
  });

  test('is renewed when the server says that it expires', async () => {
    const gateway = new FakeGateway();
    start(gateway);
    await settle();
    gateway.socket.push([ephemeralOps.notification, 'token_expiring', null, null, null, { expires_at: 1 }]);
    await settle();
    expect(gateway.requestsOf('authenticate')).toEqual([['token']]);
  });

  test('is asked for once while it is good, however often the connection comes back', async () => {
    const gateway = new FakeGateway();
    let fetches = 0;
    const token = () => {
      fetches++;
      return tokenWith(gateway.clock.now() + 900_000);
    };
    start(gateway, { token });
    for (let i = 0; i < 5; i++) {
      await gateway.clock.advance(20_000);
      gateway.socket.end(1006);
    }
    await gateway.clock.advance(20_000);
    expect(gateway.sockets.length).toBe(6);
    expect(fetches).toBe(1);
  });

  test('is renewed as soon as the machine wakes from a sleep in which it grew old', async () => {
    const gateway = new FakeGateway();
    const token = () => tokenWith(gateway.clock.now() + 900_000);
    start(gateway, { token });
    gateway.intercept = (op) => (op === clientOps.authenticate ? [gateway.clock.now() + 900_000] : null);
    await gateway.clock.advance(20_000);
    gateway.clock.suspend(840_000);
    const pings = gateway.requestsOf('ping').length;
    await gateway.clock.advance(15_000);
    expect(gateway.requestsOf('authenticate').length).toBe(1);
    expect(gateway.requestsOf('ping').length).toBe(pings + 1);
  });

  test('of another user ends the connection: what waits to be sent is not his', async () => {
    const gateway = new FakeGateway();
    const users = ['me', 'other'];
    const token = () => `h.${btoa(JSON.stringify({ sub: users.shift() }))}.s`;
    const chat = start(gateway, { token });
    await settle();
    expect(chat.user).toBe('me');
    gateway.socket.end(1006);
    await gateway.clock.advance(2000);
    expect(chat.state).toEqual({ name: 'stopped', reason: 'unauthorized' });
    expect(gateway.sockets.length).toBe(1);
  });

  test('may be a string, and then there is no other one', async () => {
    const gateway = new FakeGateway();
    gateway.refuseWith = 1006;
    const chat = start(gateway, {
      token: 'only',
      fetch: () => Promise.resolve(new Response('{}', { status: 401 })),
    });
    await gateway.clock.advance(5000);
    expect(chat.state).toEqual({ name: 'stopped', reason: 'unauthorized' });
  });

  test('that expired after all is replaced with the next connection', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await gateway.clock.advance(20_000);
    gateway.socket.end(4001);
    await gateway.clock.advance(0);
    expect(gateway.sockets.length).toBe(2);
    expect(chat.state.name).toBe('online');
  });
});

describe('a connection', () => {
  test('looks whether it still lives when the browser says online or visible, and connects at once', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    globalThis.dispatchEvent(new Event('offline'));
    await settle();
    expect(gateway.requestsOf('ping').length).toBe(1);
    gateway.socket.end(1006);
    await settle();
    expect(chat.state.name).toBe('waiting');
    globalThis.dispatchEvent(new Event('online'));
    await settle();
    expect(chat.state.name).toBe('online');
    chat.close();
    globalThis.dispatchEvent(new Event('online'));
    await settle();
    expect(gateway.sockets.length).toBe(2);
  });

  test('is ready when it is online, and never once it is closed', async () => {
    const gateway = new FakeGateway();
    gateway.refuseWith = 1006;
    const chat = start(gateway);
    const ready = chat.ready();
    await settle();
    gateway.refuseWith = null;
    await gateway.clock.advance(2000);
    await ready;
    await chat.ready();
    chat.close();
    await expect(chat.ready()).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('says away again after it was lost', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    chat.setStatus('away');
    await settle();
    gateway.socket.end(1006);
    await gateway.clock.advance(2000);
    expect(gateway.requestsOf('set_status')).toEqual([['away'], ['away']]);
  });

  test('tries again where making a socket throws, and says so', async () => {
    const gateway = new FakeGateway();
    class Refusing {
      constructor() {
        throw new DOMException('insecure', 'SecurityError');
      }
    }
    const codes: string[] = [];
    const chat = start(gateway, { WebSocket: Refusing as never });
    chat.on('error', ({ code }) => codes.push(code));
    await settle();
    expect(codes).toEqual(['DISCONNECTED']);
    expect(chat.state.name).toBe('waiting');
  });
});

describe('a request', () => {
  test('gets its own answer, whatever comes between', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    gateway.intercept = (op) => (op === clientOps.react ? { error: 'NOT_FOUND' } : null);
    const refused = chat.request('react', 'lobby', 1, '+', true);
    const time = chat.request('ping');
    await expect(refused).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await time).toEqual([gateway.clock.now()]);
  });

  test('fails with TIMEOUT where no answer comes', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    gateway.intercept = (op) => (op === clientOps.history ? 'silence' : null);
    const request = chat.request('history', 'lobby', null, null, 10).catch((error) => error.code);
    await gateway.clock.advance(10_000);
    expect(await request).toBe('TIMEOUT');
  });

  test('fails with DISCONNECTED where the socket ends first', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    gateway.intercept = () => 'silence';
    const request = chat.request('ping').catch((error) => error.code);
    await settle();
    gateway.socket.end(1006);
    expect(await request).toBe('DISCONNECTED');
  });

  test('travels with the others of its turn in one payload', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    for (let i = 0; i < 50; i++) chat.room(`room${i}`).subscribe();
    await settle();
    expect(gateway.payloads[0]).toBe(50);
  });

  test('waits while as many are in flight as the server takes', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    gateway.intercept = () => 'silence';
    for (let i = 0; i < 200; i++) chat.request('ping').catch(() => null);
    await settle();
    expect(gateway.requests.length).toBe(128);
  });

  test('that the server would close the socket for is refused here', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    const deep = { a: { b: { c: { d: { e: { f: { g: { h: {} } } } } } } } };
    const wide = Array.from({ length: 5000 }, () => 1);
    const long = 'x'.repeat(70_000);
    await expect(chat.request('send_message', 'lobby', null, 'text', '', deep)).rejects.toMatchObject({
      code: 'BAD_REQUEST',
    });
    await expect(chat.request('send_message', 'lobby', null, 'text', '', wide)).rejects.toMatchObject({
      code: 'BAD_REQUEST',
    });
    await expect(chat.request('send_message', 'lobby', null, 'text', long)).rejects.toMatchObject({
      code: 'TOO_LARGE',
    });
    await settle();
    expect(gateway.requests.length).toBe(0);
  });

  test('carries text without lone surrogates, which are no UTF-8', async () => {
    const gateway = new FakeGateway();
    const chat = start(gateway);
    await settle();
    void chat.request('edit_message', 'lobby', 1, 'a\ud800b');
    await settle();
    expect(gateway.requestsOf('edit_message')).toEqual([['lobby', 1, 'a\ufffdb']]);
  });
});
