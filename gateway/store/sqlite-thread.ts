// One of the embedded store's threads as its callers see it: calls out, answers back. Used by sqlite.ts and
// sqlite-commits.ts; it knows nothing of what is called.

import type { SqliteMethods } from './sqlite-methods.ts';
import type { Answer, Call } from './sqlite-worker.ts';
import { StoreStartError, StoreUnavailable } from './store.ts';

/** Calls to one thread that have no answer yet; more are refused. */
export const pendingCallsMax = 16_384;

interface PendingCall {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** A worker and the calls it has not answered. */
export class Thread {
  readonly #worker = new Worker(new URL('./sqlite-worker.ts', import.meta.url));
  readonly #pending = new Map<number, PendingCall>();
  #number = 0;
  /** Why there are no more answers. */
  #stopped: string | undefined;

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => this.#settle(data);
    this.#worker.onerror = ({ message }) => this.#stop(`the database thread died: ${message}`);
  }

  /** A call of the store. */
  call<Name extends keyof SqliteMethods>(
    method: Name,
    ...args: Parameters<SqliteMethods[Name]>
  ): Promise<ReturnType<SqliteMethods[Name]>> {
    return this.send(method, args) as Promise<ReturnType<SqliteMethods[Name]>>;
  }

  send(method: Call['method'], args: readonly unknown[]): Promise<unknown> {
    if (this.#stopped !== undefined) return Promise.reject(new StoreUnavailable(this.#stopped));
    if (this.#pending.size >= pendingCallsMax)
      return Promise.reject(new StoreUnavailable('too many calls at once'));
    const number = ++this.#number;
    return new Promise((resolve, reject) => {
      this.#pending.set(number, { resolve, reject });
      this.#worker.postMessage({ number, method, args } as Call);
    });
  }

  /** Settles what is under way, then ends the thread; again it does nothing. */
  async close(): Promise<void> {
    if (this.#stopped !== undefined) return;
    const closed = this.send('close', []);
    this.#stopped = 'the store is closed';
    try {
      await closed;
    } finally {
      this.#stop(this.#stopped);
    }
  }

  #stop(reason: string): void {
    this.#stopped ??= reason;
    this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(new StoreUnavailable(this.#stopped));
    this.#pending.clear();
  }

  #settle(answer: Answer): void {
    const call = this.#pending.get(answer.number);
    this.#pending.delete(answer.number);
    if ('failure' in answer) call?.reject(toError(answer));
    else call?.resolve(answer.value);
  }
}

function toError(answer: Extract<Answer, { failure: string }>): Error {
  if (answer.failure === 'start') return new StoreStartError(answer.message);
  if (answer.failure === 'unavailable') return new StoreUnavailable(answer.message);
  return new Error(`store: ${answer.message}`);
}
