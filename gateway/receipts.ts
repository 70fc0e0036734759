// Gathers moves of delivered and read marks: a few times a second each room hears of them, the user's other sockets do,
// and the store gets them in batches. Called by the mark handlers, and by sends, which move the sender's own marks. It
// never decides who has marks.

import { type Clock, gathering } from '../core/clock.ts';
import { Lru } from '../core/lru.ts';
import { encodeNotification, encodeReceipts } from '../core/protocol/encode.ts';
import { type Marks, moveMarks, noMarks } from '../core/receipts.ts';
import type { Log } from './log/log.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';
import type { MarkMove, Store } from './store/store.ts';

/** Moves are gathered this long. */
const gatherMs = 300;
/** Marks in one `receipts` frame. A room gets one frame a gathering; what is over goes with the next ones. */
const frameMarksMax = 128;
/** Marks known here, so that only real moves are told. */
const knownMax = 200_000;
/** Moves that wait to be told or stored; marks of further members are refused. */
const waitingMax = 200_000;
/** Moves of one call of the store. */
const storeBatchMax = 2000;

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
  /** Gathered since the last time. */
  #moved = new Map<string, Move>();
  /** Rooms and the marks that they have not heard of yet, who waits longest first. */
  readonly #untold = new Map<string, Map<string, Marks>>();
  #untoldCount = 0;
  /** Not stored yet. */
  readonly #unsaved = new Map<string, MarkMove>();
  #savingCount = 0;
  #isGathering = false;
  #telling: Promise<void> = Promise.resolve();
  #saving: Promise<void> = Promise.resolve();
  readonly #parts: ReceiptParts;
  readonly #gatherLater: () => void;

  constructor(parts: ReceiptParts) {
    this.#parts = parts;
    this.#known = new Lru(knownMax, parts.metrics.cache('marks'));
    this.#gatherLater = gathering(parts.clock, gatherMs, () => void this.#gather());
  }

  /**
   * Moves a member's marks forward; `isTold` false where everybody knows it from the message itself. Answers false where
   * too much waits already, and nothing was moved.
   */
  move(room: string, user: string, delivered: number, read: number, isTold = true): boolean {
    const key = `${room} ${user}`;
    const known = this.#known.get(key);
    const before = known ?? noMarks;
    const marks = moveMarks(before, delivered, read);
    if (marks === before) return true;
    const move = this.#moved.get(key);
    if (move === undefined) {
      if (this.#waitingCount() >= waitingMax) return false;
      this.#gatherLater();
      const at = this.#parts.clock.now();
      this.#moved.set(key, { room, user, marks, at, isTold, isFirst: known === undefined });
    } else {
      move.marks = moveMarks(move.marks, marks.delivered, marks.read);
      move.isTold ||= isTold;
    }
    this.#known.set(key, marks);
    return true;
  }

  #waitingCount(): number {
    return this.#moved.size + this.#untoldCount + this.#unsaved.size + this.#savingCount;
  }

  /** A user's marks as far as this process knows them. */
  known(room: string, user: string): Marks | undefined {
    return this.#known.get(`${room} ${user}`);
  }

  /** One gathering; left out while the one before still reads. */
  async #gather(): Promise<void> {
    if (this.#isGathering) return;
    this.#isGathering = true;
    await this.#tell();
    this.#isGathering = false;
    if (this.#moved.size > 0 || this.#untoldCount > 0) this.#gatherLater();
    await this.#flush();
    if (this.#unsaved.size > 0) this.#gatherLater();
  }

  #tell(): Promise<void> {
    this.#telling = this.#telling.then(async () => {
      await this.#takeMoved();
      for (const [room, marks] of this.#untold) this.#tellRoom(room, marks);
    });
    return this.#telling;
  }

  /** What moved is to be stored and told; of marks that were not known here only what is beyond the stored ones. */
  async #takeMoved(): Promise<void> {
    if (this.#moved.size === 0) return;
    const moved = this.#moved;
    this.#moved = new Map();
    await this.#dropStale(moved);
    for (const { room, user, marks, at, isTold } of moved.values()) {
      this.#save({ room, user, ...marks, at });
      if (!isTold) continue;
      this.#parts.log.publishToUser(user, encodeNotification('marks', room, null, null, { ...marks }));
      const untold = this.#untold.get(room) ?? new Map<string, Marks>();
      this.#untold.set(room, untold);
      if (!untold.has(user)) this.#untoldCount++;
      untold.set(user, marks);
    }
  }

  /** One frame of those who wait longest. */
  #tellRoom(room: string, marks: Map<string, Marks>): void {
    const list: [string, number, number][] = [];
    for (const [user, { delivered, read }] of marks) {
      if (list.length === frameMarksMax) break;
      list.push([user, delivered, read]);
      marks.delete(user);
    }
    this.#untoldCount -= list.length;
    if (marks.size === 0) this.#untold.delete(room);
    this.#parts.log.publishToRoom(room, encodeReceipts(room, list));
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
      for (let at = 0; at < users.length; at += storeBatchMax) {
        await this.#dropKnown(room, users.slice(at, at + storeBatchMax), moved);
      }
    }
  }

  async #dropKnown(room: string, users: readonly string[], moved: Map<string, Move>): Promise<void> {
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

  #save(move: MarkMove): void {
    const key = `${move.room} ${move.user}`;
    const waiting = this.#unsaved.get(key);
    this.#unsaved.set(key, waiting ? { ...move, ...moveMarks(waiting, move.delivered, move.read) } : move);
  }

  /** Stores what has moved and was taken, one batch after another; what cannot be stored is tried again with the next. */
  #flush(): Promise<void> {
    this.#saving = this.#saving.then(() => this.#flushUnsaved());
    return this.#saving;
  }

  async #flushUnsaved(): Promise<void> {
    while (this.#unsaved.size > 0) {
      const batch: MarkMove[] = [];
      for (const [key, move] of this.#unsaved) {
        if (batch.length === storeBatchMax) break;
        batch.push(move);
        this.#unsaved.delete(key);
      }
      this.#savingCount = batch.length;
      try {
        await this.#parts.store.saveMarks(batch);
      } catch (err) {
        this.#parts.logger.warn({ err, moves: batch.length }, 'marks could not be stored; trying again');
        for (const move of batch) this.#save(move);
        return;
      } finally {
        this.#savingCount = 0;
      }
    }
  }

  /** Tells and stores everything that was gathered, at the end of a drain. */
  async settle(): Promise<void> {
    do await this.#tell();
    while (this.#untold.size > 0);
    await this.#flush();
  }
}
