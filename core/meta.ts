// What clients attach to messages and rooms as JSON: the rules for it, pure. Asked by the socket's send handler and the
// HTTP routes before anything is appended.

import { Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { type Refusal, refuse } from './protocol/codes.ts';
import { encodeMap } from './protocol/encode.ts';
import { Identifier, Uint } from './protocol/frames.ts';
import { idAheadMsMax, metaBytesMax, metaDepthMax } from './protocol/limits.ts';
import { uuidTime } from './uuid.ts';

type JsonMap = Readonly<Record<string, unknown>>;

/** One uploaded file that a message carries. */
const Attachment = Type.Object({
  id: Type.String({ minLength: 1, maxLength: 64 }),
  name: Type.String({ minLength: 1, maxLength: 255 }),
  type: Type.String({ minLength: 1, maxLength: 255 }),
  size: Uint,
});

/** The keys of `meta` that the server knows; a product may add its own. */
const KnownMeta = Type.Object({
  reply_to: Type.Optional(Uint),
  mentions: Type.Optional(Type.Array(Identifier)),
  attachments: Type.Optional(Type.Array(Attachment)),
});

const knownCheck = TypeCompiler.Compile(KnownMeta);
const expectedOf: Readonly<Record<string, string>> = {
  reply_to: 'a seq',
  mentions: 'a list of users',
  attachments: 'a list of {id, name, type, size}',
};

/** A message's `meta`: a map of what JSON can hold, not too deep, not too large, its known keys well-formed. */
export function checkMeta(meta: JsonMap | null): Refusal | null {
  if (meta === null) return null;
  const refusal = checkJsonMap('meta', meta);
  if (refusal || knownCheck.Check(meta)) return refusal;
  const key = knownCheck.Errors(meta).First()?.path.split('/')[1] ?? '';
  return refuse('BAD_REQUEST', `meta.${key}: ${expectedOf[key] ?? 'wrong'}`);
}

/** A map of what JSON can hold, at most `metaBytesMax` as MessagePack and `metaDepthMax` deep; `name` is for the refusal. */
export function checkJsonMap(name: string, map: JsonMap): Refusal | null {
  const bytes = boundBytes(map, 1);
  if (bytes === -1) {
    return refuse('BAD_REQUEST', `${name}: what JSON can hold, without U+0000, at most ${metaDepthMax} deep`);
  }
  // The bound is generous; only a map near the limit is encoded to be sure.
  const isTooLarge = bytes > metaBytesMax && encodeMap(map).length > metaBytesMax;
  return isTooLarge ? refuse('TOO_LARGE', `${name}: at most ${metaBytesMax} bytes`) : null;
}

/** An id made too far ahead would be taken for fresh for too long. */
export function checkMessageId(id: Uint8Array, now: number): Refusal | null {
  const time = uuidTime(id);
  const isAhead = time !== null && time > now + idAheadMsMax;
  return isAhead
    ? refuse('BAD_REQUEST', 'id: its time is ahead of the server; correct the clock by welcome.time')
    : null;
}

/** At most how many bytes the value takes as MessagePack, or -1 where it is not allowed. `depth` is its own level. */
function boundBytes(value: unknown, depth: number): number {
  if (typeof value === 'string') return isText(value) ? 5 + value.length * 3 : -1;
  if (typeof value === 'number') return Number.isFinite(value) ? 9 : -1;
  if (typeof value === 'boolean' || value === null) return 1;
  if (typeof value !== 'object' || depth > metaDepthMax) return -1;
  if (Array.isArray(value)) return sumBytes(value, depth + 1);
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return -1;
  const keys = Object.keys(value);
  // A decoder that makes plain objects cannot hold this key.
  if (keys.includes('__proto__')) return -1;
  const keyBytes = sumBytes(keys, depth + 1);
  const valueBytes = sumBytes(Object.values(value), depth + 1);
  return keyBytes === -1 || valueBytes === -1 ? -1 : keyBytes + valueBytes;
}

function sumBytes(values: readonly unknown[], depth: number): number {
  let sum = 5;
  for (const value of values) {
    const bytes = boundBytes(value, depth);
    if (bytes === -1) return -1;
    sum += bytes;
  }
  return sum;
}

function isText(value: string): boolean {
  return !value.includes('\0') && value.isWellFormed();
}
