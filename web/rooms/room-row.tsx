// One room of the list: who or what it is, the last message and what is unread. Drawn anew only when its entry is.

import { memo } from 'react';
import { useName } from '../../client/react/hooks.ts';
import { roomAddress } from '../address.ts';
import { useMe, useTitle } from '../chat-context.ts';
import { formatFull, formatShort } from '../format.ts';
import type { RoomEntry } from '../room-entry.ts';
import { EntryAvatar } from './entry-avatar.tsx';

const unreadShownMax = 99;

interface RoomRowProps {
  readonly entry: RoomEntry;
  readonly isCurrent: boolean;
}

export const RoomRow = memo(function RoomRow({ entry, isCurrent }: RoomRowProps) {
  const { last, unread } = entry;
  const title = useTitle(entry);
  const look = isCurrent ? 'bg-selected' : 'hover:bg-hover';
  return (
    <li>
      <a
        href={roomAddress(entry.id)}
        aria-current={isCurrent ? 'page' : undefined}
        className={`flex items-center gap-3 rounded-xl px-3 py-2.5 -outline-offset-2 transition-colors ${look}`}
      >
        <EntryAvatar entry={entry} title={title} />
        <span className="flex min-w-0 flex-1 flex-col">
          <span className="flex items-baseline gap-2">
            <span className={`flex-1 truncate ${unread > 0 ? 'font-bold' : 'font-semibold'}`}>{title}</span>
            {last && (
              <time
                dateTime={new Date(last.ts).toISOString()}
                title={formatFull(last.ts)}
                className="flex-none text-xs text-muted"
              >
                {formatShort(last.ts, Date.now())}
              </time>
            )}
          </span>
          <span className="flex items-center gap-2">
            <span className={`flex-1 truncate text-sm ${unread > 0 ? 'text-ink' : 'text-muted'}`}>
              <Preview entry={entry} />
            </span>
            {unread > 0 && (
              <span
                role="img"
                aria-label={`${unread} unread`}
                className="grid h-5 min-w-5 flex-none place-items-center rounded-full bg-accent px-1.5 text-xs font-semibold text-on-accent"
              >
                {unread > unreadShownMax ? `${unreadShownMax}+` : unread}
              </span>
            )}
          </span>
        </span>
      </a>
    </li>
  );
});

function Preview({ entry: { last, body } }: { readonly entry: RoomEntry }) {
  const me = useMe();
  const author = useName(last?.from ?? me);
  if (!last) {
    if (body.type === 'direct') return 'No messages yet';
    return body.public ? 'Public room' : 'Private room';
  }
  const text = last.text ?? 'Message deleted';
  if (last.from === me) return `You: ${text}`;
  return body.type === 'direct' ? text : `${author}: ${text}`;
}
