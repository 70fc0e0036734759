// The log seam: gives every event its place. memory.ts (one process, over any store) and redis.ts (any number of
// processes) implement it; one conformance suite runs over both.
//
// Promised: each appended event is settled exactly once; settled with a seq, it is kept as its level says, stands once
// in its room's order, and reaches the listener of every process subscribed to the room. The listener may hear events
// late, twice or, with a lossy transport, not at all: the hub orders by seq, drops doubles and asks `readAfter` for holes.

import type { ErrorCode } from '../../core/protocol/codes.ts';
import type { Level } from '../../core/protocol/frames.ts';

/** An event on its way into the log; the log calls `settle` once. */
export interface Append {
  readonly room: string;
  /** The encoded event with seq and ts still zero; the log stamps it in place or in a copy. */
  readonly bytes: Uint8Array;
  /** 16 bytes: the message's own id, or one made for this append, so that it can be repeated. */
  readonly id: Uint8Array;
  readonly from: string;
  /** Settle when this level holds, or a higher one. */
  readonly level: Level;
  /** Appended: at which level. `repeated`: the id was there before; seq and ts are the first one's. */
  settle(seq: number, ts: number, level: Level, repeated: boolean): void;
  /** Not appended: CONFLICT (the id is another user's), UNAVAILABLE, INTERNAL. */
  fail(code: ErrorCode): void;
}

export interface Head {
  readonly epoch: number;
  /** The last event's seq, 0 where there was none. */
  readonly seq: number;
  /** Messages of the room so far. */
  readonly messages: number;
  /** The last event that the store has. */
  readonly committed: number;
}

export interface LogListener {
  /** Events of one room, ascending and dense; `ends[i]` is where event i ends in `bytes`. The bytes are never changed. */
  onEvents(room: string, bytes: Uint8Array, ends: readonly number[]): void;
  /** Ephemeral frames of a room, from any process, this one included. */
  onRoomFrames(room: string, payload: Uint8Array): void;
  /** Frames for every socket of a user, from any process, this one included. */
  onUserFrames(user: string, payload: Uint8Array): void;
  /** What another process, or this one, told all. */
  onControl(payload: Uint8Array): void;
  /** The log's head of a room, after events of it may have been missed: what is not known of is read. */
  onHead(room: string, head: Head): void;
}

/** A piece of a room's past as the log has it. */
export interface LogPage {
  readonly events: readonly Uint8Array[];
  /** The log has none before these. */
  readonly isStart: boolean;
}

/**
 * Edits, deletes and reactions that may not be in what was read: of events from the store those that it was not given when
 * this was opened, of events from the log all that stand behind them. Ascending as far as they concern one message; null
 * where too much happened meanwhile: open anew and read again.
 */
export interface LogChanges {
  /** Those of these messages. `after`: null for events of the store, for events of the log the seq of the first. */
  of(targets: readonly number[], after: number | null): Promise<readonly Uint8Array[] | null>;
  /** As `of`: what one user did with one emoji. */
  reactions(
    target: number,
    user: string,
    emoji: string,
    after: number | null,
  ): Promise<readonly Uint8Array[] | null>;
}

export interface Log {
  /** What a sender may ask for, ascending. */
  readonly levels: readonly Level[];
  /** Called once, before anything else. */
  listen(listener: LogListener): void;
  /** Never throws and never settles before it returns. Appends of one room settle in the order of their seq. */
  append(entry: Append): void;
  /** Settles once every later event and ephemeral frame of the room will reach the listener. */
  subscribeRoom(room: string): Promise<void>;
  unsubscribeRoom(room: string): void;
  /** As for rooms; nobody waits for it, as what is sent to a user may be lost. */
  subscribeUser(user: string): void;
  unsubscribeUser(user: string): void;
  /**
   * The head of a room that is about to be used, or null where the log learned that there is no such room. Where the log
   * has lost it, or may have, this starts a new epoch. Rejects with StoreUnavailable where it cannot be had.
   */
  open(room: string): Promise<Head | null>;
  /** Heads in the order asked for, of rooms that exist. Rejects with StoreUnavailable where they cannot be had. */
  heads(rooms: readonly string[]): Promise<readonly Head[]>;
  /**
   * Encoded events after `seq` as they were appended, oldest first: at most `limit`, none behind the one with which they
   * exceed `bytesMax`, as far as the log still has them; null where it does not reach back to `seq` (then the store does).
   */
  readAfter(
    room: string,
    seq: number,
    limit: number,
    bytesMax: number,
  ): Promise<readonly Uint8Array[] | null>;
  /**
   * The newest events below `before`, or of all where it is null, as they were appended, oldest first and dense but for an
   * epoch's start: at most `limit`, none before the one with which they exceed `bytesMax`. Null where the log keeps none,
   * because the store has everything.
   */
  readBefore(room: string, before: number | null, limit: number, bytesMax: number): Promise<LogPage | null>;
  /** The oldest events that the log has, some at least where it has any: what is before them the store has. */
  readOldest(room: string): Promise<readonly Uint8Array[]>;
  /** Joins, leaves and changes of the room after `seq` that the store may not have, oldest first; none: that is all. */
  readMembership(room: string, seq: number): Promise<readonly Uint8Array[]>;
  /** Asked for before the store is read; null where the store has everything. */
  changes(room: string): Promise<LogChanges | null>;
  /** Ephemeral frames to every process that is subscribed to the room; may be lost. */
  publishToRoom(room: string, payload: Uint8Array): void;
  /**
   * As `publishToRoom`, as long as that reaches every process; answers false, and publishes nothing, where some process is
   * not subscribed to the room, or that cannot be told.
   */
  publishIfAllHear(room: string, payload: Uint8Array): Promise<boolean>;
  /** Frames to every process that is subscribed to the user; may be lost. */
  publishToUser(user: string, payload: Uint8Array): void;
  /** To every process, this one included; may be lost. For what processes tell each other, never for clients. */
  publishControl(payload: Uint8Array): void;
  /** Null, or why appends fail. */
  fault(): string | null;
  /** Settles what is under way, then lets go. */
  close(): Promise<void>;
}
