// The log of one process: heads in memory, seeded from the store; every batch is committed by the store before anybody
// hears of it. Implements log.ts for the embedded default and for DATABASE_URL alone. Called by the hub and rooms.ts;
// it never touches a socket.
//
// While one commit is under way, and while messages keep coming, the next batch gathers (group commit). A failed commit fails its whole batch; the heads
// of its rooms are then read from the store again, as the outcome may be unknown.

import type { Clock } from '../../core/clock.ts';
import type { Level } from '../../core/protocol/frames.ts';
import { eventOps } from '../../core/protocol/ops.ts';
import { readOp, stamp } from '../../core/protocol/stamp.ts';
import type { Store, StoredEvent, StoredHead } from '../store/store.ts';
import type { Append, Head, Log, LogListener } from './log.ts';

/** Events of one commit. */
const batchEntriesMax = 1024;
/** Bytes of one commit. */
const batchBytesMax = 256 * 1024;
/** Bytes that may wait for the next commits; beyond it appends fail with UNAVAILABLE. */
const waitingBytesMax = 64 * 1024 * 1024;
/** Turns of the event loop that a batch gathers at most. */
const gatherTurnsMax = 8;
/** Between two questions whether the store is back. */
const probeMs = 500;

interface MemoryHead {
  epoch: number;
  seq: number;
  ts: number;
  messages: number;
}

/** Entries on their way to a commit, less those that were settled as repeats. */
interface Work {
  entries: readonly Append[];
}

/** One entry with the place it was given. */
interface Numbered {
  readonly entry: Append;
  readonly seq: number;
  readonly ts: number;
}

/** The part of a batch that belongs to one room. */
interface RoomBatch {
  readonly room: string;
  /** Messages before this batch. */
  readonly messagesBefore: number;
  /** Where the room stands after it: its head, once it is committed. */
  readonly head: MemoryHead;
  readonly numbered: Numbered[];
  bytes: Uint8Array;
  ends: number[];
}

/** What a commit stored; a follower has the id of an entry of the same batch. */
interface Committed {
  readonly rooms: readonly RoomBatch[];
  readonly followers: readonly (readonly [Append, Numbered])[];
}

export interface LogObserver {
  /** After each commit: how many events, and how long it took. */
  onCommit(events: number, seconds: number): void;
  onRepeated(): void;
  onCommitFailed(events: number, error: unknown): void;
}

export class MemoryLog implements Log {
  readonly levels: readonly Level[] = [4];
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #observer: LogObserver;
  #listener: LogListener | null = null;
  readonly #heads = new Map<string, MemoryHead>();
  /** Rooms whose head was dropped after a failed commit: the listener is told to compare. */
  readonly #doubtful = new Set<string>();
  /** Rooms that were left while a batch was under way. */
  readonly #left = new Set<string>();
  #waiting: Append[] = [];
  #waitingBytes = 0;
  #isCommitting = false;
  #isScheduled = false;
  #fault: string | null = null;
  #idle: (() => void)[] = [];

  constructor(store: Store, clock: Clock, observer: LogObserver) {
    this.#store = store;
    this.#clock = clock;
    this.#observer = observer;
  }

  listen(listener: LogListener): void {
    this.#listener = listener;
  }

  append(entry: Append): void {
    if (this.#waitingBytes > waitingBytesMax) {
      this.#clock.atTurnEnd(() => entry.fail('UNAVAILABLE'));
      return;
    }
    this.#waiting.push(entry);
    this.#waitingBytes += entry.bytes.length;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isCommitting) return;
    this.#isScheduled = true;
    this.#gather(0);
  }

