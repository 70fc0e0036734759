// The embedded store: SQLite in two worker threads, one that writes and one that reads. Made by main.ts; this file only
// carries calls to the threads and answers back. A commit is on disk when its call settles.

import type { TokenUser } from './sqlite-accounts.ts';
import type { PackedEvents } from './sqlite-commit.ts';
import type { SqliteMethods } from './sqlite-methods.ts';
import { openDatabase } from './sqlite-open.ts';
import type { Answer, Call } from './sqlite-worker.ts';
import { type Store, type StoredEvent, StoreStartError, StoreUnavailable, type User } from './store.ts';

/** Calls to one thread that have no answer yet; more are refused. */
const pendingCallsMax = 16_384;
/** Users of tokens in one batch. */
const newcomersMax = 512;

interface PendingCall {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** Opens the store in DATA_DIR, making and migrating it as needed. Rejects with StoreStartError. */
export async function openSqliteStore(options: { dataDir: string }): Promise<Store> {
  const writer = new Thread();
  const reader = new Thread();
  try {
    await writer.send('open', [options.dataDir, true]);
    await reader.send('open', [options.dataDir, false]);
  } catch (error) {
    await reader.close();
    await writer.close();
    throw error;
  }
  return makeStore(writer, reader);
}

/** Migrates the database in DATA_DIR and lets go of it; answers the versions before and after. */
export function migrateSqlite(options: { dataDir: string }): { from: number; to: number } {
  const { from, to, close } = openDatabase(options.dataDir);
  close();
  return { from, to };
}

/**
 * A read that is sent after a write has settled sees it. One that is sent while the write is under way may not: the two
 * threads do not wait for each other.
 */
function makeStore(writer: Thread, reader: Thread): Store {
  const newcomers = new Newcomers(writer);
  return {
    createAccount: (user, passwordHash) => writer.call('createAccount', user, passwordHash),
    account: (username) => reader.call('account', username),
    ensureUser: (id, profile, now) => newcomers.ensure({ id, profile, now }),
    updateUser: (id, changes, now) => writer.call('updateUser', id, changes, now),
    users: (ids) => reader.call('users', ids),
    touchUsers: (touches) => writer.call('touchUsers', touches),
    lastRoom: (user) => reader.call('lastRoom', user),

    createSession: (session, user, tokenHash, now, expiresAt) =>
      writer.call('createSession', session, user, tokenHash, now, expiresAt),
    rotateToken: (tokenHash, nextHash, now, expiresAt) =>
      writer.call('rotateToken', tokenHash, nextHash, now, expiresAt),
    endSession: (tokenHash) => writer.call('endSession', tokenHash),

    createRoom: (room, members) => writer.call('createRoom', room, members),
    room: (id) => reader.call('room', id),
    directRoom: (first, second) => reader.call('directRoom', first, second),
    memberships: (room, users) => reader.call('memberships', room, users),
    isMuted: (room, user) => reader.call('isMuted', room, user),
    members: (room, after, limit) => reader.call('members', room, after, limit),
    memberIds: (room, limit) => reader.call('memberIds', room, limit),
    roomsOf: (user, archived, after, limit) => reader.call('roomsOf', user, archived, after, limit),

    commit: (events) => writer.call('commit', packEvents(events)),
    heads: (rooms) => reader.call('heads', rooms),
    page: (room, before, after, limit, bytesMax) => reader.call('page', room, before, after, limit, bytesMax),
    messages: (room, before, after, limit) => reader.call('messages', room, before, after, limit),
    target: (room, seq) => reader.call('target', room, seq),
    reaction: (room, target, user, emoji) => reader.call('reaction', room, target, user, emoji),

    saveMarks: (moves) => writer.call('saveMarks', moves),
    marks: (room, users) => reader.call('marks', room, users),
    readNumbers: (room, users) => reader.call('readNumbers', room, users),
    receipts: (room, seq) => reader.call('receipts', room, seq),

    findIds: (ids) => reader.call('findIds', ids),
    reserveEpoch: (room, incarnation) => writer.call('reserveEpoch', room, incarnation),

    saveSockets: (rows) => writer.call('saveSockets', rows),
    forgetSockets: (before) => writer.call('forgetSockets', before),

    async check() {
      await Promise.all([writer.call('check'), reader.call('check')]);
    },
    async close() {
      // The writer last: whoever closes last folds the WAL into the database.
      await reader.close();
      await writer.close();
    },
  };
}

/** Copies a batch into one buffer: the events' own bytes stay with the caller, who publishes them too. */
function packEvents(events: readonly StoredEvent[]): PackedEvents {
  let size = 0;
  for (const { bytes } of events) size += bytes.length;
  const bytes = new Uint8Array(size);
  const ends = new Float64Array(events.length);
  const numbers = new Float64Array(events.length);
  let at = 0;
  for (let i = 0; i < events.length; i++) {
    const event = events[i] as StoredEvent;
    bytes.set(event.bytes, at);
    at += event.bytes.length;
    ends[i] = at;
    numbers[i] = event.number;
  }
  return { bytes, ends, numbers };
}

interface WaitingUser extends TokenUser {
  resolve(user: User): void;
  reject(error: unknown): void;
}

/** Users of tokens: those that come while a batch is under way share the next one, and its sync of the disk. */
class Newcomers {
  readonly #writer: Thread;
  #waiting: WaitingUser[] = [];
  #isWriting = false;

