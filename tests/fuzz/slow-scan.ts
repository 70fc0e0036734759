// A second reading of PROTOCOL.md section 2's rules for bytes: recursive, slow, and written to be obviously right. It
// decodes as it goes, so that it can judge both the scan and msgpackr. Shares no code with core/.

export interface SlowFrame {
  readonly start: number;
  readonly end: number;
  readonly value: readonly unknown[];
  /** Some string has U+0000. */
  readonly hasNul: boolean;
  /** Some map has a key that is no string, or `__proto__`. */
  readonly hasBadKey: boolean;
}

class Refused extends Error {}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The frames of a message, or why it is BAD_FRAME. Maps come as `Map`. */
export function slowScan(bytes: Uint8Array): SlowFrame[] | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  let items = 0;
  let hasNul = false;
  let hasBadKey = false;

  function refuse(why: string): never {
    throw new Refused(why);
  }

  function need(count: number): number {
    if (at + count > bytes.length) refuse('truncated');
    at += count;
    return at - count;
  }

  function length(size: 1 | 2 | 4): number {
    const from = need(size);
    if (size === 1) return view.getUint8(from);
    return size === 2 ? view.getUint16(from) : view.getUint32(from);
  }

  function text(size: number): string {
    const from = need(size);
    let decoded: string;
    try {
      decoded = utf8.decode(bytes.subarray(from, from + size));
    } catch {
      return refuse('UTF-8');
    }
    if (decoded.includes('\0')) hasNul = true;
    return decoded;
  }

  function binary(size: number): Uint8Array {
    const from = need(size);
    return bytes.slice(from, from + size);
  }

  function list(count: number, depth: number): unknown[] {
    if (depth > 8) refuse('depth');
    const values: unknown[] = [];
    for (let i = 0; i < count; i++) values.push(value(depth));
    return values;
  }

  function map(count: number, depth: number): Map<unknown, unknown> {
    if (depth > 8) refuse('depth');
    const entries = new Map<unknown, unknown>();
    for (let i = 0; i < count; i++) {
      const key = value(depth);
      if (typeof key !== 'string' || key === '__proto__') hasBadKey = true;
      entries.set(key, value(depth));
    }
    return entries;
  }

  /** `depth`: how many containers are around this value. */
  function value(depth: number): unknown {
    items++;
    if (items > 4096) refuse('items');
    const byte = view.getUint8(need(1));
    if (byte <= 0x7f) return byte;
    if (byte <= 0x8f) return map(byte - 0x80, depth + 1);
    if (byte <= 0x9f) return list(byte - 0x90, depth + 1);
    if (byte <= 0xbf) return text(byte - 0xa0);
    if (byte >= 0xe0) return byte - 256;
    if (byte === 0xc0) return null;
    if (byte === 0xc1) return refuse('0xC1');
    if (byte === 0xc2) return false;
    if (byte === 0xc3) return true;
    if (byte === 0xc4) return binary(length(1));
    if (byte === 0xc5) return binary(length(2));
    if (byte === 0xc6) return binary(length(4));
    if (byte === 0xca) return view.getFloat32(need(4));
    if (byte === 0xcb) return view.getFloat64(need(8));
    if (byte === 0xcc) return view.getUint8(need(1));
    if (byte === 0xcd) return view.getUint16(need(2));
    if (byte === 0xce) return view.getUint32(need(4));
    if (byte === 0xcf) return Number(view.getBigUint64(need(8)));
    if (byte === 0xd0) return view.getInt8(need(1));
    if (byte === 0xd1) return view.getInt16(need(2));
    if (byte === 0xd2) return view.getInt32(need(4));
    if (byte === 0xd3) return Number(view.getBigInt64(need(8)));
    if (byte === 0xd9) return text(length(1));
    if (byte === 0xda) return text(length(2));
    if (byte === 0xdb) return text(length(4));
    if (byte === 0xdc) return list(length(2), depth + 1);
    if (byte === 0xdd) return list(length(4), depth + 1);
    if (byte === 0xde) return map(length(2), depth + 1);
    if (byte === 0xdf) return map(length(4), depth + 1);
    return refuse('extension');
  }

  const frames: SlowFrame[] = [];
  try {
    while (at < bytes.length) {
      const start = at;
      hasNul = false;
      hasBadKey = false;
      const frame = value(0);
      if (!Array.isArray(frame) || frame.length === 0) return 'a frame is an array with an op';
      if (!Number.isInteger(frame[0]) || opIsFloat32(bytes, start)) return 'an op is an integer';
      frames.push({ start, end: at, value: frame, hasNul, hasBadKey });
    }
  } catch (error) {
    if (error instanceof Refused) return error.message;
    throw error;
  }
  return frames;
}

/** An integral float64 counts as an integer, a float32 does not. */
function opIsFloat32(bytes: Uint8Array, start: number): boolean {
  const header = bytes[start] === 0xdc ? 3 : bytes[start] === 0xdd ? 5 : 1;
  return bytes[start + header] === 0xca;
}
