// The question: does what one thing costs grow with the size of the deployment?
// The command: npm run bench:scale (-- --quick for a first look, -- --help for the rest). Linux, loopback only.
// The meaning: four tables, each with one size growing and all else alike: a delivery by members of its room, beside the bare
// engine; an append by rooms that there are, and by gateways that listen (connections to Redis that subscribe as a gateway
// does, to the room or to others); memory of a socket by rooms that it is in. A flat column is the aim.

import { parseArgs } from 'node:util';
import { RedisKeys } from '../gateway/log/redis-keys.ts';
import { LogProcess } from './log-handle.ts';
import type { AppendSpent } from './log-process.ts';
import { fail, grouped, printTable, Report, readNumber, spreadText } from './report.ts';
import { memoryOf, runOnce, stageOf } from './run.ts';
import { type PostgresServer, startPostgres, startRedis } from './servers.ts';
import { calmMemory } from './sockets.ts';
import { costUs, isClean, median } from './summary.ts';
import { SwarmGroup } from './swarm-group.ts';
import { bareBun } from './systems/bare.ts';
import { parleyEmbedded } from './systems/parley.ts';

const help = `What a delivery, an append and a socket cost as the deployment grows.

  --quick        1 round of small sizes
  --rounds N     1 to 20 (3)
  --seconds N    length of a run, 0.2 to 30 (1.5)
  --only A,B     members, rooms, gateways, memory (all)
  --members A,B  of a room (10,100,1000,10000)
  --rooms A,B    that there are (1,100,10000,100000)
  --gateways A,B that listen (1,10,50,200)
  --each A,B     rooms of a socket (1,10,100)
  --out FILE     where the JSON goes`;

/** As log-process.ts names its keys. */
const keyPrefix = 'bench';
const logShards = 64;
/** What every gateway of a simulated crowd listens to beside its rooms. */
const roomsOfGateway = 20;
const parts = ['members', 'rooms', 'gateways', 'memory'] as const;
type Part = (typeof parts)[number];

const sizes = {
  usual: {
    members: [10, 100, 1000, 10_000],
    rooms: [1, 100, 10_000, 100_000],
    gateways: [1, 10, 50, 200],
    each: [1, 10, 100],
  },
  quick: { members: [10, 1000], rooms: [1, 1000], gateways: [1, 50], each: [1, 20] },
} as const;

function readOptions() {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    options: {
      quick: flag,
      help: flag,
      rounds: text,
      seconds: text,
      only: text,
      members: text,
      rooms: text,
      gateways: text,
      each: text,
      out: text,
    },
  });
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const { quick } = values;
  const usual = sizes[quick ? 'quick' : 'usual'];
  const list = (name: 'members' | 'rooms' | 'gateways' | 'each', min: number, max: number) =>
    (values[name]?.split(',') ?? usual[name].map(String)).map((one) =>
      Math.floor(readNumber(name, one, min, max)),
    );
  const only = (values.only?.split(',') ?? parts).map((name) => {
    const part = parts.find((one) => one === name);
    return part ?? fail(`--only: one of ${parts.join(', ')}`);
  });
  return {
    only: only as readonly Part[],
    rounds: Math.floor(readNumber('rounds', values.rounds ?? (quick ? '1' : '3'), 1, 20)),
    seconds: readNumber('seconds', values.seconds ?? (quick ? '0.7' : '1.5'), 0.2, 30),
    members: list('members', 2, 10_000),
    rooms: list('rooms', 1, 100_000),
    gateways: list('gateways', 1, 1000),
    each: list('each', 1, 1000),
    isQuick: quick,
    out: values.out ?? null,
  };
}

// Deliveries.

const deliverySystems = [bareBun, parleyEmbedded];

