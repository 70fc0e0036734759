// What a request carries, as values: the JSON body within its limits, the query by its schema. What is wrong comes back
// as a Refusal. Called by http.ts for each route.

import type { TObject } from '@sinclair/typebox';
import { type Refusal, refuse } from '../../core/protocol/codes.ts';
import { bodyDepthMax } from './limits.ts';

const decoder = new TextDecoder('utf-8', { fatal: true });

/** The JSON body; an empty one is `{}`. */
export async function readJson(request: Request, bytesMax: number): Promise<{ value: unknown } | Refusal> {
  const bytes = await readBytes(request, bytesMax).catch(() => refuse('BAD_REQUEST', 'the body ended early'));
  if (bytes !== null && 'code' in bytes) return bytes;
  if (bytes === null) return refuse('TOO_LARGE', `the body: at most ${bytesMax} bytes`);
  if (bytes.length === 0) return { value: {} };
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    return refuse('BAD_REQUEST', 'the body is no JSON in UTF-8');
  }
  return checkValue(value, 1) ?? { value };
}

/** Null where there are more than `bytesMax`; those are not read to the end. */
async function readBytes(request: Request, bytesMax: number): Promise<Uint8Array | null> {
  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) return null;
  if (request.body === null) return new Uint8Array(0);
  const reader = request.body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(chunks);
    size += value.length;
    if (size > bytesMax) {
      await reader.cancel();
      return null;
    }
    chunks.push(value);
  }
}

/** JSON can spell what no frame, log or database may hold: U+0000, halves of characters, numbers beyond all bounds. */
function checkValue(value: unknown, depth: number): Refusal | null {
  if (typeof value === 'string') return checkText(value);
  if (typeof value === 'number')
    return Number.isFinite(value) ? null : refuse('BAD_REQUEST', 'a number is too large');
  if (typeof value !== 'object' || value === null) return null;
  if (depth > bodyDepthMax) return refuse('BAD_REQUEST', `the body: at most ${bodyDepthMax} deep`);
  for (const [key, item] of Object.entries(value)) {
    const refusal = checkText(key) ?? checkValue(item, depth + 1);
    if (refusal) return refusal;
  }
  return null;
}

function checkText(text: string): Refusal | null {
  if (text.includes('\0')) return refuse('BAD_REQUEST', 'a string contains U+0000');
  return text.isWellFormed() ? null : refuse('BAD_REQUEST', 'a string is no valid Unicode');
}

/** The query's parameters that the schema names, as its types; what does not convert stays text and fails its check. */
export function readQuery(schema: TObject, url: URL): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(schema.properties)) {
    const text = url.searchParams.get(name);
    if (text !== null) values[name] = convert(text, property.type);
  }
  return values;
}

/** The path's parameters, as their types. */
export function readParams(
  schema: TObject,
  params: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(schema.properties))
    values[name] = convert(params[name] ?? '', property.type);
  return values;
}

function convert(text: string, type: unknown): unknown {
  if (type === 'integer' && /^\d{1,16}$/.test(text)) return Number(text);
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}
