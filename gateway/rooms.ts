// What users do to rooms, whatever they came by: the socket handlers and the HTTP routes call the same verbs here. Each
// asks core/room.ts whether it is allowed, appends the event, and answers when it holds.

import type { Refusal } from '../core/protocol/codes.ts';
import type { RoomChanges } from '../core/protocol/events.ts';
import type { Content, Level, Role } from '../core/protocol/frames.ts';
import type { Member, Room } from '../core/room.ts';
import type { EventPage, NewMember, NewRoom } from './store/store.ts';

export interface Appended {
  readonly seq: number;
  readonly ts: number;
  readonly level: Level;
  readonly repeated: boolean;
}

export interface Access {
  readonly room: Room;
  readonly member: Member | null;
}

/** Tells a refusal from a result. */
export function isRefusal(value: object): value is Refusal {
  return 'code' in value;
}

export interface Rooms {
  /** The room as this user may read it, else NOT_FOUND. */
  access(user: string, room: string): Promise<Access | Refusal>;
  /** Makes a room and tells its members; CONFLICT where the id is taken. */
  create(room: NewRoom, members: readonly NewMember[]): Promise<Room | Refusal>;
  send(
    user: string,
    room: string,
    message: { id: Uint8Array; type: string; content: Content; meta: Readonly<Record<string, unknown>> | null },
  ): Promise<Appended | Refusal>;
  history(
    user: string,
    room: string,
    before: number | null,
    after: number | null,
    limit: number,
    messagesOnly: boolean,
  ): Promise<EventPage | Refusal>;
  /** Makes the user a member of a room he may join, or does nothing where he is one. */
  join(user: string, room: string): Promise<Access | Refusal>;
  /** Adds a member, or changes one's role or mute; by an admin. */
  setMember(
    actor: string,
    room: string,
    user: string,
    changes: { role?: Role; muted?: boolean },
  ): Promise<Member | Refusal>;
  /** Leaving, where actor and user are the same, else removal by an admin. */
  removeMember(actor: string, room: string, user: string): Promise<null | Refusal>;
  /** Changes the record; by an admin. `deleted` ends the room. */
  update(actor: string, room: string, changes: RoomChanges): Promise<Room | Refusal>;
  /** Heads of rooms the caller may read, in the order asked for: seq and number of messages. */
  heads(rooms: readonly string[]): Promise<readonly { seq: number; messages: number }[]>;
}
