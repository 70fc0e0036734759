// PROTOCOL.md section 3: rooms and their members.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, startGateway } from '../gateway.ts';
import {
  type Body,
  expectHttp,
  follow,
  fresh,
  http,
  introduce,
  makeRoom,
  open,
  type Person,
  person,
  register,
  say,
} from '../people.ts';
import { op, reply, type Socket, until } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
let bob: Person;
let eve: Person;
let adas: Socket;
beforeAll(async () => {
  gateway = await startGateway();
  [ada, bob, eve] = await Promise.all([person('ada', { name: 'Ada' }), person('bob'), person('eve')]);
  await introduce(gateway, ada, bob, eve);
  adas = await open(gateway, ada);
});
afterAll(() => gateway.close());

const create = (who: Person, body: unknown) => http(gateway, who, 'POST', '/v1/rooms', body);
const codeOf = async (answer: ReturnType<typeof http>) => {
  const { status, body } = await answer;
  return [status, body?.error?.code];
};
const roomKeys = [
  'id',
  'name',
  'type',
  'public',
  'encrypted',
  'archived',
  'avatar_url',
  'metadata',
  'created_by',
  'created_at',
];

describe('POST /v1/rooms', () => {
  test('makes a room; the creator is its admin', async () => {
    const { body } = await expectHttp(201, create(ada, { name: 'Garden', type: 'group', members: [bob.id] }));
    expect(Object.keys(body)).toEqual(expect.arrayContaining(roomKeys));
    expect(body).toMatchObject({
      name: 'Garden',
      type: 'group',
      public: false,
      encrypted: false,
      archived: false,
      avatar_url: null,
      created_by: ada.id,
    });
    expect(new Date(body.created_at).toISOString()).toBe(body.created_at);
    const members = (await expectHttp(200, http(gateway, bob, 'GET', `/v1/rooms/${body.id}/members`))).body
      .members;
    const roles = Object.fromEntries(members.map((member: Body) => [member.user, member.role]));
    expect(roles).toEqual({ [ada.id]: 'admin', [bob.id]: 'member' });
  });

  test('with every field', async () => {
    const id = fresh('mine');
    const fields = {
      id,
      name: 'Everything 🐎',
      type: 'channel',
      public: true,
      encrypted: true,
      avatar_url: 'https://example.com/r.png',
      metadata: { color: 'red', nested: { a: [1, 2.5, null, true] }, big: 2 ** 40 },
      retention_days: 30,
    };
    const { body } = await expectHttp(201, create(ada, fields));
    const { retention_days: _, ...shown } = fields;
    expect(body).toMatchObject(shown);
    expect((await expectHttp(200, http(gateway, ada, 'GET', `/v1/rooms/${id}`))).body).toMatchObject(shown);
  });

  test('an id that is taken is CONFLICT, whoever has it', async () => {
    const id = await makeRoom(gateway, ada);
    for (const who of [ada, bob]) {
      expect(await codeOf(create(who, { id, name: 'Again', type: 'group' }))).toEqual([409, 'CONFLICT']);
    }
  });

  test('taken by many at once, it is given to one', async () => {
    const id = fresh('race');
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => create(i % 2 ? ada : bob, { id, name: 'Race', type: 'group' })),
    );
    expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1);
  });

  test('wrong fields are named', async () => {
    const good = { name: 'Room', type: 'group' };
    const wrong: [string, unknown][] = [
      ['name', undefined],
      ['name', 5],
      ['name', ''],
      ['name', 'x'.repeat(5000)],
      ['type', undefined],
      ['type', 'forum'],
      ['id', 'a b'],
      ['id', ''],
      ['id', 'x'.repeat(65)],
      ['public', 'yes'],
      ['encrypted', 1],
      ['members', 'bob'],
      ['members', ['a b']],
      ['members', [5]],
      ['metadata', 'text'],
      ['metadata', [1]],
      ['retention_days', -1],
      ['retention_days', 1.5],
      ['avatar_url', 'javascript:alert(1)'],
    ];
    for (const [field, value] of wrong) {
      const { status, body } = await create(ada, { ...good, [field]: value });
      expect([field, value, status, body.error?.code]).toEqual([field, value, 400, 'BAD_REQUEST']);
      expect(Object.keys(body.error.fields ?? {}).map((key) => key.split(/[./[]/)[0])).toContain(field);
    }
  });

  test('metadata over 4 KB is TOO_LARGE, up to that it comes back', async () => {
    const metadata = { text: 'x'.repeat(3900) };
    const { body } = await expectHttp(201, create(ada, { name: 'Room', type: 'group', metadata }));
    expect(body.metadata).toEqual(metadata);
    const large = await create(ada, { name: 'Room', type: 'group', metadata: { text: 'x'.repeat(4200) } });
    expect([large.status, large.body.error.code]).toEqual([413, 'TOO_LARGE']);
  });

  test('a direct room is of two', async () => {
    const [one, two] = await Promise.all([person(), person()]);
    await introduce(gateway, one, two);
    const { body } = await expectHttp(201, create(one, { name: 'Us', type: 'direct', members: [two.id] }));
    expect(body.type).toBe('direct');
    const members = (await expectHttp(200, http(gateway, two, 'GET', `/v1/rooms/${body.id}/members`))).body
      .members;
    expect(members.map((member: Body) => member.user).toSorted()).toEqual([one.id, two.id].toSorted());
    const { status } = await create(one, { name: 'Three', type: 'direct', members: [two.id, eve.id] });
    expect(status).toBe(400);
  });

  test('a member who does not exist is refused', async () => {
    const { status } = await create(ada, { name: 'Room', type: 'group', members: [fresh('nobody')] });
    expect([400, 404]).toContain(status);
  });
});

