// What every engine must do over real sockets: each sentence of gateway/engine/engine.ts, and the traps of DESIGN.md
// section 10, are cases. Called by the test of each engine with its start function. Speaks node:test and node:assert and
// TCP alone, so that it runs wherever the engine does.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import type {
  Engine,
  EngineHandlers,
  EngineOptions,
  EngineSocket,
  StartEngine,
  UpgradeAnswer,
  UpgradeRequest,
} from '../../gateway/engine/engine.ts';
import { certificate, privateKey } from './certificate.ts';
import { RawHttp, valuesOf } from './raw-http.ts';
import { RawSocket } from './raw-socket.ts';

/** A socket's state: its number, and what it was told. */
interface Data {
  readonly name: string;
}

type Handle = EngineSocket<Data>;

const mebibyte = 1024 * 1024;
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const textOf = (message: Uint8Array | string) =>
  typeof message === 'string' ? message : Buffer.from(message).toString();

/** An engine with everything that it told. */
class Server {
  engine!: Engine;
  readonly opened: Handle[] = [];
  readonly messages: string[] = [];
  readonly writable: Handle[] = [];
  readonly pongs: Handle[] = [];
  readonly closes: { readonly handle: Handle; readonly code: number }[] = [];
  readonly upgrades: UpgradeRequest[] = [];
  readonly clients: (RawSocket | RawHttp)[] = [];
  /** Replaced by tests. */
  answer: (request: UpgradeRequest) => UpgradeAnswer<Data> | Promise<UpgradeAnswer<Data>> = ({ query }) => ({
    accept: true,
    data: { name: query },
    protocol: null,
  });
  onMessage: (handle: Handle, message: Uint8Array | string) => void = () => {};
  onRequest: EngineHandlers<Data>['onRequest'] = (request, address) =>
    new Response(`${request.method} ${new URL(request.url).pathname} from ${address}`);
  onClose: (handle: Handle) => void = () => {};
  onWritable: (handle: Handle) => void = () => {};

  readonly handlers: EngineHandlers<Data> = {
    onRequest: (request, address) => this.onRequest(request, address),
    onUpgrade: (request) => {
      this.upgrades.push(request);
      return this.answer(request);
    },
    onOpen: (handle) => void this.opened.push(handle),
    onMessage: (handle, message) => {
      this.messages.push(textOf(message));
      this.onMessage(handle, message);
    },
    onWritable: (handle) => {
      this.writable.push(handle);
      this.onWritable(handle);
    },
    onPong: (handle) => void this.pongs.push(handle),
    onClose: (handle, code) => {
      this.closes.push({ handle, code });
      this.onClose(handle);
    },
  };

  client(tcp?: Socket): RawSocket {
    const client = new RawSocket(this.engine.port, tcp);
    this.clients.push(client);
    return client;
  }

  http(host?: string): RawHttp {
    const client = new RawHttp(this.engine.port, host);
    this.clients.push(client);
    return client;
  }

  /** An open socket, from both ends. */
  async open(name = 'one', headers: Record<string, string> = {}, tcp?: Socket): Promise<[RawSocket, Handle]> {
    const client = this.client(tcp);
    client.request(`/ws?${name}`, headers);
    const { status } = await client.answered();
    assert.equal(status, 101);
    const find = () => this.opened.find(({ data }) => data.name === name);
    await client.until(() => find() !== undefined, 'the open');
    return [client, find() as Handle];
  }

  get url(): string {
    return `http://127.0.0.1:${this.engine.port}`;
  }

  /** Codes that `onClose` told of this socket: exactly one once it is closed. */
  codesOf(handle: Handle): number[] {
    return this.closes.filter((each) => each.handle === handle).map(({ code }) => code);
  }
}

/** Runs a task in a turn of the engine's own, as a message's handler. */
async function inTurn(server: Server, client: RawSocket, task: () => void): Promise<void> {
  let isDone = false;
  const before = server.onMessage;
  server.onMessage = (handle, message) => {
    if (textOf(message) !== 'turn') return before(handle, message);
    server.onMessage = before;
    task();
    isDone = true;
  };
  client.sendBinary(bytesOf('turn'));
  await client.until(() => isDone, 'the turn');
}

