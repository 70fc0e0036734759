// Client frames, bytes in, frame or refusal out, for every op of the contract.

import { describe, expect, test } from 'bun:test';
import { decodeFrame } from './codec.ts';
import { type ClientFrameName, clientFields, clientShapes } from './frames.ts';
import { clientOps } from './ops.ts';
import { scanFrames } from './scan.ts';

const hex = (text: string) => Uint8Array.fromHex(text.replace(/\s/g, ''));

/** The frames of a message that the scan must accept. */
function decoded(text: string) {
  const bytes = hex(text);
  const scan = scanFrames(bytes);
  if (typeof scan === 'string') throw new Error(`refused by the scan: ${scan}`);
  return Array.from({ length: scan.count }, (_, index) => decodeFrame(bytes, scan, index));
}

/** The only frame of a message. */
function one(text: string) {
  const frames = decoded(text);
  expect(frames.length).toBe(1);
  return frames[0]!;
}

/** The rid and the code of a refusal. */
function refusalOf(text: string): [number, string] {
  const frame = one(text);
  if (frame.name !== undefined) throw new Error(`accepted as ${frame.name}`);
  expect(frame.refusal.message).toBeString();
  return [frame.rid, frame.refusal.code];
}

const str = (text: string) => {
  const bytes = new TextEncoder().encode(text);
  return bytes.length < 32
    ? (0xa0 | bytes.length).toString(16) + bytes.toHex()
    : `da${bytes.length.toString(16).padStart(4, '0')}${bytes.toHex()}`;
};
const id = 'c410 00112233445566778899aabbccddeeff';
const idBytes = hex('00112233445566778899aabbccddeeff');
const room = 'a172';

/** Values that are right, and values that are wrong, by kind of field. */
const kinds = {
  room: {
    right: [
      [str('r'), 'r'],
      ['d90172', 'r'],
      ['da000172', 'r'],
      ['db0000000172', 'r'],
      [str('x'.repeat(64)), 'x'.repeat(64)],
      [str('A-Z_a.z:0@9|+'), 'A-Z_a.z:0@9|+'],
    ],
    wrong: [
      'a0',
      str('x'.repeat(65)),
      str('a b'),
      str('a/b'),
      str('ä'),
      str('a\n'),
      str('r#'),
      '01',
      'c40172',
      '91a172',
      '80',
      'c3',
    ],
  },
  uint: {
    right: [
      ['00', 0],
      ['7f', 127],
      ['ccff', 255],
      ['cdffff', 65535],
      ['ceffffffff', 4294967295],
      ['cf0000000000000005', 5],
      ['cf001fffffffffffff', Number.MAX_SAFE_INTEGER],
      ['d005', 5],
      ['d10005', 5],
      ['d200000005', 5],
      ['d30000000000000005', 5],
      ['d3001fffffffffffff', Number.MAX_SAFE_INTEGER],
      ['cb4014000000000000', 5],
      ['cb433fffffffffffff', Number.MAX_SAFE_INTEGER],
      ['cb41f0000000000000', 4294967296],
    ],
    wrong: [
      'ff', // -1
      'e0',
      'd0ff',
      'd3ffffffffffffffff',
      'd38000000000000000',
      'cf0020000000000000', // 2^53
      'cf8000000000000000',
      'cfffffffffffffffff',
      'cb4340000000000000', // 2^53
      'cb7fefffffffffffff',
      'cb3fe0000000000000', // 0.5
      'cbbff0000000000000', // -1.0
      'cb7ff0000000000000',
      'cbfff0000000000000',
      'cb7ff8000000000000',
      'a135',
      'c40105',
      '9105',
      '80',
      'c2',
    ],
  },
  nil: { right: [['c0', null]], wrong: [] },
  bool: {
    right: [
      ['c2', false],
      ['c3', true],
    ],
    wrong: ['00', '01', 'c0', 'a474727565', '90', '80'],
  },
  id: {
    right: [
      [id, idBytes],
      ['c50010 00112233445566778899aabbccddeeff', idBytes],
      ['c600000010 00112233445566778899aabbccddeeff', idBytes],
    ],
    wrong: [
      'c400',
      'c40f 00112233445566778899aabbccddee',
      'c411 00112233445566778899aabbccddeeff00',
      'c0',
      '01',
      str('0'.repeat(16)),
      str('00112233-4455-6677-8899-aabbccddeeff'),
      '90',
    ],
  },
  type: {
    right: ['text', 'image', 'file', 'location', 'custom'].map(
      (type) => [str(type), type] as [string, unknown],
    ),
    wrong: [str('Text'), str('video'), 'a0', 'c0', '01', 'c40474657874', '90'],
  },
  content: {
    right: [
      [str('hi'), 'hi'],
      ['a0', ''],
      [str('žluťoučký 🐎'), 'žluťoučký 🐎'],
      [str('\ufeffbom'), '\ufeffbom'],
      [`d9ff${'61'.repeat(255)}`, 'a'.repeat(255)],
      ['c403 00c1ff', hex('00c1ff')],
      ['c400', new Uint8Array(0)],
    ],
    wrong: ['c0', '01', 'c3', '91a161', '80', 'cb3ff0000000000000'],
  },
  meta: {
    right: [
      ['c0', null],
      ['80', {}],
      ['de0000', {}],
      ['df00000000', {}],
      ['81 a161 81 a162 91 cb3ff8000000000000', { a: { b: [1.5] } }],
      ['81 a0 c2', { '': false }],
      [`81 ${str('a\nb')} 01`, { 'a\nb': 1 }],
      [`81 ${str('reply_to')} cf0000000000000009`, { reply_to: 9 }],
      [`82 ${str('constructor')} 01 ${str('toString')} 02`, { constructor: 1, toString: 2 }],
    ],
    wrong: [
      '01',
      'a161',
      'c403000000',
      '90',
      '91a161',
      'c3',
      '81 01 02',
      '81 c0 02',
      '81 a95f5f70726f746f5f5f 80',
      '81 a100 01',
      '81 a161 a100',
    ],
  },
  emoji: {
    right: [
      [str('👍'), '👍'],
      [str('👩‍👩‍👧‍👦'), '👩‍👩‍👧‍👦'],
      [str(':parley:'), ':parley:'],
    ],
    wrong: ['a0', 'c0', '01', 'c401f0', '90', '80'],
  },
  limit: {
    right: [
      ['01', 1],
      ['ccc8', 200],
      ['cb4069000000000000', 200],
    ],
    wrong: ['00', 'ccc9', 'cd07d0', 'ff', 'c0', 'a131', 'cb3ff8000000000000'],
  },
  token: { right: [[str('x.y.z'), 'x.y.z']], wrong: ['a0', 'c0', '01', 'c4017a', '90'] },
  status: {
    right: [
      [str('online'), 'online'],
      [str('away'), 'away'],
    ],
    wrong: [str('offline'), str('Online'), 'a0', 'c0', '01', 'c3'],
  },
} satisfies Record<string, { right: [string, unknown][]; wrong: string[] }>;

