// A Postgres server for as long as somebody holds this program's stdin: prints its URL in one line. Started by database.ts
// and by scripts/test.mjs, which is plain JavaScript and cannot start one itself.

import { startPostgres } from './postgres.ts';

const postgres = await startPostgres({ settings: { max_connections: '200' } });
console.log(postgres.url);
for await (const _ of process.stdin) {
  // Nothing is said.
}
await postgres.close();
process.exit(0);
