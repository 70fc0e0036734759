// The two connections to Redis, or to each node of a cluster: one for commands, one for channels. Reconnects with backoff
// and jitter. Never sends a command again by itself: whoever sent it knows whether it may be repeated.

import { Cluster, Command, Redis, type RedisOptions } from 'ioredis';
import type { Random } from '../../core/clock.ts';
import type { Logger } from '../logger.ts';
import { StoreStartError } from '../store/store.ts';
import { RedisSync } from './redis-sync.ts';

type Argument = string | number | Uint8Array;

/** A command that is not answered within this time fails; it may still have run. */
const commandTimeoutMs = 3000;
const connectTimeoutMs = 2000;
const backoffMsMin = 50;
const backoffMsMax = 2000;
/** The oldest Redis whose scripts and streams do what is needed. */
const versionMin = 7;

export interface ConnectionObserver {
  onMessage(channel: string, payload: Uint8Array): void;
  /** Messages may have been missed; all channels are subscribed again. */
  onResubscribed(): void;
  /** Commands reach a server again. */
  onReconnected(): void;
}

/** What the server told at the start. */
export interface ServerFacts {
  readonly version: string;
  readonly isCluster: boolean;
  /** Every reply means that the append log is on disk. */
  readonly isSynced: boolean;
  /** WAITAOF is there (7.2). */
  readonly hasWaitAof: boolean;
  /** Settings that work but lose what one may not expect to lose. */
  readonly warnings: readonly string[];
}

export class RedisConnection {
  readonly facts: ServerFacts;
  /** Where level 2 has to be waited for; null where every answer means it, or nothing can. */
  readonly sync: RedisSync | null;
  readonly #commands: Redis | Cluster;
  readonly #channels: Redis | Cluster;
  readonly #subscribed = new Set<string>();
  #observer: ConnectionObserver | null = null;
  #isClosed = false;

  private constructor(
    facts: ServerFacts,
    commands: Redis | Cluster,
    channels: Redis | Cluster,
    syncing: Redis | null,
    syncKey: string,
    logger: Logger,
  ) {
    this.sync = syncing === null ? null : new RedisSync(syncing, syncKey);
    this.facts = facts;
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
  }

  /** Connects and reads the server's settings. StoreStartError, in one line, where it cannot serve. */
  static async open(
    url: string,
    random: Random,
    logger: Logger,
    syncKey = 'parley:sync',
  ): Promise<RedisConnection> {
    const options = connectionOptions(random);
    const probe = new Redis(url, { ...options, lazyConnect: true, retryStrategy: () => null });
    probe.on('error', () => {
      // Told by the connect that fails.
    });
    try {
      await probe.connect();
      const facts = await readFacts(probe);
      const commands = await connect(url, options, facts.isCluster);
      const channels = await connect(url, options, facts.isCluster);
      const isWaited = facts.hasWaitAof && !facts.isSynced && !facts.isCluster;
      const syncing = isWaited ? await connectOne(url, options) : null;
      return new RedisConnection(facts, commands, channels, syncing, syncKey, logger);
    } catch (error) {
      if (error instanceof StoreStartError) throw error;
      const reason = (error as Error).message.split('\n')[0];
      throw new StoreStartError(`REDIS_URL: ${describeUrl(url)} cannot be used: ${reason}`);
    } finally {
      probe.disconnect();
    }
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
    return this.#commands.sendCommand(command) as Promise<unknown>;
  }

  /** Rejects where a server does not answer; in a cluster any of the masters. */
  async ping(): Promise<void> {
    const commands = this.#commands;
    if (commands instanceof Cluster) await Promise.all(commands.nodes('master').map((node) => node.ping()));
    else await commands.ping();
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
    this.sync?.close();
    this.#commands.disconnect();
    this.#channels.disconnect();
  }
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

async function connectOne(url: string, options: ReturnType<typeof connectionOptions>): Promise<Redis> {
  const redis = new Redis(url, { ...options, lazyConnect: true });
  redis.on('error', () => {
    // The connection's owner logs them.
  });
  await redis.connect();
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

async function readFacts(redis: Redis): Promise<ServerFacts> {
  const info = await redis.info();
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
  const version = field('redis_version');
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < versionMin) throw new StoreStartError(`REDIS_URL: Redis ${version} is too old, 7.0 is needed`);
  const policy = await readSetting(redis, 'maxmemory-policy', field('maxmemory_policy'));
  if (policy.startsWith('allkeys-')) {
    throw new StoreStartError(`REDIS_URL: maxmemory-policy ${policy} evicts messages; set it to noeviction`);
  }
  const isAppendOnly =
    (await readSetting(redis, 'appendonly', field('aof_enabled') === '1' ? 'yes' : 'no')) === 'yes';
  const fsync = await readSetting(redis, 'appendfsync', '');
  const warnings: string[] = [];
  if (!isAppendOnly)
    warnings.push('Redis: appendonly is off, what is not flushed yet is lost with the server');
  else if (fsync !== 'always') {
    warnings.push(
      `Redis: appendfsync is ${fsync || 'unknown'}, up to a second of unflushed messages may be lost with the server`,
    );
  }
  if (policy !== 'noeviction')
    warnings.push(`Redis: maxmemory-policy is ${policy || 'unknown'}, noeviction is advised`);
  return {
    version,
    isCluster: field('cluster_enabled') === '1',
    isSynced: isAppendOnly && fsync === 'always',
    hasWaitAof: isAppendOnly && (major > 7 || minor >= 2),
    warnings,
  };
}

/** Managed servers may forbid CONFIG: then what INFO says. */
async function readSetting(redis: Redis, name: string, otherwise: string): Promise<string> {
  try {
    const answer = (await redis.config('GET', name)) as readonly string[];
    return answer[1] ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** The address without user and password. */
function describeUrl(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'the address';
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
