// The bounded scan: walks the bytes of one WebSocket message before any MessagePack decoder sees them. It allocates
// nothing per value, so hostile lengths cost nothing; msgpackr would allocate from declared lengths. Called by
// codec.ts for every inbound message. It never interprets fields: that is the schema's work.

import { depthMax, itemsMax } from './limits.ts';

/** A string of the frame contains U+0000. */
export const flagNul = 1;
/** A map of the frame has a key that is not a string, or one that JavaScript objects cannot hold. */
export const flagKey = 2;

/**
 * What a scan found: `count` frames; frame i spans `ends[i - 1]` (0 for the first) to `ends[i]` and has `flags[i]`.
 * The arrays are reused by the next scan.
 */
export interface Scan {
  count: number;
  readonly ends: number[];
  readonly flags: number[];
}

const scan: Scan = { count: 0, ends: [], flags: [] };
/** Values still to read at each depth. */
const remaining = new Float64Array(depthMax + 1);
/** 1 where the container at that depth is a map; a map alternates key and value. */
const isMap = new Uint8Array(depthMax + 1);

/**
 * Scans a whole message. Returns the frames, or a sentence that says why the message is refused (BAD_FRAME): truncated,
 * an extension type, 0xC1, bad UTF-8, depth over 8, over 4,096 items, or a value that is no array starting with an
 * integer. The result is valid until the next call.
 */
