import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { formatUuid, makeUuid } from '../../core/uuid.ts';
import { type Account, type Fixture, startHttp } from './http.fixture.ts';

let http: Fixture;
let ann: Account;
let bob: Account;
let cid: Account;
beforeAll(async () => {
  http = await startHttp({ MESSAGE_RATE: '0', GROUP_MESSAGE_RATE: '0' });
  [ann, bob, cid] = await Promise.all([http.register('ann'), http.register('bob'), http.register('cid')]);
});
afterAll(() => http.stop());

let rooms = 0;
async function makeRoom(body: object = {}): Promise<string> {
  const id = `room-${++rooms}`;
  const members = [bob.id, cid.id];
  const { status } = await http.ask('POST /v1/rooms', ann.token, {
    id,
    name: 'Room',
    type: 'channel',
    members,
    ...body,
  });
  expect(status).toBe(201);
  return id;
}
const send = (room: string, body: object, account = ann) =>
  http.ask(`POST /v1/rooms/${room}/messages`, account.token, body);
const list = async (room: string, query = '') =>
  (await http.ask(`GET /v1/rooms/${room}/messages${query}`, ann.token)).body;
const text = (content: string) => ({ type: 'text', content });
const uuid = (aheadMs = 0) =>
  formatUuid(makeUuid(Date.now() + aheadMs, crypto.getRandomValues(new Uint8Array(10))));

describe('sending', () => {
  test('answers 201 with seq, time and level; history shows the message as sent', async () => {
    const room = await makeRoom();
    const id = uuid();
    const meta = { reply_to: 1, mentions: [bob.id], own: { k: [true, null, 1.5] } };
    const { status, body } = await send(room, {
      id: id.toUpperCase(),
      type: 'custom',
      content: 'héllo 🙂',
      meta,
    });
    expect(status).toBe(201);
    expect(body).toEqual({
      seq: expect.any(Number),
      ts: expect.stringMatching(/Z$/),
      level: 4,
      repeated: false,
    });
    const { messages, more } = await list(room);
    expect(messages).toEqual([
      { seq: body.seq, ts: body.ts, room, from: ann.id, id, type: 'custom', content: 'héllo 🙂', meta },
    ]);
    expect(more).toBe(false);
  });

  test('the same id again answers the first one; from another user it is a conflict', async () => {
    const room = await makeRoom();
    const message = { id: uuid(), ...text('once') };
    const first = await send(room, message);
    const again = await send(room, message);
    expect(again.body).toEqual({ ...first.body, repeated: true });
    expect((await send(room, message, bob)).status).toBe(409);
    expect((await list(room)).messages.length).toBe(1);
  });

  test('keeps the rules of the socket, and names the field', async () => {
    const room = await makeRoom();
    const cases: [object, string, number?][] = [
      [{ content: 'x' }, 'type'],
      [{ type: 'video', content: 'x' }, 'type'],
      [{ type: 'text' }, 'content'],
      [{ type: 'text', content: 7 }, 'content'],
      [{ ...text('x'), id: 'not-a-uuid' }, 'id'],
      [{ ...text('x'), id: uuid(70_000) }, 'id'],
      [text('x'.repeat(8193)), 'content', 413],
      [text('é'.repeat(4097)), 'content', 413],
      [{ ...text('x'), meta: [] }, 'meta'],
      [{ ...text('x'), meta: { reply_to: 'x' } }, 'meta'],
      [{ ...text('x'), meta: { mentions: 'ann' } }, 'meta'],
      [{ ...text('x'), meta: { attachments: [{ id: 'x' }] } }, 'meta'],
      [{ ...text('x'), meta: { a: { b: { c: { d: {} } } } } }, 'meta'],
      [{ ...text('x'), meta: { a: 'x'.repeat(4096) } }, 'meta', 413],
    ];
    for (const [body, field, status = 400] of cases) {
      const reply = await send(room, body);
      expect([field, reply.status, Object.keys(reply.body.error.fields ?? {})]).toEqual([
        field,
        status,
        [field],
      ]);
    }
    expect((await send(room, text('x\0'))).status).toBe(400);
    expect((await send(room, text('x'.repeat(8192)))).status).toBe(201);
    expect((await list(room)).messages.length).toBe(1);
  });

  test('too fast is RATE_LIMITED with Retry-After', async () => {
    const slow = await startHttp({ MESSAGE_RATE: '1', MESSAGE_BURST: '2' });
    const dan = await slow.register('dan');
    await slow.ask('POST /v1/rooms', dan.token, { id: 'r', name: 'r', type: 'channel' });
    slow.clock.hold();
    const replies = [];
    for (let i = 0; i < 4; i++)
      replies.push(await slow.ask('POST /v1/rooms/r/messages', dan.token, text('x')));
    expect(replies.map(({ status }) => status)).toEqual([201, 201, 429, 429]);
    expect(replies[2]!.body.error.code).toBe('RATE_LIMITED');
    expect(replies[2]!.headers.get('retry-after')).toBe('1');
    await slow.stop();
  });

  test('into an encrypted room takes base64 and keeps the bytes', async () => {
    const room = await makeRoom({ encrypted: true });
    const content = Buffer.from([0, 255, 1, 2, 3]).toString('base64');
    expect((await send(room, text(content))).status).toBe(201);
    expect((await list(room)).messages[0].content).toBe(content);
    const { events } = await http.store.messages(room, null, null, 1);
    expect(Buffer.from(events[0]!).includes(Buffer.from([0xc4, 5, 0, 255, 1, 2, 3]))).toBe(true);
    expect((await send(room, text('no base64!'))).body.error.fields).toEqual({ content: expect.any(String) });
  });
});

