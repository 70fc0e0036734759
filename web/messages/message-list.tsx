// The messages of the open room: the rows near the viewport, what is new, older pages on scrolling up, and keys to walk
// through it all.

import type { Ref } from 'react';
import { type KeyboardEvent, useEffect, useImperativeHandle, useMemo, useRef, useState } from 'react';
import type { RoomHook } from '../../client/react/hooks.ts';
import { useChatStore, useMe } from '../chat-context.ts';
import type { RoomEntry } from '../room-entry.ts';
import { useNotices } from '../ui/notice.tsx';
import { Announcer } from './announcer.tsx';
import { MessageRow } from './message-row.tsx';
import { NewPill } from './new-pill.tsx';
import { DayRow, NoticesRow, TopRow, UnreadRow } from './other-rows.tsx';
import { type Row, toRows } from './rows.ts';
import { useOlder } from './use-older.ts';
import { useWindow } from './use-window.ts';

/** What stays of a room that is left open for long, and is read at its end. */
const itemsMax = 12_000;
const itemsKept = 10_000;
/** A message that was gone to stands out for so long. */
const markedMs = 1600;
/** How many older pages a way back may cost. */
const pagesToMax = 25;

export interface MessageListHandle {
  scrollToEnd(): void;
  /** Shows the message of this seq. */
  goTo(seq: number): void;
  focusLast(): void;
}

interface MessageListProps {
  readonly entry: RoomEntry;
  readonly title: string;
  readonly shown: RoomHook;
  readonly ref: Ref<MessageListHandle>;
  /** Escape: back to where one writes. */
  onLeave(): void;
}

export function MessageList({ entry, title, shown, ref, onLeave }: MessageListProps) {
  const chat = useChatStore();
  const notices = useNotices();
  const me = useMe();
  const { items, hasOlder, room, status } = shown;
  // What was unread when it was opened stays marked while it is open.
  const [unreadAfter] = useState(() => (entry.unread > 0 ? entry.readSeq : Number.POSITIVE_INFINITY));
  const rows = useMemo(() => toRows(items, { after: unreadAfter, me }), [items, unreadAfter, me]);
  const view = useWindow(rows);
  const { isAtEnd, range, scrollToEnd, scrollToRow } = view;
  const [activeKey, setActiveKey] = useState<string | null>(null);
  const [markedKey, setMarkedKey] = useState<string | null>(null);
  const wanted = useRef<number | null>(null);
  useOlder(shown, view.rowsAbove);

  const isLookedAt = isAtEnd && status === 'live';
  // biome-ignore lint/correctness/useExhaustiveDependencies: each change of the items may have brought something to see.
  useEffect(() => {
    const see = (): void => {
      if (!isLookedAt || document.hidden) return;
      chat.markSeen(room.id);
      if (room.items.length > itemsMax) room.trim(itemsKept);
    };
    see();
    document.addEventListener('visibilitychange', see);
    return () => document.removeEventListener('visibilitychange', see);
  }, [chat, room, items, isLookedAt]);

  useEffect(() => {
    if (markedKey === null) return;
    const timer = setTimeout(() => setMarkedKey(null), markedMs);
    return () => clearTimeout(timer);
  }, [markedKey]);
  useEffect(() => {
    if (wanted.current === null) return;
    const key = keyOf(rows, wanted.current);
    if (key === null || !scrollToRow(key)) return;
    wanted.current = null;
    setMarkedKey(key);
  }, [rows, scrollToRow]);

  const goTo = async (seq: number): Promise<void> => {
    const key = keyOf(rows, seq);
    if (key !== null) {
      scrollToRow(key);
      setMarkedKey(key);
      return;
    }
    wanted.current = seq;
    for (let page = 0; page < pagesToMax && wanted.current === seq; page++) {
      if (!room.hasOlder) break;
      await room.loadOlder();
      if ((room.items[0]?.seq ?? 0) <= seq) return;
    }
    wanted.current = null;
    notices.tell('That message is too far back. Scroll up to it.');
  };

  const focusRow = (key: string): void => {
    setActiveKey(key);
    const find = () => view.list.current?.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`);
    find()?.focus({ preventScroll: true });
    find()?.scrollIntoView({ block: 'nearest' });
  };
  const focusLast = (): void => {
    const last = rows.findLast((row) => row.kind === 'message');
    if (last) focusRow(last.key);
  };
  useImperativeHandle(ref, () => ({ scrollToEnd, goTo: (seq) => notices.attempt(goTo(seq)), focusLast }));

  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' && !event.defaultPrevented) return onLeave();
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const from = document.activeElement?.closest<HTMLElement>('[data-key]')?.dataset.key;
    if (step === undefined || from === undefined) return;
    const next = stepFrom(rows, from, step);
    if (next === null) return;
    event.preventDefault();
    focusRow(next);
  };

  const drawn = rows.slice(range.start, range.end);
  const tabStop = findTabStop(drawn, activeKey);
  return (
    <div className="relative min-h-0 flex-1">
      <div
        ref={view.scroller}
        data-scroller=""
        onScroll={view.onScroll}
        className="keeps-own-place relative h-full overflow-x-hidden overflow-y-auto overscroll-contain"
      >
        <div className="flex min-h-full flex-col justify-end">
          <div style={{ height: view.before }} />
          <ol ref={view.list} aria-label="Messages" onKeyDown={onKeyDown} className="pb-3">
            {drawn.map((row) => (
              <AnyRow
                key={row.key}
                row={row}
                title={title}
                isTabStop={row.key === tabStop}
                isMarked={row.key === markedKey}
                hasOlder={hasOlder}
                isEmpty={items.length === 0}
              />
            ))}
          </ol>
          <div style={{ height: view.after }} />
        </div>
      </div>
      <NewPill items={items} isAtEnd={isAtEnd} onClick={scrollToEnd} />
      <Announcer items={items} />
    </div>
  );
}

interface AnyRowProps {
  readonly row: Row;
  readonly title: string;
  readonly isTabStop: boolean;
  readonly isMarked: boolean;
  readonly hasOlder: boolean;
  readonly isEmpty: boolean;
}

function AnyRow({ row, title, isTabStop, isMarked, hasOlder, isEmpty }: AnyRowProps) {
  switch (row.kind) {
    case 'message': {
      const { message, isFirst, isLast } = row;
      return <MessageRow {...{ message, isFirst, isLast, isTabStop, isMarked }} />;
    }
    case 'day':
      return <DayRow ts={row.ts} rowKey={row.key} />;
    case 'unread':
      return <UnreadRow />;
    case 'notices':
      return <NoticesRow rowKey={row.key} notices={row.notices} />;
    case 'top':
      return <TopRow hasOlder={hasOlder} isEmpty={isEmpty} title={title} />;
  }
}

function keyOf(rows: readonly Row[], seq: number): string | null {
  return rows.find((row) => row.kind === 'message' && row.message.seq === seq)?.key ?? null;
}

/** The next message above or below this row. */
function stepFrom(rows: readonly Row[], key: string, step: number): string | null {
  let at = rows.findIndex((row) => row.key === key) + step;
  while (rows[at] && rows[at]?.kind !== 'message') at += step;
  return rows[at]?.key ?? null;
}

function findTabStop(drawn: readonly Row[], activeKey: string | null): string | null {
  if (drawn.some(({ key }) => key === activeKey)) return activeKey;
  return drawn.findLast(({ kind }) => kind === 'message')?.key ?? null;
}
