import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { errors } from '../../core/protocol/codes.ts';
import { StoreUnavailable } from '../store/store.ts';
import { type Account, type Fixture, type Reply, startHttp } from './http.fixture.ts';
import { bodyBytesMin } from './limits.ts';
import { createPage } from './page.ts';

let http: Fixture;
let ann: Account;
beforeAll(async () => {
  http = await startHttp();
  ann = await http.register('ann');
});
afterAll(() => http.stop());

/** Every error has the same form. */
function expectError(
  reply: { status: number; body: Reply['body'] },
  code: keyof typeof errors,
  status: number = errors[code].status,
) {
  expect([reply.status, reply.body?.error?.code]).toEqual([status, code]);
  expect(typeof reply.body.error.message).toBe('string');
  for (const key of Object.keys(reply.body.error)) expect(['code', 'message', 'fields']).toContain(key);
}

describe('a request', () => {
  test('without a good token is UNAUTHORIZED, on every route that needs one', async () => {
    const { body } = await http.ask('GET /openapi.json');
    let routes = 0;
    for (const [path, methods] of Object.entries<Record<string, { security?: unknown }>>(body.paths)) {
      for (const [method, { security }] of Object.entries(methods)) {
        if (!security) continue;
        routes++;
        const target = `${method.toUpperCase()} ${path.replaceAll(/\{\w+\}/g, '1')}`;
        expectError(await http.ask(target), 'UNAUTHORIZED');
        expectError(await http.ask(target, 'nonsense'), 'UNAUTHORIZED');
      }
    }
    expect(routes).toBe(15);
  });

  test('carries its token in the header only', async () => {
    expectError(await http.ask(`GET /v1/me?access_token=${ann.token}`), 'UNAUTHORIZED');
  });

  test('of an unknown route is NOT_FOUND, of a wrong method 405 with Allow', async () => {
    for (const path of ['/v1/nothing', '/v2/me', '/v1/me/', '/v1/rooms/a/b', '//', '/%2e%2e/etc/passwd']) {
      expectError(await http.ask(`GET ${path}`, ann.token), 'NOT_FOUND');
    }
    const wrong = await http.ask('PUT /v1/me', ann.token, {});
    expectError(wrong, 'BAD_REQUEST', 405);
    expect(wrong.headers.get('allow')).toBe('GET, PATCH, HEAD, OPTIONS');
    expectError(await http.ask('GET /v1/login'), 'BAD_REQUEST', 405);
    expectError(await http.ask('POST /nothing'), 'NOT_FOUND');
  });

  test('gets its id back, or a new one', async () => {
    const given = await http.ask('GET /health', null, undefined, { 'x-request-id': 'abc-1' });
    expect(given.headers.get('x-request-id')).toBe('abc-1');
    for (const bad of ['a b', 'x'.repeat(65), 'é']) {
      const made = await http.ask('GET /health', null, undefined, { 'x-request-id': bad });
      expect(made.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    }
    expect((await http.ask('GET /nothing')).headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('with HEAD is a GET without its body', async () => {
    const reply = await http.ask('HEAD /v1/me', ann.token);
    expect([reply.status, reply.body ?? '']).toEqual([200, '']);
  });
});

describe('a body', () => {
  const patch = (body: string, headers?: Record<string, string>) =>
    http.ask('PATCH /v1/me', ann.token, body, headers);

  test('that is no JSON object is BAD_REQUEST', async () => {
    for (const body of ['{', 'x', '[]', '7', 'null', '"x"', '{"a":1}x', "{'a':1}"])
      expectError(await patch(body), 'BAD_REQUEST');
    expectError(await patch('['.repeat(100_000)), 'BAD_REQUEST');
    expectError(await patch(`{"a":${'['.repeat(20)}${']'.repeat(20)}}`), 'BAD_REQUEST');
  });

  test('with bad UTF-8, U+0000, half a character or a boundless number is BAD_REQUEST', async () => {
    const bytes = new Request('http://chat.test/v1/me', {
      method: 'PATCH',
      headers: { authorization: `Bearer ${ann.token}` },
      body: new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
    });
    expect((await http.fetch(bytes)).status).toBe(400);
    for (const value of ['"a\\u0000b"', '"\\ud800"', '1e999', '{"a":["\\u0000"]}', '{"\\u0000":1}']) {
      expectError(await patch(`{"x":${value}}`), 'BAD_REQUEST');
    }
    expect((await patch('{"x":"\\\\u0000"}')).status).toBe(200);
  });

  test('over the limit is TOO_LARGE, also where its length is not said before', async () => {
    expectError(await patch(JSON.stringify({ x: 'x'.repeat(bodyBytesMin) })), 'TOO_LARGE');
    let pulled = 0;
    const endless = new ReadableStream({
      pull(controller) {
        pulled++;
        controller.enqueue(new Uint8Array(64 * 1024).fill(0x20));
      },
    });
    const reply = await http.fetch(
      new Request('http://chat.test/v1/me', {
        method: 'PATCH',
        headers: { authorization: `Bearer ${ann.token}` },
        body: endless,
      }),
    );
    expect(reply.status).toBe(413);
    expect(pulled).toBeLessThan(20);
  });

  test('that breaks off is BAD_REQUEST', async () => {
    const broken = new ReadableStream({ start: (controller) => controller.error(new Error('gone')) });
    const request = new Request('http://chat.test/v1/me', {
      method: 'PATCH',
      headers: { authorization: `Bearer ${ann.token}` },
      body: broken,
    });
    expect((await http.fetch(request)).status).toBe(400);
  });

  test('is not asked for by those who may not', async () => {
    expectError(await http.ask('PATCH /v1/me', null, '{'), 'UNAUTHORIZED');
  });
});

describe('faults', () => {
  test('of the store are UNAVAILABLE with Retry-After; others INTERNAL, logged once', async () => {
    const broken = await startHttp();
    const { token } = await broken.register('ann');
    const real = broken.store.users;
    broken.store.users = async () => {
      throw new StoreUnavailable('gone');
    };
    const away = await broken.ask('GET /v1/me', token);
    expectError(away, 'UNAVAILABLE');
    expect(away.headers.get('retry-after')).toBe('1');
    broken.store.users = async () => {
      throw new Error('a bug with details');
    };
    const before = broken.lines.length;
    const failed = await broken.ask('GET /v1/me', token, undefined, { 'x-request-id': 'failing' });
    expectError(failed, 'INTERNAL');
    expect(JSON.stringify(failed.body)).not.toContain('details');
    const logged = broken.lines
      .slice(before)
      .map((line) => JSON.parse(line))
      .filter(({ level }) => level >= 50);
    expect(logged.map(({ event, requestId, route }) => ({ event, requestId, route }))).toEqual([
      { event: 'request_failed', requestId: 'failing', route: '/v1/me' },
    ]);
    broken.store.users = real;
    expect((await broken.ask('GET /v1/me', token)).status).toBe(200);
    const { body } = await broken.ask('GET /metrics');
    expect(body).toContain('parley_http_requests_total{method="GET",route="/v1/me",status="503"} 1');
    expect(body).toContain('parley_refusals_total{code="INTERNAL"} 1');
    await broken.stop();
  });
});

describe('CORS', () => {
  const origin = (from: string) => ({ origin: from });

  test('by default only the own origin may read', async () => {
    const own = await http.ask('GET /health', null, undefined, origin('http://chat.test'));
    expect(own.headers.get('access-control-allow-origin')).toBe('http://chat.test');
    const other = await http.ask('GET /health', null, undefined, origin('https://evil.example'));
    expect([other.status, other.headers.get('access-control-allow-origin')]).toEqual([200, null]);
    expect(other.headers.get('vary')).toContain('Origin');
  });

  test('a listed origin may, and its preflight is answered', async () => {
    const listed = await startHttp({ ALLOWED_ORIGINS: 'https://app.example' });
    const preflight = { ...origin('https://app.example'), 'access-control-request-method': 'PATCH' };
    const reply = await listed.ask('OPTIONS /v1/me', null, undefined, preflight);
    expect(reply.status).toBe(204);
    expect(reply.headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect(reply.headers.get('access-control-allow-methods')).toContain('PATCH');
    expect(reply.headers.get('access-control-allow-headers')).toContain('Authorization');
    const own = await listed.ask('OPTIONS /v1/me', null, undefined, {
      ...preflight,
      ...origin('http://chat.test'),
    });
    expect(own.headers.get('access-control-allow-origin')).toBeNull();
    const refused = await listed.ask('GET /v1/me', null, undefined, origin('https://app.example'));
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([
      401,
      'https://app.example',
    ]);
    await listed.stop();
  });

  test('OPTIONS alone tells the methods', async () => {
    const reply = await http.ask('OPTIONS /v1/rooms');
    expect([reply.status, reply.headers.get('allow')]).toEqual([204, 'POST, GET, HEAD, OPTIONS']);
  });
});

test('/openapi.json describes every route with its schemas', async () => {
  const { status, body } = await http.ask('GET /openapi.json');
  expect([status, body.openapi]).toEqual([200, '3.1.0']);
  const targets = Object.entries<object>(body.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(targets.sort()).toEqual(
    [
      'DELETE /v1/rooms/{room}',
      'DELETE /v1/rooms/{room}/members/{user}',
      'GET /health',
      'GET /metrics',
      'GET /ready',
      'GET /v1/me',
      'GET /v1/rooms',
      'GET /v1/rooms/{room}',
      'GET /v1/rooms/{room}/members',
      'GET /v1/rooms/{room}/messages',
      'GET /v1/rooms/{room}/messages/{seq}/receipts',
      'GET /v1/users',
      'GET /v1/users/{id}',
      'PATCH /v1/me',
      'PATCH /v1/rooms/{room}',
      'POST /v1/login',
      'POST /v1/logout',
      'POST /v1/register',
      'POST /v1/rooms',
      'POST /v1/rooms/{room}/messages',
      'POST /v1/token',
      'PUT /v1/rooms/{room}/members/{user}',
    ].sort(),
  );
  const ids = Object.values<Record<string, { operationId: string }>>(body.paths).flatMap((methods) =>
    Object.values(methods).map(({ operationId }) => operationId),
  );
  expect(new Set(ids).size).toBe(ids.length);
  expect(
    body.paths['/v1/rooms/{room}'].patch.requestBody.content['application/json'].schema.properties.name
      .maxLength,
  ).toBe(128);
});

describe('health', () => {
  test('tells who answers and since when', async () => {
    const { status, body } = await http.ask('GET /health');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      status: 'ok',
      version: '0.0.0-test',
      connections: 0,
      server_id: expect.any(String),
    });
    expect(Math.abs(Date.parse(body.timestamp) - Date.now())).toBeLessThan(5000);
    expect(body.uptime_seconds).toBeInteger();
  });

  test('ready is 503 with the reason while draining or cut off', async () => {
    expect((await http.ask('GET /ready')).body).toEqual({ status: 'ready' });
    http.health.fault = 'the disk is full';
    const cut = await http.ask('GET /ready');
    expectError(cut, 'UNAVAILABLE');
    expect(cut.body.error.message).toBe('the disk is full');
    expect((await http.ask('GET /health')).body.status).toBe('degraded');
    http.health.isDraining = true;
    expectError(await http.ask('GET /ready'), 'SHUTTING_DOWN');
    expect((await http.ask('GET /health')).body.status).toBe('draining');
    http.health.isDraining = false;
    http.health.fault = null;
  });
});

describe('the page', () => {
  test('is 503 with a word where it is not built, and files otherwise', async () => {
    const missing = await http.ask('GET /');
    expect([missing.status, missing.body]).toEqual([503, expect.stringContaining('not built')]);

    mkdirSync(join(http.webDir, 'assets'), { recursive: true });
    writeFileSync(join(http.webDir, 'index.html'), '<!doctype html>');
    writeFileSync(join(http.webDir, 'chunk-2y5q3k8z.js'), '1');
    writeFileSync(join(http.webDir, 'apple-touch-icon.png'), '1');
    writeFileSync(join(http.webDir, 'assets', 'index-DiwrgTda.css'), 'a{}');
    writeFileSync(join(http.webDir, '..', 'outside.txt'), 'secret');
    const page = await http.ask('GET /');
    expect([page.status, page.body]).toEqual([200, '<!doctype html>']);
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.headers.get('cache-control')).toBe('no-cache');
    expect(page.headers.get('x-content-type-options')).toBe('nosniff');
    const policy = page.headers.get('content-security-policy')!;
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain("connect-src 'self' ws: wss:");
    expect(policy).not.toContain('unsafe');
    const again = await http.ask('GET /', null, undefined, { 'if-none-match': page.headers.get('etag')! });
    expect([again.status, again.body]).toEqual([304, '']);

    for (const [path, type] of [
      ['/chunk-2y5q3k8z.js', 'text/javascript; charset=utf-8'],
      ['/assets/index-DiwrgTda.css', 'text/css; charset=utf-8'],
    ]) {
      const file = await http.ask(`GET ${path}`);
      expect([file.status, file.headers.get('content-type')]).toEqual([200, type!]);
      expect(file.headers.get('cache-control')).toContain('immutable');
    }
    writeFileSync(join(http.webDir, 'assets', 'index-DiwrgTda.css.gz'), gzipSync('b{}'));
    const packed = await http.ask('GET /assets/index-DiwrgTda.css', null, undefined, {
      'accept-encoding': 'gzip, br',
    });
    expect(packed.headers.get('content-encoding')).toBe('gzip');
    expect(packed.headers.get('access-control-allow-origin')).toBe('*');
    expect((await http.ask('GET /apple-touch-icon.png')).headers.get('cache-control')).toBe('no-cache');
    for (const path of [
      '/../outside.txt',
      '/assets/../../outside.txt',
      '/%2e%2e/outside.txt',
      '/assets/..%2f..%2foutside.txt',
      '/assets',
      '/.env',
      '/missing.js',
    ]) {
      expectError(await http.ask(`GET ${path}`), 'NOT_FOUND');
    }
  });

  test('names the files of a CDN where ASSET_BASE_URL says so, and lets in that origin alone', async () => {
    const { webDir } = http;
    mkdirSync(webDir, { recursive: true });
    const html = '<link href="./assets/a.css"><script type="module" src="./assets/a.js"></script>assets/';
    writeFileSync(join(webDir, 'index.html'), html);
    const page = createPage(webDir, 'https://cdn.example.com/chat/');
    const answer = await page.read('/', () => undefined);
    expect(await answer!.text()).toBe(
      '<link href="https://cdn.example.com/chat/assets/a.css">' +
        '<script type="module" src="https://cdn.example.com/chat/assets/a.js"></script>assets/',
    );
    const policy = answer!.headers.get('content-security-policy')!;
    expect(policy).toContain("script-src 'self' https://cdn.example.com;");
    expect(policy).toContain("style-src 'self' https://cdn.example.com;");
    const plain = await createPage(webDir, undefined).read('/', () => undefined);
    expect(plain!.headers.get('etag')).not.toBe(answer!.headers.get('etag'));
  });
});
