// What a room shows: messages with edits, deletions, reactions and the receipts of own ones folded in, notices of who came
// and went, and at the end what is still being sent. Pure: events go in, in any order, any number of times, and the items are the same. An
// item whose content changes is a new object, so that a page compares by identity.

import type { ParleyError } from './errors.ts';
import type { Content, Meta, RoomEvent } from './frames.ts';
import type { HistoryPage } from './history.ts';
import { type Reach, type SeqRange, unknownReach } from './members.ts';
import type { NumberedEvent } from './stream.ts';

/** Of an own message; those of others are `sent`. In a group `delivered` and `read` mean everyone but the author. */
export type MessageState = 'sending' | 'sent' | 'delivered' | 'read' | 'failed';

export interface Reaction {
  readonly emoji: string;
  readonly users: readonly string[];
}

export interface TimelineMessage {
  readonly kind: 'message';
  /** The message id: the same from the first key to the last. */
  readonly key: string;
  /** Null until it is acked. */
  readonly seq: number | null;
  readonly ts: number;
  readonly from: string;
  readonly type: string;
  /** Null where it was deleted. */
  readonly content: Content | null;
  readonly meta: Meta | null;
  readonly isEdited: boolean;
  readonly reactions: readonly Reaction[];
  readonly state: MessageState;
  /** Of an own message that was acked here: how durable it is; see `Sent`. */
  readonly level: number | null;
  /** Of an own message: how many have got it, how many have read it, of how many; 0 of 0 where that is not known. */
  readonly reach: Reach;
  /** Why it is `failed`. */
  readonly error: ParleyError | null;
}

type NoticeEvent = RoomEvent<'user_joined' | 'user_left' | 'room_updated'>;

export interface TimelineNotice {
  readonly kind: 'notice';
  readonly key: string;
  readonly seq: number;
  readonly ts: number;
  readonly event: NoticeEvent;
}

export type TimelineItem = TimelineMessage | TimelineNotice;

/** A message of the room as it was sent, without what happened to it later. */
type Base = RoomEvent<'message'> | NoticeEvent;

/** What happened to a message. The last event of each kind wins; reactions by user and emoji. */
interface Changes {
  edit: { readonly seq: number; readonly content: Content } | null;
  isDeleted: boolean;
  readonly reactions: Map<string, RoomEvent<'reaction'>>;
}

/** Who has got and read an own message; null for a message of somebody else. */
type ReachOf = (message: RoomEvent<'message'>) => Reach | null;

export class Timeline {
  /** Sorted by seq. */
  #bases: Base[] = [];
  readonly #items = new Map<number, TimelineItem>();
  readonly #seqById = new Map<string, number>();
  /** By target, also of messages that are not loaded. */
  readonly #changes = new Map<number, Changes>();
  /** By message id, of those that were acked here and are loaded. */
  readonly #levels = new Map<string, number>();
  readonly #reachOf: ReachOf;
  #pending: readonly TimelineMessage[] = [];
  #floor: number | null = null;
  #hasOlder = true;
  #list: readonly TimelineItem[] | null = null;

  constructor(reachOf: ReachOf = () => null) {
    this.#reachOf = reachOf;
  }

