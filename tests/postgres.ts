// A Postgres server of the test's own, on a free port with a temporary directory: `const postgres = await
// startPostgres()`. It runs as the user postgres, because Postgres refuses to run as root. What a test leaves running is
// ended with the test process.

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
const systemPackages = new URL('../scripts/system-packages.mjs', import.meta.url).href;
const startMs = 30_000;

export interface PostgresServer {
  /** DATABASE_URL of its database `parley`. */
  readonly url: string;
  readonly port: number;
  /** Of the server's first process, 0 while it is down. */
  readonly pid: number;
  /** What the server has logged so far. */
  readonly log: string;
  /** The URL of another database of the server, made empty. */
  createDatabase(name: string): Promise<string>;
  /** Runs SQL through psql, one statement or many; answers its output. */
  psql(sql: string, url?: string): Promise<string>;
  /** Waits until it is down; connections are cut. */
  stop(): Promise<void>;
  /** SIGKILL to every process of the server. */
  kill(): Promise<void>;
  /** Starts it again on the same port and directory. */
  start(): Promise<void>;
  /** Sends SIGSTOP or SIGCONT to every process of the server. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** Ends it and removes its directory. */
  close(): Promise<void>;
}

export interface PostgresSettings {
  /** Commits reach the disk; off by default, for speed. */
  readonly isDurable?: boolean;
  /** Lines of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>;
}

export async function startPostgres({
  isDurable = false,
  settings = {},
}: PostgresSettings = {}): Promise<PostgresServer> {
  const server = new Server(await findPrograms(), await freePort(), {
    fsync: isDurable ? 'on' : 'off',
    synchronous_commit: isDurable ? 'on' : 'off',
    full_page_writes: isDurable ? 'on' : 'off',
    shared_buffers: '256MB',
    max_wal_size: '4GB',
    max_connections: '100',
    ...settings,
  });
  await server.initialize();
  await server.start();
  await server.createDatabase('parley');
  return server;
}

class Server implements PostgresServer {
  readonly port: number;
  readonly url: string;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #folder = mkdtempSync(join(tmpdir(), 'parley-postgres-'));
  readonly #programs: string;
  #child: ReturnType<typeof Bun.spawn> | null = null;
  /** Ends the server when the test process is gone: bun test calls no exit handlers. */
  #watcher: ReturnType<typeof Bun.spawn> | null = null;

  constructor(programs: string, port: number, settings: Readonly<Record<string, string>>) {
    this.#programs = programs;
    this.port = port;
    this.url = this.#urlOf('parley');
    this.#settings = settings;
  }

