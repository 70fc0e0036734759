// Present content: what edits and deletes make of earlier events, as history and replay show them. Pure; used by the ring
// and by gateway/history.ts for events that the store does not have yet.

import { encodeMap, encodeMessage, encodeMessageEdited } from './protocol/encode.ts';
import { decodeEvent, type MessageEvent, type RoomEvent } from './protocol/events.ts';
import type { Content } from './protocol/frames.ts';
import { eventOps } from './protocol/ops.ts';
import { readOp, stamp } from './protocol/stamp.ts';

/** The event at `seq` after `change`, encoded; null where the change does not touch it. */
export function foldInto(bytes: Uint8Array, change: RoomEvent): Uint8Array | null {
  if (change.op !== eventOps.message_edited && change.op !== eventOps.message_deleted) return null;
  const op = readOp(bytes);
  if (op !== eventOps.message && op !== eventOps.message_edited) return null;
  const event = decodeEvent(bytes);
  if (event.op === eventOps.message_edited) {
    // The content of a deleted message is in none of its edits.
    if (change.op !== eventOps.message_deleted || event.target !== change.target) return null;
    const edited = encodeMessageEdited(event.room, event.from, event.target, null);
    stamp(edited, 0, event.seq, event.ts);
    return edited;
  }
  if (event.op !== eventOps.message || event.seq !== change.target || event.content === null) return null;
  if (change.op === eventOps.message_deleted) return encodeMessageOf(event, null, { deleted: true });
  return change.content === null ? null : encodeMessageOf(event, change.content, event.meta);
}

function encodeMessageOf(
  event: MessageEvent,
  content: Content | null,
  meta: MessageEvent['meta'],
): Uint8Array {
  const encoded = meta === null ? null : encodeMap(meta);
  const bytes = encodeMessage(event.room, event.from, event.id, event.type, content, encoded);
  stamp(bytes, 0, event.seq, event.ts);
  return bytes;
}

/** Events with every later edit and delete among `changes` folded in. `changes` ascend by seq. */
export function foldEvents(events: readonly Uint8Array[], changes: readonly RoomEvent[]): Uint8Array[] {
  const relevant = changes.filter(
    ({ op }) => op === eventOps.message_edited || op === eventOps.message_deleted,
  );
  if (relevant.length === 0) return [...events];
  return events.map((bytes) =>
    relevant.reduce((folded, change) => foldInto(folded, change) ?? folded, bytes),
  );
}
