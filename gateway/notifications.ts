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

export class Notifications {
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
        for (const user of members.keys()) this.#publish(user, encodeNotification('mention', room.id, seq, from, {}));
      },
      (error: unknown) => this.#failed(room, error),
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

  async #tellMembers(room: HubRoom): Promise<void> {
    const { log, store, receipts, roomMax } = this.#parts;
    try {
      const memberIds = room.memberIds ?? (await this.#readMemberIds(room));
      if (memberIds.length > roomMax) return;
      const users = memberIds.filter((user) => this.#hasOtherSocket(user, room.id));
      if (users.length === 0) return;
      const [[head], readNumbers] = await Promise.all([log.heads([room.id]), store.readNumbers(room.id, users)]);
      if (head === undefined) return;
      for (const user of users) {
        // A mark that moved a moment ago may not be stored yet.
        const isRead = (receipts.known(room.id, user)?.read ?? 0) >= head.seq;
        const unread = isRead ? 0 : Math.max(0, head.messages - (readNumbers.get(user) ?? 0));
        this.#publish(user, encodeNotification('message', room.id, null, null, { head: head.seq, unread }));
      }
    } catch (error) {
      this.#failed(room, error);
    }
  }

  async #readMemberIds(room: HubRoom): Promise<readonly string[]> {
    const { head } = room;
    const memberIds = await this.#parts.store.memberIds(room.id, this.#parts.roomMax + 1);
    // Somebody may have come or gone while they were read.
    if (room.head === head) room.memberIds = memberIds;
    return memberIds;
  }

  #hasOtherSocket(user: string, room: string): boolean {
    for (const socket of this.#parts.users.sockets(user)) if (!socket.subscriptions.has(room)) return true;
    return false;
  }

  /** Notifications are told at best: what cannot be read is not told, and the room list shows it anyway. */
  #failed(room: HubRoom, error: unknown): void {
    this.#parts.logger.warn({ room: room.id, err: error }, 'members could not be notified');
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
    const room = roomOfMessage(frame);
    for (const socket of sockets) {
      // Who is subscribed has the message itself.
      if (room === null || !socket.subscriptions.has(room)) socket.queue(frame);
    }
  }
}

/** The room of a `message` notification, null for every other frame. */
function roomOfMessage(frame: Uint8Array): string | null {
  const [, kind, room] = decodeValue(frame) as [number, string, string | null];
  return kind === 'message' ? room : null;
}
