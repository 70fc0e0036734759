import { expect, test } from 'bun:test';
import { Heights, rangeOf, rowAt } from './heights.ts';
import type { Row } from './rows.ts';

const days = (count: number): Row[] =>
  Array.from({ length: count }, (_, i) => ({ kind: 'day', key: `day ${i}`, ts: i }));

test('what was measured counts, the rest is guessed', () => {
  const heights = new Heights();
  const [guess = 0] = heights.offsets(days(1)).slice(1);
  expect(heights.set('day 1', 100)).toBe(true);
  expect(heights.set('day 1', 100)).toBe(false);
  expect([...heights.offsets(days(3))]).toEqual([0, guess, guess + 100, 2 * guess + 100]);
});

test('another width forgets what was measured', () => {
  const heights = new Heights();
  heights.setWidth(800);
  heights.set('day 0', 7);
  heights.setWidth(800);
  expect(heights.offsets(days(1))[1]).toBe(7);
  heights.setWidth(400);
  expect(heights.offsets(days(1))[1]).not.toBe(7);
});

test('the row at a height is the last one that begins there or before', () => {
  const offsets = Float64Array.of(0, 10, 20, 30);
  expect([-5, 0, 9, 10, 25, 30, 99].map((top) => rowAt(offsets, top))).toEqual([0, 0, 0, 1, 2, 2, 2]);
});

test('the range holds every row that is seen, and no more than a step around it', () => {
  const offsets = Float64Array.from({ length: 1001 }, (_, i) => i * 10);
  for (const top of [0, 5, 3333, 9900, 20_000]) {
    const { start, end } = rangeOf(offsets, top, top + 200);
    expect(start).toBeLessThanOrEqual(Math.min(999, Math.floor(top / 10)));
    expect(end).toBeGreaterThanOrEqual(Math.min(1000, Math.floor((top + 200) / 10) + 1));
    expect(end - start).toBeLessThanOrEqual(21 + 16);
  }
  expect(rangeOf(Float64Array.of(0), 0, 100)).toEqual({ start: 0, end: 0 });
});
