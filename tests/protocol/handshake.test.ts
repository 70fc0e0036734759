// PROTOCOL.md section 1: who becomes a socket, in which order that is checked, and what the others are told.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, jwtSecret, startGateway } from '../gateway.ts';
import { expectHttp, fresh, http, introduce, makeToken, open, person } from '../people.ts';
import { connect, op, reply, type Socket, type UpgradeOptions, until, upgrade } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

/** The status of an upgrade; closes the socket where there is one. */
async function statusOf(options: UpgradeOptions, at = gateway): Promise<number> {
  const { status, socket } = await upgrade(at.url, options);
  socket?.terminate();
  return status;
}

describe('the token', () => {
  test('is read from the Authorization header', async () => {
    const ada = await person();
    const socket = await connect(gateway.url, { token: ada.token });
    expect(socket.welcome.user).toBe(ada.id);
  });

  test('is read from a subprotocol entry, in either order, which is never echoed', async () => {
    const ada = await person();
    for (const protocols of [
      ['parley.v1', `bearer.${ada.token}`],
      [`bearer.${ada.token}`, 'parley.v1'],
    ]) {
      const { status, headers, socket } = await upgrade(gateway.url, { protocols });
      expect(status).toBe(101);
      expect(headers['sec-websocket-protocol']).toBe('parley.v1');
      await socket!.greeted;
      expect(socket!.welcome.user).toBe(ada.id);
    }
  });

  test('is read from the query', async () => {
    const ada = await person();
    const socket = await connect(gateway.url, { query: `access_token=${ada.token}` });
    expect(socket.welcome.user).toBe(ada.id);
    const other = await connect(gateway.url, { query: `a=b&access_token=${ada.token}&c=d` });
    expect(other.welcome.user).toBe(ada.id);
  });

  test('is looked for in this order: header, subprotocol, query', async () => {
    const [first, second, third] = await Promise.all([person(), person(), person()]);
    const protocols = ['parley.v1', `bearer.${second.token}`];
    const query = `access_token=${third.token}`;
    const all = await connect(gateway.url, { token: first.token, protocols, query });
    expect(all.welcome.user).toBe(first.id);
    const two = await connect(gateway.url, { protocols, query });
    expect(two.welcome.user).toBe(second.id);
  });

  test('that is found first decides, also where it is bad and a later one is good', async () => {
    const ada = await person();
    const good = `access_token=${ada.token}`;
    expect(await statusOf({ token: 'bad', query: good })).toBe(401);
    expect(await statusOf({ token: 'bad', protocols: ['parley.v1', `bearer.${ada.token}`] })).toBe(401);
    expect(await statusOf({ protocols: ['parley.v1', 'bearer.bad'], query: good })).toBe(401);
  });

  test('is 401 where it is missing, malformed, not signed by us, or expired', async () => {
    const expired = await makeToken('ada', { expiresIn: -60 });
    const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(
      `{"sub":"ada","exp":${Math.floor(Date.now() / 1000) + 600}}`,
    ).toString('base64url')}.`;
    const tokens = {
      missing: undefined,
      malformed: 'malformed',
      'three parts of nothing': 'a.b.c',
      expired,
      unsigned,
      'signed with another secret': await makeToken('ada', { secret: 'another secret that is just as long' }),
      'cut short': (await makeToken('ada')).slice(0, -3),
      'without exp': await makeToken('ada', { expiresIn: null }),
      'without sub': await makeToken(null),
    };
    for (const [title, token] of Object.entries(tokens)) {
      expect([title, await statusOf({ token })]).toEqual([title, 401]);
      if (token !== undefined) {
        expect([title, await statusOf({ query: `access_token=${encodeURIComponent(token)}` })]).toEqual([
          title,
          401,
        ]);
      }
    }
  });

  test('is 401 where its sub is no identifier', async () => {
    for (const sub of ['', 'a b', 'ä', 'a/b', 'a\n', 'a,b', 'x'.repeat(65), '#']) {
      expect([sub, await statusOf({ token: await makeToken(sub) })]).toEqual([sub, 401]);
    }
    for (const sub of ['x', 'x'.repeat(64), 'A-Z_a.z:0@9|+']) {
      expect([sub, await statusOf({ token: await makeToken(sub) })]).toEqual([sub, 101]);
    }
  });

  test('is accepted for five seconds after its exp', async () => {
    expect(await statusOf({ token: await makeToken('ada', { expiresIn: -2 }) })).toBe(101);
    expect(await statusOf({ token: await makeToken('ada', { expiresIn: -7 }) })).toBe(401);
  });
});

describe('the user of a token', () => {
  test('not seen before is made, with the profile of its claims', async () => {
    const picture = 'https://example.com/ada.png';
    const id = fresh('new');
    const token = await makeToken(id, { claims: { name: 'Ada Lovelace', picture } });
    const socket = await connect(gateway.url, { token });
    expect(socket.welcome.user).toBe(id);
    const { body } = await expectHttp(200, http(gateway, { id, token }, 'GET', '/v1/me'));
    expect(body).toMatchObject({ id, display_name: 'Ada Lovelace', avatar_url: picture });
    const other = await person();
    const seen = await expectHttp(200, http(gateway, other, 'GET', `/v1/users/${id}`));
    expect(seen.body).toMatchObject({ id, display_name: 'Ada Lovelace', avatar_url: picture });
  });

  test('can be made a member before it ever connected, once it is known', async () => {
    const [ada, bob] = await Promise.all([person(), person()]);
    await introduce(gateway, ada, bob);
    const { body } = await expectHttp(
      201,
      http(gateway, ada, 'POST', '/v1/rooms', { name: 'R', type: 'group', members: [bob.id] }),
    );
    const socket = await open(gateway, bob);
    await socket.ok(op.subscribe, body.id, null, null);
  });
});

describe('the session', () => {
  test('is the claim sid', async () => {
    const ada = await person('user', { sid: 'phone-1' });
    const [one, two] = [await open(gateway, ada), await open(gateway, ada)];
    expect(one.welcome.session).toBe('phone-1');
    expect(two.welcome.session).toBe('phone-1');
  });

  test('is made for each socket where the token has none', async () => {
    const ada = await person();
    const [one, two] = [await open(gateway, ada), await open(gateway, ada)];
    expect(one.welcome.session).toBeString();
    expect(one.welcome.session).not.toBe('');
    expect(one.welcome.session).not.toBe(two.welcome.session);
  });
});

describe('the subprotocol', () => {
  test('parley.v1 is echoed', async () => {
    const { token } = await person();
    const { status, headers } = await upgrade(gateway.url, { token, protocols: ['parley.v1'] });
    expect([status, headers['sec-websocket-protocol']]).toEqual([101, 'parley.v1']);
  });

  test('parley.v1 among unknown ones is taken', async () => {
    const { token } = await person();
    const { status, headers } = await upgrade(gateway.url, { token, protocols: ['chat', 'parley.v1', 'x'] });
    expect([status, headers['sec-websocket-protocol']]).toEqual([101, 'parley.v1']);
  });

  test('none is as parley.v1, and nothing is echoed that was not offered', async () => {
    const { token } = await person();
    const { status, headers, socket } = await upgrade(gateway.url, { token, protocols: null });
    expect([status, headers['sec-websocket-protocol']]).toEqual([101, undefined]);
    await socket!.greeted;
    expect(await socket!.ok(op.ping)).toHaveLength(1);
  });

  test('only unknown ones are 400', async () => {
    const { token } = await person();
    for (const protocols of [['chat'], ['parley.v2'], ['chat', 'graphql-ws'], ['PARLEY.V1']]) {
      expect([protocols, await statusOf({ token, protocols })]).toEqual([protocols, 400]);
    }
  });

  test('bearer alone is 400', async () => {
    const { token } = await person();
    expect(await statusOf({ protocols: [`bearer.${token}`] })).toBe(400);
    expect(await statusOf({ token, protocols: [`bearer.${token}`] })).toBe(400);
    expect(await statusOf({ token, protocols: [`bearer.${token}`, 'chat'] })).toBe(400);
  });
});

describe('the Origin', () => {
  test('of the same host is accepted, another one is 403', async () => {
    const { token } = await person();
    expect(await statusOf({ token, headers: { Origin: gateway.url } })).toBe(101);
    for (const origin of [
      'https://evil.example',
      `http://127.0.0.1:${gateway.port + 1}`,
      `http://localhost:${gateway.port}`,
      'null',
    ]) {
      expect([origin, await statusOf({ token, headers: { Origin: origin } })]).toEqual([origin, 403]);
    }
  });
});

