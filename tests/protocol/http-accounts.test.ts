// PROTOCOL.md section 3: accounts, tokens, profiles, health, and how HTTP says no.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, startGateway } from '../gateway.ts';
import {
  type Answer,
  expectHttp,
  fresh,
  http,
  introduce,
  makeToken,
  open,
  type Person,
  person,
  register,
} from '../people.ts';
import { op, until } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
beforeAll(async () => {
  gateway = await startGateway({ ALLOWED_ORIGINS: 'https://chat.example.com' });
  ada = await person('ada');
});
afterAll(() => gateway.close());

const post = (path: string, body: unknown) => http(gateway, null, 'POST', path, body);
const username = () => fresh('u').replaceAll('-', '_');
const isTime = (text: unknown) => typeof text === 'string' && new Date(text).toISOString() === text;

/** An error has this status and code, a sentence, and names these fields. */
function expectError(answer: Answer, status: number, code: string, ...fields: string[]): void {
  expect([answer.status, answer.body?.error?.code]).toEqual([status, code]);
  expect(answer.body.error.message).toBeString();
  expect(answer.headers.get('content-type')).toContain('application/json');
  if (fields.length > 0)
    expect(Object.keys(answer.body.error.fields ?? {})).toEqual(expect.arrayContaining(fields));
}

describe('POST /v1/register', () => {
  test('makes an account and logs in', async () => {
    const name = username();
    const { body } = await expectHttp(
      201,
      post('/v1/register', {
        username: name,
        password: 'correct horse',
        email: `${name}@example.com`,
        display_name: 'Žofie 🐎',
      }),
    );
    expect(Object.keys(body)).toEqual(
      expect.arrayContaining(['user', 'access_token', 'refresh_token', 'expires_in']),
    );
    expect(body.user).toMatchObject({ username: name, display_name: 'Žofie 🐎' });
    expect(body.user.id).toMatch(/^[A-Za-z0-9_\-.:@|+]{1,64}$/);
    expect(body.expires_in).toBe(900);
    expect(JSON.stringify(body)).not.toContain('correct horse');
    const socket = await open(gateway, { id: body.user.id, token: body.access_token });
    expect(socket.welcome.user).toBe(body.user.id);
  });

  test('email and display_name may be left out', async () => {
    const { body } = await register(gateway);
    expect(body.user.display_name ?? null).toBeNull();
  });

  test('usernames: 3 to 32 of the letters of ids', async () => {
    for (const bad of ['', 'ab', 'x'.repeat(33), 'a b', 'žofie', 'a/b/c', 'abc\n', 'abc#']) {
      expectError(
        await post('/v1/register', { username: bad, password: 'correct horse' }),
        400,
        'BAD_REQUEST',
        'username',
      );
    }
    for (const good of ['abc', 'x'.repeat(32), 'A-Z_a.z:0@9|+']) {
      const answer = await post('/v1/register', { username: good, password: 'correct horse' });
      expect([good, answer.status]).toEqual([good, 201]);
    }
  });

  test('passwords: 8 to 256 characters, not the username', async () => {
    for (const bad of ['', '1234567', 'x'.repeat(257)]) {
      expectError(
        await post('/v1/register', { username: username(), password: bad }),
        400,
        'BAD_REQUEST',
        'password',
      );
    }
    const same = `${username()}_long`;
    expectError(
      await post('/v1/register', { username: same, password: same }),
      400,
      'BAD_REQUEST',
      'password',
    );
    for (const good of ['12345678', 'x'.repeat(256), 'пароль из букв 🐎']) {
      const name = username();
      await expectHttp(201, post('/v1/register', { username: name, password: good }));
      await expectHttp(200, post('/v1/login', { username: name, password: good }));
    }
  });

  test('a username is unique without case', async () => {
    const name = `Case${username()}`;
    await register(gateway, { username: name });
    for (const again of [name, name.toLowerCase(), name.toUpperCase()]) {
      expectError(
        await post('/v1/register', { username: again, password: 'correct horse' }),
        409,
        'CONFLICT',
        'username',
      );
    }
  });

  test('taken by many at once, it is given to one', async () => {
    const name = username();
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => post('/v1/register', { username: name, password: 'correct horse' })),
    );
    expect(answers.map((answer) => answer.status).toSorted()).toEqual([
      201,
      ...Array.from({ length: 7 }, () => 409),
    ]);
  });

  test('an email is unique', async () => {
    const email = `${username()}@example.com`;
    await register(gateway, { email });
    expectError(
      await post('/v1/register', { username: username(), password: 'correct horse', email }),
      409,
      'CONFLICT',
      'email',
    );
    expectError(
      await post('/v1/register', { username: username(), password: 'correct horse', email: 'no address' }),
      400,
      'BAD_REQUEST',
      'email',
    );
  });

  test('what is missing or of another type is named', async () => {
    expectError(await post('/v1/register', { password: 'correct horse' }), 400, 'BAD_REQUEST', 'username');
    expectError(await post('/v1/register', { username: username() }), 400, 'BAD_REQUEST', 'password');
    expectError(
      await post('/v1/register', { username: 5, password: 'correct horse' }),
      400,
      'BAD_REQUEST',
      'username',
    );
    expectError(await post('/v1/register', {}), 400, 'BAD_REQUEST');
  });

  test('U+0000 is refused', async () => {
    expectError(
      await post('/v1/register', { username: username(), password: 'correct horse', display_name: 'a\0b' }),
      400,
      'BAD_REQUEST',
    );
  });
});

