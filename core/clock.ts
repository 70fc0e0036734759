// Time, timers and randomness as parts that are passed in, so that a simulator can drive the log, the hub and the
// flusher. The real ones are made in gateway/main.ts.

/** A pending timer; stopping it twice does nothing. */
export interface Timer {
  stop(): void;
}

export interface Clock {
  /** Unix time in ms. */
  now(): number;
  /** Runs `task` once after at least `delayMs`. */
  after(delayMs: number, task: () => void): Timer;
  /** Runs `task` every `intervalMs` until stopped. */
  every(intervalMs: number, task: () => void): Timer;
  /** Runs `task` at the end of this turn of the event loop, after everything that has arrived was handled. */
  atTurnEnd(task: () => void): void;
}

/**
 * A function that lets `task` run once, `delayMs` after the first call since it last ran: what is gathered gets a timer,
 * and where there is nothing to do nothing wakes.
 */
export function gathering(clock: Clock, delayMs: number, task: () => void): () => void {
  let isTimed = false;
  return () => {
    if (isTimed) return;
    isTimed = true;
    clock.after(delayMs, () => {
      isTimed = false;
      task();
    });
  };
}

/** Uniform in [0, 1), and bytes that nobody can guess. */
export interface Random {
  fraction(): number;
  bytes(count: number): Uint8Array;
}
