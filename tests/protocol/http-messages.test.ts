// PROTOCOL.md section 3: messages over HTTP, and that they are the messages of the socket.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, startGateway } from '../gateway.ts';
import {
  type Body,
  expectHttp,
  follow,
  fresh,
  http,
  makeRoom,
  messageId,
  open,
  type Person,
  person,
  say,
  uuidText,
} from '../people.ts';
import { type Frame, op, reply, type Socket } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
let bob: Person;
let eve: Person;
let adas: Socket;
let bobs: Socket;
let room: string;
beforeAll(async () => {
  gateway = await startGateway();
  [ada, bob, eve] = await Promise.all([person('ada'), person('bob'), person('eve')]);
  [adas, bobs] = await Promise.all([open(gateway, ada), open(gateway, bob)]);
  room = await makeRoom(gateway, ada, [bob]);
  await follow(bobs, room);
});
afterAll(() => gateway.close());

const send = (who: Person, body: unknown, to = room) =>
  http(gateway, who, 'POST', `/v1/rooms/${to}/messages`, body);
const list = async (query = '', of = room, who = ada): Promise<{ messages: Body[]; more: boolean }> =>
  (await expectHttp(200, http(gateway, who, 'GET', `/v1/rooms/${of}/messages${query}`))).body;
const codeOf = async (answer: ReturnType<typeof http>) => {
  const { status, body } = await answer;
  return [status, body?.error?.code];
};
const bySeq = (seq: number) => (frame: Frame) => frame[0] === reply.message && frame[1] === seq;

