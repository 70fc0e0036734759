// Users and their refresh tokens in Postgres. store.ts says what each function promises.

import { numberArray, textArray } from './postgres-arrays.ts';
import { type Queries, sqlStateOf } from './postgres-pool.ts';
import { userColumns } from './postgres-rows.ts';
import { type Rotation, StoreRefused, type User, type UserChanges } from './store.ts';

const uniqueViolation = '23505';

const createSql = `INSERT INTO users
    (id, username, email, display_name, avatar_url, created_at, updated_at, password_hash)
  VALUES ($1, $2, $3, $4, $5, from_ms($6), from_ms($6), $7) ON CONFLICT DO NOTHING RETURNING id`;

const takenSql = `SELECT EXISTS (SELECT FROM users WHERE lower(username) = lower($1)) AS username,
  EXISTS (SELECT FROM users WHERE lower(email) = lower($2)) AS email`;

const accountSql = `SELECT ${userColumns}, u.password_hash AS "passwordHash" FROM users u
  WHERE lower(u.username) = lower($1) AND u.password_hash IS NOT NULL`;

const usersSql = `SELECT ${userColumns} FROM users u WHERE u.id = ANY($1::text[])`;

// An address that is another user's is left out: the token's word for it is not ours.
const fillSql = `INSERT INTO users AS u (id, display_name, avatar_url, email, created_at, updated_at)
  VALUES ($1, $2, $3,
    CASE WHEN NOT EXISTS (SELECT FROM users WHERE lower(email) = lower($4) AND id <> $1) THEN $4 END,
    from_ms($5), from_ms($5))
  ON CONFLICT (id) DO UPDATE SET display_name = coalesce(u.display_name, excluded.display_name),
    avatar_url = coalesce(u.avatar_url, excluded.avatar_url), email = coalesce(u.email, excluded.email),
    updated_at = excluded.updated_at
  RETURNING ${userColumns}`;

const updateSql = `UPDATE users u SET display_name = CASE WHEN $2 THEN $3 ELSE display_name END,
    avatar_url = CASE WHEN $4 THEN $5 ELSE avatar_url END, email = CASE WHEN $6 THEN $7 ELSE email END,
    updated_at = from_ms($8)
  WHERE id = $1 RETURNING ${userColumns}`;

// Locked in order of the ids, as every other call does that touches many users.
const touchSql = `WITH touched AS (
    SELECT u.id, t.seen, t.room, t.room_seen
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) AS t(id, seen, room, room_seen)
      JOIN users u ON u.id = t.id
    ORDER BY u.id FOR NO KEY UPDATE OF u
  )
  UPDATE users u SET last_seen = greatest(u.last_seen, from_ms(t.seen)),
    last_room = CASE WHEN t.room IS NULL OR from_ms(t.room_seen) < u.last_seen THEN u.last_room ELSE t.room END
  FROM touched t WHERE u.id = t.id`;

const createSessionSql = `WITH expired AS (SELECT delete_expired(from_ms($4))),
    made AS (INSERT INTO sessions (id, user_id, created_at, expires_at)
      VALUES ($1, $2, from_ms($4), from_ms($5)) RETURNING id),
    token AS (INSERT INTO refresh_tokens (hash, session, expires_at) SELECT $3, id, from_ms($5) FROM made)
  SELECT FROM expired`;

const endSessionSql = `UPDATE sessions s SET is_revoked = true FROM refresh_tokens t
  WHERE t.hash = $1 AND s.id = t.session AND NOT s.is_revoked RETURNING s.id`;

interface Touch {
  readonly seen: number;
  readonly room: string | null;
  readonly roomSeen: number;
}

