// A value read from something that changes often, for useSyncExternalStore: read anew at most once a frame, and the same
// object while its fields are the same. It listens while anybody subscribes, and attaches once however React mounts.
// Made by chat-value.ts and room-value.ts.

import { atNextFrame } from './frame.ts';

interface Source<Value> {
  /** What there is to show now. Called at any time; must not change anything. */
  read(): Value;
  /** The first one looks: begins to listen. The answer ends that. */
  attach(onChange: () => void): () => void;
}

export class Observed<Value extends object> {
  readonly #source: Source<Value>;
  readonly #listeners = new Set<() => void>();
  #value: Value;
  #detach: (() => void) | null = null;
  #isScheduled = false;

  constructor(source: Source<Value>) {
    this.#source = source;
    this.#value = source.read();
  }

  readonly get = (): Value => this.#value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#detach ??= this.#source.attach(() => this.#schedule());
    // What changed between drawing and now: React reads the value again after subscribing.
    this.#refresh();
    return () => {
      this.#listeners.delete(listener);
      // StrictMode, and a move between components, let go and come back in the same turn.
      if (this.#listeners.size === 0) queueMicrotask(() => this.#detachIfUnused());
    };
  };

  #detachIfUnused(): void {
    if (this.#listeners.size > 0) return;
    this.#detach?.();
    this.#detach = null;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    atNextFrame(() => {
      this.#isScheduled = false;
      if (this.#detach && this.#refresh()) for (const listener of [...this.#listeners]) listener();
    });
  }

  /** Whether anything differs. */
  #refresh(): boolean {
    const value = keepEqual(this.#value, this.#source.read());
    if (value === this.#value) return false;
    this.#value = value;
    return true;
  }
}

/** `next`, or `before` where their fields are the same; lists count as the same where their entries are. */
function keepEqual<Value extends object>(before: Value, next: Value): Value {
  const kept: Record<string, unknown> = {};
  let differs = false;
  for (const [name, value] of Object.entries(next)) {
    const old = (before as Record<string, unknown>)[name];
    kept[name] = isSameList(old, value) ? old : value;
    differs ||= kept[name] !== old;
  }
  return differs ? (kept as Value) : before;
}

function isSameList(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  return a.every((entry, index) => entry === b[index]);
}
