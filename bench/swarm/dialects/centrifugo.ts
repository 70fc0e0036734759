// Centrifugo's JSON protocol: commands and replies a line each, several in one text frame. Used by the swarm.

import { makeContent, writeContent } from '../content.ts';
import { type Dialect, type DialectOptions, indexOfBytes, makeToken, type Sink } from '../dialect.ts';
import { frameOf, textOp } from '../link.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('latin1');
const connectId = 1;
const enterId = 2;
/** Message n has this id plus n. */
const firstMessageId = 3;
/** Digits of the id in a message, so that it can be written in place; a JSON number begins with none that is 0. */
const idBase = 1_000_000_000;
const newline = 0x0a;
const pong = frameOf(encoder.encode('{}'), textOp);
const pushStart = encoder.encode('{"push"');
const dataMark = encoder.encode('"data":"');

function startsWith(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}

function endOfLine(bytes: Uint8Array, at: number, end: number): number {
  for (let i = at; i < end; i++) if (bytes[i] === newline) return i;
  return end;
}

interface Reply {
  readonly id?: number;
  readonly error?: { readonly code: number; readonly message: string };
}

function readLine(socket: number, bytes: Uint8Array, at: number, end: number, sink: Sink): void {
  if (startsWith(bytes, at, pushStart)) {
    for (let i = at + pushStart.length; i < end - dataMark.length; i++) {
      if (startsWith(bytes, i, dataMark)) {
        sink.onMessage(socket, 0, bytes, i + dataMark.length);
        return;
      }
    }
    return;
  }
  if (end - at === 2) {
    sink.answer(socket, pong);
    return;
  }
  const text = decoder.decode(bytes.subarray(at, end));
  const { id = 0, error } = JSON.parse(text) as Reply;
  if (error !== undefined) sink.onRefused(text);
  else if (id === connectId) sink.onReady(socket);
  else if (id === enterId) sink.onEntered(socket, 0);
  else sink.onAck(id - firstMessageId - idBase, 0, true);
}

export function centrifugoDialect({ payloadBytes, process, userOf, secret }: DialectOptions): Dialect {
  const content = makeContent(payloadBytes, process);
  const command = (id: number, body: object) =>
    frameOf(encoder.encode(JSON.stringify({ id, ...body })), textOp);
  return {
    path: () => '/connection/websocket',
    headers: () => [],
    greets: true,
    hello: (socket) => command(connectId, { connect: { token: makeToken(userOf(socket), secret) } }),
    enter: (_socket, room) => command(enterId, { subscribe: { channel: room } }),
    numbers: false,
    acks: true,
    message(_socket, room) {
      const bytes = command(idBase, { publish: { channel: room, data: content } });
      const idAt = indexOfBytes(bytes, String(idBase));
      const contentAt = indexOfBytes(bytes, content);
      return {
        bytes,
        write(number, micros) {
          let rest = idBase + firstMessageId + number;
          for (let i = idAt + String(idBase).length - 1; i >= idAt; i--) {
            bytes[i] = 0x30 + (rest % 10);
            rest = Math.floor(rest / 10);
          }
          writeContent(bytes, contentAt, number, micros);
        },
      };
    },
    read(socket, bytes, from, end, sink) {
      for (let at = from; at < end; ) {
        const line = endOfLine(bytes, at, end);
        if (line > at) readLine(socket, bytes, at, line, sink);
        at = line + 1;
      }
    },
  };
}
