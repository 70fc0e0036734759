// Who is in which room: counts the sockets of this process per user and room, keeps those who vanished for a grace time,
// tells the roster, gathered, and the room what changed for everybody. Called by the hub (who attaches and detaches),
// by gateway.ts and by handlers.

import { type Clock, gathering } from '../core/clock.ts';
import type { Place } from '../core/presence.ts';
import { encodePresence } from '../core/protocol/encode.ts';
import type { Status } from '../core/protocol/frames.ts';
import type { HubRoom } from './hub-room.ts';
import type { Log } from './log/log.ts';
import type { Roster, RosterChange, RosterDiff } from './log/roster.ts';
import type { Logger } from './logger.ts';
import type { Socket } from './socket.ts';
import type { Users } from './users.ts';

/** Changes of a room are gathered this long. */
const gatherMs = 250;
/** Frames that presence gives to sockets of this process in a second; what is over waits, as in a storm of connects. */
const framesPerSecondMax = 10_000;

/** A user in one room, as far as this process sees him. Never changed: those with one socket share theirs. */
interface Present {
  readonly sockets: number;
  /** Without sockets: until when he still counts. */
  readonly graceUntil: number;
  /** What the roster was told last. */
  readonly told: Place;
}

const withOneSocket: readonly Present[] = ([null, 'online', 'away'] as const).map((told) => {
  return { sockets: 1, graceUntil: 0, told };
});

function present(sockets: number, graceUntil: number, told: Place): Present {
  const shared = sockets === 1 && graceUntil === 0 ? withOneSocket.find((each) => each.told === told) : null;
  return shared ?? { sockets, graceUntil, told };
}

interface RoomPresence {
  readonly users: Map<string, Present>;
  readonly changed: Set<string>;
  /** The roster is being told; null where it is not. */
  telling: Promise<void> | null;
}

interface Leaving {
  readonly at: number;
  /** Null: the user's last socket of all is gone. */
  readonly room: string | null;
  readonly user: string;
}

export interface PresenceParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly roster: Roster;
  readonly users: Users;
  readonly logger: Logger;
  readonly graceMs: number;
  /** Above so many members changes carry no list. */
  readonly roomMax: number;
  /** The member ids of a room that is active here, as far as they are listed; null for any other. */
  memberIds(room: string): Promise<readonly string[]> | null;
}

export class Presence {
  readonly #rooms = new Map<string, RoomPresence>();
  readonly #changedRooms = new Set<string>();
  readonly #changedUsers = new Set<string>();
  /** In the order of their time. */
  #leaving: Leaving[] = [];
  /** Frames that may still be given to sockets; below 0 after a room that is larger than that. */
  #frames = 0;
  #tickedAt = 0;
  readonly #parts: PresenceParts;
  readonly #tickLater: () => void;

  constructor(parts: PresenceParts) {
    this.#parts = parts;
    parts.roster.listen({
      onPruned: (room, diff) => this.#publish(room, diff),
      onForgotten: () => this.#tellAll(),
    });
    this.#tickLater = gathering(parts.clock, gatherMs, () => this.#tick());
  }

  attached({ id }: HubRoom, { user }: Socket): void {
    let room = this.#rooms.get(id);
    if (room === undefined) {
      room = { users: new Map(), changed: new Set(), telling: null };
      this.#rooms.set(id, room);
    }
    const before = room.users.get(user.id);
    room.users.set(user.id, present((before?.sockets ?? 0) + 1, 0, before?.told ?? null));
    this.#mark(id, room, user.id);
  }

  /** `isGone`: the socket closed, so its user may be back in a moment; else he left on purpose. */
  detached({ id }: HubRoom, { user }: Socket, isGone: boolean): void {
    const room = this.#rooms.get(id);
    const before = room?.users.get(user.id);
    if (room === undefined || before === undefined) return;
    const sockets = before.sockets - 1;
    const graceUntil = sockets === 0 && isGone ? this.#parts.clock.now() + this.#parts.graceMs : 0;
    room.users.set(user.id, present(sockets, graceUntil, before.told));
    if (sockets > 0) return;
    if (isGone) this.#leave(graceUntil, id, user.id);
    else this.#mark(id, room, user.id);
  }

  /** A user's first socket opened, his last one closed, or one of them changed its status. */
  userChanged({ user }: Socket): void {
    if (user.sockets.size > 0) this.#changedUsers.add(user.id);
    else this.#leave(this.#parts.clock.now() + this.#parts.graceMs, null, user.id);
    this.#tickLater();
    for (const { subscriptions } of user.sockets) {
      for (const id of subscriptions.keys()) {
        const room = this.#rooms.get(id);
        if (room) this.#mark(id, room, user.id);
      }
    }
  }

  /** How many users are in a room, and at most `limit` of them; with everybody who has come here by now. */
  async list(id: string, limit: number): Promise<RosterDiff> {
    const room = this.#rooms.get(id);
    if (room !== undefined) {
      await room.telling;
      this.#changedRooms.delete(id);
      this.#tell(id, room, this.#parts.clock.now());
      await room.telling;
    }
    return this.#parts.roster.list(id, limit);
  }

  /** Statuses in the order asked for; with the roster away, as far as this process knows. */
  async statuses(users: readonly string[]): Promise<readonly Status[]> {
    const here = users.map((user): Status => this.#placeOf(user) ?? 'offline');
    // Who is online here is online everywhere.
    if (here.every((status) => status === 'online')) return here;
    try {
      const shared = await this.#parts.roster.statuses(users);
      return here.map((status, i) => (status === 'online' ? status : (shared[i] ?? status)));
    } catch (err) {
      this.#parts.logger.debug({ err }, 'statuses of other processes are not known now');
      return here;
    }
  }

  /** Online where one socket of this process is, away where all are, null without any. */
  #placeOf(user: string): Place {
    const sockets = this.#parts.users.sockets(user);
    if (sockets.size === 0) return null;
    for (const socket of sockets) if (!socket.isAway) return 'online';
    return 'away';
  }

