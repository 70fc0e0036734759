// Redis servers of the test's own, on free ports with temporary directories: `const redis = await startRedis()`, and
// `startRedisCluster()` for three nodes that share the slots. What a test leaves running is ended with the test process.

import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from '../scripts/free-port.mjs';
import { until } from './socket.ts';

const startMs = 20_000;
const systemPackages = new URL('../scripts/system-packages.mjs', import.meta.url).href;

export type Argument = string | number | Uint8Array;

export interface RedisSettings {
  /** When the append-only file reaches the disk; `off`: there is none. `everysec` unless told otherwise. */
  readonly fsync?: 'always' | 'everysec' | 'off';
  readonly password?: string;
  /** Lines of redis.conf. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface RedisServer {
  /** REDIS_URL. */
  readonly url: string;
  readonly port: number;
  /** 0 while it is down. */
  readonly pid: number;
  /** What the server has logged so far. */
  readonly log: string;
  /** A command and its reply, with strings as Buffers. */
  call(name: string, ...args: readonly Argument[]): Promise<unknown>;
  /** As `call`, with strings as text. */
  ask(name: string, ...args: readonly Argument[]): Promise<unknown>;
  /** A connection of its own; closed with the server. */
  connect(): Redis;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<void>;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** Starts it again on the same port and files, or with none of them; with some settings changed. */
  start(isEmpty?: boolean, changes?: Readonly<Record<string, string>>): Promise<void>;
  /** Ends it and removes its directory. */
  close(): Promise<void>;
}

const running = new Set<Server>();

process.on('exit', () => {
  for (const server of running) server.destroy();
});

export async function startRedis(settings: RedisSettings = {}): Promise<RedisServer> {
  return makeServer(settings);
}

async function makeServer({ fsync = 'everysec', password, settings = {} }: RedisSettings): Promise<Server> {
  const { ensureSystemPackages } = await import(systemPackages);
  ensureSystemPackages();
  const server = new Server(await freePort(), password ?? null, {
    save: '',
    appendonly: fsync === 'off' ? 'no' : 'yes',
    appendfsync: fsync === 'off' ? 'no' : fsync,
    'maxmemory-policy': 'noeviction',
    ...(password === undefined ? {} : { requirepass: password }),
    ...settings,
  });
  running.add(server);
  await server.start();
  return server;
}

class Server implements RedisServer {
  readonly port: number;
  readonly url: string;
  readonly #password: string | null;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #folder = mkdtempSync(join(tmpdir(), 'parley-redis-'));
  #child: ReturnType<typeof Bun.spawn> | null = null;
  #clients: Redis[] = [];