async function measureMembers(): Promise<object[]> {
  const rows: { members: number; bare: number[]; parley: number[] }[] = options.members.map((members) => ({
    members,
    bare: [],
    parley: [],
  }));
  for (let round = 0; round < options.rounds; round++) {
    for (const row of rows) {
      for (const system of round % 2 === 0 ? deliverySystems : deliverySystems.toReversed()) {
        const load = {
          rooms: 1,
          members: row.members,
          senders: 1,
          payloadBytes: 100,
          servers: 1,
          pace: { inFlight: 1 },
        };
        const ms = options.seconds * 1000;
        const run = await runOnce(system, load, {
          warmMs: ms / 2,
          measureMs: ms,
          swarms: 1,
          profileDir: null,
        });
        if (!isClean(run)) fail(`a run was not clean: ${JSON.stringify(run.faults)} ${run.complaint}`);
        const cost = costUs(run, 'server and Redis');
        row[system === bareBun ? 'bare' : 'parley'].push(cost);
        console.error(`members ${row.members}, round ${round + 1}: ${system.name} ${cost.toFixed(2)} us`);
      }
    }
  }
  console.log('\nA delivery by members of its room, one message in flight; CPU us, medians (least to most)');
  printTable([
    ['members', 'bare Bun', 'Parley', 'x bare', 'Parley above bare, us a message'],
    ...rows.map(({ members, bare, parley }) => [
      grouped(members),
      spreadText(bare, 2),
      spreadText(parley, 2),
      (median(parley) / median(bare)).toFixed(2),
      ((median(parley) - median(bare)) * members).toFixed(0),
    ]),
  ]);
  console.log(
    '  a message is received, numbered, kept and acknowledged once, however many get it: the last column is flat',
  );
  return rows;
}

// Appends.

interface AppendRow {
  readonly size: number;
  readonly label: string;
  readonly gatewayUs: number[];
  readonly redisUs: number[];
}

function note(row: AppendRow, spent: AppendSpent): void {
  row.gatewayUs.push((spent.gatewayCpu / spent.events) * 1e6);
  row.redisUs.push((spent.redisCpu / spent.events) * 1e6);
  console.error(
    `${row.label}: gateway ${row.gatewayUs.at(-1)?.toFixed(1)} us, Redis ${row.redisUs.at(-1)?.toFixed(1)} us`,
  );
}

function printAppends(title: string, column: string, rows: readonly AppendRow[]): void {
  console.log(`\n${title}; CPU us, medians (least to most)`);
  printTable([
    [column, 'gateway', 'Redis'],
    ...rows.map(({ label, gatewayUs, redisUs }) => [label, spreadText(gatewayUs), spreadText(redisUs)]),
  ]);
}

/** Appends, one message a call or one of each of 16 rooms, into a log of so many rooms. */
async function appendOnce(
  postgres: PostgresServer,
  rooms: number,
  batch: number,
  around: (redisUrl: string) => Promise<() => void>,
): Promise<AppendSpent> {
  const redis = await startRedis();
  const log = new LogProcess(null);
  try {
    await log.open(redis, postgres, {
      rooms,
      isOneShard: true,
      isSubscribed: false,
      flushes: false,
      poolMax: 4,
    });
    const end = await around(redis.url);
    const ms = options.seconds * 1000;
    const spent = await log.measure<AppendSpent>({
      step: 'append',
      engine: 'log',
      batch,
      warmMs: ms / 2,
      measureMs: ms,
    });
    end();
    return spent;
  } finally {
    await log.stop();
    await redis.stop();
  }
}

const alone = () => Promise.resolve(() => undefined);

async function measureRooms(postgres: PostgresServer): Promise<AppendRow[]> {
  const rows: (AppendRow & { readonly batch: number })[] = options.rooms.flatMap((size) =>
    [1, 16]
      .filter((batch) => batch <= size)
      .map((batch) => ({
        size,
        batch,
        label: `${grouped(size)}, ${batch === 1 ? 'one message a call' : '16 rooms a call'}`,
        gatewayUs: [],
        redisUs: [],
      })),
  );
  for (let round = 0; round < options.rounds; round++) {
    for (const row of rows) note(row, await appendOnce(postgres, row.size, row.batch, alone));
  }
  const ordered = [...rows].sort((a, b) => a.batch - b.batch || a.size - b.size);
  printAppends('An append by rooms that there are', 'rooms', ordered);
  return rows;
}

/** Connections that listen as so many gateways would, to the appended room or to others; answers how to end them. */
async function listen(redisUrl: string, gateways: number, isSameRoom: boolean): Promise<() => void> {
  const { hostname, port } = new URL(redisUrl);
  const keys = new RedisKeys(keyPrefix, logShards);
  const [room = ''] = roomsOfShard(keys, 1);
  const connected: { end(): void }[] = [];
  for (let gateway = 0; gateway < gateways; gateway++) {
    const others = Array.from({ length: roomsOfGateway }, (_, i) => `other-${gateway}-${i}`);
    const rooms = isSameRoom ? [room, ...others] : others;
    const channels = [keys.controlChannel, ...rooms.map((name) => keys.roomChannel(name))];
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const socket = await Bun.connect({
      hostname,
      port: Number(port),
      // Redis answers each channel; the first bytes say that it has read the command.
      socket: { data: () => resolve(), error: (_socket, error) => reject(error) },
    });
    socket.write(`SUBSCRIBE ${channels.join(' ')}\r\n`);
    await promise;
    connected.push(socket);
  }
  return () => {
    for (const socket of connected) socket.end();
  };
}