  #mark(id: string, room: RoomPresence, user: string): void {
    room.changed.add(user);
    this.#changedRooms.add(id);
    this.#tickLater();
  }

  #leave(at: number, room: string | null, user: string): void {
    this.#leaving.push({ at, room, user });
    this.#tickLater();
  }

  #tick(): void {
    const now = this.#parts.clock.now();
    this.#endGraces(now);
    if (this.#changedUsers.size > 0) {
      const changes = [...this.#changedUsers].map((user) => ({ user, place: this.#placeOf(user) }));
      this.#changedUsers.clear();
      this.#parts.roster.updateUsers(changes);
    }
    this.#tellRooms(now);
    if (this.#changedRooms.size > 0 || this.#leaving.length > 0) this.#tickLater();
  }

  /** Those that wait longest first, as far as the frames go. */
  #tellRooms(now: number): void {
    const passedMs = Math.min(now - this.#tickedAt, gatherMs);
    this.#tickedAt = now;
    const framesMax = (gatherMs / 1000) * framesPerSecondMax;
    this.#frames = Math.min(this.#frames + (passedMs / 1000) * framesPerSecondMax, framesMax);
    for (const id of [...this.#changedRooms]) {
      if (this.#frames <= 0) return;
      const room = this.#rooms.get(id);
      if (room !== undefined && room.telling !== null) continue;
      this.#changedRooms.delete(id);
      if (room === undefined) continue;
      // However large it is, the others wait a second for it at most.
      this.#frames -= Math.min(room.users.size, framesPerSecondMax);
      this.#tell(id, room, now);
    }
  }

  #endGraces(now: number): void {
    let ended = 0;
    for (const { at, room: id, user } of this.#leaving) {
      if (at > now) break;
      ended++;
      const room = id === null ? undefined : this.#rooms.get(id);
      if (id === null) this.#changedUsers.add(user);
      else if (room?.users.has(user)) this.#mark(id, room, user);
    }
    if (ended > 0) this.#leaving = this.#leaving.slice(ended);
  }

  /** Tells the roster what changed here, and the room what that changed for everybody. */
  #tell(id: string, room: RoomPresence, now: number): void {
    const changes = this.#takeChanges(room, now);
    if (room.users.size === 0) this.#rooms.delete(id);
    if (changes.length === 0) return;
    const diff = this.#parts.roster.update(id, changes);
    if (!(diff instanceof Promise)) {
      this.#publish(id, diff);
      return;
    }
    room.telling = diff.then(
      (told) => {
        room.telling = null;
        this.#publish(id, told);
      },
      (err: unknown) => {
        room.telling = null;
        this.#parts.logger.debug({ err, room: id }, 'presence could not be told; trying again');
        this.#takeBack(id, room, changes);
      },
    );
  }

  #takeChanges(room: RoomPresence, now: number): RosterChange[] {
    const changes: RosterChange[] = [];
    for (const user of room.changed) {
      const before = room.users.get(user);
      if (before === undefined) continue;
      const { sockets, graceUntil, told } = before;
      const isHere = sockets > 0;
      if (!isHere && graceUntil > now) continue;
      const place = isHere ? (this.#placeOf(user) ?? 'online') : null;
      if (!isHere) room.users.delete(user);
      if (place === told) continue;
      if (isHere) room.users.set(user, present(sockets, graceUntil, place));
      changes.push({ user, place });
    }
    room.changed.clear();
    return changes;
  }

  /** The roster did not hear of it: everything is as if it was told nothing. */
  #takeBack(id: string, room: RoomPresence, changes: readonly RosterChange[]): void {
    const now = this.#rooms.get(id) ?? room;
    this.#rooms.set(id, now);
    for (const { user, place } of changes) {
      const before = now.users.get(user);
      if (before === undefined) now.users.set(user, present(0, 0, 'online'));
      else if (before.told === place) {
        const { sockets, graceUntil } = before;
        now.users.set(user, present(sockets, graceUntil, place === null ? 'online' : null));
      }
      this.#mark(id, now, user);
    }
  }

  #publish(id: string, diff: RosterDiff): void {
    if (diff.changed.length === 0) return;
    const { roomMax, logger } = this.#parts;
    const members = diff.count > roomMax ? null : this.#parts.memberIds(id);
    if (members === null) this.#send(id, diff, diff.count > roomMax);
    else {
      members.then(
        ({ length }) => this.#send(id, diff, length > roomMax),
        (err: unknown) => {
          logger.debug({ err, room: id }, 'members could not be counted');
          this.#send(id, diff, false);
        },
      );
    }
  }

  #send(id: string, { count, changed }: RosterDiff, isLarge: boolean): void {
    this.#parts.log.publishToRoom(id, encodePresence(id, isLarge ? [] : changed, count));
  }

  /** The roster has lost what this process said. */
  #tellAll(): void {
    for (const [id, room] of this.#rooms) {
      for (const [user, { sockets, graceUntil }] of room.users) {
        room.users.set(user, present(sockets, graceUntil, null));
        this.#mark(id, room, user);
      }
    }
    for (const user of this.#parts.users.online()) this.#changedUsers.add(user);
    this.#tickLater();
  }
}
