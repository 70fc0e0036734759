import { expect, test } from 'bun:test';
import { Lru } from './lru.ts';

test('an Lru forgets what was used longest ago', () => {
  const lru = new Lru<string, number>(2);
  lru.set('a', 1);
  lru.set('b', 2);
  expect(lru.get('a')).toBe(1);
  lru.set('c', 3);
  expect([lru.get('a'), lru.get('b'), lru.get('c'), lru.size]).toEqual([1, undefined, 3, 2]);
  lru.delete('a');
  expect(lru.get('a')).toBeUndefined();
});

test('an Lru keeps what is used again and again, and never more than its bound', () => {
  const counts = { hits: 0, misses: 0 };
  const lru = new Lru<number, number | null>(10, counts);
  lru.set(-1, null);
  for (let i = 0; i < 100; i++) {
    lru.set(i, i);
    expect(lru.get(-1)).toBeNull();
    // The half of its bound that was used last: four of these, and the one above.
    expect(lru.has(Math.max(0, i - 3))).toBe(true);
    expect(lru.size).toBeLessThanOrEqual(10);
    expect(new Map(lru.entries()).size).toBe(lru.size);
  }
  expect(counts).toEqual({ hits: 100, misses: 0 });
});

test('a value of an Lru that was set again, or deleted, is the old one nowhere', () => {
  const lru = new Lru<string, number>(4);
  for (const [key, value] of [
    ['a', 1],
    ['b', 2],
    ['c', 3],
    ['a', 4],
  ] as const)
    lru.set(key, value);
  expect([lru.get('a'), lru.size]).toEqual([4, 3]);
  lru.delete('a');
  expect([lru.get('a'), lru.has('a'), lru.size]).toEqual([undefined, false, 2]);
});
