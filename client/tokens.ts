// Access tokens: asked of the application one at a time, kept in memory while they are good, and renewed on the live
// socket before they run out. Called by connection.ts; keeps nothing on disk.

import { tokenExpiringBeforeMs } from '../core/protocol/limits.ts';
import { fromBase64 } from './base64.ts';
import { ParleyError } from './errors.ts';

/** Answers a token that is good for a while; `rejected` is one that the server did not take, if any. */
export type FetchToken = (rejected?: string) => string | Promise<string>;

/** Renewing starts this long before the end, or at half of what is left where that is less. */
const renewBeforeMs = tokenExpiringBeforeMs + 30_000;

interface Kept {
  readonly token: string;
  /** From then on another one is asked for; in the server's time. */
  readonly renewAt: number;
}

export class Tokens {
  readonly #fetch: FetchToken;
  readonly #serverNow: () => number;
  #pending: Promise<string> | null = null;
  #kept: Kept | null = null;
  #rejected: string | undefined;

  constructor(token: FetchToken | string, serverNow: () => number) {
    this.#fetch = typeof token === 'string' ? (rejected) => onlyToken(token, rejected) : token;
    this.#serverNow = serverNow;
  }

  /** One that is good for a while; calls that overlap share one fetch. */
  get(): Promise<string> {
    if (this.#kept && this.#serverNow() < this.#kept.renewAt) return Promise.resolve(this.#kept.token);
    return this.renew();
  }

  /** A new one, whatever is kept. */
  renew(): Promise<string> {
    this.#pending ??= this.#fetchOne().finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  /** The server refused this one: the next fetch is told so. */
  reject(token: string): void {
    this.#rejected = token;
    if (this.#kept?.token === token) this.#kept = null;
  }

  async #fetchOne(): Promise<string> {
    const token = await this.#fetch(this.#rejected);
    const expiresAt = claimsOf(token).expiresAt;
    const now = this.#serverNow();
    this.#kept = expiresAt === null ? null : { token, renewAt: now + renewDelay(expiresAt - now) };
    return token;
  }
}

function onlyToken(token: string, rejected: string | undefined): string {
  if (token === rejected)
    throw new ParleyError('UNAUTHORIZED', 'the token was refused, and there is no other');
  return token;
}

/** What the client reads of a JWT, without checking it; null where it cannot be read. */
export interface Claims {
  readonly user: string | null;
  /** Unix time in ms. */
  readonly expiresAt: number | null;
}

export function claimsOf(token: string): Claims {
  const bytes = fromBase64(token.split('.')[1] ?? '');
  try {
    // Names may hold any letter: what is read here is ASCII, and survives this.
    const text = String.fromCharCode(...(bytes ?? []));
    const { sub, exp } = JSON.parse(text) as { readonly sub?: unknown; readonly exp?: unknown };
    return {
      user: typeof sub === 'string' ? sub : null,
      expiresAt: typeof exp === 'number' ? exp * 1000 : null,
    };
  } catch {
    // Not a JWT of ours: the server will say who it is and when it expires.
    return { user: null, expiresAt: null };
  }
}

/** When to renew a token that has `leftMs` left. */
export function renewDelay(leftMs: number): number {
  return Math.max(0, leftMs - Math.min(renewBeforeMs, leftMs / 2));
}
