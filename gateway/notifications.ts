// What every socket of a user hears, subscribed to the room or not: op 99. The process where something happens publishes
// to the user; each process with sockets of his delivers. Called by rooms.ts after an event holds, and by the hub.

import type { Clock } from '../core/clock.ts';
import { decodeValue } from '../core/protocol/codec.ts';
import { encodeNotification, encodeRemoved, type RemovedReason } from '../core/protocol/encode.ts';
import { controlOps } from '../core/protocol/ops.ts';
import { readOp } from '../core/protocol/stamp.ts';
import type { Room } from '../core/room.ts';
import type { Hub } from './hub.ts';
import type { HubRoom } from './hub-room.ts';
import type { Log } from './log/log.ts';
import type { Logger } from './logger.ts';
import type { Receipts } from './receipts.ts';
import type { Store } from './store/store.ts';
import { messageMs, type NewMessages, Unread } from './unread.ts';
import type { Users } from './users.ts';

/** Users mentioned by one message that are told. */
const mentionsMax = 50;

export interface NotificationParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  readonly users: Users;
  readonly hub: Hub;
  readonly receipts: Receipts;
  readonly logger: Logger;
  /** Larger rooms get no `message` notifications. */
  readonly roomMax: number;
}

/** What was so when a room's members were last looked through, and all of them with sockets here heard the room. */
interface Looked {
  readonly memberIds: readonly string[];
  readonly openings: number;
  readonly departures: number;
}

type NotificationValue = [number, string, string | null, number | null, string | null, unknown];

export class Notifications {
  /** Rooms whose members this process told within the last `messageMs`; true where there is something new since. */
  readonly #recent = new Map<string, boolean>();
  /** Rooms whose users here are just being told; true where there is something new since. */
  readonly #telling = new Map<string, boolean>();
  readonly #looked = new WeakMap<HubRoom, Looked>();
  readonly #unread: Unread;
  readonly #parts: NotificationParts;

  constructor(parts: NotificationParts) {
    this.#parts = parts;
    this.#unread = new Unread(parts);
  }

  roomAdded(user: string, { id, name, type }: Room): void {
    this.#publish(user, encodeNotification('room_added', id, null, null, { name, type }));
  }

  roomRemoved(user: string, room: string, reason: RemovedReason): void {
    this.#publish(user, encodeRemoved(room, reason));
    this.#publish(user, encodeNotification('room_removed', room, null, null, { reason }));
  }

  /** `mentions` as `meta` has it: a list of users, checked before. Only members hear of it. */
  mentioned(room: HubRoom, seq: number, from: string, mentions: readonly string[]): void {
    const users = [...new Set(mentions)].filter((user) => user !== from).slice(0, mentionsMax);
    if (users.length === 0) return;
    this.#parts.store.memberships(room.id, users).then(
      (members) => {
        for (const user of members.keys())
          this.#publish(user, encodeNotification('mention', room.id, seq, from, {}));
      },
      (error: unknown) => this.#failed(room.id, error),
    );
  }

  /**
   * A message is in the room: its members are told at most once a second by this process. Those of other processes come
   * on top; who is told of all together once a second is counted where his sockets are.
   */
  messageSent(room: HubRoom): void {
    if (this.#recent.has(room.id)) {
      this.#recent.set(room.id, true);
      return;
    }
    this.#recent.set(room.id, false);
    void this.#tellMembers(room);
    this.#parts.clock.after(messageMs, () => {
      const isNew = this.#recent.get(room.id) === true;
      this.#recent.delete(room.id);
      if (isNew && !room.isDeleted) this.messageSent(room);
    });
  }

  /**
   * To every member, wherever he is: the process with his sockets knows whether they are subscribed. Where all processes
   * hear the room one word to them is enough, and each tells its own users.
   */
  async #tellMembers(room: HubRoom): Promise<void> {
    const { log, roomMax } = this.#parts;
    try {
      const memberIds = await this.#parts.hub.memberIds(room);
      if (memberIds.length > roomMax) return;
      const word = encodeNotification('message', room.id, null, null, {});
      if (await log.publishIfAllHear(room.id, word)) return;
      const [head] = await log.heads([room.id]);
      if (head === undefined) return;
      const frame = encodeNotification('message', room.id, null, null, {
        head: head.seq,
        messages: head.messages,
      });
      for (const user of memberIds) this.#publish(user, frame);
    } catch (error) {
      this.#failed(room.id, error);
      // The last head has to be told in the end.
      if (this.#recent.has(room.id)) this.#recent.set(room.id, true);
      else this.messageSent(room);
    }
  }

  /** Some process says that there are new messages in the room: users of this one who do not hear them are told. */
  heardOf(room: string): void {
    if (this.#allHear(this.#parts.hub.active(room))) return;
    if (this.#telling.has(room)) {
      this.#telling.set(room, true);
      return;
    }
    this.#telling.set(room, false);
    void this.#tellHere(room);
  }

  async #tellHere(room: string): Promise<void> {
    const { log, clock } = this.#parts;
    try {
      const memberIds = await this.#memberIds(room);
      const deaf = memberIds.filter((user) => this.#unread.isTold(user, room));
      if (deaf.length === 0) this.#noteLooked(room, memberIds);
      const [head] = deaf.length > 0 ? await log.heads([room]) : [];
      if (head !== undefined) {
        for (const user of deaf) this.#unread.heard(user, room, { head: head.seq, messages: head.messages });
      }
    } catch (error) {
      this.#failed(room, error);
      this.#telling.set(room, true);
      await new Promise<void>((resolve) => clock.after(messageMs, resolve));
    }
    const isNew = this.#telling.get(room) === true;
    this.#telling.delete(room);
    if (isNew) this.heardOf(room);
  }

  /** Whether it was found so, and since then no socket has opened, none has left the room, and the members are the same. */
  #allHear(room: HubRoom | undefined): boolean {
    const looked = room && this.#looked.get(room);
    if (looked === undefined) return false;
    const { memberIds, openings, departures } = looked;
    return (
      memberIds === room?.memberIds &&
      openings === this.#parts.users.openings &&
      departures === room.departures
    );
  }

  #noteLooked(id: string, memberIds: readonly string[]): void {
    const { hub, users } = this.#parts;
    const room = hub.active(id);
    if (room === undefined) return;
    this.#looked.set(room, { memberIds, openings: users.openings, departures: room.departures });
  }

  /** Of a room that is just coming up here, or going, the store knows them as well. */
  async #memberIds(id: string): Promise<readonly string[]> {
    const { hub, store, roomMax } = this.#parts;
    const room = hub.active(id);
    return room === undefined ? await store.memberIds(id, roomMax) : await hub.memberIds(room);
  }

  #failed(room: string, error: unknown): void {
    this.#parts.logger.warn({ room, err: error }, 'members could not be notified');
  }

  #publish(user: string, frame: Uint8Array): void {
    this.#parts.log.publishToUser(user, frame);
  }

  /** A frame for a user from any process: to all his sockets here. */
  deliver(user: string, frame: Uint8Array): void {
    const sockets = this.#parts.users.sockets(user);
    if (sockets.size === 0) return;
    if (readOp(frame) === controlOps.removed) {
      const [, room] = decodeValue(frame) as [number, string];
      for (const socket of [...sockets]) this.#parts.hub.removed(socket, room, frame);
      return;
    }
    const [, kind, room, , , map] = decodeValue(frame) as NotificationValue;
    if (kind === 'message' && room !== null) this.#unread.heard(user, room, map as NewMessages);
    else for (const socket of sockets) socket.queue(frame);
  }
}
