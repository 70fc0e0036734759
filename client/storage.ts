// Where an application lets the SDK keep what has not been sent: three verbs that localStorage, AsyncStorage, a file or a
// database can do. The SDK keeps its outbox there, and nothing else.

export interface KeyValueStorage {
  /** Null where there is nothing. */
  get(key: string): string | null | Promise<string | null>;
  set(key: string, value: string): void | Promise<void>;
  remove(key: string): void | Promise<void>;
}

/** What localStorage and React Native's AsyncStorage have in common. */
interface ItemStorage {
  getItem(key: string): string | null | Promise<string | null>;
  setItem(key: string, value: string): void | Promise<void>;
  removeItem(key: string): void | Promise<void>;
}

/** `storageFrom(localStorage)` in a browser, `storageFrom(AsyncStorage)` in React Native. */
export function storageFrom(items: ItemStorage): KeyValueStorage {
  return {
    get: (key) => items.getItem(key),
    set: (key, value) => items.setItem(key, value),
    remove: (key) => items.removeItem(key),
  };
}
