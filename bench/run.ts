// One run: a system and a swarm, both new, a warm-up, and what was spent between two moments at which nothing was in flight.
// Used by every bench that has a swarm.

import { cpuSeconds, mainThreadSeconds, residentBytes, stealSeconds } from './machine.ts';
import { familyCpuSeconds } from './servers.ts';
import type { Percentiles } from './swarm/histogram.ts';
import type { Faults } from './swarm/ledger.ts';
import type { Pace } from './swarm/swarm.ts';
import { SwarmGroup, type SwarmShape, socketsPerProcess } from './swarm-group.ts';
import type { Deployment, Stage, System } from './systems/system.ts';

export interface Load extends Omit<SwarmShape, 'roomsEach' | 'entersAtOnce' | 'processes'> {
  /** Processes of the server. */
  readonly servers: number;
  readonly pace: Pace;
}

export interface Timing {
  readonly warmMs: number;
  readonly measureMs: number;
  /** Processes of the swarm at least. */
  readonly swarms: number;
  readonly profileDir: string | null;
}

/** What one run showed; all of it between two moments at which nothing was in flight, but for `faults`. */
export interface Run {
  readonly seconds: number;
  readonly messages: number;
  readonly deliveries: number;
  readonly cpu: Cpu;
  /** Memory of the server's processes by socket, that came with the sockets. */
  readonly socketBytes: number;
  /** Time that the host took, over all CPUs. */
  readonly stealSeconds: number;
  /** ms from the send to the last socket, to any socket (where it was recorded), to the ack. */
  readonly complete: Percentiles;
  readonly latency: Percentiles;
  readonly ack: Percentiles;
  /** Since the start, warm-up included. */
  readonly faults: Faults;
  readonly isStalled: boolean;
  readonly complaint: string;
}

/** Seconds of CPU by who spent them. */
export interface Cpu {
  /** The processes that hold the sockets, and of them the threads that do. */
  readonly server: number;
  readonly serverMain: number;
  /** The one of them that spent most. */
  readonly serverMost: number;
  readonly redis: number;
  readonly postgres: number;
  readonly swarm: number;
  readonly swarmMost: number;
}

interface Meters {
  readonly now: number;
  readonly servers: readonly number[];
  readonly mains: readonly number[];
  readonly redis: number;
  readonly postgres: number;
  readonly swarms: readonly number[];
  readonly steal: number;
}

function readMeters({ servers, redis, postgres }: Deployment, swarm: SwarmGroup): Meters {
  return {
    now: performance.now(),
    servers: servers.map(cpuSeconds),
    mains: servers.map(mainThreadSeconds),
    redis: redis === null ? 0 : cpuSeconds(redis),
    postgres: postgres === null ? 0 : familyCpuSeconds(postgres),
    swarms: swarm.pids.map(cpuSeconds),
    steal: stealSeconds(),
  };
}

function cpuBetween(before: Meters, after: Meters): Cpu {
  const gains = (of: (meters: Meters) => readonly number[]) =>
    of(after).map((value, i) => value - (of(before)[i] as number));
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const servers = gains(({ servers: all }) => all);
  const swarms = gains(({ swarms: all }) => all);
  return {
    server: sum(servers),
    serverMain: sum(gains(({ mains }) => mains)),
    serverMost: Math.max(...servers),
    redis: after.redis - before.redis,
    postgres: after.postgres - before.postgres,
    swarm: sum(swarms),
    swarmMost: Math.max(...swarms),
  };
}

export function stageOf(
  load: Pick<Load, 'rooms' | 'members' | 'servers'>,
  isOpen: boolean,
  profileDir: string | null,
): Stage {
  const { rooms, members, servers } = load;
  const sockets = Math.ceil((rooms * members) / servers);
  if (sockets > socketsPerProcess)
    throw new Error(`${sockets} sockets are more than a process may have open`);
  return { sockets, rooms, members, processes: servers, isOpen, profileDir };
}

export function memoryOf({ servers }: Deployment): number {
  return servers.reduce((sum, pid) => sum + residentBytes(pid), 0);
}

export async function runOnce(system: System, load: Load, timing: Timing): Promise<Run> {
  const { warmMs, measureMs, swarms, profileDir } = timing;
  if (load.rooms === 1 && load.members > socketsPerProcess)
    throw new Error(`a room that is measured has at most ${socketsPerProcess} sockets`);
  const deployment = await system.start(stageOf(load, false, profileDir));
  const shape = { ...load, roomsEach: 1, entersAtOnce: false, processes: swarms };
  const swarm = new SwarmGroup(system.dialect, deployment.ports, shape);
  try {
    await swarm.prepare();
    const memoryBefore = memoryOf(deployment);
    await swarm.open();
    await deployment.prepare();
    await swarm.enter();
    const socketBytes = (memoryOf(deployment) - memoryBefore) / (load.rooms * load.members);
    // Each delivery is worth a look at the clock only where they are few.
    const records = 'perSecond' in load.pace;
    const warm = await swarm.drive(load.pace, { ms: warmMs }, false);
    const before = readMeters(deployment, swarm);
    const driven = warm.isComplete ? await swarm.drive(load.pace, { ms: measureMs }, records) : warm;
    const after = readMeters(deployment, swarm);
    return {
      seconds: (after.now - before.now) / 1000,
      messages: driven.messages,
      deliveries: driven.deliveries,
      cpu: cpuBetween(before, after),
      socketBytes,
      stealSeconds: after.steal - before.steal,
      complete: driven.complete.percentiles(),
      latency: driven.latency.percentiles(),
      ack: driven.ack.percentiles(),
      faults: driven.faults,
      isStalled: !driven.isComplete,
      complaint: driven.complaint,
    };
  } finally {
    await swarm.stop();
    await deployment.stop();
  }
}
