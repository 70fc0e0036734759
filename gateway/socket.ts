// What the gateway knows of one socket (a Socket), of one user with sockets here (a UserState), and how answers leave:
// everything for a socket within a turn as one WebSocket message. Holds state only; gateway.ts and handlers act on it.

import type { Budget } from '../core/budget.ts';
import type { Clock } from '../core/clock.ts';
import { FewMap, type FewSet } from '../core/few.ts';
import type { Placed } from '../core/packed-list.ts';
import {
  type CloseName,
  closes,
  type ErrorCode,
  errors,
  type Refusal,
  retryable,
} from '../core/protocol/codes.ts';
import { concatFrames, encodeError, encodeOk } from '../core/protocol/encode.ts';
import { refusalsMax, refusalWindowMs, tokenLeewaySeconds } from '../core/protocol/limits.ts';
import type { Subscription } from './attach.ts';
import type { EngineSocket } from './engine/engine.ts';
import type { Metrics } from './metrics.ts';

/** A user with at least one socket on this process, or who had one a moment ago. */
export interface UserState {
  readonly id: string;
  readonly sockets: FewSet<Socket>;
  /** Null: full, as nothing was sent for a while. */
  messageBudget: Budget | null;
  groupBudget: Budget | null;
}

/** Whose socket it is, as the token says. */
export interface Identity {
  readonly user: UserState;
  /** The login: claim `sid`; null where the token has none. */
  readonly session: string | null;
  readonly expiresAt: number;
  /** Of the upgrades of this process. */
  readonly number: number;
}

/** What all sockets of a process share. */
export interface SocketParts {
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly backlogBytesMax: number;
  /** Names this process in the ids of its upgrades. */
  readonly upgradePrefix: string;
}

/** Default for `retry_after_ms` where the refusal does not know better. */
const retryAfterMsDefault = 1000;
/** After a close frame the peer has this long to read what is left. */
const closeGraceMs = 5000;

/** An upgrade's id in the logs; a socket's session where its token has none. Made when it is needed. */
export function upgradeId({ upgradePrefix }: Pick<SocketParts, 'upgradePrefix'>, number: number): string {
  return upgradePrefix + number.toString(16).padStart(8, '0');
}

export class Socket implements Placed {
  readonly user: UserState;
  readonly number: number;
  readonly openedAt: number;
  /** Among the open sockets of the process. */
  place = -1;
  /** The token's `exp` in ms; it counts for `tokenLeewaySeconds` more. */
  expiresAt: number;
  readonly subscriptions = new FewMap<string, Subscription>();
  isAway = false;
  isExpiryTold = false;
  lastHeard: number;
  inFlight = 0;
  inFlightBytes = 0;
  readonly #parts: SocketParts;
  #session: string | null;
  #engine: EngineSocket<Socket> | null = null;
  /** Null where nothing waits. */
  #queue: Uint8Array[] | null = null;
  /** What is under way, by room, and for all rooms by null; itself null where nothing is. */
  #work: FewMap<string | null, Promise<unknown>> | null = null;
  /** Rooms whose end for this socket was told, or asked for by itself; null where there are none. */
  #removedFrom: Set<string> | null = null;
  /** Refused within the window that began with the first of them; null: none. */
  #refusals: { count: number; readonly since: number } | null = null;

  constructor(identity: Identity, parts: SocketParts) {
    this.user = identity.user;
    this.number = identity.number;
    this.expiresAt = identity.expiresAt;
    this.#session = identity.session;
    this.#parts = parts;
    this.openedAt = parts.clock.now();
    this.lastHeard = this.openedAt;
  }

  /** The login it belongs to. */
  get session(): string {
    return this.#session ?? upgradeId(this.#parts, this.number);
  }

  set session(session: string) {
    this.#session = session;
  }

  opened(engine: EngineSocket<Socket>): void {
    this.#engine = engine;
  }

  /** The engine's handle; null before the open and once the socket is closed or closing. */
  get engine(): EngineSocket<Socket> | null {
    return this.#engine;
  }

