// Server frames to bytes. Written by hand, because msgpackr writes integers from 2^32 as float64 and lone surrogates as
// broken UTF-8. Events start with `seq` and `ts` as uint64 zeros for stamp.ts to fill. Called by handlers, hub and logs;
// every function answers bytes of its own that nobody changes afterwards but the stamp.

import type { ErrorCode } from './codes.ts';
import type { Content, Role, Status } from './frames.ts';
import { controlOps, ephemeralOps, eventOps } from './ops.ts';

const textEncoder = new TextEncoder();

let buffer = new Uint8Array(64 * 1024);
let view = new DataView(buffer.buffer);
let position = 0;

function reserve(size: number): void {
  if (position + size <= buffer.length) return;
  const grown = new Uint8Array(Math.max(buffer.length * 2, position + size));
  grown.set(buffer);
  buffer = grown;
  view = new DataView(buffer.buffer);
}

function begin(fields: number, op: number): void {
  position = 0;
  array(fields);
  buffer[position++] = op;
}

function finish(): Uint8Array {
  return buffer.slice(0, position);
}

function array(count: number): void {
  reserve(5);
  if (count < 16) buffer[position++] = 0x90 | count;
  else if (count < 0x10000) {
    buffer[position++] = 0xdc;
    view.setUint16(position, count);
    position += 2;
  } else {
    buffer[position++] = 0xdd;
    view.setUint32(position, count);
    position += 4;
  }
}

function uint(value: number): void {
  reserve(9);
  if (value < 0x80) buffer[position++] = value;
  else if (value < 0x100) {
    buffer[position++] = 0xcc;
    buffer[position++] = value;
  } else if (value < 0x10000) {
    buffer[position++] = 0xcd;
    view.setUint16(position, value);
    position += 2;
  } else if (value < 0x1_0000_0000) {
    buffer[position++] = 0xce;
    view.setUint32(position, value);
    position += 4;
  } else {
    buffer[position++] = 0xcf;
    view.setUint32(position, Math.floor(value / 0x1_0000_0000));
    view.setUint32(position + 4, value >>> 0);
    position += 8;
  }
}

function zeroUint64(): void {
  reserve(9);
  buffer[position++] = 0xcf;
  buffer.fill(0, position, position + 8);
  position += 8;
}

function flag(value: boolean): void {
  reserve(1);
  buffer[position++] = value ? 0xc3 : 0xc2;
}

function nil(): void {
  reserve(1);
  buffer[position++] = 0xc0;
}

function text(value: string): void {
  const { length } = value;
  reserve(length * 3 + 5);
  if (length < 32) {
    // Short and ASCII, as identifiers are: one pass, no call into the encoder.
    const start = position + 1;
    let i = 0;
    for (; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) break;
      buffer[start + i] = code;
    }
    if (i === length) {
      buffer[position] = 0xa0 | length;
      position = start + length;
      return;
    }
  }
  // The header's size depends on the bytes: guess from the characters, move where the guess was short.
  const guess = textHeaderBytes(length);
  const { written } = textEncoder.encodeInto(value, buffer.subarray(position + guess));
  const header = textHeaderBytes(written);
  if (header !== guess) buffer.copyWithin(position + header, position + guess, position + guess + written);
  if (header === 1) buffer[position] = 0xa0 | written;
  else if (header === 2) {
    buffer[position] = 0xd9;
    buffer[position + 1] = written;
  } else if (header === 3) {
    buffer[position] = 0xda;
    view.setUint16(position + 1, written);
  } else {
    buffer[position] = 0xdb;
    view.setUint32(position + 1, written);
  }
  position += header + written;
}

function textHeaderBytes(size: number): number {
  return size < 32 ? 1 : size < 0x100 ? 2 : size < 0x10000 ? 3 : 5;
}

function binary(value: Uint8Array): void {
  const size = value.length;
  reserve(size + 5);
  if (size < 0x100) {
    buffer[position++] = 0xc4;
    buffer[position++] = size;
  } else if (size < 0x10000) {
    buffer[position++] = 0xc5;
    view.setUint16(position, size);
    position += 2;
  } else {
    buffer[position++] = 0xc6;
    view.setUint32(position, size);
    position += 4;
  }
  raw(value);
}

/** Bytes that are MessagePack already. */
function raw(value: Uint8Array): void {
  reserve(value.length);
  buffer.set(value, position);
  position += value.length;
}

