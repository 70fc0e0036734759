// The users with sockets on this process: their rates, which outlive a reconnect, and when they were last seen. Called by
// gateway.ts at open and close, by presence and notifications. Knows nothing of rooms but the one a user was in last.

import { Budget } from '../core/budget.ts';
import { type Clock, gathering } from '../core/clock.ts';
import { FewSet, type ReadonlyFewSet } from '../core/few.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';
import type { Socket, UserState } from './socket.ts';
import type { Store } from './store/store.ts';

/** Between two writes of `last_seen`. */
const touchMs = 1000;
/** Between two looks for users that can be forgotten. */
const forgetMs = 10_000;

export interface UserRates {
  readonly messageRate: number;
  readonly messageBurst: number;
  readonly groupMessageRate: number;
}

interface Touch {
  lastSeen: number;
  room: string | null;
}

export class Users {
  readonly #states = new Map<string, UserState>();
  /** Sockets opened so far. */
  openings = 0;
  #touches = new Map<string, Touch>();
  /** On their way to the store. */
  #writing: ReadonlyMap<string, Touch> = new Map();
  readonly #rates: UserRates;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #flushLater: () => void;

  constructor(parts: { rates: UserRates; store: Store; clock: Clock; logger: Logger; metrics: Metrics }) {
    this.#rates = parts.rates;
    this.#store = parts.store;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#metrics = parts.metrics;
    this.#flushLater = gathering(this.#clock, touchMs, () => void this.flush());
    this.#clock.every(forgetMs, () => this.#forget());
  }

  /** The state of a user, made where there is none. */
  of(id: string): UserState {
    let state = this.#states.get(id);
    if (state === undefined) {
      state = { id, sockets: new FewSet(), messageBudget: null, groupBudget: null };
      this.#states.set(id, state);
    }
    return state;
  }

  /** Takes a message from the user's rates; answers 0, or after how many ms he may send it. */
  takeMessage(id: string, isGroup: boolean): number {
    const state = this.of(id);
    const now = this.#clock.now();
    const { messageRate, messageBurst, groupMessageRate } = this.#rates;
    state.messageBudget ??= new Budget(messageRate, messageBurst, now);
    const waitMs = state.messageBudget.take(now);
    if (waitMs > 0 || !isGroup) return waitMs;
    state.groupBudget ??= new Budget(groupMessageRate, groupMessageRate * 2, now);
    return state.groupBudget.take(now);
  }

  /** The sockets of a user on this process. */
  sockets(id: string): ReadonlyFewSet<Socket> {
    return this.#states.get(id)?.sockets ?? noSockets;
  }

  /** Users with a socket here. */
  *online(): IterableIterator<string> {
    for (const { id, sockets } of this.#states.values()) if (sockets.size > 0) yield id;
  }

  opened(socket: Socket): void {
    const { user } = socket;
    // He may have been forgotten between the upgrade and the open.
    if (!this.#states.has(user.id)) this.#states.set(user.id, user);
    if (user.sockets.size === 0) this.#metrics.usersOnline++;
    user.sockets.add(socket);
    this.openings++;
    this.#touch(user.id);
  }

  closed(socket: Socket): void {
    if (!socket.user.sockets.delete(socket)) return;
    if (socket.user.sockets.size === 0) this.#metrics.usersOnline--;
    this.#touch(socket.user.id);
  }

  /** The user went into a room: the one that `join_room` without a room means. */
  entered(id: string, room: string): void {
    this.#touch(id).room = room;
  }

  async lastRoom(id: string): Promise<string | null> {
    const gathered = this.#touches.get(id)?.room ?? this.#writing.get(id)?.room;
    return gathered ?? (await this.#store.lastRoom(id));
  }

  #touch(id: string): Touch {
    const lastSeen = this.#clock.now();
    const touch = this.#touches.get(id);
    if (touch !== undefined) {
      touch.lastSeen = lastSeen;
      return touch;
    }
    const made = { lastSeen, room: null };
    this.#touches.set(id, made);
    this.#flushLater();
    return made;
  }

  /** Writes what is gathered; what cannot be written is tried again. */
  async flush(): Promise<void> {
    if (this.#touches.size === 0) return;
    const touches = this.#touches;
    this.#touches = new Map();
    this.#writing = touches;
    try {
      await this.#store.touchUsers([...touches].map(([user, touch]) => ({ user, ...touch })));
    } catch (error) {
      this.#logger.warn({ err: error, users: touches.size }, 'last seen could not be written; trying again');
      for (const [user, touch] of this.#touches)
        touches.set(user, { ...touch, room: touch.room ?? touches.get(user)?.room ?? null });
      this.#touches = touches;
      this.#flushLater();
    }
  }

  /** A full budget is as none, and whoever has no sockets and none as one never seen. */
  #forget(): void {
    const now = this.#clock.now();
    for (const state of this.#states.values()) {
      if (state.messageBudget?.isFull(now)) state.messageBudget = null;
      if (state.groupBudget?.isFull(now)) state.groupBudget = null;
      const isIdle = state.messageBudget === null && state.groupBudget === null;
      if (isIdle && state.sockets.size === 0) this.#states.delete(state.id);
    }
  }
}

const noSockets: ReadonlyFewSet<Socket> = new FewSet();
