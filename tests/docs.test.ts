// Compares docs/protocol.md with the code: ops, fields, codes, limits, and the conversation in hex, which the real codec
// writes here.

import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import type { TTuple } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { Packr } from 'msgpackr';
import { decodeFrame, decodeValue } from '../core/protocol/codec.ts';
import { closes, errors, retryable } from '../core/protocol/codes.ts';
import {
  encodeError,
  encodeMessage,
  encodeOk,
  encodeReaction,
  encodeWelcome,
} from '../core/protocol/encode.ts';
import { clientFields, serverFrames } from '../core/protocol/frames.ts';
import * as limits from '../core/protocol/limits.ts';
import { clientOps, controlOps, ephemeralOps, eventOps } from '../core/protocol/ops.ts';
import { scanFrames } from '../core/protocol/scan.ts';
import { stamp } from '../core/protocol/stamp.ts';

const document = readFileSync(new URL('../docs/protocol.md', import.meta.url), 'utf8');
const serverOps = { ...controlOps, ...eventOps, ...ephemeralOps };

/** The text between a heading and the next one of its level. */
function section(heading: string): string {
  const level = heading.split(' ')[0];
  const start = document.indexOf(`\n${heading}\n`);
  if (start < 0) throw new Error(`no heading ${heading}`);
  const rest = document.slice(start + heading.length + 2);
  const end = rest.search(new RegExp(`^#{1,${level?.length}} `, 'm'));
  return end < 0 ? rest : rest.slice(0, end);
}

/** The rows of a section's table, cells trimmed, without its head. */
function rows(heading: string): string[][] {
  const lines = section(heading)
    .split('\n')
    .filter((line) => line.startsWith('|'));
  return lines.slice(2).map((line) =>
    line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  );
}

/** The names in `[op, a, b?, [c]]` after the op. */
function fieldsOf(frame: string): string[] {
  const fields = frame.replaceAll(/[[\]`?]/g, '').split(', ');
  return fields.slice(1);
}

describe('tables', () => {
  test('the client ops are those of ops.ts', () => {
    const table = Object.fromEntries(rows('## Client to server').map(([op, name]) => [name, Number(op)]));
    expect(table).toEqual(clientOps);
  });

  test('the server ops are those of ops.ts', () => {
    const table = Object.fromEntries(rows('## Server to client').map(([op, name]) => [name, Number(op)]));
    expect(table).toEqual(serverOps);
  });

  test('the errors are those of codes.ts', () => {
    const expected = Object.entries(errors).map(([code, { status, retry, sentence }]) => [
      code,
      String(status),
      (retryable as ReadonlySet<string>).has(code) ? 'yes' : '',
      retry,
      sentence,
    ]);
    expect(rows('## Errors')).toEqual(expected);
  });

  test('the close codes are those of codes.ts', () => {
    const table = rows('## Close codes').map(([code, name, retry]) => [Number(code), name, retry]);
    const expected = Object.entries(closes).map(([name, { code, retry }]) => [code, name, retry]);
    expect(table.sort()).toEqual(expected.sort());
  });

  test('what a client does after a close is what codes.ts says', () => {
    for (const [code, , retry, , client] of rows('## Close codes')) {
      if (Number(code) >= 4000) expect(retry === 'never').toBe(Number(code) >= 4500);
      expect(client === 'stops').toBe(retry === 'never');
      expect(client?.includes('backoff')).toBe(retry === 'backoff');
    }
  });

  test('the limits are those of limits.ts', () => {
    const table = rows('## Limits').map(([name, value]) => [name?.replaceAll('`', ''), Number(value)]);
    const expected = Object.entries(limits).filter(([, value]) => typeof value === 'number');
    expect(Object.fromEntries(table)).toEqual(Object.fromEntries(expected));
  });

  test('the message types are those of limits.ts', () => {
    const [line = ''] = section('### Content').split('. ');
    expect([...line.matchAll(/`(\w+)`/g)].map((match) => match[1]).slice(1)).toEqual([
      ...limits.messageTypes,
    ]);
  });
});

