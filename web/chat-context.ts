// Hands the page's Chat to the components below, and what they ask of it most often.

import { createContext, useContext, useSyncExternalStore } from 'react';
import { useName } from '../client/react/hooks.ts';
import type { Chat } from './chat.ts';
import type { RoomEntry } from './room-entry.ts';

export const ChatStore = createContext<Chat | null>(null);

export function useChatStore(): Chat {
  const chat = useContext(ChatStore);
  if (!chat) throw new Error('no ChatStore above');
  return chat;
}

export function useRooms(): { readonly entries: readonly RoomEntry[]; readonly isLoaded: boolean } {
  const { list } = useChatStore();
  return useSyncExternalStore(list.subscribe, list.get);
}

/** The own user id. */
export function useMe(): string {
  return useChatStore().me?.id ?? '';
}

/** What a room is called: its name, or who it is with. */
export function useTitle({ body, other }: RoomEntry): string {
  const name = useName(other ?? body.created_by);
  if (body.type !== 'direct') return body.name;
  return other === null ? body.name || 'Direct messages' : name;
}
