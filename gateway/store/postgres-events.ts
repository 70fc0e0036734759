// Reads of stored events in Postgres: heads, pages, targets, ids; and the reservation of an epoch. store.ts says what
// each function promises. Each read is one statement, so that it sees one state of the database.

import { idArray, textArray } from './postgres-arrays.ts';
import type { Queries } from './postgres-pool.ts';
import { type MessageRow, toMessageBytes } from './postgres-rows.ts';
import {
  type EpochReservation,
  type EventPage,
  epochGap,
  type FoundId,
  type ReactionState,
  type StoredHead,
  type Target,
} from './store.ts';

/** A message, or another event with its bytes. */
interface PageRow extends MessageRow {
  readonly bytes: Uint8Array | null;
}

interface TargetRow {
  readonly from: string;
  readonly ts: number;
  readonly content: string | null;
  readonly body: Uint8Array | null;
  readonly editedSeq: number | null;
  readonly editedTs: number;
  readonly deletedSeq: number | null;
  readonly deletedTs: number;
}

const headsSql = `SELECT coalesce(r.epoch, 1) AS epoch, coalesce(greatest(m.seq, e.seq), 0) AS seq,
    coalesce(to_ms(CASE WHEN e.seq IS NULL OR m.seq > e.seq THEN m.created_at ELSE e.created_at END), 0) AS ts,
    coalesce(m.number, 0) AS messages
  FROM unnest($1::text[]) WITH ORDINALITY AS q(room, at)
    LEFT JOIN LATERAL (SELECT epoch FROM rooms WHERE id = q.room OFFSET 0) AS r ON true
    LEFT JOIN LATERAL
      (SELECT seq, created_at, number FROM messages WHERE room = q.room ORDER BY seq DESC LIMIT 1) AS m ON true
    LEFT JOIN LATERAL
      (SELECT seq, created_at FROM room_events WHERE room = q.room ORDER BY seq DESC LIMIT 1) AS e ON true
  ORDER BY q.at`;

const messageColumns = `seq, created_at, sender, id::text AS "messageId", type AS "messageType", content, body, meta`;
const noMessageColumns = 'NULL, NULL, NULL, NULL, NULL::bytea, NULL::bytea';

/**
 * $1 room, $2 seq, $3 rows, $4 bytes. Rows go up to the one that passes the bytes, two at least: enough to tell that
 * there is more, and no page of long messages is sent for nothing.
 */
function pageSql(direction: '<' | '>', hasEvents: boolean): string {
  const order = direction === '<' ? 'DESC' : 'ASC';
  const range = `WHERE room = $1 AND seq ${direction} $2 ORDER BY seq ${order} LIMIT $3`;
  const messages = `SELECT ${messageColumns}, NULL::bytea AS bytes FROM messages ${range}`;
  const events = `SELECT seq, created_at, ${noMessageColumns}, bytes FROM room_events ${range}`;
  const rows = hasEvents ? `(${messages}) UNION ALL (${events}) ORDER BY seq ${order} LIMIT $3` : messages;
  const size = `coalesce(octet_length(content), 0) + coalesce(octet_length(body), 0) + coalesce(octet_length(meta), 0) +
      coalesce(octet_length(bytes), 0)`;
  return `SELECT seq, to_ms(created_at) AS ts, sender, "messageId", "messageType", content, body, meta, bytes
    FROM (SELECT *, ${size} AS size, sum(${size}) OVER sorted AS total, row_number() OVER sorted AS place
      FROM (${rows}) AS found WINDOW sorted AS (ORDER BY seq ${order})) AS page
    WHERE total - size <= $4 OR place <= 2 ORDER BY seq ${order}`;
}

const pageSqls = {
  all: { below: pageSql('<', true), above: pageSql('>', true) },
  messages: { below: pageSql('<', false), above: pageSql('>', false) },
} as const;

const targetSql = `SELECT sender AS "from", to_ms(created_at) AS ts, content, body, edited_seq AS "editedSeq",
    to_ms(edited_at) AS "editedTs", deleted_seq AS "deletedSeq", to_ms(deleted_at) AS "deletedTs"
  FROM messages WHERE room = $1 AND seq = $2`;

const reactionSql = `SELECT seq, to_ms(created_at) AS ts, is_on AS "on" FROM reactions
  WHERE room = $1 AND target = $2 AND user_id = $3 AND emoji = $4`;

