// Targets of a store that has a past: a page of history at a million messages, and what they take on the disk. Filled
// through the store's own commit, as the flusher does it; pages are asked for over a socket, of a gateway as it runs.

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { encodeMessage } from '../../core/protocol/encode.ts';
import { clientOps } from '../../core/protocol/ops.ts';
import { stamp } from '../../core/protocol/stamp.ts';
import { makeUuid } from '../../core/uuid.ts';
import { openPostgresStore } from '../../gateway/store/postgres.ts';
import { openSqliteStore } from '../../gateway/store/sqlite.ts';
import type { Store, StoredEvent } from '../../gateway/store/store.ts';
import { jwtSecret, makeFolder, type PostgresServer, startPostgres } from '../servers.ts';
import { makeTokens, userName } from '../swarm/dialect.ts';
import { Crowd, percentiles, roomName } from './crowd.ts';
import { startDeployment } from './deployment.ts';
import type { Finding } from './finding.ts';
import { noRates } from './stage.ts';

export type StoreName = 'sqlite' | 'postgres';

const rooms = 100;
const users = 1000;
const batchEvents = 1000;
const lanes = 2;
const pages = 2000;
const warmPages = 200;
const pageEvents = 50;
const pageMsMost = 10;
const bytesMost = 1000;
const enterMs = 20_000;
const words =
  'the a to and of in is it you that for on with this we have be not are at can will but all one so if out up about just now get when how what them time would like some see only new work good know take people into year'.split(
    ' ',
  );

export async function measureStorage(name: StoreName, messages: number): Promise<Finding[]> {
  const dataDir = makeFolder();
  const postgres = name === 'postgres' ? await startPostgres() : null;
  try {
    const open = () => (postgres === null ? openSqliteStore({ dataDir }) : openPostgres(postgres));
    const store = await open();
    for (let i = 0; i < rooms; i++) await makeStoredRoom(store, roomName(i));
    const emptyBytes = await sizeOf(dataDir, postgres);
    const start = performance.now();
    await fill(store, messages);
    const fillSeconds = (performance.now() - start) / 1000;
    await store.close();
    const bytes = (await sizeOf(dataDir, postgres)) - emptyBytes;
    const shape = `${messages.toLocaleString('en-US')} messages of about 100 B in ${rooms} rooms`;
    const disk: Finding = {
      target: `Disk, ${name}: ${shape}`,
      goal: bytesMost,
      figure: bytes / messages,
      unit: 'bytes a message (MB per million: the same)',
      side: 'below',
      details: `filled in ${fillSeconds.toFixed(0)} s, ${Math.round(messages / fillSeconds).toLocaleString('en-US')} rows/s; ${await partsOf(postgres)}`,
      fault: null,
    };
    return [disk, await measurePages(name, dataDir, postgres, messages)];
  } finally {
    await postgres?.stop();
  }
}

function openPostgres({ url }: PostgresServer): Promise<Store> {
  return openPostgresStore({
    url,
    poolMax: lanes,
    idleMs: 0,
    connectMs: 2000,
    statementMs: 30_000,
    exclusive: false,
    logger: pino({ level: 'warn' }, pino.destination(2)),
  });
}

async function makeStoredRoom(store: Store, id: string): Promise<void> {
  const room = {
    id,
    name: id,
    type: 'group',
    public: true,
    encrypted: false,
    avatarUrl: null,
    metadata: null,
    retentionDays: null,
    createdBy: userName(0),
    createdAt: Date.now(),
  } as const;
  await store.createRoom(room, [{ user: userName(0), role: 'admin' }]);
}