  constructor(port: number, password: string | null, settings: Readonly<Record<string, string>>) {
    this.port = port;
    this.url = `redis://${password === null ? '' : `:${password}@`}127.0.0.1:${port}`;
    this.#password = password;
    this.#settings = settings;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get log(): string {
    return readFileSync(join(this.#folder, 'log'), 'utf8');
  }

  async start(isEmpty = false, changes: Readonly<Record<string, string>> = {}): Promise<void> {
    if (isEmpty) {
      for (const name of ['appendonlydir', 'dump.rdb'])
        rmSync(join(this.#folder, name), { recursive: true, force: true });
    }
    const flags = Object.entries({ ...this.#settings, ...changes }).flatMap(([name, value]) => [
      `--${name}`,
      value,
    ]);
    const log = openSync(join(this.#folder, 'log'), 'a');
    const place = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.#folder];
    const child = Bun.spawn(['redis-server', ...place, ...flags], {
      cwd: this.#folder,
      stdout: log,
      stderr: log,
      stdin: 'ignore',
    });
    closeSync(log);
    this.#child = child;
    const deadline = performance.now() + startMs;
    while (!(await this.#answers())) {
      if (child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`Redis does not start:\n${this.log}`);
      }
      await Bun.sleep(10);
    }
  }

  /** It has read its files, too. */
  async #answers(): Promise<boolean> {
    const probe = this.#open({ retryStrategy: () => null });
    try {
      await probe.connect();
      return (await probe.ping()) === 'PONG';
    } catch {
      return false;
    } finally {
      probe.disconnect();
    }
  }

  #open(options: { retryStrategy?: (times: number) => number | null } = {}): Redis {
    const client = new Redis({
      host: '127.0.0.1',
      port: this.port,
      lazyConnect: true,
      retryStrategy: () => 20,
      maxRetriesPerRequest: null,
      commandTimeout: 20_000,
      ...(this.#password === null ? {} : { password: this.#password }),
      ...options,
    });
    client.on('error', () => {
      // Told by the call that fails.
    });
    return client;
  }

  connect(): Redis {
    const client = this.#open();
    this.#clients.push(client);
    return client;
  }

  call(name: string, ...args: readonly Argument[]): Promise<unknown> {
    return this.#client().callBuffer(name, ...args.map(asArgument));
  }

  ask(name: string, ...args: readonly Argument[]): Promise<unknown> {
    return this.#client().call(name, ...args.map(asArgument));
  }

  #client(): Redis {
    return this.#clients[0] ?? this.connect();
  }

  async stop(): Promise<void> {
    this.#child?.kill('SIGTERM');
    await this.#gone();
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#gone();
  }

  async #gone(): Promise<void> {
    await this.#child?.exited;
    this.#child = null;
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(name);
  }

  async close(): Promise<void> {
    this.destroy();
    await this.#child?.exited;
    rmSync(this.#folder, { recursive: true, force: true });
  }

  destroy(): void {
    running.delete(this);
    for (const client of this.#clients) client.disconnect();
    this.#clients = [];
    this.#child?.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function asArgument(argument: Argument): string | number | Buffer {
  return argument instanceof Uint8Array ? Buffer.from(argument) : argument;
}

export interface RedisCluster {
  /** REDIS_URL: that of one node. */
  readonly url: string;
  readonly nodes: readonly RedisServer[];
  /** The node that serves the slot of this key. */
  nodeOf(key: string): Promise<RedisServer>;
  /** Moves the slot of this key to another node, key by key, as resharding does; calls `onHalf` in the middle of it. */
  moveSlot(key: string, to: RedisServer, onHalf?: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

const slots = 16_384;

export async function startRedisCluster(): Promise<RedisCluster> {
  const nodes: Server[] = [];
  const buses: number[] = [];
  for (let i = 0; i < 3; i++) {
    const bus = await freePort();
    buses.push(bus);
    const settings = {
      'cluster-enabled': 'yes',
      'cluster-port': String(bus),
      // No node is taken for dead because the machine stood still for a moment.
      'cluster-node-timeout': '30000',
    };
    nodes.push(await makeServer({ fsync: 'off', settings }));
  }
  const [first] = nodes as [Server];
  for (const [i, node] of nodes.entries()) {
    const [from, to] = [i, i + 1].map((part) => Math.floor((slots * part) / nodes.length)) as [
      number,
      number,
    ];
    await node.ask('CLUSTER', 'ADDSLOTSRANGE', from, to - 1);
    await node.ask('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
    if (i > 0) await node.ask('CLUSTER', 'MEET', '127.0.0.1', first.port, buses[0]!);
  }
  const isWhole = async (node: Server) => {
    const info = String(await node.ask('CLUSTER', 'INFO'));
    const shards = (await node.ask('CLUSTER', 'SLOTS')) as unknown[];
    return info.includes('cluster_state:ok') && shards.length === nodes.length;
  };
  for (const node of nodes) await until(() => isWhole(node), 'the cluster is whole', startMs);
  return new Cluster(nodes);
}

class Cluster implements RedisCluster {
  readonly nodes: readonly RedisServer[];

  constructor(nodes: readonly RedisServer[]) {
    this.nodes = nodes;
  }

  get url(): string {
    return this.nodes[0]!.url;
  }

  async nodeOf(key: string): Promise<RedisServer> {
    const slot = Number(await this.nodes[0]!.ask('CLUSTER', 'KEYSLOT', key));
    const ranges = (await this.nodes[0]!.ask('CLUSTER', 'SLOTS')) as [number, number, [string, number]][];
    const [, , [, port]] = ranges.find(([from, to]) => from <= slot && slot <= to)!;
    return this.nodes.find((node) => node.port === port)!;
  }

  async moveSlot(key: string, to: RedisServer, onHalf = async () => {}): Promise<void> {
    const from = await this.nodeOf(key);
    const slot = Number(await from.ask('CLUSTER', 'KEYSLOT', key));
    const [fromId, toId] = [await from.ask('CLUSTER', 'MYID'), await to.ask('CLUSTER', 'MYID')].map(String);
    await to.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId!);
    await from.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId!);
    const keys = (await from.call('CLUSTER', 'GETKEYSINSLOT', slot, 10_000)) as Buffer[];
    // The worst order: first what belongs to a room, then what belongs to all of them.
    const isRooms = (one: Buffer) => /:(recent|older):/.test(String(one));
    for (const one of keys.filter(isRooms)) await from.ask('MIGRATE', '127.0.0.1', to.port, one, 0, 5000);
    await onHalf();
    for (const one of keys.filter((other) => !isRooms(other))) {
      await from.ask('MIGRATE', '127.0.0.1', to.port, one, 0, 5000);
    }
    // Keys that came after the list was read, as none comes while others are away.
    for (const one of (await from.call('CLUSTER', 'GETKEYSINSLOT', slot, 10_000)) as Buffer[]) {
      await from.ask('MIGRATE', '127.0.0.1', to.port, one, 0, 5000);
    }
    for (const node of [to, from, ...this.nodes.filter((other) => other !== to && other !== from)]) {
      await node.ask('CLUSTER', 'SETSLOT', slot, 'NODE', toId!);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.close()));
  }
}
