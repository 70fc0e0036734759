// A set without a table: its items lie in an array and know their places themselves, which costs a fifth of what a Set
// or Map of that many takes. For what comes in tens of thousands, and is in one such list at most.

/** What can be in a list. Only the list writes it. */
export interface Placed {
  /** Where it is in its list; -1: in none. */
  place: number;
}

/** A list that only its owner changes. */
export type ReadonlyPackedList<Item extends Placed> = Pick<
  PackedList<Item>,
  'size' | 'has' | typeof Symbol.iterator
>;

/** Without an order. Whoever removes while he walks over it walks over a copy. */
export class PackedList<Item extends Placed> {
  readonly #items: Item[] = [];

  get size(): number {
    return this.#items.length;
  }

  has(item: Item): boolean {
    return this.#items[item.place] === item;
  }

  /** The item is in no list. */
  add(item: Item): void {
    item.place = this.#items.length;
    this.#items.push(item);
  }

  /** The last one takes its place. Answers whether it was there. */
  delete(item: Item): boolean {
    if (!this.has(item)) return false;
    const last = this.#items.pop() as Item;
    if (last !== item) {
      this.#items[item.place] = last;
      last.place = item.place;
    }
    item.place = -1;
    return true;
  }

  [Symbol.iterator](): Iterator<Item> {
    return this.#items.values();
  }
}
