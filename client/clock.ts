// Time and timers as one part that is passed in, so that tests drive the client without waiting. Used by every file
// here that waits; nothing in client/ calls setTimeout or Date.now elsewhere.

export interface Clock {
  /** Unix time in ms of this machine, which may be wrong: `Connection.serverNow` corrects it. */
  now(): number;
  /** Runs `task` once after `delayMs`; the answer cancels it, and may be called at any time. */
  after(delayMs: number, task: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, task) {
    const timer = setTimeout(task, delayMs);
    return () => clearTimeout(timer);
  },
};
