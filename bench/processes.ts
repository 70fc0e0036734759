// The processes of a run: the server that is measured and the swarm. Whatever is started here is ended here, by its
// handle; every step has a time after which it fails.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildForNode } from '../scripts/build-node.ts';
import { type PostgresServer, startPostgres } from './servers.ts';
import { makeTokens, userName } from './swarm/dialect.ts';
import type { Answer, Command, MeasureJob, OpenJob, Run } from './swarm/main.ts';

const startMs = 20_000;
const stopMs = 10_000;
/** Beyond what a step of the swarm allows itself. */
const stepSlackMs = 40_000;
const secret = 'the secret of the benchmark, which is long enough';
const room = 'bench';
/** Members that a room can be made with. */
const firstMembersMax = 1000;

const running = new Set<Bun.Subprocess>();
const folders = new Set<string>();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));

export type ServerName = 'bare' | 'parley';
export type EngineName = 'bun' | 'uws';

export interface ServerOptions {
  readonly engine: EngineName;
  readonly sockets: number;
  /** Folder for a CPU profile of the server, made when it ends; null: none. */
  readonly profileDir: string | null;
}

export interface Server {
  readonly name: ServerName;
  readonly port: number;
  readonly pid: number;
  readonly room: string;
  tokens: readonly string[];
  /** Once all sockets are connected: makes the room, where the server has such. */
  prepare(): Promise<void>;
  stop(): Promise<void>;
}

function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

async function stop(child: Bun.Subprocess): Promise<void> {
  child.kill('SIGTERM');
  await within(child.exited, stopMs, 'a process to end').catch(() => {
    child.kill('SIGKILL');
    return child.exited;
  });
  running.delete(child);
}

