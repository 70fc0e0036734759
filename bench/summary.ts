// From runs to numbers: medians, spreads, ratios of interleaved pairs, and what they say about a goal. Pure.

import type { Run } from './swarm/main.ts';

export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** How far apart the values are, as a part of their median. */
export function widthOf({ median: middle, min, max }: Spread): number {
  return (max - min) / middle;
}

export const costUs = (run: Run) => (run.serverCpuSeconds / run.deliveries) * 1e6;
export const swarmCostUs = (run: Run) => (run.swarmCpuSeconds / run.deliveries) * 1e6;
export const rate = (run: Run) => run.deliveries / run.seconds;
export const serverBusy = (run: Run) => run.serverCpuSeconds / run.seconds;
export const swarmBusy = (run: Run) => run.swarmCpuSeconds / run.seconds;

/** A process that has the CPU for more of the time than this has nothing to wait for. */
const busyShare = 0.9;

/** The swarm was busy all the time and the server was not: the rate is the swarm's. */
export function isSwarmBound(run: Run): boolean {
  return swarmBusy(run) > busyShare && serverBusy(run) < busyShare;
}

/** Nothing was lost, doubled, swapped, refused or left without its ack. */
export function isClean({ faults, isStalled }: Run): boolean {
  return !isStalled && Object.values(faults).every((count) => count === 0);
}

export interface Comparison {
  readonly bare: Spread;
  readonly parley: Spread;
  readonly ratioOfMedians: number;
  /** Over the ratios of the pairs. */
  readonly pairRatios: Spread;
}

/** Server CPU per delivery, bare and Parley, pair by pair. */
export function compare(bare: readonly number[], parley: readonly number[]): Comparison {
  const ratios = parley.map((cost, i) => cost / (bare[i] as number));
  return {
    bare: spreadOf(bare),
    parley: spreadOf(parley),
    ratioOfMedians: median(parley) / median(bare),
    pairRatios: spreadOf(ratios),
  };
}

export type Verdict = 'met' | 'met within the spread' | 'undecided' | 'missed';

/** Above this the bare engine itself is too uneven to tell. */
const widthMax = 0.1;

/** Whether Parley costs at most `goal` times the bare engine: both ratios have to say so. */
export function judge({ bare, parley, ratioOfMedians, pairRatios }: Comparison, goal: number): Verdict {
  if (Math.max(ratioOfMedians, pairRatios.median) <= goal) return 'met';
  if (widthOf(bare) <= widthMax) return 'missed';
  if (parley.median <= bare.max) return 'met within the spread';
  return parley.median <= bare.max * goal ? 'undecided' : 'missed';
}
