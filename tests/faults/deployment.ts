// A whole deployment of the test's own: Redis (AOF always), Postgres with durable commits, several gateways, and load on
// them that keeps what it was told. Faults are made here; run.ts and faults.test.ts choose them.

import { type Gateway, startGateway } from '../gateway.ts';
import { follow, makeRoom, open, type Person, person } from '../people.ts';
import { type PostgresServer, startPostgres } from '../postgres.ts';
import { type RedisServer, startRedis } from '../redis.ts';
import { ageShards } from '../redis-log.ts';
import { connect, type Frame, op, until } from '../socket.ts';
import { check, type Loss, type Verdict } from './check.ts';
import { Follower, Sender } from './clients.ts';

const keyPrefix = 'faults';
const logShards = 8;
/** The store has what was acked so long before, as long as it answers. */
const flushLagMs = 10_000;
const progressMs = 90_000;

export interface LoadOptions {
  readonly rooms?: number;
  readonly sendersPerRoom?: number;
  readonly followersPerRoom?: number;
  readonly paceMs?: number;
}

export class Deployment {
  readonly redis: RedisServer;
  readonly postgres: PostgresServer;
  readonly gateways: Gateway[];
  readonly losses: Loss[] = [];
  /** Since when Postgres answers; null while it does not. */
  #storeUpSince: number | null = Number.NEGATIVE_INFINITY;
  #picked = 0;
  /** Gateways that nobody connects to now. */
  readonly #away = new Set<Gateway>();

  private constructor(redis: RedisServer, postgres: PostgresServer, gateways: Gateway[]) {
    this.redis = redis;
    this.postgres = postgres;
    this.gateways = gateways;
  }

  static async start(count: number): Promise<Deployment> {
    const [redis, postgres] = await Promise.all([
      startRedis({ fsync: 'always' }),
      startPostgres({ isDurable: true }),
    ]);
    await ageShards(redis, keyPrefix, logShards);
    const gateways: Gateway[] = [];
    for (let i = 0; i < count; i++)
      gateways.push(await startGateway(environment(redis, postgres, `gateway-${i}`)));
    return new Deployment(redis, postgres, gateways);
  }

