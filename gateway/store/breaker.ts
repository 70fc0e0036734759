// A circuit breaker around a store that can be away: after several failures in a row calls fail at once, and one in a
// while is let through to see whether it is back, with backoff and jitter. Made by backends.ts; answers as the store.

import {
  BrokenCircuitError,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleType,
} from 'cockatiel';
import type { Logger } from '../logger.ts';
import { type Store, StoreUnavailable } from './store.ts';

/** Failures in a row that open the circuit. */
const failuresMax = 5;
const halfOpenMsMin = 250;
const halfOpenMsMax = 5000;

/** Calls that go past the breaker: they ask whether the store is there, or end it. */
const unguarded: ReadonlySet<string> = new Set(['check', 'close']);

export interface GuardedStore {
  readonly store: Store;
  /** Calls fail at once now. */
  isOpen(): boolean;
}

export function guardStore(store: Store, logger: Logger): GuardedStore {
  const breaker = circuitBreaker(handleType(StoreUnavailable), {
    halfOpenAfter: new ExponentialBackoff({ initialDelay: halfOpenMsMin, maxDelay: halfOpenMsMax }),
    breaker: new ConsecutiveBreaker(failuresMax),
  });
  breaker.onBreak(() => logger.error('the store does not answer; calls fail at once until it does'));
  breaker.onReset(() => logger.info('the store answers again'));

  const guard =
    <Args extends unknown[], Result>(call: (...args: Args) => Promise<Result>) =>
    async (...args: Args): Promise<Result> => {
      try {
        return await breaker.execute(() => call(...args));
      } catch (error) {
        if (error instanceof BrokenCircuitError)
          throw new StoreUnavailable('the store is away', { cause: error });
        throw error;
      }
    };
  const guarded = Object.fromEntries(
    Object.entries(store).map(([name, call]) => [name, unguarded.has(name) ? call : guard(call)]),
  ) as unknown as Store;
  return { store: guarded, isOpen: () => breaker.state === CircuitState.Open };
}
