import { describe, expect, test } from 'bun:test';
import type { ReceiptsFrame } from './frames.ts';
import { type Member, Members } from './members.ts';

function member(user: string, delivered = 0, read = 0, joinedAt = 0): Member {
  return { user, role: 'member', muted: false, joinedAt, delivered, read };
}

function receipts(...marks: readonly (readonly [string, number, number])[]): ReceiptsFrame {
  return { name: 'receipts', room: 'lobby', marks };
}

describe('the reach of a message', () => {
  test('counts everyone but the author', () => {
    const members = new Members();
    members.load([member('ann'), member('bob', 5, 5), member('cleo', 5, 2), member('dan')], false);
    expect(members.reach('ann', 4, 10)).toEqual({ recipients: 3, delivered: 2, read: 1 });
  });

  test('moves with receipts, and only forward', () => {
    const members = new Members();
    members.load([member('ann'), member('bob')], false);
    expect(members.onReceipts(receipts(['bob', 7, 3]))).toEqual({ after: 0, upTo: 7 });
    expect(members.onReceipts(receipts(['bob', 6, 2]))).toBeNull();
    expect(members.reach('ann', 3, 0)).toEqual({ recipients: 1, delivered: 1, read: 1 });
    expect(members.reach('ann', 7, 0)).toEqual({ recipients: 1, delivered: 1, read: 0 });
  });

  test('keeps receipts that came before the list, which may be older', () => {
    const members = new Members();
    members.onReceipts(receipts(['bob', 9, 9]));
    members.load([member('ann'), member('bob', 4, 4)], false);
    expect(members.reach('ann', 9, 0).read).toBe(1);
    members.load([member('ann'), member('bob', 4, 4)], false);
    expect(members.reach('ann', 9, 0).read).toBe(1);
  });

  test('leaves out who came after the message, and who left', () => {
    const members = new Members();
    members.load([member('ann'), member('bob', 5, 5), member('cleo')], false);
    const base = { seq: 6, room: 'lobby', from: null };
    members.onEvent({ ...base, name: 'user_joined', ts: 100, user: 'dan', role: 'member' });
    expect(members.reach('ann', 5, 50).recipients).toBe(2);
    expect(members.reach('ann', 7, 150).recipients).toBe(3);
    members.onEvent({ ...base, name: 'user_left', ts: 100, user: 'cleo' });
    expect(members.reach('ann', 5, 50)).toEqual({ recipients: 1, delivered: 1, read: 1 });
  });

  test('is not known beyond 256 members, nor where the list has more pages', () => {
    const members = new Members();
    const many = Array.from({ length: 257 }, (_, i) => member(`user${i}`));
    members.load(many, false);
    expect(members.reach('ann', 1, 0).recipients).toBe(0);
    members.load(many.slice(0, 10), true);
    expect(members.reach('ann', 1, 0).recipients).toBe(0);
  });
});

test('who sends has read what is before it', () => {
  const members = new Members();
  members.load([member('ann'), member('bob')], false);
  const message = {
    name: 'message',
    seq: 9,
    ts: 1,
    room: 'lobby',
    from: 'bob',
    id: '',
    type: 'text',
  } as const;
  members.onMessage({ ...message, content: 'x', meta: null });
  expect(members.list?.find(({ user }) => user === 'bob')).toMatchObject({ delivered: 9, read: 9 });
});

test('a change of role or voice is taken over', () => {
  const members = new Members();
  members.load([member('bob')], false);
  expect(members.onUpdate({ member: { user: 'bob', role: 'admin', muted: true } })).toBe(true);
  expect(members.list).toMatchObject([{ user: 'bob', role: 'admin', muted: true }]);
  expect(members.onUpdate({ name: 'New name' })).toBe(false);
});