  /** One after the other, as a balancer would; those that are away are left out. */
  readonly pick = (): string => {
    const usable = this.gateways.filter((gateway) => !this.#away.has(gateway));
    const among = usable.length > 0 ? usable : this.gateways;
    return among[this.#picked++ % among.length]!.url;
  };

  async close(): Promise<void> {
    await Promise.all(this.gateways.map((gateway) => gateway.close()));
    await Promise.all([this.redis.close(), this.postgres.close()]);
  }

  // Faults.

  async killGateway(index: number): Promise<void> {
    const gateway = this.gateways[index]!;
    gateway.kill();
    await gateway.exited;
    await gateway.restart();
  }

  async killRedis(): Promise<void> {
    await this.redis.kill();
    await this.redis.start();
  }

  /** The log loses everything while everybody is connected. */
  async flushAll(): Promise<void> {
    const since = this.#lossSince();
    await this.redis.ask('FLUSHALL');
    this.losses.push({ since, at: performance.now() });
  }

  async emptyRedis(): Promise<void> {
    const since = this.#lossSince();
    await this.redis.kill();
    this.losses.push({ since, at: performance.now() });
    await this.redis.start(true);
  }

  async killPostgres(): Promise<void> {
    this.#storeUpSince = null;
    await this.postgres.kill();
    await this.postgres.start();
    this.#storeUpSince = performance.now();
  }

  /** `meanwhile` runs once it is down and ends the outage. */
  async stopPostgres(meanwhile: () => Promise<void>): Promise<void> {
    this.#storeUpSince = null;
    await this.postgres.stop();
    try {
      await meanwhile();
    } finally {
      // Whatever became of that: what comes next needs it.
      await this.postgres.start();
      this.#storeUpSince = performance.now();
    }
  }

  async freezePostgres(ms: number): Promise<void> {
    this.#storeUpSince = null;
    this.postgres.signal('SIGSTOP');
    await sleep(ms);
    this.postgres.signal('SIGCONT');
    this.#storeUpSince = performance.now();
  }

  async freezeRedis(ms: number): Promise<void> {
    this.redis.signal('SIGSTOP');
    await sleep(ms);
    this.redis.signal('SIGCONT');
  }

  /** Longer than its leases: others take its shards, and it wakes up thinking they are its own. */
  async freezeGateway(index: number, ms: number): Promise<void> {
    const gateway = this.gateways[index]!;
    this.#away.add(gateway);
    gateway.signal('SIGSTOP');
    await sleep(ms);
    gateway.signal('SIGCONT');
    this.#away.delete(gateway);
  }

  /** SIGTERM one after the other; each is back before the next one goes. */
  async rollingRestart(): Promise<void> {
    for (const gateway of this.gateways) {
      this.#away.add(gateway);
      await gateway.stop();
      const code = await gateway.exited;
      if (code !== 0)
        throw new Error(`a drained gateway ended with ${code}: ${gateway.stdout}${gateway.stderr}`);
      await gateway.restart();
      this.#away.delete(gateway);
    }
  }

  /** Acks since then may be of events that the store does not have yet. */
  #lossSince(): number {
    const now = performance.now();
    if (this.#storeUpSince === null) return Number.NEGATIVE_INFINITY;
    return now - this.#storeUpSince > flushLagMs ? now - flushLagMs : Number.NEGATIVE_INFINITY;
  }

  // Load.

  async startLoad(options: LoadOptions = {}): Promise<Load> {
    const { rooms = 3, sendersPerRoom = 2, followersPerRoom = 3, paceMs = 15 } = options;
    const load = new Load(this);
    for (let i = 0; i < rooms; i++) await load.addRoom(sendersPerRoom, followersPerRoom, paceMs);
    return load;
  }
}

interface LoadedRoom {
  readonly id: string;
  readonly reader: Person;
  readonly senders: readonly Sender[];
  readonly followers: readonly Follower[];
}

/** Senders and followers on some rooms of a deployment. */
export class Load {
  readonly rooms: LoadedRoom[] = [];
  readonly #deployment: Deployment;
  #running: Promise<void>[] = [];

  constructor(deployment: Deployment) {
    this.#deployment = deployment;
  }

  get senders(): Sender[] {
    return this.rooms.flatMap((room) => [...room.senders]);
  }

  get followers(): Follower[] {
    return this.rooms.flatMap((room) => [...room.followers]);
  }

  get acked(): number {
    return this.senders.reduce((sum, sender) => sum + sender.acked, 0);
  }

  /** A room with a lane of every level for each sender. */
  async addRoom(senders: number, followers: number, paceMs: number): Promise<void> {
    const { gateways, pick } = this.#deployment;
    const people = await Promise.all(Array.from({ length: senders + followers + 1 }, () => person()));
    const [reader] = people as [Person];
    // A gateway may not have noticed yet that the store is back.
    const made = async () => {
      const room = await makeRoom(gateways[0]!, reader, people.slice(1));
      const socket = await open(gateways[0]!, reader);
      const { epoch, head } = await follow(socket, room).finally(() => socket.terminate());
      return { id: room, epoch, head };
    };
    const { id, epoch, head } = await until(() => made().catch(() => null), 'a room to be made', progressMs);
    const room = {
      id,
      reader,
      senders: people.slice(1, 1 + senders).map((who) => new Sender(pick, who, id, [null, 1, 2, 4], paceMs)),
      followers: people.slice(1 + senders).map((who) => new Follower(pick, who, id, epoch, head)),
    };
    this.rooms.push(room);
    for (const client of [...room.followers, ...room.senders]) this.#running.push(client.run());
  }

  /** So many more acks. */
  async progress(count: number, what = 'acks', ms = progressMs): Promise<void> {
    const wanted = this.acked + count;
    await until(() => this.acked >= wanted, `${count} ${what}`, ms);
  }

  /** Ends the load, whatever became of it. */
  stop(): void {
    for (const client of [...this.senders, ...this.followers]) client.stop();
  }

  /** Ends the load, waits until everything is where it belongs, and says what is wrong. */
  async finish(): Promise<Verdict> {
    const { gateways, postgres, losses } = this.#deployment;
    for (const sender of this.senders) sender.stop();
    await until(
      () => this.senders.every((sender) => [...sender.sent.values()].every(({ acks }) => acks.length > 0)),
      'everything to be acked',
      progressMs,
    );
    const verdicts: Verdict[] = [];
    for (const room of this.rooms) {
      const last = await this.#sendLast(room);
      await until(
        () => room.followers.every(({ cursor, faults }) => cursor >= last || faults.length > 0),
        `the followers of ${room.id} to see ${last}: ${room.followers.map(({ cursor }) => cursor)}`,
        progressMs,
      );
      for (const follower of room.followers) follower.stop();
      const histories: Frame[][] = [];
      for (const { url } of gateways) histories.push(await readAll(url, room.reader, room.id, last));
      const rows = await readRows(postgres, room.id, last);
      verdicts.push(check({ ...room, room: room.id, histories, rows, losses }));
    }
    await Promise.all(this.#running);
    return {
      faults: verdicts.flatMap(({ faults }) => faults),
      lost: verdicts.reduce((sum, { lost }) => sum + lost, 0),
      acked: verdicts.reduce((sum, { acked }) => sum + acked, 0),
    };
  }

  /** Of level 4: what comes before it is committed, too. */
  async #sendLast({ id, senders, followers, reader }: LoadedRoom): Promise<number> {
    const { pick } = this.#deployment;
    const last = new Sender(pick, reader, id, [4], 1);
    const running = last.run();
    await until(() => last.sent.size > 0, 'the last message');
    last.stop();
    await running;
    (senders as Sender[]).push(last);
    const seqs = [...last.sent.values()].flatMap(({ acks }) => acks.map(({ seq }) => seq));
    return Math.max(...seqs, ...followers.map(({ cursor }) => cursor));
  }
}

/** The whole history of a room, oldest first, once it has `last`. */
async function readAll(url: string, who: Person, room: string, last: number): Promise<Frame[]> {
  const socket = await connect(url, { token: who.token });
  const all: Frame[] = [];
  try {
    await until(
      async () => {
        const after = (all.at(-1)?.[1] as number | undefined) ?? 0;
        const answer = await socket.request(op.history, room, null, after, 200);
        if (answer[0] !== 32) return false;
        all.push(...(answer[3] as Frame[]));
        return answer[2] === false && ((all.at(-1)?.[1] as number | undefined) ?? 0) >= last;
      },
      `history of ${room} up to ${last} at ${url}`,
      60_000,
    );
  } finally {
    socket.terminate();
  }
  return all;
}

/** Messages of a room in Postgres: id by seq. */
async function readRows(postgres: PostgresServer, room: string, last: number): Promise<Map<number, string>> {
  await until(
    async () => Number(await postgres.psql(`SELECT max(seq) FROM messages WHERE room = '${room}'`)) >= last,
    `${last} in Postgres`,
    60_000,
  );
  const text = await postgres.psql(
    `SELECT seq, replace(id::text, '-', '') FROM messages WHERE room = '${room}'`,
  );
  return new Map(
    text.split('\n').map((line) => {
      const [seq, id] = line.split('|');
      return [Number(seq), id!];
    }),
  );
}

function environment(redis: RedisServer, postgres: PostgresServer, serverId: string): Record<string, string> {
  return {
    REDIS_URL: redis.url,
    DATABASE_URL: postgres.url,
    KEY_PREFIX: keyPrefix,
    SERVER_ID: serverId,
    LOG_SHARDS: String(logShards),
    HEARTBEAT_MS: '2000',
    DRAIN_SECONDS: '14',
  };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