export function scanFrames(bytes: Uint8Array): Scan | string {
  const length = bytes.length;
  let position = 0;
  let items = 0;
  scan.count = 0;
  while (position < length) {
    let depth = 0;
    let flags = 0;
    // The frame itself must be an array whose first element is an integer.
    const first = bytes[position] as number;
    if ((first & 0xf0) !== 0x90 && first !== 0xdc && first !== 0xdd) return 'a frame is an array';
    let wantsOp = false;
    do {
      if (++items > itemsMax) return `more than ${itemsMax} items`;
      if (position >= length) return 'truncated';
      const byte = bytes[position++] as number;
      const wantsKey = depth > 0 && isMap[depth] === 1 && (remaining[depth] as number) % 2 === 0;
      if (wantsOp) {
        if (!isIntegerAt(bytes, position - 1)) return 'a frame starts with an integer';
        wantsOp = false;
      }
      if (depth > 0) remaining[depth] = (remaining[depth] as number) - 1;
      let size = 0;
      let isString = false;
      let children = -1;
      let map = 0;
      if (byte < 0x80 || byte >= 0xe0) {
        // fixint
      } else if (byte < 0x90) {
        children = (byte & 0x0f) * 2;
        map = 1;
      } else if (byte < 0xa0) {
        children = byte & 0x0f;
      } else if (byte < 0xc0) {
        size = byte & 0x1f;
        isString = true;
      } else {
        switch (byte) {
          case 0xc0: // nil
          case 0xc2: // false
          case 0xc3: // true
            break;
          case 0xcc: // uint8
          case 0xd0: // int8
            size = 1;
            break;
          case 0xcd: // uint16
          case 0xd1: // int16
            size = 2;
            break;
          case 0xca: // float32
          case 0xce: // uint32
          case 0xd2: // int32
            size = 4;
            break;
          case 0xcb: // float64
          case 0xcf: // uint64
          case 0xd3: // int64
            size = 8;
            break;
          case 0xc4: // bin8
          case 0xd9: // str8
            if (position + 1 > length) return 'truncated';
            size = bytes[position] as number;
            position += 1;
            isString = byte === 0xd9;
            break;
          case 0xc5: // bin16
          case 0xda: // str16
            if (position + 2 > length) return 'truncated';
            size = uint16(bytes, position);
            position += 2;
            isString = byte === 0xda;
            break;
          case 0xc6: // bin32
          case 0xdb: // str32
            if (position + 4 > length) return 'truncated';
            size = uint32(bytes, position);
            position += 4;
            isString = byte === 0xdb;
            break;
          case 0xdc: // array16
          case 0xde: // map16
            if (position + 2 > length) return 'truncated';
            children = uint16(bytes, position);
            position += 2;
            if (byte === 0xde) {
              children *= 2;
              map = 1;
            }
            break;
          case 0xdd: // array32
          case 0xdf: // map32
            if (position + 4 > length) return 'truncated';
            children = uint32(bytes, position);
            position += 4;
            if (byte === 0xdf) {
              children *= 2;
              map = 1;
            }
            break;
          case 0xc1:
            return 'the byte 0xC1 is never used';
          default:
            return 'extension types are not part of this protocol';
        }
      }
      if (size > 0) {
        if (position + size > length) return 'truncated';
        if (isString) {
          const found = checkText(bytes, position, position + size);
          if (found < 0) return 'a string is not valid UTF-8';
          flags |= found;
        }
        position += size;
      }
      if (wantsKey && (!isString || isProtoKey(bytes, position - size, size))) flags |= flagKey;
      if (children >= 0) {
        // Every child takes a byte at least: a greater count cannot be true.
        if (children > length - position) return 'truncated';
        if (depth === 0 && children === 0) return 'a frame starts with an integer';
        if (depth + 1 > depthMax) return `nested deeper than ${depthMax}`;
        depth++;
        remaining[depth] = children;
        isMap[depth] = map;
        if (depth === 1) wantsOp = true;
      }
      while (depth > 0 && remaining[depth] === 0) depth--;
    } while (depth > 0);
    scan.ends[scan.count] = position;
    scan.flags[scan.count] = flags;
    scan.count++;
  }
  return scan;
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function uint32(bytes: Uint8Array, at: number): number {
  return uint16(bytes, at) * 0x10000 + uint16(bytes, at + 2);
}

/** Any integer encoding, or a float64 without a fraction. */
function isIntegerAt(bytes: Uint8Array, at: number): boolean {
  const byte = bytes[at] as number;
  if (byte < 0x80 || byte >= 0xe0) return true;
  if (byte >= 0xcc && byte <= 0xd3) return true;
  if (byte !== 0xcb || at + 9 > bytes.length) return false;
  return Number.isInteger(new DataView(bytes.buffer, bytes.byteOffset + at + 1, 8).getFloat64(0));
}

/** `__proto__`, which a decoder that makes plain objects would rename. */
function isProtoKey(bytes: Uint8Array, at: number, size: number): boolean {
  if (size !== 9 || bytes[at] !== 0x5f) return false;
  for (let i = 0; i < 9; i++) if (bytes[at + i] !== '__proto__'.charCodeAt(i)) return false;
  return true;
}

/** 0, or `flagNul`, or -1 where the bytes are not UTF-8 (overlong forms and surrogates included). */
function checkText(bytes: Uint8Array, from: number, to: number): number {
  let found = 0;
  let i = from;
  while (i < to) {
    const byte = bytes[i] as number;
    if (byte < 0x80) {
      if (byte === 0) found = flagNul;
      i++;
      continue;
    }
    let more: number;
    let low = 0x80;
    let high = 0xbf;
    if (byte >= 0xc2 && byte <= 0xdf) more = 1;
    else if (byte >= 0xe0 && byte <= 0xef) {
      more = 2;
      if (byte === 0xe0) low = 0xa0;
      if (byte === 0xed) high = 0x9f;
    } else if (byte >= 0xf0 && byte <= 0xf4) {
      more = 3;
      if (byte === 0xf0) low = 0x90;
      if (byte === 0xf4) high = 0x8f;
    } else return -1;
    if (i + more >= to) return -1;
    const second = bytes[i + 1] as number;
    if (second < low || second > high) return -1;
    for (let k = 2; k <= more; k++) {
      const next = bytes[i + k] as number;
      if (next < 0x80 || next > 0xbf) return -1;
    }
    i += more + 1;
  }
  return found;
}
