// Marks that only move forward.

import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { moveMarks, noMarks } from './receipts.ts';

test('what is read has arrived', () => {
  expect(moveMarks(noMarks, 0, 5)).toEqual({ delivered: 5, read: 5 });
  expect(moveMarks({ delivered: 7, read: 2 }, 0, 5)).toEqual({ delivered: 7, read: 5 });
});

test('where nothing moves it is the same object', () => {
  const marks = { delivered: 5, read: 3 };
  expect(moveMarks(marks, 5, 3)).toBe(marks);
  expect(moveMarks(marks, 1, 1)).toBe(marks);
  expect(moveMarks(noMarks, 0, 0)).toBe(noMarks);
});

test('no order of moves takes a mark back, and every order ends at the same', () => {
  const move = fc.tuple(fc.nat(50), fc.nat(50));
  fc.assert(
    fc.property(fc.array(move), (moves) => {
      let marks = noMarks;
      for (const [delivered, read] of moves) {
        const next = moveMarks(marks, delivered, read);
        expect(next.delivered).toBeGreaterThanOrEqual(marks.delivered);
        expect(next.read).toBeGreaterThanOrEqual(marks.read);
        expect(next.delivered).toBeGreaterThanOrEqual(next.read);
        marks = next;
      }
      const backwards = moves.reduceRight(
        (before, [delivered, read]) => moveMarks(before, delivered, read),
        noMarks,
      );
      expect(backwards).toEqual(marks);
    }),
  );
});
