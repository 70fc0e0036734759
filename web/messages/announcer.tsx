// Reads new messages of others out to screen readers: the list itself is drawn in windows, and would be read out while
// one scrolls. Says the newest one, at most once a second, so that a busy room can be followed.

import { useEffect, useRef, useState } from 'react';
import { useChat } from '../../client/react/hooks.ts';
import type { TimelineItem } from '../../client/timeline.ts';
import { useMe } from '../chat-context.ts';
import { previewOf } from '../room-entry.ts';

const everyMs = 1000;

export function Announcer({ items }: { readonly items: readonly TimelineItem[] }) {
  const me = useMe();
  const { chat } = useChat();
  const [said, setSaid] = useState('');
  const spoken = useRef<number | null>(null);
  const last = items.findLast((item) => item.kind === 'message' && item.seq !== null);
  useEffect(() => {
    if (last?.kind !== 'message' || last.seq === null) return;
    // What was here when the room was opened is not news.
    spoken.current ??= last.seq;
    if (last.seq <= spoken.current || last.from === me) return;
    const { seq, from, type, content } = last;
    const timer = setTimeout(() => {
      spoken.current = seq;
      setSaid(`${chat.users.name(from)}: ${previewOf(type, content) ?? 'Message deleted'}`);
    }, everyMs);
    return () => clearTimeout(timer);
  }, [last, me, chat]);
  return (
    <p aria-live="polite" className="sr-only">
      {said}
    </p>
  );
}
