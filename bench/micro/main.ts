// The question: does the working tree make a part of Parley cheaper or dearer than the base commit?
// The command: npm run bench:micro (-- --base REVISION, -- --help for the rest).
// The meaning: CPU ns of one operation, all threads of the process; the ratio says it: below 1 is cheaper. In each round every
// case runs in both trees, one after the other, in fresh processes, the order reversed every time. Where the ratios of the
// rounds lie on both sides of 1, nothing was shown.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fail, printTable, Report, readNumber, spreadText } from '../report.ts';
import { endWithProcess } from '../servers.ts';
import { spreadOf } from '../summary.ts';
import { cases } from './cases.ts';

const root = join(import.meta.dir, '..', '..');
const archived = ['core', 'gateway', 'sql', 'package.json', 'tsconfig.json'];
const runMs = 60_000;
/** That fewer rounds agree is chance. */
const roundsToTell = 5;

const help = `What the parts cost, the base commit beside the working tree.

  --base REVISION  the base commit (HEAD)
  --cases A,B      ${Object.keys(cases).join(', ')} (all)
  --rounds N       1 to 50 (7)
  --ms N           length of a run, 100 to 20000 (1000)
  --quick          3 rounds of short runs
  --out FILE       where the JSON goes`;

function readOptions() {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    options: { base: text, cases: text, rounds: text, ms: text, quick: flag, help: flag, out: text },
  });
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const { quick } = values;
  const names = values.cases?.split(',') ?? Object.keys(cases);
  for (const name of names) if (cases[name] === undefined) fail(`--cases: there is no case ${name}`);
  return {
    base: values.base ?? 'HEAD',
    names,
    rounds: Math.floor(readNumber('rounds', values.rounds ?? (quick ? '3' : '7'), 1, 50)),
    ms: readNumber('ms', values.ms ?? (quick ? '300' : '1000'), 100, 20_000),
    isQuick: quick,
    out: values.out ?? null,
  };
}

/** The base commit's tree in a folder of its own, with this tree's cases; nothing in .git is touched. */
function checkOut(base: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'parley-base-'));
  endWithProcess(() => rmSync(folder, { recursive: true, force: true }));
  const archive = spawnSync('git', ['archive', base, ...archived], { cwd: root, maxBuffer: 256 << 20 });
  if (archive.status !== 0) fail(`git archive ${base}: ${archive.stderr}`);
  const unpacked = spawnSync('tar', ['-x'], { cwd: folder, input: archive.stdout });
  if (unpacked.status !== 0) fail(`tar: ${unpacked.stderr}`);
  cpSync(import.meta.dir, join(folder, 'bench', 'micro'), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** CPU ns of one operation; NaN where the tree cannot run the case. */
async function runCase(tree: string, name: string, ms: number): Promise<number> {
  const child = Bun.spawn(
    [process.execPath, join(tree, 'bench', 'micro', 'case.ts'), name, String(ms / 2), String(ms)],
    { cwd: tree, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe', timeout: runMs, killSignal: 'SIGKILL' },
  );
  const forget = endWithProcess(() => child.kill('SIGKILL'));
  const [printed, complaint, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  forget();
  if (code === 0) return Number(printed);
  console.error(`bench: ${name} in ${tree}: ${complaint.trim().split('\n').slice(0, 6).join(' ')}`);
  return Number.NaN;
}

/** What all rounds agree on, where there are enough of them to mean something. */
function tell(min: number, max: number, rounds: number): string {
  if (rounds < roundsToTell) return '';
  return min > 1 ? 'dearer' : max < 1 ? 'cheaper' : '';
}

const options = readOptions();
const report = new Report('micro', 'what the parts cost, the base commit beside the working tree');
const base = checkOut(options.base);
const revision = spawnSync('git', ['rev-parse', '--short', options.base], { cwd: root, encoding: 'utf8' });
const runs = new Map(options.names.map((name) => [name, { base: [] as number[], work: [] as number[] }]));
for (let round = 0; round < options.rounds; round++) {
  for (const [name, { base: before, work }] of runs) {
    const trees = [
      [base, before],
      [root, work],
    ] as const;
    for (const [tree, values] of round % 2 === 0 ? trees : trees.toReversed()) {
      values.push(await runCase(tree, name, options.ms));
    }
    console.error(
      `round ${round + 1} of ${options.rounds}: ${name.padEnd(13)} base ${before.at(-1)?.toFixed(1)} ns, working tree ${work.at(-1)?.toFixed(1)} ns`,
    );
  }
}

console.log(
  `\nCPU ns of one operation, ${revision.stdout.trim()} beside the working tree; medians of ${options.rounds} (least to most)`,
);
const rows = [...runs].map(([name, { base: before, work }]) => {
  const ratios = work.map((value, i) => value / (before[i] as number));
  const { median, min, max } = spreadOf(ratios);
  const verdict = Number.isNaN(median) ? 'not in both' : tell(min, max, ratios.length);
  const unit = cases[name]?.unit ?? '';
  return [
    name,
    spreadText(before),
    spreadText(work),
    `${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`,
    verdict,
    unit,
  ];
});
printTable([['', 'base', 'working tree', 'ratio', '', 'an operation'], ...rows]);
const { out, ...asked } = options;
report.write(
  { options: asked, base: revision.stdout.trim(), cases: Object.fromEntries(runs) },
  options.isQuick,
  out,
);
process.exit(0);
