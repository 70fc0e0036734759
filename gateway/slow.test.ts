// The sweep for slow sockets: above the soft limit off the topics, above the hard one closed.

import { expect, test } from 'bun:test';
import { startProcess } from '../tests/simulated/process.ts';
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
