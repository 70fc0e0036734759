// The drain: every socket has a slot of its own, is served until then, and closed with 1012.

import { describe, expect, test } from 'bun:test';
import { startProcess } from '../tests/simulated/process.ts';
import { makeGate } from '../tests/simulated/store.ts';
import { drainSockets, runSteps } from './drain.ts';

async function startWith(sockets: number, drainSeconds = 15) {
  const chat = await startProcess();
  await chat.makeRoom('room', ['user-0', 'user-1']);
  const peers = await Promise.all(Array.from({ length: sockets }, (_, i) => chat.connect(`user-${i}`)));
  const start = chat.clock.now();
  const closedAt = new Map<number, number>();
  for (const [i, { handle }] of peers.entries()) {
    const close = handle.close.bind(handle);
    handle.close = (code, reason) => {
      closedAt.set(i, chat.clock.now() - start);
      close(code, reason);
    };
  }
  let isDone = false;
  const { clock, random, gateway } = chat;
  const drain = () =>
    drainSockets({
      sockets: gateway.sockets,
      clock,
      random: { fraction: () => random.fraction(), bytes: (count) => random.bytes(count) },
      drainSeconds,
    }).then(() => {
      isDone = true;
    });
  return { chat, peers, closedAt, drain, isDone: () => isDone };
}

test('of a process without sockets is done at once', async () => {
  const { chat, drain, isDone } = await startWith(0);
  void drain();
  await chat.clock.settle();
  expect(isDone()).toBe(true);
});

test('gives each socket its own slot, spread over the time, and closes it then', async () => {
  const { chat, peers, closedAt, drain, isDone } = await startWith(3000, 5);
  void drain();
  await chat.clock.settle();
  const slots = peers.map(({ all }) => all.find(([op]) => op === 35)![1] as number);
  expect(Math.max(...slots)).toBeLessThanOrEqual(4000);
  expect(new Set(slots).size).toBeGreaterThan(2000);
  await chat.clock.advance(2000);
  expect(isDone()).toBe(false);
  await chat.clock.advance(2500);
  expect(isDone()).toBe(true);
  for (const [i, { handle }] of peers.entries()) {
    expect(handle.closed).toEqual({ code: 1012, reason: 'restart' });
    expect(closedAt.get(i)).toBe(slots[i]!);
  }
  // The order has nothing to do with the order in which they came.
  expect(slots).not.toEqual([...slots].sort((a, b) => a - b));
});

test('of few sockets is quick: no more than 500 a second are sent away', async () => {
  const { chat, drain, isDone } = await startWith(100);
  void drain();
  await chat.clock.advance(500);
  expect(isDone()).toBe(true);
});

test('of many sockets leaves some of a short time for the flush', async () => {
  const { chat, closedAt, drain, isDone } = await startWith(2000, 1);
  void drain();
  await chat.clock.advance(900);
  expect(closedAt.size).toBe(2000);
  expect(isDone()).toBe(true);
});

test('serves a socket until its slot', async () => {
  const { chat, peers, drain } = await startWith(1000, 5);
  void drain();
  await chat.clock.settle();
  await chat.clock.advance(500);
  const open = peers.filter(({ handle }) => handle.isOpen);
  expect(open.length).toBeGreaterThan(500);
  for (const peer of open) peer.take();
  for (const peer of open) expect((await peer.ask('ping'))[0]).toBe(32);
});

test('takes no notice of sockets that go by themselves', async () => {
  const { chat, peers, drain, isDone } = await startWith(200);
  void drain();
  await chat.clock.settle();
  for (const { handle } of peers) handle.leave(1001);
  await chat.clock.advance(2000);
  expect(isDone()).toBe(true);
  expect(chat.gateway.sockets.size).toBe(0);
});

describe('the steps of a drain', () => {
  test('run one after another, also after one that failed', async () => {
    const { clock, logger, lines } = await startProcess();
    const order: string[] = [];
    const gate = makeGate();
    const done = runSteps(
      [
        ['first', () => gate.passed.then(() => void order.push('first'))],
        ['second', () => Promise.reject(new Error('away'))],
        ['third', () => void order.push('third')],
      ],
      { clock, logger, drainSeconds: 1 },
    );
    await clock.advance(500);
    expect(order).toEqual([]);
    gate.open();
    await done;
    expect(order).toEqual(['first', 'third']);
    expect(lines.map(({ msg, step }) => [msg, step])).toEqual([
      ['a part of the drain failed', 'second'],
      ['drained', undefined],
    ]);
  });

  test('end with the time, whatever hangs', async () => {
    const { clock, logger, lines } = await startProcess();
    let isDone = false;
    void runSteps([['flush', () => makeGate().passed]], { clock, logger, drainSeconds: 1 }).then(() => {
      isDone = true;
    });
    await clock.advance(999);
    expect(isDone).toBe(false);
    await clock.advance(1);
    expect(isDone).toBe(true);
    expect(lines.at(-1)).toMatchObject({ step: 'flush', msg: expect.stringContaining('took too long') });
  });
});
