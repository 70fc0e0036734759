// Editing, deleting and reacting: by whom, to what, and that what changes nothing makes no event.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, startGateway } from '../gateway.ts';
import { expectHttp, follow, fresh, http, makeRoom, open, type Person, person, say } from '../people.ts';
import { type Frame, op, reply, type Socket } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
let bob: Person;
let eve: Person;
let adas: Socket;
let bobs: Socket;
let eves: Socket;
/** Ada is admin; bob and eve are members; eve watches. */
let room: string;
beforeAll(async () => {
  gateway = await startGateway();
  [ada, bob, eve] = await Promise.all([person('ada'), person('bob'), person('eve')]);
  [adas, bobs, eves] = await Promise.all([open(gateway, ada), open(gateway, bob), open(gateway, eve)]);
  room = await makeRoom(gateway, ada, [bob, eve]);
  await follow(eves, room);
});
afterAll(() => gateway.close());

const bySeq = (seq: number) => (frame: Frame) => frame[0] >= 64 && frame[0] <= 95 && frame[1] === seq;

/** The message as history has it now. */
async function present(seq: number, of = room): Promise<Frame> {
  const [, events] = (await adas.ok(op.history, of, null, seq - 1, 1)) as [boolean, Frame[]];
  return events[0]!;
}

/** The head of the room, by a message to it. */
const headOf = async () => (await say(adas, room, 'head')).seq;

describe('edit_message', () => {
  test('by the author: an event, and the new content in history', async () => {
    const sent = await say(bobs, room, 'draft', { a: 1 });
    const [seq, ts] = await bobs.ok(op.edit_message, room, sent.seq, 'final');
    expect(seq).toBe(sent.seq + 1);
    expect(await eves.next(bySeq(seq as number))).toEqual([
      reply.message_edited,
      seq,
      ts,
      room,
      bob.id,
      sent.seq,
      'final',
    ]);
    expect(await present(sent.seq)).toEqual([
      64,
      sent.seq,
      sent.ts,
      room,
      bob.id,
      sent.id,
      'text',
      'final',
      { a: 1 },
    ]);
    expect((await present(seq as number))[0]).toBe(reply.message_edited);
  });

  test('by anybody else is FORBIDDEN, also by an admin', async () => {
    const { seq } = await say(bobs, room, 'bob’s own');
    expect(await eves.refusal(op.edit_message, room, seq, 'x')).toBe('FORBIDDEN');
    expect(await adas.refusal(op.edit_message, room, seq, 'x')).toBe('FORBIDDEN');
    expect((await present(seq))[7]).toBe('bob’s own');
  });

  test('to what it is already answers the event that last made it so, and makes none', async () => {
    const sent = await say(bobs, room, 'as it is');
    expect(await bobs.ok(op.edit_message, room, sent.seq, 'as it is')).toEqual([sent.seq, sent.ts]);
    const first = await bobs.ok(op.edit_message, room, sent.seq, 'changed');
    const second = await bobs.ok(op.edit_message, room, sent.seq, 'changed');
    expect(second).toEqual(first);
    expect(await headOf()).toBe(sent.seq + 2);
  });

  test('many times: each is an event, the last one stands', async () => {
    const sent = await say(bobs, room, '0');
    for (let i = 1; i <= 5; i++) await bobs.ok(op.edit_message, room, sent.seq, `${i}`);
    expect((await present(sent.seq))[7]).toBe('5');
    expect(await headOf()).toBe(sent.seq + 6);
  });

  test('of something that is no message is NOT_FOUND', async () => {
    const sent = await say(bobs, room, 'x');
    const [edit] = (await bobs.ok(op.edit_message, room, sent.seq, 'y')) as [number];
    const head = await headOf();
    for (const target of [0, edit, head + 1, head + 1000, Number.MAX_SAFE_INTEGER]) {
      expect([target, await bobs.refusal(op.edit_message, room, target, 'z')]).toEqual([target, 'NOT_FOUND']);
    }
  });

  test('of a deleted message is NOT_FOUND', async () => {
    const { seq } = await say(bobs, room, 'gone soon');
    await bobs.ok(op.delete_message, room, seq);
    expect(await bobs.refusal(op.edit_message, room, seq, 'back')).toBe('NOT_FOUND');
  });

  test('keeps the limits of content', async () => {
    const { seq } = await say(bobs, room, 'x');
    expect(await bobs.refusal(op.edit_message, room, seq, 'x'.repeat(8193))).toBe('TOO_LARGE');
    expect(await bobs.refusal(op.edit_message, room, seq, new Uint8Array(4))).toBe('BAD_REQUEST');
    expect(await bobs.refusal(op.edit_message, room, seq, 'a\0')).toBe('BAD_REQUEST');
    expect(await bobs.refusal(op.edit_message, room, seq, null)).toBe('BAD_REQUEST');
    await bobs.ok(op.edit_message, room, seq, 'x'.repeat(8192));
  });

  test('in an encrypted room takes bytes', async () => {
    const secret = await makeRoom(gateway, ada, [bob], { encrypted: true });
    const { seq } = await say(bobs, secret, Uint8Array.of(1, 2));
    await bobs.ok(op.edit_message, secret, seq, Uint8Array.of(3, 4));
    expect((await present(seq, secret))[7]).toEqual(Uint8Array.of(3, 4));
    const same = await bobs.ok(op.edit_message, secret, seq, Uint8Array.of(3, 4));
    expect(same[0]).toBe(seq + 1);
  });
});

