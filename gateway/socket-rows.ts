// What the store shows of the sockets open now (user_sessions): a row for each, with the last heartbeat of its process,
// written in batches. For operators and later issues; nothing in the gateway reads it. Made by main.ts. Keeps nothing of
// a socket but that it waits to be written.

import { type Clock, gathering, type Random } from '../core/clock.ts';
import type { ReadonlyPackedList } from '../core/packed-list.ts';
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
/** Sockets that wait while the store is away; those that come then are not written before their next heartbeat. */
const waitingMax = 100_000;

export interface SocketRowsParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly server: string;
  readonly ttlSeconds: number;
  /** Those that are open. */
  readonly sockets: ReadonlyPackedList<Socket>;
}

export class SocketRows {
  readonly #parts: SocketRowsParts;
  /** Of this process: with a socket's number its row's id. */
  readonly #idPrefix: string;
  readonly #flushLater: () => void;
  #waiting = new Set<Socket>();
  #writing: Promise<void> = Promise.resolve();

  constructor(parts: SocketRowsParts) {
    this.#parts = parts;
    const { clock, ttlSeconds, random } = parts;
    this.#idPrefix = Buffer.from(random.bytes(12)).toString('hex');
    this.#flushLater = gathering(clock, gatherMs, () => void this.flush());
    clock.every(Math.min(ttlSeconds * 1000 * heartbeatShare, heartbeatMsMax), () => this.#beat());
    clock.every(forgetMs, () => void this.#forget());
  }

  /** It was opened or closed. */
  changed(socket: Socket): void {
    if (this.#waiting.size >= waitingMax) return;
    this.#waiting.add(socket);
    this.#flushLater();
  }

  #beat(): void {
    for (const socket of this.#parts.sockets) this.changed(socket);
  }

  #rowOf(socket: Socket, now: number, gone: boolean): SocketRow {
    const id = this.#idPrefix + socket.number.toString(16).padStart(8, '0');
    const { server } = this.#parts;
    const { openedAt: connectedAt } = socket;
    return { socket: id, user: socket.user.id, server, connectedAt, heartbeatAt: now, gone };
  }

  /** Writes what is gathered, one batch at a time; what cannot be written is tried again. */
  flush(): Promise<void> {
    if (this.#waiting.size > 0) this.#writing = this.#writing.then(() => this.#write(false));
    return this.#writing;
  }

  /** `isEnd`: all are gone, as the process goes. */
  async #write(isEnd: boolean): Promise<void> {
    const { store, clock, logger, sockets } = this.#parts;
    const waiting = [...this.#waiting];
    this.#waiting = new Set();
    for (let i = 0; i < waiting.length; i += batchMax) {
      const now = clock.now();
      const batch = waiting.slice(i, i + batchMax);
      try {
        await store.saveSockets(batch.map((each) => this.#rowOf(each, now, isEnd || !sockets.has(each))));
      } catch (err) {
        logger.debug({ err, rows: waiting.length - i }, 'sockets could not be written; trying again');
        for (const socket of waiting.slice(i)) this.changed(socket);
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
    this.#beat();
    await this.#writing;
    await this.#write(true);
  }
}
