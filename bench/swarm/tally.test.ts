import { expect, test } from 'bun:test';
import { Tally } from './tally.ts';

/** What a stream that begins at 1 makes of these, where `last` is the last one sent. */
function count(seqs: readonly number[], last: number) {
  const tally = new Tally(1);
  tally.begin(0, 1);
  const taken = seqs.map((seq) => tally.take(0, seq));
  const { deliveries, doubled, late } = tally;
  return { deliveries, doubled, late, lost: tally.lost(() => last), taken };
}

test('what comes in order is delivered', () => {
  expect(count([1, 2, 3], 3)).toEqual({
    deliveries: 3,
    doubled: 0,
    late: 0,
    lost: 0,
    taken: [true, true, true],
  });
});

test('what never comes is lost, also at the end', () => {
  expect(count([1, 4, 5], 7)).toMatchObject({ deliveries: 3, lost: 4, doubled: 0, late: 0 });
  expect(count([], 2)).toMatchObject({ deliveries: 0, lost: 2 });
});

test('what comes again is doubled, once for each time', () => {
  expect(count([1, 2, 2, 1, 2, 3], 3)).toMatchObject({ deliveries: 3, doubled: 3, lost: 0, late: 0 });
});

test('what comes after a later one is late, and neither lost nor doubled', () => {
  expect(count([2, 1, 4, 5, 3], 5)).toMatchObject({ deliveries: 5, late: 2, lost: 0, doubled: 0 });
});

test('what came late and comes again is doubled', () => {
  expect(count([2, 1, 1], 2)).toMatchObject({
    deliveries: 2,
    late: 1,
    doubled: 1,
    taken: [true, true, false],
  });
});

test('streams are counted apart', () => {
  const tally = new Tally(2);
  tally.begin(0, 1);
  tally.begin(1, 3);
  tally.take(0, 1);
  tally.take(1, 4);
  expect(tally.lost(() => 4)).toBe(3 + 1);
});

test('a jump that is no loss is an error', () => {
  expect(() => count([5_000_000], 1)).toThrow('brought seq 5000000 where 1 is next');
});
