// The button over the list's end while the reader is further up: how much is new, and the way there.

import { useState } from 'react';
import type { TimelineItem } from '../../client/timeline.ts';
import { useMe } from '../chat-context.ts';
import { Icon } from '../ui/icon.tsx';

interface NewPillProps {
  readonly items: readonly TimelineItem[];
  readonly isAtEnd: boolean;
  onClick(): void;
}

export function NewPill({ items, isAtEnd, onClick }: NewPillProps) {
  const me = useMe();
  const [seenSeq, setSeenSeq] = useState(0);
  const newest = newestSeq(items);
  // What came while the reader was at the end was seen.
  if (isAtEnd && newest > seenSeq) setSeenSeq(newest);
  if (isAtEnd) return null;
  const count = countNew(items, seenSeq, me);
  const label = count === 0 ? 'To the newest' : `${count} new message${count === 1 ? '' : 's'}`;
  return (
    <button
      type="button"
      onClick={onClick}
      aria-label={label}
      className={`absolute bottom-3 flex h-10 animate-pop items-center gap-2 rounded-full px-3 text-sm font-semibold shadow-pop ${count === 0 ? 'right-5 bg-raised text-muted hover:text-ink' : 'left-1/2 -translate-x-1/2 bg-accent text-on-accent'}`}
    >
      <Icon name="down" className="size-4" />
      {count > 0 && label}
    </button>
  );
}

function newestSeq(items: readonly TimelineItem[]): number {
  return items.findLast((item) => item.seq !== null)?.seq ?? 0;
}

function countNew(items: readonly TimelineItem[], seenSeq: number, me: string): number {
  let count = 0;
  for (let at = items.length - 1; at >= 0; at--) {
    const item = items[at];
    if (item?.seq === null || item === undefined) continue;
    if (item.seq <= seenSeq) break;
    if (item.kind === 'message' && item.from !== me) count++;
  }
  return count;
}
