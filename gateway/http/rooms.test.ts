import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Account, type Fixture, startHttp } from './http.fixture.ts';

let http: Fixture;
let ann: Account;
let bob: Account;
let cid: Account;
beforeAll(async () => {
  http = await startHttp({ MESSAGE_RATE: '0', GROUP_MESSAGE_RATE: '0' });
  [ann, bob, cid] = await Promise.all([http.register('ann'), http.register('bob'), http.register('cid')]);
});
afterAll(() => http.stop());

const create = (account: Account, body: object) => http.ask('POST /v1/rooms', account.token, body);
let rooms = 0;
async function makeRoom(body: object = {}): Promise<string> {
  const id = `room-${++rooms}`;
  const { status } = await create(ann, { id, name: 'Room', type: 'group', members: [bob.id], ...body });
  expect(status).toBe(201);
  return id;
}
const send = (room: string, account: Account, content = 'hi') =>
  http.ask(`POST /v1/rooms/${room}/messages`, account.token, { type: 'text', content });

describe('a new room', () => {
  test('answers 201 with its record; its maker is admin, the others members', async () => {
    const metadata = { topic: 'tests', deep: { a: [1] } };
    const { status, body } = await create(ann, {
      id: 'my:room',
      name: 'My room',
      type: 'group',
      members: [bob.id, bob.id, ann.id],
      avatar_url: 'https://x.example/r.png',
      metadata,
    });
    expect(status).toBe(201);
    expect(body).toEqual({
      id: 'my:room',
      name: 'My room',
      type: 'group',
      public: false,
      encrypted: false,
      archived: false,
      avatar_url: 'https://x.example/r.png',
      metadata,
      created_by: ann.id,
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    });
    expect((await http.ask('GET /v1/rooms/my:room', bob.token)).body).toEqual(body);
    const { members } = (await http.ask('GET /v1/rooms/my:room/members', bob.token)).body;
    const roles = Object.fromEntries(
      members.map(({ user, role }: { user: string; role: string }) => [user, role]),
    );
    expect(roles).toEqual({ [ann.id]: 'admin', [bob.id]: 'member' });
  });

  test('gets a UUIDv7 where no id is given; a taken id is a conflict', async () => {
    const { body } = await create(ann, { name: 'x', type: 'channel' });
    expect(body.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    const again = await create(bob, { id: body.id, name: 'y', type: 'group' });
    expect([again.status, again.body.error.fields]).toEqual([409, { id: 'taken' }]);
  });

  test('with wrong fields is refused and they are named', async () => {
    const good = { name: 'x', type: 'group' };
    const cases: [object, string, number?][] = [
      [{ ...good, type: 'other' }, 'type'],
      [{ name: 'x' }, 'type'],
      [{ type: 'group' }, 'name'],
      [{ ...good, name: 'x'.repeat(129) }, 'name'],
      [{ ...good, id: 'a b' }, 'id'],
      [{ ...good, id: 'x'.repeat(65) }, 'id'],
      [{ ...good, members: ['ghost'] }, 'members'],
      [{ ...good, members: [7] }, 'members'],
      [{ ...good, members: Array.from({ length: 1001 }, (_, i) => `u${i}`) }, 'members'],
      [{ ...good, public: 'yes' }, 'public'],
      [{ ...good, metadata: [] }, 'metadata'],
      [{ ...good, metadata: { a: 'x'.repeat(4096) } }, 'metadata', 413],
      [{ ...good, metadata: { a: { b: { c: { d: {} } } } } }, 'metadata'],
      [{ ...good, avatar_url: 'javascript:x' }, 'avatar_url'],
      [{ ...good, retention_days: 0 }, 'retention_days'],
      [{ type: 'direct', members: [] }, 'members'],
      [{ type: 'direct', members: [ann.id] }, 'members'],
      [{ type: 'direct', members: [bob.id, cid.id] }, 'members'],
      [{ type: 'direct', members: [bob.id], public: true }, 'public'],
    ];
    for (const [body, field, status = 400] of cases) {
      const reply = await create(ann, body);
      expect([field, reply.status, Object.keys(reply.body.error.fields ?? {})]).toEqual([
        field,
        status,
        [field],
      ]);
    }
    expect((await create(ann, { ...good, members: ['ghost', bob.id] })).body.error.fields.members).toContain(
      'ghost',
    );
  });
});

describe('a direct room', () => {
  test('is one for two, whoever asks, also at once', async () => {
    const ask = (account: Account, other: Account) =>
      create(account, { type: 'direct', members: [other.id] });
    const replies = await Promise.all([ask(ann, cid), ask(cid, ann), ask(ann, cid), ask(cid, ann)]);
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 200, 200, 201]);
    expect(new Set(replies.map(({ body }) => body.id)).size).toBe(1);
    expect((await ask(ann, cid)).status).toBe(200);
    expect((await ask(ann, bob)).body.id).not.toBe(replies[0]!.body.id);
  });

  test('takes no third member, and never becomes public', async () => {
    const { body } = await create(ann, { type: 'direct', members: [bob.id] });
    expect((await http.ask(`PUT /v1/rooms/${body.id}/members/${cid.id}`, ann.token, {})).status).not.toBe(
      200,
    );
    const reply = await http.ask(
      `PATCH /v1/rooms/${body.id}`,
      body.created_by === ann.id ? ann.token : bob.token,
      { public: true },
    );
    expect([reply.status, reply.body.error.fields]).toEqual([400, { public: expect.any(String) }]);
  });

  test('that one has left, or that was ended, is made anew', async () => {
    const [dan, eve] = await Promise.all([http.register('dan'), http.register('eve')]);
    const first = await create(dan, { type: 'direct', members: [eve.id] });
    expect((await http.ask(`DELETE /v1/rooms/${first.body.id}`, dan.token)).status).toBe(204);
    const second = await create(eve, { type: 'direct', members: [dan.id] });
    expect(second.status).toBe(201);
    expect(second.body.id).not.toBe(first.body.id);
    expect((await create(dan, { type: 'direct', members: [eve.id] })).body.id).toBe(second.body.id);
  });
});