  constructor(writer: Thread) {
    this.#writer = writer;
  }

  ensure(user: TokenUser): Promise<User> {
    if (this.#waiting.length >= pendingCallsMax)
      return Promise.reject(new StoreUnavailable('too many calls at once'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...user, resolve, reject });
      if (!this.#isWriting) void this.#write();
    });
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, newcomersMax);
      try {
        const users = await this.#writer.call(
          'ensureUsers',
          batch.map(({ id, profile, now }) => ({ id, profile, now })),
        );
        batch.forEach(({ resolve }, i) => void resolve(users[i] as User));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#isWriting = false;
  }
}

/** A worker and the calls it has not answered. */
class Thread {
  readonly #worker = new Worker(new URL('./sqlite-worker.ts', import.meta.url));
  readonly #pending = new Map<number, PendingCall>();
  #number = 0;
  /** Why there are no more answers. */
  #stopped: string | undefined;

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => this.#settle(data);
    this.#worker.onerror = ({ message }) => this.#stop(`the database thread died: ${message}`);
  }

  /** A call of the store. */
  call<Name extends keyof SqliteMethods>(
    method: Name,
    ...args: Parameters<SqliteMethods[Name]>
  ): Promise<ReturnType<SqliteMethods[Name]>> {
    return this.send(method, args) as Promise<ReturnType<SqliteMethods[Name]>>;
  }

  send(method: Call['method'], args: readonly unknown[]): Promise<unknown> {
    if (this.#stopped !== undefined) return Promise.reject(new StoreUnavailable(this.#stopped));
    if (this.#pending.size >= pendingCallsMax)
      return Promise.reject(new StoreUnavailable('too many calls at once'));
    const number = ++this.#number;
    return new Promise((resolve, reject) => {
      this.#pending.set(number, { resolve, reject });
      this.#worker.postMessage({ number, method, args } as Call);
    });
  }

  /** Settles what is under way, then ends the thread; again it does nothing. */
  async close(): Promise<void> {
    if (this.#stopped !== undefined) return;
    const closed = this.send('close', []);
    this.#stopped = 'the store is closed';
    try {
      await closed;
    } finally {
      this.#stop(this.#stopped);
    }
  }

  #stop(reason: string): void {
    this.#stopped ??= reason;
    this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(new StoreUnavailable(this.#stopped));
    this.#pending.clear();
  }

  #settle(answer: Answer): void {
    const call = this.#pending.get(answer.number);
    this.#pending.delete(answer.number);
    if ('failure' in answer) call?.reject(toError(answer));
    else call?.resolve(answer.value);
  }
}

function toError(answer: Extract<Answer, { failure: string }>): Error {
  if (answer.failure === 'start') return new StoreStartError(answer.message);
  if (answer.failure === 'unavailable') return new StoreUnavailable(answer.message);
  return new Error(`store: ${answer.message}`);
}
