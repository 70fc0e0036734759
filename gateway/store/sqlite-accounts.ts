// Users and their refresh tokens in the embedded database. Runs in the worker, synchronously; store.ts says what each
// function promises.

import type { Database } from 'bun:sqlite';
import { userColumns } from './sqlite-rows.ts';
import type { Rotation, User, UserChanges } from './store.ts';

/** Expired sessions and tokens removed at each new token: more than are made, so that none pile up. */
const expiredRowsMax = 16;

/** A user as a token names him. */
export interface TokenUser {
  readonly id: string;
  readonly profile: UserChanges;
  readonly now: number;
}

export function prepareAccounts(db: Database) {
  const insertUser = db.prepare(
    `INSERT INTO users (id, username, email, display_name, avatar_url, created_at, updated_at, password_hash)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)`,
  );
  const selectUser = db.prepare<User, [string]>(`SELECT ${userColumns} FROM users WHERE id = ?`);
  const selectAccount = db.prepare<User & { passwordHash: string | null }, [string]>(
    `SELECT ${userColumns}, password_hash AS passwordHash FROM users WHERE username = ?`,
  );
  const selectIdByEmail = db.prepare<{ id: string }, [string]>('SELECT id FROM users WHERE email = ?');
  const updateProfile = db.prepare(
    'UPDATE users SET display_name = ?2, avatar_url = ?3, email = ?4, updated_at = ?5 WHERE id = ?1',
  );
  const updateSeen = db.prepare(
    `UPDATE users SET last_room = iif(?3 IS NULL OR ?2 < coalesce(last_seen, 0), last_room, ?3),
       last_seen = max(coalesce(last_seen, 0), ?2)
     WHERE id = ?1`,
  );
  const selectLastRoom = db.prepare<{ room: string | null }, [string]>(
    'SELECT last_room AS room FROM users WHERE id = ?',
  );

  const insertSession = db.prepare(
    'INSERT INTO sessions (id, user, created_at, expires_at) VALUES (?, ?, ?, ?)',
  );
  const insertToken = db.prepare('INSERT INTO refresh_tokens (hash, session, expires_at) VALUES (?, ?, ?)');
  const selectToken = db.prepare<
    { session: string; user: string; used: number; expiresAt: number; revoked: number },
    [string]
  >(
    `SELECT t.session, s.user, t.used, t.expires_at AS expiresAt, s.revoked
     FROM refresh_tokens t JOIN sessions s ON s.id = t.session WHERE t.hash = ?`,
  );
  const markTokenUsed = db.prepare('UPDATE refresh_tokens SET used = 1 WHERE hash = ?');
  const extendSession = db.prepare('UPDATE sessions SET expires_at = max(expires_at, ?2) WHERE id = ?1');
  const revokeSession = db.prepare('UPDATE sessions SET revoked = 1 WHERE id = ?');
  const deleteExpiredTokens = db.prepare(`DELETE FROM refresh_tokens WHERE hash IN
    (SELECT hash FROM refresh_tokens WHERE expires_at <= ? ORDER BY expires_at LIMIT ${expiredRowsMax})`);
  const deleteExpiredSessions = db.prepare(`DELETE FROM sessions WHERE id IN
    (SELECT id FROM sessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ${expiredRowsMax})`);

  function isEmailFree(email: string, id: string): boolean {
    const holder = selectIdByEmail.get(email);
    return holder === null || holder.id === id;
  }

  function deleteExpired(now: number): void {
    deleteExpiredTokens.run(now);
    deleteExpiredSessions.run(now);
  }

  const createAccount = db.transaction(
    (user: Omit<User, 'lastSeen'>, passwordHash: string): 'created' | 'username' | 'email' => {
      if (user.username !== null && selectAccount.get(user.username) !== null) return 'username';
      if (user.email !== null && !isEmailFree(user.email, user.id)) return 'email';
      const { id, username, email, displayName, avatarUrl, createdAt } = user;
      insertUser.run(id, username, email, displayName, avatarUrl, createdAt, passwordHash);
      return 'created';
    },
  ).immediate;

  function insertOrFill({ id, profile, now }: TokenUser): User {
    const user = selectUser.get(id);
    const displayName = user?.displayName ?? profile.displayName ?? null;
    const avatarUrl = user?.avatarUrl ?? profile.avatarUrl ?? null;
    const wanted = user?.email ?? profile.email ?? null;
    // An address that is another user's is left out: the token's word for it is not ours.
    const email = wanted !== null && isEmailFree(wanted, id) ? wanted : null;
    if (user === null) insertUser.run(id, null, email, displayName, avatarUrl, now, null);
    else if (lacks(user, profile)) updateProfile.run(id, displayName, avatarUrl, email, now);
    else return user;
    return selectUser.get(id) as User;
  }

  const insertOrFillAll = db.transaction((users: readonly TokenUser[]) => users.map(insertOrFill)).immediate;

  function ensureUsers(users: readonly TokenUser[]): readonly User[] {
    const known = users.map(({ id }) => selectUser.get(id));
    // Asked at every connection, so what is known already costs no transaction.
    const isComplete = known.every(
      (user, i) => user !== null && !lacks(user, (users[i] as TokenUser).profile),
    );
    return isComplete ? (known as User[]) : insertOrFillAll(users);
  }

  const updateUser = db.transaction(
    (id: string, changes: UserChanges, now: number): User | 'email' | null => {
      const user = selectUser.get(id);
      if (user === null) return null;
      const changed = { ...user, ...changes };
      if (changed.email !== null && !isEmailFree(changed.email, id)) return 'email';
      updateProfile.run(id, changed.displayName, changed.avatarUrl, changed.email, now);
      return selectUser.get(id);
    },
  ).immediate;

  const touchUsers = db.transaction(
    (touches: readonly { user: string; lastSeen: number; room: string | null }[]): void => {
      for (const { user, lastSeen, room } of touches) updateSeen.run(user, lastSeen, room);
    },
  ).immediate;

  const createSession = db.transaction(
    (session: string, user: string, tokenHash: string, now: number, expiresAt: number): void => {
      deleteExpired(now);
      insertSession.run(session, user, now, expiresAt);
      insertToken.run(tokenHash, session, expiresAt);
    },
  ).immediate;

  const rotateToken = db.transaction(
    (tokenHash: string, nextHash: string, now: number, expiresAt: number): Rotation => {
      const token = selectToken.get(tokenHash);
      if (token === null || token.revoked === 1 || token.expiresAt <= now) return { outcome: 'unknown' };
      const { session, user } = token;
      if (token.used === 1) {
        revokeSession.run(session);
        return { outcome: 'reused', user, session };
      }
      markTokenUsed.run(tokenHash);
      insertToken.run(nextHash, session, expiresAt);
      extendSession.run(session, expiresAt);
      deleteExpired(now);
      return { outcome: 'rotated', user, session };
    },
  ).immediate;

  const endSession = db.transaction((tokenHash: string): string | null => {
    const token = selectToken.get(tokenHash);
    if (token === null || token.revoked === 1) return null;
    revokeSession.run(token.session);
    return token.session;
  }).immediate;

  return {
    createAccount,
    account(username: string): { user: User; passwordHash: string } | null {
      const row = selectAccount.get(username);
      if (row === null || row.passwordHash === null) return null;
      const { passwordHash, ...user } = row;
      return { user, passwordHash };
    },
    ensureUsers,
    updateUser,
    users(ids: readonly string[]): readonly User[] {
      return ids.map((id) => selectUser.get(id)).filter((user) => user !== null);
    },
    touchUsers,
    lastRoom: (user: string): string | null => selectLastRoom.get(user)?.room ?? null,
    createSession,
    rotateToken,
    endSession,
  };
}

/** Whether the profile has something that the record has not. */
function lacks(user: User, profile: UserChanges): boolean {
  return (
    (user.displayName === null && profile.displayName != null) ||
    (user.avatarUrl === null && profile.avatarUrl != null) ||
    (user.email === null && profile.email != null)
  );
}
