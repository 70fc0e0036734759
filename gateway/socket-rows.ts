// What the store shows of the sockets open now (user_sessions): a row for each, with the last heartbeat of its process,
// written in batches. For operators and later issues; nothing in the gateway reads it. Made by main.ts.

import type { Clock, Random } from '../core/clock.ts';
import type { Logger } from './logger.ts';
import type { Socket } from './socket.ts';
import type { SocketRow, Store } from './store/store.ts';

/** Opened and closed sockets are gathered this long. */
const gatherMs = 1000;
/** Rows of one batch. */
const batchMax = 1000;
/** A socket's row is written again after this part of SESSION_TTL_SECONDS, but at least so often. */
const heartbeatShare = 1 / 4;
const heartbeatMsMax = 15 * 60_000;
/** Old rows are looked for this often. */
const forgetMs = 60_000;
/** Rows that wait while the store is away; then the oldest are not written. */
const waitingMax = 100_000;

export interface SocketRowsParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly server: string;
  readonly ttlSeconds: number;
}

interface Known {
  readonly id: string;
  readonly connectedAt: number;
}

export class SocketRows {
  readonly #parts: SocketRowsParts;
  readonly #known = new Map<Socket, Known>();
  #waiting = new Map<string, SocketRow>();
  #writing: Promise<void> = Promise.resolve();

  constructor(parts: SocketRowsParts) {
    this.#parts = parts;
    const { clock, ttlSeconds } = parts;
    clock.every(gatherMs, () => void this.flush());
    clock.every(Math.min(ttlSeconds * 1000 * heartbeatShare, heartbeatMsMax), () => this.#beat());
    clock.every(forgetMs, () => void this.#forget());
  }

  opened(socket: Socket): void {
    const { random, clock } = this.#parts;
    const known = { id: Buffer.from(random.bytes(16)).toString('hex'), connectedAt: clock.now() };
    this.#known.set(socket, known);
    this.#add(socket, known, false);
  }

  closed(socket: Socket): void {
    const known = this.#known.get(socket);
    if (known === undefined) return;
    this.#known.delete(socket);
    this.#add(socket, known, true);
  }

  #add(socket: Socket, { id, connectedAt }: Known, gone: boolean): void {
    if (this.#waiting.size >= waitingMax) return;
    const { server, clock } = this.#parts;
    const heartbeatAt = clock.now();
    this.#waiting.set(id, { socket: id, user: socket.user.id, server, connectedAt, heartbeatAt, gone });
  }

  #beat(): void {
    for (const [socket, known] of this.#known) this.#add(socket, known, false);
  }

  /** Writes what is gathered, one batch at a time; what cannot be written is tried again. */
  flush(): Promise<void> {
    if (this.#waiting.size > 0) this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    const rows = [...this.#waiting.values()];
    this.#waiting = new Map();
    for (let i = 0; i < rows.length; i += batchMax) {
      try {
        await this.#parts.store.saveSockets(rows.slice(i, i + batchMax));
      } catch (err) {
        this.#parts.logger.debug(
          { err, rows: rows.length - i },
          'sockets could not be written; trying again',
        );
        for (const row of rows.slice(i))
          if (!this.#waiting.has(row.socket)) this.#waiting.set(row.socket, row);
        return;
      }
    }
  }

  /** Rows of processes that died stay until their time is over. */
  async #forget(): Promise<void> {
    const { store, clock, ttlSeconds, logger } = this.#parts;
    try {
      await store.forgetSockets(clock.now() - ttlSeconds * 1000);
    } catch (err) {
      logger.debug({ err }, 'old sockets could not be removed');
    }
  }

  /** At the end of a drain. */
  async close(): Promise<void> {
    for (const socket of [...this.#known.keys()]) this.closed(socket);
    await this.flush();
  }
}
