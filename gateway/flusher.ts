// Moves events from the log into the store in batches: claims a fair share of the shards by leases, reads the front of
// each wal, commits, marks what was committed. Runs in every process of a deployment with a tail. Repeating any step,
// or two owners at once, does no harm: the store knows what it has.

import { createHash } from 'node:crypto';
import type { Clock, Random, Timer } from '../core/clock.ts';
import { encodeMap, encodeMessage, encodeMessageDeleted } from '../core/protocol/encode.ts';
import { decodeEvent } from '../core/protocol/events.ts';
import { stamp } from '../core/protocol/stamp.ts';
import { makeUuid } from '../core/uuid.ts';
import type { Append, Log } from './log/log.ts';
import type { Tail, TailBatch } from './log/tail.ts';
import type { Logger } from './logger.ts';
import { type Repeat, type Store, type StoredEvent, StoreRefused } from './store/store.ts';

/** How often leases are renewed and shares compared. */
const leaseIntervalMs = 1500;
/** A shard that nobody has for this long is taken by whoever sees it: whose share it is may have died. */
const freeMsMax = 2500;
/** What was taken so is kept for this long above the share; by then the dead are no longer counted. */
const keptMs = 10_000;
/** Connections used side by side: shards are divided among so many lanes. */
const lanes = 2;
/** A wake-up may be missed without a word: this often some shards are looked at, in turn. */
const lookMs = 1000;
const lookShards = 16;
/** Before the first shard. */
const noShard = -1;
/** How often idle rooms are forgotten. */
const sweepIntervalMs = 60_000;
const backoffMsMin = 100;
const backoffMsMax = 5000;

/**
 * A deleted message in the place of an event. Its id comes from the event's bytes, so that whoever commits the same
 * batch again, or at the same time, makes the same row.
 */
function makeVoid({ bytes, number }: StoredEvent): StoredEvent {
  const { room, seq, ts, from } = decodeEvent(bytes);
  const id = new Uint8Array(createHash('sha256').update(bytes).digest().subarray(0, 16));
  // A UUID of version 8: made as its maker likes.
  id[6] = ((id[6] as number) & 0x0f) | 0x80;
  id[8] = ((id[8] as number) & 0x3f) | 0x80;
  const made = encodeMessage(room, from ?? 'server', id, 'custom', null, encodeMap({ deleted: true }));
  stamp(made, 0, seq, ts);
  return { bytes: made, number };
}

export interface FlusherParts {
  readonly tail: Tail;
  readonly log: Log;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly flushIntervalMs: number;
  readonly batchEventsMax: number;
  onFlushed(events: number, seconds: number): void;
  onParked(): void;
}

/** Shards of a lane that are read at once. */
const readsAtOnce = 8;

interface Lane {
  readonly dirty: Set<number>;
  flushing: Promise<void> | null;
  timer: Timer | null;
  failures: number;
}

