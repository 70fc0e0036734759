// The last events of one room as encoded bytes, for catching up without a read. Used by the hub alone. Holds chunks as
// they were published; edits and deletes that follow are folded into the messages they change, as history does.

import { foldInto } from '../core/fold.ts';
import { concatFrames } from '../core/protocol/encode.ts';
import type { RoomEvent } from '../core/protocol/events.ts';
import { eventOps } from '../core/protocol/ops.ts';
import { readOp } from '../core/protocol/stamp.ts';

/** Dense events, one after another; `ends[i]` is where event `first + i` ends. */
interface Chunk {
  readonly first: number;
  readonly bytes: Uint8Array;
  readonly ends: readonly number[];
}

/** What a reader gets of the ring: bytes of whole events, and the seq of the last one. */
export interface Slice {
  readonly bytes: Uint8Array;
  readonly last: number;
}

/** An encoded event with its place. */
export interface PlacedEvent {
  readonly seq: number;
  readonly bytes: Uint8Array;
}

export class Ring {
  #chunks: Chunk[] = [];
  #bytes = 0;
  /** The ring begins with the room's first event: nothing is older. */
  #isWhole = false;

  /** Adds dense events that follow on the newest one; drops the oldest chunks beyond `bytesMax`. */
  add(first: number, bytes: Uint8Array, ends: readonly number[], bytesMax: number): void {
    this.#chunks.push({ first, bytes, ends });
    this.#bytes += bytes.length;
    let drop = 0;
    while (this.#bytes > bytesMax && drop < this.#chunks.length) {
      this.#bytes -= (this.#chunks[drop] as Chunk).bytes.length;
      drop++;
    }
    if (drop === 0) return;
    this.#chunks.splice(0, drop);
    this.#isWhole = false;
  }

  /**
   * Adds older events, ascending, in front of those held (or up to `head` where nothing is), as far as they are dense and
   * there is room. `isWhole`: the first of them is the first of the room.
   */
  prepend(events: readonly PlacedEvent[], head: number, isWhole: boolean, bytesMax: number): void {
    let next = this.#chunks[0]?.first ?? head + 1;
    const older: PlacedEvent[] = [];
    let room = bytesMax - this.#bytes;
    for (let i = events.length - 1; i >= 0; i--) {
      const event = events[i] as PlacedEvent;
      if (event.seq >= next) continue;
      room -= event.bytes.length;
      if (event.seq !== next - 1 || room < 0) break;
      older.push(event);
      next--;
    }
    const [oldest] = events;
    if (isWhole && (oldest === undefined || oldest.seq >= next)) this.#isWhole = true;
    if (older.length === 0) return;
    older.reverse();
    const bytes = concatFrames(older.map((event) => event.bytes));
    const ends: number[] = [];
    let end = 0;
    for (const event of older) {
      end += event.bytes.length;
      ends.push(end);
    }
    this.#chunks.unshift({ first: next, bytes, ends });
    this.#bytes += bytes.length;
  }

  /** The newest events, oldest first, and whether there are older ones; null where the ring cannot tell. */
  newest(limit: number, bytesMax: number): { readonly events: Uint8Array[]; readonly more: boolean } | null {
    const events: Uint8Array[] = [];
    let bytes = 0;
    for (let c = this.#chunks.length - 1; c >= 0; c--) {
      const chunk = this.#chunks[c] as Chunk;
      for (let i = chunk.ends.length - 1; i >= 0; i--) {
        const start = i === 0 ? 0 : (chunk.ends[i - 1] as number);
        const event = chunk.bytes.subarray(start, chunk.ends[i]);
        bytes += event.length;
        if (events.length === limit || (bytes > bytesMax && events.length > 0)) {
          return { events: events.reverse(), more: true };
        }
        events.push(event);
      }
    }
    return this.#isWhole ? { events: events.reverse(), more: false } : null;
  }

  clear(): void {
    this.#isWhole = false;
    this.#chunks = [];
    this.#bytes = 0;
  }

  /** Events after `seq`, about `bytesMax` bytes but one event at least; null where the ring does not reach back. */
  after(seq: number, bytesMax: number): Slice | null {
    const index = this.#indexOf(seq + 1);
    if (index < 0) return null;
    const chunk = this.#chunks[index] as Chunk;
    const skip = seq + 1 - chunk.first;
    const start = skip === 0 ? 0 : (chunk.ends[skip - 1] as number);
    let count = skip + 1;
    while (count < chunk.ends.length && (chunk.ends[count] as number) - start <= bytesMax) count++;
    const end = chunk.ends[count - 1] as number;
    const whole = start === 0 && end === chunk.bytes.length;
    return { bytes: whole ? chunk.bytes : chunk.bytes.subarray(start, end), last: chunk.first + count - 1 };
  }

  /** Folds an edit or a delete into the events that it changes. */
  fold(change: RoomEvent): void {
    if (change.op === eventOps.message_edited) this.#foldAt(change.target, change);
    if (change.op !== eventOps.message_deleted) return;
    this.#foldAt(change.target, change);
    for (const seq of this.#editsAfter(change.target)) this.#foldAt(seq, change);
  }

  #foldAt(seq: number, change: RoomEvent): void {
    const bytes = this.after(seq - 1, 0)?.bytes;
    const folded = bytes && foldInto(bytes, change);
    if (folded) this.#replace(seq, folded);
  }

  #editsAfter(target: number): number[] {
    const edits: number[] = [];
    for (const { first, bytes, ends } of this.#chunks) {
      if (first + ends.length <= target) continue;
      let start = 0;
      ends.forEach((end, i) => {
        if (readOp(bytes, start) === eventOps.message_edited) edits.push(first + i);
        start = end;
      });
    }
    return edits;
  }

  #replace(seq: number, event: Uint8Array): void {
    const index = this.#indexOf(seq);
    const chunk = this.#chunks[index] as Chunk;
    const at = seq - chunk.first;
    const start = at === 0 ? 0 : (chunk.ends[at - 1] as number);
    const end = chunk.ends[at] as number;
    const grown = event.length - (end - start);
    const bytes = new Uint8Array(chunk.bytes.length + grown);
    bytes.set(chunk.bytes.subarray(0, start));
    bytes.set(event, start);
    bytes.set(chunk.bytes.subarray(end), start + event.length);
    const ends = chunk.ends.map((old, i) => (i < at ? old : old + grown));
    this.#chunks[index] = { first: chunk.first, bytes, ends };
    this.#bytes += grown;
  }

  /** Index of the chunk that holds `seq`, or -1. */
  #indexOf(seq: number): number {
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const { first, ends } = this.#chunks[middle] as Chunk;
      if (seq < first) high = middle - 1;
      else if (seq >= first + ends.length) low = middle + 1;
      else return middle;
    }
    return -1;
  }
}
