// What the runs of a shape say: its table, its verdicts, its panel in the chart. Called by main.ts.

import type { Bar, Panel } from './chart.ts';
import { grouped, percent, spreadText } from './report.ts';
import type { Run } from './run.ts';
import type { ConnectShape, CrowdShape, IdleShape, LoadShape, Shape } from './shapes.ts';
import type { ConnectRun, CrowdRun, IdleRun } from './sockets.ts';
import {
  compare,
  costUs,
  isClean,
  isSwarmBound,
  judge,
  judgeLeast,
  judgeMost,
  median,
  rate,
  serverBusy,
  swarmBusy,
  swarmCostUs,
  tellVerdict,
  widthOf,
} from './summary.ts';

export type AnyRun = Run | IdleRun | ConnectRun | CrowdRun;

export interface SystemRuns<R extends AnyRun = AnyRun> {
  readonly name: string;
  readonly title: string;
  readonly runs: readonly R[];
  /** What kept it from running; empty where nothing did. */
  readonly trouble: string;
}

/** A goal with what was measured beside it. */
export interface GoalLine {
  readonly who: string;
  readonly goal: string;
  readonly figure: string;
  /** `met`, `missed by 12 %`, `undecided`. */
  readonly verdict: string;
}

export interface Outcome {
  /** The first row is the heading. */
  readonly table: readonly (readonly string[])[];
  readonly goals: readonly GoalLine[];
  /** What else is to be said: faults, the swarm's part, who did not run. */
  readonly lines: readonly string[];
  readonly panel: Panel | null;
  readonly isClean: boolean;
}

const us = (value: number) => value.toFixed(value < 1 ? 3 : value < 20 ? 2 : 1);
const ms = (value: number) => (Number.isNaN(value) ? '-' : value.toFixed(value < 10 ? 2 : 1));
const of = <R>(runs: readonly R[], value: (run: R) => number) => runs.map(value);

/** The engine that a system stands on, beside which it is judged. */
export function baseOf(name: string): string {
  return name.includes('node') || name === 'bare-uws' ? 'bare-uws' : 'bare';
}

const isOwn = (name: string) => name.startsWith('parley');

function barsOf(
  systems: readonly SystemRuns[],
  values: ReadonlyMap<string, number>,
  unit: (value: number) => string,
) {
  return systems.flatMap(({ name, title }): Bar[] => {
    const value = values.get(name);
    if (value === undefined || Number.isNaN(value)) return [];
    const isBase = name.startsWith('bare');
    return [{ label: title, value, text: unit(value), isOwn: isOwn(name), isBase }];
  });
}

function mediansOf<R extends AnyRun>(systems: readonly SystemRuns<R>[], value: (run: R) => number) {
  return new Map(
    systems.filter(({ runs }) => runs.length > 0).map(({ name, runs }) => [name, median(of(runs, value))]),
  );
}

function troubles(systems: readonly SystemRuns[]): string[] {
  return systems.flatMap(({ title, trouble }) => (trouble === '' ? [] : [`${title}: ${trouble}`]));
}

// Messages.

const loadHeading = [
  '',
  'CPU us/delivery',
  'x bare',
  'of it Redis',
  'Postgres us',
  'deliveries/s',
  'messages/s',
  'delivery ms p50 / p99',
  'ack ms p50 / p99',
  'KiB/socket',
  'busy: server, swarm',
  'swarm us',
  'steal',
  'faults',
];

function loadRow(
  shape: LoadShape,
  { title, runs }: SystemRuns<Run>,
  base: SystemRuns<Run> | undefined,
): string[] {
  const costs = of(runs, (run) => costUs(run, shape.counted));
  const middle = (value: (run: Run) => number) => median(of(runs, value));
  const times = 'perSecond' in shape.pace ? 'latency' : 'complete';
  const faulty = runs.filter((run) => !isClean(run)).length;
  const bare =
    base === undefined || base.runs.length === 0 ? null : of(base.runs, (run) => costUs(run, shape.counted));
  return [
    title,
    spreadText(costs, median(costs) < 1 ? 3 : 2),
    bare === null ? '' : (median(costs) / median(bare)).toFixed(2),
    us(middle(({ cpu, deliveries }) => (cpu.redis / deliveries) * 1e6)),
    us(middle(({ cpu, deliveries }) => (cpu.postgres / deliveries) * 1e6)),
    grouped(middle(rate)),
    grouped(middle(({ messages, seconds }) => messages / seconds)),
    `${ms(middle((run) => run[times].p50))} / ${ms(middle((run) => run[times].p99))}`,
    `${ms(middle(({ ack }) => ack.p50))} / ${ms(middle(({ ack }) => ack.p99))}`,
    middle(({ socketBytes }) => socketBytes / 1024).toFixed(1),
    `${percent(middle(serverBusy))}, ${percent(middle(swarmBusy))}`,
    us(middle(swarmCostUs)),
    percent(middle(({ stealSeconds, seconds }) => stealSeconds / seconds)),
    faulty === 0 ? 'none' : `in ${faulty} runs`,
  ];
}

