// localStorage that never throws: where it is switched off or full, nothing is kept beyond the page.

/** Null where the browser keeps nothing. */
export const pageStorage: Storage | null = findStorage();

function findStorage(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

export function readStored(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Null removes it. */
export function writeStored(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Kept in memory by whoever called.
  }
}
