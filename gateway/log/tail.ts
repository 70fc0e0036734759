// The tail seam: what the flusher needs of a log that keeps events until the store has them. redis-tail.ts implements it;
// the log of one process has none, as it commits before it publishes.

import type { StoredEvent } from '../store/store.ts';

/** The front of a shard's wal: whole entries. */
export interface TailBatch {
  readonly shard: number;
  /** Names the log since it last may have lost something. */
  readonly incarnation: string;
  readonly firstId: string;
  readonly lastId: string;
  readonly bytes: number;
  readonly events: readonly StoredEvent[];
  /** There is more behind it. */
  readonly more: boolean;
}

/** Who flushes, as one process sees it. */
export interface Leases {
  /** Processes that live. */
  readonly processes: number;
  /** Shards that this one has the lease of. */
  readonly mine: ReadonlySet<number>;
  /** Shards that no living process has. */
  readonly free: readonly number[];
  /** Others that live under the name of this one, which is a mistake of whoever named them. */
  readonly namesakes: number;
}

export interface Tail {
  readonly shards: number;
  /** Says that this process lives, which renews its leases, and takes those of these shards that nobody has. */
  meet(wanted: readonly number[]): Promise<Leases>;
  /** Gives leases of this process back. */
  release(shards: readonly number[]): Promise<void>;
  /** This process no longer counts. */
  leave(): Promise<void>;
  /** Whether what waits is on disk before its senders hear of it. */
  readonly isOnDisk: boolean;
  /**
   * `onWake` is called when a shard's wal is no longer empty, and with `isAwaited` when somebody waits for what came into it
   * to be committed; it may be missed.
   */
  watch(shard: number, onWake: (isAwaited: boolean) => void): Promise<void>;
  unwatch(shard: number): void;
  /** Those of these shards whose wal is not empty. */
  waiting(shards: readonly number[]): Promise<readonly number[]>;
  /** The front of the wal, whole entries of about `eventsMax` events; null where it is empty. */
  read(shard: number, eventsMax: number): Promise<TailBatch | null>;
  /**
   * The store has committed the batch; answers how many events are left. May be repeated, and done by two owners. Where
   * nothing is left, the next append wakes the watchers.
   */
  committed(batch: TailBatch): Promise<number>;
  /** Keeps an event that the store refuses for good, for a human to look at. */
  park(room: string, event: StoredEvent, reason: string): Promise<void>;
  /** Forgets message ids that are old, and rooms of the shard that are idle and fully committed; answers how many. */
  sweep(shard: number): Promise<number>;
}