describe('the order of the checks', () => {
  test('Origin before subprotocol before token', async () => {
    const origin = { Origin: 'https://evil.example' };
    expect(await statusOf({ headers: origin, protocols: ['chat'] })).toBe(403);
    expect(await statusOf({ headers: origin, token: 'bad' })).toBe(403);
    expect(await statusOf({ protocols: ['chat'], token: 'bad' })).toBe(400);
    expect(await statusOf({ protocols: ['chat'] })).toBe(400);
    expect(await statusOf({ token: 'bad' })).toBe(401);
  });

  test('a refusal names its code in JSON, as HTTP routes do', async () => {
    const { body } = await upgrade(gateway.url, { token: 'bad' });
    expect(JSON.parse(body).error.code).toBe('UNAUTHORIZED');
    expect(
      JSON.parse((await upgrade(gateway.url, { token: await makeToken('ada', { expiresIn: -60 }) })).body)
        .error.code,
    ).toBe('TOKEN_EXPIRED');
  });

  test('GET /v1/me tells a browser why its upgrade failed', async () => {
    expect((await http(gateway, { id: '', token: 'bad' }, 'GET', '/v1/me')).status).toBe(401);
    const expired = { id: '', token: await makeToken('ada', { expiresIn: -60 }) };
    const { status, body } = await http(gateway, expired, 'GET', '/v1/me');
    expect([status, body.error.code]).toEqual([401, 'TOKEN_EXPIRED']);
  });
});

