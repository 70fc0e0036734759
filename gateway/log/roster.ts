// The roster seam: what all processes know together of who is in which room. memory-roster.ts (one process) and
// redis-roster.ts implement it. Entries belong to a process: when it dies, they go.

import type { Place } from '../../core/presence.ts';
import type { Status } from '../../core/protocol/frames.ts';

export interface RosterChange {
  readonly user: string;
  readonly place: Place;
}

/** A room after changes: users in it, and those whose status changed for everybody. */
export interface RosterDiff {
  readonly count: number;
  readonly changed: readonly (readonly [user: string, status: Status])[];
}

export interface RosterListener {
  /** Entries of a process that died were taken from a room. */
  onPruned(room: string, diff: RosterDiff): void;
  /** What this process had said may be lost: it has to say all of it again. */
  onForgotten(): void;
}

export interface Roster {
  listen(listener: RosterListener): void;
  /** What this process says of its users in a room. Rejects where it could not be told. */
  update(room: string, changes: readonly RosterChange[]): RosterDiff | Promise<RosterDiff>;
  /** How many users are in a room, and at most `limit` of them. Rejects with StoreUnavailable. */
  list(room: string, limit: number): Promise<RosterDiff>;
  /** What this process says of its users, whatever rooms they are in. */
  updateUsers(changes: readonly RosterChange[]): void;
  /** Statuses in the order asked for. Rejects with StoreUnavailable. */
  statuses(users: readonly string[]): Promise<readonly Status[]>;
  /** Takes everything back that this process has said; at the end of a drain. */
  close(): Promise<void>;
}
