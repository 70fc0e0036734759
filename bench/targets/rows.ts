// Target: rows a second from the log into Postgres, by the flusher alone. `npm run bench:drain` asks the same beside
// `\copy`, in many rounds.

import { LogProcess } from '../log-handle.ts';
import type { Spent } from '../log-process.ts';
import { startPostgres, startRedis } from '../servers.ts';
import type { Finding } from './finding.ts';

const rowsLeast = 5000;
const events = 60_000;
const rooms = 100;
const connections = 4;

export async function measureRows(): Promise<Finding> {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const log = new LogProcess(null);
  try {
    await log.open(redis, postgres, {
      rooms,
      isOneShard: false,
      isSubscribed: false,
      flushes: false,
      poolMax: connections,
    });
    await log.tell({ step: 'fill', events, seed: 1 });
    const spent = await log.measure<Spent>({ step: 'drain', events });
    const { output } = await postgres.psql('SELECT count(*) FROM messages');
    const us = (seconds: number) => `${((seconds / spent.events) * 1e6).toFixed(1)} us`;
    return {
      target: `Rows into Postgres, ${events.toLocaleString('en-US')} waiting in ${rooms} rooms`,
      goal: rowsLeast,
      figure: spent.events / spent.seconds,
      unit: 'rows/s',
      side: 'above',
      details: `a row costs the gateway ${us(spent.gatewayCpu)}, Postgres ${us(spent.postgresCpu)}, Redis ${us(spent.redisCpu)}`,
      fault: Number(output) === events ? null : `${output} rows of ${events} are in the table`,
    };
  } finally {
    await log.stop();
    await redis.stop();
    await postgres.stop();
  }
}
