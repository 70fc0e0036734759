// Puts a batch of the flusher into the store, whatever is in it: rows that the store refuses are found by halves and parked,
// messages that slipped past the log twice are stored as deleted ones. Made by flusher.ts; knows nothing of shards.

import { createHash } from 'node:crypto';
import type { Clock, Random } from '../core/clock.ts';
import { encodeMap, encodeMessage, encodeMessageDeleted } from '../core/protocol/encode.ts';
import { decodeEvent } from '../core/protocol/events.ts';
import { stamp } from '../core/protocol/stamp.ts';
import { makeUuid } from '../core/uuid.ts';
import type { Append, Log } from './log/log.ts';
import type { Tail } from './log/tail.ts';
import type { Logger } from './logger.ts';
import { type Repeat, type Store, type StoredEvent, StoreRefused } from './store/store.ts';

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

export interface BatchCommitParts {
  readonly tail: Tail;
  readonly log: Log;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  onParked(): void;
}

export class BatchCommit {
  readonly #parts: BatchCommitParts;

  constructor(parts: BatchCommitParts) {
    this.#parts = parts;
  }

  /** Settles when the store has all of it, or has refused it for good; rejects where it does not answer. */
  async commit(events: readonly StoredEvent[]): Promise<void> {
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
      await this.commit(events.slice(0, middle));
      await this.commit(events.slice(middle));
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
    await this.commit(events.map((event, i) => (doubles.has(i) ? makeVoid(event) : event)));
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
}
