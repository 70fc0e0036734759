// Gathers moves of delivered and read marks: a few times a second each room hears of them, the user's other sockets do,
// and the store gets them in one batch. Called by the mark handlers, and by sends, which move the sender's own marks.

import type { Clock } from '../core/clock.ts';
import { Lru } from '../core/lru.ts';
import { encodeNotification, encodeReceipts } from '../core/protocol/encode.ts';
import { type Marks, moveMarks, noMarks } from '../core/receipts.ts';
import type { Log } from './log/log.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';
import type { MarkMove, Store } from './store/store.ts';

/** Moves are gathered this long. */
const gatherMs = 300;
/** Marks known here, so that only real moves are told. */
const knownMax = 200_000;

interface Move {
  readonly room: string;
  readonly user: string;
  marks: Marks;
  at: number;
  /** Others are to hear of it; a sender's own message moves his marks silently. */
  isTold: boolean;
}

export interface ReceiptParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class Receipts {
  readonly #known: Lru<string, Marks>;
  /** Not told yet. */
  #moved = new Map<string, Move>();
  /** Not stored yet. */
  #unsaved = new Map<string, MarkMove>();
  #saving: Promise<void> = Promise.resolve();
  readonly #parts: ReceiptParts;

  constructor(parts: ReceiptParts) {
    this.#parts = parts;
    this.#known = new Lru(knownMax, parts.metrics.cache('marks'));
    parts.clock.every(gatherMs, () => {
      this.#tell();
      if (this.#unsaved.size > 0) void this.flush();
    });
  }

  /** Moves a member's marks forward; `isTold` false where everybody knows it from the message itself. */
  move(room: string, user: string, delivered: number, read: number, isTold = true): void {
    const key = `${room} ${user}`;
    const before = this.#known.get(key) ?? noMarks;
    const marks = moveMarks(before, delivered, read);
    if (marks === before) return;
    this.#known.set(key, marks);
    const at = this.#parts.clock.now();
    const move = this.#moved.get(key);
    if (move === undefined) this.#moved.set(key, { room, user, marks, at, isTold });
    else {
      move.marks = marks;
      move.isTold ||= isTold;
    }
  }

  /** A user's marks as far as this process knows them. */
  known(room: string, user: string): Marks | undefined {
    return this.#known.get(`${room} ${user}`);
  }

  #tell(): void {
    if (this.#moved.size === 0) return;
    const rooms = new Map<string, [string, number, number][]>();
    for (const [key, { room, user, marks, at, isTold }] of this.#moved) {
      const { delivered, read } = marks;
      this.#unsaved.set(key, { room, user, delivered, read, at });
      if (!isTold) continue;
      const list = rooms.get(room);
      if (list === undefined) rooms.set(room, [[user, delivered, read]]);
      else list.push([user, delivered, read]);
      this.#parts.log.publishToUser(user, encodeNotification('marks', room, null, null, { delivered, read }));
    }
    this.#moved = new Map();
    for (const [room, marks] of rooms) this.#parts.log.publishToRoom(room, encodeReceipts(room, marks));
  }

  /** Stores what has moved and was told, one batch at a time; what cannot be stored is tried again with the next. */
  flush(): Promise<void> {
    this.#saving = this.#saving.then(() => this.#save());
    return this.#saving;
  }

  async #save(): Promise<void> {
    if (this.#unsaved.size === 0) return;
    const moves = this.#unsaved;
    this.#unsaved = new Map();
    try {
      await this.#parts.store.saveMarks([...moves.values()]);
    } catch (error) {
      this.#parts.logger.warn({ err: error, moves: moves.size }, 'marks could not be stored; trying again');
      for (const [key, move] of this.#unsaved) moves.set(key, move);
      this.#unsaved = moves;
    }
  }

  /** Tells and stores everything; at the end of a drain. */
  async close(): Promise<void> {
    this.#tell();
    await this.flush();
  }
}
