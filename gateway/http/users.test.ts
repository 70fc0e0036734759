import { afterAll, beforeAll, expect, test } from 'bun:test';
import { type Account, type Fixture, startHttp } from './http.fixture.ts';

let http: Fixture;
let ann: Account;
let bob: Account;
beforeAll(async () => {
  http = await startHttp();
  ann = await http.register('ann');
  bob = await http.register('bob');
});
afterAll(() => http.stop());

test('a profile can be changed and cleared, by field', async () => {
  const change = (body: object) => http.ask('PATCH /v1/me', ann.token, body);
  const set = await change({
    display_name: 'Ann 🙂',
    avatar_url: 'https://x.example/a.png',
    email: 'ann@example.com',
  });
  expect(set.status).toBe(200);
  expect(set.body).toMatchObject({
    display_name: 'Ann 🙂',
    avatar_url: 'https://x.example/a.png',
    email: 'ann@example.com',
  });
  expect((await change({ avatar_url: null })).body).toMatchObject({
    display_name: 'Ann 🙂',
    avatar_url: null,
  });
  expect((await change({})).body).toMatchObject({ display_name: 'Ann 🙂', email: 'ann@example.com' });
  for (const [field, value] of [
    ['display_name', ''],
    ['display_name', 7],
    ['avatar_url', 'javascript:alert(1)'],
    ['avatar_url', 'x'],
    ['email', 'x'],
  ]) {
    const reply = await change({ [field as string]: value });
    expect([reply.status, Object.keys(reply.body.error.fields)]).toEqual([400, [field as string]]);
  }
  const taken = await http.ask('PATCH /v1/me', bob.token, { email: 'ann@example.com' });
  expect([taken.status, taken.body.error.fields]).toEqual([409, { email: 'taken' }]);
});

test('others see a profile without the email, with status and when it was last seen', async () => {
  await http.store.touchUsers([{ user: ann.id, lastSeen: 1_800_000_000_000, room: null }]);
  http.statuses.set(ann.id, 'away');
  const { status, body } = await http.ask(`GET /v1/users/${ann.id}`, bob.token);
  expect(status).toBe(200);
  expect(body).toEqual({
    id: ann.id,
    username: 'ann',
    display_name: 'Ann 🙂',
    avatar_url: null,
    status: 'away',
    last_seen: '2027-01-15T08:00:00.000Z',
  });
});

test('an unknown user is NOT_FOUND, a malformed id BAD_REQUEST', async () => {
  expect((await http.ask('GET /v1/users/nobody', ann.token)).status).toBe(404);
  expect((await http.ask('GET /v1/users/a%20b', ann.token)).status).toBe(400);
  expect((await http.ask('GET /v1/users/a%00', ann.token)).status).toBe(400);
});

test('several users at once: those that exist, at most 200 asked for', async () => {
  await http.store.ensureUser('x|a+b@c:d', { displayName: 'X' }, 1);
  const ids = (query: string) => http.ask(`GET /v1/users?ids=${query}`, ann.token);
  const { status, body } = await ids(`${ann.id},nobody,${bob.id},${bob.id},x|a+b@c:d`);
  expect(status).toBe(200);
  expect(body.users.map(({ id }: { id: string }) => id).sort()).toEqual([ann.id, bob.id, 'x|a+b@c:d'].sort());
  expect((await ids(encodeURIComponent('x|a+b@c:d'))).body.users.length).toBe(1);
  expect((await ids(Array.from({ length: 200 }, (_, i) => `u${i}`).join(','))).status).toBe(200);
  for (const bad of ['', 'a,,b', 'a%00', 'é', Array.from({ length: 201 }, (_, i) => `u${i}`).join(',')]) {
    const reply = await ids(bad);
    expect([reply.status, Object.keys(reply.body.error.fields)]).toEqual([400, ['ids']]);
  }
  expect((await http.ask('GET /v1/users', ann.token)).body.error.fields).toEqual({ ids: 'missing' });
});
