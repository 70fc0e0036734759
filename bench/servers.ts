// The servers that a bench of the shared log stands on: Redis and Postgres of its own as deploy/ runs them (every append
// and every commit on disk), and gateways over both. All on free ports of loopback with temporary folders. Whatever is
// started here is ended here, by its handle or its pid; every start has a time after which it fails.

import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../scripts/free-port.mjs';

/** Where Debian keeps the programs of its versions. */
const debianFolder = '/usr/lib/postgresql';
const redisConf = join(import.meta.dir, '..', 'deploy', 'redis.conf');
const startMs = 30_000;
const stopMs = 10_000;
const ticksPerSecond = 100;

/** The secret of every gateway that is started here. */
export const jwtSecret = 'the secret of the benchmark, which is long enough';

export interface RunningServer {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** What ends at once what is left, when this process ends. */
const leftovers = new Set<() => void>();
process.on('exit', () => {
  for (const end of leftovers) end();
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));

/** Adds to what is ended with this process; answers how to take it out again. */
export function endWithProcess(end: () => void): () => void {
  leftovers.add(end);
  return () => leftovers.delete(end);
}

export function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'parley-bench-'));
  endWithProcess(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function untilReady(
  child: Bun.Subprocess,
  logFile: string,
  ask: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + startMs;
  while (!(await ask())) {
    if (child.exitCode !== null || performance.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`a server does not start:\n${readFileSync(logFile, 'utf8').slice(-2000)}`);
    }
    await Bun.sleep(20);
  }
}

