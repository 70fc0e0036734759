// Writes batches of events and everything they change into the embedded database. Runs in the worker, synchronously, one
// transaction a batch; store.ts says what a commit promises. An event that is there already changed everything it
// changes in the transaction that stored it, so it is passed over whole.

import type { Database } from 'bun:sqlite';
import { encodeMap, encodeMessageEdited } from '../../core/protocol/encode.ts';
import {
  type DeletedEvent,
  decodeEvent,
  type EditedEvent,
  type MessageEvent,
  type RoomEvent,
  type RoomUpdatedEvent,
} from '../../core/protocol/events.ts';
import { eventOps } from '../../core/protocol/ops.ts';
import { fieldBytes } from '../../core/protocol/slice.ts';
import { stamp } from '../../core/protocol/stamp.ts';
import { applyChanges } from '../../core/room.ts';
import { type RoomRow, roomColumns, toRoom } from './sqlite-rows.ts';
import type { Repeat } from './store.ts';

/** A batch on its way to the worker: event i ends at `ends[i]` in `bytes`. */
export interface PackedEvents {
  readonly bytes: Uint8Array;
  readonly ends: Float64Array;
  readonly numbers: Float64Array;
}

/** Where `meta` stands in an encoded message. */
const metaField = 8;
const deletedMeta = encodeMap({ deleted: true });

