// Rows to values, for the sqlite-*.ts files that ask for the same columns. Pure.

import { encodeMessage } from '../../core/protocol/encode.ts';
import type { Content, Role } from '../../core/protocol/frames.ts';
import { stamp } from '../../core/protocol/stamp.ts';
import type { Member, Room } from '../../core/room.ts';

/** A row of these columns is a User. */
export const userColumns = `id, username, email, display_name AS displayName, avatar_url AS avatarUrl,
  last_seen AS lastSeen, created_at AS createdAt`;

export const roomColumns = `r.id, r.name, r.type, r.public, r.encrypted, r.archived, r.avatar_url AS avatarUrl,
  r.metadata, r.retention_days AS retentionDays, r.created_by AS createdBy, r.created_at AS createdAt, r.epoch`;

export interface RoomRow extends Omit<Room, 'public' | 'encrypted' | 'archived' | 'metadata'> {
  readonly public: number;
  readonly encrypted: number;
  readonly archived: number;
  readonly metadata: string | null;
}

export function toRoom(row: RoomRow): Room {
  return {
    id: row.id,
    name: row.name,
    type: row.type,
    public: row.public === 1,
    encrypted: row.encrypted === 1,
    archived: row.archived === 1,
    avatarUrl: row.avatarUrl,
    metadata: row.metadata === null ? null : (JSON.parse(row.metadata) as Record<string, unknown>),
    retentionDays: row.retentionDays,
    createdBy: row.createdBy,
    createdAt: row.createdAt,
    epoch: row.epoch,
  };
}

export interface MemberRow {
  readonly role: Role;
  readonly muted: number;
  readonly joinedAt: number;
}

export function toMember(row: MemberRow): Member {
  return { role: row.role, muted: row.muted === 1, joinedAt: row.joinedAt };
}

export interface MessageRow {
  readonly seq: number;
  readonly ts: number;
  readonly sender: string;
  readonly id: Uint8Array;
  readonly type: string;
  readonly content: Content | null;
  readonly meta: Uint8Array | null;
}

/** The message's bytes; those of an unchanged one are the bytes it was appended as. */
export function toMessageBytes(room: string, row: MessageRow): Uint8Array {
  const bytes = encodeMessage(room, row.sender, row.id, row.type, row.content, row.meta);
  stamp(bytes, 0, row.seq, row.ts);
  return bytes;
}