  /**
   * Waits for a turn that brings nothing more, so that those who answer each other's messages share a commit, and each
   * of their sockets one write; else they fall into two groups, each of which waits for the other's commit.
   */
  #gather(turns: number): void {
    const before = this.#waiting.length;
    this.#clock.atTurnEnd(() => {
      if (this.#waiting.length > before && turns < gatherTurnsMax) this.#gather(turns + 1);
      else void this.#commitWaiting();
    });
  }

  /** One commit at a time; what comes meanwhile is the next. */
  async #commitWaiting(): Promise<void> {
    this.#isScheduled = false;
    this.#isCommitting = true;
    const work: Work = { entries: this.#takeBatch() };
    let committed: Committed | null = null;
    try {
      committed = await this.#commitBatch(work);
    } catch (error) {
      this.#failBatch(work.entries, error);
    }
    if (committed) this.#publish(committed);
    this.#isCommitting = false;
    if (this.#waiting.length > 0) {
      this.#schedule();
      return;
    }
    for (const room of this.#left) this.#heads.delete(room);
    this.#left.clear();
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #takeBatch(): Append[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#waiting.length && count < batchEntriesMax && bytes < batchBytesMax) {
      bytes += (this.#waiting[count] as Append).bytes.length;
      count++;
    }
    const batch = count === this.#waiting.length ? this.#waiting : this.#waiting.slice(0, count);
    this.#waiting = count === this.#waiting.length ? [] : this.#waiting.slice(count);
    this.#waitingBytes -= bytes;
    return batch;
  }

  /** Leaves in `work` what is not settled yet, so that a failure fails just that. */
  async #commitBatch(work: Work): Promise<Committed | null> {
    await this.#loadHeads(work.entries);
    for (;;) {
      const { rooms, followers } = this.#number(work.entries);
      if (rooms.length === 0) return null;
      const started = performance.now();
      const repeats = await this.#store.commit(storedEvents(rooms));
      if (repeats.length === 0) {
        for (const { room, head } of rooms) this.#heads.set(room, head);
        const events = work.entries.length - followers.length;
        this.#observer.onCommit(events, (performance.now() - started) / 1000);
        return { rooms, followers };
      }
      // Nothing was stored: those that were there before get their first place, the others are numbered again.
      const numbered = rooms.flatMap((room) => room.numbered);
      const known = new Set<Append>();
      for (const { index, seq, ts, from } of repeats) {
        const { entry } = numbered[index] as Numbered;
        const same = followers.filter(([, first]) => first.entry === entry).map(([follower]) => follower);
        for (const repeated of [entry, ...same]) {
          known.add(repeated);
          this.#observer.onRepeated();
          settleRepeat(repeated, seq, ts, from);
        }
      }
      work.entries = work.entries.filter((entry) => !known.has(entry));
    }
  }

  async #loadHeads(batch: readonly Append[]): Promise<void> {
    const missing = new Set<string>();
    for (const { room } of batch) if (!this.#heads.has(room)) missing.add(room);
    if (missing.size === 0) return;
    const rooms = [...missing];
    const heads = await this.#store.heads(rooms);
    rooms.forEach((room, i) => {
      const head = heads[i] as StoredHead;
      this.#heads.set(room, head);
      if (this.#doubtful.delete(room)) this.#listener?.onHead(room, toHead(head));
    });
  }

  /** Gives places, room by room; the second of two entries with one id in this batch follows the first. */
  #number(entries: readonly Append[]): Committed {
    const now = this.#clock.now();
    const rooms = new Map<string, RoomBatch>();
    const ids = new Map<string, Numbered>();
    const followers: [Append, Numbered][] = [];
    for (const entry of entries) {
      const key = idKey(entry);
      const first = ids.get(key);
      if (first !== undefined) {
        followers.push([entry, first]);
        continue;
      }
      let room = rooms.get(entry.room);
      if (room === undefined) {
        const head = { ...(this.#heads.get(entry.room) as MemoryHead) };
        room = {
          room: entry.room,
          messagesBefore: head.messages,
          head,
          numbered: [],
          bytes: empty,
          ends: [],
        };
        rooms.set(entry.room, room);
      }
      const { head } = room;
      head.seq++;
      head.ts = Math.max(now, head.ts);
      if (readOp(entry.bytes) === eventOps.message) head.messages++;
      const numbered = { entry, seq: head.seq, ts: head.ts };
      room.numbered.push(numbered);
      ids.set(key, numbered);
    }
    const list = [...rooms.values()];
    for (const room of list) layOut(room);
    return { rooms: list, followers };
  }

  #publish({ rooms, followers }: Committed): void {
    for (const { room, numbered, bytes, ends } of rooms) {
      this.#listener?.onEvents(room, bytes, ends);
      for (const { entry, seq, ts } of numbered) entry.settle(seq, ts, 4, false);
    }
    for (const [follower, { entry, seq, ts }] of followers) settleRepeat(follower, seq, ts, entry.from);
  }

  #failBatch(entries: readonly Append[], error: unknown): void {
    this.#observer.onCommitFailed(entries.length, error);
    for (const entry of entries) {
      this.#heads.delete(entry.room);
      this.#doubtful.add(entry.room);
      entry.fail('UNAVAILABLE');
    }
    if (this.#fault === null) this.#probe();
    this.#fault = 'the store does not take commits';
  }

  /** Asks the store until it answers again, so that a process without traffic learns of it too. */
  #probe(): void {
    this.#clock.after(probeMs, () => {
      this.#recover().then(
        () => {
          this.#fault = null;
        },
        () => this.#probe(),
      );
    });
  }

  /** What a failed commit may have stored all the same is made known: nobody has heard of it. */
  async #recover(): Promise<void> {
    await this.#store.check();
    const rooms = [...this.#doubtful];
    if (rooms.length === 0) return;
    this.#doubtful.clear();
    try {
      const heads = await this.#store.heads(rooms);
      rooms.forEach((room, i) => void this.#listener?.onHead(room, toHead(heads[i] as StoredHead)));
    } catch (error) {
      for (const room of rooms) this.#doubtful.add(room);
      throw error;
    }
  }

  async subscribeRoom(room: string): Promise<void> {
    this.#left.delete(room);
    // Everything this process appends reaches its own listener anyway.
  }

  unsubscribeRoom(room: string): void {
    // A batch under way still needs its head.
    if (this.#isCommitting || this.#waiting.length > 0) this.#left.add(room);
    else this.#heads.delete(room);
  }

  subscribeUser(_user: string): void {
    // As for rooms.
  }

  unsubscribeUser(_user: string): void {
    // As for rooms.
  }

  async open(room: string): Promise<Head | null> {
    const [head] = await this.heads([room]);
    return head ?? null;
  }

  async heads(rooms: readonly string[]): Promise<readonly Head[]> {
    // Only appends keep what they read: an answer that comes late must not replace what was committed meanwhile.
    const heads = new Map<string, StoredHead | undefined>(rooms.map((room) => [room, this.#heads.get(room)]));
    const missing = [...heads.keys()].filter((room) => heads.get(room) === undefined);
    const read = missing.length === 0 ? [] : await this.#store.heads(missing);
    missing.forEach((room, i) => void heads.set(room, read[i]));
    return rooms.map((room) => toHead(heads.get(room) as StoredHead));
  }

  // The store has everything that was ever published.

  async readAfter(): Promise<null> {
    return null;
  }

  async readBefore(): Promise<null> {
    return null;
  }

  async readOldest(): Promise<readonly Uint8Array[]> {
    return [];
  }

  async readMembership(): Promise<readonly Uint8Array[]> {
    return [];
  }

  async changes(): Promise<null> {
    return null;
  }

  publishControl(payload: Uint8Array): void {
    this.#listener?.onControl(payload);
  }

  publishToRoom(room: string, payload: Uint8Array): void {
    this.#listener?.onRoomFrames(room, payload);
  }

  async publishIfAllHear(room: string, payload: Uint8Array): Promise<boolean> {
    this.publishToRoom(room, payload);
    return true;
  }

  publishToUser(user: string, payload: Uint8Array): void {
    this.#listener?.onUserFrames(user, payload);
  }

  fault(): string | null {
    return this.#fault;
  }

  async close(): Promise<void> {
    if (!this.#isCommitting && this.#waiting.length === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }
}

const empty = new Uint8Array(0);

function toHead({ epoch, seq, messages }: StoredHead): Head {
  return { epoch, seq, messages, committed: seq };
}

function idKey(entry: Append): string {
  let key = `${entry.room} `;
  for (const byte of entry.id) key += String.fromCharCode(byte);
  return key;
}

/** The room's events one after another in a buffer of the room's own, stamped. */
function layOut(room: RoomBatch): void {
  let size = 0;
  for (const { entry } of room.numbered) size += entry.bytes.length;
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const { entry, seq, ts } of room.numbered) {
    bytes.set(entry.bytes, at);
    stamp(bytes, at, seq, ts);
    at += entry.bytes.length;
    room.ends.push(at);
  }
  room.bytes = bytes;
}

function storedEvents(rooms: readonly RoomBatch[]): StoredEvent[] {
  const events: StoredEvent[] = [];
  for (const { messagesBefore, bytes, ends } of rooms) {
    let number = messagesBefore;
    let start = 0;
    for (const end of ends) {
      const event = bytes.subarray(start, end);
      if (readOp(event) === eventOps.message) number++;
      events.push({ bytes: event, number });
      start = end;
    }
  }
  return events;
}

function settleRepeat(entry: Append, seq: number, ts: number, from: string): void {
  if (entry.from === from) entry.settle(seq, ts, 4, true);
  else entry.fail('CONFLICT');
}
