// The journal before the embedded database: batches of events as they were committed, in two files that take turns, one
// record a batch. This file knows the bytes: sqlite-commits.ts writes them, sqlite-replay.ts reads them.
//
// A generation is what one file holds from its beginning on, until its events are in the database; then the file is used
// again for the generation after the next. What an older generation left behind its end stays until it is overwritten.

import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { PackedEvents } from './sqlite-commit.ts';
import type { StoredEvent } from './store.ts';

/** A batch, whole. */
export interface JournalRecord extends PackedEvents {
  readonly generation: number;
  /** Where the generation before ended: what stands behind it there was never acknowledged. */
  readonly previousEnd: number;
  /** Where the record ends in its file. */
  readonly end: number;
}

/** The records of a file's generation. */
export interface JournalContent {
  /** Empty where the first record is none: torn, or never written. */
  readonly records: readonly JournalRecord[];
  /** There is a record behind bytes that are none, which a crash alone does not bring about. */
  readonly isDamaged: boolean;
}

// A record: magic, checksum of all that follows, its length (a multiple of 8), count of events, generation, previousEnd;
// then for each event its number, where each ends, their bytes, zeros. 32 bits each; from the generation on 64-bit floats.
const magic = 0x4a4c5250;
const headerBytes = 32;
const checkedFrom = 8;
const eventBytes = 16;

export function journalPath(dataDir: string, generation: number): string {
  return join(dataDir, `parley.journal-${generation % 2}`);
}

export function journalPaths(dataDir: string): readonly string[] {
  return [0, 1].map((generation) => journalPath(dataDir, generation));
}

/** Writes records into a buffer of its own that is used again and grows: a record holds until the next one is made. */
export class RecordWriter {
  #bytes = new Uint8Array(64 * 1024);

  encode(events: readonly StoredEvent[], generation: number, previousEnd: number): Uint8Array {
    const count = events.length;
    const packedAt = headerBytes + count * eventBytes;
    let size = 0;
    for (const { bytes } of events) size += bytes.length;
    const length = Math.ceil((packedAt + size) / 8) * 8;
    if (length > this.#bytes.length) this.#bytes = new Uint8Array(length * 2);
    const record = this.#bytes.subarray(0, length);
    const { buffer } = record;
    const numbers = new Float64Array(buffer, headerBytes, count);
    const ends = new Float64Array(buffer, headerBytes + count * 8, count);
    let at = 0;
    for (let i = 0; i < count; i++) {
      const { bytes, number } = events[i] as StoredEvent;
      record.set(bytes, packedAt + at);
      at += bytes.length;
      ends[i] = at;
      numbers[i] = number;
    }
    record.fill(0, packedAt + at);
    const header = new DataView(buffer, 0, headerBytes);
    header.setUint32(0, magic, true);
    header.setUint32(8, length, true);
    header.setUint32(12, count, true);
    header.setFloat64(16, generation, true);
    header.setFloat64(24, previousEnd, true);
    header.setUint32(4, crc32(record.subarray(checkedFrom)), true);
    return record;
  }
}

/** Reads a file's generation. `applied`: records up to this generation are remains. */
export function readJournal(file: Uint8Array, applied: number): JournalContent {
  const bytes = file.byteOffset % 8 === 0 ? file : file.slice();
  const records: JournalRecord[] = [];
  let at = 0;
  for (;;) {
    const record = readRecord(bytes, at);
    if (record === null || record.generation !== (records[0] ?? record).generation) break;
    records.push(record);
    at = record.end;
  }
  // Of two records the later is written when the earlier is on disk: only the last one can be torn.
  const later = findRecord(bytes, at, records[0]?.generation ?? null, applied);
  return { records, isDamaged: later !== null };
}

/** The first record from `at` on that is of this generation (null: of any) and not of what was applied. */
function findRecord(
  bytes: Uint8Array,
  at: number,
  generation: number | null,
  applied: number,
): JournalRecord | null {
  let next = at;
  while (next + headerBytes <= bytes.length) {
    const record = readRecord(bytes, next);
    if (
      record !== null &&
      record.generation > applied &&
      record.generation === (generation ?? record.generation)
    )
      return record;
    next = record?.end ?? next + 8;
  }
  return null;
}

function readRecord(bytes: Uint8Array, at: number): JournalRecord | null {
  if (at + headerBytes > bytes.length) return null;
  const header = new DataView(bytes.buffer, bytes.byteOffset + at, headerBytes);
  if (header.getUint32(0, true) !== magic) return null;
  const length = header.getUint32(8, true);
  const count = header.getUint32(12, true);
  const packedAt = headerBytes + count * eventBytes;
  if (length % 8 !== 0 || length < packedAt || at + length > bytes.length) return null;
  if (crc32(bytes.subarray(at + checkedFrom, at + length)) !== header.getUint32(4, true)) return null;
  const start = bytes.byteOffset + at + headerBytes;
  return {
    generation: header.getFloat64(16, true),
    previousEnd: header.getFloat64(24, true),
    end: at + length,
    numbers: new Float64Array(bytes.buffer, start, count),
    ends: new Float64Array(bytes.buffer, start + count * 8, count),
    bytes: bytes.subarray(at + packedAt, at + length),
  };
}
