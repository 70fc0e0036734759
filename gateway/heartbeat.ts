// The heartbeat: a timer wheel over all sockets. Each socket is looked at once a heartbeat: pinged, closed where it was
// silent for two, told that its token expires, closed where it has. Made by main.ts.

import type { Clock } from '../core/clock.ts';
import type { ReadonlyPackedList } from '../core/packed-list.ts';
import { encodeNotification } from '../core/protocol/encode.ts';
import { tokenExpiringBeforeMs } from '../core/protocol/limits.ts';
import type { Socket } from './socket.ts';

/** Slots of the wheel: a heartbeat's work is spread over as many turns. */
const slots = 32;

export class Heartbeat {
  readonly #sockets: ReadonlyPackedList<Socket>;
  readonly #clock: Clock;
  readonly #intervalMs: number;
  #round: Socket[] = [];
  #slot = 0;

  constructor(sockets: ReadonlyPackedList<Socket>, clock: Clock, intervalMs: number) {
    this.#sockets = sockets;
    this.#clock = clock;
    this.#intervalMs = intervalMs;
    clock.every(intervalMs / slots, () => this.#turn());
  }

  #turn(): void {
    if (this.#slot === 0) this.#round = [...this.#sockets];
    const size = Math.ceil(this.#round.length / slots);
    const now = this.#clock.now();
    for (const socket of this.#round.slice(this.#slot * size, (this.#slot + 1) * size))
      this.#look(socket, now);
    this.#slot = (this.#slot + 1) % slots;
    if (this.#slot === 0) this.#round = [];
  }

  #look(socket: Socket, now: number): void {
    if (socket.engine === null) return;
    if (now - socket.lastHeard >= this.#intervalMs * 2) socket.close('silent');
    else if (socket.isExpired(now)) socket.close('token_expired');
    else {
      socket.engine.ping();
      if (!socket.isExpiryTold && now >= socket.expiresAt - tokenExpiringBeforeMs) {
        socket.isExpiryTold = true;
        const expiry = { expires_at: socket.expiresAt };
        socket.queue(encodeNotification('token_expiring', null, null, null, expiry));
      }
    }
  }
}
