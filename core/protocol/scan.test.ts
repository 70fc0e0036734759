// The bounded scan, bytes in, frames or refusal out. tests/fuzz compares it with a slow scanner and with msgpackr.

import { describe, expect, test } from 'bun:test';
import { depthMax, itemsMax } from './limits.ts';
import { flagKey, flagNul, scanFrames } from './scan.ts';

const hex = (text: string) => Uint8Array.fromHex(text.replace(/\s/g, ''));

/** Where the frames end and their flags, or the sentence of a refusal. */
function scanned(bytes: Uint8Array | string) {
  const result = scanFrames(typeof bytes === 'string' ? hex(bytes) : bytes);
  if (typeof result === 'string') return result;
  return { ends: result.ends.slice(0, result.count), flags: result.flags.slice(0, result.count) };
}

const accepted = (end: number, flags = 0) => ({ ends: [end], flags: [flags] });

describe('what is accepted', () => {
  const values: [string, string][] = [
    ['fixint 0', '00'],
    ['fixint 127', '7f'],
    ['negative fixint', 'e0'],
    ['negative fixint -1', 'ff'],
    ['nil', 'c0'],
    ['false', 'c2'],
    ['true', 'c3'],
    ['uint8', 'cc ff'],
    ['uint16', 'cd ffff'],
    ['uint32', 'ce ffffffff'],
    ['uint64', 'cf ffffffffffffffff'],
    ['int8', 'd0 80'],
    ['int16', 'd1 8000'],
    ['int32', 'd2 80000000'],
    ['int64', 'd3 8000000000000000'],
    ['float32', 'ca 3f800000'],
    ['float64', 'cb 3ff0000000000000'],
    ['float64 NaN', 'cb 7ff8000000000000'],
    ['empty fixstr', 'a0'],
    ['fixstr of 31', `bf ${'61'.repeat(31)}`],
    ['empty str8', 'd9 00'],
    ['str8 of 255', `d9 ff ${'61'.repeat(255)}`],
    ['empty str16', 'da 0000'],
    ['str16 of 256', `da 0100 ${'61'.repeat(256)}`],
    ['empty str32', 'db 00000000'],
    ['str32 of 2', 'db 00000002 6162'],
    ['empty bin8', 'c4 00'],
    ['bin8 with zeros and broken UTF-8', 'c4 03 00c1ff'],
    ['empty bin16', 'c5 0000'],
    ['bin16 of 2', 'c5 0002 ffff'],
    ['empty bin32', 'c6 00000000'],
    ['bin32 of 2', 'c6 00000002 ffff'],
    ['empty fixarray', '90'],
    ['fixarray of 15', `9f ${'00'.repeat(15)}`],
    ['empty array16', 'dc 0000'],
    ['array16 of 2', 'dc 0002 0102'],
    ['empty array32', 'dd 00000000'],
    ['array32 of 2', 'dd 00000002 0102'],
    ['empty fixmap', '80'],
    ['fixmap of 1', '81 a1 61 01'],
    ['empty map16', 'de 0000'],
    ['map16 of 2', 'de 0002 a16101 a16202'],
    ['empty map32', 'df 00000000'],
    ['map32 of 1', 'df 00000001 a16101'],
    ['map with an empty key', '81 a0 01'],
    ['map in a map', '81 a16181a16281a163c0'],
  ];
  for (const [title, value] of values) {
    test(`${title} as a field`, () => {
      const bytes = hex(`92 0f ${value}`);
      expect(scanned(bytes)).toEqual(accepted(bytes.length));
    });
    test(`${title} between other fields`, () => {
      const bytes = hex(`94 0f 01 ${value} c3`);
      expect(scanned(bytes)).toEqual(accepted(bytes.length));
    });
  }

  const ops: [string, string][] = [
    ['fixint', '91 0f'],
    ['negative fixint', '91 ff'],
    ['uint8', '91 cc0f'],
    ['uint16', '91 cd000f'],
    ['uint32', '91 ce0000000f'],
    ['uint64', '91 cf000000000000000f'],
    ['int8', '91 d00f'],
    ['int16', '91 d1000f'],
    ['int32', '91 d20000000f'],
    ['int64', '91 d3000000000000000f'],
    ['integral float64', '91 cb402e000000000000'],
    ['float64 minus zero', '91 cb8000000000000000'],
    ['fixint in an array16', 'dc0001 0f'],
    ['fixint in an array32', 'dd00000001 0f'],
  ];
  for (const [title, text] of ops) {
    test(`an op as ${title}`, () => expect(scanned(text)).toEqual(accepted(hex(text).length)));
  }

  test('an empty message has no frames', () => expect(scanned('')).toEqual({ ends: [], flags: [] }));

  test('several frames end where they end', () => {
    expect(scanned('920f01 930101a161 910f')).toEqual({ ends: [3, 8, 10], flags: [0, 0, 0] });
  });

  test('what the scan before left is gone', () => {
    scanned('92 0f a100 92 0f a100');
    expect(scanned('920f01')).toEqual(accepted(3));
    scanned('92 0f 81 01 02 c1');
    expect(scanned('920f01')).toEqual(accepted(3));
  });

  test('bytes that stand inside a larger buffer', () => {
    const whole = hex('ffff 91cb402e000000000000 ffff');
    expect(scanned(whole.subarray(2, 12))).toEqual(accepted(10));
  });

  test('every UTF-8 boundary', () => {
    const texts = [
      '01',
      '7f',
      'c280',
      'dfbf',
      'e0a080',
      'ed9fbf',
      'ee8080',
      'efbfbf',
      'efbbbf',
      'f0908080',
      'f48fbfbf',
    ];
    for (const text of texts) {
      const size = (text.length / 2).toString(16).padStart(2, '0');
      const bytes = hex(`92 0f d9 ${size} ${text}`);
      expect([text, scanned(bytes)]).toEqual([text, accepted(bytes.length)]);
    }
  });
});

