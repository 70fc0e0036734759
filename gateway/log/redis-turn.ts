// The end of a turn of the event loop, shared by all shards: what they call then is one task's, and leaves as one write. Made
// by redis.ts for redis-append.ts.

import type { Clock } from '../../core/clock.ts';

export class TurnEnd {
  readonly #clock: Clock;
  #tasks: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `task` never throws. */
  add(task: () => void): void {
    this.#tasks.push(task);
    if (this.#tasks.length > 1) return;
    this.#clock.atTurnEnd(() => {
      const tasks = this.#tasks;
      this.#tasks = [];
      for (const each of tasks) each();
    });
  }
}
