// Bytes to client frames: the scan first, then msgpackr, then the compiled schema; a plain message without those two. What
// is wrong comes back as a value, never as a throw. Called by gateway.ts for every WebSocket message; server frames are written by encode.ts.

import { Unpackr } from 'msgpackr';
import { type Refusal, refuse } from './codes.ts';
import { type ClientFrame, clientShapes } from './frames.ts';
import { ridMax } from './limits.ts';
import { decodePlainSend } from './plain-send.ts';
import { flagKey, flagNul, type Scan } from './scan.ts';

const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

/** For frames that are refused anyway: a map key may be any value, where the other one throws. */
const mapUnpackr = new Unpackr({ useRecords: false, mapsAsObjects: false, int64AsType: 'number' });

/** Decodes one MessagePack value whose map keys are strings: a scan has passed it, or this process encoded it. */
export function decodeValue(bytes: Uint8Array): unknown {
  return unpackr.unpack(bytes);
}

/** A frame whose fields are wrong: the refusal, and the `rid` it answers (0 where unreadable). */
export interface RefusedFrame {
  readonly name: undefined;
  readonly rid: number;
  readonly refusal: Refusal;
}

function refused(rid: number, message: string): RefusedFrame {
  return { name: undefined, rid, refusal: refuse('BAD_REQUEST', message) };
}

/** Decodes frame `index` of a scanned message. */
export function decodeFrame(bytes: Uint8Array, scan: Scan, index: number): ClientFrame | RefusedFrame {
  const start = index === 0 ? 0 : (scan.ends[index - 1] as number);
  const end = scan.ends[index] as number;
  const flags = scan.flags[index] as number;
  const plain = flags === 0 ? decodePlainSend(bytes, start, end) : null;
  if (plain !== null) return plain;
  const whole = start === 0 && end === bytes.length;
  const frameBytes = whole ? bytes : bytes.subarray(start, end);
  const value = (flags & flagKey ? mapUnpackr.unpack(frameBytes) : decodeValue(frameBytes)) as unknown[];
  const ridValue = value[1];
  const rid = isRid(ridValue) ? ridValue : 0;
  if (flags & flagNul) return refused(rid, 'a string contains U+0000');
  if (flags & flagKey) return refused(rid, 'a map has a key that is no string or is not allowed');
  const shape = clientShapes[value[0] as number];
  if (shape === undefined) return refused(rid, `unknown op ${String(value[0])}`);
  if (!isRid(ridValue)) return refused(0, 'rid: a uint32');
  const frame: Record<string, unknown> = { name: shape.name, rid };
  const { fields } = shape;
  for (let i = 0; i < fields.length; i++) {
    // An absent field stays absent, so that the schema can tell it from nil.
    if (i + 2 < value.length) frame[fields[i] as string] = value[i + 2];
  }
  if (!shape.check.Check(frame)) {
    const field = shape.check.Errors(frame).First()?.path.split('/')[1] ?? '';
    const expected = shape.properties[field];
    return refused(rid, `${field}: ${expected === undefined ? 'wrong' : describe(expected)}`);
  }
  return frame as unknown as ClientFrame;
}

function isRid(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= ridMax;
}

function describe(schema: {
  description?: string;
  anyOf?: { description?: string; type?: string }[];
}): string {
  if (schema.description !== undefined) return schema.description;
  if (schema.anyOf) return schema.anyOf.map((part) => part.description ?? part.type ?? 'value').join(' or ');
  return 'missing or of the wrong type';
}
