// Profiles of users by id: asked for in batches, kept in a bounded cache, the least used go first. An application shows
// `users.name(id)` and draws again at `change`. Made by connection.ts.

import { userIdsMax } from '../core/protocol/limits.ts';
import { jitterDelay } from './backoff.ts';
import { type Clock, soon } from './clock.ts';
import { Emitter } from './emitter.ts';

/** Profiles that are kept. */
const knownMax = 2000;
/** Ids that wait to be asked for; of more, those that wait longest are let go of and asked for when shown again. */
const wantedMax = 2000;
/** How long nobody is asked for again who does not exist. */
const missingMs = 60_000;

export interface Profile {
  readonly id: string;
  readonly username: string | null;
  readonly display_name: string | null;
  readonly avatar_url: string | null;
}

interface UsersEvents {
  /** Profiles have come or changed; at most once a batch. */
  readonly change: null;
}

interface Parts {
  readonly clock: Clock;
  readonly random: () => number;
  http(method: string, path: string): Promise<unknown>;
}

interface Known {
  readonly profile: Profile | null;
  /** When somebody who did not exist may be asked for again. */
  readonly until: number;
}

export class Users extends Emitter<UsersEvents> {
  readonly #parts: Parts;
  /** In the order of their last use. */
  readonly #known = new Map<string, Known>();
  readonly #wanted = new Set<string>();
  #isAsking = false;
  #attempt = 0;
  #cancelRetry: (() => void) | null = null;

  constructor(parts: Parts) {
    super();
    this.#parts = parts;
  }

  /** What is known now; asks for the profile where there is none yet, and `change` says when it is there. */
  get(id: string): Profile | null {
    const known = this.#known.get(id);
    if (known && (known.profile || known.until > this.#parts.clock.now())) {
      this.#known.delete(id);
      this.#known.set(id, known);
      return known.profile;
    }
    this.#want(id);
    return null;
  }

  /** What to show: the name, or the id until it is known. */
  name(id: string): string {
    const profile = this.get(id);
    return profile?.display_name ?? profile?.username ?? id;
  }

  /** Profiles that came with something else. */
  learn(profiles: readonly Profile[]): void {
    for (const { id, username, display_name, avatar_url } of profiles) {
      this.#wanted.delete(id);
      this.#keep(id, { id, username, display_name, avatar_url });
    }
    this.emit('change', null);
  }

  /** Asks again for a profile that has changed. */
  forget(id: string): void {
    this.#known.delete(id);
    this.emit('change', null);
  }

  /** Called by the connection: it may work again now. */
  onOnline(): void {
    this.#attempt = 0;
    this.#askSoon();
  }

  #keep(id: string, profile: Profile | null): void {
    this.#known.delete(id);
    this.#known.set(id, { profile, until: this.#parts.clock.now() + missingMs });
    if (this.#known.size <= knownMax) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      return;
    }
  }

  #want(id: string): void {
    if (this.#wanted.has(id)) return;
    this.#wanted.add(id);
    if (this.#wanted.size > wantedMax) {
      for (const oldest of this.#wanted) {
        this.#wanted.delete(oldest);
        break;
      }
    }
    this.#askSoon();
  }

  /** In the next turn: what a page shows at once is asked for at once. */
  #askSoon(): void {
    this.#cancelRetry?.();
    this.#cancelRetry = null;
    if (this.#isAsking || this.#wanted.size === 0) return;
    this.#isAsking = true;
    soon(() => void this.#ask());
  }

  async #ask(): Promise<void> {
    const ids = [...this.#wanted].slice(0, userIdsMax);
    try {
      const path = `v1/users?ids=${ids.map(encodeURIComponent).join(',')}`;
      const { users } = (await this.#parts.http('GET', path)) as { readonly users: readonly Profile[] };
      for (const id of ids) {
        this.#wanted.delete(id);
        this.#keep(id, null);
      }
      this.#attempt = 0;
      this.#isAsking = false;
      this.learn(users);
      this.#askSoon();
    } catch {
      // Names are not worth an error: they are asked for again.
      this.#isAsking = false;
      const delay = jitterDelay(this.#attempt++, this.#parts.random());
      this.#cancelRetry = this.#parts.clock.after(delay, () => this.#askSoon());
    }
  }
}
