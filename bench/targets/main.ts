// The question: does Parley meet what the systems that it replaces were bought for? A row each, with goal and figure.
// The command: npm run bench:targets (-- NAME … for some of them, -- --help for the rest). Linux, loopback only.
// The meaning: goals are absolute, so the machine counts: a missed one says by how much, and how busy the machine was.

import { parseArgs } from 'node:util';
import { fail, Report, readNumber } from '../report.ts';
import { type Finding, figureText, isMet, verdictOf } from './finding.ts';
import { measureRows } from './rows.ts';
import { measureRedisMemory, measureReturn } from './sessions.ts';
import { measureStorage } from './storage.ts';
import { fourShapes, measureLag, measureThroughput, oneShapes } from './throughput.ts';

const help = `What the systems that Parley replaces had to do: goal, figure, met or missed by how much.

  one        1,000 messages/s in one process of 512 MB with 2,500 sockets below 60 % of a core
  four       4,000 messages/s on four processes, each as above
  rows       5,000 rows/s into Postgres
  lag        flush lag below 100 messages in steady state
  postgres   a history page below 10 ms p95 and at most 1 GB of disk per million messages
  sqlite     the same of the embedded store
  redis      at most 100 MB of Redis for 10,000 sessions
  return     10,000 clients of four processes back within 30 s at the default rates

All of them unless some are named; about eight minutes, of which four are waiting until Redis is no longer young: for
two minutes after its start each id is looked up in Postgres.

  --young          do not wait for that, measure it
  --seconds N      length of what is measured for a time, 2 to 600 (15)
  --messages N     of a filled store, 10000 to 10000000 (1000000)
  --cpu-prof DIR   CPU profiles of the gateways of one, four and lag
  --quick          3 seconds, young, 50,000 messages; the figures are not kept
  --out FILE       where the JSON goes`;

function readOptions() {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      help: flag,
      quick: flag,
      seconds: text,
      messages: text,
      'cpu-prof': text,
      out: text,
      young: flag,
    },
  });
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const { quick } = values;
  return {
    names: positionals,
    seconds: readNumber('seconds', values.seconds ?? (quick ? '3' : '15'), 2, 600),
    messages: Math.floor(
      readNumber('messages', values.messages ?? (quick ? '50000' : '1000000'), 10_000, 10_000_000),
    ),
    profileDir: values['cpu-prof'] ?? null,
    isYoung: values.young || quick,
    isQuick: quick,
    out: values.out ?? null,
  };
}

const options = readOptions();

async function all<T>(shapes: readonly T[], measure: (shape: T) => Promise<Finding[]>): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const shape of shapes) findings.push(...(await measure(shape)));
  return findings;
}

const targets: Readonly<Record<string, () => Promise<Finding[]>>> = {
  one: () => all(oneShapes, (shape) => measureThroughput(shape, options)),
  four: () => all(fourShapes, (shape) => measureThroughput(shape, options)),
  rows: async () => [await measureRows()],
  lag: async () => [await measureLag(options)],
  postgres: () => measureStorage('postgres', options.messages),
  sqlite: () => measureStorage('sqlite', options.messages),
  redis: async () => [await measureRedisMemory()],
  return: async () => [await measureReturn()],
};

function print(finding: Finding): void {
  const { target, goal, figure, unit, side, details } = finding;
  console.log(`\n  ${target}`);
  console.log(
    `    goal: ${side === 'below' ? 'at most' : 'at least'} ${figureText(goal)} ${unit}; found: ${figureText(figure)}; ${verdictOf(finding)}`,
  );
  console.log(`    ${details}`);
}

const names = options.names.length === 0 ? Object.keys(targets) : options.names;
const unknown = names.find((name) => !(name in targets));
if (unknown !== undefined) fail(`there is no target ${unknown}; -- --help names them`);
const report = new Report('targets', 'what the systems that Parley replaces had to do');
const findings: Finding[] = [];
try {
  for (const name of names) {
    console.error(`bench: ${name} …`);
    const found = (await targets[name]?.()) ?? [];
    for (const finding of found) print(finding);
    findings.push(...found);
  }
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
const met = findings.filter(isMet).length;
console.log(`\n  ${met} of ${findings.length} met`);
const { profileDir: _profileDir, out, ...asked } = options;
report.write({ options: asked, findings }, options.isQuick, out);
// A missed goal is a figure; only what was lost, doubled or refused is a failure.
process.exit(findings.every(({ fault }) => fault === null) ? 0 : 1);