describe('POST /v1/login', () => {
  test('by username, without case', async () => {
    const account = await register(gateway);
    for (const name of [account.username, account.username.toUpperCase()]) {
      const { body } = await expectHttp(
        200,
        post('/v1/login', { username: name, password: 'correct horse' }),
      );
      expect(body.user.id).toBe(account.id);
      expect(body.expires_in).toBe(900);
      await expectHttp(200, http(gateway, { id: '', token: body.access_token }, 'GET', '/v1/me'));
    }
  });

  test('a wrong password and an unknown user are told the same', async () => {
    const account = await register(gateway);
    const wrong = await post('/v1/login', { username: account.username, password: 'wrong horse' });
    const unknown = await post('/v1/login', { username: username(), password: 'wrong horse' });
    expectError(wrong, 401, 'UNAUTHORIZED');
    expectError(unknown, 401, 'UNAUTHORIZED');
    expect(unknown.body).toEqual(wrong.body);
    expectError(
      await post('/v1/login', { username: account.username, password: 'Correct horse' }),
      401,
      'UNAUTHORIZED',
    );
  });

  test('a user who came with a token of his own cannot log in by his id', async () => {
    await introduce(gateway, ada);
    expectError(
      await post('/v1/login', { username: ada.id, password: 'correct horse' }),
      401,
      'UNAUTHORIZED',
    );
  });

  test('missing fields are BAD_REQUEST', async () => {
    expectError(await post('/v1/login', { username: 'abc' }), 400, 'BAD_REQUEST', 'password');
    expectError(await post('/v1/login', { password: 'correct horse' }), 400, 'BAD_REQUEST', 'username');
  });
});

describe('POST /v1/token', () => {
  test('rotates: new tokens, and the old refresh token is used up', async () => {
    const account = await register(gateway);
    const { body } = await expectHttp(200, post('/v1/token', { refresh_token: account.refresh }));
    expect(Object.keys(body)).toEqual(
      expect.arrayContaining(['user', 'access_token', 'refresh_token', 'expires_in']),
    );
    expect(body.refresh_token).not.toBe(account.refresh);
    expect(body.user.id).toBe(account.id);
    await expectHttp(200, http(gateway, { id: '', token: body.access_token }, 'GET', '/v1/me'));
    const next = await expectHttp(200, post('/v1/token', { refresh_token: body.refresh_token }));
    expect(next.body.refresh_token).not.toBe(body.refresh_token);
  });

  test('one used twice revokes its family', async () => {
    const account = await register(gateway);
    const { body: second } = await expectHttp(200, post('/v1/token', { refresh_token: account.refresh }));
    const { body: third } = await expectHttp(200, post('/v1/token', { refresh_token: second.refresh_token }));
    expectError(await post('/v1/token', { refresh_token: account.refresh }), 401, 'UNAUTHORIZED');
    expectError(await post('/v1/token', { refresh_token: third.refresh_token }), 401, 'UNAUTHORIZED');
  });

  test('used at the same time by two, one loses', async () => {
    const account = await register(gateway);
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => post('/v1/token', { refresh_token: account.refresh })),
    );
    expect(answers.filter((answer) => answer.status === 200).length).toBeLessThanOrEqual(1);
    for (const answer of answers) expect([200, 401]).toContain(answer.status);
  });

  test('other sessions of the user are not touched by a revoked one', async () => {
    const account = await register(gateway);
    const { body: other } = await expectHttp(
      200,
      post('/v1/login', { username: account.username, password: 'correct horse' }),
    );
    await expectHttp(200, post('/v1/token', { refresh_token: account.refresh }));
    await expectHttp(401, post('/v1/token', { refresh_token: account.refresh }));
    await expectHttp(200, post('/v1/token', { refresh_token: other.refresh_token }));
  });

  test('of nothing is refused', async () => {
    for (const token of ['x', 'a.b.c', 'x'.repeat(100)]) {
      expectError(await post('/v1/token', { refresh_token: token }), 401, 'UNAUTHORIZED');
    }
    expectError(await post('/v1/token', {}), 400, 'BAD_REQUEST', 'refresh_token');
    expectError(await post('/v1/token', { refresh_token: 1 }), 400, 'BAD_REQUEST', 'refresh_token');
    const account = await register(gateway);
    const { status } = await post('/v1/token', { refresh_token: account.token });
    expect([400, 401]).toContain(status);
  });

  test('outlives the process', async () => {
    const account = await register(gateway);
    gateway.kill();
    await gateway.restart();
    const { body } = await expectHttp(200, post('/v1/token', { refresh_token: account.refresh }));
    expect(body.user.id).toBe(account.id);
    await expectHttp(200, post('/v1/login', { username: account.username, password: 'correct horse' }));
  });
});

