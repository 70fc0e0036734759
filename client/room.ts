// One room as an application sees it: subscribe or join, hear its events, send, and read what `timeline`, `presence` and
// `typing` say. Keeps itself subscribed over every reconnect. Made by Connection.room, which feeds it frames.

import type { EventOpName } from '../core/protocol/ops.ts';
import { jitterDelay } from './backoff.ts';
import { soon } from './clock.ts';
import { Emitter } from './emitter.ts';
import { ParleyError, retryOf } from './errors.ts';
import type {
  Content,
  PresenceFrame,
  ReceiptsFrame,
  RemovedFrame,
  Role,
  RoomEvent,
  Status,
  TypingFrame,
  UnknownEvent,
} from './frames.ts';
import { type HistoryCursor, type HistoryPage, toPage } from './history.ts';
import { EventIterator, type RoomIterator } from './iterator.ts';
import type { Link } from './link.ts';
import { type Member, Members, type SeqRange } from './members.ts';
import { type Draft, Outbox, type Sending, type Sent } from './outbox.ts';
import type { KeptMessage } from './outbox-store.ts';
import { mergePresence, nobody, type Presence, presenceOf } from './presence.ts';
import { EventStream, type NumberedEvent } from './stream.ts';
import { Timeline, type TimelineItem, type TimelineMessage } from './timeline.ts';
import { TypingSender, TypingUsers } from './typing.ts';
import type { Profile } from './users.ts';
import { Watermark } from './watermark.ts';

/** What `room.on` tells, by name. Events of the room come once each and in order. */
export type RoomEvents = { readonly [Name in EventOpName]: RoomEvent<Name> } & {
  /** Somebody else types, or does not any more. */
  readonly typing: TypingFrame;
  /** How far members have got and read. */
  readonly receipts: ReceiptsFrame;
  /** Who came, went or is away, and how many are online. */
  readonly presence: PresenceFrame;
  /** Continuity was lost: what was heard before may be incomplete. The items read themselves again. */
  readonly reset: null;
  /** Not subscribed any more: left, kicked, banned, deleted, or not found. */
  readonly removed: string;
  /** Something that the getters say differs; at most once a turn. */
  readonly change: null;
};

/** `attaching` while (re)subscribing, also offline; `gone` when it may not be read (any more). */
export type RoomStatus = 'idle' | 'attaching' | 'live' | 'gone';

const pageEvents = 100;
/** What a room that is not open keeps of what it hears. */
const closedItemsMax = 50;
/** Pages are read until so many messages came, or so many pages. */
const olderMessages = 30;
const olderPagesMax = 5;
/** Members that are listed; a larger room is known by its first ones. */
const membersMax = 1000;
/** After a reconnect everybody's list is old at the same time: each asks for it within this time. */
const reloadSpreadMs = 5000;

export type RoomFrame = RoomEvent | UnknownEvent | TypingFrame | ReceiptsFrame | PresenceFrame | RemovedFrame;

/** A member as the list over HTTP has him. */
interface ListedMember extends Omit<Profile, 'id'> {
  readonly user: string;
  readonly role: Role;
  readonly muted: boolean;
  readonly joined_at: string;
  readonly delivered_seq?: number;
  readonly read_seq?: number;
}

function toMember({ user, role, muted, joined_at, delivered_seq, read_seq }: ListedMember): Member {
  return {
    user,
    role,
    muted,
    joinedAt: Date.parse(joined_at),
    delivered: delivered_seq ?? 0,
    read: read_seq ?? 0,
  };
}

export class Room extends Emitter<RoomEvents> {
  readonly id: string;
  readonly #link: Link;
  readonly #members = new Members();
  readonly #timeline: Timeline;
  readonly #stream: EventStream;
  readonly #outbox: Outbox;
  readonly #typingSender: TypingSender;
  readonly #typingUsers: TypingUsers;
  readonly #delivered: Watermark;
  readonly #read: Watermark;
  readonly #iterators = new Set<EventIterator>();
  #presence: Presence = nobody;
  #status: RoomStatus = 'idle';
  #attempt = 0;
  #loading: Promise<void> | null = null;
  /** How many want history, members and presence, not only what happens from now on. */
  #openings = 0;
  /** The last event that listeners were told of. */
  #told = 0;
  /** Since the last reset no page of history has come. */
  #needsFirstPage = true;
  #isChangePending = false;
  #cancelRetry: (() => void) | null = null;
  #cancelMembers: (() => void) | null = null;

