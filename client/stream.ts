// The events of one room, each once and in order: drops what came before, holds what came too early and fills the hole
// with history, and says so where continuity is lost. Knows no socket: room.ts feeds it and asks it for the cursor.

import type { RoomEvent, UnknownEvent } from './frames.ts';
import type { HistoryPage } from './history.ts';

/** Where a client stands in a room; sent to resume. */
export interface Cursor {
  readonly epoch: number;
  readonly seq: number;
}

export type NumberedEvent = RoomEvent | UnknownEvent;

interface Parts {
  deliver(event: NumberedEvent): void;
  /** What was known of the room may be wrong or incomplete: it is to be read again, back from `head`. */
  onReset(head: number): void;
  fetchAfter(seq: number): Promise<HistoryPage>;
  /** A hole could not be filled: the room is to be subscribed again, with the cursor. */
  onStuck(): void;
}

/** Events held while a hole is filled. Beyond it they are let go, which ends in a reset. */
const heldMax = 1000;

export class EventStream {
  readonly #parts: Parts;
  #cursor: Cursor | null = null;
  #held: NumberedEvent[] = [];
  /** The fill that is under way; another one, or null, makes its result void. */
  #fill: symbol | null = null;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Null before the first attach. */
  get cursor(): Cursor | null {
    return this.#cursor;
  }

  /** After the `ok` of subscribe: what follows the cursor is replayed, unless `reset`. */
  attach(epoch: number, head: number, reset: boolean): void {
    this.detach();
    if (this.#cursor !== null && !reset && this.#cursor.epoch === epoch) return;
    this.#cursor = { epoch, seq: head };
    this.#parts.onReset(head);
  }

  /** After the `ok` of join_room, which replays nothing: live events start at `head` + 1. */
  attachAtHead(epoch: number, head: number): void {
    this.attach(epoch, head, false);
    if (this.#cursor !== null && this.#cursor.seq < head) void this.#fillHole(this.#cursor.epoch);
  }

  /** The socket is gone: what is held will be replayed. */
  detach(): void {
    this.#fill = null;
    this.#held = [];
  }

  receive(event: NumberedEvent): void {
    if (this.#cursor === null || event.seq <= this.#cursor.seq) return;
    if (this.#fill !== null) {
      if (this.#held.length >= heldMax) this.#held = [];
      this.#held.push(event);
    } else if (event.seq === this.#cursor.seq + 1 || event.name === 'epoch_started') {
      this.#take(event);
    } else {
      this.#held.push(event);
      void this.#fillHole(this.#cursor.epoch);
    }
  }

  #take(event: NumberedEvent): void {
    if (this.#cursor === null) return;
    const startsEpoch = event.name === 'epoch_started';
    this.#cursor = { epoch: startsEpoch ? event.epoch : this.#cursor.epoch, seq: event.seq };
    this.#parts.deliver(event);
    // Events that were delivered may be gone from the room.
    if (startsEpoch) this.#parts.onReset(event.seq);
  }

  /** Takes events that history gave or that were held; a hole that is still there cannot be filled any more. */
  #takeAll(events: readonly NumberedEvent[]): void {
    let hasHole = false;
    for (const event of events) {
      if (this.#cursor === null || event.seq <= this.#cursor.seq) continue;
      if (event.seq !== this.#cursor.seq + 1 && event.name !== 'epoch_started') hasHole = true;
      this.#take(event);
    }
    if (hasHole && this.#cursor !== null) this.#parts.onReset(this.#cursor.seq);
  }

  async #fillHole(epoch: number): Promise<void> {
    const fill = Symbol();
    this.#fill = fill;
    let more = true;
    while (more) {
      let page: HistoryPage;
      try {
        page = await this.#parts.fetchAfter(this.#cursor?.seq ?? 0);
      } catch {
        if (this.#fill !== fill) return;
        this.detach();
        this.#parts.onStuck();
        return;
      }
      if (this.#fill !== fill) return;
      this.#takeAll(page.events);
      // A new epoch has reset the room: what history still has will be read by paging back.
      more = page.more && page.events.length > 0 && this.#cursor?.epoch === epoch;
    }
    const held = this.#held;
    this.detach();
    this.#takeAll(held);
  }
}
