// The address says which room is open: `#ROOM`. So the browser's back button works, and a room can be linked to.

import { useSyncExternalStore } from 'react';

/** The list of rooms, on a phone. */
export const listAddress = '#';

export function roomAddress(id: string): string {
  return `#${encodeURIComponent(id)}`;
}

/** Opens a room; null opens none. */
export function goToRoom(id: string | null): void {
  location.hash = id === null ? '' : encodeURIComponent(id);
}

/** The same without a step in the browser's history. */
export function replaceRoom(id: string | null): void {
  history.replaceState(null, '', id === null ? '#' : roomAddress(id));
  dispatchEvent(new HashChangeEvent('hashchange'));
}

/** The room of the address, null where it names none. */
export function useRoomId(): string | null {
  return useSyncExternalStore(subscribe, roomOfAddress);
}

function subscribe(onChange: () => void): () => void {
  addEventListener('hashchange', onChange);
  return () => removeEventListener('hashchange', onChange);
}

function roomOfAddress(): string | null {
  try {
    const id = decodeURIComponent(location.hash.slice(1));
    return id === '' ? null : id;
  } catch {
    // A hand-written address that is no encoding of anything.
    return null;
  }
}
