// Encoded events back to values.

import { expect, test } from 'bun:test';
import * as encode from './encode.ts';
import { decodeEvent, type RoomEvent } from './events.ts';
import { stamp } from './stamp.ts';

const id = new Uint8Array(16).map((_, i) => i);
const base = { seq: 2 ** 40, ts: 1_793_000_000_123, room: 'room' };

const cases: [string, Uint8Array, Record<string, unknown>][] = [
  [
    'message',
    encode.encodeMessage('room', 'ada', id, 'text', 'hi', encode.encodeMap({ reply_to: 3 })),
    { op: 64, from: 'ada', id, type: 'text', content: 'hi', meta: { reply_to: 3 } },
  ],
  [
    'message of bin',
    encode.encodeMessage('room', 'ada', id, 'custom', id, null),
    { op: 64, from: 'ada', id, type: 'custom', content: id, meta: null },
  ],
  [
    'message_edited',
    encode.encodeMessageEdited('room', 'ada', 7, 'new'),
    { op: 65, from: 'ada', target: 7, content: 'new' },
  ],
  ['message_deleted', encode.encodeMessageDeleted('room', null, 7), { op: 66, from: null, target: 7 }],
  [
    'reaction',
    encode.encodeReaction('room', 'ada', 7, '👍', false),
    { op: 67, from: 'ada', target: 7, emoji: '👍', on: false },
  ],
  [
    'user_joined',
    encode.encodeUserJoined('room', null, 'bob', 'member'),
    { op: 68, from: null, user: 'bob', role: 'member', muted: false },
  ],
  [
    'user_joined muted',
    encode.encodeUserJoined('room', null, 'bob', 'member', true),
    { op: 68, from: null, user: 'bob', role: 'member', muted: true },
  ],
  ['user_left', encode.encodeUserLeft('room', 'ada', 'bob'), { op: 69, from: 'ada', user: 'bob' }],
  [
    'room_updated',
    encode.encodeRoomUpdated('room', 'ada', { name: 'N' }),
    { op: 70, from: 'ada', changed: { name: 'N' } },
  ],
  ['epoch_started', encode.encodeEpochStarted('room', 3), { op: 71, from: null, epoch: 3 }],
];

for (const [name, bytes, fields] of cases) {
  test(`${name} by its names`, () => {
    stamp(bytes, 0, base.seq, base.ts);
    expect(decodeEvent(bytes)).toEqual({ ...base, ...fields } as RoomEvent);
  });
  test(`${name} inside a batch`, () => {
    const batch = encode.concatFrames([bytes, bytes]);
    expect(decodeEvent(batch.subarray(bytes.length))).toEqual(decodeEvent(bytes));
  });
}

test('anything but an event is a bug, and loud', () => {
  expect(() => decodeEvent(encode.encodeOk(1))).toThrow('not an event: op 32');
  expect(() => decodeEvent(encode.encodeTyping('room', 'ada', true))).toThrow('not an event: op 96');
});
