// The rooms of this process: hears the log, gives every event to the room's sockets once and in order, fills holes, and
// keeps ring, record and members of active rooms. Called by the log (as its listener), the handlers and rooms.ts.
// It never appends and never decides who may do what.

import type { Clock } from '../core/clock.ts';
import { Lru } from '../core/lru.ts';
import { encodeRemoved, type RemovedReason } from '../core/protocol/encode.ts';
import { decodeEvent, type RoomEvent } from '../core/protocol/events.ts';
import { historyBytesMax, historyLimitMax } from '../core/protocol/limits.ts';
import { ephemeralOps, eventOps } from '../core/protocol/ops.ts';
import { readOp, readSeq } from '../core/protocol/stamp.ts';
import { Subscription } from './attach.ts';
import type { Engine } from './engine/engine.ts';
import { HubRoom } from './hub-room.ts';
import type { Head, Log, LogListener } from './log/log.ts';
import type { Logger } from './logger.ts';
import type { CacheCounts, Metrics } from './metrics.ts';
import { presentLogged, presentStored, readPresent, untilWhole } from './present.ts';
import type { PlacedEvent } from './ring.ts';
import type { Socket } from './socket.ts';
import { type Store, StoreUnavailable } from './store/store.ts';
import { ephemeralTopic, roomTopic } from './topics.ts';

/** A room without sockets stays warm this long. */
const idleMs = 30_000;
/** Rooms that are kept warm without sockets; the longest idle go first. */
const idleRoomsMax = 10_000;
/** A page read for one reader serves the others that come within this time. */
const pageKeptMs = 5000;
/** Pages that are kept so; each has at most `historyBytesMax`. */
const pagesMax = 64;
/** Pages start at multiples of this, so that readers with near cursors share them. */
const pageAlignment = 64;
/** Between two tries to fill a hole. */
const fillRetryMs = 500;

/** An event that was appended here and is not heard after this long is read instead. */
const reachMs = 100;
/** An event is waited for at most so long; then whoever waits is told UNAVAILABLE. */
const reachMsMax = 5000;

export interface HubLimits {
  /** Of rooms with at most so many members all ids may be asked for. */
  readonly memberIdsMax: number;
  /** Bytes of a room's ring. */
  readonly ringBytesMax: number;
  /** Unsent bytes above which a socket is taken off the topics. */
  readonly slowBytes: number;
}

/** Told of who comes to a room's sockets and who goes. */
export interface HubObserver {
  onAttached(room: HubRoom, socket: Socket): void;
  onDetached(room: HubRoom, socket: Socket, isGone: boolean): void;
  onUserFrames(user: string, payload: Uint8Array): void;
  /** There are new messages in the room, of which its members are to be told. */
  onNews(room: string): void;
  onControl(payload: Uint8Array): void;
}

export interface HubParts {
  readonly log: Log;
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly limits: HubLimits;
}

export class Hub implements LogListener {
  readonly clock: Clock;
  readonly limits: HubLimits;
  readonly #log: Log;
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #roomCache: CacheCounts;
  #engine: Engine | null = null;
  #observer: HubObserver | null = null;
  /** Called when enough was published that some socket may have become slow. */
  #onPressure: (() => void) | null = null;
  #publishedBytes = 0;
  readonly #rooms = new Map<string, HubRoom>();
  readonly #loading = new Map<string, Promise<HubRoom | null>>();
  /** The highest seq heard of a room that is still loading. */
  readonly #wanted = new Map<string, number>();
  readonly #idle = new Map<string, number>();
  readonly #pages = new Lru<string, Promise<readonly PlacedEvent[]>>(pagesMax);
  readonly #memberReads = new Map<HubRoom, MemberRead>();

