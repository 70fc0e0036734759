// One active room of this process: its record, place in the order, ring and subscriptions. State with the small rules that
// keep it consistent; hub.ts feeds it events, handlers read it. Who is in it is kept by room-members.ts, who waits for an
// event by head-waiters.ts.

import type { Clock } from '../core/clock.ts';
import { PackedList } from '../core/packed-list.ts';
import type { RoomEvent } from '../core/protocol/events.ts';
import { eventOps } from '../core/protocol/ops.ts';
import { applyChanges, type Member, type Room } from '../core/room.ts';
import type { Subscription } from './attach.ts';
import { HeadWaiters } from './head-waiters.ts';
import type { CacheCounts } from './metrics.ts';
import { Ring } from './ring.ts';
import { RoomMembers } from './room-members.ts';

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
  readonly subscriptions = new PackedList<Subscription>();
  /** Subscriptions that ended so far. */
  departures = 0;
  isDeleted = false;
  readonly #members: RoomMembers;
  readonly #waiters = new HeadWaiters();

  constructor(record: Room, memberCounts: CacheCounts) {
    this.id = record.id;
    this.record = record;
    this.#members = new RoomMembers(memberCounts);
  }

  /** Null: no member. Undefined where it has to be read first. */
  member(user: string): Member | null | undefined {
    return this.#members.get(user);
  }

  learnMember(user: string, member: Member | null): void {
    this.#members.learn(user, member);
  }

  /** All member ids where there are few enough, for notifications; null where they have to be read. */
  get memberIds(): readonly string[] | null {
    return this.#members.ids;
  }

  set memberIds(ids: readonly string[] | null) {
    this.#members.ids = ids;
  }

  withKnownMembers(ids: readonly string[]): readonly string[] {
    return this.#members.withKnown(ids);
  }

  /** Settles when the event is here, or the room ends: true; or when the time is over: false. */
  waitFor(seq: number, clock: Clock, ms: number): Promise<boolean> {
    return this.#waiters.waitFor(seq, clock, ms);
  }

  /** Lets those go on whose event is here, or all of them. */
  settleWaiters(isEnded = false): void {
    this.#waiters.settle(isEnded ? Number.POSITIVE_INFINITY : this.head);
  }

  /** Folds an event into ring, members and record. */
  apply(event: RoomEvent): void {
    this.#members.apply(event);
    switch (event.op) {
      case eventOps.message_edited:
      case eventOps.message_deleted:
        this.ring.fold(event);
        this.changes++;
        break;
      case eventOps.room_updated:
        this.record = applyChanges(this.record, event.changed);
        if (event.changed.deleted) this.isDeleted = true;
        break;
      case eventOps.epoch_started:
        this.epoch = event.epoch;
        break;
      case eventOps.message:
      case eventOps.reaction:
      case eventOps.user_joined:
      case eventOps.user_left:
        break;
    }
  }
}
