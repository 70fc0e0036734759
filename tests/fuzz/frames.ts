// Messages for the decoder: right frames in every encoding, nearly right ones, mutations of both, hostile lengths and
// plain noise. Everything comes from the Random that is passed in.

import { Random } from './random.ts';

class Writer {
  readonly #random: Random;
  readonly #parts: number[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  finish(): Uint8Array {
    return new Uint8Array(this.#parts);
  }

  byte(...bytes: number[]): void {
    this.#parts.push(...bytes);
  }

  #number(size: 1 | 2 | 4 | 8, value: number): void {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt.asUintN(64, BigInt(value)));
    for (let i = 8 - size; i < 8; i++) this.byte(view.getUint8(i));
  }

  /** A header in any form that can hold the size: `forms` are [first byte, bytes of size, greatest size]. */
  #header(
    size: number,
    fix: [base: number, max: number] | null,
    forms: readonly (readonly [number, 1 | 2 | 4])[],
  ): void {
    const fits = forms.filter(([, bytes]) => size < 256 ** bytes);
    if (fix && size <= fix[1] && this.#random.chance(0.7)) this.byte(fix[0] + size);
    else {
      const [first, bytes] = this.#random.pick(fits);
      this.byte(first);
      this.#number(bytes, size);
    }
  }

  array(count: number): void {
    this.#header(
      count,
      [0x90, 15],
      [
        [0xdc, 2],
        [0xdd, 4],
      ],
    );
  }

  map(count: number): void {
    this.#header(
      count,
      [0x80, 15],
      [
        [0xde, 2],
        [0xdf, 4],
      ],
    );
  }

  text(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.#header(
      bytes.length,
      [0xa0, 31],
      [
        [0xd9, 1],
        [0xda, 2],
        [0xdb, 4],
      ],
    );
    this.byte(...bytes);
  }

  binary(bytes: Uint8Array): void {
    this.#header(bytes.length, null, [
      [0xc4, 1],
      [0xc5, 2],
      [0xc6, 4],
    ]);
    this.byte(...bytes);
  }

  float64(value: number): void {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value);
    this.byte(0xcb, ...new Uint8Array(view.buffer));
  }

  /** In any encoding that can hold it. */
  integer(value: number): void {
    const forms: (() => void)[] = [() => this.float64(value)];
    const form = (first: number, size: 1 | 2 | 4 | 8) =>
      forms.push(() => {
        this.byte(first);
        this.#number(size, value);
      });
    if (value >= 0) {
      if (value < 128)
        forms.push(
          () => this.byte(value),
          () => this.byte(value),
        );
      if (value < 2 ** 8) form(0xcc, 1);
      if (value < 2 ** 16) form(0xcd, 2);
      if (value < 2 ** 32) form(0xce, 4);
      form(0xcf, 8);
    } else if (value >= -32) forms.push(() => this.byte(256 + value));
    if (value >= -(2 ** 7) && value < 2 ** 7) form(0xd0, 1);
    if (value >= -(2 ** 15) && value < 2 ** 15) form(0xd1, 2);
    if (value >= -(2 ** 31) && value < 2 ** 31) form(0xd2, 4);
    form(0xd3, 8);
    this.#random.pick(forms)();
  }
}

const integers = [
  0,
  1,
  2,
  5,
  31,
  32,
  127,
  128,
  200,
  255,
  256,
  65535,
  65536,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53 - 1,
];
const strings = [
  '',
  'r',
  'room',
  'general',
  'a b',
  'é',
  '€uro',
  '🐎',
  '\0',
  'a\0b',
  'x'.repeat(31),
  'x'.repeat(64),
  'y'.repeat(300),
  '__proto__',
  'constructor',
  '\ufeffbom',
  'text',
  'online',
  'a\nb',
];

function anyText(random: Random): string {
  if (random.chance(0.7)) return random.pick(strings);
  let text = '';
  for (let i = random.below(12); i > 0; i--)
    text += String.fromCodePoint(
      random.pick([
        random.below(0x80),
        random.below(0x800),
        0xe000 + random.below(0x1000),
        0x10000 + random.below(0xfffff),
      ]),
    );
  return text;
}

/** Bytes at the edges of UTF-8, right and wrong. */
const edges = [
  '7f c280 dfbf e0a080 ed9fbf ee8080 efbfbf f0908080 f48fbfbf',
  '80 bf c080 c1bf c2 c27f c2c0 e08080 e09fbf e0a0 e0a07f eda080 edbfbf ed9f ef bf',
  'f0808080 f08fbfbf f09080 f0908080 f4908080 f48fbf f5808080 f880808080 fe ff 00',
].flatMap((line) => line.split(' '));

