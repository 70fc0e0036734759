// Those who wait until a room's head has come to a number: an event that was appended here may still be on its way. A part
// of HubRoom. It never decides what is read meanwhile.

interface Waiter {
  readonly seq: number;
  readonly resolve: () => void;
}

export class HeadWaiters {
  #waiters: Waiter[] = [];

  /** Settles when the head has reached `seq`, or the room ends. */
  waitFor(seq: number): Promise<void> {
    return new Promise((resolve) => this.#waiters.push({ seq, resolve }));
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