function textOrNil(value: string | null): void {
  if (value === null) nil();
  else text(value);
}

function uintOrNil(value: number | null): void {
  if (value === null) nil();
  else uint(value);
}

/** What JSON can hold, and bin. Integers as integers, other numbers as float64, what has no form here as nil. */
function anything(value: unknown): void {
  if (typeof value === 'string') text(value);
  else if (typeof value === 'number') number(value);
  else if (typeof value === 'boolean') flag(value);
  else if (value instanceof Uint8Array) binary(value);
  else if (Array.isArray(value)) {
    array(value.length);
    for (const item of value) anything(item);
  } else if (typeof value === 'object' && value !== null) map(value as Readonly<Record<string, unknown>>);
  else nil();
}

function map(value: Readonly<Record<string, unknown>>): void {
  const keys = Object.keys(value);
  const count = keys.length;
  reserve(5);
  if (count < 16) buffer[position++] = 0x80 | count;
  else if (count < 0x10000) {
    buffer[position++] = 0xde;
    view.setUint16(position, count);
    position += 2;
  } else {
    buffer[position++] = 0xdf;
    view.setUint32(position, count);
    position += 4;
  }
  for (const key of keys) {
    text(key);
    anything(value[key]);
  }
}

function number(value: number): void {
  if (!Number.isSafeInteger(value)) {
    reserve(9);
    buffer[position++] = 0xcb;
    view.setFloat64(position, value);
    position += 8;
  } else if (value >= 0) uint(value);
  else negative(value);
}

function negative(value: number): void {
  reserve(9);
  if (value >= -0x20) buffer[position++] = value;
  else if (value >= -0x80) {
    buffer[position++] = 0xd0;
    buffer[position++] = value;
  } else if (value >= -0x8000) {
    buffer[position++] = 0xd1;
    view.setInt16(position, value);
    position += 2;
  } else if (value >= -0x8000_0000) {
    buffer[position++] = 0xd2;
    view.setInt32(position, value);
    position += 4;
  } else {
    buffer[position++] = 0xd3;
    view.setInt32(position, Math.floor(value / 0x1_0000_0000));
    view.setUint32(position + 4, value >>> 0);
    position += 8;
  }
}

function content(value: Content | null): void {
  if (value === null) nil();
  else if (typeof value === 'string') text(value);
  else binary(value);
}

/** `meta` or another small map as MessagePack bytes, valid on their own. */
export function encodeMap(value: Readonly<Record<string, unknown>>): Uint8Array {
  position = 0;
  map(value);
  return finish();
}

// Answers.

/** `[32, rid, …]`: unsigned integers, booleans and identifiers, which is what nearly every `ok` carries. */
export function encodeOk(rid: number, ...fields: readonly (number | boolean | string)[]): Uint8Array {
  begin(2 + fields.length, controlOps.ok);
  uint(rid);
  for (const field of fields) {
    if (typeof field === 'boolean') flag(field);
    else if (typeof field === 'number') uint(field);
    else text(field);
  }
  return finish();
}

/** `ok` of history: `events` are encoded already. */
export function encodeHistoryOk(rid: number, more: boolean, events: readonly Uint8Array[]): Uint8Array {
  begin(4, controlOps.ok);
  uint(rid);
  flag(more);
  array(events.length);
  for (const event of events) raw(event);
  return finish();
}

/** `ok` of presence. */
export function encodePresenceOk(
  rid: number,
  online: number,
  users: readonly { user: string; status: Status; lastSeen: number }[],
): Uint8Array {
  begin(4, controlOps.ok);
  uint(rid);
  uint(online);
  array(users.length);
  for (const { user, status, lastSeen } of users) {
    array(3);
    text(user);
    text(status);
    uint(lastSeen);
  }
  return finish();
}

