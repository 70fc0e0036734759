import { expect, test } from 'bun:test';
import { compare, costUs, isClean, isSwarmBound, judge, median, widthOf } from './summary.ts';
import type { Run } from './swarm/main.ts';

const run: Run = {
  seconds: 2,
  messages: 1000,
  deliveries: 1_000_000,
  serverCpuSeconds: 1.5,
  serverMainSeconds: 1.4,
  serverMemoryBytes: 1,
  swarmCpuSeconds: 1.2,
  stealSeconds: 0,
  completeMsP50: 1,
  completeMsP99: 2,
  faults: { lost: 0, doubled: 0, swapped: 0, differing: 0, badAcks: 0, refused: 0, ended: 0 },
  isStalled: false,
  complaint: '',
};

test('the median is the middle, or between the two in the middle', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test('cost is CPU of the server per delivery', () => {
  expect(costUs(run)).toBeCloseTo(1.5, 10);
});

test('the swarm was the bottleneck where it was busy and the server was not', () => {
  expect(isSwarmBound(run)).toBe(false);
  expect(isSwarmBound({ ...run, swarmCpuSeconds: 1.95 })).toBe(true);
  expect(isSwarmBound({ ...run, swarmCpuSeconds: 1.95, serverCpuSeconds: 1.95 })).toBe(false);
});

test('a run with any fault, or one that stalled, is not clean', () => {
  expect(isClean(run)).toBe(true);
  expect(isClean({ ...run, isStalled: true })).toBe(false);
  expect(isClean({ ...run, faults: { ...run.faults, lost: 1 } })).toBe(false);
});

test('pairs are compared one by one', () => {
  const { bare, parley, ratioOfMedians, pairRatios } = compare([1, 2, 4], [1.5, 2.2, 8]);
  expect(bare).toEqual({ median: 2, min: 1, max: 4 });
  expect(parley.median).toBe(2.2);
  expect(ratioOfMedians).toBeCloseTo(1.1, 10);
  expect(pairRatios.median).toBeCloseTo(1.5, 10);
  expect(pairRatios.min).toBeCloseTo(1.1, 10);
  expect(pairRatios.max).toBeCloseTo(2, 10);
  expect(widthOf(bare)).toBe(1.5);
});

test.each([
  ['met', [1, 1, 1], [1.1, 1.1, 1.1]],
  ['missed', [1, 1.05, 1], [1.3, 1.3, 1.3]],
  ['met within the spread', [0.9, 1, 1.3], [1.2, 1.25, 1.3]],
  ['undecided', [0.9, 1, 1.3], [1.4, 1.4, 1.4]],
  ['missed', [0.9, 1, 1.3], [2, 2, 2]],
] as const)('%s: %p beside %p', (verdict, bare, parley) => {
  expect(judge(compare(bare, parley), 1.1)).toBe(verdict);
});
