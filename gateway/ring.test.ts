// The ring: what it holds, where it ends, and how edits and deletes are folded into it.

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import * as encode from '../core/protocol/encode.ts';
import { decodeEvent } from '../core/protocol/events.ts';
import { readSeq, stamp } from '../core/protocol/stamp.ts';
import { Ring } from './ring.ts';

const ts = 1_780_000_000_000;
const noLimit = Number.MAX_SAFE_INTEGER;
const id = new Uint8Array(16);

function placed(seq: number, bytes: Uint8Array) {
  stamp(bytes, 0, seq, ts + seq);
  return { seq, bytes };
}
const message = (seq: number, content = 'hello', meta: Record<string, unknown> | null = null) =>
  placed(seq, encode.encodeMessage('room', 'ann', id, 'text', content, meta && encode.encodeMap(meta)));
const edit = (seq: number, target: number, content = 'edited') =>
  placed(seq, encode.encodeMessageEdited('room', 'ann', target, content));
const remove = (seq: number, target: number) =>
  placed(seq, encode.encodeMessageDeleted('room', 'ann', target));

/** Adds events as one chunk, and folds as the hub does. */
function add(ring: Ring, events: readonly { seq: number; bytes: Uint8Array }[], bytesMax = noLimit): void {
  const ends: number[] = [];
  for (const { bytes } of events) ends.push((ends.at(-1) ?? 0) + bytes.length);
  ring.add(events[0]!.seq, encode.concatFrames(events.map(({ bytes }) => bytes)), ends, bytesMax);
  for (const { bytes } of events) ring.fold(decodeEvent(bytes));
}

/** Every event after `seq` that the ring gives, by pieces of `bytesMax`. */
function readAll(ring: Ring, seq: number, bytesMax = noLimit): number[] {
  const seqs: number[] = [];
  for (let at = seq; ; ) {
    const slice = ring.after(at, bytesMax);
    if (slice === null) return seqs;
    let start = 0;
    while (start < slice.bytes.length) {
      const rest = slice.bytes.subarray(start);
      const next = readSeq(rest);
      seqs.push(next);
      start += lengths.get(next)!;
    }
    expect(seqs.at(-1)).toBe(slice.last);
    at = slice.last;
  }
}
const lengths = new Map<number, number>();

const decoded = (ring: Ring, seq: number) => decodeEvent(ring.after(seq - 1, 0)!.bytes);
const contentOf = (ring: Ring, seq: number) => (decoded(ring, seq) as { content?: unknown }).content;

describe('reading on', () => {
  test('from any place gives every later event once, whatever the chunks and pieces', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.nat(60), { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 0, max: 1000 }),
        (chunks, bytesMax, from) => {
          const ring = new Ring();
          let seq = from;
          for (const sizes of chunks) {
            const events = sizes.map((size) => message(++seq, 'x'.repeat(size)));
            for (const event of events) lengths.set(event.seq, event.bytes.length);
            add(ring, events);
          }
          for (let after = from; after <= seq; after++) {
            const expected = Array.from({ length: seq - after }, (_, i) => after + 1 + i);
            expect(readAll(ring, after, bytesMax)).toEqual(expected);
          }
          expect(ring.after(from - 1, 1)).toBeNull();
          expect(ring.after(seq, 1)).toBeNull();
        },
      ),
      { numRuns: 60 },
    );
  });

  test('gives a whole chunk as the buffer that was added, without a copy', () => {
    const ring = new Ring();
    const { bytes } = message(1);
    ring.add(1, bytes, [bytes.length], noLimit);
    expect(ring.after(0, noLimit)!.bytes).toBe(bytes);
  });

  test('gives one event at least, however large', () => {
    const ring = new Ring();
    add(ring, [message(1, 'x'.repeat(5000)), message(2)]);
    expect(ring.after(0, 10)!.last).toBe(1);
  });
});

describe('the bound', () => {
  test('drops the oldest chunks, and a chunk that alone is too large', () => {
    const ring = new Ring();
    const size = message(1).bytes.length;
    for (let seq = 1; seq <= 10; seq++) add(ring, [message(seq)], size * 3);
    expect(ring.after(6, 1)).toBeNull();
    expect(ring.after(7, 1)!.last).toBe(8);
    add(ring, [message(11, 'x'.repeat(1000))], size * 3);
    expect(ring.after(10, 1)).toBeNull();
    add(ring, [message(12)], size * 3);
    expect(ring.after(11, 1)!.last).toBe(12);
  });

  test('holds for what is put in front: the newest of it, as far as there is room', () => {
    const ring = new Ring();
    const size = message(1).bytes.length;
    add(ring, [message(10)]);
    ring.prepend(
      [5, 6, 7, 8, 9].map((seq) => message(seq)),
      10,
      true,
      size * 4,
    );
    expect(ring.after(5, 1)).toBeNull();
    expect(ring.after(6, 1)!.last).toBe(7);
    expect(ring.newest(10, noLimit)).toBeNull();
  });
});

