// Typing in both directions: ours is repeated while it lasts and ended after the last key; others' ends by itself where
// the end was lost. Used by room.ts.

import { typingEndsAfterMs } from '../core/protocol/limits.ts';
import type { Clock } from './clock.ts';

const repeatMs = 3000;
const idleMs = 3000;
/** Who types at the same time, in one room. */
const usersMax = 100;
/** The server ends typing after 5 s; a little later we stop believing it as well. */
const believeMs = typingEndsAfterMs + 1000;

/** Tells the room that this user types. */
export class TypingSender {
  readonly #clock: Clock;
  readonly #send: (on: boolean) => void;
  #cancelIdle: (() => void) | null = null;
  #cancelRepeat: (() => void) | null = null;

  constructor(clock: Clock, send: (on: boolean) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  /** A key was pressed. */
  touch(): void {
    this.#cancelIdle?.();
    this.#cancelIdle = this.#clock.after(idleMs, () => this.stop());
    if (!this.#cancelRepeat) this.#say();
  }

  /** The message was sent, or given up. */
  stop(): void {
    if (!this.#cancelIdle) return;
    this.#cancelIdle();
    this.#cancelRepeat?.();
    this.#cancelIdle = null;
    this.#cancelRepeat = null;
    this.#send(false);
  }

  #say(): void {
    this.#send(true);
    this.#cancelRepeat = this.#clock.after(repeatMs, () => this.#say());
  }
}

/** Who types in a room. */
export class TypingUsers {
  readonly #clock: Clock;
  readonly #onChange: (user: string, on: boolean) => void;
  readonly #cancels = new Map<string, () => void>();

  constructor(clock: Clock, onChange: (user: string, on: boolean) => void) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  get users(): readonly string[] {
    return [...this.#cancels.keys()];
  }

  /** Users beyond `usersMax` are not shown: nobody reads so many names. */
  set(user: string, on: boolean): void {
    const cancel = this.#cancels.get(user);
    cancel?.();
    if (on && !cancel && this.#cancels.size >= usersMax) return;
    if (on)
      this.#cancels.set(
        user,
        this.#clock.after(believeMs, () => this.set(user, false)),
      );
    else this.#cancels.delete(user);
    if (on !== (cancel !== undefined)) this.#onChange(user, on);
  }

  clear(): void {
    for (const user of this.users) this.set(user, false);
  }
}
