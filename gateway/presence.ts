// Who is in which room: counts sockets per user and room, keeps those who vanished for a grace time, and tells each room
// of changes, gathered. Called by the hub (who attaches and detaches) and by handlers.

import type { Clock } from '../core/clock.ts';
import { encodePresence } from '../core/protocol/encode.ts';
import type { Status } from '../core/protocol/frames.ts';
import type { HubRoom } from './hub-room.ts';
import type { Log } from './log/log.ts';
import type { Socket } from './socket.ts';
import type { Users } from './users.ts';

/** Changes of a room are gathered this long. */
const gatherMs = 250;

/** A user in one room. */
interface Place {
  sockets: number;
  /** Without sockets: until when he still counts. */
  graceUntil: number;
  /** What the room was told last; null: nothing yet. */
  told: Status | null;
}

interface RoomPresence {
  readonly users: Map<string, Place>;
  readonly changed: Set<string>;
}

interface Leaving {
  readonly at: number;
  readonly room: string;
  readonly user: string;
}

export interface PresenceParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly users: Users;
  readonly graceMs: number;
  /** Above so many users changes carry no list. */
  readonly roomMax: number;
}

export class Presence {
  readonly #rooms = new Map<string, RoomPresence>();
  readonly #changedRooms = new Set<string>();
  /** In the order of their time. */
  #leaving: Leaving[] = [];
  readonly #parts: PresenceParts;

  constructor(parts: PresenceParts) {
    this.#parts = parts;
    parts.clock.every(gatherMs, () => this.#tick());
  }

  attached({ id }: HubRoom, { user }: Socket): void {
    let room = this.#rooms.get(id);
    if (room === undefined) {
      room = { users: new Map(), changed: new Set() };
      this.#rooms.set(id, room);
    }
    const place = room.users.get(user.id);
    if (place === undefined) {
      room.users.set(user.id, { sockets: 1, graceUntil: 0, told: null });
      this.#mark(id, room, user.id);
    } else place.sockets++;
  }

  /** `isGone`: the socket closed, so its user may be back in a moment; else he left on purpose. */
  detached({ id }: HubRoom, { user }: Socket, isGone: boolean): void {
    const room = this.#rooms.get(id);
    const place = room?.users.get(user.id);
    if (room === undefined || place === undefined) return;
    place.sockets--;
    if (place.sockets > 0) return;
    place.graceUntil = isGone ? this.#parts.clock.now() + this.#parts.graceMs : 0;
    if (isGone) this.#leaving.push({ at: place.graceUntil, room: id, user: user.id });
    else this.#mark(id, room, user.id);
  }

  /** The user's status changed in every room he is in. */
  statusChanged(socket: Socket): void {
    for (const { subscriptions } of socket.user.sockets) {
      for (const id of subscriptions.keys()) {
        const room = this.#rooms.get(id);
        if (room) this.#mark(id, room, socket.user.id);
      }
    }
  }

  /** Online where one socket is, away where all are, else offline. */
  status(user: string): Status {
    const sockets = this.#parts.users.sockets(user);
    if (sockets.size === 0) return 'offline';
    for (const socket of sockets) if (!socket.isAway) return 'online';
    return 'away';
  }

  /** Users of a room that are not offline, those in their grace included. */
  online(id: string): { readonly count: number; readonly users: IterableIterator<string> } {
    const users = this.#rooms.get(id)?.users ?? new Map<string, Place>();
    return { count: users.size, users: users.keys() };
  }

  #mark(id: string, room: RoomPresence, user: string): void {
    room.changed.add(user);
    this.#changedRooms.add(id);
  }

  #tick(): void {
    const now = this.#parts.clock.now();
    let ended = 0;
    for (const { at, room: id, user } of this.#leaving) {
      if (at > now) break;
      ended++;
      const room = this.#rooms.get(id);
      if (room?.users.has(user)) this.#mark(id, room, user);
    }
    if (ended > 0) this.#leaving = this.#leaving.slice(ended);
    for (const id of this.#changedRooms) this.#tell(id, this.#rooms.get(id) as RoomPresence, now);
    this.#changedRooms.clear();
  }

  #tell(id: string, room: RoomPresence, now: number): void {
    const changes: [string, Status][] = [];
    for (const user of room.changed) {
      const place = room.users.get(user);
      if (place === undefined) continue;
      const isHere = place.sockets > 0;
      if (!isHere && place.graceUntil > now) continue;
      const status = isHere ? this.status(user) : 'offline';
      if (!isHere) room.users.delete(user);
      if (status === place.told) continue;
      place.told = status;
      changes.push([user, status]);
    }
    room.changed.clear();
    const count = room.users.size;
    if (count === 0) this.#rooms.delete(id);
    if (changes.length === 0) return;
    const list = count > this.#parts.roomMax ? [] : changes;
    this.#parts.log.publishToRoom(id, encodePresence(id, list, count));
  }
}