describe('the newest', () => {
  const seqsOf = (page: { events: readonly Uint8Array[]; more: boolean } | null) =>
    page && { seqs: page.events.map((bytes) => readSeq(bytes)), more: page.more };

  test('of a ring that does not hold enough cannot be told', () => {
    const ring = new Ring();
    expect(ring.newest(5, noLimit)).toBeNull();
    add(ring, [message(7), message(8)]);
    expect(ring.newest(2, noLimit)).toBeNull();
    expect(seqsOf(ring.newest(1, noLimit))).toEqual({ seqs: [8], more: true });
  });

  test('of a whole room are told with no more before them', () => {
    const ring = new Ring();
    ring.prepend([message(1), message(2)], 2, true, noLimit);
    add(ring, [message(3)]);
    expect(seqsOf(ring.newest(3, noLimit))).toEqual({ seqs: [1, 2, 3], more: false });
    expect(seqsOf(ring.newest(10, noLimit))).toEqual({ seqs: [1, 2, 3], more: false });
    expect(seqsOf(ring.newest(2, noLimit))).toEqual({ seqs: [2, 3], more: true });
  });

  test('of a room without events are none, and then those that come', () => {
    const ring = new Ring();
    ring.prepend([], 0, true, noLimit);
    expect(seqsOf(ring.newest(5, noLimit))).toEqual({ seqs: [], more: false });
    add(ring, [message(1)]);
    expect(seqsOf(ring.newest(5, noLimit))).toEqual({ seqs: [1], more: false });
  });

  test('are cut by bytes, but one event at least', () => {
    const ring = new Ring();
    ring.prepend([message(1), message(2), message(3)], 3, true, noLimit);
    const size = message(1).bytes.length;
    expect(seqsOf(ring.newest(10, size * 2))).toEqual({ seqs: [2, 3], more: true });
    expect(seqsOf(ring.newest(10, 1))).toEqual({ seqs: [3], more: true });
    expect(seqsOf(ring.newest(10, size * 3))).toEqual({ seqs: [1, 2, 3], more: false });
  });

  test('of a ring that lost its beginning are no longer the whole room', () => {
    const ring = new Ring();
    const size = message(1).bytes.length;
    ring.prepend([message(1), message(2)], 2, true, size * 3);
    add(ring, [message(3)], size * 3);
    add(ring, [message(4)], size * 3);
    expect(ring.newest(10, noLimit)).toBeNull();
  });

  test('of a ring that was cleared are not known, however whole it was', () => {
    const ring = new Ring();
    ring.prepend([message(1)], 1, true, noLimit);
    ring.clear();
    expect(ring.newest(1, noLimit)).toBeNull();
    add(ring, [message(5)]);
    expect(ring.newest(10, noLimit)).toBeNull();
  });

  test('with a gap to what is put in front stay without it', () => {
    const ring = new Ring();
    add(ring, [message(10)]);
    ring.prepend([message(5), message(6)], 10, false, noLimit);
    expect(ring.after(4, 1)).toBeNull();
    ring.prepend([message(8), message(9), message(10)], 10, false, noLimit);
    expect(ring.after(7, noLimit)!.last).toBe(9);
  });
});

describe('folding', () => {
  test('gives a message the content of its last edit, and keeps its place, meta and neighbours', () => {
    const ring = new Ring();
    add(ring, [message(1), message(2, 'old', { a: 1 }), message(3)]);
    add(ring, [edit(4, 2, 'a much longer content than before'), edit(5, 2, 'last')]);
    expect(decoded(ring, 2)).toMatchObject({ seq: 2, ts: ts + 2, content: 'last', meta: { a: 1 } });
    expect([contentOf(ring, 1), contentOf(ring, 3)]).toEqual(['hello', 'hello']);
    expect(decoded(ring, 4)).toMatchObject({
      seq: 4,
      target: 2,
      content: 'a much longer content than before',
    });
  });

  test('takes the content from a deleted message and from all its edits', () => {
    const ring = new Ring();
    add(ring, [message(1, 'secret', { a: 1 }), edit(2, 1, 'secret too'), message(3), edit(4, 3, 'stays')]);
    add(ring, [remove(5, 1)]);
    expect(decoded(ring, 1)).toMatchObject({ content: null, meta: { deleted: true } });
    expect(decoded(ring, 2)).toMatchObject({ seq: 2, ts: ts + 2, content: null });
    expect([contentOf(ring, 3), contentOf(ring, 4)]).toEqual(['stays', 'stays']);
    expect(Buffer.from(ring.after(0, noLimit)!.bytes).includes('secret')).toBe(false);
  });

  test('never brings a deleted message back', () => {
    const ring = new Ring();
    add(ring, [message(1), remove(2, 1), edit(3, 1, 'late'), remove(4, 1)]);
    expect(decoded(ring, 1)).toMatchObject({ content: null, meta: { deleted: true } });
  });

  test('does not change the buffers that were published', () => {
    const ring = new Ring();
    const { bytes } = message(1, 'published');
    const before = Buffer.from(bytes).toString('hex');
    ring.add(1, bytes, [bytes.length], noLimit);
    add(ring, [edit(2, 1, 'other'), remove(3, 1)]);
    expect(Buffer.from(bytes).toString('hex')).toBe(before);
    expect(contentOf(ring, 1)).toBeNull();
  });

  test('of what it does not hold, or of what is no message, does nothing', () => {
    const ring = new Ring();
    add(ring, [message(10), edit(11, 3), edit(12, 11), remove(13, 3), remove(14, 99)]);
    expect(contentOf(ring, 10)).toBe('hello');
    expect(contentOf(ring, 12)).toBe('edited');
  });

  test('counts the bytes that it adds', () => {
    const ring = new Ring();
    const size = message(1).bytes.length;
    const bytesMax = size * 3 + edit(1, 1).bytes.length + 2000;
    add(ring, [message(1, '')], bytesMax);
    add(ring, [edit(2, 1, 'x'.repeat(1900))], bytesMax);
    add(ring, [message(3)], bytesMax);
    expect(ring.after(0, 1)).toBeNull();
    expect(ring.after(1, 1)!.last).toBe(2);
  });
});
