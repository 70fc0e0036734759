// The shapes that `npm run bench` measures, with the goal of each. Called by main.ts; a shape that is not in the table is
// written as it is meant: `1x1000:64`.

import type { Pace } from './swarm/swarm.ts';

/** Whose CPU a delivery is charged with: Postgres is printed apart but where all is counted. */
export type Counted = 'server and Redis' | 'all';

interface Common {
  readonly name: string;
  readonly title: string;
  readonly rooms: number;
  /** Sockets of a room. */
  readonly members: number;
  /** Processes of the server. */
  readonly servers: number;
  /** Systems that are measured unless others are asked for. */
  readonly systems: readonly string[];
}

/** Server CPU per delivery at most, as a multiple of the bare engine's or in us; p50 and p99 at most so much above its. */
export interface LoadGoal {
  readonly ratio?: Readonly<Record<string, number>>;
  readonly us?: number;
  readonly latencyMs?: number;
}

export interface LoadShape extends Common {
  readonly kind: 'load';
  readonly senders: number;
  readonly pace: Pace;
  readonly counted: Counted;
  readonly goal: LoadGoal;
}

export interface IdleShape extends Common {
  readonly kind: 'idle';
  /** Memory of a socket at most. */
  readonly bytesMax: number;
}

export interface ConnectShape extends Common {
  readonly kind: 'connect';
  readonly perSecondMin: number;
}

export interface CrowdShape extends Common {
  readonly kind: 'crowd';
  /** From the send to the last of all. */
  readonly msMax: number;
}

export type Shape = LoadShape | IdleShape | ConnectShape | CrowdShape;

const rivals = ['ws', 'socket.io', 'socket.io-uws', 'centrifugo', 'centrifugo-redis', 'nats'];
const everybody = ['bare', 'parley', 'parley-redis', ...rivals];

export const shapes: readonly Shape[] = [
  {
    kind: 'load',
    name: 'one',
    title: '1 room x 1,000, one in flight',
    rooms: 1,
    members: 1000,
    servers: 1,
    senders: 1,
    pace: { inFlight: 1 },
    counted: 'server and Redis',
    goal: { ratio: { parley: 1.1, 'parley-node': 1.1, 'parley-redis': 1.1 } },
    systems: everybody,
  },
  {
    kind: 'load',
    name: 'burst',
    title: '1 room x 1,000, 64 in flight',
    rooms: 1,
    members: 1000,
    servers: 1,
    senders: 64,
    pace: { inFlight: 64 },
    counted: 'server and Redis',
    goal: { ratio: { parley: 1.2, 'parley-node': 1.2, 'parley-redis': 1.2 } },
    systems: everybody,
  },
  {
    kind: 'load',
    name: 'rooms',
    title: '1,000 rooms x 10, 64 in flight',
    rooms: 1000,
    members: 10,
    servers: 1,
    senders: 1000,
    pace: { inFlight: 64 },
    counted: 'server and Redis',
    goal: { ratio: { parley: 1.5, 'parley-node': 1.5, 'parley-redis': 2, 'parley-node-redis': 2 } },
    systems: everybody,
  },
  {
    kind: 'load',
    name: 'steady',
    title: '100 rooms x 100, 200 messages/s',
    rooms: 100,
    members: 100,
    servers: 1,
    senders: 100,
    pace: { perSecond: 200 },
    counted: 'server and Redis',
    goal: { ratio: { parley: 1.2, 'parley-node': 1.2, 'parley-redis': 1.2 }, latencyMs: 1 },
    systems: everybody,
  },
  {
    kind: 'load',
    name: 'two',
    title: 'two processes, 100 x 100, 200 messages/s, all CPU',
    rooms: 100,
    members: 100,
    servers: 2,
    senders: 100,
    pace: { perSecond: 200 },
    counted: 'all',
    goal: { us: 12 },
    systems: ['parley-redis', 'socket.io', 'socket.io-uws', 'centrifugo-redis', 'nats'],
  },
  {
    kind: 'idle',
    name: 'idle',
    title: 'memory of an idle socket in one room',
    rooms: 100,
    members: 100,
    servers: 1,
    bytesMax: 4096,
    systems: everybody,
  },
  {
    kind: 'connect',
    name: 'connect',
    title: 'connect with token and subscribe, to 19,000',
    rooms: 190,
    members: 100,
    servers: 1,
    perSecondMin: 10_000,
    systems: everybody,
  },
  {
    kind: 'crowd',
    name: 'crowd',
    title: '100,000 sockets on 6 processes, all in one room',
    rooms: 1,
    members: 100_000,
    servers: 6,
    msMax: 1000,
    systems: ['parley-redis'],
  },
];

/** What `npm run bench` measures unless told otherwise: all that two cores can, in about 35 minutes. */
export const usualShapes = ['one', 'burst', 'rooms', 'steady', 'two', 'idle', 'connect'];

/** `2*100x100:200s`: processes of the server, rooms x sockets, in flight (`/N`: from so many senders) or a second. */
const pattern = /^(?:(\d+)\*)?(\d+)x(\d+):(\d+)(s)?(?:\/(\d+))?$/;

export function findShape(text: string): Shape | undefined {
  const named = shapes.find(({ name }) => name === text);
  if (named !== undefined) return named;
  const found = pattern.exec(text);
  if (found === null) return undefined;
  const [servers, rooms, members, pace, senders] = [1, 2, 3, 4, 6].map((i) => Number(found[i] ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const isRate = found[5] === 's';
  const usualSenders = isRate || rooms > 1 ? rooms : Math.min(pace, members);
  if (rooms < 1 || members < 2 || pace < 1 || senders > rooms * members) return undefined;
  return {
    kind: 'load',
    name: text,
    title: text,
    rooms,
    members,
    servers: servers || 1,
    senders: senders || usualSenders,
    pace: isRate ? { perSecond: pace } : { inFlight: pace },
    counted: 'server and Redis',
    goal: {},
    systems: ['bare', 'parley'],
  };
}
