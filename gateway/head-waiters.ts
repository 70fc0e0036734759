// Those who wait until a room's head has come to a number: an event that was appended here may still be on its way. A part
// of HubRoom. It never decides what is read meanwhile.

import type { Clock } from '../core/clock.ts';

interface Waiter {
  readonly seq: number;
  readonly resolve: () => void;
}

export class HeadWaiters {
  #waiters: Waiter[] = [];

  /** Settles when the head has reached `seq`, or the room ends: true; or when the time is over: false. */
  waitFor(seq: number, clock: Clock, ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = clock.after(ms, () => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        resolve(false);
      });
      const waiter: Waiter = {
        seq,
        resolve() {
          timer.stop();
          resolve(true);
        },
      };
      this.#waiters.push(waiter);
    });
  }

  /** Lets those go on who waited for this head or a lower one. */
  settle(head: number): void {
    if (this.#waiters.length === 0) return;
    const reached = this.#waiters.filter(({ seq }) => seq <= head);
    if (reached.length === 0) return;
    this.#waiters = this.#waiters.filter(({ seq }) => seq > head);
    for (const { resolve } of reached) resolve();
  }
}
