// The rules of rooms: who may do what, and what fits.

import { describe, expect, test } from 'bun:test';
import type { Role } from './protocol/frames.ts';
import {
  applyChanges,
  checkContent,
  type Member,
  mayAdminister,
  mayJoin,
  mayRead,
  maySend,
  type Room,
} from './room.ts';

const room = (changes: Partial<Room> = {}): Room => ({
  id: 'r',
  name: 'Room',
  type: 'group',
  public: false,
  encrypted: false,
  archived: false,
  avatarUrl: null,
  metadata: null,
  retentionDays: null,
  createdBy: 'ada',
  createdAt: 1,
  epoch: 1,
  ...changes,
});
const member = (role: Role = 'member', muted = false): Member => ({ role, muted, joinedAt: 1 });

/** What each rule answers: `ok` or the code. */
function verdicts(ofRoom: Room, ofMember: Member | null) {
  const said = (refusal: { code: string } | null) => refusal?.code ?? 'ok';
  return [mayRead, mayJoin, maySend, mayAdminister].map((rule) => said(rule(ofRoom, ofMember))).join(' ');
}

describe('who may read, join, send and administer', () => {
  const rows: [string, Partial<Room>, Member | null, string][] = [
    ['a stranger in a private room', {}, null, 'NOT_FOUND NOT_FOUND NOT_FOUND NOT_FOUND'],
    [
      'a stranger in an archived private room',
      { archived: true },
      null,
      'NOT_FOUND NOT_FOUND NOT_FOUND NOT_FOUND',
    ],
    ['a stranger in a public room', { public: true }, null, 'ok ok FORBIDDEN FORBIDDEN'],
    [
      'a stranger in an archived public room',
      { public: true, archived: true },
      null,
      'ok FORBIDDEN FORBIDDEN FORBIDDEN',
    ],
    ['a member', {}, member(), 'ok ok ok FORBIDDEN'],
    ['a member of a public room', { public: true }, member(), 'ok ok ok FORBIDDEN'],
    ['a muted member', {}, member('member', true), 'ok ok FORBIDDEN FORBIDDEN'],
    ['a readonly member', {}, member('readonly'), 'ok ok FORBIDDEN FORBIDDEN'],
    ['a member of an archived room', { archived: true }, member(), 'ok ok FORBIDDEN FORBIDDEN'],
    ['an admin', {}, member('admin'), 'ok ok ok ok'],
    ['a muted admin', {}, member('admin', true), 'ok ok FORBIDDEN ok'],
    ['an admin of an archived room', { archived: true }, member('admin'), 'ok ok FORBIDDEN ok'],
  ];
  for (const [title, ofRoom, ofMember, expected] of rows) {
    test(title, () => expect(verdicts(room(ofRoom), ofMember)).toBe(expected));
  }
});

describe('content', () => {
  const code = (content: string | Uint8Array, max: number, encrypted = false) =>
    checkContent(room({ encrypted }), content, max)?.code ?? 'ok';

  test('counts UTF-8 bytes, not characters', () => {
    for (const [character, bytes] of [
      ['a', 1],
      ['\u007f', 1],
      ['\u0080', 2],
      ['é', 2],
      ['\u07ff', 2],
      ['\u0800', 3],
      ['€', 3],
      ['\uffff', 3],
      ['🐎', 4],
    ] as const) {
      const content = character.repeat(100);
      expect([character, code(content, bytes * 100)]).toEqual([character, 'ok']);
      expect([character, code(content, bytes * 100 - 1)]).toEqual([character, 'TOO_LARGE']);
    }
    expect(code('aé€🐎', 10)).toBe('ok');
    expect(code('aé€🐎', 9)).toBe('TOO_LARGE');
  });

  test('an empty content fits', () => expect(code('', 0)).toBe('ok'));

  test('bin only in encrypted rooms', () => {
    expect(code(new Uint8Array(4), 10)).toBe('BAD_REQUEST');
    expect(code(new Uint8Array(10), 10, true)).toBe('ok');
    expect(code(new Uint8Array(11), 10, true)).toBe('TOO_LARGE');
    expect(code('text', 10, true)).toBe('ok');
  });
});

describe('changes of the record', () => {
  const before = room({ avatarUrl: '/a', metadata: { a: 1 }, retentionDays: 7 });

  test('an empty map changes nothing', () => expect(applyChanges(before, {})).toEqual(before));

  test('each field alone', () => {
    expect(applyChanges(before, { name: 'New' })).toEqual({ ...before, name: 'New' });
    expect(applyChanges(before, { public: true })).toEqual({ ...before, public: true });
    expect(applyChanges(before, { archived: true })).toEqual({ ...before, archived: true });
    expect(applyChanges(before, { avatar_url: '/b' })).toEqual({ ...before, avatarUrl: '/b' });
    expect(applyChanges(before, { metadata: { b: 2 } })).toEqual({ ...before, metadata: { b: 2 } });
    expect(applyChanges(before, { retention_days: 30 })).toEqual({ ...before, retentionDays: 30 });
  });

  test('null clears what may be empty, false switches off', () => {
    expect(applyChanges(before, { avatar_url: null, metadata: null, retention_days: null })).toEqual(room());
    expect(applyChanges(room({ public: true, archived: true }), { public: false, archived: false })).toEqual(
      room(),
    );
  });

  test('a member’s change is not the room’s', () => {
    expect(applyChanges(before, { member: { user: 'bob', role: 'admin', muted: false } })).toEqual(before);
  });
});
