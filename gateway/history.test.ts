// The newest page and the ring: opening a warm room reads nothing, and what was deleted stays deleted.

import { expect, test } from 'bun:test';
import { type Frame, type Peer, request, startProcess } from '../tests/simulated/process.ts';

async function startRoom(messages: number) {
  const chat = await startProcess();
  await chat.makeRoom('room', ['ann']);
  const ann = await chat.connect('ann');
  for (let i = 1; i <= messages; i++) await ann.say('room', `${i}`);
  return { chat, ann };
}

const newest = async (peer: Peer, limit = 50) => {
  const [, , more, events] = await peer.ask('history', 'room', null, null, limit);
  return { more, contents: (events as Frame[]).filter(([op]) => op === 64).map((event) => event[7]) };
};

test('the newest page of a room is read once, then told from memory with what came since', async () => {
  const { chat, ann } = await startRoom(0);
  await newest(ann);
  const reads = chat.simulated.count('page');
  for (let i = 1; i <= 5; i++) await ann.say('room', `${i}`);
  expect(await newest(ann, 3)).toEqual({ more: true, contents: ['3', '4', '5'] });
  expect(await newest(ann)).toEqual({ more: false, contents: ['1', '2', '3', '4', '5'] });
  expect(chat.simulated.count('page')).toBe(reads);
});

test('a page that was read before a delete and answered after it does not bring the content back', async () => {
  const { chat, ann } = await startRoom(3);
  chat.hub.active('room')?.ring.clear();
  const gate = chat.simulated.hold('page', 'after');
  const reader = await chat.connect('ann');
  reader.send(request('history', 1, 'room', null, null, 50));
  await chat.clock.settle();
  await ann.ask('delete_message', 'room', 2);
  gate.open();
  await chat.clock.settle();
  expect(await newest(ann)).toEqual({ more: false, contents: ['1', null, '3'] });
});

test('an empty page that was read before the first events does not make their end the beginning', async () => {
  const { chat, ann } = await startRoom(0);
  const gate = chat.simulated.hold('page', 'after');
  const reader = await chat.connect('ann');
  reader.send(request('history', 1, 'room', null, null, 50));
  await chat.clock.settle();
  for (let i = 1; i <= 30; i++) await ann.say('room', 'x'.repeat(4000));
  gate.open();
  await chat.clock.settle();
  const page = await newest(ann, 100);
  expect(page.contents.length === 30 || page.more === true).toBe(true);
});
