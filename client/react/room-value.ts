// What the hooks show of a room: one observed value a room, shared by all components, so that any number of them
// subscribe once. Lives as long as its room; used by hooks.ts.

import type { Member } from '../members.ts';
import type { Presence } from '../presence.ts';
import type { Room, RoomStatus } from '../room.ts';
import type { TimelineItem } from '../timeline.ts';
import { Observed } from './observed.ts';

interface RoomValue {
  /** Messages, and notices of who came and went; oldest first, what is being sent last. */
  readonly items: readonly TimelineItem[];
  readonly hasOlder: boolean;
  /** Others who type. */
  readonly typing: readonly string[];
  /** Null until they are loaded. */
  readonly members: readonly Member[] | null;
  readonly presence: Presence;
  readonly status: RoomStatus;
}

const values = new WeakMap<Room, Observed<RoomValue>>();

export function roomValue(room: Room): Observed<RoomValue> {
  const known = values.get(room);
  if (known) return known;
  const made = new Observed({
    read: () => readRoom(room),
    attach: (onChange) => openRoom(room, onChange),
  });
  values.set(room, made);
  return made;
}

function readRoom({ items, hasOlder, typing, members, presence, status }: Room): RoomValue {
  return { items, hasOlder, typing, members, presence, status };
}

/** Who was heard before stays heard; who was subscribed for the components ends with the last of them. */
function openRoom(room: Room, onChange: () => void): () => void {
  const wasIdle = room.status === 'idle';
  const stop = room.on('change', onChange);
  room.open();
  return () => {
    stop();
    room.close();
    if (wasIdle) room.unsubscribe();
  };
}
