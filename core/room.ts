// What a room and a member are, and who may do what: pure rules, asked by the handlers and the HTTP routes. A rule
// answers null (allowed) or the refusal.

import { type Refusal, refuse } from './protocol/codes.ts';
import type { RoomChanges } from './protocol/events.ts';
import type { Content, Role } from './protocol/frames.ts';

export type RoomType = 'direct' | 'group' | 'channel';

/** A room's record; times in ms. */
export interface Room {
  readonly id: string;
  readonly name: string;
  readonly type: RoomType;
  readonly public: boolean;
  readonly encrypted: boolean;
  readonly archived: boolean;
  readonly avatarUrl: string | null;
  readonly metadata: Readonly<Record<string, unknown>> | null;
  readonly retentionDays: number | null;
  readonly createdBy: string;
  readonly createdAt: number;
  /** The last epoch the store knows of, 1 at first. */
  readonly epoch: number;
}

/** A user's place in a room; absent for those who are no members. */
export interface Member {
  readonly role: Role;
  readonly muted: boolean;
  readonly joinedAt: number;
}

/** A room one may not read is as one that does not exist. */
export function mayRead(room: Room, member: Member | null): Refusal | null {
  return room.public || member !== null ? null : refuse('NOT_FOUND', 'no such room');
}

export function mayJoin(room: Room, member: Member | null): Refusal | null {
  const refusal = mayRead(room, member);
  if (refusal) return refusal;
  return room.archived && member === null ? refuse('FORBIDDEN', 'the room is archived') : null;
}

/** Sending, editing and reacting. */
export function maySend(room: Room, member: Member | null): Refusal | null {
  const refusal = mayRead(room, member);
  if (refusal) return refusal;
  if (member === null) return refuse('FORBIDDEN', 'only members may send');
  if (member.role === 'readonly') return refuse('FORBIDDEN', 'the role is readonly');
  if (member.muted) return refuse('FORBIDDEN', 'muted');
  return room.archived ? refuse('FORBIDDEN', 'the room is archived') : null;
}

/** Changing the room, its members and their roles. */
export function mayAdminister(room: Room, member: Member | null): Refusal | null {
  const refusal = mayRead(room, member);
  if (refusal) return refusal;
  return member?.role === 'admin' ? null : refuse('FORBIDDEN', 'only admins may do that');
}

/** Whether a message's body fits the room and the limits. */
export function checkContent(room: Room, content: Content, contentBytesMax: number): Refusal | null {
  if (typeof content !== 'string' && !room.encrypted) {
    return refuse('BAD_REQUEST', 'content: bin only in encrypted rooms');
  }
  return contentBytes(content) > contentBytesMax
    ? refuse('TOO_LARGE', `content: at most ${contentBytesMax} bytes`)
    : null;
}

/** UTF-8 bytes of a content, without encoding what is surely small. */
function contentBytes(content: Content): number {
  if (typeof content !== 'string') return content.length;
  let bytes = content.length;
  for (let i = 0; i < content.length; i++) {
    const code = content.charCodeAt(i);
    if (code < 0x80) continue;
    // A surrogate pair is 4 bytes over two units: one more for each unit.
    bytes += code < 0x800 || (code >= 0xd800 && code <= 0xdfff) ? 1 : 2;
  }
  return bytes;
}

/** The record after a `room_updated`. */
export function applyChanges(room: Room, changed: RoomChanges): Room {
  return {
    ...room,
    name: changed.name ?? room.name,
    public: changed.public ?? room.public,
    archived: changed.archived ?? room.archived,
    avatarUrl: changed.avatar_url === undefined ? room.avatarUrl : changed.avatar_url,
    metadata: changed.metadata === undefined ? room.metadata : changed.metadata,
    retentionDays: changed.retention_days === undefined ? room.retentionDays : changed.retention_days,
  };
}