  constructor(id: string, link: Link) {
    super();
    this.id = id;
    this.#link = link;
    this.#timeline = new Timeline(({ from, seq, ts }) =>
      from === link.user ? this.#members.reach(from, seq, ts) : null,
    );
    this.#stream = new EventStream({
      deliver: (event) => this.#deliver(event),
      onReset: (head) => this.#onReset(head),
      fetchAfter: (after) => this.history({ after }),
      onStuck: () => this.#attachLater(null),
    });
    this.#outbox = new Outbox({
      room: id,
      link,
      onChange: (pending) => this.#onPending(pending),
      onSent: (message, sent) => this.#onSent(message, sent),
    });
    this.#typingSender = new TypingSender(link.clock, (on) => link.tell('typing', id, on));
    this.#typingUsers = new TypingUsers(link.clock, (user, on) => this.#onTyping(user, on));
    this.#delivered = new Watermark(link, 'mark_delivered', id);
    this.#read = new Watermark(link, 'mark_read', id);
  }

  get status(): RoomStatus {
    return this.#status;
  }

  /** Oldest first; the same array until something changes. */
  get items(): readonly TimelineItem[] {
    return this.#timeline.items;
  }

  get hasOlder(): boolean {
    return this.#timeline.hasOlder;
  }

  /** The last event heard, 0 before the first subscribe. */
  get head(): number {
    return this.#stream.cursor?.seq ?? 0;
  }

  get presence(): Presence {
    return this.#presence;
  }

  /** By user id, with roles and marks; null until they are loaded, which `open` does. At most the first 1,000. */
  get members(): readonly Member[] | null {
    return this.#members.list;
  }

  /** Others who type right now. */
  get typing(): readonly string[] {
    return this.#typingUsers.users;
  }

  /** Hears this room from now on, over every reconnect. */
  subscribe(): void {
    if (this.#status === 'attaching' || this.#status === 'live') return;
    this.#setStatus('attaching');
    this.#attach();
  }

  /**
   * Subscribes, and keeps the newest page of history, the members and who is there, until `close` was called as often.
   */
  open(): void {
    if (this.#openings++ > 0) return;
    if (this.#status === 'live') this.#load(0);
    else this.subscribe();
  }

  /** Nobody looks at it: new events are still heard, what they add up to is let go of. */
  close(): void {
    if (this.#openings === 0 || --this.#openings > 0) return;
    this.#cancelMembers?.();
    this.trim(closedItemsMax);
  }

  /**
   * `for await (const event of room)`: its events from now on, each once and in order; subscribes where that is not done.
   * A slow reader misses nothing: 1,000 events are buffered, more are read from history. Ends when the room is
   * unsubscribed, left or gone, or the connection closed. Several may run, each with all events.
   */
  [Symbol.asyncIterator](): RoomIterator {
    const iterator = new EventIterator(
      {
        room: this.id,
        clock: this.#link.clock,
        random: this.#link.random,
        fetchAfter: async (after) => {
          await this.#link.ready();
          return this.history({ after });
        },
        onReturn: () => this.#iterators.delete(iterator),
      },
      this.#stream.cursor?.seq ?? null,
    );
    if (this.#link.isStopped) iterator.end();
    else {
      this.#iterators.add(iterator);
      if (this.#status !== 'live') this.subscribe();
    }
    return iterator;
  }

  /** Stops hearing it. */
  unsubscribe(): void {
    if (this.#status === 'live') this.#link.tell('unsubscribe', this.id);
    this.#detach('idle');
  }

  /** Becomes a member and subscribes, once online; rejects with a ParleyError. */
  async join(): Promise<void> {
    for (;;) {
      await this.#link.ready();
      try {
        return await this.#joinNow();
      } catch (error) {
        // Joining twice is joining once.
        if (!(error instanceof ParleyError && error.code === 'DISCONNECTED')) throw error;
      }
    }
  }

  /** Stops being a member. */
  async leave(): Promise<void> {
    await this.#link.request('leave_room', this.id);
    this.#detach('idle');
  }

  /** Shows at once and is sent when it can be; `sent` holds when the server has acked. */
  send(draft: Draft | string): Sending {
    this.#typingSender.stop();
    return this.#outbox.add(typeof draft === 'string' ? { content: draft } : draft);
  }

  /** Sends a failed message again. */
  retry(id: string): void {
    this.#outbox.retry(id);
  }

  /** Forgets a failed message. */
  discard(id: string): void {
    this.#outbox.discard(id);
  }

  async edit(seq: number, content: Content): Promise<void> {
    await this.#link.request('edit_message', this.id, seq, content);
  }

  async delete(seq: number): Promise<void> {
    await this.#link.request('delete_message', this.id, seq);
  }

  async react(seq: number, emoji: string, on: boolean): Promise<void> {
    await this.#link.request('react', this.id, seq, emoji, on);
  }

  /** A key was pressed; repeats and ends by itself. */
  typed(): void {
    this.#typingSender.touch();
  }

  /** A user stopped without sending, as by clearing the field; what is sent ends it, too. */
  stoppedTyping(): void {
    this.#typingSender.stop();
  }

  /** Everything up to `seq` was seen; without it, all that was heard. */
  markRead(seq = this.head): void {
    this.#read.move(seq);
  }

  /** One page of the room's past: the newest, or where a cursor says. Rejects with a ParleyError. */
  async history(cursor: HistoryCursor = {}, limit = pageEvents): Promise<HistoryPage> {
    const { before = null, after = null } = cursor;
    return toPage(cursor, await this.#link.request('history', this.id, before, after, limit));
  }

  /** Reads an older page into `items`; calls that overlap share one. Rejects with a ParleyError. */
  loadOlder(): Promise<void> {
    this.#loading ??= this.#loadOlder().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  /** Reads who belongs to the room; `open` does it by itself. Rejects with a ParleyError. */
  async loadMembers(): Promise<void> {
    const path = `v1/rooms/${encodeURIComponent(this.id)}/members?limit=${membersMax}`;
    const { members } = (await this.#link.http('GET', path)) as { readonly members: readonly ListedMember[] };
    this.#link.users.learn(members.map((member) => ({ ...member, id: member.user })));
    this.#onReach(this.#members.load(members.map(toMember), members.length === membersMax));
  }

  /** Lets go of all but the newest items; they can be loaded again. */
  trim(count: number): void {
    if (this.items.length <= count) return;
    this.#timeline.trim(count);
    this.#changed();
  }

  /** Called by the connection: what was kept of this room over a reload, once. */
  restore(kept: readonly KeptMessage[]): void {
    this.#outbox.restore(kept);
  }

  /** Called by the connection: it is known now whose messages these are. */
  onUser(): void {
    this.#outbox.onUser();
    this.#onReach({ after: 0, upTo: Number.MAX_SAFE_INTEGER });
  }

  /** Called by the connection. */
  onOnline(): void {
    if (this.#status === 'attaching') this.#attach();
    this.#outbox.onOnline();
    this.#read.flush();
    this.#delivered.flush();
  }

  /** Called by the connection. */
  onOffline(): void {
    this.#cancelRetry?.();
    this.#cancelMembers?.();
    this.#stream.detach();
    this.#typingUsers.clear();
    if (this.#status === 'live') this.#setStatus('attaching');
  }

  /** Called by the connection: it will not come back. */
  onStopped(): void {
    this.onOffline();
    this.#endIterators();
    this.#outbox.onStopped();
  }

  /** Called by the connection, in the order of the socket. */
  onFrame(frame: RoomFrame): void {
    switch (frame.name) {
      case 'typing':
        if (frame.user !== this.#link.user) this.#typingUsers.set(frame.user, frame.on);
        break;
      case 'receipts':
        this.#onReach(this.#members.onReceipts(frame));
        this.emit('receipts', frame);
        break;
      case 'presence':
        this.#presence = mergePresence(this.#presence, frame.changes, frame.online);
        this.emit('presence', frame);
        this.#changed();
        break;
      case 'removed':
        this.#detach('gone');
        this.emit('removed', frame.reason);
        break;
      default:
        this.#stream.receive(frame);
    }
  }

  #joinNow(): Promise<void> {
    return new Promise((resolve, reject) => {
      const onOk = ([, epoch, head]: readonly unknown[]) => {
        this.#stream.attachAtHead(epoch as number, head as number);
        this.#delivered.allow();
        this.#read.allow();
        this.#onLive();
        resolve();
      };
      this.#link.ask('join_room', [this.id], onOk, reject);
    });
  }

  #attach(): void {
    this.#cancelRetry?.();
    if (!this.#link.isOnline) return;
    const { epoch = null, seq = null } = this.#stream.cursor ?? {};
    const onOk = (fields: readonly unknown[]) => {
      const [newEpoch, head, reset] = fields as [number, number, boolean];
      this.#stream.attach(newEpoch, head, reset);
      this.#onLive();
    };
    this.#link.ask('subscribe', [this.id, epoch, seq], onOk, (error) => this.#onRefused(error));
  }

  #onRefused(error: ParleyError): void {
    if (error.code === 'DISCONNECTED' || this.#status !== 'attaching') return;
    if (retryOf(error.code) !== 'never' || error.code === 'ROOM_FULL' || error.code === 'TOKEN_EXPIRED') {
      return this.#attachLater(error.retryAfterMs);
    }
    this.#detach('gone');
    this.emit('removed', error.code);
  }

  #attachLater(retryAfterMs: number | null): void {
    if (this.#status !== 'live' && this.#status !== 'attaching') return;
    this.#setStatus('attaching');
    const delay = Math.max(retryAfterMs ?? 0, jitterDelay(this.#attempt++, this.#link.random()));
    this.#cancelRetry?.();
    this.#cancelRetry = this.#link.clock.after(delay, () => this.#attach());
  }

  #onLive(): void {
    this.#attempt = 0;
    this.#cancelRetry?.();
    this.#setStatus('live');
    if (this.#openings === 0) return;
    const isFirst = this.#members.list === null;
    this.#load(isFirst ? 0 : this.#link.random() * reloadSpreadMs);
  }

  #load(membersDelayMs: number): void {
    const onOk = ([online, list]: readonly unknown[]) => {
      this.#presence = presenceOf(online as number, list as readonly [string, Status, number][]);
      this.#changed();
    };
    // Without it the room only shows nobody until somebody comes or goes.
    this.#link.ask('presence', [this.id], onOk, null);
    if (this.#needsFirstPage) this.#loadFirst();
    this.#loadMembersIn(membersDelayMs, 0);
  }

  #loadMembersIn(delayMs: number, attempt: number): void {
    this.#cancelMembers?.();
    this.#cancelMembers = this.#link.clock.after(delayMs, () => {
      this.loadMembers().catch((error: unknown) => {
        const isFinal = error instanceof ParleyError && retryOf(error.code) === 'never';
        if (isFinal || this.#openings === 0 || this.#status !== 'live') return;
        this.#loadMembersIn(jitterDelay(attempt + 1, this.#link.random()), attempt + 1);
      });
    });
  }

  #detach(status: 'idle' | 'gone'): void {
    this.#cancelRetry?.();
    this.#cancelMembers?.();
    this.#members.clear();
    this.#stream.detach();
    this.#typingUsers.clear();
    this.#presence = nobody;
    this.#endIterators();
    this.#setStatus(status);
  }

  #endIterators(): void {
    for (const iterator of this.#iterators) iterator.end();
    this.#iterators.clear();
  }

  #onReset(head: number): void {
    this.#timeline.start(head);
    this.#needsFirstPage = true;
    for (const iterator of this.#iterators) iterator.reset(head);
    // The first time nothing was heard that could be wrong.
    if (this.#told > 0) this.emit('reset', null);
    this.#told = Math.max(this.#told, head);
    this.#changed();
    if (this.#openings > 0 && this.#status === 'live') this.#loadFirst();
  }

  /** The newest page. Where it fails, the page offers to load older ones, which is the same. */
  #loadFirst(): void {
    this.loadOlder().catch(() => this.#changed());
  }

  async #loadOlder(): Promise<void> {
    let messages = 0;
    for (let pages = 0; pages < olderPagesMax && messages < olderMessages; pages++) {
      const { floor } = this.#timeline;
      if (floor === null || !this.#timeline.hasOlder) return;
      const page = await this.history({ before: floor });
      // Started anew while we waited: that page is not the one before the floor any more.
      if (this.#timeline.floor !== floor) continue;
      this.#timeline.addOlder(page);
      this.#needsFirstPage = false;
      this.#moveDelivered(page.events);
      messages += page.events.filter((event) => event.name === 'message').length;
      this.#changed();
    }
  }

  #deliver(event: NumberedEvent): void {
    if (event.name === 'user_joined' || event.name === 'user_left') this.#onMembership(event);
    else if (event.name === 'room_updated' && this.#members.onUpdate(event.changed)) this.#changed();
    else if (event.name === 'message') this.#onMessage(event);
    this.#timeline.add(event);
    if (this.#openings === 0 && this.items.length > 2 * closedItemsMax) this.#timeline.trim(closedItemsMax);
    this.#changed();
    for (const iterator of this.#iterators) iterator.push(event);
    // Some come again where a process that knows less took over.
    if (event.seq <= this.#told) return;
    this.#told = event.seq;
    if (event.name !== 'unknown') this.emit(event.name, event as never);
  }

  #onMessage(event: RoomEvent<'message'>): void {
    const moved = this.#members.onMessage(event);
    if (moved) this.#timeline.updateReach(moved);
    if (event.from !== this.#link.user) this.#typingUsers.set(event.from, false);
    this.#moveDelivered([event]);
  }

  /** What this user wrote himself moves his marks by itself. */
  #moveDelivered(events: readonly NumberedEvent[]): void {
    const last = events.filter((event) => event.name === 'message' && event.from !== this.#link.user).at(-1);
    if (last) this.#delivered.move(last.seq);
  }

  #onMembership(event: RoomEvent<'user_joined' | 'user_left'>): void {
    if (event.name === 'user_joined' && event.user === this.#link.user) {
      this.#delivered.allow();
      this.#read.allow();
    }
    if (this.#members.onEvent(event)) this.#onReach({ after: 0, upTo: event.seq });
  }

  #onReach(range: SeqRange | null): void {
    if (!range) return;
    this.#timeline.updateReach(range);
    this.#changed();
  }

  #onTyping(user: string, on: boolean): void {
    this.emit('typing', { name: 'typing', room: this.id, user, on });
    this.#changed();
  }

  #onPending(pending: readonly TimelineMessage[]): void {
    this.#timeline.setPending(pending);
    this.#changed();
  }

  /** Shown as sent at once; the event, before or after, says the same. */
  #onSent(message: TimelineMessage, { seq, ts, level }: Sent): void {
    const { floor } = this.#timeline;
    if (floor === null || seq < floor) return;
    const { from, key: id, type, content, meta } = message;
    this.#timeline.addSent({ name: 'message', seq, ts, room: this.id, from, id, type, content, meta }, level);
  }

  #setStatus(status: RoomStatus): void {
    this.#status = status;
    this.#changed();
  }

  #changed(): void {
    if (this.#isChangePending) return;
    this.#isChangePending = true;
    soon(() => {
      this.#isChangePending = false;
      this.emit('change', null);
    });
  }
}