/** Every op: its fields by name, the kinds each may be, and a frame's worth of right values. */
const ops: Record<ClientFrameName, [name: string, kinds: (keyof typeof kinds)[]][]> = {
  subscribe: [
    ['room', ['room']],
    ['epoch', ['uint', 'nil']],
    ['seq', ['uint', 'nil']],
  ],
  unsubscribe: [['room', ['room']]],
  join_room: [['room', ['room', 'nil']]],
  leave_room: [['room', ['room']]],
  send_message: [
    ['room', ['room']],
    ['id', ['id']],
    ['type', ['type']],
    ['content', ['content']],
    ['meta', ['meta']],
  ],
  edit_message: [
    ['room', ['room']],
    ['target', ['uint']],
    ['content', ['content']],
  ],
  delete_message: [
    ['room', ['room']],
    ['target', ['uint']],
  ],
  react: [
    ['room', ['room']],
    ['target', ['uint']],
    ['emoji', ['emoji']],
    ['on', ['bool']],
  ],
  typing: [
    ['room', ['room']],
    ['on', ['bool']],
  ],
  mark_delivered: [
    ['room', ['room']],
    ['seq', ['uint']],
  ],
  mark_read: [
    ['room', ['room']],
    ['seq', ['uint']],
  ],
  history: [
    ['room', ['room']],
    ['before', ['uint', 'nil']],
    ['after', ['uint', 'nil']],
    ['limit', ['limit']],
  ],
  presence: [['room', ['room']]],
  authenticate: [['token', ['token']]],
  ping: [],
  set_status: [['status', ['status']]],
};

const header = (fields: number, op: string, rid = '07') => `9${(2 + fields).toString(16)} ${op} ${rid}`;

