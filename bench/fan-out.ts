// The question: what does a delivery cost in one room of many sockets, beside the bare engine in the same run?
// The command: npm run bench (-- --quick for a first look, -- --help for the rest). Linux, loopback only.
// The meaning: `us` is CPU of the server process, all threads, per delivery; judge by the ratio, not by the absolute
// numbers. Runs are pairs, bare and Parley one after the other in fresh processes, the order reversed each round. On
// either engine: Parley on Node commits to a Postgres beside it, whose CPU is not counted.

import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { describeCommit, describeMachine, loadAverage, residentBytes } from './machine.ts';
import { type EngineName, type ServerName, SwarmProcess, startServer } from './processes.ts';
import {
  type Comparison,
  compare,
  costUs,
  isClean,
  isSwarmBound,
  judge,
  median,
  rate,
  type Spread,
  serverBusy,
  swarmBusy,
  swarmCostUs,
  widthOf,
} from './summary.ts';
import type { Run } from './swarm/main.ts';

const root = join(import.meta.dir, '..');
/** Parley's cost as a multiple of the bare engine's, by messages in flight. */
const goals: ReadonlyMap<number, number> = new Map([
  [1, 1.1],
  [64, 1.2],
]);

const help = `What a delivery costs in one room, beside the bare engine.

  --quick             3 pairs of short runs
  --pairs N           pairs of each shape, 1 to 50 (7)
  --seconds N         length of a run, 0.2 to 60 (3)
  --warm N            seconds before it (1.5)
  --sockets N         sockets in the room, 2 to 10000 (1000)
  --in-flight N,NxM   messages in flight, a shape each; from as many sockets, or from M (1,64)
  --bytes N           payload (100)
  --engine NAME,NAME  bun, uws or both (bun)
  --only NAME         bare or parley alone: no comparison
  --cpu-prof DIR      CPU profiles of the servers
  --out FILE          where the JSON goes (bench/results/DATE-fan-out.json; quick: bench/results/tmp/)`;

interface Options {
  readonly pairs: number;
  readonly seconds: number;
  readonly warm: number;
  readonly sockets: number;
  readonly shapes: readonly Shape[];
  readonly bytes: number;
  readonly engines: readonly EngineName[];
  readonly servers: readonly ServerName[];
  readonly profileDir: string | null;
  readonly isQuick: boolean;
  readonly out: string | null;
}

interface Shape {
  readonly inFlight: number;
  readonly senders: number;
}

/** A run, and what its server's memory grew by for each socket while it let them in. */
interface EngineRun extends Run {
  readonly socketBytes: number;
}

interface ShapeResult extends Shape {
  readonly engine: EngineName;
  readonly runs: Readonly<Record<ServerName, EngineRun[]>>;
}

function fail(message: string): never {
  console.error(`bench: ${message}`);
  process.exit(2);
}

function readNumber(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!(value >= min && value <= max)) fail(`--${name} must be from ${min} to ${max}, not ${text}`);
  return value;
}

/** `64`, or `64x1`: from one socket. */
function readShape(text: string, sockets: number): Shape {
  const [first = '', second = first] = text.split('x');
  const inFlight = Math.floor(readNumber('in-flight', first, 1, 256));
  const senders = Math.floor(readNumber('in-flight', second, 1, inFlight));
  return { inFlight, senders: Math.min(senders, sockets) };
}

function readOptions(): Options {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      pairs: text,
      seconds: text,
      warm: text,
      sockets: text,
      'in-flight': text,
      bytes: text,
      engine: text,
      only: text,
      'cpu-prof': text,
      out: text,
    },
  });
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const { quick } = values;
  const number = (
    name: 'pairs' | 'seconds' | 'warm' | 'sockets' | 'bytes',
    usual: number,
    min: number,
    max: number,
  ) => readNumber(name, values[name] ?? String(usual), min, max);
  const { only } = values;
  if (only !== undefined && only !== 'bare' && only !== 'parley') fail('--only must be bare or parley');
  const engines = (values.engine ?? 'bun').split(',').map((name) => {
    if (name !== 'bun' && name !== 'uws') fail('--engine must be bun, uws or bun,uws');
    return name;
  });
  const sockets = Math.floor(number('sockets', 1000, 2, 10_000));
  return {
    pairs: Math.floor(number('pairs', quick ? 3 : 7, 1, 50)),
    seconds: number('seconds', quick ? 1 : 3, 0.2, 60),
    warm: number('warm', quick ? 0.7 : 1.5, 0, 30),
    sockets,
    shapes: (values['in-flight'] ?? '1,64').split(',').map((one) => readShape(one, sockets)),
    bytes: Math.floor(number('bytes', 100, 8, 8000)),
    engines,
    servers: only === undefined ? ['bare', 'parley'] : [only],
    profileDir: values['cpu-prof'] ?? null,
    isQuick: quick,
    out: values.out ?? null,
  };
}

