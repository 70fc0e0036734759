// A room of the list, as the page shows it: plain values, made anew when something changes. Only chat.ts makes them.

import type { Room } from '../client/room.ts';
import type { RoomBody, RoomSummary } from './api.ts';

interface LastMessage {
  readonly seq: number;
  readonly ts: number;
  readonly from: string;
  /** Null where it was deleted. */
  readonly text: string | null;
}

export interface RoomEntry {
  readonly id: string;
  readonly room: Room;
  readonly body: RoomBody;
  readonly last: LastMessage | null;
  readonly unread: number;
  readonly readSeq: number;
  /** Messages up to here are in `unread` already. */
  readonly countedSeq: number;
  /** In a direct room, who it is with, once known. */
  readonly other: string | null;
}

export function newEntry(room: Room, body: RoomSummary): RoomEntry {
  const { id, read_seq: readSeq } = body;
  return { id, room, body, last: null, unread: 0, readSeq, countedSeq: 0, other: null };
}

/** What the server's list says, where it is newer than what came live. */
export function withSummary(entry: RoomEntry, summary: RoomSummary): RoomEntry {
  const isNewer = summary.head_seq >= entry.countedSeq;
  return {
    ...entry,
    body: summary,
    readSeq: Math.max(entry.readSeq, summary.read_seq),
    countedSeq: isNewer ? summary.head_seq : entry.countedSeq,
    unread: isNewer && summary.read_seq >= entry.readSeq ? summary.unread : entry.unread,
    last: lastOf(entry, summary),
  };
}

function lastOf({ last }: RoomEntry, { last_message: newest }: RoomSummary): LastMessage | null {
  if (!newest || newest.seq < (last?.seq ?? 0)) return last;
  const { seq, ts, from, type, content } = newest;
  return { seq, ts: Date.parse(ts), from, text: previewOf(type, content) };
}

/** When something last happened in it, for the order of the list. */
export function activityOf({ last, body }: RoomEntry): number {
  return Math.max(last?.ts ?? 0, Date.parse(body.created_at));
}

/** A message as one line of the list; null where it was deleted. */
export function previewOf(type: string, content: string | Uint8Array | null): string | null {
  if (content === null) return null;
  if (typeof content !== 'string') return 'Encrypted message';
  return type === 'text' ? content : `[${type}]`;
}
