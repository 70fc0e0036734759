// A map with a bound that forgets what was used longest ago. Behind every in-process cache; the bound is a named limit
// of the owner.

export class Lru<Key, Value> {
  readonly #entries = new Map<Key, Value>();
  readonly #entriesMax: number;
  readonly #counts: { hits: number; misses: number };

  /** `counts` is where hits and misses are added up, for a metric. */
  constructor(entriesMax: number, counts = { hits: 0, misses: 0 }) {
    this.#entriesMax = entriesMax;
    this.#counts = counts;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The value, which counts as used now. */
  get(key: Key): Value | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) {
      this.#counts.misses++;
      return undefined;
    }
    this.#counts.hits++;
    // A Map keeps the order of insertion: to the end, as the newest.
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  /** Whether it is there; counts as no use. */
  has(key: Key): boolean {
    return this.#entries.has(key);
  }

  set(key: Key, value: Value): void {
    this.#entries.delete(key);
    if (this.#entries.size >= this.#entriesMax) {
      const oldest = this.#entries.keys().next();
      if (!oldest.done) this.#entries.delete(oldest.value);
    }
    this.#entries.set(key, value);
  }

  /** From the longest unused to the newest; counts as no use. */
  entries(): IterableIterator<[Key, Value]> {
    return this.#entries.entries();
  }

  delete(key: Key): void {
    this.#entries.delete(key);
  }
}