describe('the list', () => {
  test('has last message, head, own mark and unread', async () => {
    const fay = await http.register('fay');
    const room = await makeRoom({ members: [bob.id, fay.id] });
    const list = async () => (await http.ask('GET /v1/rooms', fay.token)).body.rooms;
    expect(await list()).toMatchObject([
      { id: room, last_message: null, head_seq: 0, read_seq: 0, unread: 0 },
    ]);
    const first = await send(room, bob, 'one');
    const last = await send(room, bob, 'two');
    const [listed] = await list();
    expect(listed).toMatchObject({ head_seq: last.body.seq, read_seq: 0, unread: 2 });
    expect(listed.last_message).toMatchObject({ seq: last.body.seq, from: bob.id, content: 'two', room });
    const read = (seq: number) =>
      http.store.saveMarks([{ room, user: fay.id, delivered: seq, read: seq, at: Date.now() }]);
    await read(first.body.seq);
    expect(await list()).toMatchObject([{ read_seq: first.body.seq, unread: 1 }]);
    await read(last.body.seq);
    expect(await list()).toMatchObject([{ read_seq: last.body.seq, unread: 0 }]);
  });

  test('is paged by id and leaves archived rooms out unless asked for', async () => {
    const gus = await http.register('gus');
    for (const id of ['p1', 'p2', 'p3'])
      expect((await create(gus, { id, name: id, type: 'group' })).status).toBe(201);
    expect((await http.ask('PATCH /v1/rooms/p2', gus.token, { archived: true })).body.archived).toBe(true);
    const ids = async (query = '') =>
      (await http.ask(`GET /v1/rooms${query}`, gus.token)).body.rooms.map(({ id }: { id: string }) => id);
    expect(await ids()).toEqual(['p1', 'p3']);
    expect(await ids('?archived=true')).toEqual(['p1', 'p2', 'p3']);
    expect(await ids('?archived=true&limit=2')).toEqual(['p1', 'p2']);
    expect(await ids('?archived=true&limit=2&after=p2')).toEqual(['p3']);
    for (const bad of [
      'limit=0',
      'limit=201',
      'limit=x',
      'limit=-1',
      'limit=1.5',
      'archived=maybe',
      'after=a%20b',
    ]) {
      const reply = await http.ask(`GET /v1/rooms?${bad}`, gus.token);
      expect([reply.status, Object.keys(reply.body.error.fields)]).toEqual([400, [bad.split('=')[0]!]]);
    }
    expect((await send('p2', gus)).status).toBe(403);
  });
});

