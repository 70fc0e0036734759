import { expect, test } from 'bun:test';
import { checkJsonMap, checkMessageId, checkMeta } from './meta.ts';
import { decodeValue } from './protocol/codec.ts';
import { encodeMap } from './protocol/encode.ts';
import { makeUuid, parseUuid } from './uuid.ts';

const codeOf = (meta: Record<string, unknown> | null) => checkMeta(meta)?.code ?? null;

test('what JSON can hold passes, with keys of a product’s own', () => {
  expect(codeOf(null)).toBeNull();
  expect(codeOf({})).toBeNull();
  expect(codeOf({ a: [1, -2.5, 'é🙂', true, null, { b: {} }], 'key with spaces': 1e300 })).toBeNull();
});

test('what JSON cannot hold is refused', () => {
  const values: unknown[] = [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    undefined,
    1n,
    new Uint8Array(1),
    new Date(),
    new Map(),
    () => 1,
    'a\0b',
    '\ud800',
    [['a\0']],
  ];
  for (const value of values) expect(codeOf({ a: value })).toBe('BAD_REQUEST');
  expect(codeOf({ 'a\0': 1 })).toBe('BAD_REQUEST');
  expect(codeOf(JSON.parse('{"a":{"__proto__":1}}'))).toBe('BAD_REQUEST');
});

test('four levels pass, five do not', () => {
  expect(codeOf({ a: { b: { c: {} } } })).toBeNull();
  expect(codeOf({ a: [[[1]]] })).toBeNull();
  expect(codeOf({ a: { b: { c: { d: {} } } } })).toBe('BAD_REQUEST');
  expect(codeOf({ a: [[[[]]]] })).toBe('BAD_REQUEST');
  let deep: unknown = 1;
  for (let i = 0; i < 100_000; i++) deep = [deep];
  expect(codeOf({ deep })).toBe('BAD_REQUEST');
});

test('exactly 4 KB of MessagePack pass', () => {
  const fits = { a: 'x'.repeat(4096 - 6) };
  expect(encodeMap(fits).length).toBe(4096);
  expect(codeOf(fits)).toBeNull();
  expect(codeOf({ a: 'x'.repeat(4096 - 5) })).toBe('TOO_LARGE');
  expect(checkJsonMap('metadata', { a: 'é'.repeat(3000) })?.message).toStartWith('metadata:');
  expect(decodeValue(encodeMap(fits))).toEqual(fits);
});

test('reply_to is a seq, mentions are users, attachments have their shape', () => {
  const file = { id: 'a1', name: 'a.png', type: 'image/png', size: 12 };
  expect(
    codeOf({ reply_to: 7, mentions: ['ann', 'b:c'], attachments: [file, { ...file, width: 3 }] }),
  ).toBeNull();
  for (const bad of [-1, 1.5, '7', null, 2 ** 53]) expect(codeOf({ reply_to: bad })).toBe('BAD_REQUEST');
  for (const bad of ['ann', [1], ['a b'], [''], {}]) expect(codeOf({ mentions: bad })).toBe('BAD_REQUEST');
  for (const bad of [file, [{ ...file, size: -1 }], [{ id: 'x' }], ['a1']]) {
    expect(checkMeta({ attachments: bad })).toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining('meta.attachments'),
    });
  }
});

test('an id 60 s ahead passes, one beyond does not, other versions always do', () => {
  const now = 1_800_000_000_000;
  const entropy = new Uint8Array(10);
  expect(checkMessageId(makeUuid(now + 60_000, entropy), now)).toBeNull();
  expect(checkMessageId(makeUuid(now + 60_001, entropy), now)?.code).toBe('BAD_REQUEST');
  expect(checkMessageId(parseUuid('ffffffff-ffff-4fff-bfff-ffffffffffff')!, now)).toBeNull();
});
