// Messages of one room on their way to the server: kept until they are acked, sent again with the same ids after a
// reconnect or, where there is a storage, a reload; one at a time once something failed, so that their order holds. Used
// by room.ts.

import type { ErrorCode } from '../core/protocol/codes.ts';
import { idAheadMsMax } from '../core/protocol/limits.ts';
import { jitterDelay } from './backoff.ts';
import { ParleyError, retryOf } from './errors.ts';
import type { Content, Meta } from './frames.ts';
import type { Link } from './link.ts';
import { unknownReach } from './members.ts';
import { idFromText, idToText, makeMessageId, timeOfId } from './message-id.ts';
import type { KeptMessage } from './outbox-store.ts';
import { randomBytes } from './platform.ts';
import type { TimelineMessage } from './timeline.ts';

/** What the ack of a message says. */
export interface Sent {
  readonly seq: number;
  readonly ts: number;
  /** How durable it is: 1 logged, 2 synced, 4 committed. */
  readonly level: number;
  /** It had arrived before: only its ack was lost. */
  readonly repeated: boolean;
}

export interface Draft {
  readonly content: Content;
  readonly type?: string;
  readonly meta?: Meta;
  /** How durable it has to be before it counts as sent; one of `welcome.levels`. */
  readonly level?: number;
}

/** A message that is being sent. */
export interface Sending {
  /** The message id, as `key` of its item. */
  readonly id: string;
  /** Holds when the server has acked; rejects with a ParleyError where it failed, also if it is retried later. */
  readonly sent: Promise<Sent>;
}

interface Entry {
  /** UUID text. */
  id: string;
  readonly draft: Draft;
  readonly ts: number;
  isUnacked: boolean;
  tries: number;
  error: ParleyError | null;
  readonly resolve: (sent: Sent) => void;
  readonly reject: (error: ParleyError) => void;
}

interface Parts {
  readonly room: string;
  readonly link: Link;
  /** Runs after each change, with what is being sent. */
  onChange(pending: readonly TimelineMessage[]): void;
  onSent(message: TimelineMessage, sent: Sent): void;
}

const entriesMax = 1000;
/** Unacked messages of a room while all goes well. */
const unackedMax = 16;
/** Ids that lie further in the server's future, which it would refuse, are made anew. */
const idAheadMs = idAheadMsMax / 2;
/** Answers that say "later" before a message counts as failed; being offline does not count. */
const triesMax = 8;

