// A user's presence as the sum of what each process says of him: a short text, `server=o,server=a`, so that a script in
// the log can hold and merge it.

import type { Status } from './protocol/frames.ts';

/** What one process says of a user: online, away, or null for gone. */
export type Place = 'online' | 'away' | null;

/** Online where one process says so, away where all that see the user do, else offline. */
export function statusOf(state: string | null): Status {
  if (state === null) return 'offline';
  return state.includes('=o') ? 'online' : 'away';
}