/** A string that may be wrong in its last or only character. */
function writeEdge(writer: Writer, random: Random): void {
  const bytes = [...Buffer.from(`${'a'.repeat(random.below(3))}`), ...Buffer.from(random.pick(edges), 'hex')];
  if (random.chance(0.5)) bytes.push(...Buffer.from(random.pick(['b', 'é', '\0'])));
  writer.byte(0xa0 | bytes.length, ...bytes);
}

/** A frame whose deepest container is around the bound. */
function writeDeep(writer: Writer, random: Random): void {
  const depth = 6 + random.below(5);
  writer.byte(0x93, random.below(17), random.below(128));
  // What closes each level, innermost first: a map's value where the nesting went on in its key.
  const closing: number[] = [];
  for (let level = 2; level < depth; level++) {
    const kind = random.below(4);
    if (kind === 0) writer.byte(0x91);
    else if (kind === 1) writer.byte(0x81, 0xa1, 0x61);
    else if (kind === 2) writer.byte(0x92, 0xc0);
    else {
      writer.byte(0x81);
      closing.push(0xc0);
    }
  }
  writer.byte(random.pick([0x90, 0x80, 0x91, 0xc0]));
  writer.byte(...closing, ...(random.chance(0.5) ? [0xc0] : []));
}

/** Messages whose number of values is around the bound, as one frame or as many. */
function writeMany(writer: Writer, random: Random): void {
  const items = 4093 + random.below(7);
  const frames = random.pick([1, 2, 5]);
  for (let left = items, frame = frames; frame > 0; frame--) {
    const share = frame === 1 ? left : Math.floor(left / frame);
    left -= share;
    const count = share - 1;
    writer.byte(0xdc, count >> 8, count & 255, 0x0f);
    const value = random.pick([0xc0, 0x90, 0x80, 0xa0]);
    for (let i = 1; i < count; i++) writer.byte(value);
  }
}

function writeAny(writer: Writer, random: Random, depth: number): void {
  if (random.chance(0.02)) return writeEdge(writer, random);
  const kind = random.below(depth > 7 ? 8 : 11);
  if (kind === 0) writer.byte(0xc0);
  else if (kind === 1) writer.byte(random.pick([0xc2, 0xc3]));
  else if (kind <= 3) writer.integer(random.chance(0.2) ? -1 - random.pick(integers) : random.pick(integers));
  else if (kind <= 5) writer.text(anyText(random));
  else if (kind === 6) writer.binary(random.bytes(random.pick([0, 1, 15, 16, 17, 40])));
  else if (kind === 7) {
    if (random.chance(0.5))
      writer.float64(random.pick([0.5, -0.5, Number.NaN, Number.POSITIVE_INFINITY, 1e300, -0]));
    else writer.byte(0xca, ...random.bytes(4));
  } else if (kind <= 9) {
    const count = random.below(random.chance(0.05) ? 20 : 4);
    writer.map(count);
    for (let i = 0; i < count; i++) {
      if (random.chance(0.95)) writer.text(anyText(random));
      else writeAny(writer, random, depth + 1);
      writeAny(writer, random, depth + 1);
    }
  } else {
    const count = random.below(random.chance(0.05) ? 20 : 4);
    writer.array(count);
    for (let i = 0; i < count; i++) writeAny(writer, random, depth + 1);
  }
}

type Field =
  | 'room'
  | 'uint'
  | 'uint?'
  | 'id'
  | 'type'
  | 'content'
  | 'meta'
  | 'emoji'
  | 'bool'
  | 'limit'
  | 'token'
  | 'status';

/** The fields of each op after rid, as PROTOCOL.md lists them. */
const ops: readonly (readonly Field[])[] = [
  [],
  ['room', 'uint?', 'uint?'],
  ['room'],
  ['room'],
  ['room'],
  ['room', 'id', 'type', 'content', 'meta', 'uint?'],
  ['room', 'uint', 'content'],
  ['room', 'uint'],
  ['room', 'uint', 'emoji', 'bool'],
  ['room', 'bool'],
  ['room', 'uint'],
  ['room', 'uint'],
  ['room', 'uint?', 'uint?', 'limit'],
  ['room'],
  ['token'],
  [],
  ['status'],
];

