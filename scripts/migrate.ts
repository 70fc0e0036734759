// `npm run db:migrate`: brings the database that the settings name to this program's schema, and says so in one line.
// The gateway does the same at its start; this is for operators who want it done before.

import { ConfigError, loadConfig } from '../gateway/config.ts';
import { migrateSqlite } from '../gateway/store/sqlite.ts';
import { StoreStartError } from '../gateway/store/store.ts';

function migrate(): string {
  const { databaseUrl, dataDir } = loadConfig(process.env);
  if (databaseUrl !== undefined) throw new StoreStartError('DATABASE_URL: there is no Postgres store yet');
  const { from, to } = migrateSqlite({ dataDir });
  const place = `the embedded database in ${dataDir}`;
  return from === to ? `${place}: schema ${to}, nothing to do` : `${place}: schema ${from} -> ${to}`;
}

try {
  console.log(migrate());
} catch (error) {
  if (!(error instanceof StoreStartError || error instanceof ConfigError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
