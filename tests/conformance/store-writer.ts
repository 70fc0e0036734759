// What the suite of the stores is written with: rooms, users and numbered events, and all that a store answers about a
// room. Called by store.ts and store-history.ts.

import * as encode from '../../core/protocol/encode.ts';
import { decodeEvent } from '../../core/protocol/events.ts';
import type { Content, Role } from '../../core/protocol/frames.ts';
import { readSeq, stamp } from '../../core/protocol/stamp.ts';
import type { EventPage, NewRoom, Store, StoredEvent, User } from '../../gateway/store/store.ts';

export interface OpenedStore {
  readonly store: Store;
  close(): Promise<void>;
}

/** Names that no other test of this run uses. */
let names = 0;
export const fresh = (prefix: string) => `${prefix}-${++names}`;

export const startTs = 1_780_000_000_000;
export const noLimit = Number.MAX_SAFE_INTEGER;

let ids = 0;
export function freshId(): Uint8Array {
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(12, ++ids);
  return id;
}

/** Makes the events of one room as the log does: numbered by one, stamped, messages counted. */
export class Writer {
  readonly room: string;
  seq = 0;
  messages = 0;

  constructor(room: string) {
    this.room = room;
  }

  stamped(bytes: Uint8Array, isMessage = false): StoredEvent {
    this.seq++;
    if (isMessage) this.messages++;
    stamp(bytes, 0, this.seq, startTs + this.seq);
    return { bytes, number: this.messages };
  }

  message(
    content: Content,
    { from = 'ann', id = freshId(), type = 'text', meta = null as Record<string, unknown> | null } = {},
  ): StoredEvent {
    const map = meta === null ? null : encode.encodeMap(meta);
    return this.stamped(encode.encodeMessage(this.room, from, id, type, content, map), true);
  }

  edit(target: number, content: Content, from = 'ann'): StoredEvent {
    return this.stamped(encode.encodeMessageEdited(this.room, from, target, content));
  }

  remove(target: number, from: string | null = 'ann'): StoredEvent {
    return this.stamped(encode.encodeMessageDeleted(this.room, from, target));
  }

  react(target: number, emoji: string, on: boolean, from = 'ann'): StoredEvent {
    return this.stamped(encode.encodeReaction(this.room, from, target, emoji, on));
  }

  join(user: string, role: Role = 'member'): StoredEvent {
    return this.stamped(encode.encodeUserJoined(this.room, user, user, role));
  }

  leave(user: string): StoredEvent {
    return this.stamped(encode.encodeUserLeft(this.room, user, user));
  }

  update(changed: Record<string, unknown>): StoredEvent {
    return this.stamped(encode.encodeRoomUpdated(this.room, null, changed));
  }

  epoch(epoch: number): StoredEvent {
    return this.stamped(encode.encodeEpochStarted(this.room, epoch));
  }
}

export function newRoom(id: string, changes: Partial<NewRoom> = {}): NewRoom {
  return {
    id,
    name: 'a room',
    type: 'group',
    public: false,
    encrypted: false,
    avatarUrl: null,
    metadata: null,
    retentionDays: null,
    createdBy: 'ann',
    createdAt: startTs,
    ...changes,
  };
}

export function newUser(id: string, changes: Partial<User> = {}): Omit<User, 'lastSeen'> {
  const { lastSeen: _, ...user } = {
    id,
    username: id,
    email: null,
    displayName: null,
    avatarUrl: null,
    lastSeen: null,
    createdAt: startTs,
    ...changes,
  };
  return user;
}

export const hex = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString('hex'));
export const hexes = (page: EventPage) => page.events.map(hex);
export const seqs = (page: EventPage) => page.events.map((bytes) => readSeq(bytes));
export const decoded = (page: EventPage) => page.events.map((bytes) => decodeEvent(bytes));

/** All that a store answers about a room. */
export async function snapshot(store: Store, room: string, users: readonly string[]) {
  const page = await store.page(room, null, null, 1000, noLimit);
  const targets = await Promise.all(page.events.map((bytes) => store.target(room, readSeq(bytes))));
  return {
    page: hexes(page),
    heads: await store.heads([room]),
    room: await store.room(room),
    members: await store.memberships(room, users),
    targets,
    target: targets[0] ?? null,
    reactions: await Promise.all(
      page.events.flatMap((bytes) => users.map((user) => store.reaction(room, readSeq(bytes), user, '+'))),
    ),
  };
}
