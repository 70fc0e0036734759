// What a room's past is now: pages of events, messages as targets, reactions. Reads the newest from the log, which may
// have very much that the store does not have yet, as far as a page goes, the rest from the store, and checks that the two
// meet. Called by rooms.ts.

import { decodeEvent, type RoomEvent } from '../core/protocol/events.ts';
import { historyBytesMax } from '../core/protocol/limits.ts';
import { eventOps } from '../core/protocol/ops.ts';
import { readOp, readSeq } from '../core/protocol/stamp.ts';
import type { HubRoom } from './hub-room.ts';
import type { Log } from './log/log.ts';
import type { CacheCounts, Metrics } from './metrics.ts';
import { presentLogged, presentStored, untilWhole } from './present.ts';
import {
  type EventPage,
  type ReactionState,
  type Store,
  StoreUnavailable,
  type Target,
} from './store/store.ts';

export interface HistoryParts {
  readonly log: Log;
  readonly store: Store;
  readonly metrics: Metrics;
  /** Bytes of a room's ring. */
  readonly ringBytesMax: number;
}

/** What is asked for: below `before`, or above `after`, or the newest. */
interface Range {
  readonly before: number | null;
  readonly after: number | null;
  readonly limit: number;
  readonly messagesOnly: boolean;
}

/** What follows in the log, and whether that is all; if not, changes may have made less of it than fills a page. */
interface Next {
  readonly events: readonly Uint8Array[];
  readonly isEnd: boolean;
}

export class History {
  readonly #parts: HistoryParts;
  readonly #cache: CacheCounts;

  constructor(parts: HistoryParts) {
    this.#parts = parts;
    this.#cache = parts.metrics.cache('history');
  }

  /** A page, oldest first, without a hole; rejects with StoreUnavailable rather than leave one. */
  async page(room: HubRoom, range: Range): Promise<EventPage> {
    const isNewest = range.before === null && range.after === null && !range.messagesOnly;
    const cached = isNewest ? room.ring.newest(range.limit, historyBytesMax) : null;
    if (cached !== null) {
      this.#cache.hits++;
      return cached;
    }
    this.#cache.misses++;
    const { head } = room;
    const page = await untilWhole(() => this.#read(room.id, range));
    if (!range.messagesOnly) checkDense(page.events);
    // An edit or a delete that came meanwhile is not in this page, and was folded into a ring without it.
    if (isNewest && room.head === head) {
      const placed = page.events.map((bytes) => ({ seq: readSeq(bytes), bytes }));
      room.ring.prepend(placed, room.head, !page.more, this.#parts.ringBytesMax);
    }
    return page;
  }

  #stored(room: string, { before, after, limit, messagesOnly }: Range): Promise<EventPage> {
    const { store } = this.#parts;
    if (messagesOnly) return store.messages(room, before, after, limit);
    return store.page(room, before, after, limit, historyBytesMax);
  }

  /** From the log as far as it reaches, else from the store; null where too much happened meanwhile. */
  #read(room: string, range: Range): Promise<EventPage | null> {
    return range.after === null ? this.#readBack(room, range) : this.#readOn(room, range, range.after);
  }