  get pid(): number {
    const file = join(this.#folder, 'data', 'postmaster.pid');
    return this.#child !== null && existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : 0;
  }

  get log(): string {
    return readFileSync(join(this.#folder, 'log'), 'utf8');
  }

  async initialize(): Promise<void> {
    chmodSync(this.#folder, 0o777);
    const command = `${this.#programs}/initdb -D ${this.#folder}/data -U postgres -A trust -E UTF8 --locale=C --no-sync`;
    const { exitCode, stderr } = Bun.spawnSync(asPostgres(command), { cwd: this.#folder });
    if (exitCode !== 0) throw new Error(`initdb failed: ${stderr.toString()}`);
  }

  async start(): Promise<void> {
    const flags = Object.entries(this.#settings).map(([name, value]) => `-c ${name}='${value}'`);
    // A process that was killed leaves its file behind.
    const command = `exec ${this.#programs}/postgres -D ${this.#folder}/data -p ${this.port} -h 127.0.0.1 -k ${this.#folder} ${flags.join(' ')}`;
    const log = openSync(join(this.#folder, 'log'), 'a');
    this.#child = Bun.spawn(asPostgres(command), {
      cwd: this.#folder,
      stdout: log,
      stderr: log,
      stdin: 'ignore',
    });
    closeSync(log);
    const deadline = performance.now() + startMs;
    const ready = ['-q', '-h', '127.0.0.1', '-p', String(this.port)];
    while (Bun.spawnSync([`${this.#programs}/pg_isready`, ...ready]).exitCode !== 0) {
      if (this.#child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`Postgres does not start:\n${this.log}`);
      }
      await Bun.sleep(20);
    }
    this.#watch();
  }

  /** Its stdin ends with this process, whatever ends it. */
  #watch(): void {
    const { pid } = this;
    const end = `kill -QUIT ${pid}; while kill -0 ${pid}; do sleep 0.1; done; rm -rf ${this.#folder}`;
    this.#watcher = Bun.spawn(['/bin/sh', '-c', `read _; ${end}`], {
      stdin: 'pipe',
      stdout: 'ignore',
      stderr: 'ignore',
    });
    this.#watcher.unref();
  }

  async #ended(): Promise<void> {
    this.#watcher?.kill('SIGKILL');
    await this.#child?.exited;
    this.#child = null;
  }

  async createDatabase(name: string): Promise<string> {
    await this.psql(`CREATE DATABASE ${name} TEMPLATE template0`, this.#urlOf('postgres'));
    return this.#urlOf(name);
  }

  async psql(sql: string, url = this.url): Promise<string> {
    const child = Bun.spawn(
      [`${this.#programs}/psql`, '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', url],
      {
        stdin: new Blob([sql]),
        stdout: 'pipe',
        stderr: 'pipe',
      },
    );
    const [output, problem] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    if ((await child.exited) !== 0) throw new Error(`psql: ${problem}`);
    return output.trim();
  }

  async stop(): Promise<void> {
    const { pid } = this;
    if (pid !== 0) process.kill(pid, 'SIGINT');
    await this.#ended();
  }

  async kill(): Promise<void> {
    this.#signalAll('SIGKILL');
    // su stops itself with what it runs, perhaps only now, and would never tell that this has ended.
    const waking = setInterval(() => this.#child?.kill('SIGCONT'), 20);
    await this.#ended();
    clearInterval(waking);
    rmSync(join(this.#folder, 'data', 'postmaster.pid'), { force: true });
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#signalAll(name);
    // su stops itself with what it runs.
    if (name === 'SIGCONT') this.#child?.kill(name);
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #urlOf(database: string): string {
    return `postgres://postgres@127.0.0.1:${this.port}/${database}`;
  }

  /** The first process stands still while the others are looked for, so that it starts no more of them. */
  #signalAll(name: NodeJS.Signals): void {
    const { pid } = this;
    if (pid === 0) return;
    if (name !== 'SIGCONT') signalOne(pid, 'SIGSTOP');
    for (const one of [pid, ...childrenOf(pid)]) signalOne(one, name);
  }
}

/** The folder of the newest version's programs; installs one where there is none. */
async function findPrograms(): Promise<string> {
  const found = newestPrograms();
  if (found !== null) return found;
  const { ensureSystemPackages } = (await import(systemPackages)) as { ensureSystemPackages(): void };
  ensureSystemPackages();
  const installed = newestPrograms();
  if (installed === null) throw new Error(`no Postgres in ${debianFolder}`);
  return installed;
}

function newestPrograms(): string | null {
  if (!existsSync(debianFolder)) return null;
  const versions = readdirSync(debianFolder).filter((name) =>
    existsSync(join(debianFolder, name, 'bin', 'initdb')),
  );
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0];
  return newest === undefined ? null : join(debianFolder, newest, 'bin');
}

function asPostgres(command: string): string[] {
  const isRoot = process.getuid?.() === 0;
  return isRoot ? ['su', 'postgres', '-s', '/bin/sh', '-c', command] : ['/bin/sh', '-c', command];
}

function signalOne(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself meanwhile.
  }
}

function childrenOf(pid: number): number[] {
  const file = `/proc/${pid}/task/${pid}/children`;
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number) : [];
}