export function prepareCommit(db: Database) {
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');
  const insertMessage = db.prepare(
    `INSERT INTO messages (room, seq, ts, sender, id, type, content, meta, number)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  );
  const selectById = db.prepare<{ seq: number; ts: number; from: string }, [string, Uint8Array]>(
    'SELECT seq, ts, sender AS "from" FROM messages WHERE room = ? AND id = ?',
  );
  const insertEvent = db.prepare(
    'INSERT INTO room_events (room, seq, ts, op, target, bytes) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const selectDeleted = db.prepare<{ deleted: number }, [string, number]>(
    'SELECT deleted_seq IS NOT NULL AS deleted FROM messages WHERE room = ? AND seq = ?',
  );
  const editMessage = db.prepare(
    `UPDATE messages SET content = ?3, edited_seq = ?4, edited_ts = ?5
     WHERE room = ?1 AND seq = ?2 AND deleted_seq IS NULL AND coalesce(edited_seq, 0) < ?4`,
  );
  const deleteMessage = db.prepare(
    `UPDATE messages SET content = NULL, meta = ?3, deleted_seq = ?4, deleted_ts = ?5
     WHERE room = ?1 AND seq = ?2 AND deleted_seq IS NULL`,
  );
  const selectEdits = db.prepare<{ seq: number; bytes: Uint8Array }, [string, number]>(
    'SELECT seq, bytes FROM room_events WHERE room = ? AND target = ?',
  );
  const rewriteEvent = db.prepare('UPDATE room_events SET bytes = ?3 WHERE room = ?1 AND seq = ?2');
  const setReaction = db.prepare(
    `INSERT INTO reactions (room, target, user, emoji, is_on, seq, ts) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET is_on = excluded.is_on, seq = excluded.seq, ts = excluded.ts
     WHERE excluded.seq > reactions.seq`,
  );
  const joinMember = db.prepare(
    `INSERT INTO room_members (room, user, role, joined_at, changed_seq, joined_number) SELECT ?1, ?2, ?3, ?4, ?5, ?6
     WHERE NOT EXISTS (SELECT 1 FROM rooms WHERE id = ?1 AND deleted_seq IS NOT NULL)
     ON CONFLICT DO UPDATE SET role = excluded.role, joined_at = iif(left_at IS NULL, joined_at, excluded.joined_at),
       joined_number = iif(left_at IS NULL, joined_number, excluded.joined_number),
       left_at = NULL, changed_seq = excluded.changed_seq
     WHERE excluded.changed_seq > room_members.changed_seq`,
  );
  const leaveMember = db.prepare(
    `UPDATE room_members SET left_at = ?3, changed_seq = ?4
     WHERE room = ?1 AND user = ?2 AND left_at IS NULL AND changed_seq < ?4`,
  );
  const setMember = db.prepare(
    `UPDATE room_members SET role = ?3, muted = ?4, changed_seq = ?5
     WHERE room = ?1 AND user = ?2 AND left_at IS NULL AND changed_seq < ?5`,
  );
  const selectOlderRoom = db.prepare<RoomRow, [string, number]>(
    `SELECT ${roomColumns} FROM rooms r WHERE r.id = ? AND r.deleted_seq IS NULL AND r.changed_seq < ?`,
  );
  const updateRoom = db.prepare(
    `UPDATE rooms SET name = ?2, public = ?3, archived = ?4, avatar_url = ?5, metadata = ?6, retention_days = ?7,
       changed_seq = ?8, deleted_seq = ?9 WHERE id = ?1`,
  );
  const leaveAll = db.prepare(
    'UPDATE room_members SET left_at = ?2, changed_seq = ?3 WHERE room = ?1 AND left_at IS NULL',
  );
  const startEpoch = db.prepare('UPDATE rooms SET epoch = max(epoch, ?2) WHERE id = ?1');

  /** The repeat that stands in the way, or null. */
  function storeMessage(
    event: MessageEvent,
    bytes: Uint8Array,
    number: number,
    index: number,
  ): Repeat | null {
    const { room, seq, ts, from, id, type, content } = event;
    const meta = event.meta === null ? null : fieldBytes(bytes, metaField);
    if (insertMessage.run(room, seq, ts, from, id, type, content, meta, number).changes > 0) return null;
    const earlier = selectById.get(room, id);
    if (earlier === null) throw new Error(`seq ${seq} of room ${room} is another message's`);
    return earlier.seq === seq ? null : { index, ...earlier };
  }

  function storeChange(event: Exclude<RoomEvent, MessageEvent>, bytes: Uint8Array, number: number): void {
    const { room, seq, ts, op } = event;
    const isEdit = op === eventOps.message_edited;
    // An edit that the log put behind the delete of its message leaves no content behind.
    const kept =
      isEdit && selectDeleted.get(room, event.target)?.deleted === 1 ? withoutContent(event) : bytes;
    if (insertEvent.run(room, seq, ts, op, isEdit ? event.target : null, kept).changes > 0) {
      apply(event, number);
    }
  }

  /** `number`: messages of the room before the event. */
  function apply(event: Exclude<RoomEvent, MessageEvent>, number: number): void {
    const { room, seq, ts } = event;
    switch (event.op) {
      case eventOps.message_edited:
        editMessage.run(room, event.target, event.content, seq, ts);
        return;
      case eventOps.message_deleted:
        applyDelete(event);
        return;
      case eventOps.reaction:
        setReaction.run(room, event.target, event.from, event.emoji, Number(event.on), seq, ts);
        return;
      case eventOps.user_joined:
        joinMember.run(room, event.user, event.role, ts, seq, number);
        return;
      case eventOps.user_left:
        leaveMember.run(room, event.user, ts, seq);
        return;
      case eventOps.room_updated:
        applyUpdate(event);
        return;
      case eventOps.epoch_started:
        startEpoch.run(room, event.epoch);
        return;
      default:
        event satisfies never;
    }
  }

  function applyDelete(event: DeletedEvent): void {
    const { room, seq, ts, target } = event;
    if (deleteMessage.run(room, target, deletedMeta, seq, ts).changes === 0) return;
    for (const edit of selectEdits.all(room, target)) {
      rewriteEvent.run(room, edit.seq, withoutContent(decodeEvent(edit.bytes) as EditedEvent));
    }
  }

  function applyUpdate(event: RoomUpdatedEvent): void {
    const { room: id, seq, ts, changed } = event;
    const { member } = changed;
    if (member) setMember.run(id, member.user, member.role, Number(member.muted), seq);
    const row = selectOlderRoom.get(id, seq);
    if (row === null) return;
    const room = applyChanges(toRoom(row), changed);
    updateRoom.run(
      id,
      room.name,
      Number(room.public),
      Number(room.archived),
      room.avatarUrl,
      room.metadata === null ? null : JSON.stringify(room.metadata),
      room.retentionDays,
      seq,
      changed.deleted ? seq : null,
    );
    if (changed.deleted) leaveAll.run(id, ts, seq);
  }

  /** Stores a batch within the caller's transaction; answers the repeats that stand in the way. */
  function storeEvents({ bytes, ends, numbers }: PackedEvents): readonly Repeat[] {
    const repeats: Repeat[] = [];
    let start = 0;
    for (let i = 0; i < ends.length; i++) {
      const end = ends[i] as number;
      const frame = bytes.subarray(start, end);
      const event = decodeEvent(frame);
      start = end;
      if (event.op === eventOps.message) {
        const repeat = storeMessage(event, frame, numbers[i] as number, i);
        if (repeat !== null) repeats.push(repeat);
      } else storeChange(event, frame, numbers[i] as number);
    }
    return repeats;
  }

  return {
    storeEvents,
    commit(batch: PackedEvents): readonly Repeat[] {
      begin.run();
      try {
        const repeats = storeEvents(batch);
        (repeats.length === 0 ? commit : rollback).run();
        return repeats;
      } catch (error) {
        // A full disk has rolled back already.
        if (db.inTransaction) rollback.run();
        throw error;
      }
    },
  };
}

function withoutContent(event: EditedEvent): Uint8Array {
  const bytes = encodeMessageEdited(event.room, event.from, event.target, null);
  stamp(bytes, 0, event.seq, event.ts);
  return bytes;
}
