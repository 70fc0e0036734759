// Brings a Postgres database to this program's schema: plain SQL in sql/postgres/, one transaction a file. Called by
// postgres.ts at the start, where many processes may start at once, and by scripts/migrate.ts.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { firstLine, type PoolOptions, PostgresPool, sqlStateOf } from './postgres-pool.ts';
import { StoreStartError } from './store.ts';

const folder = fileURLToPath(new URL('../../sql/postgres', import.meta.url));
/** `PRLY`: the first half of our advisory locks' numbers; the second is the schema's. */
export const lockSpace = 0x50524c59;
/** Raised where another process has done the work meanwhile. */
const doneState = 'PA002';

/** A migration may take longer than any other statement: as long as a timer can. */
const migrationMs = 2 ** 31 - 1;

/** Answers the schema versions before and after; 0 for a new database. Rejects with StoreStartError. */
export async function migratePostgres(options: PoolOptions): Promise<{ from: number; to: number }> {
  const pool = new PostgresPool({ ...options, poolMax: 1, statementMs: migrationMs });
  try {
    return await migrateOver(pool, readMigrations());
  } finally {
    pool.destroy();
  }
}

async function migrateOver(
  pool: PostgresPool,
  migrations: readonly string[],
): Promise<{ from: number; to: number }> {
  const from = await readVersion(pool);
  if (from > migrations.length) {
    throw new StoreStartError(
      `DATABASE_URL: the database has schema ${from}, this program knows ${migrations.length}: use a newer Parley`,
    );
  }
  for (let version = from + 1; version <= migrations.length; version++) {
    await migrate(pool, version, migrations[version - 1] as string);
  }
  return { from, to: migrations.length };
}

async function readVersion(pool: PostgresPool): Promise<number> {
  const [table] = await pool.query<{ name: string | null }>(
    "SELECT to_regclass('schema_versions')::text AS name",
  );
  if (table?.name == null) return 0;
  const [row] = await pool.query<{ version: number }>(
    'SELECT coalesce(max(version), 0) AS version FROM schema_versions',
  );
  return row?.version ?? 0;
}

/** Several statements sent as one are one transaction; the lock ends with it. */
async function migrate(pool: PostgresPool, version: number, sql: string): Promise<void> {
  try {
    await pool.query(`SELECT pg_advisory_xact_lock(${lockSpace + 1}, hashtext(current_schema()));
      CREATE TABLE IF NOT EXISTS schema_versions
        (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
      DO $do$ BEGIN
        IF EXISTS (SELECT FROM schema_versions WHERE version >= ${version}) THEN
          RAISE EXCEPTION 'done' USING ERRCODE = '${doneState}';
        END IF;
      END $do$;
      ${sql};
      INSERT INTO schema_versions (version) VALUES (${version})`);
  } catch (error) {
    const { cause } = error as Error;
    if (sqlStateOf(cause) === doneState) return;
    throw new StoreStartError(`DATABASE_URL: schema ${version} cannot be made: ${firstLine(cause)}`, {
      cause,
    });
  }
}

/** The migrations in order; the n-th brings the schema to version n. */
function readMigrations(): readonly string[] {
  const names = readdirSync(folder)
    .filter((name) => /^\d{3}_.*\.sql$/.test(name))
    .sort();
  return names.map((name, index) => {
    if (Number(name.slice(0, 3)) !== index + 1) throw new Error(`sql/postgres: ${name} is out of order`);
    return readFileSync(join(folder, name), 'utf8');
  });
}
