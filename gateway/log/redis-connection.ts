// The two connections to Redis, or to each node of a cluster: one for commands, one for channels. Reconnects with backoff
// and jitter. Never sends a command again by itself: whoever sent it knows whether it may be repeated.

import { Cluster, Command, Redis, type RedisOptions } from 'ioredis';
import type { Random } from '../../core/clock.ts';
import type { Level } from '../../core/protocol/frames.ts';
import type { Logger } from '../logger.ts';
import { StoreStartError } from '../store/store.ts';
import { FactsWatch, readFacts, type ServerFacts } from './redis-facts.ts';
import { type PackedArguments, PackedCommand } from './redis-packed.ts';
import { RedisSync } from './redis-sync.ts';

type Argument = string | number | Uint8Array;

/** A command that is not answered within this time fails; it may still have run. */
const commandTimeoutMs = 3000;
const connectTimeoutMs = 2000;
const backoffMsMin = 50;
const backoffMsMax = 2000;
/** Settings are read again with each of so many pings. */
const pingsPerLook = 5;

/** What is heard of a server that speaks something else, or an error without a code. */
const strangerCodes: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'EPROTO', 'ETIMEDOUT']);

export interface ConnectionObserver {
  onMessage(channel: string, payload: Uint8Array): void;
  /** Messages may have been missed; all channels are subscribed again. */
  onResubscribed(): void;
  /** Commands reach a server again. */
  onReconnected(): void;
}

export class RedisConnection {
  readonly #watch: FactsWatch;
  readonly #logger: Logger;
  readonly #commands: Redis | Cluster;
  readonly #channels: Redis | Cluster;
  readonly #subscribed = new Set<string>();
  #observer: ConnectionObserver | null = null;
  readonly #openSync: () => Promise<RedisSync>;
  #sync: RedisSync | null = null;
  #isOpeningSync = false;
  /** Level 2 was on offer once: whoever heard of it goes on asking for it. */
  #hasOfferedSync = false;
  #pings = 0;
  #isGathering = false;
  #isClosed = false;

