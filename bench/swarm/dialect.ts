// How a server is spoken to: the upgrade, how a socket enters a room, a message, and what comes back. The rest of the swarm
// knows servers by this only; each has a file in dialects/.

import { createHmac } from 'node:crypto';

/** A message as a WebSocket frame, made once; what differs from one message to the next is written into it. */
export interface MessageFrame {
  readonly bytes: Uint8Array;
  /** Makes it message `number`, sent now. */
  write(number: number, micros: number): void;
}

/** Whom a dialect tells what it read; sockets by their index in this process. */
export interface Sink {
  /** The server has let the socket in. */
  onReady(socket: number): void;
  /** The socket is in a room whose last event is `head`; 0 where the server numbers nothing. */
  onEntered(socket: number, head: number): void;
  /** A message, `content` of it at `at`; `seq`: as the server numbered it, 0 where it does not. */
  onMessage(socket: number, seq: number, bytes: Uint8Array, at: number): void;
  /** Message `number` is acknowledged under `seq`; `isFirst`: not as a repeat. */
  onAck(number: number, seq: number, isFirst: boolean): void;
  onRefused(reason: string): void;
  /** Something that must be answered at once, as a WebSocket frame. */
  answer(socket: number, frame: Uint8Array): void;
}

export interface Dialect {
  path(socket: number): string;
  /** Headers of the upgrade beyond the usual ones. */
  headers(socket: number): readonly string[];
  /** The server speaks first, or answers `hello`; a socket is ready when `read` says so. Else with the upgrade. */
  readonly greets: boolean;
  /** What a socket sends after the upgrade; null: nothing. */
  hello(socket: number): Uint8Array | null;
  /** What a socket sends to enter a room; null where the upgrade was enough. */
  enter(socket: number, room: string): Uint8Array | null;
  /** The server numbers a room's events: one order for all. Else order is that of each sender. */
  readonly numbers: boolean;
  /** Every message is acknowledged. */
  readonly acks: boolean;
  message(socket: number, room: string): MessageFrame;
  /** One WebSocket message: `bytes` from `at` to `end`, valid during the call. */
  read(socket: number, bytes: Uint8Array, at: number, end: number, sink: Sink): void;
}

/** What every dialect is made from. */
export interface DialectOptions {
  readonly payloadBytes: number;
  /** Index of this process among those of the swarm. */
  readonly process: number;
  /** Of all processes: the user of a socket of this one. */
  userOf(socket: number): string;
  /** Where a socket goes, for servers that are told with the upgrade. */
  roomOf(socket: number): string;
  readonly secret: string;
}

export function userName(index: number): string {
  return `user-${String(index).padStart(6, '0')}`;
}

export function roomName(index: number): string {
  return `bench-${String(index).padStart(6, '0')}`;
}

const base64url = (text: string) => Buffer.from(text).toString('base64url');
const tokenHead = base64url(JSON.stringify({ alg: 'HS256', typ: 'JWT' }));

/** A token good for an hour. */
export function makeToken(user: string, secret: string): string {
  const exp = Math.floor(Date.now() / 1000) + 3600;
  const signed = `${tokenHead}.${base64url(JSON.stringify({ sub: user, exp }))}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** Tokens of the first `count` users. */
export function makeTokens(count: number, secret: string): Promise<string[]> {
  return Promise.resolve(Array.from({ length: count }, (_, i) => makeToken(userName(i), secret)));
}

/** Where `wanted` stands in `bytes`. */
export function indexOfBytes(bytes: Uint8Array, wanted: Uint8Array | string): number {
  const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(wanted);
  if (at < 0) throw new Error('a message without its field');
  return at;
}
