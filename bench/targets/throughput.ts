// Targets of the live path: messages a second against CPU and memory of a process, and how far the database lags behind.

import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { RedisKeys } from '../../gateway/log/redis-keys.ts';
import { percentiles } from './crowd.ts';
import { type Deployment, startDeployment } from './deployment.ts';
import type { Finding } from './finding.ts';
import { faultText, measureBusy, msText, noRates, openCrowd, untilGrown } from './stage.ts';

const warmSeconds = 5;
/** The most of a core that a process may take. */
const busyMost = 0.6;
const memoryMost = 512;
const lagMost = 100;
const lagLookMs = 50;
/** What the gateways are left with; the lag is read at these keys. */
const keyPrefix = 'parley';
const logShards = 64;

export interface TargetOptions {
  readonly seconds: number;
  readonly profileDir: string | null;
  /** Right after the start of Redis, when each id is looked up in Postgres. */
  readonly isYoung: boolean;
}

interface Shape {
  readonly title: string;
  readonly processes: number;
  readonly isClustered: boolean;
  readonly sockets: number;
  readonly rooms: number;
  readonly perSecond: number;
}

const one = { processes: 1, sockets: 2500, perSecond: 1000 } as const;

export const oneShapes: readonly Shape[] = [
  { ...one, title: 'embedded, 250 rooms of 10', isClustered: false, rooms: 250 },
  { ...one, title: 'embedded, 50 rooms of 50', isClustered: false, rooms: 50 },
  { ...one, title: 'on Redis, 50 rooms of 50', isClustered: true, rooms: 50 },
];

export const fourShapes: readonly Shape[] = [
  {
    title: '1,000 rooms of 10, each on all four',
    processes: 4,
    isClustered: true,
    sockets: 10_000,
    rooms: 1000,
    perSecond: 4000,
  },
];

/** The most memory that the process ever held, in MB. */
function peakMegabytes(pid: number): number {
  const line = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return (Number(line ?? 0) * 1024) / 1e6;
}

export async function measureThroughput(shape: Shape, options: TargetOptions): Promise<Finding[]> {
  const { title, processes, isClustered, sockets, rooms, perSecond } = shape;
  const deployment = await startDeployment({
    processes,
    isClustered,
    env: noRates,
    profileDir: options.profileDir,
  });
  try {
    const crowd = await openCrowd(deployment, { sockets, rooms });
    if (!options.isYoung) await untilGrown(deployment);
    await crowd.send(perSecond, warmSeconds);
    const { busy, result } = await measureBusy(deployment, () => crowd.send(perSecond, options.seconds));
    const memory = Math.max(...deployment.gateways.map(({ pid }) => peakMegabytes(pid)));
    const fault = faultText(crowd.faults(), crowd.trouble);
    crowd.close();
    const percent = (share: number) => `${Math.round(share * 100)} %`;
    const age = isClustered && options.isYoung ? ', Redis just started' : '';
    const name = `${perSecond.toLocaleString('en-US')} messages/s, ${processes === 1 ? 'one process' : `${processes} processes`}, ${sockets.toLocaleString('en-US')} sockets (${title}${age})`;
    const details = [
      `${Math.round((perSecond * sockets) / rooms / 1000)} k deliveries/s`,
      `delivery ${msText(result.delivery)}`,
      `ack ${msText(result.ack)}`,
      `gateways ${busy.gateways.map(percent).join(' ')}`,
      ...(isClustered ? [`Redis ${percent(busy.redis)}`, `Postgres ${percent(busy.postgres)}`] : []),
      `load ${percent(busy.crowd)}`,
      `steal ${percent(busy.steal)}`,
      // The messages took longer than their senders: a second or more of the run is waiting.
      ...(busy.seconds > options.seconds + 1 ? [`took ${busy.seconds.toFixed(1)} s`] : []),
    ].join(' · ');
    return [
      {
        target: `CPU of a process: ${name}`,
        goal: busyMost * 100,
        figure: Math.max(...busy.gateways) * 100,
        unit: '% of a core',
        side: 'below',
        details,
        fault,
      },
      {
        target: `Memory of a process: ${name}`,
        goal: memoryMost,
        figure: memory,
        unit: 'MB',
        side: 'below',
        details: 'VmHWM: the peak since its start',
        fault,
      },
    ];
  } finally {
    await deployment.stop();
  }
}

/** Messages that are acknowledged and not in Postgres, looked at all the time at an even load. */
export async function measureLag(options: TargetOptions): Promise<Finding> {
  const deployment = await startDeployment({
    processes: 1,
    isClustered: true,
    env: noRates,
    profileDir: options.profileDir,
  });
  const redis = new Redis((deployment.redis as NonNullable<Deployment['redis']>).url);
  try {
    const crowd = await openCrowd(deployment, { sockets: 500, rooms: 50 });
    if (!options.isYoung) await untilGrown(deployment);
    await crowd.send(one.perSecond, warmSeconds);
    const looks: number[] = [];
    const sending = crowd.send(one.perSecond, options.seconds);
    let isOver = false;
    const end = sending.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      looks.push(await waitingEvents(redis));
      await Bun.sleep(lagLookMs);
    }
    await end;
    // The looks while nothing was sent any more.
    looks.splice(Math.floor((options.seconds * 1000) / lagLookMs));
    const fault = faultText(crowd.faults(), crowd.trouble);
    crowd.close();
    const { p50, p95, p99, max } = percentiles(looks);
    return {
      target: `Flush lag at 1,000 messages/s, p99${options.isYoung ? ', Redis just started' : ''}`,
      goal: lagMost,
      figure: p99,
      unit: 'messages',
      side: 'below',
      details: `${looks.length} looks: p50 ${p50}, p95 ${p95}, most ${max}; FLUSH_INTERVAL_MS is 20`,
      fault,
    };
  } finally {
    redis.disconnect();
    await deployment.stop();
  }
}

/** Over all shards. */
async function waitingEvents(redis: Redis): Promise<number> {
  const keys = new RedisKeys(keyPrefix, logShards);
  const pipeline = redis.pipeline();
  for (const { meta } of keys.shards) pipeline.hget(meta, 'wal_events');
  const answers = (await pipeline.exec()) ?? [];
  return answers.reduce((sum, [, value]) => sum + Number(value ?? 0), 0);
}
