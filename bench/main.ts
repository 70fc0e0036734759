// The question: what does Parley cost beside the bare engine and its rivals, in each shape of load?
// The command: npm run bench (-- --quick for a first look, -- --help for the rest). Linux, loopback only.
// The meaning: `us` is CPU of the server's processes and of Redis, all threads, per delivery; judge by the ratio of the pairs,
// not by the absolute numbers. In each round every system runs once, in fresh processes, the order reversed every time.

import { writeFileSync } from 'node:fs';
import { drawChart, type Panel } from './chart.ts';
import { type Options, readOptions } from './options.ts';
import { fail, printTable, Report } from './report.ts';
import { type AnyRun, describeRun, outcomeOf, type SystemRuns } from './results.ts';
import { runOnce } from './run.ts';
import type { Shape } from './shapes.ts';
import { runConnect, runCrowd, runIdle } from './sockets.ts';
import { findSystem } from './systems/all.ts';
import type { System } from './systems/system.ts';

/** Rounds of the shapes that count sockets: they swing less than CPU does. */
const socketRounds = 3;
/** Until every server has compiled its code and caches are full. */
const warmSeconds = 2;
/** With few messages a second that takes longer, and a run is longer by so much. */
const warmSecondsAtRate = 10;
const rateStretch = 2;

const isRival = ({ name }: System) => !name.startsWith('bare') && !name.startsWith('parley');

function systemsOf(shape: Shape, { systems, rivalRounds }: Options): System[] {
  const asked = systems ?? shape.systems.flatMap((name) => findSystem(name) ?? []);
  const fitting = asked.filter((system) => shape.servers === 1 || system.spreads);
  return systems === null && rivalRounds === 0 ? fitting.filter((system) => !isRival(system)) : fitting;
}

function roundsOf(shape: Shape, system: System, { pairs, rivalRounds, systems, isQuick }: Options): number {
  if (shape.kind === 'crowd') return 1;
  if (isRival(system) && systems === null) return rivalRounds;
  return shape.kind === 'load' ? pairs : Math.min(pairs, isQuick ? 1 : socketRounds);
}

function runShapeOnce(shape: Shape, system: System, options: Options): Promise<AnyRun> {
  switch (shape.kind) {
    case 'load': {
      const isRate = 'perSecond' in shape.pace;
      const warm = options.warm ?? (isRate ? warmSecondsAtRate : warmSeconds);
      return runOnce(
        system,
        { ...shape, payloadBytes: options.bytes },
        {
          warmMs: warm * 1000,
          measureMs: options.seconds * 1000 * (isRate ? rateStretch : 1),
          swarms: options.swarms,
          profileDir: options.profileDir,
        },
      );
    }
    case 'idle':
      return runIdle(system, shape);
    case 'connect':
      return runConnect(system, shape, options.swarms);
    case 'crowd':
      return runCrowd(system, shape);
    default:
      return shape satisfies never;
  }
}

interface Entry {
  readonly system: System;
  readonly runs: AnyRun[];
  trouble: string;
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

async function runShape(shape: Shape, options: Options, left: () => string): Promise<readonly SystemRuns[]> {
  const entries: Entry[] = [];
  for (const system of systemsOf(shape, options)) {
    entries.push({ system, runs: [], trouble: (await system.check()) ?? '' });
  }
  const rounds = Math.max(...entries.map(({ system }) => roundsOf(shape, system, options)));
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? entries : entries.toReversed();
    for (const entry of order) {
      const { system } = entry;
      if (entry.trouble !== '' || round >= roundsOf(shape, system, options)) continue;
      const what = `${left()} ${shape.name}, round ${round + 1} of ${rounds}: ${system.name.padEnd(13)}`;
      try {
        const run = await runShapeOnce(shape, system, options);
        entry.runs.push(run);
        console.error(`${what} ${describeRun(shape, run)}`);
      } catch (error) {
        entry.trouble = `failed in round ${round + 1}: ${messageOf(error)}`;
        console.error(`${what} FAILED: ${messageOf(error)}`);
      }
    }
  }
  return entries.map(({ system: { name, title }, runs, trouble }) => ({ name, title, runs, trouble }));
}

const options = readOptions();
const report = new Report('bench', 'what Parley costs beside the bare engine and its rivals');
const started = performance.now();
const panels: Panel[] = [];
const results: object[] = [];
const summary = [['shape', '', 'goal', 'measured', '']];
let isAllClean = true;
for (const [i, shape] of options.shapes.entries()) {
  const left = () =>
    `[${i + 1}/${options.shapes.length}, ${Math.round((performance.now() - started) / 1000)} s]`;
  const systems = await runShape(shape, options, left).catch((error: unknown) => fail(messageOf(error)));
  const { table, goals, lines, panel, isClean } = outcomeOf(shape, systems);
  console.log(`\n${shape.title}; medians (least to most)`);
  printTable(table);
  for (const { who, goal, figure, verdict } of goals) {
    console.log(`  ${who}, ${goal}: ${verdict} (${figure})`);
    summary.push([shape.name, who, goal, figure, verdict]);
  }
  for (const line of lines) console.log(`  ${line}`);
  if (panel !== null && panel.bars.length > 0) panels.push(panel);
  isAllClean &&=
    isClean &&
    systems.every(
      ({ name, trouble, runs }) => !name.startsWith('parley') || trouble === '' || runs.length > 0,
    );
  results.push({ ...shape, results: systems, goals, remarks: lines });
}
if (summary.length > 1) {
  console.log('\nGoals');
  printTable(summary);
}
const { profileDir: _profileDir, out, shapes: _shapes, systems, ...asked } = options;
const named = { ...asked, systems: systems?.map(({ name }) => name) ?? null };
const file = report.write({ options: named, shapes: results }, options.isQuick, out);
if (panels.length > 0) {
  const chart = file.replace(/(\.json)?$/, '.svg');
  writeFileSync(chart, drawChart('Parley beside the bare engine and its rivals', report.note(), panels));
  console.log(`  ${chart}`);
}
process.exit(isAllClean ? 0 : 1);
