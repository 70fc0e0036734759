// A map and a set for what is mostly one or none: the first entry lies in the object itself, and a table, which costs
// some 250 bytes, is made for a second one only. For what every socket and user has of its own.

/** In the order of insertion. */
export class FewMap<Key, Value> {
  #key: Key | undefined = undefined;
  #value: Value | undefined = undefined;
  /** All entries, once there were two; null again when the last one goes. */
  #table: Map<Key, Value> | null = null;

  get size(): number {
    if (this.#table !== null) return this.#table.size;
    return this.#value === undefined ? 0 : 1;
  }

  has(key: Key): boolean {
    return this.get(key) !== undefined;
  }

  get(key: Key): Value | undefined {
    if (this.#table !== null) return this.#table.get(key);
    return this.#key === key ? this.#value : undefined;
  }

  /** `value` is anything but undefined. */
  set(key: Key, value: Value): void {
    if (this.#table !== null) this.#table.set(key, value);
    else if (this.#value === undefined || this.#key === key) {
      this.#key = key;
      this.#value = value;
    } else {
      this.#table = new Map([
        [this.#key as Key, this.#value],
        [key, value],
      ]);
      this.#forgetFirst();
    }
  }

  /** Answers whether it was there. */
  delete(key: Key): boolean {
    if (this.#table !== null) {
      const isThere = this.#table.delete(key);
      if (this.#table.size === 0) this.#table = null;
      return isThere;
    }
    if (this.#value === undefined || this.#key !== key) return false;
    this.#forgetFirst();
    return true;
  }

  keys(): Iterable<Key> {
    if (this.#table !== null) return this.#table.keys();
    return this.#value === undefined ? [] : [this.#key as Key];
  }

  values(): Iterable<Value> {
    if (this.#table !== null) return this.#table.values();
    return this.#value === undefined ? [] : [this.#value];
  }

  #forgetFirst(): void {
    this.#key = undefined;
    this.#value = undefined;
  }
}

/** A set that only its owner changes. */
export type ReadonlyFewSet<Item> = Pick<FewSet<Item>, 'size' | 'has' | typeof Symbol.iterator>;

export class FewSet<Item> {
  #item: Item | undefined = undefined;
  #table: Set<Item> | null = null;

  get size(): number {
    if (this.#table !== null) return this.#table.size;
    return this.#item === undefined ? 0 : 1;
  }

  /** `item` is anything but undefined. */
  has(item: Item): boolean {
    return this.#table !== null ? this.#table.has(item) : this.#item === item;
  }

  add(item: Item): void {
    if (this.#table !== null) this.#table.add(item);
    else if (this.#item === undefined || this.#item === item) this.#item = item;
    else {
      this.#table = new Set([this.#item, item]);
      this.#item = undefined;
    }
  }

  /** Answers whether it was there. */
  delete(item: Item): boolean {
    if (this.#table !== null) {
      const isThere = this.#table.delete(item);
      if (this.#table.size === 0) this.#table = null;
      return isThere;
    }
    if (this.#item !== item || item === undefined) return false;
    this.#item = undefined;
    return true;
  }

  [Symbol.iterator](): Iterator<Item> {
    if (this.#table !== null) return this.#table.values();
    return (this.#item === undefined ? [] : [this.#item]).values();
  }
}
