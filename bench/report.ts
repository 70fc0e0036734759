// What the benches of the shared log have in common at both ends: numbers from the command line, a table on the terminal,
// a file in results/.

import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { describeCommit, describeMachine, loadAverage, stealSeconds } from './machine.ts';
import { spreadOf } from './summary.ts';

const root = join(import.meta.dir, '..');

export function fail(message: string): never {
  console.error(`bench: ${message}`);
  process.exit(2);
}

export function readNumber(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!(value >= min && value <= max)) fail(`--${name} must be from ${min} to ${max}, not ${text}`);
  return value;
}

export const grouped = (value: number) => Math.round(value).toLocaleString('en-US');
export const percent = (share: number) => `${Math.round(share * 100)} %`;

/** Median (least to most). */
export function spreadText(values: readonly number[], digits = 1): string {
  const { median, min, max } = spreadOf(values);
  return `${median.toFixed(digits)} (${min.toFixed(digits)} to ${max.toFixed(digits)})`;
}

/** The first row is the heading. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows) {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
    );
    console.log(`  ${cells.join('   ')}`.trimEnd());
  }
}

/** A bench from its first line to its file: where it ran, and how busy the machine was with other things. */
export class Report {
  readonly #question: string;
  readonly #name: string;
  readonly #started = new Date();
  readonly #machine = describeMachine(tmpdir());
  readonly #commit = describeCommit(root);
  readonly #loadBefore = loadAverage();
  readonly #stealBefore = stealSeconds();

  /** `name`: of the file in results/. */
  constructor(name: string, question: string) {
    this.#name = name;
    this.#question = question;
    const { cpu, cores, kernel, bun, dataOn } = this.#machine;
    console.error(
      `bench: ${cpu}, ${cores} cores, kernel ${kernel}, Bun ${bun}, data on ${dataOn}; commit ${this.#commit}; load ${this.#loadBefore}`,
    );
    if (this.#loadBefore > 0.5)
      console.error('bench: other things run on this machine: read the ratios only');
  }

  /** Where and when, in a line. */
  note(): string {
    const { cpu, cores, kernel, bun } = this.#machine;
    const day = this.#started.toISOString().slice(0, 10);
    return `${cpu}, ${cores} cores, kernel ${kernel.split('-')[0]}, Bun ${bun} · commit ${this.#commit} · ${day}`;
  }

  /**
   * Prints how busy the machine was and writes the file; `out` null: results/, or results/tmp/ for a quick look. Answers
   * its path.
   */
  write(results: object, isQuick: boolean, out: string | null): string {
    const folder = join(root, 'bench', 'results', isQuick ? 'tmp' : '');
    const date = this.#started.toISOString().slice(0, 16).replace(':', '');
    const file = out ?? join(folder, `${date}-${this.#name}.json`);
    if (out === null) mkdirSync(folder, { recursive: true });
    const load = { before: this.#loadBefore, after: loadAverage() };
    const seconds = (Date.now() - this.#started.getTime()) / 1000;
    const steal = stealSeconds() - this.#stealBefore;
    const record = {
      question: this.#question,
      started: this.#started.toISOString(),
      seconds,
      commit: this.#commit,
      machine: this.#machine,
      load,
      stealSeconds: steal,
      ...results,
    };
    writeFileSync(file, `${JSON.stringify(record, null, 1)}\n`);
    console.log(
      `\n  load of the machine ${load.before} before and ${load.after} after; steal ${percent(steal / seconds / this.#machine.cores)}; ${Math.round(seconds)} s`,
    );
    const shown = relative(process.cwd(), file);
    console.log(`  ${shown}`);
    return shown;
  }
}
