// NATS over WebSocket: its text protocol as one stream of bytes, which binary frames may cut anywhere. Used by the swarm.

import { makeContent, writeContent } from '../content.ts';
import { type Dialect, type DialectOptions, indexOfBytes, type Sink } from '../dialect.ts';
import { frameOf } from '../link.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('latin1');
const pong = frameOf(encoder.encode('PONG\r\n'));
const code = (char: string) => char.charCodeAt(0);
const [cr, space, bigM, bigP, bigI, bigO, minus, plus] = ['\r', ' ', 'M', 'P', 'I', 'O', '-', '+'].map(
  code,
) as [number, number, number, number, number, number, number, number];

/** Where the line ends that begins at `at`, without its CR LF; -1 where it is cut. */
function endOfLine(bytes: Uint8Array, at: number, end: number): number {
  for (let i = at; i + 1 < end; i++) if (bytes[i] === cr) return i;
  return -1;
}

/** The digits that end at `end`. */
function sizeBefore(bytes: Uint8Array, end: number): number {
  let size = 0;
  for (let at = end - 1, scale = 1; bytes[at] !== space; at--, scale *= 10)
    size += ((bytes[at] as number) - 0x30) * scale;
  return size;
}

export function natsDialect({ payloadBytes, process, secret }: DialectOptions): Dialect {
  const content = makeContent(payloadBytes, process);
  const options = {
    verbose: false,
    pedantic: false,
    auth_token: secret,
    lang: 'swarm',
    version: '1',
    protocol: 1,
    echo: true,
  };
  const hello = frameOf(encoder.encode(`CONNECT ${JSON.stringify(options)}\r\nPING\r\n`));
  /** Sockets that have had the PONG of their hello: the next one is that of a room. */
  const ready = new Set<number>();
  /** What was cut off, by socket. */
  const cut = new Map<number, Uint8Array>();

  /** Reads whole lines; answers where the rest begins. */
  function readLines(socket: number, bytes: Uint8Array, from: number, end: number, sink: Sink): number {
    let at = from;
    while (at < end) {
      const line = endOfLine(bytes, at, end);
      if (line < 0) return at;
      const first = bytes[at];
      if (first === bigM) {
        const next = line + 2 + sizeBefore(bytes, line) + 2;
        if (next > end) return at;
        sink.onMessage(socket, 0, bytes, line + 2);
        at = next;
        continue;
      }
      if (first === bigP && bytes[at + 1] === bigO) {
        if (ready.has(socket)) sink.onEntered(socket, 0);
        else {
          ready.add(socket);
          sink.onReady(socket);
        }
      } else if (first === bigP) sink.answer(socket, pong);
      else if (first === minus) sink.onRefused(decoder.decode(bytes.subarray(at, line)));
      else if (first !== bigI && first !== plus) throw new Error('no line that NATS sends');
      at = line + 2;
    }
    return at;
  }

  return {
    path: () => '/',
    headers: () => [],
    greets: true,
    hello: () => hello,
    enter: (_socket, room) => frameOf(encoder.encode(`SUB ${room} 1\r\nPING\r\n`)),
    numbers: false,
    acks: false,
    message(_socket, room) {
      const bytes = frameOf(encoder.encode(`PUB ${room} ${payloadBytes}\r\n${content}\r\n`));
      const contentAt = indexOfBytes(bytes, content);
      return { bytes, write: (number, micros) => writeContent(bytes, contentAt, number, micros) };
    },
    read(socket, bytes, at, end, sink) {
      const before = cut.get(socket);
      if (before === undefined) {
        const rest = readLines(socket, bytes, at, end, sink);
        if (rest < end) cut.set(socket, bytes.slice(rest, end));
        return;
      }
      cut.delete(socket);
      const joined = Buffer.concat([before, bytes.subarray(at, end)]);
      const rest = readLines(socket, joined, 0, joined.length, sink);
      if (rest < joined.length) cut.set(socket, joined.subarray(rest));
    },
  };
}
