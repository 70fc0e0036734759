// Token buckets under a clock that the test moves.

import { expect, test } from 'bun:test';
import { Budget } from './budget.ts';

test('a burst at once, then one at a time', () => {
  const budget = new Budget(10, 3, 1000);
  expect([budget.take(1000), budget.take(1000), budget.take(1000)]).toEqual([0, 0, 0]);
  expect(budget.take(1000)).toBe(100);
  expect(budget.take(1050)).toBe(50);
  expect(budget.take(1100)).toBe(0);
  expect(budget.take(1100)).toBe(100);
});

test('it never holds more than its burst', () => {
  const budget = new Budget(10, 2, 0);
  const answers = Array.from({ length: 4 }, () => budget.take(1_000_000));
  expect(answers.slice(0, 2)).toEqual([0, 0]);
  expect(answers.slice(2)).toEqual([100, 100]);
});

test('over a long time it grants its rate and its burst', () => {
  const budget = new Budget(5, 20, 0);
  let granted = 0;
  for (let now = 0; now <= 60_000; now += 7) if (budget.take(now) === 0) granted++;
  expect(granted).toBeGreaterThanOrEqual(318);
  expect(granted).toBeLessThanOrEqual(320);
});

test('waiting as long as it said is always enough', () => {
  for (const rate of [0.1, 1, 3, 7, 1000]) {
    const budget = new Budget(rate, 1, 0);
    let now = 0;
    for (let i = 0; i < 100; i++) {
      const wait = budget.take(now);
      if (wait === 0) continue;
      now += wait;
      expect(budget.take(now)).toBe(0);
    }
  }
});

test('a rate of 0 switches it off', () => {
  const budget = new Budget(0, 1, 0);
  for (let i = 0; i < 1000; i++) expect(budget.take(0)).toBe(0);
  expect(budget.isFull(0)).toBe(true);
});

test('a burst below one still lets one pass', () => {
  const budget = new Budget(1, 0, 0);
  expect(budget.take(0)).toBe(0);
  expect(budget.take(0)).toBe(1000);
});

test('a clock that goes back neither gives nor takes', () => {
  const budget = new Budget(10, 1, 5000);
  expect(budget.take(5000)).toBe(0);
  expect(budget.take(1000)).toBe(100);
  expect(budget.take(1100)).toBe(0);
});

test('it is full when nothing would be lost by forgetting it', () => {
  const budget = new Budget(10, 2, 0);
  expect(budget.isFull(0)).toBe(true);
  budget.take(0);
  expect(budget.isFull(99)).toBe(false);
  expect(budget.isFull(100)).toBe(true);
});