describe('welcome', () => {
  test('is the first frame and has every field', async () => {
    const ada = await person();
    const before = Date.now();
    const socket = await open(gateway, ada, { keepPayloads: true });
    const { welcome } = socket;
    expect(Object.keys(welcome)).toEqual(
      expect.arrayContaining([
        'session',
        'user',
        'server',
        'version',
        'time',
        'heartbeat_ms',
        'max_frame_bytes',
        'levels',
      ]),
    );
    expect(welcome.user).toBe(ada.id);
    expect(welcome.server).toBeString();
    expect(welcome.version).toBeString();
    expect(welcome.time).toBeGreaterThanOrEqual(before - 1000);
    expect(welcome.time).toBeLessThanOrEqual(Date.now() + 1000);
    expect(welcome.heartbeat_ms).toBe(15_000);
    expect(welcome.max_frame_bytes).toBe(65_536);
    // Embedded: levels [4].
    expect(welcome.levels).toEqual([4]);
    expect(socket.payloads[0]!.subarray(0, 2).toHex()).toBe('9222');
    const { body } = await http(gateway, null, 'GET', '/health');
    expect(welcome.server).toBe(body.server_id);
  });
});

describe('a gateway with its own rules', () => {
  let strict: Gateway;
  beforeAll(async () => {
    strict = await startGateway({
      JWT_ISSUER: 'https://issuer.example',
      JWT_AUDIENCE: 'parley',
      JWT_SECRET_PREVIOUS: 'the secret before it, which was long enough too',
      ALLOWED_ORIGINS: 'https://chat.example.com, https://other.example:8443',
      SERVER_ID: 'strict-1',
      HEARTBEAT_MS: '7000',
      MAX_FRAME_BYTES: '2048',
    });
  });
  afterAll(() => strict.close());

  const claims = { iss: 'https://issuer.example', aud: 'parley' };

  test('wants its issuer and its audience', async () => {
    expect(await statusOf({ token: await makeToken('ada', { claims }) }, strict)).toBe(101);
    expect(
      await statusOf(
        { token: await makeToken('ada', { claims: { ...claims, aud: ['x', 'parley'] } }) },
        strict,
      ),
    ).toBe(101);
    for (const wrong of [
      { iss: 'https://issuer.example' },
      { aud: 'parley' },
      { ...claims, iss: 'x' },
      { ...claims, aud: 'x' },
      {},
    ]) {
      expect([wrong, await statusOf({ token: await makeToken('ada', { claims: wrong }) }, strict)]).toEqual([
        wrong,
        401,
      ]);
    }
  });

  test('accepts the secret before', async () => {
    const secret = 'the secret before it, which was long enough too';
    expect(await statusOf({ token: await makeToken('ada', { claims, secret }) }, strict)).toBe(101);
    expect(jwtSecret).not.toBe(secret);
  });

  test('lets in the listed origins only', async () => {
    const token = await makeToken('ada', { claims });
    for (const origin of ['https://chat.example.com', 'https://other.example:8443']) {
      expect([origin, await statusOf({ token, headers: { Origin: origin } }, strict)]).toEqual([origin, 101]);
    }
    for (const origin of [
      'http://chat.example.com',
      'https://chat.example.com:444',
      'https://chat.example.com.evil.example',
      'https://other.example',
    ]) {
      expect([origin, await statusOf({ token, headers: { Origin: origin } }, strict)]).toEqual([origin, 403]);
    }
    expect(await statusOf({ token }, strict)).toBe(101);
  });

  test('says its settings in welcome', async () => {
    const { welcome } = await connect(strict.url, { token: await makeToken('ada', { claims }) });
    expect(welcome).toMatchObject({ server: 'strict-1', heartbeat_ms: 7000, max_frame_bytes: 2048 });
  });
});