describe('POST /v1/logout', () => {
  test('ends the session: its tokens are worth nothing', async () => {
    const account = await register(gateway);
    const answer = await expectHttp(204, post('/v1/logout', { refresh_token: account.refresh }));
    expect(answer.body).toBe('');
    expectError(await post('/v1/token', { refresh_token: account.refresh }), 401, 'UNAUTHORIZED');
    expectError(await http(gateway, account, 'GET', '/v1/me'), 401, 'UNAUTHORIZED');
  });
});

describe('GET and PATCH /v1/me', () => {
  test('the own profile', async () => {
    const account = await register(gateway, { display_name: 'First' });
    const { body } = await expectHttp(200, http(gateway, account, 'GET', '/v1/me'));
    expect(body).toMatchObject({
      id: account.id,
      username: account.username,
      display_name: 'First',
      avatar_url: null,
    });
    expect(['online', 'away', 'offline']).toContain(body.status);
    expect('last_seen' in body).toBe(true);
  });

  test('is changed field by field', async () => {
    const account = await register(gateway, { display_name: 'First' });
    const avatar = 'https://example.com/a.png';
    const { body } = await expectHttp(
      200,
      http(gateway, account, 'PATCH', '/v1/me', { display_name: 'Second 🐎' }),
    );
    expect(body).toMatchObject({ display_name: 'Second 🐎', avatar_url: null });
    await expectHttp(200, http(gateway, account, 'PATCH', '/v1/me', { avatar_url: avatar }));
    await expectHttp(200, http(gateway, account, 'PATCH', '/v1/me', {}));
    const now = await expectHttp(200, http(gateway, account, 'GET', '/v1/me'));
    expect(now.body).toMatchObject({ display_name: 'Second 🐎', avatar_url: avatar });
    await expectHttp(200, http(gateway, account, 'PATCH', '/v1/me', { avatar_url: null }));
    expect((await http(gateway, account, 'GET', '/v1/me')).body.avatar_url).toBeNull();
  });

  test('wrong fields are named', async () => {
    const account = await register(gateway);
    expectError(
      await http(gateway, account, 'PATCH', '/v1/me', { display_name: 5 }),
      400,
      'BAD_REQUEST',
      'display_name',
    );
    expectError(
      await http(gateway, account, 'PATCH', '/v1/me', { avatar_url: 'javascript:alert(1)' }),
      400,
      'BAD_REQUEST',
      'avatar_url',
    );
    expectError(
      await http(gateway, account, 'PATCH', '/v1/me', { display_name: 'x'.repeat(5000) }),
      400,
      'BAD_REQUEST',
      'display_name',
    );
  });

  test('last_seen moves with a socket', async () => {
    const who = await person();
    const socket = await open(gateway, who);
    await socket.ok(op.ping);
    await socket.close();
    const seen = await until(
      async () => (await http(gateway, ada, 'GET', `/v1/users/${who.id}`)).body.last_seen,
      'last_seen is there',
    );
    expect(isTime(seen)).toBe(true);
    expect(Math.abs(Date.parse(seen) - Date.now())).toBeLessThan(60_000);
  });
});

