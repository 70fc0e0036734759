// Who waits for level 4 of one shard: settles when the store has the entry of the wal that holds his event. Made by
// redis-append.ts; hears the mark through redis.ts, and reads it itself for as long as somebody waits.

import type { Append } from './log.ts';
import type { ShardKeys } from './redis-keys.ts';
import type { RedisLogParts } from './redis-parts.ts';

/** How often the committed mark is read while somebody waits for it. */
const committedPollMs = 1000;
/** It is waited for at most so long. */
const committedWaitMs = 10_000;
/** The id of no entry. */
const noWalId = '0-0';

/** An entry of a wal, which counts for one incarnation of the shard only: after a loss ids say nothing of each other. */
export interface WalPlace {
  readonly incarnation: string;
  readonly id: string;
}

interface Waiter {
  readonly place: WalPlace;
  readonly entry: Append;
  readonly until: number;
  readonly settle: () => void;
}

export class Commits {
  readonly #parts: RedisLogParts;
  readonly #keys: ShardKeys;
  readonly #onIdle: () => void;
  #waiters: Waiter[] = [];
  #isWatching = false;
  #committed: WalPlace = { incarnation: '', id: noWalId };

  constructor(parts: RedisLogParts, shard: number, onIdle: () => void) {
    this.#parts = parts;
    this.#keys = parts.keys.shards[shard] as ShardKeys;
    this.#onIdle = onIdle;
  }

  get isIdle(): boolean {
    return this.#waiters.length === 0;
  }

  whenCommitted(place: WalPlace, entry: Append, settle: () => void): void {
    // Repeats with nothing in the wal have the id of no entry.
    if (place.id === noWalId || isCommitted(place, this.#committed)) {
      settle();
      return;
    }
    this.#waiters.push({ place, entry, settle, until: this.#parts.clock.now() + committedWaitMs });
    if (!this.#isWatching) void this.#watch();
  }

  onCommitted(mark: WalPlace): void {
    if (isCommitted(mark, this.#committed)) return;
    this.#committed = mark;
    for (const { settle } of this.#take(({ place }) => isCommitted(place, mark))) settle();
  }

  /** Nobody waits any longer; the events are in the log, and a repeat with its id waits again. */
  failAll(): void {
    this.#failWhere(() => true);
  }

  /** Listens for the committed mark, and reads it each second, for as long as somebody waits for it. */
  async #watch(): Promise<void> {
    const { connection, clock, logger } = this.#parts;
    const { committedChannel, meta } = this.#keys;
    this.#isWatching = true;
    try {
      await connection.subscribe(committedChannel);
    } catch (err) {
      logger.debug({ err, channel: committedChannel }, 'the committed mark is polled');
    }
    while (this.#waiters.length > 0) {
      try {
        const answer = await connection.call('HMGET', meta, 'committed', 'incarnation');
        const [id, incarnation] = (answer as (Buffer | null)[]).map((value) => String(value ?? ''));
        if (id) this.onCommitted({ id, incarnation: incarnation ?? '' });
        // What was appended to an earlier incarnation may be lost: who sends it again is told what became of it.
        this.#failWhere(({ place }) => place.incarnation !== incarnation);
      } catch (err) {
        logger.debug({ err, meta }, 'the committed mark could not be read');
      }
      const now = clock.now();
      this.#failWhere(({ until }) => until <= now);
      if (this.#waiters.length > 0)
        await new Promise<void>((resolve) => clock.after(committedPollMs, resolve));
    }
    this.#isWatching = false;
  }

  #failWhere(isMeant: (waiter: Waiter) => boolean): void {
    for (const { entry } of this.#take(isMeant)) entry.fail('UNAVAILABLE');
  }

  #take(isMeant: (waiter: Waiter) => boolean): Waiter[] {
    const taken = this.#waiters.filter(isMeant);
    if (taken.length === 0) return taken;
    this.#waiters = this.#waiters.filter((waiter) => !isMeant(waiter));
    // When they are settled.
    this.#parts.clock.atTurnEnd(this.#onIdle);
    return taken;
  }
}

function isCommitted(place: WalPlace, mark: WalPlace): boolean {
  return place.incarnation === mark.incarnation && compareIds(place.id, mark.id) <= 0;
}

/** Stream ids: ms-n. */
function compareIds(first: string, second: string): number {
  const [ms = 0, n = 0] = first.split('-').map(Number);
  const [otherMs = 0, otherN = 0] = second.split('-').map(Number);
  return ms - otherMs || n - otherN;
}
