// The store seam: what is kept for good. sqlite.ts (embedded default) and postgres.ts implement it; one conformance
// suite runs over both. Every call may reject with StoreUnavailable, after which the same call may be made again.

import type { Content, Role } from '../../core/protocol/frames.ts';
import type { Member, Room, RoomType } from '../../core/room.ts';

/** The database is away, or refused for a reason that may pass (disk full, time-out). */
export class StoreUnavailable extends Error {
  override name = 'StoreUnavailable';
}

/** The store cannot be opened at all: the message is the one line for the operator. */
export class StoreStartError extends Error {
  override name = 'StoreStartError';
}

/** The store refuses this row and will always refuse it: data that the database cannot hold. Nothing was stored. */
export class StoreRefused extends Error {
  override name = 'StoreRefused';
}

/** A profile; times in ms. */
export interface User {
  readonly id: string;
  /** Null for users that came with a product's own token. */
  readonly username: string | null;
  readonly email: string | null;
  readonly displayName: string | null;
  readonly avatarUrl: string | null;
  readonly lastSeen: number | null;
  readonly createdAt: number;
}

export interface UserChanges {
  readonly displayName?: string | null;
  readonly avatarUrl?: string | null;
  readonly email?: string | null;
}

/** One use of a refresh token. `reused` has revoked the whole family. */
export type Rotation =
  | { readonly outcome: 'rotated'; readonly user: string; readonly session: string }
  | { readonly outcome: 'reused'; readonly user: string; readonly session: string }
  | { readonly outcome: 'unknown' };

/** An event for the store: the encoded bytes with seq and ts stamped, and for messages the number among messages. */
export interface StoredEvent {
  readonly bytes: Uint8Array;
  /** How many messages the room had up to and including this event. */
  readonly number: number;
}

/** A message whose id the room already has at another seq. */
export interface Repeat {
  /** Index in the batch. */
  readonly index: number;
  readonly seq: number;
  readonly ts: number;
  readonly from: string;
}

/** The first place of a message id. */
export interface FoundId {
  readonly seq: number;
  readonly ts: number;
  readonly from: string;
}

/** A new epoch begins so far above what is stored: more events than a log can hold that the store has not. */
export const epochGap = 2 ** 26;
/** Rows that one `forgetSockets` removes at most. */
export const forgottenSocketsMax = 10_000;

/** Numbers after `base` are free for the room, in this epoch. */
export interface EpochReservation {
  readonly epoch: number;
  readonly base: number;
  readonly isContinued: boolean;
}

/** Where a room stands: the last event and the count of messages. Zero where nothing happened yet. */
export interface StoredHead {
  readonly epoch: number;
  readonly seq: number;
  readonly ts: number;
  readonly messages: number;
}

/** One socket of a user; times in ms. `gone`: it is closed. */
export interface SocketRow {
  readonly socket: string;
  readonly user: string;
  readonly server: string;
  readonly connectedAt: number;
  readonly heartbeatAt: number;
  readonly gone: boolean;
}

/** Encoded events, oldest first; messages carry their present content. `more`: the range goes on beyond the page. */
export interface EventPage {
  readonly events: readonly Uint8Array[];
  readonly more: boolean;
}

/** A message as the target of an edit, a delete or a reaction. */
export interface Target {
  readonly from: string;
  readonly ts: number;
  readonly content: Content | null;
  /** The event that last edited it, if any. */
  readonly edited: { readonly seq: number; readonly ts: number } | null;
  readonly deleted: { readonly seq: number; readonly ts: number } | null;
}

/** The last change of one user's reaction with one emoji. */
export interface ReactionState {
  readonly seq: number;
  readonly ts: number;
  readonly on: boolean;
}

/** A move of one member's marks. Greater values win, field by field. */
export interface MarkMove {
  readonly room: string;
  readonly user: string;
  readonly delivered: number;
  readonly read: number;
  readonly at: number;
}

export interface Receipt {
  readonly user: string;
  readonly deliveredAt: number | null;
  readonly readAt: number | null;
}

/** Who has a message: rows where the room is small, counts always. */
export interface Receipts {
  readonly receipts: readonly Receipt[];
  readonly delivered: number;
  readonly read: number;
  readonly members: number;
}

/** A line of a user's room list. */
export interface RoomSummary {
  readonly room: Room;
  /** The newest message's bytes, null where there is none. */
  readonly lastMessage: Uint8Array | null;
  readonly readSeq: number;
  /** The number of the last message that is read, or was there when the user joined; 0 where there is none. */
  readonly readNumber: number;
}

export interface MemberProfile extends Member {
  readonly user: User;
}

export interface NewMember {
  readonly user: string;
  readonly role: Role;
}

export interface NewRoom {
  readonly id: string;
  readonly name: string;
  readonly type: RoomType;
  readonly public: boolean;
  readonly encrypted: boolean;
  readonly avatarUrl: string | null;
  readonly metadata: Readonly<Record<string, unknown>> | null;
  readonly retentionDays: number | null;
  readonly createdBy: string;
  readonly createdAt: number;
}

export interface Store {
  // Users.

