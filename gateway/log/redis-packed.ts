// An EVALSHA whose many arguments are written as bytes once, without an object for each: the way of every append, called
// by redis-scripts.ts. The client library would make three buffers of every argument.

import { Command } from 'ioredis';

/** Arguments as they go over the wire. */
export interface PackedArguments {
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** What one entry of a call brings; the strings are identifiers, which are ASCII. */
interface PackedEntry {
  readonly room: string;
  readonly id: Uint8Array;
  readonly from: string;
  readonly bytes: Uint8Array;
}

/** Bytes around an argument: `$`, its length, twice the end of a line. */
const framingBytes = 16;
const carriageReturn = 13;
const lineFeed = 10;
const dollar = 36;
const zero = 48;

/** Of each entry: room, id, from, bytes; `settings` come before all of them. */
export function packEntries(
  settings: readonly (string | number)[],
  entries: readonly PackedEntry[],
): PackedArguments {
  const start = Buffer.from(settings.map(writeArgument).join(''));
  let size = start.length;
  for (const { room, id, from, bytes } of entries) {
    size += room.length + id.length + from.length + bytes.length + 4 * framingBytes;
  }
  const packed = Buffer.allocUnsafe(size);
  packed.set(start);
  let at = start.length;
  for (const { room, id, from, bytes } of entries) {
    at = packText(packed, at, room);
    at = packBytes(packed, at, id);
    at = packText(packed, at, from);
    at = packBytes(packed, at, bytes);
  }
  return { count: settings.length + entries.length * 4, bytes: packed.subarray(0, at) };
}

function packText(into: Uint8Array, start: number, text: string): number {
  let at = packLength(into, start, text.length);
  for (let i = 0; i < text.length; i++) into[at++] = text.charCodeAt(i);
  return packEnd(into, at);
}

function packBytes(into: Uint8Array, start: number, bytes: Uint8Array): number {
  const at = packLength(into, start, bytes.length);
  into.set(bytes, at);
  return packEnd(into, at + bytes.length);
}

function packLength(into: Uint8Array, start: number, length: number): number {
  let digits = 1;
  for (let rest = length; rest >= 10; rest = Math.floor(rest / 10)) digits++;
  into[start] = dollar;
  let rest = length;
  for (let at = start + digits; at > start; at--) {
    into[at] = zero + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  return packEnd(into, start + 1 + digits);
}

function packEnd(into: Uint8Array, at: number): number {
  into[at] = carriageReturn;
  into[at + 1] = lineFeed;
  return at + 2;
}

function writeArgument(argument: string | number): string {
  const text = String(argument);
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

/** To the library a script with keys, by which it is routed; on the wire all its arguments follow. */
export class PackedCommand extends Command {
  readonly #bytes: Buffer;

  /** `last`: one more argument, behind the packed ones. */
  constructor(sha: string, keys: readonly string[], packed: PackedArguments, last: string) {
    super('EVALSHA', [sha, keys.length, ...keys], { replyEncoding: null });
    const start = ['EVALSHA', sha, keys.length, ...keys].map(writeArgument).join('');
    const count = keys.length + 3 + packed.count + 1;
    this.#bytes = Buffer.concat([
      Buffer.from(`*${count}\r\n${start}`),
      packed.bytes,
      Buffer.from(writeArgument(last)),
    ]);
  }

  override toWritable(): Buffer {
    return this.#bytes;
  }
}
