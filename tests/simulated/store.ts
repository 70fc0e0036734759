// The embedded store's own code over a database in memory, in this thread: each call is answered when the test says, late,
// or with a failure before or after it was carried out. Used by the tests of everything that is handed a store.

import { Database } from 'bun:sqlite';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { prepareMethods, type SqliteMethods } from '../../gateway/store/sqlite-methods.ts';
import { type Store, type StoredEvent, StoreUnavailable, type User } from '../../gateway/store/store.ts';

const sqlFolder = join(import.meta.dir, '..', '..', 'sql', 'sqlite');

export type StoreMethod = keyof SqliteMethods;

/** What happens to a call: `before` and `after` are waited for before it is carried out, and before it is answered. */
export interface Fate {
  readonly before?: Promise<void>;
  readonly after?: Promise<void>;
  /** Fails without being carried out. */
  readonly fails?: boolean;
  /** Is carried out, and the caller is told that it failed. */
  readonly failsAfter?: boolean;
}

/** A promise that is settled from outside. */
export interface Gate {
  readonly passed: Promise<void>;
  open(): void;
}

export function makeGate(): Gate {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { passed: promise, open: resolve };
}

export class SimulatedStore {
  /** What the parts under test are handed. */
  readonly store: Store;
  /** Calls so far, by method. */
  readonly calls: Partial<Record<StoreMethod, number>> = {};
  /** Asked for every call; null: it is carried out and answered at once. */
  decide: (method: StoreMethod, args: readonly unknown[]) => Fate | null = () => null;
  readonly #methods: SqliteMethods;
  readonly #next = new Map<StoreMethod, Fate[]>();

  constructor() {
    this.#methods = prepareMethods(openInMemory());
    const call = (name: StoreMethod) => {
      return (...args: readonly unknown[]) => this.#call(name, args);
    };
    const names = Object.keys(this.#methods) as StoreMethod[];
    const methods = Object.fromEntries(names.map((name) => [name, call(name)]));
    const ensureUser: Store['ensureUser'] = async (id, profile, now) => {
      const [user] = (await call('ensureUsers')([{ id, profile, now }])) as [User];
      return user;
    };
    this.store = { ...methods, ensureUser, close: async () => undefined } as unknown as Store;
  }

  /** The next call of this method that has no fate yet. */
  next(method: StoreMethod, fate: Fate): void {
    const fates = this.#next.get(method);
    if (fates === undefined) this.#next.set(method, [fate]);
    else fates.push(fate);
  }

  /** Holds the next call of this method back until the gate is opened; it is carried out before that with `after`. */
  hold(method: StoreMethod, where: 'before' | 'after' = 'before'): Gate {
    const gate = makeGate();
    this.next(method, { [where]: gate.passed });
    return gate;
  }

  count(method: StoreMethod): number {
    return this.calls[method] ?? 0;
  }

  /** Everything that is stored of a room, without a fate. */
  events(room: string): readonly Uint8Array[] {
    return this.#methods.page(room, null, 0, 1_000_000, Number.MAX_SAFE_INTEGER).events;
  }

  async #call(name: StoreMethod, args: readonly unknown[]): Promise<unknown> {
    this.calls[name] = this.count(name) + 1;
    const fate = this.#next.get(name)?.shift() ?? this.decide(name, args);
    if (fate?.before !== undefined) await fate.before;
    if (fate?.fails) throw new StoreUnavailable('simulated');
    const method = this.#methods[name] as (...args: readonly unknown[]) => unknown;
    const answer = name === 'commit' ? method(pack(args[0] as readonly StoredEvent[])) : method(...args);
    if (fate?.after !== undefined) await fate.after;
    if (fate?.failsAfter) throw new StoreUnavailable('simulated, after it was carried out');
    return answer;
  }
}

function openInMemory(): Database {
  const db = new Database(':memory:');
  for (const name of readdirSync(sqlFolder).sort()) db.run(readFileSync(join(sqlFolder, name), 'utf8'));
  return db;
}

function pack(events: readonly StoredEvent[]) {
  const bytes = new Uint8Array(events.reduce((sum, event) => sum + event.bytes.length, 0));
  const ends = new Float64Array(events.length);
  let at = 0;
  events.forEach((event, i) => {
    bytes.set(event.bytes, at);
    at += event.bytes.length;
    ends[i] = at;
  });
  return { bytes, ends, numbers: Float64Array.from(events, ({ number }) => number) };
}
