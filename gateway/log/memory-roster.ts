// The roster of one process: implements roster.ts without anybody else to ask.

import type { Place } from '../../core/presence.ts';
import type { Status } from '../../core/protocol/frames.ts';
import type { Roster, RosterChange, RosterDiff } from './roster.ts';

/** Where users are: the only process says so. */
type Places = Map<string, Exclude<Place, null>>;

export class MemoryRoster implements Roster {
  readonly #rooms = new Map<string, Places>();
  readonly #users: Places = new Map();

  listen(): void {
    // Nobody else can die, and nothing is forgotten.
  }

  update(room: string, changes: readonly RosterChange[]): RosterDiff {
    const users = this.#rooms.get(room) ?? new Map();
    const changed = applyChanges(users, changes);
    if (users.size === 0) this.#rooms.delete(room);
    else this.#rooms.set(room, users);
    return { count: users.size, changed };
  }

  async list(room: string, limit: number): Promise<RosterDiff> {
    const users = this.#rooms.get(room) ?? new Map();
    const changed = [...users].slice(0, limit);
    return { count: users.size, changed };
  }

  updateUsers(changes: readonly RosterChange[]): void {
    applyChanges(this.#users, changes);
  }

  async statuses(users: readonly string[]): Promise<readonly Status[]> {
    return users.map((user) => this.#users.get(user) ?? 'offline');
  }

  async close(): Promise<void> {
    // It ends with the process.
  }
}

function applyChanges(users: Places, changes: readonly RosterChange[]): [string, Status][] {
  const changed: [string, Status][] = [];
  for (const { user, place } of changes) {
    const before = users.get(user) ?? null;
    if (place === null) users.delete(user);
    else users.set(user, place);
    if (before !== place) changed.push([user, place ?? 'offline']);
  }
  return changed;
}
