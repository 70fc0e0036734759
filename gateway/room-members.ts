// Who is in one active room, as far as this process knows: memberships that were asked for, and the list of all ids where
// it was read. A part of HubRoom; kept true by the room's events, and never the last word: the store is.

import { Lru } from '../core/lru.ts';
import type { RoomEvent } from '../core/protocol/events.ts';
import { eventOps } from '../core/protocol/ops.ts';
import type { Member } from '../core/room.ts';
import type { CacheCounts } from './metrics.ts';

/** Memberships kept for a room; who was not asked for longest is forgotten, and looked up again when needed. */
export const membersCachedMax = 20_000;

export class RoomMembers {
  /** Users and how they stand to the room; null: no member. Absent: not known here. */
  readonly #members: Lru<string, Member | null>;
  /** All ids, or null where they have to be read. */
  ids: readonly string[] | null = null;

  constructor(counts: CacheCounts) {
    this.#members = new Lru(membersCachedMax, counts);
  }

  /** Null: no member. Undefined: not known here, which says nothing. */
  get(user: string): Member | null | undefined {
    return this.#members.get(user);
  }

  /** Keeps what was read, unless an event was faster. */
  learn(user: string, member: Member | null): void {
    if (!this.#members.has(user)) this.#members.set(user, member);
  }

  /** Ids as they were read, with what events have told since: the store may not have those yet. */
  withKnown(ids: readonly string[]): readonly string[] {
    const known = new Set(ids);
    for (const [user, member] of this.#members.entries()) {
      if (member === null) known.delete(user);
      else known.add(user);
    }
    return [...known];
  }

  apply(event: RoomEvent): void {
    if (event.op === eventOps.user_joined) {
      this.#members.set(event.user, { role: event.role, muted: event.muted, joinedAt: event.ts });
      this.ids = null;
    } else if (event.op === eventOps.user_left) {
      this.#members.set(event.user, null);
      this.ids = null;
    } else if (event.op === eventOps.room_updated && event.changed.member) {
      const { user, role, muted } = event.changed.member;
      const known = this.#members.get(user);
      // Of somebody unknown it is kept as well: what is read meanwhile may be older. Who has left stays away.
      if (known !== null) this.#members.set(user, { joinedAt: event.ts, ...known, role, muted });
    }
  }
}
