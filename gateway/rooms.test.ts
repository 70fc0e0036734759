// The verbs of rooms.ts where what this process knows of a membership is forgotten while a verb waits: it is looked up
// again, never taken for "no member".

import { describe, expect, test } from 'bun:test';
import { type Process, startProcess } from '../tests/simulated/process.ts';
import { makeGate } from '../tests/simulated/store.ts';
import { membersCachedMax } from './room-members.ts';

/** As many others are asked for as are kept of a room. */
function forgetMembers({ hub }: Process): void {
  const room = hub.active('room')!;
  for (let i = 0; i < membersCachedMax; i++) room.learnMember(`other-${i}`, null);
  expect(room.member('ann')).toBeUndefined();
}

/** A private room where ann is admin, and bob and cat are members; bob has said something. */
async function startRoom() {
  const chat = await startProcess();
  await chat.makeRoom('room', ['ann', 'bob', 'cat']);
  const bob = await chat.connect('bob');
  await bob.ask('subscribe', 'room', null, null);
  await bob.say('room', 'first');
  return { chat, bob };
}

/** Runs the verb, and forgets all members while the first call of this method of the store is held. */
async function forgetDuring<T>(
  chat: Process,
  method: 'target' | 'users' | 'isMuted' | 'commit',
  verb: () => Promise<T>,
): Promise<T> {
  const before = chat.simulated.count(method);
  const gate = chat.simulated.hold(method);
  const done = verb();
  await chat.clock.settle();
  expect(chat.simulated.count(method)).toBeGreaterThan(before);
  forgetMembers(chat);
  gate.open();
  return chat.settled(done);
}

describe('a membership that is forgotten while a verb waits is looked up again:', () => {
  test('edit', async () => {
    const { chat } = await startRoom();
    const edited = await forgetDuring(chat, 'target', () => chat.rooms.edit('bob', 'room', 1, 'second'));
    expect(edited).toMatchObject({ seq: 2, repeated: false });
  });

  test('delete, by an admin', async () => {
    const { chat } = await startRoom();
    const deleted = await forgetDuring(chat, 'target', () => chat.rooms.delete('ann', 'room', 1));
    expect(deleted).toMatchObject({ seq: 2, repeated: false });
  });

  test('react', async () => {
    const { chat } = await startRoom();
    const reacted = await forgetDuring(chat, 'target', () => chat.rooms.react('cat', 'room', 1, '+', true));
    expect(reacted).toMatchObject({ seq: 2, repeated: false });
  });

  test('two edits, one behind the other', async () => {
    const { chat } = await startRoom();
    const gate = chat.simulated.hold('target');
    const edits = ['a', 'b'].map((content) => chat.rooms.edit('bob', 'room', 1, content));
    await chat.clock.settle();
    forgetMembers(chat);
    gate.open();
    expect(await chat.settled(Promise.all(edits))).toMatchObject([{ seq: 2 }, { seq: 3 }]);
  });

  test('join: who is a member already does not become one again', async () => {
    const { chat } = await startRoom();
    const gate = chat.simulated.hold('commit');
    const change = chat.rooms.setMember('ann', 'room', 'cat', { role: 'readonly' });
    await chat.clock.settle();
    const joined = chat.rooms.join('cat', 'room');
    await chat.clock.settle();
    forgetMembers(chat);
    gate.open();
    await chat.settled(Promise.all([change, joined]));
    expect(await change).toMatchObject({ role: 'readonly' });
    expect(await joined).toMatchObject({ id: 'room', head: 2 });
  });

  test('setMember', async () => {
    const { chat } = await startRoom();
    const change = () => chat.rooms.setMember('ann', 'room', 'cat', { muted: true });
    expect(await forgetDuring(chat, 'users', change)).toMatchObject({ role: 'member', muted: true });
    await chat.store.ensureUser('dan', {}, 0);
    const add = () => chat.rooms.setMember('ann', 'room', 'dan', { role: 'readonly' });
    expect(await forgetDuring(chat, 'isMuted', add)).toMatchObject({ role: 'readonly', muted: false });
  });

  test('removeMember, after another change of the same member', async () => {
    const { chat } = await startRoom();
    const gate = chat.simulated.hold('commit');
    const mute = chat.rooms.setMember('ann', 'room', 'cat', { muted: true });
    await chat.clock.settle();
    const removal = chat.rooms.removeMember('ann', 'room', 'cat');
    await chat.clock.settle();
    forgetMembers(chat);
    gate.open();
    expect(await chat.settled(mute)).toMatchObject({ muted: true });
    expect(await chat.settled(removal)).toBeNull();
    expect((await chat.store.memberships('room', ['cat'])).size).toBe(0);
  });

  test('update, after another one', async () => {
    const { chat } = await startRoom();
    const gate = chat.simulated.hold('commit');
    const names = ['one', 'two'].map((name) => chat.rooms.update('ann', 'room', { name }));
    await chat.clock.settle();
    forgetMembers(chat);
    gate.open();
    expect(await chat.settled(Promise.all(names))).toMatchObject([{ name: 'one' }, { name: 'two' }]);
  });

  test('typing', async () => {
    const { chat, bob } = await startRoom();
    forgetMembers(chat);
    expect(await bob.ask('typing', 'room', true)).toMatchObject([32, expect.any(Number)]);
  });
});

test('a room that was dropped while a change waited for its turn is opened again', async () => {
  const { chat } = await startRoom();
  await chat.makeRoom('quiet', ['ann', 'bob']);
  await chat.settled(
    chat.rooms.send('bob', 'quiet', {
      id: new Uint8Array(16).fill(9),
      type: 'text',
      content: 'x',
      meta: null,
    }),
  );
  const gate = makeGate();
  chat.simulated.next('target', { before: gate.passed });
  const first = chat.rooms.edit('bob', 'quiet', 1, 'y');
  const second = chat.rooms.edit('bob', 'quiet', 1, 'z');
  await chat.clock.advance(60_000);
  expect(chat.hub.active('quiet')).toBeUndefined();
  gate.open();
  expect(await chat.settled(first)).toMatchObject({ seq: 2 });
  expect(await chat.settled(second)).toMatchObject({ seq: 3 });
});
