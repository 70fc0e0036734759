// UUIDs as the 16 bytes that the protocol carries and as the text that JSON carries. Version 7 (time first) is what the
// server makes and advises. Pure: time and randomness come in.

import { messageIdBytes } from './protocol/limits.ts';

const textPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** A fresh version 7 UUID: `now` in ms, then `entropy`, of which 10 bytes are used. */
export function makeUuid(now: number, entropy: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(messageIdBytes);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(now / 0x1_0000_0000));
  view.setUint32(2, now >>> 0);
  bytes.set(entropy.subarray(0, 10), 6);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return bytes;
}

/** Lower-case text with dashes. */
export function formatUuid(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < messageIdBytes; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += '-';
    text += hexPairs[bytes[i] as number];
  }
  return text;
}

/** The bytes of a UUID's text, of any version; null where it is none. */
export function parseUuid(text: string): Uint8Array | null {
  if (!textPattern.test(text)) return null;
  const digits = text.replaceAll('-', '');
  const bytes = new Uint8Array(messageIdBytes);
  for (let i = 0; i < messageIdBytes; i++) bytes[i] = Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16);
  return bytes;
}

/** The time in ms that a version 7 UUID carries; null for any other 16 bytes. */
export function uuidTime(bytes: Uint8Array): number | null {
  const isVersion7 = (bytes[6] as number) >> 4 === 7 && (bytes[8] as number) >> 6 === 2;
  if (!isVersion7) return null;
  let time = 0;
  for (let i = 0; i < 6; i++) time = time * 256 + (bytes[i] as number);
  return time;
}
