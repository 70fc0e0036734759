// The question: how long does a message take from its sender, on one process, to a reader on another, and until its ack?
// The command: npm run bench:hop (-- --quick for a first look, -- --help for the rest). Linux, loopback only.
// The meaning: ms on the one clock of this process, which holds all sockets: two gateways, one Redis (appendfsync always,
// or --fsync everysec), one Postgres. `quiet`: one message every 20 ms, and between them the engine's own hop, XADD and PUBLISH in one write
// until the subscriber has it, which is what Redis and the disk take by themselves: the rest is Parley. `busy`: 200
// messages/s over 100 rooms of 10, five of them on each process. `young`: Redis has just started, so that every id is
// looked up in the store first, for two minutes.

import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { Packr, Unpackr } from 'msgpackr';
import { clientOps, controlOps, eventOps } from '../core/protocol/ops.ts';
import { makeUuid } from '../core/uuid.ts';
import { cpuSeconds } from './machine.ts';
import { fail, printTable, Report, readNumber } from './report.ts';
import {
  familyCpuSeconds,
  jwtSecret,
  type PostgresServer,
  type RunningServer,
  startGateway,
  startPostgres,
  startRedis,
  within,
} from './servers.ts';
import { median } from './summary.ts';
import { makeTokens, userName } from './swarm/dialect.ts';
import { frameOf, Link, type LinkOwner } from './swarm/link.ts';

const help = `Send to delivery on another process, and to the ack.

  --quick          2 rounds of 2 seconds, and only while Redis is young
  --rounds N       rounds of each shape, 1 to 20 (5)
  --seconds N      length of one, 1 to 60 (5)
  --level N        1, 2 or 4; unset: quiet and busy at 1 and at 4
  --fsync HOW      always, or everysec: what an append log is set to by default (always)
  --cpu-prof DIR   CPU profiles of the gateways
  --out FILE       where the JSON goes`;

const rooms = 100;
const socketsPerRoom = 10;
const quietMs = 20;
const busyPerSecond = 200;
const payloadBytes = 100;
const digits = 8;
/** Ids may be dated so far ahead: it shortens the wait until Redis is no longer young. */
const idAheadMs = 58_000;
/** Ids older than this after a shard was adopted are looked up. */
const youngMs = 120_000;
/** Most ms from send to delivery, quiet, in the median round. */
const goal = { p50: 0.5, p99: 2 };

function readOptions() {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    options: {
      quick: flag,
      help: flag,
      rounds: text,
      seconds: text,
      level: text,
      fsync: text,
      'cpu-prof': text,
      out: text,
    },
  });
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const { quick, fsync = 'always' } = values;
  if (fsync !== 'always' && fsync !== 'everysec') fail('--fsync must be always or everysec');
  return {
    rounds: Math.floor(readNumber('rounds', values.rounds ?? (quick ? '2' : '5'), 1, 20)),
    seconds: readNumber('seconds', values.seconds ?? (quick ? '2' : '5'), 1, 60),
    levels: values.level === undefined ? [1, 4] : [Math.floor(readNumber('level', values.level, 1, 4))],
    fsync,
    profileDir: values['cpu-prof'] ?? null,
    isQuick: quick,
    out: values.out ?? null,
  };
}

interface Percentiles {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** One round of one shape; times in ms. */
interface Round {
  readonly other: Percentiles;
  readonly same: Percentiles;
  readonly ack: Percentiles;
  /** The engine's own hop; null where it was not measured. */
  readonly engine: Percentiles | null;
  readonly messages: number;
  /** CPU per message of both gateways, of Redis and of Postgres, in us. */
  readonly gatewayUs: number;
  readonly redisUs: number;
  readonly postgresUs: number;
}

interface Shape {
  readonly name: string;
  readonly kind: 'quiet' | 'busy';
  readonly level: number;
}

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? NaN };
}

/** All sockets: those with an even index on the first gateway, the others on the second. */
class Sockets implements LinkOwner {
  readonly #links: Link[] = [];
  readonly #waiting = new Map<string, () => void>();
  #fault: string | null = null;
  /** By number of the message. */
  #sentAt: number[] = [];
  #readersLeft: number[] = [];
  #ackMs: number[] = [];
  #sameMs: number[] = [];
  #otherMs: number[] = [];
  #base = 0;
  #deliveriesPerMessage = 0;