/** One server and one swarm, both new. */
async function runOnce(
  name: ServerName,
  engine: EngineName,
  { inFlight, senders }: Shape,
  options: Options,
): Promise<EngineRun> {
  const { sockets, bytes, warm, seconds, profileDir } = options;
  const server = await startServer(name, { engine, sockets, profileDir });
  const swarm = new SwarmProcess();
  try {
    const { port, room, tokens, pid } = server;
    const before = residentBytes(pid);
    await swarm.open({ dialect: name, port, room, sockets, senders, inFlight, payloadBytes: bytes, tokens });
    await server.prepare();
    await swarm.enter();
    const socketBytes = (residentBytes(pid) - before) / sockets;
    const run = await swarm.measure({ serverPid: pid, warmMs: warm * 1000, measureMs: seconds * 1000 });
    return { ...run, socketBytes };
  } finally {
    await swarm.stop();
    await server.stop();
  }
}

async function runShape(shape: Shape, engine: EngineName, options: Options): Promise<ShapeResult> {
  const runs: Record<ServerName, EngineRun[]> = { bare: [], parley: [] };
  for (let pair = 0; pair < options.pairs; pair++) {
    const order = pair % 2 === 0 ? options.servers : options.servers.toReversed();
    for (const name of order) {
      const run = await runOnce(name, engine, shape, options);
      runs[name].push(run);
      console.error(
        progressLine(
          `${engine}, ${shape.inFlight} in flight, pair ${pair + 1} of ${options.pairs}`,
          name,
          run,
        ),
      );
    }
  }
  return { ...shape, engine, runs };
}

const percent = (share: number) => `${Math.round(share * 100)} %`;
const us = (value: number) => value.toFixed(value < 1 ? 3 : 2);
const grouped = (value: number) => Math.round(value).toLocaleString('en-US');

function progressLine(what: string, name: ServerName, run: Run): string {
  const parts = [
    `${what}: ${name.padEnd(6)} ${us(costUs(run)).padStart(6)} us`,
    `${grouped(rate(run))}/s`,
    `server ${percent(serverBusy(run))}, swarm ${percent(swarmBusy(run))} of a core`,
    `steal ${percent(run.stealSeconds / run.seconds)}`,
  ];
  if (isSwarmBound(run)) parts.push('THE SWARM WAS THE BOTTLENECK');
  if (!isClean(run)) parts.push(`NOT CLEAN: ${describeFaults(run)}`);
  return parts.join(' · ');
}

function describeFaults({ faults, isStalled, complaint }: Run): string {
  const found = Object.entries(faults).filter(([, count]) => count > 0);
  const words = found.map(([name, count]) => `${name} ${count}`);
  if (isStalled) words.push('stalled');
  if (complaint) words.push(complaint);
  return words.join(', ');
}

const spread = (one: Spread) => `${us(one.median)} (${us(one.min)} to ${us(one.max)})`;

function printTable(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows) {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
    );
    console.log(`  ${cells.join('   ')}`.trimEnd());
  }
}

const bareNames: Readonly<Record<EngineName, string>> = { bun: 'bare Bun', uws: 'bare uWebSockets.js' };

