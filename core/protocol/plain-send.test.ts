// What is read the short way is what the general decoder reads, and whatever is not plain is left to it.

import { expect, test } from 'bun:test';
import { decodeFrame } from './codec.ts';
import { decodePlainSend } from './plain-send.ts';
import { scanFrames } from './scan.ts';

const hex = (text: string) => Uint8Array.fromHex(text.replace(/\s/g, ''));
const utf8 = (text: string) => new TextEncoder().encode(text);
const str8 = (text: string) => `d9${utf8(text).length.toString(16).padStart(2, '0')}${utf8(text).toHex()}`;
const str16 = (text: string) => `da${utf8(text).length.toString(16).padStart(4, '0')}${utf8(text).toHex()}`;

const id = 'c410 00112233445566778899aabbccddeeff';
const room = `a4${utf8('room').toHex()}`;
const type = `a4${utf8('text').toHex()}`;
const content = `a2${utf8('hi').toHex()}`;
const rest = (fields: Record<string, string> = {}) => {
  const all = { rid: '01', room, id, type, content, meta: 'c0', ...fields };
  return ['05', all.rid, all.room, all.id, all.type, all.content, all.meta].join('');
};

function decode(text: string) {
  const bytes = hex(text);
  const scan = scanFrames(bytes);
  if (typeof scan === 'string') throw new Error(scan);
  return decodeFrame(bytes, scan, 0);
}

const plain = {
  'a small rid': {},
  'a rid of one byte': { rid: 'cc ff' },
  'a rid of two bytes': { rid: 'cd 0100' },
  'the greatest rid': { rid: 'ce ffffffff' },
  'no answer wanted': { rid: '00' },
  'a room with all kinds of characters': { room: str8('A-Z_a.z:0@9|+') },
  'a room of 64': { room: str16('x'.repeat(64)) },
  'no content': { content: 'a0' },
  'a content of 255 bytes': { content: str8('y'.repeat(255)) },
  'a content of 4000 bytes': { content: str16('z'.repeat(4000)) },
  'other scripts': { content: str8('\ufeffmañana 你好 👋🏽') },
};

for (const [title, fields] of Object.entries(plain)) {
  test(`${title}: as the general decoder reads it`, () => {
    const bytes = hex(`97${rest(fields)}`);
    const frame = decodePlainSend(bytes, 0, bytes.length);
    // An array head of three bytes goes the general way.
    expect(frame).toEqual(decode(`dc0007${rest(fields)}`) as typeof frame);
    expect(frame).toEqual(decode(`97${rest(fields)}`) as typeof frame);
  });
}

test('a frame in the middle of a message is read from its place', () => {
  const one = hex(`97${rest()}`);
  const two = hex(`97${rest({ rid: '02' })}`);
  const bytes = new Uint8Array([...one, ...two]);
  expect(decodePlainSend(bytes, one.length, bytes.length)).toMatchObject({
    rid: 2,
    content: 'hi',
    meta: null,
  });
  expect(decodePlainSend(bytes, 0, one.length)).toMatchObject({ rid: 1, id: hex(id.slice(4)) });
});

const others = {
  'a rid of eight bytes': { rid: 'cf 0000000000000001' },
  'a negative rid': { rid: 'ff' },
  'an empty room': { room: 'a0' },
  'a room of 65': { room: str8('x'.repeat(65)) },
  'a room with a blank': { room: str8('a b') },
  'a room that is a number': { room: '07' },
  'an id of 15 bytes': { id: 'c40f 00112233445566778899aabbccddee' },
  'another type': { type: `a5${utf8('image').toHex()}` },
  'an unknown type of four letters': { type: `a4${utf8('next').toHex()}` },
  'binary content': { content: 'c402 0001' },
  'a very long head of a content': { content: 'db00000001 61' },
  'a meta': { meta: '80' },
};

for (const [title, fields] of Object.entries(others)) {
  test(`${title}: left to the general decoder`, () => {
    const bytes = hex(`97${rest(fields)}`);
    expect(decodePlainSend(bytes, 0, bytes.length)).toBeNull();
  });
}

test('with a level, or another op, it is left to the general decoder', () => {
  for (const text of [`98${rest()}04`, `97${rest().replace('05', '06')}`, `96${rest().slice(0, -2)}`]) {
    const bytes = hex(text);
    expect(decodePlainSend(bytes, 0, bytes.length)).toBeNull();
  }
});

test('U+0000 is refused as ever', () => {
  expect(decode(`97${rest({ content: 'a100' })}`)).toMatchObject({ name: undefined, rid: 1 });
});