  private constructor(
    facts: ServerFacts,
    commands: Redis | Cluster,
    channels: Redis | Cluster,
    openSync: () => Promise<RedisSync>,
    logger: Logger,
  ) {
    this.#logger = logger;
    this.#openSync = openSync;
    this.#watch = new FactsWatch(facts, () => serversOf(commands), logger);
    this.#commands = commands;
    this.#channels = channels;
    commands.on('error', (err: Error) => logger.warn({ err }, 'redis: commands'));
    channels.on('error', (err: Error) => logger.warn({ err }, 'redis: channels'));
    const isSharded = facts.isCluster;
    channels.on(isSharded ? 'smessageBuffer' : 'messageBuffer', (channel: Buffer, payload: Buffer) => {
      // The client reads many messages into one buffer: whoever keeps a part would keep it all.
      this.#observer?.onMessage(channel.toString('latin1'), new Uint8Array(payload));
    });
    channels.on('ready', () => void this.#resubscribe(logger));
    // It may be another server, or the same one with another state.
    commands.on('ready', () => this.#observer?.onReconnected());
    this.#watchServers(commands);
  }

  #watchServers(commands: Redis | Cluster): void {
    const look = () => void this.look();
    const watch = (server: Redis) => {
      server.on('close', () => this.#watch.doubt());
      server.on('ready', look);
    };
    for (const server of serversOf(commands)) watch(server);
    if (!(commands instanceof Cluster)) return;
    commands.on('+node', (server: Redis) => {
      this.#watch.doubt();
      watch(server);
      look();
    });
    // A replica may have become a master.
    commands.on('refresh', look);
  }

  /** Connects and reads the server's settings. StoreStartError, in one line, where it cannot serve. */
  static async open(
    url: string,
    random: Random,
    logger: Logger,
    syncKey = 'parley:sync',
  ): Promise<RedisConnection> {
    const options = connectionOptions(random);
    let probe: Redis | null = null;
    try {
      probe = await connectOne(url, { ...options, retryStrategy: () => null });
      const { isCluster } = await readGood([probe]);
      const commands = await connect(url, options, isCluster);
      const facts = await readGood(serversOf(commands));
      const channels = await connect(url, options, facts.isCluster);
      const openSync = async () => new RedisSync(await connectOne(url, options), syncKey);
      const connection = new RedisConnection(facts, commands, channels, openSync, logger);
      await connection.#followFacts();
      return connection;
    } catch (error) {
      if (error instanceof StoreStartError) throw error;
      throw new StoreStartError(`REDIS_URL: ${describeUrl(url)} cannot be used: ${explain(error, url)}`);
    } finally {
      probe?.disconnect();
    }
  }

  get facts(): ServerFacts {
    return this.#watch.facts;
  }

  /**
   * What an append may be asked to hold as: 2 for ever where it could once be told. Where it no longer can, whoever asks for
   * it is answered at 4, which means as much.
   */
  get levels(): readonly Level[] {
    return this.#hasOfferedSync ? [1, 2, 4] : [1, 4];
  }

  /** Where level 2 has to be waited for; null where every answer means it, or nothing can. */
  get sync(): RedisSync | null {
    return this.facts.hasWaitAof ? this.#sync : null;
  }

  /** What the answer of an append means; the least while the server may have become another one. */
  get answerLevel(): Level {
    return this.facts.isSynced && !this.#watch.isInDoubt ? 2 : 1;
  }

  /** Null, or why the servers cannot be relied on, although they answer. */
  get problem(): string | null {
    return this.facts.problem;
  }

  observe(observer: ConnectionObserver): void {
    this.#observer = observer;
  }

  get isReady(): boolean {
    return this.#commands.status === 'ready';
  }

  /** A command and its reply, with strings as Buffers. Rejects at once while there is no connection. */
  call(name: string, ...args: readonly Argument[]): Promise<unknown> {
    const list = args.map((argument) => (argument instanceof Uint8Array ? asBuffer(argument) : argument));
    const command = new Command(name, list, { replyEncoding: null });
    this.#gatherWrites();
    return this.#commands.sendCommand(command) as Promise<unknown>;
  }

  /** What one task gives as commands leaves as one write: each write costs more than the command that is in it. */
  #gatherWrites(): void {
    if (this.#isGathering || this.#commands instanceof Cluster || !this.isReady) return;
    const { stream } = this.#commands;
    this.#isGathering = true;
    stream.cork();
    process.nextTick(() => {
      this.#isGathering = false;
      stream.uncork();
    });
  }

  /** The lengths of streams, asked for in one write where one server has them all. */
  async lengths(streams: readonly string[]): Promise<readonly number[]> {
    const commands = this.#commands;
    if (commands instanceof Cluster) return Promise.all(streams.map((stream) => commands.xlen(stream)));
    const answers = await commands.pipeline(streams.map((stream) => ['xlen', stream])).exec();
    return (answers ?? []).map(([error, length]) => {
      if (error !== null) throw error;
      return Number(length);
    });
  }

  /** As `call`, of a script whose arguments are packed already; `last` goes behind them. */
  callPacked(sha: string, keys: readonly string[], packed: PackedArguments, last: string): Promise<unknown> {
    this.#gatherWrites();
    return this.#commands.sendCommand(new PackedCommand(sha, keys, packed, last)) as Promise<unknown>;
  }

  /** Rejects where a server does not answer; in a cluster any of the masters. */
  async ping(): Promise<void> {
    await Promise.all(serversOf(this.#commands).map((server) => server.ping()));
    this.#pings++;
    // An operator may change a setting of a server that goes on.
    if (this.#watch.isInDoubt || this.#pings % pingsPerLook === 0) await this.look();
  }

  /** Reads again what the servers are set to. */
  async look(): Promise<void> {
    if (this.#isClosed) return;
    await this.#watch.look();
    await this.#followFacts();
  }

  /** Where an answer does not mean level 2, but it can be waited for, that needs a connection. */
  async #followFacts(): Promise<void> {
    const { isSynced, hasWaitAof, isCluster } = this.facts;
    const isWaited = hasWaitAof && !isSynced && !isCluster;
    if (isWaited && this.#sync === null && !this.#isOpeningSync) {
      this.#isOpeningSync = true;
      try {
        this.#sync = await this.#openSync();
      } catch (err) {
        // The next look tries again.
        this.#logger.warn({ err }, 'redis: no connection to wait for the disk with');
      }
      this.#isOpeningSync = false;
      if (this.#isClosed) this.#sync?.close();
    }
    if (isSynced || this.sync !== null) this.#hasOfferedSync = true;
  }

  get publishCommand(): 'PUBLISH' | 'SPUBLISH' {
    return this.facts.isCluster ? 'SPUBLISH' : 'PUBLISH';
  }

  /**
   * Settles when the server has confirmed it. Rejects where there is no connection; the channel is then subscribed when
   * there is one again, unless it is unsubscribed before.
   */
  async subscribe(channel: string): Promise<void> {
    this.#subscribed.add(channel);
    await this.#subscribeNow([channel]);
  }

  unsubscribe(channel: string): void {
    if (!this.#subscribed.delete(channel) || this.#channels.status !== 'ready') return;
    const left = this.facts.isCluster
      ? this.#channels.sunsubscribe(channel)
      : this.#channels.unsubscribe(channel);
    left.catch(() => {
      // Without a connection there is nothing to leave.
    });
  }

  #subscribeNow(channels: readonly string[]): Promise<unknown> {
    return this.facts.isCluster
      ? this.#channels.ssubscribe(...channels)
      : this.#channels.subscribe(...channels);
  }

  async #resubscribe(logger: Logger): Promise<void> {
    if (this.#isClosed) return;
    try {
      const channels = [...this.#subscribed];
      if (this.facts.isCluster) for (const channel of channels) await this.#subscribeNow([channel]);
      else
        for (let i = 0; i < channels.length; i += 500) await this.#subscribeNow(channels.slice(i, i + 500));
      this.#observer?.onResubscribed();
    } catch (err) {
      // The connection went again: the next `ready` starts over.
      logger.warn({ err }, 'redis: channels could not be subscribed again');
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#sync?.close();
    this.#commands.disconnect();
    this.#channels.disconnect();
  }
}

function serversOf(commands: Redis | Cluster): readonly Redis[] {
  return commands instanceof Cluster ? commands.nodes('master') : [commands];
}

async function readGood(servers: readonly Redis[]): Promise<ServerFacts> {
  const facts = await readFacts(servers);
  if (facts.problem !== null) throw new StoreStartError(`REDIS_URL: ${facts.problem}`);
  return facts;
}

function connectionOptions(random: Random) {
  return {
    connectTimeout: connectTimeoutMs,
    commandTimeout: commandTimeoutMs,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    keepAlive: 10_000,
    noDelay: true,
    retryStrategy: (times: number) => {
      const ceiling = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(times, 10));
      return Math.ceil(backoffMsMin + random.fraction() * ceiling);
    },
  } satisfies RedisOptions;
}

/** Rejects with what the server said last: that it closed the connection is then all that the client tells. */
async function connectOne(url: string, options: RedisOptions): Promise<Redis> {
  const redis = new Redis(url, { ...options, lazyConnect: true });
  let said: Error | null = null;
  redis.on('error', (error: Error) => {
    // Once it is connected, the connection's owner logs them.
    said = error;
  });
  try {
    await redis.connect();
  } catch (error) {
    redis.disconnect();
    throw said ?? error;
  }
  return redis;
}

async function connect(url: string, options: ReturnType<typeof connectionOptions>, isCluster: boolean) {
  if (!isCluster) return connectOne(url, options);
  const { hostname, port, username, password, protocol } = new URL(url);
  const { retryStrategy, enableOfflineQueue, ...perNode } = options;
  const cluster = new Cluster([{ host: hostname, port: Number(port || 6379) }], {
    enableOfflineQueue,
    clusterRetryStrategy: retryStrategy,
    clusterNodeRetryStrategy: retryStrategy,
    shardedSubscribers: true,
    lazyConnect: true,
    slotsRefreshTimeout: connectTimeoutMs,
    redisOptions: {
      ...perNode,
      ...(username ? { username: decodeURIComponent(username) } : {}),
      ...(password ? { password: decodeURIComponent(password) } : {}),
      ...(protocol === 'rediss:' ? { tls: {} } : {}),
    },
  });
  cluster.on('error', () => {
    // The connection's owner logs them.
  });
  await cluster.connect();
  return cluster;
}

/** In one line: why the server that was connected to cannot be used, as far as it can be known. */
function explain(error: unknown, url: string): string {
  const { name, message, code = '' } = error as Error & { readonly code?: string };
  const [line = ''] = message.split('\n');
  // Of a name with several addresses there is no message.
  const reason = line || code;
  const isTold = name === 'ReplyError' || (code !== '' && !strangerCodes.has(code));
  if (isTold) return reason;
  return `${reason} (is it a Redis, and ${url.startsWith('rediss:') ? 'with' : 'without'} TLS?)`;
}

/** The address without user and password. */
function describeUrl(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'the address';
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
