// Rooms and their members in the embedded database, as reads; events change them (sqlite-commit.ts). Runs in the worker,
// synchronously; store.ts says what each function promises.

import type { Database } from 'bun:sqlite';
import type { Member, Room } from '../../core/room.ts';
import {
  type MemberRow,
  type MessageRow,
  type RoomRow,
  roomColumns,
  toMember,
  toMessageBytes,
  toRoom,
} from './sqlite-rows.ts';
import type { MemberProfile, NewMember, NewRoom, RoomSummary, User } from './store.ts';

interface ProfileRow extends MemberRow, Omit<User, 'createdAt'> {
  readonly createdAt: number | null;
}

interface SummaryRow extends RoomRow {
  readonly readSeq: number;
  readonly readNumber: number | null;
  readonly lastSeq: number | null;
  readonly ts: number;
  readonly sender: string;
  readonly messageId: Uint8Array;
  readonly messageType: string;
  readonly content: MessageRow['content'];
  readonly meta: Uint8Array | null;
}

export function prepareRooms(db: Database) {
  const insertRoom = db.prepare(
    `INSERT INTO rooms (id, name, type, public, encrypted, avatar_url, metadata, retention_days, created_by, created_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  );
  const insertMember = db.prepare(
    'INSERT INTO room_members (room, user, role, joined_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const selectRoom = db.prepare<RoomRow, [string]>(
    `SELECT ${roomColumns} FROM rooms r WHERE r.id = ? AND r.deleted_seq IS NULL`,
  );
  const selectDirectRoom = db.prepare<RoomRow, [string, string, number]>(
    `SELECT ${roomColumns}
     FROM room_members a JOIN room_members b ON b.room = a.room AND b.user = ?2 JOIN rooms r ON r.id = a.room
     WHERE a.user = ?1 AND a.left_at IS NULL AND b.left_at IS NULL AND r.type = 'direct' AND r.deleted_seq IS NULL
       AND (SELECT count(*) FROM room_members m WHERE m.room = a.room AND m.left_at IS NULL) = ?3
     ORDER BY r.created_at, r.id LIMIT 1`,
  );
  const selectMember = db.prepare<MemberRow, [string, string]>(
    'SELECT role, muted, joined_at AS joinedAt FROM room_members WHERE room = ? AND user = ? AND left_at IS NULL',
  );
  const selectMembers = db.prepare<ProfileRow, [string, string, number]>(
    `SELECT m.user AS id, m.role, m.muted, m.joined_at AS joinedAt, u.username, u.email, u.display_name AS displayName,
       u.avatar_url AS avatarUrl, u.last_seen AS lastSeen, u.created_at AS createdAt
     FROM room_members m LEFT JOIN users u ON u.id = m.user
     WHERE m.room = ? AND m.left_at IS NULL AND m.user > ? ORDER BY m.user LIMIT ?`,
  );
  const selectMuted = db.prepare<{ muted: number }, [string, string]>(
    'SELECT muted FROM room_members WHERE room = ? AND user = ?',
  );
  const selectMemberIds = db.prepare<{ user: string }, [string, number]>(
    'SELECT user FROM room_members WHERE room = ? AND left_at IS NULL ORDER BY user LIMIT ?',
  );
  const selectSummaries = db.prepare<SummaryRow, [string, number, string, number]>(
    `SELECT ${roomColumns}, m.read_seq AS readSeq,
       max(m.joined_number, coalesce(
         (SELECT number FROM messages n WHERE n.room = m.room AND n.seq <= m.read_seq ORDER BY n.seq DESC LIMIT 1), 0))
         AS readNumber,
       l.seq AS lastSeq, l.ts, l.sender, l.id AS messageId, l.type AS messageType, l.content, l.meta
     FROM room_members m JOIN rooms r ON r.id = m.room
       LEFT JOIN messages l ON l.room = m.room AND l.seq = (SELECT max(seq) FROM messages n WHERE n.room = m.room)
     WHERE m.user = ?1 AND m.left_at IS NULL AND r.deleted_seq IS NULL AND r.archived <= ?2 AND m.room > ?3
     ORDER BY m.room LIMIT ?4`,
  );

  const createRoom = db.transaction((room: NewRoom, members: readonly NewMember[]): 'created' | 'exists' => {
    const { changes } = insertRoom.run(
      room.id,
      room.name,
      room.type,
      Number(room.public),
      Number(room.encrypted),
      room.avatarUrl,
      room.metadata === null ? null : JSON.stringify(room.metadata),
      room.retentionDays,
      room.createdBy,
      room.createdAt,
    );
    if (changes === 0) return 'exists';
    for (const { user, role } of members) insertMember.run(room.id, user, role, room.createdAt);
    return 'created';
  }).immediate;

  return {
    createRoom,
    room(id: string): Room | null {
      const row = selectRoom.get(id);
      return row === null ? null : toRoom(row);
    },
    directRoom(first: string, second: string): Room | null {
      const row = selectDirectRoom.get(first, second, first === second ? 1 : 2);
      return row === null ? null : toRoom(row);
    },
    isMuted(room: string, user: string): boolean {
      return selectMuted.get(room, user)?.muted === 1;
    },
    memberships(room: string, users: readonly string[]): ReadonlyMap<string, Member> {
      const found = new Map<string, Member>();
      for (const user of users) {
        const row = selectMember.get(room, user);
        if (row !== null) found.set(user, toMember(row));
      }
      return found;
    },
    members(room: string, after: string | null, limit: number): readonly MemberProfile[] {
      return selectMembers.all(room, after ?? '', limit).map(toProfile);
    },
    memberIds: (room: string, limit: number): readonly string[] =>
      selectMemberIds.all(room, limit).map(({ user }) => user),
    roomsOf(user: string, archived: boolean, after: string | null, limit: number): readonly RoomSummary[] {
      return selectSummaries.all(user, Number(archived), after ?? '', limit).map(toSummary);
    },
  };
}

/** A member whose user was never seen (added by a backend ahead of the first login) has an empty profile. */
function toProfile(row: ProfileRow): MemberProfile {
  const { id, username, email, displayName, avatarUrl, lastSeen } = row;
  const createdAt = row.createdAt ?? row.joinedAt;
  return { ...toMember(row), user: { id, username, email, displayName, avatarUrl, lastSeen, createdAt } };
}

function toSummary(row: SummaryRow): RoomSummary {
  const { lastSeq: seq, ts, sender, messageId, messageType, content, meta } = row;
  return {
    room: toRoom(row),
    lastMessage:
      seq === null
        ? null
        : toMessageBytes(row.id, { seq, ts, sender, id: messageId, type: messageType, content, meta }),
    readSeq: row.readSeq,
    readNumber: row.readNumber ?? 0,
  };
}
