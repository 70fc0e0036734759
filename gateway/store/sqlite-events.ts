// Reads of stored events: heads, pages, targets. Runs in the worker, synchronously; store.ts says what each function
// promises. Each read is one statement, so that it sees one state of the database.

import type { Database } from 'bun:sqlite';
import type { Content } from '../../core/protocol/frames.ts';
import { type MessageRow, toMessageBytes } from './sqlite-rows.ts';
import type { EventPage, ReactionState, StoredHead, Target } from './store.ts';

interface HeadRow {
  readonly epoch: number;
  readonly messageSeq: number | null;
  readonly messageTs: number;
  readonly number: number;
  readonly eventSeq: number | null;
  readonly eventTs: number;
}

/** A message, or another event with its bytes. */
interface PageRow extends MessageRow {
  readonly bytes: Uint8Array | null;
}

interface TargetRow {
  readonly from: string;
  readonly ts: number;
  readonly content: Content | null;
  readonly editedSeq: number | null;
  readonly editedTs: number;
  readonly deletedSeq: number | null;
  readonly deletedTs: number;
}

const messageColumns = 'seq, ts, sender, id, type, content, meta';

export function prepareEvents(db: Database) {
  const selectHead = db.prepare<HeadRow, [string]>(
    `SELECT coalesce((SELECT epoch FROM rooms WHERE id = ?1), 1) AS epoch,
       m.seq AS messageSeq, m.ts AS messageTs, m.number, e.seq AS eventSeq, e.ts AS eventTs
     FROM (SELECT 1)
       LEFT JOIN (SELECT seq, ts, number FROM messages WHERE room = ?1 ORDER BY seq DESC LIMIT 1) m
       LEFT JOIN (SELECT seq, ts FROM room_events WHERE room = ?1 ORDER BY seq DESC LIMIT 1) e`,
  );
  const pageSql = (range: string, order: string) =>
    `SELECT ${messageColumns}, NULL AS bytes FROM messages WHERE room = ?1 AND ${range}
     UNION ALL SELECT seq, ts, NULL, NULL, NULL, NULL, NULL, bytes FROM room_events WHERE room = ?1 AND ${range}
     ORDER BY seq ${order} LIMIT ?3`;
  const messagesSql = (range: string, order: string) =>
    `SELECT ${messageColumns}, NULL AS bytes FROM messages WHERE room = ?1 AND ${range} ORDER BY seq ${order} LIMIT ?3`;
  const prepareRange = (sql: (range: string, order: string) => string) => ({
    below: db.prepare<PageRow, [string, number, number]>(sql('seq < ?2', 'DESC')),
    above: db.prepare<PageRow, [string, number, number]>(sql('seq > ?2', 'ASC')),
  });
  const allEvents = prepareRange(pageSql);
  const messagesOnly = prepareRange(messagesSql);
  const selectTarget = db.prepare<TargetRow, [string, number]>(
    `SELECT sender AS "from", ts, content, edited_seq AS editedSeq, edited_ts AS editedTs, deleted_seq AS deletedSeq,
       deleted_ts AS deletedTs
     FROM messages WHERE room = ? AND seq = ?`,
  );
  const selectReaction = db.prepare<
    { seq: number; ts: number; on: number },
    [string, number, string, string]
  >('SELECT seq, ts, is_on AS "on" FROM reactions WHERE room = ? AND target = ? AND user = ? AND emoji = ?');

  function readPage(
    statements: typeof allEvents,
    room: string,
    before: number | null,
    after: number | null,
    limit: number,
    bytesMax: number,
  ): EventPage {
    const rows =
      after === null
        ? statements.below.iterate(room, before ?? Number.MAX_SAFE_INTEGER, limit + 1)
        : statements.above.iterate(room, after, limit + 1);
    const events: Uint8Array[] = [];
    let size = 0;
    let more = false;
    // Rows are read one by one: a page of long messages ends before its limit.
    for (const row of rows) {
      const bytes = row.bytes ?? toMessageBytes(room, row);
      size += bytes.length;
      if (events.length === limit || (size > bytesMax && events.length > 0)) {
        more = true;
        break;
      }
      events.push(bytes);
    }
    if (after === null) events.reverse();
    return { events, more };
  }

  return {
    heads(rooms: readonly string[]): readonly StoredHead[] {
      return rooms.map((room) => toHead(selectHead.get(room) as HeadRow));
    },
    page(
      room: string,
      before: number | null,
      after: number | null,
      limit: number,
      bytesMax: number,
    ): EventPage {
      return readPage(allEvents, room, before, after, limit, bytesMax);
    },
    messages(room: string, before: number | null, after: number | null, limit: number): EventPage {
      return readPage(messagesOnly, room, before, after, limit, Number.MAX_SAFE_INTEGER);
    },
    target(room: string, seq: number): Target | null {
      const row = selectTarget.get(room, seq);
      if (row === null) return null;
      const { from, ts, content, editedSeq, editedTs, deletedSeq, deletedTs } = row;
      return {
        from,
        ts,
        content,
        edited: editedSeq === null ? null : { seq: editedSeq, ts: editedTs },
        deleted: deletedSeq === null ? null : { seq: deletedSeq, ts: deletedTs },
      };
    },
    reaction(room: string, target: number, user: string, emoji: string): ReactionState | null {
      const row = selectReaction.get(room, target, user, emoji);
      return row === null ? null : { seq: row.seq, ts: row.ts, on: row.on === 1 };
    },
  };
}

function toHead(row: HeadRow): StoredHead {
  const isMessageLast = (row.messageSeq ?? 0) >= (row.eventSeq ?? 0);
  return {
    epoch: row.epoch,
    seq: (isMessageLast ? row.messageSeq : row.eventSeq) ?? 0,
    ts: (isMessageLast ? row.messageTs : row.eventTs) ?? 0,
    messages: row.number ?? 0,
  };
}