export function encodeError(
  rid: number,
  code: ErrorCode,
  message: string,
  retryAfterMs: number | null,
): Uint8Array {
  begin(5, controlOps.error);
  uint(rid);
  text(code);
  text(message);
  uintOrNil(retryAfterMs);
  return finish();
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

export function encodeWelcome(welcome: Welcome): Uint8Array {
  begin(2, controlOps.welcome);
  map({ ...welcome });
  return finish();
}

export function encodeReconnect(delayMs: number): Uint8Array {
  begin(2, controlOps.reconnect);
  uint(delayMs);
  return finish();
}

export type RemovedReason = 'left' | 'kicked' | 'banned' | 'deleted';

export function encodeRemoved(room: string, reason: RemovedReason): Uint8Array {
  begin(3, controlOps.removed);
  text(room);
  text(reason);
  return finish();
}

// Events, with seq and ts still zero.

function beginEvent(fields: number, op: number, room: string, from: string | null): void {
  begin(fields, op);
  zeroUint64();
  zeroUint64();
  text(room);
  textOrNil(from);
}

/** `meta` as encoded by `encodeMap`, or null. */
export function encodeMessage(
  room: string,
  from: string,
  id: Uint8Array,
  type: string,
  body: Content | null,
  meta: Uint8Array | null,
): Uint8Array {
  beginEvent(9, eventOps.message, room, from);
  binary(id);
  text(type);
  content(body);
  if (meta === null) nil();
  else raw(meta);
  return finish();
}

export function encodeMessageEdited(
  room: string,
  from: string,
  target: number,
  body: Content | null,
): Uint8Array {
  beginEvent(7, eventOps.message_edited, room, from);
  uint(target);
  content(body);
  return finish();
}

export function encodeMessageDeleted(room: string, from: string | null, target: number): Uint8Array {
  beginEvent(6, eventOps.message_deleted, room, from);
  uint(target);
  return finish();
}

export function encodeReaction(
  room: string,
  from: string,
  target: number,
  emoji: string,
  on: boolean,
): Uint8Array {
  beginEvent(8, eventOps.reaction, room, from);
  uint(target);
  text(emoji);
  flag(on);
  return finish();
}

/** `muted` stands behind the fields of the contract, for the processes, and only where it is true. */
export function encodeUserJoined(
  room: string,
  from: string | null,
  user: string,
  role: Role,
  muted = false,
): Uint8Array {
  beginEvent(muted ? 8 : 7, eventOps.user_joined, room, from);
  text(user);
  text(role);
  if (muted) flag(true);
  return finish();
}

export function encodeUserLeft(room: string, from: string | null, user: string): Uint8Array {
  beginEvent(6, eventOps.user_left, room, from);
  text(user);
  return finish();
}

export function encodeRoomUpdated(
  room: string,
  from: string | null,
  changed: Readonly<Record<string, unknown>>,
): Uint8Array {
  beginEvent(6, eventOps.room_updated, room, from);
  map(changed);
  return finish();
}

export function encodeEpochStarted(room: string, epoch: number): Uint8Array {
  beginEvent(6, eventOps.epoch_started, room, null);
  uint(epoch);
  return finish();
}

// Ephemeral frames.

export function encodeTyping(room: string, user: string, on: boolean): Uint8Array {
  begin(4, ephemeralOps.typing);
  text(room);
  text(user);
  flag(on);
  return finish();
}

/** `marks`: user, delivered seq, read seq. */
export function encodeReceipts(
  room: string,
  marks: readonly (readonly [string, number, number])[],
): Uint8Array {
  begin(3, ephemeralOps.receipts);
  text(room);
  array(marks.length);
  for (const [user, delivered, read] of marks) {
    array(3);
    text(user);
    uint(delivered);
    uint(read);
  }
  return finish();
}

export function encodePresence(
  room: string,
  changes: readonly (readonly [string, Status])[],
  online: number,
): Uint8Array {
  begin(4, ephemeralOps.presence);
  text(room);
  array(changes.length);
  for (const [user, status] of changes) {
    array(2);
    text(user);
    text(status);
  }
  uint(online);
  return finish();
}

export function encodeNotification(
  kind: string,
  room: string | null,
  seq: number | null,
  from: string | null,
  body: Readonly<Record<string, unknown>>,
): Uint8Array {
  begin(6, ephemeralOps.notification);
  text(kind);
  textOrNil(room);
  uintOrNil(seq);
  textOrNil(from);
  map(body);
  return finish();
}

/** One payload of several frames; a single one is answered as it is. */
export function concatFrames(frames: readonly Uint8Array[]): Uint8Array {
  if (frames.length === 1) return frames[0] as Uint8Array;
  let size = 0;
  for (const frame of frames) size += frame.length;
  const payload = new Uint8Array(size);
  let at = 0;
  for (const frame of frames) {
    payload.set(frame, at);
    at += frame.length;
  }
  return payload;
}
