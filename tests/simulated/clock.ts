// Time that a test moves by hand. Nothing here waits for real time: a second of timers takes as long as its tasks. Used
// by the tests of everything that is handed a clock.

import type { Clock, Timer } from '../../core/clock.ts';

interface Task {
  at: number;
  readonly order: number;
  readonly everyMs: number | null;
  readonly run: () => void;
}

/** When simulated time begins, Unix ms. */
export const startMs = 1_780_000_000_000;
/** A loop that never comes to rest is a bug, not a long test. */
const turnsMax = 100_000;

/** Everything promised so far is settled: the real event loop goes round once, and no real time passes. */
export function microtasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export class SimulatedClock implements Clock {
  #now = startMs;
  #order = 0;
  readonly #tasks = new Set<Task>();
  #turnEnd: (() => void)[] = [];

  now(): number {
    return this.#now;
  }

  after(delayMs: number, task: () => void): Timer {
    return this.#add(delayMs, null, task);
  }

  every(intervalMs: number, task: () => void): Timer {
    return this.#add(intervalMs, intervalMs, task);
  }

  #add(delayMs: number, everyMs: number | null, run: () => void): Timer {
    const task: Task = { at: this.#now + Math.max(delayMs, 0), order: this.#order++, everyMs, run };
    this.#tasks.add(task);
    return { stop: () => void this.#tasks.delete(task) };
  }

  atTurnEnd(task: () => void): void {
    this.#turnEnd.push(task);
  }

  /** Timers that would still run, those that repeat left out. */
  get pending(): number {
    return [...this.#tasks].filter(({ everyMs }) => everyMs === null).length;
  }

  /** Ends turns until nothing is left to do without time passing. */
  async settle(): Promise<void> {
    for (let turns = 0; turns < turnsMax; turns++) {
      await microtasks();
      if (this.#turnEnd.length === 0) return;
      const tasks = this.#turnEnd;
      this.#turnEnd = [];
      for (const task of tasks) task();
    }
    throw new Error('the turns do not come to an end');
  }

  /** Runs what is due within the next `ms`, in the order of its time, each in a turn of its own. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await this.settle();
    for (let next = this.#next(end); next !== null; next = this.#next(end)) {
      this.#now = Math.max(this.#now, next.at);
      if (next.everyMs === null) this.#tasks.delete(next);
      else next.at += next.everyMs;
      next.run();
      await this.settle();
    }
    this.#now = end;
  }

  #next(end: number): Task | null {
    let next: Task | null = null;
    for (const task of this.#tasks) {
      if (task.at > end) continue;
      if (next === null || task.at < next.at || (task.at === next.at && task.order < next.order)) next = task;
    }
    return next;
  }
}
