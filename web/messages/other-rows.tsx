// The rows between messages: days, where the new ones begin, who came and went, and the top of it all.

import { memo } from 'react';
import { useChat } from '../../client/react/hooks.ts';
import type { TimelineNotice } from '../../client/timeline.ts';
import { formatDay, joinNames } from '../format.ts';
import { useOpenRoom } from './room-context.ts';

export function DayRow({ ts, rowKey }: { readonly ts: number; readonly rowKey: string }) {
  return (
    <li data-key={rowKey} className="flex justify-center pt-4 pb-1">
      <span className="rounded-full bg-sunken px-3 py-1 text-xs font-semibold text-muted">
        {formatDay(ts, Date.now())}
      </span>
    </li>
  );
}

export function UnreadRow() {
  return (
    <li
      data-key="unread"
      className="flex items-center gap-3 px-6 pt-3 text-xs font-semibold text-accent before:h-px before:flex-1 before:bg-accent/40 after:h-px after:flex-1 after:bg-accent/40"
    >
      New messages
    </li>
  );
}

interface NoticesRowProps {
  readonly rowKey: string;
  readonly notices: readonly TimelineNotice[];
}

export const NoticesRow = memo(
  function NoticesRow({ rowKey, notices }: NoticesRowProps) {
    const { me } = useOpenRoom();
    const { name } = useChat();
    return (
      <li data-key={rowKey} className="px-6 pt-2 text-center text-sm text-muted [overflow-wrap:anywhere]">
        {noticeText(notices, me, name)}
      </li>
    );
  },
  (before, next) => before.rowKey === next.rowKey && before.notices.length === next.notices.length,
);

function noticeText(notices: readonly TimelineNotice[], me: string, name: (user: string) => string): string {
  const joined = new Set<string>();
  const left = new Set<string>();
  const changed: string[] = [];
  for (const { event } of notices) {
    if (event.name === 'user_joined') joined.add(event.user);
    else if (event.name === 'user_left') left.add(event.user);
    else if (typeof event.changed.name === 'string') {
      changed.push(`The room is called “${event.changed.name}” now`);
    }
  }
  const names = (users: ReadonlySet<string>): string => {
    const others = [...users].filter((user) => user !== me).map(name);
    return joinNames(users.has(me) ? ['You', ...others] : others);
  };
  const parts = [...changed];
  if (joined.size > 0) parts.unshift(`${names(joined)} joined`);
  if (left.size > 0) parts.push(`${names(left)} left`);
  return parts.join(' · ');
}

interface TopRowProps {
  readonly hasOlder: boolean;
  readonly isEmpty: boolean;
  readonly title: string;
}

export function TopRow({ hasOlder, isEmpty, title }: TopRowProps) {
  const { isDirect } = useOpenRoom();
  if (hasOlder) {
    return (
      <li data-key="top" className="grid h-24 place-items-center text-sm text-muted">
        <span role="status">{isEmpty ? 'Loading messages …' : 'Loading older messages …'}</span>
      </li>
    );
  }
  return (
    <li data-key="top" className="flex flex-col items-center gap-1 px-6 pt-10 pb-4 text-center">
      <h3 className="text-xl font-bold tracking-tight [overflow-wrap:anywhere]">
        {isDirect ? title : `Welcome to ${title}`}
      </h3>
      <p className="text-muted">
        {isDirect
          ? 'This is the beginning of your conversation.'
          : 'This is where the room begins. Say hello.'}
      </p>
    </li>
  );
}
