// A map with a bound that forgets what was not used for long. Behind every in-process cache; the bound is a named limit of
// the owner.
//
// Two generations: what is used goes into the young one; when that is full it becomes the old one, and what the old one
// still held is forgotten. So a hit mostly writes nothing, and nothing looks for the oldest entry, which in a Map that
// loses its first ones again and again takes longer and longer.

export class Lru<Key, Value> {
  #young = new Map<Key, Value>();
  /** Null until the young one was full for the first time. */
  #old: Map<Key, Value> | null = null;
  readonly #generationMax: number;
  readonly #counts: { hits: number; misses: number };

  /**
   * At most `entriesMax` are kept, and always the half of that which was used last. `counts` is where hits and misses are
   * added up, for a metric.
   */
  constructor(entriesMax: number, counts = { hits: 0, misses: 0 }) {
    this.#generationMax = Math.max(1, Math.floor(entriesMax / 2));
    this.#counts = counts;
  }

  get size(): number {
    return this.#young.size + (this.#old?.size ?? 0);
  }

  /** The value, which counts as used now. */
  get(key: Key): Value | undefined {
    let value = this.#young.get(key);
    if (value === undefined && this.#old !== null) {
      value = this.#old.get(key);
      if (value !== undefined) this.set(key, value);
    }
    if (value === undefined) this.#counts.misses++;
    else this.#counts.hits++;
    return value;
  }

  /** Whether it is there; counts as no use. */
  has(key: Key): boolean {
    return this.#young.has(key) || (this.#old?.has(key) ?? false);
  }

  set(key: Key, value: Value): void {
    this.#old?.delete(key);
    if (this.#young.size >= this.#generationMax && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  /** In no order; counts as no use. */
  *entries(): IterableIterator<[Key, Value]> {
    if (this.#old !== null) yield* this.#old;
    yield* this.#young;
  }

  delete(key: Key): void {
    if (!this.#young.delete(key)) this.#old?.delete(key);
  }
}