describe('GET /v1/users', () => {
  test('of one', async () => {
    const account = await register(gateway, { display_name: 'Somebody', email: `${username()}@example.com` });
    const { body } = await expectHttp(200, http(gateway, ada, 'GET', `/v1/users/${account.id}`));
    expect(body).toMatchObject({
      id: account.id,
      username: account.username,
      display_name: 'Somebody',
      status: 'offline',
    });
    expect(Object.keys(body)).toEqual(
      expect.arrayContaining(['id', 'username', 'display_name', 'avatar_url', 'status', 'last_seen']),
    );
    expect(JSON.stringify(body)).not.toContain('@example.com');
    expectError(await http(gateway, ada, 'GET', `/v1/users/${fresh('nobody')}`), 404, 'NOT_FOUND');
  });

  test('of many, unknown ones left out', async () => {
    const people = await Promise.all([register(gateway), register(gateway), register(gateway)]);
    const ids = [...people.map((who) => who.id), fresh('nobody')];
    const { body } = await expectHttp(200, http(gateway, ada, 'GET', `/v1/users?ids=${ids.join(',')}`));
    expect(body.users.map((user: { id: string }) => user.id).toSorted()).toEqual(
      people.map((who) => who.id).toSorted(),
    );
  });

  test('of 200 at most', async () => {
    const ids = (count: number) => Array.from({ length: count }, (_, i) => `u${i}`).join(',');
    await expectHttp(200, http(gateway, ada, 'GET', `/v1/users?ids=${ids(200)}`));
    expectError(await http(gateway, ada, 'GET', `/v1/users?ids=${ids(201)}`), 400, 'BAD_REQUEST');
    expectError(await http(gateway, ada, 'GET', '/v1/users'), 400, 'BAD_REQUEST');
  });
});

describe('tokens on HTTP routes', () => {
  const routes = [
    ['GET', '/v1/me'],
    ['PATCH', '/v1/me'],
    ['GET', '/v1/users/abc'],
    ['GET', '/v1/users?ids=abc'],
    ['POST', '/v1/rooms'],
    ['GET', '/v1/rooms'],
    ['GET', '/v1/rooms/abc'],
    ['PATCH', '/v1/rooms/abc'],
    ['DELETE', '/v1/rooms/abc'],
    ['GET', '/v1/rooms/abc/members'],
    ['PUT', '/v1/rooms/abc/members/abc'],
    ['DELETE', '/v1/rooms/abc/members/abc'],
    ['GET', '/v1/rooms/abc/messages'],
    ['POST', '/v1/rooms/abc/messages'],
    ['GET', '/v1/rooms/abc/messages/1/receipts'],
  ] as const;
  for (const [method, path] of routes) {
    test(`${method} ${path} needs one`, async () => {
      const body = method === 'GET' || method === 'DELETE' ? undefined : {};
      expectError(await http(gateway, null, method, path, body), 401, 'UNAUTHORIZED');
      expectError(await http(gateway, { id: '', token: 'bad' }, method, path, body), 401, 'UNAUTHORIZED');
      const expired = { id: '', token: await makeToken('abc', { expiresIn: -60 }) };
      expectError(await http(gateway, expired, method, path, body), 401, 'TOKEN_EXPIRED');
    });
  }

  test('a token in the query is not accepted: addresses end up in logs', async () => {
    const answer = await http(gateway, null, 'GET', `/v1/me?access_token=${ada.token}`);
    expect(answer.status).toBe(401);
  });
});

describe('bodies', () => {
  test('that are no JSON are BAD_REQUEST', async () => {
    for (const body of ['', '{', 'null', '[]', '"x"', '1', '{"username":}', '\u0000']) {
      const answer = await http(gateway, null, 'POST', '/v1/login', body);
      expect([body, answer.status, answer.body.error?.code]).toEqual([body, 400, 'BAD_REQUEST']);
    }
  });

  test('that are too large are TOO_LARGE', async () => {
    const body = JSON.stringify({ username: 'abc', password: 'x'.repeat(4 * 1024 * 1024) });
    const answer = await http(gateway, null, 'POST', '/v1/login', body);
    expectError(answer, 413, 'TOO_LARGE');
  });

  test('nested ten thousand deep are refused, and the process lives', async () => {
    const answer = await http(
      gateway,
      ada,
      'PATCH',
      '/v1/me',
      `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`,
    );
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    await expectHttp(200, http(gateway, null, 'GET', '/health'));
  });
});

