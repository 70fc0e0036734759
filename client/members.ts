// Who belongs to a room and how far each has got and read it, and from that how many have got and read a message. Pure:
// lists, events and receipts go in. Used by room.ts; the timeline asks it for the state of own messages.

import { receiptRowsMembersMax } from '../core/protocol/limits.ts';
import type { Meta, ReceiptsFrame, Role, RoomEvent } from './frames.ts';

export interface Member {
  readonly user: string;
  readonly role: Role;
  readonly muted: boolean;
  /** Unix time in ms. */
  readonly joinedAt: number;
  /** Everything up to this seq has reached one of his devices. */
  readonly delivered: number;
  /** Everything up to this seq was seen. */
  readonly read: number;
}

/** How many of a message's recipients have it. */
export interface Reach {
  /** Everyone but the author who was a member then; 0 where that is not known. */
  readonly recipients: number;
  readonly delivered: number;
  readonly read: number;
}

/** A range of seqs whose messages may have another reach now. */
export interface SeqRange {
  readonly after: number;
  readonly upTo: number;
}

export const unknownReach: Reach = { recipients: 0, delivered: 0, read: 0 };
const everything: SeqRange = { after: 0, upTo: Number.MAX_SAFE_INTEGER };

export class Members {
  /** Null until they are loaded. */
  #byUser: Map<string, Member> | null = null;
  #list: readonly Member[] | null = null;
  /** Marks that came before the list did: the list may be older. */
  #early = new Map<string, readonly [number, number]>();
  /** More than one page, or more than marks are counted for. */
  #isPartial = false;

  /** By user id; the same array until something changes. Null until loaded. */
  get list(): readonly Member[] | null {
    this.#list ??= this.#byUser && [...this.#byUser.values()];
    return this.#list;
  }

  /** The first page of the list; `isPartial` where there is another one. */
  load(members: readonly Member[], isPartial: boolean): SeqRange {
    const known = this.#byUser;
    this.#byUser = new Map();
    for (const member of members) {
      const before = known?.get(member.user);
      const [delivered, read] = this.#early.get(member.user) ?? [before?.delivered ?? 0, before?.read ?? 0];
      const marks = {
        delivered: Math.max(member.delivered, delivered),
        read: Math.max(member.read, read),
      };
      this.#byUser.set(member.user, { ...member, ...marks });
    }
    this.#early.clear();
    this.#isPartial = isPartial;
    this.#list = null;
    return everything;
  }

  /** What is known may be old: marks that come from now on count against the list that is on its way. */
  clear(): void {
    this.#byUser = null;
    this.#list = null;
    this.#early.clear();
  }

  onReceipts({ marks }: ReceiptsFrame): SeqRange | null {
    let after = Number.MAX_SAFE_INTEGER;
    let upTo = 0;
    for (const [user, delivered, read] of marks) {
      const member = this.#byUser?.get(user);
      if (!member) {
        if (this.#early.size < receiptRowsMembersMax) this.#early.set(user, [delivered, read]);
        continue;
      }
      const moved = {
        ...member,
        delivered: Math.max(member.delivered, delivered, read),
        read: Math.max(member.read, read),
      };
      if (moved.delivered === member.delivered && moved.read === member.read) continue;
      this.#byUser?.set(user, moved);
      after = Math.min(after, moved.read > member.read ? member.read : member.delivered);
      upTo = Math.max(upTo, moved.delivered);
    }
    if (upTo === 0) return null;
    this.#list = null;
    return { after, upTo };
  }

  /** Whether the event changed who belongs to the room. */
  onEvent(event: RoomEvent<'user_joined' | 'user_left'>): boolean {
    if (!this.#byUser) return false;
    if (event.name === 'user_left') {
      if (!this.#byUser.delete(event.user)) return false;
    } else {
      const known = this.#byUser.get(event.user);
      const joined = { muted: false, joinedAt: event.ts, delivered: 0, read: 0, ...known };
      this.#byUser.set(event.user, { ...joined, user: event.user, role: event.role });
    }
    this.#list = null;
    return true;
  }

  /** The fields of room_updated: a member's role or voice may be among them. */
  onUpdate({ member }: Meta): boolean {
    const { user, role, muted } = (member ?? {}) as Partial<Member>;
    const known = this.#byUser?.get(user ?? '');
    if (!known) return false;
    this.#byUser?.set(known.user, { ...known, role: role ?? known.role, muted: muted ?? known.muted });
    this.#list = null;
    return true;
  }

  /** Who sends has read what is before it. */
  onMessage({ from, seq }: RoomEvent<'message'>): SeqRange | null {
    const member = this.#byUser?.get(from);
    if (!member || member.read >= seq) return null;
    this.#byUser?.set(from, { ...member, delivered: seq, read: seq });
    this.#list = null;
    return { after: member.read, upTo: seq };
  }

  /** Of the message at `seq`, sent at `ts`. In rooms beyond 256 members nobody counts. */
  reach(author: string, seq: number, ts: number): Reach {
    if (!this.#byUser || this.#isPartial || this.#byUser.size > receiptRowsMembersMax) return unknownReach;
    let recipients = 0;
    let delivered = 0;
    let read = 0;
    for (const member of this.#byUser.values()) {
      if (member.user === author || member.joinedAt > ts) continue;
      recipients++;
      if (member.delivered >= seq) delivered++;
      if (member.read >= seq) read++;
    }
    return { recipients, delivered, read };
  }
}
