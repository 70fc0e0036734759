// Level 2 where Redis fsyncs once a second: WAITAOF (Redis 7.2), on a connection of its own, since it blocks that
// connection until the append log is on disk. One wait serves everything that was appended before it began.

import type { Redis } from 'ioredis';

/** A wait that takes longer counts as failed. */
const waitMs = 2500;

interface Waiter {
  readonly generation: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class RedisSync {
  readonly #redis: Redis;
  readonly #key: string;
  #generation = 0;
  #waiting: Waiter[] = [];
  #isWaiting = false;

  /** `key` is written before each wait; what it holds means nothing. */
  constructor(redis: Redis, key: string) {
    this.#redis = redis;
    this.#key = key;
    redis.on('close', () => this.#generation++);
  }

  /**
   * Names the connection as it is now: what was appended after this was asked for, and synced with the same answer, was
   * appended to the server that was synced.
   */
  get generation(): number {
    return this.#generation;
  }

  /** Settles when everything appended so far is on disk; rejects where that cannot be told. */
  wait(generation: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ generation, resolve, reject });
      if (!this.#isWaiting) void this.#waitForAll();
    });
  }

  async #waitForAll(): Promise<void> {
    this.#isWaiting = true;
    while (this.#waiting.length > 0) {
      const waiters = this.#waiting;
      this.#waiting = [];
      const error = await this.#sync();
      for (const { generation, resolve, reject } of waiters) {
        if (error === null && generation === this.#generation) resolve();
        else reject(error ?? new Error('the connection was lost meanwhile'));
      }
    }
    this.#isWaiting = false;
  }

  /** Null, or why it is not known to be on disk. */
  async #sync(): Promise<Error | null> {
    try {
      // A write of this connection's own, as WAITAOF waits for nothing else.
      const [, answer] = await Promise.all([
        this.#redis.set(this.#key, 1),
        this.#redis.call('WAITAOF', 1, 0, waitMs),
      ]);
      const [fsynced] = answer as [number, number];
      // It also answers when the time is over.
      return Number(fsynced) >= 1 ? null : new Error('the append log is not on disk yet');
    } catch (error) {
      return error as Error;
    }
  }

  close(): void {
    this.#redis.disconnect();
  }
}
