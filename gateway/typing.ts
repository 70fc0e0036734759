// Who types where: at most one `typing` a second per user and room, ended by itself after five. Never logged or stored.
// Called by the typing handler, and when a user's message or departure ends it.

import type { Clock } from '../core/clock.ts';
import { encodeTyping } from '../core/protocol/encode.ts';
import { typingEndsAfterMs } from '../core/protocol/limits.ts';
import type { Log } from './log/log.ts';

/** Between two frames for the same user and room. */
const throttleMs = 1000;
/** How often ended ones are looked for. */
const sweepMs = 250;

interface Typist {
  readonly room: string;
  readonly user: string;
  toldAt: number;
  endsAt: number;
}

export class Typing {
  readonly #typists = new Map<string, Typist>();
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
    clock.every(sweepMs, () => this.#sweep());
  }

  start(room: string, user: string): void {
    const now = this.#clock.now();
    const key = keyOf(room, user);
    const typist = this.#typists.get(key);
    if (typist !== undefined) {
      typist.endsAt = now + typingEndsAfterMs;
      if (now - typist.toldAt < throttleMs) return;
      typist.toldAt = now;
    } else this.#typists.set(key, { room, user, toldAt: now, endsAt: now + typingEndsAfterMs });
    this.#log.publishToRoom(room, encodeTyping(room, user, true));
  }

  /** Does nothing for who does not type. */
  stop(room: string, user: string): void {
    if (this.#typists.size > 0 && this.#typists.delete(keyOf(room, user))) {
      this.#log.publishToRoom(room, encodeTyping(room, user, false));
    }
  }

  #sweep(): void {
    const now = this.#clock.now();
    for (const { room, user, endsAt } of this.#typists.values()) if (endsAt <= now) this.stop(room, user);
  }
}

function keyOf(room: string, user: string): string {
  return `${room} ${user}`;
}
