import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Fixture, passwordOfAll, startHttp } from './http.fixture.ts';

let http: Fixture;
beforeAll(async () => {
  http = await startHttp();
});
afterAll(() => http.stop());

describe('register', () => {
  test('answers 201 with the user and tokens that work', async () => {
    const { status, body } = await http.ask('POST /v1/register', null, {
      username: 'Ann.B',
      email: 'ann@example.com',
      password: passwordOfAll,
      display_name: 'Ann',
    });
    expect(status).toBe(201);
    expect(body.user).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      username: 'Ann.B',
      email: 'ann@example.com',
      display_name: 'Ann',
      avatar_url: null,
      status: 'offline',
      last_seen: null,
    });
    expect(body.expires_in).toBe(900);
    expect(Object.keys(body).sort()).toEqual(['access_token', 'expires_in', 'refresh_token', 'user']);
    expect((await http.ask('GET /v1/me', body.access_token)).body).toEqual(body.user);
  });

  test('a taken username, in any case, and a taken email are conflicts that name the field', async () => {
    const account = { username: 'ann.b', password: passwordOfAll };
    const first = await http.ask('POST /v1/register', null, account);
    expect([first.status, first.body.error.code, first.body.error.fields]).toEqual([
      409,
      'CONFLICT',
      { username: 'taken' },
    ]);
    const second = await http.ask('POST /v1/register', null, {
      ...account,
      username: 'ann2',
      email: 'ann@example.com',
    });
    expect([second.status, second.body.error.fields]).toEqual([409, { email: 'taken' }]);
  });

  test('of the same name many times at once makes one account', async () => {
    const account = { username: 'racer', password: passwordOfAll };
    const replies = await Promise.all(
      Array.from({ length: 8 }, () => http.ask('POST /v1/register', null, account)),
    );
    expect(replies.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409, 409, 409, 409]);
  });

  test('wrong fields are named', async () => {
    const good = { username: 'good', password: passwordOfAll };
    const cases: [Record<string, unknown>, string][] = [
      [{ ...good, username: 'ab' }, 'username'],
      [{ ...good, username: 'x'.repeat(33) }, 'username'],
      [{ ...good, username: 'a b c' }, 'username'],
      [{ ...good, username: 7 }, 'username'],
      [{ password: passwordOfAll }, 'username'],
      [{ ...good, password: 'short77' }, 'password'],
      [{ ...good, password: 'x'.repeat(257) }, 'password'],
      [{ username: 'longenough', password: 'LongEnough' }, 'password'],
      [{ username: 'good' }, 'password'],
      [{ ...good, email: 'nobody' }, 'email'],
      [{ ...good, display_name: '' }, 'display_name'],
    ];
    for (const [body, field] of cases) {
      const reply = await http.ask('POST /v1/register', null, body);
      expect([field, reply.status, reply.body.error.code]).toEqual([field, 400, 'BAD_REQUEST']);
      expect(Object.keys(reply.body.error.fields)).toEqual([field]);
    }
    const both = await http.ask('POST /v1/register', null, {});
    expect(Object.keys(both.body.error.fields).sort()).toEqual(['password', 'username']);
  });

  test('passwords of exactly 8 and 256 characters are taken', async () => {
    for (const [username, password] of [
      ['eight', '8 chars!'],
      ['many', 'é'.repeat(256)],
    ]) {
      expect((await http.ask('POST /v1/register', null, { username, password })).status).toBe(201);
      expect((await http.ask('POST /v1/login', null, { username, password })).status).toBe(200);
    }
  });
});

describe('login', () => {
  test('works without case of the name, and not with another password or name', async () => {
    const { id } = await http.register('Login.User');
    const right = await http.ask('POST /v1/login', null, { username: 'login.user', password: passwordOfAll });
    expect([right.status, right.body.user.id]).toEqual([200, id]);
    const wrong = await http.ask('POST /v1/login', null, {
      username: 'login.user',
      password: 'not that one',
    });
    const unknown = await http.ask('POST /v1/login', null, {
      username: 'nobody.here',
      password: 'not that one',
    });
    expect(wrong.status).toBe(401);
    expect(wrong.body).toEqual({ error: { code: 'UNAUTHORIZED', message: 'wrong username or password' } });
    expect(unknown.body).toEqual(wrong.body);
  });

  test('of a user that a token made is refused', async () => {
    await http.store.ensureUser('foreign', {}, 1);
    expect(
      (await http.ask('POST /v1/login', null, { username: 'foreign', password: 'anything at all' })).status,
    ).toBe(401);
  });
});

