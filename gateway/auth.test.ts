import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { base64url, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';
import pino from 'pino';
import type { Clock, Random } from '../core/clock.ts';
import { isRefusal } from '../core/protocol/codes.ts';
import {
  type Auth,
  type AuthParts,
  createAuth,
  findBearer,
  findToken,
  hashRefreshToken,
  type Verified,
} from './auth.ts';
import { loadConfig } from './config.ts';
import { StoreUnavailable, type UserChanges } from './store/store.ts';

const secret = 'a secret of at least thirty-two bytes';
const directory = mkdtempSync(join(tmpdir(), 'parley-auth-'));
afterAll(() => rmSync(directory, { recursive: true }));

let now = 1_800_000_000_000;
const clock = { now: () => now } as Clock;
const random: Random = {
  fraction: Math.random,
  bytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
};

interface Fixture {
  readonly auth: Auth;
  readonly users: { id: string; profile: UserChanges }[];
  readonly lines: string[];
  readonly store: { isAway: boolean };
}

async function startAuth(env: Record<string, string> = { JWT_SECRET: secret }): Promise<Fixture> {
  const users: Fixture['users'] = [];
  const lines: string[] = [];
  const store = { isAway: false };
  const logger = pino({ level: 'debug' }, { write: (line: string) => lines.push(line) });
  const ensureUser: AuthParts['store']['ensureUser'] = async (id, profile) => {
    if (store.isAway) throw new StoreUnavailable();
    users.push({ id, profile });
    return {
      id,
      username: null,
      email: null,
      displayName: null,
      avatarUrl: null,
      lastSeen: null,
      createdAt: now,
    };
  };
  const config = loadConfig({ DATA_DIR: directory, ...env });
  return {
    auth: await createAuth({ config, store: { ensureUser }, clock, random, logger }),
    users,
    lines,
    store,
  };
}

const seconds = () => Math.floor(now / 1000);

function sign(claims: JWTPayload, key: string | CryptoKey = secret, header: Record<string, unknown> = {}) {
  return new SignJWT({ exp: seconds() + 600, ...claims })
    .setProtectedHeader({ alg: 'HS256', ...header })
    .sign(typeof key === 'string' ? new TextEncoder().encode(key) : key);
}

async function codeOf(auth: Auth, token: string | null): Promise<string> {
  const result = await auth.verifyToken(token, 'request-1');
  return isRefusal(result) ? result.code : 'accepted';
}

describe('a token of the secret', () => {
  test('says who it is, of which session, until when', async () => {
    const { auth } = await startAuth();
    const token = await sign({ sub: 'ann', sid: 's1', name: 'Ann', picture: 'https://x.example/a.png' });
    expect(await auth.verifyToken(token, 'r')).toEqual({
      user: 'ann',
      session: 's1',
      expiresAt: (seconds() + 600) * 1000,
      profile: { displayName: 'Ann', avatarUrl: 'https://x.example/a.png' },
    });
  });

  test('is refused where it is missing, no token, too long, or signed by somebody else', async () => {
    const { auth } = await startAuth();
    for (const token of [
      null,
      '',
      'x',
      'a.b.c',
      '....',
      'x'.repeat(9000),
      await sign({ sub: 'ann' }, 'another'),
    ]) {
      expect(await codeOf(auth, token)).toBe('UNAUTHORIZED');
    }
  });

  test('is refused without exp, without sub, and with a sub that is no identifier', async () => {
    const { auth } = await startAuth();
    const refused: JWTPayload[] = [
      { sub: 'ann', exp: undefined },
      { exp: seconds() + 9 },
      { sub: '' },
      { sub: 'a b' },
      { sub: 'a\0' },
      { sub: 'ann\n' },
      { sub: 'é' },
      { sub: 'x'.repeat(65) },
      { sub: 7 as never },
      { sub: 'ann', sid: 7 },
      { sub: 'ann', sid: '' },
      { sub: 'ann', sid: 'x'.repeat(129) },
      { sub: 'ann', exp: '2050' as never },
      { sub: 'ann', nbf: seconds() + 60 },
    ];
    for (const claims of refused)
      expect([claims, await codeOf(auth, await sign(claims))]).toEqual([claims, 'UNAUTHORIZED']);
    expect(await codeOf(auth, await sign({ sub: 'x'.repeat(64) }))).toBe('accepted');
  });

  test('expires after its leeway of 5 seconds, remembered or not', async () => {
    const { auth } = await startAuth();
    const token = await sign({ sub: 'ann', exp: seconds() + 10 });
    const start = now;
    now = start + 14_000;
    expect(await codeOf(auth, token)).toBe('accepted');
    now = start + 15_000;
    expect(await codeOf(auth, token)).toBe('TOKEN_EXPIRED');
    expect(await codeOf((await startAuth()).auth, token)).toBe('TOKEN_EXPIRED');
    now = start;
  });

  test('a far exp is held within what a date can be', async () => {
    const { auth } = await startAuth();
    const result = (await auth.verifyToken(await sign({ sub: 'ann', exp: 1e300 }), 'r')) as Verified;
    expect(result.expiresAt).toBe(8.64e15);
  });

  test('is accepted by the previous secret too, while one is named', async () => {
    const { auth } = await startAuth({
      JWT_SECRET: secret,
      JWT_SECRET_PREVIOUS: 'the secret before this one',
    });
    expect(await codeOf(auth, await sign({ sub: 'ann' }, 'the secret before this one'))).toBe('accepted');
    expect(await codeOf(auth, await sign({ sub: 'ann' }))).toBe('accepted');
    expect(await codeOf(auth, await sign({ sub: 'ann' }, 'a third one'))).toBe('UNAUTHORIZED');
  });

  test('must carry the issuer and the audience that are set', async () => {
    const { auth } = await startAuth({ JWT_SECRET: secret, JWT_ISSUER: 'shop', JWT_AUDIENCE: 'chat' });
    expect(await codeOf(auth, await sign({ sub: 'ann', iss: 'shop', aud: 'chat' }))).toBe('accepted');
    expect(await codeOf(auth, await sign({ sub: 'ann', iss: 'shop', aud: ['mail', 'chat'] }))).toBe(
      'accepted',
    );
    for (const claims of [
      { iss: 'shop' },
      { aud: 'chat' },
      { iss: 'x', aud: 'chat' },
      { iss: 'shop', aud: 'x' },
    ]) {
      expect(await codeOf(auth, await sign({ sub: 'ann', ...claims }))).toBe('UNAUTHORIZED');
    }
    const issued = await auth.issueAccess('ann', 's1');
    expect(await codeOf(auth, issued.accessToken)).toBe('accepted');
  });
});

test('alg none, a changed payload and a stripped signature are refused', async () => {
  const { auth } = await startAuth();
  const part = (value: object) => base64url.encode(JSON.stringify(value));
  const payload = part({ sub: 'ann', exp: seconds() + 60 });
  const good = await sign({ sub: 'bob' });
  const [header, , signature] = good.split('.');
  const forged = [
    `${part({ alg: 'none' })}.${payload}.`,
    `${part({ alg: 'None' })}.${payload}.x`,
    `${part({ alg: 'HS512' })}.${payload}.${signature}`,
    `${part({})}.${payload}.${signature}`,
    `${part({ alg: 'HS256', b64: false, crit: ['b64'] })}.${payload}.${signature}`,
    `${header}.${payload}.${signature}`,
    `${header}.${payload}.`,
  ];
  for (const token of forged) expect([token, await codeOf(auth, token)]).toEqual([token, 'UNAUTHORIZED']);
});

describe('the user of a token', () => {
  test('is made once, with what fits of the profile', async () => {
    const { auth, users } = await startAuth();
    await auth.verifyToken(await sign({ sub: 'ann', name: 'Ann' }), 'r');
    await auth.verifyToken(await sign({ sub: 'ann', name: 'Other' }), 'r');
    await auth.verifyToken(await sign({ sub: 'bob', name: 7, picture: 'javascript:alert(1)' }), 'r');
    await auth.verifyToken(await sign({ sub: 'cid', name: 'a\0b', picture: 'x'.repeat(3000) }), 'r');
    expect(users).toEqual([
      { id: 'ann', profile: { displayName: 'Ann' } },
      { id: 'bob', profile: {} },
      { id: 'cid', profile: {} },
    ]);
  });

  test('is made later where the store is away, and the token stands', async () => {
    const { auth, users, store } = await startAuth();
    const token = await sign({ sub: 'ann' });
    store.isAway = true;
    expect(await codeOf(auth, token)).toBe('accepted');
    store.isAway = false;
    expect(await codeOf(auth, token)).toBe('accepted');
    expect(users.map(({ id }) => id)).toEqual(['ann']);
  });
});

test('issued tokens verify; the refresh token is 32 random bytes and kept as a hash', async () => {
  const { auth } = await startAuth({
    JWT_SECRET: secret,
    ACCESS_TOKEN_SECONDS: '60',
    REFRESH_TOKEN_DAYS: '2',
  });
  const access = await auth.issueAccess('ann', 's1');
  expect(access.expiresIn).toBe(60);
  const result = (await auth.verifyToken(access.accessToken, 'r')) as Verified;
  expect(result).toMatchObject({ user: 'ann', session: 's1', expiresAt: (seconds() + 60) * 1000 });
  const refresh = auth.issueRefresh();
  expect(refresh.refreshToken).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(refresh.refreshHash).toBe(hashRefreshToken(refresh.refreshToken));
  expect(refresh.refreshHash).toMatch(/^[0-9a-f]{64}$/);
  expect(refresh.refreshExpiresAt).toBe(now + 2 * 86_400_000);
});

test('the tokens of an ended session are refused before they expire', async () => {
  const { auth } = await startAuth();
  const { accessToken } = await auth.issueAccess('ann', 's1');
  const other = await auth.issueAccess('ann', 's2');
  expect(await codeOf(auth, accessToken)).toBe('accepted');
  auth.endSession('s1');
  expect(await codeOf(auth, accessToken)).toBe('UNAUTHORIZED');
  expect(await codeOf(auth, other.accessToken)).toBe('accepted');
});

test('no token and no name is in the log; refusals carry the request id and the reason', async () => {
  const { auth, lines } = await startAuth();
  const good = await sign({ sub: 'ann', name: 'Ann Secret' });
  const bad = await sign({ sub: 'ann' }, 'another');
  await auth.verifyToken(good, 'request-7');
  await auth.verifyToken(bad, 'request-8');
  const text = lines.join('');
  for (const token of [good, bad]) expect(text).not.toContain(token.slice(-20));
  expect(text).not.toContain('Ann Secret');
  expect(JSON.parse(lines[1]!)).toMatchObject({
    event: 'token_refused',
    requestId: 'request-8',
    code: 'UNAUTHORIZED',
  });
});

describe('findToken', () => {
  const find = (headers: Record<string, string>, query = '') =>
    findToken((name) => headers[name] ?? null, query);

  test('looks at Authorization, then the subprotocol, then the query', () => {
    const all = { authorization: 'Bearer a', 'sec-websocket-protocol': 'parley.v1, bearer.b' };
    expect(find(all, 'access_token=c')).toBe('a');
    expect(find({ 'sec-websocket-protocol': 'parley.v1,bearer.b.c.d' }, 'access_token=c')).toBe('b.c.d');
    expect(
      find({ authorization: 'Basic a', 'sec-websocket-protocol': 'parley.v1' }, 'x=1&access_token=c'),
    ).toBe('c');
    expect(find({ authorization: 'bearer  a ' })).toBe('a');
    expect(find({})).toBeNull();
    expect(find({ authorization: 'Bearer' }, 'access_tokens=x')).toBeNull();
  });

  test('findBearer takes the header only', () => {
    expect(findBearer((name) => (name === 'authorization' ? 'Bearer a.b.c' : null))).toBe('a.b.c');
    expect(findBearer((name) => (name === 'sec-websocket-protocol' ? 'bearer.x' : null))).toBeNull();
  });
});

describe('the kept secret', () => {
  test('is made once with mode 0600, and is the same after a restart', async () => {
    const dataDir = join(directory, 'kept', 'deep');
    const first = await startAuth({ DATA_DIR: dataDir });
    const { accessToken } = await first.auth.issueAccess('ann', 's1');
    const second = await startAuth({ DATA_DIR: dataDir });
    expect(await codeOf(second.auth, accessToken)).toBe('accepted');
    const path = join(dataDir, 'jwt-secret');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'utf8')).toMatch(/^[A-Za-z0-9_-]{43}$/);
  });

  test('of a damaged file stops the start and names the setting', async () => {
    const dataDir = mkdtempSync(join(directory, 'damaged-'));
    writeFileSync(join(dataDir, 'jwt-secret'), '\n');
    expect(startAuth({ DATA_DIR: dataDir })).rejects.toThrow(/JWT_SECRET/);
  });

  test('is not made where processes would each have their own', async () => {
    const env = { REDIS_URL: 'redis://localhost', DATABASE_URL: 'postgres://localhost/x' };
    expect(startAuth(env)).rejects.toThrow(/^JWT_SECRET must be set/);
  });
});

