// Rows to values, for the postgres-*.ts files that ask for the same columns. Pure.

import { encodeMessage } from '../../core/protocol/encode.ts';
import type { Role } from '../../core/protocol/frames.ts';
import { stamp } from '../../core/protocol/stamp.ts';
import type { Member, Room } from '../../core/room.ts';
import { parseUuid } from '../../core/uuid.ts';

/** A row of these columns is a User. */
export const userColumns = `u.id, u.username, u.email, u.display_name AS "displayName", u.avatar_url AS "avatarUrl",
  to_ms(u.last_seen) AS "lastSeen", to_ms(u.created_at) AS "createdAt"`;

/** A row of these columns is a Room. */
export const roomColumns = `r.id, r.name, r.type, r.is_public AS public, r.is_encrypted AS encrypted,
  r.is_archived AS archived, r.avatar_url AS "avatarUrl", r.metadata, r.retention_days AS "retentionDays",
  r.created_by AS "createdBy", to_ms(r.created_at) AS "createdAt", r.epoch`;

/** A Room without what the row has beside. */
export function toRoom(row: Room): Room {
  const {
    id,
    name,
    type,
    encrypted,
    archived,
    avatarUrl,
    metadata,
    retentionDays,
    createdBy,
    createdAt,
    epoch,
  } = row;
  const isPublic = row.public;
  return {
    id,
    name,
    type,
    public: isPublic,
    encrypted,
    archived,
    avatarUrl,
    metadata,
    retentionDays,
    createdBy,
    createdAt,
    epoch,
  };
}

export interface MemberRow {
  readonly role: Role;
  readonly muted: boolean;
  readonly joinedAt: number;
}

export const memberColumns = `m.role, m.is_muted AS muted, to_ms(m.joined_at) AS "joinedAt"`;

export function toMember({ role, muted, joinedAt }: MemberRow): Member {
  return { role, muted, joinedAt };
}

export interface MessageRow {
  readonly seq: number;
  readonly ts: number;
  readonly sender: string;
  /** Text of a UUID. */
  readonly messageId: string;
  readonly messageType: string;
  readonly content: string | null;
  readonly body: Uint8Array | null;
  readonly meta: Uint8Array | null;
}

/** The message's bytes; those of an unchanged one are the bytes it was appended as. */
export function toMessageBytes(room: string, row: MessageRow): Uint8Array {
  const id = parseUuid(row.messageId);
  if (id === null) throw new Error(`store: ${row.messageId} is no UUID`);
  const bytes = encodeMessage(room, row.sender, id, row.messageType, row.content ?? row.body, row.meta);
  stamp(bytes, 0, row.seq, row.ts);
  return bytes;
}