export class Outbox {
  readonly #parts: Parts;
  readonly #entries: Entry[] = [];
  /** After a failure one at a time, until all are through. */
  #isSerial = false;
  #cancelPause: (() => void) | null = null;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Throws RATE_LIMITED where too many wait, and CLOSED where nothing will be sent any more. */
  add(draft: Draft): Sending {
    if (this.#parts.link.isStopped) throw new ParleyError('CLOSED', 'the connection was closed');
    if (this.#entries.length >= entriesMax) {
      throw new ParleyError('RATE_LIMITED', `over ${entriesMax} messages wait to be sent`);
    }
    let { resolve, reject }: Pick<Entry, 'resolve' | 'reject'> = nobodyWaits;
    const sent = new Promise<Sent>((onSent, onFailed) => {
      resolve = onSent;
      reject = onFailed;
    });
    // Who shows the state does not need the promise.
    sent.catch(() => null);
    const ts = this.#parts.link.serverNow();
    const state = { isUnacked: false, tries: 0, error: null };
    const entry: Entry = { id: this.#makeId(), draft, ts, ...state, resolve, reject };
    this.#entries.push(entry);
    this.#keep(entry);
    this.#changed();
    this.#flushPending();
    return { id: entry.id, sent };
  }

  /** What was kept over a reload goes before what was written since. */
  restore(kept: readonly KeptMessage[]): void {
    const known = new Set(this.#entries.map(({ id }) => id));
    const entries = kept.filter(({ id }) => !known.has(id)).map(toEntry);
    this.#entries.unshift(...entries);
    // Nobody knows which of them were sent before.
    if (entries.length > 0) this.#isSerial = true;
    this.#changed();
    this.#flushPending();
  }

  /** Sends a failed message again, with the same id. */
  retry(id: string): void {
    const entry = this.#entries.find((candidate) => candidate.id === id && candidate.error !== null);
    if (!entry) return;
    entry.error = null;
    entry.tries = 0;
    this.#keep(entry);
    this.#changed();
    this.#flushPending();
  }

  /** Forgets a failed message. */
  discard(id: string): void {
    const index = this.#entries.findIndex((entry) => entry.id === id && entry.error !== null);
    if (index < 0) return;
    this.#entries.splice(index, 1);
    this.#parts.link.outboxStore?.remove(id);
    this.#changed();
  }

  onOnline(): void {
    this.#resume();
    this.#renewIds();
    this.#flushPending();
  }

  /** Who sends is known now. */
  onUser(): void {
    this.#changed();
  }

  /** The connection was given up: nothing will be sent any more. */
  onStopped(): void {
    this.#resume();
    const error = new ParleyError('CLOSED', 'the connection was closed');
    // In the storage they are still to be sent.
    for (const entry of this.#entries) if (!entry.error) this.#fail(entry, error);
    this.#changed();
  }

  #makeId(): string {
    return idToText(makeMessageId(this.#parts.link.serverNow(), randomBytes(16)));
  }

  /**
   * Ids made before the server's time was known may lie in its future: they get new ones. None of them was sent, as the
   * time is known before the first one is.
   */
  #renewIds(): void {
    const latest = this.#parts.link.serverNow() + idAheadMs;
    let isRenewed = false;
    for (const entry of this.#entries) {
      if (timeOfId(entry.id) <= latest) continue;
      const was = entry.id;
      entry.id = this.#makeId();
      this.#keep(entry, was);
      isRenewed = true;
    }
    if (isRenewed) this.#changed();
  }

  #keep(entry: Entry, was = entry.id): void {
    const { outboxStore } = this.#parts.link;
    if (!outboxStore) return;
    const { id, ts, error } = entry;
    const { content, type = 'text', meta = null, level = null } = entry.draft;
    const failure = error && { code: error.code, message: error.message };
    outboxStore.put({ room: this.#parts.room, id, ts, type, content, meta, level, failure }, was);
  }

  #flushPending(): void {
    const { isOnline, outboxStore } = this.#parts.link;
    if (this.#cancelPause || !isOnline || outboxStore?.isLoaded === false) return;
    let places = this.#isSerial ? 1 : unackedMax;
    for (const entry of this.#entries) if (entry.isUnacked) places--;
    for (const entry of [...this.#entries]) {
      if (places <= 0) return;
      if (entry.isUnacked || entry.error) continue;
      places--;
      this.#transmit(entry);
    }
  }

  #transmit(entry: Entry): void {
    const { content, type = 'text', meta = null, level } = entry.draft;
    const fields: unknown[] = [this.#parts.room, idFromText(entry.id), type, content, meta];
    if (level !== undefined) fields.push(level);
    entry.isUnacked = true;
    const onOk = (answer: readonly unknown[]) => this.#onAck(entry, answer);
    this.#parts.link.ask('send_message', fields, onOk, (error) => this.#onError(entry, error));
  }

  #onAck(entry: Entry, answer: readonly unknown[]): void {
    const [seq, ts, level, repeated] = answer as [number, number, number, boolean];
    const sent = { seq, ts, level, repeated };
    const index = this.#entries.indexOf(entry);
    if (index >= 0) this.#entries.splice(index, 1);
    if (this.#entries.length === 0) this.#isSerial = false;
    this.#parts.link.outboxStore?.remove(entry.id);
    this.#parts.onSent(this.#show(entry), sent);
    entry.resolve(sent);
    this.#changed();
    this.#flushPending();
  }

  #onError(entry: Entry, error: ParleyError): void {
    entry.isUnacked = false;
    this.#isSerial = true;
    // Lost with the socket: `onOnline` sends it again.
    if (error.code === 'DISCONNECTED') return;
    const isFinal = retryOf(error.code) === 'never' && error.code !== 'TOKEN_EXPIRED';
    if (isFinal || ++entry.tries >= triesMax) {
      this.#fail(entry, error);
      this.#keep(entry);
      this.#changed();
      this.#flushPending();
    } else {
      this.#pause(Math.max(error.retryAfterMs ?? 0, jitterDelay(entry.tries, this.#parts.link.random())));
    }
  }

  #fail(entry: Entry, error: ParleyError): void {
    entry.isUnacked = false;
    entry.error = error;
    entry.reject(error);
  }

  #pause(delayMs: number): void {
    this.#cancelPause?.();
    this.#cancelPause = this.#parts.link.clock.after(delayMs, () => {
      this.#cancelPause = null;
      this.#flushPending();
    });
  }

  #resume(): void {
    this.#cancelPause?.();
    this.#cancelPause = null;
  }

  #changed(): void {
    this.#parts.onChange(this.#entries.map((entry) => this.#show(entry)));
  }

  #show(entry: Entry): TimelineMessage {
    return {
      kind: 'message',
      key: entry.id,
      seq: null,
      ts: entry.ts,
      from: this.#parts.link.user ?? '',
      type: entry.draft.type ?? 'text',
      content: entry.draft.content,
      meta: entry.draft.meta ?? null,
      isEdited: false,
      reactions: [],
      state: entry.error ? 'failed' : 'sending',
      level: null,
      reach: unknownReach,
      error: entry.error,
    };
  }
}

const nobodyWaits = { resolve: () => undefined, reject: () => undefined };

function toEntry({ id, ts, type, content, meta, level, failure }: KeptMessage): Entry {
  const draft = { type, content, ...(meta && { meta }), ...(level !== null && { level }) };
  const error = failure && new ParleyError(failure.code as ErrorCode, failure.message);
  return { id, ts, draft, isUnacked: false, tries: 0, error, ...nobodyWaits };
}