  isExpired(now: number): boolean {
    return now >= this.expiresAt + tokenLeewaySeconds * 1000;
  }

  /** A request has its answer. */
  finish(bytes: number): void {
    this.inFlight--;
    this.inFlightBytes -= bytes;
  }

  /** Queues a frame; it leaves at the end of this turn, or with the next `flush`. */
  queue(frame: Uint8Array): void {
    if (this.#engine === null) return;
    if (this.#queue !== null) {
      this.#queue.push(frame);
      return;
    }
    this.#queue = [frame];
    this.#parts.clock.atTurnEnd(() => this.flush());
  }

  /** Sends what is queued, now. */
  flush(): void {
    const queue = this.#queue;
    if (queue === null) return;
    this.#queue = null;
    this.#parts.metrics.framesOut += queue.length;
    this.send(concatFrames(queue));
  }

  /** Sends a payload at once, after what is queued. */
  send(payload: Uint8Array): void {
    this.flush();
    const engine = this.#engine;
    if (engine === null) return;
    const result = engine.send(payload);
    if (result !== 'sent' && engine.bufferedBytes() > this.#parts.backlogBytesMax) this.close('slow');
  }

  ok(rid: number, ...fields: readonly (number | boolean | string)[]): void {
    if (rid > 0) this.queue(encodeOk(rid, ...fields));
  }

  /** Answers an error; too many of them end the socket. */
  refuse(rid: number, refusal: Refusal): void {
    const { code } = refusal;
    this.#parts.metrics.refusals[code]++;
    const retryAfterMs = retryable.has(code) ? (refusal.retryAfterMs ?? retryAfterMsDefault) : null;
    this.queue(encodeError(rid, code, refusal.message ?? errors[code].sentence, retryAfterMs));
    if (isServersFault(code)) return;
    const now = this.#parts.clock.now();
    if (this.#refusals === null || now - this.#refusals.since > refusalWindowMs)
      this.#refusals = { count: 0, since: now };
    if (++this.#refusals.count > refusalsMax) this.close('refused');
  }

  /** Sends what is queued and a close frame; a peer that does not read is cut off after a while. */
  close(name: CloseName): void {
    const engine = this.#engine;
    if (engine === null) return;
    if (this.#queue !== null) engine.send(concatFrames(this.#queue));
    this.closed();
    if (name === 'slow') this.#parts.metrics.slowReaders++;
    engine.close(closes[name].code, name);
    this.#parts.clock.after(closeGraceMs, () => engine.terminate());
  }

  /** Nothing is sent from here on. */
  closed(): void {
    this.#engine = null;
    this.#queue = null;
  }

  /** What a later operation of this room has to wait for, but for what holds all; null: what holds all. */
  workOn(room: string | null): Promise<unknown> | undefined {
    return this.#work?.get(room);
  }

  /** Later operations of this room, or with null all of them, wait for `work`. */
  hold(room: string | null, work: Promise<unknown>): void {
    this.#work ??= new FewMap();
    this.#work.set(room, work);
    const release = () => this.#release(room, work);
    work.then(release, release);
  }

  #release(room: string | null, work: Promise<unknown>): void {
    if (this.#work?.get(room) !== work) return;
    this.#work.delete(room);
    if (this.#work.size === 0) this.#work = null;
  }

  /** The end of the room is told, or asked for by the socket itself: it is not told `removed` again. False: it was before. */
  noteRemoved(room: string): boolean {
    if (this.#removedFrom?.has(room)) return false;
    this.#removedFrom ??= new Set();
    this.#removedFrom.add(room);
    return true;
  }

  /** Answers whether it was noted. */
  forgetRemoved(room: string): boolean {
    const isNoted = this.#removedFrom?.delete(room) ?? false;
    if (this.#removedFrom?.size === 0) this.#removedFrom = null;
    return isNoted;
  }
}

function isServersFault(code: ErrorCode): boolean {
  return code === 'UNAVAILABLE' || code === 'INTERNAL' || code === 'SHUTTING_DOWN';
}