describe('delete_message', () => {
  test('by the author: an event; history has no content and {deleted: true}', async () => {
    const sent = await say(bobs, room, 'regretted', { secret: 'too' });
    const [seq, ts] = await bobs.ok(op.delete_message, room, sent.seq);
    expect(seq).toBe(sent.seq + 1);
    expect(await eves.next(bySeq(seq as number))).toEqual([
      reply.message_deleted,
      seq,
      ts,
      room,
      bob.id,
      sent.seq,
    ]);
    expect(await present(sent.seq)).toEqual([
      64,
      sent.seq,
      sent.ts,
      room,
      bob.id,
      sent.id,
      'text',
      null,
      { deleted: true },
    ]);
  });

  test('by an admin', async () => {
    const sent = await say(bobs, room, 'against the rules');
    const [seq] = await adas.ok(op.delete_message, room, sent.seq);
    expect((await eves.next(bySeq(seq as number))).slice(4)).toEqual([ada.id, sent.seq]);
  });

  test('by another member is FORBIDDEN', async () => {
    const { seq } = await say(bobs, room, 'bob’s own');
    expect(await eves.refusal(op.delete_message, room, seq)).toBe('FORBIDDEN');
    expect((await present(seq))[7]).toBe('bob’s own');
  });

  test('again answers the first delete, whoever asks of those who may', async () => {
    const { seq } = await say(bobs, room, 'x');
    const first = await bobs.ok(op.delete_message, room, seq);
    expect(await bobs.ok(op.delete_message, room, seq)).toEqual(first);
    expect(await adas.ok(op.delete_message, room, seq)).toEqual(first);
    expect(await headOf()).toBe(seq + 2);
  });

  test('of something that is no message is NOT_FOUND', async () => {
    const { seq } = await say(bobs, room, 'x');
    const [edit] = (await bobs.ok(op.edit_message, room, seq, 'y')) as [number];
    for (const target of [0, edit, edit + 1000]) {
      expect([target, await bobs.refusal(op.delete_message, room, target)]).toEqual([target, 'NOT_FOUND']);
    }
  });

  test('after an edit: nothing of either text is left in history', async () => {
    const sent = await say(bobs, room, 'first text of a regret');
    const [edit] = (await bobs.ok(op.edit_message, room, sent.seq, 'second text of a regret')) as [number];
    await bobs.ok(op.delete_message, room, sent.seq);
    expect((await present(sent.seq))[7]).toBeNull();
    expect(await present(edit)).toEqual([65, edit, expect.any(Number), room, bob.id, sent.seq, null]);
  });
});

