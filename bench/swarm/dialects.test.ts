// The dialects of servers that are no test's to start, on bytes as those servers send them.

import { expect, test } from 'bun:test';
import { readNumber, readProcess, readStamp } from './content.ts';
import type { Dialect, DialectOptions, Sink } from './dialect.ts';
import { roomName, userName } from './dialect.ts';
import { type DialectName, makeDialect } from './dialects.ts';

const options: DialectOptions = {
  payloadBytes: 40,
  process: 3,
  userOf: userName,
  roomOf: () => roomName(1),
  secret: 'secret',
};
const body = (number: number) => `03${String(number).padStart(8, '0')}0001700000000123${'x'.repeat(14)}`;

class Heard implements Sink {
  readonly what: unknown[] = [];
  onReady(socket: number): void {
    this.what.push(['ready', socket]);
  }
  onEntered(socket: number, head: number): void {
    this.what.push(['entered', socket, head]);
  }
  onMessage(socket: number, seq: number, bytes: Uint8Array, at: number): void {
    this.what.push([
      'message',
      socket,
      seq,
      readProcess(bytes, at),
      readNumber(bytes, at),
      readStamp(bytes, at),
    ]);
  }
  onAck(number: number, seq: number, isFirst: boolean): void {
    this.what.push(['ack', number, seq, isFirst]);
  }
  onRefused(reason: string): void {
    this.what.push(['refused', reason]);
  }
  answer(socket: number, frame: Uint8Array): void {
    this.what.push(['answer', socket, textOf(frame)]);
  }
}

/** The payload of a frame of the swarm, whose mask is zeros. */
function textOf(frame: Uint8Array): string {
  const head = (frame[1] as number) === 0xfe ? 8 : 6;
  return new TextDecoder().decode(frame.subarray(head));
}

/** What the dialect makes of these messages on socket 5, in frames with something before and behind. */
function hear(dialect: Dialect, ...messages: string[]): unknown[] {
  const sink = new Heard();
  for (const message of messages) {
    const bytes = new TextEncoder().encode(`??${message}!!`);
    dialect.read(5, bytes, 2, bytes.length - 2, sink);
  }
  return sink.what;
}

const of = (name: DialectName) => makeDialect(name, options);
const heard = (number: number) => ['message', 5, 0, 3, number, 1_700_000_000_123];

/** A message as it goes up, written twice. */
function sent(dialect: Dialect): string {
  const frame = dialect.message(0, 'room');
  frame.write(1, 1);
  frame.write(77, 1_700_000_000_123);
  return textOf(frame.bytes);
}

test('Socket.IO: handshake, entry, messages, pings', () => {
  const dialect = of('socket-io');
  expect(textOf(dialect.hello(0) as Uint8Array)).toMatch(/^40\{"token":"ey.*"\}$/);
  expect(textOf(dialect.enter(0, 'room') as Uint8Array)).toBe('420["join","room"]');
  expect(sent(dialect)).toBe(`42["m","${body(77)}"]`);
  expect(
    hear(
      dialect,
      '0{"sid":"a"}',
      '40{"sid":"b"}',
      '430[]',
      `42["m","${body(9)}"]`,
      '2',
      '44{"message":"no"}',
    ),
  ).toEqual([
    ['ready', 5],
    ['entered', 5, 0],
    heard(9),
    ['answer', 5, '3'],
    ['refused', '44{"message":"no"}'],
  ]);
});

test('NATS: what is whole is read, wherever frames cut it', () => {
  const dialect = of('nats');
  expect(sent(dialect)).toBe(`PUB room 40\r\n${body(77)}\r\n`);
  const stream = `INFO {"a":1}\r\nPONG\r\n+OK\r\nPONG\r\nMSG room 1 40\r\n${body(9)}\r\nPING\r\nMSG room 1 40\r\n${body(10)}\r\n-ERR 'no'\r\n`;
  const wanted = [
    ['ready', 5],
    ['entered', 5, 0],
    heard(9),
    ['answer', 5, 'PONG\r\n'],
    heard(10),
    ['refused', "-ERR 'no'"],
  ];
  expect(hear(of('nats'), stream)).toEqual(wanted);
  expect(hear(of('nats'), ...stream)).toEqual(wanted);
  for (let cut = 1; cut < stream.length; cut++) {
    expect(hear(of('nats'), stream.slice(0, cut), stream.slice(cut))).toEqual(wanted);
  }
});

test('Centrifugo: several replies and pushes in one frame', () => {
  const dialect = of('centrifugo');
  expect(JSON.parse(sent(dialect))).toEqual({
    id: 1_000_000_080,
    publish: { channel: 'room', data: body(77) },
  });
  const push = `{"push":{"channel":"room","pub":{"data":"${body(9)}","offset":4}}}`;
  expect(
    hear(
      dialect,
      '{"id":1,"connect":{"client":"a","ping":25,"pong":true}}\n',
      '{"id":2,"subscribe":{}}',
      `{"id":1000000080,"publish":{}}\n${push}\n${push}`,
      '{}',
      '{"push":{"channel":"room","join":{"info":{"user":"a"}}}}',
      '{"id":3,"error":{"code":103,"message":"permission denied"}}',
    ),
  ).toEqual([
    ['ready', 5],
    ['entered', 5, 0],
    ['ack', 77, 0, true],
    heard(9),
    heard(9),
    ['answer', 5, '{}'],
    ['refused', '{"id":3,"error":{"code":103,"message":"permission denied"}}'],
  ]);
});