describe('what is refused', () => {
  const refusals: [string, string, string][] = [
    ['the byte 0xC1 as a frame', 'c1', 'a frame is an array'],
    ['the byte 0xC1 as a field', '92 0f c1', 'the byte 0xC1 is never used'],
    ['the byte 0xC1 as an op', '91 c1', 'a frame starts with an integer'],
    ['the byte 0xC1 as a map key', '92 0f 81 c1 01', 'the byte 0xC1 is never used'],
    ['the byte 0xC1 after a frame', '91 0f c1', 'a frame is an array'],
    ['fixext 1', '92 0f d4 01 00', 'extension types are not part of this protocol'],
    ['fixext 1, a record definition', '92 0f d4 72 40', 'extension types are not part of this protocol'],
    ['fixext 2', '92 0f d5 01 0000', 'extension types are not part of this protocol'],
    ['fixext 4, a timestamp', '92 0f d6 ff 00000000', 'extension types are not part of this protocol'],
    ['fixext 8', '92 0f d7 ff 0000000000000000', 'extension types are not part of this protocol'],
    ['fixext 16', `92 0f d8 01 ${'00'.repeat(16)}`, 'extension types are not part of this protocol'],
    ['ext 8', '92 0f c7 01 01 00', 'extension types are not part of this protocol'],
    [
      'ext 8 of 12, a timestamp',
      `92 0f c7 0c ff ${'00'.repeat(12)}`,
      'extension types are not part of this protocol',
    ],
    ['ext 16', '92 0f c8 0001 01 00', 'extension types are not part of this protocol'],
    ['ext 32', '92 0f c9 00000001 01 00', 'extension types are not part of this protocol'],
    ['ext as a map key', '92 0f 81 d4 01 00 01', 'extension types are not part of this protocol'],
    ['ext deep inside', '92 0f 91 81 a161 91 d4 01 00', 'extension types are not part of this protocol'],
    ['an integer as a frame', '0f', 'a frame is an array'],
    ['nil as a frame', 'c0', 'a frame is an array'],
    ['a string as a frame', 'a1 61', 'a frame is an array'],
    ['a map as a frame', '81 a1 61 01', 'a frame is an array'],
    ['bin as a frame', 'c4 01 00', 'a frame is an array'],
    ['an extension as a frame', 'd4 01 00', 'a frame is an array'],
    ['an empty array as a frame', '90', 'a frame starts with an integer'],
    ['an empty array16 as a frame', 'dc 0000', 'a frame starts with an integer'],
    ['an empty array32 as a frame', 'dd 00000000', 'a frame starts with an integer'],
    ['an op as float32', '91 ca 41700000', 'a frame starts with an integer'],
    ['an op as float32 before zeros', '95 ca 41700000 00 00 00 00', 'a frame starts with an integer'],
    ['an op as float64 with a fraction', '91 cb 402f000000000000', 'a frame starts with an integer'],
    ['an op as NaN', '91 cb 7ff8000000000000', 'a frame starts with an integer'],
    ['an op as infinity', '91 cb 7ff0000000000000', 'a frame starts with an integer'],
    ['an op as a string', '91 a1 31', 'a frame starts with an integer'],
    ['an op as nil', '91 c0', 'a frame starts with an integer'],
    ['an op as a boolean', '91 c3', 'a frame starts with an integer'],
    ['an op as an array', '91 91 01', 'a frame starts with an integer'],
    ['an op as a map', '91 80', 'a frame starts with an integer'],
    ['an op as bin', '91 c4 01 01', 'a frame starts with an integer'],
    ['trailing bytes after a frame', '91 0f 00', 'a frame is an array'],
    ['a second frame that is cut', '91 0f 92 0f', 'truncated'],
    ['a third frame with a bad op', '91 0f 91 0f 91 c0', 'a frame starts with an integer'],
    ['a lone continuation byte', '92 0f a1 80', 'a string is not valid UTF-8'],
    ['a slash written in two bytes', '92 0f a2 c0af', 'a string is not valid UTF-8'],
    ['U+0000 written in two bytes', '92 0f a2 c080', 'a string is not valid UTF-8'],
    ['an overlong two-byte form', '92 0f a2 c1bf', 'a string is not valid UTF-8'],
    ['an overlong three-byte form', '92 0f a3 e09fbf', 'a string is not valid UTF-8'],
    ['an overlong four-byte form', '92 0f a4 f08fbfbf', 'a string is not valid UTF-8'],
    ['the first surrogate', '92 0f a3 eda080', 'a string is not valid UTF-8'],
    ['the last surrogate', '92 0f a3 edbfbf', 'a string is not valid UTF-8'],
    ['a surrogate pair (CESU-8)', '92 0f a6 eda0bdedb880', 'a string is not valid UTF-8'],
    ['a code point above U+10FFFF', '92 0f a4 f4908080', 'a string is not valid UTF-8'],
    ['the byte F5', '92 0f a4 f5808080', 'a string is not valid UTF-8'],
    ['the byte FF', '92 0f a1 ff', 'a string is not valid UTF-8'],
    ['two bytes cut after one', '92 0f a1 c3', 'a string is not valid UTF-8'],
    ['three bytes cut after one', '92 0f a1 e2', 'a string is not valid UTF-8'],
    ['three bytes cut after two', '92 0f a2 e282', 'a string is not valid UTF-8'],
    ['four bytes cut after one', '92 0f a1 f0', 'a string is not valid UTF-8'],
    ['four bytes cut after two', '92 0f a2 f09f', 'a string is not valid UTF-8'],
    ['four bytes cut after three', '92 0f a3 f09f98', 'a string is not valid UTF-8'],
    [
      'a cut character that the next value would complete',
      '93 0f a1 e2 a2 82ac',
      'a string is not valid UTF-8',
    ],
    ['a continuation that is none', '92 0f a2 c341', 'a string is not valid UTF-8'],
    ['a third byte that is no continuation', '92 0f a3 e28241', 'a string is not valid UTF-8'],
    ['a fourth byte that is no continuation', '92 0f a4 f09f9841', 'a string is not valid UTF-8'],
    ['bad UTF-8 in str8', '92 0f d9 01 ff', 'a string is not valid UTF-8'],
    ['bad UTF-8 in str16', '92 0f da 0001 ff', 'a string is not valid UTF-8'],
    ['bad UTF-8 in str32', '92 0f db 00000001 ff', 'a string is not valid UTF-8'],
    ['bad UTF-8 in a map key', '92 0f 81 a1 ff 01', 'a string is not valid UTF-8'],
  ];
  for (const [title, text, sentence] of refusals) {
    test(title, () => expect(scanned(text)).toBe(sentence));
  }

  test('a message cut after any byte, unless a frame ends there', () => {
    const whole = hex(`
      dc0010 0f cc01 cd0001 ce00000001 cf0000000000000001 d001 d10001 d200000001 d30000000000000001 ca3f800000
      cb3ff0000000000000 a2c3a9 d9026162 da00026162 db000000026162
      dc0006 c40101 c5000101 c60000000101 81a16101 de0001a16101 df00000001a16101
      920f dd0000000100`);
    const result = scanned(whole);
    if (typeof result === 'string') throw new Error(result);
    expect(result.ends.at(-1)).toBe(whole.length);
    for (let cut = 1; cut < whole.length; cut++) {
      if (!result.ends.includes(cut))
        expect([cut, typeof scanned(whole.slice(0, cut))]).toEqual([cut, 'string']);
    }
  });

  test('every header that is cut off', () => {
    const headers = [
      'c4',
      'c5',
      'c6',
      'd9',
      'da',
      'db',
      'dc',
      'dd',
      'de',
      'df',
      'cc',
      'cd',
      'ce',
      'cf',
      'd0',
      'd1',
      'd2',
      'd3',
      'ca',
      'cb',
    ];
    for (const header of headers) {
      for (let more = 0; more < 3; more++) {
        // The numbers of one byte are whole after one more.
        if (more >= 1 && ['c4', 'd9', 'cc', 'd0'].includes(header)) continue;
        if (more >= 2 && ['c5', 'da', 'dc', 'de', 'cd', 'd1'].includes(header)) continue;
        expect([header, more, scanned(`92 0f ${header} ${'00'.repeat(more)}`)]).toEqual([
          header,
          more,
          'truncated',
        ]);
      }
    }
    expect(scanned('dc')).toBe('truncated');
    expect(scanned('dc 00')).toBe('truncated');
    expect(scanned('dd 000000')).toBe('truncated');
  });
});