/** Runs a file of the repository on the engine's runtime. */
async function commandOf(file: string, { engine, profileDir }: ServerOptions): Promise<string[]> {
  const profile =
    profileDir === null ? [] : ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${profileDir}`];
  if (engine === 'uws') return ['node', ...profile, await buildForNode(file)];
  const markdown = profileDir === null ? [] : ['--cpu-prof-md'];
  return [process.execPath, ...profile, ...markdown, join(import.meta.dir, '..', file)];
}

/** Starts a program that prints `ws://127.0.0.1:PORT/`, and waits for that. */
async function spawnServer(file: string, env: Record<string, string>, options: ServerOptions) {
  const child = Bun.spawn({
    cmd: await commandOf(file, options),
    env: { PATH: process.env.PATH ?? '', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  running.add(child);
  const port = within(readPort(child.stdout), startMs, `${file} to listen`);
  try {
    return { child, port: await port };
  } catch (error) {
    await stop(child);
    throw error;
  }
}

async function readPort(stdout: ReadableStream<Uint8Array>): Promise<number> {
  const decoder = new TextDecoder();
  const reader = stdout.getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the server ended at once: ${text}`);
    text += decoder.decode(value, { stream: true });
    const port = /ws:\/\/127\.0\.0\.1:(\d+)\//.exec(text)?.[1];
    if (port === undefined) continue;
    void drain(reader);
    return Number(port);
  }
}

/** Reads on, so that the server never waits for its terminal. */
async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  while (!(await reader.read()).done);
}

async function startBare(options: ServerOptions): Promise<Server> {
  const { child, port } = await spawnServer(`bench/bare-${options.engine}.ts`, {}, options);
  return {
    name: 'bare',
    port,
    pid: child.pid,
    room,
    tokens: [],
    prepare: () => Promise.resolve(),
    stop: () => stop(child),
  };
}

let postgres: Promise<PostgresServer> | null = null;
let databases = 0;

/** What the store of a gateway on Node is: an empty database, all of them on one server. */
async function makeDatabase(): Promise<string> {
  postgres ??= startPostgres();
  const server = await postgres;
  const name = `bench_${++databases}`;
  await server.psql(`CREATE DATABASE ${name} TEMPLATE template0`);
  return server.url.replace(/[^/]*$/, name);
}

/** The gateway as `npm start` or `npm run start:node` runs it, alone; only its rates are off. */
async function startParley(options: ServerOptions): Promise<Server> {
  const { sockets, engine } = options;
  const dataDir = mkdtempSync(join(tmpdir(), 'parley-bench-'));
  folders.add(dataDir);
  const env = {
    HOST: '127.0.0.1',
    PORT: '0',
    DATA_DIR: dataDir,
    JWT_SECRET: secret,
    LOG_LEVEL: 'warn',
    MESSAGE_RATE: '0',
    GROUP_MESSAGE_RATE: '0',
    CONNECT_RATE: '0',
    CONNECT_RATE_PER_IP: '0',
    MAX_CONNECTIONS: String(sockets + 16),
    MAX_ROOM_CONNECTIONS: String(sockets + 16),
    DRAIN_SECONDS: '0',
    ...(engine === 'uws' ? { DATABASE_URL: await makeDatabase() } : {}),
  };
  const [tokens, { child, port }] = await Promise.all([
    makeTokens(sockets, secret),
    spawnServer('gateway/main.ts', env, options),
  ]);
  return {
    name: 'parley',
    port,
    pid: child.pid,
    room,
    tokens,
    prepare: () => makeRoom(port, tokens[0] ?? '', sockets),
    async stop() {
      await stop(child);
      folders.delete(dataDir);
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** A group of all users, as far as a room can be made with them; public for the others, who read only. */
async function makeRoom(port: number, token: string, sockets: number): Promise<void> {
  const members = Array.from({ length: Math.min(sockets - 1, firstMembersMax) }, (_, i) => userName(i + 1));
  const answer = await fetch(`http://127.0.0.1:${port}/v1/rooms`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify({ id: room, name: 'Bench', type: 'group', public: true, members }),
    signal: AbortSignal.timeout(startMs),
  });
  if (answer.status !== 201)
    throw new Error(`the room was not made: ${answer.status} ${await answer.text()}`);
}

export function startServer(name: ServerName, options: ServerOptions): Promise<Server> {
  return name === 'bare' ? startBare(options) : startParley(options);
}

/** The swarm's process, spoken to one step at a time. */
export class SwarmProcess {
  readonly #child: Bun.Subprocess;
  #wait: { resolve(answer: Answer): void; reject(error: Error): void } | null = null;

  constructor() {
    this.#child = Bun.spawn({
      cmd: [process.execPath, join(import.meta.dir, 'swarm', 'main.ts')],
      env: { PATH: process.env.PATH ?? '' },
      stdin: 'ignore',
      stdout: 'inherit',
      stderr: 'inherit',
      ipc: (message) => this.#wait?.resolve(message as Answer),
    });
    running.add(this.#child);
    void this.#child.exited.then((code) => this.#wait?.reject(new Error(`the swarm ended with ${code}`)));
  }

  async #step(command: Command, ms: number): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#wait = { resolve, reject };
    this.#child.send(command);
    try {
      const answer = await within(promise, ms, `the swarm to ${command.step}`);
      if (answer.step === 'failed') throw new Error(answer.message);
      return answer;
    } finally {
      this.#wait = null;
    }
  }

  async open(job: OpenJob): Promise<void> {
    await this.#step({ step: 'open', job }, stepSlackMs);
  }

  async enter(): Promise<void> {
    await this.#step({ step: 'enter' }, stepSlackMs);
  }

  async measure(job: MeasureJob): Promise<Run> {
    const answer = await this.#step({ step: 'measure', job }, job.warmMs + job.measureMs + stepSlackMs);
    if (answer.step !== 'measure') throw new Error('the swarm answered something else');
    return answer.run;
  }

  async stop(): Promise<void> {
    await stop(this.#child);
  }
}