describe('a room', () => {
  test('that one may not read is NOT_FOUND everywhere', async () => {
    const room = await makeRoom();
    for (const target of [
      `GET /v1/rooms/${room}`,
      `PATCH /v1/rooms/${room}`,
      `DELETE /v1/rooms/${room}`,
      `GET /v1/rooms/${room}/members`,
      `PUT /v1/rooms/${room}/members/${cid.id}`,
      `DELETE /v1/rooms/${room}/members/${bob.id}`,
      `GET /v1/rooms/${room}/messages`,
      `GET /v1/rooms/${room}/messages/1/receipts`,
      'GET /v1/rooms/there-is-none',
    ]) {
      const reply = await http.ask(target, cid.token, target.startsWith('P') ? { name: 'x' } : undefined);
      expect([target, reply.status]).toEqual([target, 404]);
    }
    expect((await send(room, cid)).status).toBe(404);
  });

  test('is changed and ended by its admin only', async () => {
    const room = await makeRoom();
    const change = (account: Account, body: object) =>
      http.ask(`PATCH /v1/rooms/${room}`, account.token, body);
    expect((await change(bob, { name: 'B' })).status).toBe(403);
    expect((await http.ask(`DELETE /v1/rooms/${room}`, bob.token)).status).toBe(403);
    const changed = await change(ann, {
      name: 'A',
      metadata: { k: 1 },
      public: true,
      retention_days: 7,
      avatar_url: null,
    });
    expect(changed.body).toMatchObject({ id: room, name: 'A', metadata: { k: 1 }, public: true });
    expect((await http.ask(`GET /v1/rooms/${room}`, cid.token)).body).toEqual(changed.body);
    expect((await change(ann, {})).body).toEqual(changed.body);
    expect((await change(ann, { name: '' })).body.error.fields).toEqual({ name: expect.any(String) });
    expect((await http.ask(`DELETE /v1/rooms/${room}`, ann.token)).status).toBe(204);
    expect((await http.ask(`GET /v1/rooms/${room}`, ann.token)).status).toBe(404);
    expect((await send(room, ann)).status).toBe(404);
  });
});

describe('members', () => {
  test('come with names and status, paged', async () => {
    const room = await makeRoom({ members: [bob.id, cid.id] });
    http.statuses.set(bob.id, 'online');
    const all = (await http.ask(`GET /v1/rooms/${room}/members`, ann.token)).body.members;
    const ids = [ann.id, bob.id, cid.id].sort();
    expect(all.map(({ user }: { user: string }) => user)).toEqual(ids);
    expect(all.find(({ user }: { user: string }) => user === bob.id)).toEqual({
      user: bob.id,
      role: 'member',
      muted: false,
      joined_at: expect.stringContaining('T'),
      username: 'bob',
      display_name: null,
      avatar_url: null,
      status: 'online',
      last_seen: null,
      delivered_seq: 0,
      read_seq: 0,
    });
    const page = await http.ask(`GET /v1/rooms/${room}/members?limit=1&after=${ids[0]}`, ann.token);
    expect(page.body.members.map(({ user }: { user: string }) => user)).toEqual([ids[1]!]);
    expect((await http.ask(`GET /v1/rooms/${room}/members?limit=1001`, ann.token)).status).toBe(400);
  });

  test('are added, changed, muted and removed by an admin', async () => {
    const room = await makeRoom();
    const put = (account: Account, user: string, body?: object) =>
      http.ask(`PUT /v1/rooms/${room}/members/${user}`, account.token, body);
    expect((await put(bob, cid.id, {})).status).toBe(403);
    expect((await put(ann, 'ghost', {})).status).toBe(404);
    const added = await put(ann, cid.id);
    expect([added.status, added.body]).toMatchObject([
      200,
      { user: cid.id, role: 'member', muted: false, username: 'cid' },
    ]);
    expect((await send(room, cid)).status).toBe(201);
    expect((await put(ann, cid.id, { muted: true })).body).toMatchObject({ role: 'member', muted: true });
    expect((await send(room, cid)).status).toBe(403);
    expect((await put(ann, cid.id, { role: 'readonly', muted: false })).body).toMatchObject({
      role: 'readonly',
      muted: false,
    });
    expect((await send(room, cid)).status).toBe(403);
    expect((await put(ann, cid.id, { role: 'owner' })).body.error.fields).toEqual({
      role: 'admin, member or readonly',
    });
    expect((await http.ask(`DELETE /v1/rooms/${room}/members/${cid.id}`, bob.token)).status).toBe(403);
    expect((await http.ask(`DELETE /v1/rooms/${room}/members/${cid.id}`, ann.token)).status).toBe(204);
    expect((await http.ask(`GET /v1/rooms/${room}`, cid.token)).status).toBe(404);
    expect((await http.ask(`DELETE /v1/rooms/${room}/members/${bob.id}`, bob.token)).status).toBe(204);
  });

  test('of a public room may be whoever adds himself, as member only', async () => {
    const room = await makeRoom({ public: true });
    const put = (body?: object) => http.ask(`PUT /v1/rooms/${room}/members/${cid.id}`, cid.token, body);
    expect((await send(room, cid)).status).toBe(403);
    expect((await put({ role: 'admin' })).status).toBe(403);
    expect((await put()).body).toMatchObject({ user: cid.id, role: 'member' });
    expect((await send(room, cid)).status).toBe(201);
  });
});
