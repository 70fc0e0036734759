// How long an answer of Redis is waited for, and whether one came the last time. Shared by the parts of redis.ts.

import type { Clock } from '../../core/clock.ts';
import { StoreUnavailable } from '../store/store.ts';

/** How long something is tried again before whoever waits is told UNAVAILABLE. */
export const retryForMs = 4000;
const retryPauseMs = 50;

export class Patience {
  readonly #clock: Clock;
  /** Null, or why appends fail. */
  fault: string | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  onAnswer(): void {
    this.fault = null;
  }

  onSilence(): void {
    this.fault = 'Redis does not answer';
  }

  pause(): Promise<void> {
    return new Promise((resolve) => this.#clock.after(retryPauseMs, resolve));
  }

  /** Asks again until there is an answer, or the time is over. */
  async untilAnswered<T>(
    ask: () => Promise<T>,
    until = this.#clock.now() + retryForMs,
    onRetry?: (error: unknown) => void,
  ): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        this.onSilence();
        if (this.#clock.now() >= until) throw error;
        onRetry?.(error);
        await this.pause();
      }
    }
  }
}

export function asUnavailable(error: unknown): unknown {
  return error instanceof StoreUnavailable
    ? error
    : new StoreUnavailable('Redis does not answer', { cause: error });
}

export function orUnavailable<T>(answer: Promise<T>): Promise<T> {
  return answer.catch((error: unknown) => Promise.reject(asUnavailable(error)));
}
