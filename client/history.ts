// A page of a room's past and the cursors to the pages beside it. Called by room.ts; an application passes the cursor of
// one page to get the next.

import { type RoomEvent, toEvent, type UnknownEvent } from './frames.ts';

/** Which page: the one before a seq, the one after it, or, with neither, the newest. */
export interface HistoryCursor {
  readonly before?: number;
  readonly after?: number;
}

export interface HistoryPage {
  /** Oldest first; messages with their present content. */
  readonly events: readonly (RoomEvent | UnknownEvent)[];
  /** Whether there is more in the direction that was asked for. */
  readonly more: boolean;
  /** The cursor of the next page in that direction, or null where it ends. */
  readonly next: HistoryCursor | null;
}

/** From the `ok` of history. */
export function toPage(cursor: HistoryCursor, answer: readonly unknown[]): HistoryPage {
  const [more, values] = answer as [boolean, readonly unknown[][]];
  const events = values.map(toEvent).filter((event) => event !== null);
  const first = events[0];
  const last = events[events.length - 1];
  if (!more || !first || !last) return { events, more, next: null };
  return { events, more, next: cursor.after === undefined ? { before: first.seq } : { after: last.seq } };
}