describe('frames', () => {
  for (const [name, schema] of Object.entries(clientFields)) {
    const op = clientOps[name as keyof typeof clientOps];
    test(`${op} ${name} has its headings, and the fields of the schema`, () => {
      const text = section(`### ${op} ${name}`);
      const [frame = '', answer = ''] = [...text.matchAll(/\*\*(?:Frame|Answer):\*\* `([^`]+)`/g)].map(
        (m) => m[1],
      );
      expect(frame).toStartWith(`[${op}, rid`);
      expect(fieldsOf(frame)).toEqual(['rid', ...Object.keys(schema.properties)]);
      expect(answer).toStartWith('[32, rid');
      expect(text).toContain('- **Does:** ');
    });
  }

  for (const [name, op] of Object.entries(serverOps)) {
    test(`${op} ${name} has its headings, and as many fields as the schema`, () => {
      const text = section(`### ${op} ${name}`);
      expect(text).toContain('- **Sent:** ');
      expect(text).toContain('- **Carries:** ');
      if (name === 'ok') return;
      const row = rows('## Server to client').find(([number]) => number === String(op));
      const schema: TTuple = serverFrames[name as keyof typeof serverFrames];
      expect(row?.[2]).toStartWith(`\`[${op}, `);
      expect(fieldsOf(row?.[2] ?? '')).toHaveLength((schema.items?.length ?? 0) - 1);
    });
  }
});

describe('the conversation', () => {
  const packr = new Packr({ useRecords: false });
  const id = Uint8Array.from(Buffer.from('019aac1a5b007c3e9d4f2b1a8e7d6c5b', 'hex'));
  const ts = 1_763_824_000_123;
  const stamped = (event: Uint8Array, seq: number, at: number) => {
    stamp(event, 0, seq, at);
    return event;
  };

  const messages: ReadonlyArray<readonly ['C' | 'S', ...Uint8Array[]]> = [
    [
      'S',
      encodeWelcome({
        session: 's-1',
        user: 'ada',
        server: 'gw-1',
        version: '0.1.0',
        time: ts - 5000,
        heartbeat_ms: 15_000,
        max_frame_bytes: 65_536,
        levels: [4],
      }),
    ],
    ['C', packr.pack([clientOps.subscribe, 1, 'lobby', null, null])],
    ['S', encodeOk(1, 1, 41, false)],
    ['C', packr.pack([clientOps.send_message, 2, 'lobby', id, 'text', 'Hello, world', null])],
    [
      'S',
      stamped(encodeMessage('lobby', 'ada', id, 'text', 'Hello, world', null), 42, ts),
      encodeOk(2, 42, ts, 4, false),
    ],
    [
      'C',
      packr.pack([clientOps.mark_read, 0, 'lobby', 42]),
      packr.pack([clientOps.react, 3, 'lobby', 42, '👍', true]),
    ],
    ['S', stamped(encodeReaction('lobby', 'ada', 42, '👍', true), 43, ts + 900), encodeOk(3, 43, ts + 900)],
    ['C', packr.pack([clientOps.subscribe, 4, 'cellar', null, null])],
    ['S', encodeError(4, 'NOT_FOUND', errors.NOT_FOUND.sentence, null)],
  ];

  const hex = (bytes: Uint8Array) =>
    Buffer.from(bytes)
      .toString('hex')
      .replaceAll(/(..)(?!$)/g, '$1 ');

  function show(value: unknown): string {
    if (value === null) return 'nil';
    if (value instanceof Uint8Array) return `bin(${Buffer.from(value).toString('hex')})`;
    if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`;
    if (typeof value === 'object') {
      return `{${Object.entries(value)
        .map(([key, part]) => `${key}: ${show(part)}`)
        .join(', ')}}`;
    }
    return JSON.stringify(value);
  }

  /** One frame: its value, then its bytes, 32 a line. */
  function lines(side: string, frame: Uint8Array): string[] {
    const result = [`${side} ${show(decodeValue(frame))}`];
    for (let at = 0; at < frame.length; at += 32) result.push(`    ${hex(frame.subarray(at, at + 32))}`);
    return result;
  }

  test('stands in the document as the codec gives it', () => {
    const block = messages.map(([side, ...frames]) =>
      frames.flatMap((frame, index) => lines(index === 0 ? side : ' ', frame)).join('\n'),
    );
    const written = /```\n([\s\S]*?)```/.exec(section('## A conversation in hex'))?.[1];
    expect(written).toBe(`${block.join('\n')}\n`);
  });

  test('is read by the codec, and fits the schemas', () => {
    for (const [side, ...frames] of messages) {
      const message = Uint8Array.from(Buffer.concat(frames));
      const scan = scanFrames(message);
      if (typeof scan === 'string') throw new Error(scan);
      expect(scan.count).toBe(frames.length);
      if (side === 'C') {
        for (let i = 0; i < scan.count; i++) expect(decodeFrame(message, scan, i).name).toBeDefined();
        continue;
      }
      for (const frame of frames) {
        const value = decodeValue(frame) as unknown[];
        const name = Object.entries(serverOps).find(([, op]) => op === value[0])?.[0];
        if (name !== 'ok')
          expect(Value.Check(serverFrames[name as keyof typeof serverFrames], value)).toBe(true);
      }
    }
  });
});
