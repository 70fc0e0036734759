// What the routes answer with, as schemas and as functions from the product's records. Times are ISO 8601, bytes are
// base64, ids of messages are UUIDs as text.

import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { decodeEvent, type MessageEvent } from '../../core/protocol/events.ts';
import { type Content, Identifier, Role, Status, Uint } from '../../core/protocol/frames.ts';
import { eventOps } from '../../core/protocol/ops.ts';
import type { Member, Room } from '../../core/room.ts';
import { formatUuid } from '../../core/uuid.ts';
import type { Receipt, User } from '../store/store.ts';

export const nullable = <T extends TSchema>(schema: T, options: { description?: string } = {}) =>
  Type.Union([schema, Type.Null()], options);

const Time = Type.String({ format: 'date-time' });
const Text = Type.String();
const Json = Type.Record(Type.String(), Type.Unknown());

export const UserBody = Type.Object({
  id: Identifier,
  username: nullable(Text),
  display_name: nullable(Text),
  avatar_url: nullable(Text),
  status: Status,
  last_seen: nullable(Time),
});
/** One's own profile. */
export const MeBody = Type.Composite([UserBody, Type.Object({ email: nullable(Text) })]);

export const LoginBody = Type.Object({
  user: MeBody,
  access_token: Text,
  refresh_token: Text,
  expires_in: Uint,
});

export const RoomTypeName = Type.Union(
  [Type.Literal('direct'), Type.Literal('group'), Type.Literal('channel')],
  { description: 'direct, group or channel' },
);

export const RoomBody = Type.Object({
  id: Identifier,
  name: Text,
  type: RoomTypeName,
  public: Type.Boolean(),
  encrypted: Type.Boolean(),
  archived: Type.Boolean(),
  avatar_url: nullable(Text),
  metadata: nullable(Json),
  created_by: Identifier,
  created_at: Time,
});

export const MessageBody = Type.Object({
  seq: Uint,
  ts: Time,
  room: Identifier,
  from: Identifier,
  id: Type.String({ format: 'uuid' }),
  type: Text,
  content: nullable(Text, { description: 'base64 where it is binary, null where the message was deleted' }),
  meta: nullable(Json),
});

export const RoomSummaryBody = Type.Composite([
  RoomBody,
  Type.Object({ last_message: nullable(MessageBody), head_seq: Uint, read_seq: Uint, unread: Uint }),
]);

export const MemberBody = Type.Composite([
  Type.Object({ user: Identifier, role: Role, muted: Type.Boolean(), joined_at: Time }),
  Type.Omit(UserBody, ['id']),
]);

/** A member in a list, with his marks. */
export const ListedMemberBody = Type.Composite([
  MemberBody,
  Type.Object({ delivered_seq: Uint, read_seq: Uint }),
]);

export const ReceiptBody = Type.Object({
  user: Identifier,
  delivered_at: nullable(Time),
  read_at: nullable(Time),
});

export const AppendedBody = Type.Object({
  seq: Uint,
  ts: Time,
  level: Type.Integer({ description: '1 logged, 2 synced, 4 committed' }),
  repeated: Type.Boolean(),
});

export function toTime(ms: number): string {
  return new Date(ms).toISOString();
}

const toTimeOrNull = (ms: number | null) => (ms === null ? null : toTime(ms));

export function toUserBody(user: User, status: Status): Static<typeof UserBody> {
  return {
    id: user.id,
    username: user.username,
    display_name: user.displayName,
    avatar_url: user.avatarUrl,
    status,
    last_seen: toTimeOrNull(user.lastSeen),
  };
}

export function toMeBody(user: User, status: Status): Static<typeof MeBody> {
  return { ...toUserBody(user, status), email: user.email };
}

export function toRoomBody(room: Room): Static<typeof RoomBody> {
  return {
    id: room.id,
    name: room.name,
    type: room.type,
    public: room.public,
    encrypted: room.encrypted,
    archived: room.archived,
    avatar_url: room.avatarUrl,
    metadata: room.metadata,
    created_by: room.createdBy,
    created_at: toTime(room.createdAt),
  };
}

/** `bytes`: an encoded event that is a message. */
export function toMessageBody(bytes: Uint8Array): Static<typeof MessageBody> {
  const event = decodeEvent(bytes);
  if (event.op !== eventOps.message) throw new Error(`not a message: op ${event.op}`);
  const { seq, ts, room, from, id, type, content, meta } = event satisfies MessageEvent;
  return { seq, ts: toTime(ts), room, from, id: formatUuid(id), type, content: toText(content), meta };
}

function toText(content: Content | null): string | null {
  return content === null || typeof content === 'string' ? content : Buffer.from(content).toString('base64');
}

export function toMemberBody(user: User, member: Member, status: Status): Static<typeof MemberBody> {
  const { id, ...profile } = toUserBody(user, status);
  return { user: id, role: member.role, muted: member.muted, joined_at: toTime(member.joinedAt), ...profile };
}

export function toReceiptBody({ user, deliveredAt, readAt }: Receipt): Static<typeof ReceiptBody> {
  return { user, delivered_at: toTimeOrNull(deliveredAt), read_at: toTimeOrNull(readAt) };
}
