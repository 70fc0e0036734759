// The store on Postgres, for any number of processes, or for one alone on a database (`exclusive`). Made by main.ts;
// each call is one statement, and each fails with what store.ts names. It reconnects by itself, at the next call.

import type { Logger } from '../logger.ts';
import { accountMethods } from './postgres-accounts.ts';
import { commitBatch } from './postgres-commit.ts';
import { eventMethods } from './postgres-events.ts';
import { DatabaseLock, readHolder } from './postgres-lock.ts';
import { markMethods } from './postgres-marks.ts';
import { migratePostgres } from './postgres-migrate.ts';
import { firstLine, type PoolOptions, PostgresPool, type Queries } from './postgres-pool.ts';
import { roomMethods } from './postgres-rooms.ts';
import { type Store, StoreStartError } from './store.ts';

/** The oldest server whose SQL is what this store writes. */
const serverVersionMin = 14;

export interface PostgresOptions extends Omit<PoolOptions, 'onClose'> {
  /** Not read from yet: every read goes to the primary. */
  readonly replicaUrl?: string | undefined;
  /** This process alone may use the database: others are refused, as it is where others are. */
  readonly exclusive: boolean;
  readonly logger: Logger;
}

/** Connects, migrates as needed. Rejects with StoreStartError. */
export async function openPostgresStore(options: PostgresOptions): Promise<Store> {
  const pool = await connect(options);
  const lock = new DatabaseLock(options, options.exclusive);
  try {
    await lock.open();
    const { from, to } = await migratePostgres(options);
    if (from !== to) options.logger.info({ from, to }, 'the database was migrated');
    await lock.sign();
  } catch (error) {
    await lock.close();
    pool.destroy();
    throw startError(error);
  }
  const guarded = guardPool(pool, lock);
  return makeStore(guarded, options.exclusive ? lock : guarded);
}

/** Migrates the database and lets go of it; answers the versions before and after. */
export async function migratePostgresAt(
  options: Omit<PoolOptions, 'onClose'>,
): Promise<{ from: number; to: number }> {
  const pool = await connect(options);
  try {
    return await migratePostgres(options);
  } catch (error) {
    throw startError(error);
  } finally {
    await pool.close();
  }
}

/** A name of the last process that had the database alone, another one each time; '' where there was none yet. */
export async function lastAlone(options: Omit<PoolOptions, 'onClose'>): Promise<string> {
  const pool = new PostgresPool({ ...options, poolMax: 1 });
  try {
    return (await readHolder(pool)) ?? '';
  } catch (error) {
    throw startError(error);
  } finally {
    pool.destroy();
  }
}

async function connect(options: PoolOptions): Promise<PostgresPool> {
  let pool: PostgresPool | undefined;
  try {
    pool = new PostgresPool(options);
    const [server] = await pool.query<{ version: string; encoding: string }>(
      "SELECT current_setting('server_version_num') AS version, current_setting('server_encoding') AS encoding",
    );
    if (Number(server?.version) < serverVersionMin * 10_000) {
      throw new StoreStartError(`DATABASE_URL: Postgres ${serverVersionMin} or newer is needed`);
    }
    if (server?.encoding !== 'UTF8') throw new StoreStartError('DATABASE_URL: the database must be in UTF8');
    return pool;
  } catch (error) {
    pool?.destroy();
    throw startError(error);
  }
}

/** One line; never the URL, which holds a password. */
function startError(error: unknown): StoreStartError {
  if (error instanceof StoreStartError) return error;
  return new StoreStartError(`DATABASE_URL: Postgres cannot be used: ${firstLine(error)}`, { cause: error });
}

/** `writer` takes the commits. */
function makeStore(db: Queries & { close(): Promise<void> }, writer: Queries): Store {
  return {
    ...accountMethods(db),
    ...roomMethods(db),
    ...eventMethods(db),
    ...markMethods(db),
    commit: (events) => commitBatch(writer, events),
    async check() {
      await db.query('SELECT 1');
    },
    close: () => db.close(),
  };
}

/** Without the lock nothing is asked and nothing is written. */
function guardPool(pool: PostgresPool, lock: DatabaseLock): Queries & { close(): Promise<void> } {
  return {
    async query<Row extends object>(...call: Parameters<Queries['query']>): Promise<readonly Row[]> {
      lock.require();
      return await pool.query<Row>(...call);
    },
    async close(): Promise<void> {
      // The lock last: until then nobody else may begin.
      await pool.close();
      await lock.close();
    },
  };
}
