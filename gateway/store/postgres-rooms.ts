// Rooms and their members in Postgres, as reads; events change them (postgres-commit.ts). store.ts says what each
// function promises.

import type { Member, Room } from '../../core/room.ts';
import { textArray } from './postgres-arrays.ts';
import type { Queries } from './postgres-pool.ts';
import {
  type MemberRow,
  type MessageRow,
  memberColumns,
  roomColumns,
  toMember,
  toMessageBytes,
  toRoom,
  userColumns,
} from './postgres-rows.ts';
import type { MemberProfile, NewMember, NewRoom, RoomSummary, User } from './store.ts';

interface ProfileRow extends MemberRow, Omit<User, 'createdAt'> {
  readonly member: string;
  readonly createdAt: number | null;
}

interface SummaryRow extends Room, Omit<MessageRow, 'seq'> {
  readonly readSeq: number;
  readonly readNumber: number;
  readonly seq: number | null;
}

const createSql = `WITH made AS (
    INSERT INTO rooms
      (id, name, type, is_public, is_encrypted, avatar_url, metadata, retention_days, created_by, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, from_ms($10)) ON CONFLICT DO NOTHING RETURNING id, created_at
  ), joined AS (
    INSERT INTO room_members (room, user_id, role, joined_at)
    SELECT id, m.user_id, m.role, created_at FROM made, unnest($11::text[], $12::text[]) AS m(user_id, role)
    ORDER BY m.user_id ON CONFLICT DO NOTHING
  )
  SELECT id FROM made`;

const roomSql = `SELECT ${roomColumns} FROM rooms r WHERE r.id = $1 AND r.deleted_seq IS NULL`;

const directSql = `SELECT ${roomColumns}
  FROM room_members a JOIN room_members b ON b.room = a.room AND b.user_id = $2 JOIN rooms r ON r.id = a.room
  WHERE a.user_id = $1 AND a.left_at IS NULL AND b.left_at IS NULL AND r.type = 'direct' AND r.deleted_seq IS NULL
    AND (SELECT count(*) FROM (SELECT FROM room_members m WHERE m.room = a.room AND m.left_at IS NULL LIMIT 3) AS few)
      = CASE WHEN $1 = $2 THEN 1 ELSE 2 END
  ORDER BY r.created_at, r.id LIMIT 1`;

const mutedSql = 'SELECT is_muted AS muted FROM room_members WHERE room = $1 AND user_id = $2';

const membershipsSql = `SELECT m.user_id AS user, ${memberColumns} FROM room_members m
  WHERE m.room = $1 AND m.user_id = ANY($2::text[]) AND m.left_at IS NULL`;

const membersSql = `SELECT m.user_id AS member, ${memberColumns}, ${userColumns}
  FROM room_members m LEFT JOIN users u ON u.id = m.user_id
  WHERE m.room = $1 AND m.left_at IS NULL AND m.user_id > $2 ORDER BY m.user_id LIMIT $3`;

const memberIdsSql =
  'SELECT user_id AS user FROM room_members WHERE room = $1 AND left_at IS NULL ORDER BY user_id LIMIT $2';

const summariesSql = `SELECT ${roomColumns}, m.read_seq AS "readSeq", greatest(m.joined_number, n.number) AS "readNumber", l.seq,
    to_ms(l.created_at) AS ts, l.sender, l.id::text AS "messageId", l.type AS "messageType", l.content, l.body, l.meta
  FROM room_members m JOIN rooms r ON r.id = m.room
    LEFT JOIN LATERAL
      (SELECT number FROM messages WHERE room = m.room AND seq <= m.read_seq ORDER BY seq DESC LIMIT 1) AS n ON true
    LEFT JOIN LATERAL (SELECT * FROM messages WHERE room = m.room ORDER BY seq DESC LIMIT 1) AS l ON true
  WHERE m.user_id = $1 AND m.left_at IS NULL AND r.deleted_seq IS NULL AND (NOT r.is_archived OR $2) AND m.room > $3
  ORDER BY m.room LIMIT $4`;

export function roomMethods(db: Queries) {
  return {
    async createRoom(room: NewRoom, members: readonly NewMember[]): Promise<'created' | 'exists'> {
      const { id, name, type, encrypted, avatarUrl, metadata, retentionDays, createdBy, createdAt } = room;
      const record = [id, name, type, room.public, encrypted, avatarUrl, metadata, retentionDays, createdBy];
      const made = await db.query(createSql, [
        ...record,
        createdAt,
        textArray(members.map(({ user }) => user)),
        textArray(members.map(({ role }) => role)),
      ]);
      return made.length > 0 ? 'created' : 'exists';
    },
    async room(id: string): Promise<Room | null> {
      const [row] = await db.query<Room>(roomSql, [id]);
      return row ?? null;
    },
    async directRoom(first: string, second: string): Promise<Room | null> {
      const [row] = await db.query<Room>(directSql, [first, second]);
      return row ?? null;
    },
    async isMuted(room: string, user: string): Promise<boolean> {
      const [row] = await db.query<{ muted: boolean }>(mutedSql, [room, user]);
      return row?.muted === true;
    },
    async memberships(room: string, users: readonly string[]): Promise<ReadonlyMap<string, Member>> {
      if (users.length === 0) return new Map();
      const rows = await db.query<MemberRow & { user: string }>(membershipsSql, [room, textArray(users)]);
      return new Map(rows.map((row) => [row.user, toMember(row)]));
    },
    async members(room: string, after: string | null, limit: number): Promise<readonly MemberProfile[]> {
      const rows = await db.query<ProfileRow>(membersSql, [room, after ?? '', limit]);
      return rows.map(toProfile);
    },
    async memberIds(room: string, limit: number): Promise<readonly string[]> {
      const rows = await db.query<{ user: string }>(memberIdsSql, [room, limit]);
      return rows.map(({ user }) => user);
    },
    async roomsOf(
      user: string,
      archived: boolean,
      after: string | null,
      limit: number,
    ): Promise<readonly RoomSummary[]> {
      const rows = await db.query<SummaryRow>(summariesSql, [user, archived, after ?? '', limit]);
      return rows.map(toSummary);
    },
  };
}

/** A member whose user was never seen (added by a backend ahead of the first login) has an empty profile. */
function toProfile(row: ProfileRow): MemberProfile {
  const { member: id, username, email, displayName, avatarUrl, lastSeen } = row;
  const createdAt = row.createdAt ?? row.joinedAt;
  return { ...toMember(row), user: { id, username, email, displayName, avatarUrl, lastSeen, createdAt } };
}

function toSummary(row: SummaryRow): RoomSummary {
  const { seq, readSeq, readNumber } = row;
  return {
    room: toRoom(row),
    lastMessage: seq === null ? null : toMessageBytes(row.id, { ...row, seq }),
    readSeq,
    readNumber,
  };
}