describe('GET /v1/rooms', () => {
  test('the caller’s rooms with last message, head, read mark and unread count', async () => {
    const [who, other] = await Promise.all([person(), person()]);
    const room = await makeRoom(gateway, who, [other], { name: 'Listed' });
    const empty = await makeRoom(gateway, who, [], { name: 'Empty' });
    await makeRoom(gateway, other, [], { name: 'Not mine', public: true });
    const socket = await open(gateway, who);
    const first = await say(socket, room, 'first');
    const last = await say(socket, room, 'last', { a: 1 });
    const list = async (of: Person): Promise<Body[]> =>
      (await expectHttp(200, http(gateway, of, 'GET', '/v1/rooms'))).body.rooms;
    const rooms = await list(who);
    expect(rooms.map((line) => line.id).toSorted()).toEqual([room, empty].toSorted());
    const line = (await list(other)).find(({ id }) => id === room);
    expect(Object.keys(line)).toEqual(
      expect.arrayContaining([...roomKeys, 'last_message', 'head_seq', 'read_seq', 'unread']),
    );
    expect(line).toMatchObject({ name: 'Listed', head_seq: last.seq, unread: 2 });
    expect(line.last_message).toMatchObject({ seq: last.seq, from: who.id, content: 'last', meta: { a: 1 } });
    expect(line.read_seq).toBeLessThan(first.seq);
    expect(rooms.find(({ id }) => id === empty)).toMatchObject({ last_message: null, unread: 0 });
    const others = await open(gateway, other);
    await others.ok(op.mark_read, room, first.seq);
    await until(async () => (await list(other)).find(({ id }) => id === room).unread === 1, 'one is unread');
  });

  test('the last message is as it is now', async () => {
    const who = await person();
    const room = await makeRoom(gateway, who);
    const socket = await open(gateway, who);
    const { seq } = await say(socket, room, 'draft');
    const last = async () =>
      (await expectHttp(200, http(gateway, who, 'GET', '/v1/rooms'))).body.rooms[0].last_message;
    await socket.ok(op.edit_message, room, seq, 'final');
    expect(await last()).toMatchObject({ seq, content: 'final' });
    await socket.ok(op.delete_message, room, seq);
    const now = await last();
    if (now !== null && now.seq === seq)
      expect(now).toMatchObject({ content: null, meta: { deleted: true } });
  });

  test('archived ones are left out unless asked for', async () => {
    const who = await person();
    const [kept, archived] = [await makeRoom(gateway, who), await makeRoom(gateway, who)];
    await expectHttp(200, http(gateway, who, 'PATCH', `/v1/rooms/${archived}`, { archived: true }));
    const ids = async (query: string) =>
      (await expectHttp(200, http(gateway, who, 'GET', `/v1/rooms${query}`))).body.rooms.map(
        (line: Body) => line.id,
      );
    expect(await ids('')).toEqual([kept]);
    expect((await ids('?archived=true')).toSorted()).toContain(archived);
  });
});