for (const name of Object.keys(ops) as ClientFrameName[]) {
  const fields = ops[name];
  const op = clientOps[name].toString(16).padStart(2, '0');
  const first = fields.map(([, [kind]]) => kinds[kind!].right[0]!);
  const right = first.map(([text]) => text);
  const values = Object.fromEntries(fields.map(([field], i) => [field, first[i]![1]]));

  describe(name, () => {
    test('with right fields', () => {
      expect(one(`${header(fields.length, op)} ${right.join('')}`)).toEqual({
        name,
        rid: 7,
        ...values,
      } as never);
    });

    for (const [index, [field, ofKinds]] of fields.entries()) {
      const withField = (value: string) =>
        `${header(fields.length, op)} ${right.with(index, value).join('')}`;

      test(`${field}: every right value`, () => {
        for (const kind of ofKinds) {
          for (const [text, value] of kinds[kind].right) {
            expect(one(withField(text))).toEqual({ name, rid: 7, ...values, [field]: value } as never);
          }
        }
      });

      test(`${field}: every wrong value is BAD_REQUEST with the rid, and named`, () => {
        const wrong = ofKinds
          .flatMap((kind) => kinds[kind].wrong)
          .filter((text) => !(ofKinds as string[]).includes('nil') || text !== 'c0');
        for (const text of [
          ...wrong,
          ...(ofKinds.includes('nil') || name === 'send_message' ? [] : ['c0']),
        ]) {
          expect([text, refusalOf(withField(text))]).toEqual([text, [7, 'BAD_REQUEST']]);
        }
        const plain = one(withField('cb7ff8000000000000'));
        if (plain.name === undefined) expect(plain.refusal.message).toStartWith(`${field}: `);
        else throw new Error('NaN was accepted');
      });

      test(`${field}: missing`, () => {
        expect(refusalOf(`${header(index, op)} ${right.slice(0, index).join('')}`)).toEqual([
          7,
          'BAD_REQUEST',
        ]);
      });
    }

    test('trailing fields are ignored, whatever they hold', () => {
      const absent = name === 'send_message' ? 'c0' : '';
      const extra = absent === '' ? 0 : 1;
      for (const trailing of ['c0', '9101', '81a16101', 'c400']) {
        const frame = one(`${header(fields.length + extra + 1, op)} ${right.join('')} ${absent} ${trailing}`);
        expect(frame).toMatchObject({ name, rid: 7 } as never);
        expect(Object.keys(frame).length).toBe(2 + fields.length + extra);
      }
    });

    test('the op in every integer encoding, and as an integral float64', () => {
      const body = `07 ${right.join('')}`;
      const start = `9${(2 + fields.length).toString(16)}`;
      const view = new DataView(new ArrayBuffer(8));
      view.setFloat64(0, clientOps[name]);
      const float = new Uint8Array(view.buffer).toHex();
      for (const form of [
        `cc${op}`,
        `cd00${op}`,
        `ce000000${op}`,
        `cf00000000000000${op}`,
        `d0${op}`,
        `d100${op}`,
        `d2000000${op}`,
        `d300000000000000${op}`,
        `cb${float}`,
      ]) {
        expect(one(`${start} ${form} ${body}`)).toEqual({ name, rid: 7, ...values } as never);
      }
    });

    test('the frame as array16 and array32', () => {
      const count = (2 + fields.length).toString(16);
      expect(one(`dc000${count} ${op} 07 ${right.join('')}`)).toMatchObject({ name, rid: 7 } as never);
      expect(one(`dd0000000${count} ${op} 07 ${right.join('')}`)).toMatchObject({ name, rid: 7 } as never);
    });

    test('rid: from 0 to 2^32-1 in every encoding', () => {
      const rids: [string, number][] = [
        ['00', 0],
        ['7f', 127],
        ['cc80', 128],
        ['cd0100', 256],
        ['ceffffffff', 4294967295],
        ['cf00000000ffffffff', 4294967295],
        ['d30000000000000007', 7],
        ['cb41efffffffe00000', 4294967295],
      ];
      for (const [text, rid] of rids) {
        expect(one(`${header(fields.length, op, text)} ${right.join('')}`)).toMatchObject({
          name,
          rid,
        } as never);
      }
    });

    test('rid: unreadable is answered with rid 0', () => {
      for (const rid of [
        'ff',
        'cf0000000100000000',
        'cb41f0000000000000',
        'cb3fe0000000000000',
        'cb7ff8000000000000',
        'c0',
        'a137',
        '90',
        '80',
        'c40107',
        'c3',
      ]) {
        expect([rid, refusalOf(`${header(fields.length, op, rid)} ${right.join('')}`)]).toEqual([
          rid,
          [0, 'BAD_REQUEST'],
        ]);
      }
      expect(refusalOf(`91 ${op}`)).toEqual([0, 'BAD_REQUEST']);
    });

    test('U+0000 anywhere, and a bad map key in a trailing field, are BAD_REQUEST with the rid', () => {
      expect(refusalOf(`${header(fields.length + 2, op)} ${right.join('')} c0 a100`)).toEqual([
        7,
        'BAD_REQUEST',
      ]);
      expect(refusalOf(`${header(fields.length + 2, op)} ${right.join('')} c0 8101c0`)).toEqual([
        7,
        'BAD_REQUEST',
      ]);
    });
  });
}

