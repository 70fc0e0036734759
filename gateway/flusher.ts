// Moves events from the log into the store in batches: claims a fair share of the shards by leases, reads the front of
// each wal, commits, marks what was committed. Runs in every process of a deployment with a tail. Repeating any step,
// or two owners at once, does no harm: the store knows what it has.

import type { Timer } from '../core/clock.ts';
import { BatchCommit, type BatchCommitParts } from './flusher-commit.ts';
import type { TailBatch } from './log/tail.ts';

/** How often leases are renewed and shares compared. */
const leaseIntervalMs = 1500;
/** A shard that nobody has for this long is taken by whoever sees it: whose share it is may have died. */
const freeMsMax = 2500;
/** What was taken so is kept for this long above the share; by then the dead are no longer counted. */
const keptMs = 10_000;
/** Batches under way side by side, each over a connection of its own; a shard is in one of them at most. */
const flushesMax = 2;
/** Shards of a batch that are read at once. */
const readsAtOnce = 16;
/**
 * What is on disk already and waited for by nobody is gathered for so many flush intervals, as long as fewer shards than
 * this have something and the last batch had fewer events than this: a small batch costs nearly as much as a large one.
 */
const gatherIntervals = 5;
const gatheredMax = 16;
/** A wake-up may be missed without a word: this often some shards are looked at, in turn. */
const lookMs = 1000;
const lookShards = 16;
/** Before the first shard. */
const noShard = -1;
/** How often idle rooms are forgotten. */
const sweepIntervalMs = 60_000;
const backoffMsMin = 100;
const backoffMsMax = 5000;

export interface FlusherParts extends BatchCommitParts {
  readonly flushIntervalMs: number;
  readonly batchEventsMax: number;
  onFlushed(events: number, seconds: number): void;
}

export class Flusher {
  readonly #parts: FlusherParts;
  readonly #owned = new Set<number>();
  readonly #commit: BatchCommit;
  /** Owned shards that may have something, and those that a batch under way is from. */
  readonly #dirty = new Set<number>();
  readonly #busy = new Set<number>();
  readonly #flushing = new Set<Promise<void>>();
  #timer: { readonly delayMs: number; readonly stop: () => void } | null = null;
  /** Somebody waits for what is in the log, or it may be lost there. */
  #isAwaited = false;
  #lastEvents = 0;
  #failures = 0;
  /** Shards that nobody had at the last look, and since when. */
  #free = new Map<number, number>();
  /** Shards taken although they are above the share, and until when they are kept. */
  readonly #kept = new Map<number, number>();
  readonly #timers: Timer[] = [];
  /** The last shard that was looked at. */
  #looked = noShard;
  /** Others of the same name, at the last look. */
  #namesakes = 0;
  #isStopped = false;
  #isBalancing = false;
  #fault: string | null = null;

  constructor(parts: FlusherParts) {
    this.#parts = parts;
    this.#commit = new BatchCommit(parts);
  }

