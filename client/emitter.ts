// Typed events for Connection and Room, without a DOM. A listener that throws hurts neither the others nor the protocol:
// its error surfaces as an uncaught one.

import { surface } from './clock.ts';

export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(value: never) => void>>();

  /** Calls `listener` for every `name` from now on; the answer ends that. */
  on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  protected emit<Name extends keyof Events>(name: Name, value: Events[Name]): void {
    const listeners = this.#listeners.get(name);
    if (!listeners) return;
    for (const listener of [...listeners]) {
      try {
        (listener as (value: Events[Name]) => void)(value);
      } catch (error) {
        surface(error);
      }
    }
  }
}
