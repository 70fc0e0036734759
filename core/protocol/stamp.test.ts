// seq and ts at their fixed places, in hex.

import { describe, expect, test } from 'bun:test';
import { decodeValue } from './codec.ts';
import { encodeEpochStarted, encodeMessage, encodeReaction } from './encode.ts';
import { readOp, readSeq, readTs, stamp, stampBytes } from './stamp.ts';

const hex = (text: string) => Uint8Array.fromHex(text.replace(/\s/g, ''));

test('seq and ts are written as big-endian uint64 behind their 0xcf', () => {
  const bytes = encodeEpochStarted('r', 2);
  expect(bytes.toHex()).toBe('9647cf0000000000000000cf0000000000000000a172c002');
  stamp(bytes, 0, 0x0102030405, 0x1f_ffff_ffff_ffff);
  expect(bytes.toHex()).toBe('9647cf0000000102030405cf001fffffffffffffa172c002');
});

describe('every boundary is read as it was written, by us and by msgpackr', () => {
  const numbers = [
    0,
    1,
    127,
    128,
    255,
    256,
    65535,
    65536,
    2 ** 31 - 1,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 32 + 1,
    2 ** 40 + 7,
    2 ** 52,
    2 ** 53 - 2,
    2 ** 53 - 1,
    1_793_000_000_123,
  ];
  const id = new Uint8Array(16).fill(7);
  for (const seq of numbers) {
    test(`seq ${seq}`, () => {
      for (const ts of numbers) {
        const bytes = encodeMessage('room', 'ada', id, 'text', 'hi', null);
        stamp(bytes, 0, seq, ts);
        expect([readSeq(bytes), readTs(bytes), readOp(bytes)]).toEqual([seq, ts, 64]);
        expect(decodeValue(bytes)).toEqual([64, seq, ts, 'room', 'ada', id, 'text', 'hi', null]);
      }
    });
  }
});

test('an event inside a batch is stamped alone', () => {
  const event = encodeReaction('room', 'ada', 3, '👍', true);
  const batch = new Uint8Array(event.length * 3);
  for (let i = 0; i < 3; i++) batch.set(event, i * event.length);
  stamp(batch, event.length, 2 ** 33, 5);
  expect(batch.subarray(0, event.length).toHex()).toBe(event.toHex());
  expect(batch.subarray(2 * event.length).toHex()).toBe(event.toHex());
  expect([readSeq(batch, event.length), readTs(batch, event.length), readOp(batch, event.length)]).toEqual([
    2 ** 33,
    5,
    67,
  ]);
  expect([readSeq(batch), readTs(batch)]).toEqual([0, 0]);
});

test('stamping again replaces the first stamp', () => {
  const bytes = encodeEpochStarted('r', 1);
  stamp(bytes, 0, 2 ** 53 - 1, 2 ** 53 - 1);
  stamp(bytes, 0, 1, 2);
  expect(bytes.toHex()).toBe('9647cf0000000000000001cf0000000000000002a172c001');
});

test('the fields begin where stampBytes says', () => {
  const bytes = encodeEpochStarted('r', 1);
  expect(bytes.subarray(stampBytes)).toEqual(hex('a172 c0 01'));
});
