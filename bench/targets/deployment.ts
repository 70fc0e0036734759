// What a target or a k6 scenario is measured on: one embedded gateway, or several over a Redis and a Postgres of their own,
// behind HAProxy where it is asked for. All on free ports of loopback; whatever is started here is ended here, by its
// handle. Unlike ../servers.ts it leaves every setting of the gateway to whoever asks.

import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../scripts/free-port.mjs';
import {
  endWithProcess,
  jwtSecret,
  makeFolder,
  type PostgresServer,
  type RunningServer,
  startPostgres,
  startRedis,
  within,
} from '../servers.ts';

const root = join(import.meta.dir, '..', '..');
const startMs = 30_000;
const stopMs = 15_000;
const systemFolders = ['/usr/sbin', '/usr/local/sbin', '/usr/bin', '/usr/local/bin'];

/** A process of Parley that can be killed and started again on its port. */
export interface Gateway {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  signal(name: NodeJS.Signals): void;
  /** kill -9. */
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface Deployment {
  /** Where clients connect: HAProxy, or the first gateway. */
  readonly url: string;
  readonly gateways: readonly Gateway[];
  readonly redis: RunningServer | null;
  readonly postgres: PostgresServer | null;
  readonly haproxyPid: number | null;
  /** What differs from a gateway's defaults, for people. */
  readonly settings: string;
  stop(): Promise<void>;
}

interface DeploymentOptions {
  /** One: embedded, or over a Postgres that is given. */
  readonly processes: number;
  readonly isBehindHaproxy?: boolean;
  /** Settings of the gateways beyond where they are. */
  readonly env?: Readonly<Record<string, string>>;
  /** Also one process stands on Redis and Postgres. */
  readonly isClustered?: boolean;
  /** One that is there already, filled. */
  readonly postgres?: PostgresServer;
  /** Of an embedded gateway; unset: a new one. */
  readonly dataDir?: string;
  /** Folder for CPU profiles of the gateways. */
  readonly profileDir?: string | null;
}

export async function startDeployment(options: DeploymentOptions): Promise<Deployment> {
  const { processes, isBehindHaproxy = false, env = {}, dataDir = makeFolder(), profileDir = null } = options;
  const isShared = processes > 1 || options.isClustered === true;
  const stops: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const one of stops.reverse()) await one();
  };
  try {
    const [redis, postgres] = isShared ? await Promise.all([startRedis(), startPostgres()]) : [null, null];
    for (const server of [postgres, redis]) if (server !== null) stops.push(() => server.stop());
    const databaseUrl = (options.postgres ?? postgres)?.url;
    const gateways: Gateway[] = [];
    for (let i = 0; i < processes; i++) {
      const gateway = await makeGateway(profileDir, {
        DATA_DIR: i === 0 ? dataDir : makeFolder(),
        ...(redis === null ? {} : { REDIS_URL: redis.url }),
        ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }),
        ...(isBehindHaproxy ? { TRUST_PROXY: '127.0.0.1' } : {}),
        ...env,
      });
      // One after the other: the first one migrates.
      await gateway.start();
      gateways.push(gateway);
      stops.push(() => gateway.stop());
    }
    const haproxy = isBehindHaproxy ? await startHaproxy(gateways.map(({ port }) => port)) : null;
    if (haproxy !== null) stops.push(() => haproxy.stop());
    return {
      url: haproxy?.url ?? (gateways[0] as Gateway).url,
      gateways,
      redis,
      postgres: options.postgres ?? postgres,
      haproxyPid: haproxy?.pid ?? null,
      settings: Object.entries(env)
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function makeGateway(
  profileDir: string | null,
  env: Readonly<Record<string, string>>,
): Promise<Gateway> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const logFile = join(makeFolder(), 'log');
  const profile =
    profileDir === null ? [] : ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${profileDir}`];
  let child: Bun.Subprocess | null = null;
  let forget: () => void = () => undefined;
  async function end(signal: NodeJS.Signals): Promise<void> {
    const running = child;
    if (running === null) return;
    child = null;
    running.kill(signal);
    await within(running.exited, stopMs, 'a gateway to end').catch(() => {
      running.kill('SIGKILL');
      return running.exited;
    });
    forget();
  }
  return {
    url,
    port,
    get pid() {
      return child?.pid ?? 0;
    },
    signal: (name) => child?.kill(name),
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    async start() {
      const log = openSync(logFile, 'a');
      const started = Bun.spawn({
        cmd: [process.execPath, ...profile, join(root, 'gateway', 'main.ts')],
        env: {
          PATH: process.env.PATH ?? '',
          HOST: '127.0.0.1',
          PORT: String(port),
          JWT_SECRET: jwtSecret,
          LOG_LEVEL: 'warn',
          DRAIN_SECONDS: '0',
          ...env,
        },
        stdin: 'ignore',
        stdout: log,
        stderr: log,
      });
      closeSync(log);
      child = started;
      forget = endWithProcess(() => started.kill('SIGKILL'));
      await untilAnswers(started, logFile, `${url}/ready`);
    },
  };
}

/** HAProxy as deploy/haproxy.cfg has it, in front of these ports. */
async function startHaproxy(ports: readonly number[]): Promise<RunningServer> {
  const program = systemFolders.map((folder) => join(folder, 'haproxy')).find((file) => existsSync(file));
  if (program === undefined) throw new Error('haproxy is not installed; apt-get install haproxy');
  const folder = makeFolder();
  const [port, statsPort] = [await freePort(), await freePort()];
  const servers = ports.map((one) => `  server gateway-${one} 127.0.0.1:${one}\n`).join('');
  const serversFile = join(folder, 'ports.cfg');
  writeFileSync(
    serversFile,
    `backend sockets from parley\n  balance leastconn\n${servers}backend requests from parley\n  balance roundrobin\n${servers}`,
  );
  const logFile = join(folder, 'log');
  const log = openSync(logFile, 'a');
  const child = Bun.spawn({
    cmd: [program, '-db', '-f', join(root, 'deploy', 'haproxy.cfg'), '-f', serversFile],
    env: {
      PATH: process.env.PATH ?? '',
      GATEWAYS: 'ports',
      HAPROXY_BIND: `127.0.0.1:${port}`,
      HAPROXY_STATS: `127.0.0.1:${statsPort}`,
      HAPROXY_MAXCONN: '8000',
    },
    stdin: 'ignore',
    stdout: log,
    stderr: log,
  });
  closeSync(log);
  const forget = endWithProcess(() => child.kill('SIGKILL'));
  // A server counts as up after two checks of /ready.
  await untilAnswers(child, logFile, `http://127.0.0.1:${port}/ready`);
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid,
    async stop() {
      child.kill('SIGKILL');
      await child.exited;
      forget();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function untilAnswers(child: Bun.Subprocess, logFile: string, url: string): Promise<void> {
  const deadline = performance.now() + startMs;
  for (;;) {
    const answer = await fetch(url, { headers: { connection: 'close' } }).catch(() => null);
    await answer?.arrayBuffer();
    if (answer?.status === 200) return;
    if (child.exitCode !== null || performance.now() > deadline) {
      throw new Error(`a server does not start:\n${readFileSync(logFile, 'utf8').slice(-2000)}`);
    }
    await Bun.sleep(20);
  }
}

/** A room that everybody may read; `members` may send as well. */
export async function makeRoom(
  url: string,
  token: string,
  id: string,
  members: readonly string[],
): Promise<void> {
  const answer = await fetch(`${url}/v1/rooms`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ id, name: id, type: 'group', public: true, members }),
    signal: AbortSignal.timeout(startMs),
  });
  const text = await answer.text();
  if (answer.status !== 201) throw new Error(`room ${id} was not made: ${answer.status} ${text}`);
}