describe('routes that do not exist', () => {
  test('are NOT_FOUND in JSON', async () => {
    expectError(await http(gateway, ada, 'GET', '/v1/nothing'), 404, 'NOT_FOUND');
    expectError(await http(gateway, null, 'GET', '/v2/me'), 404, 'NOT_FOUND');
  });

  test('a known path with another method is no success', async () => {
    const answer = await http(gateway, ada, 'DELETE', '/v1/me');
    expect([404, 405]).toContain(answer.status);
  });
});

describe('CORS', () => {
  test('follows ALLOWED_ORIGINS', async () => {
    const origin = 'https://chat.example.com';
    const simple = await http(gateway, ada, 'GET', '/v1/me', undefined, { origin });
    expect(simple.headers.get('access-control-allow-origin')).toBe(origin);
    const preflight = await http(gateway, null, 'OPTIONS', '/v1/rooms', undefined, {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    });
    expect(preflight.status).toBeLessThan(300);
    expect(preflight.headers.get('access-control-allow-origin')).toBe(origin);
    expect(preflight.headers.get('access-control-allow-headers')?.toLowerCase()).toContain('authorization');
    expect(preflight.headers.get('access-control-allow-methods')).toContain('POST');
    const refused = await http(gateway, null, 'GET', '/v1/me', undefined, { origin });
    expect(refused.headers.get('access-control-allow-origin')).toBe(origin);
  });

  test('gives other origins nothing', async () => {
    for (const origin of ['https://evil.example', 'null']) {
      const answer = await http(gateway, ada, 'GET', '/v1/me', undefined, { origin });
      expect(answer.headers.get('access-control-allow-origin')).toBeNull();
    }
  });
});

describe('what needs no token', () => {
  test('GET /health', async () => {
    const { body } = await expectHttp(200, http(gateway, null, 'GET', '/health'));
    expect(body.status).toBeString();
    expect(body.server_id).toBeString();
    expect(isTime(body.timestamp)).toBe(true);
  });

  test('GET /ready', async () => {
    await expectHttp(200, http(gateway, null, 'GET', '/ready'));
  });

  test('GET /metrics', async () => {
    const { headers, body } = await expectHttp(200, http(gateway, null, 'GET', '/metrics'));
    expect(headers.get('content-type')).toContain('text/plain');
    expect(body).toMatch(/^# TYPE \w+ (counter|gauge|histogram)$/m);
    expect(body).not.toContain(ada.id);
  });

  test('GET / is the chat', async () => {
    const { headers, body } = await expectHttp(200, http(gateway, null, 'GET', '/'));
    expect(headers.get('content-type')).toContain('text/html');
    expect(body.toLowerCase()).toContain('<!doctype html>');
  });

  test('GET /openapi.json describes every route', async () => {
    const { body } = await expectHttp(200, http(gateway, null, 'GET', '/openapi.json'));
    expect(body.openapi).toStartWith('3.');
    const paths = Object.entries(body.paths as Record<string, Record<string, unknown>>).flatMap(
      ([path, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{\w+\}/g, ':')}`),
    );
    expect(paths).toEqual(
      expect.arrayContaining([
        'POST /v1/register',
        'POST /v1/login',
        'POST /v1/token',
        'POST /v1/logout',
        'GET /v1/me',
        'PATCH /v1/me',
        'GET /v1/users/:',
        'GET /v1/users',
        'POST /v1/rooms',
        'GET /v1/rooms',
        'GET /v1/rooms/:',
        'PATCH /v1/rooms/:',
        'DELETE /v1/rooms/:',
        'GET /v1/rooms/:/members',
        'PUT /v1/rooms/:/members/:',
        'DELETE /v1/rooms/:/members/:',
        'GET /v1/rooms/:/messages',
        'POST /v1/rooms/:/messages',
        'GET /v1/rooms/:/messages/:/receipts',
        'GET /health',
        'GET /ready',
        'GET /metrics',
      ]),
    );
  });
});

describe('ACCESS_TOKEN_SECONDS', () => {
  test('is the life of an access token', async () => {
    const short = await startGateway({ ACCESS_TOKEN_SECONDS: '120' });
    const account = await register(short);
    expect(account.body.expires_in).toBe(120);
    const { exp } = JSON.parse(Buffer.from(account.token.split('.')[1]!, 'base64url').toString());
    expect(Math.abs(exp * 1000 - Date.now() - 120_000)).toBeLessThan(5000);
    await short.close();
  });
});
