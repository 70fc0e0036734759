// Rooms over HTTP: made, listed, changed, ended. What is allowed is decided by ../rooms.ts, as for the socket.

import { createHash } from 'node:crypto';
import { type Static, Type } from '@sinclair/typebox';
import { checkJsonMap } from '../../core/meta.ts';
import { isRefusal, type Refusal } from '../../core/protocol/codes.ts';
import { Identifier } from '../../core/protocol/frames.ts';
import type { Room } from '../../core/room.ts';
import { formatUuid, makeUuid } from '../../core/uuid.ts';
import type { Verified } from '../auth.ts';
import type { NewRoom, RoomSummary } from '../store/store.ts';
import { nullable, RoomBody, RoomSummaryBody, RoomTypeName, toMessageBody, toRoomBody } from './bodies.ts';
import { clearable, RoomPath, Url } from './fields.ts';
import { firstMembersMax, retentionDaysMax, roomNameLengthMax, roomsLimitMax } from './limits.ts';
import type { HttpParts } from './parts.ts';
import { type Answer, type Call, type Route, refuseField, route } from './route.ts';

const RoomName = Type.String({
  minLength: 1,
  maxLength: roomNameLengthMax,
  description: `1 to ${roomNameLengthMax} characters`,
});
const Flag = Type.Boolean({ description: 'true or false' });
const Metadata = Type.Optional(
  nullable(Type.Record(Type.String(), Type.Unknown()), { description: 'an object, or null' }),
);
const RetentionDays = Type.Optional(
  nullable(Type.Integer({ minimum: 1, maximum: retentionDaysMax }), {
    description: `1 to ${retentionDaysMax} days, or null`,
  }),
);

const CreateRequest = Type.Object({
  id: Type.Optional(Identifier),
  name: Type.Optional(
    Type.String({
      maxLength: roomNameLengthMax,
      description: `1 to ${roomNameLengthMax} characters; a direct room may do without`,
    }),
  ),
  type: RoomTypeName,
  public: Type.Optional(Flag),
  encrypted: Type.Optional(Flag),
  members: Type.Optional(
    Type.Array(Identifier, { maxItems: firstMembersMax, description: `at most ${firstMembersMax} user ids` }),
  ),
  avatar_url: clearable(Url),
  metadata: Metadata,
  retention_days: RetentionDays,
});
const ChangeRequest = Type.Object({
  name: Type.Optional(RoomName),
  avatar_url: clearable(Url),
  metadata: Metadata,
  public: Type.Optional(Flag),
  archived: Type.Optional(Flag),
  retention_days: RetentionDays,
});
const ListQuery = Type.Object({
  after: Type.Optional(Identifier),
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: roomsLimitMax, description: `1 to ${roomsLimitMax}` }),
  ),
  archived: Type.Optional(Type.Boolean({ description: 'true lists archived rooms too' })),
});

