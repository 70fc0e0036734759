// Runs in which sockets count and messages do not: what an idle one costs, how fast they come, and one message to a crowd.

import { cpuSeconds } from './machine.ts';
import { memoryOf, stageOf } from './run.ts';
import type { ConnectShape, CrowdShape, IdleShape } from './shapes.ts';
import { SwarmGroup, type SwarmShape } from './swarm-group.ts';
import type { Deployment, System } from './systems/system.ts';

/** Sockets that are there before memory is first read, so that what the first ones bring about is not counted. */
const firstPart = 0.1;
/** Memory is read when it has not moved for so many looks. */
const calmLooks = 4;
const lookMs = 500;
const looksMax = 40;
const calmShare = 0.005;
const crowdMessages = 5;

export interface IdleRun {
  readonly kind: 'idle';
  readonly socketBytes: number;
}

export interface ConnectRun {
  readonly kind: 'connect';
  readonly perSecond: number;
  readonly serverUs: number;
  readonly serverBusy: number;
  readonly swarmBusy: number;
}

export interface CrowdRun {
  readonly kind: 'crowd';
  readonly sockets: number;
  readonly connectSeconds: number;
  /** By message: ms from its send to the last socket. */
  readonly lastMs: readonly number[];
  readonly p50Ms: number;
  readonly serverBytes: number;
  readonly faults: number;
}

type SocketShape = IdleShape | ConnectShape | CrowdShape;

async function onStage<T>(
  system: System,
  shape: SocketShape,
  processes: number,
  job: (deployment: Deployment, swarm: SwarmGroup) => Promise<T>,
): Promise<T> {
  const deployment = await system.start(stageOf(shape, true, null));
  const swarmShape: SwarmShape = {
    rooms: shape.rooms,
    members: shape.members,
    senders: 1,
    roomsEach: 1,
    payloadBytes: 100,
    entersAtOnce: true,
    processes,
  };
  const swarm = new SwarmGroup(system.dialect, deployment.ports, swarmShape);
  try {
    await swarm.prepare();
    return await job(deployment, swarm);
  } finally {
    await swarm.stop();
    await deployment.stop();
  }
}

/** Memory once it has come to rest: garbage is let go of only now and then. */
export async function calmMemory(deployment: Deployment): Promise<number> {
  let last = memoryOf(deployment);
  for (let look = 0, calm = 0; look < looksMax && calm < calmLooks; look++) {
    await Bun.sleep(lookMs);
    const now = memoryOf(deployment);
    calm = Math.abs(now - last) < last * calmShare ? calm + 1 : 0;
    last = now;
  }
  return last;
}

export function runIdle(system: System, shape: IdleShape): Promise<IdleRun> {
  return onStage(system, shape, 1, async (deployment, swarm) => {
    await swarm.open(firstPart);
    const before = await calmMemory(deployment);
    await swarm.open();
    const after = await calmMemory(deployment);
    const sockets = shape.rooms * shape.members * (1 - firstPart);
    return { kind: 'idle', socketBytes: (after - before) / sockets };
  });
}

const sumCpu = (pids: readonly number[]) => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);

export function runConnect(system: System, shape: ConnectShape, swarms: number): Promise<ConnectRun> {
  return onStage(system, shape, swarms, async (deployment, swarm) => {
    const [server, load] = [sumCpu(deployment.servers), sumCpu(swarm.pids)];
    const { seconds } = await swarm.open();
    const serverCpu = sumCpu(deployment.servers) - server;
    const sockets = shape.rooms * shape.members;
    return {
      kind: 'connect',
      perSecond: sockets / seconds,
      serverUs: (serverCpu / sockets) * 1e6,
      serverBusy: serverCpu / seconds,
      swarmBusy: (sumCpu(swarm.pids) - load) / seconds,
    };
  });
}

export function runCrowd(system: System, shape: CrowdShape): Promise<CrowdRun> {
  return onStage(system, shape, shape.servers, async (deployment, swarm) => {
    const { seconds } = await swarm.open();
    const lastMs: number[] = [];
    let p50Ms = 0;
    let faults = 0;
    for (let i = 0; i < crowdMessages; i++) {
      const [own, others] = await Promise.all([
        swarm.drive({ inFlight: 1 }, { messages: 1 }, true),
        swarm.expect(1),
      ]);
      const { p50, max } = others.latency.percentiles();
      lastMs.push(Math.max(own.latency.percentiles().max, max));
      p50Ms = p50;
      const all = [own.faults, others.faults].flatMap((one) => Object.values(one));
      faults = all.reduce((sum, count) => sum + count, 0);
    }
    const sockets = shape.rooms * shape.members;
    return {
      kind: 'crowd',
      sockets,
      connectSeconds: seconds,
      lastMs,
      p50Ms,
      serverBytes: memoryOf(deployment),
      faults,
    };
  });
}
