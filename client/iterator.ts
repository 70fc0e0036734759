// `for await (const event of room)`: the events of a room from now on, each once and in order, for a reader that takes
// its time. What does not fit in the buffer is read from history when its turn comes, so that a slow reader costs a bounded
// buffer and misses nothing. Made by room.ts, which feeds and ends it.

import { jitterDelay } from './backoff.ts';
import type { Clock } from './clock.ts';
import { ParleyError, retryOf } from './errors.ts';
import type { RoomEvent } from './frames.ts';
import type { HistoryPage } from './history.ts';
import type { NumberedEvent } from './stream.ts';

/** Events that wait for the reader; beyond it they wait on the server. */
const bufferMax = 1000;

/** Continuity was lost: some of what came before may be void, as after a fault of the server. What follows is whole. */
export interface ResetEvent {
  readonly name: 'reset';
  readonly room: string;
}

/** Ends when the room is unsubscribed, left or gone, or the connection is closed. */
export type RoomIterator = AsyncIterableIterator<RoomEvent | ResetEvent, undefined>;

interface Parts {
  readonly room: string;
  readonly clock: Clock;
  readonly random: () => number;
  /** Resolves once it may work. */
  fetchAfter(seq: number): Promise<HistoryPage>;
  onReturn(iterator: EventIterator): void;
}

type Step = IteratorResult<RoomEvent | ResetEvent, undefined>;

const over: Step = { value: undefined, done: true };
/** Pages without anything new, one after the other, before what was heard counts as gone. */
const emptyPagesMax = 5;

export class EventIterator implements RoomIterator {
  readonly #parts: Parts;
  #buffer: (RoomEvent | ResetEvent)[] = [];
  /** The seq of the last event that was buffered; null before the room is attached. */
  #last: number | null;
  /** The newest seq that is known to be there. */
  #newest = 0;
  /** Events after `last` were not buffered: they are read from history. */
  #isBehind = false;
  #isEnded = false;
  /** The calls of `next` take turns. */
  #turn: Promise<unknown> = Promise.resolve();
  #wake: (() => void) | null = null;
  #attempt = 0;
  #emptyPages = 0;

  constructor(parts: Parts, last: number | null) {
    this.#parts = parts;
    this.#last = last;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Step> {
    const turn = this.#turn.then(() => this.#take());
    this.#turn = turn;
    return turn;
  }

  /** Called by `for await` at `break`. */
  return(): Promise<Step> {
    this.#buffer = [];
    this.end();
    this.#parts.onReturn(this);
    return Promise.resolve(over);
  }

  push(event: NumberedEvent): void {
    this.#newest = Math.max(this.#newest, event.seq);
    if (this.#last !== null && event.seq <= this.#last) return;
    if (this.#buffer.length >= bufferMax) this.#isBehind = true;
    if (this.#isBehind) return;
    this.#keep(event);
    this.#wakeUp();
  }

  /** The room goes on from `head`, which is not where it was. */
  reset(head: number): void {
    this.#newest = Math.max(this.#newest, head);
    if (this.#last === null) this.#last = head;
    else {
      this.#keepReset();
      if (head > this.#last) this.#isBehind = true;
    }
    this.#wakeUp();
  }

  /** What is buffered is still taken, then it is over. */
  end(): void {
    this.#isEnded = true;
    this.#wakeUp();
  }

  #keep(event: NumberedEvent): void {
    this.#last = event.seq;
    if (event.name !== 'unknown') this.#buffer.push(event);
  }

  #keepReset(): void {
    if (this.#buffer.at(-1)?.name !== 'reset') this.#buffer.push({ name: 'reset', room: this.#parts.room });
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = null;
  }

  async #take(): Promise<Step> {
    for (;;) {
      const value = this.#buffer.shift();
      if (value) return { value, done: false };
      if (this.#isEnded) return over;
      if (this.#isBehind) await this.#catchUp(this.#last ?? 0);
      else await this.#woken(null);
    }
  }

  /** One page of what was not buffered; the buffer is empty then. */
  async #catchUp(last: number): Promise<void> {
    try {
      const { events } = await this.#parts.fetchAfter(last);
      for (const event of events) if (event.seq > last) this.#keep(event);
    } catch (error) {
      if (error instanceof ParleyError && retryOf(error.code) === 'never') return this.end();
      return this.#woken(jitterDelay(this.#attempt++, this.#parts.random()));
    }
    if (this.#last === last) {
      // The history of this moment ends before what was heard: it is late, or that is gone.
      if (++this.#emptyPages < emptyPagesMax) {
        return this.#woken(jitterDelay(this.#emptyPages, this.#parts.random()));
      }
      this.#last = this.#newest;
      this.#keepReset();
    }
    this.#attempt = 0;
    this.#emptyPages = 0;
    this.#isBehind = (this.#last ?? 0) < this.#newest;
  }

  /** Until something comes, or the time is over. */
  #woken(delayMs: number | null): Promise<void> {
    return new Promise((resolve) => {
      const cancel = delayMs === null ? null : this.#parts.clock.after(delayMs, resolve);
      this.#wake = () => {
        cancel?.();
        resolve();
      };
    });
  }
}
