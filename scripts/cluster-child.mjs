// A process that `npm run cluster` keeps running: started in a group of its own, so that Ctrl-C reaches only the one who
// ends them in order; started again with backoff when it dies; ended by its id. Used by cluster.mjs.

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { PrepareError } from './prepare.mjs';

const backoffMsMin = 500;
const backoffMsMax = 30_000;
/** Whoever ran this long is not in a loop of crashes. */
const settledMs = 60_000;
const readyMs = 60_000;
const readyLookMs = 50;
const defaultStopMs = 10_000;
/** Lines kept to say why a process did not start. */
const tailLinesMax = 20;

export class Child {
  #options;
  #process = null;
  #startedAt = 0;
  #failures = 0;
  #timer = null;
  #isStopping = false;
  #exited = Promise.resolve(0);
  #tail = [];

  /** `isReady` may throw for no; `stopSignal`, then after `stopMs` `lastSignal`; `isShown` picks lines of stdout. */
  constructor(options) {
    this.#options = { stopSignal: 'SIGTERM', lastSignal: 'SIGKILL', stopMs: defaultStopMs, ...options };
  }

  get pid() {
    return this.#process?.pid ?? 0;
  }

  /** Settles when it is ready; throws where it ends before, or takes too long. From then on it is kept running. */
  async start() {
    const { name, isReady } = this.#options;
    if (this.#isStopping) throw new PrepareError(`${name} was told to end`);
    if (await isReady().catch(() => false)) {
      throw new PrepareError(`${name} cannot start: one that is not of this start answers at its address`);
    }
    let code = null;
    void this.#spawn().then((exit) => {
      code = exit;
    });
    const end = Date.now() + readyMs;
    for (;;) {
      if (this.#isStopping) throw new PrepareError(`${name} was told to end`);
      if (code !== null) throw new PrepareError(`${name} ended with ${code}: ${this.#tail.join('\n')}`);
      if (await isReady().catch(() => false)) break;
      if (Date.now() > end) throw new PrepareError(`${name} is not ready after ${readyMs / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, readyLookMs));
    }
    void this.#exited.then((exit) => this.#onExit(exit));
  }

  /** Settles with the exit code once it is gone. */
  async stop() {
    const { stopSignal, lastSignal, stopMs } = this.#options;
    this.#isStopping = true;
    clearTimeout(this.#timer);
    this.kill(stopSignal);
    const timer = setTimeout(() => this.kill(lastSignal), stopMs);
    const code = await this.#exited;
    clearTimeout(timer);
    return code;
  }

  kill(signal) {
    this.#process?.kill(signal);
  }

  #spawn() {
    const { command, args, cwd, env, uid, gid, input } = this.#options;
    const child = spawn(command, args, {
      cwd,
      env,
      ...(uid === undefined ? {} : { uid, gid }),
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      detached: true,
    });
    this.#process = child;
    this.#startedAt = Date.now();
    this.#tail = [];
    if (input !== undefined) {
      child.stdin.on('error', () => {
        // It ended before it had read all; its exit is told.
      });
      child.stdin.end(input);
    }
    this.#forward(child.stdout, process.stdout, this.#options.isShown ?? (() => true));
    this.#forward(child.stderr, process.stderr, () => true);
    this.#exited = new Promise((resolve) => {
      child.on('error', (error) => {
        this.#tail.push(error.message);
        resolve(127);
      });
      // Not `exit`: what it wrote last is to be heard first.
      child.on('close', (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
    }).then((code) => {
      if (this.#process === child) this.#process = null;
      return code;
    });
    return this.#exited;
  }

  /** JSON names its process itself; other lines get a name. */
  #forward(stream, target, isShown) {
    createInterface({ input: stream }).on('line', (line) => {
      if (!isShown(line)) return;
      this.#tail = [...this.#tail, line].slice(-tailLinesMax);
      target.write(line.startsWith('{') ? `${line}\n` : `${this.#options.name} | ${line}\n`);
    });
  }

  #onExit(code) {
    if (this.#isStopping) return;
    this.#failures = Date.now() - this.#startedAt > settledMs ? 0 : this.#failures + 1;
    const delayMs = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.max(0, this.#failures - 1));
    console.error(`parley: ${this.#options.name} ended with ${code}; starting it again in ${delayMs} ms`);
    this.#timer = setTimeout(() => this.#spawn().then((exit) => this.#onExit(exit)), delayMs);
  }
}
