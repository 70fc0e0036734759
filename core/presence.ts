// A user's presence as the sum of what each process says of him: pure merging of states, and the difference that others
// are told. Kept as a short text, `server=o,server=a`, so that a script in the log can hold it as well.

import type { Status } from './protocol/frames.ts';

/** What one process says of a user: online, away, or null for gone. */
export type Place = 'online' | 'away' | null;

/** The state after `server` has said `place`; null where nobody sees the user any more. */
export function mergePlace(state: string | null, server: string, place: Place): string | null {
  const others = (state ?? '').split(',').filter((part) => part !== '' && !part.startsWith(`${server}=`));
  if (place !== null) others.push(`${server}=${place === 'online' ? 'o' : 'a'}`);
  return others.length === 0 ? null : others.join(',');
}

/** Online where one process says so, away where all that see the user do, else offline. */
export function statusOf(state: string | null): Status {
  if (state === null) return 'offline';
  return state.includes('=o') ? 'online' : 'away';
}
