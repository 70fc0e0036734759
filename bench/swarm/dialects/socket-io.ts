// Socket.IO 4 over engine.io 4, WebSocket from the start, text frames: `42["m","…"]`. Used by the swarm.

import { makeContent, writeContent } from '../content.ts';
import { type Dialect, type DialectOptions, indexOfBytes, makeToken } from '../dialect.ts';
import { frameOf, textOp } from '../link.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('latin1');
/** What stands before the content of an event; the server sends it as it was sent. */
const prefix = '42["m","';
const pong = frameOf(encoder.encode('3'), textOp);
const digit = (char: string) => char.charCodeAt(0);
const [zero, two, four, m] = [digit('0'), digit('2'), digit('4'), digit('m')] as const;

export function socketIoDialect({ payloadBytes, process, userOf, secret }: DialectOptions): Dialect {
  const content = makeContent(payloadBytes, process);
  return {
    path: () => '/socket.io/?EIO=4&transport=websocket',
    headers: () => [],
    greets: true,
    hello: (socket) => frameOf(encoder.encode(`40{"token":"${makeToken(userOf(socket), secret)}"}`), textOp),
    enter: (_socket, room) => frameOf(encoder.encode(`420["join","${room}"]`), textOp),
    numbers: false,
    acks: false,
    message() {
      const bytes = frameOf(encoder.encode(`${prefix}${content}"]`), textOp);
      const contentAt = indexOfBytes(bytes, content);
      return { bytes, write: (number, micros) => writeContent(bytes, contentAt, number, micros) };
    },
    read(socket, bytes, at, end, sink) {
      const first = bytes[at];
      const second = bytes[at + 1];
      if (first === four && second === two && bytes[at + 4] === m)
        sink.onMessage(socket, 0, bytes, at + prefix.length);
      else if (first === two) sink.answer(socket, pong);
      else if (first === four && second === zero) sink.onReady(socket);
      // The answer to `join`.
      else if (first === four && second === digit('3')) sink.onEntered(socket, 0);
      // 0: the handshake of engine.io below it, which needs no answer.
      else if (first !== zero) sink.onRefused(decoder.decode(bytes.subarray(at, end)));
    },
  };
}