function describeFaults({ faults, isStalled, complaint }: Run): string {
  const words = Object.entries(faults).flatMap(([name, count]) => (count > 0 ? [`${name} ${count}`] : []));
  if (isStalled) words.push('stalled');
  if (complaint) words.push(complaint);
  return words.join(', ');
}

function judgeLoad(
  shape: LoadShape,
  { name, title, runs }: SystemRuns<Run>,
  base: SystemRuns<Run> | undefined,
): GoalLine[] {
  const { ratio, us: most, latencyMs } = shape.goal;
  const goals: GoalLine[] = [];
  const costs = of(runs, (run) => costUs(run, shape.counted));
  const goal = ratio?.[name];
  if (goal !== undefined && base !== undefined && base.runs.length > 0) {
    const comparison = compare(
      of(base.runs, (run) => costUs(run, shape.counted)),
      costs,
    );
    const { ratioOfMedians, pairRatios, bare } = comparison;
    const value = Math.max(ratioOfMedians, pairRatios.median);
    goals.push({
      who: title,
      goal: `at most ${goal} x ${base.title}`,
      figure: `${value.toFixed(2)} x (pairs ${pairRatios.min.toFixed(2)} to ${pairRatios.max.toFixed(2)}; ${base.title} spreads ${percent(widthOf(bare))})`,
      verdict: tellVerdict(judge(comparison, goal), value, goal),
    });
    if (latencyMs !== undefined) goals.push(...judgeLatency(title, runs, base, latencyMs));
  }
  if (most !== undefined && isOwn(name)) {
    goals.push({
      who: title,
      goal: `at most ${most} us`,
      figure: `${spreadText(costs)} us`,
      verdict: tellVerdict(judgeMost(costs, most), median(costs), most),
    });
  }
  return goals;
}

function judgeLatency(who: string, runs: readonly Run[], base: SystemRuns<Run>, goal: number): GoalLine[] {
  return (['p50', 'p99'] as const).map((name) => {
    const pairs = Math.min(runs.length, base.runs.length);
    const above = Array.from(
      { length: pairs },
      (_, i) => (runs[i] as Run).latency[name] - (base.runs[i] as Run).latency[name],
    );
    return {
      who,
      goal: `latency ${name} at most ${goal} ms above ${base.title}`,
      figure: `${spreadText(above, 2)} ms`,
      verdict: tellVerdict(judgeMost(above, goal), median(above), goal),
    };
  });
}

function loadOutcome(shape: LoadShape, systems: readonly SystemRuns<Run>[]): Outcome {
  const ran = systems.filter(({ runs }) => runs.length > 0);
  const baseFor = (name: string) => ran.find((one) => one.name === baseOf(name));
  const all = ran.flatMap(({ runs }) => runs);
  const goals = ran.flatMap((system) => judgeLoad(shape, system, baseFor(system.name)));
  const lines: string[] = [];
  for (const { title, runs } of ran) {
    for (const run of runs) if (!isClean(run)) lines.push(`${title}, NOT CLEAN: ${describeFaults(run)}`);
  }
  const bound = all.filter(isSwarmBound).length;
  if (bound > 0)
    lines.push(
      `the swarm was the bottleneck in ${bound} of ${all.length} runs: their deliveries/s are its own`,
    );
  const dear = ran.filter(
    ({ runs }) => median(of(runs, swarmCostUs)) > median(of(runs, (run) => costUs(run, 'all'))),
  );
  if (dear.length > 0) lines.push(`the swarm cost more than ${dear.map(({ title }) => title).join(', ')}`);
  const costs = mediansOf(ran, (run) => costUs(run, shape.counted));
  const base = costs.get('bare');
  const goal = shape.goal.us ?? (base === undefined ? null : base * (shape.goal.ratio?.parley ?? Number.NaN));
  return {
    table: [loadHeading, ...ran.map((system) => loadRow(shape, system, baseFor(system.name)))],
    goals,
    lines: [...lines, ...troubles(systems)],
    panel: {
      title: shape.title,
      unit: `${shape.counted === 'all' ? 'all CPU' : 'CPU of server and Redis'} per delivery, us; less is better`,
      goal: goal === null || Number.isNaN(goal) ? null : goal,
      bars: barsOf(systems, costs, (value) => `${us(value)} us`),
    },
    isClean: all.every(isClean),
  };
}

// Sockets.

function idleOutcome(shape: IdleShape, systems: readonly SystemRuns<IdleRun>[]): Outcome {
  const kib = ({ socketBytes }: IdleRun) => socketBytes / 1024;
  const ran = systems.filter(({ runs }) => runs.length > 0);
  const goal = shape.bytesMax / 1024;
  const goals = ran
    .filter(({ name }) => isOwn(name))
    .map(({ title, runs }) => {
      const values = of(runs, kib);
      return {
        who: title,
        goal: `at most ${goal} KiB`,
        figure: `${spreadText(values, 2)} KiB`,
        verdict: tellVerdict(judgeMost(values, goal), median(values), goal),
      };
    });
  return {
    table: [
      ['', 'KiB of memory a socket'],
      ...ran.map(({ title, runs }) => [title, spreadText(of(runs, kib), 2)]),
    ],
    goals,
    lines: troubles(systems),
    panel: {
      title: shape.title,
      unit: 'memory of the server per socket, KiB; less is better',
      goal,
      bars: barsOf(systems, mediansOf(ran, kib), (value) => `${value.toFixed(1)} KiB`),
    },
    isClean: true,
  };
}

