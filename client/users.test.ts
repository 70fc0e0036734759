import { describe, expect, test } from 'bun:test';
import { FakeGateway, settle } from './gateway.fixture.ts';
import { Users } from './users.ts';

function start(known: Record<string, string>) {
  const { clock } = new FakeGateway();
  const asked: string[][] = [];
  const state = { isAway: false, asked, clock, changes: 0 };
  const http = (_method: string, path: string) => {
    const ids = decodeURIComponent(path.slice('v1/users?ids='.length)).split(',');
    asked.push(ids);
    if (state.isAway) return Promise.reject(new TypeError('offline'));
    const users = ids.flatMap((id) =>
      known[id] === undefined ? [] : [{ id, username: null, display_name: known[id], avatar_url: null }],
    );
    return Promise.resolve({ users });
  };
  const users = new Users({ clock, random: () => 1, http });
  users.on('change', () => state.changes++);
  return { users, state };
}

describe('names of users', () => {
  test('are asked for in one batch for all that are shown at once, and kept', async () => {
    const { users, state } = start({ a: 'Ann', b: 'Bob' });
    expect([users.name('a'), users.name('b'), users.name('a')]).toEqual(['a', 'b', 'a']);
    await settle();
    expect([users.name('a'), users.name('b')]).toEqual(['Ann', 'Bob']);
    expect(state.asked).toEqual([['a', 'b']]);
    expect(state.changes).toBe(1);
  });

  test('are asked for 200 at a time', async () => {
    const { users, state } = start({});
    for (let i = 0; i < 450; i++) users.name(`user${i}`);
    await settle();
    expect(state.asked.map(({ length }) => length)).toEqual([200, 200, 50]);
  });

  test('of nobody are not asked for again and again', async () => {
    const { users, state } = start({});
    users.name('nobody');
    await settle();
    users.name('nobody');
    await state.clock.advance(1000);
    expect(state.asked.length).toBe(1);
    await state.clock.advance(60_000);
    users.name('nobody');
    await settle();
    expect(state.asked.length).toBe(2);
  });

  test('are asked for again where that failed', async () => {
    const { users, state } = start({ a: 'Ann' });
    state.isAway = true;
    users.name('a');
    await settle();
    state.isAway = false;
    await state.clock.advance(1000);
    expect(users.name('a')).toBe('Ann');
  });

  test('that were not shown for long are let go of', async () => {
    const { users, state } = start({});
    users.learn([{ id: 'first', username: 'first', display_name: null, avatar_url: null }]);
    for (let i = 0; i < 2000; i++) {
      users.learn([{ id: `user${i}`, username: `name${i}`, display_name: null, avatar_url: null }]);
      if (i === 1000) users.name('user0');
    }
    expect(users.get('user0')).not.toBeNull();
    expect(users.get('first')).toBeNull();
    await settle();
    expect(state.asked).toEqual([['first']]);
  });
});
