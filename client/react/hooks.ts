// The hooks: useChat, useRoom, useTyping, usePresence, useName. Each draws its component at most once a frame, and only
// where what it shows differs. Several of them on one room subscribe once.

import { useCallback, useMemo, useSyncExternalStore } from 'react';
import type { Connection, ConnectionState } from '../connection.ts';
import type { Status } from '../frames.ts';
import type { Member } from '../members.ts';
import type { Draft, Sending } from '../outbox.ts';
import type { Presence } from '../presence.ts';
import type { Room, RoomStatus } from '../room.ts';
import type { TimelineItem, TimelineMessage } from '../timeline.ts';
import { chatValue } from './chat-value.ts';
import { useConnection } from './provider.ts';
import { roomValue } from './room-value.ts';

export interface Chat {
  readonly chat: Connection;
  readonly state: ConnectionState;
  readonly isOnline: boolean;
  /** The own user id, null until the first connection stands. */
  readonly user: string | null;
  /** A user's name as far as it is known; draws again when it comes. */
  name(user: string): string;
}

/** The connection of the ChatProvider above, and its state. */
export function useChat(): Chat {
  const chat = useConnection();
  const value = chatValue(chat);
  const { state, user, names } = useSyncExternalStore(value.subscribe, value.get, value.get);
  return useMemo(
    () => ({ chat, state, user, isOnline: state.name === 'online', name: (id) => nameIn(chat, id, names) }),
    [chat, state, user, names],
  );
}

/** `names` is what the answer depends on besides the id. */
function nameIn(chat: Connection, id: string, _names: object): string {
  return chat.users.name(id);
}

/** One user's name: draws again only when that name differs. */
export function useName(user: string): string {
  const chat = useConnection();
  const value = chatValue(chat);
  const read = (): string => chat.users.name(user);
  return useSyncExternalStore(value.subscribe, read, read);
}

export interface RoomHook {
  readonly room: Room;
  /** Oldest first; those being sent last. */
  readonly messages: readonly TimelineMessage[];
  /** The messages, and notices of who came and went. */
  readonly items: readonly TimelineItem[];
  readonly hasOlder: boolean;
  readonly typing: readonly string[];
  /** Null until they are loaded. */
  readonly members: readonly Member[] | null;
  readonly presence: Presence;
  readonly status: RoomStatus;
  /** Shows at once, is sent when it can be. */
  send(draft: Draft | string): Sending;
  /** Sends a failed message again. */
  retry(id: string): void;
  /** Reads an older page; calls that overlap share one. */
  loadOlder(): Promise<void>;
}

/** Opens a room while the component is mounted. */
export function useRoom(roomId: string): RoomHook {
  const room = useConnection().room(roomId);
  const value = roomValue(room);
  const shown = useSyncExternalStore(value.subscribe, value.get, value.get);
  const { items } = shown;
  const messages = useMemo(() => items.filter((item) => item.kind === 'message'), [items]);
  const actions = useMemo(
    () => ({
      send: (draft: Draft | string) => room.send(draft),
      retry: (id: string) => room.retry(id),
      loadOlder: () => room.loadOlder(),
    }),
    [room],
  );
  return useMemo(() => ({ ...shown, ...actions, room, messages }), [shown, actions, room, messages]);
}

export interface TypingHook {
  /** Others who type. */
  readonly typing: readonly string[];
  /** To be called at each key; repeats and ends by itself. */
  typed(): void;
}

export function useTyping(roomId: string): TypingHook {
  const room = useConnection().room(roomId);
  const value = roomValue(room);
  const read = () => value.get().typing;
  const typing = useSyncExternalStore(value.subscribe, read, read);
  const typed = useCallback(() => room.typed(), [room]);
  return useMemo(() => ({ typing, typed }), [typing, typed]);
}

export interface PresenceHook extends Presence {
  statusOf(user: string): Status;
}

export function usePresence(roomId: string): PresenceHook {
  const room = useConnection().room(roomId);
  const value = roomValue(room);
  const read = () => value.get().presence;
  const presence = useSyncExternalStore(value.subscribe, read, read);
  return useMemo(
    () => ({ ...presence, statusOf: (user) => presence.users.get(user) ?? 'offline' }),
    [presence],
  );
}