/** The first rooms of shard 0, as log-process.ts makes them. */
function roomsOfShard(keys: RedisKeys, count: number): string[] {
  const names: string[] = [];
  for (let i = 0; names.length < count; i++) {
    const name = `room-${String(i).padStart(6, '0')}`;
    if (keys.shardOf(name) === 0) names.push(name);
  }
  return names;
}

async function measureGateways(postgres: PostgresServer): Promise<AppendRow[]> {
  const rows = [false, true].flatMap((isSameRoom) =>
    options.gateways.map((size) => ({
      size,
      isSameRoom,
      label: `${size}, ${isSameRoom ? 'all with members of the room' : 'with other rooms'}`,
      gatewayUs: [] as number[],
      redisUs: [] as number[],
    })),
  );
  for (let round = 0; round < options.rounds; round++) {
    for (const row of rows) {
      const around = (url: string) => listen(url, row.size, row.isSameRoom);
      note(row, await appendOnce(postgres, 1, 16, around));
    }
  }
  printAppends('An append by gateways that listen, 16 messages of one room a call', 'gateways', rows);
  return rows;
}

// Memory.

const memoryRooms = 500;
const memoryMembers = 20;

async function measureMemory(): Promise<object[]> {
  const rows = options.each.map((each) => ({ each, bytes: [] as number[] }));
  for (let round = 0; round < options.rounds; round++) {
    for (const row of rows) {
      const stage = stageOf({ rooms: memoryRooms, members: memoryMembers, servers: 1 }, true, null);
      const deployment = await parleyEmbedded.start(stage);
      const swarm = new SwarmGroup('parley', deployment.ports, {
        rooms: memoryRooms,
        members: memoryMembers,
        senders: 1,
        roomsEach: row.each,
        payloadBytes: 100,
        entersAtOnce: true,
        processes: 1,
      });
      try {
        await swarm.prepare();
        await swarm.open(0.1);
        const before = await calmMemory(deployment);
        await swarm.open();
        const after = await calmMemory(deployment);
        const bytes = (after - before) / (memoryRooms * memoryMembers * 0.9);
        row.bytes.push(bytes);
        console.error(
          `${row.each} rooms each: ${(bytes / 1024).toFixed(2)} KiB a socket, ${(memoryOf(deployment) / 2 ** 20).toFixed(0)} MiB in all`,
        );
      } finally {
        await swarm.stop();
        await deployment.stop();
      }
    }
  }
  console.log('\nMemory of a socket by rooms that it is in; KiB, medians (least to most)');
  printTable([
    ['rooms', 'KiB a socket', 'bytes a room more'],
    ...rows.map(({ each, bytes }, i) => {
      const before = rows[i - 1];
      const more =
        before === undefined
          ? ''
          : ((median(bytes) - median(before.bytes)) / (each - before.each)).toFixed(0);
      return [
        String(each),
        spreadText(
          bytes.map((value) => value / 1024),
          2,
        ),
        more,
      ];
    }),
  ]);
  return rows;
}

const options = readOptions();
const report = new Report('scale', 'what a delivery, an append and a socket cost as the deployment grows');
try {
  const wants = (part: Part) => options.only.includes(part);
  const needsPostgres = wants('rooms') || wants('gateways');
  const postgres = needsPostgres ? await startPostgres() : null;
  const members = wants('members') ? await measureMembers() : null;
  const rooms = postgres !== null && wants('rooms') ? await measureRooms(postgres) : null;
  const gateways = postgres !== null && wants('gateways') ? await measureGateways(postgres) : null;
  await postgres?.stop();
  const memory = wants('memory') ? await measureMemory() : null;
  const { out, ...asked } = options;
  report.write({ options: asked, members, rooms, gateways, memory }, options.isQuick, out);
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
process.exit(0);