  async #readBack(room: string, range: Range): Promise<EventPage | null> {
    const { limit } = range;
    const logged = await this.#newestOfLog(room, range);
    if (logged === null) return this.#stored(room, range);
    const changes = await this.#parts.log.changes(room);
    const { events, end } = logged;
    const readTail = () => presentLogged(changes, events);
    if (end === null) {
      const tail = await readTail();
      return tail && cutBack(tail, limit, true);
    }
    let stored: EventPage;
    try {
      stored = await this.#stored(room, { ...range, before: end, limit: limit - events.length });
    } catch (error) {
      const tail = error instanceof StoreUnavailable && events.length > 0 ? await readTail() : [];
      // A shorter page is no hole: the client asks for what is before it.
      if (tail === null || tail.length > 0) return tail && { events: tail, more: true };
      throw error;
    }
    const older = await presentStored(changes, stored.events);
    const tail = await readTail();
    return older && tail && cutBack([...older, ...tail], limit, stored.more);
  }

  /**
   * The newest that are asked for of the log's. `end`: null where they fill a page, else what is asked for below it is in
   * the store. Null: the log keeps none.
   */
  async #newestOfLog(
    room: string,
    range: Range,
  ): Promise<{ readonly events: readonly Uint8Array[]; readonly end: number | null } | null> {
    let events: readonly Uint8Array[] = [];
    let end = range.before;
    for (let bytes = 0; ; ) {
      const left = range.limit - events.length;
      const page = await this.#parts.log.readBefore(room, end, left, historyBytesMax - bytes);
      if (page === null) return null;
      const asked = page.events.filter((event) => isAsked(event, range));
      events = [...asked, ...events];
      bytes += byteLength(asked);
      if (events.length >= range.limit || bytes >= historyBytesMax) return { events, end: null };
      const [first] = page.events;
      if (first !== undefined) end = readSeq(first);
      if (page.isStart || first === undefined) return { events, end: end ?? Number.MAX_SAFE_INTEGER };
    }
  }

  async #readOn(room: string, range: Range, after: number): Promise<EventPage | null> {
    const { log } = this.#parts;
    const { limit } = range;
    const logged = await this.#nextOfLog(room, range, after);
    const changes = await log.changes(room);
    if (logged !== null) {
      const events = await presentLogged(changes, logged.events);
      return events && cutFront(events, limit, !logged.isEnd);
    }
    const stored = await this.#stored(room, range);
    const older = await presentStored(changes, stored.events);
    if (older === null || stored.more || changes === null)
      return older && { events: older, more: stored.more };
    const last = older.at(-1);
    const rest = await this.#restOfLog(room, range, last === undefined ? after : readSeq(last));
    const newer = rest && (await presentLogged(changes, rest.events));
    return newer && cutFront([...older, ...newer], limit, !rest.isEnd);
  }

  /** The next that are asked for after `after`, with one more than a page holds; null where the log does not reach back. */
  async #nextOfLog(room: string, range: Range, after: number): Promise<Next | null> {
    const events: Uint8Array[] = [];
    for (let last = after, bytes = 0; ; ) {
      const limit = range.limit + 1 - events.length;
      const next = await this.#parts.log.readAfter(room, last, limit, historyBytesMax - bytes);
      if (next === null) return last === after ? null : { events, isEnd: false };
      const asked = next.filter((event) => isAsked(event, range));
      events.push(...asked);
      bytes += byteLength(asked);
      const end = next.at(-1);
      if (end === undefined) return { events, isEnd: true };
      if (events.length > range.limit || bytes > historyBytesMax) return { events, isEnd: false };
      last = readSeq(end);
    }
  }

  /** What follows on the last that the store has, or the epoch that begins in the log; null where the store has more now. */
  async #restOfLog(room: string, range: Range, last: number): Promise<Next | null> {
    const next = await this.#nextOfLog(room, range, last);
    if (next !== null) return next;
    const [first] = await this.#parts.log.readOldest(room);
    if (first === undefined || readSeq(first) <= last) return { events: [], isEnd: true };
    const isEpoch = readOp(first) === eventOps.epoch_started;
    return isEpoch || range.messagesOnly ? this.#nextOfLog(room, range, readSeq(first) - 1) : null;
  }

  /** The message at `seq` as it is now; null where there is none. */
  target(room: string, seq: number): Promise<Target | null> {
    return untilWhole(async () => {
      const logged = await this.#loggedAt(room, seq);
      const changes = await this.#parts.log.changes(room);
      const target = logged === null ? await this.#parts.store.target(room, seq) : toTarget(logged);
      if (target === null || changes === null) return { target };
      const found = await changes.of([seq], logged === null ? null : seq);
      return (
        found && {
          target: found.map(decodeEvent).reduce((now, event) => changeTarget(now, seq, event), target),
        }
      );
    }).then(({ target }) => target);
  }

  /** The event of the log there, as it was appended. */
  async #loggedAt(room: string, seq: number): Promise<Uint8Array | null> {
    const [event] = (await this.#parts.log.readAfter(room, seq - 1, 1, 1)) ?? [];
    return event !== undefined && readSeq(event) === seq ? event : null;
  }

  reaction(room: string, target: number, user: string, emoji: string): Promise<ReactionState | null> {
    return untilWhole(async () => {
      const changes = await this.#parts.log.changes(room);
      let state: ReactionState | null = null;
      let after: number | null = null;
      try {
        state = await this.#parts.store.reaction(room, target, user, emoji);
      } catch (error) {
        // Where the log itself reaches back to the message it has all that followed.
        const isLogged = error instanceof StoreUnavailable && (await this.#loggedAt(room, target)) !== null;
        if (!isLogged) throw error;
        after = target;
      }
      const found = changes === null ? [] : await changes.reactions(target, user, emoji, after);
      if (found === null) return null;
      for (const bytes of found) {
        const event = decodeEvent(bytes);
        if (event.op === eventOps.reaction && event.seq > (state?.seq ?? 0)) {
          state = { seq: event.seq, ts: event.ts, on: event.on };
        }
      }
      return { state };
    }).then(({ state }) => state);
  }
}

/** Null where the event is no message. */
function toTarget(bytes: Uint8Array): Target | null {
  const event = decodeEvent(bytes);
  if (event.op !== eventOps.message) return null;
  return { from: event.from, ts: event.ts, content: event.content, edited: null, deleted: null };
}

function isAsked(bytes: Uint8Array, { before, after, messagesOnly }: Range): boolean {
  const seq = readSeq(bytes);
  if (messagesOnly && readOp(bytes) !== eventOps.message) return false;
  return (before === null || seq < before) && (after === null || seq > after);
}

function changeTarget(target: Target, seq: number, event: RoomEvent): Target {
  const place = { seq: event.seq, ts: event.ts };
  if (event.op === eventOps.message_edited && event.target === seq && event.seq > (target.edited?.seq ?? 0)) {
    return { ...target, content: target.deleted ? null : event.content, edited: place };
  }
  if (event.op === eventOps.message_deleted && event.target === seq && target.deleted === null) {
    return { ...target, content: null, deleted: place };
  }
  return target;
}

/** The oldest of them, within the limits of a page. */
function cutFront(events: readonly Uint8Array[], limit: number, isMoreBehind: boolean): EventPage {
  let bytes = 0;
  let count = 0;
  for (const event of events) {
    bytes += event.length;
    if (count === limit || (bytes > historyBytesMax && count > 0)) break;
    count++;
  }
  return { events: events.slice(0, count), more: count < events.length || isMoreBehind };
}

/** The newest of them. */
function cutBack(events: readonly Uint8Array[], limit: number, isMoreBefore: boolean): EventPage {
  const { events: newest, more } = cutFront([...events].reverse(), limit, isMoreBefore);
  return { events: [...newest].reverse(), more };
}

function byteLength(events: readonly Uint8Array[]): number {
  return events.reduce((sum, event) => sum + event.length, 0);
}

/** Every event follows on the one before it, but where an epoch starts. */
function checkDense(events: readonly Uint8Array[]): void {
  for (let i = 1; i < events.length; i++) {
    const event = events[i] as Uint8Array;
    const isNext = readSeq(event) === readSeq(events[i - 1] as Uint8Array) + 1;
    if (!isNext && readOp(event) !== eventOps.epoch_started) throw new StoreUnavailable('a page has a hole');
  }
}