describe('declared lengths', () => {
  const forms = {
    str32: 'db',
    bin32: 'c6',
    array32: 'dd',
    map32: 'df',
    str16: 'da',
    bin16: 'c5',
    array16: 'dc',
    map16: 'de',
  };
  for (const [name, byte] of Object.entries(forms)) {
    const lengths = name.endsWith('32')
      ? ['00010000', '01000000', '7fffffff', '80000000', 'fffffffe', 'ffffffff']
      : ['0100', '7fff', '8000', 'ffff'];
    for (const length of lengths) {
      test(`${name} of 0x${length} is refused at once`, () => {
        expect(scanned(`92 0f ${byte}${length}`)).toBe('truncated');
        expect(scanned(`92 0f ${byte}${length} 00000000`)).toBe('truncated');
      });
      test(`${name} of 0x${length} is refused inside others`, () => {
        expect(scanned(`93 0f 91 81 a161 91 ${byte}${length} 00`)).toBe('truncated');
      });
      if (name.startsWith('array')) {
        test(`a frame that is an ${name} of 0x${length} is refused`, () => {
          expect(scanned(`${byte}${length} 0f 01`)).toBe('truncated');
        });
      }
    }
  }

  test('a chain of arrays that each declare 2^32-1 values', () => {
    expect(scanned(`dd0000000a 0f ${'ddffffffff'.repeat(9)}`)).toBe('truncated');
  });

  test('a map that declares one entry more than there are bytes for', () => {
    expect(scanned('92 0f 82 a16101')).toBe('truncated');
    expect(scanned('92 0f de0002 a16101')).toBe('truncated');
  });

  test('the 181 bytes that cost msgpackr 32 MB', () => {
    // 36 nested arrays of 2^20 - 1 values, in 181 bytes.
    const bytes = hex(`91 ${'dd000fffff'.repeat(36)}`);
    expect(bytes.length).toBe(181);
    expect(scanned(bytes)).toBeString();
    expect(scanned(hex(`93 0f ${'dd000fffff'.repeat(35)}`))).toBeString();
  });
});

