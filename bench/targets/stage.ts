// The stage of a target: a deployment, and the crowd with its rooms on it. Used by the targets that send messages.

import { cpuSeconds, stealSeconds } from '../machine.ts';
import { familyCpuSeconds, jwtSecret } from '../servers.ts';
import { makeTokens, userName } from '../swarm/dialect.ts';
import { Crowd, type CrowdFaults, idAheadMs, type Percentiles, roomName } from './crowd.ts';
import { type Deployment, makeRoom } from './deployment.ts';

const enterMs = 60_000;
/** Rooms that are made at once. */
const roomsAtOnce = 8;

/** A log looks ids up in the store that are from before this long after it first saw its Redis. */
const youngMs = 120_000;
const slackMs = 2000;

/** What a bench sets so that only the path of a message is measured. */
export const noRates = {
  MESSAGE_RATE: '0',
  GROUP_MESSAGE_RATE: '0',
  CONNECT_RATE: '0',
  CONNECT_RATE_PER_IP: '0',
} as const;

export interface CrowdShape {
  readonly sockets: number;
  readonly rooms: number;
  readonly payloadBytes?: number;
}

/** Users, rooms with all their members, and every socket in its room. */
export async function openCrowd({ gateways }: Deployment, shape: CrowdShape): Promise<Crowd> {
  const { sockets, rooms, payloadBytes = 100 } = shape;
  const tokens = await makeTokens(sockets, jwtSecret);
  const urls = gateways.map(({ url }) => url);
  const crowd = new Crowd({ urls, tokens, rooms, payloadBytes });
  // Users are made by connecting, and rooms of users that are there.
  await crowd.connect(enterMs);
  let next = 0;
  const lane = async () => {
    while (next < rooms) {
      const room = next++;
      const members: string[] = [];
      for (let i = room + rooms; i < sockets; i += rooms) members.push(userName(i));
      await makeRoom(urls[0] as string, tokens[room] as string, roomName(room), members);
    }
  };
  await Promise.all(Array.from({ length: roomsAtOnce }, lane));
  await crowd.enter(enterMs);
  return crowd;
}

/** A Redis that has just started is not the question: for two minutes each id is looked up in Postgres. */
export async function untilGrown({ redis }: Deployment): Promise<void> {
  if (redis === null) return;
  const ms = youngMs - idAheadMs + slackMs;
  console.error(`bench: waiting ${ms / 1000} s until ids are no longer looked up in the store`);
  await Bun.sleep(ms);
}

/** CPU as shares of a core while something runs. */
export interface Busy {
  readonly seconds: number;
  readonly gateways: readonly number[];
  readonly redis: number;
  readonly postgres: number;
  /** This process, which holds the crowd. */
  readonly crowd: number;
  /** Of all cores, taken by the host. */
  readonly steal: number;
}

export async function measureBusy<T>(
  { gateways, redis, postgres }: Deployment,
  run: () => Promise<T>,
): Promise<{ readonly busy: Busy; readonly result: T }> {
  const read = () => ({
    at: performance.now() / 1000,
    gateways: gateways.map(({ pid }) => cpuSeconds(pid)),
    redis: redis === null ? 0 : cpuSeconds(redis.pid),
    postgres: postgres === null ? 0 : familyCpuSeconds(postgres.pid),
    crowd: cpuSeconds(process.pid),
    steal: stealSeconds(),
  });
  const before = read();
  const result = await run();
  const after = read();
  const seconds = after.at - before.at;
  const share = (name: 'redis' | 'postgres' | 'crowd' | 'steal') => (after[name] - before[name]) / seconds;
  return {
    busy: {
      seconds,
      gateways: after.gateways.map((value, i) => (value - (before.gateways[i] ?? 0)) / seconds),
      redis: share('redis'),
      postgres: share('postgres'),
      crowd: share('crowd'),
      steal: share('steal'),
    },
    result,
  };
}

export function faultText(faults: CrowdFaults, trouble: string): string | null {
  const words = Object.entries(faults)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name} ${count}`);
  if (words.length === 0) return null;
  return trouble === '' ? words.join(', ') : `${words.join(', ')} (${trouble})`;
}

export const msText = ({ p50, p99, max }: Percentiles) =>
  `p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)}, most ${max.toFixed(0)} ms`;
