// A process that holds the shared log and nothing else of a gateway: RedisLog over a real Redis and a real Postgres, as
// gateway/backends.ts wires them, so that a bench says exactly what one call carries. Started by append.ts and drain.ts,
// which speak to it over IPC, one job at a time.

import { Redis } from 'ioredis';
import { pino } from 'pino';
import { encodeMessage } from '../core/protocol/encode.ts';
import { eventOps } from '../core/protocol/ops.ts';
import { readOp, stamp } from '../core/protocol/stamp.ts';
import { makeUuid } from '../core/uuid.ts';
import { systemClock as clock, systemRandom as random } from '../gateway/clock.ts';
import { Flusher } from '../gateway/flusher.ts';
import type { Append } from '../gateway/log/log.ts';
import { RedisLog } from '../gateway/log/redis.ts';
import { RedisConnection } from '../gateway/log/redis-connection.ts';
import { RedisKeys } from '../gateway/log/redis-keys.ts';
import { RedisScripts } from '../gateway/log/redis-scripts.ts';
import { RedisTail } from '../gateway/log/redis-tail.ts';
import { openPostgresStore } from '../gateway/store/postgres.ts';
import type { Store, StoredEvent } from '../gateway/store/store.ts';
import { cpuSeconds, stealSeconds } from './machine.ts';
import { familyCpuSeconds } from './servers.ts';

export interface OpenJob {
  readonly step: 'open';
  readonly redisUrl: string;
  readonly databaseUrl: string;
  readonly redisPid: number;
  readonly postgresPid: number;
  /** Rooms that are made; of one shard, or as they fall. */
  readonly rooms: number;
  readonly isOneShard: boolean;
  /** This process hears what it publishes, as one does that has the rooms' members. */
  readonly isSubscribed: boolean;
  readonly flushes: boolean;
  /** Connections to Postgres. */
  readonly poolMax: number;
}