describe('a key set', () => {
  let server: Server;
  let url: string;
  let served: { keys: JWK[] } | null = null;
  beforeAll(async () => {
    server = createServer((_, response) => {
      response.writeHead(served ? 200 : 500, { 'content-type': 'application/json' });
      response.end(JSON.stringify(served));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  });
  afterAll(() => server.close());

  const algorithms = ['RS256', 'ES256', 'EdDSA'];
  async function serveKeys() {
    const pairs = await Promise.all(algorithms.map((alg) => generateKeyPair(alg, { extractable: true })));
    served = {
      keys: await Promise.all(
        pairs.map(async ({ publicKey }, i) => ({ ...(await exportJWK(publicKey)), kid: `k${i}` })),
      ),
    };
    return pairs;
  }

  test('verifies RS256, ES256 and EdDSA beside the own secret', async () => {
    const pairs = await serveKeys();
    const { auth } = await startAuth({ JWT_SECRET: secret, JWT_JWKS_URL: url });
    for (const [i, alg] of algorithms.entries()) {
      const token = await sign({ sub: 'ann' }, pairs[i]!.privateKey, { alg, kid: `k${i}` });
      expect([alg, await codeOf(auth, token)]).toEqual([alg, 'accepted']);
    }
    expect(await codeOf(auth, await sign({ sub: 'ann' }))).toBe('accepted');
    const stranger = await generateKeyPair('RS256');
    expect(
      await codeOf(auth, await sign({ sub: 'ann' }, stranger.privateKey, { alg: 'RS256', kid: 'k0' })),
    ).toBe('UNAUTHORIZED');
    expect(
      await codeOf(auth, await sign({ sub: 'ann' }, stranger.privateKey, { alg: 'RS256', kid: 'k9' })),
    ).toBe('UNAUTHORIZED');
  });

  test('never lets a public key pass as the secret of HS256', async () => {
    await serveKeys();
    const { auth } = await startAuth({ JWT_SECRET: secret, JWT_JWKS_URL: url });
    const publicText = JSON.stringify(served!.keys[0]);
    for (const key of [publicText, served!.keys[0]!.n!]) {
      expect(await codeOf(auth, await sign({ sub: 'ann' }, key, { kid: 'k0' }))).toBe('UNAUTHORIZED');
    }
  });

  test('is not asked for where none is set', async () => {
    const pairs = await serveKeys();
    const { auth } = await startAuth();
    expect(
      await codeOf(auth, await sign({ sub: 'ann' }, pairs[0]!.privateKey, { alg: 'RS256', kid: 'k0' })),
    ).toBe('UNAUTHORIZED');
  });

  test('that is away makes UNAVAILABLE, not UNAUTHORIZED; keys known before stand', async () => {
    const pairs = await serveKeys();
    const keys = served;
    const token = () =>
      sign({ sub: 'ann', jti: String(Math.random()) }, pairs[1]!.privateKey, { alg: 'ES256', kid: 'k1' });
    served = null;
    const { auth } = await startAuth({ JWT_SECRET: secret, JWT_JWKS_URL: url });
    expect(await auth.verifyToken(await token(), 'r')).toMatchObject({
      code: 'UNAVAILABLE',
      retryAfterMs: 2000,
    });
    now += 10_001;
    served = keys;
    expect(await codeOf(auth, await token())).toBe('accepted');
    served = null;
    expect(await codeOf(auth, await token())).toBe('accepted');
  });
});
