// The timeline as rows to draw: days, what is new, notices that follow each other as one, messages in runs of one author.
// Pure. Called once a change by message-list.tsx, so it makes one pass and compares days as numbers.

import type { TimelineItem, TimelineMessage, TimelineNotice } from '../../client/timeline.ts';

/** Messages of one author closer than this are one run. */
const runMs = 5 * 60_000;

export interface MessageRow {
  readonly kind: 'message';
  readonly key: string;
  readonly message: TimelineMessage;
  /** Where in a run of messages by one author it stands. */
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

export type Row =
  | MessageRow
  | { readonly kind: 'top'; readonly key: 'top' }
  | { readonly kind: 'day'; readonly key: string; readonly ts: number }
  | { readonly kind: 'unread'; readonly key: 'unread' }
  | { readonly kind: 'notices'; readonly key: string; readonly notices: readonly TimelineNotice[] };

interface Unread {
  /** Messages after this one are new. */
  readonly after: number;
  readonly me: string;
}

export function toRows(items: readonly TimelineItem[], unread: Unread): readonly Row[] {
  const rows: Row[] = [{ kind: 'top', key: 'top' }];
  let notices: TimelineNotice[] = [];
  let isUnreadShown = false;
  let day = { start: 0, end: 0 };
  const endNotices = (): void => {
    const [first] = notices;
    if (first) rows.push({ kind: 'notices', key: first.key, notices });
    notices = [];
  };
  for (let at = 0; at < items.length; at++) {
    const item = items[at] as TimelineItem;
    if (item.kind === 'notice' && !isWorthTelling(item)) continue;
    const startsDay = item.ts < day.start || item.ts >= day.end;
    if (startsDay) {
      endNotices();
      day = dayOf(item.ts);
      rows.push({ kind: 'day', key: `day ${day.start}`, ts: item.ts });
    }
    if (item.kind === 'notice') {
      notices.push(item);
      continue;
    }
    endNotices();
    const startsUnread: boolean = !isUnreadShown && isUnread(item, unread);
    if (startsUnread) rows.push({ kind: 'unread', key: 'unread' });
    isUnreadShown ||= startsUnread;
    const isFirst = startsDay || startsUnread || !isRun(items[at - 1], item);
    const next = items[at + 1];
    const isLast = !isRun(item, next) || (next !== undefined && next.ts >= day.end);
    rows.push({ kind: 'message', key: item.key, message: item, isFirst, isLast });
  }
  endNotices();
  return rows;
}

function dayOf(ts: number): { readonly start: number; readonly end: number } {
  const date = new Date(ts);
  const start = date.setHours(0, 0, 0, 0);
  return { start, end: date.setDate(date.getDate() + 1) };
}

function isUnread({ seq, from }: TimelineMessage, { after, me }: Unread): boolean {
  return seq !== null && seq > after && from !== me;
}

function isRun(a: TimelineItem | undefined, b: TimelineItem | undefined): boolean {
  return a?.kind === 'message' && b?.kind === 'message' && a.from === b.from && b.ts - a.ts < runMs;
}

function isWorthTelling({ event }: TimelineNotice): boolean {
  return event.name !== 'room_updated' || typeof event.changed.name === 'string';
}