/** Rooms grow side by side, as they do when people talk. */
async function fill(store: Store, messages: number): Promise<void> {
  const first = Date.now() - messages;
  let next = 0;
  const lane = async () => {
    while (next < messages) {
      const from = next;
      next = Math.min(messages, from + batchEvents);
      const events: StoredEvent[] = [];
      for (let i = from; i < next; i++) events.push(makeEvent(i, first + i));
      await store.commit(events);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

function makeEvent(index: number, ts: number): StoredEvent {
  const number = Math.floor(index / rooms) + 1;
  const sender = userName((index * 7919) % users);
  const id = makeUuid(ts, crypto.getRandomValues(new Uint8Array(10)));
  const bytes = encodeMessage(roomName(index % rooms), sender, id, 'text', makeText(index), null).slice();
  stamp(bytes, 0, number, ts);
  return { bytes, number };
}

/** 60 to 140 bytes of words, so that the search index has its work. */
function makeText(index: number): string {
  const size = 60 + (index % 81);
  let text = '';
  for (let i = index; text.length < size; i += 31)
    text += `${text === '' ? '' : ' '}${words[i % words.length]}`;
  return text.slice(0, size);
}

/** Bytes of the database on the disk, with its indexes; what is only waiting to be written again is not counted. */
async function sizeOf(dataDir: string, postgres: PostgresServer | null): Promise<number> {
  if (postgres === null) {
    return readdirSync(dataDir).reduce((sum, file) => sum + statSync(join(dataDir, file)).size, 0);
  }
  const { output } = await postgres.psql('CHECKPOINT; SELECT pg_database_size(current_database());');
  return Number(output);
}

/** Where the bytes are. */
async function partsOf(postgres: PostgresServer | null): Promise<string> {
  if (postgres === null) return 'the database file';
  const { output } = await postgres.psql(`
    SELECT string_agg(name || ' ' || size, ', ' ORDER BY bytes DESC) FROM (
      SELECT name, sum(bytes) AS bytes, pg_size_pretty(sum(bytes)) AS size FROM (
        SELECT regexp_replace(indexrelid::regclass::text, '_?p?[0-9]+', '') AS name, pg_relation_size(indexrelid) AS bytes
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE relname LIKE 'messages%'
        UNION ALL
        SELECT 'table', pg_table_size(oid) FROM pg_class WHERE relname LIKE 'messages%' AND relkind = 'r'
      ) AS parts GROUP BY name
    ) AS sums WHERE bytes > 1000000;`);
  return output;
}

/** Pages before a random place of a random room, one after the other. */
async function measurePages(
  name: StoreName,
  dataDir: string,
  postgres: PostgresServer | null,
  messages: number,
): Promise<Finding> {
  const deployment = await startDeployment({
    processes: 1,
    env: noRates,
    dataDir,
    ...(postgres === null ? {} : { postgres }),
  });
  try {
    const tokens = await makeTokens(rooms, jwtSecret);
    const crowd = new Crowd({ urls: [deployment.url], tokens, rooms, payloadBytes: 8 });
    await crowd.connect(enterMs);
    await crowd.enter(enterMs);
    const perRoom = Math.floor(messages / rooms);
    const ms: number[] = [];
    for (let i = 0; i < warmPages + pages; i++) {
      const room = Math.floor(Math.random() * rooms);
      const before = pageEvents + 1 + Math.floor(Math.random() * (perRoom - pageEvents));
      const took = await crowd.request(room, [clientOps.history, roomName(room), before, null, pageEvents]);
      if (i >= warmPages) ms.push(took);
    }
    crowd.close();
    const { p50, p95, p99, max } = percentiles(ms);
    return {
      target: `History page of ${pageEvents}, p95, ${name} with ${messages.toLocaleString('en-US')} messages`,
      goal: pageMsMost,
      figure: p95,
      unit: 'ms',
      side: 'below',
      details: `${pages} pages at random places, over a socket: p50 ${p50.toFixed(2)}, p99 ${p99.toFixed(2)}, most ${max.toFixed(1)} ms`,
      fault: crowd.trouble === '' ? null : crowd.trouble,
    };
  } finally {
    await deployment.stop();
  }
}