function rowOf(name: ServerName, engine: EngineName, runs: readonly EngineRun[]): string[] {
  const of = (value: (run: EngineRun) => number) => median(runs.map(value));
  const costs = runs.map(costUs);
  const faults = runs.filter((run) => !isClean(run)).length;
  return [
    name === 'bare' ? bareNames[engine] : 'Parley',
    spread({ median: median(costs), min: Math.min(...costs), max: Math.max(...costs) }),
    percent(of((run) => run.serverMainSeconds / run.serverCpuSeconds)),
    grouped(of(rate)),
    `${of((run) => run.completeMsP50).toFixed(1)} / ${of((run) => run.completeMsP99).toFixed(1)}`,
    percent(of(serverBusy)),
    us(of(swarmCostUs)),
    percent(of(swarmBusy)),
    percent(of((run) => run.stealSeconds / run.seconds)),
    (of((run) => run.socketBytes) / 1024).toFixed(1),
    faults === 0 ? 'none' : `in ${faults} runs`,
  ];
}

const heading = [
  '',
  'server us/delivery',
  'main thread',
  'deliveries/s',
  'to all ms p50 / p99',
  'server busy',
  'swarm us',
  'swarm busy',
  'steal',
  'KiB/socket',
  'faults',
];

function printShape({ inFlight, senders, engine, runs }: ShapeResult, options: Options): Comparison | null {
  const { sockets, bytes, servers } = options;
  console.log(
    `\n${engine}: 1 room x ${grouped(sockets)} sockets, ${inFlight} in flight from ${senders} of them, ${bytes} B; medians of ${options.pairs}`,
  );
  printTable([heading, ...servers.map((name) => rowOf(name, engine, runs[name]))]);
  if (servers.length < 2) return null;
  const comparison = compare(runs.bare.map(costUs), runs.parley.map(costUs));
  const { ratioOfMedians, pairRatios } = comparison;
  console.log(
    `  Parley / bare: ratio of medians ${ratioOfMedians.toFixed(2)}, median of pair ratios ${pairRatios.median.toFixed(2)} (${pairRatios.min.toFixed(2)} to ${pairRatios.max.toFixed(2)}); bare spreads ${percent(widthOf(comparison.bare))}`,
  );
  const goal = goals.get(inFlight);
  if (goal !== undefined) console.log(`  at most ${goal} x: ${judge(comparison, goal)}`);
  const all = [...runs.bare, ...runs.parley];
  const bound = all.filter(isSwarmBound).length;
  if (bound > 0) {
    console.log(
      `  in ${bound} of ${all.length} runs the swarm was the bottleneck: their deliveries/s are its own`,
    );
  }
  const dear = all.filter((run) => run.swarmCpuSeconds > run.serverCpuSeconds).length;
  if (dear > 0) console.log(`  in ${dear} of ${all.length} runs the swarm cost more than the server`);
  return comparison;
}

const options = readOptions();
const machine = describeMachine(tmpdir());
const commit = describeCommit(root);
const started = new Date();
const loadBefore = loadAverage();
console.error(
  `bench: ${machine.cpu}, ${machine.cores} cores, kernel ${machine.kernel}, Bun ${machine.bun}, data on ${machine.dataOn}; commit ${commit}; load ${loadBefore}`,
);

const results: ShapeResult[] = [];
try {
  for (const shape of options.shapes) {
    for (const engine of options.engines) results.push(await runShape(shape, engine, options));
  }
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
const comparisons = results.map((result) => printShape(result, options));

const date = started.toISOString().slice(0, 16).replace(':', '');
const folder = join(root, 'bench', 'results', options.isQuick ? 'tmp' : '');
const file = options.out ?? join(folder, `${date}-fan-out.json`);
if (options.out === null) mkdirSync(folder, { recursive: true });
const { profileDir: _profileDir, out: _out, ...asked } = options;
const record = {
  question: 'what a delivery costs in one room of many sockets',
  started: started.toISOString(),
  commit,
  machine,
  load: { before: loadBefore, after: loadAverage() },
  options: asked,
  shapes: results.map((result, i) => ({ ...result, comparison: comparisons[i] })),
};
writeFileSync(file, `${JSON.stringify(record, null, 1)}\n`);
console.log(
  `\n  load of the machine ${record.load.before} before and ${record.load.after} after (the bench itself makes about 2)`,
);
console.log(`  ${relative(process.cwd(), file)}`);

const isAllClean = results.every(({ runs }) => [...runs.bare, ...runs.parley].every(isClean));
process.exit(isAllClean ? 0 : 1);
