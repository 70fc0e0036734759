// Who types where: at most one `typing` a second per user and room, ended by itself after five. Never logged or stored.
// Called by the typing handler, and when a user's message or departure ends it.

import { type Clock, gathering } from '../core/clock.ts';
import { encodeTyping } from '../core/protocol/encode.ts';
import { typingEndsAfterMs } from '../core/protocol/limits.ts';
import type { Log } from './log/log.ts';

/** Between two frames for the same user and room. */
const throttleMs = 1000;
/** How often ended ones are looked for, while somebody types. */
const sweepMs = 250;

interface Typist {
  readonly room: string;
  readonly user: string;
  /** False: stopped, and remembered until the throttle is over. */
  isOn: boolean;
  toldAt: number;
  endsAt: number;
  /** Switched on within the throttle and not told yet. */
  isWaiting: boolean;
}

export class Typing {
  readonly #typists = new Map<string, Typist>();
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #sweepLater: () => void;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
    this.#sweepLater = gathering(clock, sweepMs, () => this.#sweep());
  }

  start(room: string, user: string): void {
    const now = this.#clock.now();
    const key = keyOf(room, user);
    const typist = this.#typists.get(key);
    if (typist !== undefined && now - typist.toldAt < throttleMs) {
      typist.endsAt = now + typingEndsAfterMs;
      // Switched on again so soon: told when the throttle ends.
      typist.isWaiting = !typist.isOn;
      return;
    }
    this.#typists.set(key, {
      room,
      user,
      isOn: true,
      isWaiting: false,
      toldAt: now,
      endsAt: now + typingEndsAfterMs,
    });
    this.#sweepLater();
    this.#log.publishToRoom(room, encodeTyping(room, user, true));
  }

  /** Does nothing for who does not type. */
  stop(room: string, user: string): void {
    if (this.#typists.size === 0) return;
    const typist = this.#typists.get(keyOf(room, user));
    if (typist !== undefined) typist.isWaiting = false;
    if (typist?.isOn) this.#end(typist);
  }

  #end(typist: Typist): void {
    typist.isOn = false;
    this.#log.publishToRoom(typist.room, encodeTyping(typist.room, typist.user, false));
  }

  #sweep(): void {
    const now = this.#clock.now();
    for (const [key, typist] of this.#typists) {
      if (typist.isOn && typist.endsAt <= now) this.#end(typist);
      if (typist.isOn || typist.toldAt + throttleMs > now) continue;
      this.#typists.delete(key);
      if (typist.isWaiting) this.start(typist.room, typist.user);
    }
    if (this.#typists.size > 0) this.#sweepLater();
  }
}

function keyOf(room: string, user: string): string {
  return `${room} ${user}`;
}
