// Who is logged in, kept over reloads: tokens in localStorage, renewed before they end. A refresh token may be used only
// once, so tabs take turns, and who comes second finds the new token already there.

import { ParleyError } from '../client/errors.ts';
import { ask, type Login, type Profile } from './api.ts';
import { readStored, writeStored } from './storage.ts';

const storageKey = 'parley.session';
const lockName = 'parley.refresh';
/** A token is renewed so long before its end, or at half its life where that is less. */
const renewBeforeMs = 120_000;

interface Stored {
  readonly user: Profile;
  readonly accessToken: string;
  readonly refreshToken: string;
  /** When to renew, by this machine's clock. */
  readonly freshUntil: number;
}

export class Session {
  #stored: Stored | null = read();
  #renewing: Promise<string> | null = null;
  /** Runs when the login is over, here or in another tab. */
  onEnd: (() => void) | null = null;

  constructor() {
    window.addEventListener('storage', (event) => {
      if (event.key !== storageKey) return;
      this.#stored = read();
      if (!this.#stored) this.onEnd?.();
    });
  }

  /** Null while nobody is logged in. */
  get user(): Profile | null {
    return this.#stored?.user ?? null;
  }

  /** The profile was changed here. */
  setUser(user: Profile): void {
    if (!this.#stored) return;
    this.#stored = { ...this.#stored, user };
    writeStored(storageKey, JSON.stringify(this.#stored));
  }

  async register(username: string, displayName: string, password: string): Promise<void> {
    const name = displayName === '' ? null : displayName;
    this.#keep(await ask<Login>('POST', 'v1/register', null, { username, password, display_name: name }));
  }

  async logIn(username: string, password: string): Promise<void> {
    this.#keep(await ask<Login>('POST', 'v1/login', null, { username, password }));
  }

  async logOut(): Promise<void> {
    const token = this.#stored?.refreshToken;
    this.end();
    // Logged out here in any case; the server learns it if it can be reached.
    if (token) await ask('POST', 'v1/logout', null, { refresh_token: token }).catch(() => null);
  }

  /** Forgets the login on this device. */
  end(): void {
    this.#stored = null;
    writeStored(storageKey, null);
    this.onEnd?.();
  }

  /** An access token that is good for a while, and not `rejected`. Fails with UNAUTHORIZED where the login is over. */
  token(rejected?: string): Promise<string> {
    const stored = this.#stored;
    if (!stored) return Promise.reject(new ParleyError('UNAUTHORIZED', 'not logged in'));
    if (isFresh(stored, rejected)) return Promise.resolve(stored.accessToken);
    this.#renewing ??= inTurn(() => this.#renew(rejected)).finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  async #renew(rejected: string | undefined): Promise<string> {
    const stored = read() ?? this.#stored;
    if (!stored) throw new ParleyError('UNAUTHORIZED', 'not logged in');
    if (isFresh(stored, rejected)) {
      this.#stored = stored;
      return stored.accessToken;
    }
    try {
      const login = await ask<Login>('POST', 'v1/token', null, { refresh_token: stored.refreshToken });
      return this.#keep(login).accessToken;
    } catch (error) {
      if (error instanceof ParleyError && error.code === 'UNAUTHORIZED') {
        this.end();
      }
      throw error;
    }
  }

  #keep(login: Login): Stored {
    const lifeMs = login.expires_in * 1000;
    this.#stored = {
      user: login.user,
      accessToken: login.access_token,
      refreshToken: login.refresh_token,
      freshUntil: Date.now() + lifeMs - Math.min(renewBeforeMs, lifeMs / 2),
    };
    writeStored(storageKey, JSON.stringify(this.#stored));
    return this.#stored;
  }
}

function isFresh(stored: Stored, rejected: string | undefined): boolean {
  return stored.accessToken !== rejected && stored.freshUntil > Date.now();
}

/** One tab at a time. Without locks (a page over plain HTTP has none) tabs may collide, and one has to log in again. */
function inTurn(task: () => Promise<string>): Promise<string> {
  const locks: LockManager | undefined = navigator.locks;
  return locks ? locks.request(lockName, task) : task();
}

function read(): Stored | null {
  const text = readStored(storageKey);
  try {
    return text === null ? null : (JSON.parse(text) as Stored);
  } catch {
    // Not ours.
    return null;
  }
}
