// Who becomes a socket: admission, Origin, subprotocol and token, in this order.

import { describe, expect, test } from 'bun:test';
import { refuse } from '../core/protocol/codes.ts';
import { upgradeRequest } from '../tests/simulated/engine.ts';
import { startProcess } from '../tests/simulated/process.ts';
import { makeGate } from '../tests/simulated/store.ts';
import { createProxyRules } from './address.ts';
import { Upgrades } from './upgrade.ts';

async function startUpgrades(rates = { connectRate: 0, connectRatePerIp: 0 }) {
  const chat = await startProcess();
  const { auth, users, clock, metrics, logger, socketParts } = chat;
  const drain = { isDraining: false };
  const upgrades = new Upgrades({
    config: { allowedOrigins: [], ...rates },
    auth,
    proxies: createProxyRules([]),
    users,
    clock,
    metrics,
    logger,
    socketParts,
    isDraining: () => drain.isDraining,
  });
  const ask = async (headers: Record<string, string> = {}, options = {}) => {
    const answer = await upgrades.onUpgrade(upgradeRequest({ host: 'chat.test', ...headers }, options));
    return answer.accept
      ? { user: answer.data.user.id, protocol: answer.protocol, socket: answer.data }
      : { status: answer.status, code: JSON.parse(answer.body).error.code, headers: answer.headers };
  };
  return { chat, ask, drain };
}

const bearer = { authorization: 'Bearer ann' };

describe('the subprotocol', () => {
  test('is echoed where it was offered, and not needed', async () => {
    const { ask } = await startUpgrades();
    const offer = (protocols: string) => ask({ ...bearer, 'sec-websocket-protocol': protocols });
    expect(await ask(bearer)).toMatchObject({ user: 'ann', protocol: null });
    expect(await offer('parley.v1')).toMatchObject({ user: 'ann', protocol: 'parley.v1' });
    expect(await offer('other, parley.v1')).toMatchObject({ protocol: 'parley.v1' });
    expect(await offer('')).toMatchObject({ protocol: null });
  });

  test('carries the token, which is never echoed', async () => {
    const { ask } = await startUpgrades();
    expect(await ask({ 'sec-websocket-protocol': 'parley.v1, bearer.ann' })).toMatchObject({
      user: 'ann',
      protocol: 'parley.v1',
    });
  });

  test('that is unknown, or a token alone, is 400', async () => {
    const { ask } = await startUpgrades();
    for (const protocols of ['other', 'parley.v2', 'bearer.ann', 'other, bearer.ann']) {
      expect(await ask({ ...bearer, 'sec-websocket-protocol': protocols })).toMatchObject({
        status: 400,
        code: 'BAD_REQUEST',
      });
    }
  });
});

describe('the token', () => {
  test('is looked for in the header, the subprotocol and the query, in this order', async () => {
    const { ask } = await startUpgrades();
    const protocols = { 'sec-websocket-protocol': 'parley.v1, bearer.bob' };
    const query = { query: 'access_token=cat' };
    expect(await ask({ ...bearer, ...protocols }, query)).toMatchObject({ user: 'ann' });
    expect(await ask(protocols, query)).toMatchObject({ user: 'bob' });
    expect(await ask({}, query)).toMatchObject({ user: 'cat' });
    expect(await ask()).toMatchObject({ status: 401, code: 'UNAUTHORIZED' });
  });

  test('that cannot be checked now is 503 with a time, and a bug is 500', async () => {
    const { chat, ask } = await startUpgrades();
    chat.auth.verifyToken = async () => refuse('UNAVAILABLE', undefined, 2500);
    expect(await ask(bearer)).toMatchObject({
      status: 503,
      code: 'UNAVAILABLE',
      headers: { 'Retry-After': '3' },
    });
    chat.auth.verifyToken = async () => {
      throw new Error('a bug');
    };
    expect(await ask(bearer)).toMatchObject({ status: 500, code: 'INTERNAL' });
  });

  test('without a session makes one for the socket', async () => {
    const { ask } = await startUpgrades();
    const [one, two] = [await ask(bearer), await ask(bearer)];
    expect(one.socket!.session).not.toBe(two.socket!.session);
    expect(one.socket!.user).toBe(two.socket!.user);
  });
});

describe('admission', () => {
  test('of one address has its rate: 429 with a time, others are let in', async () => {
    const { chat, ask } = await startUpgrades({ connectRate: 0, connectRatePerIp: 2 });
    for (let i = 0; i < 10; i++) expect(await ask(bearer)).toHaveProperty('user');
    expect(await ask(bearer)).toMatchObject({
      status: 429,
      code: 'RATE_LIMITED',
      headers: { 'Retry-After': '1' },
    });
    expect(await ask(bearer, { address: '203.0.113.6' })).toHaveProperty('user');
    await chat.clock.advance(500);
    expect(await ask(bearer)).toHaveProperty('user');
    expect(chat.metrics.connectionsRefused.address_rate).toBe(1);
  });

  test('of the process has its rate: 503 with a time', async () => {
    const { chat, ask } = await startUpgrades({ connectRate: 3, connectRatePerIp: 0 });
    for (let i = 0; i < 3; i++) expect(await ask(bearer)).toHaveProperty('user');
    expect(await ask(bearer)).toMatchObject({
      status: 503,
      code: 'UNAVAILABLE',
      headers: { 'Retry-After': '1' },
    });
    expect(chat.metrics.connectionsRefused.rate).toBe(1);
  });

  test('ends with the drain, also for one whose token is being checked', async () => {
    const { chat, ask, drain } = await startUpgrades();
    const gate = makeGate();
    const verify = chat.auth.verifyToken;
    chat.auth.verifyToken = async (token, requestId) => {
      await gate.passed;
      return verify(token, requestId);
    };
    const waiting = ask(bearer);
    drain.isDraining = true;
    gate.open();
    expect(await waiting).toMatchObject({ status: 503, code: 'SHUTTING_DOWN' });
    expect(await ask(bearer)).toMatchObject({ status: 503, code: 'SHUTTING_DOWN' });
  });

  test('comes before Origin, Origin before the subprotocol, the subprotocol before the token', async () => {
    const { chat, ask } = await startUpgrades({ connectRate: 0, connectRatePerIp: 0.2 });
    const wrong = { origin: 'https://evil.test', 'sec-websocket-protocol': 'other' };
    const statuses: unknown[] = [];
    for (const headers of [wrong, wrong]) statuses.push((await ask(headers)).status);
    await chat.clock.advance(10_000);
    statuses.push((await ask({ 'sec-websocket-protocol': 'other' })).status);
    await chat.clock.advance(10_000);
    statuses.push((await ask()).status);
    expect(statuses).toEqual([403, 429, 400, 401]);
    expect(chat.metrics.connectionsRefused).toMatchObject({
      origin: 1,
      address_rate: 1,
      subprotocol: 1,
      token: 1,
    });
  });
});
