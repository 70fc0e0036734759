// How a server is spoken to: the upgrade, how a socket enters the room, and a message. Servers differ in what goes up;
// what comes down is the same bytes from all of them, events as Parley encodes them. A rival gets a dialect of its own.

import { SignJWT } from 'jose';
import { Packr } from 'msgpackr';
import { encodeMessage } from '../../core/protocol/encode.ts';
import { clientOps } from '../../core/protocol/ops.ts';
import { frameOf } from './link.ts';

/** A message as a WebSocket frame, made once; what differs from one message to the next is written into it. */
export interface MessageFrame {
  readonly bytes: Uint8Array;
  /** Makes it message `number`. */
  write(number: number): void;
}

export interface Dialect {
  readonly path: string;
  /** Headers of the upgrade beyond the usual ones. */
  headers(index: number): readonly string[];
  /** The server says `welcome` before a socket is ready. */
  readonly greets: boolean;
  /** What a socket sends to enter the room, answered with `ok`; null where the upgrade is enough. */
  readonly enter: Uint8Array | null;
  /** Every message is acknowledged with an `ok`. */
  readonly acks: boolean;
  message(sender: number): MessageFrame;
}

/** What the swarm is started with; of dialect parley, `tokens` by socket. */
export type DialectName = 'bare' | 'parley';

/** `rid` of the request to enter the room. */
export const enterRid = 1;
/** Message n has this `rid` plus n. */
export const firstMessageRid = 2;
/** Digits at the front of the content that say which message it is. */
export const numberDigits = 8;

const packr = new Packr({ useRecords: false });
const subprotocol = 'Sec-WebSocket-Protocol: parley.v1';

export function userName(index: number): string {
  return `user-${String(index).padStart(6, '0')}`;
}

/** Tokens of the first `count` users, good for an hour. */
export function makeTokens(count: number, secret: string): Promise<string[]> {
  const key = new TextEncoder().encode(secret);
  const expires = Math.floor(Date.now() / 1000) + 3600;
  return Promise.all(
    Array.from({ length: count }, (_, i) =>
      new SignJWT()
        .setProtectedHeader({ alg: 'HS256' })
        .setSubject(userName(i))
        .setExpirationTime(expires)
        .sign(key),
    ),
  );
}

/** Content of `size` bytes with room for the number. */
function makeContent(size: number): string {
  if (size < numberDigits) throw new Error(`a payload has ${numberDigits} bytes at least`);
  return '0'.repeat(numberDigits) + 'x'.repeat(size - numberDigits);
}

function writeDigits(bytes: Uint8Array, at: number, number: number): void {
  let rest = number;
  for (let i = at + numberDigits - 1; i >= at; i--) {
    bytes[i] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}

function indexOfBytes(bytes: Uint8Array, wanted: Uint8Array): number {
  const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(wanted);
  if (at < 0) throw new Error('a message without its field');
  return at;
}

export function parleyDialect(room: string, payloadBytes: number, tokens: readonly string[]): Dialect {
  const content = makeContent(payloadBytes);
  return {
    path: '/ws',
    headers: (index) => [subprotocol, `Authorization: Bearer ${tokens[index]}`],
    greets: true,
    enter: frameOf(packr.pack([clientOps.subscribe, enterRid, room, null, null])),
    acks: true,
    message() {
      // A rid that takes five bytes, as those that are written over it do.
      const id = new Uint8Array(16).fill(0x7f);
      const bytes = frameOf(
        packr.pack([clientOps.send_message, 0xffff_ffff, room, id, 'text', content, null]),
      );
      const view = new DataView(bytes.buffer);
      const ridAt = indexOfBytes(bytes, Uint8Array.of(0xce, 0xff, 0xff, 0xff, 0xff)) + 1;
      const idAt = indexOfBytes(bytes, id);
      const numberAt = indexOfBytes(bytes, new TextEncoder().encode(content));
      return {
        bytes,
        write(number) {
          const rid = number + firstMessageRid;
          // ce takes every uint32; smaller ones are as valid in it.
          view.setUint32(ridAt, rid);
          writeId(view, idAt, number);
          writeDigits(bytes, numberAt, number);
        },
      };
    },
  };
}

/** A UUID of version 7: the time, and the number instead of randomness. */
function writeId(view: DataView, at: number, number: number): void {
  const now = Date.now();
  view.setUint32(at, Math.floor(now / 0x10000));
  view.setUint16(at + 4, now & 0xffff);
  view.setUint16(at + 6, 0x7000 | (number & 0xfff));
  view.setUint32(at + 8, 0x8000_0000);
  view.setUint32(at + 12, number);
}

/** The bare engine: what goes up is the event itself, which it numbers and publishes. */
export function bareDialect(room: string, payloadBytes: number): Dialect {
  const content = makeContent(payloadBytes);
  return {
    path: '/',
    headers: () => [],
    greets: false,
    enter: null,
    acks: false,
    message(sender) {
      const id = new Uint8Array(16);
      const bytes = frameOf(encodeMessage(room, userName(sender), id, 'text', content, null));
      const numberAt = indexOfBytes(bytes, new TextEncoder().encode(content));
      return { bytes, write: (number) => writeDigits(bytes, numberAt, number) };
    },
  };
}
