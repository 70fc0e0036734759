// Names of users: asked for in batches, kept, shown as the id until they are known. Used by chat.ts and the views.

import { ask, type Profile } from './api.ts';

const idsMax = 200;
/** Where names could not be fetched: how long until the next try. */
const retryMs = 5000;

export class People {
  readonly #names = new Map<string, string>();
  readonly #wanted = new Set<string>();
  readonly #token: () => Promise<string>;
  readonly #onChange: () => void;
  #isScheduled = false;

  constructor(token: () => Promise<string>, onChange: () => void) {
    this.#token = token;
    this.#onChange = onChange;
  }

  /** The name as far as it is known; asks for it where it is not. */
  name(id: string): string {
    const name = this.#names.get(id);
    if (name !== undefined) return name;
    this.#wanted.add(id);
    this.#fetchSoon(0);
    return shortId(id);
  }

  learn(
    id: string,
    profile: { readonly display_name: string | null; readonly username: string | null },
  ): void {
    const name = profile.display_name ?? profile.username ?? shortId(id);
    if (this.#names.get(id) === name) return;
    this.#names.set(id, name);
    this.#onChange();
  }

  #fetchSoon(delayMs: number): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setTimeout(() => void this.#fetchWanted(), delayMs);
  }

  async #fetchWanted(): Promise<void> {
    const ids = [...this.#wanted].slice(0, idsMax);
    let delayMs = 0;
    try {
      const list = ids.map(encodeURIComponent).join(',');
      const { users } = await ask<{ users: Profile[] }>('GET', `v1/users?ids=${list}`, await this.#token());
      // Who is not in the answer does not exist: the id is all there is to show.
      for (const id of ids) if (!this.#names.has(id)) this.#names.set(id, shortId(id));
      for (const user of users) this.learn(user.id, user);
      for (const id of ids) this.#wanted.delete(id);
    } catch {
      delayMs = retryMs;
    }
    this.#isScheduled = false;
    if (this.#wanted.size > 0) this.#fetchSoon(delayMs);
  }
}

function shortId(id: string): string {
  return id.length > 12 ? `${id.slice(0, 8)}…` : id;
}