export function roomRoutes({ store, rooms, clock, random }: HttpParts): Route[] {
  async function createRoom({
    body,
    caller,
  }: Call<unknown, unknown, Static<typeof CreateRequest>, Verified>) {
    const others = [...new Set(body.members ?? [])].filter((id) => id !== caller.user);
    const refusal = checkNew(body, others) ?? (await checkUsers(others));
    if (refusal) return refusal;
    const [other] = others;
    const isPair = body.type === 'direct' && body.id === undefined && other !== undefined;
    return isPair
      ? createPair(body, caller.user, other)
      : answerCreated(await makeRoom(body, caller.user, others));
  }

  async function checkUsers(ids: readonly string[]): Promise<Refusal | null> {
    if (ids.length === 0) return null;
    const known = new Set((await store.users(ids)).map(({ id }) => id));
    const unknown = ids.filter((id) => !known.has(id));
    return unknown.length === 0
      ? null
      : refuseField('members', `no such user: ${unknown.slice(0, 10).join(', ')}`);
  }

  /** The room of two who have none yet, else theirs. Both may ask at once: its id is made from theirs, so one wins. */
  async function createPair(body: Static<typeof CreateRequest>, first: string, second: string) {
    const found = await store.directRoom(first, second);
    if (found) return { status: 200, body: toRoomBody(found) };
    const made = await makeRoom({ ...body, id: pairId(first, second) }, first, [second]);
    if (!isRefusal(made) || made.code !== 'CONFLICT') return answerCreated(made);
    const theirs = await store.directRoom(first, second);
    if (theirs) return { status: 200, body: toRoomBody(theirs) };
    // The id belongs to a room that one of them has left, or that is gone.
    return answerCreated(await makeRoom(body, first, [second]));
  }

  function makeRoom(body: Static<typeof CreateRequest>, creator: string, others: readonly string[]) {
    const room: NewRoom = {
      id: body.id ?? formatUuid(makeUuid(clock.now(), random.bytes(10))),
      name: body.name ?? '',
      type: body.type,
      public: body.public ?? false,
      encrypted: body.encrypted ?? false,
      avatarUrl: body.avatar_url ?? null,
      metadata: body.metadata ?? null,
      retentionDays: body.retention_days ?? null,
      createdBy: creator,
      createdAt: clock.now(),
    };
    const members = others.map((user) => ({ user, role: 'member' as const }));
    return rooms.create(room, [{ user: creator, role: 'admin' }, ...members]);
  }

  async function listRooms({ query, caller }: Call<unknown, Static<typeof ListQuery>, unknown, Verified>) {
    const { archived = false, after = null, limit = roomsLimitMax } = query;
    const summaries = await store.roomsOf(caller.user, archived, after, limit);
    const heads = summaries.length === 0 ? [] : await rooms.heads(summaries.map(({ room }) => room.id));
    const listed = summaries.map((summary, i) => toSummaryBody(summary, heads[i] ?? { seq: 0, messages: 0 }));
    return { status: 200, body: { rooms: listed } };
  }

  async function readRoom({ params, caller }: Call<Static<typeof RoomPath>, unknown, unknown, Verified>) {
    const access = await rooms.access(caller.user, params.room);
    return isRefusal(access) ? access : { status: 200, body: toRoomBody(access.room) };
  }

  async function changeRoom({
    params,
    body,
    caller,
  }: Call<Static<typeof RoomPath>, unknown, Static<typeof ChangeRequest>, Verified>) {
    const { name, avatar_url, metadata, public: isPublic, archived, retention_days } = body;
    const given = { name, avatar_url, metadata, public: isPublic, archived, retention_days };
    const changes = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    const access = await rooms.access(caller.user, params.room);
    if (isRefusal(access)) return access;
    const refusal = checkVisibility(access.room.type, isPublic) ?? checkMetadata(metadata);
    if (refusal) return refusal;
    const room = await rooms.update(caller.user, params.room, changes);
    return isRefusal(room) ? room : { status: 200, body: toRoomBody(room) };
  }

  async function deleteRoom({ params, caller }: Call<Static<typeof RoomPath>, unknown, unknown, Verified>) {
    const room = await rooms.update(caller.user, params.room, { deleted: true });
    return isRefusal(room) ? room : { status: 204 };
  }

  return [
    route({
      method: 'POST',
      path: '/v1/rooms',
      summary: 'Make a room; of two who have a direct room already, answer that one',
      auth: true,
      body: CreateRequest,
      answers: { 201: RoomBody, 200: RoomBody },
      run: createRoom,
    }),
    route({
      method: 'GET',
      path: '/v1/rooms',
      summary: 'Your rooms, by id, those after `after`',
      auth: true,
      query: ListQuery,
      answers: { 200: Type.Object({ rooms: Type.Array(RoomSummaryBody) }) },
      run: listRooms,
    }),
    route({
      method: 'GET',
      path: '/v1/rooms/:room',
      summary: 'A room',
      auth: true,
      params: RoomPath,
      answers: { 200: RoomBody },
      run: readRoom,
    }),
    route({
      method: 'PATCH',
      path: '/v1/rooms/:room',
      summary: 'Change a room, as its admin',
      auth: true,
      params: RoomPath,
      body: ChangeRequest,
      answers: { 200: RoomBody },
      run: changeRoom,
    }),
    route({
      method: 'DELETE',
      path: '/v1/rooms/:room',
      summary: 'End a room, as its admin',
      auth: true,
      params: RoomPath,
      answers: { 204: null },
      run: deleteRoom,
    }),
  ];
}

function checkNew(body: Static<typeof CreateRequest>, others: readonly string[]): Refusal | null {
  const { type, name = '' } = body;
  if (type === 'direct' && others.length !== 1)
    return refuseField('members', 'a direct room has exactly one other member');
  if (type !== 'direct' && name === '') return refuseField('name', RoomName.description ?? '');
  return checkVisibility(type, body.public) ?? checkMetadata(body.metadata);
}

function checkVisibility(type: Room['type'], isPublic: boolean | undefined): Refusal | null {
  return type === 'direct' && isPublic ? refuseField('public', 'a direct room is never public') : null;
}

function checkMetadata(metadata: Readonly<Record<string, unknown>> | null | undefined): Refusal | null {
  return metadata ? checkJsonMap('metadata', metadata) : null;
}

/** The same for both, in either order. */
function pairId(first: string, second: string): string {
  const pair = first < second ? `${first} ${second}` : `${second} ${first}`;
  return `direct:${createHash('sha256').update(pair).digest('base64url')}`;
}

function answerCreated(room: Room | Refusal): Answer | Refusal {
  if (!isRefusal(room)) return { status: 201, body: toRoomBody(room) };
  return room.code === 'CONFLICT' ? { ...room, fields: { id: 'taken' } } : room;
}

function toSummaryBody(
  { room, lastMessage, readSeq, readNumber }: RoomSummary,
  head: { readonly seq: number; readonly messages: number },
): Static<typeof RoomSummaryBody> {
  return {
    ...toRoomBody(room),
    last_message: lastMessage === null ? null : toMessageBody(lastMessage),
    head_seq: head.seq,
    read_seq: readSeq,
    unread: Math.max(0, head.messages - readNumber),
  };
}
