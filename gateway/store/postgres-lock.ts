// Who may write a database: one process alone, with the log in it, or any number that share a log in Redis, never both. An
// advisory lock, exclusive or shared, on a connection of its own, held for life. Who is alone commits over that connection:
// with the lock the right to commit is lost, too. Made by postgres.ts; it never waits for the lock of another process.

import { randomUUID } from 'node:crypto';
import { lockSpace } from './postgres-migrate.ts';
import { type Parameter, type PoolOptions, PostgresPool, type Queries } from './postgres-pool.ts';
import { StoreStartError, StoreUnavailable } from './store.ts';

/** Time between two tries to have the lock again. */
const retryMs = 250;
/** Between two looks whether the connection with the lock still answers: one that is silently gone holds nothing. */
const checkMs = 5000;

export class DatabaseLock implements Queries {
  readonly #options: PoolOptions;
  readonly #isExclusive: boolean;
  /** The process that wrote last as the only one, as it was when this one began; null: none yet. */
  #holder: string | null = null;
  #pool: PostgresPool | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #check: ReturnType<typeof setInterval> | undefined;
  #isTaken = false;
  #isClosed = false;

  constructor(options: PoolOptions, isExclusive: boolean) {
    this.#options = options;
    this.#isExclusive = isExclusive;
  }

  /** The first time: rejects with StoreStartError where a process is there that this one may not be beside. */
  async open(): Promise<void> {
    const pool = await this.#take();
    if (pool !== null) {
      this.#hold(pool);
      return;
    }
    throw new StoreStartError(
      this.#isExclusive
        ? 'DATABASE_URL: the database is in use by another Parley process, and without REDIS_URL there can be one only'
        : 'DATABASE_URL: the database is in use by another Parley process that has no REDIS_URL',
    );
  }

  /** From here on it shows where a process wrote alone while this one did not hold the lock. */
  async sign(): Promise<void> {
    if (!this.#isExclusive) {
      this.#holder = await readHolder(this);
      return;
    }
    this.#holder = randomUUID();
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
    clearTimeout(this.#retry);
    clearInterval(this.#check);
    const pool = this.#pool;
    this.#pool = null;
    await pool?.close();
  }

  /** A connection that has the lock, or null where another process stands in the way. */
  async #take(): Promise<PostgresPool | null> {
    const pool = new PostgresPool({
      ...this.#options,
      poolMax: 1,
      idleMs: 0,
      onClose: () => this.#lose(pool),
    });
    try {
      const tryLock = this.#isExclusive ? 'pg_try_advisory_lock' : 'pg_try_advisory_lock_shared';
      const [row] = await pool.query<{ isHeld: boolean }>(
        `SELECT ${tryLock}(${lockSpace}, hashtext(current_schema())) AS "isHeld"`,
      );
      if (row?.isHeld) return pool;
      await pool.close();
      return null;
    } catch (error) {
      pool.destroy();
      throw error;
    }
  }

  #hold(pool: PostgresPool): void {
    this.#pool = pool;
    this.#check = setInterval(() => {
      pool.query('SELECT 1').catch(() => this.#lose(pool));
    }, checkMs);
  }

  #lose(pool: PostgresPool): void {
    // What is sent from now on would run on a connection without the lock.
    pool.destroy();
    if (this.#pool !== pool) return;
    this.#pool = null;
    clearInterval(this.#check);
    this.#takeLater();
  }

  #takeLater(): void {
    if (this.#isClosed) return;
    this.#retry = setTimeout(() => {
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
    const holder = await readHolder(pool);
    if (this.#isClosed) {
      await pool.close();
      return true;
    }
    this.#isTaken = holder !== this.#holder;
    this.#hold(pool);
    return true;
  }
}

/** The last process that had the database alone; null: none yet. */
export async function readHolder(db: Queries): Promise<string | null> {
  const [row] = await db.query<{ holder: string }>('SELECT holder FROM exclusive_holder');
  return row?.holder ?? null;
}