describe('admission', () => {
  /** Upgrades until one is refused otherwise than by the token; its answer. */
  async function flood(at: Gateway, options: UpgradeOptions) {
    for (let i = 0; i < 500; i++) {
      const answer = await upgrade(at.url, options);
      answer.socket?.terminate();
      if (answer.status === 429 || answer.status === 503) return answer;
    }
    throw new Error('nobody was refused');
  }

  test('too many connections from one address: 429 with Retry-After, before every other check', async () => {
    const limited = await startGateway({ CONNECT_RATE_PER_IP: '1' });
    const { token } = await person();
    expect(await statusOf({ token }, limited)).toBe(101);
    const answer = await flood(limited, { token });
    expect(answer.status).toBe(429);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(JSON.parse(answer.body).error.code).toBe('RATE_LIMITED');
    const worst = await flood(limited, { headers: { Origin: 'https://evil.example' }, protocols: ['chat'] });
    expect(worst.status).toBe(429);
    // It passes.
    await until(async () => (await statusOf({ token }, limited)) === 101, 'the address is let in again');
    await limited.close();
  });

  test('too many connections on this process: 503 with Retry-After', async () => {
    const limited = await startGateway({ CONNECT_RATE: '1' });
    const answer = await flood(limited, { token: (await person()).token });
    expect(answer.status).toBe(503);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    await limited.close();
  });

  test('at MAX_CONNECTIONS: SERVER_FULL, then close 1013, until somebody leaves', async () => {
    const full = await startGateway({ MAX_CONNECTIONS: '2' });
    const ada = await person();
    const sockets = [await open(full, ada), await open(full, ada)];
    for (let i = 0; i < 3; i++) {
      const { status, socket } = await upgrade(full.url, { token: ada.token });
      expect(status).toBe(101);
      const [, rid, code, , retryAfter] = await socket!.next(reply.error);
      expect([rid, code]).toEqual([0, 'SERVER_FULL']);
      expect(retryAfter).toBeGreaterThan(0);
      expect((await socket!.end()).code).toBe(1013);
      expect(socket!.welcome).toEqual({});
    }
    // Those that were in are not touched, and HTTP goes on.
    await Promise.all(sockets.map((socket) => socket.ok(op.ping)));
    await expectHttp(200, http(full, ada, 'GET', '/v1/me'));
    await sockets[0]!.close();
    await until(async () => {
      const { socket } = await upgrade(full.url, { token: ada.token });
      const isIn = await Promise.race([socket!.greeted.then(() => true), socket!.closed.then(() => false)]);
      return isIn;
    }, 'the place that became free is taken');
    await full.close();
  });

  test('a flood without tokens makes no user and leaves others alone', async () => {
    const ada = await person();
    const socket = await open(gateway, ada);
    const statuses = await Promise.all(Array.from({ length: 200 }, () => statusOf({ token: 'bad' })));
    expect(new Set(statuses)).toEqual(new Set([401]));
    await socket.ok(op.ping);
  });
});