describe('POST /v1/rooms/:id/messages', () => {
  test('answers 201 with seq, ts, level and repeated, and reaches the sockets', async () => {
    const id = messageId();
    const { body } = await expectHttp(
      201,
      send(ada, { id: uuidText(id), type: 'text', content: 'over HTTP 🐎', meta: { a: [1, 2 ** 40] } }),
    );
    expect(body).toEqual({ seq: expect.any(Number), ts: expect.any(String), level: 4, repeated: false });
    const event = await bobs.next(bySeq(body.seq));
    expect(event.slice(3)).toEqual([room, ada.id, id, 'text', 'over HTTP 🐎', { a: [1, 2 ** 40] }]);
    expect(new Date(event[2] as number).toISOString()).toBe(body.ts);
  });

  test('id and meta may be left out', async () => {
    const { body } = await expectHttp(201, send(ada, { type: 'image', content: 'x' }));
    const event = await bobs.next(bySeq(body.seq));
    expect(event.slice(6)).toEqual(['image', 'x', null]);
    const { body: other } = await expectHttp(201, send(ada, { type: 'text', content: 'x', meta: null }));
    expect(other.seq).toBe(body.seq + 1);
  });

  test('the same id again gives the first seq, also across socket and HTTP', async () => {
    const id = messageId();
    const first = (await expectHttp(201, send(ada, { id: uuidText(id), type: 'text', content: 'once' })))
      .body;
    const again = await send(ada, { id: uuidText(id).toUpperCase(), type: 'text', content: 'once' });
    expect([again.status, again.body]).toEqual([201, { ...first, repeated: true }]);
    const bySocket = await say(adas, room, 'once', null, id);
    expect([bySocket.seq, bySocket.repeated]).toEqual([first.seq, true]);
    const sent = await say(adas, room, 'first by socket');
    const byHttp = (await expectHttp(201, send(ada, { id: uuidText(sent.id), type: 'text', content: 'x' })))
      .body;
    expect([byHttp.seq, byHttp.repeated]).toEqual([sent.seq, true]);
    expect(await codeOf(send(bob, { id: uuidText(id), type: 'text', content: 'once' }))).toEqual([
      409,
      'CONFLICT',
    ]);
  });

  test('wrong fields are named', async () => {
    const good = { type: 'text', content: 'x' };
    const wrong: [string, unknown][] = [
      ['type', undefined],
      ['type', 'video'],
      ['type', 5],
      ['content', undefined],
      ['content', null],
      ['content', 5],
      ['id', 'not a uuid'],
      ['id', 5],
      ['meta', 'text'],
      ['meta', [1]],
    ];
    for (const [field, value] of wrong) {
      const { status, body } = await send(ada, { ...good, [field]: value });
      expect([field, value, status, body.error?.code]).toEqual([field, value, 400, 'BAD_REQUEST']);
      expect(Object.keys(body.error.fields ?? {})).toContain(field);
    }
  });

  test('what a socket may not send is not sent here either', async () => {
    expect(await codeOf(send(ada, { type: 'text', content: 'a\0b' }))).toEqual([400, 'BAD_REQUEST']);
    expect(await codeOf(send(ada, { type: 'text', content: 'x', meta: { a: 'b\0' } }))).toEqual([
      400,
      'BAD_REQUEST',
    ]);
    expect(await codeOf(send(ada, { type: 'text', content: 'x', meta: { 'a\0': 1 } }))).toEqual([
      400,
      'BAD_REQUEST',
    ]);
    expect(await codeOf(send(ada, { type: 'text', content: 'x'.repeat(8193) }))).toEqual([413, 'TOO_LARGE']);
    expect(await codeOf(send(ada, { type: 'text', content: 'é'.repeat(4097) }))).toEqual([413, 'TOO_LARGE']);
    expect(await codeOf(send(ada, { type: 'text', content: 'x', meta: { a: 'x'.repeat(4200) } }))).toEqual([
      413,
      'TOO_LARGE',
    ]);
    expect(
      await codeOf(send(ada, { type: 'text', content: 'x', meta: { a: { b: { c: { d: {} } } } } })),
    ).toEqual([400, 'BAD_REQUEST']);
    const ahead = uuidText(messageId(Date.now() + 3_600_000));
    expect(await codeOf(send(ada, { id: ahead, type: 'text', content: 'x' }))).toEqual([400, 'BAD_REQUEST']);
    await expectHttp(201, send(ada, { type: 'text', content: 'é'.repeat(4096) }));
  });

  test('a lone surrogate of JSON leaves as valid UTF-8, or is refused', async () => {
    const answer = await http(
      gateway,
      ada,
      'POST',
      `/v1/rooms/${room}/messages`,
      '{"type":"text","content":"a\\ud800b"}',
    );
    if (answer.status === 201) expect((await bobs.next(bySeq(answer.body.seq)))[7]).toBe('a\ufffdb');
    else expect([answer.status, answer.body.error.code]).toEqual([400, 'BAD_REQUEST']);
    const meta = await http(
      gateway,
      ada,
      'POST',
      `/v1/rooms/${room}/messages`,
      '{"type":"text","content":"x","meta":{"a\\ud800":"\\udc00"}}',
    );
    if (meta.status === 201)
      expect((await bobs.next(bySeq(meta.body.seq)))[8]).toEqual({ 'a\ufffd': '\ufffd' });
    else expect([meta.status, meta.body.error.code]).toEqual([400, 'BAD_REQUEST']);
  });

  test('a key __proto__ of JSON is refused, or does no harm', async () => {
    const answer = await http(
      gateway,
      ada,
      'POST',
      `/v1/rooms/${room}/messages`,
      '{"type":"text","content":"x","meta":{"__proto__":{"polluted":true}}}',
    );
    expect([201, 400]).toContain(answer.status);
    const { messages } = await list('?limit=1');
    expect(messages[0].polluted).toBeUndefined();
    await bobs.settle();
  });

  test('by those who may not send', async () => {
    const openRoom = await makeRoom(gateway, ada, [], { public: true });
    const good = { type: 'text', content: 'x' };
    expect(await codeOf(send(eve, good))).toEqual([404, 'NOT_FOUND']);
    expect(await codeOf(send(eve, good, openRoom))).toEqual([403, 'FORBIDDEN']);
    expect(await codeOf(send(ada, good, fresh('none')))).toEqual([404, 'NOT_FOUND']);
    expect(await codeOf(send(ada, good, 'a%20b'))).toEqual([400, 'BAD_REQUEST']);
  });
});