export interface AppendJob {
  readonly step: 'append';
  readonly engine: 'log' | 'xadd';
  /** Messages of one call; the next call is made when all of them are settled. */
  readonly batch: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

export type Job =
  | OpenJob
  | AppendJob
  /** Appends messages that the flusher does not take yet, and keeps them. */
  | { readonly step: 'fill'; readonly events: number; readonly seed: number }
  /** Commits what was filled, without the log. */
  | { readonly step: 'commit'; readonly connections: number; readonly batch: number }
  /** Starts the flusher and waits until the log is empty. */
  | { readonly step: 'drain'; readonly events: number }
  | { readonly step: 'close' };

/** What was spent between two moments when nothing was in flight. */
export interface Spent {
  readonly events: number;
  readonly seconds: number;
  readonly gatewayCpu: number;
  readonly redisCpu: number;
  readonly postgresCpu: number;
  readonly stealSeconds: number;
}

export interface AppendSpent extends Spent {
  /** Time inside the commands as Redis counts it (INFO commandstats), of the appending command alone. */
  readonly commandSeconds: number;
}

export type Answer =
  | { readonly ok: true; readonly spent: Spent | AppendSpent | null }
  | { readonly ok: false; readonly message: string };

/** Bytes of a message's event, room and all. */
const frameBytes = 130;
/** Ids are dated ahead: those made soon after a shard was adopted are looked up in the store, which is not the question. */
const idAheadMs = 130_000;
const logShards = 64;
const words =
  'the a to and of in is it you that for on with this we have be not are at can will but all one so if out up about just now get when how what them time would like some see only new work good know take people into year could than first look after think also back come over use two our day even want because any give most'.split(
    ' ',
  );

interface Parts {
  readonly job: OpenJob;
  readonly connection: RedisConnection;
  readonly raw: Redis;
  readonly keys: RedisKeys;
  readonly log: RedisLog;
  readonly flusher: Flusher;
  readonly store: Store;
  readonly rooms: readonly string[];
  flushed: number;
  onFlushed: (() => void) | null;
  heard: number;
}

let parts: Parts | null = null;
let filled: StoredEvent[] = [];

function roomNames(keys: RedisKeys, { rooms, isOneShard }: OpenJob): string[] {
  const names: string[] = [];
  for (let i = 0; names.length < rooms; i++) {
    const name = `room-${String(i).padStart(6, '0')}`;
    if (!isOneShard || keys.shardOf(name) === 0) names.push(name);
  }
  return names;
}

async function open(job: OpenJob): Promise<Parts> {
  const logger = pino({ level: 'warn' }, pino.destination(2));
  const connection = await RedisConnection.open(job.redisUrl, random, logger);
  const store = await openPostgresStore({
    url: job.databaseUrl,
    poolMax: job.poolMax,
    idleMs: 0,
    connectMs: 2000,
    statementMs: 30_000,
    exclusive: false,
    logger,
  });
  const keys = new RedisKeys('bench', logShards);
  const scripts = new RedisScripts(connection, keys, random);
  const tail = new RedisTail({
    connection,
    keys,
    scripts,
    random,
    server: 'bench',
    dedupeSeconds: 300,
    recentTtlSeconds: 300,
  });
  const options = { walBytesMax: 2 ** 30, recentBytes: 32_768, dedupeSeconds: 300, heartbeatMs: 30_000 };
  const log = new RedisLog({
    connection,
    keys,
    scripts,
    store,
    clock,
    random,
    logger,
    options,
    onAppended() {
      // Nobody counts.
    },
    onWake: (shard, isAwaited) => tail.onWake(shard, isAwaited),
  });
  const flusher = new Flusher({
    tail,
    log,
    store,
    clock,
    random,
    logger,
    flushIntervalMs: 20,
    batchEventsMax: 1000,
    onFlushed(events) {
      if (parts === null) return;
      parts.flushed += events;
      parts.onFlushed?.();
    },
    onParked() {
      throw new Error('the store refuses an event of the bench');
    },
  });
  connection.observe(log);
  const rooms = roomNames(keys, job);
  const opened: Parts = {
    job,
    connection,
    raw: new Redis(job.redisUrl, { noDelay: true }),
    keys,
    log,
    flusher,
    store,
    rooms,
    flushed: 0,
    onFlushed: null,
    heard: 0,
  };
  log.listen({
    onEvents(_room, bytes, ends) {
      // Not the epoch that a new log starts.
      if (readOp(bytes) === eventOps.message) opened.heard += ends.length;
    },
    onRoomFrames: ignore,
    onUserFrames: ignore,
    onControl: ignore,
    onHead: ignore,
  });
  for (const room of rooms) {
    await makeRoom(store, room);
    if (job.isSubscribed) await log.subscribeRoom(room);
    await log.open(room);
  }
  if (job.flushes) flusher.start();
  return opened;
}

function ignore(): void {
  // Nothing of this is sent here.
}

async function makeRoom(store: Store, id: string): Promise<void> {
  const room = {
    id,
    name: id,
    type: 'group',
    public: false,
    encrypted: false,
    avatarUrl: null,
    metadata: null,
    retentionDays: null,
    createdBy: 'user-000000',
    createdAt: Date.now(),
  } as const;
  await store.createRoom(room, []);
}

/** Where it stands in a frame, each message's own id is written. */
const idMark = new Uint8Array(16).fill(0x7f);

/** A message of exactly so many bytes. */
function makeFrame(room: string, bytes: number): Uint8Array {
  const make = (size: number) => encodeMessage(room, 'user-000000', idMark, 'text', 'x'.repeat(size), null);
  return make(bytes - make(64).length + 64).slice();
}

class Meter {
  readonly #parts: Parts;
  readonly #before: readonly number[];

  constructor(from: Parts) {
    this.#parts = from;
    this.#before = this.#read();
  }