describe('tokens', () => {
  test('rotate; one used twice revokes the session and closes its sockets', async () => {
    const { refreshToken, token, id } = await http.register('rotator');
    const first = await http.ask('POST /v1/token', null, { refresh_token: refreshToken });
    expect([first.status, first.body.user.id]).toEqual([200, id]);
    expect(first.body.refresh_token).not.toBe(refreshToken);
    expect((await http.ask('GET /v1/me', first.body.access_token)).status).toBe(200);
    const second = await http.ask('POST /v1/token', null, { refresh_token: first.body.refresh_token });
    expect(second.status).toBe(200);

    const before = http.closed.length;
    const reused = await http.ask('POST /v1/token', null, { refresh_token: refreshToken });
    expect([reused.status, reused.body.error.code]).toEqual([401, 'UNAUTHORIZED']);
    expect(http.closed.length).toBe(before + 1);
    const { sid } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString());
    expect(http.closed.at(-1)).toBe(sid);
    expect(
      (await http.ask('POST /v1/token', null, { refresh_token: second.body.refresh_token })).status,
    ).toBe(401);
    expect((await http.ask('GET /v1/me', second.body.access_token)).status).toBe(401);
  });

  test('of which two uses come at once work once', async () => {
    const { refreshToken } = await http.register('twice');
    const use = () => http.ask('POST /v1/token', null, { refresh_token: refreshToken });
    const replies = await Promise.all([use(), use(), use()]);
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 401, 401]);
  });

  test('that are unknown, or expired, are refused', async () => {
    expect((await http.ask('POST /v1/token', null, { refresh_token: 'x'.repeat(43) })).status).toBe(401);
    expect((await http.ask('POST /v1/token', null, {})).body.error.fields).toEqual({
      refresh_token: 'missing',
    });
    const { refreshToken, token } = await http.register('expired');
    http.clock.aheadMs = 31 * 86_400_000;
    expect((await http.ask('POST /v1/token', null, { refresh_token: refreshToken })).status).toBe(401);
    expect((await http.ask('GET /v1/me', token)).body.error.code).toBe('TOKEN_EXPIRED');
    http.clock.aheadMs = 0;
  });
});

test('logout ends the session: 204, sockets closed, tokens refused, and again 204', async () => {
  const account = await http.register('leaver');
  const other = await http.ask('POST /v1/login', null, { username: 'leaver', password: passwordOfAll });
  const before = http.closed.length;
  const logout = () => http.ask('POST /v1/logout', null, { refresh_token: account.refreshToken });
  const reply = await logout();
  expect([reply.status, reply.body]).toEqual([204, '']);
  expect(http.closed.length).toBe(before + 1);
  expect((await http.ask('GET /v1/me', account.token)).status).toBe(401);
  expect((await http.ask('POST /v1/token', null, { refresh_token: account.refreshToken })).status).toBe(401);
  expect((await http.ask('GET /v1/me', other.body.access_token)).status).toBe(200);
  expect((await logout()).status).toBe(204);
});

test('one address is held back after its burst, others are not', async () => {
  const limited = await startHttp();
  limited.clock.hold();
  const login = (address: string) =>
    limited.fetch(
      new Request('http://chat.test/v1/login', {
        method: 'POST',
        body: '{"username":"nobody","password":"wrong one"}',
      }),
      address,
    );
  const replies = [];
  for (let i = 0; i < 12; i++)
    replies.push(...(await Promise.all(Array.from({ length: 100 }, () => login('203.0.113.9')))));
  const held = replies.filter(({ status }) => status === 429);
  expect(held.length).toBeGreaterThan(100);
  expect(Number(held[0]!.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  expect((await login('203.0.113.10')).status).toBe(401);
  await limited.stop();
});

test('the log tells every event with the request id, and no secret', async () => {
  const before = http.lines.length;
  const headers = { 'x-request-id': 'trace-me-1' };
  const account = { username: 'logged', email: 'logged@example.com', password: 'a very secret word' };
  const { body } = await http.ask('POST /v1/register', null, account, headers);
  await http.ask('POST /v1/login', null, account, headers);
  await http.ask('POST /v1/login', null, { ...account, password: 'wrong secret' }, headers);
  await http.ask('POST /v1/token', null, { refresh_token: body.refresh_token }, headers);
  await http.ask('POST /v1/token', null, { refresh_token: body.refresh_token }, headers);
  await http.ask('POST /v1/logout', null, { refresh_token: body.refresh_token }, headers);
  const text = http.lines.slice(before).join('');
  const events = http.lines.slice(before).map((line) => JSON.parse(line));
  expect(events.map(({ event }) => event)).toEqual([
    'registered',
    'logged_in',
    'login_refused',
    'token_renewed',
    'token_reused',
    'logged_out',
  ]);
  for (const { requestId } of events) expect(requestId).toBe('trace-me-1');
  for (const secret of [
    'a very secret word',
    'wrong secret',
    'logged@',
    body.refresh_token,
    body.access_token,
  ]) {
    expect(text).not.toContain(secret);
  }
});
