import { expect, test } from 'bun:test';
import { Packr } from 'msgpackr';
import { bodyOf, readUint, skip } from './pack.ts';

const packr = new Packr({ useRecords: false, variableMapSize: true });

/** A value between two others, so that a wrong end shows. */
function packed(value: unknown): Uint8Array {
  return Uint8Array.from([0xc3, ...packr.pack(value), 0xc2]);
}

test.each([
  [null],
  [true],
  [0],
  [127],
  [128],
  [255],
  [65_535],
  [65_536],
  [2 ** 32],
  [-1],
  [-32],
  [-33],
  [-70_000],
  [1.5],
  [''],
  ['x'.repeat(31)],
  ['x'.repeat(32)],
  ['é'.repeat(200)],
  ['x'.repeat(70_000)],
  [new Uint8Array(16)],
  [new Uint8Array(300)],
  [new Uint8Array(70_000)],
  [[]],
  [[1, [2, ['three', null]], new Uint8Array(3)]],
  [Array.from({ length: 20 }, (_, i) => i)],
  [Array.from({ length: 70_000 }, () => 'a')],
  [{}],
  [{ a: 1, b: { c: [1, 2] }, d: 'x'.repeat(40) }],
  [Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`key${i}`, i]))],
])('the end of a value is found, whatever it is', (value) => {
  const bytes = packed(value);
  expect(skip(bytes, 1)).toBe(bytes.length - 1);
});

test.each([[0], [127], [128], [255], [256], [65_535], [65_536], [2 ** 32 - 1]])('%d is read', (value) => {
  expect(readUint(packed(value), 1)).toBe(value);
});

test('a uint64 is read, and what is no unsigned integer is NaN', () => {
  expect(readUint(Uint8Array.of(0xcf, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 0)).toBe(
    Number.MAX_SAFE_INTEGER,
  );
  expect(readUint(packed('1'), 1)).toBeNaN();
  expect(readUint(packed(null), 1)).toBeNaN();
});

test.each([['a'.repeat(31)], ['a'.repeat(32)], ['a'.repeat(300)]])('the body of a text is found', (text) => {
  const bytes = packed(text);
  const at = bodyOf(bytes, 1);
  expect(new TextDecoder().decode(bytes.subarray(at, bytes.length - 1))).toBe(text);
});

test('an extension type is refused', () => {
  expect(() => skip(Uint8Array.of(0xd6, 1, 0, 0, 0, 0), 0)).toThrow('0xd6');
});
