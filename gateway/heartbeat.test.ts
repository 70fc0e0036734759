// The heartbeat: pings, silence, tokens that end.

import { expect, test } from 'bun:test';
import { startMs } from '../tests/simulated/clock.ts';
import { type Peer, type Process, startProcess } from '../tests/simulated/process.ts';
import { Heartbeat } from './heartbeat.ts';

const intervalMs = 15_000;

async function startBeating(): Promise<Process> {
  const chat = await startProcess();
  new Heartbeat(chat.gateway.sockets, chat.clock, intervalMs);
  return chat;
}

/** Time passes and these peers answer every ping. */
async function live(chat: Process, ms: number, peers: readonly Peer[]): Promise<void> {
  for (let passed = 0; passed < ms; passed += 1000) {
    await chat.clock.advance(1000);
    for (const { handle } of peers) if (handle.isOpen) chat.gateway.onPong(handle);
  }
}

test('every socket is pinged once a heartbeat', async () => {
  const chat = await startBeating();
  const peers = await Promise.all(Array.from({ length: 100 }, (_, i) => chat.connect(`user-${i}`)));
  await live(chat, intervalMs * 5, peers);
  for (const { handle } of peers) {
    expect(handle.pings).toBeGreaterThanOrEqual(4);
    expect(handle.pings).toBeLessThanOrEqual(5);
  }
});

test('the pings of a heartbeat are spread over it', async () => {
  const chat = await startBeating();
  const peers = await Promise.all(Array.from({ length: 320 }, (_, i) => chat.connect(`user-${i}`)));
  await live(chat, intervalMs, peers);
  const total = () => peers.reduce((sum, { handle }) => sum + handle.pings, 0);
  let most = 0;
  for (let passed = 0; passed < intervalMs; passed += 500) {
    const before = total();
    await live(chat, 1000, peers);
    most = Math.max(most, total() - before);
  }
  expect(most).toBeLessThanOrEqual(40);
});

test('who is silent for two heartbeats is closed with 4009, between two and three', async () => {
  const chat = await startBeating();
  const [silent, alive] = [await chat.connect('ann'), await chat.connect('bob')];
  await live(chat, intervalMs * 2 - 1000, [alive]);
  expect(silent.handle.isOpen).toBe(true);
  await live(chat, intervalMs + 2000, [alive]);
  expect(silent.handle.closed).toEqual({ code: 4009, reason: 'silent' });
  await live(chat, intervalMs * 10, [alive]);
  expect(alive.handle.isOpen).toBe(true);
});

test('any message is a sign of life', async () => {
  const chat = await startBeating();
  const ann = await chat.connect('ann');
  for (let i = 0; i < 10; i++) {
    await chat.clock.advance(20_000);
    ann.send(new Uint8Array(0));
  }
  expect(ann.handle.isOpen).toBe(true);
});

test('a token that expires is told of once, a minute before, then the socket is closed with 4001', async () => {
  const chat = await startBeating();
  const expiresAt = startMs + 180_000;
  const ann = await chat.connect('ann', expiresAt);
  await live(chat, 180_000 - 60_000 - 1000, [ann]);
  const expiring = () => ann.all.filter(([op, kind]) => op === 99 && kind === 'token_expiring');
  expect(expiring()).toEqual([]);
  await live(chat, intervalMs + 2000, [ann]);
  expect(expiring()).toEqual([[99, 'token_expiring', null, null, null, { expires_at: expiresAt }]]);
  await live(chat, 60_000 - intervalMs - 3000, [ann]);
  expect(ann.handle.isOpen).toBe(true);
  await live(chat, intervalMs + 8000, [ann]);
  expect(ann.handle.closed).toEqual({ code: 4001, reason: 'token_expired' });
  expect(expiring()).toHaveLength(1);
});

test('a token that is renewed keeps the socket, and is told of again when it ends', async () => {
  const chat = await startBeating();
  const ann = await chat.connect('ann', startMs + 90_000);
  await live(chat, 60_000, [ann]);
  await ann.ask('authenticate', `ann@${startMs + 300_000}`);
  await live(chat, 200_000, [ann]);
  expect(ann.handle.isOpen).toBe(true);
  await live(chat, 30_000, [ann]);
  expect(ann.all.filter(([op, kind]) => op === 99 && kind === 'token_expiring')).toHaveLength(2);
});

test('sockets that come and go do not disturb the round', async () => {
  const chat = await startBeating();
  const kept = await chat.connect('kept');
  for (let i = 0; i < 60; i++) {
    const peer = await chat.connect(`user-${i}`);
    await live(chat, 1000, [kept]);
    if (i % 3 === 0) peer.handle.leave();
    else if (i % 3 === 1) peer.socket.close('slow');
  }
  expect(kept.handle.isOpen).toBe(true);
  expect(kept.handle.pings).toBeGreaterThanOrEqual(3);
});
