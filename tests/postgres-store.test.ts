// The store on Postgres: the suite of every store, and what is true of Postgres alone.

import { afterAll, beforeAll } from 'bun:test';
import { pino } from 'pino';
import { openPostgresStore } from '../gateway/store/postgres.ts';
import type { Store } from '../gateway/store/store.ts';
import { storeConformance } from './conformance/store.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';

const logger = pino({ level: 'silent' });
let server: PostgresServer;
let databases = 0;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.close();
});

function open(url: string, changes: Partial<Parameters<typeof openPostgresStore>[0]> = {}): Promise<Store> {
  return openPostgresStore({
    url,
    poolMax: 4,
    idleMs: 30_000,
    connectMs: 2000,
    statementMs: 10_000,
    exclusive: false,
    logger,
    ...changes,
  });
}

const freshUrl = () => server.createDatabase(`db${++databases}`);

storeConformance('postgres', async () => {
  const store = await open(await freshUrl());
  return { store, close: () => store.close() };
});