  #read(): readonly number[] {
    const { redisPid, postgresPid } = this.#parts.job;
    return [
      performance.now() / 1000,
      cpuSeconds(process.pid),
      cpuSeconds(redisPid),
      familyCpuSeconds(postgresPid),
      stealSeconds(),
    ];
  }

  spent(events: number): Spent {
    const [seconds = 0, gatewayCpu = 0, redisCpu = 0, postgresCpu = 0, steal = 0] = this.#read().map(
      (value, i) => value - (this.#before[i] as number),
    );
    return { events, seconds, gatewayCpu, redisCpu, postgresCpu, stealSeconds: steal };
  }
}

/** One call's worth of messages at a time, round robin over the rooms, until the time is over. */
async function append(from: Parts, { engine, batch, warmMs, measureMs }: AppendJob): Promise<AppendSpent> {
  const step = engine === 'log' ? logStep(from, batch) : xaddStep(from, batch);
  const command = engine === 'log' ? 'evalsha' : 'xadd';
  const run = async (ms: number) => {
    const end = performance.now() + ms;
    let events = 0;
    while (performance.now() < end) {
      await step();
      events += batch;
    }
    return events;
  };
  const warm = await run(warmMs);
  const commandBefore = await commandSeconds(from.raw, command);
  const meter = new Meter(from);
  const events = await run(measureMs);
  const spent = meter.spent(events);
  if (engine === 'log' && from.job.isSubscribed) {
    const deadline = performance.now() + 2000;
    while (from.heard < warm + events && performance.now() < deadline) await Bun.sleep(5);
    if (from.heard !== warm + events) throw new Error(`${from.heard} of ${warm + events} events were heard`);
  }
  return { ...spent, commandSeconds: (await commandSeconds(from.raw, command)) - commandBefore };
}

async function commandSeconds(redis: Redis, command: string): Promise<number> {
  const line = new RegExp(`^cmdstat_${command}:calls=\\d+,usec=(\\d+)`, 'm');
  return Number(line.exec(await redis.info('commandstats'))?.[1] ?? 0) / 1e6;
}

function logStep({ log, rooms }: Parts, batch: number): () => Promise<void> {
  const frames = rooms.map((room) => makeFrame(room, frameBytes));
  const idsAt = frames.map(
    (frame) => Buffer.from(frame.buffer).indexOf(idMark, frame.byteOffset) - frame.byteOffset,
  );
  const lastSeqs = rooms.map(() => 0);
  const entropy = random.bytes(10);
  const entropyView = new DataView(entropy.buffer, entropy.byteOffset, 10);
  let number = 0;
  return () =>
    new Promise((resolve, reject) => {
      let left = batch;
      const now = Date.now() + idAheadMs;
      for (let i = 0; i < batch; i++) {
        const at = number++ % rooms.length;
        entropyView.setUint32(5, number);
        const id = makeUuid(now, entropy);
        // The store would take equal ids for doubles.
        const bytes = (frames[at] as Uint8Array).slice();
        bytes.set(id, idsAt[at]);
        const entry: Append = {
          room: rooms[at] as string,
          bytes,
          id,
          from: 'user-000000',
          level: 1,
          settle(seq, _ts, _level, repeated) {
            const last = lastSeqs[at] as number;
            if (repeated || (last !== 0 && seq !== last + 1)) reject(new Error(`seq ${seq} after ${last}`));
            lastSeqs[at] = seq;
            if (--left === 0) resolve();
          },
          fail: (code) => reject(new Error(`an append failed: ${code}`)),
        };
        log.append(entry);
      }
    });
}

/** The same bytes into one plain stream, an entry a message, all commands of a turn in one write. */
function xaddStep({ connection }: Parts, batch: number): () => Promise<void> {
  const frame = makeFrame('room-000000', frameBytes);
  return async () => {
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < batch; i++) calls.push(connection.call('XADD', 'plain', '*', 'f', frame));
    await Promise.all(calls);
  };
}

