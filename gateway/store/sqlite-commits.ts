// Commits of the embedded store: a batch is one record in the journal, on disk with one write, and is in the database
// later, with all that came meanwhile in one transaction. Made by sqlite.ts; it has the only hand on the journal's files.
//
// Whoever reads or writes what a journalled event may have changed waits until it is applied (`settledRooms`, `settled`):
// so nobody sees less than what was acknowledged. A batch that may repeat something, or that takes a place twice, goes to
// the database by itself, which knows the answer.

import { eventOps } from '../../core/protocol/ops.ts';
import { readOp } from '../../core/protocol/stamp.ts';
import type { PackedEvents } from './sqlite-commit.ts';
import { journalPath, RecordWriter } from './sqlite-journal.ts';
import type { JournalFiles } from './sqlite-journal-files.ts';
import { type EventPlace, firstIdsMax, KnownRooms, placesOf } from './sqlite-known.ts';
import type { JournalPart } from './sqlite-replay.ts';
import { pendingCallsMax, type Thread } from './sqlite-thread.ts';
import { type Repeat, type StoredEvent, StoreUnavailable } from './store.ts';

/** Events that wait to be applied, bytes of them, and for how long: what a transaction gathers. */
const applyEventsMax = 4096;
const applyBytesMax = 4 * 1024 * 1024;
const applyMs = 1000;
/** Bytes of a generation: commits wait for the one before. */
const generationBytesMax = 16 * 1024 * 1024;
/** Until an apply that failed is tried again. */
const retryMs = 500;

/** Acknowledged events that the database does not have yet. */
interface Generation {
  readonly number: number;
  readonly previousEnd: number;
  events: number;
  /** Where the last acknowledged record ends. */
  end: number;
  /** A record behind `end` may be on disk all the same: it must not be found by a later start. */
  isTainted: boolean;
  /** Rooms of events; those of events other than messages. */
  readonly rooms: Set<string>;
  readonly changedRooms: Set<string>;
}

/** What a reader depends on: any event, or membership, the room's record, reactions and the like. */
export type Aspect = 'events' | 'changes';

export class Commits {
  readonly #dataDir: string;
  readonly #files: JournalFiles;
  readonly #writer: Thread;
  readonly #reader: Thread;
  readonly #known = new KnownRooms();
  readonly #records = new RecordWriter();
  /** Being applied, or waiting for another try. */
  #closed: Generation | null = null;
  #open: Generation;
  #applied: number;
  /** The last commit; one at a time. */
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #written: Promise<void> | null = null;
  #applying: Promise<void> | null = null;
  #hasFailed = false;
  #isClosed = false;
  #timer: ReturnType<typeof setTimeout> | null = null;

  /** `applied`: the generation that the database has. */
  constructor(dataDir: string, files: JournalFiles, writer: Thread, reader: Thread, applied: number) {
    this.#dataDir = dataDir;
    this.#files = files;
    this.#writer = writer;
    this.#reader = reader;
    this.#applied = applied;
    this.#open = makeGeneration(applied + 1, 0);
  }

  commit(events: readonly StoredEvent[]): Promise<readonly Repeat[]> {
    if (this.#isClosed) return Promise.reject(new StoreUnavailable('the store is closed'));
    if (this.#waiting >= pendingCallsMax)
      return Promise.reject(new StoreUnavailable('too many calls at once'));
    this.#waiting++;
    const done = this.#last.then(() => this.#commitNext(events));
    const end = () => void this.#waiting--;
    this.#last = done.then(end, end);
    return done;
  }

  async #commitNext(events: readonly StoredEvent[]): Promise<readonly Repeat[]> {
    // While the database takes nothing, nothing is acknowledged that readers would wait for.
    if (this.#hasFailed || this.#open.end >= generationBytesMax) await this.#applyNext();
    const places = placesOf(events);
    await this.#learnRooms(places);
    if (!this.#known.take(places)) {
      for (const { room } of places) this.#known.forget(room);
      await this.settled('events');
      return this.#writer.call('commit', packEvents(events));
    }
    try {
      await this.#write(events, places);
    } catch (error) {
      for (const { room } of places) this.#known.forget(room);
      // Where this file may not grow the other one may have room.
      if (this.#open.events > 0) this.#setTimer(0);
      throw error;
    }
    this.#known.trim();
    this.#schedule();
    return [];
  }

  async #learnRooms(places: readonly EventPlace[]): Promise<void> {
    const missing = new Set<string>();
    for (const { room } of places) if (!this.#known.has(room)) missing.add(room);
    if (missing.size === 0) return;
    const rooms = [...missing];
    await this.settledRooms(rooms, 'events');
    const found = await this.#reader.call('placesOf', rooms, firstIdsMax);
    rooms.forEach((room, i) => {
      const places = found[i];
      if (places !== undefined) this.#known.add(room, places);
    });
  }

  async #write(events: readonly StoredEvent[], places: readonly EventPlace[]): Promise<void> {
    const generation = this.#open;
    const record = this.#records.encode(events, generation.number, generation.previousEnd);
    const written = this.#files.write(generation.number, record, generation.end);
    // For those who wait for the moment between two writes; they do not care how it went.
    this.#written = written.catch(() => undefined);
    try {
      await written;
      // In this very step: whoever waits for the moment between two writes finds the generation right.
      generation.end += record.length;
      generation.isTainted = false;
      note(generation, events, places);
    } catch (error) {
      generation.isTainted = true;
      throw error;
    } finally {
      this.#written = null;
    }
  }

  /** Null where nothing has to be waited for, else settles when what is acknowledged of these rooms is in the database. */
  settledRooms(rooms: readonly string[], aspect: Aspect): Promise<void> | null {
    return this.#settledWhere((generation) => {
      const touched = aspect === 'events' ? generation.rooms : generation.changedRooms;
      return touched.size > 0 && rooms.some((room) => touched.has(room));
    });
  }