describe('depth', () => {
  test('eight levels are accepted, nine are not', () => {
    const arrays = (depth: number) => `92 0f ${'91'.repeat(depth - 2)} 90`;
    expect(scanned(arrays(depthMax))).toEqual(accepted(2 + depthMax - 1));
    expect(scanned(arrays(depthMax + 1))).toBe('nested deeper than 8');
    expect(scanned(`92 0f ${'91'.repeat(depthMax - 1)} c0`)).toEqual(accepted(2 + depthMax));
    expect(scanned(`92 0f ${'91'.repeat(depthMax)} c0`)).toBe('nested deeper than 8');
  });

  test('maps count as arrays do', () => {
    expect(scanned(`92 0f ${'81a161'.repeat(depthMax - 1)} c0`)).toEqual(
      accepted(2 + 3 * (depthMax - 1) + 1),
    );
    expect(scanned(`92 0f ${'81a161'.repeat(depthMax)} c0`)).toBe('nested deeper than 8');
    expect(scanned(`92 0f ${'81a161'.repeat(depthMax - 1)} 80`)).toBe('nested deeper than 8');
  });

  test('a map as the key of a map is a level too', () => {
    expect(scanned(`92 0f ${'81'.repeat(depthMax - 1)} c0 ${'c0'.repeat(depthMax - 1)}`)).toEqual(
      accepted(2 * depthMax + 1, flagKey),
    );
    expect(scanned(`92 0f ${'81'.repeat(depthMax)} c0 ${'c0'.repeat(depthMax)}`)).toBe(
      'nested deeper than 8',
    );
  });

  test('many siblings at the deepest level are no deeper', () => {
    const bytes = hex(`92 0f ${'91'.repeat(depthMax - 2)} 9f ${'00'.repeat(15)}`);
    expect(scanned(bytes)).toEqual(accepted(bytes.length));
  });

  test('ten thousand levels are refused', () => {
    expect(scanned(hex(`92 0f ${'91'.repeat(10_000)} c0`))).toBe('nested deeper than 8');
  });
});

