// The real clock and randomness, made by main.ts and passed to every part.

import { randomBytes } from 'node:crypto';
import type { Clock, Random } from '../core/clock.ts';

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, task) {
    const timer = setTimeout(task, delayMs);
    return { stop: () => clearTimeout(timer) };
  },
  every(intervalMs, task) {
    const timer = setInterval(task, intervalMs);
    return { stop: () => clearInterval(timer) };
  },
  // Runs after what this turn's poll has brought, before the next poll.
  atTurnEnd: (task) => void setImmediate(task),
};

export const systemRandom: Random = {
  fraction: () => Math.random(),
  bytes: (count) => randomBytes(count),
};
