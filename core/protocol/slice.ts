// One field's bytes out of an encoded frame, without decoding it. Called by the stores, which keep a message's meta as
// it was encoded. Its input was encoded by this product or has passed the scan, so it trusts the shape.

/** The bytes of field `index` (0 is the op): a view into `frame`. */
export function fieldBytes(frame: Uint8Array, index: number): Uint8Array {
  // A frame of more than 15 fields has a longer header.
  let at = (frame[0] as number) === 0xdc ? 3 : 1;
  for (let i = 0; i < index; i++) at = valueEnd(frame, at);
  return frame.subarray(at, valueEnd(frame, at));
}

/** Where each frame of a payload ends. */
export function frameEnds(payload: Uint8Array): number[] {
  const ends: number[] = [];
  for (let at = 0; at < payload.length; ) {
    at = valueEnd(payload, at);
    ends.push(at);
  }
  return ends;
}

/** Where the value that starts at `at` ends. */
export function valueEnd(bytes: Uint8Array, at: number): number {
  let values = 1;
  while (values > 0) {
    const byte = bytes[at++] as number;
    values--;
    if (byte < 0x80 || byte >= 0xe0) continue; // fixint
    if (byte < 0x90)
      values += (byte & 0x0f) * 2; // fixmap
    else if (byte < 0xa0)
      values += byte & 0x0f; // fixarray
    else if (byte < 0xc0)
      at += byte & 0x1f; // fixstr
    else if (byte === 0xc4 || byte === 0xd9)
      at += 1 + uint(bytes, at, 1); // bin8, str8
    else if (byte === 0xc5 || byte === 0xda)
      at += 2 + uint(bytes, at, 2); // bin16, str16
    else if (byte === 0xc6 || byte === 0xdb)
      at += 4 + uint(bytes, at, 4); // bin32, str32
    else if (byte >= 0xdc) {
      // array16, array32, map16, map32
      const size = byte % 2 === 0 ? 2 : 4;
      values += uint(bytes, at, size) * (byte >= 0xde ? 2 : 1);
      at += size;
    } else at += numberBytes[byte] ?? 0; // nil and booleans have none
  }
  return at;
}

/** Bytes after the first one, by first byte: floats, unsigned and signed integers. */
const numberBytes: Readonly<Record<number, number>> = {
  202: 4,
  203: 8,
  204: 1,
  205: 2,
  206: 4,
  207: 8,
  208: 1,
  209: 2,
  210: 4,
  211: 8,
};

function uint(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[at + i] as number);
  return value;
}