describe('GET /v1/rooms/:id/messages', () => {
  test('messages as the contract’s body', async () => {
    const sent = await say(adas, room, 'with a body', { reply_to: 1 });
    const { messages } = await list('?limit=1');
    expect(messages).toEqual([
      {
        seq: sent.seq,
        ts: new Date(sent.ts).toISOString(),
        room,
        from: ada.id,
        id: uuidText(sent.id),
        type: 'text',
        content: 'with a body',
        meta: { reply_to: 1 },
      },
    ]);
  });

  test('pages with before, after and limit, oldest first', async () => {
    const other = await makeRoom(gateway, ada, [bob]);
    const seqs: number[] = [];
    for (let i = 0; i < 12; i++) seqs.push((await say(adas, other, `${i}`)).seq);
    const page = async (query: string) => {
      const { messages, more } = await list(query, other);
      return [messages.map((message) => message.seq), more];
    };
    expect(await page('?limit=5')).toEqual([seqs.slice(-5), true]);
    expect(await page('')).toEqual([seqs, false]);
    expect(await page(`?before=${seqs[6]}&limit=3`)).toEqual([seqs.slice(3, 6), true]);
    expect(await page(`?before=${seqs[2]}&limit=10`)).toEqual([seqs.slice(0, 2), false]);
    expect(await page(`?after=${seqs[6]}&limit=3`)).toEqual([seqs.slice(7, 10), true]);
    expect(await page(`?after=${seqs[9]}&limit=10`)).toEqual([seqs.slice(10), false]);
    expect(await page('?after=0&limit=4')).toEqual([seqs.slice(0, 4), true]);
    expect(await page(`?after=${seqs[11]}`)).toEqual([[], false]);
  });

  test('messages only, as they are now', async () => {
    const other = await makeRoom(gateway, ada, [], { public: true });
    await bobs.ok(op.join_room, other);
    const [one, two, three] = [
      await say(bobs, other, 'one'),
      await say(bobs, other, 'two'),
      await say(bobs, other, 'three'),
    ];
    await bobs.ok(op.edit_message, other, one!.seq, 'one, edited');
    await bobs.ok(op.react, other, one!.seq, '👍', true);
    await bobs.ok(op.delete_message, other, two!.seq);
    const { messages } = await list('', other);
    expect(messages.map(({ seq, content, meta }) => [seq, content, meta])).toEqual([
      [one!.seq, 'one, edited', null],
      [two!.seq, null, { deleted: true }],
      [three!.seq, 'three', null],
    ]);
    // Two messages stay two, with events between them.
    await bobs.ok(op.react, other, one!.seq, '❤️', true);
    await bobs.ok(op.react, other, one!.seq, '❤️', false);
    const last = await say(bobs, other, 'four');
    expect((await list('?limit=2', other)).messages.map(({ seq }) => seq)).toEqual([three!.seq, last.seq]);
  });

  test('bytes come as base64', async () => {
    const secret = await makeRoom(gateway, ada, [], { encrypted: true });
    const bytes = Uint8Array.of(0, 1, 254, 255);
    await say(adas, secret, bytes);
    expect((await list('', secret)).messages[0].content).toBe(Buffer.from(bytes).toString('base64'));
  });

  test('wrong queries are BAD_REQUEST and named', async () => {
    for (const [query, field] of [
      ['?limit=0', 'limit'],
      ['?limit=201', 'limit'],
      ['?limit=x', 'limit'],
      ['?before=-1', 'before'],
      ['?after=1.5', 'after'],
      ['?after=x', 'after'],
      ['?before=9007199254740992', 'before'],
    ]) {
      const { status, body } = await http(gateway, ada, 'GET', `/v1/rooms/${room}/messages${query}`);
      expect([query, status, body.error?.code]).toEqual([query!, 400, 'BAD_REQUEST']);
      expect(Object.keys(body.error.fields)).toEqual([field!]);
    }
    expect(await codeOf(http(gateway, ada, 'GET', `/v1/rooms/${room}/messages?before=5&after=1`))).toEqual([
      400,
      'BAD_REQUEST',
    ]);
  });

  test('of a room one may not read is NOT_FOUND', async () => {
    expect(await codeOf(http(gateway, eve, 'GET', `/v1/rooms/${room}/messages`))).toEqual([404, 'NOT_FOUND']);
    expect(await codeOf(http(gateway, ada, 'GET', `/v1/rooms/${fresh('none')}/messages`))).toEqual([
      404,
      'NOT_FOUND',
    ]);
  });
});