  /** Registers an account; names the field that is taken already (usernames are unique without case). */
  createAccount(
    user: Omit<User, 'lastSeen'>,
    passwordHash: string,
  ): Promise<'created' | 'username' | 'email'>;
  /** By username, without case. */
  account(username: string): Promise<{ readonly user: User; readonly passwordHash: string } | null>;
  /** Makes the user of a token that was not seen before; fills what the profile has and the record lacks. */
  ensureUser(id: string, profile: UserChanges, now: number): Promise<User>;
  updateUser(id: string, changes: UserChanges, now: number): Promise<User | 'email' | null>;
  /** Those that exist, in any order. */
  users(ids: readonly string[]): Promise<readonly User[]>;
  /** Times only move forward; `room` is the room the user was in last. */
  touchUsers(touches: readonly { user: string; lastSeen: number; room: string | null }[]): Promise<void>;
  lastRoom(user: string): Promise<string | null>;

  // Refresh tokens, by SHA-256. A session is a family of them.

  createSession(
    session: string,
    user: string,
    tokenHash: string,
    now: number,
    expiresAt: number,
  ): Promise<void>;
  /** Uses a token once: replaces it by the next one, or revokes the family where it was used before. */
  rotateToken(tokenHash: string, nextHash: string, now: number, expiresAt: number): Promise<Rotation>;
  /** Ends the session of a token; answers it, or null for an unknown token. */
  endSession(tokenHash: string): Promise<string | null>;

  // Rooms and members.

  /** The room and its first members in one transaction. */
  createRoom(room: NewRoom, members: readonly NewMember[]): Promise<'created' | 'exists'>;
  room(id: string): Promise<Room | null>;
  /** The direct room of exactly these two, if there is one. */
  directRoom(first: string, second: string): Promise<Room | null>;
  /** The membership of each user asked for; those who are no members are absent. */
  memberships(room: string, users: readonly string[]): Promise<ReadonlyMap<string, Member>>;
  /** Whether a member, or one who has left, is muted. */
  isMuted(room: string, user: string): Promise<boolean>;
  /** Members with their profiles, by user id, those after `after`. */
  members(room: string, after: string | null, limit: number): Promise<readonly MemberProfile[]>;
  /** At most `limit` user ids. */
  memberIds(room: string, limit: number): Promise<readonly string[]>;
  /** A user's rooms, by id, those after `after`; archived ones only where asked for. */
  roomsOf(
    user: string,
    archived: boolean,
    after: string | null,
    limit: number,
  ): Promise<readonly RoomSummary[]>;

  // Events.

  /**
   * Stores events and everything they change (content, reactions, members, the room's record) in one transaction; all or
   * nothing. Events that are there already, at their seq, change nothing: a batch may be repeated. A change applies only
   * over an older one, and deleted wins over edited. Where an id is already there at another seq nothing is stored, and
   * the answer names all such messages. Any order of rooms; within a room ascending by seq. Rejects with StoreRefused
   * where a row can never be stored, and with StoreUnavailable also where nobody knows whether the batch was stored.
   */
  commit(events: readonly StoredEvent[]): Promise<readonly Repeat[]>;
  /** One head for each room asked for, in that order. */
  heads(rooms: readonly string[]): Promise<readonly StoredHead[]>;
  /**
   * A page of a room's events: the newest below `before`, or the oldest above `after`, or the newest of all (both null).
   * At most `limit` events and about `bytesMax` bytes, but one event at least.
   */
  page(
    room: string,
    before: number | null,
    after: number | null,
    limit: number,
    bytesMax: number,
  ): Promise<EventPage>;
  /** As `page`, but messages only. */
  messages(room: string, before: number | null, after: number | null, limit: number): Promise<EventPage>;
  /** Null where the seq is no message. */
  target(room: string, seq: number): Promise<Target | null>;
  reaction(room: string, target: number, user: string, emoji: string): Promise<ReactionState | null>;

  /** Where each message id already is in its room, in the order asked for; null where it is new. */
  findIds(
    ids: readonly { readonly room: string; readonly id: Uint8Array }[],
  ): Promise<readonly (FoundId | null)[]>;
  /**
   * For a log that has no head of a room: what its next numbers may be, in one committed transaction in the room's row.
   * `incarnation` names the log since it last may have lost something, and is kept in the row. Where the row has the same
   * one, or none because the room never had an event, nothing can have been lost: epoch as it is, `base` the greatest seq
   * stored, `isContinued` true. Else a new epoch: epoch + 1 and base = greatest(greatest seq stored, last base) + 2^26,
   * both kept in the row. A reservation whose epoch has no event in the store yet may never have been used, and does not
   * count as the same: it is made anew, and no two new epochs are the same. Null where there is no such room.
   */
  reserveEpoch(room: string, incarnation: string): Promise<EpochReservation | null>;

  // Marks.

  saveMarks(moves: readonly MarkMove[]): Promise<void>;
  /** Delivered and read marks of these members; absent where there are none. */
  marks(room: string, users: readonly string[]): Promise<ReadonlyMap<string, readonly [number, number]>>;
  /** The number of the last message that each user has read, or that was there when he joined. */
  readNumbers(room: string, users: readonly string[]): Promise<ReadonlyMap<string, number>>;
  receipts(room: string, seq: number): Promise<Receipts>;

  // Sockets.

  /** One row a socket. Heartbeats only move forward, and what is gone stays gone. */
  saveSockets(rows: readonly SocketRow[]): Promise<void>;
  /** Removes the rows whose last heartbeat is before this time, at most `forgottenSocketsMax`; answers how many. */
  forgetSockets(before: number): Promise<number>;

  /** Rejects where the store cannot answer. */
  check(): Promise<void>;
  close(): Promise<void>;
}
