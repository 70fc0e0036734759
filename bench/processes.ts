// Programs of a run: a server that prints where it listens, and the swarm's processes. Whatever is started here is ended
// here, by its handle, at the latest with this process; every step has a time after which it fails.

import { join } from 'node:path';
import { buildForNode } from '../scripts/build-node.ts';
import { endWithProcess, within } from './servers.ts';
import type { Answer, Command, Report } from './swarm/main.ts';

const startMs = 30_000;
const stopMs = 10_000;
/** Beyond the time of a drive; the swarm itself gives up before. */
const stepSlackMs = 720_000;
const root = join(import.meta.dir, '..');

export interface Program {
  readonly pid: number;
  readonly port: number;
  stop(): Promise<void>;
}

interface ProgramOptions {
  readonly env: Readonly<Record<string, string>>;
  /** Folder for a CPU profile of the program, made when it ends; null: none. */
  readonly profileDir: string | null;
}

async function end(child: Bun.Subprocess, forget: () => void): Promise<void> {
  child.kill('SIGTERM');
  await within(child.exited, stopMs, 'a process to end').catch(() => {
    child.kill('SIGKILL');
    return child.exited;
  });
  forget();
}

const profileFlags = (dir: string | null) =>
  dir === null ? [] : ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${dir}`];

/** The command that runs a TypeScript file of the repository on Bun. */
export function onBun(file: string, profileDir: string | null): string[] {
  const markdown = profileDir === null ? [] : ['--cpu-prof-md'];
  return [process.execPath, ...profileFlags(profileDir), ...markdown, join(root, file)];
}

/** The same on Node, bundled. */
export async function onNode(file: string, profileDir: string | null): Promise<string[]> {
  return ['node', ...profileFlags(profileDir), await buildForNode(file)];
}

/** Starts a program that prints `ws://127.0.0.1:PORT/`, and waits for that. */
export async function startProgram(cmd: readonly string[], { env }: ProgramOptions): Promise<Program> {
  const child = Bun.spawn({
    cmd: [...cmd],
    env: { PATH: process.env.PATH ?? '', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const forget = endWithProcess(() => child.kill('SIGKILL'));
  const stop = () => end(child, forget);
  try {
    const port = await within(readPort(child.stdout), startMs, `${cmd.join(' ')} to listen`);
    return { pid: child.pid, port, stop };
  } catch (error) {
    await stop();
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

/** A program that says nothing when it is ready: asked until a connection is accepted. */
export async function startSilent(
  cmd: readonly string[],
  port: number,
  { env }: ProgramOptions,
): Promise<Program> {
  const child = Bun.spawn({
    cmd: [...cmd],
    env: { PATH: process.env.PATH ?? '', ...env },
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'pipe',
  });
  const forget = endWithProcess(() => child.kill('SIGKILL'));
  const said = new Response(child.stderr).text();
  const deadline = performance.now() + startMs;
  while (!(await accepts(port))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await end(child, forget);
      throw new Error(`${cmd[0]} does not start: ${(await said).slice(-2000)}`);
    }
    await Bun.sleep(20);
  }
  return { pid: child.pid, port, stop: () => end(child, forget) };
}

async function accepts(port: number): Promise<boolean> {
  const ignored = () => undefined;
  const socket = { data: ignored, close: ignored, error: ignored };
  const connected = await Bun.connect({ hostname: '127.0.0.1', port, socket }).catch(() => null);
  connected?.end();
  return connected !== null;
}

/** A process of the swarm, spoken to one step at a time. */
export class SwarmProcess {
  readonly #child: Bun.Subprocess;
  readonly #forget: () => void;
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
    this.#forget = endWithProcess(() => this.#child.kill('SIGKILL'));
    void this.#child.exited.then((code) => this.#wait?.reject(new Error(`the swarm ended with ${code}`)));
  }

  get pid(): number {
    return this.#child.pid;
  }

  async step(command: Command): Promise<Report> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#wait = { resolve, reject };
    this.#child.send(command);
    const ms = command.step === 'drive' && 'ms' in command.job.extent ? command.job.extent.ms : 0;
    try {
      const answer = await within(promise, ms + stepSlackMs, `the swarm to ${command.step}`);
      if (!answer.ok) throw new Error(answer.message);
      return answer.report;
    } finally {
      this.#wait = null;
    }
  }

  async stop(): Promise<void> {
    // A process that is just killed closes its sockets in order, and each keeps its port for a minute.
    if (this.#child.exitCode === null) await this.step({ step: 'close' }).catch(() => null);
    this.#child.kill('SIGKILL');
    await this.#child.exited;
    this.#forget();
  }
}
