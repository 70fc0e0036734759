// What the rows of an open room share: the room, and what one can do with a message. The same object while the room is
// open, so that rows are not drawn anew for it.

import { createContext, useContext } from 'react';
import type { Room } from '../../client/room.ts';
import type { TimelineMessage } from '../../client/timeline.ts';

export interface OpenRoom {
  readonly room: Room;
  readonly me: string;
  /** In a room of two names and counts are left out. */
  readonly isDirect: boolean;
  /** Whether the user may send here, as it is now. */
  maySend(): boolean;
  /** Whether the user may delete what others wrote. */
  isAdmin(): boolean;
  reply(message: TimelineMessage): void;
  edit(message: TimelineMessage): void;
  askDelete(message: TimelineMessage): void;
  showInfo(message: TimelineMessage): void;
  /** Shows the message of this seq, wherever it is. */
  goTo(seq: number): void;
}

export const OpenRoomContext = createContext<OpenRoom | null>(null);

export function useOpenRoom(): OpenRoom {
  const open = useContext(OpenRoomContext);
  if (!open) throw new Error('no OpenRoomContext above');
  return open;
}
