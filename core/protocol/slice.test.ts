// One field's bytes out of an encoded frame.

import { describe, expect, test } from 'bun:test';
import * as encode from './encode.ts';
import { fieldBytes } from './slice.ts';

const hex = (text: string) => Uint8Array.fromHex(text.replace(/\s/g, ''));

describe('every form of value is stepped over', () => {
  const values = [
    '00',
    '7f',
    'ff',
    'c0',
    'c2',
    'c3',
    'ccff',
    'cdffff',
    'ceffffffff',
    'cfffffffffffffffff',
    'd0ff',
    'd1ffff',
    'd2ffffffff',
    'd3ffffffffffffffff',
    'ca3f800000',
    'cb3ff0000000000000',
    'a0',
    `bf${'61'.repeat(31)}`,
    `d9ff${'61'.repeat(255)}`,
    `da0100${'61'.repeat(256)}`,
    'db0000000161',
    'c400',
    `c4ff${'00'.repeat(255)}`,
    `c50100${'00'.repeat(256)}`,
    'c60000000100',
    '90',
    '9301a16192c0c3',
    `dc0010${'cd0001'.repeat(16)}`,
    'dd0000000101',
    '80',
    '82a16101a16291c0',
    `de0010${'a16101'.repeat(16)}`,
    'df00000001a161c40101',
  ];
  for (const value of values) {
    test(`0x${value.slice(0, 8)}`, () => {
      const frame = hex(`94 40 ${value} ${value} 05`);
      expect(fieldBytes(frame, 0).toHex()).toBe('40');
      expect(fieldBytes(frame, 1).toHex()).toBe(value);
      expect(fieldBytes(frame, 2).toHex()).toBe(value);
      expect(fieldBytes(frame, 3).toHex()).toBe('05');
    });
  }

  test('a frame of more than 15 fields', () => {
    const frame = hex(`dc0010 40 ${'a161'.repeat(14)} 81a16205`);
    expect(fieldBytes(frame, 0).toHex()).toBe('40');
    expect(fieldBytes(frame, 15).toHex()).toBe('81a16205');
  });
});

test('the fields of a message', () => {
  const id = new Uint8Array(16).fill(9);
  const meta = encode.encodeMap({ a: [1, { b: 'c' }], big: Number.MAX_SAFE_INTEGER });
  const bytes = encode.encodeMessage('room', 'ada', id, 'text', 'é'.repeat(300), meta);
  expect(fieldBytes(bytes, 1).toHex()).toBe('cf0000000000000000');
  expect(fieldBytes(bytes, 3).toHex()).toBe('a4726f6f6d');
  expect(fieldBytes(bytes, 5).toHex()).toBe(`c410${id.toHex()}`);
  expect(fieldBytes(bytes, 8).toHex()).toBe(meta.toHex());
  expect(fieldBytes(encode.encodeMessage('room', 'ada', id, 'text', null, null), 8).toHex()).toBe('c0');
});
