// What users do to rooms, whatever they came by: the socket handlers and the HTTP routes call the same verbs here. Each
// asks core/room.ts whether it is allowed, appends the event, and answers when it holds.

import type { Clock, Random } from '../core/clock.ts';
import { checkMessageId, checkMeta } from '../core/meta.ts';
import { type ErrorCode, isRefusal, type Refusal, refuse } from '../core/protocol/codes.ts';
import {
  encodeMap,
  encodeMessage,
  encodeMessageDeleted,
  encodeMessageEdited,
  encodeReaction,
  encodeRoomUpdated,
  encodeUserJoined,
  encodeUserLeft,
} from '../core/protocol/encode.ts';
import type { RoomChanges } from '../core/protocol/events.ts';
import type { Content, Level, Role } from '../core/protocol/frames.ts';
import { emojiBytesMax } from '../core/protocol/limits.ts';
import {
  applyChanges,
  checkContent,
  type Member,
  mayAdminister,
  mayJoin,
  mayRead,
  maySend,
  type Room,
} from '../core/room.ts';
import { makeUuid } from '../core/uuid.ts';
import type { History } from './history.ts';
import type { Hub } from './hub.ts';
import type { HubRoom } from './hub-room.ts';
import type { Append, Head, Log } from './log/log.ts';
import type { Notifications } from './notifications.ts';
import type { Receipts } from './receipts.ts';
import { Serial } from './serial.ts';
import type { EventPage, NewMember, NewRoom, Store, Target } from './store/store.ts';
import type { Typing } from './typing.ts';
import type { Users } from './users.ts';

/** An event that holds, or the earlier one that a repeated or empty change stands for. */
export interface Appended {
  readonly seq: number;
  readonly ts: number;
  readonly level: Level;
  readonly repeated: boolean;
}

export interface Access {
  readonly room: Room;
  readonly member: Member | null;
}

/** An active room, and how one user stands to it. */
interface Place {
  readonly room: HubRoom;
  readonly member: Member | null;
}

/** What a sender hands in. */
export interface NewMessage {
  readonly id: Uint8Array;
  readonly type: string;
  readonly content: Content;
  readonly meta: Readonly<Record<string, unknown>> | null;
}

export interface RoomsParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly hub: Hub;
  readonly log: Log;
  readonly store: Store;
  readonly history: History;
  readonly users: Users;
  readonly receipts: Receipts;
  readonly typing: Typing;
  readonly notifications: Notifications;
  /** The level of `ACK`. */
  readonly ackLevel: Level;
  readonly contentBytesMax: number;
}

const noRoom = refuse('NOT_FOUND', 'no such room');

export class Rooms {
  readonly #parts: RoomsParts;
  /** Changes of one message, or of one member's place, one after another. */
  readonly #serial = new Serial();

  constructor(parts: RoomsParts) {
    this.#parts = parts;
  }

  // Reading.

  /** The active room as this user may read it, with his membership known at that moment; else NOT_FOUND. */
  async open(user: string, id: string): Promise<HubRoom | Refusal> {
    const place = await this.#enter(user, id);
    return isRefusal(place) ? place : place.room;
  }

  async access(user: string, id: string): Promise<Access | Refusal> {
    const place = await this.#enter(user, id);
    return isRefusal(place) ? place : { room: place.room.record, member: place.member };
  }

  async history(
    user: string,
    id: string,
    before: number | null,
    after: number | null,
    limit: number,
    messagesOnly: boolean,
  ): Promise<EventPage | Refusal> {
    if (before !== null && after !== null) return refuse('BAD_REQUEST', 'before and after: only one of them');
    const room = await this.open(user, id);
    if (isRefusal(room)) return room;
    return this.#parts.history.page(room, { before, after, limit, messagesOnly });
  }

  /** A message as it is now; null where there is none. Who asks has read access already. */
  message(room: string, seq: number): Promise<Target | null> {
    return this.#parts.history.target(room, seq);
  }

  heads(rooms: readonly string[]): Promise<readonly Head[]> {
    return this.#parts.log.heads(rooms);
  }

  // Messages.