/** Redis with the settings of deploy/redis.conf, its files in a new folder. */
export async function startRedis(): Promise<RunningServer> {
  const folder = makeFolder();
  const port = await freePort();
  const logFile = join(folder, 'log');
  const log = openSync(logFile, 'a');
  const child = Bun.spawn(
    ['redis-server', redisConf, '--port', String(port), '--bind', '127.0.0.1', '--dir', folder],
    { cwd: folder, stdin: 'ignore', stdout: log, stderr: log },
  );
  closeSync(log);
  const forget = endWithProcess(() => child.kill('SIGKILL'));
  await untilReady(child, logFile, () => answersPing(port));
  return {
    url: `redis://127.0.0.1:${port}`,
    pid: child.pid,
    async stop() {
      child.kill('SIGKILL');
      await child.exited;
      forget();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function answersPing(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = await Bun.connect({
    hostname: '127.0.0.1',
    port,
    socket: {
      data: (_socket, bytes) => resolve(String(bytes).startsWith('+PONG')),
      close: () => resolve(false),
      error: () => resolve(false),
    },
  }).catch(() => null);
  if (socket === null) return false;
  socket.write('PING\r\n');
  const isUp = await Promise.race([promise, Bun.sleep(1000).then(() => false)]);
  socket.end();
  return isUp;
}

export interface PostgresServer extends RunningServer {
  /** Runs SQL, or commands of psql, through psql; answers its output and what psql itself spent. */
  psql(commands: string): Promise<{ readonly output: string; readonly cpuSeconds: number }>;
}

/** Postgres with commits on disk. Only its autovacuum is off, so that every run finds the same. */
export async function startPostgres(): Promise<PostgresServer> {
  const programs = findPrograms();
  const folder = makeFolder();
  // The server is not this user.
  chmodSync(folder, 0o777);
  const port = await freePort();
  const logFile = join(folder, 'log');
  const initdb = `${programs}/initdb -D ${folder}/data -U postgres -A trust -E UTF8 --locale=C --no-sync`;
  const made = Bun.spawnSync(asPostgres(initdb), { cwd: folder });
  if (made.exitCode !== 0) throw new Error(`initdb failed: ${made.stderr.toString()}`);
  const settings = {
    shared_buffers: '256MB',
    max_wal_size: '4GB',
    max_connections: '100',
    autovacuum: 'off',
  };
  const flags = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  const log = openSync(logFile, 'a');
  const child = Bun.spawn(
    asPostgres(
      `exec ${programs}/postgres -D ${folder}/data -p ${port} -h 127.0.0.1 -k ${folder} ${flags.join(' ')}`,
    ),
    { cwd: folder, stdin: 'ignore', stdout: log, stderr: log },
  );
  closeSync(log);
  const pidFile = join(folder, 'data', 'postmaster.pid');
  const pidNow = () => (existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8').split('\n')[0]) : 0);
  // su would pass nothing on.
  const forget = endWithProcess(() => signal(pidNow(), 'SIGQUIT'));
  const isReady = [`${programs}/pg_isready`, '-q', '-h', '127.0.0.1', '-p', String(port)];
  await untilReady(child, logFile, async () => Bun.spawnSync(isReady).exitCode === 0);
  const urlOf = (database: string) => `postgres://postgres@127.0.0.1:${port}/${database}`;
  const psql = (url: string) => (commands: string) => runPsql(`${programs}/psql`, url, commands);
  await psql(urlOf('postgres'))('CREATE DATABASE parley TEMPLATE template0');
  const pid = pidNow();
  return {
    url: urlOf('parley'),
    pid,
    psql: psql(urlOf('parley')),
    async stop() {
      signal(pid, 'SIGQUIT');
      await within(child.exited, stopMs, 'Postgres to end');
      forget();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function signal(pid: number, name: NodeJS.Signals): void {
  if (pid === 0) return;
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself.
  }
}

async function runPsql(program: string, url: string, commands: string) {
  const child = Bun.spawn([program, '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', url], {
    stdin: new Blob([commands]),
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [output, problem, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`psql: ${problem}`);
  return { output: output.trim(), cpuSeconds: Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1e6 };
}

/** The folder of the newest version's programs. */
function findPrograms(): string {
  const versions = existsSync(debianFolder) ? readdirSync(debianFolder) : [];
  const newest = versions
    .filter((version) => existsSync(join(debianFolder, version, 'bin', 'initdb')))
    .sort((a, b) => Number(b) - Number(a))[0];
  if (newest === undefined) throw new Error(`no Postgres in ${debianFolder}; apt-get install postgresql`);
  return join(debianFolder, newest, 'bin');
}

function asPostgres(command: string): string[] {
  const isRoot = process.getuid?.() === 0;
  return isRoot ? ['su', 'postgres', '-s', '/bin/sh', '-c', command] : ['/bin/sh', '-c', command];
}

/** A gateway as `npm run cluster` runs it; only its rates are off. */
export async function startGateway(
  redis: RunningServer,
  postgres: RunningServer,
  profileDir: string | null,
): Promise<RunningServer> {
  const folder = makeFolder();
  const logFile = join(folder, 'log');
  const log = openSync(logFile, 'a');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const profile =
    profileDir === null ? [] : ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${profileDir}`];
  const child = Bun.spawn({
    cmd: [process.execPath, ...profile, join(import.meta.dir, '..', 'gateway', 'main.ts')],
    env: {
      PATH: process.env.PATH ?? '',
      HOST: '127.0.0.1',
      PORT: String(port),
      DATA_DIR: folder,
      REDIS_URL: redis.url,
      DATABASE_URL: postgres.url,
      JWT_SECRET: jwtSecret,
      LOG_LEVEL: 'warn',
      MESSAGE_RATE: '0',
      GROUP_MESSAGE_RATE: '0',
      CONNECT_RATE: '0',
      CONNECT_RATE_PER_IP: '0',
      DRAIN_SECONDS: '0',
    },
    stdin: 'ignore',
    stdout: log,
    stderr: log,
  });
  closeSync(log);
  const forget = endWithProcess(() => child.kill('SIGKILL'));
  await untilReady(child, logFile, () => isReady(url));
  return {
    url,
    pid: child.pid,
    async stop() {
      child.kill('SIGTERM');
      await within(child.exited, stopMs, 'a gateway to end').catch(() => child.kill('SIGKILL'));
      await child.exited;
      forget();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function isReady(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/ready`, { headers: { connection: 'close' } }).catch(() => null);
  await answer?.arrayBuffer();
  return answer?.status === 200;
}

/** User and system time of a process, of its children, and of those that it had: what all of Postgres spent. */
export function familyCpuSeconds(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(/\s+/)
    .filter(Boolean);
  let ticks = ticksOf(pid);
  for (const child of children) {
    try {
      ticks += ticksOf(Number(child));
    } catch {
      // It has ended just now: its time is its parent's at the next look.
    }
  }
  return ticks / ticksPerSecond;
}

function ticksOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
}