  async connect(gateways: readonly RunningServer[], tokens: readonly string[]): Promise<void> {
    for (let index = 0; index < tokens.length; index++) {
      const link = new Link(index, this);
      this.#links.push(link);
      const welcomed = this.#wait(`welcome ${index}`);
      const { hostname, port } = new URL((gateways[index % 2] as RunningServer).url);
      const upgrade = [
        'GET /ws HTTP/1.1',
        `Host: ${hostname}:${port}`,
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Protocol: parley.v1',
        `Authorization: Bearer ${tokens[index]}`,
      ];
      await Bun.connect({
        hostname,
        port: Number(port),
        socket: {
          open: (socket) => link.opened(socket, `${upgrade.join('\r\n')}\r\n\r\n`),
          data: (_socket, chunk) => link.feed(chunk),
          drain: () => link.onWritable(),
          close: () => link.end('closed'),
          error: (_socket, error) => link.end(String(error)),
        },
      });
      await welcomed;
    }
  }

  async enter(index: number, room: string): Promise<void> {
    const entered = this.#wait(`ok ${index}`);
    this.#link(index).write(frameOf(packr.pack([clientOps.subscribe, 1, room, null, null])));
    await entered;
  }

  #link(index: number): Link {
    return this.#links[index] as Link;
  }

  async #wait(key: string): Promise<void> {
    try {
      await within(new Promise<void>((resolve) => this.#waiting.set(key, resolve)), 15_000, key);
    } catch (error) {
      throw this.#fault === null ? error : new Error(this.#fault);
    }
  }

  #tell(key: string): void {
    this.#waiting.get(key)?.();
    this.#waiting.delete(key);
  }

  begin(deliveriesPerMessage: number): void {
    this.#base += this.#sentAt.length;
    this.#deliveriesPerMessage = deliveriesPerMessage;
    this.#sentAt = [];
    this.#readersLeft = [];
    [this.#ackMs, this.#sameMs, this.#otherMs] = [[], [], []];
  }

  send(index: number, room: string, level: number): void {
    const number = this.#base + this.#sentAt.length;
    const id = makeUuid(Date.now() + idAheadMs, crypto.getRandomValues(new Uint8Array(10)));
    const content = String(number).padStart(digits, '0').padEnd(payloadBytes, 'x');
    const frame = [clientOps.send_message, number + 2, room, id, 'text', content, null, level];
    const bytes = frameOf(packr.pack(frame));
    this.#readersLeft.push(this.#deliveriesPerMessage);
    this.#sentAt.push(performance.now());
    this.#link(index).write(bytes);
  }

  /** Waits until every message of the round is delivered everywhere and acknowledged. */
  async settle(): Promise<{ ack: number[]; same: number[]; other: number[] }> {
    const deadline = performance.now() + 15_000;
    const isDone = () =>
      this.#ackMs.length === this.#sentAt.length && this.#readersLeft.every((n) => n === 0);
    while (!isDone()) {
      if (this.#fault !== null) throw new Error(this.#fault);
      if (performance.now() > deadline) {
        const late = this.#readersLeft.filter((n) => n !== 0).length;
        throw new Error(
          `of ${this.#sentAt.length} messages ${late} are not delivered everywhere once, ${this.#ackMs.length} have their ack`,
        );
      }
      await Bun.sleep(5);
    }
    return { ack: this.#ackMs, same: this.#sameMs, other: this.#otherMs };
  }

  onUpgraded(): void {
    // `welcome` counts.
  }

  onPayload({ index }: Link, bytes: Uint8Array, at: number, end: number): void {
    const now = performance.now();
    for (const frame of unpackr.unpackMultiple(bytes.subarray(at, end)) as unknown[][]) {
      const [op, second] = frame;
      if (op === controlOps.welcome) this.#tell(`welcome ${index}`);
      else if (op === controlOps.error) this.#fault = `refused: ${JSON.stringify(frame)}`;
      else if (op === controlOps.ok && second === 1) this.#tell(`ok ${index}`);
      else if (op === controlOps.ok) {
        const sent = this.#sentAt[Number(second) - 2 - this.#base];
        if (sent !== undefined) this.#ackMs.push(now - sent);
      } else if (op === eventOps.message) this.#onMessage(index, String(frame[7]), now);
    }
  }

  #onMessage(index: number, content: string, now: number): void {
    const number = Number(content.slice(0, digits)) - this.#base;
    const sent = this.#sentAt[number];
    if (sent === undefined) return;
    (index % 2 === 0 ? this.#sameMs : this.#otherMs).push(now - sent);
    this.#readersLeft[number] = (this.#readersLeft[number] ?? 0) - 1;
  }

  onEnded({ index }: Link, reason: string): void {
    this.#fault = `socket ${index} is gone: ${reason}`;
  }
}

/** What Redis takes by itself: an entry kept on disk and published, in one write, until a subscriber has it. */
class EngineHop {
  readonly #commands: Redis;
  readonly #channels: Redis;
  #sentAt = 0;
  ms: number[] = [];

  constructor(url: string) {
    this.#commands = new Redis(url, { noDelay: true });
    this.#channels = new Redis(url, { noDelay: true });
    this.#channels.on('messageBuffer', () => this.ms.push(performance.now() - this.#sentAt));
  }

  async open(): Promise<void> {
    await this.#channels.subscribe('bench-hop');
  }

  send(): void {
    const payload = Buffer.alloc(payloadBytes + 30, 'x');
    this.#sentAt = performance.now();
    void this.#commands.xadd('bench-hop-stream', 'MAXLEN', '~', 1000, '*', 'f', payload);
    void this.#commands.publish('bench-hop', payload);
  }

  close(): void {
    this.#commands.disconnect();
    this.#channels.disconnect();
  }
}

const roomName = (room: number) => `room-${String(room).padStart(3, '0')}`;

async function makeRoom(gateway: RunningServer, room: number, token: string): Promise<void> {
  const first = room * socketsPerRoom;
  const members = Array.from({ length: socketsPerRoom - 1 }, (_, i) => userName(first + i + 1));
  const answer = await fetch(`${gateway.url}/v1/rooms`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ id: roomName(room), name: 'Bench', type: 'group', public: false, members }),
    signal: AbortSignal.timeout(15_000),
  });
  if (answer.status !== 201) throw new Error(`a room was not made: ${answer.status} ${await answer.text()}`);
}