describe('history', () => {
  test('is paged both ways, oldest first', async () => {
    const room = await makeRoom();
    const seqs: number[] = [];
    for (let i = 0; i < 7; i++) seqs.push((await send(room, text(`m${i}`))).body.seq);
    const page = async (query: string) => {
      const { messages, more } = await list(room, query);
      return [messages.map(({ content }: { content: string }) => content).join(' '), more];
    };
    expect(await page('')).toEqual(['m0 m1 m2 m3 m4 m5 m6', false]);
    expect(await page('?limit=3')).toEqual(['m4 m5 m6', true]);
    expect(await page(`?before=${seqs[4]}&limit=3`)).toEqual(['m1 m2 m3', true]);
    expect(await page(`?before=${seqs[1]}&limit=3`)).toEqual(['m0', false]);
    expect(await page(`?after=${seqs[1]}&limit=3`)).toEqual(['m2 m3 m4', true]);
    expect(await page(`?after=${seqs[6]}`)).toEqual(['', false]);
    expect(await page('?after=0&limit=200')).toEqual(['m0 m1 m2 m3 m4 m5 m6', false]);
    for (const bad of [
      'limit=0',
      'limit=201',
      'before=x',
      'before=-1',
      'after=1.5',
      'before=99999999999999999',
    ]) {
      const reply = await http.ask(`GET /v1/rooms/${room}/messages?${bad}`, ann.token);
      expect([bad, reply.status, Object.keys(reply.body.error.fields)]).toEqual([
        bad,
        400,
        [bad.split('=')[0]!],
      ]);
    }
    expect((await http.ask(`GET /v1/rooms/${room}/messages?before=3&after=1`, ann.token)).status).toBe(400);
  });

  test('is cut at 256 KiB, near the cursor', async () => {
    const room = await makeRoom();
    const seqs: number[] = [];
    for (let i = 0; i < 40; i++) seqs.push((await send(room, text(`${i} ${'x'.repeat(8000)}`))).body.seq);
    const newest = await list(room, '?limit=200');
    expect(newest.more).toBe(true);
    expect(newest.messages.length).toBeLessThan(34);
    expect(newest.messages.length).toBeGreaterThan(30);
    expect(newest.messages.at(-1).seq).toBe(seqs[39]);
    const forward = await list(room, '?after=0&limit=200');
    expect([forward.more, forward.messages[0].seq]).toEqual([true, seqs[0]!]);
    const rest = await list(room, `?after=${forward.messages.at(-1).seq}&limit=200`);
    expect(rest.messages[0].seq).toBe(seqs[forward.messages.length]);
    expect(forward.messages.length + rest.messages.length).toBe(40);
  });
});

describe('receipts', () => {
  const move = (room: string, user: string, delivered: number, read: number) =>
    http.store.saveMarks([{ room, user, delivered, read, at: Date.now() }]);

  test('tell who else got it and read it, and when; the author is left out', async () => {
    const room = await makeRoom();
    const { seq } = (await send(room, text('x'))).body;
    const receipts = async (of = seq) =>
      (await http.ask(`GET /v1/rooms/${room}/messages/${of}/receipts`, ann.token)).body;
    expect(await receipts()).toEqual({ receipts: [], delivered: 0, read: 0, members: 2 });
    await move(room, bob.id, seq, 0);
    await move(room, cid.id, seq, seq);
    await move(room, ann.id, seq, seq);
    const all = await receipts();
    expect(all).toMatchObject({ delivered: 2, read: 1, members: 2 });
    const time = expect.stringMatching(/^\d{4}-.*Z$/);
    expect(
      all.receipts.sort((a: { user: string }, b: { user: string }) => (a.user < b.user ? -1 : 1)),
    ).toEqual(
      [
        { user: bob.id, delivered_at: time, read_at: null },
        { user: cid.id, delivered_at: time, read_at: time },
      ].sort((a, b) => (a.user < b.user ? -1 : 1)),
    );
    const later = (await send(room, text('y'))).body.seq;
    expect(await receipts(later)).toMatchObject({ receipts: [], delivered: 0, read: 0, members: 2 });
  });

  test('of what is no message are NOT_FOUND', async () => {
    const room = await makeRoom();
    for (const seq of ['1', '999']) {
      expect((await http.ask(`GET /v1/rooms/${room}/messages/${seq}/receipts`, ann.token)).status).toBe(404);
    }
    expect((await http.ask(`GET /v1/rooms/${room}/messages/x/receipts`, ann.token)).status).toBe(400);
  });
});
