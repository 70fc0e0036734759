// Whether one user is there, in a room that is heard anyway. Opens nothing: a row of the list may not make the room read
// its history. So it knows who has come, and not who was not there from the beginning.

import { useCallback, useSyncExternalStore } from 'react';
import type { Status } from '../client/frames.ts';
import type { Room } from '../client/room.ts';

/** Undefined where it is not known. */
export function usePresenceOf(room: Room, user: string): Status | undefined {
  const subscribe = useCallback((onChange: () => void) => room.on('change', onChange), [room]);
  return useSyncExternalStore(subscribe, () => room.presence.users.get(user));
}
