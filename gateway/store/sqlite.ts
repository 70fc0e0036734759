// The embedded store: SQLite in two worker threads, one that writes and one that reads. Made by main.ts; this file only
// carries calls to the threads and answers back, and commits to the journal (sqlite-commits.ts). A commit is on disk when
// its call settles.

import type { TokenUser } from './sqlite-accounts.ts';
import { Commits } from './sqlite-commits.ts';
import { JournalFiles } from './sqlite-journal-files.ts';
import type { SqliteMethods } from './sqlite-methods.ts';
import { openDatabase } from './sqlite-open.ts';
import { pendingCallsMax, Thread } from './sqlite-thread.ts';
import { type MarkMove, type Store, StoreUnavailable, type User } from './store.ts';

/** Users of tokens in one batch. */
const newcomersMax = 512;

/** Opens the store in DATA_DIR, making and migrating it as needed. Rejects with StoreStartError. */
export async function openSqliteStore(options: { dataDir: string }): Promise<Store> {
  const writer = new Thread();
  const reader = new Thread();
  try {
    const applied = (await writer.send('open', [options.dataDir, true])) as number;
    await reader.send('open', [options.dataDir, false]);
    const files = new JournalFiles(options.dataDir);
    return makeStore(writer, reader, new Commits(options.dataDir, files, writer, reader, applied));
  } catch (error) {
    await reader.close();
    await writer.close();
    throw error;
  }
}

/** Migrates the database in DATA_DIR and lets go of it; answers the versions before and after. */
export function migrateSqlite(options: { dataDir: string }): { from: number; to: number } {
  const { from, to, close } = openDatabase(options.dataDir);
  close();
  return { from, to };
}

/**
 * A read that is sent after a write has settled sees it. One that is sent while the write is under way may not: the two
 * threads do not wait for each other. What was committed may still be in the journal alone: calls that depend on it wait.
 */
function makeStore(writer: Thread, reader: Thread, commits: Commits): Store {
  const newcomers = new Newcomers(writer);

  /** Asks when what it depends on is in the database; at once where it is. */
  function after<Name extends keyof SqliteMethods>(
    settled: Promise<void> | null,
    thread: Thread,
    method: Name,
    ...args: Parameters<SqliteMethods[Name]>
  ): Promise<ReturnType<SqliteMethods[Name]>> {
    if (settled === null) return thread.call(method, ...args);
    return settled.then(
      () => thread.call(method, ...args),
      (error) => {
        if (thread === writer || !(error instanceof StoreUnavailable)) throw error;
        // The database takes nothing; what waits is added in memory, for this read alone.
        return writer.send('ahead', [commits.waiting(), method, args]) as Promise<
          ReturnType<SqliteMethods[Name]>
        >;
      },
    );
  }
  const events = (...rooms: readonly string[]) => commits.settledRooms(rooms, 'events');
  const changes = (...rooms: readonly string[]) => commits.settledRooms(rooms, 'changes');

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

    createRoom: (room, members) => after(changes(room.id), writer, 'createRoom', room, members),
    room: (id) => after(changes(id), reader, 'room', id),
    directRoom: (first, second) => after(commits.settled('changes'), reader, 'directRoom', first, second),
    memberships: (room, users) => after(changes(room), reader, 'memberships', room, users),
    isMuted: (room, user) => after(changes(room), reader, 'isMuted', room, user),
    members: (room, last, limit) => after(changes(room), reader, 'members', room, last, limit),
    memberIds: (room, limit) => after(changes(room), reader, 'memberIds', room, limit),
    roomsOf: (user, archived, last, limit) =>
      after(commits.settled('events'), reader, 'roomsOf', user, archived, last, limit),

    commit: (batch) => commits.commit(batch),
    heads: (rooms) => after(events(...rooms), reader, 'heads', rooms),
    page: (room, before, last, limit, bytesMax) =>
      after(events(room), reader, 'page', room, before, last, limit, bytesMax),
    messages: (room, before, last, limit) =>
      after(events(room), reader, 'messages', room, before, last, limit),
    target: (room, seq) => after(events(room), reader, 'target', room, seq),
    reaction: (room, target, user, emoji) =>
      after(changes(room), reader, 'reaction', room, target, user, emoji),

    saveMarks: (moves) => after(changes(...moves.map(roomOf)), writer, 'saveMarks', moves),
    marks: (room, users) => after(changes(room), reader, 'marks', room, users),
    readNumbers: (room, users) => after(events(room), reader, 'readNumbers', room, users),
    receipts: (room, seq) => after(changes(room), reader, 'receipts', room, seq),

    findIds: (ids) => after(events(...ids.map(roomOf)), reader, 'findIds', ids),
    reserveEpoch: (room, incarnation) => after(events(room), writer, 'reserveEpoch', room, incarnation),

    saveSockets: (rows) => writer.call('saveSockets', rows),
    forgetSockets: (before) => writer.call('forgetSockets', before),

    async check() {
      await Promise.all([commits.check(), writer.call('check'), reader.call('check')]);
    },
    async close() {
      await commits.close();
      // The writer last: whoever closes last folds the WAL into the database.
      await reader.close();
      await writer.close();
    },
  };
}

const roomOf = ({ room }: Pick<MarkMove, 'room'>) => room;

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
