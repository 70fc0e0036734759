// Profiles: one's own, and those of others.

import { type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { type Refusal, refuse } from '../../core/protocol/codes.ts';
import { Identifier, type Status } from '../../core/protocol/frames.ts';
import { userIdsMax } from '../../core/protocol/limits.ts';
import type { Verified } from '../auth.ts';
import type { User } from '../store/store.ts';
import { MeBody, toMeBody, toUserBody, UserBody } from './bodies.ts';
import { clearable, DisplayName, Email, Url } from './fields.ts';
import type { HttpParts } from './parts.ts';
import { type Answer, type Call, type Route, refuseField, route } from './route.ts';

const ProfileChanges = Type.Object({
  display_name: clearable(DisplayName),
  avatar_url: clearable(Url),
  email: clearable(Email),
});
const UserPath = Type.Object({ id: Identifier });
const UsersQuery = Type.Object({
  ids: Type.String({ minLength: 1, description: `1 to ${userIdsMax} ids, separated by commas` }),
});
const idCheck = TypeCompiler.Compile(Identifier);

export function userRoutes({ store, presence, clock }: HttpParts): Route[] {
  async function statusOf(user: User): Promise<Status> {
    return (await presence.statuses([user.id]))[0] ?? 'offline';
  }

  async function readMe({ caller }: { caller: Verified }): Promise<Answer | Refusal> {
    const [user] = await store.users([caller.user]);
    return user
      ? { status: 200, body: toMeBody(user, await statusOf(user)) }
      : refuse('NOT_FOUND', 'no such user');
  }

  async function changeMe({ caller, body }: Call<unknown, unknown, Static<typeof ProfileChanges>, Verified>) {
    const { display_name: displayName, avatar_url: avatarUrl, email } = body;
    const changes = {
      ...(displayName !== undefined && { displayName }),
      ...(avatarUrl !== undefined && { avatarUrl }),
      ...(email !== undefined && { email }),
    };
    const user = await store.updateUser(caller.user, changes, clock.now());
    if (user === 'email')
      return { code: 'CONFLICT', message: 'email: taken', fields: { email: 'taken' } } as const;
    if (user === null) return refuse('NOT_FOUND', 'no such user');
    return { status: 200, body: toMeBody(user, await statusOf(user)) };
  }

  async function readUser({ params }: Call<Static<typeof UserPath>, unknown, unknown, Verified>) {
    const [user] = await store.users([params.id]);
    return user
      ? { status: 200, body: toUserBody(user, await statusOf(user)) }
      : refuse('NOT_FOUND', 'no such user');
  }

  async function readUsers({ query }: Call<unknown, Static<typeof UsersQuery>, unknown, Verified>) {
    // An id may hold a plus, which a query spells as a space unless it is escaped; no id holds a space.
    const ids = [...new Set(query.ids.replaceAll(' ', '+').split(','))];
    if (ids.length > userIdsMax || !ids.every((id) => idCheck.Check(id))) {
      return refuseField('ids', UsersQuery.properties.ids.description ?? '');
    }
    const users = await store.users(ids);
    const statuses = await presence.statuses(users.map((user) => user.id));
    return {
      status: 200,
      body: { users: users.map((user, i) => toUserBody(user, statuses[i] ?? 'offline')) },
    };
  }

  return [
    route({
      method: 'GET',
      path: '/v1/me',
      summary: 'Your profile',
      auth: true,
      answers: { 200: MeBody },
      run: readMe,
    }),
    route({
      method: 'PATCH',
      path: '/v1/me',
      summary: 'Change your profile',
      auth: true,
      body: ProfileChanges,
      answers: { 200: MeBody },
      run: changeMe,
    }),
    route({
      method: 'GET',
      path: '/v1/users',
      summary: 'Profiles of several users; unknown ids are left out',
      auth: true,
      query: UsersQuery,
      answers: { 200: Type.Object({ users: Type.Array(UserBody) }) },
      run: readUsers,
    }),
    route({
      method: 'GET',
      path: '/v1/users/:id',
      summary: 'Profile of a user',
      auth: true,
      params: UserPath,
      answers: { 200: UserBody },
      run: readUser,
    }),
  ];
}
