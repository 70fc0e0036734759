// What a room's past is now: pages of events, messages as targets, reactions. Reads the newest from the log, which may
// have what the store does not have yet, the rest from the store, and checks that the two meet. Called by rooms.ts.

import { foldEvents } from '../core/fold.ts';
import { decodeEvent, type RoomEvent } from '../core/protocol/events.ts';
import { historyBytesMax } from '../core/protocol/limits.ts';
import { eventOps } from '../core/protocol/ops.ts';
import { readOp, readSeq } from '../core/protocol/stamp.ts';
import type { HubRoom } from './hub-room.ts';
import type { Log } from './log/log.ts';
import type { CacheCounts, Metrics } from './metrics.ts';
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
    const recent = await this.#parts.log.recent(room.id);
    const page =
      recent === null ? await this.#stored(room.id, range) : await this.#merged(room.id, range, recent);
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

  /** The store up to where the log's events begin, then those; all with what the log's events changed. */
  async #merged(room: string, range: Range, recent: readonly Uint8Array[]): Promise<EventPage> {
    const changes = recent.filter(isChange).map(decodeEvent);
    const tail = foldEvents(recent, changes).filter((event) => isAsked(event, range));
    const first = recent[0] === undefined ? Number.POSITIVE_INFINITY : readSeq(recent[0]);
    const { before, after, limit } = range;
    if (after !== null && after >= first - 1) return cutFront(tail, limit);
    if (after !== null) {
      const stored = await this.#stored(room, range);
      const events = foldEvents(stored.events, changes);
      const last = events.length === 0 ? after : readSeq(events[events.length - 1] as Uint8Array);
      if (stored.more) return { events, more: true };
      const rest = cutFront([...events, ...tail.filter((event) => readSeq(event) > last)], limit);
      return rest;
    }
    const isFull = tail.length >= limit || byteLength(tail) >= historyBytesMax;
    if (isFull) return cutBack(tail, limit, true);
    const end = Math.min(before ?? Number.MAX_SAFE_INTEGER, first);
    try {
      const wanted = { ...range, before: end, limit: limit - tail.length };
      const stored = await this.#stored(room, wanted);
      return cutBack([...foldEvents(stored.events, changes), ...tail], limit, stored.more);
    } catch (error) {
      // A shorter page is no hole: the client asks for what is before it.
      if (error instanceof StoreUnavailable && tail.length > 0) return { events: tail, more: true };
      throw error;
    }
  }

  /** The message at `seq` as it is now; null where there is none. */
  async target(room: string, seq: number): Promise<Target | null> {
    const recent = await this.#parts.log.recent(room);
    let target = await this.#storedOr(recent, seq, () => this.#parts.store.target(room, seq));
    for (const bytes of recent ?? []) {
      const event = decodeEvent(bytes);
      if (event.op === eventOps.message && event.seq === seq && target === null) {
        target = { from: event.from, ts: event.ts, content: event.content, edited: null, deleted: null };
      } else if (target !== null) target = changeTarget(target, seq, event);
    }
    return target;
  }

  /** With the store away: null where the log itself reaches back to the message, and so has all that followed. */
  async #storedOr<T>(
    recent: readonly Uint8Array[] | null,
    seq: number,
    read: () => Promise<T | null>,
  ): Promise<T | null> {
    try {
      return await read();
    } catch (error) {
      const isRecent = recent?.some((bytes) => readSeq(bytes) === seq) ?? false;
      if (error instanceof StoreUnavailable && isRecent) return null;
      throw error;
    }
  }

  async reaction(room: string, target: number, user: string, emoji: string): Promise<ReactionState | null> {
    const { log, store } = this.#parts;
    const recent = await log.recent(room);
    let state = await this.#storedOr(recent, target, () => store.reaction(room, target, user, emoji));
    for (const bytes of recent ?? []) {
      if (readOp(bytes) !== eventOps.reaction) continue;
      const event = decodeEvent(bytes);
      if (event.op !== eventOps.reaction || event.target !== target || event.from !== user) continue;
      const { seq, ts, on } = event;
      if (event.emoji === emoji && seq > (state?.seq ?? 0)) state = { seq, ts, on };
    }
    return state;
  }
}

function isChange(bytes: Uint8Array): boolean {
  const op = readOp(bytes);
  return op === eventOps.message_edited || op === eventOps.message_deleted;
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
function cutFront(events: readonly Uint8Array[], limit: number): EventPage {
  let bytes = 0;
  let count = 0;
  for (const event of events) {
    bytes += event.length;
    if (count === limit || (bytes > historyBytesMax && count > 0)) break;
    count++;
  }
  return { events: events.slice(0, count), more: count < events.length };
}

/** The newest of them. */
function cutBack(events: readonly Uint8Array[], limit: number, isMoreBefore: boolean): EventPage {
  const { events: newest, more } = cutFront([...events].reverse(), limit);
  return { events: [...newest].reverse(), more: more || isMoreBefore };
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
