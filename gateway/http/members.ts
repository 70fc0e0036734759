// Members of a room over HTTP: listed, added, changed, removed. What is allowed is decided by ../rooms.ts.

import { type Static, Type } from '@sinclair/typebox';
import { isRefusal, refuse } from '../../core/protocol/codes.ts';
import { Identifier, Role } from '../../core/protocol/frames.ts';
import type { Verified } from '../auth.ts';
import { ListedMemberBody, MemberBody, toMemberBody } from './bodies.ts';
import { RoomPath } from './fields.ts';
import { membersLimitDefault, membersLimitMax } from './limits.ts';
import type { HttpParts } from './parts.ts';
import { type Call, type Route, route } from './route.ts';

const ListQuery = Type.Object({
  after: Type.Optional(Identifier),
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: membersLimitMax, description: `1 to ${membersLimitMax}` }),
  ),
});
const MemberPath = Type.Object({ room: Identifier, user: Identifier });
const MemberChanges = Type.Object({
  role: Type.Optional(Type.Union(Role.anyOf, { description: 'admin, member or readonly' })),
  muted: Type.Optional(Type.Boolean({ description: 'true or false' })),
});

export function memberRoutes({ store, rooms, presence }: HttpParts): Route[] {
  async function listMembers({
    params,
    query,
    caller,
  }: Call<Static<typeof RoomPath>, Static<typeof ListQuery>, unknown, Verified>) {
    const access = await rooms.access(caller.user, params.room);
    if (isRefusal(access)) return access;
    const members = await store.members(params.room, query.after ?? null, query.limit ?? membersLimitDefault);
    const ids = members.map((member) => member.user.id);
    const [statuses, marks] = await Promise.all([presence.statuses(ids), store.marks(params.room, ids)]);
    const listed = members.map((member, i) => {
      const [delivered = 0, read = 0] = marks.get(member.user.id) ?? [];
      const profile = toMemberBody(member.user, member, statuses[i] ?? 'offline');
      return { ...profile, delivered_seq: Math.max(delivered, read), read_seq: read };
    });
    return { status: 200, body: { members: listed } };
  }

  async function setMember({
    params,
    body,
    caller,
  }: Call<Static<typeof MemberPath>, unknown, Static<typeof MemberChanges>, Verified>) {
    const member = await rooms.setMember(caller.user, params.room, params.user, {
      role: body.role,
      muted: body.muted,
    });
    if (isRefusal(member)) return member;
    const [user] = await store.users([params.user]);
    if (user === undefined) return refuse('NOT_FOUND', 'no such user');
    const [status = 'offline'] = await presence.statuses([user.id]);
    return { status: 200, body: toMemberBody(user, member, status) };
  }

  async function removeMember({
    params,
    caller,
  }: Call<Static<typeof MemberPath>, unknown, unknown, Verified>) {
    return (await rooms.removeMember(caller.user, params.room, params.user)) ?? { status: 204 };
  }

  return [
    route({
      method: 'GET',
      path: '/v1/rooms/:room/members',
      summary: 'Members with their profiles and marks, by user id, those after `after`',
      auth: true,
      params: RoomPath,
      query: ListQuery,
      answers: { 200: Type.Object({ members: Type.Array(ListedMemberBody) }) },
      run: listMembers,
    }),
    route({
      method: 'PUT',
      path: '/v1/rooms/:room/members/:user',
      summary: 'Add a member or change one, as an admin; or join a public room yourself',
      auth: true,
      params: MemberPath,
      body: MemberChanges,
      answers: { 200: MemberBody },
      run: setMember,
    }),
    route({
      method: 'DELETE',
      path: '/v1/rooms/:room/members/:user',
      summary: 'Remove a member, as an admin; or leave yourself',
      auth: true,
      params: MemberPath,
      answers: { 204: null },
      run: removeMember,
    }),
  ];
}
