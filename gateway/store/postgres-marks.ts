// Delivered and read marks, and the sockets of users, in Postgres. store.ts says what each function promises.

import { receiptRowsMembersMax } from '../../core/protocol/limits.ts';
import { booleanArray, numberArray, textArray } from './postgres-arrays.ts';
import type { Queries } from './postgres-pool.ts';
import { forgottenSocketsMax, type MarkMove, type Receipt, type Receipts, type SocketRow } from './store.ts';

const saveMarksSql = 'SELECT save_marks($1, $2, $3, $4, $5, $6)';

const marksSql = `SELECT user_id AS user, delivered_seq AS delivered, read_seq AS read FROM room_members
  WHERE room = $1 AND user_id = ANY($2::text[]) AND left_at IS NULL`;

const readNumbersSql = `SELECT m.user_id AS user, greatest(m.joined_number, n.number) AS number
  FROM room_members m LEFT JOIN LATERAL (
    SELECT number FROM messages WHERE room = $1 AND seq <= m.read_seq ORDER BY seq DESC LIMIT 1
  ) AS n ON true
  WHERE m.room = $1 AND m.user_id = ANY($2::text[]) AND m.left_at IS NULL`;

// What was read was delivered, at that moment at the latest.
const countsSql = `SELECT count(*) AS members, count(*) FILTER (WHERE greatest(delivered_seq, read_seq) >= $2) AS delivered,
    count(*) FILTER (WHERE read_seq >= $2) AS read
  FROM room_members WHERE room = $1 AND left_at IS NULL`;

const receiptsSql = `SELECT m.user_id AS user, to_ms(d.at) AS "deliveredAt", to_ms(r.at) AS "readAt"
  FROM room_members m
    LEFT JOIN LATERAL (SELECT coalesce(delivered_at, read_at) AS at FROM receipts
      WHERE room = m.room AND user_id = m.user_id AND seq >= $2 ORDER BY seq LIMIT 1) AS d ON true
    LEFT JOIN LATERAL (SELECT read_at AS at FROM receipts
      WHERE room = m.room AND user_id = m.user_id AND seq >= $2 AND read_at IS NOT NULL ORDER BY seq LIMIT 1) AS r ON true
  WHERE m.room = $1 AND m.left_at IS NULL AND greatest(m.delivered_seq, m.read_seq) >= $2 ORDER BY m.user_id`;

const saveSocketsSql = `INSERT INTO user_sessions AS s (socket, user_id, server, connected_at, heartbeat_at, is_gone)
  SELECT DISTINCT ON (socket) socket, user_id, server, from_ms(connected), from_ms(max(heartbeat) OVER same),
    bool_or(is_gone) OVER same
  FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[])
    AS q(socket, user_id, server, connected, heartbeat, is_gone)
  WINDOW same AS (PARTITION BY socket) ORDER BY socket
  ON CONFLICT (socket) DO UPDATE SET heartbeat_at = greatest(s.heartbeat_at, excluded.heartbeat_at),
    is_gone = s.is_gone OR excluded.is_gone`;

const forgetSocketsSql = `WITH gone AS (
    DELETE FROM user_sessions WHERE socket IN (
      SELECT socket FROM user_sessions WHERE heartbeat_at < from_ms($1) ORDER BY heartbeat_at LIMIT ${forgottenSocketsMax}
        FOR UPDATE SKIP LOCKED
    ) RETURNING 1
  ) SELECT count(*) AS count FROM gone`;

export function markMethods(db: Queries) {
  return {
    async saveMarks(moves: readonly MarkMove[]): Promise<void> {
      if (moves.length === 0) return;
      await db.query(saveMarksSql, [
        textArray(moves.map(({ room }) => room)),
        textArray(moves.map(({ user }) => user)),
        numberArray(moves.map(({ delivered }) => delivered)),
        numberArray(moves.map(({ read }) => read)),
        numberArray(moves.map(({ at }) => at)),
        receiptRowsMembersMax,
      ]);
    },
    async marks(
      room: string,
      users: readonly string[],
    ): Promise<ReadonlyMap<string, readonly [number, number]>> {
      const rows = await db.query<{ user: string; delivered: number; read: number }>(marksSql, [
        room,
        textArray(users),
      ]);
      return new Map(rows.map(({ user, delivered, read }) => [user, [delivered, read]]));
    },
    async readNumbers(room: string, users: readonly string[]): Promise<ReadonlyMap<string, number>> {
      const rows = await db.query<{ user: string; number: number }>(readNumbersSql, [room, textArray(users)]);
      return new Map(rows.map(({ user, number }) => [user, number]));
    },
    async receipts(room: string, seq: number): Promise<Receipts> {
      const [counts] = await db.query<Omit<Receipts, 'receipts'>>(countsSql, [room, seq]);
      const { members, delivered, read } = counts ?? { members: 0, delivered: 0, read: 0 };
      const isSmall = members <= receiptRowsMembersMax;
      const receipts = isSmall && delivered > 0 ? await db.query<Receipt>(receiptsSql, [room, seq]) : [];
      return { receipts, delivered, read, members };
    },

    async saveSockets(rows: readonly SocketRow[]): Promise<void> {
      if (rows.length === 0) return;
      await db.query(saveSocketsSql, [
        textArray(rows.map(({ socket }) => socket)),
        textArray(rows.map(({ user }) => user)),
        textArray(rows.map(({ server }) => server)),
        numberArray(rows.map(({ connectedAt }) => connectedAt)),
        numberArray(rows.map(({ heartbeatAt }) => heartbeatAt)),
        booleanArray(rows.map(({ gone }) => gone)),
      ]);
    },
    async forgetSockets(before: number): Promise<number> {
      const [row] = await db.query<{ count: number }>(forgetSocketsSql, [before]);
      return row?.count ?? 0;
    },
  };
}
