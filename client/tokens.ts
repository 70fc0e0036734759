// Access tokens: asked of the application one at a time, and renewed on the live socket before they run out. Called by
// connection.ts; keeps nothing on disk.

/** Answers a token that is good for a while; `rejected` is one that the server did not take, if any. */
export type FetchToken = (rejected?: string) => Promise<string>;

/** Renewing starts this long before the end, or at half of what is left where that is less. */
const renewBeforeMs = 90_000;
/** Longer timers overflow in some runtimes. */
const timerMaxMs = 12 * 60 * 60 * 1000;

export class Tokens {
  readonly #fetch: FetchToken;
  #pending: Promise<string> | null = null;
  #rejected: string | undefined;

  constructor(fetch: FetchToken) {
    this.#fetch = fetch;
  }

  /** Calls that overlap share one fetch. */
  get(): Promise<string> {
    this.#pending ??= this.#fetch(this.#rejected).finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  /** The server refused this one: the next fetch is told so. */
  reject(token: string): void {
    this.#rejected = token;
  }
}

/** The `exp` of a JWT in ms, or null where it cannot be read. */
export function expiryOf(token: string): number | null {
  const body = token.split('.')[1];
  if (body === undefined) return null;
  try {
    const claims: unknown = JSON.parse(atob(body.replaceAll('-', '+').replaceAll('_', '/')));
    const exp = (claims as { exp?: unknown } | null)?.exp;
    return typeof exp === 'number' ? exp * 1000 : null;
  } catch {
    // Not a JWT of ours: the server will say when it expires.
    return null;
  }
}

/** When to renew a token that has `leftMs` left. */
export function renewDelay(leftMs: number): number {
  return Math.max(0, Math.min(timerMaxMs, leftMs - Math.min(renewBeforeMs, leftMs / 2)));
}