/** Text as people write it, so that the search index has its work: the same for the same seed. */
function makeText(next: () => number): string {
  let text = '';
  const size = 40 + (next() % 120);
  while (text.length < size) text += `${text === '' ? '' : ' '}${words[next() % words.length]}`;
  return text;
}

function generator(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

async function fill({ log, rooms }: Parts, events: number, seed: number): Promise<void> {
  const next = generator(seed);
  filled = [];
  for (let done = 0; done < events; ) {
    const count = Math.min(4000, events - done);
    const appended: Promise<StoredEvent>[] = [];
    for (let i = 0; i < count; i++) {
      const room = rooms[(done + i) % rooms.length] as string;
      const from = `user-${String(next() % 1000).padStart(6, '0')}`;
      const id = makeUuid(Date.now() + idAheadMs, random.bytes(10));
      const bytes = encodeMessage(room, from, id, 'text', makeText(next), null).slice();
      appended.push(appendOne(log, { room, from, id, bytes }));
    }
    for (const event of await Promise.all(appended)) filled.push(event);
    done += count;
  }
}

function appendOne(
  log: RedisLog,
  { bytes, ...rest }: Pick<Append, 'room' | 'from' | 'id' | 'bytes'>,
): Promise<StoredEvent> {
  return new Promise((resolve, reject) => {
    log.append({
      ...rest,
      bytes,
      level: 1,
      settle(seq, ts) {
        stamp(bytes, 0, seq, ts);
        // The log's own count of messages is not told; a seq will do.
        resolve({ bytes, number: seq });
      },
      fail: (code) => reject(new Error(`an append failed: ${code}`)),
    });
  });
}

async function commit(from: Parts, connections: number, batch: number): Promise<Spent> {
  const { store } = from;
  let at = 0;
  const lane = async () => {
    while (at < filled.length) {
      const events = filled.slice(at, at + batch);
      at += events.length;
      await store.commit(events);
    }
  };
  await Promise.all(Array.from({ length: connections }, () => store.check()));
  const meter = new Meter(from);
  await Promise.all(Array.from({ length: connections }, lane));
  return meter.spent(filled.length);
}

async function drain(from: Parts, events: number): Promise<Spent> {
  const { flusher, store, connection, keys } = from;
  await Promise.all([store.check(), store.check()]);
  const meter = new Meter(from);
  const done = new Promise<void>((resolve) => {
    from.onFlushed = () => {
      if (from.flushed >= events) resolve();
    };
  });
  flusher.start();
  await done;
  for (const { wal } of keys.shards) {
    while (Number(await connection.call('XLEN', wal)) > 0) await Bun.sleep(1);
  }
  return meter.spent(events);
}

async function close({ log, flusher, connection, raw, store }: Parts): Promise<void> {
  await log.close();
  await flusher.stop();
  raw.disconnect();
  connection.close();
  await store.close();
}

async function run(job: Job): Promise<Spent | AppendSpent | null> {
  if (job.step === 'open') {
    parts = await open(job);
    return null;
  }
  if (parts === null) throw new Error('nothing is open');
  switch (job.step) {
    case 'append':
      return append(parts, job);
    case 'fill':
      await fill(parts, job.events, job.seed);
      return null;
    case 'commit':
      return commit(parts, job.connections, job.batch);
    case 'drain':
      return drain(parts, job.events);
    case 'close':
      await close(parts);
      return null;
    default:
      return job satisfies never;
  }
}

process.on('message', (job: Job) => {
  run(job).then(
    (spent) => process.send?.({ ok: true, spent } satisfies Answer),
    (error: unknown) =>
      process.send?.({
        ok: false,
        message: error instanceof Error ? String(error.stack) : String(error),
      } satisfies Answer),
  );
});
process.on('disconnect', () => process.exit(0));
