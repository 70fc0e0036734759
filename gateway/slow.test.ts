// The sweep for slow sockets: above the soft limit off the topics, above the hard one closed.

import { expect, test } from 'bun:test';
import { request, startProcess } from '../tests/simulated/process.ts';
import { sweepSlow } from './slow.ts';

test('sockets below the soft limit are left alone, those above fall behind, those above the hard one are closed', async () => {
  const chat = await startProcess();
  await chat.makeRoom('room', ['ann']);
  const peers = await Promise.all([500, 1500, 4500].map(() => chat.connect('ann')));
  for (const peer of peers) await peer.ask('subscribe', 'room', null, null);
  [500, 1500, 4500].forEach((bytes, i) => {
    const { handle } = peers[i]!;
    handle.isStalled = true;
    handle.send(new Uint8Array(bytes));
  });
  sweepSlow(chat.gateway.sockets, { slowBytes: 1000, backlogBytesMax: 4000 }, chat.metrics);
  const states = peers.map(({ handle, socket }) => [
    handle.closed?.code,
    socket.subscriptions.get('room')?.isLive,
  ]);
  expect(states).toEqual([
    [undefined, true],
    [undefined, false],
    [4008, undefined],
  ]);
  expect([chat.metrics.readersCaughtUp, chat.metrics.slowReaders]).toEqual([1, 1]);
  sweepSlow(chat.gateway.sockets, { slowBytes: 1000, backlogBytesMax: 4000 }, chat.metrics);
  expect([chat.metrics.readersCaughtUp, chat.metrics.slowReaders]).toEqual([1, 1]);
});

test('answers that nobody reads close the socket as well, without any sweep', async () => {
  const chat = await startProcess({ backlogBytesMax: 8192 });
  await chat.makeRoom('room', ['ann']);
  const [ann, reader] = [await chat.connect('ann'), await chat.connect('ann')];
  for (let i = 0; i < 10; i++) await reader.say('room', 'x'.repeat(500));
  ann.handle.isStalled = true;
  for (let i = 1; i <= 5 && ann.handle.isOpen; i++) {
    ann.send(request('history', i, 'room', null, null, 200));
    await chat.clock.settle();
  }
  expect(ann.handle.closed).toEqual({ code: 4008, reason: 'slow' });
  expect(reader.handle.isOpen).toBe(true);
});