  constructor(parts: HubParts) {
    this.#log = parts.log;
    this.#store = parts.store;
    this.clock = parts.clock;
    this.#logger = parts.logger;
    this.#metrics = parts.metrics;
    this.#roomCache = parts.metrics.cache('rooms');
    this.limits = parts.limits;
    this.#log.listen(this);
    this.clock.every(idleMs / 3, () => this.#dropIdle());
  }

  /** Connects the hub with what publishes and what listens; once, before the first socket. */
  connect(engine: Engine, observer: HubObserver, onPressure: () => void): void {
    this.#engine = engine;
    this.#observer = observer;
    this.#onPressure = onPressure;
  }

  get roomCount(): number {
    return this.#rooms.size;
  }

  /** The room where it and this user's membership are known here, without waiting; else null: `open` it. */
  warm(id: string, user: string): HubRoom | null {
    const room = this.#rooms.get(id);
    return room !== undefined && !room.isDeleted && room.member(user) !== undefined ? room : null;
  }

  /** The room with this user's membership read; null where there is no such room. Rejects with StoreUnavailable. */
  async open(id: string, user: string): Promise<HubRoom | null> {
    for (;;) {
      const room = await this.#load(id);
      if (room === null || room.member(user) !== undefined) return room;
      await this.#readMember(room, user);
      // It may have been dropped meanwhile, because it was deleted or idle.
      if (this.#rooms.get(id) === room) return room;
    }
  }

  /** The room as far as it is active here. */
  active(id: string): HubRoom | undefined {
    return this.#rooms.get(id);
  }

  #load(id: string): HubRoom | Promise<HubRoom | null> {
    const room = this.#rooms.get(id);
    if (room !== undefined) {
      this.#roomCache.hits++;
      if (this.#idle.has(id)) this.#markIdle(id);
      return room;
    }
    let loading = this.#loading.get(id);
    if (loading === undefined) {
      this.#roomCache.misses++;
      loading = this.#loadRoom(id).finally(() => this.#loading.delete(id));
      this.#loading.set(id, loading);
    }
    return loading;
  }

  /** Subscribed first, then the head, then the record: nothing that comes after the head can be missed. */
  async #loadRoom(id: string): Promise<HubRoom | null> {
    await this.#log.subscribeRoom(id);
    try {
      const head = await this.#log.open(id);
      const record = head === null ? null : await this.#store.room(id);
      if (record === null || head === null) {
        this.#wanted.delete(id);
        this.#log.unsubscribeRoom(id);
        return null;
      }
      const room = new HubRoom(record, this.#metrics.cache('members'));
      room.epoch = head.epoch;
      room.head = head.seq;
      if (head.committed < head.seq) await this.#applyUncommitted(room, head.committed);
      if (room.isDeleted) {
        this.#wanted.delete(id);
        this.#log.unsubscribeRoom(id);
        return null;
      }
      this.#rooms.set(id, room);
      this.#markIdle(id);
      // What was heard while loading and is not below the head is read like a hole.
      this.#fillTo(room, this.#wanted.get(id) ?? 0);
      this.#wanted.delete(id);
      return room;
    } catch (error) {
      this.#wanted.delete(id);
      this.#log.unsubscribeRoom(id);
      throw error;
    }
  }

  /** The store's record and members are older than these events. */
  async #applyUncommitted(room: HubRoom, committed: number): Promise<void> {
    for (let last = committed; ; ) {
      const events = await this.#log.readMembership(room.id, last);
      for (const bytes of events) {
        last = readSeq(bytes);
        if (last <= room.head) room.apply(decodeEvent(bytes));
      }
      if (events.length === 0 || last > room.head) return;
    }
  }

  /** All that are asked for within a turn are read at once. */
  #readMember(room: HubRoom, user: string): Promise<void> {
    const waiting = this.#memberReads.get(room);
    if (waiting !== undefined) {
      waiting.users.add(user);
      return waiting.done;
    }
    const users = new Set([user]);
    const done = new Promise<void>((resolve, reject) => {
      this.clock.atTurnEnd(() => {
        this.#memberReads.delete(room);
        this.#store.memberships(room.id, [...users]).then((members) => {
          for (const each of users) room.learnMember(each, members.get(each) ?? null);
          resolve();
        }, reject);
      });
    });
    this.#memberReads.set(room, { users, done });
    return done;
  }

  /** All member ids where there are at most `memberIdsMax`, else some more than that; kept until somebody comes or goes. */
  async memberIds(room: HubRoom): Promise<readonly string[]> {
    if (room.memberIds !== null) return room.memberIds;
    const { head } = room;
    const stored = await this.#store.memberIds(room.id, this.limits.memberIdsMax + 1);
    const memberIds = room.withKnownMembers(stored);
    // Somebody may have come or gone while they were read.
    if (room.head === head) room.memberIds = memberIds;
    return memberIds;
  }

  /**
   * Settles once the event is published here: what was appended may still be on its way. Rejects with StoreUnavailable
   * where it does not come in time.
   */
  async reached(room: HubRoom, seq: number): Promise<void> {
    if (room.head >= seq || this.#rooms.get(room.id) !== room) return;
    this.clock.after(reachMs, () => this.#fillTo(room, seq));
    await this.#waitFor(room, seq);
  }

  async #waitFor(room: HubRoom, seq: number): Promise<void> {
    if (await room.waitFor(seq, this.clock, reachMsMax)) return;
    throw new StoreUnavailable('an event of the log could not be read in time');
  }

  /**
   * A client says that it has seen more of the room than was published here, as it may have on another process: settles
   * once all that the log has by now is published here too. Rejects with StoreUnavailable, also where that takes too long.
   */
  async catchUp(room: HubRoom): Promise<void> {
    const [head] = await this.#log.heads([room.id]);
    if (head === undefined || head.seq <= room.head || this.#rooms.get(room.id) !== room) return;
    const reached = this.#waitFor(room, head.seq);
    this.#fillTo(room, head.seq);
    await reached;
  }

  // Events from the log.

  onEvents(id: string, bytes: Uint8Array, ends: readonly number[]): void {
    const last = readSeq(bytes, ends.length > 1 ? (ends[ends.length - 2] as number) : 0);
    const room = this.#rooms.get(id);
    if (room === undefined) {
      if (this.#loading.has(id)) this.#wanted.set(id, Math.max(this.#wanted.get(id) ?? 0, last));
      return;
    }
    const first = readSeq(bytes);
    // Before an epoch's start there may be a hole as well: what is read tells.
    if (room.isFilling || first > room.head + 1) {
      this.#fillTo(room, last);
      return;
    }
    if (last <= room.head) return;
    // A double of what is known already may stand in front.
    let skip = 0;
    while (skip < ends.length && readSeq(bytes, skip === 0 ? 0 : (ends[skip - 1] as number)) <= room.head)
      skip++;
    if (skip === 0) this.#accept(room, bytes, ends);
    else {
      const start = ends[skip - 1] as number;
      this.#accept(
        room,
        bytes.subarray(start),
        ends.slice(skip).map((end) => end - start),
      );
    }
  }

  /** Publishes events that follow on the head. Whoever is removed by one of them does not get the next. */
  #accept(room: HubRoom, bytes: Uint8Array, ends: readonly number[]): void {
    let from = 0;
    let start = 0;
    for (let i = 0; i < ends.length; i++) {
      const end = ends[i] as number;
      const op = readOp(bytes, start);
      if (op >= eventOps.user_joined) {
        this.#publish(room, bytes, ends, from, i + 1);
        from = i + 1;
        this.#applyMembership(room, decodeEvent(bytes.subarray(start, end)));
      }
      start = end;
    }
    this.#publish(room, bytes, ends, from, ends.length);
    room.settleWaiters();
  }

  /** Events `from` up to `to` (exclusive) of a batch: to the topic as one payload, and into the ring. */
  #publish(room: HubRoom, bytes: Uint8Array, ends: readonly number[], from: number, to: number): void {
    if (from === to) return;
    const start = from === 0 ? 0 : (ends[from - 1] as number);
    const end = ends[to - 1] as number;
    const whole = start === 0 && end === bytes.length;
    const payload = whole ? bytes : bytes.subarray(start, end);
    const first = readSeq(bytes, start);
    // A jump (epoch_started) has nothing to do with what the ring held.
    if (first !== room.head + 1) room.ring.clear();
    room.head = first + (to - from) - 1;
    if (room.subscriptions.size > 0) {
      this.#engine?.publish(roomTopic(room.id), payload);
      this.#press(payload.length);
    }
    room.ring.add(
      first,
      payload,
      whole ? ends : ends.slice(from, to).map((at) => at - start),
      this.limits.ringBytesMax,
    );
    for (let i = from, at = start; i < to; i++) {
      const op = readOp(bytes, at);
      const next = ends[i] as number;
      if (op === eventOps.message_edited || op === eventOps.message_deleted) {
        room.apply(decodeEvent(bytes.subarray(at, next)));
      }
      at = next;
    }
  }

  #applyMembership(room: HubRoom, event: RoomEvent): void {
    room.apply(event);
    if (event.op === eventOps.user_left) {
      this.#removeUser(room, event.user, event.from === event.user ? 'left' : 'kicked');
    } else if (event.op === eventOps.room_updated) {
      if (event.changed.deleted) this.#removeAll(room, 'deleted', () => true);
      else if (event.changed.public === false) {
        this.#removeAll(room, 'kicked', ({ user }) => room.member(user.id) === null);
        void this.#removeUnknown(room);
      }
      if (room.isDeleted) this.#drop(room);
    }
  }

  /** A room was made private: who is subscribed and not known to be a member is looked up. */
  async #removeUnknown(room: HubRoom): Promise<void> {
    const isUnknown = ({ user }: Socket) => room.member(user.id) === undefined;
    try {
      const users = [...room.subscriptions]
        .map(({ socket }) => socket)
        .filter(isUnknown)
        .map(({ user }) => user.id);
      await Promise.all(users.map((user) => this.#readMember(room, user)));
      this.#removeAll(room, 'kicked', ({ user }) => room.member(user.id) === null);
    } catch (error) {
      this.onReadFailed(room, error);
      this.#removeAll(room, 'kicked', isUnknown);
    }
  }

  #removeUser(room: HubRoom, user: string, reason: RemovedReason): void {
    this.#removeAll(room, reason, (socket) => socket.user.id === user);
  }

  #removeAll(room: HubRoom, reason: RemovedReason, isMeant: (socket: Socket) => boolean): void {
    for (const { socket } of [...room.subscriptions]) {
      if (!isMeant(socket)) continue;
      this.detach(socket, room.id, false);
      this.#tellRemoved(socket, room.id, reason);
    }
  }

  #tellRemoved(socket: Socket, room: string, reason: RemovedReason): void {
    if (socket.noteRemoved(room)) socket.queue(encodeRemoved(room, reason));
  }

  /** A user was removed, told to all his sockets here: those the event has not reached, or that were not subscribed. */
  removed(socket: Socket, room: string, frame: Uint8Array): void {
    // The event itself was here already: who is subscribed has come back since.
    const isBack = socket.subscriptions.has(room) && this.#rooms.get(room)?.member(socket.user.id) === null;
    if (isBack) return;
    this.detach(socket, room, false);
    if (!socket.forgetRemoved(room)) socket.queue(frame);
  }

  onRoomFrames(id: string, payload: Uint8Array): void {
    if (readOp(payload) === ephemeralOps.notification) {
      this.#observer?.onNews(id);
      return;
    }
    const room = this.#rooms.get(id);
    if (room === undefined || room.subscriptions.size === 0) return;
    this.#engine?.publish(ephemeralTopic(id), payload);
    this.#press(payload.length);
  }

  onUserFrames(user: string, payload: Uint8Array): void {
    this.#observer?.onUserFrames(user, payload);
  }

  onControl(payload: Uint8Array): void {
    this.#observer?.onControl(payload);
  }

  onHead(id: string, { seq }: Head): void {
    const room = this.#rooms.get(id);
    if (room !== undefined) this.#fillTo(room, seq);
  }

  #press(bytes: number): void {
    this.#publishedBytes += bytes;
    // A socket cannot have got slow by fewer bytes than this.
    if (this.#publishedBytes < this.limits.slowBytes / 2) return;
    this.#publishedBytes = 0;
    if (this.#onPressure) this.clock.atTurnEnd(this.#onPressure);
  }

  // Holes.

  #fillTo(room: HubRoom, seq: number): void {
    room.wanted = Math.max(room.wanted, seq);
    if (seq <= room.head || room.isFilling) return;
    room.isFilling = true;
    this.#metrics.holesFilled++;
    void this.#fill(room);
  }

  /** Reads on from the head until everything that was heard of is published. */
  async #fill(room: HubRoom): Promise<void> {
    while (this.#rooms.get(room.id) === room && room.head < room.wanted) {
      try {
        const { head } = room;
        this.#acceptNext(room, await this.#readFrom(room.id, head));
        if (room.head === head) await this.#passEmpty(room, head);
      } catch (error) {
        this.onReadFailed(room, error);
        await new Promise<void>((resolve) => this.clock.after(fillRetryMs, resolve));
      }
    }
    room.isFilling = false;
  }

  /** Publishes what follows on the head, up to the first hole. */
  #acceptNext(room: HubRoom, events: readonly PlacedEvent[]): void {
    for (const { seq, bytes } of events) {
      if (seq <= room.head) continue;
      if (seq !== room.head + 1 && readOp(bytes) !== eventOps.epoch_started) return;
      this.#accept(room, bytes, [bytes.length]);
    }
  }

  /**
   * What was committed is in what is read afterwards, or stored nowhere: refused by the store, or removed from it. Its
   * place stays empty, and what comes after it must not wait for it.
   */
  async #passEmpty(room: HubRoom, head: number): Promise<void> {
    const [known] = await this.#log.heads([room.id]);
    const events = await this.#readFrom(room.id, head);
    this.#acceptNext(room, events);
    if (room.head !== head) return;
    const next = events.find(({ seq }) => seq > head);
    // Where a new epoch is all that is left, it has to be read: it is no end of this one.
    const end = next?.seq ?? (known?.epoch === room.epoch ? Number.POSITIVE_INFINITY : head);
    const last = Math.min(known?.committed ?? head, end - 1);
    if (last <= head) throw new Error('the events after the head are not there');
    this.#logger.warn({ room: room.id, first: head + 1, last }, 'events are stored nowhere; passed over');
    room.head = last;
    room.ring.clear();
    room.settleWaiters();
  }

  /**
   * What the store has after `seq`; where that is nothing, the epoch that begins in the log. The log is asked first: an
   * epoch begins when the store has all that is left of the one before.
   */
  async #readStored(id: string, seq: number): Promise<readonly Uint8Array[]> {
    return untilWhole(async () => {
      const oldest = await this.#log.readOldest(id).catch(() => []);
      const changes = await this.#log.changes(id).catch(() => null);
      const { events } = await this.#store.page(id, null, seq, historyLimitMax, historyBytesMax);
      const [first] = oldest;
      if (events.length > 0 || first === undefined || readSeq(first) <= seq)
        return presentStored(changes, events);
      return readOp(first) === eventOps.epoch_started ? presentLogged(changes, oldest) : [];
    });
  }

  onReadFailed(room: HubRoom, error: unknown): void {
    this.#logger.warn({ room: room.id, err: error }, 'events could not be read; trying again');
  }

  async #readFrom(id: string, seq: number): Promise<readonly PlacedEvent[]> {
    const events = (await this.#readRecent(id, seq)) ?? (await this.#readStored(id, seq));
    return events.map((bytes) => ({ seq: readSeq(bytes), bytes }));
  }

  /** What the log has after `seq`, with present content; null where it does not reach back. */
  #readRecent(id: string, seq: number): Promise<readonly Uint8Array[] | null> {
    return readPresent(this.#log, id, () => this.#log.readAfter(id, seq, historyLimitMax, historyBytesMax));
  }

  /** Events after `seq`, for readers that catch up: one read serves all that come within a few seconds. */
  async readAfter(room: HubRoom, seq: number): Promise<readonly PlacedEvent[]> {
    const events = await this.#readPage(room, seq - (seq % pageAlignment));
    if ((events[events.length - 1]?.seq ?? 0) > seq) return events;
    // It was cut by its bytes, or read when it was the end: those who are at this place share the next.
    return this.#readPage(room, seq);
  }

  /** One read for all who ask for the same page. */
  #readPage(room: HubRoom, start: number): Promise<readonly PlacedEvent[]> {
    const key = `${start} ${room.changes} ${room.id}`;
    const kept = this.#pages.get(key);
    if (kept !== undefined) return kept;
    const page = this.#readFrom(room.id, start);
    this.#pages.set(key, page);
    const forget = () => {
      if (this.#pages.get(key) === page) this.#pages.delete(key);
    };
    page.then((events) => (events.length === 0 ? forget() : this.clock.after(pageKeptMs, forget)), forget);
    return page;
  }

  // Sockets.

  /** Puts a socket into a room with a cursor; `pump` it afterwards. Replaces an earlier subscription. */
  attach(socket: Socket, room: HubRoom, cursor: number): Subscription {
    const before = socket.subscriptions.get(room.id);
    before?.end();
    before?.room.subscriptions.delete(before);
    const isNew = before?.room !== room;
    socket.forgetRemoved(room.id);
    const subscription = new Subscription(this, socket, room, cursor);
    socket.subscriptions.set(room.id, subscription);
    room.subscriptions.add(subscription);
    this.#idle.delete(room.id);
    if (isNew) this.#observer?.onAttached(room, socket);
    return subscription;
  }

  /** Answers whether the socket was subscribed. `isGone`: because it closed. */
  detach(socket: Socket, id: string, isGone: boolean): boolean {
    const subscription = socket.subscriptions.get(id);
    if (subscription === undefined) return false;
    subscription.end();
    socket.subscriptions.delete(id);
    const { room } = subscription;
    room.subscriptions.delete(subscription);
    room.departures++;
    if (room.subscriptions.size === 0 && this.#rooms.get(id) === room) this.#markIdle(id);
    this.#observer?.onDetached(room, socket, isGone);
    return true;
  }

  /** To the end: the map is in the order in which rooms got idle. */
  #markIdle(id: string): void {
    this.#idle.delete(id);
    this.#idle.set(id, this.clock.now());
  }

  #dropIdle(): void {
    const before = this.clock.now() - idleMs;
    let over = this.#idle.size - idleRoomsMax;
    for (const [id, since] of this.#idle) {
      if (since > before && over <= 0) break;
      over--;
      const room = this.#rooms.get(id);
      if (room) this.#drop(room);
    }
  }

  #drop(room: HubRoom): void {
    this.#rooms.delete(room.id);
    this.#idle.delete(room.id);
    this.#log.unsubscribeRoom(room.id);
    room.settleWaiters(true);
  }
}

interface MemberRead {
  readonly users: Set<string>;
  readonly done: Promise<void>;
}