describe('react', () => {
  test('on and off: an event each', async () => {
    const { seq: target } = await say(bobs, room, 'like me');
    const [on, onTs] = await eves.ok(op.react, room, target, '👍', true);
    expect(await eves.next(bySeq(on as number))).toEqual([
      reply.reaction,
      on,
      onTs,
      room,
      eve.id,
      target,
      '👍',
      true,
    ]);
    const [off, offTs] = await eves.ok(op.react, room, target, '👍', false);
    expect(await eves.next(bySeq(off as number))).toEqual([
      reply.reaction,
      off,
      offTs,
      room,
      eve.id,
      target,
      '👍',
      false,
    ]);
    expect([on, off]).toEqual([target + 1, target + 2]);
  });

  test('what changes nothing answers the event that last made it so, else the target', async () => {
    const sent = await say(bobs, room, 'x');
    expect(await eves.ok(op.react, room, sent.seq, '👍', false)).toEqual([sent.seq, sent.ts]);
    const on = await eves.ok(op.react, room, sent.seq, '👍', true);
    expect(await eves.ok(op.react, room, sent.seq, '👍', true)).toEqual(on);
    const off = await eves.ok(op.react, room, sent.seq, '👍', false);
    expect(await eves.ok(op.react, room, sent.seq, '👍', false)).toEqual(off);
    const again = await eves.ok(op.react, room, sent.seq, '👍', true);
    expect([on[0], off[0], again[0]]).toEqual([sent.seq + 1, sent.seq + 2, sent.seq + 3]);
  });

  test('each user and each emoji is a reaction of its own', async () => {
    const { seq } = await say(bobs, room, 'popular');
    const answers = [
      await eves.ok(op.react, room, seq, '👍', true),
      await bobs.ok(op.react, room, seq, '👍', true),
      await eves.ok(op.react, room, seq, '❤️', true),
      await adas.ok(op.react, room, seq, ':parley:', true),
      await adas.ok(op.react, room, seq, '👩‍👩‍👧‍👦', true),
    ];
    expect(answers.map(([at]) => at)).toEqual([1, 2, 3, 4, 5].map((i) => seq + i));
  });

  test('to something that is no message, or a deleted one, is NOT_FOUND', async () => {
    const { seq } = await say(bobs, room, 'x');
    await bobs.ok(op.delete_message, room, seq);
    for (const target of [0, seq, seq + 1, seq + 1000]) {
      expect([target, await eves.refusal(op.react, room, target, '👍', true)]).toEqual([target, 'NOT_FOUND']);
    }
  });

  test('an emoji that is none is BAD_REQUEST', async () => {
    const { seq } = await say(bobs, room, 'x');
    for (const emoji of ['', null, 1, 'a\0', 'x'.repeat(1000)]) {
      expect([emoji, await eves.refusal(op.react, room, seq, emoji, true)]).toEqual([emoji, 'BAD_REQUEST']);
    }
    for (const on of [1, null, 'true'])
      expect(await eves.refusal(op.react, room, seq, '👍', on)).toBe('BAD_REQUEST');
  });

  test('by those who may not send is FORBIDDEN', async () => {
    const openRoom = await makeRoom(gateway, ada, [], { public: true });
    const { seq } = await say(adas, openRoom, 'x');
    expect(await bobs.refusal(op.react, openRoom, seq, '👍', true)).toBe('FORBIDDEN');
    await expectHttp(
      200,
      http(gateway, ada, 'PUT', `/v1/rooms/${openRoom}/members/${bob.id}`, { role: 'readonly' }),
    );
    expect(await bobs.refusal(op.react, openRoom, seq, '👍', true)).toBe('FORBIDDEN');
    expect(await bobs.refusal(op.edit_message, openRoom, seq, 'x')).toBe('FORBIDDEN');
    expect(await bobs.refusal(op.delete_message, openRoom, seq)).toBe('FORBIDDEN');
  });
});

test('a room one may not read is NOT_FOUND for all three', async () => {
  const hidden = await makeRoom(gateway, ada);
  const { seq } = await say(adas, hidden, 'x');
  for (const name of [hidden, fresh('none')]) {
    expect(await bobs.refusal(op.edit_message, name, seq, 'x')).toBe('NOT_FOUND');
    expect(await bobs.refusal(op.delete_message, name, seq)).toBe('NOT_FOUND');
    expect(await bobs.refusal(op.react, name, seq, '👍', true)).toBe('NOT_FOUND');
  }
});

test('two edits, a delete and reactions at once leave one story, in history as for subscribers', async () => {
  const sent = await say(bobs, room, 'contested');
  await Promise.all([
    bobs.request(op.edit_message, room, sent.seq, 'one'),
    bobs.request(op.edit_message, room, sent.seq, 'two'),
    eves.request(op.react, room, sent.seq, '👍', true),
    adas.request(op.delete_message, room, sent.seq),
    bobs.request(op.edit_message, room, sent.seq, 'three'),
  ]);
  const head = await headOf();
  const live: Frame[] = [];
  for (let seq = sent.seq + 1; seq < head; seq++) live.push(await eves.next(bySeq(seq)));
  expect(live.filter((event) => event[0] === reply.message_deleted)).toHaveLength(1);
  const [, stored] = (await adas.ok(op.history, room, null, sent.seq, 50)) as [boolean, Frame[]];
  expect(stored.map((event) => event.slice(0, 6))).toEqual(
    [...live, await present(head)].map((event) => event.slice(0, 6)),
  );
  expect((await present(sent.seq))[7]).toBeNull();
});