  /** Oldest first. The same array until something changes. */
  get items(): readonly TimelineItem[] {
    this.#list ??= [
      ...this.#bases.map((base) => this.#items.get(base.seq) as TimelineItem),
      ...this.#pending.filter((message) => !this.#seqById.has(message.key)),
    ];
    return this.#list;
  }

  /** Everything from this seq on is here; null before `start`. */
  get floor(): number | null {
    return this.#floor;
  }

  get hasOlder(): boolean {
    return this.#hasOlder;
  }

  /** Forgets everything but what is being sent; what follows `head` comes live, the rest by `addOlder`. */
  start(head: number): void {
    this.#bases = [];
    this.#items.clear();
    this.#seqById.clear();
    this.#changes.clear();
    this.#levels.clear();
    this.#floor = head + 1;
    this.#hasOlder = true;
    this.#list = null;
  }

  add(event: NumberedEvent): void {
    if (event.name === 'unknown' || event.name === 'epoch_started') return;
    if (event.name === 'message' || isNotice(event)) this.#addBase(event);
    else this.#addChange(event);
    this.#list = null;
  }

  /** An own message that was acked, whether or not its event has come yet. */
  addSent(message: RoomEvent<'message'>, level: number): void {
    this.#levels.set(message.id, level);
    this.add(this.#baseAt(message.seq) ?? message);
  }

  /** The receipts of own messages in this range have changed; answers whether any item did. */
  updateReach({ after, upTo }: SeqRange): boolean {
    let isChanged = false;
    for (let i = this.#indexOf(after + 1); i < this.#bases.length; i++) {
      const base = this.#bases[i] as Base;
      if (base.seq > upTo) break;
      if (base.name !== 'message' || !this.#reachOf(base)) continue;
      const before = this.#items.get(base.seq) as TimelineMessage;
      const now = this.#foldMessage(base);
      if (sameReach(before, now)) continue;
      this.#items.set(base.seq, now);
      isChanged = true;
    }
    if (isChanged) this.#list = null;
    return isChanged;
  }

  /** A page that ends right before `floor`. */
  addOlder(page: HistoryPage): void {
    for (const event of page.events) this.add(event);
    this.#floor = page.events[0]?.seq ?? this.#floor;
    this.#hasOlder = page.more;
  }

  /** The messages being sent, in their order. */
  setPending(pending: readonly TimelineMessage[]): void {
    this.#pending = pending;
    this.#list = null;
  }

  /** The message of this seq, if it is loaded. */
  message(seq: number): TimelineMessage | null {
    const item = this.#items.get(seq);
    return item?.kind === 'message' ? item : null;
  }

  /** Lets go of all but the newest `count` items, so that a page that stays open does not grow for ever. */
  trim(count: number): void {
    const dropped = this.#bases.slice(0, Math.max(0, this.#bases.length - count));
    const last = dropped.at(-1);
    if (!last) return;
    this.#bases = this.#bases.slice(dropped.length);
    for (const base of dropped) {
      this.#items.delete(base.seq);
      if (base.name !== 'message') continue;
      this.#seqById.delete(base.id);
      this.#levels.delete(base.id);
    }
    this.#floor = this.#bases[0]?.seq ?? last.seq + 1;
    this.#forgetChanges(this.#floor);
    this.#hasOlder = true;
    this.#list = null;
  }

  /** Of messages before `floor`: only what an older page will not tell again has to stay. */
  #forgetChanges(floor: number): void {
    for (const [target, changes] of this.#changes) {
      if (target >= floor) continue;
      if (changes.edit && changes.edit.seq < floor) changes.edit = null;
      for (const [key, { seq }] of changes.reactions) if (seq < floor) changes.reactions.delete(key);
      // A deleted message comes without its content.
      if (!changes.edit && changes.reactions.size === 0) this.#changes.delete(target);
    }
  }

  #addBase(base: Base): void {
    let at = this.#bases.length;
    while (at > 0 && (this.#bases[at - 1] as Base).seq > base.seq) at--;
    if (this.#bases[at - 1]?.seq === base.seq) this.#bases[at - 1] = base;
    else this.#bases.splice(at, 0, base);
    if (base.name === 'message') this.#seqById.set(base.id, base.seq);
    this.#items.set(base.seq, this.#fold(base));
  }

  #addChange(event: RoomEvent<'message_edited' | 'message_deleted' | 'reaction'>): void {
    const changes = this.#changes.get(event.target) ?? { edit: null, isDeleted: false, reactions: new Map() };
    this.#changes.set(event.target, changes);
    if (event.name === 'message_deleted') changes.isDeleted = true;
    else if (event.name === 'reaction') {
      const key = `${event.from} ${event.emoji}`;
      if (event.seq > (changes.reactions.get(key)?.seq ?? 0)) changes.reactions.set(key, event);
    } else if (event.seq >= (changes.edit?.seq ?? 0) && event.content !== null) {
      changes.edit = { seq: event.seq, content: event.content };
    }
    const base = this.#baseAt(event.target);
    if (base) this.#items.set(base.seq, this.#fold(base));
  }

  #baseAt(seq: number): Base | null {
    const base = this.#bases[this.#indexOf(seq)];
    return base?.seq === seq ? base : null;
  }

  /** Of the first base from `seq` on. */
  #indexOf(seq: number): number {
    let low = 0;
    let high = this.#bases.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#bases[middle] as Base).seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #fold(base: Base): TimelineItem {
    if (base.name === 'message') return this.#foldMessage(base);
    const { seq, ts } = base;
    return { kind: 'notice', key: `notice ${seq}`, seq, ts, event: base };
  }

  #foldMessage(base: RoomEvent<'message'>): TimelineMessage {
    const { seq, ts } = base;
    const changes = this.#changes.get(seq);
    const isDeleted = changes?.isDeleted === true || base.content === null;
    const reach = this.#reachOf(base) ?? unknownReach;
    return {
      kind: 'message',
      key: base.id,
      seq,
      ts,
      from: base.from,
      type: base.type,
      content: isDeleted ? null : (changes?.edit?.content ?? base.content),
      meta: base.meta,
      isEdited: !isDeleted && changes?.edit != null,
      reactions: changes && !isDeleted ? foldReactions(changes.reactions.values()) : [],
      state: stateOf(reach),
      level: this.#levels.get(base.id) ?? null,
      reach,
      error: null,
    };
  }
}

function stateOf({ recipients, delivered, read }: Reach): MessageState {
  if (recipients === 0) return 'sent';
  if (read === recipients) return 'read';
  return delivered === recipients ? 'delivered' : 'sent';
}

function sameReach({ reach: a }: TimelineMessage, { reach: b }: TimelineMessage): boolean {
  return a.recipients === b.recipients && a.delivered === b.delivered && a.read === b.read;
}

function isNotice(event: RoomEvent): event is NoticeEvent {
  return event.name === 'user_joined' || event.name === 'user_left' || event.name === 'room_updated';
}

/** By emoji, in the order in which they first appeared. */
function foldReactions(events: Iterable<RoomEvent<'reaction'>>): readonly Reaction[] {
  const users = new Map<string, string[]>();
  for (const event of [...events].sort((a, b) => a.seq - b.seq)) {
    if (!event.on) continue;
    const list = users.get(event.emoji) ?? [];
    users.set(event.emoji, list);
    list.push(event.from);
  }
  return [...users].map(([emoji, list]) => ({ emoji, users: list }));
}
