// The HTTP routes over the real store, log, hub and rooms, in memory and a temporary folder: what the tests of this
// folder start. Answers are checked against the schemas that /openapi.json shows. Used by tests only.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import type { Clock, Random } from '../../core/clock.ts';
import type { Status } from '../../core/protocol/frames.ts';
import { createAuth } from '../auth.ts';
import { loadConfig } from '../config.ts';
import type { Engine } from '../engine/engine.ts';
import { History } from '../history.ts';
import { Hub } from '../hub.ts';
import { MemoryLog } from '../log/memory.ts';
import { createMetrics } from '../metrics.ts';
import { Notifications } from '../notifications.ts';
import { Receipts } from '../receipts.ts';
import { Rooms } from '../rooms.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import type { Store } from '../store/store.ts';
import { Typing } from '../typing.ts';
import { Users } from '../users.ts';
import { createHttp } from './http.ts';
import type { HttpParts } from './parts.ts';

export const passwordOfAll = 'correct horse battery';

/** Real timers, and a time that tests may push forward or hold. */
export class TestClock implements Clock {
  aheadMs = 0;
  #heldAt: number | null = null;
  readonly #timers = new Set<ReturnType<typeof setInterval>>();

  now(): number {
    return (this.#heldAt ?? Date.now()) + this.aheadMs;
  }
  /** Time stands still from now on, however long the test takes. */
  hold(): void {
    this.#heldAt = Date.now();
  }
  after(delayMs: number, task: () => void) {
    const timer = setTimeout(task, delayMs);
    this.#timers.add(timer);
    return { stop: () => clearTimeout(timer) };
  }
  every(intervalMs: number, task: () => void) {
    const timer = setInterval(task, intervalMs);
    this.#timers.add(timer);
    return { stop: () => clearInterval(timer) };
  }
  atTurnEnd(task: () => void): void {
    setImmediate(task);
  }
  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }
}

const random: Random = {
  fraction: Math.random,
  bytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
};

const nothing = () => undefined;
const noEngine: Engine = { port: 0, publish: nothing, stopListening: nothing, stop: async () => undefined };

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they asked for
  readonly body: any;
}

export interface Account {
  readonly id: string;
  readonly name: string;
  readonly token: string;
  readonly refreshToken: string;
}

export interface Fixture {
  readonly clock: TestClock;
  readonly store: Store;
  readonly closed: string[];
  readonly lines: string[];
  readonly health: { isDraining: boolean; fault: string | null };
  readonly statuses: Map<string, Status>;
  readonly webDir: string;
  fetch(request: Request, address?: string): Promise<Response>;
  /** `target` is `METHOD /path`; a string body is sent as it is. */
  ask(
    target: string,
    token?: string | null,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Reply>;
  register(name: string): Promise<Account>;
  stop(): Promise<void>;
}

export async function startHttp(
  env: Record<string, string> = {},
  changes: Partial<HttpParts> = {},
): Promise<Fixture> {
  const directory = mkdtempSync(join(tmpdir(), 'parley-http-'));
  const config = loadConfig({
    DATA_DIR: directory,
    JWT_SECRET: 'a secret of the tests, thirty-two bytes',
    ...env,
  });
  const clock = new TestClock();
  const lines: string[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => lines.push(line) });
  const metrics = createMetrics('test');
  const store = await openSqliteStore({ dataDir: directory });
  const log = new MemoryLog(store, clock, {
    onCommit: nothing,
    onCommitFailed: nothing,
    onRepeated: nothing,
  });
  const hub = new Hub({
    log,
    store,
    clock,
    logger,
    metrics,
    limits: { ringBytesMax: 65_536, slowBytes: 65_536, memberIdsMax: 1000 },
  });
  hub.connect(
    noEngine,
    { onAttached: nothing, onDetached: nothing, onUserFrames: nothing, onNews: nothing, onControl: nothing },
    nothing,
  );
  const users = new Users({ rates: config, store, clock, logger, metrics });
  const receipts = new Receipts({ clock, log, store, logger, metrics });
  const notifications = new Notifications({ clock, log, store, users, hub, receipts, logger, roomMax: 1000 });
  const rooms = new Rooms({
    clock,
    random,
    hub,
    log,
    store,
    history: new History({ log, store, metrics, ringBytesMax: 65_536 }),
    users,
    receipts,
    typing: new Typing(clock, log),
    notifications,
    ackLevel: 4,
    contentBytesMax: config.maxContentBytes,
  });
  const cheap = { memoryCost: 8, timeCost: 1, parallelism: 1 };
  const auth = await createAuth({ config, store, clock, random, logger, passwordCost: cheap });
  const closed: string[] = [];
  const health = { isDraining: false, fault: null as string | null };
  const statuses = new Map<string, Status>();
  const webDir = join(directory, 'dist');
  const http = createHttp({
    config,
    store,
    auth,
    rooms,
    presence: { statuses: async (users) => users.map((user) => statuses.get(user) ?? 'offline') },
    closeSession: (session) => closed.push(session),
    metrics,
    logger,
    clock,
    random,
    health: { draining: () => health.isDraining, fault: () => health.fault, degraded: () => null },
    version: '0.0.0-test',
    webDir,
    ...changes,
  });

  const fetch = (request: Request, address = '203.0.113.5') => http.fetch(request, address);
  const ask: Fixture['ask'] = async (target, token = null, body, headers = {}) => {
    const [method = '', path = ''] = target.split(' ');
    const response = await fetch(
      new Request(`http://chat.test${path}`, {
        method,
        headers: {
          host: 'chat.test',
          ...(token !== null && { authorization: `Bearer ${token}` }),
          ...headers,
        },
        ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    );
    const text = await response.text();
    const isJson = text !== '' && response.headers.get('content-type') === 'application/json';
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  };
  const register: Fixture['register'] = async (name) => {
    const { status, body } = await ask('POST /v1/register', null, {
      username: name,
      password: passwordOfAll,
    });
    if (status !== 201) throw new Error(`register: ${status} ${JSON.stringify(body)}`);
    return { id: body.user.id, name, token: body.access_token, refreshToken: body.refresh_token };
  };
  const stop = async () => {
    clock.stop();
    await log.close();
    await store.close();
    rmSync(directory, { recursive: true });
  };
  return { clock, store, closed, lines, health, statuses, webDir, fetch, ask, register, stop };
}