function connectOutcome(shape: ConnectShape, systems: readonly SystemRuns<ConnectRun>[]): Outcome {
  const perSecond = (run: ConnectRun) => run.perSecond;
  const ran = systems.filter(({ runs }) => runs.length > 0);
  const { perSecondMin } = shape;
  const goals = ran
    .filter(({ name }) => isOwn(name))
    .map(({ title, runs }) => {
      const values = of(runs, perSecond);
      return {
        who: title,
        goal: `above ${grouped(perSecondMin)}/s`,
        figure: `${spreadText(values, 0)}/s`,
        verdict: tellVerdict(judgeLeast(values, perSecondMin), median(values), perSecondMin),
      };
    });
  return {
    table: [
      ['', 'connects/s', 'server us each', 'busy: server, swarm'],
      ...ran.map(({ title, runs }) => [
        title,
        spreadText(of(runs, perSecond), 0),
        us(median(of(runs, (run) => run.serverUs))),
        `${percent(median(of(runs, (run) => run.serverBusy)))}, ${percent(median(of(runs, (run) => run.swarmBusy)))}`,
      ]),
    ],
    goals,
    lines: troubles(systems),
    panel: {
      title: shape.title,
      unit: 'sockets a second; more is better',
      goal: perSecondMin,
      bars: barsOf(systems, mediansOf(ran, perSecond), (value) => `${grouped(value)}/s`),
    },
    isClean: true,
  };
}

function crowdOutcome(shape: CrowdShape, systems: readonly SystemRuns<CrowdRun>[]): Outcome {
  const ran = systems.filter(({ runs }) => runs.length > 0);
  const last = ({ lastMs }: CrowdRun) => median(lastMs);
  const goals = ran.map(({ title, runs }) => {
    const values = of(runs, last);
    return {
      who: title,
      goal: `one message reaches all in less than ${shape.msMax} ms`,
      figure: `${spreadText(values, 0)} ms`,
      verdict: tellVerdict(judgeMost(values, shape.msMax), median(values), shape.msMax),
    };
  });
  return {
    table: [
      ['', 'sockets', 'up in s', 'to the last ms, each message', 'p50 ms', 'GiB of the servers', 'faults'],
      ...ran.flatMap(({ title, runs }) =>
        runs.map((run) => [
          title,
          grouped(run.sockets),
          run.connectSeconds.toFixed(1),
          run.lastMs.map((value) => value.toFixed(0)).join(', '),
          run.p50Ms.toFixed(0),
          (run.serverBytes / 2 ** 30).toFixed(2),
          String(run.faults),
        ]),
      ),
    ],
    goals,
    lines: troubles(systems),
    panel: null,
    isClean: ran.every(({ runs }) => runs.every(({ faults }) => faults === 0)),
  };
}

export function outcomeOf(shape: Shape, systems: readonly SystemRuns[]): Outcome {
  switch (shape.kind) {
    case 'load':
      return loadOutcome(shape, systems as readonly SystemRuns<Run>[]);
    case 'idle':
      return idleOutcome(shape, systems as readonly SystemRuns<IdleRun>[]);
    case 'connect':
      return connectOutcome(shape, systems as readonly SystemRuns<ConnectRun>[]);
    case 'crowd':
      return crowdOutcome(shape, systems as readonly SystemRuns<CrowdRun>[]);
    default:
      return shape satisfies never;
  }
}

/** One run in a line, as it ends. */
export function describeRun(shape: Shape, run: AnyRun): string {
  if (!('kind' in run)) {
    const cost = costUs(run, shape.kind === 'load' ? shape.counted : 'server and Redis');
    const parts = [
      `${us(cost).padStart(6)} us`,
      `${grouped(rate(run))}/s`,
      `server ${percent(serverBusy(run))}, swarm ${percent(swarmBusy(run))} of a core`,
      `steal ${percent(run.stealSeconds / run.seconds)}`,
    ];
    if (isSwarmBound(run)) parts.push('THE SWARM WAS THE BOTTLENECK');
    if (!isClean(run)) parts.push(`NOT CLEAN: ${describeFaults(run)}`);
    return parts.join(' · ');
  }
  if (run.kind === 'idle') return `${(run.socketBytes / 1024).toFixed(2)} KiB a socket`;
  if (run.kind === 'connect')
    return `${grouped(run.perSecond)} connects/s · server ${percent(run.serverBusy)}, swarm ${percent(run.swarmBusy)} of a core`;
  return `${grouped(run.sockets)} up in ${run.connectSeconds.toFixed(1)} s; to the last ${spreadText(run.lastMs, 0)} ms`;
}
