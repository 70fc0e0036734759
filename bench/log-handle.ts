// The handle of a log process (log-process.ts): starts it, gives it one job at a time, ends it.

import { join } from 'node:path';
import type { Answer, AppendSpent, Job, OpenJob, Spent } from './log-process.ts';
import { endWithProcess, type PostgresServer, type RunningServer, within } from './servers.ts';

/** No job takes longer; a log of 100,000 rooms is made one room after the other. */
const jobMs = 600_000;

export class LogProcess {
  readonly #child: Bun.Subprocess;
  readonly #forget: () => void;
  #wait: { resolve(answer: Answer): void; reject(error: Error): void } | null = null;

  constructor(profileDir: string | null) {
    const profile =
      profileDir === null ? [] : ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${profileDir}`];
    this.#child = Bun.spawn({
      cmd: [process.execPath, ...profile, join(import.meta.dir, 'log-process.ts')],
      env: { PATH: process.env.PATH ?? '' },
      stdin: 'ignore',
      stdout: 'inherit',
      stderr: 'inherit',
      ipc: (message) => this.#wait?.resolve(message as Answer),
    });
    this.#forget = endWithProcess(() => this.#child.kill('SIGKILL'));
    void this.#child.exited.then((code) =>
      this.#wait?.reject(new Error(`the log process ended with ${code}`)),
    );
  }

  async #do(job: Job): Promise<Spent | AppendSpent | null> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#wait = { resolve, reject };
    this.#child.send(job);
    const answer = await within(promise, jobMs, `the log process to ${job.step}`);
    if (!answer.ok) throw new Error(answer.message);
    return answer.spent;
  }

  async open(
    redis: RunningServer,
    postgres: PostgresServer,
    options: Pick<OpenJob, 'rooms' | 'isOneShard' | 'isSubscribed' | 'flushes' | 'poolMax'>,
  ): Promise<void> {
    await this.#do({
      step: 'open',
      redisUrl: redis.url,
      databaseUrl: postgres.url,
      redisPid: redis.pid,
      postgresPid: postgres.pid,
      ...options,
    });
  }

  async tell(job: Job): Promise<void> {
    await this.#do(job);
  }

  async measure<T extends Spent>(job: Job): Promise<T> {
    return (await this.#do(job)) as T;
  }

  async stop(): Promise<void> {
    await this.#do({ step: 'close' }).catch(() => null);
    this.#child.disconnect();
    await within(this.#child.exited, 5000, 'the log process to end').catch(() => this.#child.kill('SIGKILL'));
    await this.#child.exited;
    this.#forget();
  }
}
