// Targets of many sessions: what they take of Redis, and how fast they are back after every process was killed.

import { Redis } from 'ioredis';
import { type Deployment, startDeployment } from './deployment.ts';
import type { Finding } from './finding.ts';
import { faultText, noRates, openCrowd } from './stage.ts';

const sessions = 10_000;
const redisMegabytesMost = 100;
const backSecondsMost = 30;
/** Nobody waits longer for the last one. */
const backMs = 120_000;
/** The presence of the last ones is told in the background. */
const quietMs = 2000;

async function usedBytes({ redis }: Deployment): Promise<number> {
  const client = new Redis((redis as NonNullable<Deployment['redis']>).url);
  try {
    return Number(/^used_memory:(\d+)/m.exec(await client.info('memory'))?.[1]);
  } finally {
    client.disconnect();
  }
}

/** 10,000 sessions of as many users, in rooms of 10, each of which has said something. */
export async function measureRedisMemory(): Promise<Finding> {
  const deployment = await startDeployment({ processes: 2, env: noRates });
  try {
    const before = await usedBytes(deployment);
    const crowd = await openCrowd(deployment, { sockets: sessions, rooms: sessions / 10 });
    await Bun.sleep(quietMs);
    const entered = await usedBytes(deployment);
    await crowd.send(1000, sessions / 1000);
    await Bun.sleep(quietMs);
    const after = await usedBytes(deployment);
    const fault = faultText(crowd.faults(), crowd.trouble);
    crowd.close();
    const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
    return {
      target: '10,000 sessions in Redis (two processes, 1,000 rooms of 10, a message each)',
      goal: redisMegabytesMost,
      figure: after / 1e6,
      unit: 'MB in all',
      side: 'below',
      details: `used_memory: ${megabytes(before)} MB empty, +${megabytes(entered - before)} by the sessions (${((entered - before) / sessions).toFixed(0)} B each), +${megabytes(after - entered)} by 10,000 messages`,
      fault,
    };
  } finally {
    await deployment.stop();
  }
}

/** All four processes killed at once and started again; clients come back by themselves, each from its cursor. */
export async function measureReturn(): Promise<Finding> {
  // Rates of connecting are the defaults here, one address for 250 clients; those of messages are not the question.
  const deployment = await startDeployment({
    processes: 4,
    env: { MESSAGE_RATE: '0', GROUP_MESSAGE_RATE: '0' },
  });
  try {
    const crowd = await openCrowd(deployment, { sockets: sessions, rooms: sessions / 10 });
    await crowd.send(200, 5);
    crowd.expectCut();
    const start = performance.now();
    await Promise.all(deployment.gateways.map((gateway) => gateway.kill()));
    await Promise.all(deployment.gateways.map((gateway) => gateway.start()));
    const upSeconds = (performance.now() - start) / 1000;
    const refusedBefore = crowd.refusedUpgrades;
    const { p50, max } = await crowd.back(backMs);
    const refused = crowd.refusedUpgrades - refusedBefore;
    await crowd.send(200, 5);
    const fault = faultText(crowd.faults(), crowd.trouble);
    crowd.close();
    return {
      target: '10,000 clients of four processes back, default rates (kill -9 of all four, started again)',
      goal: backSecondsMost,
      figure: max / 1000,
      unit: 's to the last one',
      side: 'below',
      details: `processes up after ${upSeconds.toFixed(1)} s, half of the clients back after ${(p50 / 1000).toFixed(1)} s; ${refused} upgrades refused and tried again after that; messages sent before and after: each once, in order`,
      fault,
    };
  } finally {
    await deployment.stop();
  }
}