describe('GET /v1/rooms/:id', () => {
  test('for those who may read it', async () => {
    const [room, openRoom] = [
      await makeRoom(gateway, ada, [bob]),
      await makeRoom(gateway, ada, [], { public: true }),
    ];
    for (const [who, id] of [
      [ada, room],
      [bob, room],
      [eve, openRoom],
    ] as const) {
      const { body } = await expectHttp(200, http(gateway, who, 'GET', `/v1/rooms/${id}`));
      expect(body.id).toBe(id);
    }
  });

  test('for others it is NOT_FOUND, as one that does not exist', async () => {
    const room = await makeRoom(gateway, ada);
    const hidden = await http(gateway, eve, 'GET', `/v1/rooms/${room}`);
    const absent = await http(gateway, eve, 'GET', `/v1/rooms/${fresh('none')}`);
    expect([hidden.status, hidden.body.error.code]).toEqual([404, 'NOT_FOUND']);
    expect(hidden.body).toEqual(absent.body);
    for (const path of [`/v1/rooms/${room}/members`, `/v1/rooms/${room}/messages`]) {
      expect(await codeOf(http(gateway, eve, 'GET', path))).toEqual([404, 'NOT_FOUND']);
    }
  });
});

describe('PATCH /v1/rooms/:id', () => {
  test('by an admin, field by field, told to the room', async () => {
    const room = await makeRoom(gateway, ada, [bob], { name: 'Before', metadata: { a: 1 } });
    const bobs = await open(gateway, bob);
    const { head } = await follow(bobs, room);
    const patch = (body: unknown) => expectHttp(200, http(gateway, ada, 'PATCH', `/v1/rooms/${room}`, body));
    expect((await patch({ name: 'After' })).body).toMatchObject({ name: 'After', metadata: { a: 1 } });
    expect(await bobs.next(reply.room_updated)).toEqual([
      reply.room_updated,
      head + 1,
      expect.any(Number),
      room,
      ada.id,
      { name: 'After' },
    ]);
    expect(
      (await patch({ metadata: { b: 2 ** 40 }, avatar_url: 'https://example.com/x.png' })).body,
    ).toMatchObject({
      name: 'After',
      metadata: { b: 2 ** 40 },
      avatar_url: 'https://example.com/x.png',
    });
    expect((await bobs.next(reply.room_updated))[5]).toEqual({
      metadata: { b: 2 ** 40 },
      avatar_url: 'https://example.com/x.png',
    });
    expect((await patch({ metadata: null, public: true })).body).toMatchObject({
      metadata: null,
      public: true,
    });
    const { body } = await expectHttp(200, http(gateway, eve, 'GET', `/v1/rooms/${room}`));
    expect(body).toMatchObject({ name: 'After', public: true, metadata: null });
  });

  test('that changes nothing makes no event', async () => {
    const room = await makeRoom(gateway, ada, [], { name: 'Same' });
    const { head } = await follow(adas, room);
    await expectHttp(200, http(gateway, ada, 'PATCH', `/v1/rooms/${room}`, {}));
    expect((await say(adas, room, 'next')).seq).toBe(head + 1);
  });

  test('by others is FORBIDDEN or NOT_FOUND', async () => {
    const [room, openRoom] = [
      await makeRoom(gateway, ada, [bob]),
      await makeRoom(gateway, ada, [], { public: true }),
    ];
    expect(await codeOf(http(gateway, bob, 'PATCH', `/v1/rooms/${room}`, { name: 'x' }))).toEqual([
      403,
      'FORBIDDEN',
    ]);
    expect(await codeOf(http(gateway, eve, 'PATCH', `/v1/rooms/${room}`, { name: 'x' }))).toEqual([
      404,
      'NOT_FOUND',
    ]);
    expect(await codeOf(http(gateway, eve, 'PATCH', `/v1/rooms/${openRoom}`, { name: 'x' }))).toEqual([
      403,
      'FORBIDDEN',
    ]);
  });

  test('with wrong fields is BAD_REQUEST', async () => {
    const room = await makeRoom(gateway, ada);
    for (const body of [
      { name: 5 },
      { name: '' },
      { archived: 'yes' },
      { public: 1 },
      { metadata: 'x' },
      { retention_days: 0.5 },
    ]) {
      const answer = await http(gateway, ada, 'PATCH', `/v1/rooms/${room}`, body);
      expect([body, answer.status, answer.body.error?.code]).toEqual([body, 400, 'BAD_REQUEST'] as never);
      expect(Object.keys(answer.body.error.fields)).toEqual(Object.keys(body));
    }
  });
});

describe('DELETE /v1/rooms/:id', () => {
  test('by an admin; then it is gone for everybody', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    expect(await codeOf(http(gateway, bob, 'DELETE', `/v1/rooms/${room}`))).toEqual([403, 'FORBIDDEN']);
    expect(await codeOf(http(gateway, eve, 'DELETE', `/v1/rooms/${room}`))).toEqual([404, 'NOT_FOUND']);
    await expectHttp(204, http(gateway, ada, 'DELETE', `/v1/rooms/${room}`));
    for (const who of [ada, bob]) {
      expect(await codeOf(http(gateway, who, 'GET', `/v1/rooms/${room}`))).toEqual([404, 'NOT_FOUND']);
      const { body } = await http(gateway, who, 'GET', '/v1/rooms');
      expect(body.rooms.map((line: Body) => line.id)).not.toContain(room);
    }
    expect(await codeOf(http(gateway, ada, 'DELETE', `/v1/rooms/${room}`))).toEqual([404, 'NOT_FOUND']);
  });
});

