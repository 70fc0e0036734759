import { pino } from 'pino';
import { openPostgresStore } from '../gateway/store/postgres.ts';
import { historyConformance } from './conformance/zz-history-tmp.ts';
import { startPostgres } from './postgres.ts';
const server = await startPostgres();
let n = 0;
historyConformance('pg', async () => {
  const store = await openPostgresStore({ url: await server.createDatabase(`d${++n}`), poolMax: 4, idleMs: 0, connectMs: 2000, statementMs: 10000, exclusive: false, logger: pino({ level: 'silent' }) });
  return { store, close: () => store.close() };
});
