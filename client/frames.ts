// Bytes <-> frames: requests are encoded here, server payloads come out as typed objects. Trusts the server for the
// shape of a frame, ignores ops it does not know, and never lets out a frame for which the server would close the
// socket. Called by socket.ts and requests.ts.

import { Packr, Unpackr } from 'msgpackr';
import type { ErrorCode } from '../core/protocol/codes.ts';
import { depthMax, itemsMax } from '../core/protocol/limits.ts';
import { controlOps, type EventOpName, ephemeralOps, eventOps } from '../core/protocol/ops.ts';
import { ParleyError } from './errors.ts';
import { idToText } from './message-id.ts';

/** Text, or bytes in an encrypted room. */
export type Content = string | Uint8Array;
export type Meta = Readonly<Record<string, unknown>>;
export type Role = 'admin' | 'member' | 'readonly';
export type Status = 'online' | 'away' | 'offline';

/** What each event carries besides seq, ts and room. `from` is null where the server itself did it. */
interface EventFields {
  readonly message: {
    readonly from: string;
    /** UUID text. */
    readonly id: string;
    readonly type: string;
    /** Null where the message was deleted. */
    readonly content: Content | null;
    readonly meta: Meta | null;
  };
  readonly message_edited: {
    readonly from: string;
    readonly target: number;
    readonly content: Content | null;
  };
  readonly message_deleted: { readonly from: string | null; readonly target: number };
  readonly reaction: {
    readonly from: string;
    readonly target: number;
    readonly emoji: string;
    readonly on: boolean;
  };
  readonly user_joined: { readonly from: string | null; readonly user: string; readonly role: Role };
  readonly user_left: { readonly from: string | null; readonly user: string };
  readonly room_updated: { readonly from: string | null; readonly changed: Meta };
  readonly epoch_started: { readonly from: string | null; readonly epoch: number };
}

/** An event of a room: durable, numbered by `seq`. `RoomEvent<'message'>` is one kind of it. */
export type RoomEvent<Name extends EventOpName = EventOpName> = {
  [N in Name]: {
    readonly name: N;
    readonly seq: number;
    readonly ts: number;
    readonly room: string;
  } & EventFields[N];
}[Name];

/** An event of a later version: it has a number, and that is all we know. */
export interface UnknownEvent {
  readonly name: 'unknown';
  readonly seq: number;
  readonly ts: number;
  readonly room: string;
}

export interface TypingFrame {
  readonly name: 'typing';
  readonly room: string;
  readonly user: string;
  readonly on: boolean;
}

export interface ReceiptsFrame {
  readonly name: 'receipts';
  readonly room: string;
  /** User, delivered up to, read up to. */
  readonly marks: readonly (readonly [string, number, number])[];
}

export interface PresenceFrame {
  readonly name: 'presence';
  readonly room: string;
  readonly changes: readonly (readonly [string, Status])[];
  readonly online: number;
}

export interface NotificationFrame {
  readonly name: 'notification';
  readonly kind: string;
  readonly room: string | null;
  readonly seq: number | null;
  readonly from: string | null;
  readonly details: Meta;
}

export interface Welcome {
  readonly session: string;
  readonly user: string;
  readonly server: string;
  readonly version: string;
  readonly time: number;
  readonly heartbeat_ms: number;
  readonly max_frame_bytes: number;
  readonly levels: readonly number[];
}

export interface RemovedFrame {
  readonly name: 'removed';
  readonly room: string;
  readonly reason: string;
}

export type ServerFrame =
  | { readonly name: 'ok'; readonly rid: number; readonly fields: readonly unknown[] }
  | {
      readonly name: 'error';
      readonly rid: number;
      readonly code: ErrorCode;
      readonly message: string;
      readonly retryAfterMs: number | null;
    }
  | { readonly name: 'welcome'; readonly welcome: Welcome }
  | { readonly name: 'reconnect'; readonly delayMs: number }
  | RemovedFrame
  | RoomEvent
  | UnknownEvent
  | TypingFrame
  | ReceiptsFrame
  | PresenceFrame
  | NotificationFrame;

const packr = new Packr({ useRecords: false, variableMapSize: true, encodeUndefinedAsNil: true });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

/** The frames of a payload, in order; those of unknown ops are left out. */
export function decodePayload(payload: Uint8Array): ServerFrame[] {
  if (payload.length === 0) return [];
  const frames: ServerFrame[] = [];
  for (const value of unpackr.unpackMultiple(payload) as unknown[]) {
    const frame = Array.isArray(value) ? toFrame(value) : null;
    if (frame) frames.push(frame);
  }
  return frames;
}

const eventNames: ReadonlyMap<number, EventOpName> = new Map(
  Object.entries(eventOps).map(([name, op]) => [op, name as EventOpName]),
);

