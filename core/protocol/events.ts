// Encoded events to values: what the stores keep and what history over HTTP shows. Called by the stores, the hub (to
// learn of membership and targets) and http/messages.ts. Its input was encoded by this product, so it trusts the shape.

import { decodeValue } from './codec.ts';
import type { Content, Role } from './frames.ts';
import { eventOps } from './ops.ts';

interface EventBase {
  readonly seq: number;
  readonly ts: number;
  readonly room: string;
}

export interface MessageEvent extends EventBase {
  readonly op: typeof eventOps.message;
  readonly from: string;
  readonly id: Uint8Array;
  readonly type: string;
  readonly content: Content | null;
  readonly meta: Readonly<Record<string, unknown>> | null;
}

export interface EditedEvent extends EventBase {
  readonly op: typeof eventOps.message_edited;
  readonly from: string;
  readonly target: number;
  readonly content: Content | null;
}

export interface DeletedEvent extends EventBase {
  readonly op: typeof eventOps.message_deleted;
  readonly from: string | null;
  readonly target: number;
}

export interface ReactionEvent extends EventBase {
  readonly op: typeof eventOps.reaction;
  readonly from: string;
  readonly target: number;
  readonly emoji: string;
  readonly on: boolean;
}

export interface JoinedEvent extends EventBase {
  readonly op: typeof eventOps.user_joined;
  readonly from: string | null;
  readonly user: string;
  readonly role: Role;
  /** A mute outlasts leaving. */
  readonly muted: boolean;
}

export interface LeftEvent extends EventBase {
  readonly op: typeof eventOps.user_left;
  readonly from: string | null;
  readonly user: string;
}

/** What a `room_updated` may carry; unknown keys are kept. */
export interface RoomChanges {
  readonly name?: string;
  readonly avatar_url?: string | null;
  readonly metadata?: Readonly<Record<string, unknown>> | null;
  readonly public?: boolean;
  readonly archived?: boolean;
  readonly retention_days?: number | null;
  /** The room is gone; this is its last event. */
  readonly deleted?: boolean;
  /** A member's role or mute changed. */
  readonly member?: { readonly user: string; readonly role: Role; readonly muted: boolean };
}

export interface RoomUpdatedEvent extends EventBase {
  readonly op: typeof eventOps.room_updated;
  readonly from: string | null;
  readonly changed: RoomChanges;
}

export interface EpochStartedEvent extends EventBase {
  readonly op: typeof eventOps.epoch_started;
  readonly from: string | null;
  readonly epoch: number;
}

export type RoomEvent =
  | MessageEvent
  | EditedEvent
  | DeletedEvent
  | ReactionEvent
  | JoinedEvent
  | LeftEvent
  | RoomUpdatedEvent
  | EpochStartedEvent;

/** Decodes one encoded event (op 64 to 71). Throws on anything else: that is a bug, not a client's doing. */
export function decodeEvent(bytes: Uint8Array): RoomEvent {
  const value = decodeValue(bytes) as [number, number, number, string, ...unknown[]];
  const [op, seq, ts, room, from, a, b, c, d] = value;
  switch (op) {
    case eventOps.message:
      return { op, seq, ts, room, from, id: a, type: b, content: c, meta: d } as MessageEvent;
    case eventOps.message_edited:
      return { op, seq, ts, room, from, target: a, content: b } as EditedEvent;
    case eventOps.message_deleted:
      return { op, seq, ts, room, from, target: a } as DeletedEvent;
    case eventOps.reaction:
      return { op, seq, ts, room, from, target: a, emoji: b, on: c } as ReactionEvent;
    case eventOps.user_joined:
      return { op, seq, ts, room, from, user: a, role: b, muted: c === true } as JoinedEvent;
    case eventOps.user_left:
      return { op, seq, ts, room, from, user: a } as LeftEvent;
    case eventOps.room_updated:
      return { op, seq, ts, room, from, changed: a } as RoomUpdatedEvent;
    case eventOps.epoch_started:
      return { op, seq, ts, room, from, epoch: a } as EpochStartedEvent;
    default:
      throw new Error(`not an event: op ${String(op)}`);
  }
}