  /** The same for all rooms. */
  settled(aspect: Aspect): Promise<void> | null {
    return this.#settledWhere(
      (generation) =>
        (aspect === 'events' ? generation.rooms : generation.changedRooms).size > 0 || generation.isTainted,
    );
  }

  #settledWhere(isTouched: (generation: Generation) => boolean): Promise<void> | null {
    if (isTouched(this.#open)) return this.#appliedThrough(this.#open.number);
    if (this.#closed !== null && isTouched(this.#closed)) return this.#appliedThrough(this.#closed.number);
    return null;
  }

  async #appliedThrough(number: number): Promise<void> {
    while (this.#applied < number) await this.#applyNext();
  }

  /** Applies the older generation. Those who call it while it is under way share it. */
  #applyNext(): Promise<void> {
    this.#applying ??= this.#apply().finally(() => {
      this.#applying = null;
    });
    return this.#applying;
  }

  async #apply(): Promise<void> {
    while (this.#closed === null && this.#written !== null) await this.#written;
    this.#closed ??= this.#closeGeneration();
    const { number } = this.#closed;
    try {
      await this.#writer.call('applyJournal', this.#part(this.#closed));
    } catch (error) {
      this.#hasFailed = true;
      this.#setTimer(retryMs);
      throw error;
    }
    this.#hasFailed = false;
    this.#applied = number;
    this.#closed = null;
    this.#schedule();
  }

  /** What is acknowledged and not in the database, for a reader who cannot wait for it. */
  waiting(): readonly JournalPart[] {
    return [this.#closed, this.#open].filter((one) => one !== null).map((one) => this.#part(one));
  }

  #part({ number, end }: Generation): JournalPart {
    return { path: journalPath(this.#dataDir, number), generation: number, end };
  }

  /** What is committed from now on goes into the other file. Between two writes, and in one step: readers look at both. */
  #closeGeneration(): Generation {
    const closed = this.#open;
    this.#open = makeGeneration(closed.number + 1, closed.end);
    return closed;
  }

  /** An apply that is under way schedules the next one when it ends. */
  #schedule(): void {
    const { events, end } = this.#open;
    if (this.#closed !== null || events === 0) return;
    if (events >= applyEventsMax || end >= applyBytesMax) this.#setTimer(0);
    else if (this.#timer === null) this.#setTimer(applyMs);
  }

  #setTimer(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      // A failure is tried again, and is told to whoever commits meanwhile.
      if (this.#open.events > 0 || this.#closed !== null) this.#applyNext().catch(() => undefined);
    }, ms);
  }

  /** Rejects where the database does not take what is acknowledged. */
  async check(): Promise<void> {
    if (this.#hasFailed) await this.#applyNext();
  }

  /** Settles what is under way and applies everything. Again it does nothing. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#last;
    this.#setTimer(0);
    try {
      await this.settled('events');
      this.#files.remove();
    } catch {
      // A full disk, perhaps: what the database did not take stays in the journal, for the next start.
    } finally {
      this.#files.close();
    }
  }
}

function note(generation: Generation, events: readonly StoredEvent[], places: readonly EventPlace[]): void {
  generation.events += events.length;
  events.forEach(({ bytes }, i) => {
    const { room } = places[i] as EventPlace;
    generation.rooms.add(room);
    if (readOp(bytes) !== eventOps.message) generation.changedRooms.add(room);
  });
}

function makeGeneration(number: number, previousEnd: number): Generation {
  return {
    number,
    previousEnd,
    events: 0,
    end: 0,
    isTainted: false,
    rooms: new Set(),
    changedRooms: new Set(),
  };
}

/** Copies a batch into one buffer: the events' own bytes stay with the caller, who publishes them too. */
function packEvents(events: readonly StoredEvent[]): PackedEvents {
  let size = 0;
  for (const { bytes } of events) size += bytes.length;
  const bytes = new Uint8Array(size);
  const ends = new Float64Array(events.length);
  const numbers = new Float64Array(events.length);
  let at = 0;
  for (let i = 0; i < events.length; i++) {
    const event = events[i] as StoredEvent;
    bytes.set(event.bytes, at);
    at += event.bytes.length;
    ends[i] = at;
    numbers[i] = event.number;
  }
  return { bytes, ends, numbers };
}
