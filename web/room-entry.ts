// A room of the list: what the page keeps of it beside the SDK's room. Plain state and pure helpers; only chat.ts changes
// it.

import type { Room } from '../client/room.ts';
import type { MemberBody, RoomBody } from './api.ts';

interface LastMessage {
  readonly seq: number;
  readonly ts: number;
  readonly from: string;
  /** Null where it was deleted. */
  readonly text: string | null;
}

export interface RoomEntry {
  readonly room: Room;
  body: RoomBody;
  last: LastMessage | null;
  unread: number;
  readSeq: number;
  /** Messages up to here are in `unread` already. */
  countedSeq: number;
  /** In a direct room, who it is with, once known. */
  other: string | null;
  /** Null until fetched. */
  members: readonly MemberBody[] | null;
  /** What was typed and not sent. */
  draft: string;
}

export function newEntry(room: Room, body: RoomBody, readSeq: number): RoomEntry {
  return {
    room,
    body,
    last: null,
    unread: 0,
    readSeq,
    countedSeq: 0,
    other: null,
    members: null,
    draft: '',
  };
}

/** The path of the room over HTTP. */
export function roomPath(entry: RoomEntry): string {
  return `v1/rooms/${encodeURIComponent(entry.body.id)}`;
}

/** When something last happened in it, for the order of the list. */
export function activityOf({ last, body }: RoomEntry): number {
  return Math.max(last?.ts ?? 0, Date.parse(body.created_at));
}

/** A message as one line of the list. */
export function previewOf(type: string, content: string | Uint8Array): string {
  if (typeof content !== 'string') return 'Encrypted message';
  return type === 'text' ? content : `[${type}]`;
}