describe('the level of send_message', () => {
  const send = (level: string) => `98 05 07 ${room} ${id} ${str('text')} ${str('hi')} c0 ${level}`;

  test('is absent where it is absent', () => {
    expect('level' in one(`97 05 07 ${room} ${id} ${str('text')} ${str('hi')} c0`)).toBe(false);
  });

  test('is read in any integer encoding', () => {
    for (const level of ['04', 'cc04', 'cf0000000000000004', 'cb4010000000000000']) {
      expect(one(send(level))).toMatchObject({ level: 4 } as never);
    }
  });

  test('is refused as anything else', () => {
    for (const level of ['ff', 'a134', 'c3', 'cb3ff8000000000000', '90', '80', 'c40104']) {
      expect(refusalOf(send(level))).toEqual([7, 'BAD_REQUEST']);
    }
  });
});

describe('unknown ops', () => {
  const unknown: [string, string][] = [
    ['0', '00'],
    ['17', '11'],
    ['ok, which is the server’s', '20'],
    ['message, which is the server’s', '40'],
    ['a record’s number in msgpackr', '72'],
    ['127', '7f'],
    ['-1', 'ff'],
    ['a great one', 'cf001fffffffffffff'],
    ['beyond 2^53', 'cfffffffffffffffff'],
    ['the smallest int64', 'd38000000000000000'],
    ['a great float64', 'cb7fefffffffffffff'],
    ['minus zero', 'cb8000000000000000'],
  ];
  for (const [title, op] of unknown) {
    test(`${title}: BAD_REQUEST with its rid`, () => {
      expect(refusalOf(`92 ${op} 09`)).toEqual([9, 'BAD_REQUEST']);
      expect(refusalOf(`93 ${op} 09 ${room}`)).toEqual([9, 'BAD_REQUEST']);
    });
    test(`${title}: rid 0 where there is none to read`, () => {
      expect(refusalOf(`91 ${op}`)).toEqual([0, 'BAD_REQUEST']);
      expect(refusalOf(`92 ${op} c0`)).toEqual([0, 'BAD_REQUEST']);
    });
  }
});

test('map keys of every kind but strings are BAD_REQUEST with the rid, whatever they hold', () => {
  const keys = [
    '90',
    '9101',
    '80',
    '8180c0',
    'c40161',
    'c400',
    'cb7ff8000000000000',
    'cfffffffffffffffff',
    'c0',
    'c2',
    'e0',
  ];
  for (const key of keys) {
    expect([key, refusalOf(`93 0f 07 81 ${key} 01`)]).toEqual([key, [7, 'BAD_REQUEST']]);
    expect([key, refusalOf(`93 0f 07 91 82 a161 01 ${key} 80`)]).toEqual([key, [7, 'BAD_REQUEST']]);
    expect([key, refusalOf(`93 0f 81 ${key} 01 07`)]).toEqual([key, [0, 'BAD_REQUEST']]);
  }
});

describe('several frames in one message', () => {
  test('each is decoded by itself, the wrong ones among them refused', () => {
    const frames = decoded(`920f01 930101${room} 92 11 03 930204${room} 940905${room}c3`);
    expect(frames.map((frame) => frame.name ?? frame.refusal.code)).toEqual([
      'ping',
      'BAD_REQUEST',
      'BAD_REQUEST',
      'unsubscribe',
      'typing',
    ]);
    expect(frames.map((frame) => frame.rid)).toEqual([1, 1, 3, 4, 5]);
  });

  test('a flag refuses its own frame only', () => {
    const frames = decoded(`930201${room} 930202a172 9302 03a100 930204${room}`);
    expect(frames.map((frame) => frame.name ?? frame.refusal.code)).toEqual([
      'unsubscribe',
      'unsubscribe',
      'BAD_REQUEST',
      'unsubscribe',
    ]);
  });

  test('decoding in any order answers the same', () => {
    const bytes = hex(`920f01 930202${room} 920f03`);
    const scan = scanFrames(bytes);
    if (typeof scan === 'string') throw new Error(scan);
    expect([2, 0, 1].map((index) => decodeFrame(bytes, scan, index).rid)).toEqual([3, 1, 2]);
  });
});

test('a cursor as msgpackr writes it: integers from 2^32 are float64', () => {
  expect(one('95 01 01 a7 67656e6572616c 02 cb4200000000000000')).toEqual({
    name: 'subscribe',
    rid: 1,
    room: 'general',
    epoch: 2,
    seq: 2 ** 33,
  } as never);
});

test('every op of the contract has a shape, and no other', () => {
  for (const [name, op] of Object.entries(clientOps))
    expect(clientShapes[op]?.name).toBe(name as ClientFrameName);
  expect(clientShapes.filter((shape) => shape !== undefined).length).toBe(16);
  expect(Object.keys(clientFields).length).toBe(16);
});
