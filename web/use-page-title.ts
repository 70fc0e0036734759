// The title of the browser's tab: how much is unread, and the open room.

import { useEffect } from 'react';
import { useName } from '../client/react/hooks.ts';
import { useMe, useRooms } from './chat-context.ts';
import type { RoomEntry } from './room-entry.ts';

export function usePageTitle(entry: RoomEntry | null): void {
  const me = useMe();
  const { entries } = useRooms();
  const other = useName(entry?.other ?? me);
  const room = entry?.body.type === 'direct' && entry.other !== null ? other : entry?.body.name;
  const unread = entries.reduce((sum, { unread: count }) => sum + count, 0);
  useEffect(() => {
    const name = room ? `${room} · Parley` : 'Parley';
    document.title = unread > 0 ? `(${unread}) ${name}` : name;
    return () => {
      document.title = 'Parley';
    };
  }, [room, unread]);
}