describe('behind a proxy', () => {
  test('TRUST_PROXY: the forwarded address is limited, not the proxy’s', async () => {
    const proxied = await startGateway({ CONNECT_RATE_PER_IP: '1', TRUST_PROXY: '127.0.0.1' });
    const { token } = await person();
    const from = (address: string) => statusOf({ token, headers: { 'X-Forwarded-For': address } }, proxied);
    for (let i = 1; i <= 30; i++) expect([i, await from(`192.0.2.${i}`)]).toEqual([i, 101]);
    const again = [];
    for (let i = 0; i < 30; i++) again.push(await from('198.51.100.7'));
    expect(again).toContain(429);
    expect(await from('198.51.100.8')).toBe(101);
    await proxied.close();
  });

  test('without it nobody can pretend', async () => {
    const direct = await startGateway({ CONNECT_RATE_PER_IP: '1' });
    const { token } = await person();
    const statuses = [];
    for (let i = 1; i <= 30; i++) {
      statuses.push(await statusOf({ token, headers: { 'X-Forwarded-For': `192.0.2.${i}` } }, direct));
    }
    expect(statuses).toContain(429);
    await direct.close();
  });

  test('X-Forwarded-Proto of a trusted proxy is the scheme of the own origin', async () => {
    const proxied = await startGateway({ TRUST_PROXY: '10.0.0.0/8, 127.0.0.1' });
    const { token } = await person();
    const [plain, secure] = [proxied.url, proxied.url.replace('http:', 'https:')];
    const from = (origin: string, scheme: string) =>
      statusOf({ token, headers: { Origin: origin, 'X-Forwarded-Proto': scheme } }, proxied);
    expect(await from(secure, 'https')).toBe(101);
    expect(await from(plain, 'http')).toBe(101);
    expect(await from(secure, 'http')).toBe(403);
    expect(await from(plain, 'https')).toBe(403);
    await proxied.close();
  });
});

test('compression is offered in vain', async () => {
  const { token } = await person();
  const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' };
  const answer = await upgrade(gateway.url, { token, headers });
  expect([answer.status, answer.headers['sec-websocket-extensions']]).toEqual([101, undefined]);
});

test('a path that is no /ws is no socket', async () => {
  const { token } = await person();
  expect(await statusOf({ token, path: '/wsx' })).toBeGreaterThanOrEqual(400);
  expect(await statusOf({ token, path: '/' })).not.toBe(101);
  expect((await http(gateway, { id: '', token }, 'GET', '/ws')).status).toBeGreaterThanOrEqual(400);
});

test('many sockets of one user are all welcome', async () => {
  const ada = await person();
  const sockets: Socket[] = await Promise.all(Array.from({ length: 50 }, () => open(gateway, ada)));
  expect(sockets.every((socket) => socket.welcome.user === ada.id)).toBe(true);
  for (const socket of sockets) socket.terminate();
});