describe('members', () => {
  test('come with names and status', async () => {
    const account = await register(gateway, { display_name: 'Named' });
    const room = await makeRoom(gateway, ada, [account]);
    const { body } = await expectHttp(200, http(gateway, ada, 'GET', `/v1/rooms/${room}/members`));
    const member = body.members.find(({ user }: Body) => user === account.id);
    expect(member).toMatchObject({
      user: account.id,
      role: 'member',
      muted: false,
      username: account.username,
      display_name: 'Named',
      status: 'offline',
    });
    expect(new Date(member.joined_at).toISOString()).toBe(member.joined_at);
  });

  test('are added, changed and removed by an admin', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const path = `/v1/rooms/${room}/members/${eve.id}`;
    const of = async () =>
      (await http(gateway, ada, 'GET', `/v1/rooms/${room}/members`)).body.members.find(
        ({ user }: Body) => user === eve.id,
      );
    await expectHttp(200, http(gateway, ada, 'PUT', path, {}));
    expect(await of()).toMatchObject({ role: 'member', muted: false });
    await expectHttp(200, http(gateway, ada, 'PUT', path, { role: 'readonly', muted: true }));
    expect(await of()).toMatchObject({ role: 'readonly', muted: true });
    await expectHttp(200, http(gateway, ada, 'PUT', path, { role: 'admin' }));
    expect(await of()).toMatchObject({ role: 'admin', muted: true });
    await expectHttp(200, http(gateway, ada, 'PUT', path, { muted: false }));
    expect(await of()).toMatchObject({ role: 'admin', muted: false });
    await expectHttp(204, http(gateway, ada, 'DELETE', path));
    expect(await of()).toBeUndefined();
  });

  test('the same again changes nothing and makes no event', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const { head } = await follow(adas, room);
    const path = `/v1/rooms/${room}/members/${bob.id}`;
    await expectHttp(200, http(gateway, ada, 'PUT', path, {}));
    await expectHttp(200, http(gateway, ada, 'PUT', path, { role: 'member', muted: false }));
    expect((await say(adas, room, 'next')).seq).toBe(head + 1);
  });

  test('may not be touched by others, but leave by themselves', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    const path = (who: Person) => `/v1/rooms/${room}/members/${who.id}`;
    expect(await codeOf(http(gateway, bob, 'PUT', path(eve), {}))).toEqual([403, 'FORBIDDEN']);
    expect(await codeOf(http(gateway, bob, 'PUT', path(bob), { role: 'admin' }))).toEqual([403, 'FORBIDDEN']);
    expect(await codeOf(http(gateway, bob, 'DELETE', path(ada)))).toEqual([403, 'FORBIDDEN']);
    expect(await codeOf(http(gateway, eve, 'PUT', path(eve), {}))).toEqual([404, 'NOT_FOUND']);
    expect(await codeOf(http(gateway, eve, 'DELETE', path(bob)))).toEqual([404, 'NOT_FOUND']);
    await expectHttp(204, http(gateway, bob, 'DELETE', path(bob)));
    expect(await codeOf(http(gateway, bob, 'GET', `/v1/rooms/${room}`))).toEqual([404, 'NOT_FOUND']);
  });

  test('who do not exist are not added', async () => {
    const room = await makeRoom(gateway, ada);
    const { status } = await http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${fresh('nobody')}`, {});
    expect([400, 404]).toContain(status);
    expect(await codeOf(http(gateway, ada, 'DELETE', `/v1/rooms/${room}/members/${eve.id}`))).toEqual([
      404,
      'NOT_FOUND',
    ]);
  });

  test('with wrong fields are BAD_REQUEST', async () => {
    const room = await makeRoom(gateway, ada, [bob]);
    for (const body of [{ role: 'owner' }, { role: 5 }, { muted: 'yes' }]) {
      const answer = await http(gateway, ada, 'PUT', `/v1/rooms/${room}/members/${bob.id}`, body);
      expect([answer.status, answer.body.error.code]).toEqual([400, 'BAD_REQUEST']);
      expect(Object.keys(answer.body.error.fields)).toEqual(Object.keys(body));
    }
  });
});
