import { expect, test } from 'bun:test';
import { formatUuid, makeUuid, parseUuid, uuidTime } from './uuid.ts';

test('a made UUID is version 7 and carries its time', () => {
  const bytes = makeUuid(0x018f_0123_4567, new Uint8Array(10).fill(0xff));
  expect(formatUuid(bytes)).toBe('018f0123-4567-7fff-bfff-ffffffffffff');
  expect(uuidTime(bytes)).toBe(0x018f_0123_4567);
  expect(uuidTime(makeUuid(1_800_000_000_123, new Uint8Array(10)))).toBe(1_800_000_000_123);
});

test('text becomes bytes and back, in either case; what is no UUID is null', () => {
  const text = '6ba7b810-9dad-11d1-80b4-00c04fd430c8';
  expect(formatUuid(parseUuid(text)!)).toBe(text);
  expect(formatUuid(parseUuid(text.toUpperCase())!)).toBe(text);
  expect(uuidTime(parseUuid(text)!)).toBeNull();
  for (const bad of [
    '',
    'x',
    text.slice(1),
    `${text}0`,
    text.replaceAll('-', ''),
    `${text}\n`,
    text.replace('6', 'g'),
  ]) {
    expect(parseUuid(bad)).toBeNull();
  }
});
