// Users of this process: their rates, which outlive a reconnect, when they were last seen and where.

import { expect, test } from 'bun:test';
import { startMs } from '../tests/simulated/clock.ts';
import { SimulatedSocket } from '../tests/simulated/engine.ts';
import { startProcess } from '../tests/simulated/process.ts';
import { Socket } from './socket.ts';

test('a rate outlives a reconnect, and is forgotten when it is full again', async () => {
  const chat = await startProcess({ messageRate: 1 });
  await chat.makeRoom('room', ['ann']);
  const first = await chat.connect('ann');
  for (let i = 0; i < 3; i++) await first.say('room', 'x');
  first.handle.leave();
  const second = await chat.connect('ann');
  expect((await second.say('room', 'x'))[2]).toBe('RATE_LIMITED');
  const state = chat.users.of('ann');
  second.handle.leave();
  await chat.clock.advance(30_000);
  expect(chat.users.of('ann')).not.toBe(state);
});

test('a user with a socket is not forgotten', async () => {
  const chat = await startProcess();
  const ann = await chat.connect('ann');
  await chat.clock.advance(60_000);
  expect(chat.users.sockets('ann').has(ann.socket)).toBe(true);
});

test('a user who is forgotten between upgrade and open is there again', async () => {
  const chat = await startProcess();
  const identity = { user: chat.users.of('ann'), session: 's', expiresAt: startMs + 1e9, number: 1 };
  const socket = new Socket(identity, chat.socketParts);
  await chat.clock.advance(30_000);
  chat.gateway.onOpen(new SimulatedSocket(chat.engine, socket));
  expect([...chat.users.sockets('ann')]).toEqual([socket]);
});

test('last seen is written once a second at most, and again where the store was away', async () => {
  const chat = await startProcess();
  await chat.store.ensureUser('ann', {}, startMs);
  await chat.clock.advance(5000);
  const before = chat.simulated.count('touchUsers');
  for (let i = 0; i < 10; i++) (await chat.connect('ann')).handle.leave();
  chat.simulated.next('touchUsers', { fails: true });
  await chat.clock.advance(3000);
  expect(chat.simulated.count('touchUsers') - before).toBe(2);
  const [ann] = await chat.store.users(['ann']);
  expect(ann!.lastSeen).toBe(startMs + 5000);
});

test('the last room is known at once, while it is written, and afterwards', async () => {
  const chat = await startProcess();
  for (const room of ['one', 'two']) await chat.makeRoom(room, ['ann']);
  const ann = await chat.connect('ann');
  expect((await ann.ask('join_room', null))[2]).toBe('NOT_FOUND');
  await ann.ask('subscribe', 'one', null, null);
  await chat.clock.advance(2000);
  await ann.ask('subscribe', 'two', null, null);
  expect((await ann.ask('join_room', null)).slice(0, 3)).toEqual([32, expect.any(Number), 'two']);
  const gate = chat.simulated.hold('touchUsers');
  await chat.clock.advance(1000);
  expect(await chat.settled(chat.users.lastRoom('ann'))).toBe('two');
  gate.open();
  await chat.clock.advance(1000);
  expect(await chat.settled(chat.users.lastRoom('ann'))).toBe('two');
});
