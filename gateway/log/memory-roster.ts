// The roster of one process: implements roster.ts without anybody else to ask.

import { mergePlace, statusOf } from '../../core/presence.ts';
import type { Status } from '../../core/protocol/frames.ts';
import type { Roster, RosterChange, RosterDiff } from './roster.ts';

/** The only process. */
const self = 'self';

export class MemoryRoster implements Roster {
  readonly #rooms = new Map<string, Map<string, string>>();
  readonly #users = new Map<string, string>();

  listen(): void {
    // Nobody else can die, and nothing is forgotten.
  }

  update(room: string, changes: readonly RosterChange[]): RosterDiff {
    const users = this.#rooms.get(room) ?? new Map<string, string>();
    const changed = applyChanges(users, changes);
    if (users.size === 0) this.#rooms.delete(room);
    else this.#rooms.set(room, users);
    return { count: users.size, changed };
  }

  async list(room: string, limit: number): Promise<RosterDiff> {
    const users = this.#rooms.get(room) ?? new Map<string, string>();
    const changed = [...users].slice(0, limit).map(([user, state]) => [user, statusOf(state)] as const);
    return { count: users.size, changed };
  }

  updateUsers(changes: readonly RosterChange[]): void {
    applyChanges(this.#users, changes);
  }

  async statuses(users: readonly string[]): Promise<readonly Status[]> {
    return users.map((user) => statusOf(this.#users.get(user) ?? null));
  }

  async close(): Promise<void> {
    // It ends with the process.
  }
}

function applyChanges(users: Map<string, string>, changes: readonly RosterChange[]): [string, Status][] {
  const changed: [string, Status][] = [];
  for (const { user, place } of changes) {
    const before = users.get(user) ?? null;
    const after = mergePlace(before, self, place);
    if (after === null) users.delete(user);
    else users.set(user, after);
    if (statusOf(before) !== statusOf(after)) changed.push([user, statusOf(after)]);
  }
  return changed;
}
