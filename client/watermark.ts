// A delivered or read mark of one room: only moves forward, is sent at most once a second, and again after a reconnect
// where its answer did not come. Only members have marks: who is refused asks no more until he has joined. Used by
// room.ts, once for each kind.

import { retryOf } from './errors.ts';
import type { Link } from './link.ts';

const intervalMs = 1000;

export class Watermark {
  readonly #link: Link;
  readonly #op: 'mark_delivered' | 'mark_read';
  readonly #room: string;
  #wanted = 0;
  #accepted = 0;
  #isPaused = false;
  #isRefused = false;

  constructor(link: Link, op: 'mark_delivered' | 'mark_read', room: string) {
    this.#link = link;
    this.#op = op;
    this.#room = room;
  }

  /** Everything up to here was delivered, or read. */
  move(seq: number): void {
    if (seq <= this.#wanted) return;
    this.#wanted = seq;
    this.flush();
  }

  /** The user has become a member. */
  allow(): void {
    this.#isRefused = false;
    this.flush();
  }

  /** Sends what the server has not accepted yet. */
  flush(): void {
    if (this.#isPaused || this.#isRefused || !this.#link.isOnline || this.#wanted <= this.#accepted) return;
    const seq = this.#wanted;
    this.#isPaused = true;
    this.#link.clock.after(intervalMs, () => {
      this.#isPaused = false;
      if (this.#wanted > seq) this.flush();
    });
    const onOk = () => {
      this.#accepted = Math.max(this.#accepted, seq);
    };
    // Lost or refused for now: the next move, or the next connection, says it again.
    this.#link.ask(this.#op, [this.#room, seq], onOk, ({ code }) => {
      this.#isRefused = retryOf(code) === 'never' && code !== 'TOKEN_EXPIRED';
    });
  }
}
