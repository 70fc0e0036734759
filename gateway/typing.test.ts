// Typing: at most one a second, ended by itself, and ended by a message or a departure.

import { expect, test } from 'bun:test';
import { type Peer, startProcess } from '../tests/simulated/process.ts';

const told = (peer: Peer) =>
  peer
    .take()
    .filter(([op]) => op === 96)
    .map(([, , user, on]) => `${user} ${on}`);

async function startRoom() {
  const chat = await startProcess();
  await chat.makeRoom('room', ['ann', 'bob', ['rose', 'readonly']], { public: true });
  const [ann, bob] = [await chat.connect('ann'), await chat.connect('bob')];
  for (const peer of [ann, bob]) await peer.ask('subscribe', 'room', null, null);
  told(bob);
  return { chat, ann, bob, clock: chat.clock };
}

test('is told at most once a second and ends 5 s after the last', async () => {
  const { ann, bob, clock } = await startRoom();
  for (let i = 0; i < 30; i++) {
    await ann.ask('typing', 'room', true);
    await clock.advance(100);
  }
  expect(told(bob)).toEqual(['ann true', 'ann true', 'ann true']);
  await clock.advance(4500);
  expect(told(bob)).toEqual([]);
  await clock.advance(1000);
  expect(told(bob)).toEqual(['ann false']);
  await clock.advance(60_000);
  expect(told(bob)).toEqual([]);
});

test('ends when told so, once', async () => {
  const { ann, bob, clock } = await startRoom();
  await ann.ask('typing', 'room', false);
  await ann.ask('typing', 'room', true);
  await ann.ask('typing', 'room', false);
  await ann.ask('typing', 'room', false);
  expect(told(bob)).toEqual(['ann true', 'ann false']);
  await clock.advance(10_000);
  expect(told(bob)).toEqual([]);
});

test('that goes on and off as fast as it can is told once a second too', async () => {
  const { ann, bob, clock } = await startRoom();
  for (let i = 0; i < 100; i++) {
    await ann.ask('typing', 'room', true);
    await ann.ask('typing', 'room', false);
    await clock.advance(20);
  }
  expect(told(bob).length).toBeLessThanOrEqual(4);
  await clock.advance(2000);
  await ann.ask('typing', 'room', true);
  expect(told(bob)).toEqual(['ann true']);
});

test('ends with the message', async () => {
  const { ann, bob, clock } = await startRoom();
  await ann.ask('typing', 'room', true);
  await ann.say('room', 'done');
  expect(told(bob)).toEqual(['ann true', 'ann false']);
  await clock.advance(10_000);
  expect(told(bob)).toEqual([]);
});

test('is only for those who are subscribed and may send', async () => {
  const { chat, ann } = await startRoom();
  await chat.clock.settle();
  for (const [user, code] of [
    ['rose', 'FORBIDDEN'],
    ['guest', 'FORBIDDEN'],
  ] as const) {
    const peer = await chat.connect(user);
    expect((await peer.ask('typing', 'room', true))[2]).toBe('NOT_SUBSCRIBED');
    await peer.ask('subscribe', 'room', null, null);
    expect((await peer.ask('typing', 'room', true))[2]).toBe(code);
  }
  expect(told(ann)).toEqual([]);
});
