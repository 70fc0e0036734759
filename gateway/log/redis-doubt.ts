// Ids that the log of one shard may have forgotten, or never known since it was adopted, are looked up in the store before
// they are appended. Nobody else waits for that, but what the same sender sends behind them. Made by redis-append.ts.

import { idAheadMsMax } from '../../core/protocol/limits.ts';
import { eventOps } from '../../core/protocol/ops.ts';
import { readOp } from '../../core/protocol/stamp.ts';
import { uuidTime } from '../../core/uuid.ts';
import type { FoundId } from '../store/store.ts';
import type { Append } from './log.ts';
import type { ShardKeys } from './redis-keys.ts';
import type { RedisLogParts } from './redis-parts.ts';
import type { Adopted } from './redis-scripts.ts';

/**
 * An id made this long after a shard was adopted, or after the last event that its room had then, cannot have been appended
 * before: twice the clocks' tolerance.
 */
export const adoptionDoubtMs = idAheadMsMax * 2;
/** Ids looked up at once. */
const lookUpMax = 256;

interface Held {
  readonly entry: Append;
  readonly isInDoubt: boolean;
  readonly since: number;
  readonly incarnation: string;
}

/** Told of what was held and may go now, and of the end of it. */
interface DoubtObserver {
  onReleased(entries: readonly Append[]): void;
  onIdle(): void;
}

export class Doubt {
  readonly #parts: RedisLogParts;
  readonly #keys: ShardKeys;
  readonly #observer: DoubtObserver;
  /** When rooms had their last event before this incarnation of the shard, as far as it was asked for. */
  readonly #lastBefore = new Map<string, number>();
  #incarnation = '';
  #held: Held[] = [];
  #heldBytes = 0;
  /** How many are held of each sender. */
  readonly #heldOf = new Map<string, number>();
  /** The incarnation under which an entry was held and let go. */
  readonly #released = new WeakMap<Append, string>();
  #isLookingUp = false;

  constructor(parts: RedisLogParts, shard: number, observer: DoubtObserver) {
    this.#parts = parts;
    this.#keys = parts.keys.shards[shard] as ShardKeys;
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
    const isOld = this.#parts.clock.now() > since + 2 * adoptionDoubtMs;
    if (isOld || incarnation !== this.#incarnation) this.#lastBefore.clear();
    this.#incarnation = incarnation;
    for (const entry of entries) {
      const isInDoubt = this.#isDoubtful(entry, since);
      const behind = this.#heldOf.get(entry.from) ?? 0;
      const isReleased = this.#released.get(entry) === incarnation;
      if (isReleased || (!isInDoubt && behind === 0)) going.push(entry);
      else {
        this.#held.push({ entry, isInDoubt, since, incarnation });
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
      await this.#learnLastBefore(held);
      const doubtful = new Set(
        held
          .filter(({ isInDoubt, entry, since }) => isInDoubt && this.#isDoubtful(entry, since))
          .map(({ entry }) => entry),
      );
      const found = await this.#findIds([...doubtful]);
      const released: Append[] = [];
      for (const { entry, incarnation } of held) {
        this.#letGo(entry);
        const first = doubtful.has(entry) ? found?.get(entry) : undefined;
        if (first === undefined && (found !== null || !doubtful.has(entry))) {
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

  /** Reads when rooms had their last event, of those that were given their heads in this incarnation. */
  async #learnLastBefore(held: readonly Held[]): Promise<void> {
    const { connection, logger } = this.#parts;
    const rooms = new Set<string>();
    for (const { entry, isInDoubt } of held) {
      if (isInDoubt && !this.#lastBefore.has(entry.room)) rooms.add(entry.room);
    }
    if (rooms.size === 0) return;
    const incarnation = this.#incarnation;
    try {
      const answer = (await connection.call('HMGET', this.#keys.seeded, ...rooms)) as (Buffer | null)[];
      if (incarnation !== this.#incarnation) return;
      [...rooms].forEach((room, i) => {
        const [seededIn, ts] = String(answer[i] ?? '').split(' ');
        if (seededIn === incarnation) this.#lastBefore.set(room, Number(ts));
      });
    } catch (err) {
      // Then the store is asked for every one.
      logger.debug({ err }, 'when rooms had their last event could not be read');
    }
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

  #isDoubtful({ bytes, id, room }: Append, since: number): boolean {
    // Only messages have an id that outlives the call.
    if (readOp(bytes) !== eventOps.message) return false;
    const time = uuidTime(id);
    const windowMs = (this.#parts.options.dedupeSeconds * 1000) / 2;
    if (time === null || Math.abs(time - this.#parts.clock.now()) > windowMs) return true;
    return time < Math.min(since, this.#lastBefore.get(room) ?? since) + adoptionDoubtMs;
  }
}
