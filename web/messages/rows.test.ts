import { expect, test } from 'bun:test';
import type { TimelineItem, TimelineMessage } from '../../client/timeline.ts';
import { type Row, toRows } from './rows.ts';

const noon = new Date(2026, 4, 5, 12).getTime();
const minute = 60_000;

function message(seq: number, from: string, ts: number): TimelineMessage {
  return {
    kind: 'message',
    key: `m${seq}`,
    seq,
    ts,
    from,
    type: 'text',
    content: 'x',
    meta: null,
    isEdited: false,
    reactions: [],
    state: 'sent',
    error: null,
    level: null,
    reach: { recipients: 0, delivered: 0, read: 0 },
  } as TimelineMessage;
}

function joined(seq: number, user: string, ts: number): TimelineItem {
  const event = { name: 'user_joined', seq, ts, room: 'r', from: null, user, role: 'member' } as const;
  return { kind: 'notice', key: `n${seq}`, seq, ts, event };
}

const nothingUnread = { after: Number.POSITIVE_INFINITY, me: 'me' };
const show = (row: Row) =>
  row.kind === 'message'
    ? `${row.key}${row.isFirst ? ' first' : ''}${row.isLast ? ' last' : ''}`
    : row.kind === 'notices'
      ? `notices ${row.notices.length}`
      : row.kind;

test('messages of one author within minutes are one run', () => {
  const items = [
    message(1, 'ann', noon),
    message(2, 'ann', noon + minute),
    message(3, 'bob', noon + 2 * minute),
    message(4, 'bob', noon + 20 * minute),
  ];
  expect(toRows(items, nothingUnread).map(show)).toEqual([
    'top',
    'day',
    'm1 first',
    'm2 last',
    'm3 first last',
    'm4 first last',
  ]);
});

test('a new day begins with its name and ends a run', () => {
  const midnight = new Date(2026, 4, 6).getTime();
  const items = [message(1, 'ann', midnight - 1000), message(2, 'ann', midnight)];
  expect(toRows(items, nothingUnread).map(show)).toEqual([
    'top',
    'day',
    'm1 first last',
    'day',
    'm2 first last',
  ]);
});

test('what is new begins at the first message of another after the mark', () => {
  const items = [message(1, 'ann', noon), message(2, 'me', noon + 1), message(3, 'ann', noon + 2)];
  expect(toRows(items, { after: 1, me: 'me' }).map(show)).toEqual([
    'top',
    'day',
    'm1 first last',
    'm2 first last',
    'unread',
    'm3 first last',
  ]);
});

test('notices that follow each other are one row, without changes that say nothing', () => {
  const muted = { name: 'room_updated', seq: 3, ts: noon, room: 'r', from: 'ann', changed: { member: {} } };
  const items: TimelineItem[] = [
    joined(1, 'ann', noon),
    joined(2, 'bob', noon),
    { kind: 'notice', key: 'n3', seq: 3, ts: noon, event: muted as never },
    message(4, 'ann', noon),
    joined(5, 'eve', noon),
  ];
  expect(toRows(items, nothingUnread).map(show)).toEqual([
    'top',
    'day',
    'notices 2',
    'm4 first last',
    'notices 1',
  ]);
});