  start(): void {
    const { clock } = this.#parts;
    this.#timers.push(
      clock.every(leaseIntervalMs, () => void this.#balance()),
      clock.every(lookMs, () => void this.#look()),
      clock.every(sweepIntervalMs, () => void this.#sweep()),
    );
    void this.#balance();
  }

  /** Null, or why events wait in the log. */
  fault(): string | null {
    return this.#fault;
  }

  get ownedShards(): number {
    return this.#owned.size;
  }

  // Shards.

  /** Renews what is owned, gives up what is above the fair share, claims what is free below it or for too long. */
  async #balance(): Promise<void> {
    if (this.#isBalancing || this.#isStopped) return;
    this.#isBalancing = true;
    const { tail, logger } = this.#parts;
    try {
      const { processes, mine, free, namesakes } = await tail.meet([]);
      this.#noteNamesakes(namesakes);
      const share = Math.ceil(tail.shards / processes);
      for (const shard of this.#owned) if (!mine.has(shard)) this.#disown(shard);
      const surplus = [...this.#owned].filter((shard) => !this.#isKept(shard)).slice(0, this.#above(share));
      for (const shard of surplus) this.#disown(shard);
      // A claim whose answer was lost has taken some.
      const left = [...mine].filter((shard) => !this.#owned.has(shard) && !surplus.includes(shard));
      const fair = this.#choose([...left, ...free], share);
      const forsaken = this.#forsaken(free).filter((shard) => !fair.includes(shard));
      await tail.release([...surplus, ...left.filter((shard) => !fair.includes(shard))]);
      await this.#claim([...fair, ...forsaken], forsaken);
    } catch (err) {
      logger.debug({ err }, 'leases could not be renewed');
    } finally {
      this.#isBalancing = false;
    }
  }

  /** Nothing is lost by it, but each would take the other's users for its own. */
  #noteNamesakes(namesakes: number): void {
    if (namesakes > 0 && this.#namesakes === 0) {
      this.#parts.logger.error({ namesakes }, 'SERVER_ID: another process that lives has the same one');
    }
    this.#namesakes = namesakes;
  }

  #above(share: number): number {
    return Math.max(0, this.#owned.size - share);
  }

  /** As many of these as are missing to the share; from another place each time, so that all do not want the same. */
  #choose(shards: readonly number[], share: number): readonly number[] {
    const start = Math.floor(this.#parts.random.fraction() * shards.length);
    const turned = [...shards.slice(start), ...shards.slice(0, start)];
    return turned.slice(0, Math.max(0, share - this.#owned.size));
  }

  /** A process that died counts for a while, and so does what would be its share: that must not wait. */
  #forsaken(free: readonly number[]): readonly number[] {
    const now = this.#parts.clock.now();
    const before = this.#free;
    this.#free = new Map(free.map((shard) => [shard, before.get(shard) ?? now]));
    return free.filter((shard) => now - (this.#free.get(shard) ?? now) >= freeMsMax);
  }

  async #claim(shards: readonly number[], forsaken: readonly number[]): Promise<void> {
    const { tail, clock, logger } = this.#parts;
    if (shards.length === 0 || this.#isStopped) return;
    const { mine } = await tail.meet(shards);
    const claimed = shards.filter((shard) => mine.has(shard));
    for (const shard of claimed) {
      this.#owned.add(shard);
      this.#free.delete(shard);
      if (!forsaken.includes(shard)) continue;
      this.#kept.set(shard, clock.now() + keptMs);
      logger.info({ shard }, 'a shard that nobody flushed is taken over');
    }
    await Promise.all(claimed.map((shard) => tail.watch(shard, (isAwaited) => this.#wake(shard, isAwaited))));
    for (const shard of claimed) this.#wake(shard, true);
  }

  #isKept(shard: number): boolean {
    return (this.#kept.get(shard) ?? 0) > this.#parts.clock.now();
  }

  #disown(shard: number): void {
    this.#owned.delete(shard);
    this.#kept.delete(shard);
    this.#dirty.delete(shard);
    this.#parts.tail.unwatch(shard);
  }

  async #sweep(): Promise<void> {
    const { tail, logger } = this.#parts;
    for (const shard of [...this.#owned]) {
      try {
        await tail.sweep(shard);
      } catch (err) {
        logger.debug({ err, shard }, 'idle rooms could not be swept');
      }
    }
  }

  // Flushing.

  async #look(): Promise<void> {
    const { tail, logger } = this.#parts;
    const owned = [...this.#owned].sort((a, b) => a - b);
    const next = owned.filter((shard) => shard > this.#looked);
    const shards = (next.length > 0 ? next : owned).slice(0, lookShards);
    this.#looked = shards.at(-1) ?? noShard;
    if (shards.length === 0) return;
    try {
      for (const shard of await tail.waiting(shards)) if (this.#owned.has(shard)) this.#wake(shard, true);
    } catch (err) {
      logger.debug({ err }, 'what waits could not be looked at');
    }
  }

  #wake(shard: number, isAwaited: boolean): void {
    this.#dirty.add(shard);
    if (isAwaited) this.#isAwaited = true;
    this.#schedule(this.#delayMs());
  }

  /** How long to gather before the next batch. */
  #delayMs(): number {
    const { flushIntervalMs, tail } = this.#parts;
    const isMuch = this.#dirty.size >= gatheredMax || this.#lastEvents >= gatheredMax;
    return this.#isAwaited || isMuch || !tail.isOnDisk ? flushIntervalMs : flushIntervalMs * gatherIntervals;
  }

  /** After this long, or before. After failures nothing makes it come sooner. */
  #schedule(delayMs: number): void {
    if (this.#isStopped) return;
    if (this.#timer !== null && (this.#failures > 0 || this.#timer.delayMs <= delayMs)) return;
    this.#timer?.stop();
    const timer = this.#parts.clock.after(delayMs, () => {
      this.#timer = null;
      this.#start();
    });
    this.#timer = { delayMs, stop: () => timer.stop() };
  }

  #start(): void {
    if (this.#isStopped || this.#flushing.size >= flushesMax) return;
    const flushing: Promise<void> = this.#flush().then((delayMs) => {
      this.#flushing.delete(flushing);
      if (delayMs !== null) this.#schedule(delayMs);
    });
    this.#flushing.add(flushing);
  }

  /** One batch over dirty shards; answers after how many ms to come again, null where nothing is left to do. */
  async #flush(): Promise<number | null> {
    this.#isAwaited = false;
    try {
      const isFull = await this.#flushBatch();
      this.#failures = 0;
      this.#fault = null;
      if (this.#ready().length === 0) return null;
      return isFull ? 0 : this.#delayMs();
    } catch (err) {
      this.#failures++;
      this.#isAwaited = true;
      this.#fault = 'events wait in the log: the store or Redis does not answer';
      const ceiling = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(this.#failures, 10));
      const delayMs = backoffMsMin + this.#parts.random.fraction() * ceiling;
      this.#parts.logger.warn({ err, delayMs: Math.round(delayMs) }, 'a flush failed; trying again');
      // What was to come sooner would meet the same.
      this.#timer?.stop();
      this.#timer = null;
      return delayMs;
    }
  }

  /** Dirty shards that no batch under way is from. */
  #ready(): readonly number[] {
    return [...this.#dirty].filter((shard) => !this.#busy.has(shard));
  }

  /** Answers whether there was more than one batch. */
  async #flushBatch(): Promise<boolean> {
    const { batchEventsMax, onFlushed } = this.#parts;
    const mine = new Set<number>();
    try {
      const batches = await this.#readReady(mine);
      this.#lastEvents = batches.reduce((sum, batch) => sum + batch.events.length, 0);
      if (batches.length === 0) return false;
      const events = batches.flatMap((batch) => batch.events);
      // The next batch may be read while this one is committed.
      if (events.length >= batchEventsMax && this.#ready().length > 0) this.#schedule(0);
      const started = performance.now();
      await this.#commit.commit(events);
      onFlushed(events.length, (performance.now() - started) / 1000);
      await Promise.all(batches.map((batch) => this.#settle(batch)));
      return events.length >= batchEventsMax || batches.some(({ more }) => more);
    } finally {
      for (const shard of mine) this.#busy.delete(shard);
    }
  }

  /** What ready shards have, up to a batch; some at once, as each answer waits for Redis and its disk. `mine`: are busy now. */
  async #readReady(mine: Set<number>): Promise<readonly TailBatch[]> {
    const { batchEventsMax } = this.#parts;
    const batches: TailBatch[] = [];
    const ready = this.#ready();
    let events = 0;
    for (let i = 0; i < ready.length && events < batchEventsMax; i += readsAtOnce) {
      const left = batchEventsMax - events;
      // Another batch may have taken some of them meanwhile.
      const shards = ready.slice(i, i + readsAtOnce).filter((shard) => !this.#busy.has(shard));
      for (const shard of shards) {
        mine.add(shard);
        this.#busy.add(shard);
      }
      const read = await Promise.all(shards.map((shard) => this.#read(shard, left)));
      for (const [at, batch] of read.entries()) {
        // What does not fit any more is read again.
        if (batch !== null && events < batchEventsMax) {
          batches.push(batch);
          events += batch.events.length;
        } else {
          mine.delete(shards[at] as number);
          this.#busy.delete(shards[at] as number);
        }
      }
    }
    return batches;
  }

  /**
   * Taken out first: a wal that was empty tells when it no longer is, and may do so before the answer is here. Back again
   * behind the others: one that alone fills every batch would leave them no place.
   */
  async #read(shard: number, eventsMax: number): Promise<TailBatch | null> {
    if (!this.#dirty.delete(shard)) return null;
    let batch: TailBatch | null = null;
    try {
      batch = await this.#parts.tail.read(shard, eventsMax);
      if (batch !== null) this.#mark(shard);
    } catch (error) {
      this.#mark(shard);
      throw error;
    }
    return batch;
  }

  /** Tells the log what is committed; out of the dirty ones first, as above, and back where something is left. */
  async #settle(batch: TailBatch): Promise<void> {
    this.#dirty.delete(batch.shard);
    try {
      if ((await this.#parts.tail.committed(batch)) !== 0) this.#mark(batch.shard);
    } catch (error) {
      this.#mark(batch.shard);
      throw error;
    }
  }

  #mark(shard: number): void {
    if (this.#owned.has(shard)) this.#dirty.add(shard);
  }

  /** Flushes what it can and lets go of its shards. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const timer of this.#timers) timer.stop();
    this.#timer?.stop();
    const { tail, logger } = this.#parts;
    try {
      await Promise.all(this.#flushing);
      for (const shard of this.#owned) this.#dirty.add(shard);
      // Up to what is there now: under load it never ends, and others go on from here.
      while (await this.#flushBatch());
    } catch (err) {
      logger.warn({ err }, 'the last flush failed; another process goes on from here');
    }
    try {
      const shards = [...this.#owned];
      for (const shard of shards) this.#disown(shard);
      await tail.release(shards);
      await tail.leave();
    } catch (err) {
      logger.warn({ err }, 'the leases could not be given back; they end by themselves');
    }
  }
}
