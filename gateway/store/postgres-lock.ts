// Makes this process the only one on a database: an advisory lock on a connection of its own, held for life. Used where
// the log runs in the process. Commits go over the same connection: with the lock the right to commit is lost, too.

import { lockSpace } from './postgres-migrate.ts';
import { type Parameter, type PoolOptions, PostgresPool, type Queries } from './postgres-pool.ts';
import { StoreStartError, StoreUnavailable } from './store.ts';

/** Time between two tries to have the lock again. */
const retryMs = 250;

export class ExclusiveLock implements Queries {
  readonly #options: PoolOptions;
  readonly #holder: string;
  #pool: PostgresPool | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isTaken = false;
  #isClosed = false;

  /** `holder`: a name that no other process has. */
  constructor(options: PoolOptions, holder: string) {
    this.#options = options;
    this.#holder = holder;
  }

  /** The first time: rejects with StoreStartError where another process has the lock. */
  async open(): Promise<void> {
    this.#pool = await this.#take();
    if (this.#pool !== null) return;
    throw new StoreStartError(
      'DATABASE_URL: the database is in use by another Parley process without REDIS_URL',
    );
  }

  /** From here on it shows where another process wrote while this one did not hold the lock. */
  async sign(): Promise<void> {
    await this.query(
      'INSERT INTO exclusive_holder (holder) VALUES ($1) ON CONFLICT (is_only) DO UPDATE SET holder = excluded.holder',
      [this.#holder],
    );
  }

  /** Throws StoreUnavailable unless the lock is held. */
  require(): void {
    if (this.#isTaken) {
      throw new StoreUnavailable('another Parley process has taken the database over: restart this one');
    }
    if (this.#pool === null) throw new StoreUnavailable('the lock on the database was lost');
  }

  async query<Row extends object>(
    text: string,
    parameters: readonly Parameter[] = [],
  ): Promise<readonly Row[]> {
    this.require();
    return await (this.#pool as PostgresPool).query<Row>(text, parameters);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const pool = this.#pool;
    this.#pool = null;
    await pool?.close();
  }

  /** A connection that has the lock, or null where another process has it. */
  async #take(): Promise<PostgresPool | null> {
    const pool = new PostgresPool({
      ...this.#options,
      poolMax: 1,
      idleMs: 0,
      onClose: () => this.#lose(pool),
    });
    try {
      const [row] = await pool.query<{ isHeld: boolean }>(
        `SELECT pg_try_advisory_lock(${lockSpace}, hashtext(current_schema())) AS "isHeld"`,
      );
      if (row?.isHeld) return pool;
      await pool.close();
      return null;
    } catch (error) {
      pool.destroy();
      throw error;
    }
  }

  #lose(pool: PostgresPool): void {
    // What is sent from now on would run on a connection without the lock.
    pool.destroy();
    if (this.#pool !== pool) return;
    this.#pool = null;
    this.#takeLater();
  }

  #takeLater(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#takeAgain().then(
        (isHeld) => {
          if (!isHeld) this.#takeLater();
        },
        () => this.#takeLater(),
      );
    }, retryMs);
  }

  async #takeAgain(): Promise<boolean> {
    const pool = await this.#take();
    if (pool === null) return false;
    // A connection that is lost from here on refuses this.
    const [row] = await pool.query<{ holder: string }>('SELECT holder FROM exclusive_holder');
    if (this.#isClosed) {
      await pool.close();
      return true;
    }
    this.#isTaken = row?.holder !== this.#holder;
    this.#pool = pool;
    return true;
  }
}
