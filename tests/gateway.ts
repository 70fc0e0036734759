// A gateway in a process of its own, on a free port with a folder of its own: `const gateway = await startGateway()`.
// Every limit on rates is off unless a test switches it on. What a test leaves running is ended with the test process.
// ENGINE, of the test or of the run, says what it is: on Bun with the embedded store, or on Node with a Postgres database
// of its own.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildForNode, nodeMain } from '../scripts/build-node.ts';
import { freePort } from '../scripts/free-port.mjs';
import { makeDatabase } from './database.ts';

const mainFile = join(import.meta.dir, '..', 'gateway', 'main.ts');

/** The secret of every gateway that tests start. */
export const jwtSecret = 'the secret of the tests, which is long enough';

const startMs = 20_000;

export interface Gateway {
  /** `http://127.0.0.1:PORT`, for HTTP and for sockets. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly dataDir: string;
  /** The exit code of the process that runs now; 128 + the signal's number where a signal ended it. */
  readonly exited: Promise<number>;
  /** What the process has written to stderr so far. */
  readonly stderr: string;
  readonly stdout: string;
  /** SIGTERM, and waits for the end. The folder stays, for `restart`. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): void;
  /** Any signal. */
  signal(name: NodeJS.Signals): void;
  /** Starts a new process and kills it after so long, ready or not; for deaths while it is starting. */
  startAndKill(afterMs: number): Promise<void>;
  /** A new process on the same port and DATA_DIR, once the old one is gone. */
  restart(changes?: Record<string, string>): Promise<void>;
  /** Ends the process at once and removes the folder. */
  close(): Promise<void>;
}

export interface GatewayProcess {
  readonly pid: number;
  readonly exited: Promise<number>;
  readonly stderr: string;
  readonly stdout: string;
  kill(signal: NodeJS.Signals): void;
}

const running = new Set<GatewayProcess>();
const folders = new Set<string>();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A folder that is removed with the test process. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'parley-test-'));
  folders.add(folder);
  return folder;
}

const isOnNode = (env: Readonly<Record<string, string>>) => (env.ENGINE ?? process.env.ENGINE) === 'uws';
let bundle: Promise<string> | null = null;
/** Databases by DATA_DIR: who comes back to the folder finds its data. */
const databases = new Map<string, Promise<string>>();

/** What a gateway on Node needs beforehand: the bundle, and a database where the test gives it none. */
async function prepareNode(
  dataDir: string,
  env: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  bundle ??= buildForNode();
  await bundle;
  if (env.DATABASE_URL !== undefined) return {};
  const database = databases.get(dataDir) ?? makeDatabase();
  databases.set(dataDir, database);
  return { DATABASE_URL: await database };
}

/** Starts a process and waits for nothing; `under` runs it through another command. */
export function spawnGateway(env: Record<string, string>, under: readonly string[] = []): GatewayProcess {
  const program = isOnNode(env) ? ['node', '--enable-source-maps', nodeMain] : [process.execPath, mainFile];
  const child = Bun.spawn({
    cmd: [...under, ...program],
    env: {
      PATH: process.env.PATH ?? '',
      ...(process.env.ENGINE === undefined ? {} : { ENGINE: process.env.ENGINE }),
      HOST: '127.0.0.1',
      JWT_SECRET: jwtSecret,
      LOG_LEVEL: 'warn',
      CONNECT_RATE: '0',
      CONNECT_RATE_PER_IP: '0',
      MESSAGE_RATE: '0',
      GROUP_MESSAGE_RATE: '0',
      ...env,
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const text = { stdout: '', stderr: '' };
  const read = async (name: 'stdout' | 'stderr') => {
    const decoder = new TextDecoder();
    for await (const chunk of child[name]) {
      // The end is what a failed test wants to see.
      text[name] = (text[name] + decoder.decode(chunk, { stream: true })).slice(-65_536);
    }
  };
  let isSignalled = false;
  const read1 = read('stdout');
  const read2 = read('stderr');
  const gatewayProcess: GatewayProcess = {
    pid: child.pid,
    exited: Promise.all([child.exited, read1, read2]).then(([code]) => {
      running.delete(gatewayProcess);
      // A crash under a test's feet: what it fails with does not say so.
      if (code !== 0 && !isSignalled && text.stdout.includes('is ready')) {
        console.error(`the gateway ended with ${code}: ${text.stdout}${text.stderr}`);
      }
      return code;
    }),
    get stderr() {
      return text.stderr;
    },
    get stdout() {
      return text.stdout;
    },
    kill(signal) {
      isSignalled = true;
      child.kill(signal);
    },
  };
  running.add(gatewayProcess);
  return gatewayProcess;
}

/** Waits until /ready answers 200. */
async function waitReady(url: string, child: GatewayProcess): Promise<void> {
  let code: number | null = null;
  void child.exited.then((exit) => {
    code = exit;
  });
  const end = Date.now() + startMs;
  for (;;) {
    const answer = await fetch(`${url}/ready`, { headers: { connection: 'close' } }).catch(() => null);
    await answer?.arrayBuffer();
    if (answer?.status === 200) return;
    if (code !== null) {
      throw new Error(`the gateway ended with ${code} before it was ready: ${child.stdout}${child.stderr}`);
    }
    if (Date.now() > end) {
      child.kill('SIGKILL');
      throw new Error(`the gateway was not ready in ${startMs} ms: ${child.stdout}${child.stderr}`);
    }
    await Bun.sleep(10);
  }
}

/** `under`: a command that the gateway is run through. */
export async function startGateway(
  env: Record<string, string> = {},
  under: readonly string[] = [],
): Promise<Gateway> {
  const port = await freePort();
  const dataDir = env.DATA_DIR ?? makeFolder();
  const url = `http://127.0.0.1:${port}`;
  const database = isOnNode(env) ? await prepareNode(dataDir, env) : {};
  const settings = { PORT: String(port), DATA_DIR: dataDir, ...database, ...env };
  let child = spawnGateway(settings, under);
  await waitReady(url, child);
  return {
    url,
    port,
    dataDir,
    get pid() {
      return child.pid;
    },
    get exited() {
      return child.exited;
    },
    get stderr() {
      return child.stderr;
    },
    get stdout() {
      return child.stdout;
    },
    async stop() {
      child.kill('SIGTERM');
      await child.exited;
    },
    kill: () => child.kill('SIGKILL'),
    signal: (name) => child.kill(name),
    async startAndKill(afterMs) {
      child.kill('SIGKILL');
      await child.exited;
      child = spawnGateway(settings, under);
      setTimeout(child.kill, afterMs, 'SIGKILL');
      await child.exited;
    },
    async restart(changes = {}) {
      child.kill('SIGKILL');
      await child.exited;
      child = spawnGateway({ ...settings, ...changes }, under);
      await waitReady(url, child);
    },
    async close() {
      child.kill('SIGKILL');
      await child.exited;
      folders.delete(dataDir);
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
