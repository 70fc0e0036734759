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
  /** This process did not know the marks before. */
  readonly isFirst: boolean;
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
      void this.settle();
    });
  }

  /** Moves a member's marks forward; `isTold` false where everybody knows it from the message itself. */
  move(room: string, user: string, delivered: number, read: number, isTold = true): void {
    const key = `${room} ${user}`;
    const known = this.#known.get(key);
    const before = known ?? noMarks;
    const marks = moveMarks(before, delivered, read);
    if (marks === before) return;
    this.#known.set(key, marks);
    const at = this.#parts.clock.now();
    const move = this.#moved.get(key);
    if (move === undefined)
      this.#moved.set(key, { room, user, marks, at, isTold, isFirst: known === undefined });
    else {
      move.marks = marks;
      move.isTold ||= isTold;
    }
  }

  /** A user's marks as far as this process knows them. */
  known(room: string, user: string): Marks | undefined {
    return this.#known.get(`${room} ${user}`);
  }

  /** Tells rooms and users what moved. Of marks that were not known here only what is beyond the stored ones. */
  async #tell(): Promise<void> {
    if (this.#moved.size === 0) return;
    const moved = this.#moved;
    this.#moved = new Map();
    await this.#dropStale(moved);
    const rooms = new Map<string, [string, number, number][]>();
    for (const [key, { room, user, marks, at, isTold }] of moved) {
      const { delivered, read } = marks;
      this.#unsaved.set(key, { room, user, delivered, read, at });
      if (!isTold) continue;
      const list = rooms.get(room);
      if (list === undefined) rooms.set(room, [[user, delivered, read]]);
      else list.push([user, delivered, read]);
      this.#parts.log.publishToUser(user, encodeNotification('marks', room, null, null, { delivered, read }));
    }
    for (const [room, marks] of rooms) this.#parts.log.publishToRoom(room, encodeReceipts(room, marks));
  }

  async #dropStale(moved: Map<string, Move>): Promise<void> {
    const unknown = new Map<string, string[]>();
    for (const { room, user, isFirst } of moved.values()) {
      if (!isFirst) continue;
      const users = unknown.get(room);
      if (users === undefined) unknown.set(room, [user]);
      else users.push(user);
    }
    for (const [room, users] of unknown) {
      try {
        for (const [user, [delivered, read]] of await this.#parts.store.marks(room, users)) {
          const key = `${room} ${user}`;
          const move = moved.get(key);
          const stored = { delivered: Math.max(delivered, read), read };
          const marks = move && moveMarks(stored, move.marks.delivered, move.marks.read);
          this.#known.set(key, moveMarks(this.#known.get(key) ?? stored, stored.delivered, stored.read));
          if (move === undefined || marks === undefined) continue;
          if (marks === stored) moved.delete(key);
          else move.marks = marks;
        }
      } catch (err) {
        // With the store away a mark that may be known already is told: greater ones win everywhere.
        this.#parts.logger.debug({ err, room }, 'stored marks could not be read');
      }
    }
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

  /** Tells and stores everything that was gathered; also at the end of a drain. */
  async settle(): Promise<void> {
    await this.#tell();
    if (this.#unsaved.size > 0) await this.flush();
    else await this.#saving;
  }
}