function writeField(writer: Writer, random: Random, field: Field): void {
  if (random.chance(0.04)) return writeAny(writer, random, 2);
  switch (field) {
    case 'room':
      return writer.text(random.pick(['r', 'general', 'a:b|c+d@e.f-g_h', 'x'.repeat(64)]));
    case 'uint?':
      if (random.chance(0.4)) return writer.byte(0xc0);
      return writer.integer(random.pick(integers));
    case 'uint':
      return writer.integer(random.pick(integers));
    case 'id':
      return writer.binary(random.bytes(16));
    case 'type':
      return writer.text(random.pick(['text', 'image', 'file', 'location', 'custom']));
    case 'content':
      return random.chance(0.1)
        ? writer.binary(random.bytes(random.below(40)))
        : writer.text(anyText(random));
    case 'meta': {
      if (random.chance(0.5)) return writer.byte(0xc0);
      const count = random.below(5);
      writer.map(count);
      for (let i = 0; i < count; i++) {
        writer.text(anyText(random));
        writeAny(writer, random, 3);
      }
      return;
    }
    case 'emoji':
      return writer.text(random.pick(['👍', '❤️', ':x:', '👩‍👩‍👧‍👦']));
    case 'bool':
      return writer.byte(random.pick([0xc2, 0xc3]));
    case 'limit':
      return writer.integer(1 + random.below(200));
    case 'token':
      return writer.text('header.payload.signature');
    case 'status':
      return writer.text(random.pick(['online', 'away']));
  }
}

function writeFrame(writer: Writer, random: Random): void {
  if (random.chance(0.1)) {
    const count = random.below(6);
    writer.array(1 + count);
    if (random.chance(0.9)) writer.integer(random.below(130) - 1);
    else writeAny(writer, random, 1);
    for (let i = 0; i < count; i++) writeAny(writer, random, 1);
    return;
  }
  const op = 1 + random.below(16);
  const fields = ops[op] as readonly Field[];
  const trailing = random.chance(0.1) ? random.below(3) : 0;
  const missing = random.chance(0.05) ? random.below(fields.length + 2) : 0;
  const count = Math.max(0, 1 + fields.length - missing);
  writer.array(1 + count + trailing);
  writer.integer(op);
  if (count > 0) {
    if (random.chance(0.95)) writer.integer(random.pick([0, 1, 7, 300, 70_000, 2 ** 32 - 1]));
    else writeAny(writer, random, 1);
  }
  for (let i = 0; i < count - 1; i++) writeField(writer, random, fields[i] as Field);
  for (let i = 0; i < trailing; i++) writeAny(writer, random, 1);
}

/** The first bytes that declare a length, and huge ones. */
const hostileHeaders = [
  0xc4, 0xc5, 0xc6, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xc7, 0xc8, 0xc9, 0xc1, 0xd4, 0xd8, 0x8f, 0x9f,
  0xbf,
];
const hostileBytes = [0x00, 0x01, 0x7f, 0x80, 0xff, 0xc0, 0xc1, 0xed, 0xf4, 0xe0, 0x10];

function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  const list = [...bytes];
  for (let rounds = 1 + random.below(4); rounds > 0; rounds--) {
    const at = random.below(list.length + 1);
    switch (random.below(8)) {
      case 0: // flip a bit
        if (at < list.length) list[at] = (list[at] as number) ^ (1 << random.below(8));
        break;
      case 1: // another byte
        if (at < list.length) list[at] = random.chance(0.5) ? random.below(256) : random.pick(hostileBytes);
        break;
      case 2: // insert
        list.splice(at, 0, ...random.bytes(1 + random.below(4)));
        break;
      case 3: // remove
        list.splice(at, 1 + random.below(4));
        break;
      case 4: // cut the end
        list.length = Math.min(list.length, at);
        break;
      case 5: // a part again
        list.splice(at, 0, ...list.slice(at, at + random.below(20)));
        break;
      case 6: // a header that lies
        list.splice(
          at,
          random.below(3),
          random.pick(hostileHeaders),
          ...Array.from({ length: random.below(5) }, () => random.pick(hostileBytes)),
        );
        break;
      default: // wrapped once more
        list.splice(at, 0, random.pick([0x91, 0x81, 0x92, 0x90, 0x80]));
    }
  }
  return new Uint8Array(list);
}

/** The message of one number of one run. */
export function makeMessage(seed: number, index: number): Uint8Array {
  const random = new Random(seed ^ Math.imul(index + 1, 0x9e3779b1));
  const kind = random.fraction();
  if (kind < 0.05) return random.bytes(random.below(60));
  const writer = new Writer(random);
  if (kind < 0.1) {
    if (kind < 0.06) writeMany(writer, random);
    else writeDeep(writer, random);
    return writer.finish();
  }
  for (let frames = random.chance(0.3) ? 1 + random.below(5) : 1; frames > 0; frames--)
    writeFrame(writer, random);
  const bytes = writer.finish();
  return kind < 0.5 ? bytes : mutate(bytes, random);
}
