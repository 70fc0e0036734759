import { expect, test } from 'bun:test';
import type { Run } from './run.ts';
import {
  compare,
  costUs,
  isClean,
  isSwarmBound,
  judge,
  judgeLeast,
  judgeMost,
  median,
  tellVerdict,
  widthOf,
} from './summary.ts';

const cpu = {
  server: 1.5,
  serverMain: 1.4,
  serverMost: 1.5,
  redis: 0.5,
  postgres: 1,
  swarm: 1.2,
  swarmMost: 1.2,
};
const none = { count: 0, p50: 0, p99: 0, max: 0 };
const run: Run = {
  seconds: 2,
  messages: 1000,
  deliveries: 1_000_000,
  cpu,
  socketBytes: 1,
  stealSeconds: 0,
  complete: none,
  latency: none,
  ack: none,
  faults: { lost: 0, doubled: 0, swapped: 0, differing: 0, badAcks: 0, refused: 0, ended: 0 },
  isStalled: false,
  complaint: '',
};

test('the median is the middle, or between the two in the middle', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test('cost is CPU of server and Redis per delivery, or of Postgres too', () => {
  expect(costUs(run, 'server and Redis')).toBeCloseTo(2, 10);
  expect(costUs(run, 'all')).toBeCloseTo(3, 10);
});

test('the swarm was the bottleneck where one of its processes was busy and none of the server was', () => {
  expect(isSwarmBound(run)).toBe(false);
  expect(isSwarmBound({ ...run, cpu: { ...cpu, swarmMost: 1.95 } })).toBe(true);
  expect(isSwarmBound({ ...run, cpu: { ...cpu, swarmMost: 1.95, serverMost: 1.95 } })).toBe(false);
});

test('a run with any fault, or one that stalled, is not clean', () => {
  expect(isClean(run)).toBe(true);
  expect(isClean({ ...run, isStalled: true })).toBe(false);
  expect(isClean({ ...run, faults: { ...run.faults, lost: 1 } })).toBe(false);
});

test('pairs are compared one by one', () => {
  const { bare, other, ratioOfMedians, pairRatios } = compare([1, 2, 4], [1.5, 2.2, 8]);
  expect(bare).toEqual({ median: 2, min: 1, max: 4 });
  expect(other.median).toBe(2.2);
  expect(ratioOfMedians).toBeCloseTo(1.1, 10);
  expect(pairRatios.median).toBeCloseTo(1.5, 10);
  expect(pairRatios.min).toBeCloseTo(1.1, 10);
  expect(pairRatios.max).toBeCloseTo(2, 10);
  expect(widthOf(bare)).toBe(1.5);
});

test('a system of fewer rounds is compared in those that it was in', () => {
  expect(compare([1, 2, 4], [2]).pairRatios).toEqual({ median: 2, min: 2, max: 2 });
});

test.each([
  ['met', [1, 1, 1], [1.1, 1.1, 1.1]],
  ['missed', [1, 1.05, 1], [1.3, 1.3, 1.3]],
  ['met within the spread', [0.9, 1, 1.3], [1.2, 1.25, 1.3]],
  ['undecided', [0.9, 1, 1.3], [1.4, 1.4, 1.4]],
  ['missed', [0.9, 1, 1.3], [2, 2, 2]],
] as const)('%s: %j beside %j', (verdict, bare, other) => {
  expect(judge(compare(bare, other), 1.1)).toBe(verdict);
});

test.each([
  ['met', [11, 12, 20]],
  ['undecided', [11, 13, 20]],
  ['missed', [13, 14, 20]],
  ['missed', [12.5, 13, 13]],
] as const)('%s: %j, at most 12', (verdict, values) => {
  expect(judgeMost(values, 12)).toBe(verdict);
});

test('at least so many is at most so few, turned round', () => {
  expect(judgeLeast([11, 12, 13], 10)).toBe('met');
  expect(judgeLeast([5, 8, 11], 10)).toBe('undecided');
  expect(judgeLeast([5, 8, 9], 10)).toBe('missed');
});

test('a goal that was missed is told with how far', () => {
  expect(tellVerdict('missed', 1.5, 1.2)).toBe('missed by 25 %');
  expect(tellVerdict('missed', 4000, 10_000)).toBe('missed by 60 %');
  expect(tellVerdict('undecided', 1.5, 1.2)).toBe('undecided');
});
