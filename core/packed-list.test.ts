// The list whose items know their places, beside a Set: the same items after any changes.

import { expect, test } from 'bun:test';
import { Random } from '../tests/fuzz/random.ts';
import { PackedList } from './packed-list.ts';

test('a list holds what a Set holds, and each item knows its place', () => {
  const random = new Random(1);
  const items = Array.from({ length: 12 }, (_, name) => ({ name, place: -1 }));
  const list = new PackedList<(typeof items)[number]>();
  const set = new Set<(typeof items)[number]>();
  for (let i = 0; i < 3000; i++) {
    const item = items[Math.floor(random.fraction() * items.length)]!;
    if (random.fraction() < 0.5) expect(list.delete(item)).toBe(set.delete(item));
    else if (!list.has(item)) {
      list.add(item);
      set.add(item);
    }
    expect(list.size).toBe(set.size);
    for (const each of items) expect(list.has(each)).toBe(set.has(each));
    expect(new Set(list)).toEqual(set);
  }
});
