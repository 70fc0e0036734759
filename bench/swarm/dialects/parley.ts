// Parley: binary messages of one or more MessagePack frames (docs/protocol.md). Used by the swarm.

import { Packr } from 'msgpackr';
import { clientOps, controlOps, eventOps } from '../../../core/protocol/ops.ts';
import { makeContent, writeContent } from '../content.ts';
import { type Dialect, type DialectOptions, indexOfBytes, makeToken, type Sink } from '../dialect.ts';
import { frameOf } from '../link.ts';
import { bodyOf, readUint, skip, uint64 } from '../pack.ts';

/** `rid` of a request to enter a room. */
const enterRid = 1;
/** Message n has this `rid` plus n. */
const firstMessageRid = 2;
const packr = new Packr({ useRecords: false });

export function parleyDialect({ payloadBytes, process, userOf, secret }: DialectOptions): Dialect {
  const content = makeContent(payloadBytes, process);
  return {
    path: () => '/ws',
    headers: (socket) => [
      'Sec-WebSocket-Protocol: parley.v1',
      `Authorization: Bearer ${makeToken(userOf(socket), secret)}`,
    ],
    greets: true,
    hello: () => null,
    enter: (_socket, room) => frameOf(packr.pack([clientOps.subscribe, enterRid, room, null, null])),
    numbers: true,
    acks: true,
    message(_socket, room) {
      // A rid that takes five bytes, as those that are written over it do.
      const id = new Uint8Array(16).fill(0x7f);
      const bytes = frameOf(
        packr.pack([clientOps.send_message, 0xffff_ffff, room, id, 'text', content, null]),
      );
      const view = new DataView(bytes.buffer);
      const ridAt = indexOfBytes(bytes, Uint8Array.of(0xce, 0xff, 0xff, 0xff, 0xff)) + 1;
      const idAt = indexOfBytes(bytes, id);
      const contentAt = indexOfBytes(bytes, content);
      return {
        bytes,
        write(number, micros) {
          // ce takes every uint32; smaller ones are as valid in it.
          view.setUint32(ridAt, number + firstMessageRid);
          writeId(view, idAt, process, number);
          writeContent(bytes, contentAt, number, micros);
        },
      };
    },
    read(socket, bytes, from, end, sink) {
      let at = from;
      while (at < end) {
        const op = bytes[at + 1] as number;
        at =
          op === eventOps.message ? readMessage(socket, bytes, at, sink) : readOther(socket, bytes, at, sink);
      }
      if (at !== end) throw new Error('a frame that is longer than its message');
    },
  };
}

/** A UUID of version 7: the time, and the process and number instead of randomness. */
function writeId(view: DataView, at: number, process: number, number: number): void {
  const now = Date.now();
  view.setUint32(at, Math.floor(now / 0x10000));
  view.setUint16(at + 4, now & 0xffff);
  view.setUint16(at + 6, 0x7000 | (number & 0xfff));
  view.setUint32(at + 8, 0x8000_0000 | process);
  view.setUint32(at + 12, number);
}

/** `[64, seq, ts, room, from, id, type, content, meta]`; answers where it ends. */
function readMessage(socket: number, bytes: Uint8Array, at: number, sink: Sink): number {
  // room, from, id, type
  const content = skip(bytes, skip(bytes, skip(bytes, skip(bytes, at + 20))));
  let end = skip(bytes, content);
  // meta, and what a later version may add
  for (let fields = ((bytes[at] as number) & 0x0f) - 8; fields > 0; fields--) end = skip(bytes, end);
  sink.onMessage(socket, uint64(bytes, at + 3), bytes, bodyOf(bytes, content));
  return end;
}

function readOther(socket: number, bytes: Uint8Array, at: number, sink: Sink): number {
  const end = skip(bytes, at);
  const op = bytes[at + 1] as number;
  if (op === controlOps.ok) readOk(socket, bytes, at + 2, sink);
  else if (op === controlOps.welcome) sink.onReady(socket);
  else if (op === controlOps.error)
    sink.onRefused(new TextDecoder('latin1').decode(bytes.subarray(at + 2, end)));
  return end;
}

/** `rid` stands at `at`. */
function readOk(socket: number, bytes: Uint8Array, at: number, sink: Sink): void {
  const rid = readUint(bytes, at);
  const first = skip(bytes, at);
  const second = skip(bytes, first);
  // epoch, head, reset
  if (rid === enterRid) sink.onEntered(socket, readUint(bytes, second));
  // seq, ts, level, repeated
  else
    sink.onAck(
      rid - firstMessageRid,
      readUint(bytes, first),
      bytes[skip(bytes, skip(bytes, second))] === 0xc2,
    );
}
