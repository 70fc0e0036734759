// Ids that the log of one shard may have forgotten, or never known since it was adopted, are looked up in the store before
// they are appended. Nobody else waits for that, but what the same sender sends behind them. Made by redis-append.ts.

import { idAheadMsMax } from '../../core/protocol/limits.ts';
import { eventOps } from '../../core/protocol/ops.ts';
import { readOp } from '../../core/protocol/stamp.ts';
import { uuidTime } from '../../core/uuid.ts';
import type { FoundId } from '../store/store.ts';
import type { Append } from './log.ts';
import type { RedisLogParts } from './redis-parts.ts';
import type { Adopted } from './redis-scripts.ts';

/** An id made this long after a shard was adopted cannot have been appended before; twice the clocks' tolerance. */
const adoptionDoubtMs = idAheadMsMax * 2;
/** Ids looked up at once. */
const lookUpMax = 256;

interface Held {
  readonly entry: Append;
  readonly isInDoubt: boolean;
  readonly incarnation: string;
}

/** Told of what was held and may go now, and of the end of it. */
interface DoubtObserver {
  onReleased(entries: readonly Append[]): void;
  onIdle(): void;
}

export class Doubt {
  readonly #parts: RedisLogParts;
  readonly #observer: DoubtObserver;
  #held: Held[] = [];
  #heldBytes = 0;
  /** How many are held of each sender. */
  readonly #heldOf = new Map<string, number>();
  /** The incarnation under which an entry was held and let go. */
  readonly #released = new WeakMap<Append, string>();
  #isLookingUp = false;

  constructor(parts: RedisLogParts, observer: DoubtObserver) {
    this.#parts = parts;
    this.#observer = observer;
  }

  get isIdle(): boolean {
    return this.#held.length === 0 && !this.#isLookingUp;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Keeps those that are in doubt and what is behind them; answers the others. */
  holdBack(entries: readonly Append[], { since, incarnation }: Adopted): Append[] {
    const going: Append[] = [];
    for (const entry of entries) {
      const isInDoubt = this.#isDoubtful(entry, since);
      const behind = this.#heldOf.get(entry.from) ?? 0;
      const isReleased = this.#released.get(entry) === incarnation;
      if (isReleased || (!isInDoubt && behind === 0)) going.push(entry);
      else {
        this.#held.push({ entry, isInDoubt, incarnation });
        this.#heldOf.set(entry.from, behind + 1);
        this.#heldBytes += entry.bytes.length;
      }
    }
    if (this.#held.length > 0 && !this.#isLookingUp) void this.#lookUp();
    return going;
  }

  async #lookUp(): Promise<void> {
    this.#isLookingUp = true;
    while (this.#held.length > 0) {
      const held = this.#held.splice(0, lookUpMax);
      const doubtful = held.filter(({ isInDoubt }) => isInDoubt);
      const found = await this.#findIds(doubtful.map(({ entry }) => entry));
      const released: Append[] = [];
      for (const { entry, isInDoubt, incarnation } of held) {
        this.#letGo(entry);
        const first = isInDoubt ? found?.get(entry) : undefined;
        if (first === undefined && (found !== null || !isInDoubt)) {
          this.#released.set(entry, incarnation);
          released.push(entry);
        } else if (first === undefined) entry.fail('UNAVAILABLE');
        else if (first.from === entry.from) entry.settle(first.seq, first.ts, 4, true);
        else entry.fail('CONFLICT');
      }
      this.#observer.onReleased(released);
    }
    this.#isLookingUp = false;
    this.#observer.onIdle();
  }

  #letGo(entry: Append): void {
    const left = (this.#heldOf.get(entry.from) ?? 1) - 1;
    if (left === 0) this.#heldOf.delete(entry.from);
    else this.#heldOf.set(entry.from, left);
    this.#heldBytes -= entry.bytes.length;
  }

  /** Those that the store has; null where it does not answer. */
  async #findIds(entries: readonly Append[]): Promise<Map<Append, FoundId> | null> {
    if (entries.length === 0) return new Map();
    const { store, logger } = this.#parts;
    try {
      const found = await store.findIds(entries.map(({ room, id }) => ({ room, id })));
      return new Map(entries.flatMap((entry, i) => (found[i] ? [[entry, found[i]]] : [])));
    } catch (err) {
      logger.warn({ err, entries: entries.length }, 'ids could not be looked up');
      return null;
    }
  }

  #isDoubtful({ bytes, id }: Append, since: number): boolean {
    // Only messages have an id that outlives the call.
    if (readOp(bytes) !== eventOps.message) return false;
    const time = uuidTime(id);
    const windowMs = (this.#parts.options.dedupeSeconds * 1000) / 2;
    return (
      time === null || Math.abs(time - this.#parts.clock.now()) > windowMs || time < since + adoptionDoubtMs
    );
  }
}
