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
import type { Users } from './users.ts';

/** A room's `message` notifications are at least this far apart. */
const messageMs = 1000;
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

type NotificationValue = [number, string, string | null, number | null, string | null, unknown];

/** What processes tell each other of a room with new messages; each counts what is unread for its own users. */
interface NewMessages {
  readonly head: number;
  readonly messages: number;
}

interface Counting {
  head: number;
  messages: number;
  readonly users: Set<string>;
}

export class Notifications {
  readonly #counting = new Map<string, Counting>();
  /** Rooms that were told within the last `messageMs`; true where there is something new since. */
  readonly #recent = new Map<string, boolean>();
  readonly #parts: NotificationParts;

  constructor(parts: NotificationParts) {
    this.#parts = parts;
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

  /** A message is in the room: members with a socket that is not subscribed hear of it, at most once a second. */
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

  /** To every member, wherever he is: the process with his sockets knows whether they are subscribed. */
  async #tellMembers(room: HubRoom): Promise<void> {
    const { log, roomMax } = this.#parts;
    try {
      const memberIds = await this.#parts.hub.memberIds(room);
      if (memberIds.length > roomMax) return;
      const [head] = await log.heads([room.id]);
      if (head === undefined) return;
      const frame = encodeNotification('message', room.id, null, null, {
        head: head.seq,
        messages: head.messages,
      });
      for (const user of memberIds) this.#publish(user, frame);
    } catch (error) {
      this.#failed(room.id, error);
    }
  }

  /** Notifications are told at best: what cannot be read is not told, and the room list shows it anyway. */
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
    if (kind === 'message' && room !== null) this.#countUnread(user, room, map as NewMessages);
    else for (const socket of sockets) socket.queue(frame);
  }

  /** Who is subscribed has the message itself; for the others all of a turn are counted at once. */
  #countUnread(user: string, room: string, { head, messages }: NewMessages): void {
    if (!this.#hasOtherSocket(user, room)) return;
    let counting = this.#counting.get(room);
    if (counting === undefined) {
      counting = { head, messages, users: new Set() };
      this.#counting.set(room, counting);
      this.#parts.clock.atTurnEnd(() => void this.#tellUnread(room));
    }
    counting.head = Math.max(counting.head, head);
    counting.messages = Math.max(counting.messages, messages);
    counting.users.add(user);
  }

  async #tellUnread(room: string): Promise<void> {
    const counting = this.#counting.get(room);
    this.#counting.delete(room);
    if (counting === undefined) return;
    const { head, messages, users } = counting;
    try {
      const readNumbers = await this.#parts.store.readNumbers(room, [...users]);
      for (const user of users) {
        // A mark that moved a moment ago may not be stored yet.
        const isRead = (this.#parts.receipts.known(room, user)?.read ?? 0) >= head;
        const unread = isRead ? 0 : Math.max(0, messages - (readNumbers.get(user) ?? 0));
        const frame = encodeNotification('message', room, null, null, { head, unread });
        for (const socket of this.#parts.users.sockets(user)) {
          if (!socket.subscriptions.has(room)) socket.queue(frame);
        }
      }
    } catch (error) {
      this.#failed(room, error);
    }
  }

  #hasOtherSocket(user: string, room: string): boolean {
    for (const socket of this.#parts.users.sockets(user)) if (!socket.subscriptions.has(room)) return true;
    return false;
  }
}