export function engineConformance(name: string, start: StartEngine): void {
  describe(`${name} as an engine`, () => {
    const servers: Server[] = [];

    afterEach(async () => {
      for (const { engine, clients } of servers.splice(0)) {
        for (const client of clients) client.destroy();
        await engine.stop();
      }
    });

    async function startServer(changes: Partial<EngineOptions> = {}): Promise<Server> {
      const server = new Server();
      const options: EngineOptions = {
        host: '127.0.0.1',
        port: 0,
        messageBytesMax: 262_144,
        backlogBytesMax: 2 * mebibyte,
        bodyBytesMax: 65_536,
        ...changes,
      };
      server.engine = await start<Data>(options, server.handlers);
      servers.push(server);
      return server;
    }

    describe('the upgrade', () => {
      test('is accepted with the data, and tells address, query and headers', async () => {
        const server = await startServer();
        const [, handle] = await server.open('a=1&b=%20', { 'X-Test': 'Value', Origin: 'https://chat.test' });
        assert.equal(handle.data.name, 'a=1&b=%20');
        const [request] = server.upgrades;
        assert.equal(request?.address, '127.0.0.1');
        assert.equal(request?.query, 'a=1&b=%20');
        assert.equal(request?.header('x-test'), 'Value');
        assert.equal(request?.header('origin'), 'https://chat.test');
        assert.equal(request?.header('x-other'), null);
      });

      test('without a query has an empty one', async () => {
        const server = await startServer();
        const client = server.client();
        client.request('/ws');
        assert.equal((await client.answered()).status, 101);
        assert.equal(server.upgrades[0]?.query, '');
      });

      test('echoes the subprotocol it is told, and no other', async () => {
        const server = await startServer();
        for (const [protocol, offered] of [
          ['two', 'one, two'],
          [null, 'one, two'],
          [null, null],
        ] as const) {
          server.answer = () => ({ accept: true, data: { name: 'x' }, protocol });
          const client = server.client();
          client.request('/ws', offered === null ? {} : { 'Sec-WebSocket-Protocol': offered });
          const { status, headers } = await client.answered();
          assert.equal(status, 101);
          assert.equal(headers['sec-websocket-protocol'], protocol ?? undefined);
        }
      });

      test('never agrees to compression', async () => {
        const server = await startServer();
        const client = server.client();
        client.request('/ws?x', { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' });
        const { headers } = await client.answered();
        assert.equal(headers['sec-websocket-extensions'], undefined);
        await client.until(() => server.opened.length === 1, 'the open');
        server.opened[0]?.subscribe('topic');
        server.opened[0]?.send(new Uint8Array(20_000));
        server.engine.publish('topic', new Uint8Array(20_000));
        await client.until(() => client.seen.length === 2, 'two messages');
      });

      test('that is refused has the status, headers and body of an HTTP answer', async () => {
        const server = await startServer();
        for (const isLate of [false, true]) {
          const answer = {
            accept: false as const,
            status: 429,
            headers: { 'Retry-After': '7', 'Content-Type': 'application/json' },
            body: '{"error":1}',
          };
          server.answer = () => (isLate ? Promise.resolve(answer) : answer);
          const client = server.client();
          client.request('/ws');
          const { status, headers, body } = await client.answered();
          assert.deepEqual([status, body], [429, '{"error":1}']);
          assert.equal(headers['retry-after'], '7');
          assert.match(headers['content-type'] ?? '', /^application\/json/);
        }
        assert.equal(server.opened.length, 0);
      });

      test('may be answered later, headers stay readable until then', async () => {
        const server = await startServer();
        let resolve = (_: UpgradeAnswer<Data>): void => {};
        server.answer = () =>
          new Promise((settle) => {
            resolve = settle;
          });
        const client = server.client();
        client.request('/ws?later', { 'X-Test': 'still here' });
        await client.until(() => server.upgrades.length === 1, 'the upgrade');
        // Others come and go meanwhile.
        const other = server.client();
        other.request('/elsewhere', {}, false);
        await other.answered();
        assert.equal(client.handshake, null);
        assert.equal(server.upgrades[0]?.header('x-test'), 'still here');
        resolve({ accept: true, data: { name: 'late' }, protocol: null });
        assert.equal((await client.answered()).status, 101);
        await client.until(() => server.opened.length === 1, 'the open');
        assert.equal(server.opened[0]?.data.name, 'late');
      });

      test('without a key is refused, after whoever is asked has agreed', async () => {
        const server = await startServer();
        for (const headers of [{ 'Sec-WebSocket-Key': 'short' }, { 'Sec-WebSocket-Key': '' }]) {
          const client = server.client();
          client.request('/ws?x', headers);
          assert.equal((await client.answered()).status, 400);
        }
        server.answer = () => ({ accept: false, status: 401, headers: {}, body: '' });
        const client = server.client();
        client.request('/ws?x', { 'Sec-WebSocket-Key': 'short' });
        assert.equal((await client.answered()).status, 401);
        assert.equal(server.opened.length, 0);
      });

      test('may have headers of 12 KB, as long tokens make them', async () => {
        const server = await startServer();
        const token = 'x'.repeat(12_000);
        await server.open('long', { Authorization: `Bearer ${token}` });
        assert.equal(server.upgrades[0]?.header('authorization'), `Bearer ${token}`);
      });

      test('that is answered later makes a socket that stays', async () => {
        const server = await startServer();
        server.answer = async ({ query }) => {
          await new Promise<void>((resolve) => setImmediate(resolve));
          return { accept: true, data: { name: query }, protocol: 'one' };
        };
        server.onMessage = (handle, message) => void handle.send(bytesOf(`echo ${textOf(message)}`));
        const sockets = await Promise.all(
          Array.from({ length: 50 }, (_, i) => server.open(`${i}`, { 'Sec-WebSocket-Protocol': 'one' })),
        );
        for (const [client, handle] of sockets) {
          handle.send(bytesOf('welcome'));
          client.sendBinary(bytesOf('x'.repeat(1000)));
        }
        for (const [client] of sockets) {
          await client.until(() => client.messages.length === 2 || client.isGone, 'the echo');
          assert.deepEqual(client.messages, ['welcome', `echo ${'x'.repeat(1000)}`]);
        }
        assert.equal(server.closes.length, 0);
      });

      test('of a client that goes away meanwhile opens nothing that stays open', async () => {
        const server = await startServer();
        const resolves: ((answer: UpgradeAnswer<Data>) => void)[] = [];
        server.answer = () => new Promise((settle) => resolves.push(settle));
        for (let i = 0; i < 20; i++) {
          const client = server.client();
          client.request(`/ws?${i}`);
          await client.until(() => resolves.length === i + 1, 'the upgrade');
          client.destroy();
        }
        // Whoever answers over HTTP proves that the server has gone on since.
        const probe = server.client();
        probe.request('/probe', {}, false);
        await probe.answered();
        resolves.forEach((resolve, i) => {
          if (i % 2 === 0) resolve({ accept: true, data: { name: `gone ${i}` }, protocol: null });
          else resolve({ accept: false, status: 401, headers: {}, body: '' });
        });
        server.answer = () => ({ accept: true, data: { name: 'alive' }, protocol: null });
        const [alive, handle] = await server.open('alive');
        handle.send(bytesOf('hello'));
        await alive.until(() => alive.messages.length === 1, 'a message');
        await alive.until(() => server.opened.length - 1 === server.closes.length, 'the closes');
        assert.equal(server.closes.filter((each) => each.handle === handle).length, 0);
      });
    });

    describe('messages from a peer', () => {
      test('come whole and in order, text as text', async () => {
        const server = await startServer();
        const [client] = await server.open();
        const kinds: string[] = [];
        server.onMessage = (_, message) => void kinds.push(typeof message);
        client.sendText('täxt');
        client.sendBinary(bytesOf('binary'));
        client.sendTogether(Array.from({ length: 500 }, (_, i) => bytesOf(`${i}`)));
        // One message in three frames.
        client.sendFrame(2, bytesOf('in '), false);
        client.sendFrame(0, bytesOf('three '), false);
        client.sendFrame(0, bytesOf('parts'), true);
        await client.until(() => server.messages.length === 503, 'the messages');
        assert.deepEqual(kinds.slice(0, 3), ['string', 'object', 'object']);
        const numbers = Array.from({ length: 500 }, (_, i) => `${i}`);
        assert.deepEqual(server.messages, ['täxt', 'binary', ...numbers, 'in three parts']);
      });

      test('belong to whoever gets them: later messages do not change them', async () => {
        const server = await startServer();
        const [client] = await server.open();
        const kept: Uint8Array[] = [];
        server.onMessage = (_, message) => void kept.push(message as Uint8Array);
        for (let i = 0; i < 200; i++) client.sendBinary(bytesOf(`message ${i} ${'x'.repeat(i)}`));
        await client.until(() => kept.length === 200, 'the messages');
        assert.deepEqual(
          kept.map(textOf),
          Array.from({ length: 200 }, (_, i) => `message ${i} ${'x'.repeat(i)}`),
        );
        for (const message of kept) assert.ok(message instanceof Uint8Array);
      });

      test('are not heard after a close, also where they came with the one that led to it', async () => {
        const server = await startServer();
        for (const how of ['close', 'terminate'] as const) {
          const [client, handle] = await server.open(how);
          server.onMessage = () => (how === 'close' ? handle.close(4000, 'enough') : handle.terminate());
          server.messages.length = 0;
          client.sendTogether(['one', 'two', 'three'].map(bytesOf));
          await client.until(() => client.isGone && server.codesOf(handle).length > 0, 'the end');
          assert.deepEqual(server.messages, ['one']);
          assert.deepEqual(server.codesOf(handle), [how === 'close' ? 4000 : 1006]);
        }
      });

      test('may be as long as the limit', async () => {
        const server = await startServer({ messageBytesMax: 10_000 });
        const [client] = await server.open();
        client.sendBinary(new Uint8Array(10_000));
        await client.until(() => server.messages.length === 1, 'the message');
        assert.equal(server.messages[0]?.length, 10_000);
      });

      test('above the limit end the socket and are not heard', async () => {
        const server = await startServer({ messageBytesMax: 10_000 });
        const [whole, first] = await server.open('whole');
        whole.sendBinary(new Uint8Array(10_001));
        const [parts, second] = await server.open('parts');
        for (let i = 0; i < 5; i++) parts.sendFrame(i === 0 ? 2 : 0, new Uint8Array(4000), false);
        for (const [client, handle] of [
          [whole, first],
          [parts, second],
        ] as const) {
          await client.until(() => client.isGone, 'the end');
          await client.until(() => server.codesOf(handle).length === 1, 'the close');
          assert.ok(client.closed === undefined || client.closed.code === 1009);
        }
        assert.deepEqual(server.messages, []);
      });
    });

    describe('send', () => {
      test('says sent, and the peer gets what was sent, in order', async () => {
        const server = await startServer();
        const [client, handle] = await server.open();
        const results = Array.from({ length: 100 }, (_, i) => handle.send(bytesOf(`${i}`)));
        await client.until(() => client.messages.length === 100, 'the messages');
        assert.deepEqual(new Set(results), new Set(['sent']));
        assert.deepEqual(
          client.messages,
          Array.from({ length: 100 }, (_, i) => `${i}`),
        );
        assert.ok(client.seen.every(({ kind }) => kind === 'binary'));
        assert.equal(handle.bufferedBytes(), 0);
      });

      test('keeps its order with publishes, 20,000 of both', async () => {
        const server = await startServer({ backlogBytesMax: 64 * mebibyte });
        const [client, handle] = await server.open();
        handle.subscribe('private');
        handle.subscribe('topic');
        let next = 0;
        while (next < 20_000) {
          await inTurn(server, client, () => {
            for (let i = 0; i < 500; i++, next++) {
              if ((next * 7919) % 3 === 0) server.engine.publish('topic', bytesOf(`${next}`));
              else handle.send(bytesOf(`${next}`));
            }
          });
        }
        await client.until(() => client.messages.length === 20_000, 'the messages');
        assert.ok(client.messages.every((message, i) => message === `${i}`));
      });

      test('to a reader that stopped says buffered, counts the bytes, and tells when they have drained', async () => {
        const server = await startServer({ backlogBytesMax: 64 * mebibyte });
        const [client, handle] = await server.open();
        client.pause();
        const payload = new Uint8Array(65_536);
        let sent = 0;
        while (handle.send(payload) === 'sent') sent++;
        sent++;
        const before = handle.bufferedBytes();
        assert.ok(before > 0);
        for (let i = 0; i < 10; i++, sent++) assert.equal(handle.send(payload), 'buffered');
        assert.ok(handle.bufferedBytes() >= before + 9 * payload.length);
        assert.equal(server.writable.length, 0);
        let least = Number.POSITIVE_INFINITY;
        server.onWritable = () => {
          least = Math.min(least, handle.bufferedBytes());
        };
        client.resume();
        await client.until(() => client.seen.length === sent, 'the messages');
        await client.until(() => least === 0, 'the buffer to drain');
        assert.ok(server.writable.every((each) => each === handle));
        assert.equal(handle.bufferedBytes(), 0);
        assert.equal(handle.send(bytesOf('again')), 'sent');
      });
    });

    describe('publish', () => {
      test('reaches every subscriber once, as one binary message, and nobody else', async () => {
        const server = await startServer();
        const [one, first] = await server.open('one');
        const [two, second] = await server.open('two');
        const [three, third] = await server.open('three');
        first.subscribe('a');
        first.subscribe('a');
        second.subscribe('a');
        second.subscribe('b');
        third.subscribe('b');
        server.engine.publish('a', bytesOf('to a'));
        server.engine.publish('b', bytesOf('to b'));
        server.engine.publish('nobody', bytesOf('to nobody'));
        for (const handle of [first, second, third]) handle.send(bytesOf('end'));
        for (const client of [one, two, three]) {
          await client.until(() => client.messages.includes('end'), 'the end');
        }
        assert.deepEqual(one.messages, ['to a', 'end']);
        assert.deepEqual(two.messages, ['to a', 'to b', 'end']);
        assert.deepEqual(three.messages, ['to b', 'end']);
      });

      test('from within the handler of a subscriber reaches that subscriber too', async () => {
        const server = await startServer();
        const [client, handle] = await server.open();
        handle.subscribe('topic');
        await inTurn(server, client, () => server.engine.publish('topic', bytesOf('own')));
        await client.until(() => client.messages.length === 1, 'the message');
        assert.deepEqual(client.messages, ['own']);
      });

      test('of hundreds to many topics within one turn arrives in order, none missing', async () => {
        const server = await startServer();
        const [client, handle] = await server.open();
        handle.subscribe('private');
        for (let i = 0; i < 50; i++) handle.subscribe(`topic ${i}`);
        await inTurn(server, client, () => {
          for (let i = 0; i < 1000; i++) server.engine.publish(`topic ${i % 50}`, bytesOf(`${i}`));
        });
        await client.until(() => client.messages.length === 1000, 'the messages');
        assert.deepEqual(
          client.messages,
          Array.from({ length: 1000 }, (_, i) => `${i}`),
        );
      });

      test('before an unsubscribe in the same turn still arrives, after it not', async () => {
        for (const isLast of [false, true]) {
          const server = await startServer();
          const [client, handle] = await server.open();
          if (!isLast) handle.subscribe('private');
          handle.subscribe('topic');
          await inTurn(server, client, () => {
            for (let i = 0; i < 40; i++) server.engine.publish('topic', bytesOf(`${i}`));
            handle.unsubscribe('topic');
            server.engine.publish('topic', bytesOf('late'));
            handle.send(bytesOf('end'));
          });
          await client.until(() => client.messages.includes('end'), 'the end');
          assert.deepEqual(client.messages, [...Array.from({ length: 40 }, (_, i) => `${i}`), 'end']);
        }
      });

      test('after a subscribe in the same turn arrives, before it not', async () => {
        const server = await startServer();
        const [client, handle] = await server.open();
        await inTurn(server, client, () => {
          server.engine.publish('topic', bytesOf('early'));
          handle.send(bytesOf('replay'));
          handle.subscribe('topic');
          server.engine.publish('topic', bytesOf('live'));
          handle.unsubscribe('topic');
          server.engine.publish('topic', bytesOf('between'));
          handle.subscribe('topic');
          server.engine.publish('topic', bytesOf('live again'));
          handle.send(bytesOf('end'));
        });
        await client.until(() => client.messages.includes('end'), 'the end');
        assert.deepEqual(client.messages, ['replay', 'live', 'live again', 'end']);
      });

      test('to a reader that stopped counts as buffered, and is told when it has drained', async () => {
        const server = await startServer({ backlogBytesMax: 64 * mebibyte });
        const [client, handle] = await server.open();
        handle.subscribe('topic');
        client.pause();
        const payload = new Uint8Array(65_536);
        let published = 0;
        while (handle.bufferedBytes() < mebibyte) {
          await new Promise<void>((resolve) => setImmediate(resolve));
          server.engine.publish('topic', payload);
          published++;
        }
        let isDrained = false;
        server.onWritable = () => {
          if (handle.bufferedBytes() === 0) isDrained = true;
        };
        client.resume();
        await client.until(() => client.seen.length === published, 'the messages');
        await client.until(() => isDrained, 'the buffer to drain');
      });

      test('after the server stopped does nothing', async () => {
        const server = await startServer();
        await server.open();
        await server.engine.stop();
        server.engine.publish('topic', bytesOf('late'));
      });
    });

    describe('a reader that stopped, at the limit', () => {
      for (const how of ['send', 'publish'] as const) {
        test(`is cut by a ${how}, with no message left out before the cut, and others are not`, async () => {
          const server = await startServer({ backlogBytesMax: mebibyte });
          const [client, handle] = await server.open('slow');
          const [other, healthy] = await server.open('healthy');
          for (const each of [handle, healthy]) each.subscribe('topic');
          client.pause();
          const size = 20_000;
          let count = 0;
          while (server.closes.length === 0 && count < 5000) {
            const payload = new Uint8Array(size);
            new DataView(payload.buffer).setUint32(0, count);
            if (how === 'send') handle.send(payload);
            else server.engine.publish('topic', payload);
            count++;
            // One turn of the event loop, for the engine to write and to cut.
            await new Promise<void>((resolve) => setImmediate(resolve));
            assert.ok(handle.bufferedBytes() <= mebibyte + size + 16, 'more is buffered than the limit');
          }
          assert.deepEqual(server.codesOf(handle), [1006]);
          assert.equal(handle.send(new Uint8Array(1)), 'dropped');
          client.resume();
          await client.until(() => client.isGone, 'the cut');
          assert.equal(client.closed, undefined);
          const numbers = client.seen.map((each) =>
            each.kind === 'binary' ? each.bytes.readUInt32BE(0) : -1,
          );
          assert.deepEqual(
            numbers,
            numbers.map((_, i) => i),
          );
          assert.ok(numbers.length < count);
          healthy.send(bytesOf('end'));
          await other.until(() => other.messages.includes('end'), 'the end');
          assert.equal(other.seen.length, how === 'send' ? 1 : count + 1);
          assert.deepEqual(server.codesOf(handle), [1006]);
        });
      }
    });

    test('a reader that reads on in the turn of its cut gets nothing after what was dropped', async () => {
      const server = await startServer({ backlogBytesMax: mebibyte });
      for (let round = 0; round < 10; round++) {
        const [client, handle] = await server.open(`slow-${round}`);
        client.pause();
        let count = 0;
        const numbered = () => {
          const payload = new Uint8Array(20_000);
          new DataView(payload.buffer).setUint32(0, count++);
          return payload;
        };
        server.onWritable = () => void handle.send(numbered());
        while (handle.send(numbered()) !== 'dropped');
        const dropped = count - 1;
        client.resume();
        handle.send(numbered());
        await client.until(() => client.isGone && server.codesOf(handle).length > 0, 'the cut');
        const numbers = client.seen.map((each) => (each.kind === 'binary' ? each.bytes.readUInt32BE(0) : -1));
        assert.deepEqual(
          numbers,
          numbers.map((_, i) => i),
        );
        assert.ok(numbers.length <= dropped);
      }
    });

    describe('the close', () => {
      test('reaches the peer with code and reason, after what was sent and published before', async () => {
        const server = await startServer();
        const [client, handle] = await server.open();
        handle.subscribe('topic');
        await inTurn(server, client, () => {
          handle.send(bytesOf('sent'));
          server.engine.publish('topic', bytesOf('published'));
          handle.send(bytesOf('last'));
          handle.close(4008, 'slow');
        });
        await client.until(() => client.closed !== undefined, 'the close');
        assert.deepEqual(client.messages, ['sent', 'published', 'last']);
        assert.deepEqual(client.closed, { code: 4008, reason: 'slow' });
        await client.until(() => client.isGone, 'the end');
        await client.until(() => server.closes.length > 0, 'onClose');
        assert.deepEqual(server.codesOf(handle), [4008]);
      });

      test('sends what is buffered first, to a reader that reads on later', async () => {
        const server = await startServer({ backlogBytesMax: 64 * mebibyte });
        const [client, handle] = await server.open();
        client.pause();
        const payload = new Uint8Array(65_536);
        let count = 1;
        while (handle.send(payload) === 'sent') count++;
        handle.send(payload);
        handle.close(4008, 'slow');
        client.resume();
        await client.until(() => client.isGone, 'the end');
        assert.equal(client.seen.filter(({ kind }) => kind === 'binary').length, count + 1);
        assert.deepEqual(client.closed, { code: 4008, reason: 'slow' });
      });

      test('again does nothing', async () => {
        const server = await startServer();
        const [client, handle] = await server.open();
        await inTurn(server, client, () => {
          handle.close(4001, 'first');
          handle.close(4002, 'second');
        });
        handle.close(4003, 'third');
        await client.until(() => client.isGone && server.closes.length > 0, 'the end');
        handle.close(4004, 'fourth');
        assert.deepEqual(client.seen, [{ kind: 'close', code: 4001, reason: 'first' }]);
        assert.deepEqual(server.codesOf(handle), [4001]);
      });

      test('by the peer is told with its code, once', async () => {
        const server = await startServer();
        for (const [code, told] of [
          [4321, 4321],
          [1000, 1000],
          [null, 1005],
        ] as const) {
          const [client, handle] = await server.open(`peer-${code}`);
          client.close(code);
          await client.until(() => client.isGone && server.codesOf(handle).length > 0, 'the end');
          assert.deepEqual(server.codesOf(handle), [told]);
        }
      });

      test('of a peer that vanished is told as 1006, once', async () => {
        const server = await startServer();
        const [client, handle] = await server.open();
        client.destroy();
        await client.until(() => server.closes.length > 0, 'onClose');
        assert.deepEqual(server.codesOf(handle), [1006]);
      });

      test('from both sides at once is told once', async () => {
        const server = await startServer();
        for (let i = 0; i < 30; i++) {
          const [client, handle] = await server.open(`both-${i}`);
          client.close(4100);
          handle.close(4200, 'ours');
          await client.until(() => client.isGone && server.codesOf(handle).length > 0, 'the end');
          assert.equal(server.codesOf(handle).length, 1);
        }
      });

      test('frees the topics: nothing reaches it any more', async () => {
        const server = await startServer();
        const [client, handle] = await server.open();
        handle.subscribe('topic');
        handle.close(1012, 'restart');
        server.engine.publish('topic', bytesOf('late'));
        assert.equal(handle.send(bytesOf('late')), 'dropped');
        await client.until(() => client.isGone, 'the end');
        assert.deepEqual(client.messages, []);
      });
    });

    test('terminate cuts without a close frame, and is told once', async () => {
      const server = await startServer();
      const [client, handle] = await server.open();
      handle.terminate();
      handle.terminate();
      await client.until(() => client.isGone && server.closes.length > 0, 'the end');
      assert.equal(client.closed, undefined);
      assert.deepEqual(server.codesOf(handle), [1006]);
    });

    test('terminate after a close that the peer does not answer ends the socket', async () => {
      const server = await startServer({ backlogBytesMax: 64 * mebibyte });
      const [client, handle] = await server.open();
      client.pause();
      while (handle.send(new Uint8Array(65_536)) === 'sent');
      handle.close(4008, 'slow');
      handle.terminate();
      await client.until(() => server.closes.length > 0, 'onClose');
      client.resume();
      await client.until(() => client.isGone, 'the end');
      assert.equal(server.codesOf(handle).length, 1);
    });

    test('calls on a closed socket do nothing', async () => {
      const server = await startServer();
      const [client, handle] = await server.open();
      const touch = () => {
        assert.equal(handle.send(bytesOf('late')), 'dropped');
        handle.subscribe('topic');
        handle.unsubscribe('topic');
        handle.ping();
        handle.close(4000, 'late');
        handle.terminate();
        assert.equal(handle.bufferedBytes(), 0);
        assert.equal(handle.data.name, 'one');
      };
      let error: unknown = null;
      server.onClose = () => {
        try {
          touch();
        } catch (caught) {
          error = caught;
        }
      };
      client.destroy();
      await client.until(() => server.closes.length > 0, 'onClose');
      touch();
      assert.equal(error, null);
      server.engine.publish('topic', bytesOf('late'));
      assert.equal(server.closes.length, 1);
    });

    describe('pings', () => {
      test('reach the peer, and its pong is told', async () => {
        const server = await startServer();
        const [client, handle] = await server.open();
        handle.ping();
        await client.until(() => client.seen.some(({ kind }) => kind === 'ping'), 'the ping');
        await client.until(() => server.pongs.length > 0, 'the pong');
        assert.equal(server.pongs[0], handle);
      });

      test('of the peer are answered with their payload', async () => {
        const server = await startServer();
        const [client] = await server.open();
        client.ping(bytesOf('are you there'));
        await client.until(() => client.seen.some(({ kind }) => kind === 'pong'), 'the pong');
        assert.equal(client.seen.find(({ kind }) => kind === 'pong')?.kind, 'pong');
        const [pong] = client.seen;
        assert.equal(pong?.kind === 'pong' && pong.bytes.toString(), 'are you there');
      });

      test('are not sent by the engine itself, nor does it end who is silent', async () => {
        const server = await startServer();
        const [client, handle] = await server.open();
        handle.send(bytesOf('hello'));
        await client.until(() => client.messages.length === 1, 'the message');
        assert.deepEqual(
          client.seen.map(({ kind }) => kind),
          ['binary'],
        );
      });
    });

    describe('HTTP', () => {
      test('is served on the same port, with address, method and body', async () => {
        const server = await startServer();
        const plain = await fetch(`${server.url}/some/path?x=1`);
        assert.equal(await plain.text(), 'GET /some/path from 127.0.0.1');
        server.onRequest = async (request) =>
          new Response(`${request.headers.get('x-test')} ${await request.text()}`, {
            status: 201,
            headers: { 'X-Answer': 'yes' },
          });
        const posted = await fetch(`${server.url}/post`, {
          method: 'POST',
          body: 'the body',
          headers: { 'X-Test': 'header' },
        });
        assert.deepEqual([posted.status, await posted.text()], [201, 'header the body']);
        assert.equal(posted.headers.get('x-answer'), 'yes');
      });

      test('answers what is no upgrade of /ws, and only that', async () => {
        const server = await startServer();
        const noUpgrade = await fetch(`${server.url}/ws?x`);
        assert.equal(await noUpgrade.text(), 'GET /ws from 127.0.0.1');
        const elsewhere = server.client();
        elsewhere.request('/other');
        const { status, body } = await elsewhere.answered();
        assert.deepEqual([status, body], [200, 'GET /other from 127.0.0.1']);
        assert.equal(server.upgrades.length, 0);
      });

      test('refuses a body above the limit, and goes on', async () => {
        const server = await startServer({ bodyBytesMax: 1000 });
        let isHandled = false;
        server.onRequest = async (request) => {
          await request.text();
          isHandled = true;
          return new Response('read');
        };
        const status = await fetch(server.url, { method: 'POST', body: 'x'.repeat(100_000) }).then(
          (response) => response.status,
          () => 0,
        );
        assert.ok(status === 413 || status === 0, `status ${status}`);
        assert.equal(isHandled, false);
        assert.equal((await fetch(server.url, { method: 'POST', body: 'x'.repeat(1000) })).status, 200);
      });

      test('answers HEAD with the headers of GET and no body, and goes on with the connection', async () => {
        const server = await startServer();
        server.onRequest = () => new Response('the body', { headers: { 'X-Answer': 'yes' } });
        const client = server.http();
        for (const method of ['HEAD', 'GET', 'HEAD', 'HEAD', 'GET']) {
          const answer = await client.request(method, '/');
          assert.deepEqual(valuesOf(answer, 'content-length'), ['8']);
          assert.deepEqual(valuesOf(answer, 'x-answer'), ['yes']);
          assert.equal(answer.body, method === 'GET' ? 'the body' : '');
        }
      });

      test('refuses a body above the limit that does not tell its length', async () => {
        const server = await startServer({ bodyBytesMax: 1000 });
        let isHandled = false;
        server.onRequest = async (request) => {
          await request.text();
          isHandled = true;
          return new Response('read');
        };
        const part = `100\r\n${'x'.repeat(256)}\r\n`;
        const client = server.http();
        const answer = client.request('POST', '/', {
          headers: { 'Transfer-Encoding': 'chunked' },
          body: `${part.repeat(8)}0\r\n\r\n`,
        });
        const status = await answer.then(
          (each) => each.status,
          () => 413,
        );
        assert.equal(status, 413);
        assert.equal(isHandled, false);
      });

      test('tells the length once, also where the answer has told it', async () => {
        const server = await startServer();
        server.onRequest = () => new Response('body', { headers: { 'Content-Length': '4' } });
        const client = server.http();
        for (const method of ['GET', 'HEAD']) {
          assert.deepEqual(valuesOf(await client.request(method, '/'), 'content-length'), ['4']);
        }
      });

      test('answers without a body, and with an empty one', async () => {
        const server = await startServer();
        const answers = [
          () => new Response(null, { status: 204 }),
          () => new Response(''),
          () => new Response(null),
        ];
        const client = server.http();
        for (const answer of answers) {
          server.onRequest = answer;
          const { status, body } = await client.request('DELETE', '/');
          assert.deepEqual([status, body], [answer().status, '']);
        }
        server.onRequest = () => new Response('still here');
        assert.equal((await client.request('GET', '/')).body, 'still here');
      });

      test('keeps headers of one name apart: two cookies are two lines', async () => {
        const server = await startServer();
        server.onRequest = () => {
          const headers = new Headers();
          headers.append('Set-Cookie', 'a=1; Path=/');
          headers.append('Set-Cookie', 'b=2');
          return new Response('ok', { headers });
        };
        const answer = await server.http().request('GET', '/');
        assert.deepEqual(valuesOf(answer, 'set-cookie'), ['a=1; Path=/', 'b=2']);
        assert.equal(valuesOf(answer, 'content-length').length, 1);
      });

      test('reads bodies of any kind, one after the other on a connection', async () => {
        const server = await startServer();
        server.onRequest = async (request) => new Response(`${request.method} ${await request.text()}`);
        const client = server.http();
        const chunked = { 'Transfer-Encoding': 'chunked' };
        assert.equal((await client.request('POST', '/', { body: 'plain' })).body, 'POST plain');
        assert.equal((await client.request('POST', '/')).body, 'POST ');
        assert.equal(
          (
            await client.request('PUT', '/', {
              headers: chunked,
              body: '4\r\nin p\r\n4\r\narts\r\n0\r\n\r\n',
            })
          ).body,
          'PUT in parts',
        );
        assert.equal((await client.request('PATCH', '/', { body: 'ä'.repeat(20_000) })).body.length, 20_006);
        client.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nfour');
        // The rest comes after another request was served.
        assert.equal((await server.http().request('GET', '/')).body, 'GET ');
        client.write('more');
        assert.equal((await client.answer()).body, 'POST fourmore');
      });

      test('reads the bytes of a header as chars', async () => {
        const server = await startServer();
        server.onRequest = (request) =>
          new Response(null, { headers: { 'X-Echo': request.headers.get('x-test') ?? '' } });
        const answer = await server.http().request('GET', '/', { headers: { 'X-Test': 'sch\u00f6n' } });
        const [echo = ''] = valuesOf(answer, 'x-echo');
        assert.equal(Buffer.from(echo, 'latin1').toString(), 'schön');
      });

      test('outlives a client that goes away before its answer, or within its body', async () => {
        const server = await startServer();
        const answers: ((response: Response) => void)[] = [];
        server.onRequest = () => new Promise((resolve) => answers.push(resolve));
        for (let i = 0; i < 20; i++) {
          const client = server.http();
          client.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
          const [probe] = await server.open(`probe-${i}`);
          await probe.until(() => answers.length === i + 1, 'the request');
          client.destroy();
          const half = server.http();
          half.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf');
          half.destroy();
        }
        await server.open('after');
        for (const answer of answers) answer(new Response('late'));
        server.onRequest = () => new Response('alive');
        assert.equal((await server.http().request('GET', '/')).body, 'alive');
      });

      test('tells the address of either family', async () => {
        const server = await startServer({ host: '::' });
        assert.equal((await server.http('::1').request('GET', '/')).body, 'GET / from ::1');
        const { body } = await server.http('127.0.0.1').request('GET', '/');
        assert.match(body, /^GET \/ from (::ffff:)?127\.0\.0\.1$/);
      });

      test('waits for a slow answer while sockets go on', async () => {
        const server = await startServer();
        let answer: ((response: Response) => void) | null = null;
        server.onRequest = () =>
          new Promise((resolve) => {
            answer = resolve;
          });
        const asked = fetch(server.url);
        const [client, handle] = await server.open();
        await client.until(() => answer !== null, 'the request');
        handle.send(bytesOf('meanwhile'));
        await client.until(() => client.messages.length === 1, 'the message');
        (answer as unknown as (response: Response) => void)(new Response('late'));
        assert.equal(await (await asked).text(), 'late');
      });
    });

    describe('stopping', () => {
      const isRefused = (port: number) =>
        new Promise<boolean>((resolve) => {
          const socket = connect({ port, host: '127.0.0.1' });
          socket.once('connect', () => {
            socket.destroy();
            resolve(false);
          });
          socket.once('error', () => resolve(true));
        });

      test('to listen refuses new connections; open sockets live on', async () => {
        const server = await startServer();
        const [client, handle] = await server.open();
        handle.subscribe('topic');
        server.engine.stopListening();
        assert.equal(await isRefused(server.engine.port), true);
        handle.send(bytesOf('sent'));
        server.engine.publish('topic', bytesOf('published'));
        client.sendBinary(bytesOf('heard'));
        await client.until(() => client.messages.length === 2 && server.messages.length === 1, 'messages');
        assert.deepEqual(client.messages, ['sent', 'published']);
        assert.equal(server.closes.length, 0);
        handle.close(1012, 'restart');
        await client.until(() => client.isGone, 'the end');
        assert.deepEqual(client.closed, { code: 1012, reason: 'restart' });
      });

      for (const isDrained of [false, true]) {
        test(`cuts what is open and frees the port${isDrained ? ', after it stopped to listen' : ''}`, async () => {
          const server = await startServer();
          const sockets = [await server.open('one'), await server.open('two'), await server.open('three')];
          sockets[0]?.[0].pause();
          if (isDrained) server.engine.stopListening();
          await server.engine.stop();
          sockets[0]?.[0].resume();
          for (const [client, handle] of sockets) {
            await client.until(() => client.isGone, 'the end');
            assert.equal(server.codesOf(handle).length, 1);
          }
          assert.equal(await isRefused(server.engine.port), true);
          const again = await startServer({ port: server.engine.port });
          assert.equal(again.engine.port, server.engine.port);
        });
      }

      test('twice is the same as once', async () => {
        const server = await startServer();
        await server.engine.stop();
        await server.engine.stop();
        server.engine.stopListening();
      });
    });

    test('TLS carries sockets and requests', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'parley-tls-'));
      const tls = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') };
      writeFileSync(tls.certFile, certificate);
      writeFileSync(tls.keyFile, privateKey);
      const server = await startServer({ tls });
      rmSync(folder, { recursive: true });
      const dial = () => connectTls({ port: server.engine.port, host: '127.0.0.1', ca: certificate });
      const plain = server.client(dial());
      server.onRequest = (request) => new Response(request.url.slice(0, 8));
      plain.request('/', {}, false);
      assert.equal((await plain.answered()).body, 'https://');
      const [client, handle] = await server.open('one', {}, dial());
      handle.subscribe('topic');
      client.sendBinary(bytesOf('heard'));
      await client.until(() => server.messages.length === 1, 'the message');
      handle.send(new Uint8Array(300_000));
      server.engine.publish('topic', bytesOf('published'));
      handle.close(4008, 'slow');
      await client.until(() => client.closed !== undefined, 'the close');
      assert.deepEqual(
        client.seen.map((each) => (each.kind === 'binary' ? each.bytes.length : each.kind)),
        [300_000, 9, 'close'],
      );
      assert.deepEqual(client.closed, { code: 4008, reason: 'slow' });
    });

    test('a port that is taken is refused at the start', async () => {
      const server = await startServer();
      await assert.rejects(startServer({ port: server.engine.port }));
    });
  });
}
