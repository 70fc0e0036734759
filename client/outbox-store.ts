// What has not been sent, kept in the application's storage over a reload: one value a user, a list of messages. Changes
// of one turn are written together, each time onto what is there then, so that tabs that share a storage keep each
// other's messages. Made by connection.ts, called by outbox.ts.

import { fromBase64, toBase64 } from './base64.ts';
import { soon } from './clock.ts';
import type { Content, Meta } from './frames.ts';
import type { KeyValueStorage } from './storage.ts';

const keyPrefix = 'parley.outbox.';
/** Messages of one user that are kept; those beyond it are in memory only. */
const keptMax = 1000;

export interface KeptMessage {
  readonly room: string;
  /** UUID text. */
  readonly id: string;
  readonly ts: number;
  readonly type: string;
  readonly content: Content;
  readonly meta: Meta | null;
  readonly level: number | null;
  /** Why the server will not have it, if it said so. */
  readonly failure: { readonly code: string; readonly message: string } | null;
}

/** As JSON: bytes are base64. */
type Json = Omit<KeptMessage, 'content'> & { readonly content: string | { readonly base64: string } };

/** Puts a message in the place of the one with the id `was`, or at the end; or removes the one with that id. */
interface Change {
  readonly was: string;
  readonly message: KeptMessage | null;
}

export class OutboxStore {
  readonly #storage: KeyValueStorage;
  readonly #onError: (error: unknown) => void;
  #key: string | null = null;
  #changes: Change[] = [];
  #isWriting = false;
  #isLoaded = false;

  constructor(storage: KeyValueStorage, onError: (error: unknown) => void) {
    this.#storage = storage;
    this.#onError = onError;
  }

  /** Until then nothing is to be sent: what was kept comes first. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** Whose messages these are, once that is known; answers what was kept, oldest first. */
  async load(user: string): Promise<readonly KeptMessage[]> {
    this.#key = keyPrefix + user;
    let kept: KeptMessage[] = [];
    try {
      kept = await this.#read(this.#key);
    } catch (error) {
      this.#onError(error);
    }
    this.#isLoaded = true;
    this.#writeSoon();
    return kept;
  }

  put(message: KeptMessage, was = message.id): void {
    this.#change({ was, message });
  }

  remove(id: string): void {
    this.#change({ was: id, message: null });
  }

  #change(change: Change): void {
    this.#changes.push(change);
    this.#writeSoon();
  }

  #writeSoon(): void {
    if (this.#isWriting || !this.#isLoaded || this.#changes.length === 0) return;
    this.#isWriting = true;
    soon(() => void this.#write());
  }

  async #write(): Promise<void> {
    const key = this.#key ?? '';
    const changes = this.#changes;
    this.#changes = [];
    try {
      const found = this.#read(key);
      // Where the storage answers at once nothing may come between: another tab could write there.
      const kept = applyChanges(Array.isArray(found) ? found : await found, changes);
      if (kept.length === 0) await this.#storage.remove(key);
      else await this.#storage.set(key, JSON.stringify(kept.slice(0, keptMax).map(toJson)));
      if (kept.length > keptMax) throw new RangeError(`over ${keptMax} unsent messages`);
    } catch (error) {
      this.#onError(error);
    }
    this.#isWriting = false;
    this.#writeSoon();
  }

  #read(key: string): KeptMessage[] | Promise<KeptMessage[]> {
    const text = this.#storage.get(key);
    return typeof text === 'string' || text === null ? parse(text) : text.then(parse);
  }
}

function parse(text: string | null): KeptMessage[] {
  return text === null ? [] : (JSON.parse(text) as Json[]).map(fromJson);
}

function applyChanges(kept: KeptMessage[], changes: readonly Change[]): KeptMessage[] {
  const byId = new Map(kept.map((message) => [message.id, message]));
  let isMoved = false;
  for (const { was, message } of changes) {
    if (!message) byId.delete(was);
    else if (was === message.id || !byId.has(was)) byId.set(message.id, message);
    else {
      // A new id in the old place.
      isMoved = true;
      byId.set(was, message);
    }
    if (!isMoved) continue;
    isMoved = false;
    const entries = [...byId.values()];
    byId.clear();
    for (const entry of entries) byId.set(entry.id, entry);
  }
  return [...byId.values()];
}

function toJson(message: KeptMessage): Json {
  const { content } = message;
  return { ...message, content: typeof content === 'string' ? content : { base64: toBase64(content) } };
}

function fromJson(json: Json): KeptMessage {
  const { content } = json;
  const bytes = typeof content === 'string' ? content : (fromBase64(content.base64) ?? new Uint8Array());
  return { ...json, content: bytes };
}