// Where the last reservation was never used (its epoch has no event yet), nothing tells what was lost before it: it is
// made anew, by the same log too. The row is locked first, and what it says decides.
const reserveSql = `WITH old AS (
    SELECT id, base, coalesce(greatest(
        (SELECT seq FROM messages WHERE room = $1 ORDER BY seq DESC LIMIT 1),
        (SELECT seq FROM room_events WHERE room = $1 ORDER BY seq DESC LIMIT 1)), 0) AS last,
      incarnation, epoch, reserved_epoch
    FROM rooms WHERE id = $1 AND deleted_seq IS NULL FOR NO KEY UPDATE
  ), decided AS (
    SELECT *, CASE WHEN incarnation IS NULL THEN last = 0 AND base = 0
        ELSE incarnation = $2 AND (base = 0 OR last > base) END AS is_continued FROM old
  )
  UPDATE rooms r SET incarnation = $2,
    reserved_epoch = CASE WHEN d.is_continued THEN r.reserved_epoch ELSE greatest(d.reserved_epoch, d.epoch) + 1 END,
    base = CASE WHEN d.is_continued THEN r.base ELSE greatest(d.last, d.base) + $3 END
  FROM decided d WHERE r.id = d.id
  RETURNING CASE WHEN d.is_continued THEN r.epoch ELSE r.reserved_epoch END AS epoch,
    CASE WHEN d.is_continued THEN d.last ELSE r.base END AS base, d.is_continued AS "isContinued"`;

const idsSql = `SELECT m.seq, to_ms(m.created_at) AS ts, m.sender AS "from"
  FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS q(room, id, at)
    LEFT JOIN LATERAL (SELECT seq, created_at, sender FROM messages WHERE room = q.room AND id = q.id OFFSET 0) AS m ON true
  ORDER BY q.at`;

export function eventMethods(db: Queries) {
  async function readPage(
    kind: keyof typeof pageSqls,
    room: string,
    before: number | null,
    after: number | null,
    limit: number,
    bytesMax: number,
  ): Promise<EventPage> {
    const sql = after === null ? pageSqls[kind].below : pageSqls[kind].above;
    const seq = after ?? before ?? Number.MAX_SAFE_INTEGER;
    const rows = await db.query<PageRow>(sql, [room, seq, limit + 1, bytesMax]);
    const events: Uint8Array[] = [];
    let size = 0;
    let more = false;
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
    async heads(rooms: readonly string[]): Promise<readonly StoredHead[]> {
      if (rooms.length === 0) return [];
      return await db.query<StoredHead>(headsSql, [textArray(rooms)]);
    },
    page(
      room: string,
      before: number | null,
      after: number | null,
      limit: number,
      bytesMax: number,
    ): Promise<EventPage> {
      return readPage('all', room, before, after, limit, bytesMax);
    },
    messages(room: string, before: number | null, after: number | null, limit: number): Promise<EventPage> {
      return readPage('messages', room, before, after, limit, Number.MAX_SAFE_INTEGER);
    },
    async target(room: string, seq: number): Promise<Target | null> {
      const [row] = await db.query<TargetRow>(targetSql, [room, seq]);
      if (row === undefined) return null;
      const { from, ts, content, body, editedSeq, editedTs, deletedSeq, deletedTs } = row;
      return {
        from,
        ts,
        content: content ?? body,
        edited: editedSeq === null ? null : { seq: editedSeq, ts: editedTs },
        deleted: deletedSeq === null ? null : { seq: deletedSeq, ts: deletedTs },
      };
    },
    async reaction(room: string, target: number, user: string, emoji: string): Promise<ReactionState | null> {
      const [row] = await db.query<ReactionState>(reactionSql, [room, target, user, emoji]);
      return row ?? null;
    },
    async reserveEpoch(room: string, incarnation: string): Promise<EpochReservation | null> {
      const [row] = await db.query<EpochReservation>(reserveSql, [room, incarnation, epochGap]);
      return row ?? null;
    },
    async findIds(
      ids: readonly { readonly room: string; readonly id: Uint8Array }[],
    ): Promise<readonly (FoundId | null)[]> {
      if (ids.length === 0) return [];
      const rows = await db.query<{ seq: number | null; ts: number; from: string }>(idsSql, [
        textArray(ids.map(({ room }) => room)),
        idArray(ids.map(({ id }) => id)),
      ]);
      return rows.map(({ seq, ts, from }) => (seq === null ? null : { seq, ts, from }));
    },
  };
}