  /** Whether this user may send this message into the room just opened; takes from his budget where he may. */
  checkSend(room: HubRoom, user: string, message: NewMessage): Refusal | null {
    const member = room.member(user);
    // Forgotten since the room was opened, a moment ago: who sends again has it read again.
    if (member === undefined) return refuse('UNAVAILABLE');
    const refusal =
      maySend(room.record, member) ??
      checkContent(room.record, message.content, this.#parts.contentBytesMax) ??
      checkMeta(message.meta) ??
      checkMessageId(message.id, this.#parts.clock.now());
    return refusal ?? this.#takeBudget(room, user);
  }

  encodeMessage(room: HubRoom, user: string, { id, type, content, meta }: NewMessage): Uint8Array {
    return encodeMessage(room.id, user, id, type, content, meta === null ? null : encodeMap(meta));
  }

  /** What follows from a message that was appended: the sender has read it, mentioned and absent members are told. */
  messageAppended(room: HubRoom, user: string, seq: number, meta: NewMessage['meta']): void {
    const { receipts, typing, notifications } = this.#parts;
    receipts.move(room.id, user, seq, seq, false);
    typing.stop(room.id, user);
    notifications.messageSent(room);
    if (meta !== null && Array.isArray(meta.mentions))
      notifications.mentioned(room, seq, user, meta.mentions);
  }

  /** The whole of a send, for HTTP. */
  async send(user: string, id: string, message: NewMessage): Promise<Appended | Refusal> {
    const room = await this.open(user, id);
    if (isRefusal(room)) return room;
    const refusal = this.checkSend(room, user, message);
    if (refusal) return refusal;
    const bytes = this.encodeMessage(room, user, message);
    const appended = await this.#append(room, user, bytes, this.#parts.ackLevel, message.id);
    if (!isRefusal(appended) && !appended.repeated)
      this.messageAppended(room, user, appended.seq, message.meta);
    return appended;
  }

  edit(user: string, id: string, target: number, content: Content): Promise<Appended | Refusal> {
    return this.#changeMessage(user, id, target, async () => {
      const room = await this.#openToSend(user, id);
      if (isRefusal(room)) return room;
      const refusal = checkContent(room.record, content, this.#parts.contentBytesMax);
      if (refusal) return refusal;
      const message = await this.#parts.history.target(id, target);
      if (message === null || message.deleted !== null) return refuse('NOT_FOUND', 'no such message');
      if (message.from !== user) return refuse('FORBIDDEN', 'only the author may edit');
      if (isSameContent(message.content, content))
        return this.#unchanged(message.edited ?? { seq: target, ts: message.ts });
      return this.#sendChange(user, id, encodeMessageEdited(id, user, target, content));
    });
  }

  delete(user: string, id: string, target: number): Promise<Appended | Refusal> {
    return this.#changeMessage(user, id, target, async () => {
      const message: Target | null = await this.#parts.history.target(id, target);
      if (message === null) return refuse('NOT_FOUND', 'no such message');
      const place = await this.#enter(user, id);
      if (isRefusal(place)) return place;
      const { room, member } = place;
      if (message.from !== user && member?.role !== 'admin') {
        return refuse('FORBIDDEN', 'only the author or an admin may delete');
      }
      if (message.deleted !== null) return this.#unchanged(message.deleted);
      if (room.record.archived) return refuse('FORBIDDEN', 'the room is archived');
      return this.#append(room, user, encodeMessageDeleted(id, user, target), this.#parts.ackLevel);
    });
  }

  react(user: string, id: string, target: number, emoji: string, on: boolean): Promise<Appended | Refusal> {
    return this.#changeMessage(user, id, target, async () => {
      const room = await this.#openToSend(user, id);
      if (isRefusal(room)) return room;
      // The map's head and key take 7 bytes, the head of a long string 2.
      if (encodeMap({ emoji }).length - 9 > emojiBytesMax) {
        return refuse('BAD_REQUEST', `emoji: at most ${emojiBytesMax} bytes`);
      }
      const message = await this.#parts.history.target(id, target);
      if (message === null || message.deleted !== null) return refuse('NOT_FOUND', 'no such message');
      const reaction = await this.#parts.history.reaction(id, target, user, emoji);
      if ((reaction?.on ?? false) === on) return this.#unchanged(reaction ?? { seq: target, ts: message.ts });
      return this.#sendChange(user, id, encodeReaction(id, user, target, emoji, on));
    });
  }

  /** Changes of one message run one after another, so that each sees what the one before made of it. */
  async #changeMessage(
    user: string,
    id: string,
    target: number,
    change: () => Promise<Appended | Refusal>,
  ): Promise<Appended | Refusal> {
    const opened = await this.open(user, id);
    if (isRefusal(opened)) return opened;
    return this.#serial.run(`message ${id} ${target}`, change);
  }

  /** Appends an edit or a reaction: what was allowed before the message was read may no longer be. */
  async #sendChange(user: string, id: string, bytes: Uint8Array): Promise<Appended | Refusal> {
    const room = await this.#openToSend(user, id);
    if (isRefusal(room)) return room;
    return this.#takeBudget(room, user) ?? this.#append(room, user, bytes, this.#parts.ackLevel);
  }

  #unchanged({ seq, ts }: { readonly seq: number; readonly ts: number }): Appended {
    return { seq, ts, level: this.#parts.ackLevel, repeated: true };
  }

  // Members.

  /** Makes the user a member of a room that he may join, or does nothing where he is one. */
  async join(user: string, id: string): Promise<HubRoom | Refusal> {
    const opened = await this.open(user, id);
    if (isRefusal(opened)) return opened;
    return this.#serial.run(`member ${id} ${user}`, async () => {
      const place = await this.#enter(user, id);
      if (isRefusal(place)) return place;
      const { room, member } = place;
      const refusal = mayJoin(room.record, member);
      if (refusal || member !== null) return refusal ?? room;
      const limited = this.#takeBudget(room, user);
      if (limited) return limited;
      // Opened again: a room without sockets may have been dropped while the append waited.
      return (await this.#addMember(room, user, user, 'member')) ?? this.open(user, id);
    });
  }

  /** A mute outlasts leaving: who comes back with one is muted from the first moment. */
  async #addMember(room: HubRoom, actor: string, user: string, role: Role): Promise<Refusal | null> {
    const { store, notifications } = this.#parts;
    const muted = await store.isMuted(room.id, user);
    const event = encodeUserJoined(room.id, actor, user, role, muted);
    const joined = await this.#append(room, actor, event, 4);
    if (isRefusal(joined)) return joined;
    notifications.roomAdded(user, room.record);
    return null;
  }

  /** Adds a member, or changes one's role or mute; by an admin. Whoever may join may add himself. */
  async setMember(
    actor: string,
    id: string,
    user: string,
    { role, muted }: { readonly role?: Role; readonly muted?: boolean },
  ): Promise<Member | Refusal> {
    if (actor === user && role === undefined && muted === undefined) {
      const joined = await this.join(user, id);
      return isRefusal(joined) ? joined : this.#memberOf(user, id);
    }
    const opened = await this.#openToAdminister(actor, id);
    if (isRefusal(opened)) return opened;
    if ((await this.#parts.store.users([user])).length === 0) return refuse('NOT_FOUND', 'no such user');
    return this.#serial.run(`member ${id} ${user}`, async () => {
      // What was allowed before the reads may no longer be.
      const room = await this.#openToAdminister(actor, id);
      if (isRefusal(room)) return room;
      const place = await this.#find(user, id);
      if (place?.member === null) {
        if (room.record.archived) return refuse('FORBIDDEN', 'the room is archived');
        if (room.record.type === 'direct') return refuse('FORBIDDEN', 'a direct room has two members');
        const refused = await this.#addMember(room, actor, user, role ?? 'member');
        if (refused) return refused;
      }
      const now = await this.#memberOf(user, id);
      if (isRefusal(now)) return now;
      const changed = { user, role: role ?? now.role, muted: muted ?? now.muted };
      if (changed.role === now.role && changed.muted === now.muted) return now;
      const appended = await this.#append(room, actor, encodeRoomUpdated(id, actor, { member: changed }), 4);
      return isRefusal(appended) ? appended : this.#memberOf(user, id);
    });
  }

  /** Leaving, where actor and user are the same, else removal by an admin. */
  async removeMember(actor: string, id: string, user: string): Promise<Refusal | null> {
    const openRoom = () => (actor === user ? this.open(actor, id) : this.#openToAdminister(actor, id));
    const opened = await openRoom();
    if (isRefusal(opened)) return opened;
    return this.#serial.run(`member ${id} ${user}`, async () => {
      const room = await openRoom();
      if (isRefusal(room)) return room;
      const member = await this.#memberOf(user, id);
      if (isRefusal(member)) return member;
      const limited = actor === user ? this.#takeBudget(room, user) : null;
      if (limited) return limited;
      const appended = await this.#append(room, actor, encodeUserLeft(id, actor, user), 4);
      if (isRefusal(appended)) return appended;
      this.#parts.notifications.roomRemoved(user, id, actor === user ? 'left' : 'kicked');
      return null;
    });
  }

  // Rooms.

  /** Makes a room and tells its members; CONFLICT where the id is taken. */
  async create(room: NewRoom, members: readonly NewMember[]): Promise<Room | Refusal> {
    const { store, notifications } = this.#parts;
    if ((await store.createRoom(room, members)) === 'exists')
      return refuse('CONFLICT', 'a room with this id exists');
    const made = { ...room, archived: false, epoch: 1 };
    for (const { user } of members) notifications.roomAdded(user, made);
    return made;
  }

  /** Changes the record; by an admin. `deleted` ends the room. */
  async update(actor: string, id: string, changes: RoomChanges): Promise<Room | Refusal> {
    return this.#serial.run(`room ${id}`, async () => {
      const room = await this.#openToAdminister(actor, id);
      if (isRefusal(room)) return room;
      const before = room.record;
      const after = applyChanges(before, changes);
      if (!changes.deleted && JSON.stringify(after) === JSON.stringify(before)) return before;
      const members = changes.deleted ? await this.#parts.store.memberIds(id, deletedToldMax) : [];
      const appended = await this.#append(room, actor, encodeRoomUpdated(id, actor, { ...changes }), 4);
      if (isRefusal(appended)) return appended;
      for (const user of members) this.#parts.notifications.roomRemoved(user, id, 'deleted');
      return after;
    });
  }

  // Parts of the verbs.

  /**
   * The active room and how the user stands to it now; null where there is no such room. Whoever waited asks anew: the
   * room may have been dropped meanwhile, and a membership that is known here no longer is looked up again.
   */
  async #find(user: string, id: string): Promise<Place | null> {
    for (;;) {
      const room = await this.#parts.hub.open(id, user);
      if (room === null || room.isDeleted) return null;
      const member = room.member(user);
      // Many may have been read at once, and this one be forgotten again.
      if (member !== undefined) return { room, member };
    }
  }

  /** As `#find`, for those who may read the room. */
  async #enter(user: string, id: string): Promise<Place | Refusal> {
    const place = await this.#find(user, id);
    if (place === null) return noRoom;
    return mayRead(place.room.record, place.member) ?? place;
  }

  async #openToSend(user: string, id: string): Promise<HubRoom | Refusal> {
    const place = await this.#find(user, id);
    return place === null ? noRoom : (maySend(place.room.record, place.member) ?? place.room);
  }

  async #openToAdminister(user: string, id: string): Promise<HubRoom | Refusal> {
    const place = await this.#find(user, id);
    return place === null ? noRoom : (mayAdminister(place.room.record, place.member) ?? place.room);
  }

  async #memberOf(user: string, id: string): Promise<Member | Refusal> {
    const place = await this.#find(user, id);
    return place === null ? noRoom : (place.member ?? refuse('NOT_FOUND', 'not a member'));
  }

  /** Every durable event that a user makes costs one of his budget; in groups a second, smaller one as well. */
  #takeBudget(room: HubRoom, user: string): Refusal | null {
    const waitMs = this.#parts.users.takeMessage(user, room.record.type === 'group');
    return waitMs > 0 ? refuse('RATE_LIMITED', 'too many messages', waitMs) : null;
  }

  /** Appends an event and settles when its level holds and it is published here. */
  async #append(
    room: HubRoom,
    from: string,
    bytes: Uint8Array,
    level: Level,
    id = makeUuid(this.#parts.clock.now(), this.#parts.random.bytes(10)),
  ): Promise<Appended | Refusal> {
    const { log, hub, store } = this.#parts;
    // What is answered when the store has it is not begun while the store is away.
    if (level === 4 && this.#parts.ackLevel < 4) await store.check();
    const outcome = await new Promise<Appended | ErrorCode>((resolve) => {
      log.append(new PromisedAppend(room.id, from, bytes, level, id, resolve));
    });
    if (typeof outcome === 'string') return refuse(outcome);
    // Whoever asked acts on the event next: it has to have arrived.
    if (!outcome.repeated) await hub.reached(room, outcome.seq);
    return outcome;
  }
}

/** Members told of the end of a room. */
const deletedToldMax = 10_000;

class PromisedAppend implements Append {
  readonly room: string;
  readonly from: string;
  readonly bytes: Uint8Array;
  readonly level: Level;
  readonly id: Uint8Array;
  readonly #resolve: (outcome: Appended | ErrorCode) => void;

  constructor(
    room: string,
    from: string,
    bytes: Uint8Array,
    level: Level,
    id: Uint8Array,
    resolve: (outcome: Appended | ErrorCode) => void,
  ) {
    this.room = room;
    this.from = from;
    this.bytes = bytes;
    this.level = level;
    this.id = id;
    this.#resolve = resolve;
  }

  settle(seq: number, ts: number, level: Level, repeated: boolean): void {
    this.#resolve({ seq, ts, level, repeated });
  }

  fail(code: ErrorCode): void {
    this.#resolve(code);
  }
}

function isSameContent(before: Content | null, after: Content): boolean {
  if (before === null || typeof before === 'string' || typeof after === 'string') return before === after;
  return before.length === after.length && before.every((byte, i) => byte === after[i]);
}
