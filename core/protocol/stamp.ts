// Writes and reads `seq` and `ts` at their fixed places in an encoded event: `0x9n op 0xcf seq(8) 0xcf ts(8) …`.
// Called by the logs, which number events without encoding them again, and by the hub, which reads them.

/** Where the op stands in an encoded event. */
const opOffset = 1;
const seqOffset = 3;
const tsOffset = 12;
/** Bytes before the fields that follow `ts`. */
export const stampBytes = 20;

const two32 = 0x1_0000_0000;

function writeUint64(bytes: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / two32);
  const low = value >>> 0;
  bytes[at] = high >>> 24;
  bytes[at + 1] = high >>> 16;
  bytes[at + 2] = high >>> 8;
  bytes[at + 3] = high;
  bytes[at + 4] = low >>> 24;
  bytes[at + 5] = low >>> 16;
  bytes[at + 6] = low >>> 8;
  bytes[at + 7] = low;
}

function readUint64(bytes: Uint8Array, at: number): number {
  let high = 0;
  let low = 0;
  for (let i = 0; i < 4; i++) {
    high = high * 256 + (bytes[at + i] as number);
    low = low * 256 + (bytes[at + 4 + i] as number);
  }
  return high * two32 + low;
}

/** Stamps an encoded event in place; `at` is where the event starts in `bytes`. Both numbers are below 2^53. */
export function stamp(bytes: Uint8Array, at: number, seq: number, ts: number): void {
  writeUint64(bytes, at + seqOffset, seq);
  writeUint64(bytes, at + tsOffset, ts);
}

export function readSeq(bytes: Uint8Array, at = 0): number {
  return readUint64(bytes, at + seqOffset);
}

export function readTs(bytes: Uint8Array, at = 0): number {
  return readUint64(bytes, at + tsOffset);
}

export function readOp(bytes: Uint8Array, at = 0): number {
  return bytes[at + opOffset] as number;
}
