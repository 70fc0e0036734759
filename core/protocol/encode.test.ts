// Server frames in hex; each checked against its schema, and for integers that would leave as float64.

import { describe, expect, test } from 'bun:test';
import type { TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { decodeValue } from './codec.ts';
import { type ErrorCode, errors } from './codes.ts';
import * as encode from './encode.ts';
import { serverFrames } from './frames.ts';

const hex = (text: string) => Uint8Array.fromHex(text.replace(/\s/g, ''));
const id = hex('00112233445566778899aabbccddeeff');
const great = Number.MAX_SAFE_INTEGER;

/** Walks one MessagePack value and answers where it ends and every float in it; knows nothing of our encoder. */
function floatsOf(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const floats: number[] = [];
  let at = 0;
  const walk = (): void => {
    const byte = view.getUint8(at++);
    let children = 0;
    if (byte <= 0x7f || byte >= 0xe0 || [0xc0, 0xc2, 0xc3].includes(byte)) return;
    if (byte <= 0x8f) children = 2 * (byte & 15);
    else if (byte <= 0x9f) children = byte & 15;
    else if (byte <= 0xbf) at += byte & 31;
    else if (byte === 0xcb) {
      floats.push(view.getFloat64(at));
      at += 8;
    } else if ([0xcc, 0xd0].includes(byte)) at += 1;
    else if ([0xcd, 0xd1].includes(byte)) at += 2;
    else if ([0xce, 0xd2].includes(byte)) at += 4;
    else if ([0xcf, 0xd3].includes(byte)) at += 8;
    else if ([0xc4, 0xd9].includes(byte)) at += 1 + view.getUint8(at);
    else if ([0xc5, 0xda].includes(byte)) at += 2 + view.getUint16(at);
    else if ([0xc6, 0xdb].includes(byte)) at += 4 + view.getUint32(at);
    else if (byte === 0xdc || byte === 0xde) {
      children = view.getUint16(at) * (byte === 0xde ? 2 : 1);
      at += 2;
    } else if (byte === 0xdd || byte === 0xdf) {
      children = view.getUint32(at) * (byte === 0xdf ? 2 : 1);
      at += 4;
    } else throw new Error(`not ours to send: 0x${byte.toString(16)}`);
    for (let i = 0; i < children; i++) walk();
  };
  walk();
  expect(at).toBe(bytes.length);
  return floats;
}

/** The value of a frame that fits its schema and has no integer as a float. */
function checked(schema: TSchema | null, bytes: Uint8Array): unknown {
  expect(floatsOf(bytes).filter((float) => Number.isSafeInteger(float))).toEqual([]);
  const value = decodeValue(bytes);
  if (schema)
    expect([...Value.Errors(schema, value)].map((error) => `${error.path} ${error.message}`)).toEqual([]);
  return value;
}

const integers = [
  [0, '00'],
  [127, '7f'],
  [128, 'cc80'],
  [255, 'ccff'],
  [256, 'cd0100'],
  [65535, 'cdffff'],
  [65536, 'ce00010000'],
  [2 ** 31, 'ce80000000'],
  [2 ** 32 - 1, 'ceffffffff'],
  [2 ** 32, 'cf0000000100000000'],
  [1_793_000_000_123, 'cf000001a17720ca7b'],
  [great, 'cf001fffffffffffff'],
] as const;

describe('answers', () => {
  test('ok carries integers in their shortest form, and booleans', () => {
    expect(encode.encodeOk(1).toHex()).toBe('922001');
    expect(encode.encodeOk(4294967295, true, false).toHex()).toBe('9420ceffffffffc3c2');
    for (const [value, bytes] of integers) expect(encode.encodeOk(1, value).toHex()).toBe(`932001${bytes}`);
    expect(checked(null, encode.encodeOk(9, 1, great, false))).toEqual([32, 9, 1, great, false]);
    expect(encode.encodeOk(1, 'room', 2).toHex()).toBe('942001a4726f6f6d02');
  });

  test('ok of history holds its events as they are', () => {
    const first = encode.encodeEpochStarted('r', 2);
    const second = encode.encodeUserLeft('r', null, 'ada');
    expect(encode.encodeHistoryOk(3, true, []).toHex()).toBe('942003c390');
    expect(encode.encodeHistoryOk(3, false, [first, second]).toHex()).toBe(
      `942003c292${first.toHex()}${second.toHex()}`,
    );
    const many = encode.encodeHistoryOk(
      3,
      true,
      Array.from({ length: 200 }, () => first),
    );
    expect(many.toHex()).toStartWith('942003c3dc00c8');
    expect((checked(null, many) as unknown[][])[3]!.length).toBe(200);
  });

  test('ok of presence', () => {
    const bytes = encode.encodePresenceOk(3, 70_000, [
      { user: 'ada', status: 'online', lastSeen: 1_793_000_000_123 },
      { user: 'bob', status: 'offline', lastSeen: 0 },
    ]);
    expect(checked(null, bytes)).toEqual([
      32,
      3,
      70_000,
      [
        ['ada', 'online', 1_793_000_000_123],
        ['bob', 'offline', 0],
      ],
    ]);
    expect(encode.encodePresenceOk(3, 0, []).toHex()).toBe('9420030090');
  });

  test('error: every code', () => {
    for (const code of Object.keys(errors) as ErrorCode[]) {
      const { sentence } = errors[code];
      expect(checked(serverFrames.error, encode.encodeError(7, code, sentence, null))).toEqual([
        33,
        7,
        code,
        sentence,
        null,
      ]);
      expect(checked(serverFrames.error, encode.encodeError(0, code, '', 250))).toEqual([
        33,
        0,
        code,
        '',
        250,
      ]);
    }
    expect(encode.encodeError(1, 'CONFLICT', 'no', null).toHex()).toBe('952101a8434f4e464c494354a26e6fc0');
  });

  test('welcome', () => {
    const welcome = {
      session: 's-1',
      user: 'ada',
      server: 'one',
      version: '0.1.0',
      time: 1_793_000_000_123,
      heartbeat_ms: 15_000,
      max_frame_bytes: 65_536,
      levels: [1, 2, 4],
    };
    expect(checked(serverFrames.welcome, encode.encodeWelcome(welcome))).toEqual([34, welcome]);
  });

  test('reconnect and removed', () => {
    expect(encode.encodeReconnect(1500).toHex()).toBe('9223cd05dc');
    expect(checked(serverFrames.reconnect, encode.encodeReconnect(great))).toEqual([35, great]);
    for (const reason of ['left', 'kicked', 'banned', 'deleted'] as const) {
      expect(checked(serverFrames.removed, encode.encodeRemoved('r', reason))).toEqual([36, 'r', reason]);
    }
    expect(encode.encodeRemoved('r', 'left').toHex()).toBe('9324a172a46c656674');
  });
});

describe('events start with op, seq and ts as uint64, and the room', () => {
  const start = (fields: number, op: number) =>
    `9${fields.toString(16)}${op.toString(16)}cf0000000000000000cf0000000000000000a172`;
  const meta = { a: 1, big: great };

  const cases: [string, TSchema, Uint8Array, number, number, unknown[]][] = [
    [
      'message',
      serverFrames.message,
      encode.encodeMessage('r', 'ada', id, 'text', 'hi', encode.encodeMap(meta)),
      9,
      64,
      ['ada', id, 'text', 'hi', meta],
    ],
    [
      'message without meta',
      serverFrames.message,
      encode.encodeMessage('r', 'ada', id, 'text', 'hi', null),
      9,
      64,
      ['ada', id, 'text', 'hi', null],
    ],
    [
      'message of bin',
      serverFrames.message,
      encode.encodeMessage('r', 'ada', id, 'custom', id, null),
      9,
      64,
      ['ada', id, 'custom', id, null],
    ],
    [
      'message deleted',
      serverFrames.message,
      encode.encodeMessage('r', 'ada', id, 'text', null, encode.encodeMap({ deleted: true })),
      9,
      64,
      ['ada', id, 'text', null, { deleted: true }],
    ],
    [
      'message_edited',
      serverFrames.message_edited,
      encode.encodeMessageEdited('r', 'ada', great, 'new'),
      7,
      65,
      ['ada', great, 'new'],
    ],
    [
      'message_edited of bin',
      serverFrames.message_edited,
      encode.encodeMessageEdited('r', 'ada', 3, id),
      7,
      65,
      ['ada', 3, id],
    ],
    [
      'message_edited of a message deleted since',
      serverFrames.message_edited,
      encode.encodeMessageEdited('r', 'ada', 3, null),
      7,
      65,
      ['ada', 3, null],
    ],
    [
      'message_deleted',
      serverFrames.message_deleted,
      encode.encodeMessageDeleted('r', 'ada', great),
      6,
      66,
      ['ada', great],
    ],
    [
      'message_deleted by the server',
      serverFrames.message_deleted,
      encode.encodeMessageDeleted('r', null, 3),
      6,
      66,
      [null, 3],
    ],
    [
      'reaction',
      serverFrames.reaction,
      encode.encodeReaction('r', 'ada', great, '👍', true),
      8,
      67,
      ['ada', great, '👍', true],
    ],
    [
      'reaction taken back',
      serverFrames.reaction,
      encode.encodeReaction('r', 'ada', 3, '👍', false),
      8,
      67,
      ['ada', 3, '👍', false],
    ],
    [
      'user_joined',
      serverFrames.user_joined,
      encode.encodeUserJoined('r', 'ada', 'bob', 'readonly'),
      7,
      68,
      ['ada', 'bob', 'readonly'],
    ],
    [
      'user_joined by the server',
      serverFrames.user_joined,
      encode.encodeUserJoined('r', null, 'bob', 'admin'),
      7,
      68,
      [null, 'bob', 'admin'],
    ],
    ['user_left', serverFrames.user_left, encode.encodeUserLeft('r', 'ada', 'bob'), 6, 69, ['ada', 'bob']],
    [
      'room_updated',
      serverFrames.room_updated,
      encode.encodeRoomUpdated('r', 'ada', { name: 'N', metadata: null, retention_days: great }),
      6,
      70,
      ['ada', { name: 'N', metadata: null, retention_days: great }],
    ],
    [
      'epoch_started',
      serverFrames.epoch_started,
      encode.encodeEpochStarted('r', great),
      6,
      71,
      [null, great],
    ],
  ];
  for (const [title, schema, bytes, fields, op, rest] of cases) {
    test(title, () => {
      expect(bytes.toHex()).toStartWith(start(fields, op));
      expect(checked(schema, bytes)).toEqual([op, 0, 0, 'r', ...rest]);
    });
  }

  test('the bytes of a message, whole', () => {
    expect(encode.encodeMessage('r', 'ada', id, 'text', 'hi', encode.encodeMap({ a: 1 })).toHex()).toBe(
      `${start(9, 64)}a3616461c410${id.toHex()}a474657874a2686981a16101`,
    );
  });

  test('an identifier of 64 bytes and a content of 64 KiB', () => {
    const long = 'u'.repeat(64);
    const content = 'é'.repeat(32_768);
    const bytes = encode.encodeMessage(long, long, id, 'text', content, null);
    expect(checked(serverFrames.message, bytes)).toEqual([64, 0, 0, long, long, id, 'text', content, null]);
  });
});

describe('ephemeral frames', () => {
  test('typing', () => {
    expect(encode.encodeTyping('r', 'ada', true).toHex()).toBe('9460a172a3616461c3');
    expect(checked(serverFrames.typing, encode.encodeTyping('r', 'ada', false))).toEqual([
      96,
      'r',
      'ada',
      false,
    ]);
  });

  test('receipts', () => {
    const marks = [
      ['ada', great, 0],
      ['bob', 70_000, 300],
    ] as const;
    expect(checked(serverFrames.receipts, encode.encodeReceipts('r', marks))).toEqual([97, 'r', marks]);
    expect(encode.encodeReceipts('r', []).toHex()).toBe('9361a17290');
  });

  test('presence', () => {
    const changes = [
      ['ada', 'online'],
      ['bob', 'away'],
      ['eve', 'offline'],
    ] as const;
    expect(checked(serverFrames.presence, encode.encodePresence('r', changes, 70_000))).toEqual([
      98,
      'r',
      changes,
      70_000,
    ]);
    expect(encode.encodePresence('r', [], 3).toHex()).toBe('9462a1729003');
  });

  const kinds: [string, string | null, number | null, string | null, Record<string, unknown>][] = [
    ['room_added', 'r', null, 'ada', { name: 'Room', type: 'group' }],
    ['room_removed', 'r', null, null, { reason: 'kicked' }],
    ['message', 'r', great, 'ada', { head: great, unread: 2 ** 32 }],
    ['mention', 'r', 7, 'ada', {}],
    ['marks', 'r', null, null, { delivered: 2 ** 40, read: 5 }],
    ['token_expiring', null, null, null, { expires_at: 1_793_000_000_123 }],
  ];
  for (const [kind, room, seq, from, map] of kinds) {
    test(`notification ${kind}`, () => {
      expect(
        checked(serverFrames.notification, encode.encodeNotification(kind, room, seq, from, map)),
      ).toEqual([99, kind, room, seq, from, map]);
    });
  }
});

describe('strings', () => {
  test('every length where the header changes, of one to four bytes a character', () => {
    for (const character of ['a', 'é', '€', '🐎']) {
      for (const bytes of [0, 1, 30, 31, 32, 33, 254, 255, 256, 257, 65534, 65535, 65536, 65537, 200_000]) {
        const size = new TextEncoder().encode(character).length;
        const text = character.repeat(Math.floor(bytes / size)) + 'b'.repeat(bytes % size);
        const frame = encode.encodeRemoved(text, 'left');
        expect(decodeValue(frame)).toEqual([36, text, 'left']);
        expect(frame.length).toBe(2 + bytes + (bytes < 32 ? 1 : bytes < 256 ? 2 : bytes < 65536 ? 3 : 5) + 5);
      }
    }
  });

  test('one wide character at any place of a short string', () => {
    for (let length = 1; length < 34; length++) {
      for (let at = 0; at < length; at++) {
        const text = `${'a'.repeat(at)}é${'a'.repeat(length - at - 1)}`;
        expect(decodeValue(encode.encodeRemoved(text, 'left'))).toEqual([36, text, 'left']);
      }
    }
  });

  test('a lone surrogate leaves as U+FFFD, never as broken UTF-8', () => {
    expect(decodeValue(encode.encodeRemoved('a\ud800b', 'left'))).toEqual([36, 'a\ufffdb', 'left']);
    expect(decodeValue(encode.encodeMap({ 'k\udc00': 'v\ud83d' }))).toEqual({ 'k\ufffd': 'v\ufffd' });
  });
});

describe('maps', () => {
  test('integers are integers, whatever their size and sign', () => {
    for (const [value, bytes] of integers)
      expect(encode.encodeMap({ a: value }).toHex()).toBe(`81a161${bytes}`);
    const negative = [
      [-1, 'ff'],
      [-32, 'e0'],
      [-33, 'd0df'],
      [-128, 'd080'],
      [-129, 'd1ff7f'],
      [-32768, 'd18000'],
      [-32769, 'd2ffff7fff'],
      [-(2 ** 31), 'd280000000'],
      [-(2 ** 31) - 1, 'd3ffffffff7fffffff'],
      [-(2 ** 32), 'd3ffffffff00000000'],
      [-great, 'd3ffe0000000000001'],
    ] as const;
    for (const [value, bytes] of negative)
      expect(encode.encodeMap({ a: value }).toHex()).toBe(`81a161${bytes}`);
  });

  test('other numbers are float64', () => {
    for (const value of [0.5, -0.5, 1e300, 2 ** 53, -(2 ** 53), Number.MIN_VALUE]) {
      const bytes = encode.encodeMap({ a: value });
      expect(bytes[3]).toBe(0xcb);
      expect(decodeValue(bytes)).toEqual({ a: value });
    }
  });

  test('what JSON can hold comes back', () => {
    const map = {
      '': null,
      text: 'žluťoučký 🐎',
      list: [1, -1, 0.25, true, false, null, 'x', [], {}],
      nested: { a: { b: { c: [{ d: great }] } } },
      long: 'x'.repeat(300),
      constructor: 1,
      toString: 'own',
    };
    expect(decodeValue(encode.encodeMap(map))).toEqual(map);
  });

  test('a map and a list of every size where the header changes', () => {
    for (const count of [0, 1, 15, 16, 17, 255, 256, 65535, 65536]) {
      const list = Array.from({ length: count }, (_, i) => i);
      expect(decodeValue(encode.encodeMap({ list }))).toEqual({ list });
      const map = Object.fromEntries(list.map((i) => [`k${i}`, i]));
      expect(decodeValue(encode.encodeMap(map))).toEqual(map);
    }
  });

  test('an absent value is left out or nil, never anything else', () => {
    const value = decodeValue(encode.encodeMap({ a: undefined, b: 1 })) as Record<string, unknown>;
    expect(value.a ?? null).toBeNull();
    expect(value.b).toBe(1);
  });

  test('bytes that are handed out are never changed by the next call', () => {
    const maps = Array.from({ length: 2000 }, (_, i) => ({ i, text: 'x'.repeat(i % 50) }));
    const encoded = maps.map((map) => encode.encodeMap(map));
    expect(encoded.map((bytes) => decodeValue(bytes))).toEqual(maps);
  });
});

test('frames are bytes of their own', () => {
  const first = encode.encodeOk(1, 2, 3);
  const copy = first.slice();
  encode.encodeMessage('r', 'ada', id, 'text', 'x'.repeat(1000), encode.encodeMap({ a: 1 }));
  expect(first).toEqual(copy);
  expect(first.byteLength).toBe(first.buffer.byteLength);
});

test('a frame larger than the buffer that is there grows it', () => {
  const content = 'x'.repeat(300_000);
  const bytes = encode.encodeMessage('r', 'ada', id, 'text', content, null);
  expect(decodeValue(bytes)).toEqual([64, 0, 0, 'r', 'ada', id, 'text', content, null]);
});

test('frames put together are one payload of many', () => {
  const frames = [encode.encodeOk(1), encode.encodeReconnect(5), encode.encodeTyping('r', 'ada', true)];
  expect(encode.concatFrames(frames).toHex()).toBe(frames.map((frame) => frame.toHex()).join(''));
  expect(encode.concatFrames([frames[0]!])).toBe(frames[0]!);
  expect(encode.concatFrames([])).toEqual(new Uint8Array(0));
});
