// `npm run db:migrate`: brings the database that the settings name to this program's schema, and says so in one line.
// The gateway does the same at its start; this is for operators who want it done before.

import { type Config, ConfigError, loadConfig } from '../gateway/config.ts';
import { migratePostgresAt } from '../gateway/store/postgres.ts';
import { migrateSqlite } from '../gateway/store/sqlite.ts';
import { StoreStartError } from '../gateway/store/store.ts';

async function migrate(config: Config): Promise<string> {
  const { databaseUrl, dataDir } = config;
  const place =
    databaseUrl === undefined ? `the embedded database in ${dataDir}` : 'the database at DATABASE_URL';
  const { from, to } =
    databaseUrl === undefined ? migrateSqlite({ dataDir }) : await migratePostgres(config, databaseUrl);
  return from === to ? `${place}: schema ${to}, nothing to do` : `${place}: schema ${from} -> ${to}`;
}

function migratePostgres(config: Config, url: string): Promise<{ from: number; to: number }> {
  const { databaseIdleMs: idleMs, databaseConnectMs: connectMs, databaseStatementMs: statementMs } = config;
  return migratePostgresAt({ url, poolMax: 1, idleMs, connectMs, statementMs });
}

try {
  console.log(await migrate(loadConfig(process.env)));
} catch (error) {
  if (!(error instanceof StoreStartError || error instanceof ConfigError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
