// Tasks of one key one after another, those of different keys side by side.

import { expect, test } from 'bun:test';
import { microtasks } from '../tests/simulated/clock.ts';
import { makeGate } from '../tests/simulated/store.ts';
import { Serial } from './serial.ts';

test('tasks of one key wait for each other, also after one that failed', async () => {
  const serial = new Serial();
  const order: string[] = [];
  const [one, two] = [makeGate(), makeGate()];
  const first = serial.run('a', async () => {
    order.push('one begins');
    await one.passed;
    order.push('one fails');
    throw new Error('one');
  });
  const second = serial.run('a', async () => {
    order.push('two begins');
    await two.passed;
    return 2;
  });
  const third = serial.run('a', async () => {
    order.push('three begins');
    return 3;
  });
  first.catch(() => {});
  await microtasks();
  expect(order).toEqual(['one begins']);
  one.open();
  await microtasks();
  expect(order).toEqual(['one begins', 'one fails', 'two begins']);
  two.open();
  await expect(first).rejects.toThrow('one');
  expect([await second, await third]).toEqual([2, 3]);
});

test('tasks of other keys do not wait', async () => {
  const serial = new Serial();
  const gate = makeGate();
  const slow = serial.run('a', () => gate.passed);
  expect(await serial.run('b', async () => 'done')).toBe('done');
  gate.open();
  await slow;
});
