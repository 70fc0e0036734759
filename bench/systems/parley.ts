// Parley as it is run: embedded as `npm start` starts it, over Redis and Postgres as `npm run cluster` does, and on Node as
// `npm run start:node`. Only its rates and limits of sockets are off.

import { rmSync } from 'node:fs';
import { onBun, onNode, type Program, startProgram } from '../processes.ts';
import {
  makeFolder,
  type PostgresServer,
  type RunningServer,
  startPostgres,
  startRedis,
} from '../servers.ts';
import { makeToken, roomName, userName } from '../swarm/dialect.ts';
import { benchSecret, type Deployment, type Stage, type System, stopAll } from './system.ts';

/** Members that a room can be made with; the others of a greater one read only. */
const firstMembersMax = 1000;
/** Rooms that are made at once. */
const roomsAtOnce = 32;
const requestMs = 30_000;

let postgres: Promise<PostgresServer> | null = null;
let databases = 0;

/** An empty database, all of them on one server. */
async function makeDatabase(): Promise<{ readonly url: string; readonly pid: number }> {
  postgres ??= startPostgres();
  const server = await postgres;
  const name = `bench_${++databases}`;
  await server.psql(`CREATE DATABASE ${name} TEMPLATE template0`);
  return { url: server.url.replace(/[^/]*$/, name), pid: server.pid };
}

interface Backends {
  readonly redis: RunningServer | null;
  readonly postgres: { readonly url: string; readonly pid: number } | null;
}

async function startGateway(stage: Stage, { redis, postgres }: Backends, isNode: boolean): Promise<Program> {
  const folder = makeFolder();
  const env = {
    HOST: '127.0.0.1',
    PORT: '0',
    DATA_DIR: folder,
    JWT_SECRET: benchSecret,
    LOG_LEVEL: 'warn',
    MESSAGE_RATE: '0',
    GROUP_MESSAGE_RATE: '0',
    CONNECT_RATE: '0',
    CONNECT_RATE_PER_IP: '0',
    MAX_CONNECTIONS: String(stage.sockets + 16),
    MAX_ROOM_CONNECTIONS: String(stage.sockets + 16),
    DRAIN_SECONDS: '0',
    ...(redis === null ? {} : { REDIS_URL: redis.url }),
    ...(postgres === null ? {} : { DATABASE_URL: postgres.url }),
  };
  const { profileDir } = stage;
  const command = isNode ? await onNode('gateway/main.ts', profileDir) : onBun('gateway/main.ts', profileDir);
  const program = await startProgram(command, { env, profileDir });
  return {
    ...program,
    async stop() {
      await program.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A group of its sockets' users, as far as a room can be made with them; public for the others, who read only. */
async function makeRoom(port: number, room: number, { members, isOpen }: Stage): Promise<void> {
  const first = room * members;
  const count = isOpen ? 0 : Math.min(members - 1, firstMembersMax);
  const body = {
    id: roomName(room),
    name: 'Bench',
    type: 'group',
    public: isOpen || members > count + 1,
    members: Array.from({ length: count }, (_, i) => userName(first + i + 1)),
  };
  const answer = await fetch(`http://127.0.0.1:${port}/v1/rooms`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${makeToken(userName(isOpen ? 0 : first), benchSecret)}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(requestMs),
  });
  const text = await answer.text();
  if (answer.status !== 201) throw new Error(`a room was not made: ${answer.status} ${text}`);
}

async function makeRooms(port: number, stage: Stage): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < stage.rooms) await makeRoom(port, next++, stage);
  };
  await Promise.all(Array.from({ length: roomsAtOnce }, lane));
}

interface Kind {
  readonly hasRedis: boolean;
  readonly hasPostgres: boolean;
  readonly isNode: boolean;
}

async function startParley(stage: Stage, { hasRedis, hasPostgres, isNode }: Kind): Promise<Deployment> {
  const redis = hasRedis ? await startRedis() : null;
  const backends = { redis, postgres: hasPostgres ? await makeDatabase() : null };
  const gateways: Program[] = [];
  for (let i = 0; i < stage.processes; i++) gateways.push(await startGateway(stage, backends, isNode));
  const ports = gateways.map((gateway) => gateway.port);
  const [port = 0] = ports;
  if (stage.isOpen) await makeRooms(port, stage);
  return {
    ports,
    servers: gateways.map((gateway) => gateway.pid),
    redis: redis?.pid ?? null,
    postgres: backends.postgres?.pid ?? null,
    prepare: () => (stage.isOpen ? Promise.resolve() : makeRooms(port, stage)),
    stop: () => stopAll([...gateways, ...(redis === null ? [] : [redis])]),
  };
}

function parley(name: string, title: string, kind: Kind): System {
  return {
    name,
    title,
    dialect: 'parley',
    spreads: kind.hasRedis,
    check: () => Promise.resolve(null),
    start: (stage) => startParley(stage, kind),
  };
}

export const parleyEmbedded = parley('parley', 'Parley', {
  hasRedis: false,
  hasPostgres: false,
  isNode: false,
});
export const parleyRedis = parley('parley-redis', 'Parley + Redis', {
  hasRedis: true,
  hasPostgres: true,
  isNode: false,
});
export const parleyNode = parley('parley-node', 'Parley on Node', {
  hasRedis: false,
  hasPostgres: true,
  isNode: true,
});
export const parleyNodeRedis = parley('parley-node-redis', 'Parley on Node + Redis', {
  hasRedis: true,
  hasPostgres: true,
  isNode: true,
});
