// Servers that publish what comes. The bare engine: what goes up is the event as Parley encodes it, which it numbers in
// place. Plain ws: the content alone. Used by the swarm.

import { encodeMessage } from '../../../core/protocol/encode.ts';
import { makeContent, writeContent } from '../content.ts';
import { type Dialect, type DialectOptions, indexOfBytes, makeToken } from '../dialect.ts';
import { frameOf } from '../link.ts';
import { bodyOf, skip, uint64 } from '../pack.ts';

export function bareDialect({ payloadBytes, process, userOf, roomOf }: DialectOptions): Dialect {
  const content = makeContent(payloadBytes, process);
  return {
    path: (socket) => `/?room=${roomOf(socket)}`,
    headers: () => [],
    greets: false,
    hello: () => null,
    enter: () => null,
    numbers: true,
    acks: false,
    message(socket, room) {
      const id = new Uint8Array(16);
      const bytes = frameOf(encodeMessage(room, userOf(socket), id, 'text', content, null));
      const contentAt = indexOfBytes(bytes, content);
      return { bytes, write: (number, micros) => writeContent(bytes, contentAt, number, micros) };
    },
    read(socket, bytes, from, end, sink) {
      let at = from;
      while (at < end) {
        // room, from, id, type, and after the content meta
        const body = skip(bytes, skip(bytes, skip(bytes, skip(bytes, at + 20))));
        sink.onMessage(socket, uint64(bytes, at + 3), bytes, bodyOf(bytes, body));
        at = skip(bytes, skip(bytes, body));
      }
      if (at !== end) throw new Error('a frame that is longer than its message');
    },
  };
}

export function plainDialect({ payloadBytes, process, userOf, roomOf, secret }: DialectOptions): Dialect {
  return {
    path: (socket) => `/?room=${roomOf(socket)}`,
    headers: (socket) => [`Authorization: Bearer ${makeToken(userOf(socket), secret)}`],
    greets: false,
    hello: () => null,
    enter: () => null,
    numbers: false,
    acks: false,
    message() {
      const content = makeContent(payloadBytes, process);
      const bytes = frameOf(new TextEncoder().encode(content));
      const contentAt = indexOfBytes(bytes, content);
      return { bytes, write: (number, micros) => writeContent(bytes, contentAt, number, micros) };
    },
    read(socket, bytes, at, _end, sink) {
      sink.onMessage(socket, 0, bytes, at);
    },
  };
}