export class Flusher {
  readonly #parts: FlusherParts;
  readonly #owned = new Set<number>();
  readonly #lanes: Lane[] = Array.from({ length: lanes }, () => ({
    dirty: new Set(),
    flushing: null,
    timer: null,
    failures: 0,
  }));
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
    await Promise.all(claimed.map((shard) => tail.watch(shard, () => this.#wake(shard))));
    for (const shard of claimed) this.#wake(shard);
  }

  #isKept(shard: number): boolean {
    return (this.#kept.get(shard) ?? 0) > this.#parts.clock.now();
  }

  #disown(shard: number): void {
    this.#owned.delete(shard);
    this.#kept.delete(shard);
    this.#laneOf(shard).dirty.delete(shard);
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

  #laneOf(shard: number): Lane {
    return this.#lanes[shard % lanes] as Lane;
  }

  async #look(): Promise<void> {
    const { tail, logger } = this.#parts;
    const owned = [...this.#owned].sort((a, b) => a - b);
    const next = owned.filter((shard) => shard > this.#looked);
    const shards = (next.length > 0 ? next : owned).slice(0, lookShards);
    this.#looked = shards.at(-1) ?? noShard;
    if (shards.length === 0) return;
    try {
      for (const shard of await tail.waiting(shards)) if (this.#owned.has(shard)) this.#wake(shard);
    } catch (err) {
      logger.debug({ err }, 'what waits could not be looked at');
    }
  }

  #wake(shard: number): void {
    const lane = this.#laneOf(shard);
    lane.dirty.add(shard);
    this.#schedule(lane, this.#parts.flushIntervalMs);
  }

  #schedule(lane: Lane, delayMs: number): void {
    if (lane.timer !== null || lane.flushing !== null || this.#isStopped) return;
    lane.timer = this.#parts.clock.after(delayMs, () => {
      lane.timer = null;
      lane.flushing = this.#flush(lane);
    });
  }

  /** One batch over the lane's dirty shards; comes again at once where there is more. */
  async #flush(lane: Lane): Promise<void> {
    let delayMs: number | null = null;
    try {
      const isFull = await this.#flushBatch(lane);
      lane.failures = 0;
      this.#fault = null;
      if (lane.dirty.size > 0) delayMs = isFull ? 0 : this.#parts.flushIntervalMs;
    } catch (err) {
      lane.failures++;
      this.#fault = 'events wait in the log: the store or Redis does not answer';
      const ceiling = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(lane.failures, 10));
      delayMs = backoffMsMin + this.#parts.random.fraction() * ceiling;
      this.#parts.logger.warn({ err, delayMs: Math.round(delayMs) }, 'a flush failed; trying again');
    }
    lane.flushing = null;
    if (delayMs !== null) this.#schedule(lane, delayMs);
  }

  /** Answers whether there was more than one batch. */
  async #flushBatch(lane: Lane): Promise<boolean> {
    const batches = await this.#readDirty(lane);
    if (batches.length === 0) return false;
    const events = batches.flatMap((batch) => batch.events);
    const started = performance.now();
    await this.#commit(events);
    this.#parts.onFlushed(events.length, (performance.now() - started) / 1000);
    await Promise.all(batches.map((batch) => this.#settle(lane, batch)));
    return events.length >= this.#parts.batchEventsMax || batches.some(({ more }) => more);
  }

  /** What the lane's dirty shards have, up to a batch; some at once, as each answer waits for Redis and its disk. */
  async #readDirty(lane: Lane): Promise<readonly TailBatch[]> {
    const { batchEventsMax } = this.#parts;
    const batches: TailBatch[] = [];
    const dirty = [...lane.dirty];
    let events = 0;
    for (let i = 0; i < dirty.length && events < batchEventsMax; i += readsAtOnce) {
      const left = batchEventsMax - events;
      const shards = dirty.slice(i, i + readsAtOnce);
      for (const batch of await Promise.all(shards.map((shard) => this.#read(lane, shard, left)))) {
        // What does not fit any more is read again.
        if (batch === null || events >= batchEventsMax) continue;
        batches.push(batch);
        events += batch.events.length;
      }
    }
    return batches;
  }

  /**
   * Taken out first: a wal that was empty tells when it no longer is, and may do so before the answer is here. Back again
   * behind the others: one that alone fills every batch would leave them no place.
   */
  async #read(lane: Lane, shard: number, eventsMax: number): Promise<TailBatch | null> {
    if (!lane.dirty.delete(shard)) return null;
    let batch: TailBatch | null = null;
    try {
      batch = await this.#parts.tail.read(shard, eventsMax);
      if (batch !== null) this.#mark(lane, shard);
    } catch (error) {
      this.#mark(lane, shard);
      throw error;
    }
    return batch;
  }

  /** Tells the log what is committed; out of the dirty ones first, as above, and back where something is left. */
  async #settle(lane: Lane, batch: TailBatch): Promise<void> {
    lane.dirty.delete(batch.shard);
    try {
      if ((await this.#parts.tail.committed(batch)) !== 0) this.#mark(lane, batch.shard);
    } catch (error) {
      this.#mark(lane, batch.shard);
      throw error;
    }
  }

  #mark(lane: Lane, shard: number): void {
    if (this.#owned.has(shard)) lane.dirty.add(shard);
  }

  async #commit(events: readonly StoredEvent[]): Promise<void> {
    const { store } = this.#parts;
    let repeats: readonly Repeat[];
    try {
      repeats = await store.commit(events);
    } catch (error) {
      if (!(error instanceof StoreRefused)) throw error;
      await this.#commitApart(events, error);
      return;
    }
    if (repeats.length > 0) await this.#commitWithout(events, repeats);
  }

  /** One bad row must not stop a shard: halves, until it stands alone; then it is parked and its seq left void. */
  async #commitApart(events: readonly StoredEvent[], error: StoreRefused): Promise<void> {
    if (events.length > 1) {
      const middle = Math.floor(events.length / 2);
      await this.#commit(events.slice(0, middle));
      await this.#commit(events.slice(middle));
      return;
    }
    const [event] = events as [StoredEvent];
    const { room, seq } = decodeEvent(event.bytes);
    this.#parts.logger.error({ err: error, room, seq }, 'the store refuses an event; it is parked');
    const { tail, store, onParked } = this.#parts;
    await tail.park(room, event, error.message);
    onParked();
    try {
      await store.commit([makeVoid(event)]);
    } catch (refused) {
      if (!(refused instanceof StoreRefused)) throw refused;
      this.#parts.logger.error(
        { err: refused, room, seq },
        'the store refuses a void row as well; its seq stays empty',
      );
    }
  }

  /** Late doubles that slipped past the log: their seqs stay, as deleted messages under fresh ids. */
  async #commitWithout(events: readonly StoredEvent[], repeats: readonly Repeat[]): Promise<void> {
    const doubles = new Set(repeats.map(({ index }) => index));
    await this.#commit(events.map((event, i) => (doubles.has(i) ? makeVoid(event) : event)));
    for (const index of doubles) {
      const { room, seq } = decodeEvent((events[index] as StoredEvent).bytes);
      this.#parts.logger.warn({ room, seq }, 'a message was in the log twice; the second one is deleted');
      this.#appendDeletion(room, seq);
    }
  }

  #freshId(): Uint8Array {
    return makeUuid(this.#parts.clock.now(), this.#parts.random.bytes(10));
  }

  #appendDeletion(room: string, target: number): void {
    const { log, logger } = this.#parts;
    const deletion: Append = {
      room,
      bytes: encodeMessageDeleted(room, null, target),
      id: this.#freshId(),
      from: '',
      level: 1,
      settle() {
        // The event itself tells.
      },
      fail: (code) => logger.warn({ room, target, code }, 'a double could not be taken back in the log'),
    };
    log.append(deletion);
  }

  /** Flushes what it can and lets go of its shards. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const timer of this.#timers) timer.stop();
    for (const lane of this.#lanes) lane.timer?.stop();
    const { tail, logger } = this.#parts;
    try {
      for (const lane of this.#lanes) {
        await lane.flushing;
        for (const shard of this.#owned) if (this.#laneOf(shard) === lane) lane.dirty.add(shard);
        // Up to what is there now: under load it never ends, and others go on from here.
        while (await this.#flushBatch(lane));
      }
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