interface Stage {
  readonly redis: RunningServer;
  readonly postgres: PostgresServer;
  readonly gateways: readonly RunningServer[];
  readonly sockets: Sockets;
  readonly engine: EngineHop;
}

async function runRound({ redis, postgres, gateways, sockets, engine }: Stage, shape: Shape): Promise<Round> {
  const spent = () => [
    gateways.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0),
    cpuSeconds(redis.pid),
    familyCpuSeconds(postgres.pid),
  ];
  sockets.begin(socketsPerRoom);
  engine.ms = [];
  const before = spent();
  const everyMs = shape.kind === 'quiet' ? quietMs : 1000 / busyPerSecond;
  const messages = Math.round((options.seconds * 1000) / everyMs);
  const start = performance.now();
  for (let i = 0; i < messages; i++) {
    await Bun.sleep(Math.max(0, start + i * everyMs - performance.now()));
    // Quiet is one room; its sender is on the first gateway.
    const room = shape.kind === 'quiet' ? 0 : i % rooms;
    sockets.send(room * socketsPerRoom, roomName(room), shape.level);
    if (shape.kind !== 'quiet') continue;
    await Bun.sleep(Math.max(0, start + (i + 0.5) * everyMs - performance.now()));
    engine.send();
  }
  const { ack, same, other } = await sockets.settle();
  const [gatewayUs = 0, redisUs = 0, postgresUs = 0] = spent().map(
    (value, i) => ((value - (before[i] as number)) / messages) * 1e6,
  );
  return {
    ack: percentiles(ack),
    same: percentiles(same),
    other: percentiles(other),
    engine: shape.kind === 'quiet' ? percentiles(engine.ms) : null,
    messages,
    gatewayUs,
    redisUs,
    postgresUs,
  };
}

const text = ({ p50, p99 }: Percentiles) => `${p50.toFixed(2)} / ${p99.toFixed(2)}`;

async function runShapes(
  stage: Stage,
  shapes: readonly Shape[],
  rounds: number,
): Promise<Map<string, Round[]>> {
  const results = new Map<string, Round[]>(shapes.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const shape of round % 2 === 0 ? shapes : shapes.toReversed()) {
      const one = await runRound(stage, shape);
      results.get(shape.name)?.push(one);
      console.error(
        `round ${round + 1} of ${rounds}, ${shape.name}: other process ${text(one.other)} ms, ack ${text(one.ack)} ms${one.engine === null ? '' : `, engine ${text(one.engine)} ms`}`,
      );
    }
  }
  return results;
}

/** Before the gateways read it. */
async function setFsync(url: string, fsync: string): Promise<void> {
  const redis = new Redis(url);
  await redis.config('SET', 'appendfsync', fsync);
  redis.disconnect();
}

