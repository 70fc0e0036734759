import { expect, test } from 'bun:test';
import { Histogram } from './histogram.ts';

function of(values: readonly number[]) {
  const histogram = new Histogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

test('small values are exact', () => {
  expect(of([1, 2, 3, 4, 63]).percentiles()).toEqual({ count: 5, p50: 0.003, p99: 0.063, max: 0.063 });
});

test('every value is known to 1.6 %, never told too small', () => {
  for (let value = 64; value < 2 ** 35; value = Math.ceil(value * 1.037)) {
    const told = of([value]).percentiles().p50 * 1000;
    expect(told).toBeGreaterThanOrEqual(value);
    expect(told / value).toBeLessThan(1 + 1 / 60);
  }
});

test('percentiles are where a sorted list has them', () => {
  const values = Array.from({ length: 1000 }, (_, i) => (i + 1) * 1000);
  const { p50, p99, max } = of(values).percentiles();
  expect(p50 / 500).toBeCloseTo(1, 1);
  expect(p99 / 990).toBeCloseTo(1, 1);
  expect(max / 1000).toBeCloseTo(1, 1);
});

test('what was recorded in two is recorded in their sum', () => {
  const sum = of([5, 100, 1_000_000]);
  sum.add(of([7, 100]).sparse());
  expect(sum.sparse()).toEqual(of([5, 7, 100, 100, 1_000_000]).sparse());
  sum.clear();
  expect(sum.percentiles()).toMatchObject({ count: 0, p50: Number.NaN });
});

test('what is beyond all buckets, or negative as clocks may be, is counted in the last and the first', () => {
  expect(of([2 ** 50]).percentiles().count).toBe(1);
  expect(of([-3]).percentiles().max).toBe(0);
});
