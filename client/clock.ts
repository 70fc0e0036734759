// Time and timers as one part that is passed in, so that tests drive the client without waiting. Used by every file
// here that waits; nothing in client/ calls setTimeout or Date.now elsewhere.

export interface Clock {
  /** Unix time in ms of this machine, which may be wrong: `Connection.serverNow` corrects it. */
  now(): number;
  /** Runs `task` once after `delayMs`; the answer cancels it, and may be called at any time. */
  after(delayMs: number, task: () => void): () => void;
}

/** Every platform has them, and each types what they answer differently. */
const timers = globalThis as unknown as {
  setTimeout(task: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
};

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, task) {
    const timer = timers.setTimeout(task, delayMs);
    return () => timers.clearTimeout(timer);
  },
};

/** Runs `task` once what runs now is through, before any timer. It must not throw. */
export function soon(task: () => void): void {
  void Promise.resolve().then(task);
}

/** What an application's own callback threw: it surfaces as an uncaught error, and disturbs nothing here. */
export function surface(error: unknown): void {
  timers.setTimeout(() => {
    throw error;
  }, 0);
}
