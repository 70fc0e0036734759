// Who is in a room, as a pure merge: the list that `presence` answers first, then what changes. Large rooms send the
// count alone.

import type { Status } from './frames.ts';

export interface Presence {
  /** Users who are online or away; those who are offline are left out. */
  readonly users: ReadonlyMap<string, Status>;
  readonly online: number;
}

export const nobody: Presence = { users: new Map(), online: 0 };

/** From the `ok` of presence: the count and `[user, status, last seen]` each. */
export function presenceOf(online: number, list: readonly (readonly [string, Status, number])[]): Presence {
  const users = new Map<string, Status>();
  for (const [user, status] of list) if (status !== 'offline') users.set(user, status);
  return { users, online };
}

export function mergePresence(
  presence: Presence,
  changes: readonly (readonly [string, Status])[],
  online: number,
): Presence {
  const users = new Map(presence.users);
  for (const [user, status] of changes) {
    if (status === 'offline') users.delete(user);
    else users.set(user, status);
  }
  return { users, online };
}
