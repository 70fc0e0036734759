// The frame that most of the load is made of, read without a general decoder: a text without meta and level, as most
// messages are. Called by codec.ts before anything else; what it does not know it leaves, and never refuses.

import type { ClientFrame } from './frames.ts';
import { identifierBytesMax, messageIdBytes } from './limits.ts';
import { clientOps } from './ops.ts';

/** An array of 7: op, rid, room, id, type, content, meta. */
const head = 0x97;
const typeText = [...new TextEncoder().encode('text')];
/** 1 for what an identifier consists of. */
const isIdentifierByte = new Uint8Array(256);
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:@|+')
  isIdentifierByte[character.charCodeAt(0)] = 1;
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** The frame from `start` to `end`, which has passed the scan without a flag; null: decode it as any other. */
export function decodePlainSend(
  bytes: Uint8Array,
  start: number,
  end: number,
): ClientFrame<'send_message'> | null {
  if (bytes[start] !== head || bytes[start + 1] !== clientOps.send_message) return null;
  // Everything lies within the frame: the scan has read every value up to its end.
  let at = start + 2;
  let rid = bytes[at++] as number;
  if (rid >= 0x80) {
    const size = rid === 0xce ? 4 : rid === 0xcd ? 2 : rid === 0xcc ? 1 : 0;
    if (size === 0) return null;
    rid = 0;
    for (const last = at + size; at < last; at++) rid = rid * 256 + (bytes[at] as number);
  }
  const roomLength = textLength(bytes, at);
  if (roomLength < 1 || roomLength > identifierBytesMax) return null;
  at += headBytes(bytes, at);
  const roomEnd = at + roomLength;
  let room = '';
  for (; at < roomEnd; at++) {
    const byte = bytes[at] as number;
    if (isIdentifierByte[byte] === 0) return null;
    room += String.fromCharCode(byte);
  }
  if (bytes[at] !== 0xc4 || bytes[at + 1] !== messageIdBytes) return null;
  at += 2;
  const id = bytes.subarray(at, at + messageIdBytes);
  at += messageIdBytes;
  if (bytes[at++] !== 0xa0 + typeText.length) return null;
  for (const byte of typeText) if (bytes[at++] !== byte) return null;
  const contentLength = textLength(bytes, at);
  if (contentLength < 0) return null;
  at += headBytes(bytes, at);
  const content = decoder.decode(bytes.subarray(at, at + contentLength));
  at += contentLength;
  if (bytes[at] !== 0xc0 || at + 1 !== end) return null;
  return { name: 'send_message', rid, room, id, type: 'text', content, meta: null };
}

/** Bytes of the string whose head stands at `at`; -1: it is none, or a very long one. */
function textLength(bytes: Uint8Array, at: number): number {
  const byte = bytes[at] as number;
  if (byte >= 0xa0 && byte < 0xc0) return byte & 0x1f;
  if (byte === 0xd9) return bytes[at + 1] as number;
  return byte === 0xda ? (bytes[at + 1] as number) * 256 + (bytes[at + 2] as number) : -1;
}

function headBytes(bytes: Uint8Array, at: number): number {
  const byte = bytes[at] as number;
  return byte === 0xda ? 3 : byte === 0xd9 ? 2 : 1;
}
