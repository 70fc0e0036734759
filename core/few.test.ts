// The map and the set for few entries, beside those of the language: the same answers after any changes.

import { expect, test } from 'bun:test';
import { Random } from '../tests/fuzz/random.ts';
import { FewMap, FewSet } from './few.ts';

const keys = ['a', 'b', 'c'];

test('a map answers as a Map does, with one entry, with more, and with none again', () => {
  const random = new Random(1);
  const few = new FewMap<string, number>();
  const map = new Map<string, number>();
  for (let i = 0; i < 3000; i++) {
    const key = keys[Math.floor(random.fraction() * keys.length)]!;
    if (random.fraction() < 0.45) {
      few.set(key, i);
      map.set(key, i);
    } else expect(few.delete(key)).toBe(map.delete(key));
    expect(few.size).toBe(map.size);
    for (const each of keys) {
      expect(few.get(each)).toBe(map.get(each) as number);
      expect(few.has(each)).toBe(map.has(each));
    }
    expect([...few.keys()]).toEqual([...map.keys()]);
    expect([...few.values()]).toEqual([...map.values()]);
  }
});

test('a set answers as a Set does', () => {
  const random = new Random(2);
  const few = new FewSet<string>();
  const set = new Set<string>();
  for (let i = 0; i < 3000; i++) {
    const item = keys[Math.floor(random.fraction() * keys.length)]!;
    if (random.fraction() < 0.45) {
      few.add(item);
      set.add(item);
    } else expect(few.delete(item)).toBe(set.delete(item));
    expect(few.size).toBe(set.size);
    for (const each of keys) expect(few.has(each)).toBe(set.has(each));
    expect([...few]).toEqual([...set]);
  }
});