describe('items', () => {
  const frameOf = (items: number) =>
    hex(`dc ${(items - 1).toString(16).padStart(4, '0')} 0f ${'c0'.repeat(items - 2)}`);

  test('4,096 values are accepted, one more is not', () => {
    expect(scanned(frameOf(itemsMax))).toEqual(accepted(3 + itemsMax - 1));
    expect(scanned(frameOf(itemsMax + 1))).toBe('more than 4096 items');
  });

  test('keys and values of maps count', () => {
    const entries = (itemsMax - 3) >> 1;
    const map = (count: number) =>
      hex(`92 0f de ${count.toString(16).padStart(4, '0')} ${'a0c0'.repeat(count)}`);
    expect(scanned(map(entries))).toEqual(accepted(5 + 2 * entries));
    expect(scanned(map(entries + 1))).toBe('more than 4096 items');
  });

  test('empty containers count', () => {
    const bytes = hex(`dc 0fff 0f ${'90'.repeat(itemsMax - 2)}`);
    expect(scanned(bytes)).toEqual(accepted(bytes.length));
    expect(scanned(hex(`dc 1000 0f ${'90'.repeat(itemsMax - 1)}`))).toBe('more than 4096 items');
  });

  test('the values of all frames of a message count together', () => {
    const frames = (count: number) => hex('910f'.repeat(count));
    expect(scanned(frames(itemsMax / 2))).toMatchObject({ ends: { length: itemsMax / 2 } });
    expect(scanned(frames(itemsMax / 2 + 1))).toBe('more than 4096 items');
  });

  test('the count starts again with the next message', () => {
    scanned(frameOf(itemsMax));
    expect(scanned('920f01')).toEqual(accepted(3));
  });
});