async function openStage(): Promise<Stage> {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  await setFsync(redis.url, options.fsync);
  // One after the other: the first one migrates.
  const gateways = [
    await startGateway(redis, postgres, options.profileDir),
    await startGateway(redis, postgres, options.profileDir),
  ];
  const tokens = await makeTokens(rooms * socketsPerRoom, jwtSecret);
  const sockets = new Sockets();
  await sockets.connect(gateways, tokens);
  for (let room = 0; room < rooms; room++) {
    const first = room * socketsPerRoom;
    await makeRoom(gateways[0] as RunningServer, room, tokens[first] as string);
    // The first of each process alone: how a room is opened is not the question.
    for (let i = 0; i < socketsPerRoom; i++) await sockets.enter(first + i, roomName(room));
  }
  const engine = new EngineHop(redis.url);
  await engine.open();
  return { redis, postgres, gateways, sockets, engine };
}

function print(results: ReadonlyMap<string, readonly Round[]>): void {
  const of = (rounds: readonly Round[], value: (round: Round) => number, places = 2) => {
    const values = rounds.map(value);
    return `${median(values).toFixed(places)} (${Math.min(...values).toFixed(places)} to ${Math.max(...values).toFixed(places)})`;
  };
  console.log(
    `\nms, medians of the rounds (least to most); ${options.seconds} s each, ${payloadBytes} B, appendfsync ${options.fsync}`,
  );
  printTable([
    [
      '',
      'other process p50',
      'p99',
      'same p50',
      'ack p50',
      'ack p99',
      'engine p50',
      'p99',
      'gateways us',
      'Redis us',
    ],
    ...[...results].map(([name, rounds]) => {
      const hasEngine = rounds.every(({ engine }) => engine !== null);
      return [
        name,
        of(rounds, ({ other }) => other.p50),
        of(rounds, ({ other }) => other.p99),
        of(rounds, ({ same }) => same.p50),
        of(rounds, ({ ack }) => ack.p50),
        of(rounds, ({ ack }) => ack.p99),
        hasEngine ? of(rounds, ({ engine }) => engine?.p50 ?? NaN) : '',
        hasEngine ? of(rounds, ({ engine }) => engine?.p99 ?? NaN) : '',
        of(rounds, ({ gatewayUs }) => gatewayUs, 0),
        of(rounds, ({ redisUs }) => redisUs, 0),
      ];
    }),
  ]);
  const quiet = results.get('quiet, level 1') ?? [];
  if (quiet.length === 0) return;
  for (const name of ['p50', 'p99'] as const) {
    const middle = median(quiet.map(({ other }) => other[name]));
    const own = median(quiet.map(({ other, engine }) => other[name] - (engine?.[name] ?? NaN)));
    const isMet = middle < goal[name];
    // On a slow disk, or a busy machine, Redis alone takes longer than that.
    const verdict = isMet ? 'met' : own < goal[name] ? 'missed, but for what the engine takes' : 'missed';
    console.log(
      `  quiet ${name} below ${goal[name]} ms: ${verdict} (${middle.toFixed(2)}; over the engine's own hop ${own.toFixed(2)})`,
    );
  }
}

/** Redis counts as young until ids dated ahead are from after its adoption by that much. */
async function untilGrown(openedAt: number): Promise<void> {
  const leftMs = openedAt + youngMs - idAheadMs + 2000 - performance.now();
  if (leftMs <= 0) return;
  console.error(`waiting ${Math.round(leftMs / 1000)} s until ids are no longer looked up in the store`);
  await Bun.sleep(leftMs);
}

const options = readOptions();
const report = new Report('hop', 'how long a message takes to a reader on another process');
try {
  const stage = await openStage();
  const openedAt = performance.now();
  const young: readonly Shape[] = [{ name: 'young, quiet, level 1', kind: 'quiet', level: 1 }];
  const grown = options.levels.flatMap((level): Shape[] => [
    { name: `quiet, level ${level}`, kind: 'quiet', level },
    { name: `busy, level ${level}`, kind: 'busy', level },
  ]);
  const results = await runShapes(stage, young, Math.min(3, options.rounds));
  if (!options.isQuick) {
    await untilGrown(openedAt);
    for (const [name, rounds] of await runShapes(stage, grown, options.rounds)) results.set(name, rounds);
  }
  stage.engine.close();
  // One after the other, the last one with what it keeps: Postgres, whom the gateways flush into.
  for (const server of [...stage.gateways, stage.redis, stage.postgres]) await server.stop();
  print(results);
  const { profileDir: _profileDir, out, ...asked } = options;
  report.write({ options: asked, shapes: Object.fromEntries(results) }, options.isQuick, out);
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
process.exit(0);
