// From runs to numbers: medians, spreads, ratios of interleaved pairs, and what they say about a goal. Pure.

import type { Run } from './run.ts';
import type { Counted } from './shapes.ts';

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
  return (max - min) / Math.abs(middle);
}

/** CPU per delivery in us. */
export function costUs({ cpu, deliveries }: Run, counted: Counted): number {
  const postgres = counted === 'all' ? cpu.postgres : 0;
  return ((cpu.server + cpu.redis + postgres) / deliveries) * 1e6;
}

export const swarmCostUs = (run: Run) => (run.cpu.swarm / run.deliveries) * 1e6;
export const rate = (run: Run) => run.deliveries / run.seconds;
export const serverBusy = (run: Run) => run.cpu.server / run.seconds;
export const swarmBusy = (run: Run) => run.cpu.swarm / run.seconds;

/** A process that has the CPU for more of the time than this has nothing to wait for. */
const busyShare = 0.9;

/** A process of the swarm was busy all the time and none of the server was: the rate is the swarm's. */
export function isSwarmBound({ cpu, seconds }: Run): boolean {
  return cpu.swarmMost / seconds > busyShare && cpu.serverMost / seconds < busyShare;
}

/** Nothing was lost, doubled, swapped, refused or left without its ack. */
export function isClean({ faults, isStalled }: Run): boolean {
  return !isStalled && Object.values(faults).every((count) => count === 0);
}

export interface Comparison {
  readonly bare: Spread;
  readonly other: Spread;
  readonly ratioOfMedians: number;
  /** Over the ratios of the pairs. */
  readonly pairRatios: Spread;
}

/** CPU per delivery, bare and another system, pair by pair. */
export function compare(bare: readonly number[], other: readonly number[]): Comparison {
  const pairs = Math.min(bare.length, other.length);
  const ratios = Array.from({ length: pairs }, (_, i) => (other[i] as number) / (bare[i] as number));
  return {
    bare: spreadOf(bare),
    other: spreadOf(other),
    ratioOfMedians: median(other) / median(bare),
    pairRatios: spreadOf(ratios),
  };
}

export type Verdict = 'met' | 'met within the spread' | 'undecided' | 'missed';

/** Above this the measure itself is too uneven to tell. */
const widthMax = 0.1;

/** Whether a system costs at most `goal` times the bare engine: both ratios have to say so. */
export function judge({ bare, other, ratioOfMedians, pairRatios }: Comparison, goal: number): Verdict {
  if (Math.max(ratioOfMedians, pairRatios.median) <= goal) return 'met';
  if (widthOf(bare) <= widthMax) return 'missed';
  if (other.median <= bare.max) return 'met within the spread';
  return other.median <= bare.max * goal ? 'undecided' : 'missed';
}

/** Whether the values are at most `goal`; undecided where they lie on both sides of it and far apart. */
export function judgeMost(values: readonly number[], goal: number): Verdict {
  const spread = spreadOf(values);
  if (spread.median <= goal) return 'met';
  return widthOf(spread) > widthMax && spread.min <= goal ? 'undecided' : 'missed';
}

/** The same, where more is better. */
export function judgeLeast(values: readonly number[], goal: number): Verdict {
  return judgeMost(
    values.map((value) => -value),
    -goal,
  );
}

/** The verdict, and how far from the goal a value is that missed it, on whichever side. */
export function tellVerdict(verdict: Verdict, value: number, goal: number): string {
  return verdict === 'missed' ? `missed by ${Math.round(Math.abs(value / goal - 1) * 100)} %` : verdict;
}