/** One event as `history` answers it, or null where its op is no event's. */
export function toEvent(value: readonly unknown[]): RoomEvent | UnknownEvent | null {
  const [op, seq, ts, room, from, a, b, c, d] = value;
  const name = eventNames.get(op as number);
  const base = { name, seq, ts, room, from };
  switch (name) {
    case 'message': {
      const fields = { id: idToText(a as Uint8Array), type: b, content: ownBytes(c), meta: d ?? null };
      return { ...base, ...fields } as RoomEvent;
    }
    case 'message_edited':
      return { ...base, target: a, content: ownBytes(b) } as RoomEvent;
    case 'message_deleted':
      return { ...base, target: a } as RoomEvent;
    case 'reaction':
      return { ...base, target: a, emoji: b, on: c } as RoomEvent;
    case 'user_joined':
      return { ...base, user: a, role: b } as RoomEvent;
    case 'user_left':
      return { ...base, user: a } as RoomEvent;
    case 'room_updated':
      return { ...base, changed: a } as RoomEvent;
    case 'epoch_started':
      return { ...base, epoch: a } as RoomEvent;
    default:
      return isEventOp(op as number) ? ({ ...base, name: 'unknown' } as UnknownEvent) : null;
  }
}

/** 64 to 95 are events, known or not: each takes a number of its room. */
function isEventOp(op: number): boolean {
  return op >= eventOps.message && op < ephemeralOps.typing;
}

/** By its tag: bytes of another realm, as tests and frames have them, are no instances of this one's Uint8Array. */
function isBytes(value: unknown): value is Uint8Array {
  return Object.prototype.toString.call(value) === '[object Uint8Array]';
}

/** Text without lone surrogates, which are no UTF-8; `toWellFormed` is not everywhere. */
function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udfff]/gu, '\ufffd');
}

/** A decoder's bytes are a view of the whole payload: what is kept gets its own. */
function ownBytes(value: unknown): unknown {
  return isBytes(value) ? new Uint8Array(value) : value;
}

function toFrame(value: readonly unknown[]): ServerFrame | null {
  const [op, a, b, c, d, e] = value;
  switch (op) {
    case controlOps.ok:
      return { name: 'ok', rid: a as number, fields: value.slice(2) };
    case controlOps.error:
      return {
        name: 'error',
        rid: a as number,
        code: b as ErrorCode,
        message: c as string,
        retryAfterMs: (d ?? null) as number | null,
      };
    case controlOps.welcome:
      return { name: 'welcome', welcome: a as Welcome };
    case controlOps.reconnect:
      return { name: 'reconnect', delayMs: a as number };
    case controlOps.removed:
      return { name: 'removed', room: a as string, reason: b as string };
    case ephemeralOps.typing:
      return { name: 'typing', room: a as string, user: b as string, on: c as boolean };
    case ephemeralOps.receipts:
      return { name: 'receipts', room: a as string, marks: b as ReceiptsFrame['marks'] };
    case ephemeralOps.presence:
      return {
        name: 'presence',
        room: a as string,
        changes: b as PresenceFrame['changes'],
        online: c as number,
      };
    case ephemeralOps.notification:
      return {
        name: 'notification',
        kind: a as string,
        room: (b ?? null) as string | null,
        seq: (c ?? null) as number | null,
        from: (d ?? null) as string | null,
        details: (e ?? {}) as Meta,
      };
    default:
      return toEvent(value);
  }
}

/** An encoded request and the number of values in it, which the server limits per payload. */
export interface EncodedRequest {
  readonly bytes: Uint8Array;
  readonly items: number;
}

/** Throws BAD_REQUEST for what the server would answer with the end of the connection. */
export function encodeRequest(op: number, rid: number, fields: readonly unknown[]): EncodedRequest {
  const count = { items: 0 };
  const frame = plain([op, rid, ...fields], 1, count);
  return { bytes: new Uint8Array(packr.pack(frame)), items: count.items };
}

/** A copy with nothing in it that MessagePack knows only as an extension, or that is no valid UTF-8. */
function plain(value: unknown, depth: number, count: { items: number }): unknown {
  if (++count.items > itemsMax) throw new ParleyError('BAD_REQUEST', `more than ${itemsMax} values`);
  if (typeof value === 'string') return wellFormed(value);
  if (value === null || value === undefined) return null;
  if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))) return value;
  if (isBytes(value)) return value;
  if (typeof value !== 'object') throw new ParleyError('BAD_REQUEST', `${typeof value} is not JSON`);
  if (depth > depthMax) throw new ParleyError('BAD_REQUEST', `nested deeper than ${depthMax}`);
  if (Array.isArray(value)) return value.map((part) => plain(part, depth + 1, count));
  const copy: Record<string, unknown> = {};
  for (const [key, part] of Object.entries(value)) {
    count.items++;
    copy[wellFormed(key)] = plain(part, depth + 1, count);
  }
  return copy;
}
