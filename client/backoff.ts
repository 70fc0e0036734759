// When to connect again, as pure functions: how a connection ended, how often it failed before, and a random fraction
// go in; a delay or the decision to stop comes out. Called by connection.ts.

import { closes, type Retry } from '../core/protocol/codes.ts';

const baseMs = 1000;
const delayMaxMs = 30_000;
/** A full or restarting process gets its clients back over this much more time. */
const spreadMs = 5000;
/** A connection that held this long starts the backoff anew. */
export const stableMs = 10_000;

/** Full jitter: anything from 0 to the bound, which doubles with each attempt up to 30 s. */
export function jitterDelay(attempt: number, fraction: number): number {
  return fraction * Math.min(delayMaxMs, baseMs * 2 ** attempt);
}

const retryByCode: ReadonlyMap<number, Retry> = new Map(
  Object.values(closes).map(({ code, retry }) => [code, retry]),
);

function retryOfClose(code: number): Retry {
  const known = retryByCode.get(code);
  if (known) return known;
  // Own codes of a later version: below 4500 they say reconnect, above stop.
  return code >= 4500 && code < 5000 ? 'never' : 'backoff';
}

export interface Ending {
  readonly code: number;
  /** What is left of the slot that a `reconnect` frame gave, or null. */
  readonly slotMs: number | null;
  /** What the server asked to wait for, or null. */
  readonly retryAfterMs: number | null;
}

/** The delay before the next attempt, or null to stop. `attempt` counts the failures since a stable connection. */
export function planReconnect(ending: Ending, attempt: number, random: () => number): number | null {
  const retry = retryOfClose(ending.code);
  if (retry === 'never') return null;
  if (ending.slotMs !== null) return ending.slotMs;
  const isOwn = ending.code >= 4000;
  let delay = retry === 'now' && isOwn && attempt === 0 ? 0 : jitterDelay(attempt, random());
  if (ending.code === closes.full.code || ending.code === closes.restart.code) delay += random() * spreadMs;
  return Math.max(delay, ending.retryAfterMs ?? 0);
}
