// One room as an application sees it: subscribe or join, hear its events, send, and read what `timeline`, `presence` and
// `typing` say. Keeps itself subscribed over every reconnect. Made by Connection.room, which feeds it frames.

import type { EventOpName } from '../core/protocol/ops.ts';
import { jitterDelay } from './backoff.ts';
import { Emitter } from './emitter.ts';
import { type ParleyError, retryOf } from './errors.ts';
import {
  type PresenceFrame,
  type ReceiptsFrame,
  type RemovedFrame,
  type RoomEvent,
  type Status,
  type TypingFrame,
  toEvent,
  type UnknownEvent,
} from './frames.ts';
import type { Link } from './link.ts';
import { type Draft, Outbox, type Sent } from './outbox.ts';
import { mergePresence, nobody, type Presence, presenceOf } from './presence.ts';
import { EventStream, type HistoryPage, type NumberedEvent } from './stream.ts';
import { Timeline, type TimelineItem, type TimelineMessage } from './timeline.ts';
import { TypingSender, TypingUsers } from './typing.ts';
import { Watermark } from './watermark.ts';

type RoomEvents = { readonly [Name in EventOpName]: RoomEvent<Name> } & {
  readonly receipts: ReceiptsFrame;
  /** Continuity was lost: what was heard before may be incomplete. The timeline reads itself again. */
  readonly reset: null;
  /** Not subscribed any more: left, kicked, banned, deleted, or not found. */
  readonly removed: string;
  /** The timeline, presence, typing or status differ; at most once a turn. */
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

export type RoomFrame = RoomEvent | UnknownEvent | TypingFrame | ReceiptsFrame | PresenceFrame | RemovedFrame;

export class Room extends Emitter<RoomEvents> {
  readonly id: string;
  readonly #link: Link;
  readonly #timeline = new Timeline();
  readonly #stream: EventStream;
  readonly #outbox: Outbox;
  readonly #typingSender: TypingSender;
  readonly #typingUsers: TypingUsers;
  readonly #delivered: Watermark;
  readonly #read: Watermark;
  #presence: Presence = nobody;
  #status: RoomStatus = 'idle';
  #attempt = 0;
  #loading: Promise<void> | null = null;
  #hadServerTime: boolean;
  /** Whether history and presence are wanted, not only what happens from now on. */
  #isOpen = false;
  /** Since the last reset no page of history has come. */
  #needsFirstPage = true;
  #isChangePending = false;
  #cancelRetry: (() => void) | null = null;

  constructor(id: string, link: Link) {
    super();
    this.id = id;
    this.#link = link;
    this.#hadServerTime = link.knowsServerTime;
    this.#stream = new EventStream({
      deliver: (event) => this.#deliver(event),
      onReset: (head) => this.#onReset(head),
      fetchAfter: (seq) => this.#history(null, seq),
      onStuck: () => this.#attachLater(null),
    });
    this.#outbox = new Outbox({
      room: id,
      link,
      onChange: (pending) => this.#onPending(pending),
      onSent: (message, sent) => this.#onSent(message, sent),
    });
    this.#typingSender = new TypingSender(link.clock, (on) => link.tell('typing', id, on));
    this.#typingUsers = new TypingUsers(link.clock, () => this.#changed());
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

  /** Subscribes, and keeps the newest page of history and who is there, until `close`. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    if (this.#status === 'live') this.#load();
    else this.subscribe();
  }

  /** Nobody looks at it: new events are still heard, what they add up to is let go of. */
  close(): void {
    this.#isOpen = false;
    this.trim(closedItemsMax);
  }

  /** Stops hearing it. */
  unsubscribe(): void {
    if (this.#status === 'live') this.#link.tell('unsubscribe', this.id);
    this.#detach('idle');
  }

  /** Becomes a member and subscribes; rejects with a ParleyError. */
  join(): Promise<void> {
    return new Promise((resolve, reject) => {
      const onOk = ([, epoch, head]: readonly unknown[]) => {
        this.#stream.attachAtHead(epoch as number, head as number);
        this.#onLive();
        resolve();
      };
      this.#link.ask('join_room', [this.id], onOk, reject);
    });
  }

  /** Stops being a member. */
  async leave(): Promise<void> {
    await this.#link.request('leave_room', this.id);
    this.#detach('idle');
  }

  /** Shows at once and is sent when it can be; `sent` holds when the server has acked. */
  send(draft: Draft | string): { readonly id: string; readonly sent: Promise<Sent> } {
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

  async edit(seq: number, content: string): Promise<void> {
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

  /** Everything up to `seq` was seen. */
  markRead(seq: number): void {
    this.#read.move(seq);
  }

  /** Reads an older page into `items`; calls that overlap share one. Rejects with a ParleyError. */
  loadOlder(): Promise<void> {
    this.#loading ??= this.#loadOlder().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  /** Lets go of all but the newest items; they can be loaded again. */
  trim(count: number): void {
    if (this.items.length <= count) return;
    this.#timeline.trim(count);
    this.#changed();
  }

  /** Called by the connection. */
  onOnline(): void {
    if (this.#status === 'attaching') this.#attach();
    this.#outbox.onOnline(this.#hadServerTime);
    this.#hadServerTime = true;
    this.#read.flush();
    this.#delivered.flush();
  }

  /** Called by the connection. */
  onOffline(): void {
    this.#cancelRetry?.();
    this.#stream.detach();
    this.#typingUsers.clear();
    if (this.#status === 'live') this.#setStatus('attaching');
  }

  /** Called by the connection: it will not come back. */
  onStopped(): void {
    this.onOffline();
    this.#outbox.onStopped();
  }

  /** Called by the connection, in the order of the socket. */
  onFrame(frame: RoomFrame): void {
    switch (frame.name) {
      case 'typing':
        if (frame.user !== this.#link.user) this.#typingUsers.set(frame.user, frame.on);
        break;
      case 'receipts':
        this.emit('receipts', frame);
        break;
      case 'presence':
        this.#presence = mergePresence(this.#presence, frame.changes, frame.online);
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
    if (this.#isOpen) this.#load();
  }

  #load(): void {
    const onOk = ([online, list]: readonly unknown[]) => {
      this.#presence = presenceOf(online as number, list as readonly [string, Status, number][]);
      this.#changed();
    };
    // Without it the room only shows nobody until somebody comes or goes.
    this.#link.ask('presence', [this.id], onOk, null);
    if (this.#needsFirstPage) this.#loadFirst();
  }

  #detach(status: 'idle' | 'gone'): void {
    this.#cancelRetry?.();
    this.#stream.detach();
    this.#typingUsers.clear();
    this.#presence = nobody;
    this.#setStatus(status);
  }

  #onReset(head: number): void {
    this.#timeline.start(head);
    this.#needsFirstPage = true;
    this.emit('reset', null);
    this.#changed();
    if (this.#isOpen && this.#status === 'live') this.#loadFirst();
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
      const page = await this.#history(floor, null);
      // Started anew while we waited: that page is not the one before the floor any more.
      if (this.#timeline.floor !== floor) continue;
      this.#timeline.addOlder(page);
      this.#needsFirstPage = false;
      messages += page.events.filter((event) => event.name === 'message').length;
      this.#changed();
    }
  }

  async #history(before: number | null, after: number | null): Promise<HistoryPage> {
    const answer = await this.#link.request('history', this.id, before, after, pageEvents);
    const [more, values] = answer as [boolean, readonly unknown[][]];
    const events = values.map(toEvent).filter((event) => event !== null);
    return { more, events };
  }

  #deliver(event: NumberedEvent): void {
    this.#timeline.add(event);
    if (!this.#isOpen && this.items.length > 2 * closedItemsMax) this.#timeline.trim(closedItemsMax);
    this.#changed();
    if (event.name === 'unknown') return;
    if (event.name === 'message' && event.from !== this.#link.user) {
      this.#typingUsers.set(event.from, false);
      this.#delivered.move(event.seq);
    }
    this.emit(event.name, event as never);
  }

  #onPending(pending: readonly TimelineMessage[]): void {
    this.#timeline.setPending(pending);
    this.#changed();
  }

  /** Shown as sent at once; the event, before or after, says the same. */
  #onSent(message: TimelineMessage, { seq, ts }: Sent): void {
    const { floor } = this.#timeline;
    if (floor === null || seq < floor || this.#timeline.message(seq)) return;
    const { from, key: id, type, content, meta } = message;
    this.#timeline.add({ name: 'message', seq, ts, room: this.id, from, id, type, content, meta });
  }

  #setStatus(status: RoomStatus): void {
    this.#status = status;
    this.#changed();
  }

  #changed(): void {
    if (this.#isChangePending) return;
    this.#isChangePending = true;
    queueMicrotask(() => {
      this.#isChangePending = false;
      this.emit('change', null);
    });
  }
}
