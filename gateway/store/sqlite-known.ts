// What the embedded store knows of rooms that are written to, so that a batch can be taken without asking the database:
// the last seq, and every message id from a floor on. Ids of clients grow with time, so that nearly all of them are above
// it; who has an older one, or one that is known, asks the database. Owned by sqlite-commits.ts; pure.

import { eventOps } from '../../core/protocol/ops.ts';
import { valueEnd } from '../../core/protocol/slice.ts';
import { readOp, readSeq, stampBytes } from '../../core/protocol/stamp.ts';
import type { RoomPlaces } from './sqlite-log.ts';
import type { StoredEvent } from './store.ts';

/** Ids that a room is first known by. */
export const firstIdsMax = 64;
/** Ids of one room; beyond it the lower half is forgotten. */
const roomIdsMax = 1024;
/** Ids of all rooms, a room counting as one more; beyond it the rooms that were written to longest ago are forgotten. */
const idsMax = 65_536;
const idBytes = 16;

/** What an event takes in its room. */
export interface EventPlace {
  readonly room: string;
  readonly seq: number;
  /** The message's id, a character a byte; null where it is no message. */
  readonly id: string | null;
}

interface KnownRoom {
  last: number;
  /** Every id of the room that is not below it is in `ids`. */
  floor: string;
  ids: Set<string>;
}

export class KnownRooms {
  /** The one used last is at the end. */
  readonly #rooms = new Map<string, KnownRoom>();
  #count = 0;

  has(room: string): boolean {
    return this.#rooms.has(room);
  }

  add(room: string, { last, ids }: RoomPlaces): void {
    const texts = ids.map((id) => toText(toBuffer(id), 0));
    const floor = texts.length < firstIdsMax ? '' : (texts.at(-1) as string);
    this.forget(room);
    this.#rooms.set(room, { last, floor, ids: new Set(texts) });
    this.#count += texts.length + 1;
  }

  forget(room: string): void {
    this.#count -= (this.#rooms.get(room)?.ids.size ?? -1) + 1;
    this.#rooms.delete(room);
  }

  /** Takes the places of a batch whose rooms are known; false: one may be taken, and the rooms are no longer right. */
  take(places: readonly EventPlace[]): boolean {
    let known: KnownRoom | undefined;
    let name: string | undefined;
    for (const { room, seq, id } of places) {
      if (room !== name) {
        known = this.#use(room);
        name = room;
      }
      if (known === undefined || seq <= known.last) return false;
      known.last = seq;
      if (id === null) continue;
      if (id < known.floor || known.ids.has(id)) return false;
      known.ids.add(id);
      this.#count++;
      if (known.ids.size > roomIdsMax) this.#raiseFloor(known);
    }
    return true;
  }

  /** Forgets the rooms that were written to longest ago. */
  trim(): void {
    for (const room of this.#rooms.keys()) {
      if (this.#count <= idsMax) return;
      this.forget(room);
    }
  }

  #use(room: string): KnownRoom | undefined {
    const known = this.#rooms.get(room);
    if (known === undefined) return undefined;
    this.#rooms.delete(room);
    this.#rooms.set(room, known);
    return known;
  }

  #raiseFloor(known: KnownRoom): void {
    const kept = [...known.ids].sort().slice(-roomIdsMax / 2);
    this.#count -= known.ids.size - kept.length;
    known.floor = kept[0] as string;
    known.ids = new Set(kept);
  }
}

/** Where the events of a batch stand. */
export function placesOf(events: readonly StoredEvent[]): readonly EventPlace[] {
  return events.map(({ bytes }) => {
    const buffer = toBuffer(bytes);
    // After the stamp: room, from, and for a message its id.
    const roomEnd = valueEnd(bytes, stampBytes);
    const room = buffer.toString(
      'utf8',
      stampBytes + ((bytes[stampBytes] as number) < 0xc0 ? 1 : 2),
      roomEnd,
    );
    const isMessage = readOp(bytes) === eventOps.message;
    const id = isMessage ? toText(buffer, valueEnd(bytes, valueEnd(bytes, roomEnd)) - idBytes) : null;
    return { room, seq: readSeq(bytes), id };
  });
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function toText(buffer: Buffer, at: number): string {
  return buffer.toString('latin1', at, at + idBytes);
}
