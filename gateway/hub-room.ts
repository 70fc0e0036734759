// One active room of this process: its record, head, ring, cached members and subscriptions. State with the small rules
// that keep it consistent; hub.ts feeds it events, handlers read it.

import { Lru } from '../core/lru.ts';
import type { RoomEvent } from '../core/protocol/events.ts';
import { eventOps } from '../core/protocol/ops.ts';
import { applyChanges, type Member, type Room } from '../core/room.ts';
import type { Subscription } from './attach.ts';
import type { CacheCounts } from './metrics.ts';
import { Ring } from './ring.ts';
import type { Socket } from './socket.ts';

/** Memberships cached for a room. */
const membersCachedMax = 20_000;

export class HubRoom {
  readonly id: string;
  record: Room;
  epoch = 0;
  /** The last event published here. */
  head = 0;
  /** The highest seq heard of; above the head there is a hole, which is being filled. */
  wanted = 0;
  isFilling = false;
  /** Edits and deletes so far: pages that were read before one are not for readers who come after it. */
  changes = 0;
  readonly ring = new Ring();
  readonly subscriptions = new Map<Socket, Subscription>();
  /** Users and how they stand to the room; null: no member. Absent: not known here. */
  readonly #members: Lru<string, Member | null>;
  /** All member ids where there are few enough, for notifications. */
  memberIds: readonly string[] | null = null;
  isDeleted = false;
  #waiters: { readonly seq: number; readonly resolve: () => void }[] = [];

  constructor(record: Room, memberCounts: CacheCounts) {
    this.id = record.id;
    this.record = record;
    this.#members = new Lru(membersCachedMax, memberCounts);
  }

  /** Undefined where it has to be read first. */
  member(user: string): Member | null | undefined {
    return this.#members.get(user);
  }

  /** Member ids as they were read, with what events have told since: the store may not have those yet. */
  withKnownMembers(ids: readonly string[]): readonly string[] {
    const known = new Set(ids);
    for (const [user, member] of this.#members.entries()) {
      if (member === null) known.delete(user);
      else known.add(user);
    }
    return [...known];
  }

  /** Keeps what was read, unless an event was faster. */
  learnMember(user: string, member: Member | null): void {
    if (this.#members.has(user)) return;
    this.#members.set(user, member);
  }

  /** Settles when the head has reached `seq`. */
  waitFor(seq: number): Promise<void> {
    return new Promise((resolve) => this.#waiters.push({ seq, resolve }));
  }

  /** Lets those go on whose event is here, or all of them. */
  settleWaiters(isEnded = false): void {
    if (this.#waiters.length === 0) return;
    const reached = this.#waiters.filter(({ seq }) => isEnded || seq <= this.head);
    this.#waiters = this.#waiters.filter((waiter) => !reached.includes(waiter));
    for (const { resolve } of reached) resolve();
  }

  /** Folds an event into ring, members and record. */
  apply(event: RoomEvent): void {
    switch (event.op) {
      case eventOps.message_edited:
      case eventOps.message_deleted:
        this.ring.fold(event);
        this.changes++;
        break;
      case eventOps.user_joined:
        this.#members.set(event.user, { role: event.role, muted: event.muted, joinedAt: event.ts });
        this.memberIds = null;
        break;
      case eventOps.user_left:
        this.#members.set(event.user, null);
        this.memberIds = null;
        break;
      case eventOps.room_updated: {
        this.record = applyChanges(this.record, event.changed);
        const { member } = event.changed;
        const known = member && this.#members.get(member.user);
        // Of somebody unknown it is kept as well: what is read meanwhile may be older.
        if (member && known === undefined) {
          this.#members.set(member.user, { role: member.role, muted: member.muted, joinedAt: event.ts });
        } else if (member && known)
          this.#members.set(member.user, { ...known, role: member.role, muted: member.muted });
        if (event.changed.deleted) this.isDeleted = true;
        break;
      }
      case eventOps.epoch_started:
        this.epoch = event.epoch;
        break;
      case eventOps.message:
      case eventOps.reaction:
        break;
    }
  }
}
