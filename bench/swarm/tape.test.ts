import { expect, test } from 'bun:test';
import { Tape } from './tape.ts';

const chunk = (fill: number, size = 1000) => new Uint8Array(size).fill(fill);

/** A tape of these events, read from `bytes` in room 1. */
function record(bytes: Uint8Array, seqs: readonly number[] = [1, 2, 3]): Tape {
  const tape = new Tape();
  tape.begin();
  for (const seq of seqs) tape.note(seq, 0, seq + 100, 0);
  tape.end(1, bytes, true);
  return tape;
}

test('the same bytes in the same room are held, and nothing else', () => {
  const tape = record(chunk(7));
  expect(tape.holds(1, chunk(7))).toBe(true);
  expect(tape.holds(2, chunk(7))).toBe(false);
  expect(tape.holds(1, chunk(8))).toBe(false);
  expect(tape.holds(1, chunk(7, 999))).toBe(false);
  expect(tape.count).toBe(3);
  expect([...tape.numbers.subarray(0, 3)]).toEqual([101, 102, 103]);
});

test('what is for one socket alone, cut, or small, is not held', () => {
  for (const spoil of ['spoilt', 'cut', 'small'] as const) {
    const tape = new Tape();
    const bytes = chunk(7, spoil === 'small' ? 100 : 1000);
    tape.begin();
    tape.note(1, 0, 1, 0);
    if (spoil === 'spoilt') tape.spoil();
    tape.end(1, bytes, spoil !== 'cut');
    expect(tape.holds(1, bytes)).toBe(false);
  }
});

test('a new beginning forgets what was held', () => {
  const tape = record(chunk(7));
  tape.begin();
  expect(tape.holds(1, chunk(7))).toBe(false);
});

test('a run has seqs without a gap, and nothing wrong in it', () => {
  expect(record(chunk(7)).isRun).toBe(true);
  expect(record(chunk(7), [1, 3]).isRun).toBe(false);
  const tape = record(chunk(7));
  tape.breakRun();
  expect(tape.isRun).toBe(false);
});