export function accountMethods(db: Queries) {
  async function ensureUser(id: string, profile: UserChanges, now: number): Promise<User> {
    const [user] = await db.query<User>(usersSql, [textArray([id])]);
    // Asked at every connection, so what is known already costs no write.
    if (user !== undefined && !lacks(user, profile)) return user;
    const { displayName = null, avatarUrl = null, email = null } = profile;
    const fill = () => db.query<User>(fillSql, [id, displayName, avatarUrl, email, now]);
    const [filled] = await fill().catch((error: unknown) => {
      // Another user took the address in this very moment: now it is seen.
      if (!isUniqueViolation(error)) throw error;
      return fill();
    });
    return filled as User;
  }

  return {
    async createAccount(
      user: Omit<User, 'lastSeen'>,
      passwordHash: string,
    ): Promise<'created' | 'username' | 'email'> {
      const { id, username, email, displayName, avatarUrl, createdAt } = user;
      const values = [id, username, email, displayName, avatarUrl, createdAt, passwordHash];
      const made = await db.query(createSql, values);
      if (made.length > 0) return 'created';
      const [taken] = await db.query<{ username: boolean; email: boolean }>(takenSql, [username, email]);
      if (taken?.username) return 'username';
      if (taken?.email) return 'email';
      throw new StoreRefused(`user ${id} exists`);
    },
    async account(username: string): Promise<{ user: User; passwordHash: string } | null> {
      const [row] = await db.query<User & { passwordHash: string }>(accountSql, [username]);
      if (row === undefined) return null;
      const { passwordHash, ...user } = row;
      return { user, passwordHash };
    },
    ensureUser,
    async updateUser(id: string, changes: UserChanges, now: number): Promise<User | 'email' | null> {
      const { displayName, avatarUrl, email } = changes;
      const fields = [displayName, avatarUrl, email].flatMap((value) => [value !== undefined, value ?? null]);
      try {
        const [user] = await db.query<User>(updateSql, [id, ...fields, now]);
        return user ?? null;
      } catch (error) {
        if (isUniqueViolation(error)) return 'email';
        throw error;
      }
    },
    async users(ids: readonly string[]): Promise<readonly User[]> {
      return ids.length === 0 ? [] : await db.query<User>(usersSql, [textArray(ids)]);
    },
    async touchUsers(
      touches: readonly { user: string; lastSeen: number; room: string | null }[],
    ): Promise<void> {
      if (touches.length === 0) return;
      const folded = foldTouches(touches);
      const values = [...folded.values()];
      await db.query(touchSql, [
        textArray([...folded.keys()]),
        numberArray(values.map(({ seen }) => seen)),
        textArray(values.map(({ room }) => room)),
        numberArray(values.map(({ roomSeen }) => roomSeen)),
      ]);
    },
    async lastRoom(user: string): Promise<string | null> {
      const [row] = await db.query<{ room: string | null }>(
        'SELECT last_room AS room FROM users WHERE id = $1',
        [user],
      );
      return row?.room ?? null;
    },
    async createSession(
      session: string,
      user: string,
      tokenHash: string,
      now: number,
      expiresAt: number,
    ): Promise<void> {
      await db.query(createSessionSql, [session, user, tokenHash, now, expiresAt]);
    },
    async rotateToken(
      tokenHash: string,
      nextHash: string,
      now: number,
      expiresAt: number,
    ): Promise<Rotation> {
      const [rotation] = await db.query<Rotation>(
        'SELECT outcome, user_id AS user, session FROM rotate_token($1, $2, from_ms($3), from_ms($4))',
        [tokenHash, nextHash, now, expiresAt],
      );
      return rotation === undefined || rotation.outcome === 'unknown' ? { outcome: 'unknown' } : rotation;
    },
    async endSession(tokenHash: string): Promise<string | null> {
      const [row] = await db.query<{ id: string }>(endSessionSql, [tokenHash]);
      return row?.id ?? null;
    },
  };
}

/** One touch a user, as if they had come one by one: the room is that of the latest touch that names one. */
function foldTouches(
  touches: readonly { user: string; lastSeen: number; room: string | null }[],
): ReadonlyMap<string, Touch> {
  const folded = new Map<string, Touch>();
  for (const { user, lastSeen, room } of touches) {
    const earlier = folded.get(user);
    const hasRoom = room !== null && lastSeen >= (earlier?.seen ?? 0);
    folded.set(user, {
      seen: Math.max(lastSeen, earlier?.seen ?? 0),
      room: hasRoom ? room : (earlier?.room ?? null),
      roomSeen: hasRoom ? lastSeen : (earlier?.roomSeen ?? 0),
    });
  }
  return folded;
}

function isUniqueViolation(error: unknown): boolean {
  return error instanceof StoreRefused && sqlStateOf(error.cause) === uniqueViolation;
}

/** Whether the profile has something that the record has not. */
function lacks(user: User, profile: UserChanges): boolean {
  return (
    (user.displayName === null && profile.displayName != null) ||
    (user.avatarUrl === null && profile.avatarUrl != null) ||
    (user.email === null && profile.email != null)
  );
}