describe('flags', () => {
  test('U+0000 in each form of string', () => {
    for (const text of ['a100', 'a3610062', 'd90100', 'da000100', 'db0000000100']) {
      const bytes = hex(`92 0f ${text}`);
      expect([text, scanned(bytes)]).toEqual([text, accepted(bytes.length, flagNul)]);
    }
  });

  test('U+0000 in a map key, and deep inside', () => {
    expect(scanned('92 0f 81 a100 01')).toEqual(accepted(6, flagNul));
    expect(scanned('92 0f 91 81 a161 91 a100')).toEqual(accepted(9, flagNul));
  });

  test('zero bytes in bin are no U+0000', () => expect(scanned('92 0f c40100')).toEqual(accepted(5)));

  const keys: [string, string][] = [
    ['an integer', '01'],
    ['a negative integer', 'ff'],
    ['uint64', 'cf0000000000000001'],
    ['nil', 'c0'],
    ['a boolean', 'c3'],
    ['float64', 'cb3ff0000000000000'],
    ['bin', 'c40161'],
    ['an array', '90'],
    ['a map', '80'],
    ['__proto__', 'a95f5f70726f746f5f5f'],
    ['__proto__ as str8', 'd9095f5f70726f746f5f5f'],
    ['__proto__ as str16', 'da00095f5f70726f746f5f5f'],
    ['__proto__ as str32', 'db000000095f5f70726f746f5f5f'],
  ];
  for (const [title, key] of keys) {
    test(`a map key that is ${title}`, () => {
      const bytes = hex(`92 0f 81 ${key} 01`);
      expect(scanned(bytes)).toEqual(accepted(bytes.length, flagKey));
      const second = hex(`92 0f 82 a161 01 ${key} 01`);
      expect(scanned(second)).toEqual(accepted(second.length, flagKey));
    });
  }

  test('__proto__ as a value, and keys that only look like it', () => {
    expect(scanned('92 0f a95f5f70726f746f5f5f')).toEqual(accepted(12));
    expect(scanned('92 0f 81 a161 a95f5f70726f746f5f5f')).toEqual(accepted(15));
    expect(scanned('92 0f 81 a95f5f70726f746f5f60 01')).toEqual(accepted(14));
    expect(scanned('92 0f 81 a85f5f70726f746f5f 01')).toEqual(accepted(13));
  });

  test('keys and values alternate through nested containers', () => {
    // The map's first value is an array of one map; then a good key, then a bad one.
    expect(scanned('92 0f 82 a161 91 81 a162 01 a163 02')).toMatchObject({ flags: [0] });
    expect(scanned('92 0f 82 a161 91 81 a162 01 03 02')).toMatchObject({ flags: [flagKey] });
    expect(scanned('92 0f 82 a161 80 a162 81 01 01')).toMatchObject({ flags: [flagKey] });
    expect(scanned('92 0f 93 81 a161 01 02 03')).toMatchObject({ flags: [0] });
  });

  test('a flag belongs to its frame', () => {
    expect(scanned('920f01 920fa100 920f01 920f810101')).toEqual({
      ends: [3, 7, 10, 15],
      flags: [0, flagNul, 0, flagKey],
    });
    expect(scanned('920f82a100010101')).toEqual(accepted(8, flagNul | flagKey));
  });
});

test('one bad frame refuses the whole message, wherever it stands', () => {
  const good = '930f01a161';
  for (const bad of [
    'c0',
    '90',
    '92 0f',
    '91 c0',
    '92 0f c1',
    '92 0f d40100',
    '92 0f a1ff',
    '92 0f dbffffffff',
  ]) {
    for (let before = 0; before <= 3; before++) {
      expect([bad, before, typeof scanned(`${good.repeat(before)} ${bad}`)]).toEqual([bad, before, 'string']);
    }
  }
});
